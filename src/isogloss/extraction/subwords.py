"""Subwords: the lines of a corpus as a model reads them, and which words every subword stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Line(NamedTuple):
    """The subwords of one line: see `Subwords`; the places of `takers` are counted from the first of these."""

    ids: Ints
    owners: Ints
    takers: Ints
    text: Flags


@dataclass(frozen=True)
class Subwords:
    """A window of lines as subwords, end to end; line `first` + i is ``bounds[i]:bounds[i + 1]``.

    `ids` and `owners`, (n,) int64, are every subword's id and the token row it belongs to (-1 = none); `text`, (n,)
    bool, says whether it stands for text of the line: it is neither special nor of the prefix.  A word that no subword
    belongs to takes those that cover it, each of which belongs to another word: `takers`, (m, 2) int64, are the place
    of such a subword, rising, and the token row of the word.  `shared`, bool, says of the window's token rows whether
    a subword covers them and another word.  `source_ids` and `source_bounds` are what the encoder reads while the
    decoder reads the line; empty where there is no such encoder.  `cut` are the lines cut at the model's limit, counted
    from `first`.
    """

    first: int
    ids: Ints
    owners: Ints
    takers: Ints
    shared: Flags
    text: Flags
    bounds: Ints
    source_ids: Ints
    source_bounds: Ints
    cut: tuple[int, ...]

    def line(self, i: int) -> Line:
        """Return the subwords of line `first` + i."""
        here = slice(self.bounds[i], self.bounds[i + 1])
        low, high = np.searchsorted(self.takers[:, 0], (here.start, here.stop))
        takers = self.takers[low:high] - np.array([here.start, 0])
        return Line(self.ids[here], self.owners[here], takers, self.text[here])

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
    """Tokenise a window of lines, each whole, and give every subword to its word, or words."""
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
    # what stands for a space may have the span of a character
    spans[np.isin(ids, models.space_marks(model))] = 0
    # characters are counted through the window, so that one search finds the words of all its lines;
    # an empty span stays empty when shifted, so that special subwords find no word
    base = np.cumsum([0, *(len(text) + 1 for text in texts)], dtype=np.int64)
    spans += np.repeat(base[:-1], sizes)[:, None]
    first, last = lines.bounds[window.start], lines.bounds[window.stop]
    words = lines.corpus.words[int(first) : int(last)].select("start", "end")
    shift = np.repeat(base[:-1], np.diff(lines.bounds[window.start : window.stop + 1]))
    starts, ends = (words[side].to_numpy().astype(np.int64) + shift for side in ("start", "end"))
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    cut = [i for i, x in enumerate(encodings) if x.overflowing]
    lost = np.zeros(len(starts), dtype=bool)
    for i in cut:
        # half a word has no state: words that reach into what was cut off have no subword
        limit = base[i] + max(_first_start(encodings[i].overflowing[0]) - before, 0)
        low, high = lines.bounds[window.start + i : window.start + i + 2] - first
        lost[low:high] = ends[low:high] > limit
    given = give(covered(spans[:, 0], spans[:, 1], starts, ends), lost, len(ids))
    owners = np.where(given.owners >= 0, np.append(order, -1)[given.owners] + first, -1)
    takers = np.stack([given.takers[:, 0], order[given.takers[:, 1]] + first], axis=1)
    shared = np.zeros_like(given.shared)
    shared[order] = given.shared
    source_ids, source_bounds = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if conditioned:
        mates = lines.corpus.sentences[lines.mates[window.start : window.stop]]
        read = _encode(model, mates["text"].to_list(), mates["language"].to_list(), lines.prefix)
        source_ids, source_bounds = _end_to_end(read)
    of_words = (owners, takers, shared)
    return Subwords(window.start, ids, *of_words, filled & ~special, bounds, source_ids, source_bounds, tuple(cut))


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


class Covered(NamedTuple):
    """Pairs of a subword and a word that it covers, by subword, then word; all (n,) int64."""

    subwords: Ints
    words: Ints
    characters: Ints


class Given(NamedTuple):
    """To whom subwords are given: `owners` (n,), `takers` (m, 2) and `shared` (n_words,) of `Subwords`, for words."""

    owners: Ints
    takers: Ints
    shared: Flags


def covered(starts: Ints, ends: Ints, word_starts: Ints, word_ends: Ints) -> Covered:
    """Return which subwords cover which words, and with how many characters.

    Parameters
    ----------
    starts, ends : numpy.ndarray
        (n,) int64, half-open character spans of subwords; an empty span (special subwords) covers no word.
    word_starts, word_ends : numpy.ndarray
        (m,) int64, spans of words, starts rising; they may overlap.

    Examples
    --------
    >>> at = np.array
    >>> pairs = covered(at([0, 3, 6, 7]), at([3, 6, 6, 9]), at([0, 4, 7, 8]), at([3, 6, 8, 9]))
    >>> list(zip(*(x.tolist() for x in pairs)))  # "the", " no", an empty one, and `."`, which covers two words
    [(0, 0, 3), (1, 1, 2), (3, 2, 1), (3, 3, 1)]
    """
    first = np.searchsorted(np.maximum.accumulate(word_ends), starts, side="right")
    counts = np.where(ends > starts, np.maximum(np.searchsorted(word_starts, ends, side="left") - first, 0), 0)
    subwords = np.repeat(np.arange(len(starts)), counts)
    words = np.arange(len(subwords)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    characters = np.minimum(ends[subwords], word_ends[words]) - np.maximum(starts[subwords], word_starts[words])
    there = characters > 0
    return Covered(subwords[there], words[there], characters[there])


def give(pairs: Covered, lost: Flags, n: int) -> Given:
    """Give every subword to the word with which it shares most characters, and to words that would have none.

    Parameters
    ----------
    pairs : Covered
    lost : numpy.ndarray
        (n_words,) bool: words that get nothing.
    n : int
        Number of subwords.

    Returns
    -------
    Given
        The owner of a subword is the first word on ties; -1 = none.

    Examples
    --------
    >>> pairs = Covered(np.array([0, 1, 1]), np.array([0, 1, 2]), np.array([3, 1, 1]))  # "yes", and `."`
    >>> given = give(pairs, np.zeros(3, dtype=bool), 2)
    >>> given.owners.tolist(), given.takers.tolist(), given.shared.tolist()
    ([0, 1], [[1, 2]], [False, True, True])
    """
    # the longest one first; a stable sort keeps the order of words on ties
    longest = np.lexsort((-pairs.characters, pairs.subwords))
    covering, first = np.unique(pairs.subwords, return_index=True)
    owners = np.full(n, -1, dtype=np.int64)
    owners[covering] = pairs.words[longest[first]]
    owners[np.append(lost, True)[owners]] = -1
    without = ~lost
    without[owners[owners >= 0]] = False
    taken = without[pairs.words]
    shared = np.zeros(len(lost), dtype=bool)
    shared[pairs.words[np.bincount(pairs.subwords, minlength=n)[pairs.subwords] > 1]] = True
    takers = np.stack([pairs.subwords[taken], pairs.words[taken]], axis=1)
    return Given(owners, takers, shared & ~lost)


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
