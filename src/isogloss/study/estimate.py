"""What a study will take, before it runs: seconds, and whether its files will fit on the disk.

Seconds are estimates from the machine's speed at products of matrices, which is measured, and from counts of
operations: right to a factor of two or so.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isogloss import models
from isogloss.config import ModelSection
from isogloss.corpus import Corpus
from isogloss.discovery import reads_in_parts
from isogloss.errors import InputError
from isogloss.settings import SelectionRule
from isogloss.store import StudyLayout, partial_folder
from isogloss.study.graph import Step
from isogloss.study.plan import Plan

_SAMPLE = 500  # lines of a language that are tokenised to tell its subwords a word
_RESERVE = 64 * 2**20  # bytes for tables, figures and the report
_PASSES = 80  # products of states and centres that k-means takes, measured to convergence
_BASE = 500 * 2**20  # bytes of a process that has loaded what every step needs
_START = 1.0  # CPU seconds of a clustering beside its products


def with_seconds(plan: Plan, root: Path) -> Plan:
    """Return a plan whose steps that are not done say about how many seconds they will take."""
    study, about = StudyLayout(root), _Estimates(plan)
    found = []
    for step in plan.steps:
        done = study.is_done(step.name, step.key)
        found.append(step if done else replace(step, seconds=about.seconds(step)))
    return replace(plan, steps=tuple(found))


def with_memory(plan: Plan) -> Plan:
    """Return a plan whose steps say about how many bytes they hold at once, where that is much."""
    about = _Estimates(plan)
    return replace(plan, steps=tuple(replace(step, memory=about.memory(step)) for step in plan.steps))


def check_space(plan: Plan, root: Path) -> None:
    """Refuse a plan whose files do not fit on the disk.

    Raises
    ------
    InputError
        If the steps that are not done need more than is free.
    """
    study = StudyLayout(root)
    needed = _RESERVE
    for step in plan.steps:
        if step.size and not study.is_done(step.name, step.key):  # the others' files are small
            kept = [partial_folder(path) for path in step.outputs] if step.alone else []
            files = (file for folder in kept for file in folder.rglob("*") if file.is_file())
            needed += max(0, step.size - sum(file.stat().st_blocks * 512 for file in files))
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"The study needs {needed / 1e9:,.1f} GB in {root}, and {free / 1e9:,.1f} GB are free there. Take fewer "
            "layers, dtype float16, fewer sentences (n_sentences), or another folder with --out."
        )


class _Estimates:
    """Seconds of steps; what many steps share (models, the machine's speed, selections) is looked up once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._speed: float | None = None
        self._infos: dict[str, models.ModelInfo] = {}
        self._selected: dict[tuple[str, ...], int] = {}

    def seconds(self, step: Step) -> float:
        if step.stage == "states":
            model = ModelSection.model_validate(step.arguments["model"])
            stack, info = step.arguments["stack"], self._info(model)
            layers = info.check_layers(stack, model.layers)
            rate = models.operations_per_second(info, device=step.arguments["device"], compute=model.compute)
            work = models.work_per_subword(info, stack, layers)
            return _n_subwords(self._plan.corpus, info) * work / rate
        if step.stage not in ("trees", "concepts") or "selection" not in step.arguments:
            return 0.0
        info = self._info(next(m for m in self._plan.config.models if m.name == step.arguments["model"]))
        if self._speed is None:
            self._speed = models.operations_per_second(info, device="cpu", compute="float32")
        n = self._n(step)
        products = float(n * step.arguments["n_concepts"] * _PASSES)
        if step.stage == "trees":
            kept = min(n, step.arguments["options"].get("sample") or n)
            products = kept * kept + (
                n * kept if kept < n else 0
            )  # a tree of the sample, and the rows beside it
        return 2.0 * products * info.d / self._speed + _START / (os.cpu_count() or 1)

    def memory(self, step: Step) -> int:
        """Return bytes: of a model its weights twice (file and memory); of clustered states as in `linkage`."""
        if step.stage == "states":
            model = ModelSection.model_validate(step.arguments["model"])
            stack, info = step.arguments["stack"], self._info(model)
            work = models.work_per_subword(info, stack, info.check_layers(stack, model.layers))
            return _BASE + int(work / 2 * 8)
        if step.stage not in ("trees", "concepts") or "selection" not in step.arguments:
            return 0
        d = self._info(next(m for m in self._plan.config.models if m.name == step.arguments["model"])).d
        n = self._n(step)
        options = step.arguments["options"]
        states = 0 if reads_in_parts(step.arguments["method"], options) else n * d * 2
        if step.stage == "concepts":
            return _BASE + states + n * 12
        return _BASE + states + min(n, options.get("sample") or n) * 8 * d + n * 350

    def _n(self, step: Step) -> int:
        chosen = (step.arguments["selection"], *step.arguments["languages"])
        if chosen not in self._selected:
            self._selected[chosen] = _n_selected(self._plan.corpus, step.arguments)
        return self._selected[chosen]

    def _info(self, model: ModelSection) -> models.ModelInfo:
        if model.name not in self._infos:
            self._infos[model.name] = models.describe(model.path, revision=model.revision)
        return self._infos[model.name]


def _n_subwords(corpus: Corpus, info: models.ModelInfo) -> float:
    """Estimate the subwords of a corpus from some of its lines."""
    tokenizer = models.load_tokenizer(info)
    total = 0.0
    for language in corpus.languages:
        texts = corpus.texts(language)
        sample = texts[:: max(1, len(texts) // _SAMPLE)]
        sizes = [len(ids) for ids in tokenizer(sample)["input_ids"]]
        total += float(np.mean(sizes)) * len(texts)
    return total


def _n_selected(corpus: Corpus, arguments: dict[str, Any]) -> int:
    """Return how many tokens a selection keeps, at most: links, which are not there yet, may leave out more."""
    rule = SelectionRule.model_validate_json(arguments["selection"])
    counts = corpus.words.filter(pl.col("language").is_in(list(arguments["languages"])))
    counts = counts.group_by("language", "word").len().filter(pl.col("len") >= rule.min_count)
    sizes = counts["len"] if rule.max_count is None else counts["len"].clip(upper_bound=rule.max_count)
    return int(sizes.sum())
