"""Treebanks: CoNLL-U, CoNLL-U Plus (``.conllup``, ``.cupt``) and CoNLL-X, and the blocks of lines of column formats."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping

from isogloss.corpus.raw import Raw, join, lines_in, nfc, place
from isogloss.errors import InputError

log = logging.getLogger(__name__)

Block = list[tuple[int, str]]  # the lines of one sentence with their 1-based numbers

_ID = re.compile(r"([0-9]{1,6})(?:([-.])([0-9]{1,6}))?")
_TEXT = re.compile(r"#\s*text\s*=\s?(.*)")
_COLUMNS = ["ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC"]
_GLOBAL = "# global.columns ="


def blocks(path: str) -> Iterator[Block]:
    """Yield the runs of lines between lines that are empty, or have only spaces and tabs."""
    block: Block = []
    for n, line in enumerate(lines_in(path), 1):
        if line.strip(" \t"):
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

    CoNLL-U Plus (``.conllup``, ``.cupt``) names its columns in its first line, ``# global.columns = ID FORM ...``;
    ``ID`` and ``FORM`` must be among them.  CoNLL-X has the same ten places: ``upos`` is its coarse part of speech.

    Raises
    ------
    InputError
        If a line has not ten columns (or those named), its ID is not the one expected, or a sentence has no words.

    References
    ----------
    Formats: https://universaldependencies.org/format.html, https://universaldependencies.org/ext-format.html
    """
    return {language: _conllu(path) for language, path in files.items()}


def _conllu(path: str) -> Raw:
    raw = Raw(path, [], lines := [], spans := [])
    misfits: list[int] = []
    columns = _COLUMNS
    for block in blocks(path):
        if block[0][1].startswith(_GLOBAL):
            columns = _named(block[0][1], f"{path}, line {block[0][0]}")
        if all(line.startswith("#") for _, line in block):
            continue
        text = next((nfc(m[1]) for _, line in block if (m := _TEXT.match(line))), "")
        words, glued, values = _tokens(block, columns, path)
        places = place(words, text)
        if places is None:
            if text:
                misfits.append(block[0][0])
            text, places = join(words, glued)
        raw.texts.append(text)
        lines.append(block[0][0])
        spans.append(places)
        for name, tags in values.items():
            raw.word_columns.setdefault(name.lower(), []).append(list(tags))
    if misfits:
        what = "%s: '# text' does not fit the words of %d sentences and was rebuilt from them, first at line %d"
        log.warning(what, path, len(misfits), misfits[0])
    return raw


def _named(line: str, where: str) -> list[str]:
    """Return the columns that the first line of CoNLL-U Plus names."""
    columns = line.removeprefix(_GLOBAL).split()
    if columns[:1] != ["ID"] or "FORM" not in columns or len(set(columns)) < len(columns):
        raise InputError(
            f"{where}: the columns of CoNLL-U Plus begin with ID, have FORM, and none twice; got "
            f"'{' '.join(columns)[:300]}'."
        )
    return columns


def _tokens(block: Block, columns: list[str], path: str) -> tuple[list[str], list[bool], dict[str, list[str]]]:
    """Return the surface words of one sentence: forms, glued to the next, their UPOS and features."""
    words: list[str] = []
    glued: list[bool] = []
    values: dict[str, list[str]] = {name: [] for name in ("UPOS", "FEATS") if name in columns}
    last = 0  # ID of the last syntactic word
    until = 0  # last ID of the multiword token we are in
    for n, line in block:
        if line.startswith("#"):
            continue
        match, cell = _row(line, columns, f"{path}, line {n}")
        kind, first = match[2], int(match[1])
        if kind == ".":
            continue
        if first != last + 1 or (kind == "-" and (int(match[3]) < first or first <= until)):
            raise InputError(f"{path}, line {n}: ID {match[0]} does not follow ID {last}; IDs run 1, 2, 3, ...")
        if kind == "-" or first > until:
            if not cell["FORM"].strip():
                raise InputError(f"{path}, line {n}: the word is empty; write _ where there is no form.")
            words.append(nfc(cell["FORM"]))
            glued.append("SpaceAfter=No" in cell.get("MISC", "").split("|"))
            for name, tags in values.items():
                tags.append("" if kind == "-" else cell[name])
        else:
            for name, tags in values.items():
                tags[-1] += ("+" if tags[-1] else "") + cell[name]
        if kind == "-":
            until = int(match[3])
        else:
            last = first
    if not words or last < until:
        what = f"ends before ID {until}" if words else "has no words"
        raise InputError(f"{path}, line {block[0][0]}: the sentence that starts here {what}.")
    return words, glued, values


def _row(line: str, columns: list[str], where: str) -> tuple[re.Match[str], dict[str, str]]:
    """Return the ID, taken apart, and the cells of one line."""
    cells = line.split("\t")
    match = _ID.fullmatch(cells[0])
    if len(cells) != len(columns) or not match:
        wanted = "ten columns" if columns is _COLUMNS else f"the {len(columns)} columns named at the top"
        raise InputError(
            f"{where}: a CoNLL-U line has {wanted}, separated by tabs, and starts with an ID like 3, 3-4 or 3.1; "
            f"got {len(cells)} column(s): '{line[:60]}'."
        )
    return match, dict(zip(columns, cells, strict=True))
