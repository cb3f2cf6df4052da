"""Steps on Dask: the graph of a study as tasks, what a worker does with one, what happens when something is lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.errors import IsoglossError
from isogloss.extraction import forget_shards
from isogloss.progress import progress, set_quiet
from isogloss.settings import RunSection
from isogloss.spread import spreading
from isogloss.store import CORPUS, Remote, StudyLayout, claim, digest, file_digest
from isogloss.study.cluster import GPU, MEMORY, PASSES, PATIENCE, connected
from isogloss.study.estimate import with_memory
from isogloss.study.graph import Step, edges, end_with, run_step
from isogloss.study.plan import Plan
from isogloss.study.shards import sharded

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

_ROUNDS = 5  # in a row that may bring nothing
_SCORES = "task-scores"  # what a storage knows the scores of tasks by; they are made before there are steps


def execute_on_workers(study: StudyLayout, plan: Plan, run: RunSection) -> list[str]:
    """Run the steps that are not done as tasks of a Dask scheduler; return the names of those that ran.

    A task that a worker was lost with is given to another by the scheduler.  When the scheduler is lost, or a file that
    was written before, what is not done is submitted anew.

    Raises
    ------
    IsoglossError
        If the scheduler cannot be reached, workers do not see the files, or workers die of a step again and again.
    """
    steps = sharded(with_memory(plan), study)
    remote = Remote(run.storage) if run.storage else None
    if remote is not None:
        claim(
            remote, study, name=plan.config.name, key=digest([[step.name, step.key] for step in plan.steps])
        )
        if study.task_scores.is_file():
            study.mark_done(_SCORES, file_digest(study.task_scores), [study.task_scores])
        for name in (CORPUS, _SCORES):
            record = study.record(name)
            if record is not None and not remote.is_done(name, record["key"]):
                remote.send(study, name)
    ran = _in_rounds(study, plan, steps, run, remote)
    for step in plan.steps:
        if step.alone:
            name, stack = step.arguments["model"]["name"], step.arguments["stack"]
            if remote is not None:
                parts = study.shards(name, stack), study.marker(step.name).with_suffix("")
                remote.remove(*(path.relative_to(study.root).as_posix() for path in parts))
            forget_shards(study, name=name, stack=stack)
    study.sweep()  # what workers that were killed left behind
    if remote is not None:
        remote.bring(study.root, [step.name for step in plan.steps if not step.alone])
    return [name for name in ran if name in {step.name for step in plan.steps}]


def _in_rounds(
    study: StudyLayout, plan: Plan, steps: Sequence[Step], run: RunSection, remote: Remote | None
) -> list[str]:
    """Run what is not done until all is; return the names of the steps that ran.  Where all is done nothing starts."""
    ran: dict[str, None] = {}
    fewest, in_vain, wait = len(steps) + 1, 0, 0.0
    while todo := _todo(steps, study, remote):
        in_vain = 0 if len(todo) < fewest else in_vain + 1
        fewest = min(fewest, len(todo))
        if in_vain == _ROUNDS:
            raise IsoglossError(
                "The scheduler or files of finished steps were lost again and again. Are the scheduler's memory and "
                "the disk sound? Run again to go on."
            )
        ran |= dict.fromkeys(step.name for step in todo)
        try:
            with connected(run, wait=wait) as client:
                _look(client, study, plan, remote)
                if not _submit(client, study, steps, todo, run=run, remote=remote):
                    log.warning("files of finished steps were lost; the steps run again")
        except _SchedulerLostError as lost:
            if run.scheduler in ("processes", "slurm"):
                raise IsoglossError(f"The scheduler ended ({lost}). Run again to go on.") from None
            log.warning("the scheduler at %s is gone (%s); waiting for it to come back", run.scheduler, lost)
            wait = PATIENCE
    return list(ran)


def _todo(steps: Sequence[Step], study: StudyLayout, remote: Remote | None) -> list[Step]:
    """Return the steps that are not done; parts of states that are done are not looked for."""
    keys = [(step.name, step.key) for step in steps]
    done = remote.done(keys) if remote else [study.is_done(*one) for one in keys]
    finished = {step.name for step, is_done in zip(steps, done, strict=True) if is_done and step.alone}
    return [
        step
        for step, is_done in zip(steps, done, strict=True)
        if not is_done and not any(step.name.startswith(f"{name}/") for name in finished)
    ]


# -- on the client --------------------------------------------------------------------------------


class _SchedulerLostError(Exception):
    """The scheduler does not answer any more."""


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Tell what a client raises when its scheduler does not answer from errors of steps."""
    from distributed.client import ClosedClientError

    try:
        yield
    except (OSError, TimeoutError, CancelledError, ClosedClientError) as error:
        raise _SchedulerLostError(type(error).__name__) from None


def _look(client: Client, study: StudyLayout, plan: Plan, remote: Remote | None) -> None:
    """Check that the workers that are there see the study folder, or else the storage, and the models' folders."""
    needed = [Path(model.path) for model in plan.config.models if Path(model.path).is_dir()]
    needed += [Path(x) for x in plan.config.alignment.links.values()]
    needed += [Path(x) for x in plan.config.alignment.dictionaries.values()]
    if remote is None:
        needed.append(study.tokens)
    with _noticing_loss():
        if not client.scheduler_info(n_workers=-1)["workers"]:
            log.info("waiting for the first worker")
        client.wait_for_workers(1)
        seen = client.run(
            _missing, [str(path) for path in needed], on_error="ignore"
        )  # one that dies: another
    for worker, missing in seen.items():
        if missing:
            raise IsoglossError(
                f"The worker {worker} does not see {missing[0]}. Put it on a file system that all machines share"
                + (
                    "."
                    if remote
                    else ", or let the workers exchange files through run.storage (--storage URL)."
                )
            )


def _missing(paths: list[str]) -> list[str]:
    return [path for path in paths if not Path(path).exists()]


def _submit(
    client: Client,
    study: StudyLayout,
    steps: Sequence[Step],
    todo: Sequence[Step],
    *,
    run: RunSection,
    remote: Remote | None,
) -> bool:
    """Run steps as tasks; return whether all is done, or something that was there before has to be made again."""
    sources = edges(steps)
    futures: dict[str, Future] = {}
    with _noticing_loss():
        ask = _resources(client, todo)
        parent = os.getpid() if run.scheduler == "processes" else None
        for place, step in enumerate(todo):
            before = [futures[name] for name in sources[step.name] if name in futures]
            futures[step.name] = client.submit(
                _work,
                step,
                str(study.root),
                remote,
                sources[step.name],
                parent,
                before,
                key=f"{step.stage.replace(' ', '_')}-{digest([step.name, step.key, os.urandom(8).hex()])}",
                resources=ask(step),
                priority=-place,
                pure=False,
            )
    title = f"{len(todo)} steps, dashboard {client.dashboard_link}"
    log.info("%s", title)
    whole = True
    try:
        with progress(title, sum(step.cost for step in todo)) as advance:
            for step, error in _finished(todo, futures, sources):
                if error is None:
                    advance(step.cost)
                else:
                    _judge(
                        error, step, [one for one in steps if one.name in sources[step.name]], remote or study
                    )
                    whole = False
    finally:
        if client.status == "running":
            with suppress(_SchedulerLostError), _noticing_loss():
                client.cancel([future for future in futures.values() if not future.done()], force=True)
    return whole


def _finished(
    todo: Sequence[Step], futures: Mapping[str, Future], sources: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Step, BaseException | None]]:
    """Yield steps as they end, those that failed with their error, but none that failed with one it waited for."""
    from distributed import as_completed

    ended = {futures[step.name].key: step for step in todo}
    for future in as_completed(list(futures.values())):
        step = ended[future.key]
        if future.status == "finished":
            yield step, None
        elif future.status != "error":  # so end all tasks when the connection breaks
            raise _SchedulerLostError(f"tasks were {future.status}")
        elif all(futures[name].status != "error" for name in sources[step.name] if name in futures):
            yield step, future.exception() or IsoglossError(f"The step {step.name} failed.")


def _judge(error: BaseException, step: Step, sources: Sequence[Step], known: StudyLayout | Remote) -> None:
    """Raise the error of a step, unless it failed because what another one, of `sources`, has written is gone."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        raise IsoglossError(
            f"Workers died again and again in the step {step.name}, most likely for want of memory. Give workers more "
            "of it (fewer workers on a machine), or make the step smaller (max_count, fewer layers, sample)."
        ) from None
    if all(known.is_done(one.name, one.key) for one in sources):
        raise error
    log.warning("%s: %s", step.name, error)


def _resources(client: Client, todo: Sequence[Step]) -> Callable[[Step], dict[str, float]]:
    """Return what a step asks of a worker: a GPU for states, and memory; only of what workers declare."""
    declared = [w.get("resources") or {} for w in client.scheduler_info(n_workers=-1)["workers"].values()]
    largest = max((one.get(MEMORY, 0) for one in declared), default=0)
    any_gpu, any_passes = (any(one.get(name) for one in declared) for name in (GPU, PASSES))
    for step in todo:
        if largest and step.memory > largest:
            log.warning(
                "%s may need %.1f GB, and no worker declares more than %.1f GB: it is tried there",
                step.name,
                step.memory / 1e9,
                largest / 1e9,
            )
            break

    def ask(step: Step) -> dict[str, float]:
        asked: dict[str, float] = {}
        if largest and step.memory:
            asked[MEMORY] = min(step.memory, largest)
        if any_gpu and str(step.arguments.get("device", "cpu")) != "cpu":
            asked[GPU] = 1
        if any_passes and "shard" in step.arguments:
            asked[PASSES] = 1
        return asked

    return ask


# -- on a worker ----------------------------------------------------------------------------------


def _work(
    step: Step, root: str, remote: Remote | None, sources: list[str], parent: int | None, _after: list[str]
) -> str:
    """Run one step where the worker is, unless it is done already; with a storage in the worker's own folder."""
    if parent is not None:
        end_with(parent)
    set_quiet(True)
    if remote is not None:  # parts of a step stay with it: they name files that only this worker has brought
        _work_apart(step, Path(root), sources, remote)
    elif not StudyLayout(Path(root)).is_done(step.name, step.key):
        with spreading(_on_workers):
            run_step(Path(root), step)
    return step.name


def _work_apart(step: Step, root: Path, sources: Sequence[str], remote: Remote) -> None:
    """Bring what a step reads, run it in the worker's own folder, and send what it wrote."""
    from distributed import get_worker

    if remote.is_done(step.name, step.key):
        return
    scratch = Path(get_worker().local_directory) / f"isogloss-{digest(remote.url)}"

    def here(paths: Iterable[Path]) -> tuple[Path, ...]:
        return tuple(scratch / path.relative_to(root) for path in paths)

    own = replace(step, reads=here(step.reads), outputs=here(step.outputs))
    study = StudyLayout(scratch)
    remote.bring(scratch, [CORPUS])
    remote.bring(scratch, sources, wanted=own.reads)
    if step.stage == "transfer":
        remote.bring(scratch, [_SCORES])
    run_step(scratch, own)
    remote.send(
        study, step.name, marker_only=step.alone
    )  # files of states were sent by those that joined them


def _on_workers(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Spread the parts of a step over the workers of its scheduler."""
    from distributed import worker_client

    with worker_client() as client:
        futures = client.map(function, list(items), pure=False, key=f"part-{os.urandom(8).hex()}")
        return list(client.gather(futures))
