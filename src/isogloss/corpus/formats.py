"""Sentence formats: one sentence a line, tab-separated tables, and JSON lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from isogloss.corpus.raw import Raw, join, nfc, place
from isogloss.errors import InputError, unknown
from isogloss.store import read_lines

log = logging.getLogger(__name__)

NOT_LANGUAGES = ("id", "label")  # fields beside the languages of a multi-parallel object or table


def read_text(files: Mapping[str, str]) -> dict[str, Raw]:
    """Read one sentence a line, one file a language."""
    raws = {}
    for language, path in files.items():
        texts = [nfc(line) for line in read_lines(path)]
        raws[language] = Raw(path, texts, range(1, len(texts) + 1))
    return raws


def read_tsv(path: str, *, languages: Sequence[str] | None = None) -> dict[str, Raw]:
    """Read a table with one multi-parallel sentence a row, columns separated by tabs.

    The first row names the languages, unless `languages` names all columns of a table without such a row.
    With both, only the columns in `languages` are read.  A column ``label`` becomes a sentence column,
    a column ``id`` is left out.

    Raises
    ------
    InputError
        If a row has another number of columns than the first.
    """
    rows = [line.split("\t") for line in _without_blank_end(read_lines(path))]
    if not rows:
        raise InputError(f"{path} is empty. Give a header of language codes and one sentence a row.")
    header = [cell.strip() for cell in rows[0]]
    has_header = languages is None or not set(languages).isdisjoint(header)
    names = header if has_header else list(languages or ())
    first = 2 if has_header else 1
    rows = rows[first - 1 :]
    if len(set(names)) < len(names):
        raise InputError(f"{path}, line 1: a column is named twice: {', '.join(names)}.")
    for n, row in enumerate(rows, first):
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {n}: {len(row)} columns, but {len(names)} expected ({', '.join(names)}). "
                "Columns are separated by one tab each."
            )
    kept = languages if languages is not None else [name for name in names if name not in NOT_LANGUAGES]
    for language in kept:
        if language not in names:
            raise unknown("language", language, names, where=path)
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    labels: list[str | None] = list(columns.get("label", ()))
    raws = {}
    for language in kept:
        raw = Raw(path, [nfc(text) for text in columns[language]], range(first, first + len(rows)))
        raw.sentence_columns = {"label": labels} if "label" in columns else {}
        raws[language] = raw
    return raws


def read_jsonl(
    files: Mapping[str, str] | str, *, languages: Sequence[str] | None = None, text_field: str = "text"
) -> dict[str, Raw]:
    """Read one JSON object a line.

    One file: multi-parallel objects ``{"en": "...", "de": "..."}``; the languages are `languages` or the
    string fields of the first object except ``id`` and ``label``.  One file a language: objects
    with the field `text_field`, or with a list ``tokens`` (and a list ``ner_tags``, which becomes the word
    column ``ner``); with both, the text is kept if the tokens fit it.  ``label`` becomes a sentence column.
    A text that is null is an empty sentence.

    Raises
    ------
    InputError
        If a line is not a JSON object, lacks a field, or a value has the wrong type.
    """
    if isinstance(files, str):
        records = list(_objects(files))
        return from_parallel(records, range(1, len(records) + 1), files, languages=languages)
    return {
        language: from_records(_objects(path), path, text_field=text_field)
        for language, path in files.items()
    }


def _without_blank_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _objects(path: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file; blank lines at its end are ignored."""
    for n, line in enumerate(_without_blank_end(read_lines(path)), 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {n}: not JSON ({error}). Give one object a line.") from None
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {n}: expected a JSON object, got '{line[:60]}'.")
        yield value


def from_parallel(
    records: Sequence[Mapping[str, Any]],
    lines: Sequence[int],
    path: str,
    *,
    languages: Sequence[str] | None = None,
) -> dict[str, Raw]:
    """Make one `Raw` a language from multi-parallel objects."""
    if not records:
        raise InputError(f'{path} is empty. Give objects like {{"en": "...", "de": "..."}}, one a line.')
    if languages is None:
        languages = [
            name for name, value in records[0].items() if isinstance(value, str) and name not in NOT_LANGUAGES
        ]
    if not languages:
        raise InputError(
            f"{path}, line {lines[0]}: no languages among the fields {', '.join(records[0])}. For one file a "
            "language give a mapping, e.g. {'en': 'en.jsonl', 'de': 'de.jsonl'}."
        )
    raws = {}
    for language in languages:
        texts = [
            _text(record, language, f"{path}, line {n}") for record, n in zip(records, lines, strict=True)
        ]
        raws[language] = Raw(path, texts, lines, sentence_columns=_labels(records))
    return raws


def from_records(records: Iterable[Mapping[str, Any]], path: str, *, text_field: str = "text") -> Raw:
    """Make the `Raw` of one language from objects with a text, or with tokens and tags."""
    records = list(records)
    lines = range(1, len(records) + 1)
    labels = _labels(records)
    if not records or "tokens" not in records[0]:
        texts = [_text(record, text_field, f"{path}, line {n}") for n, record in enumerate(records, 1)]
        return Raw(path, texts, lines, sentence_columns=labels)
    texts, spans, tags, misfits = [], [], [], []
    for n, record in enumerate(records, 1):
        where = f"{path}, line {n}"
        words = [nfc(word) for word in _strings(record, "tokens", where)]
        if not all(word.strip() for word in words):
            raise InputError(
                f"{where}: an item of 'tokens' is empty. Every token needs at least one character."
            )
        text = nfc(record[text_field]) if isinstance(record.get(text_field), str) else None
        found = place(words, text) if text is not None else None
        if text is None or found is None:
            if text is not None:
                misfits.append(n)
            text, found = join(words)
        texts.append(text)
        spans.append(found)
        tags.append(_tags(record, len(words), where) if "ner_tags" in records[0] else [])
    if misfits:
        log.warning(
            "%s: the tokens of %d sentences do not fit their text and were joined by spaces, first: line %d",
            path,
            len(misfits),
            misfits[0],
        )
    return Raw(path, texts, lines, spans, {"ner": tags} if "ner_tags" in records[0] else {}, labels)


def _tags(record: Mapping[str, Any], n_words: int, where: str) -> list[str]:
    tags = _strings(record, "ner_tags", where)
    if len(tags) != n_words:
        raise InputError(f"{where}: {n_words} tokens but {len(tags)} ner_tags. Give one tag per token.")
    return tags


def _strings(record: Mapping[str, Any], name: str, where: str) -> list[str]:
    values = record.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str | int) for value in values):
        raise InputError(f"{where}: '{name}' must be a list of strings; got {str(values)[:60]}.")
    return [str(value) for value in values]


def _text(record: Mapping[str, Any], name: str, where: str) -> str:
    if name not in record:
        raise InputError(str(unknown("field", name, record, where=where)))
    value = record[name]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: '{name}' must be a string; got {str(value)[:60]}.")
    return nfc(value)


def _labels(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    if not any("label" in record for record in records):
        return {}
    values = (record.get("label") for record in records)
    return {"label": [None if value is None else str(value) for value in values]}
