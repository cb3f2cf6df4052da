"""Our k-means: as good as scikit-learn's, exact, repeatable, and read in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from isogloss.discovery import kmeans
from isogloss.discovery import rows as reading
from isogloss.errors import InputError


def groups(n: int, d: int, k: int, *, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(k, d)) * 2
    return (centres[generator.integers(k, size=n)] + generator.normal(size=(n, d))).astype(np.float32)


def inertia(X: np.ndarray, labels: np.ndarray) -> float:
    X = X.astype(np.float64)
    return sum(
        float(((X[labels == c] - X[labels == c].mean(axis=0)) ** 2).sum()) for c in range(labels.max() + 1)
    )


def test_lloyd_from_given_centres_is_scikit_learns():
    X = groups(800, 12, 9)
    centres = X[:9].astype(np.float64)
    theirs = KMeans(9, init=centres, n_init=1, max_iter=300, tol=0).fit(X.astype(np.float64))
    known = reading.survey(X)
    with kmeans.Reader(X, known, 2) as rows:
        moved = np.ldexp(centres - known.centre, known.exponent)
        tolerance, kmeans.TOLERANCE = kmeans.TOLERANCE, 0.0
        try:
            _, labels = kmeans._lloyd(rows, moved, 300)
        finally:
            kmeans.TOLERANCE = tolerance
    assert (labels == theirs.labels_).all()
    np.testing.assert_allclose(
        np.ldexp(moved, -known.exponent) + known.centre, theirs.cluster_centers_, rtol=1e-6
    )


@pytest.mark.parametrize(("n", "k"), [(3000, 30), (6000, 60)])
def test_inertia_is_not_worse_than_scikit_learns_at_equal_starts(n, k):
    X = groups(n, 16, 2 * k)
    ours = [inertia(X, kmeans.fit(X, k, seed=seed)) for seed in range(6)]
    theirs = [KMeans(k, n_init=1, random_state=seed).fit(X).inertia_ for seed in range(6)]
    assert np.mean(ours) < np.mean(theirs) * 1.005


def test_one_block_and_many_threads_and_few_give_the_same_labels(monkeypatch):
    X = groups(2500, 20, 40)
    whole = kmeans.fit(X, 25, seed=3, threads=1)
    assert (kmeans.fit(X, 25, seed=3, threads=3) == whole).all()
    known = reading.survey(X)
    start = np.ldexp(X[:25].astype(np.float64) - known.centre, known.exponent)

    def run(threads: int) -> tuple[float, np.ndarray, np.ndarray]:
        centres = start.copy()
        with kmeans.Reader(X, known, threads) as rows:
            return *kmeans._lloyd(rows, centres, 50), centres

    expected = run(1)
    for size in (1, 17, 400, 2500):
        monkeypatch.setattr(reading, "_ROWS", size)
        for threads in (1, 2):
            found = run(threads)
            assert found[0] == expected[0]
            assert (found[1] == expected[1]).all()
            assert (found[2] == expected[2]).all()


def test_labels_are_the_nearest_centres_where_float32_cannot_tell():
    generator = np.random.default_rng(1)
    X = generator.normal(size=(400, 6)) * 1e-5 + np.repeat([[1000.0] * 6, [-1000.0] * 6], 200, axis=0)
    labels = kmeans.fit(X, 40, seed=0, max_iterations=300)
    centres = np.stack([X[labels == c].mean(axis=0) for c in range(40)])
    nearest = ((X[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.98  # the last move of the centres may leave a few


def test_several_starts_keep_the_best():
    X = groups(1500, 4, 25)
    found = [inertia(X, kmeans.fit(X, 25, seed=0, n_starts=n)) for n in (1, 4, 16)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


def test_an_empty_cluster_takes_the_farthest_row():
    X = np.concatenate([np.zeros((20, 2)), [[100.0, 0.0]], np.ones((20, 2))])
    known = reading.survey(X)
    far = np.ldexp(np.array([[0.0, 0.0], [1.0, 1.0], [1e9, 1e9]]) - known.centre, known.exponent)
    with kmeans.Reader(X, known, 1) as rows:
        _, labels = kmeans._lloyd(rows, far, 1)
    assert np.bincount(labels).tolist() == [20, 20, 1]
    assert labels[20] == 2


def test_a_memory_mapped_half_precision_file_gives_the_same(tmp_path):
    X = groups(5000, 24, 30).astype(np.float16)
    np.save(tmp_path / "states.npy", X)
    mapped = np.load(tmp_path / "states.npy", mmap_mode="r")
    assert (kmeans.fit(mapped, 20, seed=1) == kmeans.fit(X.astype(np.float64), 20, seed=1)).all()


def test_a_value_that_is_not_finite_is_refused_with_its_row():
    X = groups(50, 3, 4)
    X[17, 2] = np.inf
    with pytest.raises(InputError, match=r"Row 17 .* holds inf"):
        kmeans.fit(X, 4, seed=0)
