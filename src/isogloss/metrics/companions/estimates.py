"""The companion measures by name: what each takes, its chance level, and its interval over sentences.

Beside CALIGN and COLAP these look at the same states without clusters.  Formulas, ranges and sources stand in their own
modules; here is only what a study needs to compute them alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Entries, Seed, WholeNumbers, checked
from isogloss.errors import InputError, unknown
from isogloss.metrics.companions.cca import pwcca, svcca
from isogloss.metrics.companions.cka import cka_draws, linear_cka
from isogloss.metrics.companions.dissimilarity import rsa
from isogloss.metrics.companions.isotropy import isoscore, mean_cosine, mean_cosine_draws
from isogloss.metrics.companions.nearest import mexa, retrieval
from isogloss.metrics.companions.neurons import anc, anc_draws
from isogloss.metrics.companions.rotation import procrustes_retrieval
from isogloss.metrics.companions.separability import knn_mixing, language_probe
from isogloss.metrics.inputs import Floats, Vectors, same_rows
from isogloss.metrics.statistics.bootstrap import GROUPS, Resamples, interval, jackknife_interval

Takes = Literal["sentences", "words", "space"]

_NEIGHBOURS = 10  # as Conneau et al. (2018) have it for CSLS
_SHUFFLES = 5  # of the pairing, for a chance level that has no formula

# Probes of cross-validation share their training rows: with 5 folds the variance of the accuracy is about 1 + 5 / 4
# times that of its rows.  Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
_RELEARNT = 1.5


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
    range : (float, float)
        Its least and greatest value, where intervals end.
    draws : callable or None
        ``draws(*given, weights=w)`` -> (m,): the measure under every line of (m, n) weights of rows, for the bootstrap.
        None: from the values a row, or by the jackknife if there are none.
    most : int or None
        Only the first so many rows are looked at.
    widened : float
        By how much the values a row vary less than the measure does.
    """

    takes: Takes
    function: Callable[..., Any]
    chance: Callable[[int], float] | None
    what: str
    range: tuple[float, float] = (0.0, 1.0)
    draws: Callable[..., Floats] | None = None
    most: int | None = None
    widened: float = 1.0


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
    "cka": Measure("sentences", linear_cka, None, "linear CKA, debiased", (-1, 1), cka_draws),
    "anc": Measure("sentences", anc, None, "mean correlation of neurons, signed", (-1, 1), anc_draws),
    "anc_absolute": Measure(
        "sentences",
        partial(anc, signed=False),
        None,
        "the same, absolute",
        draws=partial(anc_draws, signed=False),
    ),
    "svcca": Measure("sentences", svcca, None, "mean canonical correlation, 99 % of the variance"),
    "pwcca": Measure("sentences", pwcca, None, "canonical correlation, weighted by projection"),
    "rsa": Measure(
        "sentences",
        lambda X, Y: rsa(X, Y).rho,
        None,
        "rank correlation of dissimilarities, of 1000 rows at most",
        (-1, 1),
        most=1000,
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
        widened=_RELEARNT,
    ),
    "language_probe_centred": Measure(
        "space",
        lambda X, languages, sentences: language_probe(
            X, languages, groups=sentences, remove_means=True, axes=min(16, X.shape[1])
        ),
        lambda _n: 0.5,
        "the same without language means, with squares of 16 axes",
        widened=_RELEARNT,
    ),
    "knn_mixing": Measure(
        "space",
        lambda X, languages, _sentences: knn_mixing(X, languages, k=_k(len(X))),
        lambda _n: 1.0,
        "foreign neighbours of 10, over what full mixing has",
        (0, math.inf),
    ),
    "mean_cosine": Measure(
        "space",
        lambda X, _languages, _sentences: mean_cosine(X),
        None,
        "mean cosine of all pairs (anisotropy)",
        (-1, 1),
        lambda X, _languages, _sentences, *, weights: mean_cosine_draws(X, weights),
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
        95 % interval over sentences; NaN where there is none.
    n : int
        Rows.
    ci : str
        What the interval is of: ``"bca200"``, a bootstrap of 200 resamples; ``"jackknife20"``, 20 groups of sentences
        left out one after the other; ``"none"``.
    draws : numpy.ndarray or None
        (n resamples + 20,) float32: the score in every row of the `Resamples`; None without a bootstrap.
    """

    score: float
    chance: float
    ci_low: float
    ci_high: float
    n: int
    ci: str = "none"
    draws: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)


@checked
def compare_rows(
    name: str,
    X: Vectors,
    Y: Vectors,
    *,
    sentences: WholeNumbers | None = None,
    resamples: Resamples | None = None,
    draw_seed: Seed = 0,
) -> Companion:
    """Return a measure of row-aligned states.

    Parameters
    ----------
    name : str
        Of `MEASURES`.
    X, Y : arrays (n, d) of float
    sentences : array (n,) of int, optional
        The sentence that every row is of or from; 0 .. n - 1 if not given.
    resamples : Resamples, optional
        Of the sentences, for the interval.
    draw_seed : int
        Of the shuffled pairs of the chance level.

    Raises
    ------
    InputError
        If the states are not finite or do not fit together, or a sentence is not among those that are drawn.
    """
    measure = _found(name, of_space=False)
    same_rows(name, X=X, Y=Y, **({} if sentences is None else {"sentences": sentences}))
    X, Y = X[: measure.most], Y[: measure.most]
    n = len(X)
    of_rows = np.arange(n) if sentences is None else np.asarray(sentences)[: measure.most]
    if measure.chance is not None:
        chance = measure.chance(n)
    else:
        generator = np.random.default_rng(draw_seed)
        found = [_score(measure, X, Y[generator.permutation(n)]) for _ in range(_SHUFFLES)]
        chance = float(np.mean(found))
    return _judged(measure, (X, Y), of_rows, resamples, chance=chance)


@checked
def look_at_space(
    name: str,
    X: Vectors,
    languages: Entries,
    sentences: WholeNumbers,
    *,
    resamples: Resamples | None = None,
) -> Companion:
    """Return a measure of the stacked states of several languages; all rows of a sentence are drawn together."""
    measure = _found(name, of_space=True)
    same_rows(name, X=X, languages=languages, sentences=sentences)
    chance = measure.chance(len(X)) if measure.chance is not None else math.nan
    given = (X, np.asarray(languages), np.asarray(sentences))
    return _judged(measure, given, given[2], resamples, chance=chance)


def _found(name: str, *, of_space: bool) -> Measure:
    known = [one for one, measure in MEASURES.items() if (measure.takes == "space") == of_space]
    if name not in known:
        raise unknown("measure of " + ("a space" if of_space else "row-aligned states"), name, known)
    return MEASURES[name]


def _judged(
    measure: Measure,
    given: tuple[npt.NDArray[Any], ...],
    sentences: npt.NDArray[Any],
    resamples: Resamples | None,
    *,
    chance: float,
) -> Companion:
    """Return the measure with its interval; the arrays given have a row for each of the sentences."""
    value = _value(measure, *given)
    score, n = float(np.mean(value)), len(given[0])
    if resamples is None or math.isnan(score):
        return Companion(score, chance, math.nan, math.nan, n)
    weights = resamples.of_rows(sentences)
    draws = None
    if np.ndim(value):
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = score + measure.widened * (weights @ value / weights.sum(axis=1) - score)
    elif measure.draws is not None:
        draws = measure.draws(*given, weights=weights)
    if draws is not None:
        ends = interval(score, draws)
        ci, draws = f"bca{len(draws) - GROUPS}", draws.astype(np.float32)
    else:
        kept = weights[-GROUPS:] > 0
        kept = kept[~kept.all(axis=1)]  # groups that have a row at all
        ends = jackknife_interval(score, [_score(measure, *(one[rows] for one in given)) for rows in kept])
        ci = f"jackknife{len(kept)}"
    low, high = (float(np.clip(end, *measure.range)) for end in ends)
    return Companion(score, chance, low, high, n, "none" if math.isnan(low) else ci, draws)


def _score(measure: Measure, *given: npt.NDArray[Any]) -> float:
    return float(np.mean(_value(measure, *given)))


def _value(measure: Measure, *given: npt.NDArray[Any]) -> Any:
    try:
        return measure.function(*given)
    except InputError as error:
        if "canonical" in str(error) or "directions" in str(error):  # too few rows for CCA: not defined
            return math.nan
        raise
