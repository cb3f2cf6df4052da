"""ANC, average neuron-wise correlation: does each dimension say the same of both sides."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from isogloss.arguments import checked
from isogloss.metrics.inputs import Floats, Vectors, centred, paired

_ROUNDING = 1e-12  # a variance of less than this part of the whole column's is none


@checked
def anc(X: Vectors, Y: Vectors, *, signed: bool = True) -> float:
    """Return the mean over dimensions of the correlation of X's column with Y's.

    Parameters
    ----------
    X, Y : arrays (n, d) of float
        Row i of both belongs together, and column j of both is the same dimension of one model: no rotation is undone.
    signed : bool
        Whether a negative correlation counts as such; otherwise absolute values are averaged, as the authors' code
        does.  Signed, unrelated X and Y score about 0; absolute, about sqrt(2 / (π n)).

    Returns
    -------
    float
        In [-1, 1], absolute in [0, 1].  Dimensions without variance on either side are left out; NaN if none is left.

    Raises
    ------
    InputError
        If the two differ in shape or have fewer than 3 rows (two always correlate fully), or a number is not finite.

    Notes
    -----
    ``(1/d) Σⱼ corr(X·ⱼ, Y·ⱼ)`` (Del and Fishel, *Cross-lingual Similarity of Multilingual Representations Revisited*,
    AACL 2022; the absolute values are in their repository, TartuNLP/xsim, ``examples/util.py``).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> round(anc(X, X * [1, 2]), 6), round(anc(X, X * [-1, -2]), 6), round(anc(X, X * [-1, 2], signed=False), 6)
    (1.0, -1.0, 1.0)
    """
    x, y = paired(X, Y, what="ANC", least=3, same_width=True)
    x, y = centred(x), centred(y)
    x_lengths, y_lengths = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
    varies = (x_lengths > 0) & (y_lengths > 0)
    if not varies.any():
        return math.nan
    # Scale first: the product of two small lengths may be 0.
    correlations = ((x[:, varies] / x_lengths[varies]) * (y[:, varies] / y_lengths[varies])).sum(axis=0)
    correlations = correlations.clip(-1, 1)
    return float(correlations.mean() if signed else np.abs(correlations).mean())


def anc_draws(X: Vectors, Y: Vectors, *, weights: npt.NDArray[np.floating], signed: bool = True) -> Floats:
    """Return (m,) float64: `anc` with its rows weighted, once for every line of (m, n) `weights`, none negative.

    They are the means over dimensions of ``(E[xy] - E[x] E[y]) / sqrt((E[x^2] - E[x]^2) (E[y^2] - E[y]^2))``, E the
    weighted mean over rows; NaN where no dimension varies.
    """
    x, y = (centred(side) for side in paired(X, Y, what="ANC", least=3, same_width=True))
    x_lengths, y_lengths = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
    x, y = x / np.where(x_lengths > 0, x_lengths, 1), y / np.where(y_lengths > 0, y_lengths, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = weights / weights.sum(axis=1, keepdims=True, dtype=np.float64)
        mean_x, mean_y = shares @ x, shares @ y
        spread_x, spread_y = shares @ x**2 - mean_x**2, shares @ y**2 - mean_y**2
        varies = (spread_x > _ROUNDING / len(x)) & (spread_y > _ROUNDING / len(x))
        correlations = (shares @ (x * y) - mean_x * mean_y) / np.sqrt(spread_x * spread_y)
        kept = np.where(varies, (correlations if signed else np.abs(correlations)).clip(-1, 1), 0)
        return np.asarray(kept.sum(axis=1) / varies.sum(axis=1))
