"""SVCCA and PWCCA: how well can linear combinations of X's dimensions be read off Y's."""

from __future__ import annotations

import math

import numpy as np

from isogloss.arguments import PositiveShare, checked
from isogloss.errors import InputError
from isogloss.metrics.inputs import Floats, Vectors, centred, paired


@checked
def svcca(X: Vectors, Y: Vectors, *, variance: PositiveShare = 0.99) -> float:
    """Return the mean canonical correlation of the main directions of X and Y.

    Parameters
    ----------
    X : array (n, d) of float
    Y : array (n, e) of float
        Row i of both belongs together.
    variance : float
        In (0, 1]: of each side the fewest principal directions with at least this share of its variance are kept;
        1 keeps all that the matrix has (its rank).

    Returns
    -------
    float
        In [0, 1]: mean of as many correlations as the side with fewer directions has.  NaN if X or Y is constant.
        It is 1 for X and an invertible map of X only at `variance` 1; below that a map may change what is kept.
        Unrelated X and Y do not score 0 but up to about sqrt(max(k, l) / (n - 1)), k and l the directions kept: compare
        with shuffled pairs.

    Raises
    ------
    InputError
        If the rows differ in number or are fewer than 3, a number is not finite, or the rows are too few: with
        k + l >= n some correlations are 1 whatever the data are.
    UsageError
        If `variance` is not in (0, 1].

    Notes
    -----
    Columns are centred; with orthonormal bases Q, R of the kept directions the correlations are the singular
    values of QᵀR.  Raghu, Gilmer, Yosinski and Sohl-Dickstein, *SVCCA: Singular Vector Canonical Correlation Analysis
    for Deep Learning Dynamics and Interpretability*, NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(svcca(X, X @ [[1, 2, 0], [0, 1, 5], [0, 0, 1]], variance=1), 6)
    1.0
    """
    x, y = paired(X, Y, what="SVCCA", least=3)
    q, r = _basis(centred(x), variance), _basis(centred(y), variance)
    _check_rows("SVCCA", q, r, "lower the variance or give more rows")
    if not q.shape[1] or not r.shape[1]:
        return math.nan
    return float(np.linalg.svd(q.T @ r, compute_uv=False).clip(0, 1).mean())


@checked
def pwcca(X: Vectors, Y: Vectors) -> float:
    """Return the mean canonical correlation of X and Y, weighted by what each direction accounts for in X.

    Parameters
    ----------
    X : array (n, d) of float
        The weights are of this side: `pwcca` of Y and X is another estimate.
    Y : array (n, e) of float
        Row i of both belongs together.

    Returns
    -------
    float
        In [0, 1]; NaN if X or Y is constant.  The same for every invertible map of Y, for X scaled as a whole or its
        columns permuted.  Unrelated X and Y do not score 0: compare with shuffled pairs.

    Raises
    ------
    InputError
        If the rows differ in number or are fewer than 3, a number is not finite, or the rows are too few: with
        rank(X) + rank(Y) >= n (always so for n <= d) some correlations are 1 whatever the data are.

    Notes
    -----
    ``Σ αᵢ ρᵢ / Σ αᵢ`` with ``αᵢ = Σⱼ |⟨hᵢ, xⱼ⟩|``, ρᵢ the canonical correlations, hᵢ the i-th canonical variate of X
    (n numbers, length 1), xⱼ the j-th column of X (Morcos, Raghu and Bengio, *Insights on representational similarity
    in neural networks with canonical correlation*, NeurIPS 2018).  Columns are centred.  There are min(rank X,
    rank Y) pairs; directions of X without a partner have no weight.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(pwcca(X, X @ [[1, 2, 0], [0, 1, 5], [0, 0, 1]]), 6)
    1.0
    """
    x, y = paired(X, Y, what="PWCCA", least=3)
    x = centred(x)
    q, r = _basis(x, 1.0), _basis(centred(y), 1.0)
    _check_rows("PWCCA", q, r, "give more rows, or reduce the dimensions before (svcca does)")
    if not q.shape[1] or not r.shape[1]:
        return math.nan
    left, correlations, _ = np.linalg.svd(q.T @ r, full_matrices=False)
    weights = np.abs((q @ left).T @ x).sum(axis=1)
    return float(np.average(correlations.clip(0, 1), weights=weights))


def _basis(x: Floats, variance: float) -> Floats:
    """Return (n, k) orthonormal columns that span the k main directions of centred x."""
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    rank = int((s > s[0] * max(x.shape) * np.finfo(np.float64).eps).sum())
    if variance == 1 or rank == 0:
        return np.asarray(u[:, :rank])
    share = np.cumsum(s**2) / (s**2).sum()
    # Rounding must not ask for a direction more than the share needs.
    return np.asarray(u[:, : min(rank, int(np.searchsorted(share, variance - 1e-12)) + 1)])


def _check_rows(what: str, q: Floats, r: Floats, remedy: str) -> None:
    (n, k), m = q.shape, r.shape[1]
    if k and m and k + m >= n:
        raise InputError(
            f"{what} compares {k} with {m} directions and needs more than {k + m} rows, or some correlations are 1 "
            f"whatever the data are; got {n} rows: {remedy}."
        )
