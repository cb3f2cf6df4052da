"""Association of a measure with zero-shot scores, for few languages."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test, spearmanr

from isogloss.errors import InputError
from isogloss.metrics.statistics.ranks import association, rank_correlation


def test_it_is_spearmans_correlation_with_its_exact_p_value() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 6))
    found = association(x, y)
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    exact = permutation_test((x,), lambda a: spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=np.inf)
    assert found.p_value == pytest.approx(exact.pvalue)
    assert found.ci_low < found.rho < found.ci_high


def test_a_measure_that_predicts_does_better_than_the_mean() -> None:
    x = np.linspace(0, 1, 7)
    noise = np.array([0.01, -0.02, 0.01, 0, -0.01, 0.02, -0.01])
    good, useless = association(x, 0.2 + 0.5 * x + noise), association(x, noise)
    assert good.error < 0.2 * good.error_of_mean
    assert useless.error > useless.error_of_mean * 0.9
    assert good.slope == pytest.approx(0.5, abs=0.05)


def test_with_few_languages_nothing_is_claimed() -> None:
    three = association([1, 2, 3], [1, 2, 3])
    assert three.n == 3 and np.isnan(three.rho) and np.isnan(three.p_value)
    four = association([1, 2, 3, 4], [1, 2, 3, 4])
    assert four.rho == 1 and four.p_value == pytest.approx(2 / 24) and np.isnan(four.ci_low)


def test_languages_without_a_value_are_left_out_and_constants_have_no_rank() -> None:
    assert association([1, 2, np.nan, 4, 5], [1, 2, 3, 4, 6]).n == 4
    assert np.isnan(association([1, 1, 1, 1], [1, 2, 3, 4]).rho)


def test_the_interval_covers_at_about_its_rate() -> None:
    generator = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a bivariate normal with correlation 0.6
    inside = 0
    for _ in range(200):
        x = generator.normal(size=6)
        found = association(x, 0.6 * x + 0.8 * generator.normal(size=6))
        inside += abs(found.rho) == 1 or found.ci_low <= truth <= found.ci_high
    assert 0.91 <= inside / 200 <= 0.99


def test_lengths_must_match() -> None:
    with pytest.raises(InputError, match="2 and 3"):
        association([1, 2], [1, 2, 3])


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_is_scipys(ties: bool) -> None:
    generator = np.random.default_rng(4)
    for n in (3, 4, 9, 50):
        x, y = generator.integers(0, 4, (2, n)) if ties else generator.normal(size=(2, n))
        assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12, nan_ok=True)


def test_rank_correlation_leaves_out_what_is_not_finite_and_needs_three_that_vary() -> None:
    assert rank_correlation([1, np.nan, 2, 3, 9], [2, 5, 4, 6, np.inf]) == pytest.approx(1)
    for x, y in (([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5]), ([], [])):
        assert np.isnan(rank_correlation(x, y))
