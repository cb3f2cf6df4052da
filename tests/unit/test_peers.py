"""Reading the files of the paper's programs; their answers on whole cases are in ``tests/reference``."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isogloss.corpus import Corpus
from isogloss.dictionary import WordLinks
from isogloss.errors import InputError, UsageError
from isogloss.metrics import calign, colap
from isogloss.peers import read_clusters, read_dictionary
from isogloss.states import select_rows

EN = "dog|||1|||0|||1|||12\ncat|||1|||1|||1|||12\nthe|||1|||0|||0|||-3\n"
DE = "Hund|||1|||0|||1|||7\nKatze|||1|||1|||1|||7\n"
BOTH = "dog|||1|||0|||1|||5\nHund|||1|||2|||1|||5\nthe|||1|||1|||0|||4\na|||1|||1|||0|||5\n"
WORDS = "dog -> Hund: Probability = 0.4, Count = 2\ndog -> Tier: Probability = 0.6, Count = 3\n"


def file(folder: Path, text: str) -> Path:
    path = folder / "given.txt"
    path.write_bytes(text.encode())
    return path


def test_clusters_of_one_language(tmp_path):
    concepts, ids = read_clusters(file(tmp_path, EN), language="en")
    assert ids == (12, -3)
    assert concepts.labels.tolist() == [0, 0, 1]
    assert concepts.languages == ("en",)
    assert concepts.tokens.rows() == [(0, "en", 0, 1, "dog"), (1, "en", 1, 1, "cat"), (2, "en", 0, 0, "the")]


def test_clusters_of_two_languages_are_told_apart_by_the_sentence(tmp_path):
    concepts, ids = read_clusters(file(tmp_path, BOTH), languages=("en", "de"), boundary=1)
    assert ids == (5, 4)
    assert concepts.tokens["language"].to_list() == ["en", "de", "en", "en"]
    shifted, _ = read_clusters(file(tmp_path, BOTH), languages=("en", "de"), boundary=0)
    assert shifted.tokens["language"].to_list() == ["en", "de", "de", "de"]
    found = colap(concepts, theta_overlap=0.3, languages=("en", "de"), rule="paper-code")
    assert found.counts.tolist() == [[2, 1], [1, 0]]
    assert found.score == 0.5


def test_the_dictionary_keeps_the_order_of_the_file(tmp_path):
    dictionary = read_dictionary(file(tmp_path, WORDS), source="en", target="de")
    assert dictionary.table.rows() == [("dog", "Hund", 2, 0.4), ("dog", "Tier", 3, 0.6)]
    assert dictionary.top(1).table["target"].to_list() == ["Hund"]


def test_calign_from_their_files(tmp_path):
    source, source_ids = read_clusters(file(tmp_path, EN), language="en")
    target, target_ids = read_clusters(file(tmp_path, DE), language="de")
    words = read_dictionary(file(tmp_path, WORDS), source="en", target="de").top(1)
    found = calign(source, target, words, theta_align=0.4, min_types=1, rule="paper-code")
    pairs = found.aligned().select("source_concept", "target_concept").rows()
    assert [(source_ids[s], target_ids[t]) for s, t in pairs] == [(12, 7)]
    assert found.score == 0.5


def test_colons_and_pipes_are_words(tmp_path):
    text = ": -> :: Probability = 1.0, Count = 3\nNew York -> a|||b: Probability = 1e-05, Count = 1\n"
    dictionary = read_dictionary(file(tmp_path, text), source="en", target="de")
    assert dictionary.table.select("source", "target").rows() == [(":", ":"), ("New York", "a|||b")]


def test_lines_end_as_in_text_mode(tmp_path):
    text = EN.replace("\n", "\r\n", 1).replace("-3\n", "-3\r")
    assert read_clusters(file(tmp_path, text), language="en")[0].labels.tolist() == [0, 0, 1]
    marked, _ = read_clusters(file(tmp_path, "\ufeff" + EN), language="en")
    assert marked.tokens["word"][0] == "\ufeffdog"


def test_places_may_be_missing_in_the_clusters_of_one_language(tmp_path):
    text = f"dog|||3\ncat|||1|||{2**40}|||0|||3\n"
    concepts, ids = read_clusters(file(tmp_path, text), language="en")
    assert concepts.tokens.select("sentence", "position").rows() == [(-1, -1), (-1, -1)]
    assert ids == (3,)


def test_an_empty_file_has_no_concepts(tmp_path):
    concepts, ids = read_clusters(file(tmp_path, ""), language="en")
    assert (concepts.n_concepts, len(concepts.labels), ids) == (0, 0, ())
    assert len(read_dictionary(file(tmp_path, ""), source="en", target="de")) == 0


@pytest.mark.parametrize("bad", ["", "dog", "dog|||1|||0|||0|||", "dog|||1|||0|||0|||x"])
def test_a_malformed_cluster_line_is_named(tmp_path, bad):
    path = file(tmp_path, f"{EN}{bad}\n{EN}")
    with pytest.raises(InputError, match=r"given\.txt, line 4: expected word\|\|\|"):
        read_clusters(path, language="en")


@pytest.mark.parametrize(
    "bad", ["", "dog|||3", "a|||1|||x|||0|||0", f"a|||1|||{2**31}|||0|||0", "a|||1|||0|||40000|||0"]
)
def test_a_malformed_line_of_two_languages_is_named(tmp_path, bad):
    path = file(tmp_path, f"{BOTH}{bad}\n")
    with pytest.raises(InputError, match=r"given\.txt, line 5: expected word\|\|\|"):
        read_clusters(path, languages=("en", "de"), boundary=1)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "dog Hund",
        "dog -> Hund: Probability = x, Count = 1",
        "dog -> Hund: Probability = 0.5, Count = 1.0",
        "dog -> Hund: Probability = 0.5",
        "-> -> Pfeil: Probability = 0.5, Count = 1",
        f"dog -> Hund: Probability = 0.5, Count = {2**63}",
    ],
)
def test_a_malformed_dictionary_line_is_named(tmp_path, bad):
    path = file(tmp_path, f"{WORDS}{bad}\n")
    with pytest.raises(InputError, match=r"given\.txt, line 3: expected 'source -> target"):
        read_dictionary(path, source="en", target="de")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"language": "en", "languages": ("en", "de"), "boundary": 1},
        {"language": "en", "boundary": 1},
        {"languages": ("en", "de")},
        {"boundary": 1},
    ],
)
def test_either_one_language_or_two_with_their_boundary(tmp_path, given):
    with pytest.raises(UsageError, match="takes language='en'"):
        read_clusters(file(tmp_path, EN), **given)


@pytest.mark.parametrize("boundary", ["10.5", "10", 10.5, 1.0, True, [1], (1,), math.nan, b"1", np.float64(1), {}, ""])
def test_a_boundary_is_a_whole_number(tmp_path, boundary):
    with pytest.raises(UsageError, match=r"boundary must be a whole number.*; got"):
        read_clusters(file(tmp_path, BOTH), languages=("en", "de"), boundary=boundary)


@pytest.mark.parametrize("boundary", [np.int16(1), np.uint8(1)])
def test_whole_numbers_of_numpy_are_boundaries(tmp_path, boundary):
    concepts, _ = read_clusters(file(tmp_path, BOTH), languages=("en", "de"), boundary=boundary)
    assert concepts.tokens["language"].to_list() == ["en", "de", "en", "en"]


def test_a_boundary_beyond_any_sentence(tmp_path):
    for boundary, language in ((10**15, "en"), (-(10**15), "de")):
        concepts, _ = read_clusters(file(tmp_path, BOTH), languages=("en", "de"), boundary=boundary)
        assert set(concepts.tokens["language"]) == {language}


@pytest.mark.parametrize("languages", ["ende", ("en",), ("en", "de", "fr"), ("en", 1), ("en", "en"), 3, {"en", "de"}])
def test_languages_are_two_names(tmp_path, languages):
    with pytest.raises(UsageError, match=r"languages (must be 2 values|are two different names)"):
        read_clusters(file(tmp_path, BOTH), languages=languages, boundary=1)
    with pytest.raises(UsageError, match="language must be text"):
        read_clusters(file(tmp_path, EN), language=3)


def test_the_filters_keep_one_of_what_occurs_twice_as_theirs_do():
    """Run once with their programs: ``--minimum-frequency 2 --maximum-frequency 1``."""
    corpus = Corpus.from_texts(
        {"s": ["a b a c", "b a d a", "c a e"], "t": ["A B A C", "B A D A", "C A E"]}, segmented=True
    )
    tokens = corpus.words.with_columns(pl.lit(1, pl.Int16).alias("n_subwords"))
    mine = tokens.filter(pl.col("language") == "s")
    assert select_rows(mine, min_count=2, max_count=1).tolist() == [0, 1, 3]
    assert select_rows(mine, min_count=5, max_count=2).tolist() == [0, 2]

    lines = {"s": ["a b", "a b", "a c"], "t": ["A B", "A B", "A C"]}
    corpus = Corpus.from_texts(lines, segmented=True)
    tokens = corpus.words.with_columns(pl.lit(1, pl.Int16).alias("n_subwords"))
    links = WordLinks.from_pairs({i: [(0, 0), (1, 1)] for i in range(3)}, corpus, source="s", target="t")
    kept = tokens[select_rows(tokens, links=links, min_count=2, max_count=1)]
    assert kept.select("language", "sentence", "position").rows() == [(x, 0, i) for x in "st" for i in (0, 1)]
