"""The graph of steps: who waits for whom, its stages, its parts, and its picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from isogloss.config import read_config
from isogloss.plots import graph_chart
from isogloss.runner import Facts, Step, run_step, stage_graph, upstream
from isogloss.store import StudyLayout, write_text
from isogloss.study import Plan, make_plan
from isogloss.study.inputs import read_corpus


@dataclass(frozen=True)
class Write(Step):
    """Writes a word, and what the steps before it have written."""

    word: str
    before: Any = ()
    # neither changes the file
    note: str = field(default="", compare=False)
    part_of: Step | None = field(default=None, metadata={"is_input": False})
    stage: ClassVar[str] = "first"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.root / "words" / f"{self.word}.txt",)

    def run(self, layout: StudyLayout) -> Facts:
        text = "".join(path.read_text() for path in self.reads(layout))
        write_text(self.outputs(layout)[0], text + self.word)
        return {"n": len(text)}


class Second(Write):
    stage: ClassVar[str] = "second"


class Third(Write):
    stage: ClassVar[str] = "third"


def planned(study: Path) -> Plan:
    config = read_config(study)
    return make_plan(config, read_corpus(config.corpus))


# -- a step ---------------------------------------------------------------------------------------


def test_a_step_is_named_after_its_first_output_and_waits_for_the_steps_that_it_holds():
    a, b, c, whole = Write("a"), Write("b"), Write("c"), Write("whole")
    step = Second("d", before=(a, {"of b": [b, (c,)]}), part_of=whole)
    assert step.name == "words/d"
    assert step.inputs == (a, b, c)
    layout = StudyLayout(Path("study"))
    assert [path.name for path in step.reads(layout)] == ["a.txt", "b.txt", "c.txt"]


def test_a_key_is_of_kind_version_settings_and_inputs(monkeypatch):
    def key() -> str:
        return Second("b", (Write("a"),)).key

    first = key()
    assert Second("b", (Write("a"),), note="for the reader").key == first
    others = [Second("c", (Write("a"),)), Second("b"), Third("b", (Write("a"),))]
    others += [Second("b", (before,)) for before in (Write("x"), Second("a"), Write("a", (Write("x"),)))]
    keys = [step.key for step in others]
    for kind in (Write, Second):
        with monkeypatch.context() as patch:
            patch.setattr(Second, "version", 1)
            patch.setattr(kind, "version", 2)
            keys.append(key())
    assert key() == first
    assert len({first, *keys}) == 1 + len(keys)


def test_a_step_that_was_run_is_done_until_its_key_or_its_file_changes(tmp_path):
    layout, a = StudyLayout(tmp_path), Write("a")
    step = Second("b", (a,))
    for one in (a, step):
        run_step(tmp_path, one)
    assert (tmp_path / "words/b.txt").read_text() == "ab"
    assert layout.known("words/b")["info"]["n"] == 1
    assert layout.is_done(step.name, step.key)
    assert not layout.is_done(step.name, Second("b").key)
    (tmp_path / "words/b.txt").write_text("aB")
    assert not layout.is_done(step.name, step.key)


# -- stages ---------------------------------------------------------------------------------------


def test_stages_have_depths_and_only_the_longer_way_is_a_link():
    a = Write("a")
    b = Second("b", (a,))
    stages, links = stage_graph([a, b, Third("c", (a, b))])
    assert [(x["stage"], x["depth"]) for x in stages] == [("first", 0), ("second", 1), ("third", 2)]
    assert links == [("first", "second"), ("second", "third")]


def test_upstream_of_a_stage_are_its_steps_and_all_that_they_wait_for():
    a, other = Write("a"), Write("other")
    b, c = Second("b", (a,)), Third("c", (other,))
    steps = [a, other, b, c]
    assert upstream(steps, "second") == [a, b]
    assert upstream(steps, "third") == [other, c]
    assert upstream(steps, "first") == [a, other]
    assert upstream(steps, "fourth") == []


# -- of a study -----------------------------------------------------------------------------------


def test_every_step_of_a_study_but_the_first_waits_for_another(study_file):
    plan = planned(study_file())
    assert {step.stage for step in plan.steps if not step.inputs} == {"links", "states"}
    trees = [step for step in plan.steps if step.stage == "trees"]
    assert trees
    assert all("states/starter/encoder" in {before.name for before in step.inputs} for step in trees)


@pytest.mark.parametrize("aligner", ["diagonal", "model"])
def test_a_plan_has_every_step_that_is_waited_for_and_has_it_before(study_file, aligner):
    plan = planned(study_file(alignment={"aligner": aligner}, robustness={}))
    stood: set[str] = set()
    for step in plan.steps:
        assert {before.name for before in step.inputs} <= stood
        stood.add(step.name)


def test_two_plans_of_a_study_have_the_same_names_and_keys_and_no_name_is_there_twice(study_file):
    study = study_file(discovery={"n_concepts": [20, 30], "seeds": [0, 1]}, robustness={})
    first, second = ([(step.name, step.key) for step in planned(study).steps] for _ in range(2))
    assert first == second
    assert len(dict(first)) == len(first)
    assert len(set(dict(first).values())) == len(first)


def test_states_become_shards_that_end_in_the_same_step(study_file):
    whole = next(step for step in planned(study_file()).steps if step.stage == "states")
    parts = whole.parts()
    assert (parts[-1].name, parts[-1].key) == ("states/starter/encoder", whole.key)
    assert {step.name for step in parts[-1].inputs} == {step.name for step in parts[:-1]}
    assert {step.stage for step in parts} == {"shards of states", "joined states", "states"}
    assert len({step.name for step in parts}) == len(parts)
    assert not any(step.parts() for step in planned(study_file()).steps if step.stage != "states")


def test_the_picture_tells_how_many_steps_there_are(study_file):
    plan = planned(study_file())
    stages, links = stage_graph(plan.steps)
    chart = graph_chart(stages, links).to_dict()
    assert f"{len(plan.steps)} steps in {len(stages)} stages" in chart["description"]
    drawn = next(iter(chart["datasets"].values()))
    assert sum(mark["kind"] == "link" for mark in drawn) == len(links)
    assert {mark["stage"]: mark["steps"] for mark in drawn if mark["kind"] == "stage"} == {
        stage["stage"]: stage["steps"] for stage in stages
    }
