"""`discover`: from states to latent concepts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.concepts import Concepts
from isogloss.discovery.partition import Partition
from isogloss.errors import UsageError, unknown
from isogloss.states import LayerStates, check_finite
from isogloss.trees import by_first

DEFAULT_CONCEPTS = 600
TYPES_PER_CONCEPT = (
    5  # the default never asks for more concepts than a fifth of the types (min_types of CALIGN)
)


Fit = Callable[..., Partition]

METHODS = {
    "ward": (
        "isogloss.discovery.ward",
        "agglomerative, Ward linkage; exact in O(n d) memory; no seed; every K from one tree",
    ),
    "kmeans": ("isogloss.discovery.kmeans", "Lloyd's k-means from a greedy k-means++ start; needs a seed"),
}


def default_n_concepts(n_types: int) -> int:
    """Return the default number of concepts: 600, but never more than a fifth of the types (and at least 2)."""
    return max(2, min(DEFAULT_CONCEPTS, n_types // TYPES_PER_CONCEPT))


def discover(
    states: LayerStates,
    *,
    n_concepts: int | None = None,
    method: str = "ward",
    seed: int = 0,
    **options: Any,
) -> Concepts:
    """Cluster states into latent concepts (Dalvi et al. 2022; Mousi et al. 2024).

    States are clustered by Euclidean distance as they are, without scaling, as in the papers; all decisions are made in
    float64.  Concepts are numbered by their first token.

    Parameters
    ----------
    states : LayerStates
        (n, d) states with their tokens, from `States.at`.
    n_concepts : int, optional
        Number of concepts, at most the number of distinct states.  Default: `default_n_concepts` of the types.
    method : {"ward", "kmeans"}
    seed : int
        Seed of methods that draw at random.
    **options
        Passed to the method.

    Returns
    -------
    Concepts
        With centroids, and with the tree for methods that make one.

    Raises
    ------
    UsageError
        For an unknown method, or more concepts than distinct states.
    InputError
        If a state is NaN or infinite (the token is named).
    """
    if method not in METHODS:
        raise unknown("discovery method", method, METHODS)
    check_finite(states)
    n = len(states.X)
    k = default_n_concepts(states.tokens["word"].n_unique()) if n_concepts is None else n_concepts
    n_distinct = _count_distinct(states.X, enough=k)
    if not 1 <= k <= n_distinct:
        n_distinct = _count_distinct(states.X, enough=n)
        raise UsageError(
            f"n_concepts = {k} is not possible for {n} states ({n_distinct} distinct) of "
            f"{'+'.join(states.languages)}. Choose a number from 1 to {n_distinct}, or take in more text."
        )
    fit: Fit = import_module(METHODS[method][0]).fit
    labels, tree = fit(states.X, k, seed=seed, **options)
    labels = by_first(labels)
    tokens = states.tokens.select("row", "language", "sentence", "position", "word")
    return Concepts(
        tokens=tokens,
        labels=labels,
        n_concepts=int(labels.max()) + 1,
        centroids=centroids(states.X, labels),
        tree=tree,
        model=states.model,
        stack=states.stack,
        layer=states.layer,
        method=method,
        seed=seed,
    )


def _count_distinct(X: npt.NDArray[np.floating], *, enough: int) -> int:
    """Count distinct rows, but stop at `enough`: on real states that reads little more than `enough` rows."""
    seen: set[bytes] = set()
    for row in X:
        seen.add((row + 0).tobytes())  # + 0 makes -0.0 equal to 0.0
        if len(seen) >= enough:
            break
    return len(seen)


def centroids(X: npt.NDArray[np.floating], labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Return (k, d) float32 means of the rows of every label, summed in float64."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 1))
    sums = np.add.reduceat(X[order].astype(np.float64), starts, axis=0)
    return np.asarray(sums / np.bincount(labels)[:, None], dtype=np.float32)
