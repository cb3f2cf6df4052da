"""Sentence retrieval: is the nearest sentence of the other language the translation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.errors import InputError, UsageError

Vectors = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]


def retrieval(source: Vectors, target: Vectors, *, csls: int | None = None) -> Floats:
    """Return, for every source sentence, whether its nearest target sentence is its translation; the mean is P@1.

    Parameters
    ----------
    source, target : arrays (n, d) of float
        One vector a sentence; row i of both is the same sentence.
    csls : int, optional
        Nearest by cross-domain similarity local scaling over this many neighbours, which lowers the rank of
        sentences that are near to everything; by the cosine when not given.

    Returns
    -------
    array (n,) of float64
        1 where the translation is the nearest, 0 where it is not, 1/t where t targets are equally near (the
        expectation when ties are broken by chance, so that constant vectors score 1/n and not 1).

    Raises
    ------
    InputError
        If the two differ in shape, are empty, or hold a number that is not finite.
    UsageError
        If `csls` is not in 1..n.

    Notes
    -----
    ``CSLS(x, y) = 2 cos(x, y) - r(x) - r(y)``, r the mean cosine to the k nearest of the other side (Conneau,
    Lample, Ranzato, Denoyer and Jégou, *Word Translation Without Parallel Data*, ICLR 2018).  The cosine with a
    vector of length 0 counts as 0.  Memory O(n^2).

    Examples
    --------
    >>> import numpy as np
    >>> retrieval(np.eye(3), np.eye(3)[[0, 2, 1]]).mean().round(2).item()
    0.33
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 2 or len(x) == 0:
        raise InputError(
            "Retrieval needs the same sentences on both sides, as two equal (n, d) arrays; "
            f"got {x.shape} and {y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("The sentence vectors hold a number that is not finite; look at the model's states.")
    if csls is not None and not 1 <= csls <= len(x):
        raise UsageError(f"csls is a number of neighbours and must lie in 1..{len(x)}; got {csls}.")
    scores = _unit(x) @ _unit(y).T
    if csls is not None:
        scores = 2 * scores - _nearness(scores, csls)[:, None] - _nearness(scores.T, csls)[None, :]
    best = scores.max(axis=1, keepdims=True)
    # A tie in exact arithmetic may differ by rounding.
    at_best = scores >= best - 1e-12
    return np.where(at_best.diagonal(), 1 / at_best.sum(axis=1), 0.0)


def _unit(x: Floats) -> Floats:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    unit: Floats = x / np.maximum(lengths, np.finfo(np.float64).tiny)
    return unit


def _nearness(scores: Floats, k: int) -> Floats:
    """Return the mean of the k highest scores of each row."""
    mean: Floats = np.partition(scores, len(scores) - k, axis=1)[:, -k:].mean(axis=1)
    return mean
