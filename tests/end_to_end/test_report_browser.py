"""The report in a real browser: scripts run, choices show something else, figures can be taken away."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser import overflow, serious_findings
from isogloss.report import render
from synthetic import NASTY, SyntheticStudy, label_tables, robustness_table

Open = Callable[..., Any]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStudy:
    study = SyntheticStudy(tmp_path_factory.mktemp("study"), languages=("en", "de", "ar"), n_layers=3)
    study.labels, study.robustness = label_tables(study), robustness_table()
    return study


@pytest.fixture(scope="module")
def report(study: SyntheticStudy) -> Path:
    path = study.root / "report.html"
    path.write_text(render(study), encoding="utf-8")
    return path


@pytest.fixture
def browse(report: Path, browser_page: Any) -> Open:
    def look(address: str = "") -> Any:
        browser_page.goto("about:blank")  # another address of the same page would not load it anew
        browser_page.goto(report.as_uri() + address)
        browser_page.wait_for_selector("html[data-ready]")
        return browser_page

    return look


def words(page: Any) -> list[list[str]]:
    """Text, lang and dir of every word of the concepts."""
    script = "all => all.map(x => [x.textContent, x.getAttribute('lang'), x.getAttribute('dir')])"
    return page.eval_on_selector_all("#explorer bdi", script)


def saved(page: Any, button: str) -> tuple[str, bytes]:
    """Press a button; return the name and content of the file it gives."""
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


# -- what is chosen ---------------------------------------------------------------------------------


def test_scripts_run_to_the_end_and_draw_every_figure(browse: Open) -> None:
    page = browse()
    assert not page.get_attribute("html", "data-error")
    # curves (soft CALIGN among them), those of sentences, map, heat maps, directions and labels of one model, the
    # robustness map, and both models side by side
    assert page.locator("svg.marks:visible").count() == 15
    assert "en → de" in page.inner_text("#explorer")  # the first pair
    # every section that is shown is in the contents, none that is not
    headings = page.locator("main > section:not([hidden]) > h2").all_inner_texts()
    assert page.locator("#contents a").all_inner_texts() == headings[1:]
    assert "Before and after fine-tuning" not in headings


def test_the_address_chooses_layer_and_pair(browse: Open) -> None:
    found = []
    for address in ("#layer=0&pair=en-ar", "#run=2&layer=2&pair=ar-en"):
        page = browse(address)
        text = page.inner_text("#explorer")
        assert "en → ar" in text
        assert "en → de" not in text
        found.append(words(page))
    shallow, deep = found
    assert shallow != deep
    assert len(deep) > 20


def test_words_are_text_with_their_language_and_direction(browse: Open) -> None:
    found = words(browse("#layer=2&pair=en-de"))
    assert set(NASTY) <= {text for text, _, _ in found}
    assert {(lang, direction) for _, lang, direction in found} == {("en", "auto"), ("de", "auto")}


def test_the_whole_group_can_be_shown(browse: Open) -> None:
    page = browse("#layer=2&pair=all")
    assert "Shared concepts" in page.inner_text("#explorer")
    assert {lang for _, lang, _ in words(page)} == {"en", "de", "ar"}


def test_the_layer_of_map_and_concepts_is_one_and_moves_by_the_keyboard(browse: Open, study: SyntheticStudy) -> None:
    page = browse("#layer=2")
    before = page.inner_html("#fig-map .chart"), words(page)
    page.focus("#map-layer")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#map-layer", "aria-valuetext") == "layer 1"
    assert page.input_value("#layer") == "1"
    assert "layer=1" in page.url
    after = page.inner_html("#fig-map .chart"), words(page)
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert "at layer 1" in page.get_attribute("#fig-map .chart", "aria-label")
    table = study.results.only(metric="calign", theta=0.5, layer=1, model="tiny")
    shown = page.locator("#fig-map svg text").all_text_contents()
    cells = [float(x.strip("()").replace("−", "-")) for x in shown if "." in x]
    assert sorted(cells) == pytest.approx(sorted(table["adjusted"]), abs=0.0051)
    page.select_option("#layer", "0")
    assert page.input_value("#map-layer") == "0"
    assert "at layer 0" in page.get_attribute("#fig-map .chart", "aria-label")


def test_the_map_can_be_of_overlap_and_of_another_model(browse: Open, study: SyntheticStudy) -> None:
    page = browse("#layer=1")
    page.select_option("#map-metric", "colap")
    page.wait_for_function("document.querySelector('#fig-map .chart').ariaLabel.startsWith('COLAP')")
    page.select_option("#run", "1")
    page.wait_for_function("document.querySelector('#fig-map .tools').ariaLabel.includes('tiny-tuned')")
    drawn = rows(saved(page, "#fig-map [data-save=CSV]")[1])
    table = study.results.only(metric="colap", theta=0.3, layer=1, model="tiny-tuned")
    both_ways = sorted([*table["score"], *table["score"]])
    assert sorted(float(row["score"]) for row in drawn) == pytest.approx(both_ways)


# -- what is taken away -----------------------------------------------------------------------------


def test_the_rows_of_a_figure_are_taken_away_as_csv(browse: Open, study: SyntheticStudy) -> None:
    name, content = saved(browse("#run=2"), "#fig-calign [data-save=CSV]")
    assert name == "Five-tongues-calign-tiny-tuned-encoder.csv"
    drawn = rows(content)
    table = study.results.only(metric="calign_mean", theta=0.5, model="tiny-tuned")
    assert sorted(float(row["score"]) for row in drawn) == pytest.approx(sorted(table["score"]), abs=1e-4)
    assert {row["pair"] for row in drawn} == {"en – de", "en – ar", "de – ar"}
    assert not {"kind", "at", "colour"} & set(drawn[0]), "only what a reader can use"


def test_all_results_are_taken_away_as_csv(browse: Open, study: SyntheticStudy) -> None:
    name, content = saved(browse(), "#csv")
    assert name == "results.csv"
    table = study.results.table
    assert [row["signature"] for row in rows(content)] == table["signature"].to_list()


@pytest.mark.parametrize("figure", ["calign", "map", "robustness", "calign_languages"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_drawings_are_whole_on_white_paper_with_their_title(browse: Open, figure: str, theme: str) -> None:
    page = browse()
    page.select_option("#theme", theme)
    name, content = saved(page, f"#fig-{figure} [data-save=SVG]")
    svg = content.decode()
    assert name.startswith("Five-tongues-")
    assert name.endswith(".svg")
    assert svg.startswith("<svg")
    assert "currentColor" not in svg
    assert 'fill="#ffffff"' in svg
    assert "<desc>" in svg
    assert ("Does the ordering survive" if figure == "robustness" else "θ = 0.5") in svg
    name, content = saved(page, f"#fig-{figure} [data-save=PNG]")
    assert name.endswith(".png")
    assert content.startswith(b"\x89PNG")
    width = float(svg.partition('width="')[2].partition('"')[0])
    assert struct.unpack(">I", content[16:20])[0] == pytest.approx(3 * width, abs=3)


def test_a_table_stands_in_for_the_figure(browse: Open) -> None:
    page = browse("#layer=2")
    button, table = page.locator("#fig-map [data-save=Table]"), page.locator("#fig-map .figure-table")
    assert button.get_attribute("aria-expanded") == "false"
    assert not table.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert table.locator("tbody tr").count() == 6
    assert "at layer 2" in table.locator("caption").inner_text()
    page.select_option("#layer", "0")  # an open table goes with its figure
    assert "at layer 0" in table.locator("caption").inner_text()
    button.click()
    assert not table.is_visible()


# -- for every reader -------------------------------------------------------------------------------


def test_figures_are_images_with_a_sentence(browse: Open) -> None:
    page = browse()
    for figure in page.locator("figure:visible .chart").all():
        assert figure.get_attribute("role") == "img"
        assert figure.get_attribute("aria-label").endswith(".")


def test_the_theme_is_chosen_and_kept(browse: Open) -> None:
    page = browse()
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.select_option("#theme", "dark")
    dark = page.evaluate(paper)
    assert light != dark
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate(paper) == dark
    assert page.input_value("#theme") == "dark"
    page.select_option("#theme", "")
    assert page.evaluate(paper) == light


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["wide", "phone"])
def test_nothing_serious_is_found_by_axe(browse: Open, browser_page: Any, theme: str, phone: bool) -> None:
    if phone:
        browser_page.set_viewport_size(PHONE)
    page = browse("#layer=2")
    page.select_option("#theme", theme)
    page.click("#fig-calign [data-save=Table]")
    assert serious_findings(page) == []


def test_a_phone_shows_everything_without_scrolling_sideways(browse: Open, browser_page: Any) -> None:
    browser_page.set_viewport_size(PHONE)
    page = browse()
    assert overflow(page) == 0
    for svg in page.locator("svg.marks:visible").all():
        assert svg.bounding_box()["width"] <= PHONE["width"]


def test_paper_has_figures_and_no_buttons(browse: Open) -> None:
    page = browse()
    page.select_option("#theme", "dark")
    page.emulate_media(media="print")
    for gone in ("#theme", "#csv", "#fig-calign .tools", "#map-layer", "#contents"):
        assert not page.locator(gone).is_visible(), gone
    assert page.locator("#fig-calign svg").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
