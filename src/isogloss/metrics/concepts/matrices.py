"""Two clusterings and a dictionary as sparse matrices, and where every token stands in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics.concepts.matching import Int, coverage_of, incidence
from isogloss.metrics.statistics.bootstrap import Resamples

Entries = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matrices:
    """What CALIGN is computed from.

    Attributes
    ----------
    S, T, D : scipy.sparse.csr_array
        (V_s, K_s), (V_t, K_t) and (V_s, V_t), 0/1, indices sorted: which type occurs in which concept, and which target
        types are translations of which source type.  Target types are those clustered and those of the dictionary.
    source_words, target_words : polars.Series
        The types, in the order of rows.
    frequency : numpy.ndarray
        (V_t,) int64: clustered tokens of every target type; 0: only in the dictionary.
    """

    S: sp.csr_array
    T: sp.csr_array
    D: sp.csr_array
    source_words: pl.Series
    target_words: pl.Series
    frequency: npt.NDArray[np.int64]

    @classmethod
    def of(cls, source: Concepts, target: Concepts, dictionary: TranslationDictionary) -> Matrices:
        """Make them."""
        s, t, d = source.types(), target.types(), dictionary.table
        s_words = s["word"].unique().sort()
        t_words = pl.concat([t["word"], d["target"]]).unique().sort()
        s_index = pl.DataFrame({"word": s_words, "i": np.arange(len(s_words), dtype=np.int32)})
        t_index = pl.DataFrame({"word": t_words, "j": np.arange(len(t_words), dtype=np.int32)})
        s, t = s.join(s_index, on="word"), t.join(t_index, on="word")
        links = d.join(s_index, left_on="source", right_on="word").join(t_index, left_on="target", right_on="word")
        return cls(
            incidence(s["i"].to_numpy(), s["concept"].to_numpy(), (len(s_words), source.n_concepts)),
            incidence(t["j"].to_numpy(), t["concept"].to_numpy(), (len(t_words), target.n_concepts)),
            incidence(links["i"].to_numpy(), links["j"].to_numpy(), (len(s_words), len(t_words))),
            s_words,
            t_words,
            np.bincount(t["j"].to_numpy(), t["count"].to_numpy(), len(t_words)).astype(np.int64),
        )

    @property
    def sizes(self) -> tuple[Int, Int]:
        """(K_s,) and (K_t,) int32: types of every concept."""
        return self.S.sum(axis=0).astype(np.int32), self.T.sum(axis=0).astype(np.int32)

    @property
    def coverage(self) -> float:
        """The share of clustered source types with a translation among the clustered target types, or NaN."""
        return coverage_of(self.S, self.D, self.T)

    def type_counts(self, source: Concepts, resamples: Resamples) -> sp.csr_array:
        """Return (S.nnz, m) float32: how many tokens every type in every source concept has in every sentence."""
        tokens = source.table()
        return resamples.table(entries(tokens, self.source_words, self.S), tokens["sentence"], self.S.nnz)


def entries(tokens: pl.DataFrame, words: pl.Series, matrix: sp.csr_array) -> Entries:
    """Return (n,): the entry of `matrix` that every token (``word``, ``concept``) belongs to, by the order of its data.

    Rows of `matrix` are `words`, columns the concepts.
    """
    index = pl.DataFrame({"word": words, "i": np.arange(len(words), dtype=np.int64)})
    rows = tokens.join(index, on="word", how="left", maintain_order="left")["i"].to_numpy()
    cells = rows * matrix.shape[1] + tokens["concept"].to_numpy()
    coo = matrix.tocoo()
    keys = coo.coords[0].astype(np.int64) * matrix.shape[1] + coo.coords[1]
    order = np.argsort(keys)
    return np.asarray(order[np.searchsorted(keys[order], cells)])
