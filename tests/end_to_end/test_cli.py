"""The command line as its user meets it: verbs, outputs, exit status, and one clear line for bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.cluster.hierarchy import is_valid_linkage

import isogloss as ig
from isogloss import cli
from isogloss.starter import load_corpus, model_folder

StudyFile = Callable[..., Path]


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run the command line in this process; return its exit status, output and errors."""
    argv = sys.argv
    sys.argv = ["isogloss", *map(str, words)]
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = argv
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_run_plan_status_report(study_file: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, out = study_file(), tmp_path / "out"
    status, printed, _ = call(capsys, "run", study, "--out", out, "--plan", "--json")
    stages = {s["stage"]: s for s in json.loads(printed)["stages"]}
    assert status == 0
    assert stages["concepts"]["steps"] == 2 * 7
    assert stages["concepts"]["done"] == 0
    assert not out.exists(), "--plan wrote something"

    status, printed, _ = call(capsys, "run", study, "--out", out, "--workers", 1, "--quiet", "--json")
    facts = json.loads(printed)
    assert status == 0
    assert Path(facts["report"]).stat().st_size > 10_000
    assert pl.read_csv(facts["results"]).height == facts["n_estimates"]
    assert {Path(p).suffix for p in facts["figures"]} == {".png", ".svg"}

    status, printed, _ = call(capsys, "status", out, "--json")
    found = json.loads(printed)
    assert (status, found["missing"], found["running"]) == (0, [], None)
    damaged = out / "states/starter/encoder/layer_04.npy"
    damaged.write_bytes(damaged.read_bytes()[:-8] + bytes(8))
    status, printed, _ = call(capsys, "status", out, "--verify", "--json")
    assert json.loads(printed)["missing"] == ["states/starter/encoder"]
    status, printed, _ = call(capsys, "report", out, "--out", tmp_path / "again.html")
    assert status == 0
    assert (tmp_path / "again.html").is_file()


def test_run_until_a_stage_stops_there_and_a_later_run_goes_on(
    study_file: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = study_file(companions={"measures": []}, labels=None), tmp_path / "out"
    run = ("run", study, "--out", out, "--workers", 1, "--quiet")
    status, printed, err = call(capsys, *run, "--until", "concept")
    assert (status, printed) == (2, "")
    assert "unknown stage of this study 'concept'. Did you mean 'concepts'? Known: " in err
    assert "dictionaries, " in err and "states, " in err
    status, printed, _ = call(capsys, *run, "--until", "dictionaries", "--plan", "--json")
    assert [stage["stage"] for stage in json.loads(printed)["stages"]] == ["links", "dictionaries"]
    assert not out.exists()

    status, printed, _ = call(capsys, *run, "--until", "concepts", "--json")
    assert status == 0
    assert json.loads(printed) == {"study": str(out), "until": "concepts"}
    stages, missing = done_of(out, capsys)
    assert stages["concepts"] == (14, 14)
    assert stages["metrics"] == (8, 0)
    assert "results" in missing
    assert not (out / "results.csv").exists()
    assert not (out / "report.html").exists()
    for words in (("report", out), ("robustness", out), ("export", out, "concepts", "--out", tmp_path / "x.json")):
        status, _, err = call(capsys, *words)
        assert status == 1
        assert f"has no results yet. Run it with: isogloss run {out / 'study.yaml'} --out {out}" in err

    before = {path: path.stat().st_mtime_ns for path in out.rglob("layer_*/*.parquet")}
    status, printed, _ = call(capsys, *run, "--json")
    assert status == 0
    assert json.loads(printed)["n_estimates"] > 0
    assert done_of(out, capsys)[1] == []
    assert {path: path.stat().st_mtime_ns for path in before} == before
    status, printed, _ = call(capsys, *run, "--until", "links")
    assert status == 0
    assert printed == f"Done until links: {out}\n"
    assert pl.read_csv(out / "results.csv").height > 0, "a run of fewer steps took results away"


def done_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return the number of steps of every stage, and of those that are done, and the names of those missing."""
    status, printed, _ = call(capsys, "status", folder, "--json")
    assert status == 0
    facts = json.loads(printed)
    return {s["stage"]: (s["steps"], s["done"]) for s in facts["stages"]}, facts["missing"]


def test_status_of_a_folder_that_functions_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = load_corpus(["en", "de"]).restrict(n_sentences=10)
    ig.extract(corpus, model_folder(), layers=[0], out=tmp_path / "out")
    assert done_of(tmp_path / "out", capsys) == ({"states": (1, 1), "corpus": (1, 1)}, [])
    assert call(capsys, "status", tmp_path / "nothing")[0] == 1


def test_robustness_and_labels_enter_the_report_by_command_and_by_study_file(
    finished: Path, study_file: StudyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--theta", 0.4, "--n-concepts", 20, "--top", 5, "--min-types", 2)
    status, printed, _ = call(capsys, "robustness", finished, *few, "--workers", 1, "--quiet", "--json")
    facts = json.loads(printed)
    assert status == 0
    settings = {(row["theta"], row["n_concepts"], row["top"], row["min_types"]) for row in facts["settings"]}
    assert settings == set(product((0.4, 0.5), (20, 30), (5, 10), (2.0,)))  # the study's own among them
    assert "robustness.svg" in {Path(path).name for path in facts["figures"]}
    assert '"robustness":{' in Path(facts["report"]).read_text(encoding="utf-8")

    tables = {path: path.read_bytes() for path in finished.glob("robustness.*")}
    assert len(tables) == 2
    for path in (*tables, *(finished / ".steps").glob("robustness*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    section = {"theta_align": [0.4], "n_concepts": [20], "top": [5], "min_types": [2]}
    study = study_file(robustness=section, labels={"threshold": 0.8})
    before = done_when(finished)
    run = ("run", study, "--out", finished, "--workers", 1, "--quiet", "--json")
    status, printed, _ = call(capsys, *run)
    facts = json.loads(printed)
    assert status == 0
    assert {path: path.read_bytes() for path in tables} == tables
    again = {name.split("/")[0] for name, when in done_when(finished).items() if before.get(name) != when}
    assert again == {"labels", "robustness", "robustness.json", "manifest.json", "plan.json"}
    assert 0.8 <= pl.read_csv(finished / "labels/labels.csv")["share"].min() < 0.9
    assert "labels_starter_encoder.png" in {Path(path).name for path in facts["figures"]}
    page = Path(facts["report"]).read_text(encoding="utf-8")
    assert '"labels":{' in page
    assert '"robustness":{' in page

    assert call(capsys, "run", study_file(labels=None), "--out", finished, "--workers", 1, "--quiet")[0] == 0
    assert "labels/labels" not in ig.open_study(finished).manifest["steps"]


def done_when(root: Path) -> dict[str, int]:
    folder = root / ".steps"
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def test_trees_are_written_for_other_programs(
    finished_once: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = ("export", finished_once, "tree", "--layer", 4, "--space")
    for name in ("tree.npy", "tree.nwk", "tree.json"):
        status, printed, _ = call(capsys, *tree, "en", "--out", tmp_path / name)
        assert (status, printed) == (0, f"{tmp_path / name}\n")
    matrix = np.load(tmp_path / "tree.npy")
    assert is_valid_linkage(matrix)
    assert (tmp_path / "tree.nwk").read_text(encoding="utf-8").count("(") == 29  # above 30 concepts
    assert json.loads((tmp_path / "tree.json").read_text(encoding="utf-8"))["size"] == len(matrix) + 1
    assert call(capsys, "export", finished_once, "tree", "--out", tmp_path / "best.npy")[0] == 0
    whole = len(np.load(tmp_path / "best.npy"))
    assert whole > len(matrix)  # all languages together
    for words, said in (
        ((*tree, "en", "--out", tmp_path / "tree.xml"), "unknown ending for a tree '.xml'"),
        ((*tree, "en+fr", "--out", tmp_path / "no.npy"), "unknown space 'en+fr'"),
        ((*tree, "en", "--layer", 0, "--out", tmp_path / "no.npy"), "one of the layers"),
        ((*tree, "en", "--n-concepts", 31, "--out", tmp_path / "no.npy"), "unknown n concepts '31'"),
        (("export", finished_once, "trees", "--out", tmp_path / "no.npy"), "Did you mean 'tree'?"),
    ):
        status, _, err = call(capsys, *words)
        assert status == 2
        assert said in err
    assert not list(tmp_path.glob("no.*"))


def test_where_the_method_grows_no_trees_commands_on_trees_say_so(
    study_file: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kmeans = {"corpus": {"n_sentences": 25}, "discovery": {"method": "kmeans", "n_concepts": 10}}
    study = study_file(**kmeans, companions={"measures": []}, labels=None, metrics={"n_bootstrap": 0})
    out = tmp_path / "out"
    ig.run_study(study, out=out, workers=1)
    for words in (("robustness", out), ("export", out, "tree", "--out", tmp_path / "tree.nwk")):
        status, printed, err = call(capsys, *words)
        assert (status, printed) == (2, "")
        assert "kmeans" in err and "grows no" in err and "discovery.method (ward)" in err
    with_section = study_file(**kmeans, robustness={})
    status, _, err = call(capsys, "run", with_section, "--out", tmp_path / "new")
    assert status == 2
    assert "or leave robustness out" in err
    assert not (tmp_path / "new").exists()
    assert not (out / "robustness.csv").exists()


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, expected in (
        ("models", "bert-base-multilingual-cased"),
        ("aligners", "diagonal"),
        ("methods", "ward"),
        ("metrics", "colap"),
        ("datasets", "starter"),
    ):
        status, printed, _ = call(capsys, "list", kind)
        assert status == 0
        assert expected in printed
    assert call(capsys, "list", "model")[0] == 2


def test_ctrl_c_leaves_a_folder_that_resumes(
    study_file: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.study.steps import concepts

    study, out = study_file(companions={"measures": []}, labels=None), tmp_path / "out"
    discover = concepts.discover
    calls = []

    def interrupted(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return discover(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(concepts, "discover", interrupted)
    status, _, err = call(capsys, "run", study, "--out", out, "--workers", 1)
    assert status == 130
    assert "same command" in err
    status, _, _ = call(capsys, "run", study, "--out", out, "--workers", 1, "--json")
    assert status == 0
    assert len(calls) == 4 + 14 - 3, "finished concepts were discovered again"


def broken(name: str, make: StudyFile, tmp: Path) -> Path:
    """Return a study file with one fault."""
    source = tmp / "input"
    study = make(source)
    text = source / "text.tsv"
    lines = text.read_text(encoding="utf-8").splitlines()
    if name == "missing text":
        return make(source, corpus={"files": "nowhere.tsv"})
    if name == "latin-1 bytes":
        text.write_bytes("\n".join(lines[:3]).encode() + "\ncaf\xe9\tx\ty\n".encode("latin-1"))
    if name == "empty corpus":
        text.write_text("", encoding="utf-8")
    if name == "unequal lines":
        (source / "a.en").write_text("one\ntwo\nthree\n", encoding="utf-8")
        (source / "a.de").write_text("eins\nzwei\n", encoding="utf-8")
        return make(source, corpus={"files": {"en": "a.en", "de": "a.de"}})
    if name == "unknown model":
        return make(source, models=[{"path": "no-such/model"}])
    if name == "unknown language":
        return make(source, pairs=[["en", "dd"]])
    if name == "unknown layer":
        return make(source, models=[{"name": "starter", "path": str(model_folder()), "layers": [0, 99]}])
    if name == "too many concepts":
        return make(source, discovery={"n_concepts": 10**6})
    if name == "too many concepts for the selection":
        return make(source, discovery={"n_concepts": 300}, selection={"calign": {"by": "pairs", "min_count": 5}})
    if name == "option of another method":
        return make(source, discovery={"method": "ward", "options": {"max_iterations": 5}})
    if name == "misspelt key":
        study.write_text(study.read_text(encoding="utf-8").replace("n_concepts", "n_concept"), encoding="utf-8")
    if name == "wrong value":
        return make(source, discovery={"method": "wart"})
    if name == "not YAML":
        study.write_text("corpus: [a\n", encoding="utf-8")
    if name == "missing study":
        study.unlink()
    if name == "missing links":
        return make(source, alignment={"links": {"en-de": "nowhere.links"}})
    if name == "broken links":
        (source / "links").write_text("0-0 1-x\n", encoding="utf-8")
        return make(source, alignment={"links": {"en-de": "links"}})
    if name == "no weights":
        (source / "model").mkdir()
        (source / "model" / "config.json").write_text("{}", encoding="utf-8")
        return make(source, models=[{"path": "model"}])
    return study


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("missing text", 1, "nowhere.tsv"),
        ("latin-1 bytes", 1, "line 4"),
        ("empty corpus", 1, "text.tsv"),
        ("unequal lines", 1, "a.de"),
        ("unknown model", 1, "no-such/model"),
        ("unknown language", 2, "'dd'"),
        ("unknown layer", 2, "99"),
        ("too many concepts", 2, "n_concepts"),
        ("too many concepts for the selection", 2, "n_concepts"),
        ("option of another method", 2, "unknown option of ward 'max_iterations'"),
        ("misspelt key", 2, "Did you mean 'n_concepts'?"),
        ("wrong value", 2, "Did you mean 'ward'?"),
        ("not YAML", 1, "line"),
        ("missing study", 1, "study.yaml"),
        ("missing links", 1, "nowhere.links"),
        ("broken links", 1, "line 1"),
        ("no weights", 1, "model"),
    ],
)
def test_bad_input_is_one_clear_line(
    name: str,
    status: int,
    said: str,
    study_file: StudyFile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "out"
    code, printed, err = call(capsys, "run", broken(name, study_file, tmp_path), "--out", out, "--workers", 1)
    lines = [line for line in err.splitlines() if line.startswith("isogloss: ")]
    assert code == status, err
    assert len(lines) == 1, err
    assert said in lines[0]
    assert "Traceback" not in err
    assert printed == ""
    assert not list(out.rglob("*.tmp")), "half-written files"
    assert not (out / "results.csv").exists()


def test_a_folder_that_cannot_be_written(
    study_file: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    status, _, err = call(capsys, "run", study_file(), "--out", tmp_path / "file" / "study")
    assert status == 1
    assert "--out" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isogloss import store
    from isogloss.errors import InputError

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        store.write_text(tmp_path / "a.txt", "x")
    assert list(tmp_path.iterdir()) == []


def test_corrupt_parquet_is_named(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "tokens.parquet").write_bytes(b"PAR1 not really")
    for words in (("report", finished), ("export", finished, "concepts", "--out", tmp_path / "c.json")):
        status, _, err = call(capsys, *words)
        assert status == 1
        assert "tokens.parquet is not as it was written. Make it again with: isogloss run" in err


def test_wrong_use_is_status_2(tmp_path: Path) -> None:
    for words in (["run"], ["frobnicate"], ["export", str(tmp_path), "tree"], ["run", "x.yaml", "--workers", "0"]):
        done = subprocess.run(
            [sys.executable, "-m", "isogloss.cli", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr


def test_a_plan_with_hours_of_trees_offers_a_sample():
    from isogloss.cli.studies import _stage_lines

    stage = {"stage": "trees", "steps": 4, "done": 0, "bytes": 0, "seconds": 3000.0}
    assert len(_stage_lines([stage])) == 2
    assert "sample: 50000" in _stage_lines([{**stage, "seconds": 9000.0}])[-1]
