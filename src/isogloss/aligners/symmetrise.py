"""Making one link set out of two directional ones.

The heuristics are those of Koehn, Och and Marcu, "Statistical Phrase-Based Translation", NAACL 2003, and
Koehn et al., IWSLT 2005.  All of them give links of the union.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from isogloss.aligners.protocol import Directions, Links
from isogloss.errors import unknown

METHODS = ("intersection", "union", "grow-diag", "grow-diag-final", "grow-diag-final-and")

Flags = npt.NDArray[np.bool_]

_NEIGHBOURS = np.array([(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)])


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
    [[0, 0, 0], [0, 2, 2]]
    """
    if method not in METHODS:
        raise unknown("symmetrisation", method, METHODS)
    both = np.concatenate([directions.forward, directions.backward])
    union, where = np.unique(both, axis=0, return_inverse=True)
    if method == "union" or not len(union):
        return union
    where = where.reshape(-1)
    n_forward = len(directions.forward)
    forward, backward = np.zeros((2, len(union)), dtype=np.bool_)
    forward[where[:n_forward]] = True
    backward[where[n_forward:]] = True
    kept = forward & backward
    if method != "intersection":
        _, first = np.unique(union[:, 0], return_index=True)
        board = _board(union)
        for low, high in zip(first, np.append(first[1:], len(union)), strict=True):
            _place(board, kept, low, high)
            _grow(board, kept, low, high)
            if method != "grow-diag":
                for direction in (forward, backward):
                    _finish(board, kept, direction, (low, high), method == "grow-diag-final-and")
            _clear(board, low, high)
    return union[kept]
