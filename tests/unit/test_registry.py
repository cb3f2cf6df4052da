"""The registry of measures: complete, and saying the same as the formulas and the study file."""

from __future__ import annotations

from typing import get_args

import pytest

from isogloss.config import Variant
from isogloss.metrics.registry import (
    ALIGNMENT,
    COMPANIONS,
    DEFAULT_COMPANIONS,
    DIRECTED,
    GROUP_OVERLAP,
    MEASURES,
    OVERLAP,
    SOFT_ALIGNMENT,
    headlines,
    with_theta,
)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_says_what_people_need(name: str) -> None:
    measure = MEASURES[name]
    assert measure.name == name
    assert measure.title and measure.what and callable(measure.formula)
    assert measure.range[0] < measure.range[1]
    assert measure.signature[:2] == ("isogloss", "metric")
    assert ("theta" in measure.signature) == (measure.theta is not None)
    assert ("seed" in measure.signature) != ("draw_seed" in measure.signature)


def test_titles_tell_measures_apart() -> None:
    titles = [measure.title for measure in MEASURES.values()]
    assert len(set(titles)) == len(titles)


def test_every_variant_of_the_study_file_is_a_measure() -> None:
    assert {f"calign_{variant}" for variant in get_args(Variant)} <= set(MEASURES)
    assert set(DEFAULT_COMPANIONS) <= set(COMPANIONS) < set(MEASURES)


def test_the_headlines_are_calign_of_both_directions_and_colap() -> None:
    read = [(measure.name, measure.column) for measure in headlines()]
    assert read == [(ALIGNMENT, "adjusted"), (SOFT_ALIGNMENT, "adjusted"), (OVERLAP, "score")]
    assert {DIRECTED, ALIGNMENT, OVERLAP, GROUP_OVERLAP} <= {measure.name for measure in with_theta()}
    assert MEASURES[DIRECTED].directed and not MEASURES[ALIGNMENT].directed
