"""The starter: a built-in corpus, model and study, so that everything can be tried without a network."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from isogloss import store
from isogloss.arguments import checked
from isogloss.corpus import Corpus
from isogloss.errors import InputError, unknown
from isogloss.segment import segment

_HERE = Path(__file__).parent
_HEADER = re.compile(r"# (\S+)\t(\S+)\t(\S+)")
_LINE = re.compile(r"(\w+): (.+)")
_MARK = re.compile(r"\[([A-Z]+) ([^\[\]]+)\]")
_UNSPACED = {"zh"}  # the file has a space between words, the text has none

Span = tuple[int, int, str]  # start, end, type


def corpus_file() -> Path:
    """Return the file of the built-in corpus, in the notation of `parse`."""
    return _HERE / "corpus.txt"


def model_folder() -> Path:
    """Return the folder of the built-in model, in the hub's format."""
    return _HERE / "model"


@checked
def load_corpus(languages: Sequence[str] | None = None) -> Corpus:
    """Return the built-in multi-parallel corpus: everyday and newspaper-like sentences in en, de, es, fr, ar, zh.

    Parameters
    ----------
    languages : sequence of str
        Which languages, in which order; all when not given.

    Returns
    -------
    Corpus
        Sentences carry ``label`` (the sentiment: ``positive``, ``neutral``, ``negative``), ``topic`` and
        ``id``; words carry ``ner`` (IOB2 tags: ``B-PER``, ``I-PER``, ..., ``O``).

    Raises
    ------
    UsageError
        If a language is not in the corpus.

    Examples
    --------
    >>> from isogloss.starter import load_corpus
    >>> load_corpus(["en", "fr"]).languages
    ('en', 'fr')
    """
    return parse(store.read_lines(corpus_file()), languages, name=corpus_file().name)


@dataclass(frozen=True)
class _Sentence:
    id: str
    label: str
    topic: str
    language: str
    text: str
    words: list[tuple[str, int, int]]
    spans: list[Span]
    place: str


def parse(lines: Iterable[str], languages: Sequence[str] | None = None, *, name: str = "corpus") -> Corpus:
    """Read the starter corpus's notation from lines; `load_corpus` says what comes out.

    A block is a header, ``# ID<tab>LABEL<tab>TOPIC``, and a line ``LANGUAGE: text`` per language with
    entities marked as ``[PER Marie Curie]``; empty lines are skipped.  Chinese lines have a space between
    words, which is not part of the text.

    Raises
    ------
    InputError
        If a line is none of these, a block lacks a language, or an entity does not start and end with a word.
    UsageError
        If a language is asked for that is not there.
    """
    blocks: list[list[_Sentence]] = []
    header: re.Match[str] | None = None
    for number, line in enumerate(lines, start=1):
        place = f"{name}, line {number}"
        if match := _HEADER.fullmatch(line):
            header = match
            blocks.append([])
        elif (match := _LINE.fullmatch(line)) and header:
            blocks[-1].append(_sentence(header, match[1], match[2], place))
        elif line.strip():
            raise InputError(f"{place}: neither '# ID<tab>LABEL<tab>TOPIC' nor 'LANGUAGE: text': {line[:60]!r}.")
    if not blocks:
        raise InputError(f"{name} has no sentences.")
    present = tuple(sentence.language for sentence in blocks[0])
    if not present or len(set(present)) < len(present):
        raise InputError(f"{name}: the first block must have one line a language; got {', '.join(present) or 'none'}.")
    for block in blocks:
        if tuple(sentence.language for sentence in block) != present:
            raise InputError(
                f"{name}: every block must have the languages {', '.join(present)}, in the first one's order; "
                f"{f'{block[0].place} ({block[0].id}) begins one that does not' if block else 'one has none'}."
            )
    ids = [block[0].id for block in blocks]
    if len(set(ids)) < len(ids):
        again = next(block[0] for i, block in enumerate(blocks) if ids[i] in ids[:i])
        raise InputError(f"{again.place}: the id {again.id} is taken already. Give every block its own.")
    for language in languages or ():
        if language not in present:
            raise unknown("language", language, present)
    by_language = [{sentence.language: sentence for sentence in block} for block in blocks]
    return _corpus(by_language, tuple(languages or present))


def _sentence(header: re.Match[str], language: str, line: str, place: str) -> _Sentence:
    text, spans = _unmark(unicodedata.normalize("NFC", " ".join(line.split())), place)
    if language in _UNSPACED:
        text, words, moved = _close_up(text)
        spans = [(moved[start], moved[end - 1] + 1, kind) for start, end, kind in spans]
    else:
        words = segment(text, language)
    return _Sentence(header[1], header[2], header[3], language, text, words, spans, place)


def _unmark(marked: str, place: str) -> tuple[str, list[Span]]:
    """Return the text without its marks, and the marked spans in it."""
    text, spans, end = "", [], 0
    for mark in _MARK.finditer(marked):
        text += marked[end : mark.start()]
        spans.append((len(text), len(text) + len(mark[2]), mark[1]))
        text += mark[2]
        end = mark.end()
    text += marked[end:]
    if "[" in text or "]" in text:
        raise InputError(f"{place}: an entity mark is not of the form [PER Marie Curie].")
    return text, spans


def _close_up(spaced: str) -> tuple[str, list[tuple[str, int, int]], list[int]]:
    """Return a line without the single spaces between its words, the words, and where each character went.

    A space stays where ASCII letters or digits would run together.
    """
    text, words, moved = "", [], []
    for word in spaced.split(" "):
        if text and (text[-1] + word[0]).isascii() and (text[-1] + word[0]).isalnum():
            text += " "
        words.append((word, len(text), len(text) + len(word)))
        # and the space behind
        moved += [*range(len(text), len(text) + len(word) + 1)]
        text += word
    return text, words, moved


def _corpus(blocks: Sequence[dict[str, _Sentence]], languages: tuple[str, ...]) -> Corpus:
    sentences, words = [], []
    for language in languages:
        for number, block in enumerate(blocks):
            sentence = block[language]
            sentences.append((language, number, sentence.text, sentence.label, sentence.topic, sentence.id))
            words += [(language, number, position, *word) for position, word in enumerate(_tagged(sentence))]
    of_sentences = {"text": pl.String, "label": pl.String, "topic": pl.String, "id": pl.String}
    of_words = {"position": pl.Int16, "word": pl.String, "start": pl.Int32, "end": pl.Int32, "ner": pl.String}
    key = {"language": pl.String, "sentence": pl.Int32}
    table = pl.DataFrame(words, schema={**key, **of_words}, orient="row")
    return Corpus(
        pl.DataFrame(sentences, schema={**key, **of_sentences}, orient="row"),
        table.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), pl.all()),
        languages,
    )


def _tagged(sentence: _Sentence) -> list[tuple[str, int, int, str]]:
    """Return (word, start, end, IOB2 tag) for the words of a sentence."""
    words = sentence.words
    starts, ends = {start for _, start, _ in words}, {end for _, _, end in words}
    for start, end, kind in sentence.spans:
        if start not in starts or end not in ends:
            raise InputError(
                f"{sentence.place}: the {kind} '{sentence.text[start:end]}' "
                "does not start and end with a word. Mark whole words."
            )
    tagged = []
    for word, start, end in words:
        tag = "O"
        for begin, stop, kind in sentence.spans:
            if begin <= start and end <= stop:
                tag = f"{'B' if start == begin else 'I'}-{kind}"
        tagged.append((word, start, end, tag))
    return tagged
