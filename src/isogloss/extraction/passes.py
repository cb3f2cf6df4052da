"""The long loop: windows of lines, batches of like length, one forward pass each, states on their way to the disk.

While the model works on one window, the next one is tokenised in a thread of its own, and the states of the last
batch are written in another, in order.  Memory does not grow with the corpus beyond its own tables.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isogloss import models
from isogloss.errors import InputError
from isogloss.extraction.pooling import Pooled, Pooler, as_decoder_input, check_fits, pad
from isogloss.extraction.saving import Files, Progress
from isogloss.extraction.settings import StackSettings
from isogloss.extraction.subwords import Ints, Lines, Subwords, next_batch, tokenise
from isogloss.progress import progress
from isogloss.threads import threads_of_passes

log = logging.getLogger(__name__)

WINDOW = 16_384  # lines tokenised and sorted together
_SAVE_SECONDS = 5.0
_SAVE_LINES = 2_000


class _Behind:
    """Does jobs in order in one thread, one of them waiting at most; after an error none, and it comes out here.

    What is saved as done after states that could not be written would be lost.
    """

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._jobs: deque[Future[None]] = deque()
        self._failed = False

    def __call__(self, job: Callable[..., None], *arguments: Any) -> None:
        while len(self._jobs) > 1:
            self._jobs.popleft().result()
        self._jobs.append(self._thread.submit(self._do, job, *arguments))

    def _do(self, job: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            job(*arguments)
        except BaseException:
            self._failed = True
            raise

    def finish(self) -> None:
        while self._jobs:
            self._jobs.popleft().result()


def run_passes(lines: Lines, model: models.Loaded, settings: StackSettings, files: Files, state: Progress) -> None:
    """Run all batches but those that are saved, as `files` say; `state` is brought up to date on the way."""
    windows = [range(i, min(i + WINDOW, len(lines))) for i in range(0, len(lines), WINDOW)]
    began = time.monotonic() - state.seconds
    title = f"states of {Path(model.name).name}, {settings.stack}"
    with (
        sensible_threads(model.device),
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
        progress(title, len(lines)) as advance,
    ):
        find_saved(lines, windows, model, files, state)
        behind = _Behind(writer)
        advance(sum(len(window) for window in windows[: state.window]))
        coming = None
        for number in range(state.window, len(windows)):
            coming = coming or reader.submit(tokenise, lines, windows[number], model)
            window = coming.result()
            more = number + 1 < len(windows)
            coming = reader.submit(tokenise, lines, windows[number + 1], model) if more else None
            if state.done == 0:
                behind(_write_counts, window, lines, files)
            order = order_of(window, model)
            share = len(windows[number]) / max(len(order), 1)
            advance(state.done * share)
            saved, saved_at = state.done, time.monotonic()
            for batch, rows, pooled in passes_of(window, order, model, settings, state):
                behind(write_states, window.first + batch, rows, pooled, files)
                state.seconds = round(time.monotonic() - began, 3)
                late = time.monotonic() - saved_at >= _SAVE_SECONDS
                # a piece ends with its window
                if late or state.done - saved >= _SAVE_LINES or state.done == len(order):
                    unsaved = window.first + order[saved : state.done]
                    behind(files.save, asdict(state), unsaved, lines.bounds)
                    saved, saved_at = state.done, time.monotonic()
                advance(len(batch) * share)
            finish_window(state, window, lines, model)
        behind(files.save, asdict(state), np.empty(0, np.int64), lines.bounds)
        behind.finish()


def order_of(window: Subwords, model: models.Loaded) -> Ints:
    """Return the lines of a window in the order in which a model reads them, in one go or resumed or in shards."""
    return window.order(equal_lengths=model.reading.equal_lengths)


def find_saved(lines: Lines, windows: Sequence[range], model: models.Loaded, files: Files, state: Progress) -> None:
    """Set `state` to the end of the last piece that is saved and whole; later ones are forgotten.

    Numbers of subwords are not proved but written again: the lines are tokenised anyway, to know which a piece is of.
    """
    pieces, whole = list(files.pieces), 0
    state.window = state.done = state.n_subwords = state.n_truncated = 0
    state.unknown, state.names = {}, {}
    for number, span in enumerate(windows):
        if whole == len(pieces):
            break
        window = tokenise(lines, span, model)
        order = order_of(window, model)
        _write_counts(window, lines, files)
        for piece in pieces[whole:]:
            if piece.window != number or not state.done < piece.done <= len(order):
                break
            saved = window.first + order[state.done : piece.done]
            if files.digest(saved, lines.bounds) != piece.digest:
                break
            state.done, whole = piece.done, whole + 1
        if state.done < len(order):
            break
        finish_window(state, window, lines, model)
    del files.pieces[whole:]
    if whole < len(pieces):
        log.warning(
            "states in %s are not what was saved (a power loss, a failing disk?): all after %d windows and %d "
            "sentences are made again",
            files.note.parent,
            state.window,
            state.done,
        )
    elif pieces:
        log.info("going on after %d windows and %d sentences", state.window, state.done)


def passes_of(
    window: Subwords, order: Ints, model: models.Loaded, settings: StackSettings, state: Progress
) -> Iterator[tuple[Ints, Ints, dict[int, Pooled]]]:
    """Run the lines of `order` from ``state.done`` on, batch by batch; yield lines, token rows and what is kept."""
    costs, shapes = window.costs, window.shapes if model.reading.equal_lengths else None
    while state.done < len(order):
        batch = next_batch(order, state.done, costs, state.batch_tokens, shapes=shapes)
        try:
            rows, pooled = run_batch(batch, window, model, settings)
        except Exception as error:
            if not models.is_out_of_memory(error):
                raise
            _halve(state, batch, costs, model, error)
            continue
        for layer, states in pooled.items():
            check_fits(states.largest, settings.dtype, layer, compute=model.compute)
        state.done += len(batch)
        yield batch, rows, pooled


def run_batch(
    batch: Ints, window: Subwords, model: models.Loaded, settings: StackSettings
) -> tuple[Ints, dict[int, Pooled]]:
    """Run some lines of a window through the model; return the token rows and, layer by layer, what is kept."""
    lines = [window.line(int(i)) for i in batch]
    source = None
    if model.conditioned:
        lines = [as_decoder_input(line, model) for line in lines]
        source = pad([window.source(int(i)) for i in batch], model)
    ids, mask = pad([line.ids for line in lines], model)
    pooler = Pooler(lines, int(ids.shape[1]), settings, device=model.device)
    pooled = models.hidden_states(
        model, ids, mask, pooler, layers=settings.layers, last_layer=settings.last_layer, source=source
    )
    return pooler.rows, pooled


def write_states(lines: Ints, rows: Ints, pooled: dict[int, Pooled], files: Files) -> None:
    """Write the states of some lines, and of their token rows, which rise; of all layers, or none."""
    lacking = sorted(files.words.keys() - pooled.keys())
    # rows that are not written would be read as zeros
    if lacking:
        raise InputError(f"A pass did not return the states of layers {lacking}.")
    rising = np.argsort(lines)
    for layer, states in pooled.items():
        files.words[layer].write(rows, states.words)
        for kind, of_lines in states.sentences.items():
            files.sentences[kind, layer].write(lines[rising], of_lines[rising])


def _write_counts(window: Subwords, lines: Lines, files: Files) -> None:
    of_words, of_text = counts_of(window, lines)
    rows = lines.bounds[window.first] + np.arange(len(of_words))
    files.n_subwords.write(rows, of_words)
    files.shared.write(rows, window.shared)
    files.n_text.write(window.first + np.arange(len(of_text)), of_text)


def counts_of(window: Subwords, lines: Lines) -> tuple[Ints, Ints]:
    """Return the subwords of every token row of a window, and those of every line that are text."""
    first = int(lines.bounds[window.first])
    rows = np.concatenate([window.owners[window.owners >= 0], window.takers[:, 1]])
    counts = np.bincount(rows - first, minlength=len(window.shared))
    text = np.concatenate([[0], np.cumsum(window.text)])[window.bounds]
    return np.minimum(counts, np.iinfo(np.int16).max), np.diff(text)


def finish_window(state: Progress, window: Subwords, lines: Lines, model: models.Loaded) -> None:
    """Add what a finished window has met to `state`."""
    state.window, state.done = state.window + 1, 0
    state.n_subwords += len(window.ids)
    state.n_truncated += len(window.cut)
    unknown_id = model.tokenizer.unk_token_id
    if unknown_id is not None:
        unknown = window.ids == unknown_id
        taking = window.takers[unknown[window.takers[:, 0]], 1]
        rows = np.unique(np.concatenate([window.owners[unknown & (window.owners >= 0)], taking]))
        words = lines.corpus.words.select("language")[pl.Series(rows, dtype=pl.UInt32)]["language"]
        state.unknown = dict(Counter(state.unknown) + Counter(words.to_list()))
    table = lines.corpus.sentences[window.first : window.first + len(window.bounds) - 1]
    for language in table["language"].unique(maintain_order=True):
        texts = table.filter(pl.col("language") == language)["text"].to_list()
        add_names(state, {language: models.lines_with_names(model, texts)})


def add_names(state: Progress, names: Mapping[str, tuple[int, str]]) -> None:
    """Add lines that hold names of special subwords."""
    for language, (n, name) in names.items():
        before, first = state.names.get(language, (0, ""))
        if n:
            state.names[language] = (before + n, first or name)


def _halve(state: Progress, batch: Ints, costs: Ints, model: models.Loaded, error: Exception) -> None:
    """Go on with half of what did not fit; where that was a single line, it is the end."""
    if len(batch) == 1:
        raise InputError(
            f"Memory does not suffice for one sentence of {int(costs[batch[0]])} subwords on {model.device}. Leave "
            "long sentences out with max_words, take fewer layers, or use a larger machine."
        ) from error
    size = len(batch) * int(costs[batch[0]])
    state.batch_tokens = max(1, min(state.batch_tokens, size) // 2)
    note = f"out of memory with batches of {size} subwords on {model.device}: went on with {state.batch_tokens}"
    log.warning("%s", note)
    state.notes.append(note)
    if model.device != "cpu":
        import torch

        torch.cuda.empty_cache()


@contextlib.contextmanager
def sensible_threads(device: str) -> Iterator[None]:
    """Hold torch to the cores that this process may use: a container's quota is less than it counts.

    ``OMP_NUM_THREADS`` is held to as well: a parallel loop of numba raises torch's number, and with it the last bits of
    states would depend on what ran before.
    """
    import torch

    before = torch.get_num_threads()
    cores = threads_of_passes()
    if device == "cpu" and 0 < cores < before:
        torch.set_num_threads(cores)
    try:
        yield
    finally:
        torch.set_num_threads(before)
