"""Sentence retrieval: worked cases and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import InputError, UsageError
from isogloss.metrics.companions.nearest import retrieval


def test_a_sentence_finds_itself_and_a_shuffled_one_does_not():
    x = np.random.default_rng(0).normal(size=(50, 8))
    assert retrieval(x, x).tolist() == [1.0] * 50
    assert retrieval(x, np.roll(x, 1, axis=0)).sum() == 0
    assert retrieval(x, x, csls=5).tolist() == [1.0] * 50


def test_constant_vectors_score_chance_and_zeros_are_not_an_error():
    assert retrieval(np.ones((10, 3)), np.ones((10, 3))).mean() == pytest.approx(0.1)
    assert retrieval(np.zeros((10, 3)), np.ones((10, 3))).mean() == pytest.approx(0.1)
    assert retrieval(np.ones((10, 3)), np.ones((10, 3)), csls=3).mean() == pytest.approx(0.1)


def test_csls_by_hand():
    # cosines: row 1 is nearer to the hub (column 0) than to its translation; the hub is near to everyone.
    def at(degrees):
        return np.array([[np.cos(np.radians(d)), np.sin(np.radians(d))] for d in degrees])

    source, target = at([0, 20, -20]), at([0, 42, -42])
    assert retrieval(source, target).tolist() == [1, 0, 0]
    # with k = 3: r(hub) = (1 + 2 cos 20) / 3 = 0.960, r(42 degrees) = (cos 42 + cos 22 + cos 62) / 3 = 0.713, so
    # row 1 prefers 2 cos 22 - 0.713 = 1.141 to 2 cos 20 - 0.960 = 0.919
    assert retrieval(source, target, csls=3).tolist() == [1, 1, 1]


@given(st.integers(0, 10_000), st.sampled_from([None, 1, 4]))
def test_scale_and_rotation_do_not_matter(seed, csls):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 12, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    scale = rng.uniform(0.1, 10, size=(12, 1))
    np.testing.assert_allclose(retrieval(x, y, csls=csls), retrieval(x @ turn * scale, y @ turn * 3, csls=csls))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match=r"\(3, 2\) and \(4, 2\)"):
        retrieval(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(InputError, match="not finite"):
        retrieval(np.full((3, 2), np.nan), np.ones((3, 2)))
    with pytest.raises(UsageError, match=r"1\.\.3; got 4"):
        retrieval(np.ones((3, 2)), np.ones((3, 2)), csls=4)
