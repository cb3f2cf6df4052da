"""Lloyd's k-means from a greedy k-means++ start: the rows are read in blocks, float64 decides."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from isogloss.arguments import NConcepts, Rounds, Seed, Workers, checked
from isogloss.discovery.lloyd import TOLERANCE, Labels, Reader, add, assign, facts, plus_plus
from isogloss.discovery.rows import Floats, Longs, n_threads, survey
from isogloss.store import Rows

_SAMPLE = 8  # one row in so many, but
_PER_CONCEPT = 20  # at least so many a concept, take part in the start
_WARM_UP = 10  # iterations on these rows


@checked
def fit(
    X: npt.NDArray[np.floating] | Rows,
    n_concepts: NConcepts,
    *,
    seed: Seed,
    n_starts: Rounds = 1,
    max_iterations: Rounds = 100,
    threads: Workers | None = None,
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
    with Reader(X, known, n_threads(threads)) as everything:
        for _ in range(n_starts):
            centres = _start(everything, n_concepts, generator)
            inertia, labels = _lloyd(everything, centres, max_iterations)
            if best is None or inertia < best[0]:
                best = inertia, labels
    assert best is not None
    return best[1]


def _start(everything: Reader, k: int, generator: np.random.Generator) -> Floats:
    """Return (k, d) float64 centres."""
    n_rows = max(_PER_CONCEPT * k, everything.n // _SAMPLE)
    if n_rows >= everything.n:
        return _plus_plus(everything, k, generator)
    rows = np.sort(generator.choice(everything.n, n_rows, replace=False))
    with everything.sample(rows) as some:
        centres = _plus_plus(some, k, generator)
        _lloyd(some, centres, _WARM_UP)
    return centres


def _plus_plus(rows: Reader, k: int, generator: np.random.Generator) -> Floats:
    blocks = list(rows.map(lambda block: block.rows))
    return plus_plus(blocks, k, generator=generator, pool=rows.pool)


def _lloyd(rows: Reader, centres: Floats, max_iterations: int) -> tuple[float, Labels]:
    """Move the centres (in place) until they rest; return inertia and labels of the last assignment."""
    k, d = centres.shape
    labels = np.full(rows.n, -1, np.int32)
    apart = np.empty(rows.n)
    spread = 0.0
    for iteration in range(max_iterations):
        before = labels.copy()
        sums = np.zeros((k, d))
        for block in rows.map(partial(assign, centres, facts(centres), labels, apart)):
            add(sums, block.rows, labels[block.part])
        counts = np.bincount(labels, minlength=k)
        _repair(rows, labels, apart, counts, sums)
        if iteration == 0:
            spread = apart.mean() / d
        if (labels == before).all():
            break
        moved = sums / counts[:, None]
        shift = float(((moved - centres) ** 2).sum())
        centres[:] = moved
        if shift <= TOLERANCE * spread:
            break
    return float(apart.sum()), labels


def _repair(rows: Reader, labels: Labels, apart: Floats, counts: Longs, sums: Floats) -> None:
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
