"""Settings stand once: functions and the study file have the defaults, ranges and words of one class."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import isogloss
from isogloss.arguments import checked
from isogloss.config import MetricsSection, ModelSection, StudyConfig, TaskSection
from isogloss.errors import UsageError
from isogloss.extraction import extract
from isogloss.metrics import calign, colap, one_to_one
from isogloss.metrics.labels.enrichment import label_concepts
from isogloss.sections import Section
from isogloss.settings import (
    AlignmentSettings,
    ExtractionSettings,
    LabelSettings,
    LoraSettings,
    OverlapSettings,
    Selection,
    TrainingSettings,
    takes,
)
from isogloss.states import States, select_rows
from isogloss.tasks import finetune

TAKERS = [
    (extract, ExtractionSettings),
    (finetune, TrainingSettings),
    (States.select, Selection),
    (select_rows, Selection),
    (calign, AlignmentSettings),
    (one_to_one, AlignmentSettings),
    (colap, OverlapSettings),
    (label_concepts, LabelSettings),
]


@pytest.mark.parametrize(("function", "form"), TAKERS, ids=lambda part: part.__name__)
def test_a_function_shows_the_settings_that_it_takes(function, form: type[Section]) -> None:
    parameters = inspect.signature(function).parameters
    for name, field in form.model_fields.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == field.get_default(call_default_factory=True)
    if function is not States.select:  # which sends its reader to select_rows
        assert all(f"\n    {name} : " in function.__doc__ for name in form.model_fields)


@pytest.mark.parametrize(
    ("section", "group"),
    [
        (ModelSection, ExtractionSettings),
        (TaskSection, TrainingSettings),
        (MetricsSection, AlignmentSettings),
        (MetricsSection, OverlapSettings),
    ],
)
def test_the_study_file_has_the_same_defaults(section: type[Section], group: type[Section]) -> None:
    for name, field in group.model_fields.items():
        own = section.model_fields[name]
        assert (own.default, own.description) == (field.default, field.description)


@checked
@takes(AlignmentSettings)
def take(first: int, *, settings: AlignmentSettings, last: bool = False) -> tuple[int, AlignmentSettings, bool]:
    """Give back."""
    return first, settings, last


def test_keywords_become_one_object() -> None:
    assert take(1) == (1, AlignmentSettings(), False)
    assert take(1, theta_align=0.5, last=True) == (1, AlignmentSettings(theta_align=(0.5,)), True)
    whole = MetricsSection(min_types=2, variants=["covered"])
    _, alone, _ = take(1, settings=whole)
    assert (type(alone), alone.min_types) == (AlignmentSettings, 2)
    assert take(1, settings=whole, min_types=3)[1].min_types == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"theta_align": 2}, r"^take: theta_align must be a number from 0 to 1 or a list .*; got 2\."),
        ({"theta_align": []}, "not empty"),
        ({"theta_align": 0}, "^take: theta_align must be above 0"),
        ({"min_types": -1}, r"^take: min_types must be .*; got -1\. Example: min_types=5"),
        ({"rule": "papercode"}, "Did you mean 'paper-code'"),
        ({"settings": 1}, "^take: settings must be AlignmentSettings|an AlignmentSettings"),
    ],
)
def test_a_wrong_value_names_the_function(given, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        take(1, **given)
    with pytest.raises(UsageError, match=r"unknown argument of take .thetas.. Did you mean .theta_align."):
        take(1, thetas=0.5)


def test_a_group_checks_what_it_is_made_of() -> None:
    for make, said in (
        (lambda: LoraSettings(rank=0), r"LoraSettings: rank must be a whole number from 1 .*; got 0"),
        (lambda: TrainingSettings(epoch=1), "unknown setting of TrainingSettings 'epoch'. Did you mean 'epochs'"),
        (lambda: OverlapSettings(theta_overlap=0), "OverlapSettings: theta_overlap must be above 0"),
        (lambda: StudyConfig(models=[]), "StudyConfig.corpus: Field required"),
    ):
        with pytest.raises(UsageError, match=said):
            make()


def test_the_rule_is_asked_in_one_place() -> None:
    source = Path(isogloss.__file__).parent
    asks = [p.name for p in source.rglob("*.py") if re.search(r"==\s*\"paper-code\"", p.read_text("utf-8"))]
    assert asks == ["measures.py"]
