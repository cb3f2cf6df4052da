"""Subwords: the lines of a corpus as a model reads them, and the word that every subword belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss import models
from isogloss.corpus import Corpus
from isogloss.errors import InputError

Ints = npt.NDArray[np.int64]

_LINES_AT_A_TIME = 2_000  # tokenised together; bounds the memory of their offsets


@dataclass(frozen=True)
class Subwords:
    """All lines of a corpus as subwords, end to end.

    Attributes
    ----------
    ids, owners : numpy.ndarray
        (n,) int64, every subword's id and the token row it belongs to (-1 = none).
    bounds : numpy.ndarray
        (n_lines + 1,) int64; line i is ``bounds[i]:bounds[i + 1]``.  A line is a row of ``corpus.sentences``.
    mates : numpy.ndarray
        (n_lines,) int64, the line that the encoder reads while the decoder reads this one; -1 = none.
    n_truncated : int
        Lines cut at the model's limit.
    """

    ids: Ints
    owners: Ints
    bounds: Ints
    mates: Ints
    n_truncated: int

    def line(self, i: int) -> tuple[Ints, Ints]:
        """Return ids and owners of one line."""
        here = slice(self.bounds[i], self.bounds[i + 1])
        return self.ids[here], self.owners[here]

    @property
    def costs(self) -> Ints:
        """(n_lines,) int64, subwords that the model reads for every line."""
        lengths = np.diff(self.bounds)
        return lengths + np.where(self.mates >= 0, lengths[self.mates], 0)

    def order(self) -> Ints:
        """Return the lines with a word in them, longest first (a stable order)."""
        useful = np.unique(np.searchsorted(self.bounds, np.flatnonzero(self.owners >= 0), side="right") - 1)
        return useful[np.argsort(-self.costs[useful], kind="stable")]


def batches(order: Ints, costs: Ints, batch_tokens: int) -> Iterator[Ints]:
    """Cut lines, longest first, into batches whose padded size stays within the budget.

    The cut depends on nothing before it: from the end of any batch on, the same batches follow.
    """
    begin = 0
    while begin < len(order):
        size = max(1, batch_tokens // int(costs[order[begin]]))
        yield order[begin : begin + size]
        begin += size


def tokenise(corpus: Corpus, model: models.Loaded, condition: Mapping[str, str]) -> Subwords:
    """Tokenise all lines whole and give every subword to its word.

    Parameters
    ----------
    corpus : Corpus
    model : Loaded
    condition : mapping of str to str
        Language -> language that the encoder reads; empty where there is no such encoder.

    Raises
    ------
    InputError
        If a line has no line to condition on, or words have no text.
    """
    # characters are counted through the whole corpus, so that one search finds the owners of many lines
    mates = _mates(corpus, condition)
    texts = corpus.sentences["text"].to_list()
    base = np.concatenate([[0], np.cumsum([len(text) + 1 for text in texts])]).astype(np.int64)
    lines = corpus.sentences.select("language", "sentence").with_row_index("line")
    words = corpus.words.join(lines, on=["language", "sentence"], how="left", maintain_order="left")
    if words["line"].null_count():
        lost = words.filter(pl.col("line").is_null()).row(0, named=True)
        raise InputError(
            f"Corpus: '{lost['language']}' has words but no text for sentence {lost['sentence']}."
        )
    shift = base[words["line"].to_numpy()]
    starts, ends = (words[side].to_numpy().astype(np.int64) + shift for side in ("start", "end"))
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    spaces = models.space_marks(model)
    ids, owned, lengths, n_truncated = [], [], [0], 0
    for low in range(0, len(texts), _LINES_AT_A_TIME):
        found = models.encode(model, texts[low : low + _LINES_AT_A_TIME])
        sizes = [len(x.ids) for x in found]
        spans = np.array([span for x in found for span in x.offsets], dtype=np.int64).reshape(-1, 2)
        # an empty span stays empty when shifted, so special subwords find no owner
        spans += np.repeat(base[low : low + len(found)], sizes)[:, None]
        near = slice(*np.searchsorted(starts, base[[low, low + len(found)]]))
        owner = owners(spans[:, 0], spans[:, 1], starts[near], ends[near])
        ids.append(np.array([i for x in found for i in x.ids], dtype=np.int64))
        owner[np.isin(ids[-1], spaces)] = -1
        cut = [i for i, x in enumerate(found) if x.overflowing]
        _forget_cut_words(owner, spans[:, 1], ends[near], np.cumsum([0, *sizes]), cut)
        owned.append(np.where(owner >= 0, np.append(order[near], -1)[owner], -1))
        lengths += sizes
        n_truncated += len(cut)
    bounds = np.cumsum(lengths, dtype=np.int64)
    return Subwords(np.concatenate(ids), np.concatenate(owned), bounds, mates, n_truncated)


def _forget_cut_words(owner: Ints, ends: Ints, word_ends: Ints, bounds: Ints, cut: Sequence[int]) -> None:
    """Take the subwords from a word that the model's limit goes through: half a word has no state."""
    for i in cut:
        own = owner[bounds[i] : bounds[i + 1]]
        last = own.max(initial=-1)
        if last >= 0 and word_ends[last] > ends[bounds[i] : bounds[i + 1]].max():
            own[own == last] = -1


def owners(starts: Ints, ends: Ints, word_starts: Ints, word_ends: Ints) -> Ints:
    """Give every subword to the word with which it shares most characters.

    Parameters
    ----------
    starts, ends : numpy.ndarray
        (n,) int64, half-open character spans of subwords; an empty span (special subwords) has no owner.
    word_starts, word_ends : numpy.ndarray
        (m,) int64, spans of words, starts rising; they may overlap.

    Returns
    -------
    numpy.ndarray
        (n,) int64 index of the word, the first one on ties; -1 = none.

    Examples
    --------
    >>> at = np.array
    >>> owners(at([0, 3, 6]), at([3, 6, 6]), at([0, 4]), at([3, 6]))  # "the" and " no", then an empty one
    array([ 0,  1, -1])
    """
    first = np.searchsorted(np.maximum.accumulate(word_ends), starts, side="right")
    stop = np.searchsorted(word_starts, ends, side="left")  # candidates are first .. stop - 1
    owner = np.full(len(starts), -1, dtype=np.int64)
    best = np.zeros(len(starts), dtype=np.int64)
    active = np.flatnonzero((ends > starts) & (first < stop))
    word = first[active]
    while len(active):
        shared = np.minimum(ends[active], word_ends[word]) - np.maximum(starts[active], word_starts[word])
        better = shared > best[active]
        best[active[better]] = shared[better]
        owner[active[better]] = word[better]
        more = word + 1 < stop[active]
        active, word = active[more], word[more] + 1
    return owner


def _mates(corpus: Corpus, condition: Mapping[str, str]) -> Ints:
    """Return for every line the line that conditions it, -1 where nothing does."""
    lines = corpus.sentences.select("language", "sentence").with_row_index("line")
    if not condition:
        return np.full(lines.height, -1, dtype=np.int64)
    wanted = lines.with_columns(pl.col("language").replace_strict(condition))
    found = wanted.join(lines, on=["language", "sentence"], how="left", maintain_order="left", suffix="_mate")
    lacking = found.filter(pl.col("line_mate").is_null())
    if lacking.height:
        row = lacking.row(0, named=True)
        raise InputError(
            f"{lacking.height} sentences have no line for the encoder to read, the first is sentence "
            f"{row['sentence']}, which '{row['language']}' lacks. Use a parallel corpus, another condition, "
            "or the encoder's states."
        )
    return found["line_mate"].to_numpy().astype(np.int64)
