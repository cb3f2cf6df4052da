"""Extraction: forward passes, pooling of subwords to words, and the states' way into their files.

Sentences are tokenised whole, as the model would read them, and every subword is given to the word it
shares most characters with (`subwords`).  Batches of sentences of like length go through the model once; their
pooled states (`pooling`) go straight into preallocated files, one per layer.  The work can be killed at any
moment and goes on from there.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss import models
from isogloss.corpus import SENTENCE_COLUMNS, WORD_COLUMNS, Corpus
from isogloss.errors import InputError, UsageError, unknown
from isogloss.extraction.pooling import Pooling, Storage, as_decoder_input, pad, places, pool, stored
from isogloss.extraction.subwords import Ints, Subwords, batches, tokenise
from isogloss.progress import progress
from isogloss.states import States
from isogloss.store import (
    Study,
    digest,
    layer_file,
    locked,
    n_subwords_file,
    new_array,
    open_array,
    partial_folder,
    progress_file,
    read_json,
    read_table,
    remove_folder,
    table_digest,
    write_json,
)

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Layers = str | Sequence[int]  # "all", or numbers

VERSION = 1  # raise it when the same settings give other states
_SAVE_SECONDS = 5.0
_SAVE_SENTENCES = 2_000
_MANY_UNKNOWN = 0.05  # share of a language's words from which unknown subwords are reported


@dataclass(frozen=True)
class _Settings:
    """What decides the states, beside the corpus and the model's files."""

    stack: str
    layers: tuple[int, ...]
    pooling: Pooling
    dtype: Storage
    condition: Mapping[str, str]


def extract(
    corpus: Corpus,
    model: str | Path,
    *,
    out: str | Path,
    layers: Layers = "all",
    stack: str | None = None,
    pooling: Pooling = "mean",
    name: str | None = None,
    dtype: Storage = "float16",
    condition: Mapping[str, str] | None = None,
    batch_tokens: int = 2048,
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
        A folder in the hub's format, or a hub id.
    out : str or Path
        The study folder.
    layers : "all" or sequence of int
        0 = embedding output, l = output of block l.  The last one is after the model's final norm in T5-,
        Llama-, Qwen- and Gemma-like models.
    stack : {"encoder", "decoder"}, optional
        Default: the first of the model's stacks.
    pooling : {"mean", "last", "first"}
        How the states of a word's subwords become one; computed in float32.
    name : str, optional
        The model's short name in the study; default: the folder's name or the hub id.
    dtype : {"float16", "float32"}
        Storage type.
    condition : mapping of str to str, optional
        Language -> language that the encoder reads, for the decoder of an encoder-decoder.  Default: the
        first language for all others, the second for the first; a single language conditions itself.
    batch_tokens : int
        Most subwords in a batch, padding included (one longer sentence is a batch of its own).
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` ...; on a CPU, torch's own number of threads is used.
    revision : str, optional
        Branch, tag or commit on the hub.

    Returns
    -------
    States
        Memory-mapped; all tokens that have a state take part.

    Raises
    ------
    UsageError
        If a layer, stack, pooling, dtype, language or device does not exist.
    InputError
        If the model cannot be loaded, a sentence has no line to condition on, or a state does not fit
        `dtype`.

    Examples
    --------
    >>> states = extract(corpus, "xlm-roberta-base", layers=[0, 6, 12], out="study")  # doctest: +SKIP
    >>> states.at(6, language="de").X.shape  # doctest: +SKIP
    (21000, 768)
    """
    if batch_tokens < 1:
        raise UsageError(f"batch_tokens must be at least 1; got {batch_tokens}.")
    info = models.describe(model, revision=revision)
    settings = _settings(corpus, info, stack, layers, pooling, dtype, condition)
    key = _key(corpus, info, settings)
    study = Study(Path(out))
    name = name or (Path(model).resolve().name if Path(model).is_dir() else str(model))
    step = study.states_step(name, settings.stack)
    with locked(study.step_lock(step)):
        write_corpus(corpus, study)
        if study.is_done(step, key):
            log.info("states of %s/%s are already there", name, settings.stack)
        else:
            loaded = models.load(model, stack=settings.stack, device=device, revision=revision)
            study.clear(step)
            _run(corpus, loaded, settings, study=study, name=name, key=key, batch_tokens=batch_tokens)
    return open_states(study, name=name, stack=settings.stack)


def states_key(
    corpus: Corpus,
    model: str | Path,
    *,
    layers: Layers = "all",
    stack: str | None = None,
    pooling: Pooling = "mean",
    dtype: Storage = "float16",
    condition: Mapping[str, str] | None = None,
    revision: str | None = None,
) -> str:
    """Return the key under which `extract` marks these states as done; no weights are loaded.

    Raises
    ------
    UsageError, InputError
        As `extract`, of which the parameters are.
    """
    info = models.describe(model, revision=revision)
    return _key(corpus, info, _settings(corpus, info, stack, layers, pooling, dtype, condition))


def open_states(study: Study, *, name: str, stack: str) -> States:
    """Open the finished states of one stack of one model; only the token table is read.

    Raises
    ------
    InputError
        If there are none, they belong to another corpus than the study's, or a file is damaged.
    """
    record = study.record(study.states_step(name, stack))
    if record is None:
        raise InputError(f"There are no states of {name}/{stack} in {study.root}. Run extract first.")
    info = record["info"]
    folder = study.states(name, stack)
    tokens = read_table(study.tokens, WORD_COLUMNS)
    if table_digest(tokens, WORD_COLUMNS) != info["words"]:
        raise InputError(
            f"The states of {name}/{stack} in {study.root} belong to another corpus than the token table "
            "there. Run extract again."
        )
    arrays = {int(layer): open_array(layer_file(folder, layer)) for layer in info["layers"]}
    n_subwords = np.asarray(open_array(n_subwords_file(folder)))
    tokens = tokens.with_columns(pl.Series("n_subwords", n_subwords, dtype=pl.Int16))
    return States(tokens, arrays, np.flatnonzero(n_subwords > 0), name, stack)


def write_corpus(corpus: Corpus, study: Study) -> None:
    """Write the tables of a corpus into a study folder, unless the same ones are there."""
    try:
        if Corpus.open(study).same_as(corpus):
            return
    except InputError:  # not there, or damaged
        log.debug("writing %s", study.tokens)
    corpus.write(study)


# -- what to do -----------------------------------------------------------------------------------


def _settings(  # noqa: PLR0917  all are those of extract, in its order
    corpus: Corpus,
    info: models.ModelInfo,
    stack: str | None,
    layers: Layers,
    pooling: Pooling,
    dtype: Storage,
    condition: Mapping[str, str] | None,
) -> _Settings:
    for kind, given, known in (("pooling", pooling, Pooling), ("dtype", dtype, Storage)):
        if given not in get_args(known):
            raise unknown(kind, given, get_args(known))
    stack = info.check_stack(stack)
    read_by_encoder = _condition(corpus, info, stack, condition)
    return _Settings(stack, info.check_layers(stack, layers), pooling, dtype, read_by_encoder)


def _key(corpus: Corpus, info: models.ModelInfo, settings: _Settings) -> str:
    content = [table_digest(corpus.sentences, SENTENCE_COLUMNS), table_digest(corpus.words, WORD_COLUMNS)]
    return digest([VERSION, content, info.fingerprint, vars(settings)])


def _condition(
    corpus: Corpus, info: models.ModelInfo, stack: str, given: Mapping[str, str] | None
) -> dict[str, str]:
    if not (stack == "decoder" and len(info.stacks) == 2):
        if given:
            raise UsageError(
                f"condition is for the decoder of an encoder-decoder; '{info.name}' is read with its {stack}."
            )
        return {}
    first, *others = corpus.languages
    chosen = {first: others[0] if others else first} | dict.fromkeys(others, first) | dict(given or {})
    for language in (*chosen, *chosen.values()):
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages, where="condition")
    return chosen


# -- doing it -------------------------------------------------------------------------------------


def _run(
    corpus: Corpus,
    model: models.Loaded,
    settings: _Settings,
    *,
    study: Study,
    name: str,
    key: str,
    batch_tokens: int,
) -> None:
    subwords = tokenise(corpus, model, settings.condition)
    n_subwords = np.bincount(subwords.owners[subwords.owners >= 0], minlength=corpus.words.height)
    losses = _losses(corpus, model, subwords, n_subwords)
    for loss in losses:
        log.warning("%s/%s: %s", name, settings.stack, loss)
    folder = study.states(name, settings.stack)
    arrays, state = _open_work(folder, settings, n_subwords=n_subwords, d=model.d, key=key)
    _fill(arrays, state, subwords, model, settings=settings, batch_tokens=batch_tokens, folder=folder)
    remove_folder(folder)
    partial_folder(folder).rename(folder)
    facts = {
        "words": table_digest(corpus.words, WORD_COLUMNS),
        "layers": settings.layers,
        "pooling": settings.pooling,
        "dtype": settings.dtype,
        "condition": dict(settings.condition),
        "n_tokens": corpus.words.height,
        "n_subwords": len(subwords.ids),
        "n_without_state": int((n_subwords == 0).sum()),
        "n_truncated_sentences": subwords.n_truncated,
        "warnings": losses,
        "wall_seconds": state["seconds"],
        **models.facts(model),
        "peak_memory_mb": _peak_memory(),
    }
    outputs = [n_subwords_file(folder), *(layer_file(folder, layer) for layer in settings.layers)]
    study.mark_done(study.states_step(name, settings.stack), key, outputs, facts)
    progress_file(folder).unlink()


def _fill(
    arrays: Mapping[int, npt.NDArray[Any]],
    state: dict[str, Any],
    subwords: Subwords,
    model: models.Loaded,
    *,
    settings: _Settings,
    batch_tokens: int,
    folder: Path,
) -> None:
    """Run all batches after the first ``state["done"]`` lines; states reach the disk before `state` does."""
    costs, order = subwords.costs, subwords.order()
    began, before = time.monotonic(), float(state["seconds"])
    saved_at, saved = began, int(state["done"])

    def save() -> None:
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]  # a numpy.memmap
        write_json(progress_file(partial_folder(folder)), state)

    with progress(
        f"states of {Path(model.name).name}, {settings.stack}", float(costs[order].sum())
    ) as advance:
        advance(float(costs[order[:saved]].sum()))
        for batch in batches(order[saved:], costs, batch_tokens):
            _run_batch(batch, subwords, model, settings=settings, arrays=arrays)
            now = time.monotonic()
            state["done"] += len(batch)
            state["seconds"] = round(before + now - began, 3)
            if now - saved_at >= _SAVE_SECONDS or state["done"] - saved >= _SAVE_SENTENCES:
                save()
                saved_at, saved = now, state["done"]
            advance(float(costs[batch].sum()))
    save()


def _open_work(
    folder: Path, settings: _Settings, *, n_subwords: Ints, d: int, key: str
) -> tuple[dict[int, npt.NDArray[Any]], dict[str, Any]]:
    """Return the layers' files, mapped for writing, and how far an earlier run with this key has come."""
    work = partial_folder(folder)
    if progress_file(folder).exists() and not work.exists():
        folder.rename(work)  # killed after the last renaming and before the marker was written
    if progress_file(work).exists():
        state = read_json(progress_file(work))
        if state["key"] == key:
            log.info("going on after %d sentences", state["done"])
            return {x: open_array(layer_file(work, x), write=True) for x in settings.layers}, state
    remove_folder(work)
    try:
        counts = new_array(n_subwords_file(work), n_subwords.shape, "int16")
        counts[:] = np.minimum(n_subwords, np.iinfo(np.int16).max)
        counts.flush()  # type: ignore[attr-defined]  # a numpy.memmap
        shape = (len(n_subwords), d)
        arrays = {x: new_array(layer_file(work, x), shape, settings.dtype) for x in settings.layers}
    except InputError:  # a full disk: give back what was reserved
        remove_folder(work)
        raise
    state = {"key": key, "done": 0, "seconds": 0.0}
    write_json(progress_file(work), state)
    return arrays, state


def _run_batch(
    batch: Ints,
    subwords: Subwords,
    model: models.Loaded,
    *,
    settings: _Settings,
    arrays: Mapping[int, npt.NDArray[Any]],
) -> None:
    lines = [subwords.line(int(i)) for i in batch]
    source: dict[str, torch.Tensor] = {}
    if model.conditioned:
        lines = [as_decoder_input(*line, model) for line in lines]
        ids, mask = pad([subwords.line(int(i))[0] for i in subwords.mates[batch]], model)
        source = {"source_ids": ids, "source_mask": mask}
    ids, mask = pad([line[0] for line in lines], model)
    hidden = models.hidden_states(model, ids, mask, layers=list(arrays), **source)
    rows, flat, counts = places([line[1] for line in lines], int(ids.shape[1]), settings.pooling)
    for layer, array in arrays.items():
        array[rows] = stored(pool(hidden[layer], flat, counts), settings.dtype, layer)


def _losses(corpus: Corpus, model: models.Loaded, subwords: Subwords, n_subwords: Ints) -> list[str]:
    """Say what of the text the model does not get to see: cut sentences, lost words, unknown subwords."""
    said = []
    if subwords.n_truncated:
        said.append(
            f"{subwords.n_truncated} of {corpus.sentences.height} sentences are cut at the limit of "
            f"{model.max_length} subwords"
        )
    lost = np.flatnonzero(n_subwords == 0)
    if len(lost):
        shown = corpus.words[lost[:3]].iter_rows(named=True)
        examples = ", ".join(f"{w['word']!r} ({w['language']}, sentence {w['sentence']})" for w in shown)
        said.append(
            f"{len(lost)} of {len(n_subwords)} words have no subword and so no state (cut off, or dropped by the "
            f"tokenizer): {examples}{' ...' if len(lost) > 3 else ''}"
        )
    unknown_id = model.tokenizer.unk_token_id
    if unknown_id is not None:
        rows = np.unique(subwords.owners[(subwords.ids == unknown_id) & (subwords.owners >= 0)])
        flags = pl.Series("unknown", np.isin(np.arange(corpus.words.height), rows))
        shares = corpus.words.select("language", flags).group_by("language", maintain_order=True).mean()
        many = [
            f"{share:.0%} of {language}" for language, share in shares.iter_rows() if share > _MANY_UNKNOWN
        ]
        if many:
            said.append(
                f"many words have unknown subwords ({', '.join(many)}): the model cannot tell them apart, so their "
                "states and concepts say nothing about the language"
            )
    return said


def _peak_memory() -> float:
    """Return the process's peak resident memory in MB (Linux counts in kB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
