"""Concepts: which token belongs to which cluster, and what the clusters are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Count, Dimensions, Index, Seed, checked
from isogloss.coordinates import Clustering, Space
from isogloss.errors import InputError, UsageError, unknown
from isogloss.html import card, grid, words
from isogloss.store import atomic, read_table, write_table, write_text
from isogloss.trees import Tree, cut, nested, newick, top

COLUMNS = {"row": pl.Int64, "concept": pl.Int32}
JOIN_COLUMNS = {"left": pl.Int64, "right": pl.Int64, "height": pl.Float64, "size": pl.Int64}
TREE_COLUMNS = {"row": pl.Int64, **JOIN_COLUMNS}
TREE_WRITERS = {".nwk": newick, ".json": nested}
_SHOWN, _WORDS = 8, 6  # concepts in a notebook, and words of each language


@checked
@dataclass(frozen=True)
class Concepts:
    """Latent concepts of one space at one layer.

    Attributes
    ----------
    tokens : polars.DataFrame
        The clustered tokens: ``row, language, sentence, position, word``; rising rows.
    labels : numpy.ndarray
        (n,) int32, the concept of every token, 0 .. n_concepts - 1; -1 = none.
    n_concepts : int
    centroids : numpy.ndarray or None
        (n_concepts, d) float32, the mean state of every concept, when discovery made them.
    tree : numpy.ndarray or None
        (n - 1, 4) float64 linkage matrix in scipy's form, when the method has one.
    model, stack, method : str
    layer, seed : int
    """

    tokens: pl.DataFrame
    labels: Annotated[npt.NDArray[np.int32], Dimensions(1, "whole numbers")]
    n_concepts: Index
    centroids: npt.NDArray[np.float32] | None = None
    tree: npt.NDArray[np.float64] | None = None
    model: str = ""
    stack: str = ""
    layer: int = -1
    method: str = ""
    seed: Seed = 0

    def __post_init__(self) -> None:
        if len(self.labels) != self.tokens.height:
            raise InputError(f"{len(self.labels)} labels for {self.tokens.height} tokens: they must be equal.")
        if len(self.labels) and (self.labels.min() < -1 or self.labels.max() >= self.n_concepts):
            labels = f"{self.labels.min()} .. {self.labels.max()}"
            raise InputError(f"Concept labels must lie in -1 .. {self.n_concepts - 1}; got {labels}.")

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the space, in token order."""
        return tuple(self.tokens["language"].unique(maintain_order=True).to_list())

    @property
    def space(self) -> str:
        """Name of the space, e.g. ``"en+de"``."""
        return Space(self.languages).name

    def table(self) -> pl.DataFrame:
        """Return the clustered tokens with their ``concept``; tokens of no concept are left out."""
        labels = pl.Series("concept", self.labels, dtype=pl.Int32)
        return self.tokens.with_columns(labels).filter(pl.col("concept") >= 0)

    def types(self) -> pl.DataFrame:
        """Return one row a concept, language and type: ``concept, language, word, count``, most frequent first."""
        return (
            self.table()
            .group_by("concept", "language", "word")
            .agg(pl.len().cast(pl.Int64).alias("count"))
            .sort("concept", "language", "count", "word", descending=[False, False, True, False])
        )

    @checked
    def members(self, concept: int) -> pl.DataFrame:
        """Return the tokens of one concept."""
        if not 0 <= concept < self.n_concepts:
            raise unknown("concept", concept, [f"0 .. {self.n_concepts - 1}"])
        return self.tokens.filter(pl.Series(self.labels == concept))

    @checked
    def cut(self, *, n_concepts: int | None = None, height: float | None = None) -> Concepts:
        """Return the same tokens in another number of concepts, from the tree that was grown once.

        Parameters
        ----------
        n_concepts : int, optional
            Exactly so many; at most the number of distinct states, or of the sample that the tree began with.
        height : float, optional
            Or all merges up to this height (of Ward linkage: the root of twice the rise of the sum of squares).

        Returns
        -------
        Concepts
            Numbered by their first token.  With centroids if these have some and the new concepts are unions of them.

        Raises
        ------
        UsageError
            If there is no tree, or a number of concepts that cannot be.
        """
        tree = self._tree()
        if n_concepts is not None:
            check_n_concepts(n_concepts, len(self.labels), self.n_distinct, self.space)
        labels = cut(tree, n_clusters=n_concepts, height=height)
        k = int(labels.max()) + 1
        means = None
        if self.centroids is not None and k <= self.n_concepts:
            parents = np.zeros(self.n_concepts, np.int64)
            parents[self.labels] = labels
            counts = np.bincount(self.labels, minlength=self.n_concepts)
            sums = np.zeros((k, self.centroids.shape[1]))
            np.add.at(sums, parents, self.centroids * counts[:, None].astype(np.float64))
            means = (sums / np.bincount(labels)[:, None]).astype(np.float32)
        return replace(self, labels=labels, n_concepts=k, centroids=means)

    @property
    def n_distinct(self) -> int:
        """How many concepts can be cut from the tree at most: equal states, and cells of a sample, stay together."""
        return len(self.labels) - int((self._tree()[:, 2] == 0).sum())

    def _tree(self) -> Tree:
        if self.tree is None:
            raise UsageError(f"Concepts by {self.method or 'this method'} have no tree. Discover them with ward.")
        return self.tree

    @checked
    def names(self, *, n_words: Count = 3) -> list[str]:
        """Return a name for every concept: its number and its most frequent words, each once."""
        first = self.types().sort("concept", "count", "word", descending=[False, True, False])
        distinct = pl.col("word").unique(maintain_order=True).head(n_words)
        frequent = dict(first.group_by("concept", maintain_order=True).agg(distinct).iter_rows())
        return [f"{c} {', '.join(frequent.get(c, []))}".strip() for c in range(self.n_concepts)]

    @checked
    def export_tree(self, path: str | Path, *, n_words: Count = 3) -> None:
        """Write the tree for other programs, in the form that the name's ending says.

        ``.npy``: scipy's linkage matrix of all tokens.  ``.nwk``: Newick, ``.json``: nested nodes, both of the tree
        above the concepts, whose leaves are the concepts by `names`.

        Raises
        ------
        UsageError
            If there is no tree, or the ending is another one.
        """
        path, tree = Path(path), self._tree()
        if path.suffix == ".npy":
            with atomic(path) as f:
                np.save(f, tree)
        elif path.suffix in TREE_WRITERS:
            above = top(tree, self.n_concepts)[0]
            write_text(path, TREE_WRITERS[path.suffix](above, self.names(n_words=n_words)) + "\n")
        else:
            raise unknown("ending for a tree", path.suffix, [".npy", *TREE_WRITERS])

    @checked
    def write_tree(self, path: Path) -> None:
        """Write the tree to a Parquet file, atomically: leaf i is the token of ``row`` i, merge i stands beside it."""
        joins = pl.DataFrame(self._tree(), schema=JOIN_COLUMNS).cast(JOIN_COLUMNS)  # type: ignore[arg-type]
        last = pl.DataFrame([dict.fromkeys(JOIN_COLUMNS)], schema=JOIN_COLUMNS)  # n leaves, n - 1 merges
        write_table(path, pl.concat([self.tokens.select("row"), pl.concat([joins, last])], how="horizontal"))

    @classmethod
    @checked
    def read_tree(cls, path: Path, tokens: pl.DataFrame, clustering: Clustering | None = None) -> Concepts:
        """Read a file of `write_tree`, uncut: as one concept; `tokens` is the whole token table of the study."""
        table = read_table(path, TREE_COLUMNS)
        tree = table[:-1].select(pl.col(list(JOIN_COLUMNS)).cast(pl.Float64)).to_numpy()
        kept = _tokens_of(path, table["row"].to_numpy(), tokens)
        facts = (clustering.facts() if clustering else {}) | {"n_concepts": 1}
        return cls(kept, np.zeros(kept.height, np.int32), tree=np.ascontiguousarray(tree), **facts)

    @checked
    def write(self, path: Path) -> None:
        """Write ``row, concept`` to a Parquet file, atomically."""
        write_table(path, pl.DataFrame({"row": self.tokens["row"], "concept": self.labels}, schema=COLUMNS))

    @classmethod
    @checked
    def read(cls, path: Path, tokens: pl.DataFrame, clustering: Clustering) -> Concepts:
        """Read a file of `write`; `tokens` is the whole token table of the study."""
        table = read_table(path, COLUMNS)
        kept = _tokens_of(path, table["row"].to_numpy(), tokens)
        return cls(kept, table["concept"].to_numpy().astype(np.int32), **clustering.facts())

    def __repr__(self) -> str:
        return f"Concepts({self.space}, layer {self.layer}: {self.n_concepts} of {len(self.labels)} tokens)"

    def _repr_html_(self) -> str:
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=self.n_concepts)
        biggest = [int(c) for c in np.argsort(-sizes, kind="stable")[:_SHOWN] if sizes[c]]
        types = self.types().filter(pl.col("concept").is_in(biggest))
        lists = types.group_by("concept", "language").agg(pl.col("word").head(_WORDS))
        frequent = {(concept, language): first for concept, language, first in lists.iter_rows()}
        rows = [(c, sizes[c], *(words(frequent.get((c, x), ()), x) for x in self.languages)) for c in biggest]
        facts = {
            self.space: f"layer {self.layer} of {self.model} {self.stack}".strip(),
            "method": self.method or None,
            "concepts": self.n_concepts,
            "tokens": f"{len(self.labels):,}",
        }
        head = ("concept", "tokens", *self.languages)
        rest = int((sizes > 0).sum()) - len(rows)
        note = f"The biggest; {rest:,} more. Words: the most frequent first." if rest > 0 else ""
        return card("Concepts", facts, grid(head, rows), note=note)


def check_n_concepts(n_concepts: int, n: int, n_distinct: int, space: str) -> None:
    """Refuse a number of concepts that n states cannot have: equal states, and cells of a sample, are never parted."""
    if not 1 <= n_concepts <= n_distinct:
        raise UsageError(
            f"n_concepts = {n_concepts} is not possible for {n} states ({n_distinct} distinct) of {space}. "
            f"Choose a number from 1 to {n_distinct}, or take in more text (a tree on a sample: a larger sample)."
        )


def _tokens_of(path: Path, rows: npt.NDArray[np.int64], tokens: pl.DataFrame) -> pl.DataFrame:
    if len(rows) and (rows.min() < 0 or rows.max() >= tokens.height):
        raise InputError(f"{path} names token rows outside the token table of {tokens.height} rows.")
    return tokens[rows]
