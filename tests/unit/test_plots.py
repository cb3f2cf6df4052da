"""Figures: what is drawn is what the results say, chance is always there, files are whole."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from isogloss.errors import UsageError
from isogloss.plots import (
    label_panels,
    language_curves,
    layer_curves,
    loss_curve,
    pair_heatmap,
    retrieval_curves,
    robustness_map,
    save_figures,
    save_study_figures,
    shared_panels,
    write_chart,
)
from isogloss.plots.charts import _spread
from isogloss.plots.rows import average, main_theta, run_labels
from isogloss.results import Results
from synthetic import SyntheticStudy, label_tables, robustness_table


@pytest.fixture(scope="module")
def many() -> Results:
    """Ten pairs, two models."""
    return SyntheticStudy(Path("nowhere"), n_layers=3).results


@pytest.fixture(scope="module")
def few(many: Results) -> Results:
    """Three pairs, one model."""
    ours = pl.col("source").is_in(["en", "de", "ar"]) & pl.col("target").is_in(["en", "de", "ar"])
    return Results(many.table.filter(ours & (pl.col("model") == "tiny")))


def rows(chart: Any, kind: str | None = None) -> list[dict[str, Any]]:
    [data] = chart.to_dict(validate=False)["datasets"].values()
    return [row for row in data if kind is None or row["kind"] == kind]


def drawn(spec: dict[str, Any]) -> set[str]:
    """The fields that the layers of a chart show on their y axis."""
    layers = spec.get("layer") or spec["spec"]["layer"]
    return {layer["encoding"]["y"]["field"] for layer in layers}


def test_every_chart_is_valid_vega_lite(many: Results, few: Results) -> None:
    for chart in (
        layer_curves(few, metric="calign_mean"),
        layer_curves(many, metric="colap"),
        language_curves(few, metric="calign"),
        pair_heatmap(few, metric="calign_mean"),
    ):
        chart.to_dict()  # checked against the schema


def test_few_pairs_show_their_own_score_band_and_chance(few: Results) -> None:
    chart = layer_curves(few, metric="calign_mean")
    table = few.only(metric="calign_mean", theta=0.8)
    shown = rows(chart, "main")
    assert {row["pair"] for row in shown} == {"en – de", "en – ar", "de – ar"}
    for name in ("score", "chance", "ci_low", "ci_high"):
        assert sorted(row[name] for row in shown) == pytest.approx(sorted(table[name]), abs=1e-4)
    assert {"score", "chance", "ci_low"} <= drawn(chart.to_dict(validate=False))


def test_many_pairs_show_their_mean_and_every_pair(many: Results) -> None:
    chart = layer_curves(many, metric="calign_mean", model="tiny")
    table = many.only(metric="calign_mean", theta=0.8, model="tiny", layer=2)
    [mean] = [row for row in rows(chart, "main") if row["layer"] == 2]
    assert mean["score"] == pytest.approx(table["score"].mean(), abs=1e-4)
    assert mean["chance"] == pytest.approx(table["chance"].mean(), abs=1e-4)
    assert mean["ci_low"] <= mean["score"] <= mean["ci_high"]
    assert len({row["pair"] for row in rows(chart, "pair")}) == 10
    named = {row["text"] for row in rows(chart, "label")}
    best = table.sort("score").row(-1, named=True)
    assert {"mean", "chance", f"{best['source']} – {best['target']}"} <= named


def test_models_get_a_panel_each_and_one_panel_when_asked(many: Results) -> None:
    both = layer_curves(many, metric="colap").to_dict(validate=False)
    assert both["facet"]["sort"] == ["tiny · encoder", "tiny-tuned · encoder"]
    one = layer_curves(many, metric="colap", model="tiny-tuned").to_dict(validate=False)
    assert "facet" not in one
    assert "tiny-tuned" in one["title"]["text"]


def test_titles_name_metric_theta_and_model(few: Results) -> None:
    for chart in (layer_curves(few, metric="colap"), pair_heatmap(few, metric="colap")):
        title = chart.to_dict(validate=False)["title"]
        assert "COLAP" in title["text"]
        assert "tiny" in title["text"]
        assert "0.3" in title["subtitle"]


def test_theta_can_be_chosen(few: Results) -> None:
    assert main_theta(few.table, "calign") == 0.8
    chart = layer_curves(few, metric="calign_mean", theta=0.5)
    assert {row["theta"] for row in rows(chart, "main")} == {0.5}


def test_language_panels_hold_every_direction_once(few: Results) -> None:
    shown = rows(language_curves(few, metric="calign"), "main")
    assert len(shown) == 6 * 3
    assert {(row["panel"], row["colour"]) for row in shown} == {(r["source"], r["target"]) for r in shown}


def test_heatmap_cells_carry_their_number_and_whether_chance_is_inside(few: Results) -> None:
    for row in rows(pair_heatmap(few, metric="calign_mean")):
        assert float(row["cell"].strip("()").replace("−", "-")) == pytest.approx(row["adjusted"], abs=0.0051)
        assert row["cell"].startswith("(") == (row["ci_low"] <= row["chance"])


def test_colap_heatmap_shows_the_score(few: Results) -> None:
    for row in rows(pair_heatmap(few, metric="colap")):
        assert float(row["cell"]) == pytest.approx(row["score"], abs=0.0051)


def test_missing_numbers_are_left_out(few: Results) -> None:
    empty = few.table.with_columns(
        pl.lit(float("nan")).alias("chance"), pl.lit(float("nan")).alias("adjusted")
    )
    for row in rows(pair_heatmap(Results(empty), metric="calign_mean")):
        assert row["cell"] == ""
    layer_curves(Results(empty), metric="calign_mean").to_dict(validate=False)


def test_wrong_names_are_answered_with_the_right_ones(few: Results) -> None:
    with pytest.raises(UsageError, match="Did you mean 'calign'"):
        layer_curves(few, metric="caling")
    with pytest.raises(UsageError, match=r"unknown model 'tinny'.*'tiny'"):
        pair_heatmap(few, metric="colap", model="tinny")
    with pytest.raises(UsageError, match=r"unknown theta '0.7'.*0\.5, 0\.8"):
        layer_curves(few, metric="calign", theta=0.7)


def test_runs_that_differ_only_in_seed_stay_apart(few: Results) -> None:
    again = few.table.with_columns(pl.lit(1, dtype=pl.Int64).alias("seed"))
    labels = run_labels(pl.concat([few.table, again]))["label"].to_list()
    assert labels == ["tiny · encoder · seed 0", "tiny · encoder · seed 1"]


def test_the_interval_of_a_mean_is_the_mean_of_the_bounds() -> None:
    pairs = [
        {
            "layer": 0,
            "n": 10,
            "score": s,
            "chance": 0.1,
            "adjusted": 0.0,
            "ci_low": a,
            "ci_high": b,
            "coverage": 1.0,
        }
        for s, a, b in ((0.2, 0.1, 0.4), (0.4, 0.3, 0.6))
    ]
    [mean] = average(pairs)
    assert (mean["score"], mean["ci_low"], mean["ci_high"]) == pytest.approx((0.3, 0.2, 0.5))
    assert mean["n"] == 20
    assert mean["n_pairs"] == 2


def test_labels_never_touch_and_keep_their_order() -> None:
    wanted = {"a": 0.5, "b": 0.5, "c": 0.52, "d": 0.9, "e": 1.0, "f": 0.0}
    placed = _spread(wanted, 0.1, 1.0)
    values = sorted(placed.values())
    assert all(high - low >= 0.1 - 1e-9 for low, high in pairwise(values))
    assert values[0] >= 0
    assert values[-1] <= 1 + 1e-9
    assert placed["f"] < placed["a"] < placed["b"] < placed["c"] < placed["d"] < placed["e"]


def test_files_are_whole_pngs_and_svgs_with_the_names_of_model_and_stack(
    few: Results, tmp_path: Path
) -> None:
    hub = Results(few.table.with_columns(pl.lit("org/Model X").alias("model")))
    written = save_figures(hub, tmp_path / "figures")
    names = {path.name for path in written}
    whats = ("calign", "colap", "calign_languages", "calign_pairs", "colap_pairs")
    assert names == {f"{what}_org--Model-X_encoder.{kind}" for what in whats for kind in ("png", "svg")}
    assert set((tmp_path / "figures").iterdir()) == set(written)  # nothing temporary is left
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
            assert content.endswith(b"IEND\xaeB`\x82")
            assert struct.unpack(">I", content[16:20])[0] > 900  # three times a column's width
        else:
            assert content.startswith(b"<svg")
            assert b"en" in content
            assert b"http://" not in content.replace(b"http://www.w3.org/", b"")


# -- what lies beside the results -------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path: Path) -> SyntheticStudy:
    study = SyntheticStudy(tmp_path, languages=("en", "de"), n_layers=2, models=("one",))
    study.labels, study.robustness = label_tables(study), robustness_table()
    return study


def test_kinds_of_labels_are_panels_with_languages_their_mean_and_chance(labelled: SyntheticStudy) -> None:
    chart = label_panels(labelled.labels["scores"])
    spec = chart.to_dict()  # checked against the schema
    assert drawn(spec) == {"score", "chance", "ci_low"}
    assert spec["facet"]["sort"] == ["any label", "part of speech", "suffix", "language"]
    data = rows(chart)
    assert {row["space"] for row in data} == {"en", "de", None}, "joint spaces are not for this figure"
    [mean] = [r for r in data if r["space"] is None and (r["panel"], r["layer"]) == ("part of speech", 1)]
    assert mean["score"] == pytest.approx(0.5)
    assert mean["chance"] == pytest.approx(0.01)


def test_labels_of_enough_concepts_are_panels_with_both_measures_pooled_over_pairs(
    labelled: SyntheticStudy,
) -> None:
    chart = shared_panels(labelled.labels["splits"], thetas={"calign": 0.5, "colap": 0.3})
    assert chart is not None
    spec = chart.to_dict()
    assert drawn(spec) == {"score", "chance", "ci_low", "all"}
    assert spec["facet"]["sort"] == ["suffix: -en", "part of speech: NOUN"], "two verbs are no panel"
    assert spec["title"]["subtitle"].startswith("CALIGN at θ = 0.5; COLAP at θ = 0.3;")
    data = {(r["panel"], r["metric"], r["layer"]): r for r in rows(chart)}
    assert len(data) == 2 * 2 * 2
    noun = data["part of speech: NOUN", "CALIGN", 1]
    assert noun["n"] == 40
    assert noun["score"] == pytest.approx((10 * 0.2 + 30 * 0.1) / 40)
    every = data["suffix: -en", "COLAP", 1]  # of all concepts: by the first kind, the language of 51
    assert every["all"] == pytest.approx(0.1)
    few = labelled.labels["splits"].filter(pl.col("value").is_null() | (pl.col("value") == "VERB"))
    assert shared_panels(few) is None


def test_the_robustness_map_has_a_panel_a_kind_of_ordering() -> None:
    chart = robustness_map(robustness_table())
    chart.to_dict()
    data = {(r["kind"], r["theta"], r["n_concepts"]): r for r in rows(chart)}
    assert {kind for kind, _, _ in data} == {"layers", "pairs"}, "one model has no ordering"
    assert data["layers", 0.8, 20]["rho"] == -0.5


def test_figures_of_a_study_are_written_as_far_as_their_tables_are_there(labelled: SyntheticStudy) -> None:
    written = {path.stem for path in save_study_figures(labelled)}
    assert {path.stem for path in (labelled.root / "figures").iterdir()} == written
    beside = {"labels_one_encoder", "labels_shared_one_encoder", "robustness"}
    assert beside <= written
    labelled.labels = labelled.robustness = None
    assert {path.stem for path in save_study_figures(labelled)} == written - beside


def test_training_charts_draw_every_model_and_skip_losses_that_were_not_met(tmp_path: Path) -> None:
    curve = pl.DataFrame(
        {"step": [100, 200], "seconds": [1.0, 2.0], "loss": [3.0, 2.5], "loss_pairs": [None, 2.0]}
    )
    [data] = loss_curve(curve).to_dict()["datasets"].values()
    assert [(row["step"], row["kind"], row["value"]) for row in data] == [
        (100, "single lines", 3.0),
        (200, "single lines", 2.5),
        (200, "pairs of translations", 2.0),
    ]
    found = pl.DataFrame(
        [(model, s, t, layer, 0.5, 0.7, 0.1) for model in "ba" for s, t in ("xy", "yx") for layer in (0, 1)],
        schema=["model", "source", "target", "layer", "cosine", "csls", "chance"],
        orient="row",
    )
    chart = retrieval_curves(found)
    [data] = chart.to_dict()["datasets"].values()
    assert [row["model"] for row in data if row["layer"] == 0] == ["b", "a", "b", "a"]
    assert {row["nearest by"]: row["precision"] for row in data} == {"cosine": 0.5, "CSLS": 0.7}
    assert {row["chance"] for row in data} == {0.1}
    paths = write_chart(chart, tmp_path / "retrieval")
    assert [path.name for path in paths] == ["retrieval.png", "retrieval.svg"]
    assert "CSLS" in paths[1].read_text(encoding="utf-8")
