"""Nearest neighbours of many clusters at once: float32 products propose, float64 distances decide.

A block of products gives, for every pair in it, a lower bound of the Ward height.  Only pairs whose bound reaches the
list of one of the two are measured in float64, so that the lists are exact whatever the rounding of the products.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from isogloss.compiled import compiled
from isogloss.discovery.ward.forest import Forest, Ints, clear, is_before, offer, squared_height, trust_lists

Singles = npt.NDArray[np.float32]

ROWS = 2048  # clusters whose lists are made at once, by one thread
COLUMNS = (
    512  # clusters they are compared with at once; ROWS x COLUMNS products of 4 bytes should fit a cache
)
_CHUNK = 64  # pairs tested before one is looked at


@compiled
def fetch(
    forest: Forest, slots: Ints, out: Singles, norms: Singles, inverse: Singles, slack: float, floor: float
) -> None:
    """Write centroids as float32, their squared norms made a little too small, and 1 / weight.

    With x, y float32 roundings of centroids of d axes and p their product computed in float32 in any order,
    ``(1 - g) (|x|^2 + |y|^2) - 2 p - floor`` with g = (d + 16) 2^-24 is at most the squared distance of the centroids:
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
def _measure(forest: Forest, i: int, j: int, thresholds: Singles, p: int) -> None:
    """Measure the pair and offer j to i's list."""
    last = forest.lists.shape[1] - 1
    value = squared_height(forest, i, j)
    if forest.lists[i, last] < 0 or is_before(
        forest, i, value, j, forest.values[i, last], forest.lists[i, last]
    ):
        offer(forest, i, j, value, forest.nodes[j])
        if forest.lists[i, last] >= 0:
            thresholds[p] = _threshold(forest.values[i, last])


@compiled
def select(
    forest: Forest,
    products: Singles,
    rows: Ints,
    row_norms: Singles,
    row_inverse: Singles,
    row_thresholds: Singles,
    columns: Ints,
    column_norms: Singles,
    column_inverse: Singles,
    column_thresholds: Singles,
    both_ways: bool,
) -> None:
    """Offer every pair of a block of products that could be near enough, to the row's list and, if asked, the column's.

    The test is the lower bound against the last value of the list, T, with the division taken out:
    ``norm_i + norm_j - 2 p_ij <= T / 2 (1 / w_i + 1 / w_j)``.
    """
    n_columns = len(columns)
    two = np.float32(2)
    for r in range(len(rows)):
        i = rows[r]
        norm, inverse = row_norms[r], row_inverse[r]
        for c in range(0, n_columns, _CHUNK):
            end = min(n_columns, c + _CHUNK)
            near = row_thresholds[r]
            base = near * inverse - norm
            hits = 0
            if both_ways:
                for q in range(c, end):
                    left = column_norms[q] - two * products[r, q]
                    by_row = left - near * column_inverse[q] <= base
                    by_column = left + norm <= column_thresholds[q] * (column_inverse[q] + inverse)
                    hits += by_row | by_column
            else:
                for q in range(c, end):
                    hits += column_norms[q] - two * products[r, q] - near * column_inverse[q] <= base
            if hits == 0:
                continue
            for q in range(c, end):
                j = columns[q]
                if i == j:
                    continue
                least = norm + column_norms[q] - two * products[r, q]
                if least <= row_thresholds[r] * (inverse + column_inverse[q]):
                    _measure(forest, i, j, row_thresholds, r)
                if both_ways and least <= column_thresholds[q] * (column_inverse[q] + inverse):
                    _measure(forest, j, i, column_thresholds, q)


_NO_THRESHOLDS = np.empty(0, np.float32)


@compiled
def clear_all(forest: Forest, slots: Ints) -> None:
    """Empty the lists of some clusters."""
    for i in slots:
        clear(forest, i)


class _Block:
    """A range of clusters: slots, their values as float32, thresholds of their lists, and a lock for the lists."""

    def __init__(self, slots: Ints) -> None:
        self.slots = slots
        self.thresholds = np.full(len(slots), np.inf, np.float32)
        self.lock = threading.Lock()


class _Buffers(threading.local):
    """One thread's scratch memory."""

    def __init__(self, n_rows: int, n_columns: int, d: int) -> None:
        self.rows = np.empty((n_rows, d), np.float32)
        self.columns = np.empty((n_columns, d), np.float32)
        self.products = np.empty(n_rows * n_columns, np.float32)
        self.row_facts = np.empty((2, n_rows), np.float32)
        self.column_facts = np.empty((2, n_columns), np.float32)


class Scanner:
    """Makes exact lists of nearest neighbours on the CPU; every thread compares a block of rows with all others.

    BLAS is held to one thread meanwhile: this keeps all cores busy in products and tests alike.
    """

    def __init__(self, forest: Forest, *, threads: int, block: tuple[int, int] | None = None) -> None:
        self.forest, self.threads = forest, threads
        n, d = forest.centroids.shape
        self.rows, self.columns = (min(size, n) for size in block or (ROWS, COLUMNS))
        self.slack, self.floor = (d + 16) * 2.0**-24, d * 2.0**-120
        self.buffers = _Buffers(self.rows, self.columns, d)
        self.multiplied = 0  # pairs of clusters

    def __enter__(self) -> Self:
        self.pool = ThreadPoolExecutor(self.threads)
        self.limits = threadpool_limits(1, "blas")
        return self

    def __exit__(self, *_: object) -> None:
        self.limits.restore_original_limits()
        self.pool.shutdown(cancel_futures=True)

    def __call__(self, wanted: Ints, active: Ints) -> None:
        """Make the lists of the clusters `wanted`, a part of the living ones `active`, and find their neighbours."""
        forest = self.forest
        clear_all(forest, wanted)
        inside = np.zeros(len(forest.weights), bool)
        inside[wanted] = True
        others = active[~inside[active]]
        height = min(self.rows, max(64, -(-len(wanted) // (2 * self.threads))))
        blocks = [_Block(wanted[p : p + height]) for p in range(0, len(wanted), height)]
        rest = [others[p : p + self.columns] for p in range(0, len(others), self.columns)]
        for done in [self.pool.submit(self._sweep, blocks[b:], rest) for b in range(len(blocks))]:
            done.result()
        squares = (len(block.slots) ** 2 for block in blocks)  # every other pair of blocks is multiplied once
        self.multiplied += (len(wanted) ** 2 + sum(squares)) // 2 + len(wanted) * len(others)
        trust_lists(forest, wanted, len(active) - 1 <= forest.lists.shape[1])

    def told(self) -> str:
        """Return what was multiplied, in words."""
        return f"{self.multiplied / len(self.forest.weights) ** 2:.2f} n^2 products"

    def _sweep(self, blocks: list[_Block], rest: list[Ints]) -> None:
        """Compare the first block with itself, with the other blocks, both ways, and with the rest."""
        forest, own, at = self.forest, blocks[0], self.buffers
        n = len(own.slots)
        rows, norms, inverse = at.rows[:n], at.row_facts[0, :n], at.row_facts[1, :n]
        fetch(forest, own.slots, rows, norms, inverse, self.slack, self.floor)
        for slots, thresholds, other in self._columns(blocks, rest):
            m = len(slots)
            columns, facts = at.columns[:m], at.column_facts[:, :m]
            fetch(forest, slots, columns, facts[0], facts[1], self.slack, self.floor)
            products = at.products[: n * m].reshape(n, m)
            np.matmul(rows, columns.T, out=products)
            with own.lock, other.lock if other else contextlib.nullcontext():
                select(
                    *(forest, products, own.slots, norms, inverse, own.thresholds),
                    *(slots, facts[0], facts[1], thresholds, other is not None),
                )

    def _columns(
        self, blocks: list[_Block], rest: list[Ints]
    ) -> Iterator[tuple[Ints, Singles, _Block | None]]:
        for block in blocks:
            for p in range(0, len(block.slots), self.columns):
                part = slice(p, p + self.columns)
                yield block.slots[part], block.thresholds[part], None if block is blocks[0] else block
        for slots in rest:
            yield slots, _NO_THRESHOLDS, None
