"""The state of a Ward clustering under way, and the rounds that merge mutual nearest neighbours.

Every decision here is made on float64 distances summed in one fixed order, without fused or reordered operations, so
that a tree depends on nothing but its data: not on block sizes, threads, devices or the order of the slots.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isogloss.compiled import compiled
from isogloss.discovery.rows import Floats, Longs, squared_distance

Ints = npt.NDArray[np.int32]

# A hair off bounds that were computed, not measured: float64 rounding must not make them too high.
_SAFE = 1 - 1e-12


class Forest(NamedTuple):
    """Clusters and what is known of their neighbours, one slot a cluster; of a merged pair one slot lives on."""

    # (n, d), and (n,) rows in the cluster
    centroids: Floats
    weights: Floats
    # (n,): the smallest row of the cluster, its name in ties, whatever the order of merges
    ids: Longs
    # (n,): number of the cluster in the tree, new after every merge
    nodes: Longs
    # (n,): the slot a merged cluster went into (follow it to the end); its own while it lives
    roots: Ints
    # (n, k) candidates for the nearest neighbour: slot (-1 = none); squared height; the node that it was measured to.
    # When that node has been merged since, the height is a lower bound.
    lists: Ints
    values: Floats
    stamps: Longs
    # (n,): no cluster outside the list is nearer than this
    bounds: Floats
    # (n,): the nearest neighbour by (height, smaller id, larger id), its squared height, and whether it is certain
    nearest: Ints
    heights: Floats
    certain: npt.NDArray[np.bool_]
    # (n,): scratch
    marks: Longs


def plant(centroids: Floats, weights: Floats, ids: Longs, nodes: Longs, n_candidates: int) -> Forest:
    """Return the forest before the first merge; no neighbour is known yet."""
    n = len(centroids)
    shape = (n, n_candidates)
    candidates = np.full(shape, -1, np.int32), np.full(shape, np.inf), np.full(shape, -1, np.int64)
    nearest = np.full(n, -1, np.int32), np.full(n, np.inf), np.zeros(n, np.bool_)
    roots, bounds, marks = np.arange(n, dtype=np.int32), np.zeros(n), np.zeros(n, np.int64)
    return Forest(centroids, weights, ids, nodes, roots, *candidates, bounds, *nearest, marks)


@compiled
def squared_height(forest: Forest, a: int, b: int) -> float:
    """Return 2 |A||B| / (|A| + |B|) times the squared distance of two centroids: scipy's height, squared."""
    wa, wb = forest.weights[a], forest.weights[b]
    return float(2.0 * (wa * wb) / (wa + wb) * squared_distance(forest.centroids, a, forest.centroids, b))


@compiled
def is_before(forest: Forest, i: int, x: float, a: int, y: float, b: int) -> bool:
    """True if i's pair with a, at x, comes before its pair with b, at y: by height, smaller id, larger id."""
    if x != y:
        return x < y
    name, p, q = forest.ids[i], forest.ids[a], forest.ids[b]
    if min(name, p) != min(name, q):
        return bool(min(name, p) < min(name, q))
    return bool(max(name, p) < max(name, q))


@compiled
def offer(forest: Forest, i: int, s: int, value: float, stamp: int) -> None:
    """Put a candidate into the sorted list of i if it belongs there; the last one falls out."""
    L, V, T = forest.lists, forest.values, forest.stamps
    last = L.shape[1] - 1
    if L[i, last] >= 0 and not is_before(forest, i, value, s, V[i, last], L[i, last]):
        return
    p = last
    while p > 0 and (L[i, p - 1] < 0 or is_before(forest, i, value, s, V[i, p - 1], L[i, p - 1])):
        L[i, p], V[i, p], T[i, p] = L[i, p - 1], V[i, p - 1], T[i, p - 1]
        p -= 1
    L[i, p], V[i, p], T[i, p] = s, value, stamp


@compiled
def clear(forest: Forest, i: int) -> None:
    """Empty the list of i."""
    forest.lists[i] = -1
    forest.values[i] = np.inf
    forest.stamps[i] = -1


@compiled
def _root(forest: Forest, s: int) -> int:
    while forest.roots[s] != s:
        s = forest.roots[s]
    return s


@compiled
def _refresh(forest: Forest, i: int) -> None:
    """Find the nearest neighbour of i in its list, measuring only what could be it.

    The value of a candidate that was merged since stays a lower bound (Ward linkage is reducible).
    """
    L, V, T = forest.lists, forest.values, forest.stamps
    k = L.shape[1]
    while True:
        best = -1
        for t in range(k):
            if L[i, t] < 0:
                continue
            if best < 0 or V[i, t] < V[i, best]:
                best = t
            elif V[i, t] == V[i, best]:  # of equal ones those that are not measured yet come first
                if T[i, best] != forest.nodes[_root(forest, L[i, best])]:
                    continue
                a, b = _root(forest, L[i, t]), _root(forest, L[i, best])
                if T[i, t] != forest.nodes[a] or is_before(forest, i, V[i, t], a, V[i, best], b):
                    best = t
        if best < 0:
            forest.nearest[i], forest.heights[i], forest.certain[i] = -1, np.inf, False
            return
        s = _root(forest, L[i, best])
        if s == i:
            L[i, best] = -1
        elif T[i, best] != forest.nodes[s]:
            doubled = False
            for t in range(k):
                if t != best and L[i, t] == s and T[i, t] == forest.nodes[s]:
                    doubled = True
            if doubled:
                L[i, best] = -1
            else:
                L[i, best], V[i, best], T[i, best] = s, squared_height(forest, i, s), forest.nodes[s]
        else:
            forest.nearest[i], forest.heights[i] = s, V[i, best]
            forest.certain[i] = V[i, best] < forest.bounds[i]
            return


@compiled
def trust_lists(forest: Forest, slots: Ints, complete: bool) -> None:
    """Take freshly measured, sorted lists for the truth: nearest neighbour and bound of every slot."""
    k = forest.lists.shape[1]
    for i in slots:
        full = forest.lists[i, k - 1] >= 0
        forest.bounds[i] = forest.values[i, k - 1] if full and not complete else np.inf
        forest.nearest[i], forest.heights[i] = forest.lists[i, 0], forest.values[i, 0]
        forest.certain[i] = forest.nearest[i] >= 0


@compiled
def _join(forest: Forest, a: int, b: int) -> None:
    """Move the cluster in slot b into slot a."""
    wa, wb = forest.weights[a], forest.weights[b]
    C = forest.centroids
    for t in range(C.shape[1]):
        C[a, t] = (wa * C[a, t] + wb * C[b, t]) / (wa + wb)
    forest.weights[a] = wa + wb
    forest.roots[b] = a


@compiled
def _inherit(forest: Forest, a: int, b: int, wa: float, wb: float, lightest: float, mark: int) -> None:
    """Give the cluster merged from a and b (in slot a) the candidates of both, measured, and a bound for all others.

    The bound is the Lance-Williams formula at its least: with both parents' bounds and the lightest cluster there is.
    """
    k = forest.lists.shape[1]
    slots = np.empty(2 * k, np.int32)
    n = 0
    forest.marks[a] = mark
    for parent in (a, b):
        for t in range(k):
            s = forest.lists[parent, t]
            if s < 0:
                continue
            s = _root(forest, s)
            if forest.marks[s] != mark:
                forest.marks[s] = mark
                slots[n] = s
                n += 1
    ra, rb, x = forest.bounds[a], forest.bounds[b], lightest
    bound = _SAFE * (((wa + x) * ra + (wb + x) * rb - x * forest.heights[a]) / (wa + wb + x))
    clear(forest, a)
    for p in range(n):
        value = squared_height(forest, a, slots[p])
        last = forest.lists[a, k - 1]
        if last >= 0:  # one of two falls out: it is outside the list from now on
            bound = min(bound, max(value, forest.values[a, k - 1]))
        offer(forest, a, slots[p], value, forest.nodes[slots[p]])
    forest.bounds[a] = bound
    forest.nearest[a], forest.heights[a] = forest.lists[a, 0], forest.values[a, 0]
    forest.certain[a] = forest.nearest[a] >= 0 and forest.heights[a] < bound


@compiled
def merge_rounds(
    forest: Forest, active: Ints, looked_up: Ints, merges: Longs, heights: Floats, n_merges: int, first_node: int
) -> tuple[int, int, int]:
    """Merge all mutual nearest neighbours, round after round; return n_merges, how many clusters live on, and n_rounds.

    `active` are the slots of the living clusters; those that live on are moved to the front.  `looked_up` are the slots
    whose nearest neighbours were looked up since the last call.  Nodes and squared height of every merge are appended
    to `merges` and `heights`, from `n_merges` on; `first_node` is the node of the first of all merges.
    """
    n_active, n_changed, n_rounds = len(active), len(looked_up), 0
    changed = np.empty(n_active, np.int32)
    changed[:n_changed] = looked_up
    pairs = np.empty((n_active // 2, 2), np.int32)
    parts = np.empty((n_active // 2, 2))
    touched = np.zeros(len(forest.weights), np.bool_)
    mark = forest.marks.max() + 1
    while n_active > 1:
        n_pairs = 0
        for p in range(n_changed):
            i = changed[p]
            j = forest.nearest[i]
            if forest.certain[i] and forest.certain[j] and forest.nearest[j] == i and not touched[i]:
                touched[i] = touched[j] = True
                pairs[n_pairs, 0] = i if forest.ids[i] < forest.ids[j] else j
                pairs[n_pairs, 1] = j if forest.ids[i] < forest.ids[j] else i
                n_pairs += 1
        if n_pairs == 0:
            break
        n_rounds += 1
        lightest = np.inf
        for p in range(n_active):
            lightest = min(lightest, forest.weights[active[p]])
        order = np.argsort(forest.ids[pairs[:n_pairs, 0]])  # no two alike: the same order everywhere
        for q in order:
            a, b = pairs[q, 0], pairs[q, 1]
            parts[q, 0], parts[q, 1] = forest.weights[a], forest.weights[b]
            merges[n_merges, 0], merges[n_merges, 1] = forest.nodes[a], forest.nodes[b]
            heights[n_merges] = forest.heights[a]
            _join(forest, a, b)
            forest.nodes[a] = first_node + n_merges
            n_merges += 1
        for q in range(n_pairs):
            _inherit(forest, pairs[q, 0], pairs[q, 1], parts[q, 0], parts[q, 1], lightest, mark)
            mark += 1
        n_changed = n_left = 0
        for p in range(n_active):
            i = active[p]
            if forest.roots[i] != i:
                continue
            active[n_left] = i
            n_left += 1
            if not touched[i]:
                if forest.nearest[i] < 0 or not touched[forest.nearest[i]]:
                    continue
                _refresh(forest, i)
            changed[n_changed] = i
            n_changed += 1
        n_active = n_left
        for q in range(n_pairs):
            touched[pairs[q, 0]] = touched[pairs[q, 1]] = False
    return n_merges, n_active, n_rounds
