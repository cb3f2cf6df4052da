"""A study's files behind a URL, for workers that share no file system: brought before a step, sent after it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isogloss.errors import InputError, IsoglossError
from isogloss.store.files import make_folder
from isogloss.store.study import MARKER_VERSION, Study

_AT_ONCE = 16  # files on their way


class Remote:
    """The copy of a study folder that all workers reach, under any URL that fsspec knows (``s3://bucket/study``).

    A step's marker is sent after its outputs, so what has a marker is whole.

    Parameters
    ----------
    url : str

    Raises
    ------
    IsoglossError
        If fsspec, or what it needs for this kind of URL, is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise IsoglossError(
                "A storage URL needs fsspec. Install it: pip install 'isogloss[dask]'"
            ) from None
        try:
            self._files, base = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise IsoglossError(f"The storage {url} cannot be used: {error}") from None
        self.url, self._base = url, str(base).rstrip("/")

    def record(self, step: str) -> dict[str, Any] | None:
        """Return the marker of a step, or None."""
        text = self._text(f".steps/{step}.json")
        try:
            record: dict[str, Any] | None = None if text is None else json.loads(text)
        except ValueError:
            return None
        return record if record and {"key", "outputs", "version", "info"} <= record.keys() else None

    def is_done(self, step: str, key: str) -> bool:
        """True if the step was finished with this key and its outputs are there in full."""
        record = self.record(step)
        if record is None or record["key"] != key or record["version"] != MARKER_VERSION:
            return False
        return all(self._size(name) == entry["bytes"] for name, entry in record["outputs"].items())

    def done(self, steps: Sequence[tuple[str, str]]) -> list[bool]:
        """Return `is_done` of many steps, given by name and key."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda step: self.is_done(*step), steps))

    def bring(self, root: Path, steps: Iterable[str], wanted: Iterable[Path] | None = None) -> None:
        """Copy outputs of some steps into a folder: all, or those wanted; what is there and the same is kept.

        Raises
        ------
        InputError
            If a step is not done, or a file is gone.
        """
        only = None if wanted is None else {path.relative_to(root).as_posix() for path in wanted}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda step: self._bring(root, step, only), dict.fromkeys(steps)))

    def _bring(self, root: Path, step: str, only: set[str] | None) -> None:
        record = self.record(step)
        if record is None:
            raise InputError(f"The step {step} is not done in {self.url}. Run the study again.")
        study = Study(root)
        known = study.record(step)
        if known is not None and known["key"] != record["key"]:  # of an earlier run
            for name in known["outputs"]:
                (root / name).unlink(missing_ok=True)
        for name, entry in record["outputs"].items():
            path = root / name
            if only is not None and name not in only:
                continue
            if known is None or not path.is_file() or path.stat().st_size != entry["bytes"]:
                self.get(study, path)
        marker = study.marker(step)
        make_folder(marker.parent)
        marker.write_text(json.dumps(record), encoding="utf-8")

    def _get(self, name: str, path: Path) -> None:
        try:
            with self._reached(missing=FileNotFoundError):
                self._files.get_file(f"{self._base}/{name}", str(path))
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            raise InputError(f"There is no file {self.url}/{name}. Run the study again.") from None

    def send(self, study: Study, step: str, *, marker_only: bool = False) -> None:
        """Copy the outputs of a step that was done in a folder, and then its marker, to the storage."""
        for name in () if marker_only else study.known(step)["outputs"]:
            self.put(study, study.root / name)
        self.put(study, study.marker(step))

    def put(self, study: Study, path: Path) -> None:
        """Copy one file of a study folder to the storage."""
        with self._reached():
            self._files.put_file(str(path), f"{self._base}/{path.relative_to(study.root).as_posix()}")

    def get(self, study: Study, path: Path) -> None:
        """Copy one file from the storage to its place in a study folder."""
        make_folder(path.parent)
        self._get(path.relative_to(study.root).as_posix(), path)

    def remove(self, study: Study, *paths: Path) -> None:
        """Remove folders, if they are there."""
        for path in paths:
            place = f"{self._base}/{path.relative_to(study.root).as_posix()}"
            with self._reached():
                if self._files.exists(place):
                    self._files.rm(place, recursive=True)

    @contextmanager
    def _reached(self, *, missing: type[Exception] | None = None) -> Iterator[None]:
        """Make one clear line of what a store answers (every kind has errors of its own), but for a missing file."""
        try:
            yield
        except Exception as error:
            if missing is not None and isinstance(error, missing):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise IsoglossError(f"The storage {self.url} cannot be used: {reason}") from None

    def _text(self, name: str) -> str | None:
        try:
            with self._reached(missing=FileNotFoundError):
                return bytes(self._files.cat_file(f"{self._base}/{name}")).decode()
        except FileNotFoundError:
            return None

    def _size(self, name: str) -> int | None:
        try:
            with self._reached(missing=FileNotFoundError):
                return int(self._files.info(f"{self._base}/{name}")["size"])
        except FileNotFoundError:
            return None
