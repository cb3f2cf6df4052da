"""How languages mix in the concepts of a joint space: entropy, purity and AMI of counts, with their chance levels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.metrics.statistics.bootstrap import interval as bootstrap_interval
from isogloss.metrics.statistics.bootstrap import named_interval
from isogloss.results import Estimate
from isogloss.settings import Interval

Counts = npt.NDArray[Any]  # (..., n_concepts, n_languages): tokens of every language in every concept
Floats = npt.NDArray[np.float64]


def mixing_estimates(
    counts: npt.NDArray[np.int64],
    *,
    drawn: npt.NDArray[np.floating] | None = None,
    interval: Interval = "bca",
    n_permutations: int = 20,
    draw_seed: int = 0,
) -> dict[str, Estimate]:
    """Return ``language_entropy``, ``purity`` and ``ami`` (see `partition`) of a joint space, without thresholds.

    Parameters
    ----------
    counts : numpy.ndarray
        (n_concepts, n_languages) int64, tokens of every language in every concept, as `Overlap.counts`.
    drawn : numpy.ndarray, optional
        (n + 20, n_concepts, n_languages): the same in every resample of sentences, from `colap.drawn_counts`, for
        intervals.  For AMI the expected mutual information stays that of `counts`: it depends on the sizes alone, and
        takes seconds for many concepts.
    n_permutations : int
        For the chance level: the same tokens dealt out without regard to language.  As with COLAP a space that knows
        no languages reaches it.

    Examples
    --------
    >>> {name: round(estimate.score, 3) for name, estimate in mixing_estimates(np.array([[4, 0], [2, 2]])).items()}
    {'language_entropy': 0.5, 'purity': 0.75, 'ami': 0.23}
    """
    from sklearn.metrics.cluster import expected_mutual_information

    kept = np.ix_(counts.sum(axis=1) > 0, counts.sum(axis=0) > 0)
    table = counts[kept]
    if drawn is not None:
        drawn = drawn[:, kept[0], kept[1]]
    # E[MI] when tokens are dealt out at random to concepts of the same sizes
    expected = float(expected_mutual_information(table, int(table.sum()))) if table.size else math.nan
    tokens = np.repeat(np.tile(np.arange(table.shape[1]), len(table)), table.reshape(-1))
    concepts = np.repeat(np.arange(len(table)), table.sum(axis=1))
    generator = np.random.default_rng(draw_seed)
    shuffled = np.zeros((n_permutations, *table.shape), np.int64)
    for dealt in shuffled:
        np.add.at(dealt, (concepts, generator.permutation(tokens)), 1)
    estimates = {}
    for name, measure in (("language_entropy", entropy_of), ("purity", purity_of), ("ami", None)):
        # AMI is 0 under this null by its definition
        null = measure(shuffled) if measure else np.zeros(1)
        of = measure or (lambda tables: ami_of(tables, expected))
        draws = None if drawn is None else np.asarray(of(drawn), np.float32)
        least = -1.0 if name == "ami" else 0.0
        estimates[name] = estimate_of(float(of(table)), null, draws, interval, n=len(table), range_=(least, 1.0))
    return estimates


def estimate_of(
    score: float,
    null: npt.ArrayLike,
    draws: npt.NDArray[np.float32] | None,
    interval: Interval,
    *,
    n: int,
    range_: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """Return the estimate of a measure without a threshold: chance is the mean of the null, an interval needs draws."""
    low, high, ci = math.nan, math.nan, "none"
    if draws is not None:
        ends, ci = bootstrap_interval(score, draws, method=interval), named_interval(interval, draws)
        low, high = (float(np.clip(end, *range_)) for end in ends)
    values = np.asarray(null, np.float64)
    chance = float(np.mean(values)) if len(values) else math.nan
    sd = float(np.std(values)) if len(values) > 1 else math.nan
    return Estimate(math.nan, score, chance, sd, math.nan, low, high, n, 1.0, ci, draws)


def entropy_of(counts: Counts) -> Floats:
    """Return (...): H(language | concept) / log L of tables of counts; NaN with one language or no token."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / counts.sum(axis=-1, keepdims=True)
        terms = counts * np.log(shares, where=shares > 0, out=np.zeros(shares.shape))
        conditional = abs(terms.sum(axis=(-2, -1))) / counts.sum(axis=(-2, -1))
        return np.asarray(conditional / np.log(counts.shape[-1]))


def purity_of(counts: Counts) -> Floats:
    """Return (...): the share of tokens of the main language of their concept, of tables of counts."""
    with np.errstate(invalid="ignore"):
        return np.asarray(counts.max(axis=-1).sum(axis=-1) / counts.sum(axis=(-2, -1)))


def ami_of(counts: Counts, expected: float) -> Floats:
    """Return (...): ``(MI - expected) / (mean(H(concept), H(language)) - expected)`` of tables of counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = counts / counts.sum(axis=(-2, -1), keepdims=True)
        concepts, languages = _entropy(joint.sum(axis=-1)), _entropy(joint.sum(axis=-2))
        both = _entropy(joint.reshape(*joint.shape[:-2], -1))
        factor = np.nan if counts.shape[-1] == 1 else 1.0  # with one language there is nothing to tell
        return factor * (concepts + languages - both - expected) / ((concepts + languages) / 2 - expected)


def _entropy(shares: Floats) -> Floats:
    return -np.asarray((shares * np.log(shares, where=shares > 0, out=np.zeros(shares.shape))).sum(axis=-1))
