"""Concepts against languages: is a concept of one language, or of all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Count, Draws, Seed, checked
from isogloss.errors import InputError, UsageError
from isogloss.metrics.concepts.mixing import entropy_of, estimate_of, purity_of
from isogloss.metrics.inputs import Codes, Labels, Vectors, codes, matrix
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.results import Estimate
from isogloss.settings import Interval
from isogloss.threads import one_blas_thread


@checked
def language_entropy(labels: Labels, languages: Labels) -> float:
    """Return how evenly languages mix inside concepts: H(language | concept) / log(number of languages).

    Parameters
    ----------
    labels, languages : sequences (n,) of int and of str
        Concept and language of every token; tokens of concept -1 (none) are left out.

    Returns
    -------
    float
        In [0, 1]: 0 if every concept is of one language, 1 if every concept holds all languages in equal parts.  When
        languages differ in tokens, random mixing scores H(language) / log L, below 1.  NaN with one language.

    Raises
    ------
    InputError
        If the two differ in length, or no token has a concept.

    Notes
    -----
    ``-Σ_c (n_c / n) Σ_l p(l | c) log p(l | c) / log L``, conditional entropy in shares of its greatest value (Shannon,
    *A Mathematical Theory of Communication*, 1948).

    Examples
    --------
    >>> language_entropy([0, 0, 1, 1], ["en", "de", "en", "en"])
    0.5
    """
    counts = _table(labels, languages)
    return float(entropy_of(counts)) if counts.shape[1] > 1 else math.nan


@checked
def purity(labels: Labels, languages: Labels) -> float:
    """Return the share of tokens that are of the main language of their concept: Σ_c max_l n_cl / n.

    Parameters
    ----------
    labels, languages : sequences (n,) of int and of str
        Concept and language of every token; tokens of concept -1 (none) are left out.

    Returns
    -------
    float
        In [1/L, 1]: 1 if every concept is of one language.  It grows with the number of concepts even at random, and
        is 1 when every token is a concept: compare at one number of concepts.

    Raises
    ------
    InputError
        If the two differ in length, or no token has a concept.

    Notes
    -----
    Manning, Raghavan and Schütze, *Introduction to Information Retrieval*, 2008, section 16.3.

    Examples
    --------
    >>> purity([0, 0, 1, 1], ["en", "de", "en", "en"])
    0.75
    """
    return float(purity_of(_table(labels, languages)))


@checked
def ami(labels: Labels, languages: Labels) -> float:
    """Return the adjusted mutual information of concepts and languages; 0 at random, whatever the sizes.

    Parameters
    ----------
    labels : sequence (n,) of int
        Concept of every token; tokens of concept -1 (none) are left out.
    languages : sequence (n,) of str
        Language of every token; or another clustering of the same tokens, to see how stable concepts are.

    Returns
    -------
    float
        At most 1; a little below 0 if concepts tell less of languages than chance.  1 only if concepts *are* the
        languages; many concepts of one language each score less.  NaN with one language.

    Raises
    ------
    InputError
        If the two differ in length, or no token has a concept.

    Notes
    -----
    ``(MI - E[MI]) / (mean(H(labels), H(languages)) - E[MI])`` (Vinh, Epps and Bailey, *Information Theoretic Measures
    for Clusterings Comparison*, JMLR 2010), by scikit-learn.

    Examples
    --------
    >>> ami([0, 0, 1, 1], ["en", "en", "de", "de"])
    1.0
    """
    from sklearn.metrics import adjusted_mutual_info_score

    concept, language = _codes(labels, languages)
    return float(adjusted_mutual_info_score(language, concept)) if language.any() else math.nan


@checked
def silhouette(X: Vectors, labels: Labels, *, sample: Count = 2000, draw_seed: Seed = 0) -> float:
    """Return the mean silhouette: how much nearer vectors are to their own concept than to the next.

    Parameters
    ----------
    X : array (n, d) of float
    labels : sequence (n,) of int
        Concept of every row; rows of concept -1 (none) are left out.
    sample : int
        At most so many rows, drawn without replacement, are compared with each other.  A row that is alone of its
        concept in the sample counts 0, so hundreds of concepts need a larger sample.
    draw_seed : int
        Seed of the sample.

    Returns
    -------
    float
        In [-1, 1].  NaN if the sample holds only one concept, or no concept twice.

    Raises
    ------
    InputError
        If the two differ in length, a number is not finite, or no row has a concept.
    UsageError
        If `sample` is less than 3.

    Notes
    -----
    ``(b - a) / max(a, b)`` with a the mean Euclidean distance to the row's own concept and b to the nearest other
    (Rousseeuw, *Silhouettes*, Journal of Computational and Applied Mathematics 20, 1987), by scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> round(silhouette(np.array([[0.0], [0.1], [9.0], [9.1]]), [0, 0, 1, 1]), 2)
    0.99
    """
    x = matrix(X, what="The silhouette")
    chosen = sample_of(labels, sample, draw_seed=draw_seed, n=len(x))
    return float(_silhouettes(x[chosen], np.asarray(labels)[chosen], n_shuffled=0)[0].mean())


def sample_of(labels: Labels, sample: int = 2000, *, draw_seed: int = 0, n: int | None = None) -> Codes:
    """Return (m,) rising numbers of at most `sample` rows that have a concept; `n` is how many labels there must be."""
    if sample < 3:
        raise UsageError(f"sample is a number of rows and must be 3 or more; got {sample}.")
    rows = np.flatnonzero(_has_concept(labels, len(labels) if n is None else n, "The silhouette"))
    if len(rows) > sample:
        rows = np.sort(np.random.default_rng(draw_seed).choice(rows, sample, replace=False))
    return rows.astype(np.int64)


def silhouette_estimate(
    X: Vectors,
    labels: Labels,
    *,
    sentences: pl.Series | None = None,
    resamples: Resamples | None = None,
    interval: Interval = "bca",
    n_permutations: Draws = 10,
    draw_seed: Seed = 0,
) -> Estimate:
    """Return `silhouette` with its chance level: how much nearer states are to their own concept than to the next.

    Parameters
    ----------
    X : array (n, d) of float
        All of them are compared with each other, so draw them with `sample_of` first.
    labels : sequence (n,) of int
        Concept of every row; none is -1.
    sentences : polars.Series, optional
        (n,) the sentence of every row, for `resamples`.
    resamples : Resamples, optional
        Of sentences, for the interval; concepts, and the silhouette of every row, are kept.
    n_permutations : int
        Chance is the mean over so many labelings with the concepts shuffled over the rows: below 0, for the nearest of
        many other concepts is nearer than a row's own.

    Returns
    -------
    Estimate
        Without a threshold; `n` counts the concepts.
    """
    x, concept = matrix(X, what="The silhouette"), np.asarray(labels)
    values, *null = _silhouettes(x, concept, n_shuffled=n_permutations, draw_seed=draw_seed)
    draws = None
    if resamples is not None and sentences is not None:
        weights = resamples.of(resamples.table(np.arange(len(values)), sentences, len(values)))
        with np.errstate(invalid="ignore"):
            draws = (values @ weights / weights.sum(axis=0)).astype(np.float32)
    chance = [float(silhouettes.mean()) for silhouettes in null]
    return estimate_of(float(values.mean()), chance, draws, interval, n=len(np.unique(concept)))


def _silhouettes(
    x: npt.NDArray[np.float64], concept: npt.NDArray[Any], *, n_shuffled: int, draw_seed: int = 0
) -> list[npt.NDArray[np.float64]]:
    """Return the silhouettes (n,) of all rows, and again with the concepts shuffled; NaN where there are none."""
    from sklearn.metrics import pairwise_distances, silhouette_samples

    generator = np.random.default_rng(draw_seed)
    labelings = [concept, *(generator.permutation(concept) for _ in range(n_shuffled))]
    if not 2 <= len(np.unique(concept)) < len(concept):
        return [np.full(len(concept), math.nan)] * len(labelings)
    with one_blas_thread():
        distances = pairwise_distances(x)
    return [silhouette_samples(distances, labeling, metric="precomputed") for labeling in labelings]


def _codes(labels: Labels, languages: Labels) -> tuple[Codes, Codes]:
    """Return concepts and languages numbered from 0, without the tokens that have no concept."""
    what = "A measure of concepts"
    every = codes(languages, what=what, name="languages")
    kept = _has_concept(labels, len(every), what)
    concepts = codes(np.asarray(labels)[kept], what=what, name="concepts")
    return concepts, codes(every[kept], what=what, name="languages")


def _has_concept(labels: Labels, n: int, what: str) -> npt.NDArray[np.bool_]:
    codes(labels, what=what, name="concepts", n=n)
    concept = np.asarray(labels)
    kept = concept != -1 if concept.dtype.kind in "iuf" else np.ones(n, np.bool_)
    if not kept.any():
        raise InputError(f"{what} needs concepts; all {n} labels are -1, none.")
    return np.asarray(kept)


def _table(labels: Labels, languages: Labels) -> npt.NDArray[np.float64]:
    """Return (K, L) counts of tokens by concept and language, without empty rows and columns."""
    concept, language = _codes(labels, languages)
    shape = concept.max() + 1, language.max() + 1
    flat = np.bincount(concept * shape[1] + language, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)
