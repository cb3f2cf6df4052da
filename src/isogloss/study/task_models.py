"""The fine-tuning part of a study: tasks, seeds and controls are trained and scored, and become models of the study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.arguments import checked
from isogloss.config import ModelSection, StudyConfig, TaskSection, read_config
from isogloss.coordinates import Space
from isogloss.corpus import Corpus
from isogloss.errors import UsageError
from isogloss.models import describe
from isogloss.sections import validated
from isogloss.store import StudyLayout, digest, locked, make_folder, read_table, write_table, write_with_csv
from isogloss.study.inputs import read_corpus
from isogloss.tasks import SCORES, TASKS, evaluate, finetune

TRAINING = "fine-tuning"  # the stage of it
SCORES_STEP = "tasks"  # whose marker the table of all scores has
VERSION = 1  # of the scores; raise it when a formula changes
COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "base_model": pl.String,
    "task": pl.String,
    "kind": pl.String,
    "control": pl.String,
    "seed": pl.Int64,
    "train_languages": pl.String,
    **SCORES,
}


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes
    ----------
    task : TaskSection
    base : ModelSection
    seed : int
    control : str
        ``""`` or ``"shuffled"``.
    """

    task: TaskSection
    base: ModelSection
    seed: int
    control: str

    @property
    def name(self) -> str:
        """Name of the model that comes out, e.g. ``ner-s0`` or ``ner-shuffled-s0``."""
        return "-".join(part for part in (self.task.name, self.control, f"s{self.seed}") if part)


def jobs_of(config: StudyConfig) -> list[Job]:
    """Return the training runs that a study asks for."""
    models = {model.name: model for model in config.models}
    return [
        Job(task, models[task.base] if task.base else config.models[0], seed, control)
        for task in config.tasks
        for control in ("", *task.controls)
        for seed in task.seeds
    ]


def with_tuned(config: StudyConfig, root: Path, *, stand_in: bool = False) -> StudyConfig:
    """Return the study with its fine-tuned models among its models, each with its base's settings.

    With `stand_in` a model that is not there yet is represented by its base, for plans.
    """
    study = StudyLayout(root)
    added = []
    for job in jobs_of(config):
        folder = study.tuned(job.name) / "model"
        settings: dict[str, Any] = {"name": job.name, "base": job.base.name}
        if folder.is_dir() or not stand_in:
            settings |= {"path": str(folder), "revision": None, "weights": "pretrained"}
        if job.task.kind == "ner" and len(describe(job.base.path, revision=job.base.revision).stacks) == 2:
            settings["stacks"] = ["encoder"]  # the head reads the encoder, and the decoder is not kept
        added.append(job.base.model_copy(update=settings))
    whole = config.model_copy(update={"models": [*config.models, *added], "tasks": []})
    return validated(whole.model_dump(), StudyConfig, of="study with its tasks")  # names must not repeat


@checked
def finetune_study(study: str | Path | StudyConfig, *, out: str | Path | None = None) -> pl.DataFrame:
    """Do the fine-tuning part of a study: train every task, and score it on every language of its test data.

    Parameters
    ----------
    study : str, Path or StudyConfig
        A study file with ``tasks``, or its parsed content.
    out : str or Path, optional
        The study folder; default: a folder named after the study.

    Returns
    -------
    polars.DataFrame
        A row a model, language and metric; also in ``tasks.parquet`` and ``tasks.csv`` of the folder.

    Raises
    ------
    UsageError
        If the study has no tasks, or one does not fit its data.
    InputError
        If data or models cannot be used.
    """
    config = study if isinstance(study, StudyConfig) else read_config(study)
    if not config.tasks:
        raise UsageError("The study has no tasks. Add a section, e.g. tasks: [{kind: ner, train: ..., test: ...}].")
    root = Path(out or config.name).resolve()
    with_tuned(config, root)
    return fine_tune(config, root)


def fine_tune(config: StudyConfig, root: Path) -> pl.DataFrame:
    """Run every job that is not done; return and write the scores of all."""
    study = StudyLayout(root)
    texts = _texts(config)  # all input is read before anything is trained
    make_folder(root)
    with locked(study.lock):
        table = pl.concat([_run(study, job, texts[job.task.name], device=config.run.device) for job in jobs_of(config)])
        if not study.is_done(SCORES_STEP, digest(table.to_dicts())):
            write_with_csv(study.task_scores, table)
            outputs = [study.task_scores, study.task_scores_csv]
            study.mark_done(SCORES_STEP, digest(table.to_dicts()), outputs)
    return table


def tuning_stages(config: StudyConfig, root: Path) -> list[dict[str, Any]]:
    """Return how many training runs there are, and how many are done, for a plan."""
    jobs, study = jobs_of(config), StudyLayout(root)
    if not jobs:
        return []
    done = sum((study.tuned(job.name) / "task.json").is_file() for job in jobs)
    return [{"stage": TRAINING, "steps": len(jobs), "done": done, "bytes": 0, "seconds": 0.0}]


def _texts(config: StudyConfig) -> dict[str, tuple[Corpus, Corpus | None, Corpus]]:
    """Read the training, development and test text of every task, and check that they fit it."""
    texts = {}
    for task in config.tasks:
        parallel = task.kind == "translation"
        train, test = (read_corpus(section, parallel=parallel) for section in (task.train, task.test))
        dev = None if task.dev is None else read_corpus(task.dev, parallel=parallel)
        kind = TASKS[task.kind].of(train, target=task.target)
        for corpus in (test, dev):
            if corpus is not None:
                kind.check(corpus)
        texts[task.name] = (train, dev, test)
    return texts


def _run(study: StudyLayout, job: Job, texts: tuple[Corpus, Corpus | None, Corpus], *, device: str) -> pl.DataFrame:
    """Train and score one job, as far as that is not done."""
    train, dev, test = texts
    task, base = job.task, job.base
    folder = study.tuned(job.name)
    tuned = finetune(
        base.path,
        task.kind,
        train=train,
        dev=dev,
        target=task.target,
        out=folder,
        settings=task,
        shuffled=job.control == "shuffled",
        weights=base.weights,
        codes=base.language_codes,
        revision=base.revision,
        seed=job.seed,
        device=device,
    )
    step = f"tasks/{job.name}/scores"
    key = digest([VERSION, tuned.key, test.file_digest])
    path = folder / "scores.parquet"
    if not study.is_done(step, key):
        study.clear(step)
        write_table(path, evaluate(tuned, test, device=device))
        study.mark_done(step, key, [path])
    facts = {
        "model": job.name,
        "base_model": base.name,
        "task": task.name,
        "kind": task.kind,
        "control": job.control,
        "seed": job.seed,
        "train_languages": Space(tuple(tuned.languages)).name,
    }
    columns = [pl.lit(value).alias(name) for name, value in facts.items()]
    table = read_table(path, SCORES).select(*columns, pl.all())
    return pl.DataFrame(table, schema_overrides=COLUMNS)
