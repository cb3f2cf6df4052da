"""From the sentences of the formats to the two tables of a corpus: checks, segmentation, what is dropped."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.corpus.data import SENTENCE_COLUMNS, WORD_COLUMNS, Corpus, Dropped
from isogloss.corpus.raw import Raw, Span
from isogloss.errors import InputError
from isogloss.segment import Segmenter, segmenter

log = logging.getLogger(__name__)

_CHUNK = 50_000  # sentences made into a table at a time: bounds what lives as Python objects


def assemble(raws: Mapping[str, Raw], *, parallel: bool, segmented: bool, max_words: int) -> Corpus:
    """Check, segment, drop, and build the tables; see `isogloss.corpus.readers.read`."""
    for language, raw in raws.items():
        if not raw.texts:
            raise InputError(f"{raw.path} ({language}) has no sentences. Give at least one.")
        _check_encodable(raw)
    if parallel:
        _check_counts(raws)
    sentences, words = [], []
    reasons: dict[str, dict[int, str]] = {}  # language -> sentence number -> why it cannot be kept
    for language, raw in raws.items():
        split = _at_spaces if segmented or raw.spans is not None else segmenter(language)
        table, reasons[language] = _word_table(raw, split, max_words)
        words.append(table.select(pl.lit(language).alias("language"), pl.all()))
        numbered = {"language": [language] * len(raw.texts), "sentence": range(len(raw.texts)), "text": raw.texts}
        sentences.append(_table(numbered, raw.sentence_columns))
    dropped, numbers = _dropped(raws, reasons, parallel=parallel)
    for i, language in enumerate(raws):
        kept = ~pl.col("sentence").is_in(pl.Series(numbers[language], dtype=pl.Int32).implode())
        sentences[i], words[i] = sentences[i].filter(kept), words[i].filter(kept)
    _report(dropped, raws, reasons, max_words, parallel=parallel)
    row = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    word_table = pl.concat(words, how="diagonal").select(row, pl.all())
    return Corpus(pl.concat(sentences, how="diagonal"), word_table, tuple(raws), parallel, tuple(dropped))


def _check_encodable(raw: Raw) -> None:
    """Refuse half surrogates, which strings in memory may have and no UTF-8 table can hold."""
    try:
        "\n".join(raw.texts).encode()
    except UnicodeEncodeError:
        half = re.compile("[\ud800-\udfff]")
        line = next(n for n, text in zip(raw.lines, raw.texts, strict=True) if half.search(text))
        raise InputError(
            f"{raw.path}, line {line}: half of a surrogate pair is no character. Write both halves, or none."
        ) from None


def _check_counts(raws: Mapping[str, Raw]) -> None:
    (first, raw), *others = raws.items()
    for language, other in others:
        if len(raw.texts) != len(other.texts):
            raise InputError(
                f"Parallel files must have equal numbers of sentences: {raw.path} ({first}) has {len(raw.texts)}, "
                f"{other.path} ({language}) has {len(other.texts)}. Align them, or say parallel=False."
            )


def _at_spaces(text: str) -> list[Span]:
    """Split at spaces and tabs only: a no-break space belongs to its word."""
    if not text.strip():
        return []
    return [(m[0], m.start(), m.end()) for m in re.finditer(r"[^ \t]+", text)]


def _word_table(raw: Raw, split: Segmenter, max_words: int) -> tuple[pl.DataFrame, dict[int, str]]:
    """Return the words of the sentences that can be kept, and why the others cannot."""
    tables = []
    reasons: dict[int, str] = {}
    for begin in range(0, len(raw.texts), _CHUNK):
        numbers = range(begin, min(begin + _CHUNK, len(raw.texts)))
        counts = np.zeros(len(numbers), dtype=np.int64)
        spans: list[Span] = []
        extra: dict[str, list[str | None]] = {name: [] for name in raw.word_columns}
        for k, i in enumerate(numbers):
            text = raw.texts[i]
            places = raw.spans[i] if raw.spans is not None else split(text)
            if not places or len(places) > max_words:
                reasons[i] = "overlong" if places else "empty"
                continue
            counts[k] = len(places)
            spans += places
            for name, column in raw.word_columns.items():
                extra[name] += column[i]
        tables.append(_columns(numbers, counts, spans, extra))
    return pl.concat(tables), reasons


def _columns(
    numbers: range, counts: npt.NDArray[np.int64], spans: list[Span], extra: Mapping[str, list[str | None]]
) -> pl.DataFrame:
    """Build one chunk of the word table, column by column."""
    words, starts, ends = zip(*spans, strict=True) if spans else ((), (), ())
    position = np.arange(len(spans)) - np.repeat(np.cumsum(counts) - counts, counts)
    data: dict[str, Any] = {"sentence": np.repeat(np.asarray(numbers), counts), "position": position}
    return _table(data | {"word": words, "start": starts, "end": ends}, extra)


def _table(columns: Mapping[str, Any], further: Mapping[str, Sequence[str | None]]) -> pl.DataFrame:
    types = SENTENCE_COLUMNS | WORD_COLUMNS | dict.fromkeys(further, pl.String)
    return pl.DataFrame([pl.Series(name, column, dtype=types[name]) for name, column in {**columns, **further}.items()])


def _dropped(
    raws: Mapping[str, Raw], reasons: Mapping[str, Mapping[int, str]], *, parallel: bool
) -> tuple[list[Dropped], dict[str, list[int]]]:
    """Return one record a dropped sentence, and the sentence numbers to leave out of each language."""
    records: dict[tuple[int, str], Dropped] = {}
    for language, by_number in reasons.items():
        raw = raws[language]
        for number, reason in by_number.items():
            key = (number, "" if parallel else language)
            records.setdefault(key, Dropped(reason, language, raw.path, raw.lines[number]))
    everywhere = sorted({number for by_number in reasons.values() for number in by_number})
    numbers = {language: everywhere if parallel else sorted(reasons[language]) for language in raws}
    return [records[key] for key in sorted(records)], numbers


def _report(
    dropped: Sequence[Dropped],
    raws: Mapping[str, Raw],
    reasons: Mapping[str, Mapping[int, str]],
    max_words: int,
    *,
    parallel: bool,
) -> None:
    """Warn in one line of what was dropped; fail where nothing is left."""
    if not dropped:
        return
    sizes = {language: len(raw.texts) for language, raw in raws.items()}
    total = next(iter(sizes.values())) if parallel else sum(sizes.values())
    counts = Counter(d.reason for d in dropped)
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
    places = ", ".join(f"{d.path}:{d.line} ({d.language} {d.reason})" for d in dropped[:5])
    places += ", ..." if len(dropped) > 5 else ""
    lost = Counter(d.language for d in dropped)
    if len(raws) > 1:
        why += "; " + ", ".join(f"{len(numbers)} of {language}" for language, numbers in reasons.items() if numbers)
    gone = [language for language in raws if lost[language] == sizes[language]]
    if len(dropped) == total or (gone and not parallel):
        whose = "" if parallel or len(gone) == len(raws) else f" of {', '.join(gone)}"
        raise InputError(
            f"No sentence{whose} is left: all were dropped ({why}; limit {max_words} words): {places}. "
            "Check the files, or raise max_words."
        )
    what = "sentences from all languages" if parallel else "sentences"
    log.warning("Dropped %d of %d %s (%s; limit %d words): %s", len(dropped), total, what, why, max_words, places)
