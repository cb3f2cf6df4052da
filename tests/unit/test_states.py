from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from isogloss.corpus import Corpus
from isogloss.dictionary import WordLinks
from isogloss.errors import InputError, UsageError
from isogloss.states import LayerStates, States, check_finite, select_rows

TEXTS = {
    "en": ["the cat saw the dog .", "the 2 cats , the taxi", "a taxi"],
    "de": ["die Katze sah die Ratte .", "die 2 Katzen , das taxi", "ein taxi"],
}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.from_texts(TEXTS, segmented=True)


@pytest.fixture(scope="module")
def tokens(corpus) -> pl.DataFrame:
    return corpus.words.with_columns(pl.lit(1, pl.Int16).alias("n_subwords"))


@pytest.fixture(scope="module")
def links(corpus) -> WordLinks:
    """Word i is linked with word i."""
    return WordLinks.from_pairs(
        {0: [(i, i) for i in range(6)], 1: [(i, i) for i in range(6)], 2: [(1, 1)]}, corpus, source="en", target="de"
    )


def words(tokens: pl.DataFrame, rows: np.ndarray, language: str = "en") -> list[str]:
    chosen = tokens[rows]
    return chosen.filter(pl.col("language") == language)["word"].to_list()


def test_without_bounds_everything_takes_part(tokens):
    rows = select_rows(tokens)
    assert rows.dtype == np.int64
    assert rows.tolist() == list(range(tokens.height))


def test_types_are_counted_in_their_language(tokens):
    assert words(tokens, select_rows(tokens, min_count=2)) == ["the", "the", "the", "the", "taxi", "taxi"]
    assert words(tokens, select_rows(tokens, min_count=3)) == ["the"] * 4
    assert words(tokens, select_rows(tokens, min_count=2, max_count=1)) == ["the", "taxi"]  # twice, one of them
    assert words(tokens, select_rows(tokens, min_count=3), "de") == ["die"] * 3


def test_the_first_occurrences_are_kept(tokens):
    rows = select_rows(tokens, max_count=2)
    the = tokens[rows].filter(pl.col("word") == "the")
    assert the.select("sentence", "position").rows() == [(0, 0), (0, 3)]
    assert (np.diff(rows) > 0).all()


def test_frequent_types_can_be_left_out_altogether(tokens):
    assert "the" not in words(tokens, select_rows(tokens, drop_above=3))
    assert words(tokens, select_rows(tokens, drop_above=4)).count("the") == 4
    assert words(tokens, select_rows(tokens, drop_above=3), "de").count("die") == 3
    assert words(tokens, select_rows(tokens, max_count=2, drop_above=3), "de").count("die") == 2


def test_pairs_are_counted_with_links(tokens, links):
    # the-die is linked 3 times and the-das once
    rows = select_rows(tokens, links=links, max_count=1)
    assert tokens[rows].filter(pl.col("word").is_in(["the", "die", "das"])).select(
        "language", "sentence", "position"
    ).rows() == [("en", 0, 0), ("en", 1, 4), ("de", 0, 0), ("de", 1, 4)]
    kept = words(tokens, select_rows(tokens, links=links, min_count=2))
    assert kept == ["the", "the", "the", "taxi", "taxi"]
    assert "a" not in words(tokens, select_rows(tokens, links=links))
    assert words(tokens, select_rows(tokens, links=links, drop_above=2)).count("the") == 1


def test_a_token_is_kept_when_any_pair_of_languages_keeps_it(corpus, tokens, links):
    none = {0: [], 1: []}
    other = WordLinks.from_pairs(none | {2: [(0, 0)]}, corpus, source="en", target="de")
    assert words(tokens, select_rows(tokens, links=[other])) == ["a"]
    assert words(tokens, select_rows(tokens, links=[other, links.reversed()])) == words(tokens, np.arange(14))


def test_both_ends_of_a_link_need_a_state(tokens, links):
    cut = tokens.with_columns(
        n_subwords=pl.when(pl.col("word") == "Katze").then(0).otherwise(pl.col("n_subwords")).cast(pl.Int16)
    )
    rows = select_rows(cut, links=links)
    assert "cat" not in words(tokens, rows)
    assert "Katze" not in words(tokens, select_rows(cut), "de")


def test_drops(tokens, links):
    plain = select_rows(tokens, drop=["punctuation"])
    assert set(words(tokens, np.arange(14))) - set(words(tokens, plain)) == {".", ","}
    assert set(words(tokens, np.arange(14))) - set(words(tokens, select_rows(tokens, drop=["digits"]))) == {"2"}
    shared = select_rows(tokens, drop=["identical"])
    assert set(words(tokens, np.arange(14))) - set(words(tokens, shared)) == {".", ",", "2", "taxi"}
    linked = select_rows(tokens, links=links, drop=["identical"])
    assert set(words(tokens, linked)) == {"the", "cat", "saw", "dog", "cats"}


def test_words_that_share_a_subword_are_dropped_before_anything_is_counted(tokens, links):
    dots = tokens.with_columns(shared=pl.col("word").is_in([".", "dog"]))
    assert set(words(tokens, select_rows(tokens))) - set(words(tokens, select_rows(dots, drop=["shared"]))) == {
        ".",
        "dog",
    }
    first = tokens.with_columns(shared=pl.col("row") == 0)  # the first of four "the"
    assert words(tokens, select_rows(first, drop=["shared"], min_count=4)) == []
    assert words(tokens, select_rows(first, min_count=4)) == ["the"] * 4
    alone = words(tokens, select_rows(first, links=links, drop=["shared"]), "de")
    assert alone == words(tokens, select_rows(tokens, links=links), "de")[1:]  # a link needs both its ends
    with pytest.raises(UsageError, match="needs the column 'shared' of the token table"):
        select_rows(tokens, drop=["shared"])


def test_words_of_other_scripts_are_not_punctuation(tokens):
    exotic = tokens.head(4).with_columns(word=pl.Series(["हिन्दी", "كتاب", "٣", "。"]))
    assert select_rows(exotic, drop=["punctuation"]).tolist() == [0, 1, 2]
    assert select_rows(exotic, drop=["digits"]).tolist() == [0, 1, 3]


def test_one_language_of_a_pair_keeps_its_linked_tokens(tokens, links):
    both = select_rows(tokens, links=links, drop=["identical"])
    alone = select_rows(tokens, links=links, drop=["identical"], languages=["en"])
    assert words(tokens, alone) == words(tokens, both)
    assert words(tokens, alone, "de") == []
    shared = select_rows(tokens, drop=["identical"], languages=["en"])
    assert "taxi" not in words(tokens, shared)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_count": 0}, "min_count must be a whole number from 1"),
        ({"max_count": 0}, "max_count must be a whole number from 1"),
        ({"min_count": 3, "drop_above": 2}, "drop_above must be at least min_count; got 2 and 3"),
        ({"drop": ["punct"]}, "Did you mean 'punctuation'"),
        ({"languages": ["en", "dee"]}, "Did you mean 'de'"),
    ],
)
def test_impossible_selections_are_refused(tokens, given, message):
    with pytest.raises(UsageError, match=message):
        select_rows(tokens, **given)


@pytest.fixture
def states(tokens) -> States:
    arrays = {layer: np.arange(tokens.height * 2, dtype=np.float32).reshape(-1, 2) + layer for layer in (0, 6)}
    return States(tokens, arrays, np.arange(tokens.height), "model", "encoder")


def test_selected_states_keep_their_tokens(states, links):
    kept = states.select(links=links, max_count=1)
    found = kept.at(6, language="de")
    assert found.languages == ("de",)
    assert (found.X[:, 0] == found.tokens["row"].to_numpy() * 2 + 6).all()
    assert kept.arrays is states.arrays
    assert len(states.rows) == states.tokens.height


def test_selections_add_up(states):
    twice = states.select(drop=["punctuation"]).select(max_count=1)
    assert "." not in twice.at(0, language="en").tokens["word"].to_list()
    assert twice.at(0, language="en").tokens["word"].to_list().count("the") == 1
    assert states.at(0, language=["de", "en"]).languages == ("en", "de")


def test_what_is_not_there_is_named(states):
    with pytest.raises(UsageError, match=r"unknown layer '3'.*0, 6"):
        states.at(3)
    with pytest.raises(UsageError, match="unknown language 'fr'"):
        states.at(0, language="fr")
    with pytest.raises(UsageError, match="No token of en is selected"):
        states.select(languages=["de"]).at(0, language="en")


def test_values_that_are_not_finite_are_named(states):
    found = states.at(0)
    bad = LayerStates(found.X.copy(), found.tokens, "model", "encoder", 0)
    bad.X[4, 1] = np.inf
    with pytest.raises(InputError, match=r"1 states of model/encoder layer 0 .* row 4 \('dog', en, sentence 0\)"):
        check_finite(bad)
    assert check_finite(found) is None
