"""Word links between the two sides of a pair, and the translation dictionary counted from them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from isogloss.errors import InputError, UsageError
from isogloss.html import card, grid, word, words
from isogloss.store import atomic, read_lines, read_table, write_table

if TYPE_CHECKING:
    from isogloss.corpus import Corpus

LINK_COLUMNS = {
    "sentence": pl.Int32,
    "source_position": pl.Int16,
    "target_position": pl.Int16,
    "source_word": pl.String,
    "target_word": pl.String,
}
DICTIONARY_COLUMNS = {
    "source": pl.String,
    "target": pl.String,
    "count": pl.Int64,
    "probability": pl.Float64,
}
_LINK = re.compile(r"([0-9]{1,9})[-p]([0-9]{1,9})")
_SHOWN = 8  # rows in a notebook


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
    table: pl.DataFrame
    aligner: str = "file"

    @classmethod
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
        for number, left, right in zip(
            numbers, corpus.word_lists(source), corpus.word_lists(target), strict=True
        ):
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

    def write_pharaoh(self, path: str | Path, *, n_sentences: int) -> None:
        """Write one line of ``i-j`` links per sentence number 0 .. n_sentences - 1."""
        lines: list[list[str]] = [[] for _ in range(n_sentences)]
        columns = ("sentence", "source_position", "target_position")
        for sentence, i, j in self.table.select(columns).iter_rows():
            lines[sentence].append(f"{i}-{j}")
        with atomic(Path(path)) as f:
            f.write("".join(" ".join(line) + "\n" for line in lines).encode())

    @classmethod
    def read(cls, path: str | Path, *, source: str, target: str, aligner: str) -> WordLinks:
        """Read the Parquet table of a study folder."""
        return cls(source, target, read_table(path, LINK_COLUMNS), aligner)

    def write(self, path: Path) -> None:
        """Write the Parquet table of a study folder."""
        write_table(path, self.table)

    def reversed(self) -> WordLinks:
        """Return the same links with source and target exchanged."""
        swap = {
            "source_position": "target_position",
            "target_position": "source_position",
            "source_word": "target_word",
            "target_word": "source_word",
        }
        table = self.table.rename(swap).select(*LINK_COLUMNS)
        table = table.sort("sentence", "source_position", "target_position")
        return WordLinks(self.target, self.source, table, self.aligner)

    def dictionary(self, *, top: int | None = None, min_count: int = 1) -> TranslationDictionary:
        """Count the links into a dictionary: probability = count(source, target) / count(source)."""
        counts = self.table.group_by("source_word", "target_word").agg(pl.len().cast(pl.Int64).alias("count"))
        counts = counts.rename({"source_word": "source", "target_word": "target"})
        total = pl.col("count").sum().over("source")
        table = counts.with_columns((pl.col("count") / total).alias("probability"))
        table = table.filter(pl.col("count") >= min_count)
        found = TranslationDictionary(self.source, self.target, table, induced_by=self.aligner)
        return found.top(top) if top else found

    def __repr__(self) -> str:
        return f"WordLinks({self.source}-{self.target}: {self.table.height} links by {self.aligner})"

    def _repr_html_(self) -> str:
        common = self.table.group_by("source_word", "target_word").agg(pl.len())
        order = ["len", "source_word", "target_word"]
        common = common.sort(order, descending=[True, False, False]).head(_SHOWN)
        rows = [
            (word(source, self.source), word(target, self.target), n)
            for source, target, n in common.iter_rows()
        ]
        facts = {
            f"{self.source}-{self.target}": f"by {self.aligner}",
            "links": f"{self.table.height:,}",
            "sentences": f"{self.table['sentence'].n_unique():,}",
        }
        return card("WordLinks", facts, grid((self.source, self.target, "links"), rows))


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
    table: pl.DataFrame
    induced_by: str = "file"
    file_order: bool = False

    def __post_init__(self) -> None:
        table = self.table.select(pl.col(name).cast(dtype) for name, dtype in DICTIONARY_COLUMNS.items())
        if not self.file_order:
            table = table.sort("source", "probability", "target", descending=[False, True, False])
        object.__setattr__(self, "table", table)

    def top(self, n: int) -> TranslationDictionary:
        """Return the dictionary with at most the `n` best translations of every source type."""
        if n < 1:
            raise UsageError(f"top must be at least 1 translation per word; got {n}.")
        table = self.table.filter(pl.int_range(pl.len()).over("source") < n)
        return TranslationDictionary(self.source, self.target, table, self.induced_by, self.file_order)

    def without_cognates(self, *, similarity: float = 0.5) -> TranslationDictionary:
        """Return the dictionary without translations spelt alike: the score that is left is not owed to their spelling.

        Alike are words whose `difflib` ratio, twice the shared characters over all, lower-cased and without accents, is
        at least `similarity`; 1 leaves out identical words alone.

        Raises
        ------
        UsageError
            If `similarity` is not in (0, 1].
        """
        if not 0 < similarity <= 1:
            raise UsageError(f"similarity must lie in (0, 1]; got {similarity}.")
        kept = [
            _likeness(source, target) < similarity
            for source, target in self.table.select("source", "target").iter_rows()
        ]
        table = self.table.filter(pl.Series(kept, dtype=pl.Boolean))
        return TranslationDictionary(self.source, self.target, table, self.induced_by, self.file_order)

    @classmethod
    def read_muse(cls, path: str | Path, *, source: str, target: str) -> TranslationDictionary:
        """Read a MUSE-style list: source and target separated by a tab or one space, a pair a line.

        Every pair counts once; the translations of a word share its probability equally.
        """
        pairs = []
        for n, line in enumerate(read_lines(path), 1):
            if not line.strip():
                continue
            left, separator, right = line.partition("\t" if "\t" in line else " ")
            left, right = left.strip(), right.strip()
            if not (separator and left and right):
                raise InputError(f"{path}, line {n}: expected 'source target', got '{line.strip()}'.")
            pairs.append((unicodedata.normalize("NFC", left), unicodedata.normalize("NFC", right)))
        if not pairs:
            raise InputError(f"{path} has no entries. A dictionary has one 'source target' pair a line.")
        table = pl.DataFrame(pairs, schema={"source": pl.String, "target": pl.String}, orient="row")
        table = table.unique(maintain_order=True).with_columns(
            pl.lit(1, dtype=pl.Int64).alias("count"), (1.0 / pl.len().over("source")).alias("probability")
        )
        return cls(source, target, table)

    def write_muse(self, path: str | Path) -> None:
        """Write ``source TAB target`` lines, best first."""
        with atomic(Path(path)) as f:
            for source, target in self.table.select("source", "target").iter_rows():
                f.write(f"{source}\t{target}\n".encode())

    @classmethod
    def read(cls, path: str | Path, *, source: str, target: str, induced_by: str) -> TranslationDictionary:
        """Read the Parquet table of a study folder."""
        return cls(source, target, read_table(path, DICTIONARY_COLUMNS), induced_by)

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
        found = grouped.agg(pl.col("count").sum(), "target", pl.col("probability").alias("p"))
        found = found.sort("count", "source", descending=[True, False]).head(_SHOWN)
        rows = [
            (word(source, self.source), n, words(targets[:_SHOWN], self.target), p[0])
            for source, n, targets, p in found.iter_rows()
        ]
        facts = {
            f"{self.source}->{self.target}": f"by {self.induced_by}",
            "words": f"{len(self):,}",
            "translations": f"{self.table.height:,}",
        }
        head = (self.source, "links", f"{self.target}, best first", "probability of the best")
        return card("TranslationDictionary", facts, grid(head, rows))


def _likeness(first: str, second: str) -> float:
    one, two = (
        "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))
        for word in (first, second)
    )
    return 1.0 if one == two else difflib.SequenceMatcher(None, one, two, autojunk=False).ratio()
