"""The best of many: its p-value, its interval and its rivals, when it was chosen because it is the best.

Rows are whatever was looked at: layers, pairs, thresholds, models.  Their draws go together by column: one permutation,
or one resample of sentences, of all of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.metrics.statistics.bootstrap import GROUPS

Floats = npt.NDArray[np.float64]
_DRAWN = 1000  # maxima drawn for a critical value
_ROUNDING = 1e-6


def corrected_p(scores: npt.ArrayLike, nulls: npt.ArrayLike) -> Floats:
    """Return p-values (r,) of r scores that hold for the best of them: corrected by the maximum statistic.

    ``p_i = (1 + #{draws: max over rows t_j >= t_i}) / (1 + n)``, the single-step method of Westfall and Young
    (*Resampling-Based Multiple Testing*, 1993).  Where draws vary as studies do, the smallest p is below 0.05 in 5 % of
    studies of nothing at most; where concepts are topics they vary less, and it is more often (docs/planted.md).  Draws
    that go together make up for rows that resemble each other, as layers do.

    ``t = (score - mean) / (sd + s0)``, mean and standard deviation those of the row's null, s0 the lower quartile of
    all sd above 0: rows of wide nulls, with few concepts or a low threshold, do not drown the others, and rows of which
    nearly every draw is 0 do not either (a constant added to sd is from Tusher, Tibshirani and Chu, PNAS 98, 2001).
    docs/planted.md has the power of other forms.

    Parameters
    ----------
    scores : array (r,)
    nulls : array (r, n)
        The scores under the null.  Rows with a value that is not finite are left out; their p is NaN.

    Examples
    --------
    >>> corrected_p([0.9, 0.2], [[0.1, 0.2, 0.3], [0.2, 0.1, 0.3]]).tolist()
    [0.25, 1.0]
    """
    values, drawn = np.asarray(scores, dtype=np.float64), np.asarray(nulls, dtype=np.float64)
    p = np.full(len(values), np.nan)
    there = np.isfinite(values) & np.isfinite(drawn).all(axis=1) if drawn.size else np.zeros(len(values), bool)
    if not there.any():
        return p
    # sums in float32 may miss a tie by rounding, and seem to vary
    values = values[there] - _ROUNDING
    centre, spread, highest = _largest(drawn[there])
    reached = len(highest) - np.searchsorted(highest, (values - centre) / spread)
    p[there] = (1 + reached) / (1 + len(highest))
    return p


def least_seen(nulls: npt.ArrayLike, *, level: float = 0.05) -> Floats:
    """Return the scores (r,) above which `corrected_p` is below `level`; NaN for rows that it leaves out.

    ``mean + t (sd + s0)``, t the largest of the maxima that no more than ``level (1 + n) - 1`` of them reach.

    Examples
    --------
    >>> nulls = np.random.default_rng(0).normal(size=(3, 200))
    >>> bool((corrected_p(least_seen(nulls) + 1e-3, nulls) < 0.05).all())
    True
    """
    drawn = np.asarray(nulls, dtype=np.float64)
    least = np.full(len(drawn), np.nan)
    there = np.isfinite(drawn).all(axis=1) if drawn.size else np.zeros(len(drawn), bool)
    if not there.any():
        return least
    centre, spread, highest = _largest(drawn[there])
    most = int(np.ceil(level * (1 + len(highest)) - 1e-9)) - 2
    # with few draws no score is seen
    least[there] = centre + highest[len(highest) - 1 - most] * spread if most >= 0 else np.inf
    return least


def _largest(drawn: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean and spread (r,) of the rows of a null, and the largest standardised value of each draw, rising."""
    centre, spread = drawn.mean(axis=1), drawn.std(axis=1)
    varies = spread > _ROUNDING
    # where nothing varies any score above its null is beyond all draws
    spread += np.quantile(spread[varies], 0.25) if varies.any() else 1.0
    return centre, spread, np.sort(((drawn - centre[:, None]) / spread[:, None]).max(axis=0))


def simultaneous_intervals(
    scores: npt.ArrayLike, draws: npt.ArrayLike, *, level: float = 0.95, draw_seed: int = 0
) -> tuple[Floats, Floats]:
    """Return lower and upper ends (r,) of intervals that hold for all rows at once, so for whichever is chosen.

    ``score +- c sd``, sd the standard deviation of the row's resamples, c the `level` quantile of the largest
    ``|deviation| / sd`` of all rows.  The deviations are normal with the correlations of the resamples (a multiplier
    bootstrap: Chernozhukov, Chetverikov and Kato, *Annals of Statistics* 41, 2013), as the largest of few skewed
    resamples is not to be trusted.

    Parameters
    ----------
    scores : array (r,)
    draws : array (r, n + 20)
        Of the rows of one `isogloss.metrics.statistics.bootstrap.Resamples`; NaN where a score is not defined.
    level : float
        Of all intervals together.
    draw_seed : int
        For the multipliers.

    Examples
    --------
    >>> resampled = np.random.default_rng(0).normal(size=(13, 220))
    >>> low, high = simultaneous_intervals(np.zeros(13), resampled)
    >>> bool((high > 2.4).all())
    True
    """
    values, away = _deviations(scores, draws)
    low, high = np.full((2, len(values)), np.nan)
    there = np.isfinite(values) & np.isfinite(away).all(axis=1)
    if there.any():
        spread = away[there].std(axis=1)
        half = _critical(away[there], spread, level, draw_seed) * spread
        low[there], high[there] = values[there] - half, values[there] + half
    return low, high


def told_apart(
    scores: npt.ArrayLike, draws: npt.ArrayLike, *, level: float = 0.95, widened: float = 1.0, draw_seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Return (r, r): whether row i is higher than row j beyond what any two of r equal rows differ by.

    ``score_i - score_j > c sd``, sd `widened` times the standard deviation of the difference over resamples, c the
    `level` quantile of the largest standardised difference of any two rows (Tukey's comparison of all pairs, on
    correlated rows).  As it holds for all pairs at once, it holds for the best and the worst, chosen after the fact.
    Where all rows are equal, none is told apart in `level` of studies.

    Parameters are those of `simultaneous_intervals`, and `widened`: by how much new texts vary more than resamples.

    Examples
    --------
    >>> resampled = np.random.default_rng(0).normal(scale=0.01, size=(3, 220))
    >>> told_apart([0.5, 0.3, 0.29], resampled)[0].tolist()
    [False, True, True]
    """
    values, away = _deviations(scores, draws)
    apart = np.zeros((len(values), len(values)), dtype=bool)
    there = np.flatnonzero(np.isfinite(values) & np.isfinite(away).all(axis=1))
    away = away[there]
    if len(there) < 2:
        return apart
    # rows that vary together have a difference that hardly varies: not from the covariance, which would lose it
    spreads = np.concatenate([(away[i + 1 :] - away[i]).std(axis=1) for i in range(len(there))])
    c = _critical_difference(away, spreads, level, draw_seed)
    first, second = np.triu_indices(len(there), 1)
    more = values[there[first]] - values[there[second]]
    least = c * widened * spreads + 1e-9
    apart[there[first], there[second]] = more > least
    apart[there[second], there[first]] = -more > least
    return apart


def _deviations(scores: npt.ArrayLike, draws: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return scores, and resamples (r, n) less their mean; NaN rows where no resample is defined."""
    drawn = np.asarray(draws, dtype=np.float64)[:, :-GROUPS]
    there = np.isfinite(drawn)
    with np.errstate(invalid="ignore"):
        mean = np.where(there, drawn, 0).sum(axis=1, keepdims=True) / there.sum(axis=1, keepdims=True)
    away = np.where(there | np.isnan(mean), drawn - mean, 0.0)
    return np.asarray(scores, dtype=np.float64), away


def _normal(away: Floats, draw_seed: int) -> Floats:
    """Return (r, 1000) normal deviations with the covariances of the resamples."""
    multipliers = np.random.default_rng(draw_seed).standard_normal((away.shape[1], _DRAWN))
    return np.asarray(away @ multipliers / np.sqrt(away.shape[1]))


def _critical(away: Floats, spread: Floats, level: float, draw_seed: int) -> float:
    """Return the quantile of the largest standardised deviation of all rows that vary."""
    varies = spread > 0
    if not varies.any():
        return 0.0
    largest = np.abs(_normal(away[varies] / spread[varies, None], draw_seed)).max(axis=0)
    return float(np.quantile(largest, level))


def _critical_difference(away: Floats, spreads: Floats, level: float, draw_seed: int) -> float:
    """Return the quantile of the largest standardised difference; `spreads` are of rows 0-1, 0-2, ..., 1-2, ..."""
    normal, largest = _normal(away, draw_seed), np.zeros(_DRAWN)
    scale = np.where(spreads > 0, spreads, np.inf)
    begin = 0
    for i in range(len(away) - 1):
        rest = normal[i + 1 :] - normal[i]
        largest = np.maximum(largest, (np.abs(rest) / scale[begin : begin + len(rest), None]).max(axis=0))
        begin += len(rest)
    return float(np.quantile(largest, level))
