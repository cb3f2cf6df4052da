"""The command line as its user meets it: verbs, outputs, exit status, and one clear line for bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.cluster.hierarchy import is_valid_linkage

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


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, Path]:
    corpus = load_corpus(["en", "de"])
    files = {}
    for language in corpus.languages:
        files[language] = tmp_path / f"dev.{language}"
        files[language].write_text("\n".join(corpus.texts(language)[:50]) + "\n", encoding="utf-8")
    return files


def test_run_plan_status_report(
    study_file: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_step_verbs(texts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "steps"
    named = [f"--text={language}={path}" for language, path in texts.items()]
    assert (
        call(capsys, "extract", model_folder(), *named, "--layers", "0,3", "--name", "m", "--out", out)[0]
        == 0
    )
    assert call(capsys, "align-words", out, "en", "de")[0] == 0
    for space in ("en", "de", "en+de"):
        words = ("discover", out, space, "--layer", 3, "--method", "kmeans", "--n-concepts", 20)
        assert call(capsys, *words)[0] == 0
    status, printed, _ = call(
        capsys, "calign", out, "en", "de", "--layer", 3, "--theta", 0.5, "--min-types", 2, "--json"
    )
    figure = json.loads(printed)["estimates"][0]
    assert status == 0
    assert 0 <= figure["score"] <= 1
    assert 0 < figure["coverage"] <= 1
    assert figure["chance"] is not None
    status, printed, _ = call(capsys, "colap", out, "de+en", "--layer", 3)
    assert status == 0
    assert printed.startswith("COLAP de+en = ")
    status, printed, _ = call(capsys, "status", out, "--json")
    stages = {s["stage"]: (s["steps"], s["done"]) for s in json.loads(printed)["stages"]}
    assert stages == {
        "states": (1, 1),
        "links": (1, 1),
        "dictionary": (2, 2),
        "concepts": (3, 3),
        "corpus": (1, 1),
    }
    assert call(capsys, "status", tmp_path / "nothing")[0] == 1


def test_labels_and_robustness_of_a_finished_study_enter_its_report(
    study_file: StudyFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    study = study_file(labels=None, companions={"measures": []})
    assert call(capsys, "run", study, "--out", out, "--workers", 1, "--quiet")[0] == 0
    assert '"labels":{' not in (out / "report.html").read_text(encoding="utf-8")
    status, printed, _ = call(capsys, "labels", out, "--threshold", 0.8, "--workers", 1, "--quiet", "--json")
    facts = json.loads(printed)
    assert status == 0
    assert pl.read_csv(facts["labels"])["share"].min() >= 0.8
    assert "labels_starter_encoder.png" in {Path(path).name for path in facts["figures"]}
    few = ("--theta", 0.4, "--n-concepts", 20, "--top", 5, "--min-types", 2)
    status, printed, _ = call(capsys, "robustness", out, *few, "--workers", 1, "--quiet", "--json")
    facts = json.loads(printed)
    assert status == 0
    assert len(facts["settings"]) == 2 * 2 * 2
    assert "robustness.svg" in {Path(path).name for path in facts["figures"]}
    page = Path(facts["report"]).read_text(encoding="utf-8")
    assert '"labels":{' in page
    assert '"robustness":{' in page


def test_trees_are_cut_and_written(
    texts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "steps"
    named = [f"--text={language}={path}" for language, path in texts.items()]
    assert (
        call(capsys, "extract", model_folder(), *named, "--layers", "3", "--name", "m", "--out", out)[0] == 0
    )
    assert call(capsys, "align-words", out, "en", "de")[0] == 0
    for space in ("en", "de"):
        several = ("--n-concepts", 20, "--n-concepts", 40, "--json")
        status, printed, _ = call(capsys, "discover", out, space, "--layer", 3, *several)
        assert status == 0
        assert [facts["n_concepts"] for facts in json.loads(printed)["concepts"]] == [20, 40]
    measure = ("calign", out, "en", "de", "--layer", 3, "--theta", 0.5, "--min-types", 2)
    status, _, said = call(capsys, *measure)
    assert status == 2
    assert "ward-k20-s0" in said
    assert "--n-concepts" in said
    assert call(capsys, *measure, "--n-concepts", 40)[0] == 0
    for name in ("tree.npy", "tree.nwk", "tree.json"):
        words = ("tree", out, "en", "--layer", 3, "--n-concepts", 20, "--out", tmp_path / name)
        assert call(capsys, *words)[0] == 0
    matrix = np.load(tmp_path / "tree.npy")
    assert is_valid_linkage(matrix)
    assert (tmp_path / "tree.nwk").read_text(encoding="utf-8").count("(") == 19
    assert json.loads((tmp_path / "tree.json").read_text(encoding="utf-8"))["size"] == len(matrix) + 1
    status, _, said = call(capsys, "tree", out, "en", "--layer", 3, "--out", tmp_path / "tree.xml")
    assert (status, "'.xml'" in said) == (2, True)
    status, _, said = call(capsys, "tree", out, "en+de", "--layer", 3, "--out", tmp_path / "tree.npy")
    assert (status, "isogloss discover" in said) == (2, True)


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
    study_file: StudyFile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from isogloss.study import steps

    study, out = study_file(), tmp_path / "out"
    discover = steps.discover
    calls = []

    def interrupted(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return discover(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "discover", interrupted)
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
        return make(
            source, discovery={"n_concepts": 300}, selection={"calign": {"by": "pairs", "min_count": 5}}
        )
    if name == "option of another method":
        return make(source, discovery={"method": "ward", "options": {"max_iterations": 5}})
    if name == "misspelt key":
        study.write_text(
            study.read_text(encoding="utf-8").replace("n_concepts", "n_concept"), encoding="utf-8"
        )
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


def test_corrupt_parquet_is_named(
    texts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "steps"
    named = [f"--text={language}={path}" for language, path in texts.items()]
    call(capsys, "extract", model_folder(), *named, "--layers", "0", "--out", out)
    (out / "tokens.parquet").write_bytes(b"PAR1 not really")
    status, _, err = call(capsys, "align-words", out, "en", "de")
    assert status == 1
    assert "tokens.parquet" in err


def test_wrong_use_is_status_2(tmp_path: Path) -> None:
    for words in (
        ["run"],
        ["frobnicate"],
        ["calign", str(tmp_path), "en"],
        ["run", "x.yaml", "--workers", "0"],
    ):
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
