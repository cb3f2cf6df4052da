"""Making one link set out of two directional ones.

The heuristics are those of Koehn, Och and Marcu, "Statistical Phrase-Based Translation", NAACL 2003, and
Koehn et al., IWSLT 2005.  All of them give links of the union.
"""

from __future__ import annotations

import numba
import numpy as np

from isogloss.aligners.protocol import Directions, Links
from isogloss.errors import unknown

METHODS = ("intersection", "union", "grow-diag", "grow-diag-final", "grow-diag-final-and")

_NEIGHBOURS = np.array(
    [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)], dtype=np.int64
)


def symmetrise(directions: Directions, method: str = "grow-diag-final-and") -> Links:
    """Join two directional link sets.

    - ``intersection``: links of both directions.
    - ``union``: links of either.
    - ``grow-diag``: start from the intersection.  Visit its links by source position, then target
      position; at each try the eight neighbours (up, left, down, right, then the diagonals up-left,
      up-right, down-left, down-right, where up is the previous source word and left the previous target
      word) and add those that are in the union and have a source *or* target word without a link so far.
      A link added is visited in the same pass if it comes later, else in the next; passes repeat until
      nothing is added.
    - ``grow-diag-final``: then visit the forward links in order, then the backward ones, and add those
      that have a source *or* target word without a link so far.
    - ``grow-diag-final-and``: as before, but source *and* target word must be without a link.

    Parameters
    ----------
    directions : Directions
    method : str
        One of `METHODS`.

    Returns
    -------
    numpy.ndarray
        (k, 3) int32 ``pair, source position, target position``, sorted, without repeats.

    Raises
    ------
    UsageError
        If the method is unknown.

    Examples
    --------
    >>> from isogloss.aligners.protocol import Directions, as_links
    >>> both = Directions(as_links([(0, 0, 0), (0, 0, 1)]), as_links([(0, 0, 0), (0, 2, 2)]))
    >>> symmetrise(both, "intersection").tolist()
    [[0, 0, 0]]
    >>> symmetrise(both, "grow-diag-final-and").tolist()
    [[0, 0, 0], [0, 0, 1], [0, 2, 2]]
    """
    if method not in METHODS:
        raise unknown("symmetrisation", method, METHODS)
    forward, backward = np.unique(directions.forward, axis=0), np.unique(directions.backward, axis=0)
    union, where = np.unique(np.concatenate([forward, backward]), axis=0, return_inverse=True)
    where = where.reshape(-1)
    in_forward = np.zeros(len(union), dtype=np.bool_)
    in_backward = np.zeros(len(union), dtype=np.bool_)
    in_forward[where[: len(forward)]] = True
    in_backward[where[len(forward) :]] = True
    if method == "union" or not len(union):
        return union
    kept = in_forward & in_backward
    if method != "intersection":
        _, first = np.unique(union[:, 0], return_index=True)
        bounds = np.append(first, len(union))
        final, both_free = method != "grow-diag", method == "grow-diag-final-and"
        _grow(union, bounds, in_forward, in_backward, kept, _NEIGHBOURS, final, both_free)
    return union[kept]


@numba.njit(cache=True, nogil=True)
def _grow(union, bounds, in_forward, in_backward, kept, neighbours, final, both_free):  # type: ignore[no-untyped-def]
    """Switch on further members of `kept`, pair by pair (``bounds[p]:bounds[p + 1]`` of the union)."""
    height, width = union[:, 1].max() + 1, union[:, 2].max() + 1
    # The grid holds the union's index of a position pair, -1 elsewhere, with a border for neighbours.
    grid = np.full((height + 2, width + 2), -1, dtype=np.int64)
    source_used = np.zeros(height, dtype=np.bool_)
    target_used = np.zeros(width, dtype=np.bool_)
    for p in range(len(bounds) - 1):
        low, high = bounds[p], bounds[p + 1]
        for k in range(low, high):
            i, j = union[k, 1], union[k, 2]
            grid[i + 1, j + 1] = k
            if kept[k]:
                source_used[i] = target_used[j] = True
        added = True
        while added:
            added = False
            for k in range(low, high):
                if not kept[k]:
                    continue
                for x in range(len(neighbours)):
                    near = grid[union[k, 1] + 1 + neighbours[x, 0], union[k, 2] + 1 + neighbours[x, 1]]
                    if near < 0 or kept[near]:
                        continue
                    i, j = union[near, 1], union[near, 2]
                    if not (source_used[i] and target_used[j]):
                        kept[near] = source_used[i] = target_used[j] = added = True
        if final:
            for direction in (in_forward, in_backward):
                for k in range(low, high):
                    i, j = union[k, 1], union[k, 2]
                    taken = (source_used[i] or target_used[j]) if both_free else (source_used[i] and target_used[j])
                    if direction[k] and not kept[k] and not taken:
                        kept[k] = source_used[i] = target_used[j] = True
        for k in range(low, high):
            grid[union[k, 1] + 1, union[k, 2] + 1] = -1
            source_used[union[k, 1]] = target_used[union[k, 2]] = False
