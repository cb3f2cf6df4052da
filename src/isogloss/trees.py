"""Merge trees: scipy's linkage matrix, cut at any number of clusters or height, and written for viewers.

A tree is an (n - 1, 4) float64 array as `scipy.cluster.hierarchy.linkage` returns it: row i joins nodes ``tree[i, 0]``
and ``tree[i, 1]`` at height ``tree[i, 2]`` into node n + i of ``tree[i, 3]`` leaves; leaves are 0 .. n - 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Dimensions, checked
from isogloss.compiled import compiled
from isogloss.errors import UsageError

Tree = Annotated[npt.NDArray[np.float64], Dimensions(2, width=4)]  # scipy's linkage matrix
Column = npt.NDArray[np.float64]


@checked
def cut(tree: Tree, *, n_clusters: int | None = None, height: float | None = None) -> npt.NDArray[np.int32]:
    """Return the partition of a tree's leaves into a number of clusters, or into all that are joined up to a height.

    Parameters
    ----------
    tree : numpy.ndarray
        (n - 1, 4) linkage matrix with rising heights.
    n_clusters : int, optional
        Exactly so many come out, also where heights are tied (scipy's ``maxclust`` may give fewer).
    height : float, optional
        Joins at this height or below are made, as with scipy's ``distance`` criterion.

    Returns
    -------
    numpy.ndarray
        (n,) int32 labels 0, 1, ... in the order of their first leaf.

    Raises
    ------
    UsageError
        If not exactly one of `n_clusters` and `height` is given, or the number is not 1 .. n.
    """
    n = len(tree) + 1
    if (n_clusters is None) == (height is None):
        raise UsageError("A tree is cut either by n_clusters or by height: give one of them.")
    if height is not None:
        n_joins = int(np.searchsorted(tree[:, 2], height, side="right"))
    elif n_clusters is not None and 1 <= n_clusters <= n:
        n_joins = n - n_clusters
    else:
        raise UsageError(f"A tree of {n} leaves cannot be cut into {n_clusters} clusters: choose 1 to {n}.")
    return _partition(tree[:, 0], tree[:, 1], n_joins)


@compiled
def _partition(left: Column, right: Column, n_joins: int) -> npt.NDArray[np.int32]:
    """Number every leaf by the node it is under after the first joins, in the order of first leaves."""
    n = len(left) + 1
    tops = np.arange(n + n_joins)
    for i in range(n_joins - 1, -1, -1):  # a node comes after its children
        tops[int(left[i])] = tops[int(right[i])] = tops[n + i]
    numbers = np.full(n + n_joins, -1, np.int32)
    labels = np.empty(n, np.int32)
    k = 0
    for leaf in range(n):
        node = tops[leaf]
        if numbers[node] < 0:
            numbers[node] = k
            k += 1
        labels[leaf] = numbers[node]
    return labels


def by_first(labels: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Renumber labels 0, 1, ... in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]


@checked
def top(tree: Tree, n_clusters: int) -> tuple[Tree, npt.NDArray[np.int32]]:
    """Return the tree above a cut, whose leaves are the clusters, and the cut's labels.

    Returns
    -------
    tree : numpy.ndarray
        (n_clusters - 1, 4); sizes count the leaves of the whole tree.
    labels : numpy.ndarray
        (n,) int32; leaf c of the tree is cluster c.
    """
    n = len(tree) + 1
    labels = cut(tree, n_clusters=n_clusters)
    numbers = np.empty(2 * n - 1, np.int64)
    numbers[:n] = labels
    for i in range(n - n_clusters):  # below the cut a node stands for its cluster
        numbers[n + i] = numbers[int(tree[i, 0])]
    numbers[n + (n - n_clusters) :] = n_clusters + np.arange(n_clusters - 1)
    above = tree[n - n_clusters :].copy()
    above[:, :2] = np.sort(numbers[above[:, :2].astype(np.int64)], axis=1)
    return above, labels


@checked
def newick(tree: Tree, names: Sequence[str]) -> str:
    """Return a tree in Newick's notation; the length of a branch is the difference of its ends' heights.

    Names are quoted where they hold anything but letters, digits, ``_``, ``.`` and ``-``.
    """
    n = _check_names(tree, names)
    texts: list[str | None] = [_newick_name(name) for name in names]
    heights = np.concatenate([np.zeros(n), tree[:, 2]])
    for i, (a, b) in enumerate(tree[:, :2].astype(np.int64).tolist()):
        here = heights[n + i]
        parts = (f"{texts[x]}:{here - heights[x]:.6g}" for x in (a, b))
        texts.append(f"({','.join(parts)})")
        texts[a] = texts[b] = None  # nothing is kept twice
    return f"{texts[-1]};"


def _check_names(tree: Tree, names: Sequence[str]) -> int:
    """Return the number of leaves; as many names are needed."""
    n = len(tree) + 1
    if len(names) != n:
        raise UsageError(f"{len(names)} names for a tree of {n} leaves: they must be equal.")
    return n


def _newick_name(name: str) -> str:
    plain = name and all(c.isalnum() or c in "_.-" for c in name)
    return name if plain else "'" + name.replace("'", "''") + "'"


@checked
def nested(tree: Tree, names: Sequence[str]) -> str:
    """Return a tree as nested JSON, as viewers of hierarchies take it.

    A node is ``{"height", "size", "children": [left, right]}``, a leaf ``{"name"}``.
    """
    _check_names(tree, names)
    texts = [json.dumps({"name": name}, ensure_ascii=False) for name in names]
    for left, right, height, size in tree.tolist():  # by hand: json would recurse as deep as the tree is
        a, b = int(left), int(right)
        texts.append(f'{{"height": {height:.9g}, "size": {int(size)}, "children": [{texts[a]}, {texts[b]}]}}')
        texts[a] = texts[b] = ""
    return texts[-1]
