"""Ward linkage in O(n d) memory, exact or on a sample: `linkage`, usable without the rest of isogloss."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Count, Seed, Workers, checked
from isogloss.compiled import compiled
from isogloss.discovery.rows import Floats, Longs, Survey, centred, n_threads, neighbourly, survey
from isogloss.discovery.ward.forest import Forest, Ints, merge_rounds, plant
from isogloss.discovery.ward.sampled import attach, cell_means, check_sample, draw
from isogloss.discovery.ward.scan import Scanner
from isogloss.progress import progress

log = logging.getLogger(__name__)

N_CANDIDATES = 16  # neighbours remembered of every cluster
_SHARE = 0.25  # of the clusters without a certain neighbour, looked at anew when nothing can be merged
_AT_LEAST = 64


@checked
def linkage(
    X: npt.ArrayLike,
    *,
    sample: Count | None = None,
    seed: Seed = 0,
    device: str | None = None,
    threads: Workers | None = None,
    block: tuple[int, int] | None = None,
) -> Floats:
    """Return the Ward tree of the rows of X, exact as scipy's, in O(n d) memory; or one that begins with a sample.

    Ward linkage is reducible: no third cluster is nearer to a merged pair than it was to the nearer of the two
    (Bruynooghe 1978).  So all pairs that are each other's nearest neighbours may be merged at once, and sorting the
    merges by height gives the tree that merging one pair at a time gives (Murtagh 1983).  A cluster is its centroid and
    size: two are apart by ``|A||B| / (|A| + |B|) * ||cA - cB||^2`` (Ward 1963).  Candidates for nearest neighbours come
    from float32 matrix products with a rigorous error bound; float64 distances decide between them.

    With `sample` so many distinct rows are drawn, and every other row is merged, at height 0, with the sampled row that
    is nearest to it.  Ward linkage goes on from these cells, with their true means and sizes: above them heights are
    Ward's, and no cut parts a cell.

    Parameters
    ----------
    X : array_like
        (n, d) real numbers; read some rows at a time, so that a memory-mapped float16 file is never copied whole.
    sample : int, optional
        Rows to begin with; where no more are distinct, the tree is the exact one.  Default: all.
    seed : int
        Of the draw; without `sample` there is none.
    device : str, optional
        A torch device for the products, e.g. ``"cuda"``; default: the CPU, by numpy.
    threads : int, optional
        Default: as many as there are cores (or ``NUMBA_NUM_THREADS``).
    block : (int, int), optional
        Rows and columns of one product, for tuning.

    Returns
    -------
    numpy.ndarray
        (n - 1, 4) float64: two nodes, height, size, as `scipy.cluster.hierarchy.linkage` with ``"ward"``; heights rise.
        The same bits come out for any device, number of threads and block, also where distances are tied: a cluster is
        known by its smallest row (with `sample`, of the sampled ones), and of equally near neighbours the one with the
        smaller row is taken.

    Raises
    ------
    UsageError
        If X is not a table of real numbers, or `sample` no number of rows.
    InputError
        If a value is NaN or infinite; its row is named.

    Notes
    -----
    Memory: 8 n d bytes for centroids, about 350 n for the rest, and 4 bytes a product of every thread's block.  Time:
    0.6 to 0.9 times the multiplications of one n x n product on real states, somewhat more without structure.  With
    `sample` = s, s takes the place of n in both, and s x n products on the CPU say who is nearest; of all n rows only
    some numbers each are kept.

    Examples
    --------
    >>> import numpy as np
    >>> from isogloss.discovery.ward import linkage
    >>> linkage(np.array([[0.0], [1.0], [5.0]]))[:, 2].round(3).tolist()
    [1.0, 5.196]
    """
    check_sample(sample, 1)
    data: Any = X if hasattr(X, "dtype") and hasattr(X, "shape") else np.asanyarray(X)
    surveyed = survey(data)
    n = len(data)
    slots, owners, centroids = _beginnings(data, surveyed, sample, seed=seed, threads=n_threads(threads))
    merges, heights = np.empty((n - 1, 2), np.int64), np.zeros(n - 1)
    nodes, weights, n_merges = _merge_owned(owners, slots, merges)
    forest = plant(centroids, weights, slots, nodes, N_CANDIDATES)
    with _scanner(forest, device, n_threads(threads), block) as scan:
        _grow(forest, scan, merges, heights, n_merges)
    return _as_scipy(merges, heights, surveyed.exponent)


def check(n_concepts: int, *, sample: object = None, **_: object) -> None:
    """Refuse values of options that no tree, or none with so many concepts, can be grown with."""
    check_sample(sample, n_concepts)


def _beginnings(
    data: Any, surveyed: Survey, sample: int | None, *, seed: int, threads: int
) -> tuple[Longs, Longs, Floats]:
    """Return the rows that clusters begin with, the one of them that owns each row, and the clusters' centroids."""
    distinct = np.flatnonzero(surveyed.first == np.arange(len(surveyed.first)))
    if sample is None or sample >= len(distinct):
        slots = neighbourly(data, distinct, surveyed)
        return slots, surveyed.first, centred(data, slots, surveyed)
    chosen = draw(distinct, sample, seed=seed)
    owners = attach(data, chosen, surveyed, threads=threads)
    slots = neighbourly(data, chosen, surveyed)
    return slots, owners, cell_means(data, owners, slots, surveyed)


def _scanner(forest: Forest, device: str | None, threads: int, block: tuple[int, int] | None) -> Scanner:
    if device in (None, "cpu"):
        return Scanner(forest, threads=threads, block=block)
    from isogloss.discovery.ward.device import DeviceScanner

    return DeviceScanner(forest, device=str(device), threads=threads, block=block)


def _grow(forest: Forest, scan: Scanner, merges: Longs, heights: Floats, n_merges: int) -> None:
    """Merge until one cluster is left: in rounds, and when a round finds no pair, by looking for neighbours anew."""
    n = len(merges) + 1
    active = np.arange(len(forest.weights), dtype=np.int32)
    wanted, n_rounds, n_scans = active, 0, 0
    with progress("ward", n - 1) as advance:
        while len(active) > 1:
            scan(wanted, active)
            before = n_merges
            n_merges, n_active, rounds = merge_rounds(forest, active, wanted, merges, heights, n_merges, n)
            active = active[:n_active]
            wanted = _unknown(forest, active)
            advance(n_merges - before)
            n_rounds, n_scans = n_rounds + rounds, n_scans + 1
    log.debug("Ward linkage of %d rows: %d rounds, %d scans, %s", n, n_rounds, n_scans, scan.summary())


def _unknown(forest: Forest, active: Ints) -> Ints:
    """Return the clusters to look at anew: of those without a certain neighbour the ones whose bound is least."""
    unknown = active[~forest.certain[active]]
    n_wanted = max(min(_AT_LEAST, len(unknown)), int(len(unknown) * _SHARE))
    order = np.lexsort((forest.ids[unknown], forest.bounds[unknown]))
    return np.sort(unknown[order[:n_wanted]])


def _merge_owned(owners: Longs, slots: Longs, merges: Longs) -> tuple[Longs, Floats, int]:
    """Merge every row with its owner at height 0; return node and weight of every owner, and the number of merges."""
    n = len(owners)
    nodes = np.arange(n)
    n_merges = 0
    for row in np.flatnonzero(owners != np.arange(n)).tolist():
        merges[n_merges] = nodes[owners[row]], row
        nodes[owners[row]] = n + n_merges
        n_merges += 1
    return nodes[slots], np.bincount(owners, minlength=n)[slots].astype(np.float64), n_merges


def _as_scipy(merges: Longs, heights: Floats, exponent: int) -> Floats:
    """Sort the merges by height, number them anew, and return the linkage matrix."""
    n = len(merges) + 1
    _raise_parents(merges, heights)
    order = np.argsort(heights, kind="stable")  # children were merged before their parents
    numbers = np.empty(n - 1, np.int64)
    numbers[order] = np.arange(n - 1)
    named = np.where(merges >= n, n + numbers[np.maximum(merges - n, 0)], merges)[order]
    tree = np.empty((n - 1, 4))
    tree[:, :2] = np.sort(named, axis=1)
    tree[:, 2] = np.ldexp(np.sqrt(heights[order]), -exponent)
    _count(tree)
    return tree


@compiled
def _raise_parents(merges: Longs, heights: Floats) -> None:
    """Lift joins that rounding put a hair below one of their parts."""
    n = len(heights) + 1
    for q in range(len(heights)):
        for side in range(2):
            if merges[q, side] >= n:
                heights[q] = max(heights[q], heights[merges[q, side] - n])


@compiled
def _count(tree: Any) -> None:
    n = len(tree) + 1
    for q in range(len(tree)):
        tree[q, 3] = 0.0
        for side in range(2):
            child = int(tree[q, side]) - n
            tree[q, 3] += tree[child, 3] if child >= 0 else 1.0
