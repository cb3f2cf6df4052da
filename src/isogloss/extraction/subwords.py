"""Subwords: the lines of a corpus as a model reads them, and the word that every subword belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss import models
from isogloss.corpus import Corpus
from isogloss.errors import InputError

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lines:
    """The lines of a corpus, the rows of its sentences, ready to be read a window at a time.

    The words of line i are the token rows ``bounds[i]:bounds[i + 1]``.  `mates`, (n_lines,) int64, are the lines that
    the encoder reads while the decoder reads these; empty where there is no such encoder.  `prefix` is text put before
    every line that an encoder or a decoder-only model reads.
    """

    corpus: Corpus
    bounds: Ints
    mates: Ints
    prefix: str

    def __len__(self) -> int:
        return len(self.bounds) - 1


@dataclass(frozen=True)
class Subwords:
    """A window of lines as subwords, end to end; line `first` + i is ``bounds[i]:bounds[i + 1]``.

    `ids` and `owners`, (n,) int64, are every subword's id and the token row it belongs to (-1 = none); `text`, (n,)
    bool, says whether it stands for text of the line: it is neither special nor of the prefix.  `source_ids` and
    `source_bounds` are likewise what the encoder reads while the decoder reads the line; empty where there is no such
    encoder.  `cut` are the lines cut at the model's limit, counted from `first`.
    """

    first: int
    ids: Ints
    owners: Ints
    text: Flags
    bounds: Ints
    source_ids: Ints
    source_bounds: Ints
    cut: tuple[int, ...]

    def line(self, i: int) -> slice:
        """Return where line `first` + i lies."""
        return slice(self.bounds[i], self.bounds[i + 1])

    def source(self, i: int) -> Ints:
        """Return the ids that the encoder reads beside line `first` + i."""
        return self.source_ids[self.source_bounds[i] : self.source_bounds[i + 1]]

    @property
    def costs(self) -> Ints:
        """(n_lines,) int64, subwords that the model reads for every line."""
        lengths = np.diff(self.bounds)
        return lengths + np.diff(self.source_bounds) if len(self.source_bounds) else lengths

    @property
    def shapes(self) -> Ints:
        """(n_lines,) int64, a number for every pair of lengths: of a line, and of what the encoder reads."""
        lengths = np.diff(self.bounds)
        return lengths + (self.costs - lengths) * (int(lengths.max(initial=0)) + 1)

    def order(self, *, equal_lengths: bool = False) -> Ints:
        """Return the lines with text in them, longest first (a stable order); those of one shape together if asked."""
        useful = np.unique(np.searchsorted(self.bounds, np.flatnonzero(self.text), side="right") - 1)
        keys = (self.shapes[useful], -self.costs[useful]) if equal_lengths else (-self.costs[useful],)
        return useful[np.lexsort(keys)]


def next_batch(order: Ints, begin: int, costs: Ints, batch_tokens: int, *, shapes: Ints | None = None) -> Ints:
    """Return the lines from `begin` on, longest first, whose padded size stays within the budget; at least one.

    With `shapes`, only lines of the same shape.  It depends on nothing before it: from the end of any batch on, the
    same batches follow.
    """
    batch = order[begin : begin + max(1, batch_tokens // int(costs[order[begin]]))]
    if shapes is not None:
        other = np.flatnonzero(shapes[batch] != shapes[batch[0]])
        batch = batch[: other[0]] if len(other) else batch
    return batch


def batches(order: Ints, costs: Ints, batch_tokens: int, *, shapes: Ints | None = None) -> Iterator[Ints]:
    """Cut lines, longest first, into batches."""
    begin = 0
    while begin < len(order):
        batch = next_batch(order, begin, costs, batch_tokens, shapes=shapes)
        yield batch
        begin += len(batch)


def lines_of(corpus: Corpus, condition: Mapping[str, str], prefix: str = "") -> Lines:
    """Find the words of every line and, where an encoder reads another one, its mate.

    Parameters
    ----------
    corpus : Corpus
    condition : mapping of str to str
        Language -> language that the encoder reads; empty where there is no such encoder.
    prefix : str

    Raises
    ------
    InputError
        If a line has no line to condition on, words have no text, or do not stand in the order of the lines.
    """
    key = ["language", "sentence"]
    lines = corpus.sentences.select(key).with_row_index("line")
    runs = corpus.words.group_by(key, maintain_order=True).len().join(lines, on=key, how="left", maintain_order="left")
    if runs["line"].null_count():
        lost = runs.filter(pl.col("line").is_null()).row(0, named=True)
        raise InputError(f"Corpus: '{lost['language']}' has words but no text for sentence {lost['sentence']}.")
    starts = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in key).sum()
    scattered = corpus.words.select(starts).item() + 1 != runs.height
    if scattered or not runs["line"].is_sorted():
        raise InputError("Corpus: words must stand in the order of the sentences, all words of one together.")
    counts = np.zeros(lines.height + 1, dtype=np.int64)
    counts[runs["line"].to_numpy().astype(np.int64) + 1] = runs["len"].to_numpy()
    return Lines(corpus, np.cumsum(counts), _mates(lines, condition), prefix)


def tokenise(lines: Lines, window: range, model: models.Loaded) -> Subwords:
    """Tokenise a window of lines, each whole, and give every subword to its word."""
    table = lines.corpus.sentences[window.start : window.stop]
    texts, languages = table["text"].to_list(), table["language"].to_list()
    conditioned = bool(len(lines.mates))
    check_prefix(model, lines.prefix)
    encodings = _encode(model, texts, languages, "" if conditioned else lines.prefix)
    ids, bounds = _end_to_end(encodings)
    sizes = np.diff(bounds)
    spans = np.array([span for x in encodings for span in x.offsets], dtype=np.int64).reshape(-1, 2)
    special = np.array([i for x in encodings for i in x.special_tokens_mask], dtype=bool)
    before = 0 if conditioned else len(lines.prefix)
    # those of the prefix become empty
    spans = np.maximum(spans - before, 0)
    filled = spans[:, 1] > spans[:, 0]
    # characters are counted through the window, so that one search finds the owners of all its lines;
    # an empty span stays empty when shifted, so that special subwords find no owner
    base = np.cumsum([0, *(len(text) + 1 for text in texts)], dtype=np.int64)
    spans += np.repeat(base[:-1], sizes)[:, None]
    first, last = lines.bounds[window.start], lines.bounds[window.stop]
    words = lines.corpus.words[int(first) : int(last)].select("start", "end")
    shift = np.repeat(base[:-1], np.diff(lines.bounds[window.start : window.stop + 1]))
    starts, ends = (words[side].to_numpy().astype(np.int64) + shift for side in ("start", "end"))
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    owner = owners(spans[:, 0], spans[:, 1], starts, ends)
    owner[np.isin(ids, models.space_marks(model))] = -1
    cut = [i for i, x in enumerate(encodings) if x.overflowing]
    for i in cut:
        # half a word has no state: words that reach into what was cut off lose their subwords
        lost = base[i] + max(_first_start(encodings[i].overflowing[0]) - before, 0)
        of_line = owner[bounds[i] : bounds[i + 1]]
        of_line[(of_line >= 0) & (ends[of_line] > lost)] = -1
    rows = np.where(owner >= 0, np.append(order, -1)[owner] + first, -1)
    source_ids, source_bounds = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if conditioned:
        mates = lines.corpus.sentences[lines.mates[window.start : window.stop]]
        read = _encode(model, mates["text"].to_list(), mates["language"].to_list(), lines.prefix)
        source_ids, source_bounds = _end_to_end(read)
    return Subwords(window.start, ids, rows, filled & ~special, bounds, source_ids, source_bounds, cut=tuple(cut))


def check_prefix(model: models.Loaded, prefix: str) -> None:
    """Refuse a prefix after which nothing of a line could be read."""
    if prefix and len(models.encode(model, [""], prefix=prefix)[0].ids) == model.max_length:
        raise InputError(
            f"The prefix '{prefix[:40]}{'...' if len(prefix) > 40 else ''}' takes all of the {model.max_length} "
            f"subwords that '{model.name}' reads at once, so that no word has a state. Give a shorter prefix."
        )


def _encode(model: models.Loaded, texts: Sequence[str], languages: Sequence[str], prefix: str) -> list:  # type: ignore[type-arg]
    """Tokenise lines that stand language by language (or not: each run of one language goes at once)."""
    changes = [i for i in range(1, len(languages)) if languages[i] != languages[i - 1]]
    encodings = []
    for low, high in zip([0, *changes], [*changes, len(texts)], strict=True):
        if low < high:
            encodings += models.encode(model, texts[low:high], language=languages[low], prefix=prefix)
    return encodings


def _end_to_end(encodings: Sequence[Any]) -> tuple[Ints, Ints]:
    """Return the ids of lines, and the bounds of every line among them."""
    ids = np.array([i for x in encodings for i in x.ids], dtype=np.int64)
    return ids, np.cumsum([0, *(len(x.ids) for x in encodings)], dtype=np.int64)


def _first_start(rest: Any) -> int:
    """Return where the first subword of text begins in what was cut off."""
    spans = zip(rest.offsets, rest.special_tokens_mask, strict=True)
    return next(int(span[0]) for span, special in spans if not special)


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
    # candidates are first .. stop - 1
    stop = np.searchsorted(word_starts, ends, side="left")
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


def _mates(lines: pl.DataFrame, condition: Mapping[str, str]) -> Ints:
    """Return for every line the line that conditions it."""
    if not condition:
        return np.empty(0, dtype=np.int64)
    wanted = lines.with_columns(pl.col("language").replace_strict(condition))
    mated = wanted.join(lines, on=["language", "sentence"], how="left", maintain_order="left", suffix="_mate")
    lacking = mated.filter(pl.col("line_mate").is_null())
    if lacking.height:
        row = lacking.row(0, named=True)
        raise InputError(
            f"{lacking.height} sentences have no line for the encoder to read, the first is sentence "
            f"{row['sentence']}, which '{row['language']}' lacks. Use a parallel corpus, another condition, "
            "or the encoder's states."
        )
    return mated["line_mate"].to_numpy().astype(np.int64)
