"""Word links and dictionaries: counting, order, files."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss import Corpus, TranslationDictionary, WordLinks
from isogloss.errors import InputError, UsageError


@pytest.fixture
def corpus() -> Corpus:
    return Corpus.from_texts(
        {"en": ["a red car", "red", "old car"], "de": ["ein rotes Auto", "rot", "Auto alt"]}, segmented=True
    )


@pytest.fixture
def links(corpus) -> WordLinks:
    pairs = {0: [(2, 2), (1, 1), (0, 0), (1, 1)], 1: [(0, 0)], 2: [(0, 1), (1, 0)]}
    return WordLinks.from_pairs(pairs, corpus, source="en", target="de")


def translations(dictionary: TranslationDictionary) -> list[tuple]:
    return dictionary.table.rows()


# -- links --------------------------------------------------------------------------------------


def test_links_are_sorted_and_without_repeats(links) -> None:
    assert links.table.rows() == [
        (0, 0, 0, "a", "ein"),
        (0, 1, 1, "red", "rotes"),
        (0, 2, 2, "car", "Auto"),
        (1, 0, 0, "red", "rot"),
        (2, 0, 1, "old", "alt"),
        (2, 1, 0, "car", "Auto"),
    ]
    assert links.aligner == "file"


def test_reversed_exchanges_sides_and_keeps_order(links) -> None:
    back = links.reversed()
    assert (back.source, back.target) == ("de", "en")
    assert back.table.rows()[-2:] == [(2, 0, 1, "Auto", "car"), (2, 1, 0, "alt", "old")]
    assert back.reversed().table.equals(links.table)


@pytest.mark.parametrize("place", [(3, 0), (0, 3), (-1, 0)])
def test_a_link_outside_its_sentence_is_named(corpus, place) -> None:
    with pytest.raises(InputError, match=rf"sentence 0: link {place[0]}-{place[1]} is outside 3 source and 3 target"):
        WordLinks.from_pairs({0: [place], 1: [], 2: []}, corpus, source="en", target="de")


def test_a_sentence_without_an_entry_is_named(corpus) -> None:
    with pytest.raises(InputError, match="none given for sentence 2, 2 given in all"):
        WordLinks.from_pairs({0: [], 1: []}, corpus, source="en", target="de")


def test_links_survive_a_parquet_file(links, tmp_path) -> None:
    links.write(tmp_path / "en-de.parquet")
    read = WordLinks.read(tmp_path / "en-de.parquet", source="en", target="de", aligner="diagonal")
    assert read.table.equals(links.table)
    assert read.aligner == "diagonal"


# -- Pharaoh files ------------------------------------------------------------------------------


def test_pharaoh_has_a_line_a_sentence(links, corpus, tmp_path) -> None:
    path = tmp_path / "links"
    path.write_text("0-0 1-1 2-2\n0-0\n0-1 1-0\n\n")
    assert WordLinks.read_pharaoh(path, corpus, source="en", target="de").table.equals(links.table)


def test_possible_links_and_empty_lines_are_read(corpus, tmp_path) -> None:
    path = tmp_path / "links"
    path.write_text("1p1 0-0\n\n0-0\n")
    found = WordLinks.read_pharaoh(path, corpus, source="en", target="de")
    assert found.table["sentence"].to_list() == [0, 0, 2]


@pytest.mark.parametrize("item", ["0:0", "0-", "a-b", "0-0-0", "²-0", "٣-0", "0-" + "9" * 5000])
def test_what_is_no_link_is_named_with_its_line(corpus, tmp_path, item) -> None:
    path = tmp_path / "links"
    path.write_text(f"0-0\n0-0 {item}\n0-0\n")
    with pytest.raises(InputError, match=f"line 2: '{item[:60]}' is not a link"):
        WordLinks.read_pharaoh(path, corpus, source="en", target="de")


def test_too_few_lines_are_refused(corpus, tmp_path) -> None:
    path = tmp_path / "links"
    path.write_text("0-0\n0-0\n")
    with pytest.raises(InputError, match="none given for sentence 2"):
        WordLinks.read_pharaoh(path, corpus, source="en", target="de")


# -- dictionaries -------------------------------------------------------------------------------


def test_probabilities_are_shares_of_the_source_word(links) -> None:
    assert translations(links.dictionary()) == [
        ("a", "ein", 1, 1.0),
        ("car", "Auto", 2, 1.0),
        ("old", "alt", 1, 1.0),
        ("red", "rot", 1, 0.5),
        ("red", "rotes", 1, 0.5),
    ]
    assert links.dictionary().induced_by == "file"
    assert len(links.dictionary()) == 4


def test_ties_are_broken_by_the_word_so_that_the_best_are_always_the_same(links) -> None:
    best = links.dictionary(top=1)
    assert [row[:2] for row in translations(best)] == [("a", "ein"), ("car", "Auto"), ("old", "alt"), ("red", "rot")]


def test_min_count_leaves_probabilities_as_they_were(links) -> None:
    assert translations(links.dictionary(min_count=2)) == [("car", "Auto", 2, 1.0)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=30), st.integers(1, 3))
def test_top_keeps_the_most_probable(pairs, n) -> None:
    rows = [(s, 0, 0, a, b) for s, (a, b) in enumerate(pairs)]
    table = pl.DataFrame(
        rows, schema=["sentence", "source_position", "target_position", "source_word", "target_word"], orient="row"
    )
    whole = WordLinks("s", "t", table).dictionary()
    for word in {a for a, _ in pairs}:
        counts = sorted((-pairs.count((word, b)), b) for b in {b for a, b in pairs if a == word})
        kept = whole.top(n).table.filter(pl.col("source") == word)
        assert list(zip(kept["count"], kept["target"], strict=True)) == [(-c, b) for c, b in counts[:n]]
        assert whole.table.filter(pl.col("source") == word)["probability"].sum() == pytest.approx(1)


def test_top_must_be_positive(links) -> None:
    with pytest.raises(UsageError, match="got 0"):
        links.dictionary().top(0)


def test_file_order_is_kept_when_asked() -> None:
    table = pl.DataFrame(
        {"source": ["b", "b", "a"], "target": ["z", "y", "x"], "count": [1, 9, 1], "probability": [0.1, 0.9, 1.0]}
    )
    assert TranslationDictionary("s", "t", table).table["target"].to_list() == ["x", "y", "z"]
    kept = TranslationDictionary("s", "t", table, file_order=True)
    assert kept.table["target"].to_list() == ["z", "y", "x"]
    assert kept.top(1).table["target"].to_list() == ["z", "x"]


def test_a_dictionary_survives_a_parquet_file(links, tmp_path) -> None:
    links.dictionary().write(tmp_path / "d.parquet")
    read = TranslationDictionary.read(tmp_path / "d.parquet", source="en", target="de", induced_by="diagonal")
    assert read.table.equals(links.dictionary().table)


# -- MUSE files ---------------------------------------------------------------------------------


def test_muse_shares_probability_and_drops_repeats(tmp_path) -> None:
    path = tmp_path / "en-de.txt"
    path.write_text("red rot\nred rotes\nred rot\n\ncar Auto\n", encoding="utf-8")
    found = TranslationDictionary.read_muse(path, source="en", target="de")
    assert translations(found) == [("car", "Auto", 1, 1.0), ("red", "rot", 1, 0.5), ("red", "rotes", 1, 0.5)]
    assert found.induced_by == "file"


def test_muse_with_tabs_keeps_spaces_inside_entries(tmp_path) -> None:
    path = tmp_path / "en-de.tsv"
    path.write_text("ice cream\tSpeiseeis\ncafe\u0301\tCafé\n", encoding="utf-8")
    found = TranslationDictionary.read_muse(path, source="en", target="de")
    assert found.table["source"].to_list() == ["café", "ice cream"]


@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_third_column_is_a_weight(tmp_path, separator) -> None:
    path = tmp_path / "en-de.txt"
    lines = [
        ("red", "rot", "3"),
        ("red", "rotes", "1"),
        ("red", "rot", "3"),
        ("car", "Auto", "0.25"),
        ("car", "Kfz", "0"),
    ]
    path.write_text("".join(separator.join(line) + "\n" for line in lines), encoding="utf-8")
    found = TranslationDictionary.read_muse(path, source="en", target="de")
    assert translations(found) == [("car", "Auto", 1, 1.0), ("red", "rot", 1, 0.75), ("red", "rotes", 1, 0.25)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red\n", "line 1: expected"),
        ("\n\n", "no entries"),
        ("a b\nc \n", "line 2"),
        ("ice cream Speiseeis\n", "line 1: the third column is a weight.*got 'Speiseeis'"),
        ("a\tb\tc d\n", "line 1: the third column is a weight"),
        ("a b -1\n", "line 1: the third column is a weight"),
        ("a b nan\n", "line 1: the third column is a weight"),
        ("a b 1\n\nc d\n", "line 3: 2 columns, but 3"),
        ("a\tb\tc\td\n", "line 1: expected"),
        ("a b 0\n", "no entries"),
    ],
)
def test_a_broken_muse_file_is_named_with_its_line(tmp_path, text, message) -> None:
    path = tmp_path / "en-de.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        TranslationDictionary.read_muse(path, source="en", target="de")


def test_translations_spelt_alike_can_be_left_out():
    rows = [("Haus", "house"), ("nación", "nation"), ("Berlin", "berlin"), ("Tür", "tur"), ("agua", "water")]
    table = pl.DataFrame(rows, schema=["source", "target"], orient="row")
    table = table.with_columns(pl.lit(1).alias("count"), pl.lit(1.0).alias("probability"))
    dictionary = TranslationDictionary("a", "b", table)

    def left(similarity):
        return set(dictionary.without_cognates(similarity=similarity).table["source"])

    assert left(1) == {"Haus", "nación", "agua"}
    assert left(0.5) == {"agua"}  # Haus and house share h, u, s: 6 of 9
    with pytest.raises(UsageError, match=r"must be a number above 0 and at most 1"):
        left(0)


# -- a list in another case than the corpus -------------------------------------------------------


def fitted(pairs, texts, case="folded", languages=("en", "de"), **options) -> list[tuple[str, str]]:
    source, target = languages
    table = pl.DataFrame(pairs, schema=["source", "target"], orient="row")
    table = table.with_columns(pl.lit(1).alias("count"), (1 / pl.len().over("source")).alias("probability"))
    corpus = Corpus.from_texts(dict(zip(languages, ([text] for text in texts), strict=True)), segmented=True)
    found = TranslationDictionary(source, target, table).for_corpus(corpus, case=case)
    assert found.table.group_by("source").agg(pl.col("probability").sum())["probability"].to_list() == pytest.approx(
        [1] * len(found)
    )
    return found.table.select("source", "target").rows()


def test_forms_of_the_corpus_take_the_entries_of_a_small_letter_list() -> None:
    pairs = [("house", "haus"), ("german", "deutsch")]
    texts = ("House German a german", "Haus deutsch Deutsch")
    expected = [
        ("German", "Deutsch"), ("German", "deutsch"), ("House", "Haus"),
        ("german", "Deutsch"), ("german", "deutsch"),
    ]  # fmt: skip
    assert sorted(fitted(pairs, texts)) == expected
    assert sorted(fitted(pairs, texts, "exact")) == [("german", "deutsch"), ("house", "haus")]


def test_forms_share_the_probability_by_their_frequency_the_most_frequent_first() -> None:
    table = pl.DataFrame(
        {"source": ["go", "go"], "target": ["essen", "gehen"], "count": [1, 1], "probability": [0.5, 0.5]}
    )
    corpus = Corpus.from_texts({"en": ["go"], "de": ["Essen essen Essen ESSEN gehen"]}, segmented=True)
    found = TranslationDictionary("en", "de", table).for_corpus(corpus)
    assert translations(found) == [
        ("go", "gehen", 1, 0.5), ("go", "Essen", 1, 0.25), ("go", "ESSEN", 1, 0.125), ("go", "essen", 1, 0.125),
    ]  # fmt: skip


def test_a_word_in_the_list_is_taken_as_it_is_written_and_what_is_ambiguous_by_nothing() -> None:
    pairs = [("polish", "polieren"), ("Polish", "polnisch")]
    texts = ("Polish polish POLISH", "polieren polnisch")
    assert sorted(fitted(pairs, texts)) == [("Polish", "polnisch"), ("polish", "polieren")]
    # a word that does not occur stays, and so does a list in the case of the corpus
    assert fitted([("house", "Haus"), ("inn", "Wirtshaus")], ("house", "Haus")) == [
        ("house", "Haus"),
        ("inn", "Wirtshaus"),
    ]


@pytest.mark.parametrize(
    ("language", "word", "form", "same"),
    [
        ("tr", "ışık", "IŞIK", True),
        ("tr", "istanbul", "İSTANBUL", True),
        ("tur_Latn", "isim", "ISIM", False),  # its capitals are İSİM
        ("en", "is", "IS", True),
        ("de", "maße", "Masse", False),  # casefold takes one for the other
        ("de", "straße", "STRAẞE", True),
        ("de", "straße", "STRASSE", False),
        ("el", "λογος", "ΛΟΓΟΣ", True),
        ("el", "σας", "Σας", True),
        ("ru", "дом", "Дом", True),
    ],
)
def test_case_of_letters(language, word, form, same) -> None:
    found = fitted([(word, "x")], (form, "x"), languages=(language, "xx"))
    assert found == [(form if same else word, "x")]


def test_a_list_whose_translations_never_occur_is_warned_of(caplog) -> None:
    fitted([("house", "haus")], ("house", "Haus"))
    assert caplog.text == ""
    fitted([("house", "haus")], ("house", "Haus"), "exact")
    assert (
        "1 of its words occur in the corpus, and none of their translations does, e.g. 'house' with 'haus'"
        in caplog.text
    )
    fitted([("haus", "house")], ("house", "Haus"))  # the wrong way round
    assert "0 of its words occur" in caplog.text


def test_for_corpus_refuses_what_it_does_not_know(links, corpus) -> None:
    with pytest.raises(UsageError, match="case must be 'folded' or 'exact'"):
        links.dictionary().for_corpus(corpus, case="lower")
    with pytest.raises(UsageError, match="unknown language 'xx'"):
        TranslationDictionary("en", "xx", links.dictionary().table).for_corpus(corpus)
    assert links.dictionary().for_corpus(corpus).table.equals(links.dictionary().table)
