"""Properties of words, labels of concepts, their chance levels, and scores split by label."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from isogloss.concepts import Concepts
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.discovery import discover
from isogloss.errors import InputError, UsageError
from isogloss.metrics import calign, colap
from isogloss.metrics.concepts.overlap import chance_overlap
from isogloss.metrics.labels.enrichment import ConceptLabels, hypergeometric_tail, label_concepts
from isogloss.metrics.labels.scores import label_set_scores, split_alignment, split_overlap
from isogloss.metrics.labels.word_facts import least_carrying, word_properties
from isogloss.metrics.statistics.intervals import wilson
from isogloss.states import LayerStates


def table(words: list[str], *, language: str | list[str] = "en", **columns: list) -> pl.DataFrame:
    """Return a token table of one sentence a language unless `columns` say otherwise."""
    n = len(words)
    base = {
        "row": np.arange(n, dtype=np.int64),
        "language": [language] * n if isinstance(language, str) else language,
        "sentence": np.zeros(n, np.int32),
        "position": np.arange(n, dtype=np.int16),
        "word": words,
    }
    return pl.DataFrame(base | columns, schema_overrides={"word": pl.String, "language": pl.String})


def cluster(tokens: pl.DataFrame, labels: list[int] | np.ndarray, *, k: int = 0) -> Concepts:
    found = np.asarray(labels, np.int32)
    kept = tokens.select("row", "language", "sentence", "position", "word")
    return Concepts(kept, found, max(k, int(found.max(initial=-1)) + 1))


def tags(values: list[str | None], *, kind: str = "upos") -> pl.DataFrame:
    """Return properties of one kind, one value a row; None: no value."""
    rows = [(i, kind, v) for i, v in enumerate(values) if v is not None]
    return pl.DataFrame(rows, schema={"row": pl.Int64, "kind": pl.String, "value": pl.String}, orient="row")


def values_of(properties: pl.DataFrame, kind: str) -> dict[int, list[str]]:
    """Return row -> sorted values of one kind."""
    found: dict[int, list[str]] = {}
    for row, value in properties.filter(pl.col("kind") == kind).select("row", "value").iter_rows():
        found.setdefault(row, []).append(value)
    return {row: sorted(values) for row, values in found.items()}


def taken(labels: ConceptLabels) -> set[tuple[int, str, str]]:
    return set(labels.table.select("concept", "kind", "value").iter_rows())


# -- properties of words ----------------------------------------------------------------------------


def test_parts_of_speech_are_taken_as_they_are_and_blanks_are_none() -> None:
    tokens = table(["du", "x", "y", "z"], upos=["ADP+DET", "_", "", None])
    assert values_of(word_properties(tokens), "upos") == {0: ["ADP+DET"]}


def test_every_feature_is_a_kind_with_feature_and_value() -> None:
    feats = ["Case=Nom|Number=Sing", "_", None, "Case=Loc|Number[psor]=Sing+_", "Case=Acc,Dat", "Case=Nom+Case=Gen"]
    found = word_properties(table([*"abcdef"], feats=feats))
    assert values_of(found, "feats:Case") == {
        0: ["Case=Nom"],
        3: ["Case=Loc"],
        4: ["Case=Acc", "Case=Dat"],
        5: ["Case=Gen", "Case=Nom"],
    }
    assert values_of(found, "feats:Number") == {0: ["Number=Sing"]}
    assert values_of(found, "feats:Number[psor]") == {3: ["Number[psor]=Sing"]}
    assert {k for k in found["kind"] if k.startswith("feats")} == {"feats:Case", "feats:Number", "feats:Number[psor]"}


def test_entity_types_lose_their_prefix_and_o_is_none() -> None:
    ner = ["B-PER", "I-PER", "O", "LOC", "S-ORG", "_", None, "BIRD", "E-MISC"]
    assert values_of(word_properties(table([*"abcdefghi"], ner=ner)), "ner") == {
        0: ["PER"],
        1: ["PER"],
        3: ["LOC"],
        4: ["ORG"],
        7: ["BIRD"],
        8: ["MISC"],
    }


def test_sentiment_is_the_label_of_the_sentence_in_the_same_language() -> None:
    tokens = table([*"abcd"], language=["en", "en", "de", "de"], sentence=[0, 1, 0, 1], position=[0, 0, 0, 0])
    sentences = pl.DataFrame(
        {"language": ["en", "en", "de", "de"], "sentence": [0, 1, 0, 1], "label": ["good", "bad", None, "good"]}
    )
    assert values_of(word_properties(tokens, sentences), "sentiment") == {0: ["good"], 1: ["bad"], 3: ["good"]}
    for without in (None, sentences.drop("label")):
        assert "sentiment" not in set(word_properties(tokens, without)["kind"])


@pytest.mark.parametrize(
    ("word", "casing"),
    [
        ("house", "lower"),
        ("House", "Title"),
        ("HOUSE", "UPPER"),
        ("McDonald", "mixed"),
        ("iPhone", "mixed"),
        ("I", "Title"),
        ("U.S.", "UPPER"),
        ("Anglo-Saxon", "Title"),
        ("don't", "lower"),
        # Turkish: dotted and dotless i, and the suffix of a name
        ("İstanbul", "Title"),
        ("ılık", "lower"),
        ("IŞIK", "UPPER"),
        ("Obama'nın", "Title"),
        # German: ß has a capital that few write
        ("Straße", "Title"),
        ("STRAẞE", "UPPER"),
        ("STRAßE", "UPPER"),
        ("groß", "lower"),
        ("ǅungla", "Title"),  # a title-case letter
        ("Москва", "Title"),
        ("2016", "digit"),
        ("B2B", "digit"),
        ("٣", "digit"),
        ("2016年", "digit"),
        ("...", "punctuation"),
        ("，", "punctuation"),
        ("€", "punctuation"),
        # no case
        ("美國", None),
        ("किताब", None),
        ("كتاب", None),
    ],
)
def test_casing(word: str, casing: str | None) -> None:
    assert values_of(word_properties(table([word])), "casing") == ({0: [casing]} if casing else {})


def test_affixes_are_of_words_of_five_letters_in_lower_case() -> None:
    found = word_properties(
        table(["Unhappy", "walking", "four", "a1b2c", "well-being", "शिक्षक", "İstanbul", "12hours"])
    )
    prefixes, suffixes = values_of(found, "prefix:2"), values_of(found, "suffix:3")
    assert prefixes == {0: ["un-"], 1: ["wa-"], 4: ["we-"], 6: ["is-"]}
    assert suffixes == {0: ["-ppy"], 1: ["-ing"], 4: ["-ing"], 6: ["-bul"], 7: ["-urs"]}
    assert values_of(found, "prefix:3")[0] == ["unh-"]
    assert values_of(found, "suffix:2")[1] == ["-ng"]


def test_a_vowel_sign_belongs_to_its_letter() -> None:
    found = word_properties(table(["विद्यालय"]))  # वि द् या ल य: five letters with their marks
    assert values_of(found, "prefix:2") == {0: ["विद्-"]}
    assert values_of(found, "suffix:3") == {0: ["-यालय"]}


def test_first_and_last_word_of_every_sentence_in_every_language() -> None:
    tokens = table(
        [*"abcdef"], language=["en"] * 4 + ["de"] * 2, sentence=[0, 0, 0, 1, 0, 0], position=[0, 1, 2, 0, 0, 1]
    )
    assert values_of(word_properties(tokens), "position") == {
        0: ["first"],
        2: ["last"],
        3: ["first", "last"],
        4: ["first"],
        5: ["last"],
    }


def test_frequency_counts_a_type_in_its_language() -> None:
    words = ["a"] + ["b"] * 2 + ["c"] * 7 + ["d"] * 8 + ["e"] * 63 + ["f"] * 64 + ["f"]
    languages = ["en"] * (len(words) - 1) + ["de"]
    found = values_of(word_properties(table(words, language=languages)), "frequency")
    by_word = {(language, w): found[i] for i, (language, w) in enumerate(zip(languages, words, strict=True))}
    assert by_word == {
        ("en", "a"): ["once"],
        ("en", "b"): ["rare"],
        ("en", "c"): ["rare"],
        ("en", "d"): ["mid"],
        ("en", "e"): ["mid"],
        ("en", "f"): ["frequent"],
        ("de", "f"): ["once"],
    }


def test_the_table_is_sorted_by_row_and_ignores_other_columns() -> None:
    tokens = table(["Red", "cars"], upos=["ADJ", "NOUN"], lemma=["red", "car"])
    found = word_properties(tokens)
    assert found.schema == {"row": pl.Int64, "kind": pl.String, "value": pl.String}
    assert found["row"].is_sorted()
    assert set(found["kind"]) == {"upos", "casing", "position", "frequency", "language"}
    assert word_properties(tokens.clear()).is_empty()


def test_wrong_tables_are_refused() -> None:
    tokens = table(["a"])
    with pytest.raises(InputError, match="lacks position"):
        word_properties(tokens.drop("position"))
    with pytest.raises(InputError, match="'upos' of the token table must hold strings; it is Int64"):
        word_properties(tokens.with_columns(upos=pl.lit(3, pl.Int64)))
    with pytest.raises(InputError, match="table of sentences lacks 'sentence'"):
        word_properties(tokens, pl.DataFrame({"language": ["en"], "label": ["good"]}))


# -- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "threshold", "k"), [(10, 0.9, 9), (9, 0.9, 9), (11, 0.9, 10), (20, 0.55, 11), (5, 1, 5)])
def test_least_carrying_is_exact_at_the_threshold(n: int, threshold: float, k: int) -> None:
    assert least_carrying(np.array([n]), threshold).tolist() == [k]


def test_least_carrying_is_what_comparing_shares_gives() -> None:
    n = np.arange(1, 400)
    for threshold in (0.07, 0.3, 0.55, 0.7, 0.9, 0.95, 1.0):
        expected = [next(k for k in range(m + 1) if k / m >= threshold) for m in n]
        assert least_carrying(n, threshold).tolist() == expected


@pytest.mark.parametrize(("carrying", "found"), [(9, True), (8, False)])
def test_nine_types_of_ten_are_a_label_and_eight_are_not(carrying: int, found: bool) -> None:
    tokens = table([f"w{i}" for i in range(30)])
    concepts = cluster(tokens, [0] * 10 + [1] * 20)
    labels = label_concepts(concepts, tags(["NOUN"] * carrying + ["VERB"] * (30 - carrying)))
    assert ((0, "upos", "NOUN") in taken(labels)) == found
    if found:
        row = labels.table.filter(pl.col("concept") == 0).row(0, named=True)
        assert (row["share"], row["n_carrying"], row["n_types"], row["base_rate"]) == (0.9, 9, 10, 0.3)


def test_a_type_carries_what_more_than_half_of_its_tokens_in_the_concept_do() -> None:
    #         concept 0: a is NOUN in 2 of 3 tokens, b in 1 of 2; concept 1: a is VERB in all its tokens
    words = ["a", "a", "a", "b", "b", "a", "c"]
    upos = ["NOUN", "NOUN", "VERB", "NOUN", "VERB", "VERB", "VERB"]
    concepts = cluster(table(words), [0, 0, 0, 0, 0, 1, 1])
    labels = label_concepts(concepts, tags(upos), threshold=0.5, min_types=2)
    rows = {(r["concept"], r["value"]): r for r in labels.table.iter_rows(named=True)}
    assert set(rows) == {(0, "NOUN"), (1, "VERB")}
    assert (rows[0, "NOUN"]["share"], rows[0, "NOUN"]["n_carrying"]) == (0.5, 1)
    assert rows[0, "NOUN"]["base_rate"] == 1 / 4  # of the units a0, b0, a1, c1
    assert rows[1, "VERB"]["base_rate"] == 2 / 4


def test_types_and_tokens_give_other_shares() -> None:
    # one noun that occurs 16 times, and 4 verbs once each
    words, upos = ["a"] * 16 + [*"bcde"], ["NOUN"] * 16 + ["VERB"] * 4
    words, upos = words + [f"v{i}" for i in range(5)], [*upos, "VERB", "VERB", "NOUN", "NOUN", "NOUN"]
    concepts = cluster(table(words), [0] * 20 + [1] * 5)
    by_types = label_concepts(concepts, tags(upos), threshold=0.8)
    by_tokens = label_concepts(concepts, tags(upos), threshold=0.8, by="tokens", n_permutations=2000)
    assert taken(by_types) == {(0, "upos", "VERB")}
    assert taken(by_tokens) == {(0, "upos", "NOUN")}
    row = by_tokens.table.row(0, named=True)
    assert (row["share"], row["n_carrying"], row["n_types"]) == (0.8, 1, 5)
    assert row["base_rate"] == 19 / 25
    assert row["p_value"] == pytest.approx(1 - 1 / 42)  # one of 4 noun types or more among 5 of 10: 1 - C(6,5)/C(10,5)
    # Units are dealt: concept 0 has the 16 tokens and at most 4 others, or five single ones (at least 4 of 3: never)
    assert row["chance"] == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 2000))


def test_chance_by_types_is_that_of_reaching_the_threshold() -> None:
    concepts = cluster(table([f"w{i}" for i in range(30)]), [0] * 10 + [1] * 20)
    labels = label_concepts(concepts, tags(["NOUN"] * 10 + ["VERB"] * 8 + ["NOUN"] * 12))
    row = labels.table.row(0, named=True)
    assert (row["value"], row["n_carrying"]) == ("NOUN", 10)
    assert row["chance"] == pytest.approx(stats.hypergeom(30, 22, 10).sf(8), rel=1e-9)
    assert row["p_value"] == pytest.approx(stats.hypergeom(30, 22, 10).sf(9), rel=1e-9)


def test_one_label_a_kind_the_largest_share_and_of_equal_ones_the_first_by_name() -> None:
    tokens = table([f"w{i}" for i in range(20)])
    concepts = cluster(tokens, [0] * 10 + [1] * 10)
    properties = pl.concat(
        [
            tags(["b"] * 10 + ["x"] * 10, kind="topic"),
            tags(["a"] * 10 + ["y"] * 9 + [None], kind="topic"),
            tags(["c"] * 9 + [None] * 11, kind="topic"),
            tags(["X"] * 10, kind="other"),
        ]
    )
    assert taken(label_concepts(concepts, properties)) == {
        (0, "other", "X"),
        (0, "topic", "a"),  # ties with b, before c
        (1, "topic", "x"),  # y has 0.9
    }


def test_small_concepts_and_tokens_of_no_concept_take_no_part() -> None:
    words = [f"w{i}" for i in range(16)]
    concepts = cluster(table(words), [0] * 5 + [1] * 4 + [-1] * 7)
    labels = label_concepts(
        concepts, tags(["NOUN"] * 16).vstack(tags(["A"] * 9, kind="k")).vstack(tags(["B"] * 8, kind="k2"))
    )
    assert labels.n_types.tolist() == [5, 4]
    assert labels.eligible.tolist() == [True, False]
    assert taken(labels) == {(0, "k2", "B")}  # every clustered token carries NOUN and A: that says nothing
    assert labels.values.rows() == [("k2", "B", 8, 8 / 9)]
    assert taken(label_concepts(concepts, tags(["B"] * 8), min_types=4)) == {(0, "upos", "B")}
    assert taken(label_concepts(concepts, tags([None] + ["B"] * 8), min_types=4)) == {(1, "upos", "B")}


def test_the_same_word_of_two_languages_is_two_types() -> None:
    tokens = table(["die", "war", "die", "war", "a", "b"], language=["en", "en", "de", "de", "de", "de"])
    concepts = cluster(tokens, [0, 0, 0, 0, 0, 1])
    labels = label_concepts(concepts, tags(["X", "X", "X", "X", None, None]), threshold=0.8)
    assert taken(labels) == {(0, "upos", "X")}
    assert labels.table["n_types"].to_list() == [5]


def test_rare_values_are_no_part_of_the_label_set() -> None:
    concepts = cluster(table([f"w{i}" for i in range(12)] + ["w0"]), [0] * 6 + [1] * 6 + [1])
    labels = label_concepts(concepts, tags(["A"] * 4 + ["B"] * 5 + ["C"] * 3 + ["C"]), threshold=0.8)
    # w0 is A in one concept and C in the other: A has 4 types, B 5, C 4; 0.8 * 5 = 4 are needed
    assert labels.values.select("value", "n_types").rows() == [("A", 4), ("B", 5), ("C", 4)]
    strict = label_concepts(concepts, tags(["A"] * 4 + ["B"] * 5 + ["C"] * 3 + ["C"]), threshold=0.9)
    assert strict.values["value"].to_list() == ["B"]


def test_repeated_rows_foreign_rows_and_the_order_of_properties_change_nothing() -> None:
    generator = np.random.default_rng(5)
    concepts = cluster(table([f"w{i % 70}" for i in range(200)]), generator.integers(0, 12, 200))
    properties = tags([*generator.choice(["A", "B"], 200, p=[0.9, 0.1])])
    foreign = pl.DataFrame({"row": [900, 901], "kind": ["upos"] * 2, "value": ["A", "Z"]})
    shuffled = pl.concat([properties, foreign, properties]).sample(fraction=1, shuffle=True, seed=1)
    one, two = (label_concepts(concepts, p, threshold=0.8) for p in (properties, shuffled))
    assert one.table.height > 3
    assert one.table.equals(two.table)
    assert one.values.equals(two.values)
    assert one.null.equals(two.null)


def test_wrong_options_are_refused() -> None:
    concepts, properties = cluster(table(["a"]), [0]), tags(["X"])
    for options, message in (
        ({"threshold": 0}, "threshold must be a number above 0 and at most 1"),
        ({"threshold": 1.1}, "threshold must be a number above 0 and at most 1"),
        ({"min_types": 0}, "min_types must be a whole number from 1"),
        ({"by": "words"}, "by must be 'types' or 'tokens'; got 'words'"),
        ({"q": 1}, "q must be a number above 0 and below 1"),
        ({"n_permutations": -1}, "n_permutations must be a whole number from 0"),
    ):
        with pytest.raises(UsageError, match=message):
            label_concepts(concepts, properties, **options)
    with pytest.raises(InputError, match="column 'value' of String"):
        label_concepts(concepts, properties.drop("value"))
    with pytest.raises(InputError, match="may be named 'all'"):
        label_concepts(concepts, tags(["X"], kind="all"))


def test_nothing_to_label() -> None:
    for concepts, properties in (
        (cluster(table([]), []), tags([])),
        (cluster(table([*"abcdefg"]), [0] * 7), tags([])),
        (cluster(table([*"abcdefg"]), [-1] * 7, k=3), tags(["X"] * 7)),
    ):
        labels = label_concepts(concepts, properties)
        assert labels.table.is_empty() and labels.values.is_empty() and labels.kinds == ()
        scores = label_set_scores(labels)
        assert scores["kind"].to_list() == ["all", "all"]
        assert math.isnan(scores.filter(pl.col("measure") == "coverage")["score"].item())


# -- chance -----------------------------------------------------------------------------------------


def test_the_tail_is_scipys_and_keeps_small_probabilities() -> None:
    generator = np.random.default_rng(0)
    total, m = 5000, 300
    n, carrying = generator.integers(1, 200, m), generator.integers(0, 5001, m)
    least = np.array([generator.integers(0, k + 2) for k in n])
    expected = stats.hypergeom.sf(least - 1, total, carrying, n)
    np.testing.assert_allclose(hypergeometric_tail(least, n, carrying, total), expected, rtol=1e-8, atol=1e-300)
    small = hypergeometric_tail(np.array([40]), np.array([40]), np.array([45]), 60000).item()
    exact = math.comb(45, 40) / math.comb(60000, 40)
    assert small == pytest.approx(exact, rel=1e-6) and small < 1e-100


def test_the_tail_at_its_ends() -> None:
    least, n, carrying = np.array([0, 3, 4, 2, 5]), np.array([3, 3, 3, 3, 5]), np.array([0, 10, 10, 9, 5])
    found = hypergeometric_tail(least, n, carrying, 10)
    # nothing asked; all carry; more asked than drawn; at most one does not carry; the only hand of C(10, 5)
    np.testing.assert_allclose(found, [1, 1, 0, 1, 1 / 252], rtol=1e-12)


def test_chance_is_what_random_concepts_do() -> None:
    generator = np.random.default_rng(1)
    n_units, carrying, n, least = 60, 40, 9, 8
    pool = np.arange(n_units) < carrying
    hits = np.mean([generator.choice(pool, n, replace=False).sum() >= least for _ in range(20_000)])
    exact = hypergeometric_tail(np.array([least]), np.array([n]), np.array([carrying]), n_units).item()
    assert hits == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))
    assert exact > 0.05  # the comparison has something to see


def zipf_space(seed: int, *, n_concepts: int = 200) -> tuple[Concepts, pl.DataFrame]:
    """Return concepts dealt at random over Zipf-like words, with tags of common and of rare values."""
    generator = np.random.default_rng(seed)
    words = np.minimum(generator.zipf(1.3, 6000), 2500)
    tag = generator.choice(["N", "V", "J", "P", "R"], 2501, p=[0.75, 0.15, 0.05, 0.04, 0.01])
    tokens = table([f"w{i}" for i in words])
    shares = generator.dirichlet(np.full(n_concepts, 0.4))
    return cluster(tokens, generator.choice(n_concepts, len(words), p=shares)), tags([*tag[words]])


def test_random_concepts_take_labels_but_hardly_one_beyond_chance() -> None:
    n_labels, runs_with_discoveries, small_p = 0, 0, 0
    for seed in range(20):
        table_ = label_concepts(*zipf_space(seed), n_permutations=0).table
        n_labels += table_.height
        runs_with_discoveries += bool(table_["significant"].any())
        small_p += int((table_["p_value"] < 0.05).sum())
    assert n_labels > 40 and small_p > 5  # uncorrected, there would be discoveries
    assert runs_with_discoveries <= 3  # at a rate of 0.05 there is one in 20


def alignment_of_tags(concepts: Concepts, properties: pl.DataFrame) -> dict:
    scores = label_set_scores(label_concepts(concepts, properties, n_permutations=50))
    return scores.filter((pl.col("kind") == "upos") & (pl.col("measure") == "alignment")).row(0, named=True)


def test_random_concepts_take_as_many_labels_as_their_chance_says() -> None:
    rows = []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        tokens = table([f"w{i}" for i in range(2000)])  # a type a token: the null is exact
        tag = generator.choice(["N", "V", "J"], 2000, p=[0.75, 0.2, 0.05])
        member = generator.choice(150, 2000, p=generator.dirichlet(np.ones(150)))
        rows.append(alignment_of_tags(cluster(tokens, member), tags([*tag])))
    excess = sum(r["score"] - r["chance"] for r in rows)
    sd = math.sqrt(sum(r["chance_sd"] ** 2 for r in rows))
    assert np.mean([r["chance"] for r in rows]) > 0.05
    assert abs(excess) < 3 * sd


def test_chance_errs_on_the_safe_side_where_frequent_types_are_in_most_concepts() -> None:
    rows = [alignment_of_tags(*zipf_space(seed)) for seed in range(8)]
    found, expected = (np.mean([r[name] for r in rows]) for name in ("score", "chance"))
    assert 0.5 * expected < found < 1.1 * expected


def test_planted_labels_are_found_and_only_they() -> None:
    concepts, properties = zipf_space(3)
    types = concepts.types().group_by("concept").len().filter(pl.col("len") >= 8)["concept"].sort().to_list()
    planted = types[:3]
    there = pl.col("row").is_in(concepts.table().filter(pl.col("concept").is_in(planted))["row"].implode())
    properties = properties.with_columns(value=pl.when(there).then(pl.lit("R")).otherwise("value"))
    labels = label_concepts(concepts, properties, threshold=0.8)
    assert set(labels.of("upos")["concept"]) == set(planted)
    assert set(labels.of("upos")["value"]) == {"R"}
    assert labels.of("upos", significant=False).height > 5  # the others are chance, and said to be


def test_q_values_are_benjamini_and_hochbergs_over_all_tests_that_could_be_labels() -> None:
    # Concepts of 5, 5 and 8 types: A on 5 units can label those of 5 (5 needed) and not that of 8 (8 needed), B on 13
    # units all three: five tests.  C is on too few types for the label set.
    tokens = table([f"w{i}" for i in range(18)])
    concepts = cluster(tokens, [0] * 5 + [1] * 5 + [2] * 8)
    properties = pl.concat([tags(["A"] * 5 + ["B"] * 13), tags(["C"] * 4, kind="rare")])
    labels = label_concepts(concepts, properties, n_permutations=0)
    assert taken(labels) == {(0, "upos", "A"), (1, "upos", "B"), (2, "upos", "B")}
    p = [1 / math.comb(18, 5), math.comb(13, 5) / math.comb(18, 5), math.comb(13, 8) / math.comb(18, 8)]
    assert labels.table["p_value"].to_list() == pytest.approx(p)
    expected = stats.false_discovery_control([*p, 1.0, 1.0])[:3]
    assert labels.table["q_value"].to_list() == pytest.approx(expected.tolist())
    at = [label_concepts(concepts, properties, q=q).table["significant"].to_list() for q in (5e-4, 1e-3, 0.1)]
    assert at == [[False, False, False], [True, False, False], [True, False, True]]


def test_permutations_agree_with_the_exact_chance_of_a_kind_with_one_value_a_word() -> None:
    concepts, properties = zipf_space(4)
    labels = label_concepts(concepts, properties, n_permutations=400, threshold=0.8)
    n = labels.n_types[labels.eligible]
    n_units = int(labels.n_types.sum())
    exact = np.zeros(len(n))
    for rate in labels.values["base_rate"]:
        k = np.full(len(n), round(rate * n_units))
        exact += hypergeometric_tail(least_carrying(n, 0.8), n, k, n_units)  # no two values can both have 80%
    row = label_set_scores(labels).row(0, named=True)
    assert (row["kind"], row["measure"]) == ("upos", "alignment")
    assert row["chance"] == pytest.approx(exact.mean(), abs=4 * row["chance_sd"] / math.sqrt(400))
    assert row["chance_sd"] > 0


# -- scores -----------------------------------------------------------------------------------------


def three_concepts() -> tuple[Concepts, pl.DataFrame]:
    """Return three concepts of five words, one of two, and tags: NOUN and VERB in one each; case in the first."""
    tokens = table([f"w{i}" for i in range(17)])
    concepts = cluster(tokens, [0] * 5 + [1] * 5 + [2] * 5 + [3] * 2)
    upos = ["NOUN"] * 5 + ["VERB"] * 5 + ["NOUN", "NOUN", "ADJ", "ADJ", "VERB"] + ["ADJ"] * 2
    case = ["Case=Nom"] * 5 + ["Case=Gen"] * 4 + [None] * 6 + ["Case=Gen"] * 2
    number = ["Number=Sing"] * 15 + [None] * 2
    parts = [tags(upos), tags(case, kind="feats:Case"), tags(number, kind="feats:Number")]
    return concepts, pl.concat(parts)


def test_alignment_and_coverage_by_hand() -> None:
    concepts, properties = three_concepts()
    labels = label_concepts(concepts, properties, threshold=0.8, n_permutations=0)
    assert taken(labels) == {
        (0, "upos", "NOUN"),
        (1, "upos", "VERB"),
        (0, "feats:Case", "Case=Nom"),
        (1, "feats:Case", "Case=Gen"),
        *((c, "feats:Number", "Number=Sing") for c in range(3)),
    }
    scores = label_set_scores(labels)
    found = {(r["kind"], r["measure"]): (r["score"], r["n"]) for r in scores.iter_rows(named=True)}
    # ADJ is on 4 types (2 of them in a concept too small), which a concept of five could take at 0.8
    assert found == {
        ("feats", "alignment"): (1.0, 3),
        ("feats", "coverage"): (1.0, 3),
        ("feats:Case", "alignment"): (pytest.approx(2 / 3), 3),
        ("feats:Case", "coverage"): (1.0, 2),
        ("feats:Number", "alignment"): (1.0, 3),
        ("feats:Number", "coverage"): (1.0, 1),
        ("upos", "alignment"): (pytest.approx(2 / 3), 3),
        ("upos", "coverage"): (pytest.approx(2 / 3), 3),
        ("all", "alignment"): (1.0, 3),
        ("all", "coverage"): (pytest.approx(5 / 6), 6),
    }
    assert scores["kind"].to_list()[-2:] == ["all", "all"]
    assert scores["chance"].is_nan().all() and scores["adjusted"].is_nan().all()
    row = scores.filter(pl.col("kind") == "upos").row(0, named=True)
    assert (row["ci_low"], row["ci_high"]) == wilson(2, 3)


def test_scores_against_chance() -> None:
    concepts, properties = three_concepts()
    labels = label_concepts(concepts, properties, threshold=0.8, n_permutations=300)
    row = label_set_scores(labels).filter(pl.col("kind") == "upos").row(0, named=True)
    n, k = np.full(3, 5), np.array([7, 6, 4])
    exact = float(hypergeometric_tail(np.full(3, 4), n, k, 17).sum())
    assert row["chance"] == pytest.approx(exact, abs=4 * row["chance_sd"] / math.sqrt(300))
    assert row["adjusted"] == pytest.approx((2 / 3 - row["chance"]) / (1 - row["chance"]))
    assert row["p_value"] < 0.03
    coverage = label_set_scores(labels).filter(pl.col("kind") == "feats:Number").row(1, named=True)
    assert coverage["score"] == 1.0 and coverage["p_value"] > 0.5  # nearly every word is singular: chance covers it too
    # labels that chance explains do not count as significant
    assert coverage["significant"] == 0.0
    again = label_concepts(concepts, properties, threshold=0.8, n_permutations=300)
    assert again.null.equals(labels.null)
    other = label_concepts(concepts, properties, threshold=0.8, n_permutations=300, draw_seed=1)
    assert not other.null.equals(labels.null)


def test_kinds_and_families() -> None:
    labels = label_concepts(*three_concepts(), threshold=0.8)
    assert labels.kinds == ("feats", "feats:Case", "feats:Number", "upos")
    assert labels.of("feats", significant=False).height == 5
    assert labels.of("feats:Case", significant=False)["value"].to_list() == ["Case=Nom", "Case=Gen"]
    with pytest.raises(UsageError, match="Did you mean 'feats:Case'"):
        labels.of("feats:Cas")
    assert "3 of 3 concepts take 7 labels at 0.8" in repr(labels)


# -- splits -----------------------------------------------------------------------------------------


def dictionary(pairs: list[tuple[str, str]]) -> TranslationDictionary:
    schema = {"source": pl.String, "target": pl.String, "count": pl.Int64, "probability": pl.Float64}
    rows = [(s, t, 1, 1.0) for s, t in pairs]
    return TranslationDictionary("en", "de", pl.DataFrame(rows, schema=schema, orient="row"))


def fields() -> tuple[Concepts, Concepts, TranslationDictionary, pl.DataFrame]:
    """Return six concepts of five words a language: nouns 0, 1, 2, verbs 3, 4, mixed 5; and a seventh of two nouns.

    Words of 0 and 3 have all their translations in one concept, four of the five of 1, none of the others.
    """
    tags_ = ["N"] * 15 + ["V"] * 10 + ["N", "V", "N", "V", "J"] + ["N"] * 2
    member = [i // 5 for i in range(30)] + [6, 6]
    source = cluster(table([f"e{i}" for i in range(32)]), member)
    target = cluster(table([f"d{i}" for i in range(32)], language="de"), member)
    known = [*range(5), *range(5, 9), *range(15, 20)]
    return source, target, dictionary([(f"e{i}", f"d{i}") for i in known]), tags(tags_)


def test_alignment_split_by_label() -> None:
    source, target, known, properties = fields()
    alignment = calign(source, target, known, theta_align=[0.9, 0.8], n_permutations=0)
    labels = label_concepts(source, properties)
    assert alignment.score == 2 / 6
    split = split_alignment(alignment, labels, kinds=["upos"], significant=False)
    assert split.columns == ["kind", "value", "n", "score", "chance", "ci_low", "ci_high"]
    assert split.select("value", "n", "score").rows() == [("N", 3, 1 / 3), ("V", 2, 1 / 2), (None, 1, 0.0)]
    assert split.select("ci_low", "ci_high").rows() == [wilson(1, 3), wilson(1, 2), wilson(0, 1)]
    at = split_alignment(alignment, labels, kinds=["upos"], theta=0.8, significant=False)
    assert at["score"].to_list() == [2 / 3, 1 / 2, 0.0]
    assert split_alignment(alignment, labels, kinds=["upos"], theta=0.1, significant=False)["n"].sum() == 6
    assert split["chance"].is_nan().all()
    chance = np.array([0.1, 0.2, 0.6, 0.5, 0.7, 0.9, np.nan])
    with_chance = split_alignment(alignment, labels, kinds=["upos"], significant=False, chance=chance)
    assert with_chance["chance"].to_list() == pytest.approx([0.3, 0.6, 0.9])


def test_the_paper_codes_rule_is_strict_in_the_split_too() -> None:
    source, target, known, properties = fields()
    alignment = calign(source, target, known, theta_align=0.8, min_types=4, rule="paper-code", n_permutations=0)
    split = split_alignment(alignment, label_concepts(source, properties), kinds=["upos"], significant=False)
    # 4 of 5 words is not more than 0.8; the concept of two nouns counts for them, but is too small for a label
    assert split.select("value", "n", "score").rows() == [("N", 3, 1 / 3), ("V", 2, 1 / 2), (None, 1, 0.0)]


def test_labels_that_chance_explains_count_as_none() -> None:
    source, target, known, properties = fields()
    alignment = calign(source, target, known, n_permutations=0)
    labels = label_concepts(source, properties)
    # 5 of 5 nouns where 19 of 32 units are nouns are no surprise, 5 of 5 verbs where 12 are verbs are one
    assert set(labels.of("upos")["value"]) == {"V"}
    split = split_alignment(alignment, labels, kinds=["upos"])
    assert split.select("value", "n", "score").rows() == [("V", 2, 1 / 2), (None, 4, 2 / 4)]


def test_a_concept_counts_for_each_of_its_labels_of_a_family() -> None:
    source, target, known, _ = fields()
    case = tags(["Case=Nom"] * 10 + ["Case=Gen"] * 22, kind="feats:Case")
    number = tags(["Number=Sing"] * 5 + ["Number=Plur"] * 27, kind="feats:Number")
    labels = label_concepts(source, pl.concat([case, number]))
    split = split_alignment(calign(source, target, known, n_permutations=0), labels, kinds=["feats"], significant=False)
    assert split.select("value", "n", "score").rows() == [
        ("Case=Gen", 4, 1 / 4),
        ("Case=Nom", 2, 1.0),
        ("Number=Plur", 5, 2 / 5),
        ("Number=Sing", 1, 1.0),
    ]


def joint() -> tuple[Concepts, pl.DataFrame]:
    """Return four joint concepts of ten words: shares of English 0.5, 0.3, 0.1, 1; nouns in 0 and 2, verbs in 1."""
    n_english = [5, 3, 1, 10]
    language = [x for n in n_english for x in ["en"] * n + ["de"] * (10 - n)]
    concepts = cluster(table([f"w{i}" for i in range(40)], language=language), np.repeat(np.arange(4), 10))
    return concepts, tags(["N"] * 10 + ["V"] * 10 + ["N"] * 10 + ["N", "V"] * 5)


def test_overlap_split_by_label() -> None:
    concepts, properties = joint()
    overlap = colap(concepts, theta_overlap=[0.3, 0.1])
    labels = label_concepts(concepts, properties)
    split = split_overlap(overlap, labels, kinds=["upos"], significant=False)
    assert split.columns == ["kind", "value", "n", "score", "chance", "ci_low", "ci_high"]
    assert split.select("value", "n", "score").rows() == [("N", 2, 1 / 2), ("V", 1, 1.0), (None, 1, 0.0)]
    assert split.select("ci_low", "ci_high").row(0) == wilson(1, 2)
    chance = chance_overlap(np.array([10]), np.array([19, 21]), 0.3).item()
    assert split["chance"].to_list() == pytest.approx([chance] * 3)
    low = split_overlap(overlap, labels, kinds=["upos"], theta=0.1, significant=False)
    assert low["score"].to_list() == [1.0, 1.0, 0.0]
    assert low["chance"][0] == pytest.approx(chance_overlap(np.array([10]), np.array([19, 21]), 0.1).item())
    strict = colap(concepts, theta_overlap=0.3, rule="paper-code")
    assert split_overlap(strict, labels, kinds=["upos"], significant=False)["score"].to_list() == [0.5, 0.0, 0.0]


def test_concepts_without_the_groups_languages_are_left_out_of_the_split() -> None:
    concepts, properties = joint()
    french = concepts.tokens.with_columns(language=pl.when(pl.col("row") < 10).then(pl.lit("fr")).otherwise("language"))
    concepts = replace(concepts, tokens=french)
    split = split_overlap(
        colap(concepts, languages=["en", "de"]), label_concepts(concepts, properties), kinds=["upos"], significant=False
    )
    assert split.select("value", "n", "score").rows() == [("N", 1, 0.0), ("V", 1, 1.0), (None, 1, 0.0)]


def test_splits_refuse_other_concepts_thresholds_and_kinds() -> None:
    source, target, known, properties = fields()
    alignment = calign(source, target, known, n_permutations=0)
    labels = label_concepts(source, properties)
    with pytest.raises(InputError, match="labels are of 4 concepts, but the source concepts of the alignment are 7"):
        split_alignment(alignment, label_concepts(*joint()), kinds=["upos"])
    with pytest.raises(InputError, match="labels are of 7 concepts, but the concepts of the overlap are 4"):
        split_overlap(colap(joint()[0]), labels, kinds=["upos"])
    with pytest.raises(InputError, match="chance must have one number for each of 7 concepts; got 3"):
        split_alignment(alignment, labels, kinds=["upos"], chance=np.zeros(3))
    with pytest.raises(UsageError, match="unknown kind of label 'ner'"):
        split_alignment(alignment, labels, kinds=["ner"])
    for theta in (0, 1.5):
        with pytest.raises(UsageError, match=r"theta (is a share|must be a number from 0 to 1)"):
            split_alignment(alignment, labels, kinds=["upos"], theta=theta)


# -- gold tags --------------------------------------------------------------------------------------


def test_gold_tags_of_pud_label_concepts_made_of_them(shared: Path) -> None:
    path = shared / "data" / "parallel" / "pud" / "conllu" / "en_pud-ud-test.conllu.gz"
    if not path.exists():
        pytest.skip(f"{path} does not exist")
    corpus = Corpus.read({"en": path})
    tokens = corpus.words
    generator = np.random.default_rng(0)
    tag = tokens["upos"].rank("dense").to_numpy() - 1
    X = np.eye(tag.max() + 1, dtype=np.float32)[tag] * 3
    X = np.hstack([X, generator.normal(0, 0.5, (len(X), 6)).astype(np.float32)])
    concepts = discover(LayerStates(X, tokens, "made", "encoder", 0), n_concepts=80, method="kmeans")
    properties = word_properties(tokens, corpus.sentences)
    labels = label_concepts(concepts, properties)

    scores = {(r["kind"], r["measure"]): r for r in label_set_scores(labels).iter_rows(named=True)}
    upos = scores["upos", "alignment"]
    assert upos["score"] > 0.9 and upos["significant"] > 0.9 and upos["chance"] < 0.05
    assert scores["upos", "coverage"]["score"] > 0.7
    assert {"ADJ", "NOUN", "PROPN", "PUNCT", "VERB"} <= set(labels.of("upos")["value"])
    # what goes with a part of speech comes along, and what does not stays away
    rows = {(r["concept"], r["kind"]): r["value"] for r in labels.table.filter("significant").iter_rows(named=True)}
    assert all(rows.get((c, "casing")) == "punctuation" for (c, k), v in rows.items() if (k, v) == ("upos", "PUNCT"))
    proper = [c for (c, k), v in rows.items() if (k, v) == ("upos", "PROPN")]
    assert proper and any(rows.get((c, "feats:Number")) == "Number=Sing" for c in proper)
    assert scores["prefix", "alignment"]["score"] < 0.05
    assert "language" not in labels.kinds  # one language: it says nothing

    shuffled = replace(concepts, labels=generator.permutation(concepts.labels))
    assert label_concepts(shuffled, properties).of("upos").is_empty()
