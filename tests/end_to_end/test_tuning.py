"""Fine-tuning as part of a study: scores, models beside their base, differences, movement, transfer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("accelerate")

import isogloss as ig
from isogloss.coordinates import Clustering
from isogloss.errors import InputError, UsageError
from isogloss.report import write_report
from isogloss.starter import model_folder
from isogloss.starter.study import write_study
from isogloss.store import StudyLayout
from isogloss.study import finetune_study, preview

StudyFile = Callable[..., Path]
LANGUAGES = ("en", "de", "ar")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("starter")
    write_study(folder)
    return {language: str(folder / f"starter.{language}.jsonl") for language in LANGUAGES}


@pytest.fixture
def study(study_file: StudyFile, texts: dict[str, str]) -> Path:
    """A small study with sentiment and its control."""
    task = {
        "kind": "sentiment",
        "train": {"files": {"en": texts["en"]}, "lines": [1, 240]},
        "test": {"files": texts, "lines": [500, 560]},
        "controls": ["shuffled"],
        "epochs": 4,
        "rate": 1e-3,
        "batch_size": 16,
        "evaluations": 2,
    }
    return study_file(
        corpus={"files": texts, "lines": [1, 60]},
        models=[{"name": "starter", "path": str(model_folder()), "layers": [0, 6]}],
        tasks=[task],
        labels=None,
        companions={"measures": ["mexa"]},
        metrics={"n_bootstrap": 40},
    )


def without_control(study: Path) -> None:
    text = study.read_text(encoding="utf-8")
    assert "controls:\n  - shuffled\n" in text
    study.write_text(text.replace("controls:\n  - shuffled\n", "controls: []\n"), encoding="utf-8")


def test_a_study_looks_before_and_after(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = {stage["stage"]: stage for stage in preview(study, out=out).stages}
    assert (plan["fine-tuning"]["steps"], plan["fine-tuning"]["done"]) == (2, 0)
    assert not out.exists()
    results = ig.run_study(study, out=out, workers=1)
    folder = StudyLayout(out)

    scores = pl.read_csv(folder.task_scores_csv)
    assert scores["model"].unique(maintain_order=True).to_list() == ["sentiment-s0", "sentiment-shuffled-s0"]
    macro = scores.filter(pl.col("metric") == "macro_f1")
    assert sorted(macro["language"]) == sorted(2 * LANGUAGES)
    assert (macro["zero_shot"] == (macro["language"] != "en")).all()
    english = macro.filter(pl.col("language") == "en")
    learnt, control = english.sort("model")["score"]
    assert learnt > english["baseline"][0] + 0.2 and learnt > control + 0.2
    assert (macro["ci_low"] < macro["score"]).all() and (macro["score"] < macro["ci_high"]).all()

    bases = dict(results.table.select("model", "base_model").unique().iter_rows())
    assert bases == {"starter": "", "sentiment-s0": "starter", "sentiment-shuffled-s0": "starter"}
    differences = pl.read_parquet(folder.differences)
    whole = differences.filter((pl.col("metric") == "calign_soft_mean") & (pl.col("of") == "adjusted"))
    assert whole.height == 2 * 2 * 3  # models, layers, pairs
    assert (whole["second"] - whole["first"] - whole["difference"]).abs().max() < 1e-12
    assert differences.filter(pl.col("metric") == "mexa").height == 12  # companions are compared too

    fates = pl.read_csv(folder.movement("fates").with_suffix(".csv"))
    sums = fates.filter(pl.col("fate").is_in(["kept", "split", "merged", "gone"]))
    keys = ["model", "layer", "compared", "space"]
    assert (sums.group_by(keys).agg(pl.col("share").sum())["share"] - 1).abs().max() < 1e-5
    assert set(fates["compared"]) == {"base", "layer_00"}
    concerns = pl.read_csv(folder.movement("concerns").with_suffix(".csv"))
    assert set(concerns["what"]) == {"entities", "sentiment"}
    path = folder.movement_at(Clustering("sentiment-s0", "encoder", 6, "ward", 30, 0), "flows")
    flows = pl.read_parquet(path).filter((pl.col("compared") == "base") & (pl.col("space") == "de+en"))
    assert (flows.group_by("before").agg(pl.col("share_before").sum())["share_before"] - 1).abs().max() < 1e-9

    transfer = pl.read_csv(folder.transfer.with_suffix(".csv"))
    assert set(transfer["when"]) == {"before", "after", "change"}
    assert set(transfer["n"]) == {2} and transfer["rho"].null_count() == transfer.height  # two languages say nothing
    points = pl.read_parquet(folder.transfer_points).filter(pl.col("measure") == "mexa")
    assert (points["after"] - points["before"] - points["change"]).abs().max() < 1e-12

    report = write_report(out).read_text(encoding="utf-8")
    assert "Before and after fine-tuning" in report and "a control, from starter" in report
    assert "too few for a correlation" in report

    written = {p: p.stat().st_mtime_ns for p in (out / ".steps").rglob("*.json") if p.name != "plan.json"}
    assert all(stage["done"] == stage["steps"] for stage in preview(study, out=out).stages)
    ig.run_study(study, out=out, workers=1, until="concepts")  # trains nothing, and knows the scores that are there
    assert not folder.is_outdated(folder.transfer)
    ig.run_study(study, out=out, workers=1)  # nothing is done twice
    assert {p: p.stat().st_mtime_ns for p in written} == written


def test_finetune_alone_then_run_goes_on(study: Path, tmp_path: Path) -> None:
    without_control(study)
    table = finetune_study(study, out=tmp_path / "out")
    assert table.height == 2 * 3  # metrics, languages
    weights = tmp_path / "out" / "tasks" / "sentiment-s0" / "model" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert preview(study, out=tmp_path / "out").stages[0] == {
        **{"stage": "fine-tuning", "steps": 1, "done": 1, "bytes": 0, "seconds": 0.0}
    }
    assert finetune_study(study, out=tmp_path / "out").equals(table, null_equal=True)
    assert ig.run_study(study, out=tmp_path / "out", until="fine-tuning").table.is_empty()
    assert weights.stat().st_mtime_ns == written
    planned = preview(study, out=tmp_path / "out", until="links").stages
    assert [stage["stage"] for stage in planned] == ["fine-tuning", "links"]


def test_killed_in_training_it_goes_on_to_the_same_weights(study: Path, tmp_path: Path) -> None:
    without_control(study)

    def start(out: Path) -> subprocess.Popen[bytes]:
        code = f"import isogloss.study as s; s.finetune_study({str(study)!r}, out={str(out)!r})"
        return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert start(tmp_path / "whole").wait() == 0
    killed = start(tmp_path / "killed")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("tasks/*/checkpoints-*/checkpoint-*/trainer_state.json")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert start(tmp_path / "killed").wait() == 0
    model = Path("tasks/sentiment-s0/model/model.safetensors")
    assert (tmp_path / "whole" / model).read_bytes() == (tmp_path / "killed" / model).read_bytes()
    scores = [(tmp_path / x / "tasks.csv").read_bytes() for x in ("whole", "killed")]
    assert scores[0] == scores[1]


def test_bad_tasks_are_refused_before_anything_is_written(
    study: Path, study_file: StudyFile, texts: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    text = study.read_text(encoding="utf-8")

    def refused(old: str, new: str, error: type[Exception], said: str) -> None:
        assert old in text
        study.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(error, match=said):
            ig.run_study(study, out=out)
        assert not out.exists()

    refused("kind: sentiment", "kind: sentimental", UsageError, "tasks.0.kind")
    refused("kind: sentiment", "kind: translation", UsageError, "target")
    refused("kind: sentiment", "kind: sentiment\n  base: mbert", UsageError, "unknown base model 'mbert'")
    refused("rate: 0.001", "rat: 0.001", UsageError, r"'rat'\. Did you mean 'rate'")
    plain = tmp_path / "plain.txt"
    plain.write_text("a line\nanother\n", encoding="utf-8")
    sections = json.loads(json.dumps({"kind": "ner", "train": {"files": {"en": str(plain)}}, "test": {"files": texts}}))
    study_file(tasks=[sections])
    with pytest.raises(InputError, match="no entity tags"):
        ig.run_study(study, out=out)
    assert not out.exists()


def test_the_command_line_prints_the_scores(study: Path, tmp_path: Path) -> None:
    without_control(study)
    command = [sys.executable, "-m", "isogloss.cli", "finetune", str(study), "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {row["model"] for row in found["scores"]} == {"sentiment-s0"}
    assert all(Path(path).is_file() for path in found["figures"])
