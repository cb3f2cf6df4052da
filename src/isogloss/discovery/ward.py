"""Ward linkage by scipy: exact, deterministic, and O(n^2) in memory."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import linkage

from isogloss.discovery import Partition

log = logging.getLogger(__name__)


def fit(X: npt.NDArray[np.float32], n_concepts: int, *, seed: int) -> Partition:  # noqa: ARG001  one form for all methods
    """Cluster (n, d) float32 rows; the tree holds every smaller and larger number of concepts too."""
    needed = len(X) ** 2 * 8 / 2**30
    if needed > 4:
        log.warning(
            "Ward linkage of %d states holds %.1f GiB of distances; kmeans needs far less", len(X), needed
        )
    if len(X) == 1:
        return Partition(np.zeros(1, np.int32), np.empty((0, 4)))
    tree = np.asarray(linkage(X.astype(np.float64), "ward"))
    return Partition(cut(tree, n_concepts), tree)


def cut(tree: npt.NDArray[np.float64], n_concepts: int) -> npt.NDArray[np.int32]:
    """Return (n,) int32 labels of the partition after the first n - n_concepts merges of a linkage matrix.

    Exactly `n_concepts` labels come out, also where heights are tied (scipy's ``maxclust`` may give fewer).
    """
    n = len(tree) + 1
    parent = np.arange(2 * n - 1)
    for i in range(n - n_concepts):
        parent[int(tree[i, 0])] = parent[int(tree[i, 1])] = n + i
    for node in range(2 * n - 2, -1, -1):  # parents have larger numbers than their children
        parent[node] = parent[parent[node]]
    return np.unique(parent[:n], return_inverse=True)[1].astype(np.int32)
