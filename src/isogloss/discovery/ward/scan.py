"""Nearest neighbours of many clusters at once: float32 products propose, float64 distances decide.

A block of products gives, for every pair in it, a lower bound of the Ward height.  Only pairs whose bound reaches the
list of one of the two are measured in float64, so that the lists are exact whatever the rounding of the products.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isogloss.compiled import compiled
from isogloss.discovery.rows import Crew
from isogloss.discovery.ward.forest import Forest, Ints, clear, offer, squared_height, trust_lists

Singles = npt.NDArray[np.float32]

ROWS = 2048  # clusters whose lists are made at once, by one thread
COLUMNS = 512  # they are compared with at once; ROWS x COLUMNS products of 4 bytes should fit a cache
WAITING = 48  # pairs of a cluster that may wait to be measured
_CHUNK = 64  # pairs tested before one is looked at


class Lists(NamedTuple):
    """Lists of neighbours in the making, of m clusters.

    `thresholds` (m,) are half the squared heights from which on a pair does not reach the list, `uppers` (m, k) the
    least upper bounds of half squared heights seen so far, rising.  Of the (m, WAITING) slots that wait to be measured,
    and the `lowers` of their half squared heights, the first `n_waiting` (m,) count.
    """

    thresholds: Singles
    uppers: Singles
    n_waiting: Ints
    waiting: Ints
    lowers: Singles

    def part(self, which: slice) -> Lists:
        """Return the lists of some of the clusters (views)."""
        return Lists._make(column[which] for column in self)


def new_lists(m: int, n_candidates: int) -> Lists:
    """Return lists of m clusters with nothing in them."""
    return Lists(
        np.full(m, np.inf, np.float32),
        np.full((m, n_candidates), np.inf, np.float32),
        np.zeros(m, np.int32),
        np.empty((m, WAITING), np.int32),
        np.empty((m, WAITING), np.float32),
    )


class Side(NamedTuple):
    """Rows or columns of a block of products: slots, squared norms made a little too small, 1 / weight, and lists.

    The lists are of the same clusters, or of none if only the other side's are made.
    """

    slots: Ints
    norms: Singles
    inverses: Singles
    lists: Lists


@compiled
def fetch(
    forest: Forest, slots: Ints, out: Singles, norms: Singles, inverse: Singles, slack: float, floor: float
) -> None:
    """Write centroids as float32, their squared norms made a little too small, and 1 / weight.

    With x, y float32 roundings of centroids of d axes, p their product computed in float32 in any order, and g a little
    over (d + 16) 2^-24, ``(1 - g) (|x|^2 + |y|^2) - 2 p - floor`` is at most the squared distance of the centroids:
    d 2^-24 |x||y| bounds the error of p (Higham 2002, 3.1), 4 2^-24 (|x|^2 + |y|^2) that of x and y, floor underflow.
    """
    C = forest.centroids
    for r in range(len(slots)):
        s = slots[r]
        total = 0.0
        for t in range(C.shape[1]):
            x = np.float32(C[s, t])
            out[r, t] = x
            total += np.float64(x) * np.float64(x)
        norms[r] = np.float32(total * (1 - slack) - floor)
        inverse[r] = np.float32(1 / forest.weights[s])


@compiled
def _threshold(value: float) -> np.float32:
    """Half of a squared height as float32, rounded up, with room for the rounding of the test itself."""
    return np.float32(value * (0.5 + 2.0**-20))


@compiled
def _any_near(
    products: Singles,
    norm: np.float32,
    inverse: np.float32,
    threshold: np.float32,
    norms: Singles,
    inverses: Singles,
    thresholds: Singles,
) -> bool:
    """True if a pair of one row and some columns could be near enough for the row's list or the column's.

    The test is the lower bound against the last value of a list, T, with the division taken out:
    ``norm_i + norm_j - 2 p_ij <= T / 2 (1 / w_i + 1 / w_j)``.  Views and small integers make it vector instructions.
    """
    two = np.float32(2)
    base = threshold * inverse - norm
    hits = np.int32(0)
    if len(thresholds):
        for q in range(len(products)):
            left = norms[q] - two * products[q]
            hits += np.int32(left - threshold * inverses[q] <= base)
            hits += np.int32(left + norm <= thresholds[q] * (inverses[q] + inverse))
    else:
        for q in range(len(products)):
            hits += np.int32(norms[q] - two * products[q] - threshold * inverses[q] <= base)
    return bool(hits > 0)


@compiled
def _wait(uppers: Singles, waiting: Ints, lowers: Singles, n: int, j: int, low: np.float32, high: np.float32) -> None:
    """Let j wait in place n to be measured, and let its upper bound in among the least ones."""
    if high < uppers[-1]:
        t = len(uppers) - 1
        while t > 0 and uppers[t - 1] > high:
            uppers[t] = uppers[t - 1]
            t -= 1
        uppers[t] = high
    waiting[n], lowers[n] = j, low


@compiled
def _make_room(forest: Forest, lists: Lists, p: int, i: int) -> None:
    """Forget those that wait above the threshold; measure the rest if they are many."""
    _drop(lists, p)
    if lists.n_waiting[p] > lists.waiting.shape[1] // 2:
        _measure(forest, lists, p, i)


@compiled
def _drop(lists: Lists, p: int) -> None:
    """Forget those that wait above the threshold."""
    n = 0
    for t in range(lists.n_waiting[p]):
        if lists.lowers[p, t] <= lists.thresholds[p]:
            lists.waiting[p, n], lists.lowers[p, n] = lists.waiting[p, t], lists.lowers[p, t]
            n += 1
    lists.n_waiting[p] = n


@compiled
def _measure(forest: Forest, lists: Lists, p: int, i: int) -> None:
    """Measure those that wait below the threshold, and keep the nearest in the list of i."""
    last = forest.lists.shape[1] - 1
    for t in range(lists.n_waiting[p]):
        if lists.lowers[p, t] > lists.thresholds[p]:
            continue
        j = lists.waiting[p, t]
        offer(forest, i, j, squared_height(forest, i, j), forest.nodes[j])
        if forest.lists[i, last] >= 0:
            lists.thresholds[p] = min(lists.thresholds[p], _threshold(forest.values[i, last]))
    lists.n_waiting[p] = 0


@compiled
def measure_waiting(forest: Forest, slots: Ints, lists: Lists) -> None:
    """Measure all that still wait."""
    for p in range(len(slots)):
        _measure(forest, lists, p, slots[p])


@compiled
def select(forest: Forest, products: Singles, rows: Side, columns: Side, gap: float, floor: float) -> None:
    """Let every pair of a block of products wait that could be near enough to the lists of its row or its column."""
    two = np.float32(2)
    # Arrays by name: to look one up in a tuple costs more than a pair does.
    row_thresholds, column_thresholds = rows.lists.thresholds, columns.lists.thresholds
    norms, inverses = columns.norms, columns.inverses
    row_waits, column_waits = rows.lists.n_waiting, columns.lists.n_waiting
    both_ways = len(column_thresholds) > 0
    for r in range(len(rows.slots)):
        i, norm, inverse = rows.slots[r], rows.norms[r], rows.inverses[r]
        uppers, waiting, lowers = rows.lists.uppers[r], rows.lists.waiting[r], rows.lists.lowers[r]
        for c in range(0, len(norms), _CHUNK):
            end = min(len(norms), c + _CHUNK)
            thresholds = column_thresholds[c:end]
            if not _any_near(
                products[r, c:end], norm, inverse, row_thresholds[r], norms[c:end], inverses[c:end], thresholds
            ):
                continue
            for q in range(c, end):
                j = columns.slots[q]
                weight = inverse + inverses[q]
                sizes = norm + norms[q]
                least = sizes - two * products[r, q]
                by_row = least <= row_thresholds[r] * weight
                by_column = both_ways and least <= column_thresholds[q] * weight
                if i == j or not (by_row or by_column):
                    continue
                low = np.float32(least / weight * (1 - 2.0**-20))
                high = np.float32((least + gap * sizes + floor) / weight)
                if by_row:
                    if row_waits[r] == len(waiting):
                        _make_room(forest, rows.lists, r, i)
                    _wait(uppers, waiting, lowers, row_waits[r], j, low, high)
                    row_waits[r] += 1
                    row_thresholds[r] = min(row_thresholds[r], uppers[-1])
                if by_column:
                    if column_waits[q] == len(waiting):
                        _make_room(forest, columns.lists, q, j)
                    highest = columns.lists.uppers[q]
                    _wait(highest, columns.lists.waiting[q], columns.lists.lowers[q], column_waits[q], i, low, high)
                    column_waits[q] += 1
                    column_thresholds[q] = min(column_thresholds[q], highest[-1])


@compiled
def clear_all(forest: Forest, slots: Ints) -> None:
    """Empty the lists of some clusters."""
    for i in slots:
        clear(forest, i)


class _Block:
    """A range of clusters whose lists are made, and a lock for them."""

    def __init__(self, slots: Ints, n_candidates: int) -> None:
        self.slots = slots
        self.lists = new_lists(len(slots), n_candidates)
        self.lock = threading.Lock()


class _Buffers(threading.local):
    """One thread's scratch memory."""

    def __init__(self, n_rows: int, n_columns: int, d: int) -> None:
        self.rows = np.empty((n_rows, d), np.float32)
        self.columns = np.empty((n_columns, d), np.float32)
        self.products = np.empty(n_rows * n_columns, np.float32)
        self.row_facts = np.empty((2, n_rows), np.float32)
        self.column_facts = np.empty((2, n_columns), np.float32)


class Scanner(Crew):
    """Makes exact lists of nearest neighbours on the CPU; every thread compares a block of rows with all others.

    BLAS is held to one thread meanwhile: this keeps all cores busy in products and tests alike.
    """

    def __init__(self, forest: Forest, *, threads: int, block: tuple[int, int] | None = None) -> None:
        super().__init__(threads)
        self.forest = forest
        n, d = forest.centroids.shape
        self.rows, self.columns = (min(size, n) for size in block or (ROWS, COLUMNS))
        share = (d + 16) * 2.0**-24
        self.slack, self.floor = share / (1 - share), d * 2.0**-120
        self.buffers = _Buffers(self.rows, self.columns, d)
        self.multiplied = 0  # pairs of clusters

    def __call__(self, wanted: Ints, active: Ints) -> None:
        """Make the lists of the clusters `wanted`, a part of the living ones `active`, and find their neighbours."""
        forest = self.forest
        clear_all(forest, wanted)
        inside = np.zeros(len(forest.weights), bool)
        inside[wanted] = True
        others = active[~inside[active]]
        height = min(self.rows, max(64, -(-len(wanted) // (2 * self.threads))))
        blocks = [_Block(wanted[p : p + height], forest.lists.shape[1]) for p in range(0, len(wanted), height)]
        rest = [others[p : p + self.columns] for p in range(0, len(others), self.columns)]
        for task in [self.pool.submit(self._sweep, blocks[b:], rest) for b in range(len(blocks))]:
            task.result()
        for task in [self.pool.submit(measure_waiting, forest, b.slots, b.lists) for b in blocks]:
            task.result()
        squares = (len(block.slots) ** 2 for block in blocks)  # every other pair of blocks is multiplied once
        self.multiplied += (len(wanted) ** 2 + sum(squares)) // 2 + len(wanted) * len(others)
        trust_lists(forest, wanted, len(active) - 1 <= forest.lists.shape[1])

    def summary(self) -> str:
        """Return what was multiplied, in words."""
        return f"{self.multiplied / len(self.forest.weights) ** 2:.2f} n^2 products"

    def _sweep(self, blocks: list[_Block], rest: list[Ints]) -> None:
        """Compare the first block with itself, with the other blocks, both ways, and with the rest."""
        forest, block, at = self.forest, blocks[0], self.buffers
        n = len(block.slots)
        values, facts = at.rows[:n], at.row_facts[:, :n]
        fetch(forest, block.slots, values, facts[0], facts[1], self.slack, self.floor)
        rows = Side(block.slots, facts[0], facts[1], block.lists)
        for slots, lists, other in self._columns(blocks, rest):
            m = len(slots)
            others, facts = at.columns[:m], at.column_facts[:, :m]
            fetch(forest, slots, others, facts[0], facts[1], self.slack, self.floor)
            products = at.products[: n * m].reshape(n, m)
            np.matmul(values, others.T, out=products)
            columns = Side(slots, facts[0], facts[1], lists)
            with block.lock, other.lock if other else contextlib.nullcontext():
                select(forest, products, rows, columns, 2.5 * self.slack, 2.5 * self.floor)

    def _columns(self, blocks: list[_Block], rest: list[Ints]) -> Iterator[tuple[Ints, Lists, _Block | None]]:
        none = new_lists(0, 1)
        for block in blocks:
            for p in range(0, len(block.slots), self.columns):
                part = slice(p, p + self.columns)
                if block is blocks[0]:
                    yield block.slots[part], none, None
                else:
                    yield block.slots[part], block.lists.part(part), block
        for slots in rest:
            yield slots, none, None
