"""Figures: what is drawn is what the results say, chance is always there, files are whole."""

from __future__ import annotations

import html
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from isogloss.cli import app
from isogloss.errors import UsageError
from isogloss.plots import (
    label_panels,
    language_curves,
    language_map,
    language_order,
    layer_curves,
    overlap_curves,
    pair_heatmap,
    results_charts,
    robustness_map,
    save_charts,
    save_study_figures,
    sentence_curves,
    shared_panels,
    study_charts,
    width_of,
    write_chart,
)
from isogloss.plots.charts import _spread
from isogloss.plots.files import VEGA_LITE
from isogloss.plots.rows import NUMBERS, average, main_theta, run_labels
from isogloss.plots.theme import PALETTE, Chart, chart_config
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
    table = few.only(metric="calign_mean", theta=0.5)
    shown = rows(chart, "main")
    assert {row["pair"] for row in shown} == {"en – de", "en – ar", "de – ar"}
    for name in ("score", "chance", "ci_low", "ci_high"):
        assert sorted(row[name] for row in shown) == pytest.approx(sorted(table[name]), abs=1e-4)
    assert {"score", "chance_words", "chance_sentence", "ci_low"} <= drawn(chart.to_dict(validate=False))


def test_soft_alignment_has_a_curve_without_theta(few: Results) -> None:
    chart = layer_curves(few, metric="calign_soft_mean").to_dict(validate=False)
    assert chart["title"]["text"] == "Soft CALIGN, tiny · encoder"
    assert chart["title"]["subtitle"].startswith("mean of both directions; ")
    assert "dotted: chance of words, dashed: of sentences" in chart["title"]["subtitle"]


def test_overlap_across_sentences_stands_beside_overlap(few: Results) -> None:
    shown = [row for row in rows(overlap_curves(few), "main") if row["layer"] == 2]
    means = {row["colour"]: (row["score"], row["chance"]) for row in shown}
    for name, metric in (("COLAP", "colap"), ("across", "colap_other_sentences")):
        table = few.only(metric=metric, theta=0.3, layer=2)
        assert means[name] == pytest.approx((table["score"].mean(), table["chance"].mean()), abs=1e-4)


def test_what_is_owed_to_the_sentence_has_a_line_a_kind_of_space(many: Results) -> None:
    chart = sentence_curves(many, model="tiny")
    assert {row["text"] for row in rows(chart, "label")} == {"alone", "pairs", "all"}
    shown = {row["colour"]: row for row in rows(chart, "main") if row["layer"] == 2}
    table = many.only(metric="sentence_ami", model="tiny", layer=2)
    alone = table.filter(~pl.col("source").str.contains("+", literal=True))
    assert (shown["alone"]["n_pairs"], shown["pairs"]["n_pairs"]) == (5, 10)
    assert shown["alone"]["score"] == pytest.approx(alone["score"].mean(), abs=1e-4)
    assert "facet" in sentence_curves(many).to_dict()


def test_many_pairs_show_their_mean_and_every_pair(many: Results) -> None:
    chart = layer_curves(many, metric="calign_mean", model="tiny")
    table = many.only(metric="calign_mean", theta=0.5, model="tiny", layer=2)
    [mean] = [row for row in rows(chart, "main") if row["layer"] == 2]
    assert mean["score"] == pytest.approx(table["score"].mean(), abs=1e-4)
    assert mean["chance"] == pytest.approx(table["chance"].mean(), abs=1e-4)
    assert mean["ci_low"] <= mean["score"] <= mean["ci_high"]
    assert len({row["pair"] for row in rows(chart, "pair")}) == 10
    named = {row["text"] for row in rows(chart, "label")}
    best = table.sort("score").row(-1, named=True)
    assert {"mean", "words", "sentences", f"{best['source']} – {best['target']}"} <= named


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
    assert main_theta(few.table, "calign") == 0.5
    chart = layer_curves(few, metric="calign_mean", theta=0.5)
    assert {row["theta"] for row in rows(chart, "main")} == {0.5}


def test_language_panels_hold_every_direction_once(few: Results) -> None:
    shown = rows(language_curves(few, metric="calign"), "main")
    assert len(shown) == 6 * 3
    assert {(row["panel"], row["colour"]) for row in shown} == {(r["source"], r["target"]) for r in shown}


def written(chart: Any) -> list[str]:
    """The texts of a chart as it is drawn."""
    svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=False), vl_version=VEGA_LITE)
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def number(cell: str) -> float:
    return float(cell.strip("()").replace("−", "-"))


def test_heatmap_cells_carry_their_number_and_whether_chance_is_inside(few: Results) -> None:
    chart = pair_heatmap(few, metric="calign_mean")
    cells = [text for text in written(chart) if re.fullmatch(r"\(?−?\.\d\d\)?", text)]
    drawn = rows(chart)
    assert sorted(map(number, cells)) == pytest.approx(sorted(row["adjusted"] for row in drawn), abs=0.0051)
    assert sum(text.startswith("(") for text in cells) == sum(r["ci_low"] <= r["chance"] for r in drawn)


def test_colap_heatmap_shows_the_score(few: Results) -> None:
    chart = pair_heatmap(few, metric="colap")
    cells = [number(text) for text in written(chart) if re.fullmatch(r"\d?\.\d\d", text)]
    assert sorted(cells) == pytest.approx(sorted(row["score"] for row in rows(chart)), abs=0.0051)


def test_missing_numbers_are_left_out(few: Results) -> None:
    nothing = pl.lit(float("nan"))
    empty = Results(few.table.with_columns(chance=nothing, adjusted=nothing))
    assert not [text for text in written(pair_heatmap(empty, metric="calign_mean")) if "." in text[:3]]
    for chart in (layer_curves(empty, metric="calign_mean"), language_map(empty, layer=1)):
        assert "nothing could be measured" in chart.to_dict(validate=False)["description"]


# -- the language map -------------------------------------------------------------------------------


def test_the_map_has_every_direction_at_one_layer_and_both_sides_of_a_pair_of_colap(few: Results) -> None:
    drawn = rows(language_map(few, layer=1))
    table = few.only(metric="calign", theta=0.5, layer=1)
    assert {(r["source"], r["target"]): r["score"] for r in drawn} == pytest.approx(
        {(r["source"], r["target"]): r["score"] for r in table.iter_rows(named=True)}, abs=1e-4
    )
    drawn = rows(language_map(few, metric="colap", layer=1))
    assert len(drawn) == 6
    assert len({(row["source"], row["target"]) for row in drawn}) == 6
    with pytest.raises(UsageError, match=r"unknown layer '7'.*0, 1, 2"):
        language_map(few, layer=7)


def test_without_a_layer_the_map_is_of_the_one_highest_above_chance(few: Results) -> None:
    means = few.only(metric="calign_mean", theta=0.5).group_by("layer").agg(pl.col("adjusted").mean())
    best = means.sort("adjusted")["layer"][-1]
    assert {row["layer"] for row in rows(language_map(few))} == {best}


def scores(found: dict[tuple[str, str], tuple[float, ...]]) -> Results:
    """CALIGN of directions, a value a layer; no chance."""
    common = {"model": "m", "base_model": "", "stack": "encoder", "metric": "calign", "method": "ward"}
    common |= {"n_concepts": 9, "seed": 0, "theta": 0.8, "chance": 0.0, "n": 100, "coverage": 1.0}
    return Results.from_rows(
        common
        | {"source": s, "target": t, "layer": layer, "score": x, "adjusted": x, "signature": ""}
        | {"ci_low": x - 0.1, "ci_high": x + 0.1}
        for (s, t), values in found.items()
        for layer, x in enumerate(values)
    )


def test_languages_are_ordered_by_likeness_over_all_layers_and_both_directions() -> None:
    line = "cadb"  # neighbours are alike, and the ends are not; the study names them otherwise
    far = {(s, t): abs(line.index(s) - line.index(t)) for s, t in permutations("abcd", 2)}
    # one direction and one layer alone say the opposite
    found = scores(
        {(s, t): (0.9 - 0.2 * n + 0.1 * (s < t), 0.8 - 0.2 * n - 0.1 * (s < t)) for (s, t), n in far.items()}
    )
    assert language_order(found) == list(line)
    for layer in (0, 1):
        spec = language_map(found, layer=layer).to_dict(validate=False)
        for axis in ("x", "y"):
            assert spec["layer"][0]["encoding"][axis]["scale"]["domain"] == list(line)


def test_two_languages_and_none_measured_keep_the_order_of_the_study() -> None:
    assert language_order(scores({("b", "a"): (0.1,), ("a", "b"): (0.2,)})) == ["b", "a"]
    nan = float("nan")
    assert language_order(scores(dict.fromkeys(permutations("cab", 2), (nan,)))) == ["c", "a", "b"]


def test_a_pair_without_a_number_is_as_far_as_the_farthest() -> None:
    found = scores({(s, t): (0.9 if "c" in s + t else 0.2,) for s, t in permutations("abc", 2) if s + t != "ab"})
    assert language_order(found) == ["a", "c", "b"]


# -- words and accessors ----------------------------------------------------------------------------


def test_descriptions_say_what_is_drawn_and_where_it_peaks_against_chance(many: Results, few: Results) -> None:
    table = many.only(metric="calign_mean", theta=0.5, model="tiny")
    peak = (
        table.group_by("layer").agg(pl.col("score", "chance", "adjusted").mean()).sort("adjusted").row(-1, named=True)
    )
    text = layer_curves(many, metric="calign_mean", model="tiny").to_dict(validate=False)["description"]
    assert "10 pairs over layers 0 to 2" in text
    assert f"at layer {peak['layer']} ({peak['score']:.2f}, chance {peak['chance']:.2f})" in text
    top = few.only(metric="calign", theta=0.5, layer=2).sort("adjusted", maintain_order=True).row(-1, named=True)
    text = language_map(few, layer=2).to_dict(validate=False)["description"]
    assert "6 directions at layer 2" in text
    assert f"({top['adjusted']:.2f})" in text
    both = layer_curves(many, metric="colap").to_dict(validate=False)["description"]
    assert "tiny · encoder at layer" in both
    assert "tiny-tuned · encoder at layer" in both


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_lines_can_be_told_from_white_and_from_dark_paper() -> None:
    for colour in PALETTE:
        for paper in ("#fdfdfc", "#14171a"):
            low, high = sorted((luminance(colour), luminance(paper)))
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, paper)


def test_wrong_names_are_answered_with_the_right_ones(few: Results) -> None:
    with pytest.raises(UsageError, match="Did you mean 'calign'"):
        layer_curves(few, metric="caling")
    with pytest.raises(UsageError, match=r"unknown model 'tinny'.*'tiny'"):
        pair_heatmap(few, metric="colap", model="tinny")
    with pytest.raises(UsageError, match=r"unknown theta '0.7'.*0\.4, 0\.5"):
        layer_curves(few, metric="calign", theta=0.7)


def test_runs_that_differ_only_in_seed_stay_apart(few: Results) -> None:
    again = few.table.with_columns(pl.lit(1, dtype=pl.Int64).alias("seed"))
    labels = run_labels(pl.concat([few.table, again]))["label"].to_list()
    assert labels == ["tiny · encoder · seed 0", "tiny · encoder · seed 1"]


def test_the_interval_of_a_mean_is_the_mean_of_the_bounds() -> None:
    pairs = [
        dict.fromkeys(NUMBERS, 0.1) | {"layer": 0, "n": 10, "score": s, "ci_low": a, "ci_high": b}
        for s, a, b in ((0.2, 0.1, 0.4), (0.4, 0.3, 0.6))
    ]
    [mean] = average(pairs)
    assert (mean["score"], mean["ci_low"], mean["ci_high"]) == pytest.approx((0.3, 0.2, 0.5))
    assert mean["n"] == 20
    assert mean["n_pairs"] == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_labels_never_touch_wherever_lines_end(ends: list[float]) -> None:
    values = sorted(_spread(dict(zip("abcdefghij", ends, strict=False)), 0.1, 1.0).values())
    assert all(high - low >= 0.1 - 1e-6 for low, high in pairwise(values))
    assert values[0] >= 0
    assert values[-1] <= 1 + 1e-6


def test_labels_never_touch_and_keep_their_order() -> None:
    wanted = {"a": 0.5, "b": 0.5, "c": 0.52, "d": 0.9, "e": 1.0, "f": 0.0}
    placed = _spread(wanted, 0.1, 1.0)
    values = sorted(placed.values())
    assert all(high - low >= 0.1 - 1e-9 for low, high in pairwise(values))
    assert values[0] >= 0
    assert values[-1] <= 1 + 1e-9
    assert placed["f"] < placed["a"] < placed["b"] < placed["c"] < placed["d"] < placed["e"]


def test_files_are_whole_pngs_and_svgs_with_the_names_of_model_and_stack(few: Results, tmp_path: Path) -> None:
    hub = Results(few.table.with_columns(pl.lit("org/Model X").alias("model")))
    written = save_charts(results_charts(hub), tmp_path / "figures")
    names = {path.name for path in written}
    whats = (
        "calign_soft",
        "calign",
        "colap",
        "calign_languages",
        "calign_pairs",
        "colap_pairs",
        "calign_map",
        "colap_map",
    )
    whats += ("colap_sentences",)
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
            assert b"<desc>" in content
            assert b"http://" not in content.replace(b"http://www.w3.org/", b"")


def size_of(svg: str) -> tuple[float, float, float]:
    """Width in millimetres, width of the view box, and the smallest text in it."""
    width, box = re.search(r'width="([\d.]+)mm".*?viewBox="0 0 ([\d.]+)', svg).groups()
    return float(width), float(box), min(map(float, re.findall(r"font-size=\"([\d.]+)px", svg)))


@pytest.mark.parametrize("draw", [layer_curves, pair_heatmap, language_curves, language_map])
@pytest.mark.parametrize("width", [84.0, 174.0])
def test_a_figure_has_the_width_asked_for_and_text_of_seven_to_nine_points(
    many: Results, tmp_path: Path, draw: Callable[[Results], Chart], width: float
) -> None:
    svg, pdf, png = write_chart(draw(many), tmp_path / "figure", formats=("svg", "pdf", "png"), width=width)
    millimetres, box, text = size_of(svg.read_text(encoding="utf-8"))
    assert millimetres == width
    points = width / 25.4 * 72
    assert 7 <= text * points / box <= 9
    [right] = re.findall(rb"/MediaBox \[0 0 ([\d.]+)", pdf.read_bytes())
    assert float(right) == pytest.approx(points, abs=0.1)
    assert struct.unpack(">I", png.read_bytes()[16:20])[0] == pytest.approx(width / 25.4 * 600, rel=0.01)


def test_titles_can_be_left_to_the_caption(few: Results, tmp_path: Path) -> None:
    [kept] = write_chart(layer_curves(few), tmp_path / "a", formats=["svg"], width=84.0)
    [bare] = write_chart(layer_curves(few), tmp_path / "b", formats=["svg"], width=84.0, title=False)
    assert "mean of both" in kept.read_text(encoding="utf-8").partition("</desc>")[2]
    assert "mean of both" not in bare.read_text(encoding="utf-8").partition("</desc>")[2]


def test_widths_and_formats_are_checked(few: Results, tmp_path: Path) -> None:
    assert [width_of(x) for x in ("column", "page", "120mm", "90.5")] == [84, 174, 120, 90.5]
    with pytest.raises(UsageError, match="Did you mean 'column'"):
        width_of("colum")
    with pytest.raises(UsageError, match="40 to 1000 mm"):
        width_of("3mm")
    with pytest.raises(UsageError, match="unknown format 'gif'"):
        write_chart(layer_curves(few), tmp_path / "x", formats=["gif"])
    assert not list(tmp_path.iterdir())


def test_text_of_every_kind_grows_with_the_size_asked_for() -> None:
    small, large = chart_config(), chart_config(size=20)
    assert large["axis"]["labelFontSize"] == large["text"]["fontSize"] == 20
    assert large["title"]["fontSize"] - 20 == small["title"]["fontSize"] - 10


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
    languages = {row["space"] for row in data if row["kind"] == "space"}
    assert languages == {"en", "de"}, "joint spaces are not for this figure"
    [mean] = [r for r in data if r["kind"] == "mean" and (r["panel"], r["layer"]) == ("part of speech", 1)]
    assert mean["score"] == pytest.approx(0.5)
    assert mean["chance"] == pytest.approx(0.01)


def test_labels_of_enough_concepts_are_panels_with_both_measures_pooled_over_pairs(labelled: SyntheticStudy) -> None:
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


def test_no_robustness_map_is_drawn_of_nothing_ordered() -> None:
    kinds = ("rho_layers", "rho_pairs", "rho_models")
    nothing = robustness_table().with_columns(pl.lit(None, pl.Float64).alias(name) for name in kinds)
    assert robustness_map(nothing) is None


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux'")
def test_a_limit_on_addresses_is_one_line_and_no_native_backtrace(tmp_path: Path) -> None:
    code = (
        "import resource, altair\n"
        "from isogloss.plots import save_charts\n"
        "resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))\n"
        f"save_charts({{'x': altair.Chart().mark_point()}}, {str(tmp_path)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "leaves this process 16.0 in all. What was computed is written." in done.stderr.splitlines()[-1]


def test_figures_of_a_study_are_written_as_far_as_their_tables_are_there(labelled: SyntheticStudy) -> None:
    written = {path.stem for path in save_study_figures(labelled)}
    assert {path.stem for path in (labelled.root / "figures").iterdir()} == written
    beside = {"labels_one_encoder", "labels_shared_one_encoder", "robustness"}
    assert beside <= written == set(study_charts(labelled))
    assert all(chart.description for chart in study_charts(labelled).values())
    labelled.labels = labelled.robustness = None
    assert {path.stem for path in save_study_figures(labelled)} == written - beside


def command(study: SyntheticStudy, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr("isogloss.study.open_study", lambda folder: study)
    return CliRunner().invoke(app, ["plot", str(study.root), "--quiet", *words])


def test_the_command_draws_what_is_named_of_every_run_in_the_formats_asked_for(
    labelled: SyntheticStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "paper"
    words = ("calign", "robustness", "--format", "svg", "--format", "pdf", "--width", "page", "--out", str(out))
    done = command(labelled, monkeypatch, *words)
    assert done.exit_code == 0, done.output
    names = {f"{name}.{kind}" for name in ("calign_one_encoder", "robustness") for kind in ("svg", "pdf")}
    assert {path.name for path in out.iterdir()} == names
    assert 'width="174mm"' in (out / "robustness.svg").read_text(encoding="utf-8")
    default = command(labelled, monkeypatch, "robustness")
    assert default.stdout.split() == [str(labelled.root / "figures" / "84mm" / "robustness.pdf")]


def test_the_command_lists_figures_and_names_the_nearest(
    labelled: SyntheticStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = command(labelled, monkeypatch, "--list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(study_charts(labelled))
    wrong = command(labelled, monkeypatch, "clign")
    assert isinstance(wrong.exception, UsageError)
    assert "Did you mean 'calign'?" in str(wrong.exception)
    assert not (labelled.root / "figures").exists()
