from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from isogloss.errors import InputError, UsageError
from isogloss.results import RESULT_COLUMNS, Alignment, Estimate, Overlap, Results, signature
from isogloss.settings import AlignmentSettings, OverlapSettings


def row(**values: object) -> dict[str, object]:
    base = {
        "model": "m", "base_model": "m", "stack": "encoder", "layer": 1, "metric": "calign", "source": "en",
        "target": "de", "method": "ward", "n_concepts": 300, "seed": 0, "theta": 0.8, "score": 0.25,
        "chance": 0.1, "adjusted": 1 / 6, "ci_low": 0.2, "ci_high": 0.3, "n": 280, "coverage": 0.9,
        "signature": "calign|theta:0.8",
    }  # fmt: skip
    return base | values


def figure(theta: float, score: float = 0.5, chance: float = 0.2) -> Estimate:
    return Estimate(theta, score, chance, 0.01, 0.5, 0.4, 0.6, 10, 1.0)


def test_what_is_written_is_read(tmp_path):
    results = Results.from_rows([row(), row(layer=2, score=math.nan, chance=math.nan, theta=0.5)])
    results.write(tmp_path / "results.parquet")
    assert Results.read(tmp_path / "results.parquet").table.equals(results.table)


def test_csv_has_every_column_and_leaves_missing_values_empty(tmp_path):
    results = Results.from_rows([row(), row(score=math.nan, target='zh,"x"')])
    path = tmp_path / "results.csv"
    results.write_csv(path)
    assert path.read_text(encoding="utf-8").splitlines()[0] == ",".join(RESULT_COLUMNS)
    back = pl.read_csv(path, schema=RESULT_COLUMNS)
    assert back["score"].to_list() == [0.25, None]
    assert back["target"].to_list() == ["de", 'zh,"x"']
    first = path.read_bytes()
    results.write_csv(path)
    assert path.read_bytes() == first


def test_a_damaged_table_is_named(tmp_path):
    path = tmp_path / "results.parquet"
    Results.from_rows([row()]).write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"results\.parquet cannot be read as Parquet"):
        Results.read(path)
    pl.DataFrame({"model": ["m"]}).write_parquet(path)
    with pytest.raises(InputError, match=r"results\.parquet lacks the column\(s\) base_model"):
        Results.read(path)
    with pytest.raises(InputError, match="no file"):
        Results.read(tmp_path / "other.parquet")


def test_rows_come_in_one_order_whatever_the_order_of_the_parts():
    a, b, c = (Results.from_rows([row(layer=i), row(layer=i, metric="colap")]) for i in (0, 1, 2))
    assert Results.concat([c, a, b]).table.equals(Results.concat([a, b, c]).table)
    assert Results.concat([c, a, b]).table["layer"].to_list() == [0, 0, 1, 1, 2, 2]


def test_rows_are_chosen_by_value():
    results = Results.from_rows([row(), row(metric="colap"), row(layer=6)])
    assert results.only(metric="calign", layer=6).height == 1
    with pytest.raises(UsageError, match="Did you mean 'metric'"):
        results.only(metrik="calign")


def test_adjusted_is_the_share_of_what_chance_leaves():
    assert figure(0.8, score=0.6, chance=0.2).adjusted == pytest.approx(0.5)
    assert figure(0.8, score=0.2, chance=0.2).adjusted == 0
    assert figure(0.8, score=1, chance=0.2).adjusted == 1
    assert figure(0.8, score=1, chance=1).adjusted == 0
    assert math.isnan(figure(0.8, score=math.nan, chance=0.2).adjusted)


def test_a_theta_that_was_not_computed_is_refused():
    found = Overlap(("en", "de"), (figure(0.3), figure(0.2)), np.array([[1, 1]]), OverlapSettings())
    assert found.at(0.2).theta == 0.2
    assert found.score == found.at(0.3).score
    with pytest.raises(UsageError, match=r"unknown theta '0.25'.*0.2, 0.3"):
        found.at(0.25)


@pytest.mark.parametrize(("rule", "expected"), [("symmetric", [0, 1]), ("paper-code", [0])])
def test_aligned_pairs_follow_the_rule(rule, expected):
    pairs = pl.DataFrame({"source_concept": [0, 1, 2], "target_concept": [0, 1, 2], "match": [0.9, 0.8, 0.5]})
    best = np.array([0.9, 0.8, 0.5])
    settings = AlignmentSettings(rule=rule)
    found = Alignment("en", "de", (figure(0.8),), figure(math.nan), best, pairs, pairs.clear(), settings)
    assert found.aligned()["source_concept"].to_list() == expected


def test_a_signature_lists_its_parts():
    assert signature({"metric": "calign", "theta": 0.8}) == "metric:calign|theta:0.8"


def test_over_seeds_adds_their_spread_to_the_intervals():
    common = {"model": "m", "base_model": "", "stack": "encoder", "layer": 1, "source": "a", "target": "b"}
    common |= {"method": "kmeans", "n_concepts": 9, "chance": 0.1, "adjusted": 0.2, "n": 9, "coverage": 1.0}
    rows = [
        {**common, "metric": metric, "theta": theta, "seed": seed, "score": score}
        | {"ci_low": score - 0.03, "ci_high": score + 0.04}
        for metric, theta in (("calign", 0.8), ("calign_soft", math.nan))
        for seed, score in ((0, 0.4), (1, 0.5), (2, 0.6))
    ]
    single = {**rows[0], "metric": "colap"}
    found = Results.from_rows([*rows, single]).over_seeds()
    assert found["metric"].to_list() == ["calign", "calign_soft"]
    row = found.row(0, named=True)
    assert (row["n_seeds"], row["score"], row["least"], row["most"]) == (3, pytest.approx(0.5), 0.4, 0.6)
    assert row["ci_low"] == pytest.approx(0.5 - math.hypot(0.03, 1.959964 * 0.1))
    assert row["ci_high"] == pytest.approx(0.5 + math.hypot(0.04, 1.959964 * 0.1))
