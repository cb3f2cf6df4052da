"""The long loop: windows of lines, batches of like length, one forward pass each, states on their way to the disk.

While the model works on one window, the next one is tokenised in a thread of its own, and the states of the last
batch are written in another, in order.  Memory does not grow with the corpus beyond its own tables.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from isogloss import models
from isogloss.errors import InputError
from isogloss.extraction.pooling import (
    Pooled,
    Pooler,
    Pooling,
    Sentences,
    Storage,
    as_decoder_input,
    check_fits,
    pad,
)
from isogloss.extraction.subwords import Ints, Lines, Subwords, next_batch, tokenise
from isogloss.progress import progress
from isogloss.store import RowWriter, write_json

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

WINDOW = 16_384  # lines tokenised and sorted together
_SAVE_SECONDS = 5.0
_SAVE_LINES = 2_000


@dataclass(frozen=True)
class Settings:
    """What decides the states, beside the corpus and the model's files."""

    stack: str
    layers: tuple[int, ...]
    pooling: Pooling
    sentences: tuple[Sentences, ...]
    dtype: Storage
    compute: models.Compute
    last_layer: models.LastLayer
    prefix: str
    weights: models.Weights
    condition: dict[str, str]
    language_codes: dict[str, str]


@dataclass
class Progress:
    """How far the work has come, and what it has met; written to disk as it grows.

    Attributes
    ----------
    key : str
        Of the whole step.
    compute : str
        The number type that was used, where "auto" was asked for.
    batch_tokens : int
        The budget of a batch now; an out-of-memory halves it.
    window : int
        Windows that are finished.
    done : int
        Lines of the current window that are finished, longest first.
    seconds : float
    n_subwords, n_truncated : int
        Of the finished windows.
    unknown : dict of str to int
        Language -> words with an unknown subword, in the finished windows.
    names : dict of str to (int, str)
        Language -> lines that hold the name of a special subword, in the finished windows, and the first such name.
    notes : list of str
        What a reader of the manifest must know.
    """

    key: str
    compute: str
    batch_tokens: int
    window: int = 0
    done: int = 0
    seconds: float = 0.0
    n_subwords: int = 0
    n_truncated: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Files:
    """The open files of the states.

    Attributes
    ----------
    words : dict of int to RowWriter
        Layer -> (n_tokens, d).
    sentences : dict of (str, int) to RowWriter
        Kind of pooling and layer -> (n_lines, d).
    n_subwords, n_text : RowWriter
        Subwords of every token, and subwords of every line that are text.
    progress : Path
    """

    words: dict[int, RowWriter]
    sentences: dict[tuple[str, int], RowWriter]
    n_subwords: RowWriter
    n_text: RowWriter
    progress: Path

    @property
    def all(self) -> list[RowWriter]:
        return [*self.words.values(), *self.sentences.values(), self.n_subwords, self.n_text]

    def save(self, state: dict[str, Any]) -> None:
        """Bring to the disk first what was written, then how far it goes."""
        for one in self.all:
            one.sync()
        write_json(self.progress, state)


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


def run_passes(lines: Lines, model: models.Loaded, settings: Settings, files: Files, state: Progress) -> None:
    """Run all batches that `state` does not say are done; it is brought up to date on the way."""
    windows = [range(i, min(i + WINDOW, len(lines))) for i in range(0, len(lines), WINDOW)]
    began = time.monotonic() - state.seconds
    saved_at = time.monotonic()
    unsaved = 0
    title = f"states of {Path(model.name).name}, {settings.stack}"
    with (
        sensible_threads(model.device),
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
        progress(title, len(lines)) as advance,
    ):
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
            order = window.order(equal_lengths=model.reading.equal_lengths)
            share = len(windows[number]) / max(len(order), 1)
            advance(state.done * share)
            for batch, rows, pooled in passes_of(window, order, model, settings, state):
                behind(write_states, window.first + batch, rows, pooled, files)
                state.seconds = round(time.monotonic() - began, 3)
                unsaved += len(batch)
                if unsaved >= _SAVE_LINES or time.monotonic() - saved_at >= _SAVE_SECONDS:
                    behind(files.save, asdict(state))
                    saved_at, unsaved = time.monotonic(), 0
                advance(len(batch) * share)
            finish_window(state, window, lines, model)
        behind(files.save, asdict(state))
        behind.finish()


def passes_of(
    window: Subwords, order: Ints, model: models.Loaded, settings: Settings, state: Progress
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
        for layer, one in pooled.items():
            check_fits(one.largest, settings.dtype, layer, compute=model.compute)
        state.done += len(batch)
        yield batch, rows, pooled


def run_batch(
    batch: Ints, window: Subwords, model: models.Loaded, settings: Settings
) -> tuple[Ints, dict[int, Pooled]]:
    """Run some lines of a window through the model; return the token rows and, layer by layer, what is kept."""
    lines = [(window.ids[x], window.owners[x], window.text[x]) for x in map(window.line, batch)]
    source: dict[str, torch.Tensor] = {}
    if model.conditioned:
        lines = [as_decoder_input(*line, model) for line in lines]
        ids, mask = pad([window.source(int(i)) for i in batch], model)
        source = {"source_ids": ids, "source_mask": mask}
    ids, mask = pad([line[0] for line in lines], model)
    pooler = Pooler(
        [line[1] for line in lines],
        [line[2] for line in lines],
        int(ids.shape[1]),
        pooling=settings.pooling,
        sentences=settings.sentences,
        dtype=settings.dtype,
        device=model.device,
    )
    pooled = models.hidden_states(
        model, ids, mask, pooler, layers=settings.layers, last_layer=settings.last_layer, **source
    )
    return pooler.rows, pooled


def write_states(lines: Ints, rows: Ints, pooled: dict[int, Pooled], files: Files) -> None:
    """Write the states of some lines, and of their token rows, which rise; of all layers, or none."""
    lacking = sorted(files.words.keys() - pooled.keys())
    if lacking:  # rows that are not written would be read as zeros
        raise InputError(f"A pass did not return the states of layers {lacking}.")
    rising = np.argsort(lines)
    for layer, one in pooled.items():
        files.words[layer].write(rows, one.words)
        for kind, states in one.sentences.items():
            files.sentences[kind, layer].write(lines[rising], states[rising])


def _write_counts(window: Subwords, lines: Lines, files: Files) -> None:
    stop = window.first + len(window.bounds) - 1
    first, last = int(lines.bounds[window.first]), int(lines.bounds[stop])
    of_words, of_text = counts_of(window, lines)
    files.n_subwords.write(np.arange(first, last), of_words)
    files.n_text.write(np.arange(window.first, stop), of_text)


def counts_of(window: Subwords, lines: Lines) -> tuple[Ints, Ints]:
    """Return the subwords of every token row of a window, and those of every line that are text."""
    stop = window.first + len(window.bounds) - 1
    first, last = int(lines.bounds[window.first]), int(lines.bounds[stop])
    counts = np.bincount(window.owners[window.owners >= 0] - first, minlength=last - first)
    text = np.concatenate([[0], np.cumsum(window.text)])[window.bounds]
    return np.minimum(counts, np.iinfo(np.int16).max), np.diff(text)


def finish_window(state: Progress, window: Subwords, lines: Lines, model: models.Loaded) -> None:
    """Add what a finished window has met to `state`."""
    state.window, state.done = state.window + 1, 0
    state.n_subwords += len(window.ids)
    state.n_truncated += window.n_truncated
    unknown_id = model.tokenizer.unk_token_id
    if unknown_id is not None:
        rows = np.unique(window.owners[(window.ids == unknown_id) & (window.owners >= 0)])
        words = lines.corpus.words.select("language")[pl.Series(rows, dtype=pl.UInt32)]["language"]
        state.unknown = dict(Counter(state.unknown) + Counter(words.to_list()))
    table = lines.corpus.sentences[window.first : window.first + len(window.bounds) - 1]
    for language in table["language"].unique(maintain_order=True):
        texts = table.filter(pl.col("language") == language)["text"].to_list()
        add_names(state, {language: models.lines_with_names(model, texts)})


def add_names(state: Progress, found: Mapping[str, tuple[int, str]]) -> None:
    """Add lines that hold names of special subwords."""
    for language, (n, name) in found.items():
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
    note = (
        f"out of memory with batches of {size} subwords on {model.device}: went on with {state.batch_tokens}"
    )
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
    import joblib
    import torch

    before = torch.get_num_threads()
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(allowed) if allowed.isdigit() else joblib.cpu_count(only_physical_cores=True)
    if device == "cpu" and 0 < cores < before:
        torch.set_num_threads(cores)
    try:
        yield
    finally:
        torch.set_num_threads(before)
