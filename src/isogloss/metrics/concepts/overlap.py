"""COLAP, concept overlap (Mousi et al. 2024): which concepts do languages that are clustered together share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.signal import fftconvolve
from scipy.special import gammaln

from isogloss.arguments import checked
from isogloss.concepts import Concepts
from isogloss.errors import UsageError, unknown
from isogloss.metrics.statistics.bootstrap import Resamples, named_interval, share_interval
from isogloss.metrics.statistics.intervals import wilson
from isogloss.results import Estimate, Overlap
from isogloss.settings import OverlapSettings, takes

Counts = npt.NDArray[np.int64]

_SYMMETRIC = OverlapSettings()
_N_SIZES = 20  # different sizes of concepts up to which all covariances are computed


@checked
@takes(OverlapSettings)
def colap(
    concepts: Concepts,
    *,
    settings: OverlapSettings,
    languages: Sequence[str] | None = None,
    resamples: Resamples | None = None,
) -> Overlap:
    """Return the share of concepts in which every language owns at least `theta_overlap` of the tokens.

    Source: Mousi et al., *Exploring Alignment in Shared Cross-lingual Spaces*, ACL 2024, section 3.  The chance
    level is the exact expectation when tokens are dealt to concepts of the same sizes without regard to language
    (multivariate hypergeometric), and so is its standard deviation (`chance_deviation`).  `p_value` is the upper
    tail of a normal with these.

    Parameters
    ----------
    concepts : Concepts
        Discovered in all languages of the group together.
    settings : OverlapSettings, optional
        All of these at once; what is given beside it differs.
    languages : sequence of str, optional
        The group (default: the languages of the space).
    resamples : Resamples, optional
        Of sentences, for intervals from a bootstrap; concepts are kept.

    Returns
    -------
    Overlap

    Raises
    ------
    UsageError
        If a threshold is out of range, or the group has fewer than two languages, one twice, or an unknown one.
    """
    group = tuple(languages) if languages is not None else concepts.languages
    if len(set(group)) < max(2, len(group)):
        raise UsageError(f"COLAP needs concepts of at least two languages together; got {'+'.join(group)}.")
    for language in group:
        if language not in concepts.languages and not settings.strict:  # of their two sides, one may be empty
            raise unknown("language", language, concepts.languages)
    if max(settings.theta_overlap) > 1 / len(group):
        raise UsageError(
            f"theta_overlap must lie in (0, {1 / len(group):.3g}] for {len(group)} languages: above that, no "
            f"concept can overlap; got {max(settings.theta_overlap)}."
        )
    counts = language_counts(concepts, group)
    coverage = float((concepts.labels >= 0).mean()) if len(concepts.labels) else math.nan
    drawn = None if resamples is None else drawn_counts(concepts, group, resamples)
    estimates = tuple(_estimate(counts, t, coverage, settings=settings, drawn=drawn) for t in settings.theta_overlap)
    return Overlap(group, estimates, counts, settings)


def group_theta(theta: float, n_languages: int) -> float:
    """Return the overlap threshold of a group that asks of every language what `theta` asks of a pair.

    A pair at 0.3 asks for 0.6 of an even share (1/2).  Of L languages no more than 1/L can be asked, so the group
    is held to the same part of its even share: ``theta * 2 / L``.
    """
    return theta * 2 / n_languages


def language_counts(concepts: Concepts, languages: Sequence[str]) -> Counts:
    """Return (n_concepts, n_languages) int64: the tokens of every language in every concept."""
    flat, _ = _cells(concepts, languages)
    counts = np.bincount(flat, minlength=concepts.n_concepts * len(languages))
    return counts.reshape(concepts.n_concepts, len(languages)).astype(np.int64)


def drawn_counts(concepts: Concepts, languages: Sequence[str], resamples: Resamples) -> npt.NDArray[np.float32]:
    """Return (n + 20, n_concepts, n_languages): the counts of `language_counts` in every resample."""
    flat, sentences = _cells(concepts, languages)
    counts = resamples.table(flat, sentences, concepts.n_concepts * len(languages))
    return resamples.of(counts).T.reshape(-1, concepts.n_concepts, len(languages))


def _cells(concepts: Concepts, languages: Sequence[str]) -> tuple[Counts, pl.Series]:
    """Return concept * n_languages + language of every clustered token of the languages, and its sentence."""
    table = concepts.table().filter(pl.col("language").is_in(list(languages)))
    index = {language: i for i, language in enumerate(languages)}
    columns = table["language"].replace_strict(index, return_dtype=pl.Int64).to_numpy()
    return table["concept"].to_numpy().astype(np.int64) * len(languages) + columns, table["sentence"]


def chance_overlap(
    sizes: Counts, totals: Counts, theta: float, *, rule: OverlapSettings = _SYMMETRIC
) -> npt.NDArray[np.float64]:
    """Return for every concept the exact probability to overlap when tokens are dealt out at random.

    For a concept of n tokens and languages with N_1 .. N_L tokens the counts are multivariate hypergeometric:
    ``P = sum over k_1 + .. + k_L = n with every k_l >= a(n) of prod_l C(N_l, k_l) / C(N, n)``, a(n) the smallest
    count whose share passes theta.  The sum is a convolution of L sequences.  `sizes` (n_concepts,) and `totals`
    (n_languages,) are the tokens of every concept and language.
    """
    distinct, inverse = np.unique(sizes, return_inverse=True)
    return np.array([_chance(int(n), totals, theta, rule) for n in distinct])[inverse]


def _chance(n: int, totals: Counts, theta: float, rule: OverlapSettings) -> float:
    if n == 0:
        return 0.0
    total, least = int(totals.sum()), _least(n, theta, rule)
    if n == total:
        return float((totals >= least).all())
    # Every sequence C(N_l, k) x^k is tilted by x and scaled so that its largest term is 1: no overflow for any N.
    tilt = math.log(n / (total - n))
    product, smallest, log_scale = np.ones(1), 0, 0.0  # product[i] is the term of smallest + i tokens
    for size in totals:
        k = np.arange(least, min(n, int(size)) + 1)
        if not len(k):
            return 0.0
        logs = _log_choose(int(size), k) + k * tilt
        top = logs.max()
        terms = np.exp(logs - top)
        used = np.flatnonzero(terms)  # the far tails underflow: they add nothing, and time
        product = np.convolve(product, terms[used[0] : used[-1] + 1])
        smallest += int(k[used[0]])
        log_scale += top
    if not smallest <= n < smallest + len(product) or product[n - smallest] <= 0:
        return 0.0
    log_all = float(_log_choose(total, np.array([n]))[0]) + n * tilt
    return min(1.0, math.exp(math.log(product[n - smallest]) + log_scale - log_all))


def _log_choose(n: int, k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def chance_deviation(sizes: Counts, totals: Counts, theta: float, *, rule: OverlapSettings = _SYMMETRIC) -> float:
    """Return the standard deviation of COLAP when tokens are dealt out at random.

    ``Var = (sum_i p_i (1 - p_i) + sum_{i != j} (p_ij - p_i p_j)) / K^2``, p_ij the probability that concepts i and j
    both overlap: of counts k_l in i and m_l in j, language by language multinomial,
    ``p_ij = sum prod_l N_l! / (k_l! m_l! (N_l - k_l - m_l)!) / (N! / (n_i! n_j! (N - n_i - n_j)!))``, a convolution
    in two dimensions.  It is exact up to 20 different sizes; of more, the covariances, a tenth of the variance or
    less, are those of 20 sizes that stand for all.  `sizes` are those of `chance_overlap`, all above 0.
    """
    distinct: Any
    distinct, counted = np.unique(sizes, return_counts=True)
    alone = np.array([_chance(int(n), totals, theta, rule) for n in distinct])
    times: Any = counted.astype(np.float64)
    variance = float((times * alone * (1 - alone)).sum())
    if len(distinct) > _N_SIZES:  # of every twentieth of the concepts the middle size
        ordered = np.sort(sizes)
        middle = ordered[((np.arange(_N_SIZES) + 0.5) * len(sizes) / _N_SIZES).astype(np.int64)]
        distinct, counted = np.unique(middle, return_counts=True)
        times = counted * (len(sizes) / _N_SIZES)
        alone = np.array([_chance(int(n), totals, theta, rule) for n in distinct])
    for i, n in enumerate(distinct):
        for j in range(i, len(distinct)):
            pairs = times[i] * (times[i] - 1) if i == j else 2 * times[i] * times[j]
            if pairs and alone[i] * alone[j] > 0:
                both = _chance_of_both(int(n), int(distinct[j]), totals, theta, rule)
                variance += float(pairs) * (both - alone[i] * alone[j])
    return math.sqrt(max(variance, 0.0)) / len(sizes)


def _chance_of_both(n: int, m: int, totals: Counts, theta: float, rule: OverlapSettings) -> float:
    """Return the probability that a concept of n and one of m tokens both overlap."""
    total = int(totals.sum())
    if n + m > total:
        return 0.0
    least = [_least(size, theta, rule) for size in (n, m)]
    slack = [size - len(totals) * low for size, low in zip((n, m), least, strict=True)]
    if min(slack) < 0:
        return 0.0
    # counts above the least ones run to the slack; every table is tilted and scaled as in _chance
    more = np.arange(slack[0] + 1)[:, None], np.arange(slack[1] + 1)[None, :]
    rest = max(total - n - m, 0.5)
    tilt = (math.log(n / rest), math.log(m / rest))
    product, log_scale = np.zeros((1, 1)), 0.0
    for number, size in enumerate(totals):
        a, b = more[0] + least[0], more[1] + least[1]
        left = int(size) - a - b
        logs = np.where(left >= 0, -gammaln(a + 1) - gammaln(b + 1) - gammaln(np.maximum(left, 0) + 1), -np.inf)
        logs = logs + gammaln(int(size) + 1) + a * tilt[0] + b * tilt[1]
        top = float(logs.max())
        if top == -math.inf:
            return 0.0
        terms = np.exp(logs - top)
        log_scale += top
        if number == 0:
            product = terms
        elif number < len(totals) - 1:
            product = np.maximum(fftconvolve(product, terms)[: slack[0] + 1, : slack[1] + 1], 0)
        else:  # only the sum that uses up both concepts is wanted
            product = np.array([[(product * terms[::-1, ::-1]).sum()]])
    if product[0, 0] <= 0:
        return 0.0
    log_all = gammaln(total + 1) - gammaln(n + 1) - gammaln(m + 1) - gammaln(total - n - m + 1)
    log_all += n * tilt[0] + m * tilt[1]
    return float(min(1.0, math.exp(math.log(product[0, 0]) + log_scale - log_all)))


def _least(n: int, theta: float, rule: OverlapSettings) -> int:
    """Return the smallest count of n tokens whose share passes theta."""
    k = np.arange(n + 1)
    passed = rule.owns(k / n, theta)
    return int(passed.argmax()) if passed.any() else n + 1


def _estimate(
    counts: Counts, theta: float, coverage: float, *, settings: OverlapSettings, drawn: npt.NDArray[np.float32] | None
) -> Estimate:
    sizes = counts.sum(axis=1)
    kept = sizes > 0
    n = int(kept.sum())
    if n == 0:
        return Estimate(theta, *(math.nan,) * 6, n=0, coverage=coverage)
    n_shared = int(settings.overlapping(counts[kept], theta).sum())
    totals = counts.sum(axis=0)
    chance = float(chance_overlap(sizes[kept], totals, theta, rule=settings).mean())
    sd = chance_deviation(sizes[kept], totals, theta, rule=settings)
    p_value = 0.5 * math.erfc((n_shared / n - chance) / (sd * math.sqrt(2))) if sd > 0 else math.nan
    low, high, ci, draws = *wilson(n_shared, n), "wilson", None
    if drawn is not None:
        there = drawn[:, kept].sum(axis=2) > 0
        passed = settings.overlapping(drawn[:, kept], theta) & there
        draws = (passed.sum(axis=1) / np.maximum(there.sum(axis=1), 1)).astype(np.float32)
        low, high = share_interval(n_shared / n, draws, method=settings.interval)
        ci = named_interval(settings.interval, draws)
    return Estimate(theta, n_shared / n, chance, sd, p_value, low, high, n, coverage, ci, draws)
