"""Sentence retrieval: is the nearest sentence of the other language the translation."""

from __future__ import annotations

import numpy as np

from isogloss.arguments import checked
from isogloss.errors import UsageError
from isogloss.metrics.inputs import Floats, Vectors, paired, unit

_TIE = 1e-12  # a tie in exact arithmetic may differ by rounding
_BLOCK = 512  # rows sorted at a time


@checked
def retrieval(source: Vectors, target: Vectors, *, csls: int | None = None, margin: int | None = None) -> Floats:
    """Return, for every source sentence, whether its nearest target sentence is its translation; the mean is P@1.

    Parameters
    ----------
    source, target : arrays (n, d) of float
        One vector a sentence; row i of both is the same sentence.
    csls : int, optional
        Nearest by cross-domain similarity local scaling over this many neighbours, which lowers the rank of
        sentences that are near to everything; by the cosine when not given.
    margin : int, optional
        Nearest by the ratio margin over this many neighbours; not together with `csls`.

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
        If `csls` or `margin` is not in 1..n, or both are given.

    Notes
    -----
    ``CSLS(x, y) = 2 cos(x, y) - r(x) - r(y)``, r the mean cosine to the k nearest of the other side (Conneau,
    Lample, Ranzato, Denoyer and Jégou, *Word Translation Without Parallel Data*, ICLR 2018).
    ``margin(x, y) = cos(x, y) / ((r(x) + r(y)) / 2)`` (Artetxe and Schwenk, *Margin-based Parallel Corpus Mining with
    Multilingual Sentence Embeddings*, ACL 2019); it supposes that neighbours have positive cosines, and a
    denominator that is not positive counts as 1e-12, so that a positive cosine then wins and a negative one loses.
    The cosine with a vector of length 0 counts as 0.  Memory: one matrix of n x n, 200 MB for 5,000 sentences.

    Examples
    --------
    >>> import numpy as np
    >>> retrieval(np.eye(3), np.eye(3)[[0, 2, 1]]).mean().round(2).item()
    0.33
    """
    x, y = paired(source, target, what="Retrieval", same_width=True)
    if csls is not None and margin is not None:
        raise UsageError(f"csls and margin are two scores: give one; got csls={csls} and margin={margin}.")
    for name, k in (("csls", csls), ("margin", margin)):
        if k is not None and not 1 <= k <= len(x):
            raise UsageError(f"{name} is a number of neighbours and must lie in 1..{len(x)}; got {k}.")
    scores = unit(x) @ unit(y).T
    neighbours = csls if csls is not None else margin
    if neighbours is not None:
        r_x, r_y = _nearness(scores, neighbours)[:, None], _nearness(scores.T, neighbours)[None, :]
        if csls is not None:
            scores *= 2
            scores -= r_x
            scores -= r_y
        else:
            for start in range(0, len(x), _BLOCK):
                rows = slice(start, start + _BLOCK)
                scores[rows] /= np.maximum((r_x[rows] + r_y) / 2, 1e-12)
    best = scores.max(axis=1)
    best -= _TIE * np.maximum(1, np.abs(best))
    at_best = scores >= best[:, None]
    return np.where(at_best.diagonal(), 1 / at_best.sum(axis=1), 0.0)


@checked
def mexa(X: Vectors, Y: Vectors) -> Floats:
    """Return, for every pair, whether both sentences are nearer to each other than to any other; the mean is MEXA.

    Parameters
    ----------
    X, Y : arrays (n, d) of float
        One vector a sentence; row i of both is the same sentence.  The paper takes the first 100 sentences: the
        estimate falls as n grows, so compare estimates of one n.

    Returns
    -------
    array (n,) of float64
        1 or 0; a tie is a miss, so constant vectors and sentences that occur twice score 0.  At random a pair hits
        with probability about 1 / (2n - 1), as the greatest of 2n - 1 cosines.

    Raises
    ------
    InputError
        If the two differ in shape, have fewer than two rows, or hold a number that is not finite.

    Notes
    -----
    ``hit(i) = [s_ii > max_{j != i} s_ij and s_ii > max_{j != i} s_ji]`` with s the cosine (Kargaran et al., *MEXA:
    Multilingual Evaluation of English-Centric LLMs via Cross-Lingual Alignment*, Findings of ACL 2025).  It is
    symmetric in X and Y.  Memory: one matrix of n x n, 200 MB for 5,000 sentences.

    Examples
    --------
    >>> import numpy as np
    >>> mexa(np.eye(3), np.eye(3)[[0, 2, 1]]).tolist()
    [1.0, 0.0, 0.0]
    """
    x, y = paired(X, Y, what="MEXA", least=2, same_width=True)
    scores = unit(x) @ unit(y).T
    translations = scores.diagonal().copy()
    np.fill_diagonal(scores, -np.inf)
    rivals = np.maximum(scores.max(axis=0), scores.max(axis=1))
    return np.where(translations > rivals + _TIE, 1.0, 0.0)


def _nearness(scores: Floats, k: int) -> Floats:
    """Return the mean of the k highest scores of each row."""
    blocks = (scores[start : start + _BLOCK] for start in range(0, len(scores), _BLOCK))
    highest = (np.partition(b, b.shape[1] - k, axis=1)[:, -k:] for b in blocks)
    return np.concatenate([h.mean(axis=1) for h in highest])
