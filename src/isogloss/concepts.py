"""Concepts: which token belongs to which cluster, and what the clusters are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.errors import InputError, unknown
from isogloss.store import read_table, write_table

COLUMNS = {"row": pl.Int64, "concept": pl.Int32}


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
    labels: npt.NDArray[np.int32]
    n_concepts: int
    centroids: npt.NDArray[np.float32] | None = None
    tree: npt.NDArray[np.float64] | None = None
    model: str = ""
    stack: str = ""
    layer: int = -1
    method: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.labels) != self.tokens.height:
            raise InputError(
                f"{len(self.labels)} labels for {self.tokens.height} tokens: they must be equal."
            )
        if len(self.labels) and (self.labels.min() < -1 or self.labels.max() >= self.n_concepts):
            raise InputError(
                f"Concept labels must lie in -1 .. {self.n_concepts - 1}; "
                f"got {self.labels.min()} .. {self.labels.max()}."
            )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the space, in token order."""
        return tuple(self.tokens["language"].unique(maintain_order=True).to_list())

    @property
    def space(self) -> str:
        """Name of the space, e.g. ``"en+de"``."""
        return "+".join(self.languages)

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

    def members(self, concept: int) -> pl.DataFrame:
        """Return the tokens of one concept."""
        if not 0 <= concept < self.n_concepts:
            raise unknown("concept", concept, [f"0 .. {self.n_concepts - 1}"])
        return self.tokens.filter(pl.Series(self.labels == concept))

    def write(self, path: Path) -> None:
        """Write ``row, concept`` to a Parquet file, atomically."""
        table = pl.DataFrame({"row": self.tokens["row"], "concept": self.labels}, schema=COLUMNS)
        write_table(path, table)

    @classmethod
    def read(cls, path: Path, tokens: pl.DataFrame, *, n_concepts: int, **facts: object) -> Concepts:
        """Read a file of `write`; `tokens` is the whole token table of the study."""
        table = read_table(path, COLUMNS)
        rows = table["row"].to_numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= tokens.height):
            raise InputError(f"{path} names token rows outside the token table of {tokens.height} rows.")
        labels = table["concept"].to_numpy().astype(np.int32)
        return cls(tokens[rows], labels, n_concepts, **facts)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"Concepts({self.space}, layer {self.layer}: {self.n_concepts} of {len(self.labels)} tokens)"
