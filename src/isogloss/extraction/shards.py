"""Extraction by several workers: shards of the lines, each in files of its own, joined layer by layer.

A shard is a run of batches of one window, cut from the same sequence of batches that `extract` makes, so that every
sentence meets the same neighbours and paddings, and the joined files hold the same bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from isogloss import models
from isogloss.corpus import Corpus
from isogloss.extraction.engine import BATCH_TOKENS, about_model, facts_of, load_model, word_facts
from isogloss.extraction.passes import (
    WINDOW,
    add_names,
    counts_of,
    finish_window,
    order_of,
    passes_of,
    sensible_threads,
    write_states,
)
from isogloss.extraction.saving import Progress, files_of, rows_of, state_writers
from isogloss.extraction.settings import StackSettings, resolve
from isogloss.extraction.subwords import Ints, batches, lines_of, tokenise
from isogloss.settings import ExtractionSettings, takes
from isogloss.store import (
    RowWriter,
    StudyLayout,
    array_files,
    closing,
    folder_in_one_piece,
    layer_file,
    n_subwords_file,
    open_array,
    remove_folder,
    row_numbers_file,
    sentence_folder,
    shared_file,
    state_files,
)

_ENOUGH = 32  # shards, for the workers of a small corpus to share
_LEAST_LINES = 128  # of a shard: every part of a window tokenises the whole window


@dataclass(frozen=True)
class Shard:
    """Part of the work of `extract`: one of the `n_parts` runs, nearly equal in length, of a window's batches."""

    window: int
    part: int
    n_parts: int

    @property
    def name(self) -> str:
        return f"{self.window:06d}-{self.part:02d}of{self.n_parts:02d}"


def shards_of(n_lines: int) -> list[Shard]:
    """Return the shards of so many lines: a window each where there are many, else parts of windows."""
    windows = [min(WINDOW, n_lines - begin) for begin in range(0, n_lines, WINDOW)]
    wanted = math.ceil(_ENOUGH / max(len(windows), 1))
    shards = []
    for number, size in enumerate(windows):
        n_parts = max(1, min(wanted, size // _LEAST_LINES))
        shards += [Shard(number, part, n_parts) for part in range(n_parts)]
    return shards


@takes(ExtractionSettings)
def extract_shard(
    corpus: Corpus,
    model: str | Path,
    *,
    study: StudyLayout,
    name: str,
    shard: Shard,
    settings: ExtractionSettings,
    stack: str | None = None,
    batch_tokens: int | None = None,
    device: str = "auto",
    revision: str | None = None,
) -> dict[str, Any]:
    """Write the states of one shard into its folder, and return facts for `finish_states`.

    The model is loaded once in a process and used for all shards of the same stack.  Parameters are those of
    `extract`; errors too.
    """
    _, chosen, key = resolve(corpus, model, settings, stack=stack, revision=revision)
    loaded = _loaded(str(model), chosen.model_dump_json(), corpus.languages, device, revision)
    lines = lines_of(corpus, chosen.condition, chosen.prefix)
    begin = shard.window * WINDOW
    with sensible_threads(loaded.device):
        window = tokenise(lines, range(begin, min(begin + WINDOW, len(lines))), loaded)
        budget = batch_tokens or BATCH_TOKENS["cpu" if loaded.device == "cpu" else "cuda"]
        state = Progress(key, loaded.compute, budget)
        order = order_of(window, loaded)
        shapes = window.shapes if loaded.reading.equal_lengths else None
        state.done, stop = _bounds(order, window.costs, budget, shard, shapes)
        numbers = np.sort(begin + order[state.done : stop])
        rows = rows_of(numbers, lines.bounds)
        of_words, of_text = counts_of(window, lines)
        with (
            folder_in_one_piece(study.shard(name, chosen.stack, shard.name)) as folder,
            closing(state_writers(folder, chosen, n_tokens=len(rows), n_lines=len(numbers), d=loaded.d)) as writers,
        ):
            numbered = (row_numbers_file(folder), rows), (row_numbers_file(sentence_folder(folder)), numbers)
            for path, places in numbered:
                writers[path] = RowWriter(path, places.shape, "int64")
                writers[path].write(np.arange(len(places)), places)
            in_window = rows - lines.bounds[begin]
            writers["n_subwords"].write(np.arange(len(rows)), of_words[in_window])
            writers["shared"].write(np.arange(len(rows)), window.shared[in_window])
            writers["n_text"].write(np.arange(len(numbers)), of_text[numbers - begin])
            placed = {x: _Placed(file, numbers if isinstance(x, tuple) else rows) for x, file in writers.items()}
            files = files_of(placed, chosen, Path())
            for batch, kept, pooled in passes_of(window, order[:stop], loaded, chosen, state):
                write_states(begin + batch, kept, pooled, files)
    state.n_subwords = 0
    # of the whole window, once
    if shard.part == 0:
        finish_window(state, window, lines, loaded)
    names = ("batch_tokens", "n_subwords", "n_truncated", "unknown", "names", "notes")
    return {"passes": {x: getattr(state, x) for x in names}, "model": about_model(loaded)}


@lru_cache(maxsize=1)
def _loaded(model: str, settings: str, languages: tuple[str, ...], device: str, revision: str | None) -> models.Loaded:
    """Return a model for the states that settings, as JSON, decide: text can be looked up in the cache."""
    return load_model(model, StackSettings.model_validate_json(settings), languages, device=device, revision=revision)


def _bounds(order: Ints, costs: Ints, budget: int, shard: Shard, shapes: Ints | None) -> tuple[int, int]:
    """Return where a shard's batches begin and end in the order of its window."""
    ends = np.cumsum([0, *(len(batch) for batch in batches(order, costs, budget, shapes=shapes))])
    n = len(ends) - 1
    low, high = (n * part // shard.n_parts for part in (shard.part, shard.part + 1))
    return int(ends[low]), int(ends[high])


class _Placed:
    """Writes rows of the whole array to their places in a shard's file."""

    def __init__(self, writer: RowWriter, rows: Ints) -> None:
        self._writer, self._rows = writer, rows

    def write(self, rows: Ints, values: Any) -> None:
        self._writer.write(np.searchsorted(self._rows, rows), values)


def shard_files(folder: Path, layers: Sequence[int], kinds: Sequence[str]) -> list[Path]:
    """Return the files of a shard's folder."""
    numbers = [row_numbers_file(folder), row_numbers_file(sentence_folder(folder))]
    return [*numbers, *state_files(folder, layers, kinds)]


def join_shards(
    study: StudyLayout,
    *,
    name: str,
    stack: str,
    shards: Sequence[str],
    layer: int | None,
    kinds: Sequence[str],
    n_rows: int,
    n_lines: int,
) -> list[Path]:
    """Write and return the files of one layer, or (None) those that tell of subwords, from those of all shards."""
    target, folders = study.states(name, stack), [study.shard(name, stack, x) for x in shards]
    with folder_in_one_piece(target) as folder:
        if layer is None:
            of_words = [n_subwords_file(folder), shared_file(folder)]
            of_lines = [n_subwords_file(sentence_folder(folder))]
        else:
            of_words = [layer_file(folder, layer)]
            of_lines = [layer_file(sentence_folder(folder, kind), layer) for kind in kinds]
        for file in of_words:
            _join(file, folder, folders, n_rows, of_lines=False)
        for file in of_lines:
            _join(file, folder, folders, n_lines, of_lines=True)
        return [target / path.relative_to(folder) for file in (*of_words, *of_lines) for path in array_files(file)]


def _join(file: Path, folder: Path, shards: Sequence[Path], n: int, *, of_lines: bool) -> None:
    name = file.relative_to(folder)
    first = open_array(shards[0] / name)
    writer = RowWriter(file, (n, *first.shape[1:]), str(first.dtype))
    with closing({None: writer}):
        for shard in shards:
            numbers = row_numbers_file(sentence_folder(shard) if of_lines else shard)
            writer.write(np.asarray(open_array(numbers)), np.asarray(open_array(shard / name)))
        writer.sync()


@takes(ExtractionSettings)
def finish_states(
    corpus: Corpus,
    model: str | Path,
    *,
    study: StudyLayout,
    name: str,
    shards: Sequence[str],
    joined: Sequence[str],
    settings: ExtractionSettings,
    stack: str | None = None,
    revision: str | None = None,
) -> None:
    """Mark states as done whose shards have been joined.

    Parameters
    ----------
    shards : sequence of str
        Steps that wrote them: their facts are added up.
    joined : sequence of str
        Steps that wrote the files of all layers, first that of the facts of subwords: their outputs are the states.
    """
    _, chosen, key = resolve(corpus, model, settings, stack=stack, revision=revision)
    by_shard = [study.known(shard)["info"] for shard in shards]
    about, budget = by_shard[0]["model"], min(info["passes"]["batch_tokens"] for info in by_shard)
    state = Progress(key, about["compute"], budget)
    for info in by_shard:
        passes = info["passes"]
        state.n_subwords += passes["n_subwords"]
        state.n_truncated += passes["n_truncated"]
        state.unknown = dict(Counter(state.unknown) + Counter(passes["unknown"]))
        add_names(state, passes["names"])
        state.notes += [note for note in passes["notes"] if note not in state.notes]
        state.seconds = round(state.seconds + info["wall_seconds"], 3)
    words = word_facts(study.states(name, chosen.stack))
    facts = facts_of(corpus, chosen, state, words, about, label=f"{name}/{chosen.stack}")
    facts["peak_memory_mb"] = max(info["peak_memory_mb"] for info in by_shard)
    facts["shards"] = len(shards)
    outputs = {file: entry for step in joined for file, entry in study.known(step)["outputs"].items()}
    study.mark_done(study.states_step(name, chosen.stack), key, (), facts, listed=outputs)


def forget_shards(study: StudyLayout, *, name: str, stack: str) -> None:
    """Remove the shards of states that are done, and their markers."""
    remove_folder(study.shards(name, stack))
    study.clear_below(study.states_step(name, stack))
