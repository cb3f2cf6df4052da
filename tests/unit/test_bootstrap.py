"""Resamples of sentences, their intervals, paired differences, false discoveries; and planted truth."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.planted import plant
from isogloss.errors import InputError, UsageError
from isogloss.metrics import calign, colap, one_to_one
from isogloss.metrics.concepts.matching import best_matches, incidence, match_counts, weighted_best_matches
from isogloss.metrics.concepts.overlap import chance_deviation, chance_overlap
from isogloss.metrics.statistics.bootstrap import GROUPS, Resamples, interval, paired_difference, share_interval
from isogloss.metrics.statistics.multiple import false_discovery
from isogloss.parallel import spreading
from isogloss.settings import AlignmentSettings, OverlapSettings

# -- resamples ------------------------------------------------------------------------------------


def test_every_resample_has_as_many_sentences_and_every_group_is_left_out_once():
    drawn = Resamples.draw([7, 3, 3, 11, 20], 50, draw_seed=1)
    assert drawn.sentences.tolist() == [3, 7, 11, 20]
    assert drawn.weights.shape == (50 + GROUPS, 4)
    assert (drawn.weights[:50].sum(axis=1) == 4).all()
    left = drawn.weights[50:]
    assert ((1 - left).sum(axis=0) == 1).all()
    assert np.array_equal(drawn.weights, Resamples.draw([3, 7, 11, 20], 50, draw_seed=1).weights)
    assert not np.array_equal(drawn.weights, Resamples.draw([3, 7, 11, 20], 50, draw_seed=2).weights)


def test_counts_of_rows_follow_the_sentences_drawn():
    drawn = Resamples.draw(range(5), 9)
    rows, sentences = [0, 0, 1, 2, 2, 2], [0, 1, 4, 2, 2, 3]
    found = drawn.of(drawn.table(rows, pl.Series(sentences), 4))
    expected = np.zeros((4, 9 + GROUPS))
    for row, sentence in zip(rows, sentences, strict=True):
        expected[row] += drawn.weights[:, sentence]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="Sentence 5 is not among"):
        drawn.table([0], pl.Series([5]), 1)


def test_too_little_to_draw_from():
    with pytest.raises(UsageError, match="needs two sentences"):
        Resamples.draw([4, 4], 10)


# -- intervals ------------------------------------------------------------------------------------


def mean_draws(values, resamples):
    return (resamples.weights @ values) / resamples.weights.sum(axis=1)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_interval_of_a_mean_agrees_with_scipy(method):
    """Ours is moved to have its mean at the score, which changes next to nothing for a mean."""
    values = np.random.default_rng(3).exponential(size=200)
    resamples = Resamples.draw(range(200), 4000, draw_seed=5)
    found = interval(values.mean(), mean_draws(values, resamples), method=method)
    reference = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method={"bca": "BCa"}.get(method, method), random_state=1
    ).confidence_interval
    assert found == pytest.approx(reference, abs=0.02)


def test_a_shift_that_only_resamples_have_is_taken_out():
    draws = np.random.default_rng(0).normal(0.8, 0.05, 500 + GROUPS)
    low, high = interval(0.5, draws, method="percentile")
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.02)


def test_intervals_that_are_not_defined():
    draws = np.full(30 + GROUPS, np.nan)
    assert all(map(math.isnan, interval(0.5, draws)))
    assert all(map(math.isnan, interval(math.nan, np.zeros(30 + GROUPS))))
    assert interval(0.5, np.full(30 + GROUPS, 0.5)) == (0.5, 0.5)
    with pytest.raises(UsageError, match=r"method must be 'bca' or 'percentile'; got 'bcaa'\. Did you mean 'bca'"):
        interval(0.5, draws, method="bcaa")


def test_the_interval_of_a_share_is_of_shares():
    draws = np.random.default_rng(0).normal(0.02, 0.05, 500 + GROUPS)
    assert interval(0.02, draws)[0] < 0
    assert share_interval(0.02, draws) == (0.0, interval(0.02, draws)[1])
    assert share_interval(0.98, draws) == (interval(0.98, draws)[0], 1.0)
    assert all(map(math.isnan, share_interval(math.nan, draws)))


def test_paired_difference_sees_what_unpaired_ones_do_not():
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 1, 150)  # sentences differ much more than models
    first, second = hard, hard + 0.1 + rng.normal(0, 0.1, 150)
    resamples = Resamples.draw(range(150), 1000)
    draws = tuple(mean_draws(x, resamples) for x in (first, second))
    found = paired_difference(first.mean(), second.mean(), draws)
    assert found.difference == pytest.approx(second.mean() - first.mean())
    assert 0 < found.ci_low < 0.1 < found.ci_high < 0.2
    assert found.p_value < 0.01
    alone = interval(first.mean(), draws[0])
    assert alone[0] < second.mean() < alone[1]
    same = paired_difference(first.mean(), first.mean(), (draws[0], draws[0]))
    assert (same.difference, same.p_value) == (0, 1)
    with pytest.raises(UsageError, match="the same resamples"):
        paired_difference(0, 0, (draws[0], draws[1][:-1]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_those_of_scipy(p):
    np.testing.assert_allclose(false_discovery([*p, math.nan])[:-1], scipy.stats.false_discovery_control(p), atol=1e-12)
    assert math.isnan(false_discovery([*p, math.nan])[-1])


# -- formulas -------------------------------------------------------------------------------------


def test_weights_of_one_give_the_plain_best_matches():
    rng = np.random.default_rng(2)
    S, T = (incidence(np.arange(200), rng.integers(0, 12, 200), (200, 12)) for _ in range(2))
    D = incidence(rng.integers(0, 200, 500), rng.integers(0, 200, 500), (200, 200))
    rule = AlignmentSettings(min_types=3, min_size_ratio=0.3)
    sizes = [x.sum(axis=0).astype(np.int32) for x in (S, T)]
    plain = best_matches(match_counts(S, D, T), *sizes, rule)
    weights = np.ones((S.nnz, 2), np.float32)
    weights[:, 1] = rng.random(S.nnz)
    found = weighted_best_matches(S, D, T, rule, weights)
    np.testing.assert_allclose(found[0], plain, rtol=1e-6)
    dense, reached = S.toarray().astype(float), (D @ T).toarray() > 0
    dense[dense > 0] = weights[:, 1]
    match = dense.T @ reached / dense.sum(axis=0)[:, None]
    allowed = rule.admissible(sizes[0][:, None], sizes[1][None, :])
    np.testing.assert_allclose(found[1], np.where(allowed, match, 0).max(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("totals", "sizes"),
    [((60, 40), [10, 20, 5, 30, 35]), ((50, 30, 40), [10, 25, 45, 40]), ((40, 40, 40, 40), [30, 70, 60])],
)
def test_deviation_of_chance_overlap_is_that_of_dealing_tokens_out(totals, sizes):
    rng = np.random.default_rng(0)
    theta = 0.6 / len(totals)
    languages, labels = np.repeat(np.arange(len(totals)), totals), np.repeat(np.arange(len(sizes)), sizes)
    scores = []
    for _ in range(6000):
        counts = np.zeros((len(sizes), len(totals)), int)
        np.add.at(counts, (labels, rng.permutation(languages)), 1)
        scores.append(OverlapSettings().overlapping(counts, theta).mean())
    exact = chance_deviation(np.array(sizes), np.array(totals), theta)
    assert np.std(scores) == pytest.approx(exact, rel=0.04)
    independent = chance_overlap(np.array(sizes), np.array(totals), theta)
    alone = np.sqrt((independent * (1 - independent)).sum()) / len(sizes)
    assert exact != pytest.approx(alone, rel=0.015)  # covariances count


def test_twenty_sizes_stand_for_many():
    rng = np.random.default_rng(0)
    sizes = rng.multinomial(2400, rng.dirichlet(np.ones(50) * 2))
    sizes = sizes[sizes > 0]
    assert len(np.unique(sizes)) > 25
    from isogloss.metrics.concepts import overlap as module

    few = chance_deviation(sizes, np.array([1200, 1200]), 0.3)
    old, module._N_SIZES = module._N_SIZES, 1000
    try:
        every = chance_deviation(sizes, np.array([1200, 1200]), 0.3)
    finally:
        module._N_SIZES = old
    assert few == pytest.approx(every, rel=0.01)


# -- planted truth --------------------------------------------------------------------------------


@pytest.mark.parametrize("unevenness", [0.0, 0.7])
@pytest.mark.parametrize("options", [{}, {"noise": 0.05}, {"coverage": 0.7}, {"n_wrong": 4}])
def test_no_structure_gives_zero(unevenness, options):
    hard, soft = [], []
    for seed in range(8):
        p = plant(0, seed=seed, unevenness=unevenness, n_concepts=30, n_types=600, n_sentences=400, **options)
        found = calign(p.source, p.target, p.dictionary, theta_align=0.3, n_permutations=30, words=False)
        hard.append(found.adjusted)
        soft.append(found.soft.adjusted)
    for scores in (hard, soft):
        error = max(np.std(scores, ddof=1) / len(scores) ** 0.5, 0.005)
        assert abs(np.mean(scores)) < 2.5 * error


@pytest.mark.parametrize("unevenness", [0.0, 0.7])
def test_planted_alignment_is_recovered_and_rises(unevenness):
    small = {"n_concepts": 30, "n_types": 600, "n_sentences": 600, "unevenness": unevenness, "seed": 3}
    for options, exact in (({}, True), ({"n_wrong": 3}, True), ({"noise": 0.03}, False), ({"coverage": 0.8}, False)):
        soft, hard, shared = [], [], []
        for a in (0, 0.2, 0.5, 0.8, 1):
            p = plant(a, **small, **options)
            found = calign(p.source, p.target, p.dictionary, theta_align=0.8, n_permutations=20, words=False)
            hard.append(found.adjusted)
            soft.append(found.soft.adjusted)
            shared.append(colap(p.joint).score)
        assert (np.diff(soft) > 0.05).all()
        assert (np.diff(hard) >= 0).all()
        if exact:
            assert hard == pytest.approx([0, 0.2, 0.5, 0.8, 1], abs=0.08)
        if not options:
            assert shared == pytest.approx([a / (2 - a) for a in (0, 0.2, 0.5, 0.8, 1)], abs=0.02)


def test_colap_is_zero_above_chance_when_languages_are_shuffled_and_one_when_all_is_shared():
    adjusted = []
    rng = np.random.default_rng(0)
    for seed in range(20):
        p = plant(0.5, seed=seed, n_concepts=30, n_types=300, n_sentences=60, unevenness=0.7)
        mixed = replace(p.joint, labels=rng.permutation(p.joint.labels))
        adjusted.append(colap(mixed, theta_overlap=0.45).adjusted)
    assert abs(np.mean(adjusted)) < 2 * np.std(adjusted, ddof=1) / len(adjusted) ** 0.5
    p = plant(1, n_concepts=30, n_types=300, n_sentences=60)
    assert colap(p.joint, theta_overlap=0.45).adjusted == 1


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = []
    scores = []
    common = {"n_concepts": 25, "n_types": 400, "n_sentences": 250, "noise": 0.03, "unevenness": 0.4}
    for text in range(60):
        p = plant(0.6, seed=5, text_seed=text, **common)
        resamples = Resamples.draw(np.arange(250), 100, draw_seed=text)
        found = calign(p.source, p.target, p.dictionary, n_permutations=0, resamples=resamples, words=False)
        scores.append((found.score, found.soft.score))
        held.append([(f.ci_low, f.ci_high) for f in (found.estimates[0], found.soft)])
    truth, ends = np.mean(scores, axis=0), np.array(held)
    covered = ((ends[..., 0] <= truth) & (truth <= ends[..., 1])).mean(axis=0)
    assert (covered >= 0.85).all()  # 95 % in expectation; 60 texts and 100 resamples leave some room


# -- further forms --------------------------------------------------------------------------------


def test_one_to_one_is_calign_where_no_target_serves_twice_and_less_where_one_does():
    p = plant(0.6, n_concepts=30, n_types=600, n_sentences=500, seed=1)
    plain = calign(p.source, p.target, p.dictionary, n_permutations=20, words=False)
    once = one_to_one(p.source, p.target, p.dictionary, n_permutations=20)
    assert once.score == plain.score
    assert once.chance <= plain.chance + 0.02
    # two source concepts of a kind share one target
    halves = replace(p.source, labels=p.source.labels // 2, n_concepts=15)
    both = one_to_one(p.source, replace(halves, tokens=p.target.tokens), p.dictionary, min_size_ratio=0.3)
    many = calign(
        p.source,
        replace(halves, tokens=p.target.tokens),
        p.dictionary,
        min_size_ratio=0.3,
        n_permutations=0,
        words=False,
    )
    assert many.score == 1
    assert both.score == 0.5


def test_covered_types_alone_give_the_truth_back():
    p = plant(1, coverage=0.7, n_concepts=30, n_types=900, n_sentences=800, seed=2)
    options = {"theta_align": 0.8, "n_permutations": 20, "words": False}
    plain = calign(p.source, p.target, p.dictionary, **options)
    covered = calign(p.source, p.target, p.dictionary, **options, covered_only=True)
    assert plain.adjusted < 0.5
    assert covered.adjusted == 1
    assert covered.estimates[0].coverage == 1
    none = plant(0, coverage=0.7, n_concepts=30, n_types=900, n_sentences=800, seed=2)
    found = calign(none.source, none.target, none.dictionary, **options, covered_only=True)
    assert found.adjusted == pytest.approx(0, abs=0.02)


def test_label_permutation_is_another_null():
    p = plant(0.5, n_concepts=30, n_types=600, n_sentences=400, seed=3)
    options = {"theta_align": 0.3, "n_permutations": 20, "words": False}
    targets, labels = (calign(p.source, p.target, p.dictionary, null=x, **options) for x in ("targets", "labels"))
    assert targets.score == labels.score
    assert targets.chance != labels.chance
    with pytest.raises(UsageError, match="null must be 'targets' or 'labels'; got 'label'"):
        calign(p.source, p.target, p.dictionary, null="label", **options)


def test_p_values_of_differences_are_small_by_chance_as_often_as_they_say() -> None:
    generator = np.random.default_rng(8)
    p = []
    for i in range(300):
        before, after = generator.normal(size=(2, 80))
        weights = Resamples.draw(np.arange(80), 200, draw_seed=i).weights
        draws = tuple(weights @ x / weights.sum(axis=1) for x in (before, after))
        p.append(paired_difference(before.mean(), after.mean(), draws).p_value)
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09
    assert min(p) < 0.02 and np.mean(p) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("measure", [calign, one_to_one])
def test_resamples_in_batches_elsewhere_give_the_same_draws(measure, monkeypatch):
    truth = plant(0.5, n_concepts=12, n_types=120, n_sentences=60, seed=3)
    resamples = Resamples.draw(truth.source.tokens["sentence"], 40, draw_seed=0)
    options = {"theta_align": 0.8, "min_types": 2, "n_permutations": 5, "resamples": resamples}
    whole = measure(truth.source, truth.target, truth.dictionary, **options)
    sent = []

    def elsewhere(function, items):
        found = {}
        for i, item in reversed(list(enumerate(items))):  # in another order, by what travels alone
            do, one = pickle.loads(pickle.dumps((function, item)))
            found[i] = do(one)
            sent.append(len(one))
        return [found[i] for i in sorted(found)]

    monkeypatch.setattr("isogloss.metrics.statistics.bootstrap._BATCH", 7)
    with spreading(elsewhere):
        parts = measure(truth.source, truth.target, truth.dictionary, **options)
    one, two = (getattr(x, "soft", x) for x in (whole, parts))
    assert sent == [4, *[7] * 8]
    assert np.array_equal(one.draws, two.draws)
    assert (one.ci_low, one.ci_high) == (two.ci_low, two.ci_high)
