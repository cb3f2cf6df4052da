"""The steps of a study: what runs again when something changes, what `until` runs, and which files they write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cluster import markers, write_study
from isogloss.config import TaskSection, read_config
from isogloss.coordinates import Pair
from isogloss.errors import UsageError
from isogloss.starter import model_folder
from isogloss.store import StudyLayout
from isogloss.study import Plan, make_plan, run_study
from isogloss.study.inputs import read_corpus
from isogloss.study.steps.concepts import CutTree
from isogloss.study.steps.labels import LabelConcepts
from isogloss.study.steps.movement import FollowConcepts
from isogloss.study.steps.robustness import SweepSettings
from isogloss.study.steps.words import LinkWords, UserFile

ALWAYS = {"plan", "corpus", "manifest"}  # written by every run


def planned(study: Path) -> Plan:
    config = read_config(study)
    return make_plan(config, read_corpus(config.corpus))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study file with every stage but those of tasks: two models, one made from the other, and two seeds."""
    starter = {"path": str(model_folder()), "layers": [0, 4]}
    return write_study(
        tmp_path_factory.mktemp("steps"),
        corpus={"files": "text.tsv", "n_sentences": 60},
        models=[{"name": "starter", **starter}, {"name": "tuned", "base": "starter", **starter}],
        discovery={"n_concepts": [10, 20], "seeds": [0, 1]},
        robustness={"top": [5], "min_types": [2]},
    )


@pytest.fixture(scope="module")
def halves(study: Path) -> tuple[dict[str, int], dict[str, int], Path]:
    """The markers after a run until the metrics, those after a full run, and the folder."""
    folder = study.parent / "out"
    run_study(study, out=folder, workers=1, until="metrics")
    half = markers(folder)
    run_study(study, out=folder, workers=1)
    return half, markers(folder), folder


def test_until_a_stage_runs_it_and_what_it_needs_and_the_rest_runs_later(study, halves):
    half, whole, _ = halves
    steps = planned(study).steps
    needed = {"links", "states", "dictionaries", "trees", "concepts", "metrics"}
    assert set(half) == {step.name for step in steps if step.stage in needed} | ALWAYS
    assert set(whole) == {step.name for step in steps} | ALWAYS
    assert [name for name in half.keys() - ALWAYS if whole[name] != half[name]] == []


def test_a_stage_that_is_unknown_is_told_with_the_stages(study, tmp_path):
    with pytest.raises(UsageError, match=r"stage of this study 'tree'.*Did you mean 'trees'.*Known: .*concepts"):
        run_study(study, out=tmp_path / "out", until="tree")
    assert not (tmp_path / "out").exists()


def test_until_a_stage_that_needs_no_model_trains_none(study, tmp_path, monkeypatch):
    monkeypatch.setattr("isogloss.study.run.fine_tune", lambda *_: pytest.fail("a model was trained"))
    task = {"kind": "ner", "train": {"files": "text.tsv"}, "test": {"files": "text.tsv"}}
    config = read_config(study)
    config = config.model_copy(update={"tasks": [TaskSection.model_validate(task)]})
    run_study(config, out=tmp_path, workers=1, until="dictionaries")
    assert {name.split("/")[0] for name in markers(tmp_path)} == {"links", "dictionary", *ALWAYS}


def test_every_file_of_a_study_is_an_output_of_one_of_its_steps(study, halves):
    _, _, folder = halves
    layout = StudyLayout(folder)
    written = [path for step in planned(study).steps for path in step.outputs(layout)]
    assert len(set(written)) == len(written)
    files = {path for path in folder.rglob("*") if path.is_file() and ".steps" not in path.parts}
    files -= {layout.config, layout.manifest, layout.tokens, layout.sentences, layout.lock}
    assert files == set(written)
    assert layout.results_over_seeds in files


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        (FollowConcepts, {"movement of layers", "movement"}),
        (LabelConcepts, {"labels of layers", "labels"}),
        (SweepSettings, {"robustness of layers", "robustness"}),
    ],
)
def test_another_version_of_a_kind_runs_it_again_and_what_hangs_on_it(
    study, halves, tmp_path, monkeypatch, kind, stages
):
    _, before, done = halves
    folder = shutil.copytree(done, tmp_path / "out")
    monkeypatch.setattr(kind, "version", kind.version + 1)
    run_study(study, out=folder, workers=1)
    after = markers(folder)
    again = {name for name in after.keys() - ALWAYS if after[name] != before[name]}
    assert again == {step.name for step in planned(study).steps if step.stage in stages}


def test_on_concepts_hangs_all_but_what_they_are_made_from(study, halves, monkeypatch):
    layout = StudyLayout(halves[2])
    assert not [step.name for step in planned(study).steps if not layout.is_done(step.name, step.key)]
    monkeypatch.setattr(CutTree, "version", 2)
    again = {step.stage for step in planned(study).steps if not layout.is_done(step.name, step.key)}
    kept = {step.stage for step in planned(study).steps if layout.is_done(step.name, step.key)}
    assert kept == {"links", "states", "dictionaries", "trees", "companions"} | {"robustness of layers", "robustness"}
    assert again.isdisjoint(kept)


def test_a_tree_is_the_same_however_many_concepts_are_cut_from_it(study):
    """And a user's file is the same wherever it lies."""
    config = read_config(study)
    corpus = read_corpus(config.corpus)
    fewer = config.model_copy(update={"discovery": config.discovery.model_copy(update={"n_concepts": 10})})
    keys = {step.name: step.key for step in make_plan(config, corpus).steps}
    for step in make_plan(fewer, corpus).steps:
        if step.stage in ("trees", "concepts"):
            assert keys[step.name] == step.key
    here, there, other = (
        LinkWords(Pair("en", "de"), "diagonal", "grow-diag-final-and", {}, "text", UserFile(path, content)).key
        for path, content in (("here", "a"), ("there", "a"), ("here", "b"))
    )
    assert here == there != other
