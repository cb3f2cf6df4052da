"""Steps on Dask: the graph of a study as tasks, what a worker does with one, what happens when something is lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.config import RunSection
from isogloss.errors import InputError, IsoglossError
from isogloss.extraction import forget_shards
from isogloss.progress import progress, set_quiet
from isogloss.spread import spreading
from isogloss.store import Remote, Study, digest
from isogloss.study.cluster import GPU, MEMORY, connected, reach_again
from isogloss.study.estimate import with_memory
from isogloss.study.graph import Step, edges, end_with, run_step
from isogloss.study.plan import Plan
from isogloss.study.shards import in_shards

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

_ROUNDS = 5  # in which what was lost is made again
_CORPUS = "corpus"  # the step of the corpus's tables


def execute_on_workers(study: Study, plan: Plan, run: RunSection) -> list[str]:
    """Run the steps that are not done as tasks of a Dask scheduler; return the names of those that ran.

    A task that a worker was lost with is given to another by the scheduler.  When the scheduler is lost, or a file that
    was written before, what is not done is submitted anew.

    Raises
    ------
    IsoglossError
        If the scheduler cannot be reached, workers do not see the files, or workers die of a step again and again.
    """
    steps = _steps(plan, study)
    remote = Remote(run.storage) if run.storage else None
    if remote is not None:
        remote.send(study, _CORPUS)
        if study.task_scores.is_file():
            remote.put(study, study.task_scores)
    ran: list[str] = []
    with connected(run) as client:
        for _ in range(_ROUNDS):
            todo = _todo(steps, study, remote)
            if not todo:
                break
            ran += [step.name for step in todo if step.name not in ran]
            _look(client, study, plan, remote)
            try:
                whole = _submit(client, study, steps, todo, run)
            except _SchedulerLostError as lost:
                if run.scheduler in ("processes", "slurm"):
                    raise IsoglossError(f"The scheduler ended ({lost}). Run again to go on.") from None
                log.warning("the scheduler at %s is gone; waiting for it to come back", run.scheduler)
                client = reach_again(run.scheduler)  # noqa: PLW2901
                continue
            if whole:
                break
            log.warning("files of finished steps were lost; the steps run again")
        else:
            raise IsoglossError("Files of finished steps were lost again and again. Is the disk sound?")
    for step in plan.steps:
        if step.alone:
            name, stack = step.arguments["model"]["name"], step.arguments["stack"]
            if remote is not None:
                remote.remove(study, study.shards(name, stack), study.marker(step.name).with_suffix(""))
            forget_shards(study, name=name, stack=stack)
    if remote is not None:
        remote.bring(study.root, [step.name for step in plan.steps if not step.alone])
    return [name for name in ran if name in {step.name for step in plan.steps}]


def _steps(plan: Plan, study: Study) -> list[Step]:
    """Return the steps of a plan, those of states in shards."""
    layers: dict[tuple[str, str], set[int]] = {}
    for step in plan.steps:
        if "layer" in step.arguments and "stack" in step.arguments:
            place = step.arguments["model"], step.arguments["stack"]
            layers.setdefault(place, set()).add(step.arguments["layer"])
    found: list[Step] = []
    for step in with_memory(plan).steps:
        if step.alone:
            place = step.arguments["model"]["name"], step.arguments["stack"]
            found += in_shards(step, plan.corpus, study, tuple(sorted(layers[place])))
        else:
            found.append(step)
    return found


def _todo(steps: Sequence[Step], study: Study, remote: Remote | None) -> list[Step]:
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


def _look(client: Client, study: Study, plan: Plan, remote: Remote | None) -> None:
    """Check that the workers that are there see the study folder, or else the storage, and the models' folders."""
    needed = [Path(model.path) for model in plan.config.models if Path(model.path).is_dir()]
    needed += [Path(x) for x in plan.config.alignment.links.values()]
    needed += [Path(x) for x in plan.config.alignment.dictionaries.values()]
    if remote is None:
        needed.append(study.tokens)
    client.wait_for_workers(1)
    for worker, missing in client.run(_missing, [str(path) for path in needed]).items():
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
    client: Client, study: Study, steps: Sequence[Step], todo: Sequence[Step], run: RunSection
) -> bool:
    """Run steps as tasks; return whether all is done, or something that was there before has to be made again."""
    from distributed import as_completed

    ask = _resources(client, todo)
    sources = edges(steps)
    parent = os.getpid() if run.scheduler == "processes" else None
    futures: dict[str, Future] = {}
    before: dict[str, list[str]] = {}
    for place, step in enumerate(todo):
        before[step.name] = [name for name in sources[step.name] if name in futures]
        futures[step.name] = client.submit(
            _work,
            step,
            str(study.root),
            run.storage,
            sources[step.name],
            parent,
            [futures[name] for name in before[step.name]],
            key=f"{step.stage.replace(' ', '_')}-{digest([step.name, step.key, os.urandom(8).hex()])}",
            resources=ask(step),
            priority=-place,
            pure=False,
        )
    names = {future.key: name for name, future in futures.items()}
    costs = {step.name: step.cost for step in todo}
    title = f"{len(todo)} steps, dashboard {client.dashboard_link}"
    log.info("%s", title)
    lost = False
    with progress(title, sum(costs.values())) as advance:
        try:
            for future in as_completed(list(futures.values())):
                name = names[future.key]
                if future.status == "finished":
                    advance(costs[name])
                elif future.status == "error":
                    if any(futures[one].status == "error" for one in before[name]):
                        continue  # not its own error
                    _judge(future.exception(), name, sources[name], steps, study, run)
                    lost = True
                else:
                    raise _SchedulerLostError(future.status)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise _SchedulerLostError(type(error).__name__) from None
        finally:
            if client.status == "running":
                client.cancel([f for f in futures.values() if not f.done()], force=True)
    return not lost


def _judge(  # noqa: PLR0917
    error: BaseException | None,
    name: str,
    sources: Sequence[str],
    steps: Sequence[Step],
    study: Study,
    run: RunSection,
) -> None:
    """Raise the error of a step, unless it failed because what another one has written is gone."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        raise IsoglossError(
            f"Workers died again and again in the step {name}, most likely for want of memory. Give workers more of "
            "it (fewer workers on a machine), or make the step smaller (max_count, fewer layers, sample)."
        ) from None
    if isinstance(error, InputError):
        known = Remote(run.storage) if run.storage else study
        if not all(known.is_done(step.name, step.key) for step in steps if step.name in sources):
            log.warning("%s: %s", name, error)
            return
    raise error if error is not None else IsoglossError(f"The step {name} failed.")


def _resources(client: Client, todo: Sequence[Step]) -> Callable[[Step], dict[str, float]]:
    """Return what a step asks of a worker: a GPU for states, and memory; only of what workers declare."""
    declared = [w.get("resources") or {} for w in client.scheduler_info(n_workers=-1)["workers"].values()]
    largest = max((one.get(MEMORY, 0) for one in declared), default=0)
    any_gpu = any(one.get(GPU) for one in declared)
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
        return asked

    return ask


# -- on a worker ----------------------------------------------------------------------------------


def _work(
    step: Step, root: str, storage: str | None, sources: list[str], parent: int | None, _after: list[str]
) -> str:
    """Run one step where the worker is, unless it is done already; with a storage in the worker's own folder."""
    if parent is not None:
        end_with(parent)
    set_quiet(True)
    with spreading(_on_workers):
        if storage is None:
            if not Study(Path(root)).is_done(step.name, step.key):
                run_step(Path(root), step)
        else:
            _work_apart(step, Path(root), sources, Remote(storage))
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
    study = Study(scratch)
    remote.bring(scratch, [_CORPUS])
    remote.bring(scratch, sources, wanted=own.reads)
    if step.stage == "transfer":
        remote.get(study, study.task_scores)
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
