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
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.linalg
import scipy.sparse as sp

from isogloss.metrics.matching import SizeRule, incidence, match_counts
from isogloss.trees import Tree, cut

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MAX_CONCEPTS = 2000  # the finest cut; means of coarser ones are sums of its means
_KEPT_CUTS = 6  # of one space


@dataclass(frozen=True)
class Lexicon:
    """Every distinct word of every language, numbered.

    Attributes
    ----------
    languages : tuple of str
    words : list of str
        (n_types,)
    folded : polars.Series
        (n_types,) the words as they are searched: NFKC, without case.
    language : numpy.ndarray
        (n_types,) int16, an index into `languages`.
    counts : numpy.ndarray
        (n_types,) int64, tokens of the type in the corpus.
    type_of, language_of : numpy.ndarray
        (n_tokens,) int32 and int16.
    """

    languages: tuple[str, ...]
    words: list[str]
    folded: pl.Series
    language: npt.NDArray[np.int16]
    counts: Longs
    type_of: Ints
    language_of: npt.NDArray[np.int16]

    @classmethod
    def of(cls, tokens: pl.DataFrame, languages: Sequence[str]) -> Lexicon:
        """Number the words of a token table."""
        keys = ("language", "word")
        types = (
            tokens.select(keys)
            .group_by(keys, maintain_order=True)
            .agg(pl.len().cast(pl.Int64).alias("count"))
            .with_row_index("type")
        )
        number = {name: i for i, name in enumerate(languages)}
        own = types["language"].replace_strict(number, return_dtype=pl.Int16).to_numpy()
        type_of = tokens.select(keys).join(types, on=keys, how="left", maintain_order="left")["type"]
        numbers = type_of.to_numpy().astype(np.int32)
        return cls(
            tuple(languages),
            types["word"].to_list(),
            fold(types["word"]),
            own,
            types["count"].to_numpy(),
            numbers,
            own[numbers],
        )

    @cached_property
    def number(self) -> dict[tuple[int, str], int]:
        """(language, word) -> type."""
        return {key: i for i, key in enumerate(zip(self.language.tolist(), self.words, strict=True))}


def fold(words: pl.Series) -> pl.Series:
    """Return words as they are compared in a search: compatibility forms made one, case left out."""
    return words.str.normalize("NFKC").str.to_lowercase()


@dataclass(frozen=True)
class Cut:
    """A space divided into k concepts.

    Attributes
    ----------
    labels : numpy.ndarray
        (n,) int32, -1 = none.
    k : int
    order, bounds : numpy.ndarray
        Members of concept c are ``order[bounds[c]:bounds[c + 1]]``, rising.
    type_bounds, types, counts : numpy.ndarray
        Its types and their tokens in it, most frequent first, in the same way.
    by_language : numpy.ndarray
        (k, n_languages) int64 tokens.
    """

    labels: Ints
    k: int
    order: Longs
    bounds: Longs
    type_bounds: Longs
    types: Ints
    counts: Longs
    by_language: Longs

    @classmethod
    def of(cls, labels: Ints, k: int, rows: Longs, lexicon: Lexicon) -> Cut:
        """Sort out the members of every concept."""
        order = np.argsort(labels, kind="stable")
        bounds = np.searchsorted(labels[order], np.arange(k + 1))
        there = labels >= 0
        n_types = len(lexicon.words)
        keys = labels[there].astype(np.int64) * n_types + lexicon.type_of[rows[there]]
        pairs, counts = np.unique(keys, return_counts=True)
        concepts, types = np.divmod(pairs, n_types)
        ranked = np.lexsort((types, -counts, concepts))
        spoken = labels[there].astype(np.int64) * len(lexicon.languages) + lexicon.language_of[rows[there]]
        by_language = np.bincount(spoken, minlength=k * len(lexicon.languages))
        return cls(
            labels,
            k,
            order,
            bounds,
            np.searchsorted(concepts, np.arange(k + 1)),
            types[ranked].astype(np.int32),
            counts[ranked].astype(np.int64),
            by_language.reshape(k, -1).astype(np.int64),
        )

    @property
    def sizes(self) -> Longs:
        """(k,) tokens of every concept."""
        return np.diff(self.bounds)

    @cached_property
    def n_types(self) -> Ints:
        """(k,) types of every concept."""
        return np.diff(self.type_bounds).astype(np.int32)

    def members(self, concept: int) -> Longs:
        """Return the places of a concept's tokens in the space."""
        return self.order[self.bounds[concept] : self.bounds[concept + 1]]

    def words(self, concept: int) -> tuple[Ints, Longs]:
        """Return the types of a concept and their tokens in it, most frequent first."""
        part = slice(self.type_bounds[concept], self.type_bounds[concept + 1])
        return self.types[part], self.counts[part]

    def incidence(self, n_types: int) -> sp.csr_array:
        """Return which type occurs in which concept: (n_types, k), 0/1."""
        concepts = np.repeat(np.arange(self.k, dtype=np.int32), self.n_types)
        return incidence(self.types, concepts, (n_types, self.k))


class Space:
    """One set of languages at one layer: its tokens, and its concepts at any number that can be had.

    Parameters
    ----------
    rows : numpy.ndarray
        (n,) int64, rising token rows.
    lexicon : Lexicon
    tree : numpy.ndarray or None
        (n - 1, 4) linkage matrix.
    stored : callable
        A number of concepts -> its (n,) labels from the study; asked where there is no tree.
    states : callable
        () -> (n_tokens, d) states of the layer.
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
        """Return the space in k concepts; the last few cuts are kept."""
        if self.tree is not None:
            k = min(k, self.finest)
        with self._lock:
            if k in self._cuts:
                self._cuts.move_to_end(k)
                return self._cuts[k]
            labels = self._stored(k) if self.tree is None else cut(self.tree, n_clusters=k)
            found = self._cuts[k] = Cut.of(labels, k, self.rows, self.lexicon)
            if len(self._cuts) > _KEPT_CUTS:
                self._cuts.popitem(last=False)
            return found

    @cached_property
    def _fine(self) -> tuple[Longs, Longs, npt.NDArray[np.float64]]:
        """Of the finest cut: the first token of every concept, its tokens, and the sums of their states."""
        assert self.tree is not None
        labels = cut(self.tree, n_clusters=self.finest)
        first = np.unique(labels, return_index=True)[1]
        return first, np.bincount(labels, minlength=self.finest), self._sums(labels, self.finest)

    def _sums(self, labels: Ints, k: int) -> npt.NDArray[np.float64]:
        states = self._states()
        chosen = sp.csr_array(
            (np.ones(len(labels), np.float32), (np.maximum(labels, 0), np.arange(len(labels)))),
            shape=(k, len(labels)),
        )
        chosen.data[labels[chosen.indices] < 0] = 0  # tokens of no concept
        return np.asarray(chosen @ np.asarray(states[self.rows], np.float32), np.float64)

    def centroids(self, k: int) -> Floats:
        """Return the mean states of the k concepts: (k, d) float32."""
        found = self.cut(k)
        if self.tree is None:
            sums = self._sums(found.labels, found.k)
        else:  # coarser concepts are unions of finer ones
            first, _, fine_sums = self._fine
            parents = found.labels[first], np.arange(len(first))
            chosen = sp.csr_array((np.ones(len(first)), parents), shape=(found.k, len(first)))
            sums = np.asarray(chosen @ fine_sums)
        return (sums / np.maximum(found.sizes, 1)[:, None]).astype(np.float32)

    @cached_property
    def _axes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return centre and the two first principal axes of the concepts' means, weighted by their tokens."""
        if self.tree is None:
            raise AssertionError("axes of a space without a tree depend on k")
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

    Attributes
    ----------
    source, target, matched : numpy.ndarray
        int32: concepts, and the source types with a translation in the target.
    match : numpy.ndarray
        float64, `matched` over the source's types.
    n_eligible : int
        Source concepts with enough types.
    """

    source: Ints
    target: Ints
    matched: Ints
    match: npt.NDArray[np.float64]
    n_eligible: int


def match(source: Cut, target: Cut, translations: sp.csr_array, rule: SizeRule) -> Matches:
    """Match the concepts of two languages as `isogloss.metrics.calign` does, and keep every source's best."""
    n = translations.shape[0]
    found = match_counts(source.incidence(n), translations, target.incidence(n)).tocoo()
    s, t = found.coords
    kept = rule.admissible(source.n_types[s], target.n_types[t])
    s, t, matched = s[kept], t[kept], found.data[kept]
    share = matched / source.n_types[s]
    order = np.lexsort((t, s, -matched, -share))
    first = np.unique(s[order], return_index=True)[1]
    best = order[np.sort(first)]
    eligible = int(rule.eligible(source.n_types).sum())
    return Matches(
        s[best].astype(np.int32),
        t[best].astype(np.int32),
        matched[best].astype(np.int32),
        share[best],
        eligible,
    )


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
        {
            "concept": int(c),
            "n": int(counts[c]),
            "of_mine": counts[c] / len(rows),
            "of_theirs": counts[c] / sizes[c],
        }
        for c in best
        if counts[c]
    ]
