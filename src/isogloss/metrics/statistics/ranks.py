"""Rank correlation; and of few languages, as in zero-shot transfer, with exact tests and honest intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from isogloss.arguments import Numbers, Seed, checked
from isogloss.errors import InputError

Floats = npt.NDArray[np.float64]
_EXACT = 8  # languages up to which all orders are tried: 8! = 40,320
_DRAWS = 10_000
LEAST = 4  # languages for a correlation; with three, the smallest two-sided p-value is 1/3


@checked
def rank_correlation(x: Numbers, y: Numbers) -> float:
    """Return Spearman's rank correlation; NaN below three pairs, or where one side does not vary.

    Pairs of which a value is not finite are left out.  Equal values share their mean rank.

    Examples
    --------
    >>> round(rank_correlation([1, 2, 3, 9], [1, 4, 3, 9]), 3)
    0.8
    """
    left, right = (np.asarray(values, dtype=np.float64) for values in (x, y))
    finite = np.isfinite(left) & np.isfinite(right)
    left, right = left[finite], right[finite]
    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return math.nan
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


@dataclass(frozen=True)
class Association:
    """How a measure goes with a score over `n` languages."""

    n: int
    # Spearman's rank correlation; NaN below 4 languages or where one side does not vary
    rho: float
    # 95 % by Fisher's z with Bonett and Wright's standard error for ranks; NaN below 5 languages
    ci_low: float
    ci_high: float
    # two-sided, by permutation of the languages: exact up to 8
    p_value: float
    # of the least-squares line score = intercept + slope * measure; NaN below 4 languages
    slope: float
    # mean absolute error of predicting a language's score from the line through the *other* languages, and from their
    # mean; the measure predicts transfer only where the first is smaller
    error: float
    error_of_mean: float


@checked
def association(measure: Numbers, score: Numbers, *, draw_seed: Seed = 0) -> Association:
    """Return how far the languages' values of a measure go with their zero-shot scores.

    Sources: Spearman 1904; the standard error ``sqrt((1 + rho^2 / 2) / (n - 3))`` of atanh(rho) is Bonett and Wright's
    (*Sample Size Requirements for Estimating Pearson, Kendall and Spearman Correlations*, Psychometrika 65, 2000).

    Parameters
    ----------
    measure, score : arrays (n,) of float
        One value a language; languages where either is not finite are left out.
    draw_seed : int
        For permutations of more than 8 languages.

    Raises
    ------
    InputError
        If the two differ in length.

    Examples
    --------
    >>> transfer = association([0.1, 0.2, 0.3, 0.4], [0.3, 0.5, 0.6, 0.9])
    >>> round(transfer.rho, 3), round(transfer.p_value, 3)
    (1.0, 0.083)
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (measure, score))
    if x.shape != y.shape:
        raise InputError(f"One value a language is needed of both; got {x.size} and {y.size}.")
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    n, nan = len(x), math.nan
    if n < LEAST or np.ptp(x) < 1e-12 or np.ptp(y) < 1e-12:
        return Association(n, nan, nan, nan, nan, nan, nan, nan)
    rx, ry = _ranks(x), _ranks(y)
    # as the permuted ones below are computed: p counts those that reach it
    rho = float(rx @ ry)
    low = high = nan
    if n > LEAST and abs(rho) < 1 - 1e-12:
        spread = 1.959964 * math.sqrt((1 + rho**2 / 2) / (n - 3))
        low, high = math.tanh(math.atanh(rho) - spread), math.tanh(math.atanh(rho) + spread)
    if n <= _EXACT:
        drawn = np.array([rx @ ry[list(order)] for order in permutations(range(n))])
        p = float(np.mean(np.abs(drawn) >= abs(rho) - 1e-12))
    else:
        generator = np.random.default_rng(draw_seed)
        drawn = np.array([rx @ ry[generator.permutation(n)] for _ in range(_DRAWS)])
        p = float((np.sum(np.abs(drawn) >= abs(rho) - 1e-12) + 1) / (_DRAWS + 1))
    lines, means = [], []
    for i in range(n):
        others = np.arange(n) != i
        means.append(abs(y[i] - y[others].mean()))
        slope = _slope(x[others], y[others])
        lines.append(abs(y[i] - float(y[others].mean() + slope * (x[i] - x[others].mean()))))
    return Association(n, rho, low, high, p, _slope(x, y), float(np.mean(lines)), float(np.mean(means)))


def _ranks(x: Floats) -> Floats:
    """Return centred ranks of length 1, so that products are correlations."""
    ranks = rankdata(x) - (len(x) + 1) / 2
    return np.asarray(ranks / np.linalg.norm(ranks))


def _slope(x: Floats, y: Floats) -> float:
    away = x - x.mean()
    spread = float(away @ away)
    return float(away @ y) / spread if spread > 0 else 0.0
