"""The names in a study folder, and the markers of finished steps."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.errors import InputError
from isogloss.store.files import (
    cannot_write,
    digest,
    file_digest,
    folder_name,
    read_table,
    remove_folder,
    sweep,
    write_json,
)
from isogloss.store.names import inside, is_name

log = logging.getLogger(__name__)

MARKER_VERSION = 3
CORPUS = "corpus"  # the step of the corpus's tables
LABEL_TABLES = ("labels", "scores", "splits")
MOVEMENT_TABLES = ("flows", "fates", "shared", "concerns")
_FOLDERS = (  # in which files are written
    *(".steps", "states", "links", "dictionary", "trees", "concepts", "metrics", "companions", "labels"),
    *("movement", "tasks", "figures"),
)
_LONGEST_NAME = 160  # bytes; leaves room for what temporary files add
_HASHED_UP_TO = 64 * 2**20  # larger outputs (states) are read again only if they were written since


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
class TreeFile:
    """What the name of a tree's file says."""

    model: str
    stack: str
    method: str
    seed: int


@dataclass(frozen=True)
class StudyLayout:
    """The names inside a study folder.  Nothing here reads or writes except the step markers."""

    root: Path

    def _at(self, *names: str) -> Path:
        """Return a path inside the folder, whatever the names are: they may come from a table or a marker."""
        return inside(self.root, "/".join(names))

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
        return self._at("states", folder_name(model), stack)

    def states_step(self, model: str, stack: str) -> str:
        return f"states/{folder_name(model)}/{stack}"

    def shard(self, model: str, stack: str, name: str) -> Path:
        """Return the folder of one shard of states, while they are extracted by several workers."""
        return inside(self.shards(model, stack), name)

    def shards(self, model: str, stack: str) -> Path:
        return self._at("states", folder_name(model), f"{stack}.shards")

    def links(self, aligner: str, source: str, target: str) -> Path:
        return self._at("links", folder_name(aligner), f"{source}-{target}.parquet")

    def dictionary(self, source: str, target: str) -> Path:
        return self._at("dictionary", f"{source}-{target}.parquet")

    def concepts(
        self, model: str, stack: str, *, method: str, n_concepts: int, seed: int, layer: int, space: str
    ) -> Path:
        run = run_name(method, n_concepts, seed)
        return self._at("concepts", folder_name(model), stack, run, *_of_layer(layer, space))

    def tree(self, model: str, stack: str, *, method: str, seed: int, layer: int, space: str) -> Path:
        return self._at("trees", folder_name(model), stack, f"{method}-s{seed}", *_of_layer(layer, space))

    def metrics(self, model: str, stack: str, run: str, layer: int, of: str) -> Path:
        """Return the file with the figures of a pair (``en-de``) or a group (``en+de+fr``) at one layer."""
        return self._at("metrics", folder_name(model), stack, run, *_of_layer(layer, of))

    def find_estimates(self, kind: str) -> list[Path]:
        """Return all files of figures with their draws, of this text: of ``metrics`` or of ``companions``."""
        there = set((self.root / kind).rglob("layer_*/*.parquet"))
        made = {self.root / f"{step}.parquet" for step in self.find_steps(kind)}
        return [self.checked(path) for path in sorted(there | made) if not self.is_outdated(path)]

    def find_states(self) -> list[tuple[str, str]]:
        """Return (model, stack) of every finished states folder."""
        found = (self.root / "states").glob("*/*")
        return sorted((p.parent.name, p.name) for p in found if p.is_dir() and not p.suffix)

    def find_concepts(self, space: str, layer: int) -> list[ConceptsFile]:
        """Return every set of concepts of a space at a layer."""
        found = []
        for path in sorted(
            (self.root / "concepts").glob(f"*/*/*/layer_{layer:02d}/{space_name(space)}.parquet")
        ):
            model, stack, run = path.parts[-5:-2]
            parts = re.fullmatch(r"(.+)-k(\d+)-s(\d+)", run)
            if parts:
                found.append(ConceptsFile(model, stack, run, parts[1], int(parts[2]), int(parts[3])))
        return found

    def find_trees(self, space: str, layer: int) -> list[TreeFile]:
        """Return every tree of a space at a layer."""
        found = []
        for path in sorted(
            (self.root / "trees").glob(f"*/*/*/layer_{layer:02d}/{space_name(space)}.parquet")
        ):
            model, stack, run = path.parts[-5:-2]
            parts = re.fullmatch(r"(.+)-s(\d+)", run)
            if parts:
                found.append(TreeFile(model, stack, parts[1], int(parts[2])))
        return found

    @property
    def plan(self) -> Path:
        return self.root / ".steps" / "plan.json"

    @property
    def claims(self) -> Path:
        """The file with the storages that are this study's."""
        return self.root / ".steps" / "storages"

    @property
    def results(self) -> Path:
        return self.root / "results.parquet"

    @property
    def results_csv(self) -> Path:
        return self.root / "results.csv"

    def companions_of(self, model: str, stack: str, layer: int, of: str) -> Path:
        """Return the file with the companion measures of a pair (``en-de``) at one layer."""
        return self._at("companions", folder_name(model), stack, *_of_layer(layer, of))

    @property
    def companions(self) -> Path:
        return self.root / "companions.parquet"

    @property
    def companions_csv(self) -> Path:
        return self.root / "companions.csv"

    @property
    def correlations(self) -> Path:
        return self.root / "companions_correlations.csv"

    def labels_of(self, model: str, stack: str, run: str, layer: int) -> Path:
        """Return the folder with the tables of one layer."""
        return self._at("labels", folder_name(model), stack, run, f"layer_{layer:02d}")

    def labels(self, table: str) -> Path:
        return self._at("labels", f"{table}.parquet")

    @property
    def robustness(self) -> Path:
        return self.root / "robustness.parquet"

    @property
    def robustness_csv(self) -> Path:
        return self.root / "robustness.csv"

    def tuned(self, name: str) -> Path:
        """Return the folder of a fine-tuned model, its curve and its scores."""
        return self._at("tasks", folder_name(name))

    @property
    def task_scores(self) -> Path:
        return self.root / "tasks.parquet"

    @property
    def task_scores_csv(self) -> Path:
        return self.root / "tasks.csv"

    @property
    def differences(self) -> Path:
        return self.root / "differences.parquet"

    @property
    def transfer(self) -> Path:
        return self.root / "transfer.parquet"

    @property
    def transfer_points(self) -> Path:
        return self.root / "transfer_points.parquet"

    def movement(self, table: str) -> Path:
        return self._at("movement", f"{table}.parquet")

    def movement_of(self, model: str, stack: str, run: str, layer: int, table: str) -> Path:
        return self._at("movement", folder_name(model), stack, run, f"layer_{layer:02d}", f"{table}.parquet")

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def sweep(self) -> None:
        """Remove what a killed process left behind; call it with the folder's lock held."""
        sweep(self.root, _FOLDERS)
        for path in (self.root / "states").glob("*/*/progress.json"):
            folder = path.parent
            if not folder.suffix and self.record(f"states/{folder.parent.name}/{folder.name}"):
                path.unlink()  # the marker says it all

    # -- step markers -------------------------------------------------------------------------

    def marker(self, step: str) -> Path:
        return self._at(".steps", f"{step}.json")

    def step_of(self, path: Path) -> str:
        """Return the name of the step that writes one file: the file's, without its ending."""
        return path.relative_to(self.root).with_suffix("").as_posix()

    def find_steps(self, below: str = "") -> list[str]:
        """Return the names of all steps that have a marker, or of those below a name."""
        folder = self.root / ".steps"
        found = (path.relative_to(folder).with_suffix("") for path in (folder / below).rglob("*.json"))
        return sorted(name.as_posix() for name in found if name.as_posix() != self.plan.stem)

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
        elif self._is_of_another_text(record):
            wrong = f"was made from another text than {self.tokens.name} holds now"
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
        return "the command that made it (isogloss extract, align-words or discover)"

    def is_outdated(self, path: Path, step: str = "") -> bool:
        """True if the step that writes a file, named as it by default, was done, of another text than is here."""
        record = self.record(step or self.step_of(path))
        return record is not None and self._is_of_another_text(record)

    def _is_of_another_text(self, record: Mapping[str, Any]) -> bool:
        return record["text"] not in ("", self.text())

    def is_there(self, path: Path, step: str = "") -> bool:
        """True if there is a file, or should be; one of another text is left out, with a warning.

        It is for what a study may do without: no step of a run need make it again.
        """
        step = step or self.step_of(path)
        if not self.is_outdated(path, step) or self.record(CORPUS) is None:
            return path.exists() or self.record(step) is not None
        log.warning(
            "%s was made from another text and is left out. Make it again with: %s", path, self._again(step)
        )
        return False

    def table(
        self, path: Path, columns: Mapping[str, Any] | Iterable[str], step: str = ""
    ) -> pl.DataFrame | None:
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
        known = entry["bytes"] > _HASHED_UP_TO and path.stat().st_ctime_ns == entry.get("written")
        if (thorough or not known) and file_digest(path) != entry["digest"]:
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
            found = read_marker(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s is not a marker (%s); its step %s counts as not done", path, error, step)
            return None
        if found is None:
            log.warning("%s is not a marker of this version; its step %s counts as not done", path, step)
        return found

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
        and all(is_name(name) and _has(one, entry) for name, one in record["outputs"].items())
    )
    return record if whole else None


def _has(value: object, wanted: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in wanted.items())


def _of_layer(layer: int, space: str) -> tuple[str, str]:
    return f"layer_{layer:02d}", f"{space_name(space)}.parquet"


def space_name(space: str) -> str:
    """Return the file name of a space; one of very many languages (file names end at 255 bytes) is shortened."""
    if len(space.encode()) <= _LONGEST_NAME:
        return space
    return f"{space.count('+') + 1}-languages-{digest(space)}"


def state_files(folder: Path, layers: Iterable[int], sentences: Iterable[str]) -> list[Path]:
    """Return the files of a states folder: of words at some layers, of sentences by kinds of pooling, and counts."""
    layers = list(layers)
    whole = sentence_folder(folder)
    files = [n_subwords_file(folder), n_subwords_file(whole), *(layer_file(folder, x) for x in layers)]
    return files + [layer_file(sentence_folder(folder, kind), x) for kind in sentences for x in layers]


def layer_file(folder: Path, layer: int) -> Path:
    """Return the file of one layer in a states folder."""
    return folder / f"layer_{layer:02d}.npy"


def sentence_folder(folder: Path, kind: str = "") -> Path:
    """Return the folder of sentence states in a states folder, or that of one kind of pooling in it."""
    return folder / "sentences" / kind if kind else folder / "sentences"


def n_subwords_file(folder: Path) -> Path:
    """Return the file with every token's (in the folder of sentences: every sentence's) number of subwords."""
    return folder / "n_subwords.npy"


def row_numbers_file(folder: Path) -> Path:
    """Return the file that says which rows of the whole array a shard's files hold."""
    return folder / "rows.npy"


def partial_folder(folder: Path) -> Path:
    """Return the name a folder has while it is being filled."""
    return folder.with_name(f"{folder.name}.partial")


def progress_file(folder: Path) -> Path:
    """Return the file that says how far the filling of a folder has come."""
    return folder / "progress.json"
