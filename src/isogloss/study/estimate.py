"""What a study will take, before it runs: seconds, and whether its files will fit on the disk.

Seconds are estimates from the machine's speed at products of matrices, which is measured, and from counts of
operations: right to a factor of two or so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

import numpy as np
import polars as pl

from isogloss import models
from isogloss.config import ModelSection
from isogloss.coordinates import Space
from isogloss.corpus import Corpus
from isogloss.errors import InputError
from isogloss.runner import Step
from isogloss.settings import SelectionRule
from isogloss.store import StudyLayout

PROCESS = 500 * 2**20  # bytes of a process that has loaded what every step needs
_SAMPLE = 500  # lines of a language that are tokenised to tell its subwords a word
_RESERVE = 64 * 2**20  # bytes for tables, figures and the report


def check_space(steps: Iterable[Step], layout: StudyLayout) -> None:
    """Refuse steps whose files do not fit on the disk.

    Raises
    ------
    InputError
        If the steps that are not done need more than is free.
    """
    # the others' files are small
    large = [step for step in steps if step.size and not layout.is_done(step.name, step.key)]
    needed = _RESERVE + sum(step.size_left(layout) for step in large)
    root = layout.root
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"The study needs {needed / 1e9:,.1f} GB in {root}, and {free / 1e9:,.1f} GB are free there. Take fewer "
            "layers, dtype float16, fewer sentences (n_sentences), or another folder with --out."
        )


class Estimates:
    """What `Step.seconds` and `Step.memory` ask; what many steps share is looked up once.

    Parameters
    ----------
    corpus : Corpus
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._infos: dict[str, models.ModelInfo] = {}
        self._subwords: dict[str, float] = {}
        self._speed: float | None = None
        self._selected: dict[tuple[str, Space], int] = {}

    def info(self, model: ModelSection) -> models.ModelInfo:
        if model.name not in self._infos:
            self._infos[model.name] = models.describe(model.path, revision=model.revision)
        return self._infos[model.name]

    def speed(self, model: ModelSection) -> float:
        """Return operations a second of products of states, on the CPU."""
        if self._speed is None:
            self._speed = models.operations_per_second(self.info(model), device="cpu", compute="float32")
        return self._speed

    def n_subwords(self, info: models.ModelInfo) -> float:
        """Estimate the subwords of the corpus from some of its lines."""
        if info.name not in self._subwords:
            tokenizer = models.load_tokenizer(info)
            total = 0.0
            for language in self._corpus.languages:
                texts = self._corpus.texts(language)
                sample = texts[:: max(1, len(texts) // _SAMPLE)]
                sizes = [len(ids) for ids in tokenizer(sample)["input_ids"]]
                total += float(np.mean(sizes)) * len(texts)
            self._subwords[info.name] = total
        return self._subwords[info.name]

    def n_selected(self, rule: SelectionRule, space: Space) -> int:
        """Return how many tokens a rule keeps, at most: links, which are not there yet, may leave out more."""
        key = (rule.model_dump_json(), space)
        if key not in self._selected:
            counts = kept_types(self._corpus, rule).filter(pl.col("language").is_in(list(space.languages)))
            most = rule.max_count
            sizes = counts["len"] if most is None else counts["len"].clip(upper_bound=most)
            self._selected[key] = int(sizes.sum())
        return self._selected[key]


def kept_types(corpus: Corpus, rule: SelectionRule) -> pl.DataFrame:
    """Return ``language, word, len`` of the types that a rule keeps."""
    return corpus.words.group_by("language", "word").len().filter(pl.col("len") >= rule.min_count)
