"""CALIGN and COLAP against their formulas, and their chance levels against exact and simulated nulls."""

from __future__ import annotations

import itertools
import math

import numba
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import comb

from isogloss.concepts import Concepts
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.errors import UsageError
from isogloss.metrics import calign, colap, mean_alignment
from isogloss.metrics.concepts.matching import (
    best_matches,
    frequency_bins,
    match_counts,
    null_best_matches,
    permutations_within,
)
from isogloss.metrics.concepts.matrices import Matrices
from isogloss.metrics.concepts.overlap import chance_overlap
from isogloss.metrics.statistics.intervals import wilson
from isogloss.settings import AlignmentSettings, OverlapSettings


def concepts(words: list[str], labels: list[int], *, language: str | list[str], k: int = 0) -> Concepts:
    n = len(words)
    tokens = pl.DataFrame(
        {
            "row": np.arange(n, dtype=np.int64),
            "language": [language] * n if isinstance(language, str) else language,
            "sentence": np.zeros(n, np.int32),
            "position": np.arange(n, dtype=np.int16),
            "word": words,
        },
        schema_overrides={"word": pl.String, "language": pl.String},
    )
    found = np.array(labels, np.int32)
    return Concepts(tokens, found, max(k, int(found.max(initial=-1)) + 1))


def dictionary(pairs, *, source: str = "en", target: str = "de") -> TranslationDictionary:
    rows = [(s, t, 1, 1.0) for s, t in pairs]
    schema = {"source": pl.String, "target": pl.String, "count": pl.Int64, "probability": pl.Float64}
    return TranslationDictionary(source, target, pl.DataFrame(rows, schema=schema, orient="row"))


# -- CALIGN: the formula --------------------------------------------------------------------------


def by_sets(source: Concepts, target: Concepts, pairs, theta, *, min_types, min_size_ratio):
    """CALIGN from its formula: score, number of eligible concepts, aligned pairs with their matches."""

    def types(of: Concepts) -> list[set[str]]:
        return [set(of.members(c)["word"].to_list()) for c in range(of.n_concepts)]

    S, T = types(source), types(target)
    translations: dict[str, set[str]] = {}
    for s, t in pairs:
        translations.setdefault(s, set()).add(t)
    eligible = [s for s in range(len(S)) if S[s] and len(S[s]) >= min_types]
    aligned = {}
    for s, t in itertools.product(eligible, range(len(T))):
        if not T[t] or len(T[t]) < min_types:
            continue
        small, large = sorted((len(S[s]), len(T[t])))
        match = sum(bool(translations.get(w, set()) & T[t]) for w in S[s]) / len(S[s])
        if match >= theta and small / large >= min_size_ratio:
            aligned[s, t] = match
    score = len({s for s, _ in aligned}) / len(eligible) if eligible else math.nan
    return score, len(eligible), aligned


SOURCE_WORDS, TARGET_WORDS = [f"s{i}" for i in range(9)], [f"t{i}" for i in range(9)]
tokens_of = lambda words: st.lists(  # noqa: E731
    st.tuples(st.sampled_from(words), st.integers(-1, 3)), min_size=1, max_size=30
)


@given(
    source=tokens_of(SOURCE_WORDS),
    target=tokens_of(TARGET_WORDS),
    pairs=st.sets(st.tuples(st.sampled_from(SOURCE_WORDS), st.sampled_from(TARGET_WORDS)), max_size=60),
    theta=st.integers(1, 9).flatmap(lambda n: st.integers(1, n).map(lambda m: m / n)),  # ties are likely
    min_types=st.integers(0, 4),
    min_size_ratio=st.sampled_from([0.0, 0.25, 1 / 3, 0.4, 0.5, 2 / 3, 1.0]),
)
@settings(max_examples=80, deadline=None)
def test_calign_is_its_formula(source, target, pairs, theta, min_types, min_size_ratio):
    s, t = (
        concepts([w for w, _ in side], [c for _, c in side], language=language, k=4)
        for side, language in ((source, "en"), (target, "de"))
    )
    rule = {"min_types": min_types, "min_size_ratio": min_size_ratio}
    score, n, aligned = by_sets(s, t, pairs, theta, **rule)
    thetas = dict.fromkeys([theta, 1.0])
    found = calign(s, t, dictionary(pairs), theta_align=list(thetas), n_permutations=0, **rule)
    figure = found.at(theta)
    assert (figure.score, figure.n) == pytest.approx((score, n), nan_ok=True)
    listed = found.aligned(theta).select("source_concept", "target_concept", "match").rows()
    assert {(a, b): m for a, b, m in listed} == aligned
    assert np.isnan(figure.chance)
    for c, best in enumerate(found.best):
        reached = [m for (a, _), m in aligned.items() if a == c]
        assert (best >= theta) == bool(reached)
        assert not reached or best == max(reached)


@given(source=tokens_of(SOURCE_WORDS), target=tokens_of(TARGET_WORDS))
@settings(max_examples=15, deadline=None)
def test_matched_words_are_the_matches(source, target):
    s, t = (
        concepts([w for w, _ in side], [c for _, c in side], language=language, k=4)
        for side, language in ((source, "en"), (target, "de"))
    )
    pairs = {(f"s{i}", f"t{j}") for i in range(9) for j in (i, (i + 1) % 9)}
    found = calign(s, t, dictionary(pairs), theta_align=0.01, min_types=1, min_size_ratio=0, n_permutations=0)
    counted = found.words.group_by("source_concept", "target_concept").agg(pl.col("source").n_unique())
    assert set(counted.rows()) == set(found.pairs.select("source_concept", "target_concept", "n_matched").rows())
    assert set(found.words.select("source", "target").rows()) <= pairs


def test_coverage_looks_at_both_sides(caplog):
    words = ["house", "river", "bird", "tree", "moon"]
    source = concepts(words, [0] * 5, language="en")
    target = concepts(["Haus", "Fluss", "Vogel", "Baum", "Mond"], [0] * 5, language="de")
    given = zip(words, ["haus", "fluss", "vogel", "baum", "mond"], strict=True)
    lower = dictionary(given)
    found = calign(source, target, lower).estimates[0]
    assert (found.score, found.coverage) == (0.0, 0.0)
    assert "TranslationDictionary.for_corpus" in caplog.text
    corpus = Corpus.from_texts({"en": [" ".join(words)], "de": ["Haus Fluss Vogel Baum Mond"]})
    found = calign(source, target, lower.for_corpus(corpus)).estimates[0]
    assert (found.score, found.coverage) == (1.0, 1.0)
    one = calign(source, target, dictionary([("house", "Haus"), ("river", "Strom")])).estimates[0]
    assert one.coverage == 1 / 5  # Strom is no word of the other side


def test_calign_by_hand():
    # Concept 0 has 4 of 5 types in the target concept (a tie at 0.8), concept 1 has 3 of 5, concept 2 has 4 types.
    words = [f"s{i}" for i in range(14)]
    source = concepts([*words, "s0"], [0] * 5 + [1] * 5 + [2] * 4 + [0], language="en")
    target = concepts([f"t{i}" for i in range(10)], [0] * 5 + [1] * 5, language="de")
    pairs = [(f"s{i}", f"t{i}") for i in (0, 1, 2, 3, 5, 6, 7)] + [("s13", "t9")]
    found = calign(source, target, dictionary(pairs), theta_align=[0.8, 0.6, 0.81])
    assert [f.score for f in found.estimates] == [0.5, 1.0, 0.0]
    assert found.estimates[0].n == 2
    assert found.estimates[0].coverage == 8 / 14
    assert found.best.tolist()[:2] == [0.8, 0.6]
    assert np.isnan(found.best[2])
    assert found.aligned(0.8).select("source_concept", "target_concept").rows() == [(0, 0)]
    assert found.words.filter(pl.col("source_concept") == 1)["source"].to_list() == ["s5", "s6", "s7"]


@pytest.mark.parametrize(
    ("n_target", "rule", "score"),
    [
        (3, {}, 1.0),
        (3, {"min_types": 4}, 0.0),
        (3, {"min_size_ratio": 0.5}, 1.0),
        (3, {"min_size_ratio": 0.51}, 0.0),
        (12, {"min_size_ratio": 0.5}, 1.0),
        (13, {"min_size_ratio": 0.5}, 0.0),
    ],
)
def test_sizes_count_on_both_sides(n_target, rule, score):
    source = concepts([f"s{i}" for i in range(6)], [0] * 6, language="en")
    target = concepts([f"t{i}" for i in range(n_target)], [0] * n_target, language="de")
    options = {"theta_align": 1, "min_types": 3, "min_size_ratio": 0, "n_permutations": 0} | rule
    assert calign(source, target, dictionary((f"s{i}", "t0") for i in range(6)), **options).score == score


def test_the_direction_matters_and_the_mean_is_of_both():
    source = concepts(["a", "b"], [0, 0], language="en")
    target = concepts(["x", "y", "z", "w"], [0, 0, 1, 1], language="de")
    options = {"theta_align": 1.0, "min_types": 1, "n_permutations": 20}
    there = calign(source, target, dictionary([("a", "x"), ("b", "y")]), **options)
    back = calign(target, source, dictionary([("x", "a"), ("y", "b")], source="de", target="en"), **options)
    assert (there.score, back.score) == (1.0, 0.5)
    mean = mean_alignment(there.estimates[0], back.estimates[0])
    assert mean.score == 0.75
    assert mean.n == 3
    assert mean.ci_low < 0.75 < mean.ci_high


def test_a_planted_alignment_is_found_and_chance_is_far_below():
    generator = np.random.default_rng(5)
    labels = generator.permutation(np.repeat(np.arange(40), 6)).tolist()
    source = concepts([f"s{i}" for i in range(240)], labels, language="en")
    target = concepts([f"t{i}" for i in range(240)], labels, language="de")
    found = calign(source, target, dictionary((f"s{i}", f"t{i}") for i in range(240)))
    assert found.score == 1
    assert found.adjusted > 0.99
    assert found.estimates[0].p_value == pytest.approx(1 / 201)
    assert found.estimates[0].coverage == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"theta_align": 0},
        {"theta_align": 1.01},
        {"theta_align": 80},
        {"theta_align": math.nan},
        {"theta_align": []},
        {"theta_align": [0.8, -0.1]},
        {"rule": "paper"},
        {"min_size_ratio": 40},
    ],
)
def test_calign_refuses_impossible_settings(wrong):
    source, target = (concepts(["a"], [0], language=x) for x in ("en", "de"))
    with pytest.raises(UsageError, match=next(iter(wrong))):
        calign(source, target, dictionary([("a", "a")]), **wrong)


def test_calign_refuses_a_dictionary_of_another_pair():
    en, de = (concepts(["a"], [0], language=x) for x in ("en", "de"))
    both = concepts(["a", "b"], [0, 0], language=["en", "de"])
    for source, target in ((de, en), (both, de)):
        with pytest.raises(UsageError, match=r"en->de"):
            calign(source, target, dictionary([("a", "a")]))


def test_nothing_eligible_gives_nan_not_a_crash():
    source, target = (concepts(["a", "b"], [0, 0], language=x) for x in ("en", "de"))
    figure = calign(source, target, dictionary([("a", "a")])).estimates[0]
    assert figure.n == 0
    for value in (figure.score, figure.chance, figure.adjusted, figure.ci_low, figure.ci_high):
        assert math.isnan(value)
    empty = concepts([], [], language="en")
    assert math.isnan(calign(empty, target, dictionary([]), min_types=1).score)


# -- CALIGN: the null -----------------------------------------------------------------------------


def random_structure(seed: int):
    """Concepts of very uneven sizes, Zipf-like words, and a dictionary that knows nothing of the concepts."""
    generator = np.random.default_rng(seed)
    n_types, k = 300, 25
    share = 1 / np.arange(1, k + 1)
    sides = []
    for side, language in (("s", "en"), ("t", "de")):
        of_type = generator.choice(k, n_types, p=share / share.sum())
        count = np.minimum(1 + generator.zipf(1.7, n_types), 40)
        words = np.repeat([f"{side}{i}" for i in range(n_types)], count).tolist()
        labels = np.repeat(of_type, count)
        scatter = generator.random(len(labels)) < 0.2  # some tokens of a type lie elsewhere
        labels = np.where(scatter, generator.choice(k, len(labels), p=share / share.sum()), labels)
        sides.append(concepts(words, labels.tolist(), language=language, k=k))
    pairs = {(f"s{i}", f"t{j}") for i in range(n_types) for j in generator.integers(n_types, size=3)}
    return sides[0], sides[1], dictionary(sorted(pairs))


def test_null_with_the_identity_is_the_score():
    small = {"min_types": 2, "min_size_ratio": 0.3}
    for given_ in (small, {**small, "rule": "paper-code"}, {"min_size_ratio": 0.0}):
        rule = AlignmentSettings(**given_)
        s, t, d = random_structure(1)
        both = Matrices.of(s, t, d)
        expected = best_matches(match_counts(both.S, both.D, both.T), *both.sizes, rule)
        moves, columns = np.arange(both.T.shape[0], dtype=np.int32)[None], both.T.indices[None]
        for null in ({"moves": moves}, {"columns": columns}):
            assert (null_best_matches(both.S, both.D, both.T, rule, **null)[0] == expected.astype(np.float32)).all()
        assert expected.max() > 0


def test_permutations_stay_inside_their_frequency_bin():
    frequency = np.array([0, 1, 1, 2, 3, 3, 4, 7, 8, 100, 1, 0, 2])
    bins = frequency_bins(frequency)
    assert bins.tolist() == [-1, 0, 0, 1, 1, 1, 2, 2, 3, 6, 0, -1, 1]
    moved = permutations_within(bins, 50, np.random.default_rng(0))
    assert (np.sort(moved, axis=1) == np.arange(len(bins))).all()
    assert (bins[moved] == bins).all()
    assert len(np.unique(moved, axis=0)) > 10


def test_both_chance_levels_are_the_expected_score_of_random_structure():
    above = {"chance_words": [], "chance_sentence": []}
    for seed in range(40):
        s, t, d = random_structure(seed)
        aligned = calign(s, t, d, theta_align=0.5, min_types=3, min_size_ratio=0.3, n_permutations=60, words=False)
        assert 0.2 < aligned.chance < 0.8
        for name, values in above.items():
            values.append(aligned.score - getattr(aligned.estimates[0], name))
    for values in above.values():
        assert abs(np.mean(values)) < 2 * np.std(values, ddof=1) / math.sqrt(len(values))


def test_chance_is_a_function_of_the_seed():
    s, t, d = random_structure(3)
    options = {"theta_align": 0.5, "min_types": 3, "n_permutations": 30, "words": False}
    once, again, other = (calign(s, t, d, draw_seed=seed, **options).estimates for seed in (7, 7, 8))
    assert once == again
    assert once[0].chance != other[0].chance
    assert once[0].score == other[0].score
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert calign(s, t, d, draw_seed=7, **options).estimates == once
    finally:
        numba.set_num_threads(threads)


# -- COLAP ----------------------------------------------------------------------------------------


def joint(counts: list[list[int]], names=("en", "de", "fr", "es", "ar")) -> Concepts:
    """Concepts with the given tokens of every language."""
    rows = [(names[i], c) for c, row in enumerate(counts) for i, n in enumerate(row) for _ in range(n)]
    return concepts(["w"] * len(rows), [c for _, c in rows], language=[language for language, _ in rows], k=len(counts))


def test_colap_by_hand():
    found = colap(joint([[3, 7], [2, 8], [5, 5], [4, 0], [0, 0]]), theta_overlap=[0.3, 0.5, 0.2])
    assert [f.score for f in found.estimates] == [0.5, 0.25, 0.75]  # 3 of 10 is a tie; the empty one does not count
    assert found.estimates[0].n == 4
    assert found.table()["evenness"].to_list()[:4] == pytest.approx([0.6, 0.4, 1.0, 0.0])
    assert found.table()["n_tokens"].to_list() == [10, 10, 10, 4, 0]


def test_colap_of_a_pair_leaves_the_other_languages_out():
    three = joint([[5, 5, 90], [1, 9, 0], [0, 0, 4]])
    found = colap(three, languages=("de", "en"))
    assert found.counts.tolist() == [[5, 5], [9, 1], [0, 0]]
    assert found.score == 0.5
    assert colap(three).score == 0


def test_tokens_without_a_concept_count_as_not_covered():
    some = concepts(["w"] * 4, [0, 0, -1, -1], language=["en", "de", "en", "de"])
    assert colap(some).estimates[0].coverage == 0.5
    none = colap(concepts(["w"] * 2, [-1, -1], language=["en", "de"]))
    assert none.estimates[0].n == 0
    assert math.isnan(none.score)
    assert math.isnan(none.adjusted)


@pytest.mark.parametrize(("percent", "passes"), [(7, True), (14, True), (28, True), (29, False), (57, None)])
def test_paper_code_compares_in_percent(percent, passes):
    """In doubles 7 / 100 * 100 is more than 7, but 29 / 100 * 100 is not more than 29."""
    tied = joint([[percent, 100 - percent]])
    if passes is None:
        with pytest.raises(UsageError, match="theta_overlap"):
            colap(tied, theta_overlap=percent / 100, rule="paper-code")
    else:
        assert colap(tied, theta_overlap=percent / 100, rule="paper-code").score == passes
        assert colap(tied, theta_overlap=percent / 100).score == 1


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"theta_overlap": 0.51}, r"0 to 0\.5 \(beyond a half.*0\.51"),
        ({"theta_overlap": 30}, "got 30"),
        ({"theta_overlap": 30, "rule": "paper-code"}, "got 30"),
        ({"theta_overlap": 0}, "got 0"),
        ({"languages": ("en",)}, "at least two"),
        ({"languages": ("en", "en")}, "at least two"),
        ({"languages": ("en", "dee")}, "'dee'. Did you mean 'de'"),
        ({"rule": "papercode"}, "Did you mean 'paper-code'"),
    ],
)
def test_colap_refuses_impossible_settings(given_, message):
    with pytest.raises(UsageError, match=message):
        colap(joint([[1, 1]]), **given_)


def test_colap_refuses_one_language_and_a_third_of_three():
    with pytest.raises(UsageError, match="got en"):
        colap(joint([[3]]))
    with pytest.raises(UsageError, match="3 languages"):
        colap(joint([[1, 1, 1]]), theta_overlap=0.34)
    assert colap(joint([[1, 1, 1]]), theta_overlap=1 / 3).score == 1


@given(totals=st.lists(st.integers(1, 7), min_size=2, max_size=4), data=st.data(), strict=st.booleans())
@settings(max_examples=80, deadline=None)
def test_colap_chance_is_exact(totals, data, strict):
    """Against the sum over all ways to draw a concept of n tokens."""
    n = data.draw(st.integers(1, sum(totals)))
    theta = data.draw(st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 1 / len(totals)]))
    wanted = 0.0
    for drawn in itertools.product(*(range(size + 1) for size in totals)):
        if sum(drawn) == n and all((k / n * 100 > theta * 100) if strict else k / n >= theta for k in drawn):
            wanted += math.prod(comb(size, k, exact=True) for size, k in zip(totals, drawn, strict=True))
    wanted /= comb(sum(totals), n, exact=True)
    rule = OverlapSettings(rule="paper-code" if strict else "symmetric")
    found = chance_overlap(np.array([n]), np.array(totals), theta, rule=rule)
    assert found[0] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("totals", "theta"), [((400, 300), 0.3), ((150, 700), 0.2), ((200, 300, 250), 0.2), ((90, 110, 100, 120, 80), 0.1)]
)
def test_colap_chance_agrees_with_dealing_out_tokens(totals, theta):
    generator = np.random.default_rng(11)
    for n in (7, 20, 60):
        drawn = generator.multivariate_hypergeometric(totals, n, size=20_000)
        simulated = (drawn / n >= theta).all(axis=1).mean()
        exact = chance_overlap(np.array([n]), np.array(totals), theta)[0]
        assert abs(exact - simulated) < 4 * math.sqrt(max(exact * (1 - exact), 1e-4) / 20_000)


def test_colap_chance_holds_for_extreme_totals():
    totals = np.array([1_000_000, 1_000_000, 800_000, 1_000_000, 100])
    sizes = np.array([1, 5, 50, 5_000, 3_899_999])
    for some in (totals, totals[:2], totals[[0, 4]]):
        found = chance_overlap(np.minimum(sizes, some.sum())[:4], some, 0.2)
        assert np.isfinite(found).all()
        assert ((found >= 0) & (found <= 1)).all()
    balanced = chance_overlap(np.array([4, 5_000]), totals[:2], 0.3)
    assert balanced[0] == pytest.approx(6 / 16, abs=1e-5)  # a fair coin: 2 heads and 2 tails
    assert balanced[1] == pytest.approx(1, abs=1e-6)
    half = chance_overlap(np.array([1_000_000]), totals[:2], 0.3)
    assert half[0] == pytest.approx(1, abs=1e-6)
    everything = chance_overlap(np.array([2_000_000]), totals[:2], 0.3)
    assert everything[0] == pytest.approx(1, abs=1e-6)


def test_mixed_languages_are_at_chance_and_separate_ones_below():
    generator = np.random.default_rng(2)
    labels = generator.integers(60, size=1200).tolist()
    mixed = concepts(["w"] * 1200, labels, language=["en", "de"] * 600)
    found = colap(mixed).estimates[0]
    assert abs(found.score - found.chance) < 3 * found.chance_sd
    apart = colap(joint([[20, 0], [0, 20]])).estimates[0]
    assert apart.score == 0
    assert apart.adjusted < -0.5


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (3, 10), (250, 1000)])
def test_wilson_interval_solves_its_equation(k, n):
    """Its ends are the shares p for which the observed share lies z standard errors away."""
    p = k / n
    for end in wilson(k, n):
        assert 0 <= end <= 1
        assert abs(p - end) == pytest.approx(1.959963984540054 * math.sqrt(end * (1 - end) / n), abs=1e-9)
