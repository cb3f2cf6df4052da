"""What nouns show in a notebook: figures and words, all of them escaped, on pages of any colour."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isogloss.concepts import Concepts
from isogloss.coordinates import Pair, Space
from isogloss.corpus import Corpus
from isogloss.dictionary import LINK_COLUMNS, TranslationDictionary, WordLinks
from isogloss.html import Markup, card, grid, text, word, words
from isogloss.results import RESULT_COLUMNS, Results
from isogloss.states import States
from isogloss.study import FinishedStudy
from isogloss.tasks import FineTuned
from synthetic import NASTY, SyntheticStudy

VOID = {"br", "hr", "img"}


class Page(HTMLParser):
    """Reads HTML strictly: tags close in order; keeps tags and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data

    def rows(self) -> int:
        return sum(tag == "tr" for tag, _ in self.tags)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStudy:
    return SyntheticStudy(tmp_path_factory.mktemp("study"), languages=("en", "de", "ar"), n_layers=2)


@pytest.fixture(scope="module")
def corpus(study: SyntheticStudy) -> Corpus:
    return Corpus.from_texts({"en": [NASTY[0], "a house"], "ar": ["بيت كبير", "باب"]})


@pytest.fixture(scope="module")
def nouns(study: SyntheticStudy, corpus: Corpus) -> dict[str, object]:
    run = study.runs[0]
    links = WordLinks(
        "en", "ar", pl.DataFrame([(0, 0, 0, NASTY[0], "بيت")], schema=LINK_COLUMNS, orient="row"), aligner="<b>mine</b>"
    )
    tokens = corpus.words.with_columns(pl.lit(1, pl.Int16).alias("n_subwords"))
    states = States(tokens, {0: np.zeros((tokens.height, 3), np.float16)}, tokens["row"].to_numpy(), "<i>m", "encoder")
    return {
        "Corpus": corpus,
        "WordLinks": links,
        "TranslationDictionary": study.dictionary(Pair("en", "de")),
        "States": states,
        "Concepts": study.concepts(run[0].at(1), Space.named("en+ar")),
        "CALIGN": study.alignment(run[0].at(1), Pair("en", "de")),
        "COLAP": study.overlap(run[0].at(1), Space.of("en", "ar")),
        "Results": study.results,
    }


NAMES = ("Corpus", "WordLinks", "TranslationDictionary", "States", "Concepts", "CALIGN", "COLAP", "Results")


@pytest.mark.parametrize("name", NAMES)
def test_a_noun_is_a_card_of_escaped_text_without_colours(nouns: dict[str, object], name: str) -> None:
    source = nouns[name]._repr_html_()  # type: ignore[attr-defined]
    page = Page(source)
    assert page.said.startswith(name)
    assert page.rows() > 1
    assert {tag for tag, _ in page.tags} <= {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "bdi"}
    assert not re.search(r"#[0-9a-f]{3}|\brgb|(?<!-)color:(?!color-mix)|background:(?!none)", source)
    assert "nan" not in page.said.lower()


def test_nasty_words_are_shown_as_they_are(nouns: dict[str, object]) -> None:
    for name, nasty in (("WordLinks", NASTY[0]), ("TranslationDictionary", NASTY[0]), ("Corpus", NASTY[0])):
        source = nouns[name]._repr_html_()  # type: ignore[attr-defined]
        assert nasty not in source
        assert nasty in Page(source).said


def test_words_carry_their_language_and_direction(nouns: dict[str, object]) -> None:
    page = Page(nouns["Concepts"]._repr_html_())  # type: ignore[attr-defined]
    marks = [attributes for tag, attributes in page.tags if tag == "bdi"]
    assert {mark["lang"] for mark in marks} == {"en", "ar"}
    assert {mark["dir"] for mark in marks} == {"auto"}


def test_an_alignment_shows_chance_interval_and_the_words_that_meet(study: SyntheticStudy) -> None:
    found = study.alignment(study.runs[0][0].at(1), Pair("en", "de"))
    figure = replace(found.estimates[0], chance=0.125, ci_low=0.25, ci_high=0.75)
    said = Page(replace(found, estimates=(figure,))._repr_html_()).said
    assert "0.125" in said
    assert "0.250 to 0.750" in said
    assert "bread – Brot" in said


def test_concepts_show_the_biggest_first_and_say_how_many_more(study: SyntheticStudy) -> None:
    tokens = study.tokens.head(30)
    labels = np.repeat(np.arange(10), [1, 9, 2, 2, 2, 2, 2, 2, 4, 4]).astype(np.int32)
    page = Page(Concepts(tokens, labels, 12)._repr_html_())
    assert page.rows() == 9
    assert re.match(r"Concepts.*concepttokensen19", page.said)
    assert "2 more" in page.said


def test_empty_nouns_are_cards_too(study: SyntheticStudy) -> None:
    tokens = study.tokens.head(0)
    empty = [
        Results(pl.DataFrame(schema=RESULT_COLUMNS)),
        WordLinks("en", "de", pl.DataFrame(schema=LINK_COLUMNS)),
        TranslationDictionary("en", "de", study.dictionary(Pair("en", "de")).table.head(0)),
        Concepts(tokens, np.empty(0, np.int32), 0),
        Concepts(study.tokens.head(2), np.array([-1, -1], np.int32), 3),
        States(tokens.with_columns(n_subwords=pl.lit(0, pl.Int16)), {}, np.empty(0, np.int64), "m", "encoder"),
    ]
    for noun in empty:
        assert Page(noun._repr_html_()).rows() <= 1, noun  # type: ignore[attr-defined]


def test_a_study_and_a_fine_tuned_model_are_cards(study: SyntheticStudy, tmp_path: Path) -> None:
    opened = FinishedStudy(tmp_path, study.config, study.results, {"languages": ["en"], "warnings": ["<b>!"]})
    said = Page(opened._repr_html_()).said
    assert "Five tongues" in said
    assert "tiny-tuned" in said
    assert "<b>!" in said
    columns = {"step": 5, "epoch": 0.5, "loss": 0.25, "rate": 1e-3, "dev_loss": 0.5, "dev_score": 0.75}
    pl.DataFrame([columns, {**columns, "dev_score": math.nan}]).write_parquet(tmp_path / "curve.parquet")
    tuned = FineTuned(tmp_path, "ner", ("B-<PER>",), None, ("en",), 5, 0.75, "key")
    page = Page(tuned._repr_html_())
    assert "B-<PER>" in page.said
    assert page.rows() == 2


def test_pieces() -> None:
    assert text(Markup("<b>")) == "<b>"
    assert text("<b>") == "&lt;b&gt;"
    assert text(math.nan) == ""
    assert word('"', '"') == '<bdi dir="auto">&quot;</bdi>'
    assert word("x", "cmn_Hans") == '<bdi lang="zh-Hans" dir="auto">x</bdi>'
    assert words(["a", "b"], "en").count("<bdi") == 2
    assert grid(["a"], []) == ""
    shown = Page(card("T", {"a": 1, "b": None}, grid(["<h>"], [["<c>"]]), note="<n>")).said
    assert shown == "T a 1<h><c><n>"
