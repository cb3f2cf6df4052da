"""What the explorer looks things up in: words as numbers, a space cut at any number of concepts, matches of two cuts.

Everything here is an array over token rows, types or concepts, so that a question about 100,000 tokens is answered in
milliseconds.  Nothing here spells a file name or knows a question; see `views`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.linalg
import scipy.sparse as sp

from isogloss.errors import UsageError
from isogloss.metrics.concepts.matching import incidence, match_counts
from isogloss.settings import AlignmentSettings
from isogloss.trees import Tree, cut

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MAX_CONCEPTS = 2000  # the finest cut; means of coarser ones are sums of its means
_KEPT_CUTS = 6  # of one space


@dataclass(frozen=True)
class Lexicon:
    """Every distinct word of every language, numbered."""

    languages: tuple[str, ...]
    # of every type; folded are the words as they are searched, counts their tokens, language is an index
    words: list[str]
    folded: pl.Series
    language: npt.NDArray[np.int16]
    counts: Longs
    # of every token
    type_of: Ints
    language_of: npt.NDArray[np.int16]

    @classmethod
    def of(cls, tokens: pl.DataFrame, languages: Sequence[str]) -> Lexicon:
        """Number the words of a token table."""
        keys = ("language", "word")
        counts = tokens.group_by(keys, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("count"))
        types = counts.with_row_index("type")
        number = {name: i for i, name in enumerate(languages)}
        language = types["language"].replace_strict(number, return_dtype=pl.Int16).to_numpy()
        joined = tokens.select(keys).join(types, on=keys, how="left", maintain_order="left")
        type_of = joined["type"].to_numpy().astype(np.int32)
        words, count = types["word"], types["count"].to_numpy()
        return cls(tuple(languages), words.to_list(), fold(words), language, count, type_of, language[type_of])

    @cached_property
    def number(self) -> dict[tuple[int, str], int]:
        """(language, word) -> type."""
        return {key: i for i, key in enumerate(zip(self.language.tolist(), self.words, strict=True))}


def fold(words: pl.Series) -> pl.Series:
    """Return words as they are compared in a search: compatibility forms made one, case left out."""
    return words.str.normalize("NFKC").str.to_lowercase()


@dataclass(frozen=True)
class Cut:
    """A space divided into k concepts; what a question does not need is not worked out.

    `labels` are (n,), -1 = none, and `rows` (n,) the token rows.
    """

    labels: Ints
    k: int
    rows: Longs
    lexicon: Lexicon

    @cached_property
    def _order(self) -> tuple[Longs, Longs]:
        """Places of the tokens, concept by concept, and where each concept begins in them: (n,), (k + 1,)."""
        order = np.argsort(self.labels, kind="stable")
        return order, np.searchsorted(self.labels[order], np.arange(self.k + 1))

    @cached_property
    def _types(self) -> tuple[Longs, Ints, Longs]:
        """Types of the concepts, one concept after the other, most frequent first: beginnings, types, tokens."""
        n_types, there = len(self.lexicon.words), self.labels >= 0
        keys = self.labels[there].astype(np.int64) * n_types + self.lexicon.type_of[self.rows[there]]
        pairs, counts = np.unique(keys, return_counts=True)
        concepts, types = np.divmod(pairs, n_types)
        most = int(counts.max(initial=0))
        ranked = np.argsort((concepts * (most + 1) + most - counts) * n_types + types)
        begins = np.searchsorted(concepts, np.arange(self.k + 1))
        return begins, types[ranked].astype(np.int32), counts[ranked].astype(np.int64)

    @cached_property
    def sizes(self) -> Longs:
        """(k,) int64 tokens of every concept."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.k).astype(np.int64)

    @cached_property
    def by_language(self) -> Longs:
        """(k, n_languages) int64 tokens."""
        n, there = len(self.lexicon.languages), self.labels >= 0
        spoken = self.labels[there].astype(np.int64) * n + self.lexicon.language_of[self.rows[there]]
        return np.bincount(spoken, minlength=self.k * n).reshape(self.k, n).astype(np.int64)

    @cached_property
    def n_types(self) -> Ints:
        """(k,) int32 types of every concept."""
        return np.diff(self._types[0]).astype(np.int32)

    def members(self, concept: int) -> Longs:
        """Return the places of a concept's tokens in the space, rising."""
        order, begins = self._order
        return order[begins[concept] : begins[concept + 1]]

    def words(self, concept: int) -> tuple[Ints, Longs]:
        """Return the types of a concept and their tokens in it, most frequent first."""
        if "_types" in self.__dict__:
            begins, types, counts = self._types
            part = slice(begins[concept], begins[concept + 1])
            return types[part], counts[part]
        types, counts = np.unique(self.lexicon.type_of[self.rows[self.members(concept)]], return_counts=True)
        ranked = np.lexsort((types, -counts))
        return types[ranked], counts[ranked]

    def first_words(self, n: int) -> list[list[str]]:
        """Return the n most frequent words of every concept, one of several languages once."""
        begins, types, _ = self._types
        words = self.lexicon.words
        return [
            list(dict.fromkeys(words[t] for t in types[a : min(b, a + 2 * n)].tolist()))[:n]
            for a, b in pairwise(begins.tolist())
        ]

    @cached_property
    def incidence(self) -> sp.csr_array:
        """Which type occurs in which concept: (n_types, k), 0/1."""
        concepts = np.repeat(np.arange(self.k, dtype=np.int32), self.n_types)
        return incidence(self._types[1], concepts, (len(self.lexicon.words), self.k))


class Space:
    """One set of languages at one layer: its tokens, and its concepts at any number that can be had.

    `rows` are (n,) token rows, rising; `tree` is a linkage matrix, or None: then `stored` returns the study's (n,)
    labels for a number of concepts.  `states` returns the (n_tokens, d) states of the layer.
    """

    def __init__(
        self,
        rows: Longs,
        lexicon: Lexicon,
        *,
        tree: Tree | None,
        stored: Callable[[int], Ints],
        states: Callable[[], npt.NDArray[np.floating]],
    ) -> None:
        self.rows, self.lexicon, self.tree = rows, lexicon, tree
        self._stored, self._states = stored, states
        self._cuts: OrderedDict[int, Cut] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def finest(self) -> int:
        """The largest number of concepts a tree may be cut into."""
        distinct = len(self.rows) if self.tree is None else len(self.rows) - int((self.tree[:, 2] == 0).sum())
        return max(1, min(MAX_CONCEPTS, distinct))

    def cut(self, k: int) -> Cut:
        """Return the space in k concepts, fewer where a tree has no more; the last few cuts are kept."""
        if k < 1:
            raise UsageError(f"A number of concepts is at least 1; got {k}.")
        if self.tree is not None:
            k = min(k, self.finest)
        with self._lock:
            if k in self._cuts:
                self._cuts.move_to_end(k)
                return self._cuts[k]
            labels = self._stored(k) if self.tree is None else cut(self.tree, n_clusters=k)
            concepts = self._cuts[k] = Cut(labels, k, self.rows, self.lexicon)
            if len(self._cuts) > _KEPT_CUTS:
                self._cuts.popitem(last=False)
            return concepts

    @cached_property
    def _fine(self) -> tuple[Longs, Longs, npt.NDArray[np.float64]]:
        """Of the finest cut: the first token of every concept, its tokens, and the sums of their states."""
        assert self.tree is not None
        labels = cut(self.tree, n_clusters=self.finest)
        first = np.unique(labels, return_index=True)[1]
        return first, np.bincount(labels, minlength=self.finest), self._sums(labels, self.finest)

    def _sums(self, labels: Ints, k: int) -> npt.NDArray[np.float64]:
        n, states = len(labels), np.asarray(self._states()[self.rows], np.float32)
        chosen = sp.csr_array((np.ones(n, np.float32), (np.maximum(labels, 0), np.arange(n))), shape=(k, n))
        # tokens of no concept
        chosen.data[labels[chosen.indices] < 0] = 0
        return np.asarray(chosen @ states, np.float64)

    def centroids(self, k: int) -> Floats:
        """Return the mean states of the k concepts: (k, d) float32."""
        concepts = self.cut(k)
        if self.tree is None:
            sums = self._sums(concepts.labels, concepts.k)
        else:
            # coarser concepts are unions of finer ones
            first, _, fine_sums = self._fine
            parents = concepts.labels[first], np.arange(len(first))
            chosen = sp.csr_array((np.ones(len(first)), parents), shape=(concepts.k, len(first)))
            sums = np.asarray(chosen @ fine_sums)
        return (sums / np.maximum(concepts.sizes, 1)[:, None]).astype(np.float32)

    @cached_property
    def _axes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return centre and the two first principal axes of the concepts' means, weighted by their tokens."""
        _, counts, sums = self._fine
        return principal_axes(sums / counts[:, None], counts)

    def places(self, k: int) -> Floats:
        """Return where the k concepts lie on the map: (k, 2) float32.

        The axes are the first two principal components of the means of the finest concepts, so that a concept stays
        where it is while k changes; of a method without a tree those of its own means.
        """
        means = self.centroids(k)
        centre, axes = self._axes if self.tree is not None else principal_axes(means, self.cut(k).sizes)
        return np.asarray((means - centre) @ axes, np.float32)

    def neighbours(self, concept: int, k: int, n: int) -> list[tuple[int, float]]:
        """Return the n nearest concepts by the cosine of means, from which the mean of all is taken."""
        means = self.centroids(k)
        sizes = self.cut(k).sizes
        means = means - (means * sizes[:, None]).sum(axis=0) / max(int(sizes.sum()), 1)
        norms = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
        cosines = means @ means[concept] / (norms * norms[concept])
        cosines[concept] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(n, len(cosines) - 1)]
        return [(int(c), float(cosines[c])) for c in best]


def principal_axes(
    means: npt.NDArray[Any], weights: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the weighted centre (d,) and the two first principal axes (d, 2), the largest loading positive."""
    weights = weights / weights.sum()
    centre = weights @ means
    rest = (means - centre) * np.sqrt(weights)[:, None]
    d = rest.shape[1]
    if d < 2:
        return centre, np.eye(d, 2)
    axes = scipy.linalg.eigh(rest.T @ rest, subset_by_index=[d - 2, d - 1])[1][:, ::-1]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return centre, axes * np.where(signs == 0, 1, signs)


@dataclass(frozen=True)
class Matches:
    """The best counterpart of every source concept that has one of comparable size, best first.

    `source` and `target` are concepts, `matched` the source types with a translation in the target, `match` these over
    all the source's types; `n_eligible` source concepts have enough types.
    """

    source: Ints
    target: Ints
    matched: Ints
    match: npt.NDArray[np.float64]
    n_eligible: int


def match(source: Cut, target: Cut, translations: sp.csr_array, rule: AlignmentSettings) -> Matches:
    """Match the concepts of two languages as `isogloss.calign` does, and keep every source's best."""
    counts = match_counts(source.incidence, translations, target.incidence)
    s, t = np.repeat(np.arange(source.k), np.diff(counts.indptr)), counts.indices.astype(np.int64)
    kept = rule.admissible(source.n_types[s], target.n_types[t])
    begins = np.flatnonzero(np.diff(s[kept], prepend=-1))  # where the targets of the next source begin
    # the target with most matched types, of equals the first; both in one number
    both = counts.data[kept].astype(np.int64) * target.k + target.k - 1 - t[kept]
    best = np.maximum.reduceat(both, begins) if len(begins) else both
    sources, targets, matched = s[kept][begins], target.k - 1 - best % target.k, best // target.k
    share = matched / source.n_types[sources]
    order = np.lexsort((sources, -matched, -share))
    concepts, counterparts, types = (x[order].astype(np.int32) for x in (sources, targets, matched))
    return Matches(concepts, counterparts, types, share[order], int(rule.eligible(source.n_types).sum()))


def best_match(
    source: Cut, concept: int, target: Cut, translations: sp.csr_array, rule: AlignmentSettings
) -> tuple[int, float] | None:
    """Return the best counterpart of one source concept and its match, as `match` finds it; None without one."""
    reached = (translations[source.words(concept)[0]] @ target.incidence).tocsr()
    matched = np.bincount(reached.indices, minlength=target.k)
    allowed = (matched > 0) & rule.admissible(source.n_types[concept], target.n_types)
    if not allowed.any():
        return None
    best = int(np.where(allowed, matched, 0).argmax())
    return best, float(matched[best] / source.n_types[concept])


def flows(rows: Longs, other: Space, k: int, n: int) -> list[dict[str, Any]]:
    """Return the n concepts of another cut that most of these tokens are in.

    ``{"concept", "n" (tokens shared), "of_mine", "of_theirs" (shares)}``, most first.
    """
    if not len(rows):
        return []
    where = np.searchsorted(other.rows, rows)
    where[where == len(other.rows)] = 0
    cut_there = other.cut(k)
    labels = cut_there.labels[where[other.rows[where] == rows]]
    counts = np.bincount(labels[labels >= 0], minlength=cut_there.k)
    best = np.argsort(-counts, kind="stable")[:n]
    sizes = cut_there.sizes
    return [
        {"concept": int(c), "n": int(counts[c]), "of_mine": counts[c] / len(rows), "of_theirs": counts[c] / sizes[c]}
        for c in best
        if counts[c]
    ]
