"""Procrustes: how far is Y a rotation of X, and does the rotation find translations it has not seen."""

from __future__ import annotations

import math

import numpy as np

from isogloss.arguments import Count, Folds, Seed, checked
from isogloss.errors import InputError, UsageError
from isogloss.metrics.companions.nearest import retrieval
from isogloss.metrics.inputs import Floats, Vectors, centred, paired


@checked
def procrustes(X: Vectors, Y: Vectors) -> float:
    """Return what is left between X and Y after the best rotation or reflection of X, as a share.

    Parameters
    ----------
    X, Y : arrays (n, d) of float
        Row i of both belongs together.

    Returns
    -------
    float
        In [0, 1]; 0 if Y is X turned, reflected, scaled and moved, 1 if no rotation helps.  NaN if X or Y is constant.
        It falls as d / n grows, to little for unrelated X and Y with n <= d: `procrustes_retrieval` is held out.

    Raises
    ------
    InputError
        If the two differ in shape or have fewer than two rows, or a number is not finite.

    Notes
    -----
    Columns centred and both matrices scaled to Frobenius norm 1, ``min_Ω |XΩ - Y|² = |X|² + |Y|² - 2 |XᵀY|_*``
    over orthogonal Ω, at Ω = UVᵀ from the SVD of XᵀY (Schönemann, *A Generalized Solution of the Orthogonal
    Procrustes Problem*, Psychometrika 31, 1966); returned is half of it, ``1 - |XᵀY|_*``.  `scipy.spatial.procrustes`
    also fits the scale; its disparity is ``1 - (1 - residual)²``.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(procrustes(X, 3 * X[:, ::-1] + 1), 6)
    0.0
    """
    x, y = paired(X, Y, what="Procrustes", least=2, same_width=True)
    x, y = centred(x), centred(y)
    lengths = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    if min(lengths) == 0:
        return math.nan
    singular_values = _svd_of_product(x / lengths[0], y / lengths[1])[1]
    return min(1.0, max(0.0, 1 - float(singular_values.sum())))


@checked
def procrustes_retrieval(
    X: Vectors, Y: Vectors, *, folds: Folds = 5, draw_seed: Seed = 0, csls: Count | None = None
) -> Floats:
    """Return, for every row, whether retrieval finds its translation after a rotation learnt on other rows.

    Parameters
    ----------
    X, Y : arrays (n, d) of float
        Row i of both belongs together.  Pairs that occur twice leak from fold to fold: give each pair once.
    folds : int
        Parts the rows are dealt to at random; each is mapped by the rotation learnt on all the others.
    draw_seed : int
        Seed of the deal.
    csls : int, optional
        As in `retrieval`; at most n // folds.

    Returns
    -------
    array (n,) of float64
        In [0, 1], as from `retrieval`; the mean is P@1.  Candidates are the targets of the same fold, so chance is
        folds / n (or a little more: the mean of 1 / size of fold).

    Raises
    ------
    InputError
        If the two differ in shape, have fewer than two rows a fold, or a number is not finite.
    UsageError
        If `folds` is less than 2, or `csls` is not in 1..n // folds.

    Notes
    -----
    Means and Ω = UVᵀ (SVD of XᵀY, Schönemann 1966) are learnt on the training rows.  With fewer training rows than
    dimensions Ω is not determined by them everywhere; both sides are then compared in the directions U and V that
    are, which for a full Ω gives the cosines of XΩ and Y.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> procrustes_retrieval(X, 3 * X[:, ::-1] + 1).mean().item()
    1.0
    """
    x, y = paired(X, Y, what="Procrustes retrieval", same_width=True)
    n = len(x)
    if n < 2 * folds:
        raise InputError(
            f"Procrustes retrieval needs at least two rows a fold, {2 * folds} for {folds} folds; got {n}: "
            "give more rows or fewer folds."
        )
    if csls is not None and not 1 <= csls <= n // folds:
        raise UsageError(f"csls must lie in 1..{n // folds}, the rows of the smallest fold; got {csls}.")
    hits = np.empty(n)
    order = np.random.default_rng(draw_seed).permutation(n)
    for held_out in np.array_split(order, folds):
        train = np.setdiff1d(order, held_out, assume_unique=True)
        u, s, v = _svd_of_product(centred(x[train]), centred(y[train]))
        known = s > s[0] * max(len(train), x.shape[1]) * np.finfo(np.float64).eps
        source = (x[held_out] - x[train].mean(axis=0)) @ u[:, known]
        target = (y[held_out] - y[train].mean(axis=0)) @ v[:, known]
        if not known.any():  # constant rows: everything is equally near
            source = target = np.zeros((len(held_out), 1))
        hits[held_out] = retrieval(source, target, csls=csls)
    return hits


def _svd_of_product(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Return U, s, V with xᵀy = U diag(s) Vᵀ, without a d x d matrix when there are fewer rows than columns."""
    if len(x) >= x.shape[1]:
        u, s, vt = np.linalg.svd(x.T @ y)
        return u, s, vt.T
    q, r = np.linalg.qr(x.T)
    p, t = np.linalg.qr(y.T)
    u, s, vt = np.linalg.svd(r @ t.T)
    return q @ u, s, p @ vt.T
