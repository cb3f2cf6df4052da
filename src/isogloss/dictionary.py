"""Word links between the two sides of a pair, and the translation dictionary counted from them."""

from __future__ import annotations

import difflib
import logging
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import polars as pl

from isogloss.arguments import Columns, Count, PositiveShare, Translations, checked
from isogloss.corpus import Corpus
from isogloss.errors import InputError, unknown
from isogloss.html import card, grid, word, words
from isogloss.languages import read_language
from isogloss.store import read_lines, read_table, write_table

log = logging.getLogger(__name__)

Case = Literal["folded", "exact"]
LINK_COLUMNS = {
    "sentence": pl.Int32,
    "source_position": pl.Int16,
    "target_position": pl.Int16,
    "source_word": pl.String,
    "target_word": pl.String,
}
DICTIONARY_COLUMNS = {"source": pl.String, "target": pl.String, "count": pl.Int64, "probability": pl.Float64}
_LINK = re.compile(r"([0-9]{1,9})[-p]([0-9]{1,9})")
_SIDES = ("source", "target")
_SHOWN = 8  # rows in a notebook
_DOTTED = ("az", "tr")  # languages with i as the small letter of İ, and ı of I


@checked
@dataclass(frozen=True)
class WordLinks:
    """Links between word positions of parallel sentences.

    Attributes
    ----------
    source, target : str
        The two languages.
    table : polars.DataFrame
        One row a link: ``sentence`` (i32), ``source_position``, ``target_position`` (i16, 0-based),
        ``source_word``, ``target_word`` (str).  Sorted by the first three, without repeats.
    aligner : str
        Where the links come from, e.g. ``"diagonal"`` or ``"file"``.
    """

    source: str
    target: str
    table: Annotated[pl.DataFrame, Columns(tuple(LINK_COLUMNS))]
    aligner: str = "file"

    @classmethod
    @checked
    def from_pairs(
        cls,
        pairs: Mapping[int, Iterable[tuple[int, int]]],
        corpus: Corpus,
        *,
        source: str,
        target: str,
        aligner: str = "file",
    ) -> WordLinks:
        """Make links from ``{sentence number: [(source position, target position), ...]}``.

        Raises
        ------
        InputError
            If a sentence of the corpus has no entry, or a position is outside its sentence.
        """
        numbers = corpus.sentences.filter(pl.col("language") == source)["sentence"].to_list()
        rows = []
        for number, left, right in zip(numbers, corpus.word_lists(source), corpus.word_lists(target), strict=True):
            if number not in pairs:
                raise InputError(
                    f"Links {source}-{target}: none given for sentence {number}, {len(pairs)} given in all. "
                    "Give one line of links per line of the corpus files (an empty line where there are none)."
                )
            for i, j in sorted(set(pairs[number])):
                if not (0 <= i < len(left) and 0 <= j < len(right)):
                    raise InputError(
                        f"Links {source}-{target}, sentence {number}: link {i}-{j} is outside "
                        f"{len(left)} source and {len(right)} target words (positions count from 0)."
                    )
                rows.append((number, i, j, left[i], right[j]))
        table = pl.DataFrame(rows, schema=LINK_COLUMNS, orient="row")
        return cls(source, target, table, aligner)

    @classmethod
    @checked
    def read_pharaoh(cls, path: str | Path, corpus: Corpus, *, source: str, target: str) -> WordLinks:
        """Read Pharaoh lines: ``0-0 1-2``, 0-based; line n + 1 belongs to sentence number n.

        Possible links, written ``ipj``, count as links.
        """
        pairs = {}
        for n, line in enumerate(read_lines(path), 1):
            links = []
            for item in line.split():
                match = _LINK.fullmatch(item)
                if match is None:
                    raise InputError(
                        f"{path}, line {n}: '{item[:60]}' is not a link. Write links as 0-0 1-2 (0-based)."
                    )
                links.append((int(match[1]), int(match[2])))
            pairs[n - 1] = links
        return cls.from_pairs(pairs, corpus, source=source, target=target)

    @classmethod
    @checked
    def read(cls, path: str | Path, *, source: str, target: str, aligner: str) -> WordLinks:
        """Read the Parquet table of a study folder."""
        return cls(source, target, read_table(path, LINK_COLUMNS), aligner)

    @checked
    def write(self, path: Path) -> None:
        """Write the Parquet table of a study folder."""
        write_table(path, self.table)

    def reversed(self) -> WordLinks:
        """Return the same links with source and target exchanged."""
        swap = {f"{a}_{what}": f"{b}_{what}" for a, b in (_SIDES, _SIDES[::-1]) for what in ("position", "word")}
        table = self.table.rename(swap).select(*LINK_COLUMNS)
        table = table.sort("sentence", "source_position", "target_position")
        return WordLinks(self.target, self.source, table, self.aligner)

    @checked
    def dictionary(self, *, top: Translations | None = None, min_count: Count = 1) -> TranslationDictionary:
        """Count the links into a dictionary: probability = count(source, target) / count(source)."""
        counts = self.table.group_by(source="source_word", target="target_word").agg(count=pl.len().cast(pl.Int64))
        probability = pl.col("count") / pl.col("count").sum().over("source")
        table = counts.with_columns(probability=probability).filter(pl.col("count") >= min_count)
        dictionary = TranslationDictionary(self.source, self.target, table, induced_by=self.aligner)
        return dictionary.top(top) if top else dictionary

    def __repr__(self) -> str:
        return f"WordLinks({self.source}-{self.target}: {self.table.height} links by {self.aligner})"

    def _repr_html_(self) -> str:
        common = self.table.group_by("source_word", "target_word").agg(pl.len())
        order = ["len", "source_word", "target_word"]
        common = common.sort(order, descending=[True, False, False]).head(_SHOWN)
        rows = [(word(source, self.source), word(target, self.target), n) for source, target, n in common.iter_rows()]
        facts = {
            f"{self.source}-{self.target}": f"by {self.aligner}",
            "links": f"{self.table.height:,}",
            "sentences": f"{self.table['sentence'].n_unique():,}",
        }
        return card("WordLinks", facts, grid((self.source, self.target, "links"), rows))


@checked
@dataclass(frozen=True)
class TranslationDictionary:
    """Translations of source types, best first.

    Attributes
    ----------
    source, target : str
        The two languages; the dictionary is directional.
    table : polars.DataFrame
        ``source``, ``target`` (types), ``count`` (i64), ``probability`` (f64, P(target | source)).  Sorted by source,
        then falling probability, then target: ties are broken by code point order, so that the
        `n` best are always the same.  With ``file_order=True`` the rows stay as given.
    induced_by : str
        Name of the aligner, or ``"file"``.
    """

    source: str
    target: str
    table: Annotated[pl.DataFrame, Columns(tuple(DICTIONARY_COLUMNS))]
    induced_by: str = "file"
    file_order: bool = False

    def __post_init__(self) -> None:
        table = self.table.select(pl.col(name).cast(dtype) for name, dtype in DICTIONARY_COLUMNS.items())
        if not self.file_order:
            table = table.sort("source", "probability", "target", descending=[False, True, False])
        object.__setattr__(self, "table", table)

    @checked
    def top(self, n: Translations) -> TranslationDictionary:
        """Return the dictionary with at most the `n` best translations of every source type."""
        table = self.table.filter(pl.int_range(pl.len()).over("source") < n)
        return TranslationDictionary(self.source, self.target, table, self.induced_by, self.file_order)

    @checked
    def without_cognates(self, *, similarity: PositiveShare = 0.5) -> TranslationDictionary:
        """Return the dictionary without translations spelt alike: the score that is left is not owed to their spelling.

        Alike are words whose `difflib` ratio, twice the shared characters over all, lower-cased and without accents, is
        at least `similarity`; 1 leaves out identical words alone.
        """
        kept = [_likeness(*pair) < similarity for pair in self.table.select(*_SIDES).iter_rows()]
        table = self.table.filter(pl.Series(kept, dtype=pl.Boolean))
        return TranslationDictionary(self.source, self.target, table, self.induced_by, self.file_order)

    @classmethod
    @checked
    def read_muse(cls, path: str | Path, *, source: str, target: str) -> TranslationDictionary:
        """Read a MUSE-style list: source and target separated by a tab or by spaces, a pair a line.

        A third column, in every line or in none, is the weight of the pair: a count or a probability.  The translations
        of a word share its probability by their weights, without weights equally; repeats of a pair count once, pairs
        of weight 0 not at all.
        The words stay as they are written: see `for_corpus`.

        Raises
        ------
        InputError
            If the file has no entries, or a line another form (the line is named).
        """
        pairs: dict[tuple[str, str], float] = {}
        width = 0
        for n, line in enumerate(read_lines(path), 1):
            if not line.strip():
                continue
            fields = [field.strip() for field in (line.rstrip().split("\t") if "\t" in line else line.split())]
            if len(fields) not in (2, 3) or not all(fields):
                raise InputError(
                    f"{path}, line {n}: expected 'source target' or 'source target weight', got '{line.strip()}'. "
                    "Words with a space inside need tabs between the columns."
                )
            width = width or len(fields)
            if len(fields) != width:
                raise InputError(
                    f"{path}, line {n}: {len(fields)} columns, but {width} in the lines before: '{line.strip()}'. "
                    "Give a weight in every line or in none."
                )
            left, right = (unicodedata.normalize("NFC", field) for field in fields[:2])
            weight = _number(fields[2]) if width == 3 else 1.0
            if not 0 <= weight < math.inf:
                raise InputError(
                    f"{path}, line {n}: the third column is a weight, a number from 0 on; got '{fields[2]}'. "
                    "Words with a space inside need tabs between the columns."
                )
            if weight:
                pairs.setdefault((left, right), weight)
        if not pairs:
            raise InputError(f"{path} has no entries. A dictionary has one 'source target' pair a line.")
        rows = [(*pair, 1, weight) for pair, weight in pairs.items()]
        table = pl.DataFrame(rows, schema=DICTIONARY_COLUMNS, orient="row")
        weight_column = pl.col("probability")
        return cls(source, target, table.with_columns(weight_column / weight_column.sum().over("source")))

    @checked
    def for_corpus(self, corpus: Corpus, *, case: Case = "folded") -> TranslationDictionary:
        """Return the dictionary in the word forms that a corpus has, for lists that are written in another case.

        With ``"folded"`` a form of the corpus that is not a word of the dictionary takes the entries of the one word
        that equals it apart from case: ``house haus`` becomes ``house Haus`` and ``House Haus`` where the corpus has
        these.  Where several words do (``polish``, ``Polish`` for POLISH) it takes none, and a word that the corpus has
        as it is written is found as it is, on both sides.  Forms of one translation share its probability by their
        frequency.  With ``"exact"`` nothing changes.

        Equal apart from case are words with the same small letters: ``str.lower``, by the rules of Turkish and
        Azerbaijani for labels of these, and the final sigma of Greek as any other.  Not ``str.casefold``: it takes
        German *Maße* (measures) for *Masse* (mass).

        Warns if no translation of the words that the corpus has occurs in it.

        Raises
        ------
        UsageError
            If the corpus lacks a language.
        """
        for language in (self.source, self.target):
            if language not in corpus.languages:
                raise unknown("language", language, corpus.languages)
        table = self.table.join(self._forms("source", corpus, case), on="source", maintain_order="left_right")
        table = table.join(self._forms("target", corpus, case), on="target", maintain_order="left_right")
        there = table.filter(pl.col("source_n") > 0)
        if not (there["target_n"] > 0).any():
            example = (there if there.height else table).select(*_SIDES).head(1).rows()
            log.warning(
                "Dictionary %s->%s: %d of its words occur in the corpus, and none of their translations does%s. Give "
                "the list of these two languages in this order, spelt as the corpus is.",
                self.source,
                self.target,
                there["source"].n_unique(),
                f", e.g. '{example[0][0]}' with '{example[0][1]}'" if example else "",
            )
        table = table.with_columns(
            pl.col("source_form").alias("source"),
            pl.col("target_form").alias("target"),
            pl.col("probability") * pl.col("target_share"),
        )
        return TranslationDictionary(self.source, self.target, table, self.induced_by, self.file_order)

    def _forms(self, side: Literal["source", "target"], corpus: Corpus, case: Case) -> pl.DataFrame:
        """Return the forms of every word: ``SIDE``, ``SIDE_form``, ``SIDE_n`` in the corpus, ``SIDE_share`` of them."""
        language = self.source if side == "source" else self.target
        counts = corpus.words.filter(pl.col("language") == language).group_by("word").agg(pl.len().alias("n"))
        mine = self.table.select(pl.col(side).unique().alias("word"))
        forms = mine.join(counts, on="word", how="left").with_columns(pl.col("word").alias("form"))
        if case == "folded":
            single = _with_small(mine, language).filter(pl.len().over("small") == 1)
            others = _with_small(counts.join(mine, on="word", how="anti"), language).rename({"word": "form"})
            others = others.join(single, on="small")
            instead = forms["n"].is_null() & forms["word"].is_in(others["word"].implode())
            forms = pl.concat([forms.filter(~instead), others.select(forms.columns)])
        forms = forms.with_columns(pl.col("n").fill_null(0)).sort("n", "form", descending=[True, False])
        total = pl.col("n").sum().over("word")
        share = pl.when(total > 0).then(pl.col("n") / total).otherwise(1.0)
        names = {side: "word"} | {f"{side}_{name}": name for name in ("form", "n", "share")}
        return forms.with_columns(share=share).select(**names)

    @classmethod
    @checked
    def read(cls, path: str | Path, *, source: str, target: str, induced_by: str) -> TranslationDictionary:
        """Read the Parquet table of a study folder."""
        return cls(source, target, read_table(path, DICTIONARY_COLUMNS), induced_by)

    @checked
    def write(self, path: Path) -> None:
        """Write the Parquet table of a study folder."""
        write_table(path, self.table)

    def __len__(self) -> int:
        return self.table["source"].n_unique()

    def __repr__(self) -> str:
        return (
            f"TranslationDictionary({self.source}->{self.target}: {len(self)} words, "
            f"{self.table.height} translations, by {self.induced_by})"
        )

    def _repr_html_(self) -> str:
        grouped = self.table.group_by("source", maintain_order=True)
        entries = grouped.agg(pl.col("count").sum(), "target", pl.col("probability").alias("p"))
        entries = entries.sort("count", "source", descending=[True, False]).head(_SHOWN)
        rows = [
            (word(source, self.source), n, words(targets[:_SHOWN], self.target), p[0])
            for source, n, targets, p in entries.iter_rows()
        ]
        facts = {
            f"{self.source}->{self.target}": f"by {self.induced_by}",
            "words": f"{len(self):,}",
            "translations": f"{self.table.height:,}",
        }
        head = (self.source, "links", f"{self.target}, best first", "probability of the best")
        return card("TranslationDictionary", facts, grid(head, rows))


def _likeness(first: str, second: str) -> float:
    a, b = (
        "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))
        for word in (first, second)
    )
    return 1.0 if a == b else difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def fold_case(word: str, language: str) -> str:
    """Return the small letters of a word, which words that are equal apart from case have in common.

    Examples
    --------
    >>> fold_case("HAUS", "de"), fold_case("ISI", "tr"), fold_case("ΛΟΓΟΣ", "el"), fold_case("Maße", "de")
    ('haus', 'ısı', 'λογοσ', 'maße')
    """
    natural = read_language(language)
    if natural and natural.code in _DOTTED and natural.script == "Latn":
        word = word.replace("I", "ı").replace("İ", "i")
    return unicodedata.normalize("NFC", word.lower()).replace("ς", "σ")


def _with_small(table: pl.DataFrame, language: str) -> pl.DataFrame:
    small = [fold_case(word_, language) for word_ in table["word"]]
    return table.with_columns(pl.Series("small", small, dtype=pl.String))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
