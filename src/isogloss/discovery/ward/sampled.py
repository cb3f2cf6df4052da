"""Ward linkage that begins with the cells of a sample: which rows are drawn, who is in whose cell, the cells' means.

A row belongs to the nearest sampled row, decided in float64; float32 products only say who need not be measured.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.compiled import compiled
from isogloss.discovery.lloyd import add
from isogloss.discovery.rows import Crew, Floats, Longs, Survey, centred, parts, squared_distance
from isogloss.errors import UsageError
from isogloss.progress import progress

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_COLUMNS = 512  # sampled rows compared with at once
_CHUNK = 64  # of them tested before one is looked at


def check_sample(sample: object, n_concepts: int) -> None:
    """Refuse a sample that is no number of rows, or that has fewer rows than concepts are to be cut from its tree.

    Raises
    ------
    UsageError
    """
    if sample is None:
        return
    if isinstance(sample, bool) or not isinstance(sample, int | np.integer) or sample < 1:
        raise UsageError(f"sample is a number of states, e.g. 50000; got {sample!r}.")
    if sample < n_concepts:
        raise UsageError(
            f"A Ward tree on a sample of {sample} states cannot be cut into {n_concepts} concepts. "
            f"Choose a sample of at least {n_concepts}, better ten times that, or fewer concepts."
        )


def draw(distinct: Longs, sample: int, *, seed: int) -> Longs:
    """Return `sample` of the distinct rows, rising; copies have one chance together, and weigh in the tree instead."""
    return np.sort(np.random.default_rng(seed).choice(distinct, sample, replace=False))


def attach(data: Any, chosen: Longs, surveyed: Survey, *, threads: int) -> Longs:
    """Return (n,): the chosen row nearest to every row, of equally near ones the first; of a chosen row itself.

    Copies go where their first goes.  The chosen rows rise, and none is a copy of an earlier row.  The result is the
    same for any number of threads.
    """
    owners = surveyed.first.copy()
    free = surveyed.first == np.arange(len(owners))
    free[chosen] = False
    others = np.flatnonzero(free)
    with _Attacher(data, chosen, surveyed, threads) as crew, progress("attach", len(others)) as advance:
        blocks = [others[part] for part in parts(len(others))]
        for rows, nearest in zip(blocks, crew.pool.map(crew.nearest, blocks), strict=True):
            owners[rows] = chosen[nearest]
            advance(len(rows))
    return np.asarray(owners[surveyed.first])


def cell_means(data: Any, owners: Longs, slots: Longs, surveyed: Survey) -> Floats:
    """Return (s, d) float64: the mean of every cell, without the centre and scaled, added in the order of the rows.

    `owners` (n,) is the chosen row of every row, `slots` (s,) the chosen rows in the order of the means.
    """
    places = np.empty(len(owners), np.int32)
    places[slots] = np.arange(len(slots), dtype=np.int32)
    sums = np.zeros((len(slots), data.shape[1]))
    for part in parts(len(owners)):
        rows = np.arange(part.start, part.stop)
        add(sums, centred(data, rows, surveyed), places[owners[part]])
    sums /= np.bincount(places[owners], minlength=len(slots))[:, None]
    return sums


class _Buffers(threading.local):
    """One thread's scratch memory."""

    def __init__(self, d: int) -> None:
        self.columns = np.empty((_COLUMNS, d), np.float32)
        self.products = np.empty(0, np.float32)


class _Attacher(Crew):
    """Finds nearest chosen rows; every thread compares a block of rows with all of them."""

    def __init__(self, data: Any, chosen: Longs, surveyed: Survey, threads: int) -> None:
        super().__init__(threads)
        self.data, self.surveyed = data, surveyed
        self.centroids = centred(data, chosen, surveyed)
        d = data.shape[1]
        # With x, y float32 roundings and p their float32 product, |y|^2 / 2 (1 - slack) - p is at most the true value
        # for the rows themselves plus slack |x|^2 / 2 (Higham 2002, 3.1; see `ward.scan.fetch`), but for underflow.
        self.slack, self.floor = (d + 16) * 2.0**-24, d * 2.0**-120
        self.halves = (_norms(self.centroids) / 2 * (1 - self.slack)).astype(np.float32)
        self.buffers = _Buffers(d)

    def nearest(self, rows: Longs) -> Ints:
        """Return, for some rows, the place of the nearest one among the chosen."""
        values = centred(self.data, rows, self.surveyed)
        narrow, norms = values.astype(np.float32), _norms(values)
        best, apart = np.full(len(rows), -1, np.int32), np.full(len(rows), np.inf)
        at = self.buffers
        if len(at.products) < len(rows) * _COLUMNS:
            at.products = np.empty(len(rows) * _COLUMNS, np.float32)
        for begin in range(0, len(self.centroids), _COLUMNS):
            part = slice(begin, min(len(self.centroids), begin + _COLUMNS))
            n = part.stop - part.start
            columns = at.columns[:n]
            columns[:] = self.centroids[part]
            lows = at.products[: len(rows) * n].reshape(len(rows), n)
            np.matmul(narrow, columns.T, out=lows)
            np.subtract(self.halves[part], lows, out=lows)
            least = lows.argmin(axis=1)
            _measure(values, norms, lows, least, begin, self.centroids, best, apart, self.slack, self.floor)
        return best


def _norms(X: Floats) -> Floats:
    norms: Floats = np.einsum("ij,ij->i", X, X)
    return norms


@compiled
def _limit(apart: float, norm: float, slack: float, floor: float) -> np.float32:
    """The bound above which nothing is nearer than `apart`, rounded up."""
    value = apart / 2 - norm / 2 * (1 - slack) + floor
    return np.float32(value + (abs(value) + norm) * 2.0**-22)


@compiled
def _measure(
    rows: Floats,
    norms: Floats,
    lows: Singles,
    least: Longs,
    begin: int,
    centroids: Floats,
    best: Ints,
    apart: Floats,
    slack: float,
    floor: float,
) -> None:
    """Take the nearest of some chosen rows, those from `begin` on, where it is nearer than the best so far."""
    for r in range(len(rows)):
        limit = _limit(apart[r], norms[r], slack, floor)
        if lows[r, least[r]] > limit:
            continue
        _offer(rows, r, centroids, begin + least[r], best, apart)  # so that few others are left
        limit = _limit(apart[r], norms[r], slack, floor)
        for c in range(0, lows.shape[1], _CHUNK):
            near = lows[r, c : c + _CHUNK]
            hits = np.int32(0)  # views and small integers: so the loop becomes vector instructions
            for q in range(len(near)):
                hits += np.int32(near[q] <= limit)
            if hits == 0:
                continue
            for q in range(len(near)):
                if near[q] <= limit and c + q != least[r]:
                    _offer(rows, r, centroids, begin + c + q, best, apart)


@compiled
def _offer(rows: Floats, r: int, centroids: Floats, j: int, best: Ints, apart: Floats) -> None:
    """Take j if it is nearer, or as near and earlier."""
    value = squared_distance(rows, r, centroids, j)
    if value < apart[r] or (value == apart[r] and j < best[r]):
        best[r], apart[r] = j, value
