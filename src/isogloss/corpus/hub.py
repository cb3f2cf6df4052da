"""Hugging Face datasets, by name or as a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isogloss.corpus.formats import from_parallel, from_records
from isogloss.corpus.raw import Raw
from isogloss.errors import InputError, MissingExtraError, UsageError, unknown

_SAVED = ("state.json", "dataset_dict.json")  # what `save_to_disk` leaves in a folder


def read_datasets(
    files: Mapping[str, str] | str,
    *,
    languages: Sequence[str] | None = None,
    split: str | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    text_field: str = "text",
) -> dict[str, Raw]:
    """Read a data set of the Hugging Face hub, a folder made by ``save_to_disk``, or a folder of data files.

    One multi-parallel data set: the languages are the keys of its ``translation`` column, or of `columns`.
    One data set a language (a mapping): rows with `text_field`, or ``tokens`` and ``ner_tags``.  Class labels
    are given by name; entity tags become IOB2, and numbers without names are refused.

    Parameters
    ----------
    split : str, optional
        E.g. ``"test"``; may be left out where there is only one.
    name : str, optional
        Configuration of the data set, e.g. ``"de-en"``.
    columns : mapping of str to str, optional
        Language -> column with its sentences, e.g. ``{"en": "sentence_en"}``.
    text_field : str
        Column with the sentences where `files` is a mapping.

    Raises
    ------
    MissingExtraError
        If ``datasets`` is not installed.
    InputError
        If the data set cannot be loaded.
    UsageError
        If there is no such split or column.
    """
    if not isinstance(files, str):
        return {
            language: from_records(_rows(_load(path, split, name)), path, text_field=text_field)
            for language, path in files.items()
        }
    data = _load(files, split, name)
    rows = _rows(data)
    if columns is not None:
        for column in columns.values():
            if column not in data.column_names:
                raise unknown("column", column, data.column_names, where=files)
        texts = [{language: row[column] for language, column in columns.items()} for row in rows]
        languages = list(columns) if languages is None else languages
    elif "translation" in data.column_names:
        texts = [row["translation"] for row in rows]
        odd = next((n for n, text in enumerate(texts, 1) if not isinstance(text, Mapping | None)), None)
        if odd is not None:
            raise InputError(
                f"{files}, row {odd}: 'translation' must hold a text for each language, e.g. {{'en': '...'}}; got "
                f"{repr(texts[odd - 1])[:60]}."
            )
        if languages is None:  # every key is one, Indonesian's 'id' too
            filled = (key for text in texts for key, value in (text or {}).items() if value is not None)
            languages = list(dict.fromkeys(filled))
    else:
        raise UsageError(
            f"{files} has the columns {', '.join(data.column_names)} and no 'translation'. Say which hold "
            "sentences, e.g. columns={'en': 'sentence_en', 'de': 'sentence_de'}."
        )
    labels = ({"label": row["label"]} if "label" in row else {} for row in rows)
    rows = [{**(text or {}), **label} for text, label in zip(texts, labels, strict=True)]
    return from_parallel(rows, range(1, len(rows) + 1), files, languages=languages)


def _load(path: str, split: str | None, name: str | None) -> Any:
    """Return one ``datasets.Dataset``."""
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "datasets", "Reading Hugging Face datasets") from None
    folder = Path(path)
    try:
        if any((folder / mark).is_file() for mark in _SAVED):
            data = datasets.load_from_disk(path)
        else:
            data = datasets.load_dataset(path, name)
    # the library raises many kinds: network, missing files, bad data
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"The data set '{path}' cannot be loaded: {first} Check its name, folder or network access."
        ) from None
    if not isinstance(data, dict):
        data = {split if data.split is None else str(data.split): data}
    if split is None and len(data) == 1:
        return next(iter(data.values()))
    if split is None:
        raise UsageError(f"{path} has the splits {', '.join(data)}. Choose one with split=.")
    if split not in data:
        raise unknown("split", split, data, where=path)
    return data[split]


def _rows(data: Any) -> list[dict[str, Any]]:
    """Return the rows with class labels (single or in lists) replaced by their names."""
    import datasets

    rows: list[dict[str, Any]] = list(data)
    for column, feature in data.features.items():
        inner = getattr(feature, "feature", feature)
        if isinstance(inner, datasets.ClassLabel):
            names = dict(enumerate(inner.names))  # -1, the mark of unlabelled rows, becomes None
            for row in rows:
                value = row[column]
                if isinstance(value, list):
                    named = [names.get(v) for v in value]
                    row[column] = named if not named or any(named) else None  # a row that nobody annotated
                else:
                    row[column] = names.get(value)
    return rows
