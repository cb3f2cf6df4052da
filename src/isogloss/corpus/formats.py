"""Sentence formats: one sentence a line, tab-separated tables, and JSON lines."""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from isogloss.corpus.content import refuse_markup
from isogloss.corpus.raw import Raw, Span, join, lines_in, nfc, place
from isogloss.corpus.tags import to_iob2
from isogloss.errors import InputError, unknown
from isogloss.languages import read_language

log = logging.getLogger(__name__)

_SHOWN = 10  # names in a message
_MOST_LACK = 0.5  # a field that a larger share of the objects lacks may be no language
_LONGEST_LABEL = 30  # characters of a column's name
_SENTENCE = re.compile(r"\s|[.!?\u2026\u3002\uff01\uff1f\u061f\u0964]\W*$")  # in a cell: it is no label
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape of half a character beyond U+FFFF
_ADVICE = "Leave 'ner_tags' out to read the words alone."


def read_text(files: Mapping[str, str]) -> dict[str, Raw]:
    """Read one sentence a line, one file a language.

    Raises
    ------
    UsageError
        If a file begins as XML, HTML, PDF and the like do.
    """
    raws = {}
    for language, path in files.items():
        refuse_markup(path)
        texts = [nfc(line) for line in lines_in(path)]
        raws[language] = Raw(path, texts, range(1, len(texts) + 1))
    return raws


def read_tsv(path: str, *, languages: Sequence[str] | None = None) -> dict[str, Raw]:
    """Read a table with one multi-parallel sentence a row, columns separated by tabs.

    The first row names the languages, unless `languages` names all columns of a table without such a row.
    With both, only the columns in `languages` are read.  A column ``label`` becomes a sentence column
    (an empty cell: no label), a column ``id`` is left out if it looks like row ids, else it is Indonesian.

    Raises
    ------
    InputError
        If the first row holds sentences although no languages are given, or a row has another number of columns.
    """
    rows = [line.split("\t") for line in _without_blank_end(lines_in(path))]
    if not rows:
        raise InputError(f"{path} is empty. Give a header of language codes and one sentence a row.")
    header = [cell.strip() for cell in rows[0]]
    has_header = languages is None or not set(languages).isdisjoint(header)
    names = header if has_header else list(languages or ())
    if languages is None:
        _refuse_sentences(header, path)
    first = 2 if has_header else 1
    rows = rows[first - 1 :]
    if len(set(names)) < len(names):
        raise InputError(f"{path}, line 1: a column is named twice: {', '.join(names)[:300]}.")
    for n, row in enumerate(rows, first):
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {n}: {len(row)} columns, but {len(names)} expected ({', '.join(names)[:300]}). "
                "Columns are separated by one tab each."
            )
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    kept = languages if languages is not None else _without_others(names, columns.get("id", ()), path)
    if not kept:
        raise InputError(
            f"{path}, line 1: no languages among the columns {', '.join(names)[:300]}. The first row names them, e.g. "
            "en, de, label, with tabs between them."
        )
    for language in kept:
        if language not in names:
            raise unknown("language", language, names, where=path)
    if languages is None and not any(map(read_language, kept)):
        log.warning(
            "%s, line 1: no natural language is among the columns %s, which are taken for labels. If the first row is "
            "a sentence already, name the columns, e.g. languages=['en', 'de']",
            path,
            ", ".join(kept)[:300],
        )
    labels: list[str | None] = [cell if cell.strip() else None for cell in columns.get("label", ())]
    texts = {language: [nfc(text) for text in columns[language]] for language in kept}
    further = {"label": labels} if "label" in columns else {}
    lines = range(first, first + len(rows))
    return {language: Raw(path, texts[language], lines, sentence_columns=further) for language in kept}


def read_jsonl(
    files: Mapping[str, str] | str, *, languages: Sequence[str] | None = None, text_field: str = "text"
) -> dict[str, Raw]:
    """Read one JSON object a line.

    One file: multi-parallel objects ``{"en": "...", "de": "..."}``; the languages are `languages` or the
    fields with strings, in any object, except ``label``, and ``id`` if it looks like row ids.  One file a language:
    objects with the field `text_field`, or with a list ``tokens`` (and a list ``ner_tags``, which becomes the word
    column ``ner`` in IOB2); with both, the text is kept if the tokens fit it.  ``label`` becomes a sentence column.
    A text that is null or absent is an empty sentence, and dropped with a warning.  ``ner_tags`` that are null or
    absent mark a sentence that nobody annotated.

    Raises
    ------
    InputError
        If a line is not a JSON object, no object has a field, a value has the wrong type, or it is not clear whether a
        field is a language.
    """
    if isinstance(files, str):
        records = list(_objects(files))
        return from_parallel(records, range(1, len(records) + 1), files, languages=languages)
    return {language: from_records(_objects(path), path, text_field=text_field) for language, path in files.items()}


def _refuse_sentences(header: Sequence[str], path: str) -> None:
    """Refuse a first row with a cell that is no label: the table has no header, and would lose a sentence."""
    for cell in header:
        if len(cell) > _LONGEST_LABEL or _SENTENCE.search(cell):
            shown = cell if len(cell) <= _LONGEST_LABEL else cell[:_LONGEST_LABEL] + "..."
            raise InputError(
                f"{path}, line 1: '{shown}' looks like a sentence, not like the label of a column. If it is one, "
                "write it shorter, e.g. en. If the file has no row of labels, begin it with one, e.g. en, de with a "
                f"tab between them, or name its {len(header)} columns, e.g. languages=['en', 'de']."
            )


def _without_others(names: Sequence[str], ids: Sequence[str], path: str) -> list[str]:
    """Leave out ``label``, and ``id`` where `ids`, its values, look like row ids: else it is Indonesian."""
    kept = [name for name in names if name != "label"]
    ids = [value for value in ids if value.strip()]
    # files put one behind the other count anew
    distinct = len(set(ids)) == len(ids) or not any(c.isalpha() for value in ids for c in value)
    if "id" in kept and distinct and not any(re.search(r"\s", value.strip()) for value in ids):
        # numbers are no doubt; single words might be a list of words
        level = logging.INFO if all(any(c.isdigit() for c in value) for value in ids) else logging.WARNING
        log.log(level, "%s: 'id' looks like row ids and was left out; for Indonesian give languages=%s", path, kept)
        kept.remove("id")
    return kept


def _without_blank_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _objects(path: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file; blank lines at its end are ignored."""
    for n, line in enumerate(_without_blank_end(lines_in(path)), 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {n}: not JSON ({error}). Give one object a line.") from None
        except RecursionError:
            raise InputError(
                f"{path}, line {n}: lists or objects lie too deep in one another. Give one flat object a line."
            ) from None
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {n}: expected a JSON object, got '{line[:60]}'.")
        if _HALF.search(line):
            _check_encodable(value, f"{path}, line {n}")
        yield value


def _check_encodable(value: Mapping[str, Any], where: str) -> None:
    """Refuse half surrogates, which no UTF-8 table can hold."""
    for name, part in value.items():
        try:
            json.dumps({name: part}, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{where}: half of a surrogate pair is no character, in the field {name!a}. Write both halves, or none."
            ) from None


def from_parallel(
    records: Sequence[Mapping[str, Any]], lines: Sequence[int], path: str, *, languages: Sequence[str] | None = None
) -> dict[str, Raw]:
    """Make one `Raw` a language from multi-parallel objects."""
    if not records:
        raise InputError(f'{path} is empty. Give objects like {{"en": "...", "de": "..."}}, one a line.')
    if languages is None:
        languages = _languages(records, path)
    if not languages:
        raise InputError(
            f"{path}, line {lines[0]}: no languages among the fields {', '.join(records[0])[:300]}. For one file a "
            "language give a mapping, e.g. {'en': 'en.jsonl', 'de': 'de.jsonl'}."
        )
    labels = _labels(records, path, lines)
    texts = {language: _texts(records, language, path, lines) for language in languages}
    return {language: Raw(path, texts[language], lines, sentence_columns=labels) for language in languages}


def _languages(records: Sequence[Mapping[str, Any]], path: str) -> list[str]:
    """Return the fields with strings but ``label`` and row ids, in the order in which they first occur."""
    counts = Counter(name for record in records for name, value in record.items() if isinstance(value, str))
    ids = [record["id"] for record in records if isinstance(record.get("id"), str)]
    kept = _without_others(list(counts), ids, path)
    for name in kept:
        n = counts[name]
        if n < _MOST_LACK * len(records):
            raise InputError(
                f"{path}: the field {name[:60]!r} has a text in only {n} of {len(records)} objects. Is it a language? "
                f"Name the languages, e.g. languages={[other for other in kept if other != name][:_SHOWN]}."
            )
    return kept


def from_records(records: Iterable[Mapping[str, Any]], path: str, *, text_field: str = "text") -> Raw:
    """Make the `Raw` of one language from objects with a text, or with tokens and tags."""
    records = list(records)
    lines = range(1, len(records) + 1)
    labels = _labels(records, path, lines)
    if not any("tokens" in record for record in records):
        return Raw(path, _texts(records, text_field, path, lines), lines, sentence_columns=labels)
    raw = Raw(path, [], lines, spans := [], sentence_columns=labels)
    misfits = []
    for n, record in enumerate(records, 1):
        words = _tokens(record, f"{path}, line {n}")
        text = nfc(record[text_field]) if isinstance(record.get(text_field), str) else None
        places = place(words, text) if text is not None else None
        if text is None or places is None:
            if text is not None:
                misfits.append(n)
            text, places = join(words)
        raw.texts.append(text)
        spans.append(places)
    if misfits:
        what = "%s: the tokens of %d sentences do not fit their text and were joined by spaces, first: line %d"
        log.warning(what, path, len(misfits), misfits[0])
    if any("ner_tags" in record for record in records):
        raw.word_columns["ner"] = _entity_tags(records, spans, path)
    return raw


def _tokens(record: Mapping[str, Any], where: str) -> list[str]:
    words = [nfc(word) for word in _strings(record, "tokens", where)]
    if not all(word.strip() for word in words):
        raise InputError(f"{where}: an item of 'tokens' is empty. Every token needs at least one character.")
    return words


def _entity_tags(
    records: Sequence[Mapping[str, Any]], spans: Sequence[Sequence[Span]], path: str
) -> list[list[str | None]]:
    """Return the tags of every sentence in IOB2; None for each word of one that nobody annotated."""
    annotated: list[list[str] | None] = []
    for n, (record, words) in enumerate(zip(records, spans, strict=True), 1):
        where = f"{path}, line {n}"
        tags = None if record.get("ner_tags") is None else _strings(record, "ner_tags", where)
        if tags is not None and len(tags) != len(words):
            raise InputError(f"{where}: {len(words)} tokens but {len(tags)} ner_tags. Give one tag per token.")
        annotated.append(tags)
    lacking = [n for n, tags in enumerate(annotated, 1) if tags is None]
    if lacking:
        what = "%s: %d of %d sentences have no 'ner_tags' and count as not annotated, first: line %d"
        log.warning(what, path, len(lacking), len(annotated), lacking[0])
    iob2 = to_iob2(annotated, lambda i, _: f"{path}, line {i + 1}", advice=_ADVICE)
    return [[None] * len(words) if tags is None else list(tags) for tags, words in zip(iob2, spans, strict=True)]


def _strings(record: Mapping[str, Any], name: str, where: str) -> list[str]:
    values = record.get(name)
    # numbers may stand for tags; those without names are refused where tags are read
    if not isinstance(values, list) or not all(isinstance(x, str | int) and not isinstance(x, bool) for x in values):
        raise InputError(f"{where}: '{name}' must be a list of strings; got {repr(values)[:60]}.")
    return [str(value) for value in values]


def _texts(records: Sequence[Mapping[str, Any]], name: str, path: str, lines: Sequence[int]) -> list[str]:
    """Return the texts of one field; "" where an object lacks it."""
    if records and not any(name in record for record in records):
        raise InputError(str(unknown("field", name, records[0], where=f"{path}, line {lines[0]}")))
    texts = []
    for n, record in zip(lines, records, strict=True):
        value = record.get(name)
        if value is not None and not isinstance(value, str):
            raise InputError(f"{path}, line {n}: '{name}' must be a string; got {repr(value)[:60]}.")
        texts.append("" if value is None else nfc(value))
    return texts


def _labels(records: Sequence[Mapping[str, Any]], path: str, lines: Sequence[int]) -> dict[str, list[str | None]]:
    if not any("label" in record for record in records):
        return {}
    labels: list[str | None] = []
    for n, record in zip(lines, records, strict=True):
        value = record.get("label")
        odd = isinstance(value, float) and not math.isfinite(value)
        if odd or not (value is None or isinstance(value, str | int | float)):
            raise InputError(f"{path}, line {n}: 'label' must be a string, a number, or null; got {repr(value)[:60]}.")
        labels.append(None if value is None else str(value))
    return {"label": labels}
