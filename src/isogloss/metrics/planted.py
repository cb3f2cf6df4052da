"""Planted truth: two languages made up so that the alignment of their concepts is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Count, Index, NConcepts, Seed, Share, Within, checked
from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary


@dataclass(frozen=True)
class Planted:
    """A made-up parallel corpus, clustered.

    Attributes
    ----------
    source, target : Concepts
        Of the languages ``a`` and ``b``, each clustered alone.
    joint : Concepts
        Of both together.
    dictionary : TranslationDictionary
        a -> b.
    """

    source: Concepts
    target: Concepts
    joint: Concepts
    dictionary: TranslationDictionary


@checked
def plant(
    alignment: Share,
    *,
    n_concepts: NConcepts = 60,
    n_types: Count = 1200,
    n_sentences: Count = 800,
    n_words: Count = 12,
    noise: Share = 0.0,
    zipf: Annotated[float, Within(0, 10)] = 0.8,
    unevenness: Annotated[float, Within(0, 5)] = 0.0,
    coverage: Share = 1.0,
    n_wrong: Index = 0,
    seed: Seed = 0,
    text_seed: Seed | None = None,
) -> Planted:
    """Make two languages of which a share `alignment` of the concepts is the same.

    Every type of ``a`` has one translation in ``b``.  The types of ``a`` are dealt to concepts.  In aligned concepts
    the translations stand together in ``b`` as well; those of all other concepts are dealt to as many concepts of the
    same sizes at random.  In the joint space aligned concepts are one, the others one a language: COLAP is
    ``a / (2 - a)`` then.

    Parameters
    ----------
    alignment : float
        In [0, 1].
    n_concepts, n_types : int
        Of each language.
    n_sentences, n_words : int
        Sentence pairs, and words in each; both sides of a pair have the same meanings.
    noise : float
        Share of tokens that lie in a concept at random.
    zipf : float
        Exponent of the types' frequencies.
    unevenness : float
        Standard deviation of the logarithm of the concepts' sizes.
    coverage : float
        Share of the types that the dictionary has.
    n_wrong : int
        Wrong translations of every type, beside the right one.
    seed : int
        Of concepts, dictionary and text.
    text_seed : int, optional
        Of the text (sentences and noise) alone: other samples of the same languages.

    Raises
    ------
    UsageError
        If a share is outside [0, 1].
    """
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(0, unevenness, n_concepts))
    concept_a = rng.permutation(
        np.searchsorted(np.cumsum(sizes / sizes.sum()), np.arange(n_types) / n_types, side="right")
    ).clip(max=n_concepts - 1)
    aligned = np.zeros(n_concepts, dtype=bool)
    aligned[rng.permutation(n_concepts)[: round(alignment * n_concepts)]] = True
    concept_b = concept_a.copy()
    loose = np.flatnonzero(~aligned[concept_a])
    concept_b[loose] = rng.permutation(concept_a[loose])
    dictionary = _dictionary(n_types, coverage, n_wrong, rng)
    joint_b = np.where(aligned, np.arange(n_concepts), n_concepts + np.cumsum(~aligned) - 1)

    text = rng if text_seed is None else np.random.default_rng([seed, text_seed])
    weights = 1 / np.arange(1, n_types + 1) ** zipf
    types = text.choice(n_types, size=(n_sentences, n_words), p=weights / weights.sum()).reshape(-1)
    labels = []
    for concept in (concept_a, concept_b):
        found = concept[types]
        moved = text.random(len(types)) < noise
        labels.append(np.where(moved, text.integers(0, n_concepts, len(types)), found))
    tokens = _tokens(types, n_sentences, n_words)
    n = len(types)
    joint = np.concatenate([labels[0], joint_b[labels[1]]]).astype(np.int32)
    return Planted(
        Concepts(tokens[:n], labels[0].astype(np.int32), n_concepts),
        Concepts(tokens[n:], labels[1].astype(np.int32), n_concepts),
        Concepts(tokens, joint, int(n_concepts + (~aligned).sum())),
        dictionary,
    )


def _dictionary(
    n_types: int, coverage: float, n_wrong: int, rng: np.random.Generator
) -> TranslationDictionary:
    known = np.sort(rng.permutation(n_types)[: round(coverage * n_types)])
    source = np.repeat(known, 1 + n_wrong)
    wrong = rng.integers(0, n_types, (len(known), n_wrong))
    target = np.concatenate([known[:, None], wrong], axis=1).reshape(-1)
    table = pl.DataFrame({"source": source, "target": target}).unique(maintain_order=True)
    words = [
        pl.concat_str(pl.lit(x), pl.col(side)).alias(side) for x, side in (("a", "source"), ("b", "target"))
    ]
    table = table.select(*words, pl.lit(1, dtype=pl.Int64).alias("count"), pl.lit(1.0).alias("probability"))
    return TranslationDictionary("a", "b", table)


def _tokens(types: npt.NDArray[np.int64], n_sentences: int, n_words: int) -> pl.DataFrame:
    parts = []
    for language in ("a", "b"):
        parts.append(
            pl.DataFrame(
                {
                    "language": pl.repeat(language, len(types), eager=True),
                    "sentence": np.repeat(np.arange(n_sentences, dtype=np.int32), n_words),
                    "position": np.tile(np.arange(n_words, dtype=np.int16), n_sentences),
                    "word": pl.Series(types).cast(pl.String),
                }
            ).with_columns((pl.lit(language) + pl.col("word")).alias("word"))
        )
    return pl.concat(parts).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
