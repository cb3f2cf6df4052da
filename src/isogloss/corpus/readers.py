"""Reading files into a corpus: which format, and which options it has."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isogloss.arguments import Words, checked
from isogloss.corpus.conll import read_conll
from isogloss.corpus.conllu import read_conllu
from isogloss.corpus.content import recognise
from isogloss.corpus.data import Corpus
from isogloss.corpus.formats import read_jsonl, read_text, read_tsv
from isogloss.corpus.hub import read_datasets
from isogloss.corpus.raw import Raw, nfc
from isogloss.corpus.tables import assemble
from isogloss.errors import UsageError, unknown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """A format: what it is, its reader and file endings, and whether it takes one file, one a language, or both."""

    what: str
    reader: Callable[..., dict[str, Raw]]
    endings: tuple[str, ...] = ()
    one_file: bool = False
    file_per_language: bool = True


FORMATS = {
    "text": Format("one sentence a line, a file per language", read_text, (".txt",)),
    "conllu": Format(
        "treebanks: words with UPOS and features (CoNLL-U, CoNLL-U Plus, CoNLL-X)",
        read_conllu,
        (".conllu", ".conllup", ".cupt", ".conllx"),
    ),
    "conll": Format("one word and its tags a line", read_conll, (".conll", ".iob", ".iob2", ".bio")),
    "jsonl": Format(
        "one object a line: all languages in one file, or a file per language",
        read_jsonl,
        (".jsonl", ".ndjson"),
        one_file=True,
    ),
    "tsv": Format(
        "one multi-parallel sentence a row, a header of languages",
        read_tsv,
        (".tsv",),
        one_file=True,
        file_per_language=False,
    ),
    "datasets": Format("a Hugging Face data set, by name or folder", read_datasets, one_file=True),
}
_TABLES = (".json", ".csv", ".parquet", ".arrow", ".xlsx")
_DOCUMENTS = (".xml", ".tmx", ".sgm", ".sgml", ".xlf", ".xliff", ".html", ".htm", ".pdf", ".docx", ".epub", ".zip")
_NOT_TEXT = (*_TABLES, *_DOCUMENTS)
_BY_CONTENT = ("text", "tsv", "conll")  # formats whose endings are also given to others


@checked
def read(
    files: Mapping[str, str | Path] | str | Path,
    *,
    format: str = "auto",
    max_words: Words = 300,
    parallel: bool = True,
    segmented: bool = False,
    languages: Sequence[str] | None = None,
    **options: Any,
) -> Corpus:
    """Read files into a corpus.

    Texts are normalised to NFC and otherwise untouched.  Sentence number `i` is the i-th sentence of a
    file, counted from 0.  A sentence that is empty or longer than `max_words` in *any* language is
    dropped from *all* (from its own alone if not `parallel`), recorded in `Corpus.dropped` and
    reported; the others keep their numbers.  Nothing else is dropped.

    Parameters
    ----------
    files : mapping of str to path, or path
        Language label -> file; or one file or data set that holds all languages.  ``.gz`` is unpacked.
    format : str
        ``"text"``, ``"conllu"``, ``"conll"``, ``"jsonl"``, ``"tsv"``, ``"datasets"``, or ``"auto"``: by the
        file's ending; a folder is a data set, and any ending not known is text.  CoNLL-U and columns of words with
        entity tags are recognised under any of these endings.
    max_words : int
        Longest sentence kept, in words; 1 to 32,767.
    parallel : bool
        Sentence `i` is the same sentence in every language, so counts must agree.
    segmented : bool
        Words of plain text are separated by spaces or tabs already; nothing is segmented.  Formats
        that give words (conllu, conll, ``tokens``) keep them in any case.
    languages : sequence of str, optional
        Which languages, in which order.  Names the columns of a headerless TSV.
    **options
        Options of the format: ``columns``, ``comment`` (conll); ``text_field`` (jsonl); ``split``, ``name``,
        ``columns``, ``text_field`` (datasets).  See `read_conll`, `read_jsonl`, `read_datasets`.

    Returns
    -------
    Corpus
        With word columns ``upos`` and ``feats`` (conllu), ``ner`` (conll, or those in ``columns``;
        ``ner_tags``), and sentence column ``label`` where the files have them (all str; null where a
        language has none).

    Raises
    ------
    InputError
        If a file is missing, not UTF-8, malformed (named with its line), empty, or of another length than the
        others; or if every sentence was dropped.
    UsageError
        If the format or an option is unknown, the format does not go with `files`, or two languages have one file.
    MissingExtraError
        If a language or format needs a package that is not installed.

    Examples
    --------
    >>> from isogloss.corpus.readers import read
    >>> corpus = read({"en": "dev.en", "de": "dev.de"}, max_words=100)  # doctest: +SKIP
    """
    paths: dict[str, str] | str
    if isinstance(files, Mapping):
        for language in languages or ():
            if language not in files:
                raise unknown("language", language, files)
        paths = {language: os.fspath(files[language]) for language in languages or files}
        _check_distinct(paths)
    else:
        paths = os.fspath(files)
    kind = _format(paths) if format == "auto" else format
    if kind not in FORMATS:
        raise unknown("format", kind, [*FORMATS, "auto"])
    _check_call(paths, kind, options)
    if isinstance(paths, str):
        options = {**options, "languages": languages}
    raws = FORMATS[kind].reader(paths, **options)
    return assemble(raws, parallel=parallel, segmented=segmented, max_words=max_words)


@checked
def from_texts(
    texts: Mapping[str, Sequence[str]], *, segmented: bool = False, max_words: Words = 300, parallel: bool = True
) -> Corpus:
    """Make a corpus from sentences in memory; checks and drops as `read` does.

    Parameters
    ----------
    texts : mapping of str to sequence of str
        Language label -> its sentences.
    segmented, max_words, parallel
        See `read`.

    Raises
    ------
    InputError
        If the languages have different numbers of sentences, or every sentence was dropped.
    UsageError
        If no language is given.

    Examples
    --------
    >>> corpus = from_texts({"en": ["A red car."], "de": ["Ein rotes Auto."]})
    >>> corpus.word_lists("de")
    [['Ein', 'rotes', 'Auto', '.']]
    """
    raws = {}
    for language, sentences in texts.items():
        normal = [nfc(text) for text in sentences]
        raws[language] = Raw(f"texts['{language}']", normal, range(1, len(normal) + 1))
    if not raws:
        raise UsageError("No languages were given. Give a mapping, e.g. {'en': ['A red car.']}.")
    return assemble(raws, parallel=parallel, segmented=segmented, max_words=max_words)


# -- which format -------------------------------------------------------------------------------


def _format(paths: dict[str, str] | str) -> str:
    """Return the format that the file endings name."""
    kinds = {path: _guess(path) for path in ([paths] if isinstance(paths, str) else paths.values())}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{path} ({kind})" for path, kind in kinds.items())
        raise UsageError(f"All files of a corpus must have the same format; got {listed}. Name it with format=.")
    return next(iter(kinds.values()), "text")


def _guess(path: str) -> str:
    if Path(path).is_dir():
        return "datasets"
    name = path.lower().removesuffix(".gz")
    by_ending = next((kind for kind, form in FORMATS.items() if name.endswith(form.endings)), None)
    if by_ending is None and name.endswith(_NOT_TEXT):
        raise UsageError(
            f"{path}: the ending names none of the formats {', '.join(FORMATS)}. Convert the file, e.g. to one "
            "sentence a line and one file a language, or name its format with format=."
        )
    kind = by_ending or "text"
    by_content = recognise(path) if kind in _BY_CONTENT else None
    if by_content is None or by_content == kind:
        return kind
    # one file of columns for another is what its user meant; text might be text
    level = logging.WARNING if kind == "text" else logging.INFO
    log.log(level, "%s is read as %s, by its content. Another format is named with format=.", path, by_content)
    return by_content


def _check_distinct(paths: Mapping[str, str]) -> None:
    """Refuse one file for two languages: they would be aligned with themselves."""
    owners: dict[object, str] = {}
    for language, path in paths.items():
        file: object = path
        with contextlib.suppress(OSError):  # a name on the hub, or a file that the reader will miss
            status = Path(path).stat()
            file = (status.st_dev, status.st_ino)
        other = owners.setdefault(file, language)
        if other != language:
            raise UsageError(
                f"{other} and {language} have one and the same file, {path}: two languages with the same words are "
                "aligned by construction. Give each its own file; a file with all languages is given alone, without "
                "a mapping."
            )


def _check_call(paths: dict[str, str] | str, kind: str, options: Mapping[str, Any]) -> None:
    """Refuse files that do not go with the format, and options that it does not have."""
    form = FORMATS[kind]
    if not paths:
        raise UsageError("No files were given. Give a mapping, e.g. {'en': 'dev.en', 'de': 'dev.de'}.")
    if isinstance(paths, str) and not form.one_file:
        hint = "" if Path(paths).exists() else " For a data set of the Hugging Face hub say format='datasets'."
        raise UsageError(
            f"Format '{kind}' has one file a language; got '{paths}' alone. "
            f"Say which language it is, e.g. {{'en': '{paths}'}}.{hint}"
        )
    if isinstance(paths, dict) and not form.file_per_language:
        raise UsageError(
            f"Format '{kind}' has one file with all languages; got a mapping of {', '.join(paths)}. "
            "Give the one file; for one sentence a line in each file say format='text'."
        )
    parameters = inspect.signature(form.reader).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "languages"]
    for option in options:
        if option not in names:
            common = ("format", "max_words", "parallel", "segmented", "languages")
            raise unknown("option", option, [*names, *common], where=f"reading format '{kind}'")
