"""What holds for every discovery method."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.cluster.hierarchy import fcluster
from sklearn.metrics import adjusted_rand_score

from isogloss.discovery import METHODS, default_n_concepts, discover
from isogloss.errors import InputError, UsageError
from isogloss.states import LayerStates
from isogloss.trees import cut

N, D, K = 150, 12, 10
every_method = pytest.mark.parametrize("method", METHODS)


def layer(X: np.ndarray) -> LayerStates:
    n = len(X)
    tokens = pl.DataFrame(
        {
            "row": np.arange(n, dtype=np.int64) * 3,
            "language": ["en", "de"] * (n // 2) + ["en"] * (n % 2),
            "sentence": np.arange(n, dtype=np.int32) // 10,
            "position": (np.arange(n) % 10).astype(np.int16),
            "word": [f"w{i % 60}" for i in range(n)],
            "n_subwords": np.ones(n, np.int16),
        }
    )
    return LayerStates(X, tokens, "model", "encoder", 6)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """The same partition, whatever its numbers."""
    return adjusted_rand_score(a, b) == 1.0


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    """K well separated groups; values are multiples of 1/64, so that shifts of them are exact."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(K, D)) * 20
    X = centres[generator.integers(K, size=N)] + generator.normal(size=(N, D))
    return (np.round(X * 64) / 64).astype(np.float32)


@pytest.fixture(scope="module")
def cloud() -> np.ndarray:
    """No structure at all."""
    return np.random.default_rng(4).normal(size=(N, D)).astype(np.float32)


@every_method
def test_every_token_has_a_concept_and_every_concept_a_token(method, cloud):
    states = layer(cloud)
    for k in (1, 2, 7, 75, N - 1, N):
        found = discover(states, n_concepts=k, method=method)
        assert found.n_concepts == k
        assert found.labels.dtype == np.int32
        assert np.unique(found.labels).tolist() == list(range(k))
        assert found.tokens["row"].equals(states.tokens["row"])
    assert (found.model, found.stack, found.layer, found.method) == ("model", "encoder", 6, method)


@every_method
def test_concepts_are_numbered_by_their_first_token(method, cloud):
    labels = discover(layer(cloud), n_concepts=20, method=method).labels
    _, first = np.unique(labels, return_index=True)
    assert (np.diff(first) > 0).all()


@every_method
def test_centroids_are_means_of_members(method, cloud):
    found = discover(layer(cloud + 5), n_concepts=K, method=method)
    assert found.centroids.dtype == np.float32
    for c in range(K):
        mean = (cloud + 5)[found.labels == c].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(found.centroids[c], mean, rtol=1e-6)


@every_method
def test_plain_structure_is_found(method, blobs):
    found = discover(layer(blobs), n_concepts=K, method=method)
    nearest = ((blobs[:, None] - found.centroids[None]) ** 2).sum(axis=2)
    assert (nearest.argmin(axis=1) == found.labels).all()
    assert nearest.min(axis=1).max() < 4 * D


@every_method
def test_ties_and_duplicates_give_exactly_k(method):
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), -1).reshape(-1, 3).astype(np.float32)
    repeated = np.concatenate([grid, grid, grid[:13]])
    for k in (1, 3, 13, 26, 27):
        for seed in range(3):
            found = discover(layer(repeated), n_concepts=k, method=method, seed=seed)
            assert found.n_concepts == k
    places = [tuple(x) for x in repeated.tolist()]
    assert len({(p, c) for p, c in zip(places, found.labels.tolist(), strict=True)}) == 27


@every_method
@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_nearly_equal_states_give_exactly_k(method, spread):
    generator = np.random.default_rng(0)
    X = np.repeat(generator.normal(size=(10, 8)) * 3, 10, axis=0) + generator.normal(size=(100, 8)) * spread
    for k in (11, 50, 90):
        assert discover(layer(X.astype(np.float32)), n_concepts=k, method=method).n_concepts == k


@every_method
@pytest.mark.parametrize(
    ("n", "distinct", "k"), [(10, 10, 11), (10, 10, 0), (10, 10, -3), (10, 2, 3), (40, 2, 4), (40, 39, 40)]
)
def test_a_k_that_cannot_be_is_refused(method, n, distinct, k):
    X = np.arange(n, dtype=np.float32)[:, None] % distinct * np.ones(4, np.float32)
    with pytest.raises(UsageError, match=rf"n_concepts = {k} .* {n} states \({distinct} distinct\).* 1 to {distinct}"):
        discover(layer(X), n_concepts=k, method=method)


@every_method
def test_minus_zero_is_zero(method):
    X = np.array([[1.0], [-1.0], [0.0], [-0.0]], np.float32)
    with pytest.raises(UsageError, match="3 distinct"):
        discover(layer(X), n_concepts=4, method=method)
    assert discover(layer(X), n_concepts=3, method=method).labels.tolist() == [0, 1, 2, 2]


@every_method
def test_the_same_seed_gives_the_same_concepts(method, cloud):
    once, again = (discover(layer(cloud), n_concepts=K, method=method, seed=5) for _ in range(2))
    assert (once.labels == again.labels).all()
    assert (once.centroids == again.centroids).all()
    np.random.default_rng(0)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002  the global generator must be left alone
    discover(layer(cloud), n_concepts=K, method=method, seed=5)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_kmeans_depends_on_its_seed(cloud):
    found = [discover(layer(cloud), n_concepts=K, method="kmeans", seed=seed).labels for seed in range(4)]
    assert not all(same(found[0], other) for other in found[1:])


@every_method
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(method, cloud, value):
    X = cloud.copy()
    X[70, 3] = value
    with pytest.raises(InputError, match=r"not finite.*token row 210 \('w10', en, sentence 7\)"):
        discover(layer(X), n_concepts=K, method=method)


@every_method
def test_half_precision_is_taken_and_left_alone(method, blobs):
    half = blobs.astype(np.float16)
    kept = half.copy()
    found = discover(layer(half), n_concepts=K, method=method)
    assert (found.labels == discover(layer(half.astype(np.float32)), n_concepts=K, method=method).labels).all()
    assert (half == kept).all()
    assert np.isfinite(found.centroids).all()


@every_method
def test_half_precision_does_not_overflow(method):
    """Squares and sums of such values are far beyond the largest float16."""
    X = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float16)
    X[:, 0] += 60_000
    X[30:, 0] = -60_000
    found = discover(layer(X), n_concepts=2, method=method)
    assert same(found.labels, np.arange(60) >= 30)
    np.testing.assert_allclose(found.centroids[:, 0], [60_000, -60_000], rtol=1e-3)


@every_method
def test_a_shift_of_all_states_changes_nothing(method, blobs):
    there = discover(layer(blobs), n_concepts=K, method=method, seed=1)
    shifted = discover(layer(blobs + 128), n_concepts=K, method=method, seed=1)
    assert (there.labels == shifted.labels).all()


def test_the_order_of_rows_does_not_matter_to_ward(cloud):
    order = np.random.default_rng(9).permutation(N)
    labels = discover(layer(cloud), n_concepts=K).labels
    assert same(discover(layer(cloud[order]), n_concepts=K).labels, labels[order])


def test_a_ward_tree_holds_every_number_of_concepts(cloud):
    tree = discover(layer(cloud), n_concepts=K).tree
    assert tree.shape == (N - 1, 4)
    assert (np.diff(tree[:, 2]) > 0).all()  # no ties, so that every partition is unique
    for k in (1, 2, 3, 17, 80, N - 1, N):
        labels = cut(tree, n_clusters=k)
        assert len(np.unique(labels)) == k
        assert same(labels, fcluster(tree, k, "maxclust"))
        assert same(labels, discover(layer(cloud), n_concepts=k).labels)


def test_one_state_is_one_concept():
    for method in METHODS:
        found = discover(layer(np.ones((1, 4), np.float32)), n_concepts=1, method=method)
        assert found.labels.tolist() == [0]


def test_the_default_is_a_tenth_of_the_types_and_at_most_600(cloud):
    assert [default_n_concepts(n) for n in (3, 60, 3000, 50_000)] == [2, 6, 300, 600]
    assert discover(layer(cloud)).n_concepts == 6


@every_method
def test_an_unknown_option_is_answered_with_the_nearest(method, cloud):
    with pytest.raises(UsageError, match=rf"option of {method} 'thread'\. Did you mean 'threads'"):
        discover(layer(cloud), n_concepts=3, method=method, thread=1)


def test_an_unknown_method_is_answered_with_the_nearest(cloud):
    with pytest.raises(UsageError, match=r"'k-means'\. Did you mean 'kmeans'"):
        discover(layer(cloud), method="k-means")
