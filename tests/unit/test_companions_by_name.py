"""The companion measures as a study asks for them: by name, with chance level and interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isogloss.metrics.companions.estimates import compare_rows, look_at_space
from isogloss.metrics.concepts.mixing import mixing_estimates
from isogloss.metrics.registry import COMPANIONS, DEFAULT_COMPANIONS
from isogloss.results import Results
from isogloss.study import rank_correlations

ROWS = [name for name, measure in COMPANIONS.items() if measure.takes != "space"]


@pytest.fixture
def pairs():
    """Return two languages that say the same in rotated axes with some noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 12))
    return X, X + 0.3 * rng.normal(size=X.shape)


@pytest.mark.parametrize("name", ROWS)
def test_translations_lie_above_chance_and_shuffled_pairs_at_it(pairs, name):
    X, Y = pairs
    found = compare_rows(name, X, Y)
    assert found.n == 120
    assert found.score > found.chance + 0.3
    shuffled = compare_rows(name, X, np.random.default_rng(1).permutation(Y))
    assert shuffled.score == pytest.approx(found.chance, abs=0.12)


def test_cca_of_too_few_rows_is_not_defined_and_no_error(pairs):
    X, Y = pairs
    assert math.isnan(compare_rows("svcca", X[:15], Y[:15]).score)


def test_space_measures_see_a_language_that_lies_apart():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 6))
    languages, sentences = np.repeat(["a", "b"], 50), np.tile(np.arange(50), 2)
    apart = X + (languages == "a")[:, None] * 4.0
    assert look_at_space("language_probe", X, languages, sentences).score < 0.7
    assert look_at_space("language_probe", apart, languages, sentences).score > 0.95
    mixing = [look_at_space("knn_mixing", x, languages, sentences).score for x in (X, apart)]
    assert mixing[0] > 0.8
    assert mixing[1] < 0.2


def test_defaults_are_known():
    assert set(DEFAULT_COMPANIONS) <= set(COMPANIONS)


def test_rank_correlations_are_over_layers_and_pairs():
    keys = {"model": "m", "stack": "encoder"}
    companions = [
        {**keys, "layer": layer, "source": "a", "target": target, "metric": name, "score": score}
        for layer, target, x in ((0, "b", 1.0), (0, "c", 2.0), (1, "b", 3.0), (1, "c", 5.0))
        for name, score in (("up", x), ("down", -(x**3)), ("flat", 1.0))
    ]
    clustering = {"method": "ward", "n_concepts": 9, "seed": 0}
    clustered = [
        {**keys, **clustering, "layer": layer, "source": "a", "target": target, "metric": metric}
        | {"theta": theta, "score": x, "adjusted": x}
        for layer, target, x in ((0, "b", 0.1), (0, "c", 0.3), (1, "b", 0.2), (1, "c", 0.9))
        for metric, theta in (("calign_mean", 0.8), ("calign_mean", 0.5), ("calign_soft_mean", math.nan))
    ]
    table = rank_correlations(Results.from_rows([*companions, *clustered]))
    found = {(a, b): (rho, n) for _, _, a, b, rho, n in table.iter_rows()}
    assert found["up", "down"] == (pytest.approx(-1), 4)
    assert math.isnan(found["up", "flat"][0])
    assert found["up", "calign_mean"] == (pytest.approx(0.8), 4)
    assert found["calign_mean", "calign_soft_mean"] == (pytest.approx(1), 4)


def test_mixing_of_joint_concepts_lies_at_its_chance_when_languages_are_dealt_out():
    rng = np.random.default_rng(0)
    concepts, tokens = rng.integers(0, 20, 4000), rng.permutation(np.repeat([0, 1], 2000))
    even, apart = np.zeros((20, 2), np.int64), np.zeros((20, 2), np.int64)
    np.add.at(even, (concepts, tokens), 1)
    np.add.at(apart, (concepts // 2 * 2 + tokens, tokens), 1)
    for name, figure in mixing_estimates(even).items():
        assert figure.score == pytest.approx(figure.chance, abs=0.02), name
    found = mixing_estimates(apart)
    assert found["language_entropy"].score == pytest.approx(0)
    assert found["purity"].score == 1
    assert found["ami"].score > 0.2
    assert found["language_entropy"].chance > 0.95
