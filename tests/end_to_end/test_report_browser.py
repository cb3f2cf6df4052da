"""The report in a real browser: scripts run, choices show other concepts, words stay text."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from isogloss.report import render
from synthetic import NASTY, SyntheticStudy, label_tables, robustness_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    *("--virtual-time-budget=10000", "--window-size=1200,2000", "--dump-dom"),
)
Browse = Callable[[str], "Dom"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


class Dom(HTMLParser):
    """What the page became: the attributes of its root, and the text and words of the explorer."""

    def __init__(self, source: str, console: str) -> None:
        super().__init__()
        self.root = source[: source.index("<head")]
        self.console = [line for line in console.splitlines() if "CONSOLE" in line]
        self.charts = source.count('class="marks"')
        self.words: list[tuple[str, str | None, str | None]] = []  # text, lang and dir of every <bdi>
        self.explorer = ""
        self._tag = ""
        self.feed(source.partition('id="explorer"')[2].partition("</section>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag == "bdi":
            found = dict(attrs)
            self.words.append(("", found.get("lang"), found.get("dir")))

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        self.explorer += data
        if self._tag == "bdi":
            text, lang, direction = self.words[-1]
            self.words[-1] = (text + data, lang, direction)


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Browse:
    folder = tmp_path_factory.mktemp("browser")
    study = SyntheticStudy(folder, languages=("en", "de", "ar"), n_layers=3)
    study.labels, study.robustness = label_tables(study), robustness_table()
    report = folder / "report.html"
    report.write_text(render(study), encoding="utf-8")

    def look(address: str) -> Dom:
        profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
        command = [str(CHROMIUM), *FLAGS, profile, f"{report.as_uri()}{address}"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=120)
        return Dom(done.stdout.decode(), done.stderr.decode())

    return look


def test_scripts_run_to_the_end_without_a_word_on_the_console(browse: Browse) -> None:
    dom = browse("")
    assert 'data-ready="yes"' in dom.root
    assert "data-error" not in dom.root
    assert dom.console == []
    # curves, heat maps, directions and labels of one model, the robustness map, and both models side by side
    assert dom.charts == 10
    assert "en → de" in dom.explorer  # the first pair


def test_the_address_chooses_layer_and_pair(browse: Browse) -> None:
    shallow, deep = browse("#layer=0&pair=en-ar"), browse("#run=2&layer=2&pair=ar-en")
    for dom in (shallow, deep):
        assert "en → ar" in dom.explorer
        assert "en → de" not in dom.explorer
    assert shallow.words != deep.words
    assert len(deep.words) > 20


def test_words_are_text_with_their_language_and_direction(browse: Browse) -> None:
    dom = browse("#layer=2&pair=en-de")
    texts = {text for text, _, _ in dom.words}
    assert set(NASTY) <= texts
    assert {(lang, direction) for _, lang, direction in dom.words} == {("en", "auto"), ("de", "auto")}


def test_the_whole_group_can_be_shown(browse: Browse) -> None:
    dom = browse("#layer=2&pair=all")
    assert "Shared concepts" in dom.explorer
    assert {lang for _, lang, _ in dom.words} == {"en", "de", "ar"}
