"""A study's files behind a URL, for workers that share no file system: brought before a step, sent after it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isogloss.errors import InputError, IsoglossError
from isogloss.store.files import make_folder, write_json
from isogloss.store.markers import Markers, read_marker
from isogloss.store.names import inside
from isogloss.urls import hidden, without_secrets

log = logging.getLogger(__name__)

_AT_ONCE = 16  # files on their way
_WITH_FOLDERS = {"file", "local", "sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs", "webdav"}
_BLOCK = 2**22  # bytes that are read at a time
# Words in the names under which storages tell that a file is another one than before, and what else may tell it.
_VERSIONS = ("etag", "md5", "checksum", "generation", "version", "modif", "updated", "mtime")
_MORE = ("created", "ino")


class Remote:
    """The copy of a study folder that all workers reach, under any URL that fsspec knows (``s3://bucket/study``).

    A step's marker is sent after its outputs, so what has a marker is whole.  It says of every output its digest, and
    with what words (an ETag, a time) the storage described it when that digest was true.

    Parameters
    ----------
    url : str
        Passwords in it are used and never shown.

    Attributes
    ----------
    url : str
        Without secrets.

    Raises
    ------
    IsoglossError
        If fsspec, or what it needs for this kind of URL, is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise IsoglossError("A storage URL needs fsspec. Install it: pip install 'isogloss[dask]'") from None
        self.url, self._whole_url = without_secrets(url).rstrip("/"), url
        with self._reached():
            self._files, base = url_to_fs(url, use_listings_cache=False)
        self._base = str(base).rstrip("/")

    def __reduce__(self) -> tuple[type[Remote], tuple[str]]:
        return Remote, (self._whole_url,)

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    # -- steps ------------------------------------------------------------------------------------

    def record(self, step: str) -> dict[str, Any] | None:
        """Return the marker of a step, or None; what has not the form of one, or names files outside, is none."""
        text = self.text(_marker(step))
        if text is None:
            return None
        try:
            record = read_marker(text)
        except ValueError:
            record = None
        if record is None:
            log.warning("%s/%s is no marker of isogloss; its step runs again", self.url, _marker(step))
        return record

    def is_done(self, step: str, key: str) -> bool:
        """True if the step was finished with this key and its outputs are still what they were.

        A file that the storage describes as it did when its digest was known is not read again.
        """
        record = self.record(step)
        if record is None or record["key"] != key:
            return False
        stamps = {name: self._stamp_of(name, entry) for name, entry in record["outputs"].items()}
        for name, stamp in stamps.items():
            if stamp is None:
                log.warning("%s/%s is missing or damaged; its step %s runs again", self.url, name, step)
                return False
        if any(stamp != record["outputs"][name].get("stamp") for name, stamp in stamps.items()):
            for name, stamp in stamps.items():
                record["outputs"][name]["stamp"] = stamp
            self.write(_marker(step), json.dumps(record))
        return True

    def done(self, steps: Sequence[tuple[str, str]]) -> list[bool]:
        """Return `is_done` of many steps, given by name and key."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda step: self.is_done(*step), steps))

    def _stamp_of(self, name: str, entry: Mapping[str, Any]) -> str | None:
        """Return how the storage describes an output that is what its marker says, or None where it is not."""
        facts = self._facts(name)
        if facts is None or facts["size"] != entry["bytes"]:
            return None
        stamp = _stamp(facts)
        if stamp and stamp == entry.get("stamp"):
            return stamp
        return stamp if self._digest(name) == entry["digest"] else None

    def bring(self, root: Path, steps: Iterable[str], wanted: Iterable[Path] | None = None) -> None:
        """Copy outputs of some steps into a folder: all, or those wanted; what is there and the same is kept.

        Raises
        ------
        InputError
            If a step is not done, or a file is gone or damaged.
        """
        only = None if wanted is None else {path.relative_to(root).as_posix() for path in wanted}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda step: self._bring(root, step, only), dict.fromkeys(steps)))

    def _bring(self, root: Path, step: str, only: set[str] | None) -> None:
        record = self.record(step)
        if record is None:
            raise InputError(f"The step {step} is not done in {self.url}. Run the study again.")
        study = Markers(root)
        before = study.record(step)
        if before is not None and before["key"] != record["key"]:  # of an earlier run
            for name in before["outputs"]:
                inside(root, name).unlink(missing_ok=True)
        for name, entry in record["outputs"].items():
            path = inside(root, name)
            if only is not None and name not in only:
                continue
            here = before["outputs"].get(name, {}) if before else {}
            if study.fault(name, entry | {"written": here.get("written")}):
                self.get(study, path)
                if study.fault(name, entry):
                    path.unlink()
                    self.remove(_marker(step))  # so that it counts as not done, everywhere
                    raise InputError(f"{self.url}/{name} is damaged. Run the study again, to make it anew.")
            entry["written"] = path.stat().st_ctime_ns
        write_json(study.marker(step), record)

    def send(self, study: Markers, step: str, *, marker_only: bool = False) -> None:
        """Copy the outputs of a step that was done in a folder, and then its marker, to the storage."""
        record = study.known(step)
        for name, entry in record["outputs"].items():
            entry.pop("written", None)  # of this machine
            if not marker_only:
                self.put(study, inside(study.root, name))
                entry["stamp"] = _stamp(self._facts(name) or {})
        self.write(_marker(step), json.dumps(record))

    # -- files ------------------------------------------------------------------------------------

    def put(self, study: Markers, path: Path) -> None:
        """Copy one file of a study folder to the storage."""
        place = f"{self._base}/{path.relative_to(study.root).as_posix()}"
        with self._reached():
            self._make_folder(place)
            self._files.put_file(str(path), place)

    def get(self, study: Markers, path: Path) -> None:
        """Copy one file from the storage to its place in a study folder."""
        make_folder(path.parent)
        name = path.relative_to(study.root).as_posix()
        try:
            with self._reached(missing=FileNotFoundError):
                self._files.get_file(f"{self._base}/{name}", str(path))
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            raise InputError(f"There is no file {self.url}/{name}. Run the study again.") from None

    def remove(self, *names: str) -> None:
        """Remove files and folders, if they are there."""
        for name in names:
            with self._reached():
                if self._files.exists(f"{self._base}/{name}"):
                    self._files.rm(f"{self._base}/{name}", recursive=True)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files of a folder, without it."""
        try:
            with self._reached(missing=FileNotFoundError):
                paths = self._files.ls(f"{self._base}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in paths)

    def text(self, name: str) -> str | None:
        """Return a file as text, or None where there is none; what is no UTF-8 is left out."""
        try:
            with self._reached(missing=FileNotFoundError):
                return bytes(self._files.cat_file(f"{self._base}/{name}")).decode(errors="ignore")
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        """Write a file of text."""
        place = f"{self._base}/{name}"
        with self._reached():
            self._make_folder(place)
            self._files.pipe_file(place, text.encode())

    def _make_folder(self, place: str) -> None:
        """Make the folder of a file, where there are folders; an object store would make a bucket instead."""
        protocols = self._files.protocol
        if not _WITH_FOLDERS.isdisjoint([protocols] if isinstance(protocols, str) else protocols):
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)

    def _facts(self, name: str) -> dict[str, Any] | None:
        try:
            with self._reached(missing=FileNotFoundError):
                return dict(self._files.info(f"{self._base}/{name}"))
        except FileNotFoundError:
            return None

    def _digest(self, name: str) -> str:
        h = hashlib.blake2b(digest_size=8)
        with self._reached(), self._files.open(f"{self._base}/{name}", "rb", block_size=_BLOCK) as file:
            while block := file.read(_BLOCK):
                h.update(block)
        return h.hexdigest()

    @contextmanager
    def _reached(self, *, missing: type[Exception] | None = None) -> Iterator[None]:
        """Make one clear line of what a store answers (every kind has errors of its own), but for a missing file."""
        try:
            yield
        except Exception as error:
            if missing is not None and isinstance(error, missing):
                raise
            reason = hidden(" ".join(str(error).split()), self._whole_url) or type(error).__name__
            raise IsoglossError(f"The storage {self.url} cannot be used: {reason}") from None


def _marker(step: str) -> str:
    return f".steps/{step}.json"


def _stamp(facts: Mapping[str, Any]) -> str:
    """Return what a storage says of a file's version; nothing where it says no more than its size and beginning."""
    named = {name: name.lower().replace("_", "") for name in sorted(facts)}
    if not any(word in name for name in named.values() for word in _VERSIONS):
        return ""
    telling = [key for key, name in named.items() if any(word in name for word in (*_VERSIONS, *_MORE))]
    return json.dumps({key: str(facts[key]) for key in telling})
