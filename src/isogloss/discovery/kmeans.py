"""k-means on shards of the rows, worked on anywhere: the same bits for every sharding, order and number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Count, NConcepts, Rounds, Seed, Within, Workers, checked
from isogloss.discovery.exact import add_fixed, bits_for, exact_sum, fixed, means, rounded, uniform
from isogloss.discovery.lloyd import TOLERANCE, Labels, Reader, Singles, assign, facts, plus_plus, prepared
from isogloss.discovery.rows import Floats, Longs, Scale, exponent_of, extent, middle, n_threads, not_finite
from isogloss.errors import UsageError
from isogloss.parallel import spread
from isogloss.store import Rows

SHARD_ROWS = 65_536  # at d = 768 and K = 600 about a second of one core, against 4 MB that travel either way
_WARM_UP = 10  # iterations on the candidates


@checked
def fit(
    X: npt.NDArray[np.floating] | Rows,
    n_concepts: NConcepts,
    *,
    seed: Seed,
    n_rounds: Annotated[int, Within(0, 100)] = 5,
    oversampling: Annotated[float, Within(0.1, 100)] = 2.0,
    max_iterations: Rounds = 100,
    shard_rows: Count = SHARD_ROWS,
    threads: Workers | None = None,
) -> Labels:
    """Cluster (n, d) rows by Lloyd's (1982) iterations on shards, from a k-means|| start.

    The start (Bahmani, Moseley, Vattani, Kumar and Vassilvitskii 2012): after one row, in every round each row becomes
    a candidate with probability ``min(1, oversampling * n_concepts * d2 / sum of d2)``, where d2 is its squared
    distance to the nearest candidate so far.  Candidates, weighted by how many rows they are nearest to, are clustered
    by greedy k-means++ and some iterations.  Then every iteration asks each shard for the sums and counts of its rows
    by nearest centre, and moves the centres.

    Shards go through `isogloss.parallel.spread`.  The result is the same bits however the rows are parted and wherever
    they are worked on: random numbers are a function of seed, round and row, nearest centres are decided by float64
    distances summed in one order, and sums are sums of integers.  An empty cluster takes over the row that is farthest
    from its centre, the first of equally far ones.

    A shard sends back ``n_concepts * d`` int64 sums, and counts, an iteration; 12 bytes a row in each round of the
    start, and 4 bytes a row, its label, at the end.  The caller's process holds these 12 bytes of all rows, not the
    rows: `Rows` and memory-mapped arrays travel as a path and row numbers, other arrays inside their shards.

    Parameters
    ----------
    X : numpy.ndarray or isogloss.store.Rows
    n_concepts : int
    seed : int
    n_rounds : int
        Rounds of the start; more follow where they brought fewer candidates than concepts.
    oversampling : float
        Candidates of a round, on average, for every concept.
    max_iterations : int
    shard_rows : int
        Rows of a shard; changes no result.
    threads : int, optional
        Of every worker; default: as many as there are cores (or ``NUMBA_NUM_THREADS``).

    Returns
    -------
    (n,) int32
        Labels 0 to n_concepts - 1, all in use.

    Raises
    ------
    UsageError
        For numbers that cannot be.
    InputError
        If a value is NaN or infinite; its row is named.
    """
    left = Rows.of(X)
    table = _surveyed(X if left is None else left, shard_rows, threads)
    if n_concepts > table.n:
        raise UsageError(f"{n_concepts} concepts cannot be made of {table.n} rows.")
    centres = _start(table, n_concepts, seed, n_rounds, oversampling)
    return _labels(table, _lloyd(table, centres, max_iterations))


class _Shard(NamedTuple):
    """Some neighbouring rows: the number of the first, and the rows or where they are."""

    begin: int
    rows: Any

    @property
    def part(self) -> slice:
        return slice(self.begin, self.begin + len(self.rows))


class _Table(NamedTuple):
    """All rows, what they are made ready with, and how they are parted and worked on."""

    data: Any
    scale: Scale
    shard_rows: int
    threads: int | None

    @property
    def n(self) -> int:
        return len(self.data)

    @property
    def shards(self) -> Iterator[_Shard]:
        return _shards(self.data, self.shard_rows)

    def read(self, rows: Longs) -> Singles:
        """Return a few rows as they are clustered."""
        return prepared(self.data[rows], self.scale)


def _shards(data: Any, size: int) -> Iterator[_Shard]:
    for begin in range(0, len(data), size):
        end = min(begin + size, len(data))
        yield _Shard(begin, data.part(begin, end) if isinstance(data, Rows) else data[begin:end])


def _surveyed(data: Any, shard_rows: int, threads: int | None) -> _Table:
    """Find centre and scale: as `rows.survey`, which also looks for copies."""
    centre, shards = middle(data), list(_shards(data, shard_rows))
    most = 0.0
    extents = spread(partial(extent, centre), [shard.rows for shard in shards])
    for shard, (largest, bad) in zip(shards, extents, strict=True):
        if bad >= 0:
            row = shard.begin + bad
            raise not_finite(row, np.asarray(data[row], dtype=np.float64))
        most = max(most, largest)
    return _Table(data, Scale(centre, exponent_of(most)), shard_rows, threads)


# -- the start ------------------------------------------------------------------------------------


def _start(table: _Table, k: int, seed: int, n_rounds: int, oversampling: float) -> Floats:
    """Return (k, d) float64 centres by k-means||."""
    generator = np.random.default_rng(seed)
    apart, nearest = np.full(table.n, np.inf), np.zeros(table.n, np.int32)
    candidates = np.empty((0, table.data.shape[1]), np.float32)
    new = generator.integers(table.n, size=1)
    n_draws = 0
    while True:
        n_before = len(candidates)
        candidates = np.concatenate([candidates, table.read(new)])
        mass = _approach(table, candidates[n_before:].astype(np.float64), n_before, apart, nearest)
        weights = np.bincount(nearest, minlength=len(candidates))
        if mass == 0 or (n_draws >= n_rounds and np.count_nonzero(weights) >= k):
            break
        new = new[:0]
        while not len(new):
            n_draws += 1
            new = _drawn(apart, oversampling * k, mass, seed, n_draws, table.shard_rows)
    return _clustered(candidates, weights, k, generator, table.threads)


def _approach(table: _Table, new: Floats, n_before: int, apart: Floats, nearest: Labels) -> float:
    """Note, in place, of every row whether a new candidate is its nearest; return the sum of squared distances."""
    work = partial(_nearer, new, n_before, table.scale, table.threads)
    items = ((shard, apart[shard.part], nearest[shard.part]) for shard in table.shards)
    mass, begin = 0, 0
    for distances, numbers, more in spread(work, items):
        part = slice(begin, begin + len(numbers))
        apart[part], nearest[part] = distances, numbers
        mass, begin = mass + more, part.stop
    return rounded(mass)


def _nearer(
    new: Floats, n_before: int, scale: Scale, threads: int | None, item: tuple[_Shard, Floats, Labels]
) -> tuple[Floats, Labels, int]:
    """Return squared distance to the nearest candidate, its number, and the exact sum of the distances."""
    shard, apart, nearest = item
    labels, distances = _assigned(new, scale, threads, shard)
    closer = distances < apart
    apart = np.where(closer, distances, apart)
    return apart, np.where(closer, labels + np.int32(n_before), nearest), exact_sum(apart)


def _drawn(apart: Floats, wanted: float, mass: float, seed: int, draw: int, step: int) -> Longs:
    """Return the rows that become candidates, some at a time."""
    rows = []
    for begin in range(0, len(apart), step):
        part = apart[begin : begin + step]
        chance = uniform(seed, draw, begin, begin + len(part))
        rows.append(begin + np.flatnonzero(chance * mass < wanted * part))
    return np.concatenate(rows)


def _clustered(
    candidates: Singles, weights: Longs, k: int, generator: np.random.Generator, threads: int | None
) -> Floats:
    """Return k centres of weighted candidates."""
    used = np.flatnonzero(weights)
    rows, weights = candidates[used], weights[used]
    # equal centres lose their rows to the first and are given others
    if len(rows) <= k:
        return rows[np.minimum(np.arange(k), len(rows) - 1)].astype(np.float64)
    same = Scale(np.zeros(rows.shape[1]), 0)
    bits = bits_for(int(weights.sum()))
    with Reader(rows, same, n_threads(threads)) as some:
        blocks = list(some.map(lambda block: block.rows))
        centres = plus_plus(blocks, k, generator=generator, pool=some.pool, weights=weights)
    for _ in range(_WARM_UP):
        statistics = _statistics(centres, bits, same, threads, _Shard(0, rows), weights)
        centres = means(statistics.sums, statistics.counts, bits, otherwise=centres)
    return centres


# -- the iterations -------------------------------------------------------------------------------


class _Far(NamedTuple):
    """Rows far from their centres: squared distance, number and label."""

    apart: Floats
    rows: Longs
    labels: Labels


class _Statistics(NamedTuple):
    """What an iteration needs to know of a shard; sums are `fixed` numbers, inertia an `exact_sum`."""

    sums: Longs
    counts: Longs
    inertia: int
    far: _Far


def _lloyd(table: _Table, centres: Floats, max_iterations: int) -> Floats:
    """Return the centres, moved until they rest."""
    within = 0.0
    for iteration in range(max_iterations):
        moved, inertia = _moved(table, centres)
        if iteration == 0:
            within = inertia / table.n / centres.shape[1]
        shift = float(((moved - centres) ** 2).sum())
        centres = moved
        if shift <= TOLERANCE * within:
            break
    return centres


def _moved(table: _Table, centres: Floats) -> tuple[Floats, float]:
    """Return the means of the rows that are nearest to every centre, and the inertia about the old ones."""
    bits = bits_for(table.n)
    sums, counts = np.zeros(centres.shape, np.int64), np.zeros(len(centres), np.int64)
    inertia, far = 0, []
    for of_shard in spread(partial(_statistics, centres, bits, table.scale, table.threads), table.shards):
        sums += of_shard.sums
        counts += of_shard.counts
        inertia += of_shard.inertia
        far.append(of_shard.far)
    for empty, row, old in _taken_over(counts, far):
        values = fixed(table.read(np.array([row])), bits)[0]
        sums[old] -= values
        sums[empty] = values
    return means(sums, counts, bits, otherwise=centres), rounded(inertia)


def _statistics(
    centres: Floats, bits: int, scale: Scale, threads: int | None, shard: _Shard, weights: Longs | None = None
) -> _Statistics:
    """Return sums and counts of the rows of a shard by nearest centre."""
    sums, counts = np.zeros(centres.shape, np.int64), np.zeros(len(centres), np.int64)
    n = len(shard.rows)
    labels, apart = np.empty(n, np.int32), np.empty(n)
    weights = np.ones(n, np.int64) if weights is None else weights
    with Reader(shard.rows, scale, n_threads(threads)) as rows:
        for block in rows.map(partial(assign, centres, facts(centres), labels, apart)):
            part = block.part
            add_fixed(sums, counts, block.rows, labels[part], weights[part], 2.0**bits)
    return _Statistics(sums, counts, exact_sum(apart), _farthest(apart, labels, shard.begin, len(centres)))


def _assigned(centres: Floats, scale: Scale, threads: int | None, shard: _Shard) -> tuple[Labels, Floats]:
    """Return nearest centre and squared distance of every row of a shard."""
    n = len(shard.rows)
    labels, apart = np.empty(n, np.int32), np.empty(n)
    with Reader(shard.rows, scale, n_threads(threads)) as rows:
        for _ in rows.map(partial(assign, centres, facts(centres), labels, apart)):
            pass
    return labels, apart


def _farthest(apart: Floats, labels: Labels, begin: int, k: int) -> _Far:
    """Return the k rows of a shard that are farthest from their centres.

    There are never more asked for: of the e rows that empty clusters take and those that are passed over, because a
    cluster would be left empty, the latter are at most one from each of the other k - e clusters.
    """
    order = np.argsort(-apart, kind="stable")[:k]
    return _Far(apart[order], begin + order, labels[order])


def _taken_over(counts: Longs, far: Sequence[_Far]) -> Iterator[tuple[int, int, int]]:
    """Yield every empty cluster with the farthest row that it takes over and that row's label; counts are kept."""
    empty = np.flatnonzero(counts == 0).tolist()
    if not empty:
        return
    apart, rows, labels = map(np.concatenate, zip(*far, strict=True))
    order = np.lexsort((rows, -apart))
    farthest = iter(zip(rows[order].tolist(), labels[order].tolist(), strict=True))
    for c in empty:
        row, old = next((row, old) for row, old in farthest if counts[old] > 1)
        counts[old] -= 1
        counts[c] = 1
        yield c, row, old


def _labels(table: _Table, centres: Floats) -> Labels:
    """Return the nearest centre of every row, all centres in use."""
    by_shard, far = zip(*spread(partial(_labelled, centres, table.scale, table.threads), table.shards), strict=True)
    labels: Labels = np.concatenate(by_shard)
    for empty, row, _ in _taken_over(np.bincount(labels, minlength=len(centres)), far):
        labels[row] = empty
    return labels


def _labelled(centres: Floats, scale: Scale, threads: int | None, shard: _Shard) -> tuple[Labels, _Far]:
    labels, apart = _assigned(centres, scale, threads, shard)
    return labels, _farthest(apart, labels, shard.begin, len(centres))
