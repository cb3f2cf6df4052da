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
from isogloss.errors import UsageError
from isogloss.extraction.engine import BATCH_TOKENS, about_model, facts_of
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
from isogloss.extraction.settings import key_of, settings_of
from isogloss.extraction.subwords import Ints, batches, lines_of, tokenise
from isogloss.settings import Compute, ExtractionSettings, Weights, takes
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
    state_files,
)

_ENOUGH = 32  # shards, for the workers of a small corpus to share
_LEAST_LINES = 128  # of a shard: every part of a window tokenises the whole window


@dataclass(frozen=True)
class Shard:
    """Part of the work of `extract`.

    Attributes
    ----------
    window : int
        Which window of lines.
    part, n_parts : int
        Which run of its batches, of how many of nearly equal length.
    """

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
    found = []
    for number, size in enumerate(windows):
        n_parts = max(1, min(wanted, size // _LEAST_LINES))
        found += [Shard(number, part, n_parts) for part in range(n_parts)]
    return found


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
    info = models.describe(model, revision=revision)
    chosen = settings_of(corpus, info, settings, stack=stack)
    loaded = _loaded(
        str(model),
        chosen.stack,
        device,
        revision,
        chosen.compute,
        corpus.languages,
        tuple(sorted(chosen.language_codes.items())),
        chosen.weights,
    )
    if "cls" in chosen.sentences and loaded.tokenizer.cls_token_id is None:
        raise UsageError(f"The tokenizer of '{loaded.name}' has no [CLS] subword. Use sentences mean or last.")
    lines = lines_of(corpus, chosen.condition, chosen.prefix)
    begin = shard.window * WINDOW
    with sensible_threads(loaded.device):
        window = tokenise(lines, range(begin, min(begin + WINDOW, len(lines))), loaded)
        budget = batch_tokens or BATCH_TOKENS["cpu" if loaded.device == "cpu" else "cuda"]
        state = Progress(key_of(corpus, info, chosen), loaded.compute, budget)
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
            places = (row_numbers_file(folder), rows), (row_numbers_file(sentence_folder(folder)), numbers)
            for path, found in places:
                writers[path] = RowWriter(path, found.shape, "int64")
                writers[path].write(np.arange(len(found)), found)
            writers["n_subwords"].write(np.arange(len(rows)), of_words[rows - lines.bounds[begin]])
            writers["n_text"].write(np.arange(len(numbers)), of_text[numbers - begin])
            placed = {
                what: _Placed(writer, numbers if isinstance(what, tuple) else rows) for what, writer in writers.items()
            }
            files = files_of(placed, chosen, Path())
            for batch, kept, pooled in passes_of(window, order[:stop], loaded, chosen, state):
                write_states(begin + batch, kept, pooled, files)
    state.n_subwords = 0
    if shard.part == 0:  # of the whole window, once
        finish_window(state, window, lines, loaded)
    names = ("batch_tokens", "n_subwords", "n_truncated", "unknown", "names", "notes")
    return {"passes": {key: getattr(state, key) for key in names}, "model": about_model(loaded)}


@lru_cache(maxsize=1)
def _loaded(  # noqa: PLR0917
    model: str,
    stack: str,
    device: str,
    revision: str | None,
    compute: Compute,
    languages: tuple[str, ...],
    codes: tuple[tuple[str, str], ...],
    weights: Weights,
) -> models.Loaded:
    return models.load(
        model,
        stack=stack,
        device=device,
        revision=revision,
        compute=compute,
        languages=languages,
        codes=dict(codes),
        weights=weights,
    )


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
    """Write and return the files of one layer, or (None) those with numbers of subwords, from those of all shards."""
    target = study.states(name, stack)
    with folder_in_one_piece(target) as folder:
        whole = sentence_folder(folder)
        if layer is None:
            of_words, of_lines = n_subwords_file(folder), [n_subwords_file(whole)]
        else:
            of_words = layer_file(folder, layer)
            of_lines = [layer_file(sentence_folder(folder, kind), layer) for kind in kinds]
        files = [of_words, *of_lines]
        _join(of_words, folder, [study.shard(name, stack, x) for x in shards], n_rows, of_lines=False)
        for file in of_lines:
            _join(file, folder, [study.shard(name, stack, x) for x in shards], n_lines, of_lines=True)
        return [target / path.relative_to(folder) for file in files for path in array_files(file)]


def _join(file: Path, folder: Path, shards: Sequence[Path], n: int, *, of_lines: bool) -> None:
    own = file.relative_to(folder)
    first = open_array(shards[0] / own)
    writer = RowWriter(file, (n, *first.shape[1:]), str(first.dtype))
    with closing({None: writer}):
        for shard in shards:
            numbers = row_numbers_file(sentence_folder(shard) if of_lines else shard)
            writer.write(np.asarray(open_array(numbers)), np.asarray(open_array(shard / own)))
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
        Steps that wrote the files of all layers, first that of the numbers of subwords: their outputs are the states.
    """
    info = models.describe(model, revision=revision)
    chosen = settings_of(corpus, info, settings, stack=stack)
    key, step = key_of(corpus, info, chosen), study.states_step(name, chosen.stack)
    told = [study.known(shard)["info"] for shard in shards]
    state = Progress(key, told[0]["model"]["compute"], min(one["passes"]["batch_tokens"] for one in told))
    for one in told:
        passes = one["passes"]
        state.n_subwords += passes["n_subwords"]
        state.n_truncated += passes["n_truncated"]
        state.unknown = dict(Counter(state.unknown) + Counter(passes["unknown"]))
        add_names(state, passes["names"])
        state.notes += [note for note in passes["notes"] if note not in state.notes]
        state.seconds = round(state.seconds + one["wall_seconds"], 3)
    n_subwords = np.asarray(open_array(n_subwords_file(study.states(name, chosen.stack))))
    facts = facts_of(corpus, chosen, state, n_subwords, told[0]["model"], label=f"{name}/{chosen.stack}")
    facts["peak_memory_mb"] = max(one["peak_memory_mb"] for one in told)
    facts["shards"] = len(shards)
    outputs = {file: entry for one in joined for file, entry in study.known(one)["outputs"].items()}
    study.mark_done(step, key, (), facts, listed=outputs)


def forget_shards(study: StudyLayout, *, name: str, stack: str) -> None:
    """Remove the shards of states that are done, and their markers."""
    remove_folder(study.shards(name, stack))
    study.clear_below(study.states_step(name, stack))
