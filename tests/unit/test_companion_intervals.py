"""Intervals of the companion measures: formulas with weights, the jackknife, and how often they hold the truth."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import polars as pl
import pytest
import scipy.stats

from benchmarks.planted import plant
from isogloss.errors import InputError, UsageError
from isogloss.metrics import calign, one_to_one
from isogloss.metrics.companions import estimates as module
from isogloss.metrics.companions.cka import cka_draws, linear_cka
from isogloss.metrics.companions.estimates import compare_rows, look_at_space
from isogloss.metrics.companions.isotropy import mean_cosine, mean_cosine_draws
from isogloss.metrics.companions.neurons import anc, anc_draws
from isogloss.metrics.companions.separability import knn_mixing
from isogloss.metrics.concepts.mixing import mixing_estimates
from isogloss.metrics.concepts.partition import ami, language_entropy, purity
from isogloss.metrics.registry import COMPANIONS
from isogloss.metrics.statistics.bootstrap import GROUPS, Resamples, jackknife_interval

JACKKNIFE = {"svcca", "pwcca", "rsa", "isoscore"}
WEIGHTED = {
    "cka": (linear_cka, cka_draws),
    "anc": (anc, anc_draws),
    "anc_absolute": (COMPANIONS["anc_absolute"].formula, COMPANIONS["anc_absolute"].draws),
    "mean_cosine": (lambda X, _: mean_cosine(X), lambda X, _, *, weights: mean_cosine_draws(X, weights)),
}


def text(seed, n=120, d=6, a_sentence=1):
    """Return two languages of n rows; those of a sentence are alike and equally hard."""
    fixed, rng = np.random.default_rng(1), np.random.default_rng(seed)
    turn = fixed.normal(size=(d, d))
    sentences = np.repeat(np.arange(n // a_sentence), a_sentence)
    topics = rng.normal(size=(n, d))[sentences] * (0.5 if a_sentence > 1 else 0)
    hard = rng.uniform(0.2, 1.8, size=n)[sentences, None]
    meaning = (rng.normal(size=(n, d)) + topics) @ turn
    noise = np.sqrt(d) * 0.6 * (1.2 * hard + 0.3)
    return meaning + 0.3 * rng.normal(size=(n, d)), meaning + noise * rng.normal(size=(n, d)) + 0.5, sentences


def measured(name, X, Y, sentences, resamples):
    if COMPANIONS[name].takes != "space":
        return compare_rows(name, X, Y, sentences=sentences, resamples=resamples)
    languages, both = np.repeat(["a", "b"], len(X)), np.tile(sentences, 2)
    return look_at_space(name, np.concatenate([X, Y]), languages, both, resamples=resamples)


def held(figures):
    """Return how often the intervals hold the mean score, and their width in standard deviations of the score."""
    scores = np.array([one.score for one in figures])
    low, high = (np.array([getattr(one, side) for one in figures]) for side in ("ci_low", "ci_high"))
    truth = scores.mean()
    return ((low <= truth) & (truth <= high)).mean(), (high - low).mean() / (3.92 * scores.std())


# -- formulas -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_one_give_the_score_and_weights_of_zero_leave_rows_out(name):
    score, draws = WEIGHTED[name]
    X, Y, _ = text(0, n=40)
    weights = np.ones((3, 40), np.float32)
    weights[1] = 3
    weights[2, ::3] = 0
    kept = weights[2] > 0
    found = draws(X, Y, weights=weights)
    assert found[0] == pytest.approx(score(X, Y), abs=1e-12)
    if name.startswith("anc"):  # counts of rows do not matter where rows are not compared with each other
        assert found[1] == pytest.approx(found[0], abs=1e-12)
    assert found[2] == pytest.approx(score(X[kept], Y[kept]), abs=1e-12)
    assert math.isnan(draws(X, Y, weights=np.zeros((1, 40)))[0])


def test_weighted_cka_is_its_definition_over_distinct_rows():
    X, Y, _ = text(1, n=7, d=3)
    w = np.array([1.0, 2, 0, 3, 1, 1, 2])
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)

    def hsic(a, b):
        K, L = a @ a.T, b @ b.T
        sums = np.zeros((3, 2))
        for i, j, q, r in permutations(range(7), 4):
            sums[1] += w[i] * w[j] * w[q] * w[r] * np.array([K[i, j] * L[q, r], 1])
        for i, j, q in permutations(range(7), 3):
            sums[2] += w[i] * w[j] * w[q] * np.array([K[i, j] * L[i, q], 1])
        for i, j in permutations(range(7), 2):
            sums[0] += w[i] * w[j] * np.array([K[i, j] * L[i, j], 1])
        means = sums[:, 0] / sums[:, 1]
        return means[0] + means[1] - 2 * means[2]

    expected = hsic(X, Y) / math.sqrt(hsic(X, X) * hsic(Y, Y))
    assert cka_draws(X, Y, weights=w[None])[0] == pytest.approx(expected, abs=1e-9)


def test_a_row_mixes_languages_by_its_neighbours_and_as_a_neighbour():
    # by the cosine 0 is nearest to 1, 1 to 0, 2 to 1 and 3 to 2: shares 1, 1, 0, 1 of expected 2/3
    angles = np.radians([0, 10, 25, 60])
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # 1 is near to 0 and 2, foreign to 0 alone: what it brings is (1 - 1) + (0 - 0)
    assert knn_mixing(X, ["a", "b", "b", "a"], k=1) == pytest.approx(np.array([1, 1, 0, 1]) * 1.5)
    # with two neighbours 0: 1, 2; 1: 0, 2; 2: 1, 0; 3: 2, 1; shares 1, 1/2, 1/2, 1
    brought = np.array([1 / 2 + 1 / 2, 0 + -1 / 2 + 0, 0 - 1 / 2 + 0, 0]) / 2
    assert knn_mixing(X, ["a", "b", "b", "a"], k=2) == pytest.approx((np.array([1, 1 / 2, 1 / 2, 1]) + brought) * 1.5)


@pytest.mark.parametrize("name", COMPANIONS)
def test_the_row_of_all_sentences_gives_the_score(name):
    X, Y, sentences = text(2, n=80)
    plain = Resamples(np.arange(80), np.ones((5 + GROUPS, 80), np.float32))
    found = measured(name, X, Y, sentences, plain)
    if name in JACKKNIFE:  # and no group to leave out
        assert (found.ci, found.draws) == ("none", None)
    else:
        assert found.ci == "bca5"
        assert found.draws == pytest.approx(np.full(25, found.score), abs=1e-6)
        assert (found.ci_low, found.ci_high) == pytest.approx((found.score, found.score))


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(0).normal(size=20)
    left_out = [np.delete(values, i).mean() for i in range(20)]
    expected = scipy.stats.t.interval(0.9, 19, values.mean(), scipy.stats.sem(values))
    assert jackknife_interval(values.mean(), left_out, level=0.9) == pytest.approx(expected)
    for score, left in ((math.nan, left_out), (1.0, [*left_out, math.nan]), (1.0, left_out[:1]), (1.0, [])):
        assert all(map(math.isnan, jackknife_interval(score, left)))
    with pytest.raises(UsageError, match="got 1"):
        jackknife_interval(1.0, left_out, level=1)


# -- by name --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPANIONS)
def test_every_measure_has_an_interval_and_says_of_what(name):
    X, Y, sentences = text(3)
    found = measured(name, X, Y, sentences, Resamples.draw(range(150), 60))
    low, high = COMPANIONS[name].range
    assert low <= found.ci_low < found.score < found.ci_high <= high
    assert found.ci == ("jackknife20" if name in JACKKNIFE else "bca60")
    assert (found.draws is None) == (name in JACKKNIFE)
    without = measured(name, X, Y, sentences, None)
    assert (without.score, without.chance, without.ci) == pytest.approx(
        (found.score, found.chance, "none"), nan_ok=True
    )
    assert math.isnan(without.ci_low)
    assert without.draws is None


def test_a_score_that_is_not_defined_has_no_interval():
    X, Y, sentences = text(4, n=30)
    resamples = Resamples.draw(range(30), 20)
    flat = np.ones_like(X)
    for name, x, y in (("svcca", X[:8], Y[:8]), ("cka", flat, Y), ("anc", X, flat), ("isoscore", flat, flat)):
        found = measured(name, x, y, sentences[: len(x)], resamples)
        assert math.isnan(found.score)
        assert math.isnan(found.ci_low)
        assert math.isnan(found.ci_high)
        assert (found.ci, found.draws) == ("none", None)
    # enough rows for CCA, but not where a group is left out
    found = measured("pwcca", X[:13], Y[:13], sentences[:13], resamples)
    assert 0 < found.score < 1
    assert math.isnan(found.ci_low)
    with pytest.raises(InputError, match="Sentence 30 is not among"):
        measured("anc", X, Y, sentences + 1, resamples)


def test_words_of_a_sentence_are_drawn_together():
    X, Y, _ = text(5, n=200)
    X, Y = np.repeat(X[:40], 5, axis=0), np.repeat(Y[:40], 5, axis=0)
    X += 0.01 * np.random.default_rng(0).normal(size=X.shape)
    sentences, resamples = np.repeat(np.arange(40), 5), Resamples.draw(range(200), 200)
    together = compare_rows("procrustes", X, Y, sentences=sentences, resamples=resamples)
    alone = compare_rows("procrustes", X, Y, resamples=resamples)
    assert together.ci_high - together.ci_low > 1.3 * (alone.ci_high - alone.ci_low)


def test_rsa_takes_the_first_thousand_rows_and_leaves_out_groups_of_these(monkeypatch):
    X, Y, sentences = text(6, n=60)
    monkeypatch.setitem(COMPANIONS, "rsa", replace(COMPANIONS["rsa"], most=40))
    resamples = Resamples.draw(range(60), 10)
    assert measured("rsa", X, Y, sentences, resamples) == measured("rsa", X[:40], Y[:40], sentences[:40], resamples)


# -- how often they hold the truth ----------------------------------------------------------------


@pytest.mark.parametrize("name", COMPANIONS)
def test_intervals_hold_the_truth_about_as_often_as_they_say(name, monkeypatch):
    monkeypatch.setattr(module, "_SHUFFLES", 1)  # the chance level is not looked at
    words = COMPANIONS[name].takes == "words"
    figures = []
    for seed in range(60):
        X, Y, sentences = text(seed, n=60 if name == "rsa" else 120, a_sentence=4 if words else 1)
        figures.append(measured(name, X, Y, sentences, Resamples.draw(np.unique(sentences), 100, draw_seed=seed)))
    covered, width = held(figures)
    assert covered >= 0.85  # 95 % in expectation; 60 texts and 100 resamples leave some room
    assert 0.75 < width < 1.6


def joint(seed, n_concepts=30, n_sentences=150):
    """Return (n_concepts, 2) counts of tokens and their draws; a sentence prefers one concept."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    share, sizes = fixed.beta(1.5, 1.5, n_concepts), fixed.dirichlet(np.ones(n_concepts) * 3)
    sentences = np.repeat(np.arange(n_sentences), 12)
    topics = rng.integers(0, n_concepts, n_sentences)[sentences]
    usual = rng.choice(n_concepts, len(sentences), p=sizes)
    concepts = np.where(rng.random(len(sentences)) < 0.3, topics, usual)
    cells = 2 * concepts + (rng.random(len(sentences)) < share[concepts])
    resamples = Resamples.draw(range(n_sentences), 100, draw_seed=seed)
    drawn = resamples.of(resamples.table(cells, pl.Series(sentences), 2 * n_concepts))
    counts = np.bincount(cells, minlength=2 * n_concepts).reshape(-1, 2)
    return counts, drawn.T.reshape(-1, n_concepts, 2)


def test_intervals_of_mixing_hold_the_truth_about_as_often_as_they_say():
    figures = [mixing_estimates(counts, drawn=drawn, n_permutations=0) for counts, drawn in map(joint, range(100))]
    for name in ("language_entropy", "purity", "ami"):
        covered, width = held([found[name] for found in figures])
        assert covered >= 0.88
        assert 0.75 < width < 1.3


def test_mixing_in_the_row_of_all_sentences_is_the_score_of_the_tokens():
    counts, _ = joint(0)
    counts[3] = 0  # an empty concept
    found = mixing_estimates(
        counts, drawn=np.repeat(counts[None], 4 + GROUPS, axis=0).astype(np.float32), n_permutations=0
    )
    labels = np.repeat(np.arange(len(counts)), counts.sum(axis=1))
    languages = np.repeat(np.tile(["a", "b"], len(counts)), counts.ravel())
    for name, measure in (("language_entropy", language_entropy), ("purity", purity), ("ami", ami)):
        assert found[name].score == pytest.approx(measure(labels, languages), abs=1e-12)
        assert found[name].draws == pytest.approx(np.full(24, found[name].score), abs=1e-6)
        assert found[name].n == 29
    alone = mixing_estimates(counts * [1, 0], drawn=np.ones((21, *counts.shape)))
    for name in ("language_entropy", "ami"):  # of one language
        assert math.isnan(alone[name].score)
        assert math.isnan(alone[name].ci_low)
    assert alone["purity"].score == 1


def test_draws_of_one_to_one_are_those_of_calign_where_no_target_serves_twice():
    p = plant(0.6, seed=5, n_concepts=25, n_types=400, n_sentences=250, noise=0.03)
    options = {"n_permutations": 0, "resamples": Resamples.draw(range(250), 60)}
    once = one_to_one(p.source, p.target, p.dictionary, **options)
    plain = calign(p.source, p.target, p.dictionary, words=False, **options).estimates[0]
    assert once.draws == pytest.approx(plain.draws, abs=1e-6)
    assert np.ptp(once.draws) > 0
    assert (once.ci_low, once.ci_high) == pytest.approx((plain.ci_low, plain.ci_high), abs=1e-6)
    percentile = one_to_one(p.source, p.target, p.dictionary, interval="percentile", **options)
    assert (percentile.ci_low, percentile.ci_high) != (once.ci_low, once.ci_high)
    ones = Resamples(np.arange(250), np.ones((1 + GROUPS, 250), np.float32))
    found = one_to_one(p.source, p.target, p.dictionary, n_permutations=0, resamples=ones)
    assert found.draws == pytest.approx(np.full(21, found.score), abs=1e-6)
    nothing = one_to_one(p.source, p.target, p.dictionary, min_types=999, **options)
    assert math.isnan(nothing.score)
    assert math.isnan(nothing.ci_low)


def test_intervals_of_one_to_one_hold_the_truth_nearly_as_often_as_they_say():
    figures = []
    for seed in range(60):
        p = plant(0.9, seed=5, text_seed=seed, n_concepts=30, n_types=600, n_sentences=300, noise=0.05)
        halved = replace(p.target, labels=p.target.labels // 2, n_concepts=15)  # two sources want one target
        resamples = Resamples.draw(range(300), 60, draw_seed=seed)
        options = {"theta_align": 0.7, "min_size_ratio": 0.2, "n_permutations": 0, "resamples": resamples}
        figures.append(one_to_one(p.source, halved, p.dictionary, **options))
    covered, width = held(figures)
    assert covered >= 0.85
    assert 0.75 < width < 1.4
