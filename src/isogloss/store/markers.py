"""The markers of finished steps, and the one door through which files of steps are read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.errors import InputError
from isogloss.store.files import cannot_write, file_digest, read_table, remove_folder, write_json
from isogloss.store.names import inside, is_name

log = logging.getLogger(__name__)

MARKER_VERSION = 3
CORPUS = "corpus"  # the step of the corpus's tables
_HASHED_UP_TO = 64 * 2**20  # larger outputs (states) are read again only if they were written since


# Of texts and plans of their own.
_UNPLANNED = (CORPUS, "tasks", "manifest")


@lru_cache(maxsize=8)
def _keys_of(plan: Path, _written: int, _bytes: int) -> Mapping[str, str] | None:
    """Return the keys of a plan by name; None where it cannot be read, which `study_status` tells."""
    try:
        return {str(name): str(key) for name, key, *_ in json.loads(plan.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, RecursionError):
        return None


@dataclass(frozen=True)
class Markers:
    """The markers of a study folder: which steps are done, and whether a file is what its step wrote."""

    root: Path

    def _at(self, *names: str) -> Path:
        """Return a path inside the folder, whatever the names are: they may come from a table or a marker."""
        return inside(self.root, "/".join(names))

    @property
    def config(self) -> Path:
        return self.root / "study.yaml"

    @property
    def plan(self) -> Path:
        return self.root / ".steps" / "plan.json"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens.parquet"

    def step_of(self, path: Path) -> str:
        """Return the name of the step whose first output a file is: the file's, without its ending."""
        return path.relative_to(self.root).with_suffix("").as_posix()

    def marker(self, step: str) -> Path:
        return self._at(".steps", f"{step}.json")

    def find_steps(self, below: str = "") -> list[str]:
        """Return the names of all steps that have a marker, or of those below a name."""
        folder = self.root / ".steps"
        names = (path.relative_to(folder).with_suffix("") for path in (folder / below).rglob("*.json"))
        return sorted(name.as_posix() for name in names if name.as_posix() != self.plan.stem)

    def is_done(self, step: str, key: str, *, thorough: bool = False) -> bool:
        """True if the step was finished with this key and its outputs are still what they were.

        Outputs are compared with the digests in the marker; one over 64 MB only if it was changed since it was digested
        here (a copy, a repair), or if `thorough`.
        """
        record = self.record(step)
        if record is None or record["key"] != key:
            return False
        for name, entry in record["outputs"].items():
            if fault := self.fault(name, entry, thorough=thorough):
                log.warning("%s %s; its step %s runs again", self.root / name, fault, step)
                return False
        return True

    def checked(self, path: Path, step: str = "") -> Path:
        """Return a file of the study if it can be believed: its step done, of the text that is here, and it unchanged.

        Whoever reads what a step has written asks here for it, so that nothing of another text, and nothing damaged,
        gets into what is made from it.

        Parameters
        ----------
        path : Path
        step : str
            That writes it; default: the one of the file's name.

        Raises
        ------
        InputError
            If it cannot be believed.
        """
        step = step or self.step_of(path)
        record, name = self.record(step), path.relative_to(self.root).as_posix()
        wrong = ""
        if record is None:
            wrong = "is not of a finished step" if path.exists() else "is not there"
        elif record["text"] and self.record(CORPUS) is None:
            wrong = f"cannot be compared with the text: {self.tokens.name} is not of a finished step"
        elif reason := self._outdated(step, record):
            wrong = reason
        elif (entry := record["outputs"].get(name)) and self.fault(name, entry):
            wrong = "is not as it was written" if path.exists() else "is missing"
        if wrong:
            raise InputError(f"{path} {wrong}. Make it again with: {self._again(step)}")
        return path

    def _again(self, step: str) -> str:
        """Return the command that does a step again."""
        if step == "robustness":
            return f"isogloss robustness {self.root}"
        if self.config.is_file():
            return f"isogloss run {self.config} --out {self.root}"
        return "isogloss.extract, or the study that it belongs to"

    def is_outdated(self, path: Path, step: str = "") -> bool:
        """True if the step that writes a file, named as it by default, was done, and not for the study that is here."""
        step = step or self.step_of(path)
        record = self.record(step)
        return record is not None and bool(self._outdated(step, record))

    def _outdated(self, step: str, record: Mapping[str, Any]) -> str:
        """Return in what a finished step is not of the study that is here: its text, or the plan of its last run."""
        if record["text"] not in ("", self.text()):
            return f"was made from another text than {self.tokens.name} holds now"
        keys = self.planned()
        if keys is None or step.split("/", maxsplit=1)[0] in _UNPLANNED or keys.get(step) == record["key"]:
            return ""
        return f"was made with other settings than {self.config.name} has now"

    def planned(self) -> Mapping[str, str] | None:
        """Return the keys of the steps of the last run, by name; None where there was no run."""
        try:
            stat = self.plan.stat()
        except OSError:
            return None
        return _keys_of(self.plan, stat.st_mtime_ns, stat.st_size)

    def is_there(self, path: Path, step: str = "") -> bool:
        """True if there is a file, or should be; one of another text or other settings is left out, with a warning.

        It is for what a study may do without: no step of a run need make it again.  Nothing is said of what the study
        does not ask for any more.
        """
        step = step or self.step_of(path)
        record = self.record(step)
        if record is None or self.record(CORPUS) is None or not (reason := self._outdated(step, record)):
            return path.exists() or record is not None
        if step in (self.planned() or {step}):
            log.warning("%s %s and is left out. Make it again with: %s", path, reason, self._again(step))
        return False

    def table(self, path: Path, columns: Mapping[str, Any] | Iterable[str], step: str = "") -> pl.DataFrame | None:
        """Return a table of the study, `checked`, or None where it `is_there` not."""
        return read_table(self.checked(path, step), columns) if self.is_there(path, step) else None

    def text(self) -> str:
        """Return the digest of the study's text, which markers of all made from it carry; "" without a text."""
        record = self.record(CORPUS)
        return str(record["info"].get("text", "")) if record else ""

    def fault(self, name: str, entry: Mapping[str, Any], *, thorough: bool = False) -> str:
        """Return what is wrong with an output, by what its marker says of it; nothing if it is what it was."""
        path = inside(self.root, name)
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            return "is missing or has changed"
        # The time of the last change of the file itself (not of its content, which a copy keeps): it says that nothing
        # was written since it was digested in this very place.
        unchanged = entry["bytes"] > _HASHED_UP_TO and path.stat().st_ctime_ns == entry.get("written")
        if (thorough or not unchanged) and file_digest(path) != entry["digest"]:
            return "is damaged"
        return ""

    def mark_done(
        self,
        step: str,
        key: str,
        outputs: Sequence[Path],
        info: Mapping[str, object] | None = None,
        *,
        listed: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        """Write the marker of a finished step: key, sizes and digests of outputs, facts about the run.

        `listed` are outputs as another marker lists them; these are not read again.
        """
        listed = dict(listed or {})
        for path in outputs:
            stat = path.stat()
            entry = {"bytes": stat.st_size, "written": stat.st_ctime_ns, "digest": file_digest(path)}
            listed[str(path.relative_to(self.root))] = entry
        facts = dict(info or {})
        text = facts.get("text", "") if step == CORPUS else self.text()
        if step.split("/", maxsplit=1)[0] == "tasks":  # of texts of its own
            text = ""
        content = {"version": MARKER_VERSION, "key": key, "text": text, "outputs": listed, "info": facts}
        write_json(self.marker(step), content)

    def record(self, step: str) -> dict[str, Any] | None:
        """Return the marker of a step, or None when there is none; of what is none of ours a warning tells."""
        path = self.marker(step)
        try:
            marker = read_marker(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s is not a marker (%s); its step %s counts as not done", path, error, step)
            return None
        if marker is None:
            log.warning("%s is not a marker of this version; its step %s counts as not done", path, step)
        return marker

    def known(self, step: str) -> dict[str, Any]:
        """Return the marker of a step that must be done.

        Raises
        ------
        InputError
            If it is not.
        """
        record = self.record(step)
        if record is None:
            raise InputError(f"The step {step} of {self.root} is not done. Run the study again.")
        return record

    def clear_below(self, step: str) -> None:
        """Forget the steps whose names begin with that of a step and a slash: its parts."""
        remove_folder(self.marker(step).with_suffix(""))

    def clear(self, step: str) -> None:
        """Forget a step: remove its marker first, so that stale outputs are never taken for done."""
        path = self.marker(step)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from None


def read_marker(text: str) -> dict[str, Any] | None:
    """Return what the text of a marker says, or None if no marker of this version has it, or it names files outside.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    try:
        record: dict[str, Any] = json.loads(text)
    except RecursionError:
        return None
    entry = {"bytes": int, "digest": str}
    whole = (
        _has(record, {"version": int, "key": str, "text": str, "outputs": dict, "info": dict})
        and record["version"] == MARKER_VERSION
        and all(is_name(name) and _has(output, entry) for name, output in record["outputs"].items())
    )
    return record if whole else None


def _has(value: object, wanted: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in wanted.items())
