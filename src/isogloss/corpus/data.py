"""The data class of a corpus: two tables, one row a sentence and one row a word."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.arguments import Count, checked
from isogloss.errors import InputError, UsageError, unknown
from isogloss.html import card, grid, word
from isogloss.store import CORPUS, StudyLayout, digest, read_table, table_digest, write_table

SENTENCE_COLUMNS = {"language": pl.String, "sentence": pl.Int32, "text": pl.String}
WORD_COLUMNS = {
    "row": pl.Int64,
    "language": pl.String,
    "sentence": pl.Int32,
    "position": pl.Int16,
    "word": pl.String,
    "start": pl.Int32,
    "end": pl.Int32,
}


@dataclass(frozen=True)
class Dropped:
    """One sentence number that was left out of every language, and why."""

    reason: str  # "empty", "overlong", "invalid"
    language: str
    path: str
    line: int  # 1-based


@checked
@dataclass(frozen=True)
class Corpus:
    """Sentences and their words in one or more languages.

    Attributes
    ----------
    sentences : polars.DataFrame
        ``language`` (str), ``sentence`` (i32, 0-based, the same number in every language of a
        parallel corpus), ``text`` (str, NFC), and any further columns of the reader (``label``).
        Ordered by language (in the order of `languages`), then sentence.
    words : polars.DataFrame
        The token table: ``row`` (i64, 0..n-1), ``language``, ``sentence``, ``position`` (i16, 0-based
        within the sentence), ``word`` (str), ``start``, ``end`` (i32, half-open code point offsets into
        ``text``: ``text[start:end] == word``), and any further columns (``upos``, ``feats``, ``ner``).
    languages : tuple of str
        In the order given by the user.
    parallel : bool
        True when sentence numbers mean the same sentence in every language.
    dropped : tuple of Dropped
        What the reader left out, in all languages together.
    """

    sentences: pl.DataFrame
    words: pl.DataFrame
    languages: tuple[str, ...]
    parallel: bool = True
    dropped: tuple[Dropped, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for table, columns in ((self.sentences, SENTENCE_COLUMNS), (self.words, WORD_COLUMNS)):
            for name, dtype in columns.items():
                if name not in table.columns or table.schema[name] != dtype:
                    raise UsageError(f"Corpus: column '{name}' must exist and be {dtype}; got {dict(table.schema)}.")
        for language in self.languages:
            if not language.isprintable() or not language or language != language.strip():
                raise UsageError(
                    f"{language!r} cannot be the label of a language: wanted are printable characters, "
                    "with no space before or after them, e.g. en, zh-yue or c++."
                )
        if self.words.is_empty():
            raise InputError("The corpus has no words. Give at least one non-empty sentence per language.")

    # -- making one -----------------------------------------------------------------------------

    @classmethod
    @checked
    def read(cls, files: Mapping[str, str | Path] | str | Path, **options: Any) -> Corpus:
        """Read files into a corpus; see `isogloss.corpus.readers.read` for every option."""
        from isogloss.corpus import readers

        return readers.read(files, **options)

    @classmethod
    @checked
    def from_texts(cls, texts: Mapping[str, Sequence[str]], **options: Any) -> Corpus:
        """Segment sentences already in memory; see `isogloss.corpus.readers.from_texts`."""
        from isogloss.corpus import readers

        return readers.from_texts(texts, **options)

    @classmethod
    @checked
    def open(cls, study: StudyLayout) -> Corpus:
        """Read the corpus of a study folder; a table that is not as it was written is an ``InputError``."""
        sentences = read_table(study.checked(study.sentences, CORPUS), SENTENCE_COLUMNS)
        words = read_table(study.checked(study.tokens, CORPUS), WORD_COLUMNS)
        languages = tuple(sentences["language"].unique(maintain_order=True).to_list())
        return cls(sentences, words, languages)

    @checked
    def write(self, study: StudyLayout) -> None:
        """Write both tables into a study folder."""
        write_table(study.sentences, self.sentences)
        write_table(study.tokens, self.words)

    @cached_property
    def digest(self) -> str:
        """16 hex digits that pin the text and its words, but no further columns."""
        return digest([table_digest(self.sentences, SENTENCE_COLUMNS), table_digest(self.words, WORD_COLUMNS)])

    @cached_property
    def file_digest(self) -> str:
        """16 hex digits that pin both tables with all their columns."""
        tables = ((self.sentences, SENTENCE_COLUMNS), (self.words, WORD_COLUMNS))
        further = [(table, [name for name in table.columns if name not in columns]) for table, columns in tables]
        return digest([self.digest, [[names, table_digest(table, names)] for table, names in further if names]])

    @property
    def n_sentences(self) -> int:
        """Number of distinct sentence numbers."""
        return self.sentences["sentence"].n_unique()

    @checked
    def texts(self, language: str) -> list[str]:
        """Return the sentences of one language, by sentence number."""
        self._check(language)
        return self.sentences.filter(pl.col("language") == language)["text"].to_list()

    @checked
    def word_lists(self, language: str) -> list[list[str]]:
        """Return the words of every sentence of one language, by sentence number."""
        self._check(language)
        mine = pl.col("language") == language
        by_sentence = self.words.filter(mine).group_by("sentence", maintain_order=True).agg("word")
        lists = dict(zip(by_sentence["sentence"].to_list(), by_sentence["word"].to_list(), strict=True))
        numbers = self.sentences.filter(mine)["sentence"]
        return [lists.get(i, []) for i in numbers.to_list()]

    @checked
    def restrict(
        self,
        *,
        languages: Sequence[str] | None = None,
        n_sentences: Count | None = None,
        sentences: Collection[int] | None = None,
    ) -> Corpus:
        """Return the corpus with only some languages, only its first sentences, or only those with some numbers."""
        for language in languages or ():
            self._check(language)
        kept = tuple(languages) if languages else self.languages
        rule = pl.col("language").is_in(kept)
        if n_sentences is not None:
            numbers = self.sentences["sentence"].unique().sort()[:n_sentences]
            rule = rule & pl.col("sentence").is_in(numbers.to_list())
        if sentences is not None:
            rule = rule & pl.col("sentence").is_in(list(sentences))
            if self.sentences.filter(rule).is_empty():
                raise InputError(f"None of the {self.n_sentences} sentences is among those asked for.")
        order = {language: i for i, language in enumerate(kept)}
        rank = pl.col("language").replace_strict(order, default=None)
        table = self.sentences.filter(rule).sort(rank, "sentence")
        words = self.words.filter(rule).sort(rank, "sentence", "position")
        words = words.with_columns(pl.int_range(words.height, dtype=pl.Int64).alias("row"))
        return Corpus(table, words, kept, self.parallel, self.dropped)

    def _check(self, language: str) -> None:
        if language not in self.languages:
            raise unknown("language", language, self.languages)

    def __repr__(self) -> str:
        return (
            f"Corpus({'+'.join(self.languages)}: {self.n_sentences} sentences, "
            f"{self.words.height} words, {len(self.dropped)} dropped)"
        )

    def _repr_html_(self) -> str:
        by_language = self.words.group_by("language").agg(pl.len(), n_types=pl.col("word").n_unique())
        counts = {language: numbers for language, *numbers in by_language.iter_rows()}
        rows = []
        for language in self.languages:
            texts = self.sentences.filter(pl.col("language") == language)["text"]
            first = word(texts[0], language) if len(texts) else ""
            rows.append((language, len(texts), *counts.get(language, (0, 0)), first))
        facts = {
            "sentences": f"{self.n_sentences:,}",
            "words": f"{self.words.height:,}",
            "parallel": "yes" if self.parallel else "no",
            "left out": len(self.dropped) or None,
        }
        head = ("language", "sentences", "words", "types", "first sentence")
        return card("Corpus", facts, grid(head, rows))
