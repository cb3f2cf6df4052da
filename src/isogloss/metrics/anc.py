"""ANC, average neuron-wise correlation: does each dimension say the same of both sides."""

from __future__ import annotations

import math

import numpy as np

from isogloss.metrics.retrieval import Vectors, centred, paired


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
