"""The silhouette as a figure of a study: its sample, its chance level and its interval."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import silhouette_score

from isogloss.errors import InputError
from isogloss.metrics.concepts.partition import sample_of, silhouette, silhouette_estimate
from isogloss.metrics.statistics.bootstrap import Resamples


def blobs(n: int, k: int, *, apart: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return apart * rng.normal(size=(k, 5))[labels] + rng.normal(size=(n, 5)), labels


def test_a_sample_has_at_most_so_many_rows_all_of_a_concept() -> None:
    labels = np.where(np.arange(100) % 3, np.arange(100) % 7, -1)
    rows = sample_of(labels, 30, draw_seed=4)
    assert len(rows) == 30 == len(set(rows.tolist()))
    assert (labels[rows] >= 0).all()
    assert (np.diff(rows) > 0).all()
    assert (sample_of(labels, 30, draw_seed=4) == rows).all()
    assert (sample_of(labels, 30, draw_seed=5) != rows).any()
    assert sample_of(labels, 1000).tolist() == np.flatnonzero(labels >= 0).tolist()
    with pytest.raises(InputError, match="are -1"):
        sample_of([-1, -1, -1, -1])


def test_the_figure_is_the_silhouette_and_chance_the_mean_of_shuffled_labelings() -> None:
    x, labels = blobs(300, 6)
    found = silhouette_estimate(x, labels, draw_seed=3)
    assert found.score == pytest.approx(silhouette(x, labels)) == pytest.approx(silhouette_score(x, labels))
    generator = np.random.default_rng(3)
    shuffled = [silhouette_score(x, generator.permutation(labels)) for _ in range(10)]
    assert found.chance == pytest.approx(np.mean(shuffled))
    assert found.chance_sd == pytest.approx(np.std(shuffled))
    assert found.chance < 0 < found.score
    assert found.n == 6
    assert math.isnan(found.ci_low)


def test_random_concepts_are_at_chance() -> None:
    x, _ = blobs(400, 6)
    labels = np.random.default_rng(1).integers(0, 6, 400)
    found = silhouette_estimate(x, labels, n_permutations=50)
    assert abs(found.score - found.chance) < 4 * found.chance_sd


def test_the_interval_is_of_sentences_and_widens_where_they_differ() -> None:
    """Half of the sentences are well clustered, half are noise: which are drawn decides the score."""
    x, labels = blobs(400, 4, apart=8)
    noise = np.arange(400) >= 200
    labels[noise] = np.random.default_rng(2).permutation(labels[noise])
    options = {"resamples": Resamples.draw(np.arange(20), 200)}
    together = silhouette_estimate(x, labels, sentences=pl.Series(np.arange(400) // 20), **options)
    spread = silhouette_estimate(x, labels, sentences=pl.Series(np.arange(400) % 20), **options)
    for found in (together, spread):
        assert found.ci_low < found.score < found.ci_high
        assert found.draws is not None and found.draws.shape == (220,)
    assert together.ci_high - together.ci_low > 3 * (spread.ci_high - spread.ci_low)


def test_one_concept_or_none_twice_has_no_silhouette() -> None:
    x, _ = blobs(6, 2)
    for labels in ([1] * 6, list(range(6))):
        found = silhouette_estimate(x, labels)
        assert math.isnan(found.score) and math.isnan(found.chance)
