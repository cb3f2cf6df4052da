"""Companion measures by name, each with its chance level and its interval over sentences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Entries, Seed, WholeNumbers, checked
from isogloss.errors import InputError, unknown
from isogloss.metrics.inputs import Vectors, same_rows
from isogloss.metrics.measure import Companion
from isogloss.metrics.registry import COMPANIONS
from isogloss.metrics.statistics.bootstrap import GROUPS, Resamples, interval, jackknife_interval, named_interval
from isogloss.results import Estimate

_SHUFFLES = 5  # of the pairing, for a chance level that has no formula


@checked
def compare_rows(
    name: str,
    X: Vectors,
    Y: Vectors,
    *,
    sentences: WholeNumbers | None = None,
    resamples: Resamples | None = None,
    draw_seed: Seed = 0,
) -> Estimate:
    """Return a measure of row-aligned states.

    Parameters
    ----------
    name : str
        Of `isogloss.metrics.registry.COMPANIONS`.
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
    measure = _measure_named(name, of_space=False)
    same_rows(name, X=X, Y=Y, **({} if sentences is None else {"sentences": sentences}))
    X, Y = X[: measure.most], Y[: measure.most]
    n = len(X)
    of_rows = np.arange(n) if sentences is None else np.asarray(sentences)[: measure.most]
    if measure.level is not None:
        chance = measure.level(n)
    else:
        generator = np.random.default_rng(draw_seed)
        chance = float(np.mean([_score(measure, X, Y[generator.permutation(n)]) for _ in range(_SHUFFLES)]))
    return _judged(measure, (X, Y), of_rows, resamples, chance=chance)


@checked
def look_at_space(
    name: str, X: Vectors, languages: Entries, sentences: WholeNumbers, *, resamples: Resamples | None = None
) -> Estimate:
    """Return a measure of the stacked states of several languages; all rows of a sentence are drawn together."""
    measure = _measure_named(name, of_space=True)
    same_rows(name, X=X, languages=languages, sentences=sentences)
    chance = measure.level(len(X)) if measure.level is not None else math.nan
    of_rows = np.asarray(sentences)
    return _judged(measure, (X, np.asarray(languages), of_rows), of_rows, resamples, chance=chance)


def _measure_named(name: str, *, of_space: bool) -> Companion:
    names = [measure.name for measure in COMPANIONS.values() if (measure.takes == "space") == of_space]
    if name not in names:
        raise unknown("measure of " + ("a space" if of_space else "row-aligned states"), name, names)
    return COMPANIONS[name]


def _judged(
    measure: Companion,
    arrays: tuple[npt.NDArray[Any], ...],
    sentences: npt.NDArray[Any],
    resamples: Resamples | None,
    *,
    chance: float,
) -> Estimate:
    """Return the measure with its interval; the arrays have a row for each of the sentences."""
    value = _value(measure, *arrays)
    score, n = float(np.mean(value)), len(arrays[0])
    estimate = Estimate(math.nan, score, chance, math.nan, math.nan, math.nan, math.nan, n, math.nan)
    if resamples is None or math.isnan(score):
        return estimate
    weights = resamples.of_rows(sentences)
    draws = None
    if np.ndim(value):
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = score + measure.widened * (weights @ value / weights.sum(axis=1) - score)
    elif measure.draws is not None:
        draws = measure.draws(*arrays, weights=weights)
    if draws is not None:
        ends = interval(score, draws)
        ci, draws = named_interval("bca", draws), draws.astype(np.float32)
    else:
        kept = weights[-GROUPS:] > 0
        kept = kept[~kept.all(axis=1)]  # groups that have a row at all
        ends = jackknife_interval(score, [_score(measure, *(array[rows] for array in arrays)) for rows in kept])
        ci = f"jackknife{len(kept)}"
    low, high = (float(np.clip(end, *measure.range)) for end in ends)
    ci = "none" if math.isnan(low) else ci
    return replace(estimate, ci_low=low, ci_high=high, ci=ci, draws=draws)


def _score(measure: Companion, *arrays: npt.NDArray[Any]) -> float:
    return float(np.mean(_value(measure, *arrays)))


def _value(measure: Companion, *arrays: npt.NDArray[Any]) -> Any:
    try:
        return measure.formula(*arrays)
    except InputError as error:
        if "canonical" in str(error) or "directions" in str(error):  # too few rows for CCA: not defined
            return math.nan
        raise
