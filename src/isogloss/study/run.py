"""Running a study: lock the folder, read the text, run what is not done, write the manifest."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

import isogloss
from isogloss.arguments import Workers, checked
from isogloss.config import RobustnessSection, StudyConfig, read_config
from isogloss.errors import InputError, unknown
from isogloss.extraction import write_corpus
from isogloss.results import Results
from isogloss.runner import Step, execute, stage_graph, upstream
from isogloss.runner.dask import Job, execute_on_workers, need_dask, slurm_script
from isogloss.sections import validated
from isogloss.settings import RunSection, takes
from isogloss.store import (
    CORPUS,
    StudyLayout,
    digest,
    file_digest,
    folder_name,
    lock_holder,
    locked,
    make_folder,
    read_csv,
    read_json,
    write_json,
)
from isogloss.study.estimate import Estimates, check_space
from isogloss.study.finished import open_study
from isogloss.study.inputs import read_corpus
from isogloss.study.plan import Plan, make_plan
from isogloss.study.power import Preview, foreseen
from isogloss.study.task_models import SCORES_STEP, TRAINING, fine_tune, tuning_stages, with_tuned

log = logging.getLogger(__name__)

_PACKAGES = ("isogloss", "torch", "transformers", "numpy", "scipy", "scikit-learn", "polars", "numba")


@checked
def run_study(
    study: str | Path | StudyConfig,
    *,
    out: str | Path | None = None,
    workers: Workers | None = None,
    scheduler: str | None = None,
    storage: str | None = None,
    until: str | None = None,
) -> Results:
    """Run a study, or go on with one that was interrupted; what is already done is not done again.

    Figures and report are made from the folder afterwards: `isogloss.plots.save_study_figures`,
    `isogloss.write_report`.

    Parameters
    ----------
    study : str, Path or StudyConfig
        A study file, or its parsed content.
    out : str or Path, optional
        The study folder; default: a folder named after the study, in the current folder.
    workers : int, optional
        Processes for discovery and metrics; default: ``run.workers`` of the study, or the number of cores.  No result
        depends on it.
    scheduler : str, optional
        ``"local"``, or on Dask ``"processes"``, ``"slurm"`` or the address of a scheduler; default: ``run.scheduler``.
    storage : str, optional
        URL through which workers exchange files where they share no file system; default: ``run.storage``.
    until : str, optional
        A stage, e.g. ``"states"`` or ``"concepts"``: it and what it needs are run, and nothing else.  The tasks of a
        study are trained first.

    Returns
    -------
    Results
        Also in ``results.parquet`` and ``results.csv`` of the folder; empty where `until` names an earlier stage.

    Raises
    ------
    UsageError, InputError
        If study file, text, models or the stage cannot be used; nothing is left half-written.
    IsoglossError
        If another process is working in the folder.
    """
    config = study if isinstance(study, StudyConfig) else read_config(study)
    config = with_run(config, workers=workers, scheduler=scheduler, storage=storage)
    if config.run.scheduler != "local":
        need_dask()
    folder = StudyLayout(Path(out or config.name).resolve())
    return _run(config, folder, _planned(config, folder), until)


def _run(config: StudyConfig, folder: StudyLayout, plan: Plan, until: str | None) -> Results:
    """Do what `run_study` does with a plan, which holds every check of the input: nothing was written before."""
    steps = _until(plan, until, config, folder)
    check_space(steps, folder)
    if config.tasks and any(step.is_forward_pass for step in steps):
        fine_tune(config, folder.root)
        scores = file_digest(folder.task_scores)
        plan = make_plan(with_tuned(config, folder.root), plan.corpus, scores=scores)
        steps = _until(plan, until, config, folder)
    make_folder(folder.root)
    with locked(folder.lock):
        folder.sweep()
        config.write(folder.config)
        write_corpus(plan.corpus, folder)
        write_json(folder.plan, [[s.name, s.key, s.stage, s.size] for s in plan.steps])
        if config.run.scheduler == "local" or not steps:
            ran = execute(folder, steps, workers=config.run.workers)
        else:
            ran = execute_on_workers(folder, _job(plan, steps, folder), config.run)
        facts = manifest(folder, plan)
        if not folder.is_done("manifest", digest(facts)):
            write_json(folder.manifest, facts)
            folder.mark_done("manifest", digest(facts), [folder.manifest])
    log.info("%d steps ran, %d were done before", len(ran), len(steps) - len(ran))
    for warning in plan.warnings:
        log.warning(warning)
    there = any(step.stage == "results" for step in steps)
    return Results.read(folder.results) if there else Results.from_rows([])


def _until(plan: Plan, stage: str | None, config: StudyConfig, folder: StudyLayout | None = None) -> list[Step]:
    """Return the steps of a stage and what they wait for; all without one, none for the training of tasks.

    With a folder, what a step that is done there waited for is left out.
    """
    if stage is None:
        return list(plan.steps)
    stages = [*([TRAINING] if config.tasks else []), *plan.stages]
    if stage not in stages:
        raise unknown("stage of this study", stage, stages)
    if folder is None:
        return upstream(plan.steps, stage)
    return upstream(plan.steps, stage, is_done=lambda step: folder.is_done(step.name, step.key))


def _job(plan: Plan, steps: Sequence[Step], folder: StudyLayout) -> Job:
    """Return what workers of Dask are told."""
    alignment, about = plan.config.alignment, Estimates(plan.corpus)
    files = [Path(model.path) for model in plan.config.models if Path(model.path).is_dir()]
    files += map(Path, (*alignment.links.values(), *alignment.dictionaries.values()))
    made_before = [name for name in (CORPUS, SCORES_STEP) if folder.record(name)]
    return Job(plan.config.name, steps, made_before, files, memory=lambda step: step.memory(about))


def _planned(config: StudyConfig, folder: StudyLayout) -> Plan:
    """Return the plan of a study before its tasks are trained: with the bases for models that are not there yet."""
    names = [*(model.name for model in config.models), *(task.name for task in config.tasks)]
    for name in (name for name in names if folder_name(name) != name):
        log.info("files of '%s' are called '%s' in the study folder", name, folder_name(name))
    scores = ""
    if config.tasks:
        scores = file_digest(folder.task_scores) if folder.task_scores.is_file() else "planned"
    whole = with_tuned(config, folder.root, stand_in=True)
    return make_plan(whole, read_corpus(config.corpus), scores=scores)


def with_run(config: StudyConfig, **changed: Any) -> StudyConfig:
    """Return a study with other settings of its section ``run``, where they are given.

    Raises
    ------
    UsageError
        If they do not fit.
    """
    settings = {
        **dict(config.run),  # not as it is written: the storage's password would be gone
        **{name: value for name, value in changed.items() if value is not None},
    }
    return config.model_copy(update={"run": validated(settings, RunSection, of="run")})


@checked
@takes(RobustnessSection)
def robustness(root: str | Path, *, workers: Workers | None = None, settings: RobustnessSection) -> pl.DataFrame:
    """Measure CALIGN of a study under other settings, and how far each agrees with the study's own.

    What the section ``robustness`` of a study file does as part of a run, on this machine; the section in the folder's
    study file is replaced.  Every number of concepts is cut from the trees that are there.  Text and models must be
    where the study file says, as for a run.

    Parameters
    ----------
    root : str or Path
        A finished study folder.
    workers : int, optional
        As of `run_study`.
    settings : RobustnessSection, optional
        All of these at once.

    Returns
    -------
    polars.DataFrame
        See `isogloss.study.analyses.orderings.agreement`; also in ``robustness.csv`` of the folder.  Every single
        estimate is in ``robustness.parquet``.

    Raises
    ------
    InputError
        If the folder has no finished study, or its text has changed since.
    UsageError
        If a setting cannot be, or the method grows no trees.
    """
    folder, config = StudyLayout(Path(root).resolve()), open_study(root).config
    # here, whoever ran the study: what is asked for takes minutes, and workers may be gone
    run = config.run.model_copy(update={"scheduler": "local", "storage": None})
    config = with_run(config.model_copy(update={"robustness": settings, "run": run}), workers=workers)
    plan, text = _planned(config, folder), folder.record(CORPUS)
    if text is None or plan.corpus.file_digest != text["key"]:
        raise InputError(
            f"The text of the study in {root} has changed since it was run. Run it again first, with: "
            f"isogloss run {folder.config} --out {root}"
        )
    _run(config, folder, plan, "robustness")
    return read_csv(folder.checked(folder.robustness_csv))


def manifest(folder: StudyLayout, plan: Plan) -> dict[str, Any]:
    """Return what was run, on what, with what, and at what cost."""
    steps = {}
    warnings = list(plan.warnings)
    for step in plan.steps:
        record = folder.record(step.name)
        if record is not None:
            facts = record["info"]
            steps[step.name] = {"key": record["key"], "outputs": record["outputs"], **facts}
            warnings += [f"{step.name.removeprefix('states/')}: {text}" for text in facts.get("warnings", ())]
    dropped: dict[str, int] = {}
    for item in plan.corpus.dropped:
        dropped[item.reason] = dropped.get(item.reason, 0) + 1
    if dropped:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
        warnings.append(f"sentences were left out of all languages: {reasons}")
    return {
        "isogloss": isogloss.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "study": digest(plan.config.model_dump(mode="json")),
        "languages": list(plan.corpus.languages),
        "n_sentences": plan.corpus.n_sentences,
        "n_words": plan.corpus.words.height,
        "dropped_sentences": dropped,
        "warnings": warnings,
        "steps": steps,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"


@checked
def preview(study: str | Path, *, out: str | Path | None = None, until: str | None = None) -> Preview:
    """Return the stages of a study, and what one of its size can show; nothing is written.

    With `until` the stages that `run_study` would run.

    Raises
    ------
    UsageError, InputError
        As `run_study`, also where the disk is too small.
    """
    config = read_config(study)
    folder = StudyLayout(Path(out or config.name).resolve())
    plan = _planned(config, folder)
    steps = _until(plan, until, config)
    check_space(steps, folder)
    stages = tuning_stages(config, folder.root) + _stages(folder, steps, about=Estimates(plan.corpus))[0]
    return Preview(stages, foreseen(plan))


@checked
def planned_graph(
    study: str | Path, *, out: str | Path | None = None, scheduler: str | None = None, until: str | None = None
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the stages of a study and which reads from which, as `stage_graph` does; on Dask with states in shards.

    Raises
    ------
    UsageError, InputError
        As `run_study`.
    """
    config = with_run(read_config(study), scheduler=scheduler)
    steps = _until(_planned(config, StudyLayout(Path(out or config.name).resolve())), until, config)
    if config.run.scheduler == "local":
        return stage_graph(steps)
    return stage_graph([part for step in steps for part in step.parts() or (step,)])


@checked
def job_script(study: str | Path, *, scheduler: str | None = None) -> str:
    """Return the script of a job where a study runs on SLURM, else nothing.

    Raises
    ------
    UsageError, IsoglossError
        If the scheduler is unknown, or what it needs is not installed.
    """
    run = with_run(read_config(study), scheduler=scheduler).run
    return slurm_script(run.slurm) if run.scheduler == "slurm" else ""


@checked
def study_status(root: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """Return what of a study is done, running or missing, and its size on disk.

    With `verify` every file is read and compared with its digest; else large ones only if they changed since.

    Raises
    ------
    InputError
        If the folder has no study.
    """
    folder = StudyLayout(Path(root).resolve())
    steps = _steps_planned(folder)
    if not steps:  # made by functions: what is there is all that was asked for
        records = {name: folder.record(name) for name in folder.find_steps()}
        steps = [Stub(name, r["key"], name.split("/")[0]) for name, r in records.items() if r]
    if not steps:
        raise InputError(f"{root} is not a study folder: nothing was ever run there.")
    stages, missing = _stages(folder, steps, thorough=verify)
    files = [path for path in folder.root.rglob("*") if path.is_file()]
    return {
        "study": str(folder.root),
        "stages": stages,
        "missing": missing,
        "running": lock_holder(folder.lock),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }


def _steps_planned(folder: StudyLayout) -> list[Stub]:
    """Return the steps that the last run planned; none where there was no run, or its plan cannot be read."""
    if not folder.plan.exists():
        return []
    try:
        plan = [Stub(*step) for step in read_json(folder.plan)]
        for step in plan:
            if not all(isinstance(value, str) for value in step[:3]) or not isinstance(step.size, int):
                raise TypeError(f"{step[:4]} is no step")
    except (InputError, TypeError) as error:
        log.warning("%s is not the plan of a run (%s): what is there is listed", folder.plan, error)
        return []
    return plan


class Stub(NamedTuple):
    """What the plan of an earlier run says of a step."""

    name: str
    key: str
    stage: str
    size: int = 0


def _stages(
    folder: StudyLayout, steps: Iterable[Step | Stub], *, thorough: bool = False, about: Estimates | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    stages: dict[str, dict[str, Any]] = {}
    missing = []
    for step in steps:
        empty = {"stage": step.stage, "steps": 0, "done": 0, "bytes": 0, "seconds": 0.0}
        entry = stages.setdefault(step.stage, empty)
        done = folder.is_done(step.name, step.key, thorough=thorough)
        entry["steps"] += 1
        entry["done"] += done
        entry["bytes"] += step.size
        if about is not None and isinstance(step, Step) and not done:
            entry["seconds"] += step.seconds(about)
        if not done:
            missing.append(step.name)
    return list(stages.values()), missing
