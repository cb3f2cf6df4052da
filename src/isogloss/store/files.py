"""Files: digests, atomic writes, tables, arrays, text with its line numbers, locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import polars as pl
import polars.selectors as cs

from isogloss.errors import InputError, IsoglossError

_SLICE = 200_000  # rows of a table handled at a time
_FORMULA = r"=+\-@\t\r"  # a cell that begins so is computed by spreadsheets
_ROW_GROUP = 1_000_000  # rows of a Parquet file that are read together
_HELD: set[tuple[Path, int]] = set()  # locks, and the threads of this process that hold them
_OURS = ".isogloss-"  # in the name of every temporary file, between that of the file and eight random characters


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
    h = hashlib.blake2b(digest_size=8)
    for part in table.select(list(columns)).iter_slices(_SLICE):  # as text a table takes many times its memory
        h.update(part.write_ndjson().encode())
    return h.hexdigest()


def folder_name(name: str) -> str:
    """Return a name that is safe as one folder: a hub id's ``/`` becomes ``--``; of dots alone (``..``), ``-`` each."""
    safe = re.sub(r"[^\w.+-]+", "-", name.strip().strip("/").replace("/", "--"))
    return safe if safe.strip(".") else "-" * max(1, len(safe))


def make_folder(path: Path) -> Path:
    """Create a folder (and parents); a folder that cannot be written is a clear error."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    if not os.access(path, os.W_OK):
        raise InputError(f"Cannot write into the folder {path}. Choose another one with --out.")
    return path


def cannot_write(path: Path, error: OSError) -> InputError:
    """Return the error for a file that the system refuses to write."""
    way_out = "Free some space or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose"
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY):
        way_out = "Move away what is there, or choose"
    return InputError(
        f"Cannot write {path}: {error.strerror or error}. {way_out} another folder with --out; "
        "finished steps are kept, and the same command goes on from there."
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make one clear error of what the system, or polars on its behalf, refuses to write."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None
    except pl.exceptions.PolarsError as error:
        found = re.search(r"os error (\d+)", str(error))  # polars writes by itself, and has no other kind for it
        if found is None:
            raise
        raise cannot_write(path, OSError(int(found[1]), os.strerror(int(found[1])))) from None


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` and rename it to ``path`` when the block ends well."""
    make_folder(path.parent)
    with writing(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_OURS}", suffix=".tmp")
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
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``, which is removed when the block ends."""
    make_folder(path.parent)
    with writing(path):
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}{_OURS}", suffix=".tmp"))
        try:
            yield temporary
        finally:
            remove_folder(temporary)


@contextlib.contextmanager
def folder_in_one_piece(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` whose files go to ``path`` when the block ends well.

    Files of the same names are replaced one by one; readers go by the marker that is written after all of them.
    """
    with temporary_folder(path) as temporary:
        yield temporary
        for file in sorted(file for file in temporary.rglob("*") if file.is_file()):
            target = path / file.relative_to(temporary)
            make_folder(target.parent)
            file.replace(target)


def sweep(root: Path, below: Iterable[str] = ()) -> None:
    """Remove temporary files and folders of ours that a killed process left; call it with the folder's lock held.

    They are looked for where we make them, and nothing else is touched: in a folder itself, and anywhere below some of
    its subfolders.
    """
    paths = [*root.iterdir(), *(path for name in below for path in (root / name).rglob(f".*{_OURS}*.tmp"))]
    for path in paths:
        if not re.fullmatch(rf"\..+{_OURS}[a-z0-9_]{{8}}\.tmp", path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            remove_folder(path)
        else:
            path.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk: a file whose name a power loss takes is lost as well."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:  # some network file systems have no such thing
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(folder)


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
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}). Delete it and run again.") from None


def read_table(path: str | Path, columns: Mapping[str, Any] | Iterable[str]) -> pl.DataFrame:
    """Read a Parquet table and check that it has `columns`, of the types given if any; damage is an ``InputError``."""
    try:
        table = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except Exception as error:  # polars raises many kinds on damaged bytes
        raise InputError(f"{path} cannot be read as Parquet ({_first_line(error)}). Delete it and run again.") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}.")
    if not isinstance(columns, Mapping):
        return table
    kinds: dict[Any, Any] = dict(columns)
    try:
        return table.cast(kinds)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} has a column of another type: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a Parquet table atomically."""
    with atomic(path) as f:
        table.write_parquet(f, row_group_size=_ROW_GROUP)


def write_with_csv(path: Path, table: pl.DataFrame) -> None:
    """Write a table as Parquet, and beside it as CSV with six decimals and NaN left empty."""
    write_table(path, table)
    write_csv(path.with_suffix(".csv"), table.fill_nan(None))


def write_csv(path: Path, table: pl.DataFrame, *, decimals: int = 6) -> None:
    """Write a table as CSV.

    Spreadsheets compute a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return, also where it
    is a word of a corpus.  Such text gets an apostrophe before it (and one more where it has some); numbers do not.
    `read_csv` takes it away again.
    """
    marked = table.with_columns(cs.string().str.replace(f"^('*[{_FORMULA}])", "'${1}"))
    write_text(path, marked.write_csv(float_precision=decimals))


def read_csv(path: Path, **options: Any) -> pl.DataFrame:
    """Read what `write_csv` has written; options are those of polars."""
    return pl.read_csv(path, **options).with_columns(cs.string().str.replace(f"^'('*[{_FORMULA}])", "${1}"))


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
    """Hold an advisory lock file; a second process is refused.  The lock dies with its process.

    The thread that holds it may take it again: `extract` locks its folder, also as a step of a study that has.
    """
    make_folder(path.parent)
    mine = path.resolve(), threading.get_ident()
    if mine in _HELD:
        yield
        return
    try:
        file = path.open("a+", errors="replace")
    except OSError as error:
        raise cannot_write(path, error) from None
    with file as f:
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
        _HELD.add(mine)
        try:
            yield
        finally:
            _HELD.remove(mine)


def lock_holder(path: Path) -> str | None:
    """Return the process id that holds a lock file now, or None."""
    try:
        with path.open("r", errors="replace") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return f.read().strip() or "unknown"
    except OSError:  # there is none, or it is a folder: nobody holds it
        pass
    return None


def remove_folder(path: Path) -> None:
    """Remove a folder and what is in it; nothing happens when it does not exist."""
    shutil.rmtree(path, ignore_errors=True)
