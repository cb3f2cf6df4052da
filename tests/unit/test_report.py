"""The report: every number is in it, nothing is loaded from outside, nothing of the data becomes markup."""

from __future__ import annotations

import html
import json
import math
import re
from html.parser import HTMLParser
from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from isogloss.coordinates import Pair, Space
from isogloss.errors import InputError
from isogloss.plots.rows import run_labels
from isogloss.report import render, write_report
from isogloss.report.answer import alignment_answer, overlap_answer, sentence_answer, study_answers
from isogloss.report.explorer import MAX_CONCEPTS, MAX_ENTRIES, MAX_WORDS
from isogloss.report.page import charts, columns, map_words, safe_json
from isogloss.report.paper import methods_paragraph
from isogloss.results import RESULT_COLUMNS, Results
from isogloss.study.analyses.search import by_layer
from synthetic import LANGUAGES, NASTY, SyntheticStudy, label_tables, robustness_table, with_draws


class Page(HTMLParser):
    """Reads a page: its text, attributes, scripts, and whether tags are closed in order."""

    VOID = ("meta", "br", "wbr", "img", "link", "input", "hr")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.scripts, self.attributes, self.open = "", [], [], []
        self.tags: list[str] = []
        self.data: dict[str, Any] = {}
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
            self.holds_data = ("id", "data") in attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "script" and self.holds_data:
            self.data = json.loads(self.scripts[-1])

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def study() -> SyntheticStudy:
    return SyntheticStudy(Path("nowhere"), languages=("en", "de", "ar"), n_layers=3)


@pytest.fixture(scope="module")
def source(study: SyntheticStudy) -> str:
    return render(study)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


@pytest.fixture(scope="module")
def data(page: Page) -> dict[str, Any]:
    return page.data


def test_html_is_well_formed(source: str, page: Page) -> None:
    assert source.startswith("<!doctype html>")
    assert page.open == []
    assert len(page.scripts) == 4
    assert "{{" not in page.text.replace(NASTY[3], "")


def test_nothing_is_loaded_from_outside(source: str, page: Page) -> None:
    loading = [(tag, name, value) for tag, name, value in page.attributes if name in ("src", "href", "srcset", "data")]
    assert {tag for tag, _, _ in loading} == {"a"}
    assert {value for _, _, value in loading} >= {"results.csv", "results.parquet", "#warnings"}
    assert not any("//" in (value or "") for _, _, value in loading)
    style = source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(value for _, _, value in page.attributes if value and value.startswith("default-src"))
    assert policy.startswith("default-src 'none'")


def test_every_number_of_the_results_is_in_it(study: SyntheticStudy, data: dict[str, Any]) -> None:
    def column(name: str) -> list[object]:
        found = data["table"][name]
        return [found["values"][code] for code in found["codes"]] if isinstance(found, dict) else found

    table = study.results.table
    assert list(data["table"]) == list(RESULT_COLUMNS)
    for name, dtype in RESULT_COLUMNS.items():
        expected = table[name].to_list()
        if dtype == pl.Float64:
            expected = [None if x is None or math.isnan(x) else pytest.approx(x, abs=1e-9) for x in expected]
        assert column(name) == expected


def test_words_are_data_and_never_markup(source: str, page: Page, data: dict[str, Any]) -> None:
    assert set(NASTY) <= set(data["words"])
    assert "<script>alert" not in source
    assert page.tags.count("script") == 4
    assert "The dictionary uses <b>the model</b>." in page.text  # the warning, as text
    assert source.count("<b>the model") == 0


@pytest.mark.parametrize("nasty", ["</script>", "<!--<script>", "\u2028", '"', "\\", "]]>"])
def test_json_survives_inside_a_script_element(nasty: str) -> None:
    text = safe_json([nasty])
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == [nasty]


def test_name_of_the_study_is_escaped(study: SyntheticStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    named = study.config.model_copy(update={"name": "<img src=x onerror=alert(1)>"})
    monkeypatch.setattr(study, "config", named)
    page = Page(render(study))
    assert "img" not in page.tags
    assert "<img src=x onerror=alert(1)>" in page.text


def test_warnings_signatures_versions_and_terms_are_shown(study: SyntheticStudy, page: Page) -> None:
    for warning in study.warnings:
        assert warning in page.text
    for text in ("isogloss:0.1.0|metric:calign|n:10", "results.csv", "CALIGN", "COLAP", "chance", "adjusted"):
        assert text in page.text


def test_explorer_shows_the_best_pairs_with_their_words(study: SyntheticStudy, data: dict[str, Any]) -> None:
    view = data["views"]["0/2/en-ar"]
    found = study.alignment(study.runs[0][2], Pair("en", "ar"))
    best = found.pairs.row(0, named=True)
    s, t, matched, n_source, n_target, ties, left, _ = view["forward"][0]
    assert (s, t, matched) == (best["source_concept"], best["target_concept"], best["n_matched"])
    assert (n_source, n_target) == (best["source_types"], best["target_types"])
    translations = set(study.dictionary(Pair("en", "ar")).table.select("source", "target").iter_rows())
    shown = [tuple(data["words"][n] for n in tie) for tie in ties]
    assert len(shown) == matched
    assert all((source, target) in translations for source, *targets in shown for target in targets)
    untied = {data["words"][n] for n in left} & {source for source, *_ in shown}
    assert not untied
    sources = [entry[0] for entry in view["forward"]]
    assert len(sources) == len(set(sources)) <= MAX_CONCEPTS
    assert all(len(entry[5]) <= MAX_WORDS for entry in view["forward"] + view["backward"])


def test_explorer_shows_shared_concepts_most_even_first(study: SyntheticStudy, data: dict[str, Any]) -> None:
    joint = data["views"]["0/2/en-de"]["joint"]
    counts = study.overlap(study.runs[0][2], Space.of("en", "de")).counts
    for concept, passed, shown, words in joint:
        assert shown == counts[concept].tolist()
        assert bool(passed) == (min(shown) / sum(shown) >= 0.3)
        assert all(words)
    first, last = joint[0][2], joint[-1][2]
    assert min(first) / sum(first) > min(last) / sum(last)
    assert sum(first) > 10  # not one of the pairs of two tokens, which are as even


def test_the_whole_group_has_a_view_in_every_layer(data: dict[str, Any]) -> None:
    assert all(len(data["views"][f"1/{layer}/all"]["joint"][0][3]) == 3 for layer in range(3))


def test_ten_languages_and_thirteen_layers_are_under_five_megabytes() -> None:
    study = SyntheticStudy(Path("nowhere"), languages=LANGUAGES, n_layers=2, models=("one",))
    page = Page(drawn := render(study))
    shell = len(drawn.encode()) - len(safe_json(page.data).encode())
    # Ten languages by their numbers alone: to cluster 45 pairs in 13 layers would take minutes.
    ten = [f"{x}{i}" for x in LANGUAGES for i in (1, 2)]
    pair = (pl.col("source") == "en") & (pl.col("target") == "de") & (pl.col("layer") == 1)
    of_one = study.results.table.filter(pair).to_dicts()
    rows = [
        row | {"layer": layer, "source": s, "target": t, "score": row["score"] * (layer + 1) / 13}
        for layer in range(13)
        for s, t in permutations(ten, 2)
        for row in of_one
        if row["metric"] == "calign" or ten.index(s) < ten.index(t)
    ]
    results = Results(pl.DataFrame(rows, schema=study.results.table.schema))
    main = results.only(metric="calign_mean", theta=0.5)
    assert main.height == 45 * 13
    measures = ("retrieval_csls", "mexa", "cka", "anc", "word_retrieval_csls", "knn_mixing", "mean_cosine")
    companions = main.select("model", "stack", "layer", "source", "target")
    companions = companions.join(pl.DataFrame({"metric": measures}), how="cross")
    companions = companions.with_columns(score=pl.lit(0.1234), chance=pl.lit(0.01))
    study.results = Results(pl.concat([results.table, Results.from_rows(companions.to_dicts()).table]))
    shown = [charts(study, [results], {}), columns(results.table), map_words(results, {})]
    # The views of concepts grow up to a number of entries, whatever the languages.
    views, words = page.data["views"], page.data["words"]
    entries = sum(len(part) for view in views.values() for part in view.values())
    concepts = MAX_ENTRIES * len(safe_json([views, words]).encode()) / entries
    assert shell + len(safe_json(shown).encode()) + concepts < 5e6


def test_the_page_has_one_map_a_metric_and_words_for_every_layer(data: dict[str, Any]) -> None:
    for run, words in enumerate(data["maps"]):
        for metric in ("calign", "colap"):
            assert set(words[metric]) == {"0", "1", "2"}
            assert "at layer 1" in words[metric]["1"]["description"]
            (shown,) = data["charts"]["runs"][run][f"{metric}_map"]["datasets"].values()
            assert len(set(shown["layer"])) == 1, "the other layers are in the table of results"


def test_every_figure_of_the_page_has_a_place_and_a_text_alternative(page: Page, data: dict[str, Any]) -> None:
    places = {value for tag, name, value in page.attributes if tag == "figure" and name == "id"}
    names = set(data["charts"]["study"]).union(*data["charts"]["runs"])
    assert {f"fig-{name}" for name in names if not name.endswith("_map")} <= places
    for charts_ in [data["charts"]["study"], *data["charts"]["runs"]]:
        for name, spec in charts_.items():
            assert spec["description"].endswith("."), name
            assert spec["usermeta"]["columns"], name


def test_a_study_of_overlap_alone_has_a_report(study: SyntheticStudy) -> None:
    only = SyntheticStudy(Path("nowhere"), languages=("en", "de"), n_layers=2, models=("one",))
    only.results = Results(only.results.table.filter(pl.col("metric") == "colap"))
    page = Page(render(only))
    assert "clustered together" in page.text
    assert "alignment peaks" not in page.text


def test_no_results_is_a_clear_error(study: SyntheticStudy, tmp_path: Path) -> None:
    empty = SyntheticStudy(Path("nowhere"), languages=("en", "de"), n_layers=1)
    empty.results = Results.from_rows([])
    with pytest.raises(InputError, match="no figures"):
        render(empty)
    with pytest.raises(InputError, match="not a study folder"):
        write_report(tmp_path)


# -- the answer in words ----------------------------------------------------------------------------


def results(*layers: tuple[float, float], low: float = 0.05, metric: str = "calign_mean", pairs: int = 2) -> Results:
    """Return figures of `pairs` pairs, (score, chance) a layer; the second pair is 0.02 lower."""
    rows = []
    for layer, (score, chance) in enumerate(layers):
        for i in range(pairs):
            s = score - 0.02 * i
            rows.append(
                {"model": "m", "base_model": "", "stack": "encoder", "layer": layer, "metric": metric}
                | {"source": "en", "target": ("de", "ar")[i], "method": "ward", "n_concepts": 9, "seed": 0}
                | {"theta": 0.8, "score": s, "chance": chance, "adjusted": (s - chance) / (1 - chance)}
                | {"ci_low": s - low, "ci_high": s + low, "n": 100, "coverage": 0.9, "signature": "a:b"}
            )
    return Results.from_rows(rows)


def layers(*levels: tuple[float, float], spread: float = 0.01, metric: str = "calign_mean") -> pl.DataFrame:
    """Return the means by layer of `results`, with made-up draws."""
    return by_layer(with_draws(results(*levels, metric=metric).table, spread=spread))


def test_a_clear_peak_is_called_the_highest_with_all_that_it_takes_to_believe_it() -> None:
    text = alignment_answer(layers((0.20, 0.05), (0.50, 0.10), (0.40, 0.10)))
    assert text.startswith("Above chance, of words and of sentences, alignment is highest at layer 1: 49% (95% ")
    assert "where chance gives 10% (p = 0.0099, corrected for all that was looked at)." in text
    assert "Every other layer is lower." in text


def test_layers_that_cannot_be_told_from_the_best_are_named() -> None:
    text = alignment_answer(layers((0.20, 0.10), (0.49, 0.10), (0.50, 0.10), (0.49, 0.10), (0.3, 0.1), (0.495, 0.1)))
    assert "Layers 1, 3 and 5 cannot be told apart from it." in text
    assert "No other layer can be told apart from it." in alignment_answer(layers(*[(0.5, 0.1)] * 3))
    assert "Layer 1 cannot be told apart from it." in alignment_answer(layers((0.5, 0.1), (0.499, 0.1)))


def test_nothing_above_chance_is_said_plainly() -> None:
    text = alignment_answer(layers((0.10, 0.09), (0.12, 0.11)))
    assert text.startswith(
        "Nothing was found: no layer is above chance, of words and of sentences both. The nearest is"
    )
    assert "share most" not in text
    assert "cannot be told apart" not in text


def test_a_layer_of_which_the_interval_includes_chance_is_not_above_it() -> None:
    wide = with_draws(results((0.30, 0.20), (0.28, 0.20)).table, spread=0.01)
    wide = wide.with_columns(draws=with_draws(wide, spread=0.2)["draws"])
    text = alignment_answer(by_layer(wide))
    assert text.startswith("Nothing was found: no layer is above chance")
    assert text.endswith("Its interval reaches down to chance.")


def test_the_best_is_where_it_is_highest_above_chance_not_where_the_score_is() -> None:
    assert "highest at layer 0" in alignment_answer(layers((0.50, 0.10), (0.55, 0.45)))


def test_pairs_are_ranked_only_if_they_can_be_told_apart() -> None:
    assert "At layer 1, en – de share most and en – ar least." in alignment_answer(
        layers((0.20, 0.05), (0.50, 0.10), spread=0.003)
    )
    assert "no pair can be told apart from another" in alignment_answer(layers((0.20, 0.05), (0.50, 0.10), spread=0.02))


def test_without_draws_nothing_is_claimed() -> None:
    table = with_draws(results((0.20, 0.05), (0.50, 0.10)).table)
    drawless = [pl.lit(None, table.schema[name]).alias(name) for name in ("draws", "null_words", "null_sentence")]
    text = alignment_answer(by_layer(table.with_columns(drawless)))
    assert text.startswith("Whether a layer is above chance is not known: no chance was drawn. The highest is layer 1")
    assert "interval" not in text
    assert "told apart" not in text


def test_overlap_is_compared_with_languages_mixed_at_random() -> None:
    across = results((0.15, 0.8), (0.12, 0.85), metric="colap_other_sentences").table
    text = overlap_answer(layers((0.2, 0.9), (0.3, 0.95), metric="colap"), across)
    assert "Counted in other sentences each, it is 11% there (mixed at random: 85%)." in text
    assert "Counted" not in overlap_answer(layers((0.2, 0.9), metric="colap"), across.clear())
    assert "layer 1: 29%" in text
    assert "mixed at random would reach 95%" in text
    assert "Every other layer is lower" in text


def test_concepts_that_are_sentences_are_told() -> None:
    table = pl.DataFrame({"layer": [0, 1, 2], "score": [0.02, 0.3, 0.7]})
    text = sentence_answer(table)
    assert text.startswith("Concepts are largely sentences at layers 1 and 2:")
    assert "tells 0.70 of its concept at layer 2" in text
    assert sentence_answer(table.filter(layer=0)).startswith(
        "Concepts are not sentences: a sentence tells at most 0.02"
    )
    assert sentence_answer(table.clear()) == ""


def test_what_would_help_is_said_where_nothing_is_above_chance(study: SyntheticStudy) -> None:
    run = run_labels(study.results.table).row(0, named=True)
    lead, *more = study_answers(study, run)
    assert lead.startswith("Above chance, of words and of sentences,")
    assert any("for at least 50% of their words" in text for text in more)
    flat = study.by_layer.with_columns(above=pl.when(pl.col("above").is_not_null()).then(False))
    silent = SyntheticStudy(study.root, languages=("en", "de"), n_layers=2, models=("tiny",))
    silent.__dict__["by_layer"] = flat
    assert "What would help: more text first of all" in study_answers(silent, run)[0]


def test_random_weights_stand_beside_a_trained_model(study: SyntheticStudy) -> None:
    both = SyntheticStudy(study.root, languages=("en", "de"), n_layers=2)
    runs = list(run_labels(both.results.table).iter_rows(named=True))
    assert "a model with weights: random beside it would tell how far" in study_answers(both, runs[0])[0]
    weights = {"tiny": "random", "tiny-tuned": "pretrained"}
    both.config = both.config.model_copy(
        update={"models": [m.model_copy(update={"weights": weights[m.name]}) for m in both.config.models]}
    )
    both.__dict__["by_layer"] = both.by_layer.with_columns(above=pl.when(pl.col("above").is_not_null()).then(True))
    leads = [study_answers(both, run)[0] for run in runs]
    assert "The weights are random: what is above chance here is the form of words" in leads[0]
    text = r"Random weights \(tiny\) are 0\.\d{3} above chance there, this model \d\.\d{3}: "
    assert re.search(text + "the two cannot be told apart", leads[1])
    lower = pl.when(pl.col("model") == "tiny").then(0.0).otherwise(pl.col("ci_high"))
    both.__dict__["by_layer"] = both.by_layer.with_columns(ci_high=lower)
    assert re.search(text + "what it has more is learnt", study_answers(both, runs[1])[0])


def test_what_keeps_a_study_from_a_finding_is_said(study: SyntheticStudy) -> None:
    run = run_labels(study.results.table).row(0, named=True)
    few = SyntheticStudy(study.root, languages=("en", "de"), n_layers=2, models=("tiny",))
    silent = few.by_layer.with_columns(above=pl.when(pl.col("above").is_not_null()).then(False), seen_from=math.inf)
    few.__dict__["by_layer"] = silent
    assert "With 200 permutations no layer can be above chance" in study_answers(few, run)[0]
    # a study of a handful of concepts makes no finding
    rows = with_draws(results((0.20, 0.05), (0.90, 0.10)).table).with_columns(n=pl.lit(12, pl.Int64))
    text = alignment_answer(by_layer(rows))
    assert text.startswith("Whether a layer is above chance is not known: 6 concepts of a language count")
    drawless = with_draws(results((0.20, 0.05), (0.50, 0.10)).table)
    drawless = drawless.with_columns(pl.lit(None, drawless.schema["draws"]).alias("draws"))
    assert "no resamples were drawn" in alignment_answer(by_layer(drawless))


def test_no_measurable_layer_is_said() -> None:
    assert "No layer has enough concepts" in alignment_answer(layers((math.nan, math.nan)))


def test_the_paragraph_for_a_paper_says_what_was_done_and_cites_it(study: SyntheticStudy, source: str) -> None:
    text = methods_paragraph(study)
    body, sources = text.split("\n\nSources:\n")
    assert "theta_align = 0.5" in body
    assert "200 bootstrap resamples of sentences" in body
    assert "tiny-tuned" in body
    for cited in (
        "Mousi et al. 2024",
        "Ward 1963",
        "Efron 1987",
        "Benjamini and Hochberg 1995",
        "Kargaran et al. 2025",
    ):
        assert cited in sources
    assert "Artetxe" not in sources  # its margin was not asked for
    assert html.escape(body, quote=True) in source


def test_labels_and_robustness_have_charts_where_their_tables_are(
    study: SyntheticStudy, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(data["charts"]["study"]) == {"calign_soft_runs", "calign_runs", "colap_runs"}
    assert not {"labels", "labels_shared"} & set(data["charts"]["runs"][0])
    monkeypatch.setattr(study, "labels", label_tables(study))
    monkeypatch.setattr(study, "robustness", robustness_table())
    page = Page(render(study))
    found = page.data["charts"]
    assert all({"labels", "labels_shared"} <= set(run) for run in found["runs"])
    assert set(found["study"]) == {"calign_soft_runs", "calign_runs", "colap_runs", "robustness"}
    for heading in ("What concepts are made of", "Robustness"):
        assert heading in page.text


def test_companion_measures_have_a_chart_of_their_own(study: SyntheticStudy) -> None:
    rows = [
        {"model": clustering.model, "stack": clustering.stack, "layer": clustering.layer, "source": "en"}
        | {"target": target, "metric": measure, "score": clustering.layer / 10, "chance": 0.1, "signature": "n:9"}
        for clustering in study.runs[0]
        for target in ("de", "es")
        for measure in ("mexa", "cka")
    ]
    study.results = Results(pl.concat([study.results.table, Results.from_rows(rows).table]))
    found = Page(render(study)).data["charts"]["runs"]
    (spec,) = [charts["companions"] for charts in found if "companions" in charts]  # the other model has none
    (columns,) = spec["datasets"].values()
    assert {"MEXA", "CKA", "COLAP, θ = 0.3"} <= set(columns["measure"])
