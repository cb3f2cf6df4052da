"""Procrustes: how far is Y a rotation of X, and does the rotation find translations it has not seen."""

from __future__ import annotations

import numpy as np

from isogloss.arguments import Count, Folds, Seed, checked
from isogloss.errors import InputError, UsageError
from isogloss.metrics.companions.nearest import retrieval
from isogloss.metrics.inputs import Floats, Vectors, centred, paired


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
        determined = s > s[0] * max(len(train), x.shape[1]) * np.finfo(np.float64).eps
        source = (x[held_out] - x[train].mean(axis=0)) @ u[:, determined]
        target = (y[held_out] - y[train].mean(axis=0)) @ v[:, determined]
        if not determined.any():  # constant rows: everything is equally near
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
