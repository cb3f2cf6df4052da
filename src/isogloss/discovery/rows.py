"""What has to be known of rows that are to be clustered: centre, scale, copies, who is near whom; exact distances."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import joblib
import numpy as np
import numpy.typing as npt

from isogloss.compiled import compiled
from isogloss.errors import InputError, UsageError
from isogloss.threads import one_blas_thread

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

_ROWS = 2048  # read at once
_SAMPLE = 1001  # rows that the centre is the median of
_AXES = 16  # along which the rows are ordered
_LEAF = 256  # rows that are not ordered further


class Survey(NamedTuple):
    """Facts about (n, d) rows.

    The (d,) centre is the median of some rows: of an odd number, so that it is as coarse as the data and differences to
    it are exact.  Rows without the centre are multiplied by 2 to the `exponent`, so that none is beyond 1.  Of every
    row, `first` (n,) is the first one that equals it.
    """

    centre: Floats
    exponent: int
    first: Longs


class Scale(NamedTuple):
    """The centre and the exponent of a `Survey`, where copies do not matter."""

    centre: Floats
    exponent: int


def survey(data: Any) -> Survey:
    """Read all rows once, some at a time; refuse what is no table of real numbers, or has one that is not finite."""
    centre = middle(data)
    hashes = np.empty(len(data), np.uint64)
    most = 0.0
    for part in parts(len(data)):
        rows = _doubles(data, part)
        largest, bad = _read(rows, centre, hashes[part])
        if bad >= 0:
            raise not_finite(part.start + bad, rows[bad])
        most = max(most, largest)
    return Survey(centre, exponent_of(most), _first_copies(data, hashes))


def middle(data: Any) -> Floats:
    """Return the (d,) median of some rows of a table; data that are no table are a ``UsageError``."""
    if data.ndim != 2 or 0 in data.shape or data.dtype.kind not in "fiub":
        raise UsageError(
            f"Clustering takes an (n, d) table of real numbers with at least one row and one column; "
            f"got shape {data.shape} of {data.dtype}."
        )
    sample = _doubles(data, np.unique(np.linspace(0, len(data) - 1, _SAMPLE).astype(np.int64)))
    half = (len(sample) - 1) // 2
    with np.errstate(invalid="ignore"):
        centre: Floats = np.partition(sample, half, axis=0)[half]
    return np.where(np.isfinite(centre), centre, 0.0)  # the row is reported by whoever reads all of them


def extent(centre: Floats, data: Any) -> tuple[float, int]:
    """Return the largest distance to the centre on any axis, and the first row that is not finite, or -1."""
    most = 0.0
    for part in parts(len(data)):
        largest, bad = _extent(_doubles(data, part), centre)
        if bad >= 0:
            return 0.0, part.start + bad
        most = max(most, largest)
    return most, -1


def exponent_of(most: float) -> int:
    """Return the exponent of `Survey` for data whose largest distance to the centre on any axis is `most`."""
    return min(-math.frexp(most)[1] if most else 0, 1000)


def not_finite(row: int, values: npt.NDArray[Any]) -> InputError:
    """Return the error that names a row with a value that is not finite."""
    bad = values[~np.isfinite(values)]
    what = f"holds {bad[0]}" if len(bad) else "is beyond the range of float64"
    return InputError(f"Row {row} of the data {what}; clustering needs finite numbers.")


def parts(n: int) -> Iterator[slice]:
    """Return the slices in which n rows are read."""
    return (slice(p, min(n, p + _ROWS)) for p in range(0, n, _ROWS))


def centred(data: Any, rows: Longs, surveyed: Survey) -> Floats:
    """Return (len(rows), d) float64: the rows without the centre, scaled."""
    C = np.empty((len(rows), data.shape[1]))
    for part in parts(len(rows)):
        C[part] = _scaled(data, rows[part], surveyed)
    return C


@compiled
def squared_distance(X: npt.NDArray[np.floating], i: int, Y: Floats, j: int) -> float:
    """Return ``||X[i] - Y[j]||^2``, summed in one fixed order."""
    d = X.shape[1]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = d - d % 8
    for t in range(0, whole, 8):
        x0, x1 = X[i, t] - Y[j, t], X[i, t + 1] - Y[j, t + 1]
        x2, x3 = X[i, t + 2] - Y[j, t + 2], X[i, t + 3] - Y[j, t + 3]
        x4, x5 = X[i, t + 4] - Y[j, t + 4], X[i, t + 5] - Y[j, t + 5]
        x6, x7 = X[i, t + 6] - Y[j, t + 6], X[i, t + 7] - Y[j, t + 7]
        s0 += x0 * x0
        s1 += x1 * x1
        s2 += x2 * x2
        s3 += x3 * x3
        s4 += x4 * x4
        s5 += x5 * x5
        s6 += x6 * x6
        s7 += x7 * x7
    for t in range(whole, d):
        x0 = X[i, t] - Y[j, t]
        s0 += x0 * x0
    return float(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)))


def _doubles(data: Any, rows: slice | Longs) -> Floats:
    return np.ascontiguousarray(data[rows], dtype=np.float64)


def _scaled(data: Any, rows: Longs, surveyed: Survey) -> Floats:
    return np.ldexp(_doubles(data, rows) - surveyed.centre, surveyed.exponent)


@compiled
def _read(rows: Floats, centre: Floats, hashes: npt.NDArray[np.uint64]) -> tuple[float, int]:
    """Hash the rows; return the largest distance to the centre on any axis, and the first row that is not finite."""
    most = 0.0
    bits = rows.view(np.uint64)
    for r in range(rows.shape[0]):
        # FNV-1a's start; every step is followed by a mixing of high bits into low ones
        code = np.uint64(14695981039346656037)
        largest = 0.0
        whole = True
        for t in range(rows.shape[1]):
            x = abs(rows[r, t] - centre[t])
            whole = whole and x < np.inf
            largest = max(largest, x)
            word = bits[r, t] if rows[r, t] != 0 else np.uint64(0)  # -0 is 0
            code = (code ^ word) * np.uint64(0x9E3779B97F4A7C15)
            code ^= code >> np.uint64(29)
        if not whole:
            return 0.0, r
        most = max(most, largest)
        hashes[r] = code
    return most, -1


@compiled
def _extent(rows: Floats, centre: Floats) -> tuple[float, int]:
    """Return the largest distance to the centre on any axis, and the first row that is not finite."""
    most = 0.0
    for r in range(rows.shape[0]):
        whole = True
        for t in range(rows.shape[1]):
            x = abs(rows[r, t] - centre[t])
            whole = whole and x < np.inf
            most = max(most, x)
        if not whole:
            return 0.0, r
    return most, -1


def _first_copies(data: Any, hashes: npt.NDArray[np.uint64]) -> Longs:
    """Return the first equal row of every row; of two rows that only hash alike the later one passes for new."""
    order = np.argsort(hashes, kind="stable")
    begins = np.append(True, hashes[order][1:] != hashes[order][:-1])
    first = np.empty(len(order), np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    copies = np.flatnonzero(first != np.arange(len(first)))
    for part in parts(len(copies)):
        rows = copies[part]
        equal = (_doubles(data, rows) == _doubles(data, first[rows])).all(axis=1)
        first[rows[~equal]] = rows[~equal]
    return first


def neighbourly(data: Any, rows: Longs, surveyed: Survey) -> Longs:
    """Return the rows in an order that puts near ones close: halved again and again at the median of the widest axis.

    The axes are the leading ones of a sample.  The order saves time and changes no result.
    """
    n, d = len(rows), data.shape[1]
    generator = np.random.default_rng(0)
    sample = _scaled(data, rows[generator.permutation(n)[:4096]], surveyed)
    axes = generator.normal(size=(d, min(d, _AXES)))
    for _ in range(4):
        axes = np.linalg.qr(sample.T @ (sample @ axes))[0]
    places = np.empty((n, axes.shape[1]), np.float32)
    for part in parts(n):
        places[part] = _scaled(data, rows[part], surveyed) @ axes
    order = np.arange(n)
    ranges = [(0, n)]
    while ranges:
        begin, end = ranges.pop()
        if end - begin > _LEAF:
            inside = order[begin:end]
            half = (end - begin) // 2
            along = places[inside]
            order[begin:end] = inside[np.argpartition(along[:, along.var(axis=0).argmax()], half)]
            ranges += [(begin, begin + half), (begin + half, end)]
    return rows[order]


class Crew:
    """Threads that work side by side, as a context; BLAS is held to one thread of its own in each meanwhile."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> Self:
        self.pool = ThreadPoolExecutor(self.threads)
        self.held = one_blas_thread()
        self.held.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.held.__exit__(None, None, None)
        self.pool.shutdown(cancel_futures=True)


def n_threads(wanted: int | None) -> int:
    """Return the number of threads to use: what is wanted, what worker processes are allowed, or all cores."""
    if wanted is not None:
        return wanted
    allowed = os.environ.get("NUMBA_NUM_THREADS", "")  # joblib sets it for the processes it starts
    return int(allowed) if allowed.isdigit() and int(allowed) else joblib.cpu_count()
