"""The companion measures by name: what each takes, its chance level, and its interval over sentences.

Beside CALIGN and COLAP these look at the same states without clusters.  Formulas, ranges and sources stand in their own
modules; here is only what a study needs to compute them alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss.errors import InputError
from isogloss.metrics.anc import anc
from isogloss.metrics.bootstrap import Resamples, interval
from isogloss.metrics.cca import pwcca, svcca
from isogloss.metrics.cka import linear_cka
from isogloss.metrics.isotropy import isoscore, mean_cosine
from isogloss.metrics.procrustes import procrustes_retrieval
from isogloss.metrics.retrieval import mexa, retrieval
from isogloss.metrics.rsa import rsa
from isogloss.metrics.separability import knn_mixing, language_probe

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.floating]
Takes = Literal["sentences", "words", "space"]

_NEIGHBOURS = 10  # as Conneau et al. (2018) have it for CSLS
_SHUFFLES = 5  # of the pairing, for a chance level that has no formula


@dataclass(frozen=True)
class Measure:
    """A measure of two languages at one layer.

    Attributes
    ----------
    takes : {"sentences", "words", "space"}
        Row-aligned states of sentences, of linked words (every pair of types once), or all sentences of both, stacked.
    function : callable
        ``function(X, Y)`` -> number or one value a row; of a space ``function(X, languages, sentences)``.
    chance : callable or None
        From the number of rows; None: from shuffled pairs, or undefined for a space.
    what : str
        One line.
    """

    takes: Takes
    function: Callable[..., Any]
    chance: Callable[[int], float] | None
    what: str


def _k(n: int) -> int:
    return min(_NEIGHBOURS, max(1, n - 1))


MEASURES: dict[str, Measure] = {
    "retrieval": Measure(
        "sentences", retrieval, lambda n: 1 / n, "P@1 of the translation among all sentences, by the cosine"
    ),
    "retrieval_csls": Measure(
        "sentences",
        lambda X, Y: retrieval(X, Y, csls=_k(len(X))),
        lambda n: 1 / n,
        "the same by CSLS, 10 neighbours",
    ),
    "retrieval_margin": Measure(
        "sentences",
        lambda X, Y: retrieval(X, Y, margin=_k(len(X))),
        lambda n: 1 / n,
        "the same by the ratio margin, 10 neighbours",
    ),
    "mexa": Measure(
        "sentences", mexa, lambda n: 1 / (2 * n - 1), "share of pairs nearer than any wrong pair of theirs"
    ),
    "cka": Measure("sentences", linear_cka, None, "linear CKA, debiased"),
    "anc": Measure("sentences", anc, None, "mean correlation of neurons, signed"),
    "anc_absolute": Measure("sentences", lambda X, Y: anc(X, Y, signed=False), None, "the same, absolute"),
    "svcca": Measure("sentences", svcca, None, "mean canonical correlation, 99 % of the variance"),
    "pwcca": Measure("sentences", pwcca, None, "canonical correlation, weighted by projection"),
    "rsa": Measure(
        "sentences", lambda X, Y: rsa(X[:1000], Y[:1000]).rho, None, "rank correlation of dissimilarities"
    ),
    "word_retrieval": Measure("words", retrieval, lambda n: 1 / n, "P@1 of linked words, by the cosine"),
    "word_retrieval_csls": Measure(
        "words",
        lambda X, Y: retrieval(X, Y, csls=_k(len(X))),
        lambda n: 1 / n,
        "P@1 of linked words, by CSLS",
    ),
    "procrustes": Measure(
        "words",
        procrustes_retrieval,
        lambda n: min(1.0, 5 / n),
        "held-out P@1 of linked words after a rotation",
    ),
    "language_probe": Measure(
        "space",
        lambda X, languages, sentences: language_probe(X, languages, groups=sentences),
        lambda _n: 0.5,
        "cross-validated accuracy of a linear probe for the language",
    ),
    "language_probe_centred": Measure(
        "space",
        lambda X, languages, sentences: language_probe(
            X, languages, groups=sentences, remove_means=True, axes=min(16, X.shape[1])
        ),
        lambda _n: 0.5,
        "the same without language means, with squares of 16 axes",
    ),
    "knn_mixing": Measure(
        "space",
        lambda X, languages, _sentences: knn_mixing(X, languages, k=_k(len(X))),
        lambda _n: 1.0,
        "foreign neighbours of 10, over what full mixing has",
    ),
    "mean_cosine": Measure(
        "space",
        lambda X, _languages, _sentences: mean_cosine(X),
        None,
        "mean cosine of all pairs (anisotropy)",
    ),
    "isoscore": Measure(
        "space", lambda X, _languages, _sentences: isoscore(X), None, "evenness of the variance"
    ),
}
DEFAULT = (
    *("retrieval_csls", "mexa", "cka", "anc", "word_retrieval_csls"),
    *("language_probe", "knn_mixing", "mean_cosine"),
)


@dataclass(frozen=True)
class Companion:
    """One value of a companion measure.

    Attributes
    ----------
    score : float
        NaN where it is not defined, e.g. CCA with too few rows.
    chance : float
        By formula, or the mean over shuffled pairs; NaN where there is none.
    ci_low, ci_high : float
        95 % bootstrap interval over sentences, of measures that give a value a sentence; else NaN.
    n : int
        Rows.
    """

    score: float
    chance: float
    ci_low: float
    ci_high: float
    n: int


def compare_rows(
    name: str, X: Matrix, Y: Matrix, *, resamples: Resamples | None = None, seed: int = 0
) -> Companion:
    """Return a measure of row-aligned states; `resamples` are of the rows (sentences 0 .. n - 1).

    Raises
    ------
    InputError
        If the states are not finite or do not fit together.
    """
    measure = MEASURES[name]
    n = len(X)
    value = _value(measure.function, X, Y)
    score = float(np.mean(value))
    low = high = math.nan
    if np.ndim(value) and resamples is not None:
        draws = resamples.weights @ value / resamples.weights.sum(axis=1)
        low, high = interval(score, draws)
        low, high = max(low, 0.0), min(high, 1.0)
    if measure.chance is not None:
        chance = measure.chance(n)
    else:
        generator = np.random.default_rng(seed)
        found = [
            float(np.mean(_value(measure.function, X, Y[generator.permutation(n)]))) for _ in range(_SHUFFLES)
        ]
        chance = float(np.mean(found))
    return Companion(score, chance, low, high, n)


def look_at_space(name: str, X: Matrix, languages: npt.ArrayLike, sentences: npt.ArrayLike) -> Companion:
    """Return a measure of the stacked states of several languages."""
    measure = MEASURES[name]
    score = float(measure.function(X, languages, sentences))
    chance = measure.chance(len(X)) if measure.chance is not None else math.nan
    return Companion(score, chance, math.nan, math.nan, len(X))


def _value(function: Callable[..., Any], X: Matrix, Y: Matrix) -> Any:
    try:
        return function(X, Y)
    except InputError as error:
        if "canonical" in str(error) or "directions" in str(error):  # too few rows for CCA: not defined
            return math.nan
        raise
