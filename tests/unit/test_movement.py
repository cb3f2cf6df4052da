"""Movement of concepts: worked cases, planted changes, chance."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from isogloss.errors import InputError, UsageError
from isogloss.metrics.concepts.fates import chance_shares, difference_of_groups, label_agreement, movement, newly_shared


def test_the_same_concepts_under_other_numbers_are_kept() -> None:
    generator = np.random.default_rng(0)
    before = generator.integers(0, 30, 2000)
    after = generator.permutation(30)[before]
    found = movement(before, after)
    assert set(found.before["fate"]) == set(found.after["origin"]) == {"kept"}
    assert found.shares()["kept"] == found.shares()["from kept"] == 1


def test_planted_splits_mergers_births_and_deaths() -> None:
    blocks = [  # before, after, tokens
        (0, 0, 40),  # kept, with a few strays
        (0, 5, 3),
        (1, 1, 20),  # split into 1 and 2
        (1, 2, 20),
        (2, 3, 20),  # 2 and 3 are merged into 3
        (3, 3, 20),
        *((4, 10 + i, 10) for i in range(3)),  # gone: scattered into 10, 11, 12 ...
        *((5, 10 + i, 10) for i in range(3)),
        *((6, 10 + i, 10) for i in range(3)),  # ... which come from everywhere: born
    ]
    before = np.concatenate([np.full(n, a) for a, _, n in blocks])
    after = np.concatenate([np.full(n, b) for _, b, n in blocks])
    found = movement(before, after)
    fates = dict(found.before.select("concept", "fate").iter_rows())
    assert fates == {0: "kept", 1: "split", 2: "merged", 3: "merged", 4: "gone", 5: "gone", 6: "gone"}
    origins = dict(found.after.select("concept", "origin").iter_rows())
    assert origins == {0: "kept", 1: "split", 2: "split", 3: "merged", 5: "split", 10: "born", 11: "born", 12: "born"}
    shares = found.shares()
    assert sum(shares[x] for x in ("kept", "split", "merged", "gone")) == pytest.approx(1)
    assert sum(shares[x] for x in ("from kept", "from merged", "from split", "born")) == pytest.approx(1)


def test_flows_add_up() -> None:
    generator = np.random.default_rng(1)
    before, after = generator.integers(-1, 9, (2, 500))
    found = movement(before, after)
    both = (before >= 0) & (after >= 0)
    assert found.flows["n"].sum() == both.sum()
    sums = found.flows.group_by("before").agg(pl.col("share_before").sum())
    assert np.allclose(sums["share_before"], 1)


def test_backwards_a_split_is_a_merger() -> None:
    generator = np.random.default_rng(2)
    before = generator.integers(0, 10, 900)
    after = before * 2 + generator.integers(0, 2, 900)
    forward, backward = movement(before, after, theta=0.6), movement(after, before, theta=0.6)
    assert forward.shares()["split"] == 1 and backward.shares()["merged"] == 1
    assert forward.shares()["from split"] == backward.shares()["merged"]


def test_at_random_hardly_anything_is_kept() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 20, 1000)
    chance = chance_shares(labels, labels)
    assert chance["kept"] == 0 and chance["gone"] > 0.95


def test_newly_shared_is_what_was_not_shared_before() -> None:
    before = np.array([0] * 10 + [1] * 10 + [2] * 10)
    after = np.array([0] * 10 + [1] * 6 + [2] * 4 + [1] * 10)  # 1 takes most of 1 and all of 2
    flows = movement(before, after).flows
    found = newly_shared(flows, [True, False, False], [True, True, False])
    assert found.to_dicts() == [{"concept": 1, "n": 16, "was_shared": 0.0}]


def test_agreement_of_labels_has_no_bias_from_size() -> None:
    generator = np.random.default_rng(4)
    sizes = np.repeat([2, 5, 50], 2000)
    concepts = np.repeat(np.arange(len(sizes)), sizes)
    labels = (generator.random(len(concepts)) < 0.3).astype(int)
    found = label_agreement(labels, concepts, len(sizes))
    for size in (2, 5, 50):
        assert found[sizes == size].mean() == pytest.approx(0.3**2 + 0.7**2, abs=0.03)
    assert label_agreement([0, 0, 1], [0, 0, 1], 3)[0] == 1
    assert np.isnan(label_agreement([0, 0, 1], [0, 0, 1], 3)[1:]).all()


def test_a_difference_of_groups_and_none() -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(size=60)
    chosen = np.arange(60) < 20
    _, _, p_none = difference_of_groups(values, chosen)
    mine, others, p = difference_of_groups(values + 2 * chosen, chosen)
    assert p_none > 0.05 > p and mine > others
    assert np.isnan(difference_of_groups(values, np.zeros(60, bool))[2])


def test_false_alarms_come_at_the_nominal_rate() -> None:
    generator = np.random.default_rng(6)
    p = [
        difference_of_groups(generator.normal(size=30), np.arange(30) < 10, n_permutations=200, draw_seed=i)[2]
        for i in range(300)
    ]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="same tokens; got 2 and 3"):
        movement([0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="no token in common"):
        movement([-1, 0], [0, -1])
    with pytest.raises(UsageError, match="theta"):
        movement([0], [0], theta=0.4)
