"""Concepts restricted to some of their tokens, as variants of CALIGN are: like frequencies, other sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Seed, checked
from isogloss.concepts import Concepts
from isogloss.metrics.concepts.matching import frequency_bins


@checked
def match_frequencies(alone: Mapping[str, Concepts], *, draw_seed: Seed = 0) -> dict[str, Concepts]:
    """Return the concepts of every language with as many types of every frequency as the others have.

    A type's frequency is the number of its tokens that belong to a concept.  Types fall into bins of like frequency,
    floor(log2(frequency)); in every bin each language keeps as many types as the language with the fewest, drawn at
    random.  Tokens of the other types belong to no concept any more.

    Parameters
    ----------
    alone : mapping of str to Concepts
        The concepts of every language that is to be compared, each of one language.
    draw_seed : int
        The draw of a language depends on it, on the language's name and on its own types: not on the layer (as long as
        the same tokens are clustered), nor on the order of languages.

    Returns
    -------
    dict of str to Concepts
        The same concepts with label -1 on the tokens left out.  A bin in which a language has no type is empty.

    Examples
    --------
    >>> import numpy as np, polars as pl
    >>> def concepts(language, words):
    ...     n = len(words)
    ...     table = {"row": range(n), "language": [language] * n, "sentence": [0] * n, "position": range(n)}
    ...     return Concepts(pl.DataFrame({**table, "word": words}), np.zeros(n, np.int32), 1)
    >>> both = {"en": concepts("en", ["a", "a", "b", "b", "c"]), "de": concepts("de", ["x", "x", "y", "z"])}
    >>> {language: matched.types()["count"].to_list() for language, matched in match_frequencies(both).items()}
    {'en': [2, 1], 'de': [2, 1]}
    """
    binned = {}
    for language, concepts in alone.items():
        types = concepts.types().group_by("word").agg(pl.col("count").sum())
        binned[language] = types.select("word", bin=pl.Series(frequency_bins(types["count"].to_numpy())))
    sizes = [dict(table.group_by("bin").len().iter_rows()) for table in binned.values()]
    wanted = {b: min(size.get(b, 0) for size in sizes) for b in {b for size in sizes for b in size}}
    matched = {}
    for language, concepts in alone.items():
        words: list[str] = []
        for b, n in sorted(wanted.items()):
            there = binned[language].filter(pl.col("bin") == b)["word"].sort().to_list()
            generator = np.random.default_rng([draw_seed, b, *language.encode()])
            words += [there[i] for i in generator.permutation(len(there))[:n]]
        matched[language] = _only(concepts, concepts.tokens["word"].is_in(words).to_numpy())
    return matched


@checked
def other_sentences(source: Concepts, target: Concepts, *, draw_seed: Seed = 0) -> tuple[Concepts, Concepts]:
    """Return the source's concepts in one half of the sentences, and the target's in the other half.

    Where a model's states say which sentence a word stands in more than which word it is, concepts are sentences.  In
    a parallel corpus such concepts are aligned, word for word, though nothing is shared; random weights do that.
    Seen in different sentences they share hardly a translation, while concepts of meaning still do.

    Parameters
    ----------
    source, target : Concepts
        Of a parallel corpus: sentence numbers mean the same in both.
    draw_seed : int
        Of the halves.

    Returns
    -------
    (source, target)
        The same concepts with label -1 on the tokens left out.

    Examples
    --------
    >>> import polars as pl
    >>> def concepts(language):
    ...     table = {"row": range(4), "language": [language] * 4, "sentence": range(4), "position": [0] * 4}
    ...     return Concepts(pl.DataFrame({**table, "word": list("abcd")}), np.arange(4, dtype=np.int32), 4)
    >>> source, target = other_sentences(concepts("en"), concepts("de"))
    >>> sorted(source.labels.tolist() + target.labels.tolist())
    [-1, -1, -1, -1, 0, 1, 2, 3]
    """
    numbers = [side.tokens["sentence"].to_numpy() for side in (source, target)]
    every = np.union1d(*numbers)
    first = every[np.random.default_rng(draw_seed).permutation(len(every))[: len(every) // 2]]
    return _only(source, np.isin(numbers[0], first)), _only(target, ~np.isin(numbers[1], first))


def _only(concepts: Concepts, kept: npt.NDArray[np.bool_]) -> Concepts:
    """Return the same concepts with label -1 on the tokens that are not kept."""
    return replace(concepts, labels=np.where(kept, concepts.labels, -1).astype(np.int32))
