"""RSA, representational similarity analysis: do X and Y agree on which rows are alike."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from isogloss.arguments import Draws, Seed, checked
from isogloss.metrics.inputs import Floats, Vectors, paired, unit


class Rsa(NamedTuple):
    """The rank correlation, and how often a random pairing of rows does as well."""

    rho: float
    p_value: float


@checked
def rsa(X: Vectors, Y: Vectors, *, n_permutations: Draws = 0, draw_seed: Seed = 0) -> Rsa:
    """Return the Spearman correlation of the pairwise dissimilarities of X and Y, and its p-value.

    Parameters
    ----------
    X : array (n, d) of float
    Y : array (n, e) of float
        Row i of both belongs together.  Cosines are taken of the rows as given: subtract each language's mean before
        if a direction common to all rows should not count.
    n_permutations : int
        Permutations of the Mantel test: rows of Y change places, and with them rows and columns of its
        dissimilarities.  0: no test, the p-value is NaN.
    draw_seed : int
        Seed of the permutations.

    Returns
    -------
    Rsa
        ``rho`` in [-1, 1]; NaN if all dissimilarities of a side are equal.  ``p_value`` in (0, 1], one-sided: ``(1 +
        permutations with at least this rho) / (1 + n_permutations)``.

    Raises
    ------
    InputError
        If the rows differ in number or are fewer than 3, or a number is not finite.

    Notes
    -----
    Dissimilarity ``1 - cos(xᵢ, xⱼ)`` for i < j, rounded to 12 decimals so that equal ones rank equal; the cosine with
    a row of length 0 counts as 0.  Kriegeskorte, Mur and Bandettini, *Representational similarity analysis*, Frontiers
    in Systems Neuroscience 2, 2008; Mantel, *The Detection of Disease Clustering and a Generalized Regression
    Approach*, Cancer Research 27, 1967.  Ranking takes time and a few matrices of
    n x n, 15 s and 1 GB for 5,000 rows: draw a thousand or two.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(20, 4))
    >>> rsa(X, 2 * X[:, ::-1], n_permutations=99)
    Rsa(rho=1.0, p_value=0.01)
    """
    x, y = paired(X, Y, what="RSA", least=3)
    upper = np.triu_indices(len(x), 1)
    a, b = _standard_ranks(x, upper), _standard_ranks(y, upper)
    if a is None or b is None:
        return Rsa(math.nan, math.nan)
    rho = float(np.clip(a @ b, -1, 1))
    if n_permutations == 0:
        return Rsa(rho, math.nan)
    generator = np.random.default_rng(draw_seed)
    left, right = np.zeros((2, len(x), len(x)))
    left[upper] = a
    right[upper] = b
    right += right.T
    n_as_high = 0
    for _ in range(n_permutations):
        order = generator.permutation(len(x))
        n_as_high += float(np.vdot(left, right[np.ix_(order, order)])) >= rho - 1e-12
    return Rsa(rho, (1 + n_as_high) / (1 + n_permutations))


def _standard_ranks(x: Floats, upper: tuple[np.ndarray, np.ndarray]) -> Floats | None:
    """Return the ranks of the dissimilarities with mean 0 and length 1; None if all are equal."""
    rows = unit(x)
    dissimilarity = np.round(1 - (rows @ rows.T)[upper], 12)
    if np.ptp(dissimilarity) == 0:
        return None
    ranks = rankdata(dissimilarity)
    ranks -= ranks.mean()
    return np.asarray(ranks / np.linalg.norm(ranks))
