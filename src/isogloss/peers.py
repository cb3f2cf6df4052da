"""Files of the paper's own programs (Mousi et al. 2024): clustered tokens and dictionaries.

They are read as those programs read them, so that ``rule="paper-code"`` gives the programs' answers from
their files: words are stripped and not normalised, a byte order mark belongs to the first word, a lone
carriage return ends a line, and what follows ``|||`` in a word is lost.  Where the programs crash, the line
is named instead.

Examples
--------
CALIGN, from the clusters of each language and a dictionary, with the 5 first translations of every word::

    en, en_ids = read_clusters("clusters-en.txt", language="en")
    de, de_ids = read_clusters("clusters-de.txt", language="de")
    words = read_dictionary("dictionary.txt", source="en", target="de").top(5)
    alignment = calign(en, de, words, theta_align=0.8, min_types=5, min_size_ratio=0.4, rule="paper-code")
    for s, t in alignment.aligned().select("source_concept", "target_concept").iter_rows():
        print(en_ids[s], de_ids[t])

COLAP, from the clusters of both languages together; the programs' threshold of 30 percent is a theta of 0.3::

    both, ids = read_clusters("clusters.txt", languages=("en", "de"), boundary=999)
    overlap = colap(both, theta_overlap=0.3, languages=("en", "de"), rule="paper-code")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from isogloss.arguments import checked
from isogloss.concepts import Concepts
from isogloss.dictionary import DICTIONARY_COLUMNS, TranslationDictionary
from isogloss.errors import InputError, UsageError
from isogloss.store import read_text

_PLACE_COLUMNS = {"sentence": pl.Int32, "position": pl.Int16, "word": pl.String}
_ENTRY = re.compile(r"(.*)->(.*): Probability = (.*), Count = (.*)")


@checked
def read_clusters(
    path: str | Path,
    *,
    language: str | None = None,
    languages: tuple[str, str] | None = None,
    boundary: int | None = None,
) -> tuple[Concepts, tuple[int, ...]]:
    """Read clustered tokens: a line ``word|||occurrence|||sentence|||position|||cluster`` each.

    With `language` all tokens are of that language, and lines are read as for CALIGN: the word is the first
    field, the cluster the last.  With `languages` and `boundary` they are read as for COLAP: the sentence
    number is the third field, the cluster the fifth; sentences up to and including `boundary` are of the
    first language, the others of the second.  (Sentences count from 0: for n sentences a language,
    `boundary` is n - 1.)

    Parameters
    ----------
    path : str or Path
        UTF-8 text.
    language : str, optional
        The language of the whole file.
    languages : pair of str, optional
        The languages up to and after `boundary`.
    boundary : int, optional
        Number of the last sentence of the first language.

    Returns
    -------
    concepts : Concepts
        Numbered 0, 1, ... in the order of their first line; ``row`` is the number of the line, from 0.
        Sentence and position are -1 where a line read with `language` does not have them.
    ids : tuple of int
        The file's own number of every concept.

    Raises
    ------
    UsageError
        If neither a language nor a pair with its boundary is given, or both are, or one is of another type.
    InputError
        If the file is missing or a line has another form (the line is named).
    """
    if (language is None) != (languages is not None) or (languages is None) != (boundary is None):
        raise UsageError(
            "read_clusters takes language='en' for the clusters of one language, or languages=('en', 'de') "
            f"and boundary=999 for those of two together; got {language=}, {languages=}, {boundary=}."
        )
    if languages is not None and languages[0] == languages[1]:
        raise UsageError(f"languages are two different names, e.g. ('en', 'de'); got {languages!r}.")
    rows: list[tuple[int, int, str]] = []
    numbers: dict[int, int] = {}
    labels: list[int] = []
    for n, line in _lines(path):
        fields = line.split("|||")
        try:
            sentence, position, cluster = _alone(fields) if language is not None else _joint(fields)
        except (ValueError, IndexError):
            raise InputError(
                f"{path}, line {n}: expected word|||occurrence|||sentence|||position|||cluster with whole "
                f"numbers, got '{line}'. Correct or delete the line (a blank one is an empty cluster)."
            ) from None
        rows.append((sentence, position, fields[0].strip()))
        labels.append(numbers.setdefault(cluster, len(numbers)))
    first, second = languages or (language, language)
    names = [second if boundary is not None and sentence > boundary else first for sentence, _, _ in rows]
    tokens = pl.DataFrame(rows, schema=_PLACE_COLUMNS, orient="row").select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        pl.Series("language", names, dtype=pl.String),
        *_PLACE_COLUMNS,
    )
    return Concepts(tokens, np.array(labels, np.int32), len(numbers)), tuple(numbers)


@checked
def read_dictionary(path: str | Path, *, source: str, target: str) -> TranslationDictionary:
    """Read a dictionary of lines ``source -> target: Probability = p, Count = c``.

    The order of the file is kept: as the ``top_n`` translations of a word the paper's program takes the first
    ones of the file, whatever their probabilities, and at least one.  So does ``.top(max(1, top_n))`` here.

    Parameters
    ----------
    path : str or Path
        UTF-8 text.
    source, target : str
        The two languages.

    Returns
    -------
    TranslationDictionary
        With ``file_order=True``.

    Raises
    ------
    InputError
        If the file is missing or a line has another form, e.g. of a word with an arrow (the line is named).
    """
    rows = []
    for n, line in _lines(path):
        entry = _ENTRY.fullmatch(line.strip())
        try:
            if entry is None or line.count("->") > 1:
                raise ValueError
            left, right, probability, count = entry.groups()
            rows.append((left.strip(), right.strip(), _whole(count, bits=64), float(probability)))
        except ValueError:
            raise InputError(
                f"{path}, line {n}: expected 'source -> target: Probability = 0.5, Count = 3', got '{line}'. "
                "Correct or delete the line: the count is a whole number, and no word may have '->' in it."
            ) from None
    table = pl.DataFrame(rows, schema=DICTIONARY_COLUMNS, orient="row")
    return TranslationDictionary(source, target, table, file_order=True)


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines as Python's text mode does: LF, CR LF and CR end a line, nothing else does."""
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    return enumerate(lines, 1)


def _joint(fields: list[str]) -> tuple[int, int, int]:
    """Return sentence, position and cluster, counted from the start of the line."""
    return _whole(fields[2], bits=32), _whole(fields[3], bits=16), int(fields[4])


def _alone(fields: list[str]) -> tuple[int, int, int]:
    """Return sentence, position and cluster, counted from the end; only the cluster must be there."""
    try:
        place = _whole(fields[-3], bits=32), _whole(fields[-2], bits=16)
    except (ValueError, IndexError):
        place = -1, -1
    return *place, int(fields[-1])


def _whole(text: str, *, bits: int) -> int:
    number = int(text)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise ValueError
    return number
