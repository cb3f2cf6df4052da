"""Making one link set out of two directional ones.

The heuristics are those of Koehn, Och and Marcu, "Statistical Phrase-Based Translation", NAACL 2003, and
Koehn et al., IWSLT 2005.  All of them give links of the union.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isogloss.aligners.protocol import METHODS, Directions, Links
from isogloss.arguments import checked
from isogloss.compiled import compiled
from isogloss.errors import unknown

Flags = npt.NDArray[np.bool_]

_NEIGHBOURS = np.array([(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)])


@checked
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
        One of the five.

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
    forward, backward = _keys(directions.forward), _keys(directions.backward)
    union = np.sort(np.concatenate([forward, backward]), kind="stable")
    union = union[np.append(True, np.diff(union) > 0)[: len(union)]]
    in_forward, in_backward = np.zeros((2, len(union)), dtype=np.bool_)
    in_forward[np.searchsorted(union, forward)] = True
    in_backward[np.searchsorted(union, backward)] = True
    links, kept = _rows(union), in_forward & in_backward
    if method == "union" or not len(links):
        return links
    if method == "intersection":
        return links[kept]
    board = _Board(
        links,
        kept,
        grid=np.full(tuple(links[:, 1:].max(axis=0) + 3), -1, dtype=np.int64),
        source_used=np.zeros(links[:, 1].max() + 1, dtype=np.bool_),
        target_used=np.zeros(links[:, 2].max() + 1, dtype=np.bool_),
    )
    bounds = np.append(np.unique(links[:, 0], return_index=True)[1], len(links))
    final = np.stack([in_forward, in_backward])[: 0 if method == "grow-diag" else 2]
    _grow_all(board, bounds, final, method == "grow-diag-final-and")
    return links[kept]


def _keys(links: Links) -> npt.NDArray[np.int64]:
    """Return one integer a link, of the same order; positions fit in 16 bits (see `WordLinks`)."""
    pair, i, j = links.astype(np.int64).T
    keys: npt.NDArray[np.int64] = (pair << 32) | (i << 16) | j
    return keys


def _rows(keys: npt.NDArray[np.int64]) -> Links:
    return np.stack([keys >> 32, (keys >> 16) & 0xFFFF, keys & 0xFFFF], axis=1).astype(np.int32)


class _Board(NamedTuple):
    """The links of the union, those kept so far, and the state of the pair at work."""

    links: Links
    kept: Flags
    grid: npt.NDArray[np.int64]  # [i + 1, j + 1]: number of the link i-j, -1 where the union has none
    source_used: Flags
    target_used: Flags


@compiled
def _grow_all(board: _Board, bounds: npt.NDArray[np.int64], final: Flags, both_free: bool) -> None:
    """Set `kept`, pair by pair; pair p has the links ``bounds[p]:bounds[p + 1]``."""
    for p in range(len(bounds) - 1):
        low, high = bounds[p], bounds[p + 1]
        for k in range(low, high):
            i, j = board.links[k, 1], board.links[k, 2]
            board.grid[i + 1, j + 1] = k
            if board.kept[k]:
                _keep(board, k)
        while _grow(board, low, high):
            pass
        for direction in final:
            for k in range(low, high):
                if direction[k] and not board.kept[k] and _is_free(board, k, both_free):
                    _keep(board, k)
        for k in range(low, high):
            i, j = board.links[k, 1], board.links[k, 2]
            board.grid[i + 1, j + 1] = -1
            board.source_used[i] = board.target_used[j] = False


@compiled
def _grow(board: _Board, low: int, high: int) -> bool:
    """Make one pass over a pair's links, keeping neighbours; return whether any was added."""
    added = False
    for k in range(low, high):
        if not board.kept[k]:
            continue
        i, j = board.links[k, 1], board.links[k, 2]
        for x in range(len(_NEIGHBOURS)):
            near = board.grid[i + 1 + _NEIGHBOURS[x, 0], j + 1 + _NEIGHBOURS[x, 1]]
            if near >= 0 and not board.kept[near] and _is_free(board, near, False):
                _keep(board, near)
                added = True
    return added


@compiled
def _is_free(board: _Board, k: int, both: bool) -> bool:
    """Return whether the source or the target word (`both`: and) of link k has no link yet."""
    source, target = board.source_used[board.links[k, 1]], board.target_used[board.links[k, 2]]
    return not (source or target) if both else not (source and target)


@compiled
def _keep(board: _Board, k: int) -> None:
    board.kept[k] = True
    board.source_used[board.links[k, 1]] = True
    board.target_used[board.links[k, 2]] = True
