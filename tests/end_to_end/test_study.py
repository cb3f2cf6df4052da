"""A whole study on the built-in model: complete, repeatable, resumable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import combinations, permutations
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import isogloss as ig
from isogloss import models
from isogloss.config import read_config
from isogloss.coordinates import Pair, Space
from isogloss.errors import InputError, UsageError
from isogloss.metrics.registry import DEFAULT_COMPANIONS
from isogloss.models.trial import block_lists
from isogloss.plots import start_layer, study_charts
from isogloss.results import RESULT_COLUMNS
from isogloss.starter import model_folder
from isogloss.store import StudyLayout
from isogloss.study import compare, open_study, preview, robustness

StudyFile = Callable[..., Path]
LANGUAGES = ("en", "de", "ar")
MODEL = {"name": "starter", "path": str(model_folder())}


def markers(root: Path) -> dict[str, int]:
    folder = root / ".steps"
    found = {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.json")}
    return {name: when for name, when in found.items() if name != "manifest.json"}  # written by every run


def test_robustness_of_two_languages_and_two_layers_has_nothing_to_order(study_file: StudyFile, tmp_path: Path) -> None:
    study = study_file(corpus={"languages": ["en", "de"]}, companions={"measures": []}, labels=None)
    ig.run_study(study, out=tmp_path / "out", workers=1)
    table = robustness(tmp_path / "out", theta_align=[0.5], top=[5], min_types=[2], workers=1)
    assert table["adjusted"].is_finite().all()
    assert table.select(pl.col("^rho_.*$").is_null().all()).row(0) == (True, True, True)
    assert "robustness" not in study_charts(open_study(tmp_path / "out"))
    assert ig.write_report(tmp_path / "out").is_file()
    # of another text it is left out, and does not stand in the way
    text = study.parent / "text.tsv"
    text.write_text("\n".join(text.read_text(encoding="utf-8").split("\n")[:50]) + "\n", encoding="utf-8")
    ig.run_study(study, out=tmp_path / "out", workers=1)
    assert open_study(tmp_path / "out").robustness is None


def test_results_are_complete(finished: Path) -> None:
    results = ig.Results.read(finished / "results.parquet")
    table = results.clustered
    assert table.columns == list(RESULT_COLUMNS)
    for layer in (0, 4):
        for theta in (0.5, 0.8):
            rows = table.filter(pl.col("layer") == layer, pl.col("theta") == theta)
            found = rows.filter(pl.col("metric") == "calign").select("source", "target").rows()
            assert sorted(found) == sorted(permutations(LANGUAGES, 2))
            mean = rows.filter(pl.col("metric") == "calign_mean").select("source", "target").rows()
            assert sorted(mean) == sorted(combinations(LANGUAGES, 2))
        overlap = table.filter(pl.col("layer") == layer, pl.col("metric") == "colap")
        assert sorted(overlap.select("source", "target").rows()) == sorted(combinations(LANGUAGES, 2))
        across = table.filter(pl.col("layer") == layer, pl.col("metric") == "colap_other_sentences")
        assert across.select("source", "target", "theta").rows() == overlap.select("source", "target", "theta").rows()
        told = table.filter(pl.col("layer") == layer, pl.col("metric") == "sentence_ami")
        assert told["source"].to_list() == [*LANGUAGES, "en+de", "en+ar", "de+ar", "en+de+ar"]
        assert set(told["target"]) == {""}
        group = table.filter(pl.col("layer") == layer, pl.col("metric") == "colap_group")
        assert group["source"].to_list() == ["en+de+ar"]
        assert group["theta"].to_list() == pytest.approx([0.2])
    mixed = table["metric"].is_in(["language_entropy", "purity", "ami", "sentence_ami"])  # have no intervals
    assert mixed.sum() == 2 * (3 * 3 + 7)
    for name in ("score", "chance", "adjusted", "coverage"):
        assert table[name].is_finite().all(), name
    for name in ("ci_low", "ci_high"):
        assert table.filter(~mixed)[name].is_finite().all(), name
    assert table["signature"].str.contains("isogloss:").all()
    assert pl.read_csv(finished / "results.csv").height == results.table.height
    cohesion = table.filter(pl.col("metric") == "silhouette")
    assert sorted(cohesion["source"] + cohesion["target"]) == sorted(["ende", "enar", "dear"] * 2)
    assert (cohesion["score"] > cohesion["chance"]).all()
    assert cohesion["signature"].str.contains("null:shuffled").all()


def test_the_search_is_in_the_p_values_and_the_means_by_layer(finished: Path) -> None:
    study = open_study(finished)
    table = study.results.table
    aligned = table["metric"].str.starts_with("calign")
    assert table.filter(~aligned)["p_search"].is_nan().all()
    there = table.filter(aligned)
    assert there["p_search"].is_finite().all()
    # 20 permutations; the correction for all rows never makes it smaller, up to the scale it is counted on
    assert there["p_search"].min() == pytest.approx(1 / 21)
    assert there["p_search"].mean() > there["p_value"].mean()
    layers = study.by_layer
    assert layers.filter(metric="calign_mean")["theta"].unique().sort().to_list() == [0.5, 0.8]
    assert set(layers["metric"]) == {"calign_mean", "calign_soft_mean", "colap"}
    assert layers.filter("best").height == 4  # of two thetas, the soft form and COLAP
    keys = ["metric", "layer", "theta"]
    means = table.drop_nulls("method").group_by(keys).agg(pl.col("score", "chance").mean().name.suffix("_mean"))
    both = layers.join(means.with_columns(pl.col("theta").cast(pl.Float64)), on=keys, nulls_equal=True)
    assert both.height >= 6
    assert both["score"].to_list() == pytest.approx(both["score_mean"].to_list())
    assert both["chance"].to_list() == pytest.approx(both["chance_mean"].to_list())
    assert (layers["ci_low"] < layers["ci_high"]).all()
    assert layers.filter(metric="colap")["above"].null_count() == 2
    best = layers.filter("best", metric="calign_mean", theta=0.5)["layer"][0]
    assert start_layer(study, study.runs[0][0]) == best
    (finished / "results_by_layer.parquet").unlink()
    with pytest.raises(InputError, match=r"results_by_layer\.parquet"):
        _ = open_study(finished).by_layer


def test_every_figure_is_a_chart_by_name(finished: Path) -> None:
    charts = study_charts(open_study(finished))
    assert {"calign_starter_encoder", "colap_map_starter_encoder", "companions_starter_encoder"} <= set(charts)
    for chart in charts.values():
        assert chart.to_dict(validate=False)["description"]


def test_variants_of_calign_are_rows_with_chance_and_interval(study_file: StudyFile, tmp_path: Path) -> None:
    names = ["covered", "one_to_one", "no_identical", "frequency_matched", "other_sentences"]
    study = study_file(models=[{**MODEL, "layers": [4]}], metrics={"variants": names, "min_types": 1}, labels=None)
    table = ig.run_study(study, out=tmp_path / "out", workers=1).table
    for name in names:
        rows = table.filter(pl.col("metric") == f"calign_{name}")
        assert sorted(rows.select("source", "target").rows()) == sorted(permutations(LANGUAGES, 2))
        assert rows["theta"].unique().to_list() == [0.5]
        for column in ("score", "chance", "ci_low", "ci_high"):
            assert rows[column].is_finite().all(), (name, column)
    assert not (tmp_path / "out/labels").exists()


def test_the_folder_is_laid_out_as_documented(finished: Path) -> None:
    for name in (
        "study.yaml",
        "manifest.json",
        "tokens.parquet",
        "states/starter/encoder/layer_00.npy",
        "states/starter/encoder/layer_04.npy",
        "links/diagonal/en-de.parquet",
        "dictionary/en-de.parquet",
        "dictionary/de-en.parquet",
        "concepts/starter/encoder/ward-k30-s0/layer_04/en.parquet",
        "concepts/starter/encoder/ward-k30-s0/layer_04/en+de.parquet",
        "concepts/starter/encoder/ward-k30-s0/layer_04/en+de+ar.parquet",
        "labels/starter/encoder/ward-k30-s0/layer_04/splits.parquet",
        "labels/labels.parquet",
        "labels/scores.csv",
        "correlations.csv",
        "results.parquet",
        "results.csv",
    ):
        assert (finished / name).is_file(), name
    tokens = pl.read_parquet(finished / "tokens.parquet")
    assert {"row", "language", "sentence", "position", "word", "start", "end"} <= set(tokens.columns)
    assert not list(finished.rglob("*.tmp"))
    assert not list(finished.rglob("*.partial"))


def test_the_written_study_file_runs_again_and_does_nothing(finished: Path) -> None:
    before, csv = markers(finished), (finished / "results.csv").read_bytes()
    ig.run_study(finished / "study.yaml", out=finished, workers=1)
    after = markers(finished)
    assert {k: v for k, v in after.items() if k != "plan.json"} == {k: v for k, v in before.items() if k != "plan.json"}
    assert (finished / "results.csv").read_bytes() == csv


def test_several_numbers_of_concepts_cost_one_tree(finished: Path, study_file: StudyFile, tmp_path: Path) -> None:
    """The tree is grown once; a number asked for later only cuts; each is what a study of its own would find."""
    before = markers(finished)
    file = study_file(discovery={"n_concepts": [60, 20, 30]})
    found = ig.run_study(file, out=finished, workers=1)
    assert sorted(found.clustered["n_concepts"].unique()) == [20, 30, 60]
    after = markers(finished)
    new = set(after) - set(before)
    assert {name.split("/")[0] for name in new} == {"concepts", "metrics", "labels", "movement"}
    assert all("ward-k20-" in name or "ward-k60-" in name for name in new)
    tables = ("plan", "results", "labels/labels", "movement/fates", "correlations")
    assert {k for k in before if after[k] != before[k]} <= {f"{name}.json" for name in tables}
    alone = ig.run_study(study_file(discovery={"n_concepts": 60}), out=tmp_path / "alone", workers=1)
    # but for what is corrected for all that was looked at
    assert found.only(n_concepts=60).drop("p_search").equals(alone.clustered.drop("p_search"))
    tree = finished / "trees/starter/encoder/ward-s0/layer_04/en+de.parquet"
    rows = pl.read_parquet(tree)
    assert rows.columns == ["row", "left", "right", "height", "size"]
    assert rows["size"].drop_nulls().max() == rows.height
    assert ig.write_report(finished).stat().st_size > 10_000
    assert {run[0].n_concepts for run in open_study(finished).runs} == {20, 30, 60}


def test_number_of_workers_and_folder_do_not_matter(finished: Path, study_file: StudyFile, tmp_path: Path) -> None:
    ig.run_study(study_file(), out=tmp_path / "other", workers=2)
    assert (tmp_path / "other" / "results.csv").read_bytes() == (finished / "results.csv").read_bytes()


def test_a_new_theta_measures_again_and_discovers_nothing(finished: Path, study_file: StudyFile) -> None:
    before = markers(finished)
    changed = study_file(metrics={"theta_align": [0.6]})
    results = ig.run_study(changed, out=finished, workers=1)
    after = markers(finished)
    again = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    # the first theta splits by label, too; movement asks for the overlap alone
    assert again == {"metrics", "labels", "plan.json", "results.json", "correlations.json"}
    assert results.only(metric="calign")["theta"].unique().to_list() == [0.6]


def test_a_new_threshold_labels_again_and_does_nothing_else(finished: Path, study_file: StudyFile) -> None:
    before, tables = markers(finished), ig.open_study(finished).labels
    ig.run_study(study_file(labels={"threshold": 0.7}), out=finished, workers=1)
    after = markers(finished)
    again = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    assert again == {"labels", "plan.json"}
    labels = ig.open_study(finished).labels
    assert tables is not None and labels is not None
    assert tables["labels"]["share"].min() >= 0.9
    assert 0.7 <= labels["labels"]["share"].min() < 0.9
    ig.run_study(study_file(labels=None), out=finished, workers=1)
    assert not any(name.startswith("labels") for name in ig.open_study(finished).manifest["steps"])


def test_a_damaged_output_is_made_again(finished: Path, study_file: StudyFile) -> None:
    csv = (finished / "results.csv").read_bytes()
    damaged = finished / "concepts/starter/encoder/ward-k30-s0/layer_04/en.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    (finished / "states/starter/encoder/layer_00.npy").unlink()
    ig.run_study(study_file(), out=finished, workers=1)
    assert (finished / "results.csv").read_bytes() == csv


def test_batch_size_changes_no_concept(finished: Path, study_file: StudyFile, tmp_path: Path) -> None:
    ig.run_study(study_file(run={"batch_tokens": 1}), out=tmp_path / "one", workers=1)
    for path in (finished / "concepts").rglob("*.parquet"):
        other = tmp_path / "one" / path.relative_to(finished)
        assert pl.read_parquet(path).equals(pl.read_parquet(other)), path.name


def test_a_finished_study_opens(finished: Path) -> None:
    study = ig.open_study(finished)
    ((first, top),) = study.runs
    assert top == first.at(4)
    assert (first.model, first.stack, first.layer, first.n_concepts) == ("starter", "encoder", 0, 30)
    alignment = study.alignment(top, Pair("en", "de"))
    row = study.results.only(layer=4, metric="calign", source="en", target="de", theta=0.5)
    assert alignment.score == row["score"].item()
    both = Space.of("en", "de")
    assert study.overlap(top, both).counts.sum() == len(study.concepts(top, both).labels)
    assert study.overlap(top, Space(LANGUAGES)).estimates[0].theta == pytest.approx(0.2)


def start(study: Path, out: Path) -> subprocess.Popen[bytes]:
    code = "import sys, isogloss as ig; ig.run_study(sys.argv[1], out=sys.argv[2], workers=2)"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(study), str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_when(process: subprocess.Popen[bytes], seen: Callable[[], bool], limit: float = 120) -> None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if seen():
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            return
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    pytest.fail("the study never came to the place where it was to be killed")


@pytest.mark.slow
def test_killed_twice_it_resumes(study_file: StudyFile, tmp_path: Path) -> None:
    study = study_file(models=[MODEL], run={"batch_tokens": 1}, discovery={"n_concepts": 25})
    out = tmp_path / "killed"
    files = StudyLayout(out)
    partial = files.states("starter", "encoder").with_name("encoder.partial")
    kill_when(start(study, out), lambda: partial.is_dir() and any(partial.glob("layer_00.npy")))
    assert files.record("states/starter/encoder") is None

    concepts = out / ".steps" / "concepts"
    kill_when(start(study, out), lambda: sum(1 for _ in concepts.rglob("*.json")) >= 5)
    time.sleep(1.5)  # the workers of a killed study end with it
    before = markers(out)
    time.sleep(0.5)
    assert markers(out) == before, "a worker went on without its study"
    assert not files.results.exists()

    resumed = ig.run_study(study, out=out, workers=1)
    after = markers(out)
    assert all(after[name] == before[name] for name in before if name != "plan.json"), "finished work was redone"
    whole = ig.run_study(study, out=tmp_path / "whole", workers=1)
    assert (out / "results.csv").read_bytes() == (tmp_path / "whole" / "results.csv").read_bytes()
    assert resumed.table.equals(whole.table)


def test_models_of_every_family_in_one_study(
    study_file: StudyFile, tmp_path: Path, tiny_model: Callable[[str], Path]
) -> None:
    families = ("bert", "xlmr", "mt5", "llama", "qwen", "gemma")
    study = study_file(
        corpus={"n_sentences": 25},
        models=[{"name": name, "path": str(tiny_model(name)), "dtype": "float32"} for name in families],
        discovery={"method": "kmeans", "n_concepts": 10},
    )
    table = ig.run_study(study, out=tmp_path / "all", workers=1).table
    found = set(table.select("model", "stack").unique().rows())
    one_stack = {"bert": "encoder", "xlmr": "encoder", "llama": "decoder", "qwen": "decoder", "gemma": "decoder"}
    assert found == {*one_stack.items(), ("mt5", "encoder"), ("mt5", "decoder")}
    n = table.group_by("model", "stack", "layer").len()["len"]
    assert n.n_unique() == 1, "a layer lacks figures"


def test_dropped_sentences_are_counted_and_told(study_file: StudyFile, tmp_path: Path) -> None:
    study = study_file(corpus={"max_words": 20}, models=[{**MODEL, "layers": [4]}], discovery={"n_concepts": 20})
    text = study.parent / "text.tsv"
    lines = text.read_text(encoding="utf-8").splitlines()
    lines[5] = "a sentence\t \tجملة"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ig.run_study(study, out=tmp_path / "out", workers=1)
    opened = ig.open_study(tmp_path / "out")
    dropped = opened.manifest["dropped_sentences"]
    assert dropped["empty"] == 1
    assert dropped["overlong"] >= 1
    assert opened.manifest["n_sentences"] == 60 - sum(dropped.values())
    assert 4 not in opened.sentences["sentence"].to_list(), "numbers are those of the file, counted from 0"
    assert "1 empty" in " ".join(opened.warnings)


def test_links_by_the_model_under_study_are_called_circular(study_file: StudyFile, tmp_path: Path) -> None:
    study = study_file(alignment={"aligner": "model", "options": {"layer": 4}}, models=[{**MODEL, "layers": [4]}])
    results = ig.run_study(study, out=tmp_path / "out", workers=1)
    assert results.table["signature"].str.contains("dictionary:model:starter:4").any()
    assert any("circular" in warning for warning in ig.open_study(tmp_path / "out").warnings)
    wrong = study_file(alignment={"aligner": "model", "options": {"stack": "encodr"}})
    with pytest.raises(UsageError, match="Did you mean 'encoder'"):
        ig.run_study(wrong, out=tmp_path / "wrong", workers=1)


# -- what it will take ----------------------------------------------------------------------------


def test_plan_tells_bytes_and_seconds_of_what_is_not_done(study_file, tmp_path):
    study = study_file(models=[{"name": "starter", "path": str(model_folder()), "layers": [0, 4]}])
    before = {stage["stage"]: stage for stage in preview(study, out=tmp_path / "out").stages}
    ig.run_study(study, out=tmp_path / "out", workers=1)
    arrays = (tmp_path / "out/states").rglob("layer_*.npy")
    written = sum(path.stat().st_size - 128 for path in arrays)  # without their headers
    assert before["states"]["bytes"] == written
    assert before["states"]["seconds"] > 0
    assert before["trees"]["seconds"] > 0
    after = {stage["stage"]: stage for stage in preview(study, out=tmp_path / "out").stages}
    assert all(stage["done"] == stage["steps"] and stage["seconds"] == 0 for stage in after.values())


def test_study_that_does_not_fit_on_the_disk_is_refused_before_anything_is_written(study_file, tmp_path, monkeypatch):
    study = study_file()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=60_000_000))
    for begin in (ig.run_study, preview):
        with pytest.raises(InputError, match=r"needs 0\.1 GB in .*, and 0\.1 GB are free there\. Take fewer layers"):
            begin(study, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", ["bert", "albert", "t5", "mbart", "llama", "bloom"])
def test_work_is_that_of_the_weights_up_to_the_last_layer(tiny_model, family):
    """Two operations a weight; what a decoder reads has gone through the whole encoder."""
    info = models.describe(tiny_model(family))
    stack = info.stacks[-1]
    one, two = (models.work_per_subword(info, stack, [0, n]) for n in (1, 2))
    module = models.load(tiny_model(family), stack=stack).module
    both = len(info.stacks) == 2
    part = module.get_decoder() if both else module
    blocks = next(iter(block_lists(part, info.n_layers[stack])), [module] * 2)
    before = block_lists(module.get_encoder(), info.n_layers["encoder"])[0] if both else []
    weights = [sum(p.numel() for p in block.parameters()) for block in (*before, *blocks[:2])]
    assert (one, two) == (2 * sum(weights[:-1]), 2 * sum(weights))


# -- beside the results ---------------------------------------------------------------------------


def test_companions_and_intervals_are_there_without_asking(finished: Path) -> None:
    results = ig.Results.read(finished / "results.parquet")
    table = results.companions
    assert set(table["metric"]) == set(DEFAULT_COMPANIONS)
    assert table.height == len(DEFAULT_COMPANIONS) * 2 * 3  # layers, pairs
    clustering = table.select("method", "n_concepts", "seed")
    assert clustering.null_count().row(0) == (table.height,) * 3
    assert ((table["ci_low"] <= table["score"]) & (table["score"] <= table["ci_high"])).all()
    assert table["signature"].str.contains("ci:bca200").all()
    layer = pl.read_parquet(next((finished / "companions").rglob("layer_*/*.parquet")))
    assert layer["draws"].list.len().eq(220).all()
    assert "draws" not in table.columns
    own = results.only(metric="calign_soft")
    assert ((own["ci_low"] <= own["score"]) & (own["score"] <= own["ci_high"])).all()
    assert own["q_value"].is_finite().all()
    assert (own["q_value"] >= own["p_value"] - 1e-12).all()
    assert own["signature"].str.contains("ci:bca200").all()


def test_models_are_compared_on_the_same_sentences(study_file: StudyFile, tmp_path: Path) -> None:
    other = {**MODEL, "name": "again", "layers": [0, 4], "base": "starter"}
    study = study_file(models=[{**MODEL, "layers": [0, 4]}, {**other, "pooling": "last"}])
    ig.run_study(study, out=tmp_path / "out", workers=1)
    same = compare(tmp_path / "out", "starter", "again")
    # layers; pairs: directions, mean, soft, each also adjusted; colap, and across sentences, entropy, purity, AMI,
    # silhouette; companions; the group; AMI of sentences in every space
    assert same.height == 2 * (3 * 2 * (2 * 3 + 3) + 3 * 6 + 3 * len(DEFAULT_COMPANIONS) + 1 + 7)
    assert ((same["ci_low"] <= same["difference"] + 1e-9) & (same["difference"] - 1e-9 <= same["ci_high"])).all()
    assert (same["difference"] == same["second"] - same["first"]).all()
    assert same["difference"].abs().max() > 0
    assert same["q_value"].is_finite().all()
    with pytest.raises(UsageError, match=r"unknown model 'agian'\. Did you mean 'again'"):
        compare(tmp_path / "out", "starter", "agian")


def test_study_without_a_bootstrap_has_no_differences(study_file: StudyFile, tmp_path: Path) -> None:
    models_ = [{**MODEL, "layers": [4]}, {**MODEL, "layers": [4], "name": "again"}]
    study = study_file(models=models_, metrics={"n_bootstrap": 0}, companions={"measures": []})
    ig.run_study(study, out=tmp_path / "out", workers=1)
    assert open_study(tmp_path / "out").results.companions.is_empty()
    assert not (tmp_path / "out/correlations.csv").exists()
    layers = open_study(tmp_path / "out").by_layer
    assert layers["ci_low"].is_nan().all() and layers["below_best"].is_null().all()
    assert layers.filter(metric="calign_soft_mean")["p_search"].is_finite().all()
    with pytest.raises(UsageError, match="without a bootstrap"):
        compare(tmp_path / "out", "starter", "again")


def test_robustness_agrees_with_itself_and_with_calign(finished: Path) -> None:
    table = robustness(finished, theta_align=[0.4, 0.5], n_concepts=[20], top=[1], min_types=[2], workers=1)
    assert table.height == 2 * 2 * 2  # theta: 0.4, 0.5; K: 20, 30; top: 1, 10
    whole = pl.read_parquet(finished / "robustness.parquet")
    own = whole.filter(pl.col("n_concepts") == 30, pl.col("top") == 10, pl.col("theta") == 0.5)
    results = ig.Results.read(finished / "results.parquet").table
    expected = results.filter(pl.col("metric") == "calign_mean", pl.col("theta") == 0.5)
    both = own.join(expected, on=["layer", "source", "target"])
    assert both.height == 6
    assert both["score"].to_numpy() == pytest.approx(both["score_right"].to_numpy())
    itself = table.filter(pl.col("n_concepts") == 30, pl.col("top") == 10, pl.col("theta") == 0.5)
    assert itself["rho_pairs"].to_list() == [pytest.approx(1)]
    assert itself["rho_layers"].to_list() == [None]  # two layers have no ordering to speak of


def test_labels_say_which_kinds_of_concepts_are_shared(finished: Path) -> None:
    tables = ig.open_study(finished).labels
    assert tables is not None
    assert {p.name for p in (finished / "labels").iterdir()} >= {"labels.csv", "scores.csv", "splits.parquet"}
    labels, splits = tables["labels"], tables["splits"]
    assert set(labels["space"]) <= {"en", "de", "ar", "en+de", "en+ar", "de+ar"}
    assert (labels["share"] >= 0.9).all()
    of_pair = (pl.col("metric") == "calign", pl.col("source") == "en", pl.col("target") == "de")
    calign = splits.filter(pl.col("layer") == 4, *of_pair)
    # every eligible concept has one value of a kind, or none: the mean over them is the whole score
    whole = ig.Results.read(finished / "results.parquet").only(
        metric="calign", layer=4, source="en", target="de", theta=0.5
    )
    for _, part in calign.group_by("kind"):
        if part["value"].n_unique() == part.height:
            score = (part["score"] * part["n"]).sum() / part["n"].sum()
            chance = (part["chance"] * part["n"]).sum() / part["n"].sum()
            assert score == pytest.approx(whole["score"][0])
            assert chance == pytest.approx(whole["chance"][0], abs=0.05)


def test_lists_in_small_letters_meet_the_words_of_the_corpus(
    finished: Path, study_file: StudyFile, tmp_path: Path
) -> None:
    counted = open_study(finished)
    (tmp_path / "input").mkdir()
    given = {}
    for s, t in permutations(LANGUAGES, 2):
        rows = counted.dictionary(Pair(s, t)).table.select("source", "target").rows()
        lines = dict.fromkeys(f"{a.lower()}\t{b.lower()}\n" for a, b in rows)
        (tmp_path / f"input/{s}-{t}.tsv").write_text("".join(lines), encoding="utf-8")
        given[f"{s}-{t}"] = f"{s}-{t}.tsv"
    scores, done = {}, {}
    for case in ("exact", "folded"):
        path = study_file(alignment={"dictionaries": given, "case": case})
        ig.run_study(path, out=tmp_path / "listed", workers=1)
        table = ig.Results.read(tmp_path / "listed/results.parquet").table
        mine = table.filter(
            pl.col("metric") == "calign", pl.col("theta") == 0.5, pl.col("layer") == 4, pl.col("target") == "de"
        )
        assert f"dictionary:file-{case}" in mine["signature"][0]
        scores[case] = mine.select("score", "coverage").mean().row(0)
        done[case] = markers(tmp_path / "listed")
    assert scores["folded"][0] > scores["exact"][0]
    assert scores["folded"][1] > scores["exact"][1] + 0.2
    again = {name for name in done["folded"] if done["folded"][name] != done["exact"][name]}
    assert not any(name.startswith(("states", "trees", "concepts", "links")) for name in again)


def test_a_folder_shows_the_study_that_its_file_says(
    study_file: StudyFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    starter = {"name": "starter", "path": str(model_folder()), "layers": [4]}
    models = [starter, {**starter, "name": "random", "weights": "random", "base": "starter"}]
    sections = {"models": models, "metrics": {"n_bootstrap": 20}, "companions": {"measures": ["mexa"]}}
    ig.run_study(study_file(**sections, discovery={"n_concepts": 20}, robustness={"top": [10]}), out=out, workers=1)
    study = open_study(out)
    assert study.labels is not None and study.robustness is not None
    changed = study_file(**sections, discovery={"n_concepts": 30}, labels=None)
    ig.run_study(changed, out=out, workers=1, until="concepts")
    with pytest.raises(InputError, match=r"results.parquet was made with other settings than study.yaml has now.*run"):
        open_study(out)
    ig.run_study(changed, out=out, workers=1)
    caplog.clear()
    study = open_study(out)
    assert study.labels is None and study.robustness is None and "left out" not in caplog.text
    # differences are of the estimates of this study, as in a folder that never had another
    ig.run_study(changed, out=tmp_path / "fresh", workers=1)
    both = [pl.read_parquet(StudyLayout(root).differences) for root in (out, tmp_path / "fresh")]
    assert both[0].equals(both[1]) and set(both[0]["n_concepts"].drop_nulls()) == {30}
    assert compare(out, "starter", "random").height == both[0].height


def test_robustness_leaves_out_what_a_sample_has_not(study_file: StudyFile, tmp_path: Path) -> None:
    discovery = {"n_concepts": 30, "options": {"sample": 45}}
    study = study_file(discovery=discovery, robustness={"top": [10], "min_types": [2]}, labels=None)
    ig.run_study(study, out=tmp_path / "out", workers=1)
    table = open_study(tmp_path / "out").robustness
    assert table is not None and set(table["n_concepts"]) == {15, 30}


def test_robustness_needs_no_states_and_the_text_as_it_was(finished: Path) -> None:
    shutil.rmtree(finished / "states")
    table = robustness(finished, top=5, min_types=2, theta_align=[0.5], n_concepts=15, workers=1)
    assert set(table["n_concepts"]) == {15, 30} and not (finished / "states").exists()
    config = read_config(finished / "study.yaml")
    other = Path(str(config.corpus.files)).with_name("other.tsv")
    text = Path(str(config.corpus.files)).read_text(encoding="utf-8")
    other.write_text("\n".join(text.split("\n")[:-3]) + "\n", encoding="utf-8")
    config.model_copy(update={"corpus": config.corpus.model_copy(update={"files": str(other)})}).write(
        finished / "study.yaml"
    )
    with pytest.raises(InputError, match=r"text of the study in .* has changed"):
        robustness(finished)
