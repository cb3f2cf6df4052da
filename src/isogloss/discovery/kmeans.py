"""Lloyd's k-means from a greedy k-means++ start: the rows are read in blocks, float64 decides."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isogloss.compiled import compiled
from isogloss.discovery.rows import Crew, Floats, Longs, Survey, n_threads, parts, squared_distance, survey

Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

_SAMPLE = 8  # one row in so many, but
_PER_CONCEPT = 20  # at least so many a concept, take part in the start
_WARM_UP = 10  # iterations on these rows
_CHUNK = 64  # centres tested before one is looked at
_TOLERANCE = 1e-4  # stop when the squared moves of the centres are below this part of the variance within


def fit(
    X: npt.NDArray[np.floating],
    n_concepts: int,
    *,
    seed: int,
    n_starts: int = 1,
    max_iterations: int = 100,
    threads: int | None = None,
) -> Labels:
    """Cluster (n, d) rows by Lloyd's (1982) iterations; the best of `n_starts` starts by inertia.

    A start is greedy k-means++ (Arthur and Vassilvitskii 2007; of ``2 + log K`` candidates the best is taken) and some
    iterations on a part of the rows.  What is clustered are the rows less their median, in float32.  Labels are the
    nearest centres by float64 distances, and sums are made in float64 in the order of the rows, so that the result
    depends on the seed alone, not on blocks or threads.  An empty cluster takes over the row that is farthest from its
    centre.  Memory: some blocks of rows, the part of the rows that the start is made from, and n for labels; X may be
    memory-mapped.

    Raises
    ------
    InputError
        If a value is NaN or infinite; its row is named.
    """
    known = survey(X)
    generator = np.random.default_rng(seed)
    best: tuple[float, Labels] | None = None
    with _Reader(X, known, n_threads(threads)) as everything:
        for _ in range(n_starts):
            centres = _start(everything, n_concepts, generator)
            inertia, labels = _lloyd(everything, centres, max_iterations)
            if best is None or inertia < best[0]:
                best = inertia, labels
    assert best is not None
    return best[1]


class _Block(NamedTuple):
    """Some rows without centre, scaled, in float32: what is clustered."""

    begin: int
    rows: Singles


class _Reader(Crew):
    """Rows of a table, a block at a time, worked on by several threads and handed back in their order."""

    def __init__(self, data: Any, known: Survey, threads: int, rows: Longs | None = None) -> None:
        super().__init__(threads)
        self.data, self.known, self.rows = data, known, rows
        self.n = len(data) if rows is None else len(rows)

    @contextlib.contextmanager
    def sample(self, rows: Longs) -> Iterator[_Reader]:
        """Yield a reader of some rows, with the same threads."""
        part = _Reader(self.data, self.known, self.threads, rows)
        part.pool = self.pool
        yield part

    def block(self, part: slice) -> _Block:
        """Read one block."""
        rows = self.data[part if self.rows is None else self.rows[part]]
        kind = np.float32 if rows.dtype.kind == "f" and rows.dtype.itemsize < 8 else np.float64
        out = np.empty(rows.shape, np.float32)
        _prepare(np.ascontiguousarray(rows, kind), self.known.centre, 2.0**self.known.exponent, out)
        return _Block(part.start, out)

    def _work(self, function: Callable[[_Block], Any], part: slice) -> Any:
        return function(self.block(part))

    def map(self, function: Callable[[_Block], Any]) -> Iterator[Any]:
        """Yield what a function makes of every block, in order; few blocks are held at a time."""
        waiting: deque[Future[Any]] = deque()
        for part in parts(self.n):
            waiting.append(self.pool.submit(self._work, function, part))
            if len(waiting) > self.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@compiled
def _prepare(rows: Any, centre: Floats, factor: float, out: Singles) -> None:
    for r in range(rows.shape[0]):
        source, target = rows[r], out[r]
        for t in range(len(target)):
            target[t] = np.float32((np.float64(source[t]) - centre[t]) * factor)


def _start(everything: _Reader, k: int, generator: np.random.Generator) -> Floats:
    """Return (k, d) float64 centres."""
    n_rows = max(_PER_CONCEPT * k, everything.n // _SAMPLE)
    if n_rows >= everything.n:
        return _plus_plus(everything, k, generator)
    rows = np.sort(generator.choice(everything.n, n_rows, replace=False))
    with everything.sample(rows) as some:
        centres = _plus_plus(some, k, generator)
        _lloyd(some, centres, _WARM_UP)
    return centres


def _plus_plus(rows: _Reader, k: int, generator: np.random.Generator) -> Floats:
    """Choose k rows, each with a chance that grows with its squared distance to those chosen before."""
    blocks = list(rows.map(lambda block: block.rows))
    norms = [np.einsum("ij,ij->i", block, block, dtype=np.float64) for block in blocks]
    starts = np.cumsum([0, *map(len, blocks)])
    nearest = np.full(rows.n, np.inf)
    chosen = np.empty(k, np.int64)
    n_trials = 2 + int(np.log(k))

    def row(i: int) -> tuple[int, int]:
        b = int(np.searchsorted(starts, i, side="right")) - 1
        return b, i - int(starts[b])

    for c in range(k):
        if c == 0:
            trials = generator.integers(rows.n, size=1)
        else:
            mass = np.cumsum(nearest)
            at = generator.random(n_trials) * mass[-1]
            trials = np.minimum(np.searchsorted(mass, at, side="right"), rows.n - 1)
        places = [row(int(i)) for i in trials]
        points = np.stack([blocks[b][r] for b, r in places])
        sizes = np.array([norms[b][r] for b, r in places])

        nearer = partial(_nearer, points, sizes)
        so_far = np.split(nearest, starts[1:-1])
        candidates = np.concatenate(list(rows.pool.map(nearer, blocks, norms, so_far)))
        best = int(candidates.sum(axis=0).argmin())
        nearest = np.ascontiguousarray(candidates[:, best])
        chosen[c] = trials[best]
        nearest[chosen[c]] = 0.0
    return np.stack([blocks[b][r] for b, r in map(row, chosen.tolist())]).astype(np.float64)


def _nearer(points: Singles, sizes: Floats, block: Singles, norms: Floats, so_far: Floats) -> Floats:
    """Return (rows, points) squared distances to the nearest chosen row if the point were chosen too."""
    apart: Floats = norms[:, None] + sizes - 2.0 * (block @ points.T)
    return np.minimum(np.maximum(apart, 0.0), so_far[:, None])


def _lloyd(rows: _Reader, centres: Floats, max_iterations: int) -> tuple[float, Labels]:
    """Move the centres (in place) until they rest; return inertia and labels of the last assignment."""
    k, d = centres.shape
    labels = np.full(rows.n, -1, np.int32)
    apart = np.empty(rows.n)
    spread = 0.0
    for iteration in range(max_iterations):
        before = labels.copy()
        sums = np.zeros((k, d))
        for block in rows.map(partial(_assign, centres, _facts(centres), labels, apart)):
            _add(sums, block.rows, labels[block.begin : block.begin + len(block.rows)])
        counts = np.bincount(labels, minlength=k)
        _repair(rows, labels, apart, counts, sums)
        if iteration == 0:
            spread = apart.mean() / d
        if (labels == before).all():
            break
        moved = sums / counts[:, None]
        shift = float(((moved - centres) ** 2).sum())
        centres[:] = moved
        if shift <= _TOLERANCE * spread:
            break
    return float(apart.sum()), labels


class _Centres(NamedTuple):
    """What products with the centres need: float32 centres, halves of their squared norms, and the largest of these."""

    narrow: Singles
    half_norms: Singles
    largest: float


def _facts(centres: Floats) -> _Centres:
    narrow = centres.astype(np.float32)
    half = np.einsum("ij,ij->i", centres, centres) / 2
    return _Centres(narrow, half.astype(np.float32), float(half.max()))


def _assign(centres: Floats, facts: _Centres, labels: Labels, apart: Floats, block: _Block) -> _Block:
    """Write label and squared distance of every row of a block."""
    d = centres.shape[1]
    scores = block.rows @ facts.narrow.T
    np.subtract(facts.half_norms, scores, out=scores)
    norms = np.einsum("ij,ij->i", block.rows, block.rows)
    slack = (d + 8) * 2.0**-23 * (norms + 2 * facts.largest) + d * 2.0**-120
    limits = (scores.min(axis=1) + slack).astype(np.float32)
    part = slice(block.begin, block.begin + len(block.rows))
    _nearest(block.rows, scores, limits, centres, labels[part], apart[part])
    return block


@compiled
def _nearest(
    rows: Singles, scores: Singles, limits: Singles, centres: Floats, labels: Labels, apart: Floats
) -> None:
    """Take the nearest centre by float64 distance, the first of equal ones.

    Half the squared distance, but for the row's part, is ``|c|^2 / 2 - x.c``; in float32 it is off by no more than
    ``(d + 8) 2^-24 (|x|^2 + |c|^2) / 2``.  Centres within well over twice that of the least are measured.
    """
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
def _add(sums: Floats, rows: Singles, labels: Labels) -> None:
    """Add rows to the sums of their clusters, one after another."""
    for r in range(len(rows)):
        total, row = sums[labels[r]], rows[r]
        for t in range(len(row)):
            total[t] += np.float64(row[t])


def _repair(rows: _Reader, labels: Labels, apart: Floats, counts: Longs, sums: Floats) -> None:
    """Give every empty cluster the row that is farthest from its centre, in place; of equally far ones the first."""
    empty = np.flatnonzero(counts == 0)
    if not len(empty):
        return
    farthest = iter(np.argsort(-apart, kind="stable").tolist())
    for c in empty.tolist():
        row = next(i for i in farthest if counts[labels[i]] > 1)
        values = rows.block(slice(row, row + 1)).rows[0].astype(np.float64)
        old = labels[row]
        sums[old] -= values
        sums[c] = values
        counts[old] -= 1
        counts[c] = 1
        labels[row], apart[row] = c, 0.0
