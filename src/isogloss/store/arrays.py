"""Arrays on disk: files of rows, written anywhere in them and mapped for reading.

An array is one ``.npy`` file.  Where the file system refuses a file of that size (FAT and some network file systems
end at 4 GB), it is several, ``NAME.000.npy``, ``NAME.001.npy`` ..., each with its share of the rows.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.errors import InputError
from isogloss.store.files import cannot_write, make_folder

Ints = npt.NDArray[np.int64]

_PIECE_BYTES = 4 * 2**30 - 2**20  # of one file where a whole array does not fit; under the limit of FAT
_READ_BYTES = 4 * 2**20  # read at a time, to be digested


@dataclass(frozen=True)
class Pieces:
    """A mapped array that lies in several files: rows of it can be read as from one array.

    Attributes
    ----------
    parts : tuple of numpy.ndarray
        Of equal width; together all rows, in order.
    path : Path, optional
        The array's name as one file.
    """

    parts: tuple[npt.NDArray[Any], ...]
    path: Path | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(len(part) for part in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.parts[0].dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read all rows into memory."""
        whole = np.concatenate(self.parts)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Read rows: a number, a slice, numbers, or a mask; the result is in memory."""
        wanted = _numbers(rows, len(self))
        flat = np.atleast_1d(wanted)
        values = np.empty((len(flat), *self.shape[1:]), dtype=self.dtype)
        begin = 0
        for part in self.parts:
            here = np.flatnonzero((flat >= begin) & (flat < begin + len(part)))
            values[here] = part[flat[here] - begin]
            begin += len(part)
        return values if wanted.ndim else values[0]


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of an array file, or all: read when they are asked for, a name and numbers until then.

    The map of the file is opened at the first reading and does not travel: pickled, this is a path and row numbers, and
    whoever gets it opens the file anew.

    Attributes
    ----------
    path : Path
        The array's name as one file, also where it lies in several.
    numbers : numpy.ndarray, optional
        (n,) int64 rows of the file; default: all of them.
    """

    path: Path
    numbers: Ints | None = None

    @cached_property
    def _file(self) -> Any:
        return open_array(self.path)

    @property
    def shape(self) -> tuple[int, ...]:
        file: tuple[int, ...] = self._file.shape
        return file if self.numbers is None else (len(self.numbers), *file[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self._file.dtype
        return dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Read rows: a number, a slice, numbers, or a mask; these alone are read, and the result is in memory."""
        return np.array(self._file[rows if self.numbers is None else self.numbers[rows]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read all rows into memory."""
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "numbers": self.numbers}

    def part(self, begin: int, end: int) -> Rows:
        """Return rows ``begin`` to ``end`` (less one) of these, with numbers of their own; nothing is read."""
        share = slice(begin, end)
        return Rows(self.path, _numbers(share, len(self)) if self.numbers is None else self.numbers[share])

    @classmethod
    def of(cls, array: Any, numbers: Ints | None = None) -> Rows | None:
        """Return some rows of a mapped file as a reference to it, or None where `array` is not all of one file."""
        path = array.path if isinstance(array, Pieces) else getattr(array, "filename", None)
        if path is None:
            return None
        whole_file = cls(Path(path))
        whole = (
            whole_file.shape == array.shape and whole_file.dtype == array.dtype
        )  # a view of a map has the file's name too
        if not isinstance(array, Pieces):
            whole = whole and array.flags.c_contiguous and array.mode != "c"  # c: changes stay in memory
        return cls(whole_file.path, numbers) if whole else None


class RowWriter:
    """A new or unfinished array, open for writing rows; nothing of it is kept in memory.

    Parameters
    ----------
    path : Path
        Its name as one file.
    shape : tuple of int
        (n,) or (n, d).
    dtype : str
        Of numpy.
    resume : bool
        Go on with the file that is there; else make it, zeros, and reserve its blocks at once where the system can,
        so that a full disk is an error here and not in the middle of the work.

    Raises
    ------
    InputError
        If the disk is too small, the file cannot be written, or (to go on) is not there or of another shape.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str, *, resume: bool = False) -> None:
        self.path = path
        self._row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
        self._dtype = np.dtype(dtype)
        self._files: list[tuple[int, int, int]] = []  # first row, descriptor, where its rows begin
        if resume:
            there = open_array(path)
            if there.shape != shape or there.dtype != self._dtype:
                raise InputError(f"{path} holds {there.dtype} {there.shape}, not {dtype} {shape}. Delete it.")
        else:
            self._make(shape)
        begin = 0
        for file in array_files(path):
            part = np.load(file, mmap_mode="r")
            self._files.append((begin, os.open(file, os.O_RDWR), int(part.offset)))
            begin += len(part)

    def _make(self, shape: tuple[int, ...]) -> None:
        make_folder(self.path.parent)
        try:
            _reserve(self.path, shape, self._dtype)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            n = _PIECE_BYTES // max(self._row_bytes, 1)
            if error.errno != errno.EFBIG or not 0 < n < shape[0]:
                raise cannot_write(self.path, error) from None
            try:
                for number, begin in enumerate(range(0, shape[0], n)):
                    _reserve(_piece(self.path, number), (min(n, shape[0] - begin), *shape[1:]), self._dtype)
            except OSError as again:
                raise cannot_write(_piece(self.path, number), again) from None

    def write(self, rows: Ints, values: npt.NDArray[Any]) -> None:
        """Write values (len(rows), ...) to rows, which rise; neighbouring rows go in one piece."""
        values = np.ascontiguousarray(values, dtype=self._dtype)
        view = memoryview(values.reshape(-1).view(np.uint8).data)
        try:
            for low, high, file, place in self._runs(rows):
                _write_all(file, view[low * self._row_bytes : high * self._row_bytes], place)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def digest(self, rows: Ints) -> str:
        """Return a 16-hex-digit digest of rows, which rise, as they are in the files now."""
        h = hashlib.blake2b(digest_size=8)
        for low, high, file, place in self._runs(rows):
            end = place + (high - low) * self._row_bytes
            for begin in range(place, end, _READ_BYTES):
                h.update(os.pread(file, min(_READ_BYTES, end - begin), begin))
        return h.hexdigest()

    def _runs(self, rows: Ints) -> Iterator[tuple[int, int, int, int]]:
        """Yield runs of rows that are neighbours in one file: bounds in `rows`, the file, and where in it."""
        if not len(rows):
            return
        ends = np.array([first for first, _, _ in self._files[1:]], dtype=np.int64)
        cuts = np.union1d(np.flatnonzero(np.diff(rows) != 1) + 1, np.searchsorted(rows, ends))
        bounds = [0, *(int(x) for x in cuts if 0 < x < len(rows)), len(rows)]
        for low, high in pairwise(bounds):
            number = int(np.searchsorted(ends, rows[low], side="right"))
            first, file, offset = self._files[number]
            yield low, high, file, offset + (int(rows[low]) - first) * self._row_bytes

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        for _, file, _ in self._files:
            os.fsync(file)

    def close(self) -> None:
        """Close the files."""
        for _, file, _ in self._files:
            os.close(file)
        self._files = []


def array_files(path: Path) -> list[Path]:
    """Return the files of an array: the one of its name, or its pieces in order."""
    if path.exists():
        return [path]
    return sorted(path.parent.glob(f"{path.stem}.[0-9][0-9][0-9]{path.suffix}")) or [path]


def open_array(path: Path) -> Any:
    """Map an existing array: a ``numpy.ndarray``, or `Pieces`; a missing or damaged file is an ``InputError``."""
    parts = []
    for file in array_files(path):
        try:
            parts.append(np.load(file, mmap_mode="r"))
        except FileNotFoundError:
            raise InputError(f"There is no file {file}. Run the step that writes it again.") from None
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{file} cannot be read as an array ({error}). Delete it and run again.") from None
    return parts[0] if len(parts) == 1 else Pieces(tuple(parts), path)


@contextmanager
def closing(writers: dict[Any, RowWriter]) -> Iterator[dict[Any, RowWriter]]:
    """Close writers when the block ends, however it does."""
    try:
        yield writers
    finally:
        for writer in writers.values():
            writer.close()


def _numbers(rows: Any, n: int) -> Ints:
    """Return the numbers of rows, of n, that an index of the first axis takes; of a single one as a scalar array."""
    if isinstance(rows, slice):
        return np.arange(*rows.indices(n), dtype=np.int64)
    wanted = np.asarray(rows)
    if wanted.dtype == np.bool_:
        if wanted.shape != (n,):
            raise IndexError(f"A mask of {n} rows has shape {(n,)}; got {wanted.shape}.")
        return np.flatnonzero(wanted)
    if wanted.size and (wanted.min() < -n or wanted.max() >= n):
        raise IndexError(f"Rows are numbered 0 to {n - 1}; asked for {wanted.min()} to {wanted.max()}.")
    return np.where(wanted < 0, wanted + n, wanted).astype(np.int64)


def _piece(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number:03d}{path.suffix}")


def _reserve(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as f:
            os.posix_fallocate(f.fileno(), 0, path.stat().st_size)


def _write_all(file: int, data: memoryview, place: int) -> None:
    while data:
        n = os.pwrite(file, data, place)
        data, place = data[n:], place + n
