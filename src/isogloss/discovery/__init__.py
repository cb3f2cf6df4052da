"""`discover`: from states to latent concepts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Index, Seed, check_given, checked
from isogloss.concepts import Concepts, check_n_concepts
from isogloss.discovery.lloyd import add
from isogloss.discovery.rows import parts, survey
from isogloss.errors import unknown
from isogloss.settings import DiscoverySettings
from isogloss.states import LayerStates, check_finite
from isogloss.store import Rows
from isogloss.trees import by_first

DEFAULT_CONCEPTS = 600
# With ten types a concept most have the types that CALIGN asks for: docs/planted.md
TYPES_PER_CONCEPT = 10
_DEFAULTS = DiscoverySettings()


class Method(NamedTuple):
    """A way to find concepts: where it is, what it is, and whether one tree holds every number of concepts.

    The module of one with a tree has ``linkage(X, seed=..., **options)`` that returns scipy's linkage matrix; that of
    any other ``fit(X, n_concepts, seed=..., **options)`` that returns (n,) int32 labels 0 .. n_concepts - 1, all in
    use.  Either may have ``check(n_concepts, **options)`` that refuses values of options before any work.
    """

    module: str
    about: str
    has_tree: bool


METHODS = {
    "ward": Method(
        "isogloss.discovery.ward",
        "agglomerative, Ward linkage; exact, no seed, every number of concepts from one tree; with the option sample "
        "on a part of the states, by a seed",
        has_tree=True,
    ),
    "kmeans": Method(
        "isogloss.discovery.kmeans",
        "Lloyd's k-means from a k-means|| start, on shards of the states; the same bits on any workers; needs a seed",
        has_tree=False,
    ),
}


def with_trees() -> str:
    """Return the names of the methods that grow trees, for messages."""
    return ", ".join(name for name, method in METHODS.items() if method.has_tree)


@checked
def find_method(name: str) -> Method:
    """Return a method by name; an unknown one is a ``UsageError`` that names the nearest."""
    if name not in METHODS:
        raise unknown("discovery method", name, METHODS)
    return METHODS[name]


@checked
def default_n_concepts(n_types: Index) -> int:
    """Return the default number of concepts: 600, but never more than a tenth of the types (and at least 2)."""
    return max(2, min(DEFAULT_CONCEPTS, n_types // TYPES_PER_CONCEPT))


@checked
def discover(
    states: LayerStates,
    *,
    n_concepts: int | None = None,
    method: str = _DEFAULTS.method,
    seed: Seed = _DEFAULTS.seeds[0],
    **options: Any,
) -> Concepts:
    """Cluster states into latent concepts (Dalvi et al. 2022; Mousi et al. 2024).

    States are clustered by Euclidean distance as they are, without scaling, as in the papers; all decisions are made in
    float64.  Concepts are numbered by their first token.

    Parameters
    ----------
    states : LayerStates
        (n, d) states with their tokens, from `States.at`; with ``mapped=True`` they are never in memory at once.
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
        For an unknown method or option, or more concepts than distinct states, or than a sample has.
    InputError
        If a state is NaN or infinite (the token is named).
    """
    chosen = find_method(method)
    check_finite(states)
    n = len(states.X)
    k = default_n_concepts(states.tokens["word"].n_unique()) if n_concepts is None else n_concepts
    check_options(method, options, n_concepts=k)
    module = import_module(chosen.module)
    tree = module.linkage(states.X, seed=seed, **options) if chosen.has_tree else None
    concepts = Concepts(
        tokens=states.tokens.select("row", "language", "sentence", "position", "word"),
        labels=np.zeros(n, np.int32),
        n_concepts=1,
        tree=tree,
        model=states.model,
        stack=states.stack,
        layer=states.layer,
        method=method,
        seed=seed,
    )
    if tree is not None:
        concepts = concepts.cut(n_concepts=k)
    else:
        check_n_concepts(k, n, _count_distinct(states.X, enough=k), concepts.space)
        labels = by_first(module.fit(states.X, k, seed=seed, **options))
        concepts = replace(concepts, labels=labels, n_concepts=int(labels.max()) + 1)
    return replace(concepts, centroids=centroids(states.X, concepts.labels))


def reads_in_parts(method: str, options: Mapping[str, Any]) -> bool:
    """Tell whether a method goes over the states so seldom that they may stay in their file."""
    return method == "kmeans" or bool(options.get("sample"))


@checked
def check_options(method: str, options: Mapping[str, Any], *, n_concepts: int = 1) -> None:
    """Refuse options that a method does not have, naming the nearest it has, and values it cannot work with.

    Raises
    ------
    UsageError
    """
    chosen = find_method(method)
    module = import_module(chosen.module)
    function = module.linkage if chosen.has_tree else module.fit
    taken = inspect.signature(function).parameters.values()
    names = [p.name for p in taken if p.kind is p.KEYWORD_ONLY and p.name != "seed"]
    for name in options:
        if name not in names:
            raise unknown(f"option of {method}", name, names)
    check_given(function, options, of=f"options of {method}")
    if hasattr(module, "check"):
        module.check(n_concepts, **options)


def _count_distinct(X: npt.NDArray[np.floating] | Rows, *, enough: int) -> int:
    """Count distinct rows; where `enough` come soon, as in real states, only about as many are read."""
    seen: set[bytes] = set()
    for part in parts(min(len(X), 2 * max(enough, 0))):
        for row in X[part]:
            seen.add((row + 0).tobytes())  # + 0 makes -0.0 equal to 0.0
            if len(seen) >= enough:
                return len(seen)
    return int((survey(X).first == np.arange(len(X))).sum())


def centroids(X: npt.NDArray[np.floating] | Rows, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Return (k, d) float32 means of the rows of every label, summed in float64 in the order of the rows."""
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), X.shape[1]))
    for part in parts(len(X)):
        add(sums, np.ascontiguousarray(X[part], dtype=np.float64), labels[part])
    return np.asarray(sums / counts[:, None], dtype=np.float32)
