"""Isotropy: do vectors use all directions of their space, or do they sit in a narrow cone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from isogloss.arguments import checked
from isogloss.metrics.inputs import Floats, Vectors, centred, matrix, unit


@checked
def mean_cosine(X: Vectors) -> float:
    """Return the mean cosine over all pairs of rows; 0 for isotropic vectors, near 1 in a narrow cone.

    Parameters
    ----------
    X : array (n, d) of float

    Returns
    -------
    float
        In [-1/(n-1), 1]; 1 for constant rows.  The cosine with a row of length 0 counts as 0.

    Raises
    ------
    InputError
        If there are fewer than two rows, or a number is not finite.

    Notes
    -----
    With rows u of length 1, ``(|Σ uᵢ|² - Σ |uᵢ|²) / (n(n-1))``: exact, without the n x n matrix that Ethayarajh, *How
    Contextual are Contextualized Word Representations?*, EMNLP 2019, samples.

    Examples
    --------
    >>> import numpy as np
    >>> mean_cosine(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])).__round__(6)
    0.333333
    """
    rows = unit(matrix(X, what="The mean cosine", least=2))
    n, total = len(rows), rows.sum(axis=0)
    return float((total @ total - (rows**2).sum()) / (n * (n - 1)))


def mean_cosine_draws(X: Vectors, weights: npt.NDArray[np.floating]) -> Floats:
    """Return (m,) float64: `mean_cosine` with its rows weighted, once for every line of (m, n) `weights`.

    It is ``sum_{i != j} w_i w_j cos(x_i, x_j) / sum_{i != j} w_i w_j``: a row is not compared with itself, however
    often it is drawn.  NaN where fewer than two rows have weight; none is negative.
    """
    rows = unit(matrix(X, what="The mean cosine", least=2))
    w = np.asarray(weights, dtype=np.float64)
    total, squares = w @ rows, w**2
    with_itself = squares @ (rows**2).sum(axis=1)
    pairs = w.sum(axis=1) ** 2 - squares.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pairs > 0, ((total**2).sum(axis=1) - with_itself) / pairs, np.nan)


@checked
def isoscore(X: Vectors) -> float:
    """Return IsoScore: the share of dimensions the variance is spread over.

    Parameters
    ----------
    X : array (n, d) of float
        At least as many rows as columns, or the score falls short: n rows span at most n - 1 directions.

    Returns
    -------
    float
        In [0, 1]: (k - 1) / (d - 1) if the variance is spread evenly over k of d dimensions.  NaN if d is 1 or the
        rows are constant.

    Raises
    ------
    InputError
        If there are fewer than two rows, or a number is not finite.

    Notes
    -----
    Rudman, Gillman, Rayne and Eickhoff, *IsoScore: Measuring the Uniformity of Embedding Space Utilization*, Findings
    of ACL 2022.  Their steps (variances σ along the principal axes, scaled to length √d; distance to the vector of
    ones; rescaling) come to ``((Σσ)² / Σσ² - 1) / (d - 1)``; here Σσ is the trace of the covariance and Σσ² its
    squared Frobenius norm, and no axis has to be found.  Centred: the mean does not count.

    Examples
    --------
    >>> import numpy as np
    >>> isoscore(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])).__round__(6)
    0.5
    """
    x = centred(matrix(X, what="IsoScore", least=2))
    d, largest = x.shape[1], float(np.abs(x).max())
    if d == 1 or largest == 0:
        return math.nan
    x = x / largest
    products = x @ x.T if len(x) < d else x.T @ x
    spread = float((x**2).sum()) ** 2 / float((products**2).sum())
    return float(np.clip((spread - 1) / (d - 1), 0, 1))
