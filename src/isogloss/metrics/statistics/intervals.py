"""Intervals by formula, where no sentences are drawn."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def wilson(successes: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927); (NaN, NaN) when n is 0.

    Examples
    --------
    >>> low, high = wilson(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    if n == 0:
        return math.nan, math.nan
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # exact at the ends, where rounding would leave 1e-17
    low = 0.0 if successes == 0 else (centre - spread) / scale
    return low, 1.0 if successes == n else (centre + spread) / scale


def mean_interval(values: npt.NDArray[np.floating], z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the normal interval of a mean, mean +- z s / root(n); (NaN, NaN) below two values."""
    if len(values) < 2:
        return math.nan, math.nan
    half = z * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half
