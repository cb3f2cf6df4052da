"""Companion measures of one space: separability of languages, isotropy, concepts against languages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import adjusted_mutual_info_score, balanced_accuracy_score, silhouette_samples, silhouette_score
from sklearn.preprocessing import StandardScaler

from isogloss.errors import InputError, UsageError
from isogloss.metrics.companions.isotropy import isoscore, mean_cosine
from isogloss.metrics.companions.separability import knn_mixing, language_probe
from isogloss.metrics.concepts.partition import ami, language_entropy, purity, silhouette

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def languages_apart(shift, sizes=(60, 40, 80), d=6, seed=0):
    rng = np.random.default_rng(seed)
    names = np.repeat(["en", "de", "ar"][: len(sizes)], sizes)
    places = shift * rng.normal(size=(len(sizes), d))
    return rng.normal(size=(sum(sizes), d)) + np.repeat(places, sizes, axis=0) + 4, names


def accuracy(*given, **options):
    return language_probe(*given, **options).mean()


def mixed(*given, **options):
    return knn_mixing(*given, **options).mean()


# --- the probe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(60, 40, 80), (60, 30)])
def test_the_probe_is_scikit_learns_ridge_classifier_on_the_same_folds(sizes):
    x, names = languages_apart(0.7, sizes)
    fold = np.empty(len(x), int)  # dealt language by language, in sorted order
    rng = np.random.default_rng(2)
    for name in sorted(set(names)):
        members = rng.permutation(np.flatnonzero(names == name))
        fold[members] = np.arange(len(members)) % 4
    said = np.empty(len(x), names.dtype)
    for part in range(4):
        train, test = fold != part, fold == part
        scaler = StandardScaler().fit(x[train])
        probe = RidgeClassifier(alpha=0.01 * train.sum(), class_weight="balanced")
        probe.fit(scaler.transform(x[train]), names[train])
        said[test] = probe.predict(scaler.transform(x[test]))
    expected = balanced_accuracy_score(names, said)
    assert 0.5 < expected < 0.99
    assert accuracy(x, names, folds=4, draw_seed=2) == pytest.approx(expected, abs=1e-12)


def test_the_probe_knows_languages_that_lie_apart_and_not_random_ones():
    x, names = languages_apart(4)
    assert accuracy(x, names) > 0.98
    shuffled = np.random.default_rng(0).permutation(names)
    assert accuracy(x, shuffled) == pytest.approx(1 / 3, abs=0.1)
    assert accuracy(x, names, draw_seed=1) == accuracy(x, names, draw_seed=1)


def test_means_come_from_the_training_folds_alone():
    """Then nothing is left for a linear probe: exactly chance.  Means of all rows would leave minus the test rows'."""
    x, names = languages_apart(4)
    assert accuracy(x, names, remove_means=True) == pytest.approx(1 / 3, abs=1e-12)
    of_all = x - np.array([x[names == name].mean(axis=0) for name in names])
    assert accuracy(of_all, names) < 1 / 3 - 0.02
    # per-language constants: rounding of what is left must not tell languages apart
    flat = np.array([{"en": (0.1, 0.3), "de": (0.7, 0.1), "ar": (0.3, 0.9)}[name] for name in names])
    assert accuracy(flat, names) == 1
    assert accuracy(flat, names, remove_means=True) == pytest.approx(1 / 3, abs=1e-12)


def test_axes_let_the_probe_see_spread_that_means_do_not_show():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)) * np.repeat([[3.0, 1, 1, 1], [1.0, 3, 1, 1]], 200, axis=0)
    names = np.repeat(["en", "de"], 200)
    assert accuracy(x, names) < 0.6
    assert accuracy(x, names, remove_means=True, axes=4) > 0.75
    shared = rng.normal(size=(400, 1))
    wide = shared * np.where(names == "en", 0.2, 2)[:, None] * [1, 1, 1, 0] + 0.3 * rng.normal(size=(400, 4))
    assert accuracy(wide, names, remove_means=True, axes=1) > 0.7  # along the first axis
    same = rng.normal(size=(400, 4))
    assert accuracy(same, names, remove_means=True, axes=4) == pytest.approx(0.5, abs=0.08)


def test_groups_stay_in_one_fold():
    """A coordinate that only separates languages of sentences seen in training must not help."""
    rng = np.random.default_rng(0)
    sentences = np.repeat(np.arange(40), 6)
    names = np.tile(["en", "de"], 120)
    # every sentence has its own direction, along which its languages differ
    x = 0.05 * rng.normal(size=(240, 40))
    x[np.arange(240), sentences] += np.where(names == "en", 1, -1) * np.repeat(rng.choice([-1, 1], 40), 6)
    assert accuracy(x, names) > 0.95
    assert accuracy(x, names, groups=sentences) < 0.65
    assert accuracy(x, names, groups=sentences) == accuracy(x, names, groups=[f"s{i:02}" for i in sentences])


def test_constant_rows_are_recognised_by_chance():
    assert accuracy(np.full((30, 3), 0.1), np.repeat(["a", "b", "c"], 10)) == pytest.approx(1 / 3)


def test_what_cannot_be_probed_is_refused():
    x, names = languages_apart(1, (10, 4))
    with pytest.raises(InputError, match="at least two languages"):
        accuracy(x, ["en"] * 14)
    with pytest.raises(InputError, match=r"14 languages.* got shape \(13,\)"):
        accuracy(x, names[1:])
    with pytest.raises(InputError, match=r"at least 5 rows of every language .* got 4"):
        accuracy(x, names)
    with pytest.raises(InputError, match=r"at least 5 groups .* got 2"):
        accuracy(x, names, groups=[0] * 7 + [1] * 7)
    with pytest.raises(InputError, match="every language in two folds"):
        accuracy(x, names, groups=[*range(10), 10, 10, 10, 10])
    with pytest.raises(InputError, match=r"14 groups"):
        accuracy(x, names, groups=[0, 1])
    with pytest.raises(UsageError, match="got 1"):
        accuracy(x, names, folds=1)
    with pytest.raises(UsageError, match=r"0\.\.6, .* got 7"):
        accuracy(x, names, axes=7)
    with pytest.raises(InputError, match="mixed kinds"):
        accuracy(x, np.array([None, *names[1:]], dtype=object))
    for measure in (language_probe, knn_mixing):
        with pytest.raises(InputError, match="not finite"):
            measure(np.where(x == x[0, 0], np.nan, x), names)


# --- mixing of neighbours ----------------------------------------------------------------------------------------


def naive_mixing(x, names, k):
    distance = cdist(x, x, "cosine")
    share, expected = [], []
    for i in range(len(x)):
        others = [j for j in np.argsort(distance[i], kind="stable") if j != i]
        share.append(np.mean([names[j] != names[i] for j in others[:k]]))
        expected.append(np.mean([names[j] != names[i] for j in others]))
    return np.mean(share) / np.mean(expected)


@few
@given(seeds, st.sampled_from([1, 5, 29]))
def test_mixing_is_a_count_of_neighbours(seed, k):
    x, names = languages_apart(1, (12, 5, 13), 4, seed)
    value = mixed(x, names, k=k)
    assert value == pytest.approx(naive_mixing(x, names, k), abs=1e-12)
    lengths = np.random.default_rng(seed).uniform(0.1, 9, size=(30, 1))
    assert mixed(lengths * x, names, k=k) == pytest.approx(value, abs=1e-12)


def test_mixing_extremes():
    x, names = languages_apart(0, (300, 400), 5)
    assert mixed(x, names) == pytest.approx(1, abs=0.05)
    apart = np.where(names[:, None] == "en", [[1.0, 0]], [[0, 1.0]]) + 0.01 * x[:, :2]
    assert mixed(apart, names) == 0
    pairs = np.repeat(np.random.default_rng(0).normal(size=(50, 5)), 2, axis=0)  # translations in one place
    assert mixed(pairs, ["en", "de"] * 50, k=1) == pytest.approx(99 / 50)


def test_neighbours_equally_near_share_the_places():
    names = ["en", "en", "en", "de", "de"]
    assert mixed(np.ones((5, 2)), names, k=2) == pytest.approx(1)
    assert mixed(np.zeros((5, 2)), names, k=3) == pytest.approx(1)
    # rows 0 and 1 have each other, and one place for the three others, of which two are foreign: 1/3
    # row 2 has rows 3 and 4: 1; row 3 has rows 2 and 4: 1/2; row 4 alike.  Expected: 2/4 for en, 3/4 for de
    x = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
    assert mixed(x, names, k=2) == pytest.approx((1 / 3 + 1 / 3 + 1 + 1 / 2 + 1 / 2) / (3 * 2 / 4 + 2 * 3 / 4))


def test_wrong_numbers_of_neighbours_are_refused():
    x, names = languages_apart(1, (10, 4))
    for k in (0, 14):
        with pytest.raises(UsageError, match=rf"1\.\.13; got {k}"):
            mixed(x, names, k=k)
    with pytest.raises(InputError, match="two languages"):
        mixed(x, ["en"] * 14)


# --- isotropy ----------------------------------------------------------------------------------------------------


@few
@given(seeds)
def test_mean_cosine_is_the_mean_over_all_pairs(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(12, 4)) + rng.normal(size=4)
    value = mean_cosine(x)
    assert value == pytest.approx((1 - pdist(x, "cosine")).mean(), abs=1e-12)
    assert mean_cosine(3 * x @ np.linalg.qr(rng.normal(size=(4, 4)))[0]) == pytest.approx(value, abs=1e-12)


def test_mean_cosine_extremes():
    assert mean_cosine(np.ones((5, 3))) == pytest.approx(1)
    assert mean_cosine(np.array([[1.0, 0], [-2, 0]])) == pytest.approx(-1)
    assert mean_cosine(np.array([[1.0, 0], [1, 0], [0, 0]])) == pytest.approx(1 / 3)  # zeros count as 0


def isoscore_step_by_step(x):
    """The numbered steps of Rudman et al. 2022, section 4."""
    d = x.shape[1]
    variances = np.cov(PCA(n_components=d).fit_transform(x).T).diagonal()
    scaled = np.sqrt(d) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(scaled - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    share = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    return (d * share - 1) / (d - 1)


@few
@given(seeds, st.integers(2, 8))
def test_isoscore_is_the_papers_algorithm(seed, d):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, d)) @ rng.normal(size=(d, d)) + 5
    value = isoscore(x)
    assert 0 <= value <= 1
    assert value == pytest.approx(isoscore_step_by_step(x), abs=1e-9)
    assert isoscore(1e100 * x @ np.linalg.qr(rng.normal(size=(d, d)))[0] + 1) == pytest.approx(value, abs=1e-9)


def test_isoscore_by_hand():
    corners = np.vstack([np.eye(9), -np.eye(9)])
    for k in range(1, 10):
        assert isoscore(corners * (np.arange(9) < k) + 7) == pytest.approx((k - 1) / 8)
    wide = np.random.default_rng(0).normal(size=(5, 30))  # fewer rows than columns
    variances = np.linalg.svd(wide - wide.mean(axis=0), compute_uv=False) ** 2
    assert isoscore(wide) == pytest.approx((variances.sum() ** 2 / (variances**2).sum() - 1) / 29)
    assert math.isnan(isoscore(np.full((5, 3), 0.1)))
    assert math.isnan(isoscore(np.arange(5.0)[:, None]))


@pytest.mark.parametrize("measure", [mean_cosine, isoscore])
def test_isotropy_refuses_what_is_no_space(measure):
    x = np.random.default_rng(0).normal(size=(6, 3))
    kept = x.copy()
    assert math.isfinite(measure(x))
    assert (x == kept).all()
    for wrong in (x[:0], x[:, 0], x[:, :0]):
        with pytest.raises(InputError, match="got shape"):
            measure(wrong)
    with pytest.raises(InputError, match="not finite"):
        measure(np.where(x == x[0, 0], np.inf, x))
    with pytest.raises(InputError, match="at least 2 rows"):
        measure(x[:1])


# --- concepts against languages ----------------------------------------------------------------------------------

CONCEPTS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
LANGUAGES = ["en", "en", "de", "de", "en", "en", "en", "de", "de", "de"]


def test_concepts_against_languages_by_hand():
    h = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert language_entropy(CONCEPTS, LANGUAGES) == pytest.approx((4 * 1 + 4 * h + 2 * 0) / 10)
    assert purity(CONCEPTS, LANGUAGES) == pytest.approx((2 + 3 + 2) / 10)


@few
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["en", "de", "zh"])), min_size=2, max_size=40))
def test_concepts_against_languages_agree_with_scipy_and_scikit_learn(rows):
    labels, languages = (np.array(c) for c in zip(*rows, strict=True))
    names = sorted(set(languages))
    tables = [np.array([((labels == c) & (languages == x)).sum() for x in names]) for c in set(labels)]
    expected = sum(t.sum() * entropy(t) for t in tables) / len(labels)
    if len(names) == 1:
        assert all(math.isnan(m(labels, languages)) for m in (language_entropy, ami))
        assert purity(labels, languages) == 1
        return
    assert language_entropy(labels, languages) == pytest.approx(expected / math.log(len(names)), abs=1e-12)
    assert purity(labels, languages) == pytest.approx(sum(t.max() for t in tables) / len(labels))
    assert ami(labels, languages) == pytest.approx(adjusted_mutual_info_score(languages, labels), abs=1e-9)
    # Names of concepts and the order of tokens do not matter.
    for m in (language_entropy, purity, ami):
        assert m(7 - labels[::-1], languages[::-1]) == pytest.approx(m(labels, languages), abs=1e-9)


def test_concepts_extremes_and_chance():
    names = np.tile(["en", "de"], 500)
    by_language = (names == "en").astype(int)
    assert [m(by_language, names) for m in (language_entropy, purity, ami)] == pytest.approx([0, 1, 1])
    mixed = np.arange(1000) // 2
    assert language_entropy(mixed, names) == pytest.approx(1)
    assert purity(mixed, names) == 0.5
    random = np.random.default_rng(0).integers(0, 200, 1000)
    assert abs(ami(random, names)) < 0.01


@pytest.mark.parametrize("measure", [language_entropy, purity, ami])
def test_tokens_without_a_concept_do_not_count(measure):
    more = [-1, *CONCEPTS, -1], ["zh", *LANGUAGES, "de"]
    assert measure(*more) == pytest.approx(measure(CONCEPTS, LANGUAGES))
    with pytest.raises(InputError, match="all 2 labels are -1"):
        measure([-1, -1], ["en", "de"])
    with pytest.raises(InputError, match=r"10 concepts.* got shape \(9,\)"):
        measure(CONCEPTS[1:], LANGUAGES)
    with pytest.raises(InputError, match="not finite"):
        measure([math.nan, 1.0], ["en", "de"])
    with pytest.raises(InputError, match=r"got shape \(0,\)"):
        measure([], [])


def test_silhouette_is_scikit_learns_over_a_sample_that_repeats():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, -1], 50)
    x = rng.normal(size=(200, 4)) + 2 * labels[:, None]
    assert silhouette(x, labels) == pytest.approx(silhouette_score(x[:150], labels[:150]), abs=1e-12)
    assert silhouette(x, labels, sample=60, draw_seed=1) == silhouette(x, labels, sample=60, draw_seed=1)
    some = [silhouette(x, labels, sample=60, draw_seed=s) for s in range(30)]
    assert len(set(some)) > 25
    assert np.mean(some) == pytest.approx(silhouette_samples(x[:150], labels[:150]).mean(), abs=0.03)
    permuted = rng.permutation(labels)
    assert silhouette(x, permuted) < 0.05 < silhouette(x, labels)


def test_silhouette_leaves_the_right_rows_out():
    x = np.array([[0.0], [99], [0.1], [9], [9.1], [-99]])
    expected = silhouette_score(x[[0, 2, 3, 4]], [5, 5, 8, 8])
    assert silhouette(x, [5, -1, 5, 8, 8, -1]) == pytest.approx(expected)


def test_silhouette_where_it_is_not_defined():
    x = np.random.default_rng(0).normal(size=(5, 2))
    assert math.isnan(silhouette(x, [3] * 5))
    assert math.isnan(silhouette(x, range(5)))
    assert silhouette(np.full((5, 2), 0.1), [0, 0, 1, 1, 1]) == 0
    with pytest.raises(InputError, match=r"5 concepts.* got shape \(4,\)"):
        silhouette(x, [0, 0, 1, 1])
    with pytest.raises(InputError, match="not finite"):
        silhouette(np.where(x == x[0, 0], np.nan, x), [0, 0, 1, 1, 1])
    with pytest.raises(UsageError, match="3 or more; got 2"):
        silhouette(x, [0, 0, 1, 1, 1], sample=2)
