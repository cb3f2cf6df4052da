"""Companion measures of pairs of representations, against references we did not write and definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes, sqrtm
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from isogloss.errors import InputError, UsageError
from isogloss.metrics.companions.cca import pwcca, svcca
from isogloss.metrics.companions.cka import linear_cka
from isogloss.metrics.companions.dissimilarity import rsa
from isogloss.metrics.companions.nearest import mexa, retrieval
from isogloss.metrics.companions.neurons import anc
from isogloss.metrics.companions.rotation import procrustes_retrieval

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def related(seed=0, n=60, d=5, e=None, noise=1.0):
    """X, and Y that shares part of it; both far from their means' origin."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * rng.uniform(0.5, 3, size=d) + rng.normal(size=d)
    y = x @ rng.normal(size=(d, e or d)) + noise * rng.normal(size=(n, e or d)) + 3
    return x, y


def turn(seed, d):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


# --- CKA ---------------------------------------------------------------------------------------------------------


def naive_hsic(x, y):
    """HSIC_1 of Song et al. 2012, as printed."""
    n = len(x)
    K, L = x @ x.T, y @ y.T
    np.fill_diagonal(K, 0)
    np.fill_diagonal(L, 0)
    one = np.ones(n)
    return (
        np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


@pytest.mark.parametrize(("n", "d", "e"), [(60, 5, 8), (12, 40, 30), (4, 3, 3)])
def test_debiased_cka_is_the_definition_with_and_without_gram_matrices(n, d, e):
    x, y = related(1, n, d, e)
    expected = naive_hsic(x, y) / math.sqrt(naive_hsic(x, x) * naive_hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-9)


def test_plain_cka_is_the_definition():
    x, y = related(2, 50, 6, 4)
    H = np.eye(50) - 1 / 50
    K, L = H @ x @ x.T @ H, H @ y @ y.T @ H
    expected = (K * L).sum() / (np.linalg.norm(K) * np.linalg.norm(L))
    assert linear_cka(x, y, debiased=False) == pytest.approx(expected, abs=1e-12)


def test_batches_of_cka_average_before_dividing_and_leave_the_rest_out():
    x, y = related(3, 47)
    parts = [slice(i, i + 10) for i in range(0, 40, 10)]
    cross, own_x, own_y = (np.mean([naive_hsic(a[p], b[p]) for p in parts]) for a, b in ((x, y), (x, x), (y, y)))
    assert linear_cka(x, y, batch_size=10) == pytest.approx(cross / math.sqrt(own_x * own_y), abs=1e-9)
    assert linear_cka(x, y, batch_size=47) == linear_cka(x, y)


@few
@given(seeds, st.booleans())
def test_cka_does_not_see_turns_scale_and_shifts(seed, debiased):
    x, y = related(seed, 30, 4, 6)
    value = linear_cka(x, y, debiased=debiased)
    assert (-1 if debiased else 0) <= value <= 1
    moved = 7 * x @ turn(seed, 4) - 2
    assert linear_cka(moved, y, debiased=debiased) == pytest.approx(value, abs=1e-9)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(value, abs=1e-12)
    assert linear_cka(x, moved, debiased=debiased) == pytest.approx(1)
    assert linear_cka(1e150 * x, 1e-150 * y, debiased=debiased) == pytest.approx(value, abs=1e-9)


def test_only_debiased_cka_is_zero_for_unrelated_states():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100, 400))
    assert linear_cka(x, y, debiased=False) > 0.75
    assert abs(linear_cka(x, y)) < 0.05


def test_cka_without_variance_is_nan():
    x, _ = related()
    assert math.isnan(linear_cka(np.full((60, 3), 0.1), x))
    assert math.isnan(linear_cka(x, np.full((60, 3), 0.1), debiased=False))
    one_apart = np.full((60, 3), 0.1)
    one_apart[7] = 5
    assert math.isnan(linear_cka(one_apart, x))


# --- CCA ---------------------------------------------------------------------------------------------------------


def sklearn_correlations(x, y):
    k = min(x.shape[1], y.shape[1])
    a, b = CCA(n_components=k, max_iter=10_000, tol=1e-12).fit_transform(x, y)
    return np.array([pearsonr(a[:, i], b[:, i])[0] for i in range(k)])


def test_svcca_is_scikit_learns_cca_of_its_principal_components():
    x, y = related(4, 200, 6, 8, noise=4)
    x[:, 5] *= 0.01  # a direction the variance does not ask for
    a, b = (PCA(n_components=0.99, svd_solver="full").fit_transform(m) for m in (x, y))
    assert a.shape[1] < 6
    assert svcca(x, y) == pytest.approx(sklearn_correlations(a, b).mean(), abs=1e-6)


def test_pwcca_is_its_definition_by_covariances():
    x, y = related(5, 150, 4, 6, noise=4)
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    whiten = np.linalg.inv(np.real(sqrtm(a.T @ a)))
    left, rho, _ = np.linalg.svd(whiten @ a.T @ b @ np.linalg.inv(np.real(sqrtm(b.T @ b))))
    np.testing.assert_allclose(rho, sklearn_correlations(x, y), atol=1e-6)
    h = a @ whiten @ left  # canonical variates of x, of length 1
    alpha = [sum(abs(h[:, i] @ x[:, j]) for j in range(4)) for i in range(4)]  # no matter if x is centred
    assert pwcca(x, y) == pytest.approx(np.average(rho, weights=alpha), abs=1e-9)


@few
@given(seeds)
def test_cca_does_not_see_invertible_maps(seed):
    x, y = related(seed, 40, 4, 6, noise=5)
    rng = np.random.default_rng(seed)
    a, b = (turn(seed, d) * rng.uniform(0.2, 5, size=d) for d in (4, 6))
    assert svcca(x @ a + 1, y @ b, variance=1) == pytest.approx(svcca(x, y, variance=1), abs=1e-8)
    assert pwcca(5 * x[:, ::-1] + 1, y @ b) == pytest.approx(pwcca(x, y), abs=1e-8)
    assert svcca(y, x) == pytest.approx(svcca(x, y), abs=1e-9)
    assert svcca(x, x @ a, variance=1) == pytest.approx(1)
    assert 0 <= pwcca(x, y) <= 1


def test_rank_deficient_sides_count_only_the_directions_they_have():
    x, y = related(6, 40, 3, 4, noise=5)
    doubled = np.hstack([x, x @ np.ones((3, 2)), np.full((40, 1), 0.1)])
    assert svcca(doubled, y, variance=1) == pytest.approx(svcca(x, y, variance=1), abs=1e-9)
    assert pwcca(y, doubled) == pytest.approx(pwcca(y, x), abs=1e-9)
    assert math.isnan(svcca(np.full((40, 3), 0.1), y))
    assert math.isnan(pwcca(y, np.full((40, 3), 0.1)))


def test_too_few_rows_for_cca_are_refused_and_not_called_alike():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 10, 20))
    with pytest.raises(InputError, match=r"compares 9 with 9 directions and needs more than 18 rows.* got 10"):
        pwcca(x, y)
    with pytest.raises(InputError, match="lower the variance"):
        svcca(x, y)
    assert svcca(x, y, variance=0.2) < 1
    # the least that leaves every correlation free, and one less
    x, y = rng.normal(size=(2, 7, 3))
    assert svcca(x, y, variance=1) < 1
    with pytest.raises(InputError, match="more than 6 rows"):
        svcca(x[:6], y[:6], variance=1)
    with pytest.raises(UsageError, match="variance must be a number above 0 and at most 1; got 99"):
        svcca(x, y, variance=99)


# --- RSA ---------------------------------------------------------------------------------------------------------


def test_rsa_is_spearman_of_the_cosine_distances():
    x, y = related(7, 25, 4, 6, noise=4)
    y[3], y[4] = y[5], 2 * y[5]  # ties
    expected = spearmanr(np.round(pdist(x, "cosine"), 12), np.round(pdist(y, "cosine"), 12)).statistic
    assert rsa(x, y).rho == pytest.approx(expected, abs=1e-12)
    assert math.isnan(rsa(x, y).p_value)


def test_mantel_counts_the_permutations_that_do_as_well():
    x, y = related(8, 6, 3, noise=8)
    rho = rsa(x, y).rho
    order = np.random.default_rng(5)
    as_good = sum(rsa(x, y[order.permutation(6)]).rho >= rho - 1e-12 for _ in range(200))
    assert 0 < as_good < 200
    assert rsa(x, y, n_permutations=200, draw_seed=5) == (rho, (1 + as_good) / 201)


def test_mantel_tells_related_from_unrelated():
    x, y = related(9, 40, noise=0.1)
    assert rsa(x, x @ turn(1, 5) * 3, n_permutations=99) == (pytest.approx(1), 0.01)
    p_values = [rsa(x, np.random.default_rng(s).normal(size=(40, 5)), n_permutations=19).p_value for s in range(40)]
    assert 0.35 < np.mean(p_values) < 0.7
    assert rsa(x, y, n_permutations=20, draw_seed=3) == rsa(x, y, n_permutations=20, draw_seed=3)


@few
@given(seeds)
def test_rsa_does_not_see_turns_lengths_and_the_order_of_pairs(seed):
    x, y = related(seed, 15, 4, 6)
    rng = np.random.default_rng(seed)
    order, lengths = rng.permutation(15), rng.uniform(0.1, 9, size=(15, 1))
    rho = rsa(x, y).rho
    assert -1 <= rho <= 1
    assert rsa((lengths * x @ turn(seed, 4))[order], y[order]).rho == pytest.approx(rho, abs=1e-9)


def test_rsa_of_equal_rows_is_nan():
    x, _ = related()
    assert all(math.isnan(v) for v in rsa(np.full((60, 3), 0.1), x, n_permutations=5))
    with pytest.raises(UsageError, match="got -1"):
        rsa(x, x, n_permutations=-1)


# --- Procrustes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [6, 60])  # 60: the training rows do not determine the whole rotation
def test_a_learnt_rotation_finds_held_out_translations(d):
    x = np.random.default_rng(0).normal(size=(50, d))
    y = 2 * x @ turn(1, d) + 5
    assert procrustes_retrieval(x, y).tolist() == [1.0] * 50
    assert procrustes_retrieval(x, y, csls=3).mean() == 1
    assert retrieval(x, y).mean() < 0.3  # without the map it does not


def test_procrustes_retrieval_is_held_out():
    """A rotation learnt on the rows it is judged by would find most pairs of unrelated matrices with n < d."""
    x, y = np.random.default_rng(0).normal(size=(2, 100, 120))
    omega, _ = orthogonal_procrustes(x, y)
    assert retrieval(x @ omega, y).mean() == 1
    assert procrustes_retrieval(x, y).mean() < 0.15  # chance is 0.05


def test_procrustes_retrieval_by_hand_with_scipys_rotation():
    x, y = related(12, 30, 4, noise=2)
    expected = np.empty(30)
    order = np.random.default_rng(3).permutation(30)
    for held_out in np.array_split(order, 3):
        train = np.setdiff1d(np.arange(30), held_out)
        a, b = x[train].mean(axis=0), y[train].mean(axis=0)
        omega, _ = orthogonal_procrustes(x[train] - a, y[train] - b)
        expected[held_out] = retrieval((x[held_out] - a) @ omega, y[held_out] - b, csls=2)
    found = procrustes_retrieval(x, y, folds=3, draw_seed=3, csls=2)
    assert 0 < found.mean() < 1
    assert found.tolist() == expected.tolist()
    assert found.tolist() == procrustes_retrieval(x, y, folds=3, draw_seed=3, csls=2).tolist()
    assert found.tolist() != procrustes_retrieval(x, y, folds=3, draw_seed=4, csls=2).tolist()


def test_procrustes_retrieval_of_equal_rows_is_chance_and_wrong_folds_are_refused():
    x, _ = related(n=20)
    assert procrustes_retrieval(np.full((20, 5), 0.1), x).mean() == pytest.approx(5 / 20)
    with pytest.raises(InputError, match="10 for 5 folds; got 9"):
        procrustes_retrieval(x[:9], x[:9])
    with pytest.raises(UsageError, match=r"folds must be a whole number from 2 .* got 1"):
        procrustes_retrieval(x, x, folds=1)
    with pytest.raises(UsageError, match=r"1\.\.4, .* got 5"):
        procrustes_retrieval(x, x, csls=5)


# --- retrieval by margin, MEXA -----------------------------------------------------------------------------------


def test_margin_is_its_definition():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(25, 6)) + 2  # positive cosines, as sentence vectors have
    y = x + 0.7 * rng.normal(size=(25, 6))
    a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (x, y))
    cos, k = a @ b.T, 4
    score = np.empty((25, 25))
    for i in range(25):
        for j in range(25):
            near_x = sum(sorted(cos[i], reverse=True)[:k]) / (2 * k)
            near_y = sum(sorted(cos[:, j], reverse=True)[:k]) / (2 * k)
            score[i, j] = cos[i, j] / (near_x + near_y)
    expected = score.argmax(axis=1) == np.arange(25)
    assert retrieval(x, y, margin=k).tolist() == expected.tolist()
    assert 0 < expected.mean() < 1
    assert retrieval(x, y, margin=k).tolist() != retrieval(x, y).tolist()


def test_margin_lowers_hubs_like_csls():
    def at(degrees):
        return np.array([[np.cos(np.radians(d)), np.sin(np.radians(d))] for d in degrees])

    # The case of test_retrieval.py.  Row 1: cos 22 / (0.713 + r) against cos 20 / (0.960 + r), r > 0.
    source, target = at([0, 20, -20]), at([0, 42, -42])
    assert retrieval(source, target).tolist() == [1, 0, 0]
    assert retrieval(source, target, margin=3).tolist() == [1, 1, 1]


def test_margin_where_neighbours_are_far():
    # all cosines negative but those of the pairs: the mean of 3 neighbours is not positive
    x = np.array([[1.0, 0], [-0.5, 0.866], [-0.5, -0.866]])
    assert retrieval(x, x, margin=3).tolist() == [1, 1, 1]
    # no neighbour at all on the right side: the least bad cosine still wins
    assert retrieval(x[:2], -x[:2], margin=2).tolist() == [0, 0]
    assert retrieval(np.zeros((4, 2)), np.ones((4, 2)), margin=2).tolist() == [0.25] * 4


def test_margin_and_csls_exclude_each_other():
    x, _ = related()
    with pytest.raises(UsageError, match="csls=2 and margin=3"):
        retrieval(x, x, csls=2, margin=3)
    with pytest.raises(UsageError, match=r"margin .* 1\.\.60; got 0"):
        retrieval(x, x, margin=0)


def test_blocks_of_rows_do_not_show():
    x, y = related(13, 700, 5, noise=3)  # more rows than are sorted at a time
    a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (x, y))
    cos = a @ b.T
    r_x, r_y = np.sort(cos, axis=1)[:, -10:].mean(axis=1), np.sort(cos, axis=0)[-10:].mean(axis=0)
    csls = 2 * cos - r_x[:, None] - r_y[None, :]
    assert retrieval(x, y, csls=10).tolist() == (csls.argmax(axis=1) == np.arange(700)).tolist()


def test_mexa_is_the_loop_of_its_definition():
    x, y = related(14, 40, 6)
    y = x + 0.7 * np.random.default_rng(0).normal(size=x.shape)
    cos = 1 - np.array([[pdist(np.vstack([a, b]), "cosine")[0] for b in y] for a in x])
    expected = [
        float(cos[i, i] > max(np.delete(cos[i], i)) and cos[i, i] > max(np.delete(cos[:, i], i))) for i in range(40)
    ]
    assert 0 < np.mean(expected) < 1
    assert mexa(x, y).tolist() == expected
    assert mexa(y, x).tolist() == expected


def test_a_tie_is_a_miss_in_mexa():
    x, _ = related(15, 10)
    assert mexa(x, x).tolist() == [1.0] * 10
    assert mexa(np.ones((10, 3)), np.ones((10, 3))).sum() == 0
    x[4] = 3 * x[7]  # the same sentence twice
    assert np.flatnonzero(mexa(x, x) == 0).tolist() == [4, 7]
    assert mexa(np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 0], [2, 1]])).tolist() == [1, 0]  # best in column alone


# --- ANC ---------------------------------------------------------------------------------------------------------


def test_anc_is_the_mean_of_scipys_correlations_over_dimensions_that_vary():
    x, y = related(16, 30, 6, noise=3)
    r = [pearsonr(x[:, j], y[:, j])[0] for j in range(6)]
    assert min(r) < 0 < max(r)
    assert anc(x, y) == pytest.approx(np.mean(r), abs=1e-12)
    assert anc(x, y, signed=False) == pytest.approx(np.mean(np.abs(r)), abs=1e-12)
    x[:, 0], y[:, 3] = 0.1, 0.3
    assert anc(x, y) == pytest.approx(np.mean([r[j] for j in (1, 2, 4, 5)]), abs=1e-12)


@few
@given(seeds)
def test_anc_sees_signs_but_not_scale(seed):
    x, y = related(seed, 20, 4)
    assert -1 <= anc(x, y) <= 1
    assert anc(1e-100 * x, 1e100 * y + 1) == pytest.approx(anc(x, y), abs=1e-9)
    assert anc(-x, y) == pytest.approx(-anc(x, y), abs=1e-12)
    assert anc(-x, y, signed=False) == pytest.approx(anc(x, y, signed=False), abs=1e-12)


def test_anc_of_constant_rows_is_nan():
    assert math.isnan(anc(np.full((5, 3), 0.1), np.random.default_rng(0).normal(size=(5, 3))))


# --- what all of them refuse -------------------------------------------------------------------------------------

SAME_WIDTH = [procrustes_retrieval, mexa, anc, retrieval]
PAIRED = [linear_cka, svcca, pwcca, rsa, *SAME_WIDTH]


@pytest.mark.parametrize("measure", PAIRED)
def test_pairs_that_cannot_be_compared_are_refused(measure):
    x = np.random.default_rng(0).normal(size=(20, 3))
    assert np.isfinite(measure(x, x + 0.1 * x**2)[0] if measure is rsa else measure(x, x + 0.1 * x**2)).all()
    with pytest.raises(InputError, match=r"\(20, 3\) and \(19, 3\)"):
        measure(x, x[1:])
    with pytest.raises(InputError, match="not finite"):
        measure(x, np.where(x == x[3, 1], np.nan, x))
    with pytest.raises(InputError, match="not finite"):
        measure(np.where(x == x[3, 1], np.inf, x), x)
    for empty in (x[:0], x[:, :0], x[:, 0]):
        with pytest.raises(InputError, match="got"):
            measure(empty, empty)
    with pytest.raises(InputError, match="got list"):
        measure([["a", "b"]] * 20, x)


@pytest.mark.parametrize("measure", SAME_WIDTH)
def test_dimensions_must_be_the_same_where_they_are_compared(measure):
    x = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(InputError, match=r"\(20, 3\) and \(20, 2\)"):
        measure(x, x[:, :2])


@pytest.mark.parametrize(("measure", "least"), [(linear_cka, 4), (svcca, 3), (pwcca, 3), (rsa, 3), (mexa, 2), (anc, 3)])
def test_too_few_rows_are_refused(measure, least):
    x = np.random.default_rng(0).normal(size=(least - 1, 2))
    with pytest.raises(InputError, match=f"at least {least} rows"):
        measure(x, x)


def test_wrong_batches_are_refused():
    x, y = related()
    with pytest.raises(UsageError, match=r"4\.\.60; got 3"):
        linear_cka(x, y, batch_size=3)
    with pytest.raises(UsageError, match="debiased=True"):
        linear_cka(x, y, batch_size=10, debiased=False)


@pytest.mark.parametrize("measure", PAIRED)
def test_input_is_not_written_into_and_may_be_float16(measure):
    x, y = (m.astype(np.float16) for m in related(17, 40, 3))
    before = x.copy(), y.copy()
    measure(x, y)
    assert (x == before[0]).all() and (y == before[1]).all()
    wide = x.astype(np.float64), y.astype(np.float64)
    measure(*wide)
    assert (wide[0] == before[0]).all() and (wide[1] == before[1]).all()
    np.testing.assert_array_equal(measure(x, y), measure(*wide))
