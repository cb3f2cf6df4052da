"""Steps and their execution: what is done is skipped, the rest runs in order, side by side where it may."""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isogloss.progress import progress, set_quiet
from isogloss.store import StudyLayout, array_files
from isogloss.threads import one_blas_thread

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One unit of work of a study.

    Attributes
    ----------
    name : str
        Its name in the study folder, e.g. ``"concepts/mbert/encoder/ward-k600-s0/layer_06/en"``.
    key : str
        Digest of its parameters, its inputs' keys and its version: a step with the same key is not run again.
    call : callable
        A module-level function ``call(root, **arguments)`` that writes the outputs and returns facts about the run.
    arguments : dict
        Plain values, so that the call can travel to another process.
    outputs : tuple of Path
    stage : str
        Steps of a stage do not depend on each other; stages run one after another.
    alone : bool
        The step uses the whole machine (a forward pass) and marks itself done.
    size : int
        Expected bytes of its outputs, for the plan; 0 where small.
    seconds : float
        About how long it will take, for the plan; 0 where short or unknown.
    cost : float
        Relative cost within its stage: for progress, and to start the dearest first.
    reads : tuple of Path
        Files of other steps that it opens, beside the tables of the corpus: what must be there before it can run.
    needs : tuple of str
        Steps whose markers it reads, beside those that write what it reads.
    memory : int
        About how many bytes it holds at once, where that is much; 0 where little or unknown.
    """

    name: str
    key: str
    call: Callable[..., dict[str, Any]]
    arguments: dict[str, Any]
    outputs: tuple[Path, ...]
    stage: str
    alone: bool = False
    size: int = 0
    seconds: float = 0.0
    cost: float = 1.0
    reads: tuple[Path, ...] = ()
    needs: tuple[str, ...] = ()
    memory: int = 0


def edges(steps: Sequence[Step]) -> dict[str, list[str]]:
    """Return for every step the steps that it waits for: those that write what it reads, and those it names."""
    makers = {path: step.name for step in steps for path in step.outputs}
    found: dict[str, list[str]] = {}
    for step in steps:
        wanted = dict.fromkeys(step.needs)
        for path in step.reads:
            whole = next(
                (makers[p] for p in path.parents if p in makers), None
            )  # of a folder: done when all is
            maker = whole or makers.get(path)
            if maker is not None and maker != step.name:
                wanted[maker] = None
        found[step.name] = [name for name in wanted if name in found]
    return found


def stage_graph(steps: Sequence[Step]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the stages of some steps (``stage, steps, depth``; depth 0 waits for nothing) and which wait for which.

    Of two ways from one stage to another only the longer is among the links.
    """
    before = edges(steps)
    stage_of = {step.name: step.stage for step in steps}
    waits: dict[str, set[str]] = {step.stage: set() for step in steps}
    for name, others in before.items():
        waits[stage_of[name]] |= {stage_of[other] for other in others} - {stage_of[name]}
    depth: dict[str, int] = {}
    reach: dict[str, set[str]] = {}
    for stage, earlier in waits.items():  # steps stand in an order in which they can run
        depth[stage] = 1 + max((depth[x] for x in earlier), default=-1)
        reach[stage] = set().union(*(reach[x] | {x} for x in earlier))
    sizes = {stage: sum(step.stage == stage for step in steps) for stage in waits}
    links = [
        (x, stage)
        for stage in waits
        for x in sorted(waits[stage])
        if not any(x in reach[y] for y in waits[stage] if y != x)
    ]
    return [{"stage": x, "steps": sizes[x], "depth": depth[x]} for x in waits], links


def run_step(root: Path, step: Step) -> None:
    """Run one step in this process and write its marker, unless it writes that itself."""
    study = StudyLayout(root)
    if step.alone:
        step.call(root, **step.arguments)
        return
    study.clear(step.name)
    began, cpu = time.perf_counter(), time.process_time()
    with one_blas_thread():
        facts = step.call(root, **step.arguments)
    facts["wall_seconds"] = round(time.perf_counter() - began, 3)
    facts["cpu_seconds"] = round(time.process_time() - cpu, 3)
    facts["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    written = [file for path in step.outputs for file in array_files(path)]
    study.mark_done(step.name, step.key, written, facts)


def execute(study: StudyLayout, steps: Sequence[Step], *, workers: int | None = None) -> list[str]:
    """Run the steps that are not done, stage by stage; return the names of those that ran.

    With more than one worker the steps of a stage run in that many processes.  Results do not depend on their number.
    """
    workers = workers or os.cpu_count() or 1
    ran: list[str] = []
    stages: dict[str, list[Step]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step)
    for stage, members in stages.items():
        todo = [step for step in members if not study.is_done(step.name, step.key)]
        log.info("%s: %d steps, %d already done", stage, len(members), len(members) - len(todo))
        if not todo:
            continue
        ran += [step.name for step in todo]
        if any(step.alone for step in todo):
            for step in todo:  # these show their own progress and write their own markers
                run_step(study.root, step)
        else:
            with progress(stage, sum(step.cost for step in todo)) as advance:
                _run_side_by_side(study.root, todo, min(workers, len(todo)), advance)
    return ran


def _run_side_by_side(
    root: Path, steps: Sequence[Step], workers: int, advance: Callable[[float], None]
) -> None:
    if workers == 1:
        for step in steps:
            run_step(root, step)
            advance(step.cost)
        return
    from joblib import Parallel, delayed

    # The dearest first, so that no worker is left with a long one at the end.
    ordered = sorted(steps, key=lambda step: -step.cost)
    pool = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", pre_dispatch=workers)
    for cost in pool(delayed(_in_worker)(root, step, parent=os.getpid()) for step in ordered):
        advance(cost)


def _in_worker(root: Path, step: Step, *, parent: int) -> float:
    end_with(parent)
    set_quiet(True)  # the parent has the bar
    run_step(root, step)
    return step.cost


@cache
def end_with(parent: int) -> None:
    """End this worker when its parent is gone: a killed study must not go on working behind its back."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
