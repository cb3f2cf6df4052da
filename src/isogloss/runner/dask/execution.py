"""Steps on Dask: their graph as tasks, what a worker does with one, what happens when something is lost."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.errors import IsoglossError
from isogloss.parallel import spreading
from isogloss.progress import progress, set_quiet
from isogloss.runner.dask.cluster import GPU, MEMORY, PASSES, PATIENCE, connected
from isogloss.runner.local import end_with, run_step
from isogloss.runner.step import Step
from isogloss.settings import RunSection
from isogloss.store import Remote, StudyLayout, claim, digest

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

_ROUNDS = 5  # in a row that may bring nothing


@dataclass(frozen=True)
class Job:
    """What workers are to do, and what they need for it.

    Attributes
    ----------
    name : str
        Of the study, for messages.
    steps : sequence of Step
        In an order in which they can run.
    made_before : sequence of str
        Steps that are done and run on no worker, but whose files every step may read.
    files : sequence of Path
        Beside the study folder: what workers must see too.
    memory : callable
        Step -> bytes; see `Step.memory`.
    """

    name: str
    steps: Sequence[Step]
    made_before: Sequence[str]
    files: Sequence[Path]
    memory: Callable[[Step], int]


def execute_on_workers(layout: StudyLayout, job: Job, run: RunSection) -> list[str]:
    """Run the steps that are not done as tasks of a Dask scheduler; return the names of those that ran.

    A task that a worker was lost with is given to another by the scheduler.  When the scheduler is lost, or a file that
    was written before, what is not done is submitted anew.

    Raises
    ------
    IsoglossError
        If the scheduler cannot be reached, workers do not see the files, or workers die of a step again and again.
    """
    remote = Remote(run.storage) if run.storage else None
    if remote is not None:
        divided = [step for whole in job.steps for step in whole.parts() or (whole,)]
        claim(remote, layout, name=job.name, key=digest([[step.name, step.key] for step in divided]))
        for name in job.made_before:
            record = layout.record(name)
            if record is not None and not remote.is_done(name, record["key"]):
                remote.send(layout, name)
    ran = _in_rounds(layout, job, run, remote)
    for step in job.steps:
        left = step.forget_parts(layout)
        if remote is not None and left:
            remote.remove(*(path.relative_to(layout.root).as_posix() for path in left))
    layout.sweep()  # what workers that were killed left behind
    if remote is not None:
        remote.bring(layout.root, [step.name for step in job.steps if not step.marks_itself])
    return [name for name in ran if name in {step.name for step in job.steps}]


def _in_rounds(layout: StudyLayout, job: Job, run: RunSection, remote: Remote | None) -> list[str]:
    """Run what is not done until all is; return the names of the steps that ran.  Where all is done nothing starts."""
    ran: dict[str, None] = {}
    fewest, in_vain, wait = math.inf, 0, 0.0
    while todo := _todo(job.steps, remote or layout):
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
                _look(client, layout, job, remote)
                if not _submit(client, layout, job, todo, run=run, remote=remote):
                    log.warning("files of finished steps were lost; the steps run again")
        except _SchedulerLostError as lost:
            if run.scheduler in ("processes", "slurm"):
                raise IsoglossError(f"The scheduler ended ({lost}). Run again to go on.") from None
            log.warning("the scheduler at %s is gone (%s); waiting for it to come back", run.scheduler, lost)
            wait = PATIENCE
    return list(ran)


def _todo(steps: Sequence[Step], done: StudyLayout | Remote) -> list[Step]:
    """Return the steps that are not done, and of those that have parts the parts that are not."""
    missing = _missing_of(steps, done)
    return _missing_of([step for whole in missing for step in whole.parts() or (whole,)], done, not_done=missing)


def _missing_of(steps: Sequence[Step], done: StudyLayout | Remote, *, not_done: Sequence[Step] = ()) -> list[Step]:
    """Return the steps that are not done; of those in `not_done` it is known."""
    missing = {step.name for step in not_done}
    asked = [step for step in steps if step.name not in missing]
    keys = [(step.name, step.key) for step in asked]
    answers = done.done(keys) if isinstance(done, Remote) else [done.is_done(*key) for key in keys]
    missing |= {step.name for step, is_done in zip(asked, answers, strict=True) if not is_done}
    return [step for step in steps if step.name in missing]


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


def _look(client: Client, layout: StudyLayout, job: Job, remote: Remote | None) -> None:
    """Check that the workers that are there see the study folder, or else the storage, and the files they need."""
    needed = [*job.files, *([] if remote else [layout.tokens])]
    with _noticing_loss():
        if not client.scheduler_info(n_workers=-1)["workers"]:
            log.info("waiting for the first worker")
        client.wait_for_workers(1)
        seen = client.run(_missing, [str(path) for path in needed], on_error="ignore")  # one that dies: another
    for worker, missing in seen.items():
        if missing:
            raise IsoglossError(
                f"The worker {worker} does not see {missing[0]}. Put it on a file system that all machines share"
                + ("." if remote else ", or let the workers exchange files through run.storage (--storage URL).")
            )


def _missing(paths: list[str]) -> list[str]:
    return [path for path in paths if not Path(path).exists()]


def _submit(
    client: Client, layout: StudyLayout, job: Job, todo: Sequence[Step], *, run: RunSection, remote: Remote | None
) -> bool:
    """Run steps as tasks; return whether all is done, or something that was there before has to be made again."""
    futures: dict[str, Future] = {}
    with _noticing_loss():
        ask = _resources(client, todo, job.memory)
        parent = os.getpid() if run.scheduler == "processes" else None
        for place, step in enumerate(todo):
            before = [futures[one.name] for one in step.inputs if one.name in futures]
            futures[step.name] = client.submit(
                _work,
                step,
                str(layout.root),
                _Storage(remote, tuple(job.made_before)) if remote else None,
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
            for step, error in _finished(todo, futures):
                if error is None:
                    advance(step.cost)
                else:
                    _judge(error, step, remote or layout)
                    whole = False
    finally:
        if client.status == "running":
            with suppress(_SchedulerLostError), _noticing_loss():
                client.cancel([future for future in futures.values() if not future.done()], force=True)
    return whole


def _finished(todo: Sequence[Step], futures: Mapping[str, Future]) -> Iterator[tuple[Step, BaseException | None]]:
    """Yield steps as they end, those that failed with their error, but none that failed with one it waited for."""
    from distributed import as_completed

    ended = {futures[step.name].key: step for step in todo}
    for future in as_completed(list(futures.values())):
        step = ended[future.key]
        if future.status == "finished":
            yield step, None
        elif future.status != "error":  # so end all tasks when the connection breaks
            raise _SchedulerLostError(f"tasks were {future.status}")
        elif all(futures[x.name].status != "error" for x in step.inputs if x.name in futures):
            yield step, future.exception() or IsoglossError(f"The step {step.name} failed.")


def _judge(error: BaseException, step: Step, done: StudyLayout | Remote) -> None:
    """Raise the error of a step, unless it failed because what one of its inputs has written is gone."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        raise IsoglossError(
            f"Workers died again and again in the step {step.name}, most likely for want of memory. Give workers more "
            "of it (fewer workers on a machine), or make the step smaller (max_count, fewer layers, sample)."
        ) from None
    if all(done.is_done(before.name, before.key) for before in step.inputs):
        raise error
    log.warning("%s: %s", step.name, error)


def _resources(
    client: Client, todo: Sequence[Step], memory: Callable[[Step], int]
) -> Callable[[Step], dict[str, float]]:
    """Return what a step asks of a worker: a GPU for states, and memory; only of what workers declare."""
    declared = [w.get("resources") or {} for w in client.scheduler_info(n_workers=-1)["workers"].values()]
    largest = max((declared_by.get(MEMORY, 0) for declared_by in declared), default=0)
    any_gpu, any_passes = (any(declared_by.get(name) for declared_by in declared) for name in (GPU, PASSES))
    needed = {step.name: memory(step) for step in todo} if largest else {}
    for step in todo:
        if largest and needed[step.name] > largest:
            log.warning(
                "%s may need %.1f GB, and no worker declares more than %.1f GB: it is tried there",
                step.name,
                needed[step.name] / 1e9,
                largest / 1e9,
            )
            break

    def ask(step: Step) -> dict[str, float]:
        asked: dict[str, float] = {}
        if needed.get(step.name):
            asked[MEMORY] = min(needed[step.name], largest)
        if any_gpu and step.device != "cpu":
            asked[GPU] = 1
        if any_passes and step.is_forward_pass:
            asked[PASSES] = 1
        return asked

    return ask


# -- on a worker ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Storage:
    """Where workers without a common folder find files, and the steps whose files they bring for every step."""

    remote: Remote
    made_before: tuple[str, ...]


def _work(step: Step, root: str, storage: _Storage | None, parent: int | None, _after: list[str]) -> str:
    """Run one step where the worker is, unless it is done already; with a storage in the worker's own folder."""
    if parent is not None:
        end_with(parent)
    set_quiet(True)
    # parts of a step stay with it: they name files that only this worker has brought
    if storage is not None:
        _work_apart(step, storage)
    elif not StudyLayout(Path(root)).is_done(step.name, step.key):
        with spreading(_on_workers):
            run_step(Path(root), step)
    return step.name


def _work_apart(step: Step, storage: _Storage) -> None:
    """Bring what a step reads, run it in the worker's own folder, and send what it wrote."""
    from distributed import get_worker

    remote = storage.remote
    if remote.is_done(step.name, step.key):
        return
    scratch = StudyLayout(Path(get_worker().local_directory) / f"isogloss-{digest(remote.url)}")
    remote.bring(scratch.root, storage.made_before)
    remote.bring(scratch.root, [before.name for before in step.inputs], wanted=step.reads(scratch))
    run_step(scratch.root, step)
    # files of states were sent by those that joined them
    remote.send(scratch, step.name, marker_only=step.marks_itself)


def _on_workers(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Spread the parts of a step over the workers of its scheduler."""
    from distributed import worker_client

    with worker_client() as client:
        futures = client.map(function, list(items), pure=False, key=f"part-{os.urandom(8).hex()}")
        return list(client.gather(futures))
