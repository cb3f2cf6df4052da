"""What every aligner keeps to: the three that isogloss brings, and one of a user's own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from isogloss import Corpus, WordLinks
from isogloss.aligners import ALIGNERS, METHODS, Bitext, align_words
from isogloss.aligners.protocol import as_links
from isogloss.dictionary import LINK_COLUMNS
from isogloss.states import States

EMPTY = 3  # the sentence without words in Spanish


class Ends:
    """Links the first words and the last words, unsorted and twice."""

    name = "ends"

    def align(self, bitext: Bitext):
        sides = zip(bitext.source_words, bitext.target_words, strict=True)
        last = [(p, len(a) - 1, len(b) - 1) for p, (a, b) in enumerate(sides)]
        return as_links([*last, *[(p, 0, 0) for p in range(len(bitext))], *last])


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    generator = np.random.default_rng(0)
    english = [[f"w{x}" for x in generator.zipf(1.5, size=generator.integers(1, 9)) % 50] for _ in range(40)]
    spanish = [[f"T{word}" for word in words[::-1]] for words in english]
    texts = {"en": [" ".join(x) for x in english], "es": [" ".join(x) for x in spanish]}
    whole = Corpus.from_texts(texts, segmented=True)
    # Numbers have gaps (sentences 10 to 12 are gone), and one sentence is empty on one side.
    gaps = ~pl.col("sentence").is_between(10, 12)
    words = whole.words.filter(gaps & ~((pl.col("language") == "es") & (pl.col("sentence") == EMPTY)))
    words = words.with_columns(pl.int_range(words.height, dtype=pl.Int64).alias("row"))
    return Corpus(whole.sentences.filter(gaps), words, whole.languages)


@pytest.fixture(scope="module")
def states(corpus) -> States:
    generator = np.random.default_rng(1)
    meanings = {f"w{x}": generator.normal(size=8) for x in range(50)}
    X = np.array([meanings[word.removeprefix("T")] for word in corpus.words["word"]], dtype=np.float32)
    tokens = corpus.words.with_columns(pl.lit(1, dtype=pl.Int16).alias("n_subwords"))
    return States(tokens, {2: X}, np.arange(len(X)), "toy", "encoder")


@pytest.fixture(params=[*ALIGNERS, "model-argmax", "own"])
def link(request, corpus, states):
    """Return a function that aligns `corpus` with one aligner; options may be added."""
    if request.param == "eflomal":
        pytest.importorskip("eflomal", reason="the extra 'eflomal' is not installed")
    options = {
        "model": {"aligner": "model", "states": states, "layer": 2},
        "model-argmax": {"aligner": "model", "states": states, "layer": 2, "matching": "argmax"},
        "own": {"aligner": Ends()},
    }.get(request.param, {"aligner": request.param})
    return lambda **more: align_words(corpus, source="en", target="es", **options, **more)


def test_links_are_a_sorted_table_without_repeats(link) -> None:
    links = link()
    assert isinstance(links, WordLinks)
    assert (links.source, links.target) == ("en", "es")
    assert dict(links.table.schema) == LINK_COLUMNS
    places = links.table.select("sentence", "source_position", "target_position").rows()
    assert places == sorted(set(places))
    assert len(places) > 30


def test_links_name_the_words_of_the_corpus(link, corpus) -> None:
    words = {row[:3]: row[3] for row in corpus.words.select("language", "sentence", "position", "word").rows()}
    for sentence, i, j, source, target in link().table.rows():
        assert words["en", sentence, i] == source
        assert words["es", sentence, j] == target


def test_an_empty_side_gets_no_links_and_numbers_stay(link) -> None:
    numbers = set(link().table["sentence"].to_list())
    assert not numbers & {EMPTY, 10, 11, 12}
    assert max(numbers) > 30


def test_the_corpus_is_not_changed(link, corpus) -> None:
    before = corpus.words.clone(), corpus.sentences.clone()
    link()
    assert before[0].equals(corpus.words)
    assert before[1].equals(corpus.sentences)


def test_aligners_have_a_name_that_later_rooms_can_read(link, request) -> None:
    kind = request.node.callspec.params["link"]
    expected = {"model": "model:toy:2", "model-argmax": "model:toy:2", "own": "ends"}.get(kind, kind)
    assert link().aligner == expected


def test_twice_the_same(link, request) -> None:
    if request.node.callspec.params["link"] == "eflomal":
        pytest.skip("eflomal samples; its links differ from run to run")
    assert link().table.equals(link().table)


def test_every_symmetrisation_is_taken(link, request) -> None:
    found = {method: set(link(symmetrise=method).table.rows()) for method in METHODS}
    if request.node.callspec.params["link"] == "eflomal":
        assert all(found.values())  # each is another sample, so they are not nested
    else:
        assert all(found["intersection"] <= links <= found["union"] for links in found.values())
