"""Language separability: can a linear probe tell the languages apart, and do their vectors mix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Folds, Index, Seed, checked
from isogloss.errors import InputError, UsageError
from isogloss.metrics.inputs import Codes, Floats, Labels, Vectors, codes, matrix, unit

_BLOCK = 512  # rows compared with all others at a time


@checked
def language_probe(
    X: Vectors,
    languages: Labels,
    *,
    remove_means: bool = False,
    axes: Index = 0,
    folds: Folds = 5,
    draw_seed: Seed = 0,
    groups: Labels | None = None,
) -> Floats:
    """Return, for every row, whether a ridge probe reads its language off the vector; the mean is the accuracy.

    Parameters
    ----------
    X : array (n, d) of float
    languages : sequence (n,) of str
        Language of every row.
    remove_means : bool
        Subtract from every row the mean of its language, learnt on the training folds.  A probe linear in X then has
        nothing left and scores chance by theorem (see Notes): set `axes` to ask what else tells languages apart.
    axes : int
        Also give the probe the squares and products of this many first principal axes of the training rows, so that
        it sees how languages spread and not only where they lie; 16 makes 136 of them.
    folds : int
        Parts for cross-validation, dealt at random: language by language, or group by group.
    draw_seed : int
        Seed of the deal.
    groups : sequence (n,), optional
        Rows of one group stay in one fold.  For parallel text give the sentence numbers, or the probe may know a
        sentence by its translations.

    Returns
    -------
    array (n,) of float64
        1 where the language is recognised by a probe trained on other folds, 0 where it is not, over the language's
        share of the rows times the number of languages: the mean is the balanced accuracy, in [0, 1]; chance is 1 /
        number of languages.  Languages that score alike for a row share it, so constant vectors score chance exactly.

    Raises
    ------
    InputError
        If lengths differ, a number is not finite, there is one language only, or a language or the groups are too
        few for the folds.
    UsageError
        If `folds` is less than 2, or `axes` is not in 0..d.

    Notes
    -----
    After Libovický, Rosa and Fraser, *On the Language Neutrality of Pre-trained Multilingual Representations*, Findings
    of EMNLP 2020 (language identification, and centring by language).  Ridge regression of language indicators on
    columns standardised by the training folds, languages weighted equally, penalty 0.01 n.  Where classes have equal
    means, no linear probe beats a constant under any convex loss (Belrose et al., *LEACE: Perfect linear concept
    erasure in closed form*, NeurIPS 2023): means from the training rows leave exactly 1 / L; means from other data
    leave the difference of the data.  Of three languages whose means lie on one line such a probe overlooks the middle.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 4)) + np.repeat([[0.0], [9.0]], 30, axis=0)
    >>> languages = ["en"] * 30 + ["de"] * 30
    >>> [language_probe(X, languages, remove_means=x).mean().item() for x in (False, True)]
    [1.0, 0.5]
    """
    from sklearn.linear_model import Ridge

    x = matrix(X, what="The language probe")
    language = _languages(languages, len(x), "The language probe")
    if not 0 <= axes <= x.shape[1]:
        raise UsageError(f"axes must lie in 0..{x.shape[1]}, the columns of X; got {axes}.")
    fold = _deal(language, groups, folds, np.random.default_rng(draw_seed))
    indicators = np.eye(language.max() + 1)[language]
    recognised = np.empty(len(x))
    for part in range(folds):
        test, train = fold == part, fold != part
        rows = x
        if remove_means:
            means = (indicators[train].T @ x[train]) / indicators[train].sum(axis=0)[:, None]
            rows = x - means[language]
        # Measured against X before: removed means leave rounding of constant columns.
        rows = _standardised(rows, train, np.abs(x).max(axis=0))
        if axes:
            products = _products(rows, train, axes)
            rows = np.hstack([rows, _standardised(products, train, np.abs(products).max(axis=0))])
        weights = 1 / np.bincount(language[train])[language[train]]
        weights *= train.sum() / weights.sum()
        probe = Ridge(alpha=0.01 * train.sum()).fit(rows[train], indicators[train], sample_weight=weights)
        scores = probe.predict(rows[test])
        at_best = scores >= scores.max(axis=1, keepdims=True) - 1e-9
        recognised[test] = (at_best * indicators[test]).sum(axis=1) / at_best.sum(axis=1)
    share = indicators.mean(axis=0)[language]
    return np.asarray(recognised / (share * indicators.shape[1]))


@checked
def knn_mixing(X: Vectors, languages: Labels, *, k: int = 10) -> Floats:
    """Return, for every row, how nearest neighbours mix languages because of it; the mean is 1 for random mixing.

    Parameters
    ----------
    X : array (n, d) of float
    languages : sequence (n,) of str
        Language of every row.
    k : int
        Neighbours by the cosine, the row itself apart.

    Returns
    -------
    array (n,) of float64
        The mean is the score: 0 if all neighbours are of the row's own language, 1 if languages mix as at random; above
        1 if neighbours are rather of other languages, as when translations lie together and k is small.

    Raises
    ------
    InputError
        If lengths differ, a number is not finite, or there is one language only.
    UsageError
        If `k` is not in 1..n-1.

    Notes
    -----
    Mean over rows of the share sᵢ of the k nearest with another language, over its expectation ``Σᵢ (n - n_l(i)) / (n -
    1) / n``, n_l(i) the rows of i's language.  A row counts with its own share and with what it brings to those of the
    rows it is near to: ``sⱼ + Σᵢ ([j is foreign to i] - sᵢ) / k`` over the rows i that have it among their k nearest.
    The second part adds up to 0; without it the rows drawn in a bootstrap show only half of the variance.  Neighbours
    equally near share the places left, so constant vectors score 1; the cosine with a row of length 0 counts as 0.
    Subtract each language's mean before to see what mixes beyond it.  Counts of this kind are those of Schilling,
    *Multivariate Two-Sample Tests Based on Nearest Neighbors*, JASA 81, 1986.  Time O(n²), memory O(n).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> [knn_mixing(X, names, k=1).mean().item() for names in (["en", "en", "de", "de"], ["en", "de", "en", "de"])]
    [0.0, 1.5]
    """
    rows = unit(matrix(X, what="kNN mixing", least=2))
    n = len(rows)
    language = _languages(languages, n, "kNN mixing")
    if not 1 <= k < n:
        raise UsageError(f"k is a number of neighbours and must lie in 1..{n - 1}; got {k}.")
    shares, brought = np.empty(n), np.zeros(n)
    for start in range(0, n, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, n))
        near = rows[block] @ rows.T
        near[np.arange(len(block)), block] = -np.inf
        last = np.partition(near, n - k, axis=1)[:, n - k, None]
        foreign = language[block, None] != language[None, :]
        sure, tied = near > last + 1e-12, np.abs(near - last) <= 1e-12
        neighbours = sure + tied * ((k - sure.sum(axis=1)) / tied.sum(axis=1))[:, None]
        shares[block] = (neighbours * foreign).sum(axis=1) / k
        brought += ((foreign - shares[block, None]) * neighbours).sum(axis=0) / k
    expected = (n - np.bincount(language)[language]) / (n - 1)
    return np.asarray((shares + brought) / expected.mean())


def _languages(languages: Labels, n: int, what: str) -> Codes:
    language = codes(languages, what=what, name="languages", n=n)
    if language.max() == 0:
        raise InputError(f"{what} needs rows of at least two languages; got one.")
    return language


def _deal(language: Codes, groups: Labels | None, folds: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the fold of every row."""
    if groups is None:
        fold = np.empty(len(language), np.int64)
        for code in range(language.max() + 1):
            members = generator.permutation(np.flatnonzero(language == code))
            fold[members] = np.arange(len(members)) % folds
        fewest = int(np.bincount(language).min())
    else:
        group = codes(groups, what="The language probe", name="groups", n=len(language))
        fewest = int(group.max()) + 1
        fold = (generator.permutation(fewest) % folds)[group]
    if fewest < folds:
        what = "rows of every language" if groups is None else "groups"
        needed = f"The language probe needs at least {folds} {what} for {folds} folds"
        raise InputError(f"{needed}; got {fewest}: give more or lower folds.")
    for part in range(folds):
        if np.bincount(language[fold != part], minlength=language.max() + 1).min() == 0:
            raise InputError(
                "The language probe needs every language in two folds; the groups put one language into one fold: "
                "change the draw_seed, or give more groups."
            )
    return fold


def _standardised(x: Floats, train: npt.NDArray[np.bool_], size: Floats) -> Floats:
    """Return columns with mean 0 and deviation 1 on the training rows; 0 where that is rounding of `size`."""
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0)
    constant = spread <= 1e-12 * size
    scaled: Floats = (x - mean) / np.where(constant, 1.0, spread)
    scaled[:, constant] = 0
    return scaled


def _products(x: Floats, train: npt.NDArray[np.bool_], axes: int) -> Floats:
    """Return the squares and products of the first principal axes of the (standardised) training rows."""
    directions = np.linalg.eigh(x[train].T @ x[train])[1][:, : -axes - 1 : -1]
    along: Floats = x @ directions
    i, j = np.triu_indices(axes)
    return np.asarray(along[:, i] * along[:, j])
