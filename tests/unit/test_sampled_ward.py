"""Ward linkage on a sample: whose cell a row is in, what the tree begins with, and the same bits everywhere."""

from __future__ import annotations

import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import is_monotonic, is_valid_linkage
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from isogloss.discovery import check_options, discover
from isogloss.discovery.rows import survey
from isogloss.discovery.ward import linkage
from isogloss.discovery.ward.sampled import attach, cell_means, draw
from isogloss.errors import UsageError
from isogloss.states import LayerStates
from isogloss.store import Rows
from isogloss.trees import cut

slow = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def groups(seed: int, n: int, d: int, k: int, *, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Rows around k far centres, and which centre each is near."""
    generator = np.random.default_rng(seed)
    which = np.concatenate([np.arange(k), generator.integers(k, size=n - k)])
    X = generator.normal(size=(k, d))[which] * 10 + generator.normal(size=(n, d)) * spread
    return X.astype(np.float32), which


def layer(X: np.ndarray | Rows) -> LayerStates:
    n = len(X)
    tokens = pl.DataFrame(
        {
            "row": np.arange(n, dtype=np.int64),
            "language": ["en"] * n,
            "sentence": np.arange(n, dtype=np.int32) // 10,
            "position": (np.arange(n) % 10).astype(np.int16),
            "word": [f"w{i}" for i in range(n)],
        }
    )
    return LayerStates(X, tokens, "model", "encoder", 0)


def drawn(X: np.ndarray, sample: int, seed: int) -> np.ndarray:
    first = survey(X).first
    return draw(np.flatnonzero(first == np.arange(len(X))), sample, seed=seed)


def nearest(X: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return chosen[cdist(X.astype(np.float64), X[chosen].astype(np.float64)).argmin(axis=1)]


def test_a_sample_of_all_is_the_exact_tree():
    X = groups(0, 400, 10, 8)[0]
    X = np.concatenate([X, X[:50]])
    exact = linkage(X)
    for sample in (400, 449, 450, 10**9):  # 400 are distinct
        assert (linkage(X, sample=sample, seed=3) == exact).all()
    assert (linkage(X, sample=None, seed=4) == exact).all()


@pytest.mark.parametrize("seed", range(3))
def test_planted_clusters_are_found_with_a_quarter_of_the_rows(seed):
    X, which = groups(seed, 2000, 20, 25)
    assert adjusted_rand_score(cut(linkage(X, sample=500, seed=seed), n_clusters=25), which) == 1.0


@slow
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 200),
    d=st.integers(1, 20),
    share=st.floats(0.01, 1),
    levels=st.integers(0, 3),
)
def test_the_tree_is_a_valid_one_and_cuts_have_exactly_k(seed, n, d, share, levels):
    generator = np.random.default_rng(seed)
    X = generator.integers(levels + 1, size=(n, d)) if levels else generator.normal(size=(n, d))
    X = X.astype(np.float32)
    n_distinct = len(np.unique(X, axis=0))
    sample = max(1, int(share * n_distinct))
    tree = linkage(X, sample=sample, seed=seed)
    assert is_valid_linkage(tree)
    assert is_monotonic(tree)
    assert tree[-1, 3] == n
    assert (tree[:, 2] == 0).sum() == n - sample
    for k in {1, 2, sample // 2, sample} & set(range(1, sample + 1)):
        assert cut(tree, n_clusters=k).max() + 1 == k


@pytest.mark.parametrize(("n", "d", "sample"), [(3000, 24, 700), (5000, 3, 1500), (2500, 130, 60)])
def test_rows_are_with_their_nearest_sampled_row(n, d, sample):
    X = groups(n, n, d, 40, spread=4)[0]
    chosen = drawn(X, sample, 7)
    owners = nearest(X, chosen)
    assert (attach(X, chosen, survey(X), threads=2) == owners).all()
    tree = linkage(X, sample=sample, seed=7)
    for k in (5, 50, sample):
        labels = cut(tree, n_clusters=k)
        assert (labels == labels[owners]).all()
    assert len(np.unique(cut(tree, n_clusters=sample)[chosen])) == sample


@slow
@given(seed=st.integers(0, 2**32), n=st.integers(2, 120), d=st.integers(1, 3), sample=st.integers(1, 20))
def test_of_equally_near_sampled_rows_the_first_is_taken(seed, n, d, sample):
    X = np.random.default_rng(seed).integers(6, size=(n, d)).astype(np.float32)
    chosen = drawn(X, min(sample, len(np.unique(X, axis=0))), seed)
    assert (attach(X, chosen, survey(X), threads=1) == nearest(X, chosen)).all()


@pytest.mark.parametrize("kind", ["outlier", "far centre", "near copies", "tiny", "huge"])
def test_rounding_does_not_decide_who_is_nearest(kind):
    generator = np.random.default_rng(1)
    X = generator.normal(size=(1500, 12))
    if kind == "outlier":
        X[7] = 1e6
    elif kind == "far centre":
        X = np.round(X * 2**20) / 2**20 + 2.0**20
    elif kind == "near copies":
        X = X[generator.integers(5, size=1500)] + X * 1e-6
    else:
        X *= {"tiny": 1e-30, "huge": 1e30}[kind]
    for seed in range(2):
        chosen = drawn(X, 300, seed)
        centre = np.median(X, axis=0)  # cdist adds squares: without it those of a far centre would drown
        near = chosen[cdist(X - centre, X[chosen] - centre).argmin(axis=1)]
        assert (attach(X, chosen, survey(X), threads=2) == near).all()


def test_more_sampled_rows_than_one_product_takes():
    """Equally near rows in two blocks of columns, and the nearest in the last."""
    X = np.repeat(np.arange(1300.0), 2)[:, None]
    X[1::2] += 0.5
    chosen = np.arange(0, 2600, 2)
    known = survey(X)
    assert (attach(X, chosen, known, threads=1) == np.repeat(chosen, 2)).all()


def test_copies_are_together_whether_sampled_or_not():
    generator = np.random.default_rng(2)
    X = generator.normal(size=(300, 6)).astype(np.float32)[generator.integers(300, size=1500)]
    same = survey(X).first
    for sample in (20, 150):
        labels = cut(linkage(X, sample=sample, seed=1), n_clusters=sample)
        assert (labels == labels[same]).all()


def scatter(X: np.ndarray, labels: np.ndarray) -> float:
    """Return the sum of squared distances to the means."""
    parts = (X[labels == c].astype(np.float64) for c in np.unique(labels))
    return float(sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts))


def test_heights_are_wards_of_the_cells():
    X = groups(5, 900, 8, 12, spread=5)[0]
    tree = linkage(X, sample=100, seed=2)
    for k in (2, 30, 99):
        gain = scatter(X, cut(tree, n_clusters=k)) - scatter(X, cut(tree, n_clusters=k + 1))
        np.testing.assert_allclose(tree[len(X) - k - 1, 2] ** 2 / 2, gain, rtol=1e-6)


def test_means_are_of_the_whole_cell():
    X = groups(6, 700, 5, 4, spread=3)[0].astype(np.float64)
    known, chosen = survey(X), drawn(X, 30, 0)
    owners = attach(X, chosen, known, threads=1)
    found = cell_means(X, owners, chosen[::-1], known)
    for c, row in enumerate(chosen[::-1]):
        mean = (X[owners == row].mean(axis=0) - known.centre) * 2.0**known.exponent
        np.testing.assert_allclose(found[c], mean, atol=1e-14)


def test_the_same_bits_for_any_threads_block_and_kind_of_array(tmp_path):
    X = np.random.default_rng(8).normal(size=(5000, 30)).astype(np.float16)
    X[::7] = np.round(X[::7])
    np.save(tmp_path / "x.npy", X)
    tree = linkage(X, sample=600, seed=5, threads=1)
    for threads, block in ((2, None), (3, (64, 33))):
        assert (linkage(X, sample=600, seed=5, threads=threads, block=block) == tree).all()
    assert (linkage(np.load(tmp_path / "x.npy", mmap_mode="r"), sample=600, seed=5) == tree).all()
    assert (linkage(Rows(tmp_path / "x.npy"), sample=600, seed=5) == tree).all()
    assert (linkage(X.astype(np.float64), sample=600, seed=5) == tree).all()
    assert (linkage(X, sample=600, seed=5, device="cpu") == tree).all()


def test_two_seeds_are_two_trees():
    X = groups(9, 600, 10, 5, spread=3)[0]
    one, two = (linkage(X, sample=80, seed=seed) for seed in (0, 1))
    assert adjusted_rand_score(cut(one, n_clusters=20), cut(two, n_clusters=20)) < 1
    assert (linkage(X, sample=80, seed=1) == two).all()


def test_a_memory_mapped_file_is_never_copied_whole(tmp_path):
    n, d, sample = 40_000, 256, 1000
    X = np.lib.format.open_memmap(tmp_path / "states.npy", "w+", np.float16, (n, d))
    X[:] = np.random.default_rng(10).normal(size=(n, d))
    linkage(X[:300], sample=50, threads=1)  # compiles
    tracemalloc.start()
    linkage(X, sample=sample, threads=1, block=(512, 512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # means, lists, some numbers a row, and buffers: 2048 rows as read, in float64 (twice) and float32, and products
    assert peak < 2 * 8 * sample * d + 600 * sample + 200 * n + 32 * 2**20 < 2 * n * d * 4


@pytest.mark.parametrize("sample", [0, -5, 2.5, "5e4", True, [100]])
def test_a_sample_that_is_no_number_of_rows_is_refused(sample):
    for refuse in (lambda: linkage(np.eye(4), sample=sample), lambda: check_options("ward", {"sample": sample})):
        with pytest.raises(UsageError, match="sample must be a whole number from 1"):
            refuse()


def test_a_sample_smaller_than_the_number_of_concepts_is_refused_before_any_work(monkeypatch):
    states = layer(np.random.default_rng(0).normal(size=(200, 4)))
    monkeypatch.setattr("isogloss.discovery.ward.survey", lambda _: pytest.fail("it began"))
    message = "sample of 30 states cannot be cut into 31 concepts.*at least 31"
    with pytest.raises(UsageError, match=message):
        discover(states, n_concepts=31, sample=30)
    with pytest.raises(UsageError, match=message):
        check_options("ward", {"sample": 30}, n_concepts=31)
    check_options("ward", {"sample": 30}, n_concepts=30)
    check_options("ward", {"sample": None}, n_concepts=30)


def test_other_options_are_refused_as_before():
    with pytest.raises(UsageError, match=r"option of ward 'samples'\. Did you mean 'sample'\?"):
        check_options("ward", {"samples": 100})
    with pytest.raises(UsageError, match="option of ward 'seed'"):
        check_options("ward", {"seed": 1})


def test_discover_draws_by_its_seed_and_cuts_one_tree(tmp_path):
    X, which = groups(11, 1200, 16, 10)
    found = discover(layer(X), n_concepts=10, sample=200, seed=4)
    assert (found.n_concepts, found.method, found.seed) == (10, "ward", 4)
    assert adjusted_rand_score(found.labels, which) == 1.0
    assert (found.tree == linkage(X, sample=200, seed=4)).all()
    assert not (found.tree == discover(layer(X), n_concepts=10, sample=200).tree).all()
    for c in range(10):
        np.testing.assert_allclose(found.centroids[c], X[which == which[found.labels == c][0]].mean(axis=0), rtol=1e-4)
    assert found.cut(n_concepts=200).n_concepts == 200
    with pytest.raises(UsageError, match=r"from 1 to 200.*larger sample"):
        found.cut(n_concepts=201)
    found.write_tree(tmp_path / "tree.parquet")
    again = type(found).read_tree(tmp_path / "tree.parquet", found.tokens)
    assert (again.cut(n_concepts=37).labels == found.cut(n_concepts=37).labels).all()
