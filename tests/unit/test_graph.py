"""The graph of steps: who waits for whom, its stages, and its picture."""

from __future__ import annotations

from pathlib import Path

from isogloss.study.graph import Step, edges, stage_graph
from isogloss.study.shards import sharded

from isogloss.config import read_config
from isogloss.plots import graph_chart
from isogloss.store import StudyLayout
from isogloss.study.inputs import read_corpus
from isogloss.study.plan import make_plan


def nothing(root: Path) -> dict[str, object]:
    return {}


def step(name: str, stage: str, *, reads: tuple[str, ...] = (), folder: str = "") -> Step:
    outputs = (Path(folder or f"{name}.parquet"),)
    return Step(name, name, nothing, {}, outputs, stage, reads=tuple(Path(x) for x in reads))


def test_a_step_waits_for_those_that_write_what_it_reads():
    steps = [
        step("a", "first"),
        step("states", "second", folder="states/m"),
        step("b", "third", reads=("a.parquet", "states/m/layer_01.npy", "elsewhere.txt")),
    ]
    assert edges(steps) == {"a": [], "states": [], "b": ["a", "states"]}


def test_stages_have_depths_and_only_the_longer_way_is_a_link():
    steps = [
        step("a", "one"),
        step("b", "two", reads=("a.parquet",)),
        step("c", "three", reads=("a.parquet", "b.parquet")),
    ]
    stages, links = stage_graph(steps)
    assert [(one["stage"], one["depth"]) for one in stages] == [("one", 0), ("two", 1), ("three", 2)]
    assert links == [("one", "two"), ("two", "three")]


def test_every_step_of_a_study_but_the_first_waits_for_another(study_file, tmp_path):
    config = read_config(study_file())
    plan = make_plan(config, read_corpus(config.corpus), tmp_path)
    before = edges(plan.steps)
    first = {one.name for one in plan.steps if not before[one.name]}
    assert {one.stage for one in plan.steps if one.name in first} == {"word links", "states"}
    trees = [one for one in plan.steps if one.stage == "trees"]
    assert all("states/starter/encoder" in before[one.name] for one in trees)


def test_states_become_shards_that_end_in_the_same_step(study_file, tmp_path):
    config = read_config(study_file())
    plan = make_plan(config, read_corpus(config.corpus), tmp_path)
    steps = sharded(plan, StudyLayout(tmp_path))
    own = [one for one in steps if one.name.startswith("states/")]
    assert own[-1].name == "states/starter/encoder"
    assert own[-1].key == next(one.key for one in plan.steps if one.stage == "states")
    assert set(edges(steps)[own[-1].name]) == {one.name for one in own[:-1]}
    assert {one.stage for one in own} == {"shards of states", "joined states", "states"}


def test_the_picture_tells_how_many_steps_there_are(study_file, tmp_path):
    config = read_config(study_file())
    plan = make_plan(config, read_corpus(config.corpus), tmp_path)
    stages, links = stage_graph(plan.steps)
    chart = graph_chart(stages, links).to_dict()
    assert f"{len(plan.steps)} steps in {len(stages)} stages" in chart["description"]
    drawn = next(iter(chart["datasets"].values()))
    assert sum(one["kind"] == "link" for one in drawn) == len(links)
    assert {one["stage"]: one["steps"] for one in drawn if one["kind"] == "stage"} == {
        one["stage"]: one["steps"] for one in stages
    }
