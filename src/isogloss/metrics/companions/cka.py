"""Linear CKA, centred kernel alignment: are the distances among the rows of X those among the rows of Y."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Count, checked
from isogloss.errors import UsageError
from isogloss.metrics.inputs import Floats, Vectors, centred, paired

_BLOCK = 512  # rows compared with all others at a time
_SIDES = ((0, 0), (1, 1), (0, 1))


@checked
def linear_cka(X: Vectors, Y: Vectors, *, debiased: bool = True, batch_size: Count | None = None) -> float:
    """Return the linear CKA of X and Y; 1 if one is the other turned, reflected, scaled and moved.

    Parameters
    ----------
    X : array (n, d) of float
    Y : array (n, e) of float
        Row i of both belongs together.
    debiased : bool
        With unbiased estimates of HSIC.  The plain form grows towards 1 with d / n, so unrelated states of a few
        hundred sentences may have 0.9; the debiased form is about 0 for them.
    batch_size : int, optional
        Average HSIC over batches of this many consecutive rows before dividing, as is done where all rows do not fit
        in memory; rows that fill no batch are left out.  All rows at once need no more memory here, so this is for
        comparing with estimates made so.  Shuffle the pairs before if their order means something.

    Returns
    -------
    float
        Plain: in [0, 1].  Debiased: in [-1, 1], about 0 for unrelated X and Y.  NaN if X or Y has no variance left
        to compare: constant rows, or (debiased) all rows but one equal.

    Raises
    ------
    InputError
        If the rows differ in number or are fewer than 4 (plain: 2), or a number is not finite.
    UsageError
        If `batch_size` is not in 4..n, or is given without `debiased` (averages of biased estimates stay biased).

    Notes
    -----
    Plain: ``|YᵀX|² / (|XᵀX| |YᵀY|)`` in Frobenius norms, columns centred (Kornblith, Norouzi, Lee and Hinton,
    *Similarity of Neural Network Representations Revisited*, ICML 2019).  Debiased: ``HSIC(K, L) / sqrt(HSIC(K, K)
    HSIC(L, L))`` with K = XXᵀ, L = YYᵀ, both with zeros on the diagonal, and ``HSIC(K, L) = [tr(KL) + 1ᵀK1 1ᵀL1 /
    ((n-1)(n-2)) - 2/(n-2) 1ᵀKL1] / (n(n-3))`` (Song, Smola, Gretton, Bedo and Borgwardt, *Feature Selection via
    Dependence Maximization*, JMLR 2012); in batches after Nguyen, Raghu and Kornblith, *Do Wide and Deep Networks
    Learn the Same Things?*, ICLR 2021.  A few rows of great length can move it (Davari et al. 2022).

    This HSIC does not change when the columns are centred; then K1 is minus the diagonal k of XXᵀ, and with l that
    of YYᵀ ``tr(KL) = |XᵀY|² - k·l``, ``1ᵀK1 = -Σk``, ``1ᵀKL1 = k·l``: no n x n matrix unless that is smaller.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(linear_cka(X, 3 * X[:, ::-1] + 1), 6)
    1.0
    """
    x, y = paired(X, Y, what="CKA", least=4 if debiased else 2)
    n = len(x)
    if batch_size is not None and not debiased:
        raise UsageError("batch_size needs debiased=True: the average of biased estimates stays biased.")
    if batch_size is not None and not 4 <= batch_size <= n:
        raise UsageError(f"batch_size is a number of rows and must lie in 4..{n}; got {batch_size}.")
    x, y = _scaled(centred(x)), _scaled(centred(y))
    if not debiased:
        return _quotient(_product(x, y), _product(x, x), _product(y, y))
    size = n if batch_size is None else batch_size
    sums, scales = np.zeros(3), np.zeros(2)
    for start in range(0, n - size + 1, size):
        a, b = centred(x[start : start + size]), centred(y[start : start + size])
        sums += _hsic(a, b), _hsic(a, a), _hsic(b, b)
        scales += (a**2).sum() ** 2, (b**2).sum() ** 2
    # What rounding leaves of an HSIC of 0 is far below that of any data.
    sums[1:][sums[1:] <= 1e-13 * scales / (size * (size - 3))] = 0
    return _quotient(*(float(s) for s in sums))


def cka_draws(X: Vectors, Y: Vectors, *, weights: npt.NDArray[np.floating]) -> Floats:
    """Return (m,) float64: debiased `linear_cka` with rows weighted, once for every line of (m, n) `weights`.

    No weight is negative.  NaN where X or Y has no variance left to compare.

    With K = XXᵀ, L = YYᵀ the HSIC is ``E[K_ij L_ij] + E[K_ij L_qr] - 2 E[K_ij L_iq]`` over distinct i, j, q, r; every
    mean is taken with the product of its rows' weights.  So a row that is drawn twice is not compared with itself,
    which would look like agreement, and rows of weights 0 and 1 give exactly the estimate of the rows with 1.  With
    k = Kw, l = Lw, M = K∘L and zeros on the diagonals of K and L the sums are ``wᵀMw``, ``wᵀk wᵀl - 4 (Σ w²kl - w²ᵀMw²)
    - 2 w²ᵀMw²`` and ``Σ wkl - wᵀMw²``.  Time O(n² m), memory O(n (m + 512)).
    """
    x, y = paired(X, Y, what="CKA", least=4)
    x, y = _scaled(centred(x)), _scaled(centred(y))
    n, w = len(x), np.ascontiguousarray(np.asarray(weights, dtype=np.float64).T)
    w2 = w**2
    sums = np.zeros((3, 5, w.shape[1]))  # of (K, K), (L, L), (K, L); by how often i and j are weighted
    lines = np.zeros((2, w.shape[1]))
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        kernels = [side[rows] @ side.T for side in (x, y)]
        for kernel in kernels:
            kernel[rows - start, rows] = 0
        reached = [kernel @ w for kernel in kernels]
        lines += [(w[rows] * sums_there).sum(axis=0) for sums_there in reached]
        for part, (a, b) in zip(sums, _SIDES, strict=True):
            both, product = kernels[a] * kernels[b], reached[a] * reached[b]
            once, twice = both @ w, both @ w2
            terms = (w[rows] * once, w[rows] * twice, w2[rows] * twice, w[rows] * product, w2[rows] * product)
            part += [term.sum(axis=0) for term in terms]
    p1, p2, p3, p4 = (np.sum(w**power, axis=0) for power in (1, 2, 3, 4))
    n2, n3 = p1**2 - p2, p1**3 - 3 * p1 * p2 + 2 * p3
    n4 = p1**4 - 6 * p1**2 * p2 + 3 * p2**2 + 8 * p1 * p3 - 6 * p4
    hsics = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for part, (a, b) in zip(sums, _SIDES, strict=True):
            m11, m12, m22, l1, l2 = part
            apart = lines[a] * lines[b] - 4 * l2 + 2 * m22
            hsics.append(m11 / n2 + apart / n4 - 2 * (l1 - m12) / n3)
    xx, yy, xy = (np.where(n4 > 0, hsic, np.nan) for hsic in hsics)
    least = 1e-13 / (n * (n - 3))  # as in linear_cka
    return np.asarray((xy / np.sqrt(np.where((xx > least) & (yy > least), xx * yy, np.nan))).clip(-1, 1))


def _hsic(x: Floats, y: Floats) -> float:
    """Return the unbiased HSIC of centred x and y under linear kernels."""
    n = len(x)
    k, m = (x**2).sum(axis=1), (y**2).sum(axis=1)
    both = float(k @ m)
    trace = _product(x, y) - both
    corner = float(k.sum() * m.sum()) / ((n - 1) * (n - 2))
    return (trace + corner - 2 / (n - 2) * both) / (n * (n - 3))


def _product(x: Floats, y: Floats) -> float:
    """Return |xᵀy|² = tr(xxᵀyyᵀ), by whichever side is less work."""
    n, d, e = len(x), x.shape[1], y.shape[1]
    if n * (d + e) < d * e:
        return float(np.vdot(x @ x.T, y @ y.T))
    return float(np.linalg.norm(x.T @ y) ** 2)


def _scaled(x: Floats) -> Floats:
    """Return x with Frobenius norm 1 (fourth powers of large states stay in range); zeros stay."""
    norm = np.linalg.norm(x)
    return x / norm if norm > 0 else x


def _quotient(xy: float, xx: float, yy: float) -> float:
    if xx <= 0 or yy <= 0:
        return math.nan
    return min(1.0, max(-1.0, xy / math.sqrt(xx * yy)))
