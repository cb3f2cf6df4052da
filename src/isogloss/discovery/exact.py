"""Arithmetic whose result does not depend on how the work is parted: exact sums, and random numbers by row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.compiled import compiled
from isogloss.discovery.rows import Floats, Longs

_UNIT = 1126  # all float64 numbers are multiples of 2^-1074, and np.frexp writes that one with 53 bits
_HALF = 27


def bits_for(n: int) -> int:
    """Return how many binary places the sum of n numbers within [-1, 1] may have in int64.

    17 bits count 100,000 rows and leave 45 places; float32 has 24 below the first.  A billion rows leave 32.
    """
    return 62 - n.bit_length()


def fixed(rows: npt.NDArray[np.float32], bits: int) -> Longs:
    """Return numbers within [-1, 1] as the nearest multiples of ``2^-bits``."""
    return np.rint(rows.astype(np.float64) * 2.0**bits).astype(np.int64)


@compiled
def add_fixed(
    sums: Longs,
    counts: Longs,
    rows: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    weights: Longs,
    factor: float,
) -> None:
    """Add rows to the sums of their clusters as `fixed` numbers: integers, so that no order changes the sums."""
    for r in range(len(rows)):
        total, row, weight = sums[labels[r]], rows[r], weights[r]
        counts[labels[r]] += weight
        for t in range(len(row)):
            total[t] += np.int64(np.rint(np.float64(row[t]) * factor)) * weight


def means(sums: Longs, counts: Longs, bits: int, otherwise: Floats) -> Floats:
    """Return (k, d) float64 means of `fixed` sums; of a cluster without rows what it was."""
    there = counts > 0
    quotients = np.ldexp(sums / np.maximum(counts, 1)[:, None], -bits)
    return np.where(there[:, None], quotients, otherwise)


def exact_sum(values: Floats) -> int:
    """Return the sum of finite numbers, none negative, in units of ``2^-1126``.

    Mantissas of an exponent are added as integers in two halves, so that no sum of less than 2^36 numbers overflows.
    """
    mantissas, exponents = np.frexp(values)
    whole = np.ldexp(mantissas, 53).astype(np.int64)
    kinds, places = np.unique(exponents, return_inverse=True)
    high, low = np.zeros((2, len(kinds)), np.int64)
    np.add.at(high, places, whole >> _HALF)
    np.add.at(low, places, whole & (2**_HALF - 1))
    by_kind = zip(kinds.tolist(), high.tolist(), low.tolist(), strict=True)
    return sum(((h << _HALF) + rest) << (e - 53 + _UNIT) for e, h, rest in by_kind)


def rounded(total: int) -> float:
    """Return a sum of `exact_sum` as the nearest float."""
    return total / (1 << _UNIT)


def uniform(seed: int, stream: int, begin: int, end: int) -> Floats:
    """Return the numbers in [0, 1) of rows ``begin`` to ``end`` (less one).

    Philox (Salmon et al. 2011) is a function of a key and a counter, and makes four numbers a count: that of a row
    depends on seed, stream and row alone, whichever rows are asked for with it.
    """
    generator = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream,)))
    generator.advance(begin // 4)
    raw: npt.NDArray[np.uint64] = generator.random_raw(end - begin // 4 * 4)[begin % 4 :]
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
