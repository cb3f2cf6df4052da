"""Column formats: CoNLL-U treebanks, and the word-a-line files of shared tasks (NER and others)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping

from isogloss.corpus.raw import Raw, Span, join, nfc, place
from isogloss.errors import InputError, UsageError
from isogloss.store import read_lines

log = logging.getLogger(__name__)

Block = list[tuple[int, str]]  # the lines of one sentence with their 1-based numbers

_ID = re.compile(r"(\d+)(?:([-.])(\d+))?")
_TEXT = re.compile(r"#\s*text\s*=\s?(.*)")


def _blocks(path: str) -> Iterator[Block]:
    """Yield the runs of non-blank lines of a file."""
    block: Block = []
    for n, line in enumerate(read_lines(path), 1):
        if line.strip():
            block.append((n, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def read_conllu(files: Mapping[str, str]) -> dict[str, Raw]:
    """Read CoNLL-U: surface words with word columns ``upos`` and ``feats``.

    A multiword token (``3-4  du``) is one word; the values of its parts are joined by ``+`` (``ADP+DET``).
    Empty nodes (``5.1``) are skipped.  The text is the comment ``# text =``; where it is absent or does not
    fit the words, it is rebuilt from the words and ``SpaceAfter=No``.

    Raises
    ------
    InputError
        If a line has not ten columns, its ID is not the one expected, or a sentence has no words.

    References
    ----------
    Format: https://universaldependencies.org/format.html
    """
    return {language: _conllu(path) for language, path in files.items()}


def _conllu(path: str) -> Raw:
    texts: list[str] = []
    lines: list[int] = []
    spans: list[list[Span]] = []
    upos: list[list[str]] = []
    feats: list[list[str]] = []
    misfits: list[int] = []
    for block in _blocks(path):
        text = next((nfc(m[1]) for _, line in block if (m := _TEXT.match(line))), "")
        words, glued, tags, features = _tokens(block, path)
        found = place(words, text)
        if found is None:
            if text:
                misfits.append(block[0][0])
            text, found = join(words, glued)
        texts.append(text)
        lines.append(block[0][0])
        spans.append(found)
        upos.append(tags)
        feats.append(features)
    if misfits:
        log.warning(
            "%s: '# text' does not fit the words of %d sentences and was rebuilt from them, first at line %d",
            path,
            len(misfits),
            misfits[0],
        )
    return Raw(path, texts, lines, spans, {"upos": upos, "feats": feats})


def _tokens(block: Block, path: str) -> tuple[list[str], list[bool], list[str], list[str]]:
    """Return the surface words of one sentence: forms, glued to the next, UPOS, features."""
    words: list[str] = []
    glued: list[bool] = []
    upos: list[str] = []
    feats: list[str] = []
    last = 0  # ID of the last syntactic word
    until = 0  # last ID of the multiword token we are in
    for n, line in block:
        if line.startswith("#"):
            continue
        columns = line.split("\t")
        match = _ID.fullmatch(columns[0])
        if len(columns) != 10 or not match:
            raise InputError(
                f"{path}, line {n}: a CoNLL-U line has ten columns separated by tabs and starts with an ID; "
                f"got {len(columns)} column(s): '{line[:60]}'."
            )
        kind, first = match[2], int(match[1])
        if kind == ".":
            continue
        if first != last + 1 or (kind == "-" and (int(match[3]) < first or first <= until)):
            raise InputError(
                f"{path}, line {n}: ID {columns[0]} does not follow ID {last}; IDs run 1, 2, 3, ..."
            )
        if kind == "-" or first > until:
            if not columns[1].strip():
                raise InputError(f"{path}, line {n}: the word is empty; write _ where there is no form.")
            words.append(nfc(columns[1]))
            glued.append("SpaceAfter=No" in columns[9].split("|"))
            upos.append("" if kind == "-" else columns[3])
            feats.append("" if kind == "-" else columns[5])
        else:
            upos[-1] += ("+" if upos[-1] else "") + columns[3]
            feats[-1] += ("+" if feats[-1] else "") + columns[5]
        if kind == "-":
            until = int(match[3])
        else:
            last = first
    if not words or last < until:
        what = f"ends before ID {until}" if words else "has no words"
        raise InputError(f"{path}, line {block[0][0]}: the sentence that starts here {what}.")
    return words, glued, upos, feats


def read_conll(
    files: Mapping[str, str],
    *,
    columns: Mapping[str, int] | None = None,
    comment: str | None = None,
) -> dict[str, Raw]:
    """Read one word a line with its tags; a blank line ends a sentence.

    Columns are separated by tabs or, where a line has none, by white space.  ``-DOCSTART-`` lines are
    skipped.  The text is the words joined by single spaces.

    Parameters
    ----------
    columns : mapping of str to int
        Word column name -> 0-based column number, negative ones count from the end; must name ``word``.
        Default ``{"word": 0, "ner": -1}``.
    comment : str, optional
        Lines that start so are skipped, e.g. ``"# "``.  Default: none are, because ``#`` can be a word.

    Raises
    ------
    InputError
        If a line lacks a column, or its word is empty.
    UsageError
        If `columns` does not name ``word``.
    """
    columns = {"word": 0, "ner": -1} if columns is None else columns
    if "word" not in columns or not all(isinstance(i, int) for i in columns.values()):
        raise UsageError(
            f"columns must give a number for 'word', e.g. {{'word': 0, 'ner': -1}}; got {columns}."
        )
    return {language: _conll(path, columns, comment) for language, path in files.items()}


def _conll(path: str, columns: Mapping[str, int], comment: str | None) -> Raw:
    raw = Raw(path, [], lines := [], spans := [], {name: [] for name in columns if name != "word"})
    for block in _blocks(path):
        kept = [
            (n, line)
            for n, line in block
            if not line.startswith("-DOCSTART-") and not (comment and line.startswith(comment))
        ]
        if not kept:
            continue
        rows = [_cells(line, columns, f"{path}, line {n}") for n, line in kept]
        text, found = join([nfc(row["word"]) for row in rows])
        raw.texts.append(text)
        lines.append(kept[0][0])
        spans.append(found)
        for name, values in raw.word_columns.items():
            values.append([row[name] for row in rows])
    return raw


def _cells(line: str, columns: Mapping[str, int], where: str) -> dict[str, str]:
    cells = line.split("\t") if "\t" in line else line.split()
    for name, i in columns.items():
        if not -len(cells) <= i < len(cells):
            raise InputError(
                f"{where}: there is no column {i} for '{name}', only {len(cells)}: '{line[:60]}'."
            )
    found = {name: cells[i] for name, i in columns.items()}
    if not found["word"].strip():
        raise InputError(f"{where}: the word is empty: '{line[:60]}'.")
    return found
