"""What of the states is on the disk: the open files, the note of how far they go, and its proof on resuming.

The note (``progress.json``) names a digest of every piece that was saved, read back from the files.  Whoever resumes
compares them and goes on from the last piece that is whole, so that neither a power loss nor a damaged disk gets into
the states.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isogloss.errors import InputError
from isogloss.extraction.settings import StackSettings
from isogloss.extraction.subwords import Ints
from isogloss.store import (
    RowWriter,
    closing,
    digest,
    layer_file,
    n_subwords_file,
    partial_folder,
    progress_file,
    read_json,
    remove_folder,
    sentence_folder,
    shared_file,
    write_json,
)

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far the work has come, and what it has met.

    `key` is that of the whole step, `compute` the number type in use.  The budget of a batch was `asked` when the first
    run began, and is `batch_tokens` now: an out-of-memory halves it.  Finished are `window` windows, and of the
    current one `done` lines, longest first.  Of the finished windows are `n_subwords`, `n_truncated`, `unknown`
    (language -> words with an unknown subword) and `names` (language -> lines that hold the name of a special subword,
    and the first such name).  `notes` are what a reader of the manifest must know.
    """

    key: str
    compute: str
    batch_tokens: int
    asked: int = 0
    window: int = 0
    done: int = 0
    seconds: float = 0.0
    n_subwords: int = 0
    n_truncated: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Piece(NamedTuple):
    """States that were saved together: the lines of a window up to `done`, from the end of the piece before."""

    window: int
    done: int
    digest: str


@dataclass(frozen=True)
class Files:
    """The open files of the states.

    `words` are by layer, (n_tokens, d), `sentences` by kind of pooling and layer, (n_lines, d).  `n_subwords` are those
    of every token, `shared` says whether one of them covers another word too, `n_text` are those of every line that are
    text.  `pieces` are what the `note` of the progress says is saved.
    """

    words: dict[int, RowWriter]
    sentences: dict[tuple[str, int], RowWriter]
    n_subwords: RowWriter
    shared: RowWriter
    n_text: RowWriter
    note: Path
    pieces: list[Piece] = field(default_factory=list)

    def save(self, state: dict[str, Any], lines: Ints, bounds: Ints) -> None:
        """Bring to the disk first what was written, of some lines since the last time, then how far it goes."""
        facts = (self.n_subwords, self.shared, self.n_text)
        for writer in (*self.words.values(), *self.sentences.values(), *facts):
            writer.sync()
        if len(lines):
            self.pieces.append(Piece(state["window"], state["done"], self.digest(lines, bounds)))
        write_note(self.note, state, self.pieces)

    def digest(self, lines: Ints, bounds: Ints) -> str:
        """Return the digest of the states of some lines as they lie in the files; `bounds` are those of `Lines`."""
        lines = np.sort(lines)
        rows = rows_of(lines, bounds)
        jobs = [(writer, rows) for writer in self.words.values()]
        jobs += [(writer, lines) for writer in self.sentences.values()]
        with ThreadPoolExecutor(min(len(jobs), os.cpu_count() or 1)) as pool:
            return digest(list(pool.map(lambda job: job[0].digest(job[1]), jobs)))


def rows_of(lines: Iterable[int], bounds: Ints) -> Ints:
    """Return the token rows of some lines, one line after another."""
    return np.concatenate([np.empty(0, np.int64), *(np.arange(bounds[i], bounds[i + 1]) for i in lines)])


def write_note(path: Path, state: dict[str, Any], pieces: list[Piece]) -> None:
    """Write how far the work has come, with a digest of the note itself."""
    content = {"state": state, "pieces": pieces}
    write_json(path, {**content, "digest": digest(content)})


def read_note(path: Path) -> tuple[Progress, list[Piece]] | None:
    """Return what a note says, or None, with a warning, where it is not whole or not of this version."""
    try:
        note = read_json(path)
        content = {name: note[name] for name in ("state", "pieces")}
        if note["digest"] != digest(content):
            raise ValueError("its digest is another")
        return Progress(**content["state"]), [Piece(*piece) for piece in content["pieces"]]
    except (InputError, KeyError, TypeError, ValueError) as error:
        log.warning("%s cannot be believed (%s): the states there are made again", path, error)
        return None


def open_note(path: Path, fresh: Progress) -> tuple[Progress, list[Piece]] | None:
    """Return what the note of an earlier run with the same key and number type says, or None."""
    note = read_note(path) if path.exists() else None
    if note is None or (note[0].key, note[0].compute) != (fresh.key, fresh.compute):
        return None
    state = note[0]
    if state.asked != fresh.asked:
        log.warning(
            "the states in %s were begun with batch_tokens %d and go on with it, not with %d: other batches would give "
            "other last digits. To begin anew, delete that folder",
            path.parent,
            state.asked,
            fresh.asked,
        )
    return note


def open_work(
    folder: Path, writers_of: Callable[..., dict[object, RowWriter]], fresh: Progress
) -> tuple[dict[object, RowWriter], Progress, list[Piece]]:
    """Return the open files of an earlier run that can go on, how far it came and what it saved; else new ones."""
    work = partial_folder(folder)
    if progress_file(folder).exists() and not work.exists():
        # killed after the last renaming and before the marker was written
        folder.rename(work)
    note = open_note(progress_file(work), fresh)
    if note is not None:
        try:
            return writers_of(resume=True), *note
        except InputError as error:
            log.warning("%s is not whole (%s): the states there are made again", work, error)
    remove_folder(work)
    writers = writers_of()
    write_note(progress_file(work), asdict(fresh), [])
    return writers, fresh, []


def state_writers(
    folder: Path, settings: StackSettings, *, n_tokens: int, n_lines: int, d: int, resume: bool = False
) -> dict[object, RowWriter]:
    """Open the files of states for writing: of words by layer, of sentences by kind and layer, and facts of both.

    Where that fails, a folder that is not resumed is removed, to give back what was reserved on a full disk.
    """
    whole = sentence_folder(folder)
    wanted: dict[object, tuple[Path, tuple[int, ...], str]] = {
        "n_subwords": (n_subwords_file(folder), (n_tokens,), "int16"),
        "shared": (shared_file(folder), (n_tokens,), "bool"),
        "n_text": (n_subwords_file(whole), (n_lines,), "int32"),
    }
    for layer in settings.layers:
        wanted[layer] = (layer_file(folder, layer), (n_tokens, d), settings.dtype)
        for kind in settings.sentences:
            path = layer_file(sentence_folder(folder, kind), layer)
            wanted[kind, layer] = (path, (n_lines, d), settings.dtype)
    writers: dict[object, RowWriter] = {}
    try:
        for what, (path, shape, number) in wanted.items():
            writers[what] = RowWriter(path, shape, number, resume=resume)
    except InputError:
        with closing(writers):
            if not resume:
                remove_folder(folder)
        raise
    return writers


def files_of(
    writers: Mapping[object, Any], settings: StackSettings, note: Path, pieces: list[Piece] | None = None
) -> Files:
    """Return writers, named as by `state_writers`, as the passes take them."""
    words = {layer: writers[layer] for layer in settings.layers}
    names: list[tuple[str, int]] = [(kind, layer) for kind in settings.sentences for layer in settings.layers]
    facts = writers["n_subwords"], writers["shared"], writers["n_text"]
    return Files(words, {name: writers[name] for name in names}, *facts, note, pieces or [])
