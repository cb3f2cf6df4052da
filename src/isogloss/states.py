"""States: the token table and one memory-mapped array per layer; which rows take part."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Columns, Count, Dimensions, checked
from isogloss.dictionary import WordLinks
from isogloss.errors import InputError, UsageError, unknown
from isogloss.html import card, grid
from isogloss.settings import Drop, Selection, takes
from isogloss.store import Rows

TOKEN_COLUMNS = ("row", "language", "sentence", "position", "word", "n_subwords")

_BLOCK = 2048  # states looked at at once


@checked
@dataclass(frozen=True)
class LayerStates:
    """The states of some tokens at one layer: what `discover` takes.

    Attributes
    ----------
    X : numpy.ndarray or isogloss.store.Rows
        (n, d), float16 or float32; `Rows` are read from their file a part at a time.
    tokens : polars.DataFrame
        n rows of the token table, in the same order.
    model, stack : str
    layer : int
    """

    X: Annotated[npt.NDArray[np.floating], Dimensions(2)] | Rows
    tokens: pl.DataFrame
    model: str
    stack: str
    layer: int

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.tokens["language"].unique(maintain_order=True).to_list())


@checked
@dataclass(frozen=True)
class SentenceStates:
    """The states of some sentences at one layer.

    Attributes
    ----------
    X : numpy.ndarray
        (n, d), float16 or float32.
    sentences : polars.DataFrame
        n rows of the table of sentences, in the same order.
    model, stack : str
    layer : int
    """

    X: Annotated[npt.NDArray[np.floating], Dimensions(2)]
    sentences: pl.DataFrame
    model: str
    stack: str
    layer: int


@checked
@dataclass(frozen=True)
class States:
    """The states of a corpus in one stack of one model.

    Attributes
    ----------
    tokens : polars.DataFrame
        The whole token table (see `Corpus.words`), ``n_subwords`` (i16; 0 = the token has no
        state: it was truncated away, or the tokenizer made nothing of it) and ``shared`` (bool; a subword covers
        this word and another one, as ``."`` covers two).
    arrays : mapping of int to numpy.ndarray
        Layer -> (n_tokens, d) memory-mapped array, float16 or float32; row r = token row r.  Rows of
        tokens without a state are zero and never selected.
    rows : numpy.ndarray
        int64, rising: the token rows that take part.
    model, stack : str
    sentences : polars.DataFrame
        The table of sentences (see `Corpus.sentences`) and ``n_subwords`` (i32; subwords of its text; 0 = no state).
    sentence_arrays : mapping of str to mapping of int to numpy.ndarray
        Kind of pooling (``"mean"``, ``"cls"``, ``"last"``) -> layer -> (n_sentences, d) memory-mapped array; row r =
        row r of `sentences`.
    """

    tokens: Annotated[pl.DataFrame, Columns(TOKEN_COLUMNS[:-1])]
    arrays: Mapping[int, npt.NDArray[np.floating]]
    rows: npt.NDArray[np.int64]
    model: str
    stack: str
    sentences: pl.DataFrame = field(default_factory=pl.DataFrame)
    sentence_arrays: Mapping[str, Mapping[int, npt.NDArray[np.floating]]] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(sorted(self.arrays))

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.tokens["language"].unique(maintain_order=True).to_list())

    @checked
    @takes(Selection)
    def select(
        self,
        *,
        settings: Selection,
        links: WordLinks | Sequence[WordLinks] | None = None,
        drop_above: Count | None = None,
        languages: Sequence[str] | None = None,
    ) -> States:
        """Return the same states with fewer rows taking part (see `select_rows`); nothing is copied."""
        rows = select_rows(
            self.tokens[self.rows], settings=settings, links=links, drop_above=drop_above, languages=languages
        )
        return replace(self, rows=rows)

    @checked
    def at(self, layer: int, *, language: str | Sequence[str] | None = None, mapped: bool = False) -> LayerStates:
        """Return the selected states of one layer, of one language, some, or all of them.

        Parameters
        ----------
        layer : int
        language : str or sequence of str, optional
            Default: all.
        mapped : bool
            Leave the states in their file and return `isogloss.store.Rows` of it as X.  Arrays that lie in no file are
            returned as ever.

        Raises
        ------
        UsageError
            If the layer or language is not there, or nothing is selected.
        """
        if layer not in self.arrays:
            raise unknown("layer", layer, [str(x) for x in self.layers])
        rows = self.rows
        if language is not None:
            wanted = [language] if isinstance(language, str) else list(language)
            for name in wanted:
                if name not in self.languages:
                    raise unknown("language", name, self.languages)
            rows = rows[self.tokens["language"].is_in(wanted).to_numpy()[rows]]
        if not len(rows):
            raise UsageError(
                f"No token of {language or 'any language'} is selected. Lower min_count, raise max_count, "
                "or give links that cover the language."
            )
        left = Rows.of(self.arrays[layer], rows) if mapped else None
        X = self.arrays[layer][rows] if left is None else left
        return LayerStates(X, self.tokens[rows], self.model, self.stack, layer)

    @checked
    def sentences_at(self, layer: int, *, language: str | None = None, pooling: str = "mean") -> SentenceStates:
        """Return the states of whole sentences at one layer, of one language or of all.

        Raises
        ------
        UsageError
            If the layer, the language or this kind of pooling is not there, or no sentence has a state.
        """
        if pooling not in self.sentence_arrays:
            raise unknown("pooling of sentences", pooling, self.sentence_arrays)
        arrays = self.sentence_arrays[pooling]
        if layer not in arrays:
            raise unknown("layer", layer, [str(x) for x in sorted(arrays)])
        if language is not None and language not in self.languages:
            raise unknown("language", language, self.languages)
        there = self.sentences["n_subwords"].to_numpy() > 0
        if language is not None:
            there = there & (self.sentences["language"] == language).to_numpy()
        rows = np.flatnonzero(there)
        if not len(rows):
            raise UsageError(f"No sentence of {language or 'any language'} has a state.")
        return SentenceStates(arrays[layer][rows], self.sentences[rows], self.model, self.stack, layer)

    def __repr__(self) -> str:
        return (
            f"States({self.model}/{self.stack}: {'+'.join(self.languages)}, layers {list(self.layers)}, "
            f"{len(self.rows)} of {self.tokens.height} tokens)"
        )

    def _repr_html_(self) -> str:
        chosen = self.tokens[self.rows]
        rows = []
        for language in self.languages:
            words = chosen.filter(pl.col("language") == language)["word"]
            n = self.tokens.filter(pl.col("language") == language).height
            rows.append((language, len(words), n, words.n_unique()))
        first = next(iter(self.arrays.values()), None)
        facts = {
            "model": self.model,
            "stack": self.stack,
            "layers": ", ".join(map(str, self.layers)),
            "width": None if first is None else f"{first.shape[1]} {first.dtype}",
        }
        head = ("language", "tokens that take part", "of", "types")
        return card("States", facts, grid(head, rows))


@checked
@takes(Selection)
def select_rows(
    tokens: Annotated[pl.DataFrame, Columns(TOKEN_COLUMNS)],
    *,
    settings: Selection,
    links: WordLinks | Sequence[WordLinks] | None = None,
    drop_above: Count | None = None,
    languages: Sequence[str] | None = None,
) -> npt.NDArray[np.int64]:
    """Choose the tokens that take part in discovery.

    Without `links` occurrences are counted per type, as for COLAP: types with fewer than `min_count`
    tokens are left out, and of the others the first `max_count` tokens are kept.  With `links` they are
    counted per aligned pair of types, as in the paper's CALIGN experiment: of every (source type, target
    type) pair that is linked at least `min_count` times, the first `max_count` links keep both their tokens.
    First means smallest (sentence, position).

    Parameters
    ----------
    tokens : polars.DataFrame
        Token table with ``n_subwords``, and with ``shared`` where such words are dropped; rows without a state never
        take part.
    settings : Selection, optional
        All of these at once; what is given beside it differs.
    links : WordLinks or sequence of WordLinks, optional
        One per pair; a token is kept when any of them keeps it.
    drop_above : int, optional
        Types (with `links`: pairs) with more than `drop_above` occurrences are left out altogether, where
        `max_count` would keep their first ones.
    languages : sequence of str, optional
        Keep only tokens of these; occurrences, links and shared forms are counted before.

    Returns
    -------
    numpy.ndarray
        int64 rows, rising.

    Raises
    ------
    UsageError
        If the bounds contradict each other, a name in `languages` is unknown, or words that share a subword are to be
        dropped and the table does not tell them.
    """
    drop, least = settings.drop, settings.min_count
    if drop_above is not None and drop_above < least:
        raise UsageError(f"drop_above must be at least min_count; got {drop_above} and {least}.")
    there = tokens["language"].unique().to_list()
    for language in languages or ():
        if language not in there:
            raise unknown("language", language, there)
    kept = tokens.filter(pl.col("n_subwords") > 0)
    if "shared" in drop:
        if "shared" not in kept.columns:
            raise UsageError(
                "drop 'shared' needs the column 'shared' of the token table, which says what words share a subword. "
                "Give the tokens of states, as extract returns them."
            )
        kept = kept.filter(~pl.col("shared"))
    all_links = [links] if isinstance(links, WordLinks) else list(links or ())
    if "identical" in drop and not all_links:
        several = kept.group_by("word").agg(pl.col("language").n_unique().alias("n")).filter(pl.col("n") > 1)
        kept = kept.join(several, on="word", how="anti")
    unwanted = [w for w in kept["word"].unique().to_list() if _unwanted(w, drop)]
    kept = kept.filter(~pl.col("word").is_in(unwanted))

    bounds: dict[str, Any] = {"min_count": least, "max_count": settings.max_count, "drop_above": drop_above}
    if all_links:
        rows = _linked_rows(kept, all_links, identical="identical" not in drop, **bounds)
        kept = kept.filter(pl.col("row").is_in(rows.implode()))
    else:
        kept = _within(kept.sort("row"), ("language", "word"), **bounds)
    if languages is not None:
        kept = kept.filter(pl.col("language").is_in(list(languages)))
    return kept["row"].sort().to_numpy()


def _within(
    table: pl.DataFrame, key: tuple[str, ...], *, min_count: int, max_count: int | None, drop_above: int | None
) -> pl.DataFrame:
    """Keep the first `max_count` rows of every key that occurs `min_count` to `drop_above` times."""
    n = pl.len().over(key)
    table = table.filter((n >= min_count) & (n <= drop_above if drop_above is not None else True))
    return table if max_count is None else table.filter(pl.int_range(pl.len()).over(key) < max_count)


def with_rows(links: pl.DataFrame, tokens: pl.DataFrame, *, source: str, target: str) -> pl.DataFrame:
    """Return a table of links with ``source_row`` and ``target_row``, the token rows of both ends.

    Links with an end that is not among `tokens` are left out; the others keep their order.
    """
    for side, language in (("source", source), ("target", target)):
        row, position = f"{side}_row", f"{side}_position"
        places = tokens.filter(pl.col("language") == language).select("sentence", **{row: "row", position: "position"})
        links = links.join(places, on=["sentence", position], how="inner", maintain_order="left")
    return links


def _linked_rows(tokens: pl.DataFrame, links: Sequence[WordLinks], *, identical: bool, **bounds: Any) -> pl.Series:
    """Return the rows of tokens that some link keeps; with `identical` false, links of equal words do not."""
    rows = []
    for of_pair in links:
        table = of_pair.table
        if not identical:
            table = table.filter(pl.col("source_word") != pl.col("target_word"))
        table = with_rows(table, tokens, source=of_pair.source, target=of_pair.target)
        table = table.sort("sentence", "source_position", "target_position")
        table = _within(table, ("source_word", "target_word"), **bounds)
        rows += [table["source_row"], table["target_row"]]
    return pl.concat([column.rename("row") for column in rows]).unique()


def _unwanted(word: str, drop: Sequence[Drop]) -> bool:
    categories = {unicodedata.category(c)[0] for c in word}
    if "punctuation" in drop and not categories & {"L", "N"}:
        return True
    return "digits" in drop and "N" in categories


def check_finite(states: LayerStates) -> None:
    """Refuse NaN and infinite values, naming the first token that has one."""
    bad = [
        begin + int(row)
        for begin in range(0, len(states.X), _BLOCK)
        for row in np.flatnonzero(~np.isfinite(states.X[begin : begin + _BLOCK]).all(axis=1))
    ]
    if bad:
        token = states.tokens.row(bad[0], named=True)
        raise InputError(
            f"{len(bad)} states of {states.model}/{states.stack} layer {states.layer} are not finite, the first is "
            f"token row {token['row']} ('{token['word']}', {token['language']}, sentence {token['sentence']}). "
            "Extract again with dtype float32."
        )
