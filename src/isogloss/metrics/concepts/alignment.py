"""CALIGN, concept alignment (Mousi et al. 2024): which concepts of a language have a counterpart in another."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from isogloss.arguments import checked
from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.errors import UsageError
from isogloss.metrics.concepts.matching import best_matches, match_counts, weighted_best_matches
from isogloss.metrics.concepts.matrices import Matrices
from isogloss.metrics.concepts.nulls import against, sentence_null, words_null
from isogloss.metrics.statistics.bootstrap import Resamples, named_interval, share_interval
from isogloss.metrics.statistics.intervals import mean_interval, wilson
from isogloss.parallel import spread
from isogloss.results import Alignment, Estimate
from isogloss.settings import AlignmentSettings, Interval, takes

log = logging.getLogger(__name__)

Null = list[npt.NDArray[np.float32]]  # best matches of the eligible concepts, an array a permutation


@checked
@takes(AlignmentSettings)
def calign(
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    *,
    settings: AlignmentSettings,
    resamples: Resamples | None = None,
    words: bool = True,
    covered_only: bool = False,
) -> Alignment:
    """Return the share of eligible source concepts that are aligned to at least one target concept.

    With ``types(C)`` the distinct words of a concept and ``T(w)`` the translations of a word,
    ``m(s, t) = |{w in types(s): T(w) ∩ types(t) ≠ ∅}| / |types(s)|``; s is aligned to t when
    m(s, t) >= `theta_align`, both have at least `min_types` types, and the smaller has at least
    `min_size_ratio` times the types of the larger.  Source: Mousi et al., *Exploring Alignment in Shared
    Cross-lingual Spaces*, ACL 2024, section 3.

    There are two chance levels, each the mean score over `n_permutations` draws.  *Words*: the dictionary's target
    words are permuted among words of like frequency (same floor(log2) of clustered tokens); both clusterings stay as
    they are.  *Sentence*: words of one sentence exchange their target concepts (`isogloss.metrics.concepts.nulls`), as
    in a parallel corpus concepts that are sentences are aligned though nothing is shared.  ``chance`` and the p-value
    are those of the stricter one.

    With `resamples` the intervals are of a bootstrap over sentences.  Concepts, and which types match, are kept; a type
    weighs in a concept by how often its sentences are drawn there, in proportion to their number, so that types
    of a single sentence come and go and frequent ones stay.

    Parameters
    ----------
    source, target : Concepts
        Each discovered in one language alone.
    dictionary : TranslationDictionary
        source -> target; restrict it with `TranslationDictionary.top` first.
    settings : AlignmentSettings, optional
        All of these at once; what is given beside it differs.  `isogloss.peers` reads the files of the paper's script.
    resamples : Resamples, optional
        Of the sentences of both sides.
    words : bool
        Also return the matched words of the pairs.
    covered_only : bool
        Count only types that the dictionary knows, on both sides: a score without the words that could not match.

    Returns
    -------
    Alignment

    Raises
    ------
    UsageError
        If a threshold is out of range, or the dictionary is of another pair.
    """
    check_sides(source, target, dictionary)
    if source.model and dictionary.induced_by.startswith(f"model:{source.model}:"):
        log.warning("the dictionary was induced with the model under study, %s: its score is circular", source.model)
    if covered_only:
        source, target = _only(source, dictionary.table["source"]), _only(target, dictionary.table["target"])
    matrices = Matrices.of(source, target, dictionary)
    S, T, D, (n_source, n_target) = matrices.S, matrices.T, matrices.D, matrices.sizes
    counts = match_counts(S, D, T)
    eligible = settings.eligible(n_source)
    best = np.where(eligible, best_matches(counts, n_source, n_target, settings), np.nan)
    nulls: dict[str, npt.NDArray[np.float32]] = {}
    chance: dict[str, Null] = {"words": [], "sentence": []}
    if settings.n_permutations:
        nulls["null_sentence"] = sentence_null(matrices, target, settings)
        chance["sentence"] = list(nulls["null_sentence"][:, eligible])
    if settings.n_permutations and settings.null == "targets":
        nulls["null_words"] = words_null(matrices, settings)
        chance["words"] = list(nulls["null_words"][:, eligible])
    elif settings.n_permutations:
        generator = np.random.default_rng(settings.draw_seed)
        shuffles = range(settings.n_permutations)
        chance["words"] = [_shuffled(source, target, dictionary, settings, generator) for _ in shuffles]
    drawn = None
    if resamples is not None:
        draw = partial(_drawn, matrices.type_counts(source, resamples), S, D, T, settings)
        drawn = np.concatenate(list(spread(draw, resamples.batches())))[:, eligible]
    coverage = matrices.coverage
    if coverage == 0:
        log.warning(
            "No concept of %s can be aligned: no translation of the dictionary is a clustered word of %s. If it is "
            "spelt in another case than the corpus, see TranslationDictionary.for_corpus.",
            dictionary.source,
            dictionary.target,
        )
    facts: dict[str, Any] = {"coverage": coverage, "method": settings.interval}
    estimates = tuple(
        _estimate(best[eligible], chance, drawn, _Passing(settings, theta), theta=theta, **facts)
        for theta in settings.theta_align
    )
    soft = _estimate(best[eligible], chance, drawn, lambda matches: matches, theta=math.nan, **facts)
    pairs = _pairs(counts, n_source, n_target, settings, min(settings.theta_align))
    matched = _matched_words(source, target, dictionary, pairs) if words else _NO_WORDS
    return Alignment(dictionary.source, dictionary.target, estimates, soft, best, pairs, matched, settings, **nulls)


@checked
def mean_alignment(forward: Estimate, backward: Estimate) -> Estimate:
    """Return the mean of both directions; its interval adds the two half widths in quadrature."""

    def mean(name: str) -> float:
        return (float(getattr(forward, name)) + float(getattr(backward, name))) / 2

    def mean_draws(name: str) -> npt.NDArray[np.float32] | None:
        there, back = getattr(forward, name), getattr(backward, name)
        return None if there is None or back is None else ((there + back) / 2).astype(np.float32)

    def half(side: Literal["ci_low", "ci_high"]) -> float:
        return math.hypot(getattr(forward, side) - forward.score, getattr(backward, side) - backward.score) / 2

    score = mean("score")
    low, high = np.clip((score - half("ci_low"), score + half("ci_high")), 0.0, 1.0).tolist()
    draws, ci = mean_draws("draws"), forward.ci
    if draws is not None:
        low, high, ci = *share_interval(score, draws), named_interval("bca", draws)
    return Estimate(
        theta=forward.theta,
        score=score,
        ci_low=low,
        ci_high=high,
        n=forward.n + backward.n,
        coverage=mean("coverage"),
        ci=ci,
        draws=draws,
        **against(score, words=mean_draws("null_words"), sentence=mean_draws("null_sentence")),
    )


def check_sides(source: Concepts, target: Concepts, dictionary: TranslationDictionary) -> None:
    """Refuse concepts that are not of the dictionary's two languages, one on each side."""
    for concepts, language, side in ((source, dictionary.source, "source"), (target, dictionary.target, "target")):
        if concepts.languages and concepts.languages != (language,):
            raise UsageError(
                f"The {side} concepts are of {concepts.space} but the dictionary is "
                f"{dictionary.source}->{dictionary.target}. CALIGN takes concepts of one language on each side."
            )


def _only(side: Concepts, words: pl.Series) -> Concepts:
    """Return the concepts with tokens of some words alone; the others belong to none."""
    there = side.tokens["word"].is_in(words.unique().implode()).to_numpy()
    return replace(side, labels=np.where(there, side.labels, -1).astype(np.int32))


def _shuffled(
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    rule: AlignmentSettings,
    generator: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Return best matches of eligible concepts when the tokens of each side change their labels at random."""
    left, right = (replace(side, labels=_moved(side.labels, generator)) for side in (source, target))
    matrices = Matrices.of(left, right, dictionary)
    best = best_matches(match_counts(matrices.S, matrices.D, matrices.T), *matrices.sizes, rule)
    return best[rule.eligible(matrices.sizes[0])].astype(np.float32)


def _moved(labels: npt.NDArray[np.int32], generator: np.random.Generator) -> npt.NDArray[np.int32]:
    """Return labels that have changed places; what belongs to no concept stays out."""
    moved, there = labels.copy(), labels >= 0
    moved[there] = generator.permutation(labels[there])
    return moved


def _drawn(  # noqa: PLR0917
    counts: sp.csr_array,
    S: sp.csr_array,
    D: sp.csr_array,
    T: sp.csr_array,
    rule: AlignmentSettings,
    weights: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return (n, K_s) best matches under (n, m) weights of sentences."""
    return weighted_best_matches(S, D, T, rule, drawn_types(counts, weights))


def drawn_types(counts: sp.csr_array, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (S.nnz, n): of every type in every concept, tokens drawn over tokens there; see `Matrices.type_counts`."""
    return np.asarray((counts @ weights.T) / counts.sum(axis=1)[:, None], dtype=np.float32)


@dataclass(frozen=True)
class _Passing:
    """Turns best matches into 0 and 1 at a threshold; float32 quotients against a float32 one tie as in float64."""

    rule: AlignmentSettings
    theta: float

    def __call__(self, best: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        theta = float(np.float32(self.theta)) if best.dtype == np.float32 else self.theta
        return np.asarray(self.rule.reaches(best, theta), dtype=np.float64)


def _estimate(
    best: npt.NDArray[np.float64],
    chance: dict[str, Null],
    drawn: npt.NDArray[np.float32] | None,
    value: Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]],
    *,
    theta: float,
    coverage: float,
    method: Interval,
) -> Estimate:
    n = len(best)
    values = value(best)
    score = float(values.mean()) if n else math.nan
    nulls = {name: np.array([value(m).mean() if len(m) else math.nan for m in null]) for name, null in chance.items()}
    draws = None
    if drawn is not None:
        there = np.isfinite(drawn)
        # sums in float32 may miss a tie by rounding
        passed = value((drawn + np.float32(1e-6)).astype(np.float32)) * there
        with np.errstate(invalid="ignore"):
            draws = (np.where(there, passed, 0).sum(axis=1) / there.sum(axis=1)).astype(np.float32)
        low, high = share_interval(score, draws, method=method)
        ci = named_interval(method, draws)
    elif math.isnan(theta):
        low, high, ci = *mean_interval(values), "normal"
    else:
        low, high, ci = *wilson(int(values.sum()), n), "wilson"
    facts: dict[str, Any] = {"theta": theta, "score": score, "n": n, "coverage": coverage}
    return Estimate(**facts, ci_low=low, ci_high=high, ci=ci, draws=draws, **against(score, **nulls))


def _pairs(
    counts: sp.csr_array,
    source: npt.NDArray[np.int32],
    target: npt.NDArray[np.int32],
    rule: AlignmentSettings,
    theta: float,
) -> pl.DataFrame:
    coo = counts.tocoo()
    s, t = coo.coords
    kept = rule.admissible(source[s], target[t])
    s, t, n = s[kept], t[kept], coo.data[kept]
    table = pl.DataFrame(
        {
            "source_concept": s.astype(np.int32),
            "target_concept": t.astype(np.int32),
            "source_types": source[s],
            "target_types": target[t],
            "n_matched": n,
            "match": n / source[s],
        }
    )
    best = pl.col("match") == pl.col("match").max().over("source_concept")
    table = table.filter(rule.reaches(pl.col("match"), theta) | best)
    return table.sort("match", "n_matched", "source_concept", "target_concept", descending=[True, True, False, False])


_WORDS = {"source_concept": pl.Int32, "target_concept": pl.Int32, "source": pl.String, "target": pl.String}
_NO_WORDS = pl.DataFrame(schema=_WORDS)


def _matched_words(
    source: Concepts, target: Concepts, dictionary: TranslationDictionary, pairs: pl.DataFrame
) -> pl.DataFrame:
    s = source.types().select(pl.col("concept").alias("source_concept"), pl.col("word").alias("source"))
    t = target.types().select(pl.col("concept").alias("target_concept"), pl.col("word").alias("target"))
    words = pairs.select("source_concept", "target_concept").join(s, on="source_concept")
    words = words.join(dictionary.table.select("source", "target"), on="source")
    return words.join(t, on=["target_concept", "target"]).select(*_WORDS).unique().sort(*_WORDS)
