"""Word alignment: from a parallel corpus to `WordLinks`, by any of several aligners.

An aligner is any object with a ``name`` and an ``align`` method (see `isogloss.aligners.protocol`);
those that isogloss brings are listed in `ALIGNERS` and imported when they are asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from isogloss.aligners.protocol import METHODS, Aligner, Bitext, Directions, Links
from isogloss.arguments import checked
from isogloss.corpus import Corpus
from isogloss.dictionary import LINK_COLUMNS, WordLinks
from isogloss.errors import InputError, UsageError, unknown

__all__ = ["ALIGNERS", "METHODS", "Aligner", "AlignerInfo", "Bitext", "Directions", "align_words", "make_aligner"]


@dataclass(frozen=True)
class AlignerInfo:
    """One line of `isogloss list aligners`: what it is, and where it lives."""

    description: str
    module: str
    class_name: str


ALIGNERS: Mapping[str, AlignerInfo] = MappingProxyType(
    {
        "diagonal": AlignerInfo(
            "IBM Model 2 with a diagonal prior, as fast_align; deterministic (default)",
            "isogloss.aligners.diagonal",
            "Diagonal",
        ),
        "eflomal": AlignerInfo(
            "eflomal's Gibbs sampler, more accurate, slower; links differ from run to run",
            "isogloss.aligners.eflomal",
            "Eflomal",
        ),
        "model": AlignerInfo(
            "similarity of word states of a multilingual model at one layer, as SimAlign; needs states",
            "isogloss.aligners.model",
            "Model",
        ),
    }
)


@checked
def align_words(
    corpus: Corpus,
    *,
    source: str,
    target: str,
    aligner: str | Aligner = "diagonal",
    symmetrise: str = "grow-diag-final-and",
    **options: Any,
) -> WordLinks:
    """Link the words of two languages of a parallel corpus.

    Parameters
    ----------
    corpus : Corpus
        Must be parallel.  Sentences that are empty in one of the two languages get no links.
    source, target : str
        Two different languages of the corpus.
    aligner : str or Aligner
        A name in `ALIGNERS`, or an object of your own with the protocol of `Aligner`.
    symmetrise : str
        How two directional link sets become one: ``intersection``, ``union``, ``grow-diag``,
        ``grow-diag-final`` or ``grow-diag-final-and`` (see `isogloss.aligners.symmetrise`).  Aligners that give
        final links by themselves do not use it.
    **options
        Passed to the named aligner: see `isogloss.aligners.diagonal.Diagonal`,
        `isogloss.aligners.eflomal.Eflomal` and `isogloss.aligners.model.Model`.

    Returns
    -------
    WordLinks
        Sorted by sentence, source position and target position.

    Raises
    ------
    UsageError
        If the corpus is not parallel, the languages are the same, or a name or option is unknown.
    InputError
        If an aligner of your own links words that do not exist.
    MissingExtraError
        If the aligner's package is not installed.

    Examples
    --------
    >>> import isogloss as ig
    >>> corpus = ig.Corpus.from_texts({"en": ["red wine", "red house"], "es": ["vino rojo", "casa roja"]})
    >>> ig.align_words(corpus, source="en", target="es").aligner
    'diagonal'
    """
    for language in (source, target):
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages)
    if source == target:
        raise UsageError(f"source and target are both '{source}'. Name two languages of the corpus.")
    if not corpus.parallel:
        raise UsageError(
            "Words can only be linked in a parallel corpus, and this one is not: sentence numbers of its "
            "languages do not mean the same sentences. Read line-parallel files, or give a dictionary file."
        )
    if symmetrise not in METHODS:
        raise unknown("symmetrisation", symmetrise, METHODS)
    chosen = make_aligner(aligner, options)
    bitext = _bitext(corpus, source, target)
    aligned = chosen.align(bitext) if len(bitext) else np.empty((0, 3), dtype=np.int32)
    links = _join(aligned, symmetrise) if isinstance(aligned, Directions) else np.unique(aligned, axis=0)
    _check(links, bitext, chosen.name)
    return WordLinks(source, target, _table(links, bitext), chosen.name)


def _check(links: Links, bitext: Bitext, name: str) -> None:
    """Refuse links to places where there is no word: an aligner's mistake."""
    pair, i, j = links.T
    fits = (pair >= 0) & (pair < len(bitext)) & (i >= 0) & (j >= 0)
    lengths = [np.array([len(words) for words in side]) for side in (bitext.source_words, bitext.target_words)]
    fits[fits] = (i[fits] < lengths[0][pair[fits]]) & (j[fits] < lengths[1][pair[fits]])
    if not fits.all():
        raise InputError(
            f"Aligner '{name}' gave links to words that do not exist, the first is "
            f"(pair, source position, target position) = {tuple(links[~fits][0].tolist())}."
        )


def _join(directions: Directions, method: str) -> Links:
    from isogloss.aligners.symmetrise import symmetrise

    return symmetrise(directions, method)


def make_aligner(aligner: str | Aligner, options: Mapping[str, Any]) -> Aligner:
    """Return an aligner by name, or the one given.

    Raises
    ------
    UsageError
        If a name or option is unknown, or a value cannot be.
    """
    if not isinstance(aligner, str):
        if options:
            raise UsageError(
                f"Options are for aligners given by name; got {', '.join(options)} together with an aligner "
                f"of your own ({aligner.name}). Give them to it when you make it."
            )
        return aligner
    if aligner not in ALIGNERS:
        raise unknown("aligner", aligner, ALIGNERS)
    info = ALIGNERS[aligner]
    kind = getattr(importlib.import_module(info.module), info.class_name)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in options:
        if name not in fields:
            raise unknown(f"option of aligner '{aligner}':", name, fields)
    missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in options]
    if missing:
        raise UsageError(f"Aligner '{aligner}' needs {' and '.join(missing)}, which was not given.")
    chosen: Aligner = kind(**options)
    return chosen


def _bitext(corpus: Corpus, source: str, target: str) -> Bitext:
    """Return the sentences that have words on both sides."""
    sides = []
    for language in (source, target):
        numbers = corpus.sentences.filter(pl.col("language") == language)["sentence"].to_list()
        lists = zip(numbers, corpus.word_lists(language), strict=True)
        sides.append({number: words for number, words in lists if words})
    numbers = [number for number in sides[0] if number in sides[1]]
    words = [[side[number] for number in numbers] for side in sides]
    return Bitext(source, target, np.array(numbers, dtype=np.int64), *words)


def _table(links: Links, bitext: Bitext) -> pl.DataFrame:
    """Return links sorted by pair and positions as the table of `WordLinks`."""
    pair, i, j = links.T
    columns = {"sentence": bitext.sentences[pair], "source_position": i, "target_position": j}
    for name, words, position in (("source_word", bitext.source_words, i), ("target_word", bitext.target_words, j)):
        starts = np.cumsum([0, *map(len, words)])
        flat = pl.Series(name, list(chain.from_iterable(words)), dtype=pl.String)
        columns[name] = flat.gather(starts[pair] + position)
    table = pl.DataFrame(columns).cast(dict(LINK_COLUMNS))  # type: ignore[arg-type]
    return table.sort("sentence", "source_position", "target_position")
