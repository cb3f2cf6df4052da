"""A model trained for a task, and the folder that it lies in."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.arguments import checked
from isogloss.errors import InputError
from isogloss.html import card, grid
from isogloss.models import CURVE
from isogloss.store import read_json, read_table

_RESULT = ("task", "labels", "target", "languages", "best_step", "dev_score")  # what task.json holds of it


@checked
@dataclass(frozen=True)
class FineTuned:
    """A model trained for a task.

    Attributes
    ----------
    folder : Path
        With ``model/`` (the hub's format), ``curve.parquet`` and ``task.json``.
    task : str
        ``"ner"``, ``"sentiment"`` or ``"translation"``.
    labels : tuple of str
        Of words or sentences; empty for translation.
    target : str or None
        Of translation.
    languages : tuple of str
        Those trained on (of translation: the sources).
    best_step : int
        The step whose weights were kept.
    dev_score : float
        Its score on the development data: entity F1, macro F1 or chrF.
    key : str
        Digest of base, data and settings.
    """

    folder: Path
    task: str
    labels: tuple[str, ...]
    target: str | None
    languages: tuple[str, ...]
    best_step: int
    dev_score: float
    key: str

    @property
    def model(self) -> Path:
        """The model's folder: give it to `isogloss.extract`."""
        return self.folder / "model"

    @property
    def curve(self) -> pl.DataFrame:
        """``step, epoch, loss, rate, dev_loss, dev_score`` of the training."""
        return read_table(self.folder / "curve.parquet", CURVE)

    @classmethod
    @checked
    def open(cls, folder: str | Path) -> FineTuned:
        """Open a folder that `finetune` has filled.

        Raises
        ------
        InputError
            If it has not.
        """
        record = read_record(Path(folder))
        if record is None:
            raise InputError(f"{folder} has no finished fine-tuning: its task.json is missing or damaged.")
        result = record["result"]
        lists = {name: tuple(result[name]) for name in ("labels", "languages")}
        return cls(folder=Path(folder), key=record["key"], **{**result, **lists})

    def _repr_html_(self) -> str:
        facts = {
            "task": self.task,
            "labels": ", ".join(self.labels) or None,
            "into": self.target,
            "trained on": ", ".join(self.languages),
            "best step": self.best_step,
            "development score": f"{self.dev_score:.3f}",
        }
        curve = self.curve.fill_nan(None).drop_nulls("dev_score")
        columns = ["step", "epoch", "loss", "dev_loss", "dev_score"]
        return card("FineTuned", facts, grid(columns, curve.select(columns).iter_rows()))


def is_done(folder: Path, key: str) -> bool:
    """Return whether a fine-tuning with this key is finished in a folder."""
    record = read_record(folder)
    return record is not None and record["key"] == key and (folder / "model" / "config.json").is_file()


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what ``task.json`` says, or None where no fine-tuning has written it, or it is damaged."""
    try:
        record: Any = read_json(folder / "task.json")
    except InputError:
        return None
    if not (isinstance(record, dict) and isinstance(record.get("key"), str) and isinstance(record.get("result"), dict)):
        return None
    return record if set(_RESULT) <= record["result"].keys() else None


def check_replaceable(folder: Path, model: str | Path) -> None:
    """Refuse a folder whose ``model`` is not from an earlier fine-tuning there, or is the one to begin from."""
    previous = folder / "model"
    ours = read_record(folder) is not None or _checkpoints(folder)
    if previous.exists() and (not ours or Path(model).resolve() == previous.resolve()):
        what = "the model to begin from" if ours else "not from a fine-tuning there"
        raise InputError(
            f"{previous} would be replaced by the fine-tuned model, and is {what}. Choose another folder with out, or "
            "remove it."
        )


def _checkpoints(folder: Path) -> list[Path]:
    """Return the folders of checkpoints: of every key, 16 hex digits, one."""
    return [path for path in folder.glob("checkpoints-*") if re.fullmatch(r"checkpoints-[0-9a-f]{16}", path.name)]


def sweep(folder: Path, key: str) -> None:
    """Remove what other settings or an interrupted run left; keep the checkpoints of the run `key`."""
    for path in _checkpoints(folder):
        if path.name != f"checkpoints-{key}":
            shutil.rmtree(path)
    shutil.rmtree(folder / "model.partial", ignore_errors=True)
    if key:
        (folder / "task.json").unlink(missing_ok=True)
        shutil.rmtree(folder / "model", ignore_errors=True)
