"""Alignment by the similarity of word states of a multilingual model.

After Jalili Sabet, Dufter, Yvon and Schütze, "SimAlign: High Quality Word Alignments without Parallel
Training Data using Static and Contextualized Embeddings", Findings of EMNLP 2020.  The states are those
that `extract` wrote, so the aligner itself runs no model.

A dictionary made this way is circular when the model under study gave the states: it then holds the
very similarities that CALIGN asks about.  ``WordLinks.aligner`` is ``model:NAME:LAYER`` so that later
steps can see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.aligners.protocol import Bitext, Directions, Links
from isogloss.arguments import checked
from isogloss.errors import UsageError, unknown
from isogloss.progress import progress
from isogloss.states import States

MATCHINGS = ("itermax", "argmax")

_DISCOUNT = 0.9  # the paper's factor for a word that is linked already
_ROUNDS = 2  # the paper's n_max

Matrix = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]


@checked
@dataclass(frozen=True)
class Model:
    """SimAlign's argmax and itermax on states at one layer; deterministic.

    Attributes
    ----------
    states : States
        Of the corpus that is aligned, in both languages.  All tokens that have a state take part, whatever is
        selected.
    layer : int
        One of the layers of `states`; the paper found layer 8 of 12 the best.
    matching : str
        ``"argmax"``: every word's most similar one, in two directions (``symmetrise="intersection"`` makes the
        paper's Argmax of them).  ``"itermax"``: mutual best links, then once more with
        the similarities of linked words lowered by a tenth and those of linked pairs set to zero; final links.
    """

    states: States
    layer: int
    matching: str = "itermax"

    def __post_init__(self) -> None:
        if self.layer not in self.states.arrays:
            raise unknown("layer", self.layer, [str(x) for x in self.states.layers])
        if self.matching not in MATCHINGS:
            raise unknown("matching", self.matching, MATCHINGS)

    @property
    def name(self) -> str:
        """``model:NAME:LAYER``."""
        return f"model:{self.states.model}:{self.layer}"

    def align(self, bitext: Bitext) -> Directions | Links:
        """Link every sentence pair by itself."""
        source = self._rows(bitext, bitext.source, bitext.source_words)
        target = self._rows(bitext, bitext.target, bitext.target_words)
        forward, backward, final = [], [], []
        with progress(f"Aligning {bitext.source}-{bitext.target}", len(bitext)) as advance:
            for pair, (left, right) in enumerate(zip(source, target, strict=True)):
                advance(1)
                at, to = np.flatnonzero(left >= 0), np.flatnonzero(right >= 0)
                if not (len(at) and len(to)):
                    continue
                similarity = self._similarity(left[at], right[to])
                if self.matching == "itermax":
                    i, j = itermax(similarity)
                    final.append(_stack(pair, at[i], to[j]))
                else:
                    forward.append(_stack(pair, at[similarity.argmax(axis=0)], to))
                    backward.append(_stack(pair, at, to[similarity.argmax(axis=1)]))
        none = [np.empty((0, 3), dtype=np.int32)]
        if self.matching == "itermax":
            return np.concatenate(final + none)
        return Directions(np.concatenate(forward + none), np.concatenate(backward + none))

    def _similarity(self, left: Rows, right: Rows) -> Matrix:
        """Return (1 + cosine) / 2, (len(left), len(right)), in [0, 1]."""
        array = self.states.arrays[self.layer]
        X, Y = (array[rows].astype(np.float32) for rows in (left, right))
        X /= np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.float32(1e-12))
        Y /= np.maximum(np.linalg.norm(Y, axis=1, keepdims=True), np.float32(1e-12))
        similarity: Matrix = (1 + X @ Y.T) / 2
        return similarity

    def _rows(self, bitext: Bitext, language: str, words: Sequence[list[str]]) -> list[Rows]:
        """Return the token rows of every sentence's words, -1 for a word without a state."""
        tokens = self.states.tokens.filter(pl.col("language") == language).sort("sentence", "position")
        row = pl.when(pl.col("n_subwords") > 0).then(pl.col("row")).otherwise(-1)
        lists = tokens.group_by("sentence", maintain_order=True).agg("word", row.alias("row"))
        by_sentence = {s: (w, np.array(r, dtype=np.int64)) for s, w, r in lists.iter_rows()}
        of_sentences = []
        for sentence, expected in zip(bitext.sentences.tolist(), words, strict=True):
            in_states, rows = by_sentence.get(sentence, ([], np.empty(0, dtype=np.int64)))
            if in_states != expected:
                raise UsageError(
                    f"The states are not of this corpus: sentence {sentence} of '{language}' has the words "
                    f"'{' '.join(expected)[:60]}' there and '{' '.join(in_states)[:60]}' in the states. "
                    "Extract states from the corpus that you align."
                )
            of_sentences.append(rows)
        return of_sentences


def itermax(similarity: Matrix) -> tuple[Rows, Rows]:
    """Link mutually best pairs, then look again among the words with fewer links (SimAlign, algorithm 1).

    Parameters
    ----------
    similarity : numpy.ndarray
        (m, n), not negative.

    Returns
    -------
    source, target : numpy.ndarray
        int64 positions of the links, by source position, then target position.

    Examples
    --------
    >>> i, j = itermax(np.array([[0.9, 0.1], [0.2, 0.3], [0.1, 0.8]]))
    >>> list(zip(i.tolist(), j.tolist()))
    [(0, 0), (1, 1), (2, 1)]
    """
    linked = np.zeros(similarity.shape, dtype=bool)
    for _ in range(_ROUNDS):
        source_used = np.any(linked, axis=1, keepdims=True)
        target_used = np.any(linked, axis=0, keepdims=True)
        weight = np.where(source_used | target_used, _DISCOUNT, 1.0) * ~(source_used & target_used)
        linked |= _mutual(similarity * weight)
    source, target = np.nonzero(linked)
    return source, target


def _mutual(similarity: Matrix) -> npt.NDArray[np.bool_]:
    """Return where an entry is the first highest of its row and of its column, and above zero."""
    best = np.zeros(similarity.shape, dtype=bool)
    rows, columns = np.arange(len(similarity)), similarity.argmax(axis=1)
    back = similarity.argmax(axis=0)
    best[rows, columns] = (back[columns] == rows) & (similarity[rows, columns] > 0)
    return best


def _stack(pair: int, source: Rows, target: Rows) -> Links:
    return np.stack([np.full_like(source, pair), source, target], axis=1).astype(np.int32)
