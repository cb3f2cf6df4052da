"""Extraction: the states of every word, and every sentence, at every layer wanted, in their files.

Sentences are tokenised whole, as the model would read them, and every subword is given to the word it shares most
characters with, and to words that would have none (`subwords`).  Batches of sentences of like length go through the
model once (`passes`); their pooled states (`pooling`) go straight into preallocated files, one per layer.  The work
can be killed at any moment and goes on from there.
"""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isogloss import models
from isogloss.arguments import BatchTokens, checked
from isogloss.corpus import SENTENCE_COLUMNS, WORD_COLUMNS, Corpus
from isogloss.errors import InputError, UsageError
from isogloss.extraction.passes import run_passes
from isogloss.extraction.saving import Progress, files_of, open_work, state_writers
from isogloss.extraction.settings import StackSettings, resolve
from isogloss.extraction.subwords import check_prefix, lines_of
from isogloss.settings import ExtractionSettings, takes
from isogloss.states import States
from isogloss.store import (
    CORPUS,
    StudyLayout,
    array_files,
    closing,
    layer_file,
    locked,
    n_subwords_file,
    open_array,
    partial_folder,
    progress_file,
    read_table,
    remove_folder,
    sentence_folder,
    shared_file,
    state_files,
)

log = logging.getLogger(__name__)

BATCH_TOKENS = {"cpu": 2_048, "cuda": 16_384}  # measured on CPUs; on a GPU small batches leave it idle
_MANY = 0.05  # share of a language's words from which unknown and shared subwords are reported


@checked
@takes(ExtractionSettings)
def extract(
    corpus: Corpus,
    model: str | Path,
    *,
    out: str | Path,
    settings: ExtractionSettings,
    stack: str | None = None,
    name: str | None = None,
    batch_tokens: BatchTokens | None = None,
    device: str = "auto",
    revision: str | None = None,
) -> States:
    """Write the states of every token at every wanted layer; a finished run is used, a killed one goes on.

    The default pooling is the mean of a word's subwords: it uses all that the model knows of the word, and,
    unlike the last subword (the paper's code), does not group words by a frequent ending such as ``##ing``
    or depend on the side on which a language inflects.

    The decoder of an encoder-decoder is teacher-forced: the encoder reads the same sentence in another
    language, the decoder its start token and the line itself.  The state of a subword is taken where it is
    the *input* and so has been read; where it is the label, one position earlier, it is only predicted.

    Parameters
    ----------
    corpus : Corpus
    model : str or Path
        A folder in the hub's format, a hub id, or a folder of sentence-transformers or of a peft adapter.
    out : str or Path
        The study folder.
    settings : ExtractionSettings, optional
        All of these at once; what is given beside it differs.
    stack : {"encoder", "decoder"}, optional
        Default: the first of the model's stacks.
    name : str, optional
        The model's short name in the study; default: the folder's name or the hub id.
    batch_tokens : int, optional
        Most subwords in a batch, padding included (one longer sentence is a batch of its own).  Default: 2,048 on a
        CPU, 16,384 on a GPU; it is halved where memory does not suffice.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` ...; on a CPU, torch's own number of threads is used, or fewer where
        the process may use fewer cores.
    revision : str, optional
        Branch, tag or commit on the hub.

    Returns
    -------
    States
        Memory-mapped; all tokens that have a state take part.

    Raises
    ------
    UsageError
        If a layer, stack, pooling, dtype, compute, language, language code or device does not exist.
    InputError
        If the model cannot be loaded, a sentence has no line to condition on, a state is not finite or does not fit
        `dtype`, or disk or memory do not suffice.
    IsoglossError
        If another process is working in the folder.

    Examples
    --------
    >>> states = extract(corpus, "xlm-roberta-base", layers=[0, 6, 12], out="study")  # doctest: +SKIP
    >>> states.at(6, language="de").X.shape  # doctest: +SKIP
    (21000, 768)
    """
    _, chosen, key = resolve(corpus, model, settings, stack=stack, revision=revision)
    study = StudyLayout(Path(out))
    name = name or (Path(model).resolve().name if Path(model).is_dir() else str(model))
    step = study.states_step(name, chosen.stack)
    with locked(study.lock):
        write_corpus(corpus, study)
        if study.is_done(step, key):
            log.info("states of %s/%s are already there", name, chosen.stack)
        else:
            loaded = load_model(model, chosen, corpus.languages, device=device, revision=revision)
            study.clear(step)
            _run(corpus, loaded, chosen, study=study, name=name, key=key, batch_tokens=batch_tokens)
    return _open(study, corpus.words, corpus.sentences, name=name, stack=chosen.stack)


@takes(ExtractionSettings)
def states_key(
    corpus: Corpus,
    model: str | Path,
    *,
    settings: ExtractionSettings,
    stack: str | None = None,
    revision: str | None = None,
) -> str:
    """Return the key under which `extract` marks these states as done; no weights are loaded.

    Parameters
    ----------
    corpus, model, stack, revision
        As of `extract`.
    settings : ExtractionSettings, optional
        All of these at once; what is given beside it differs.

    Raises
    ------
    UsageError, InputError
        As `extract`.
    """
    info, chosen, key = resolve(corpus, model, settings, stack=stack, revision=revision)
    if chosen.prefix and info.source.adapter is None:  # an adapter may bring subwords that its base lacks
        check_prefix(models.outline(info, chosen.stack), chosen.prefix)
    return key


@checked
def open_states(
    study: StudyLayout, *, name: str, stack: str, layer: int | None = None, sentences: bool = True
) -> States:
    """Open the finished states of one stack of one model, or of one layer of it; only the tables are read.

    Raises
    ------
    InputError
        If there are none, they belong to another corpus than the study's, or a file is damaged.
    """
    record = study.record(study.states_step(name, stack))
    if record is None:
        raise InputError(f"There are no states of {name}/{stack} in {study.root}. Run extract first.")
    if record["text"] != study.text():
        raise InputError(
            f"The states of {name}/{stack} in {study.root} belong to another corpus than the token table "
            "there. Run extract again."
        )
    tokens = read_table(study.checked(study.tokens, CORPUS), WORD_COLUMNS)
    lines = read_table(study.checked(study.sentences, CORPUS), SENTENCE_COLUMNS)
    return _open(study, tokens, lines, name=name, stack=stack, layer=layer, sentences=sentences)


def _open(
    study: StudyLayout,
    tokens: pl.DataFrame,
    lines: pl.DataFrame,
    *,
    name: str,
    stack: str,
    layer: int | None = None,
    sentences: bool = True,
) -> States:
    record = study.record(study.states_step(name, stack))
    assert record is not None
    info, folder = record["info"], study.states(name, stack)
    layers = [int(x) for x in info["layers"] if layer in (None, x)]
    arrays = {x: open_array(layer_file(folder, x)) for x in layers}
    words = word_facts(folder)
    tokens = tokens.with_columns(words)
    n_text = np.asarray(open_array(n_subwords_file(sentence_folder(folder))))
    lines = lines.with_columns(pl.Series("n_subwords", n_text, dtype=pl.Int32))
    whole = {
        kind: {x: open_array(layer_file(sentence_folder(folder, kind), x)) for x in layers}
        for kind in (info["sentences"] if sentences else ())
    }
    return States(tokens, arrays, np.flatnonzero(words["n_subwords"].to_numpy() > 0), name, stack, lines, whole)


def word_facts(folder: Path) -> pl.DataFrame:
    """Return the columns that states add to the token table, from the files of a states folder."""
    n_subwords, shared = (np.asarray(open_array(file(folder))) for file in (n_subwords_file, shared_file))
    return pl.DataFrame({"n_subwords": n_subwords, "shared": shared}, {"n_subwords": pl.Int16, "shared": pl.Boolean})


@checked
def write_corpus(corpus: Corpus, study: StudyLayout) -> None:
    """Write the tables of a corpus into a study folder, unless the same ones are there."""
    key = corpus.file_digest
    if not study.is_done(CORPUS, key):
        study.clear(CORPUS)
        corpus.write(study)
        study.mark_done(CORPUS, key, [study.sentences, study.tokens], {"text": corpus.digest})


# -- doing it -------------------------------------------------------------------------------------


def load_model(
    model: str | Path, settings: StackSettings, languages: Sequence[str], *, device: str, revision: str | None
) -> models.Loaded:
    """Load the model that gives these states; one without [CLS] is refused where sentences are read by it."""
    loaded = models.load(
        model,
        stack=settings.stack,
        device=device,
        revision=revision,
        compute=settings.compute,
        languages=languages,
        codes=settings.language_codes,
        weights=settings.weights,
    )
    if "cls" in settings.sentences and loaded.tokenizer.cls_token_id is None:
        raise UsageError(f"The tokenizer of '{loaded.name}' has no [CLS] subword. Use sentences mean or last.")
    return loaded


def _run(
    corpus: Corpus,
    model: models.Loaded,
    settings: StackSettings,
    *,
    study: StudyLayout,
    name: str,
    key: str,
    batch_tokens: int | None,
) -> None:
    lines = lines_of(corpus, settings.condition, settings.prefix)
    folder = study.states(name, settings.stack)
    budget = batch_tokens or BATCH_TOKENS["cpu" if model.device == "cpu" else "cuda"]
    writers_of = partial(
        state_writers, partial_folder(folder), settings, n_tokens=corpus.words.height, n_lines=len(lines), d=model.d
    )
    writers, state, pieces = open_work(folder, writers_of, Progress(key, model.compute, budget, budget))
    with closing(writers):
        note = progress_file(partial_folder(folder))
        run_passes(lines, model, settings, files_of(writers, settings, note, pieces), state)
    words = word_facts(partial_folder(folder))
    facts = facts_of(corpus, settings, state, words, about_model(model), label=f"{name}/{settings.stack}")
    remove_folder(folder)
    partial_folder(folder).rename(folder)
    facts["peak_memory_mb"] = _peak_memory()
    files = state_files(folder, settings.layers, settings.sentences)
    arrays = [path for file in files for path in array_files(file)]
    study.mark_done(study.states_step(name, settings.stack), key, arrays, facts)
    progress_file(folder).unlink()


def about_model(model: models.Loaded) -> dict[str, Any]:
    """Return what the manifest says of a loaded model."""
    batches = "lines of equal length" if model.reading.equal_lengths else "any lines"
    return {"final_norm": model.reading.final_norm is not False, "batches": batches, **models.facts(model)}


def facts_of(
    corpus: Corpus, settings: StackSettings, state: Progress, words: pl.DataFrame, model: dict[str, Any], *, label: str
) -> dict[str, Any]:
    """Return what the manifest says of finished states, with what of the text was not read; that is logged, too."""
    losses = [*state.notes, *_losses(corpus, model["max_length"], state, words)]
    for loss in losses:
        log.warning("%s: %s", label, loss)
    return {
        **settings.model_dump(),
        "text": corpus.digest,
        "n_tokens": corpus.words.height,
        "n_subwords": state.n_subwords,
        "n_without_state": int((words["n_subwords"] == 0).sum()),
        "n_shared": int(words["shared"].sum()),
        "n_truncated_sentences": state.n_truncated,
        "batch_tokens": state.batch_tokens,
        "warnings": losses,
        "wall_seconds": state.seconds,
        **model,
    }


def _losses(corpus: Corpus, max_length: int | None, state: Progress, words: pl.DataFrame) -> list[str]:
    """Say what of the text the model does not get to see: cut sentences, lost words, unknown and shared subwords."""
    losses = []
    if state.n_truncated:
        losses.append(
            f"{state.n_truncated} of {corpus.sentences.height} sentences are cut at the limit of {max_length} subwords"
        )
    lost = np.flatnonzero(words["n_subwords"].to_numpy() == 0)
    if len(lost):
        shown = corpus.words[lost[:3]].iter_rows(named=True)
        examples = ", ".join(f"{w['word']!r} ({w['language']}, sentence {w['sentence']})" for w in shown)
        losses.append(
            f"{len(lost)} of {words.height} words have no subword and so no state (cut off, or dropped by the "
            f"tokenizer): {examples}{' ...' if len(lost) > 3 else ''}"
        )
    of_languages = dict(corpus.words.group_by("language").len().iter_rows())
    sizes = {language: of_languages[language] for language in corpus.languages if language in of_languages}
    if many := _many(state.unknown, sizes):
        losses.append(
            f"many words have unknown subwords ({many}): the model cannot tell them apart, so their states and "
            "concepts say nothing about the language"
        )
    shared = corpus.words.filter(words["shared"]).group_by("language").len()
    if many := _many(dict(shared.iter_rows()), sizes):
        losses.append(
            f"many words share a subword with a neighbour ({many}), and those that have no other share its state; "
            "drop: [shared] of the selection leaves all of them out"
        )
    lines = dict(corpus.sentences.group_by("language").len().iter_rows())
    losses += [
        f"{n} of {lines[language]} lines of {language} hold names of the model's special subwords, such as '{name}'; "
        "they are read as text"
        for language, (n, name) in state.names.items()
    ]
    return losses


def _many(counts: Mapping[str, int], sizes: Mapping[str, int]) -> str:
    """Return the languages of whose words many are among these, with their shares; else nothing."""
    shares = {language: counts.get(language, 0) / n for language, n in sizes.items()}
    return ", ".join(f"{share:.0%} of {language}" for language, share in shares.items() if share > _MANY)


def _peak_memory() -> float:
    """Return the process's peak resident memory in MB (Linux counts in kB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
