"""The only room that knows file names: study folders, digests, atomic writes, step markers, locks.

A *step* is one unit of work with a name (``concepts/mbert/encoder/ward-k600-s0/layer_06/en``), a
key (the digest of its own parameters, its inputs' digests and its version) and output files.  Its
marker, ``.steps/NAME.json``, is written after the outputs, so a kill at any moment leaves either
a finished step or none.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.errors import InputError, IsoglossError

log = logging.getLogger(__name__)

MARKER_VERSION = 1
_HASHED_UP_TO = 64 * 2**20  # larger outputs (states) are checked by size only


def digest(value: object) -> str:
    """Return a 16-hex-digit digest of any JSON-like value (mapping order does not matter)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_digest(path: Path) -> str:
    """Return a 16-hex-digit digest of a file's bytes."""
    h = hashlib.blake2b(digest_size=8)
    with path.open("rb") as f:
        while block := f.read(2**20):
            h.update(block)
    return h.hexdigest()


def table_digest(table: pl.DataFrame, columns: Iterable[str]) -> str:
    """Return a 16-hex-digit digest of some columns of a table: their names and values."""
    content = table.select(list(columns)).write_ndjson().encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def folder_name(name: str) -> str:
    """Return a name that is safe as one folder: a hub id's ``/`` becomes ``--``."""
    return re.sub(r"[^\w.+-]+", "-", name.strip().strip("/").replace("/", "--"))


def make_folder(path: Path) -> Path:
    """Create a folder (and parents); a folder that cannot be written is a clear error."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from None
    if not os.access(path, os.W_OK):
        raise InputError(f"Cannot write into the folder {path}. Choose another one with --out.")
    return path


def _cannot_write(path: Path, error: OSError) -> InputError:
    way_out = "Free some space or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose"
    return InputError(
        f"Cannot write {path}: {error.strerror or error}. {way_out} another folder with --out; "
        "finished steps are kept, and the same command goes on from there."
    )


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` and rename it to ``path`` when the block ends well."""
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise _cannot_write(path, error) from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic(path) as f:
        f.write(text.encode())


def write_json(path: Path, value: object) -> None:
    """Write indented UTF-8 JSON atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a damaged one is an ``InputError`` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}). Delete it and run again.") from None


def read_table(path: str | Path, columns: Iterable[str]) -> pl.DataFrame:
    """Read a Parquet table and check that it has `columns`; damage is an ``InputError`` naming the file."""
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except Exception as error:  # polars raises many kinds on damaged bytes
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as Parquet ({first}). Delete it and run again.") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}."
        )
    return table


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a Parquet table atomically."""
    with atomic(path) as f:
        table.write_parquet(f)


def new_array(path: Path, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Make a ``.npy`` file of zeros and return it mapped for writing.

    The blocks are reserved at once where the system can: a full disk is an ``InputError`` here, and not a
    bus error in the middle of the work.
    """
    make_folder(path.parent)
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as f:
                os.posix_fallocate(f.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise _cannot_write(path, error) from None
    return array


def open_array(path: Path, *, write: bool = False) -> npt.NDArray[Any]:
    """Map an existing ``.npy`` file; a missing or damaged one is an ``InputError`` that names it."""
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r+" if write else "r")
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. Run the step that writes it again.") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as an array ({error}). Delete it and run again.") from None
    return array


def read_lines(path: str | Path) -> list[str]:
    r"""Return the lines of a UTF-8 text file without their ends (``\n`` or ``\r\n``).

    A byte order mark is left out.

    Raises
    ------
    InputError
        If the file is missing, or a line is not UTF-8 (the line is named).
    """
    lines = read_text(path).removeprefix("\ufeff").split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_text(path: str | Path) -> str:
    """Return a UTF-8 text file (``.gz``: unpacked) as it is; see `read_lines` for the errors."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None
    if str(path).endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} is not a whole gzip file ({error}).") from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. "
            "Convert the file, e.g. with: iconv -f latin1 -t utf-8"
        ) from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock file; a second process is refused.  The lock dies with its process."""
    make_folder(path.parent)
    with path.open("a+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            f.seek(0)
            owner = f.read().strip() or "unknown"
            raise IsoglossError(
                f"Another isogloss process (pid {owner}) is working in {path.parent}. "
                "Wait for it, stop it, or use another folder with --out."
            ) from None
        f.seek(0)
        f.truncate()
        f.write(str(os.getpid()))
        f.flush()
        yield


def lock_holder(path: Path) -> str | None:
    """Return the process id that holds a lock file now, or None."""
    try:
        with path.open("r") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return f.read().strip() or "unknown"
    except FileNotFoundError:
        pass
    return None


def run_name(method: str, n_concepts: int, seed: int) -> str:
    """Return the folder name of one clustering, e.g. ``ward-k600-s0``."""
    return f"{method}-k{n_concepts}-s{seed}"


@dataclass(frozen=True)
class ConceptsFile:
    """What the name of a concepts file says."""

    model: str
    stack: str
    run: str
    method: str
    n_concepts: int
    seed: int


@dataclass(frozen=True)
class Study:
    """The names inside a study folder.  Nothing here reads or writes except the step markers."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "study.yaml"

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens.parquet"

    @property
    def sentences(self) -> Path:
        return self.root / "sentences.parquet"

    def states(self, model: str, stack: str) -> Path:
        return self.root / "states" / folder_name(model) / stack

    def states_step(self, model: str, stack: str) -> str:
        return f"states/{folder_name(model)}/{stack}"

    def step_lock(self, step: str) -> Path:
        return self.root / ".steps" / f"{step}.lock"

    def links(self, aligner: str, source: str, target: str) -> Path:
        return self.root / "links" / folder_name(aligner) / f"{source}-{target}.parquet"

    def dictionary(self, source: str, target: str) -> Path:
        return self.root / "dictionary" / f"{source}-{target}.parquet"

    def concepts(
        self, model: str, stack: str, *, method: str, n_concepts: int, seed: int, layer: int, space: str
    ) -> Path:
        base = self.root / "concepts" / folder_name(model) / stack / run_name(method, n_concepts, seed)
        return base / f"layer_{layer:02d}" / f"{space}.parquet"

    def metrics(self, model: str, stack: str, run: str, layer: int) -> Path:
        return self.root / "metrics" / folder_name(model) / stack / run / f"layer_{layer:02d}.parquet"

    def find_states(self) -> list[tuple[str, str]]:
        """Return (model, stack) of every finished states folder."""
        found = (self.root / "states").glob("*/*")
        return sorted((p.parent.name, p.name) for p in found if p.is_dir() and not p.suffix)

    def find_concepts(self, space: str, layer: int) -> list[ConceptsFile]:
        """Return every set of concepts of a space at a layer."""
        found = []
        for path in sorted((self.root / "concepts").glob(f"*/*/*/layer_{layer:02d}/{space}.parquet")):
            model, stack, run = path.parts[-5:-2]
            parts = re.fullmatch(r"(.+)-k(\d+)-s(\d+)", run)
            if parts:
                found.append(ConceptsFile(model, stack, run, parts[1], int(parts[2]), int(parts[3])))
        return found

    @property
    def plan(self) -> Path:
        return self.root / ".steps" / "plan.json"

    @property
    def results(self) -> Path:
        return self.root / "results.parquet"

    @property
    def results_csv(self) -> Path:
        return self.root / "results.csv"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    # -- step markers -------------------------------------------------------------------------

    def marker(self, step: str) -> Path:
        return self.root / ".steps" / f"{step}.json"

    def is_done(self, step: str, key: str) -> bool:
        """True if the step was finished with this key and its outputs are still what they were."""
        record = self.record(step)
        if record is None or record["key"] != key or record["version"] != MARKER_VERSION:
            return False
        for name, expected in record["outputs"].items():
            path = self.root / name
            if not path.is_file() or path.stat().st_size != expected["bytes"]:
                log.warning("%s is missing or has changed; its step %s runs again", path, step)
                return False
            if "digest" in expected and file_digest(path) != expected["digest"]:
                log.warning("%s is damaged; its step %s runs again", path, step)
                return False
        return True

    def mark_done(
        self, step: str, key: str, outputs: Sequence[Path], info: Mapping[str, object] | None = None
    ) -> None:
        """Write the marker of a finished step: key, sizes and digests of outputs, facts about the run."""
        listed: dict[str, dict[str, object]] = {}
        for path in outputs:
            size = path.stat().st_size
            entry: dict[str, object] = {"bytes": size}
            if size <= _HASHED_UP_TO:
                entry["digest"] = file_digest(path)
            listed[str(path.relative_to(self.root))] = entry
        write_json(
            self.marker(step),
            {"version": MARKER_VERSION, "key": key, "outputs": listed, "info": dict(info or {})},
        )

    def record(self, step: str) -> dict[str, Any] | None:
        """Return the marker of a step, or None when there is none that can be read."""
        path = self.marker(step)
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            whole = {"key", "outputs", "version", "info"} <= record.keys()
        except (OSError, ValueError, AttributeError):
            return None
        return record if whole else None

    def clear(self, step: str) -> None:
        """Forget a step: remove its marker first, so that stale outputs are never taken for done."""
        self.marker(step).unlink(missing_ok=True)


def layer_file(folder: Path, layer: int) -> Path:
    """Return the file of one layer in a states folder."""
    return folder / f"layer_{layer:02d}.npy"


def n_subwords_file(folder: Path) -> Path:
    """Return the file with every token's number of subwords in a states folder."""
    return folder / "n_subwords.npy"


def partial_folder(folder: Path) -> Path:
    """Return the name a folder has while it is being filled."""
    return folder.with_name(f"{folder.name}.partial")


def progress_file(folder: Path) -> Path:
    """Return the file that says how far the filling of a folder has come."""
    return folder / "progress.json"


def sweep(root: Path) -> None:
    """Remove the temporary files that a killed process left; call it with the folder's lock held."""
    for path in root.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder and what is in it; nothing happens when it does not exist."""
    shutil.rmtree(path, ignore_errors=True)
