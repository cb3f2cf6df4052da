"""Exact Ward linkage: scipy's tree where it is unique, a valid one where it is not, and the same bits everywhere."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import is_monotonic, is_valid_linkage
from scipy.cluster.hierarchy import linkage as scipy_linkage
from sklearn.metrics import adjusted_rand_score

from isogloss.discovery import ward
from isogloss.discovery.ward import linkage
from isogloss.discovery.ward.device import DeviceScanner
from isogloss.errors import InputError, UsageError
from isogloss.trees import cut

slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def generic(seed: int, n: int, d: int, kind: str) -> np.ndarray:
    """Rows whose Ward tree is unique, but for copies."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, d))
    if kind == "anisotropic":
        X = X * np.logspace(1.5, -1.5, d) + 7
    elif kind == "groups":
        X = X / 3 + 10 * generator.normal(size=(max(2, n // 20), d))[generator.integers(max(2, n // 20), size=n)]
    elif kind == "near copies":
        X = X[generator.integers(max(2, n // 40), size=n)] + generator.normal(size=(n, d)) * 1e-3
    elif kind == "constant columns":
        X[:, ::2] = 3.25
        X[:, 1:2] += generator.normal(size=(n, 1))
    elif kind == "outlier":
        X[n // 2] = 1e6
    return X.astype(np.float32)


KINDS = ["cloud", "anisotropic", "groups", "near copies", "constant columns", "outlier"]


def same_tree(ours: np.ndarray, X: np.ndarray) -> None:
    theirs = scipy_linkage(X.astype(np.float64), "ward")
    scale = np.abs(X).max()
    rising = theirs[:, 2] > 1e-2 * scale / 10
    np.testing.assert_allclose(ours[rising, 2], theirs[rising, 2], rtol=1e-8)
    np.testing.assert_allclose(ours[:, 2], theirs[:, 2], atol=1e-6 * scale)
    n = len(X)
    for k in {k for k in (2, 3, n // 10, n // 2, n - 1) if 1 < k < n}:
        if theirs[n - k, 2] > theirs[n - k - 1, 2] * (1 + 1e-6):  # a tie at the cut leaves a choice
            found = cut(ours, n_clusters=k), cut(theirs, n_clusters=k)
            assert adjusted_rand_score(*found) == 1.0, k


@pytest.mark.parametrize("kind", KINDS)
@slow
@given(seed=st.integers(0, 2**32), n=st.integers(4, 160), d=st.integers(1, 24))
def test_the_tree_is_scipys(kind, seed, n, d):
    X = generic(seed, n, d, kind)
    tree = linkage(X)
    assert is_valid_linkage(tree)
    assert is_monotonic(tree)
    same_tree(tree, X)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_is_scipys_on_a_larger_set(kind):
    X = generic(1, 2500, 40, kind)
    same_tree(linkage(X), X)


def test_copies_are_joined_at_height_zero():
    generator = np.random.default_rng(2)
    X = generator.normal(size=(300, 6)).astype(np.float32)
    X = X[generator.integers(300, size=900)]
    n_distinct = len(np.unique(X, axis=0))
    tree = linkage(X)
    assert (tree[: 900 - n_distinct, 2] == 0).all()
    assert (tree[900 - n_distinct :, 2] > 0).all()
    same_tree(tree, X)
    assert len(np.unique(X[cut(tree, n_clusters=n_distinct) == 5], axis=0)) == 1


def test_minus_zero_is_a_copy_of_zero():
    assert linkage(np.array([[0.0, 1.0], [5.0, 1.0], [-0.0, 1.0]]))[0].tolist() == [0, 2, 0, 2]


def is_ward(tree: np.ndarray, X: np.ndarray) -> bool:
    """True if every merge joins two clusters than which no others are nearer (up to rounding), at their distance."""
    X = X.astype(np.float64)
    clusters = {i: [i] for i in range(len(X))}

    def apart(a: list[int], b: list[int]) -> float:
        gap = X[a].mean(axis=0) - X[b].mean(axis=0)
        return float(np.sqrt(2 * len(a) * len(b) / (len(a) + len(b)) * (gap**2).sum()))

    tolerance = 1e-9 * np.abs(X - X.mean(axis=0)).max() + 1e-300
    for i, (a, b, height, size) in enumerate(tree):
        left, right = clusters.pop(int(a)), clusters.pop(int(b))
        if abs(apart(left, right) - height) > tolerance or size != len(left) + len(right):
            return False
        rest = [left, right, *clusters.values()]
        least = min(apart(p, q) for m, p in enumerate(rest) for q in rest[:m])
        if least < height - tolerance:
            return False
        clusters[len(X) + i] = left + right
    return True


@slow
@given(
    seed=st.integers(0, 2**32), n=st.integers(2, 22), d=st.integers(1, 4), levels=st.integers(1, 4), twice=st.booleans()
)
def test_ties_give_a_valid_ward_tree(seed, n, d, levels, twice):
    X = np.random.default_rng(seed).integers(levels + 1, size=(n, d)).astype(np.float32)
    assert is_ward(linkage(np.concatenate([X, X]) if twice else X), np.concatenate([X, X]) if twice else X)


def tied(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    whole = generator.integers(4, size=(400, 5)).astype(np.float32)
    return np.concatenate([whole, whole[:100] + 0.5, generic(seed, 300, 5, "groups")])


def by_device(forest, device, threads, block):
    return DeviceScanner(forest, device="cpu", threads=threads, block=block)


@pytest.mark.parametrize("kind", [*KINDS, "ties"])
def test_the_same_bits_for_any_block_threads_and_device(kind, monkeypatch):
    X = tied(3) if kind == "ties" else generic(5, 700, 30, kind)
    tree = linkage(X, threads=1)
    for threads, block in ((2, None), (3, (64, 33)), (1, (37, 2000)), (2, (300, 64))):
        assert (linkage(X, threads=threads, block=block) == tree).all()
    monkeypatch.setattr(ward, "_scanner", by_device)
    for block in (None, (100, 64), (600, 170)):
        assert (linkage(X, block=block) == tree).all()


def test_the_same_bits_for_any_order_of_the_slots(monkeypatch):
    """The order that puts near rows close comes from BLAS, which may round differently elsewhere."""
    for X in (tied(4), generic(6, 800, 12, "near copies")):
        tree = linkage(X)
        with monkeypatch.context() as patch:
            patch.setattr(ward, "neighbourly", lambda data, rows, known: rows[::-1])
            assert (linkage(X) == tree).all()


def test_lists_that_the_device_cannot_make_are_made_anew(monkeypatch):
    """More equally near rows than candidates: float32 cannot tell them apart, float64 can."""
    generator = np.random.default_rng(7)
    X = np.repeat(generator.normal(size=(5, 16)) * 100, 120, axis=0) + generator.normal(size=(600, 16)) * 1e-5
    tree = linkage(X)
    made = []

    def watched(*arguments):
        made.append(by_device(*arguments))
        return made[-1]

    monkeypatch.setattr(ward, "_scanner", watched)
    assert (linkage(X) == tree).all()
    assert made[0].n_anew > 0


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e12, 1e30])
def test_tiny_and_huge_values(factor):
    X = generic(8, 300, 10, "groups").astype(np.float64)
    np.testing.assert_allclose(linkage(X * factor)[:, 2], linkage(X)[:, 2] * factor, rtol=1e-9)
    same_tree(linkage((X * factor).astype(np.float32)), (X * factor).astype(np.float32))


def test_a_far_centre_costs_no_precision():
    X = np.round(np.random.default_rng(9).normal(size=(200, 8)) * 1024) / 1024
    np.testing.assert_allclose(linkage(X + 2.0**20)[:, 2], linkage(X)[:, 2], rtol=1e-9)


def test_few_rows():
    assert linkage(np.ones((1, 3))).shape == (0, 4)
    assert linkage(np.array([[0.0], [2.0]])).tolist() == [[0, 1, 2, 2]]
    three = linkage(np.array([[9.0], [0.0], [1.0]]))
    np.testing.assert_allclose(three, scipy_linkage([[9.0], [0.0], [1.0]], "ward"))
    assert linkage(np.zeros((4, 2)))[:, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 4999])
def test_a_value_that_is_not_finite_is_refused_with_its_row(value, row):
    X = np.zeros((5000, 3), np.float32)
    X[row, 1] = value
    with pytest.raises(InputError, match=rf"Row {row} .* holds {value}"):
        linkage(X)


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((2, 2), complex), [["a"]]])
def test_what_is_no_table_of_numbers_is_refused(wrong):
    with pytest.raises(UsageError, match=r"table of real numbers .* got shape"):
        linkage(wrong)


def test_an_unknown_device_is_refused():
    with pytest.raises(UsageError, match="device 'abacus'"):
        linkage(np.zeros((3, 2)), device="abacus")


def test_a_memory_mapped_half_precision_file_is_never_copied_whole(tmp_path):
    n, d = 6000, 256
    X = np.lib.format.open_memmap(tmp_path / "states.npy", "w+", np.float16, (n, d))
    X[:] = generic(10, n, d, "groups")
    linkage(X[:500])  # compiles
    tracemalloc.start()
    tree = linkage(X, threads=1, block=(512, 512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(tree) == n - 1
    assert peak < 8 * n * d + 600 * n + 16 * 2**20  # centroids, lists, buffers


def test_a_chain_of_growing_gaps_takes_one_merge_a_round_and_still_ends():
    X = np.cumsum(np.arange(1, 3001) ** 1.5)[:, None]
    same_tree(linkage(X), X)
