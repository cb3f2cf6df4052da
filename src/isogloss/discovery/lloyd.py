"""The parts of k-means: rows read in blocks, the nearest centre decided in float64, greedy k-means++."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isogloss.compiled import compiled
from isogloss.discovery.rows import Crew, Floats, Longs, Scale, parts, squared_distance

Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

TOLERANCE = 1e-4  # stop when the squared moves of the centres are below this part of the variance within
_CHUNK = 64  # centres tested before one is looked at


class Block(NamedTuple):
    """Some rows without centre, scaled, in float32: what is clustered."""

    begin: int
    rows: Singles

    @property
    def part(self) -> slice:
        """Where its rows are among those of its reader."""
        return slice(self.begin, self.begin + len(self.rows))


class Reader(Crew):
    """Rows of a table, a block at a time, worked on by several threads and handed back in their order."""

    def __init__(self, data: Any, scale: Scale, threads: int) -> None:
        super().__init__(threads)
        self.data, self.scale = data, scale

    def _work(self, function: Callable[[Block], Any], part: slice) -> Any:
        return function(Block(part.start, prepared(self.data[part], self.scale)))

    def map(self, function: Callable[[Block], Any]) -> Iterator[Any]:
        """Yield what a function makes of every block, in order; few blocks are held at a time."""
        waiting: deque[Future[Any]] = deque()
        for part in parts(len(self.data)):
            waiting.append(self.pool.submit(self._work, function, part))
            if len(waiting) > self.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def prepared(rows: npt.NDArray[Any], scale: Scale) -> Singles:
    """Return rows less their centre, scaled so that none is beyond 1, in float32."""
    kind = np.float32 if rows.dtype.kind == "f" and rows.dtype.itemsize < 8 else np.float64
    out = np.empty(rows.shape, np.float32)
    _prepare(np.ascontiguousarray(rows, kind), scale.centre, 2.0**scale.exponent, out)
    return out


@compiled
def _prepare(rows: Any, centre: Floats, factor: float, out: Singles) -> None:
    for r in range(rows.shape[0]):
        source, target = rows[r], out[r]
        for t in range(len(target)):
            target[t] = np.float32((np.float64(source[t]) - centre[t]) * factor)


class Centres(NamedTuple):
    """What products with the centres need: float32 centres, halves of their squared norms, and the largest of these."""

    narrow: Singles
    half_norms: Singles
    largest: float


def facts(centres: Floats) -> Centres:
    """Return what `assign` needs of (k, d) centres."""
    narrow = centres.astype(np.float32)
    half = np.einsum("ij,ij->i", centres, centres) / 2
    return Centres(narrow, half.astype(np.float32), float(half.max()))


def assign(centres: Floats, about: Centres, labels: Labels, apart: Floats, block: Block) -> Block:
    """Write nearest centre and squared distance of every row of a block: the same bits whatever the block.

    Half the squared distance, but for the row's part, is ``|c|^2 / 2 - x.c``; in float32 it is off by no more than
    ``(d + 8) 2^-24 (|x|^2 + |c|^2) / 2``.  Centres within well over twice that of the least are measured in float64.
    """
    d = centres.shape[1]
    scores = block.rows @ about.narrow.T
    np.subtract(about.half_norms, scores, out=scores)
    norms = np.einsum("ij,ij->i", block.rows, block.rows)
    slack = (d + 8) * 2.0**-23 * (norms + 2 * about.largest) + d * 2.0**-120
    limits = (scores.min(axis=1) + slack).astype(np.float32)
    _nearest(block.rows, scores, limits, centres, labels[block.part], apart[block.part])
    return block


@compiled
def _nearest(rows: Singles, scores: Singles, limits: Singles, centres: Floats, labels: Labels, apart: Floats) -> None:
    """Take the nearest centre by float64 distance, the first of equal ones, of those within the limit."""
    for r in range(len(rows)):
        best = -1
        limit = limits[r]
        for begin in range(0, len(centres), _CHUNK):
            near = scores[r, begin : begin + _CHUNK]
            hits = np.int32(0)  # views and small integers: so the loop becomes vector instructions
            for c in range(len(near)):
                hits += np.int32(near[c] <= limit)
            if hits == 0:
                continue
            for c in range(len(near)):
                if near[c] <= limit:
                    value = squared_distance(rows, r, centres, begin + c)
                    if best < 0 or value < apart[r]:
                        best, apart[r] = begin + c, value
        labels[r] = best


@compiled
def add(sums: Floats, rows: npt.NDArray[np.floating], labels: Labels) -> None:
    """Add rows to the sums of their clusters, one after another."""
    for r in range(len(rows)):
        total, row = sums[labels[r]], rows[r]
        for t in range(len(row)):
            total[t] += np.float64(row[t])


def plus_plus(
    blocks: Sequence[Singles], k: int, *, weights: Longs, generator: np.random.Generator, pool: Executor
) -> Floats:
    """Choose k rows by greedy k-means++ (Arthur and Vassilvitskii 2007): of ``2 + log k`` candidates the best.

    A row is a candidate with a chance that grows with its squared distance to those chosen before, times its weight:
    as if it were there so many times.  The (m, d) blocks of rows are worked on side by side, by the threads of `pool`.
    """
    norms = [np.einsum("ij,ij->i", block, block, dtype=np.float64) for block in blocks]
    starts = np.cumsum([0, *map(len, blocks)])
    n = int(starts[-1])
    nearest = np.full(n, np.inf)
    chosen = np.empty(k, np.int64)
    n_trials = 2 + int(np.log(k))

    def row(i: int) -> tuple[int, int]:
        b = int(np.searchsorted(starts, i, side="right")) - 1
        return b, i - int(starts[b])

    for c in range(k):
        chances = np.ones(n) if c == 0 else nearest
        mass = np.cumsum(chances * weights)
        at = generator.random(1 if c == 0 else n_trials) * mass[-1]
        trials = np.minimum(np.searchsorted(mass, at, side="right"), n - 1)
        places = [row(int(i)) for i in trials]
        points = np.stack([blocks[b][r] for b, r in places])
        sizes = np.array([norms[b][r] for b, r in places])

        nearer = partial(_nearer, points, sizes)
        so_far = np.split(nearest, starts[1:-1])
        candidates = np.concatenate(list(pool.map(nearer, blocks, norms, so_far)))
        best = int((candidates * weights[:, None]).sum(axis=0).argmin())
        nearest = np.ascontiguousarray(candidates[:, best])
        chosen[c] = trials[best]
        nearest[chosen[c]] = 0.0
    return np.stack([blocks[b][r] for b, r in map(row, chosen.tolist())]).astype(np.float64)


def _nearer(points: Singles, sizes: Floats, block: Singles, norms: Floats, so_far: Floats) -> Floats:
    """Return (rows, points) squared distances to the nearest chosen row if the point were chosen too."""
    apart: Floats = norms[:, None] + sizes - 2.0 * (block @ points.T)
    return np.minimum(np.maximum(apart, 0.0), so_far[:, None])
