"""The word-a-line files of shared tasks: NER and others."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from isogloss.corpus.conllu import Block, blocks
from isogloss.corpus.data import WORD_COLUMNS
from isogloss.corpus.raw import Raw, join, nfc
from isogloss.corpus.tags import to_iob2
from isogloss.errors import InputError, UsageError
from isogloss.languages import read_language

log = logging.getLogger(__name__)

_COMMENT = re.compile(r"#(\s|\S+\s+=\s|(begin|end) document)")
_KEY = re.compile(r"# [^\t]*(\S=\S| = )[^\t]*")  # "# id 52 domain=en" may have as many columns as a word
_LABEL = re.compile("([A-Za-z-]+):.")  # "en:Rick", as PAN-X comes
_ADVICE = "Say which column has the tags, e.g. columns={'word': 0, 'ner': 3}, or read without: columns={'word': 0}."


def read_conll(
    files: Mapping[str, str], *, columns: Mapping[str, int] | None = None, comment: str | None = None
) -> dict[str, Raw]:
    """Read one word a line with its tags; a blank line ends a sentence.

    Columns are separated by tabs or, where a line has none, by spaces; other white space is part of a word.  Every
    line has the same number of them.  ``-DOCSTART-`` lines end a sentence too.  A language that all
    words of a file begin with (``en:Rick``) is taken off.  The text is the words joined by single spaces.
    A column ``ner`` has entity tags, which become IOB2 (see `isogloss.corpus.tags`).

    Parameters
    ----------
    columns : mapping of str to int
        Word column name -> 0-based column number, negative ones count from the end; must name ``word``.
        Default ``{"word": 0, "ner": -1}``.
    comment : str, optional
        Lines that start so are skipped, and no others.  Default: those before the words of a sentence that start with
        ``#`` and have not the columns of a word, or have ``key = value`` in them; ``#`` can be a word.

    Raises
    ------
    InputError
        If a line has more or fewer columns than the others, lacks a column that is asked for, or its word is empty; if
        words are numbers 1, 2, 3 in every sentence; if the entity tags are in no known scheme.
    UsageError
        If `columns` does not name ``word``, or names a column that the token table has already.
    """
    chosen = {"word": 0, "ner": -1} if columns is None else dict(columns)
    if "word" not in chosen or not all(isinstance(i, int) for i in chosen.values()):
        raise UsageError(f"columns must give a number for 'word', e.g. {{'word': 0, 'ner': -1}}; got {chosen}.")
    for name in chosen:
        if name != "word" and (name in WORD_COLUMNS or name in ("n_subwords", "shared")):
            where = f"columns: the token table has a column '{name}' of its own"
            raise UsageError(f"{where}. Choose another name, e.g. 'my_{name}'.")
    return {language: _conll(path, chosen, comment, guessed=columns is None) for language, path in files.items()}


def _conll(path: str, columns: Mapping[str, int], comment: str | None, *, guessed: bool) -> Raw:
    sentences = _words_of(path, comment)
    if guessed:
        _refuse_numbers(path, sentences)
    label = _label(sentences, columns["word"])
    if label:
        log.info("%s: every word begins with '%s', which is taken off", path, label)
    starts = [block[0][0] for block in sentences]
    raw = Raw(path, [], starts, spans := [], {name: [] for name in columns if name != "word"})
    numbers = [[n for n, _ in block] for block in sentences]
    width = (0, 0)  # of the first line, and its number
    for block in sentences:
        rows = []
        for n, line in block:
            cells = _cells(line)
            width = width if width[1] else (len(cells), n)
            if len(cells) != width[0]:
                raise InputError(
                    f"{path}, line {n}: {len(cells)} column(s), but line {width[1]} has {width[0]}: '{line[:60]}'. "
                    "Every line has the same number of columns, separated by tabs or spaces; for lines that are "
                    "comments say how they start, e.g. comment='# '."
                )
            rows.append(_chosen(cells, columns, f"{path}, line {n}", guessed=guessed))
        # a label alone stays: a word needs a character
        text, places = join([nfc(row["word"].removeprefix(label) or row["word"]) for row in rows])
        raw.texts.append(text)
        spans.append(places)
        for name, values in raw.word_columns.items():
            values.append([row[name] for row in rows])
    if "ner" in columns:
        tags = [[tag or "" for tag in sentence] for sentence in raw.word_columns["ner"]]
        iob2 = to_iob2(tags, lambda i, k: f"{path}, line {numbers[i][k]}", advice=_ADVICE)
        raw.word_columns["ner"] = [list(sentence or ()) for sentence in iob2]
    return raw


def _words_of(path: str, comment: str | None) -> list[Block]:
    """Return the lines with words of every sentence."""
    sentences = [
        list(lines)
        for block in blocks(path)
        for between, lines in groupby(block, lambda line: line[1].startswith("-DOCSTART-"))
        if not between
    ]
    if comment is None:
        first = next((line for block in sentences for _, line in block if not line.startswith("#")), None)
        width = None if first is None else len(_cells(first))
        sentences = [_without_comments(block, width) for block in sentences]
    elif comment:
        sentences = [[(n, line) for n, line in block if not line.startswith(comment)] for block in sentences]
    return [block for block in sentences if block]


def _label(sentences: Sequence[Block], column: int) -> str:
    """Return the label of a language, with its colon, that every word of a file begins with; mostly there is none."""
    label = ""
    for block in sentences:
        for _, line in block:
            cells = _cells(line)
            word = cells[column] if -len(cells) <= column < len(cells) else ""
            if not label:
                named = _LABEL.match(word)
                if named is None or read_language(named[1]) is None:
                    return ""
                label = named[1] + ":"
            if not word.startswith(label):
                return ""
    return label


def _without_comments(block: Block, width: int | None) -> Block:
    for i, (_, line) in enumerate(block):
        other = len(_cells(line)) != width
        if not (_KEY.fullmatch(line) or (other and _COMMENT.match(line))):
            return block[i:]
    return []


def _cells(line: str) -> list[str]:
    """Split at tabs or, where there are none, at runs of spaces."""
    if "\t" in line:
        return [cell.strip(" ") for cell in line.split("\t")]
    return re.split(" +", line.strip(" "))


def _chosen(cells: Sequence[str], columns: Mapping[str, int], where: str, *, guessed: bool) -> dict[str, str]:
    line = " ".join(cells)[:60]
    if guessed and len(cells) < 2:
        raise InputError(
            f"{where}: one column, '{line}', so there is no tag beside the word. For words alone say "
            "columns={'word': 0}; for one sentence a line, format='text'."
        )
    for name, i in columns.items():
        if not -len(cells) <= i < len(cells):
            raise InputError(f"{where}: there is no column {i} for '{name}', only {len(cells)}: '{line}'.")
    row = {name: cells[i] for name, i in columns.items()}
    if not row["word"].strip():
        raise InputError(f"{where}: the word is empty, or white space that no one sees: '{line}'.")
    return row


def _refuse_numbers(path: str, sentences: Sequence[Block]) -> None:
    """Refuse files whose first column counts the words: CoNLL-U, CoNLL-2009, GermEval."""
    if sentences and all(_cells(line)[0] == str(k) for block in sentences for k, (_, line) in enumerate(block, 1)):
        raise InputError(
            f"{path}, line {sentences[0][0][0]}: the first column counts 1, 2, 3, so it is not the words. Say which "
            "columns are wanted, e.g. columns={'word': 1, 'ner': 2}; for a treebank in CoNLL-U say format='conllu'."
        )
