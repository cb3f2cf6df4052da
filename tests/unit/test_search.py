"""The best of many: p-values, intervals and rivals that know of the search, on arrays whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from isogloss.metrics.statistics.search import corrected_p, simultaneous_intervals, told_apart
from isogloss.results import RESULT_COLUMNS
from isogloss.study.analyses.search import BY_LAYER, by_layer, with_search
from synthetic import with_draws


def alike(n_rows: int, n: int, rng: np.random.Generator, rho: float = 0.5) -> np.ndarray:
    """Return (n_rows, n) normal draws; rows correlate as layers do."""
    return np.sqrt(rho) * rng.normal(size=n) + np.sqrt(1 - rho) * rng.normal(size=(n_rows, n))


def test_the_best_of_rows_without_an_effect_is_called_significant_in_5_percent() -> None:
    rng, corrected, bare = np.random.default_rng(1), 0, 0
    for _ in range(300):
        drawn = alike(26, 101, rng)
        corrected += corrected_p(drawn[:, 0], drawn[:, 1:]).min() < 0.05
        bare += ((drawn[:, 1:] >= drawn[:, :1]).sum(axis=1) + 1).min() / 101 < 0.05
    assert corrected / 300 <= 0.08
    assert bare / 300 > 0.25


def test_with_one_row_nothing_is_corrected() -> None:
    null = np.arange(99.0)
    assert corrected_p([96.5], [null]).tolist() == [0.03]
    assert corrected_p([96.0], [null]).tolist() == [0.04]
    assert corrected_p([200.0], [null]).tolist() == [0.01]


def test_rows_of_other_spreads_keep_their_power() -> None:
    rng = np.random.default_rng(0)
    nulls = np.concatenate([rng.normal(0, 0.01, (10, 200)), rng.normal(0, 0.3, (20, 200))])
    scores = np.r_[0.08, np.zeros(29)]
    assert corrected_p(scores, nulls)[0] == pytest.approx(1 / 201)
    # a row that is nearly always 0 has draws far beyond its spread; they do not hide the others
    rare = (rng.random((20, 200)) < 0.005) * 0.02
    assert corrected_p(scores, np.concatenate([nulls[:10], rare]))[0] < 0.03


def test_rows_without_draws_are_left_out() -> None:
    nulls = np.random.default_rng(0).normal(size=(3, 50))
    nulls[1, 3] = math.nan
    p = corrected_p([5.0, 5.0, math.nan], nulls)
    assert p[0] == pytest.approx(1 / 51)
    assert np.isnan(p[1:]).all()
    assert np.isnan(corrected_p([1.0], np.empty((1, 0)))).all()
    # nothing varies, up to the rounding of float32
    level = (0.9 + 1e-8 * np.random.default_rng(0).normal(size=(2, 50))).astype(np.float32)
    assert corrected_p([0.9, 0.9], level).tolist() == [1.0, 1.0]
    assert corrected_p([0.5, 0.0], np.zeros((2, 9))).tolist() == [0.1, 1.0]


def test_the_interval_of_the_best_holds_where_its_own_does_not() -> None:
    rng, own, together = np.random.default_rng(2), 0, 0
    for _ in range(300):
        scores, draws = alike(26, 1, rng)[:, 0], alike(26, 220, rng)
        best = int(scores.argmax())
        low, high = simultaneous_intervals(scores, draws)
        together += low[best] <= 0 <= high[best]
        own += abs(scores[best]) < 1.96
    assert own / 300 < 0.8
    assert together / 300 > 0.93


def test_intervals_are_about_the_scores_wherever_the_resamples_lie() -> None:
    draws = np.random.default_rng(0).normal(0.8, 0.1, (2, 220))
    low, high = simultaneous_intervals([0.5, math.nan], draws)
    assert (low[0] + high[0]) / 2 == pytest.approx(0.5)
    assert 0.18 < 0.5 - low[0] < 0.22
    assert math.isnan(low[1])
    draws[0, :5] = math.nan
    assert simultaneous_intervals([0.5, 0.5], draws)[0] == pytest.approx([low[0], 0.28], abs=0.05)
    # a row without variation has an interval of its own score, and does not widen the others
    still = np.concatenate([draws[1:], np.full((1, 220), 0.3)])
    ends = np.array(simultaneous_intervals([0.5, 0.3], still))
    assert ends[:, 1].tolist() == [0.3, 0.3]


def test_rows_without_a_difference_are_seldom_told_apart() -> None:
    rng, apart = np.random.default_rng(3), 0
    for _ in range(300):
        apart += told_apart(alike(13, 1, rng)[:, 0], alike(13, 220, rng)).any()
    assert apart / 300 <= 0.09


def test_a_difference_of_rows_that_vary_together_is_seen() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0, 1, 220) + rng.normal(0, 0.01, (3, 220))
    apart = told_apart([0.5, 0.4, 0.399], draws)
    assert apart.tolist() == [[False, True, True], [False, False, False], [False, False, False]]
    assert not told_apart([0.5], draws[:1]).any()


def estimates(levels: dict[int, tuple[float, float]], *, metric: str = "calign_mean", model: str = "m") -> pl.DataFrame:
    rows = [
        {"model": model, "base_model": "", "stack": "encoder", "layer": layer, "metric": metric, "source": "en"}
        | {"target": target, "method": "ward", "n_concepts": 9, "seed": 0, "theta": 0.8, "score": score}
        | {"chance": chance, "adjusted": (score - chance) / (1 - chance), "ci_low": 0.0, "ci_high": 1.0, "n": 100}
        | {"coverage": 0.9, "signature": ""}
        for layer, (score, chance) in levels.items()
        for target in ("de", "ar")
    ]
    return pl.DataFrame(rows, schema=RESULT_COLUMNS, orient="row")


def test_every_row_is_corrected_for_all_rows_of_its_metric() -> None:
    few = estimates({0: (0.10, 0.10), 1: (0.15, 0.10)})
    drawn = with_draws(few, spread=0.02)
    many = with_draws(pl.concat([few, *(estimates(dict.fromkeys(range(30), (0.1, 0.1)), model=m) for m in "ab")]))
    of_few = with_search(drawn)["p_search"].to_numpy()
    of_many = with_search(many)["p_search"].to_numpy()[: few.height]
    assert (of_few[2:] < of_many[2:]).all()
    assert (of_few[:2] > 0.5).all()
    other = with_search(pl.concat([drawn, with_draws(estimates({0: (0.3, 0.9)}, metric="colap")).with_columns(
        pl.lit(None, drawn.schema[name]).alias(name) for name in ("null_words", "null_sentence"))]))  # fmt: skip
    assert other["p_search"][:4].to_list() == of_few.tolist()
    assert other["p_search"][4:].is_nan().all()


def test_both_nulls_have_to_be_refused() -> None:
    drawn = with_draws(estimates({0: (0.3, 0.1), 1: (0.3, 0.1)}))
    assert (with_search(drawn)["p_search"] < 0.05).all()
    # words of a sentence that exchange their concepts reach the score
    sentence = pl.Series(np.random.default_rng(0).normal(0.3, 0.02, (4, 100)).tolist(), dtype=pl.List(pl.Float32))
    like = drawn.with_columns(null_sentence=sentence, chance_sentence=pl.lit(0.3), chance=pl.lit(0.3))
    assert (with_search(like)["p_search"] > 0.3).all()
    assert by_layer(like)["above"].to_list() == [False, False]


def test_the_mean_over_pairs_is_that_of_scores_chances_and_draws() -> None:
    drawn = with_draws(estimates({0: (0.2, 0.1), 1: (0.4, 0.2)}))
    drawn = drawn.with_columns(score=pl.when(pl.col("target") == "ar").then(pl.col("score") + 0.1).otherwise("score"))
    layers = by_layer(drawn)
    assert layers.columns == list(BY_LAYER)
    assert layers["score"].to_list() == pytest.approx([0.25, 0.45])
    assert layers["chance"].to_list() == pytest.approx([0.1, 0.2])
    assert layers["n_pairs"].to_list() == [2, 2] and layers["n"].to_list() == [200, 200]
    # half of the variance of one pair, and the quantile of two independent rows
    half = (layers["ci_high"] - layers["ci_low"]).to_numpy() / 2
    assert half == pytest.approx(2.24 * 0.02 / math.sqrt(2), rel=0.15)
    assert layers["best"].to_list() == [False, True]
    assert layers["below_best"].to_list() == [True, False]
    assert layers["above"].all()


def test_the_best_is_one_of_those_above_chance_if_there_are_any() -> None:
    drawn = with_draws(estimates({0: (0.2, 0.1), 1: (0.9, 0.88)}), spread=0.02)
    # at layer 1 nearly all is chance: adjusted is higher there, and so is its spread
    assert drawn["adjusted"][2] > drawn["adjusted"][0]
    layers = by_layer(drawn)
    assert layers["above"].to_list() == [True, False]
    assert layers["best"].to_list() == [True, False]


def test_pairs_without_a_score_are_left_out_of_the_mean() -> None:
    drawn = with_draws(estimates({0: (0.2, 0.1), 1: (0.4, 0.2)}))
    missing = (pl.col("layer") == 1) & (pl.col("target") == "ar")
    drawn = drawn.with_columns(
        *(pl.when(missing).then(math.nan).otherwise(name).alias(name) for name in ("score", "chance", "adjusted")),
        *(pl.when(missing).then(None).otherwise(name).alias(name) for name in ("draws", "null_words", "null_sentence")),
    )
    layers = by_layer(drawn)
    assert layers["n_pairs"].to_list() == [2, 1]
    assert layers["score"].to_list() == pytest.approx([0.2, 0.4])
    assert (layers["p_search"] < 0.05).all()
    assert layers["most"].to_list() == [None, None]
    assert by_layer(drawn.filter(pl.col("score").is_nan())).is_empty()
