"""Steps on this machine: what is done is skipped, the rest runs in order, side by side where it may."""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from isogloss.progress import progress, set_quiet
from isogloss.runner.step import Step
from isogloss.store import StudyLayout, array_files
from isogloss.threads import one_blas_thread

log = logging.getLogger(__name__)


def run_step(root: Path, step: Step) -> None:
    """Run one step in this process and write its marker, unless it writes that itself."""
    layout = StudyLayout(root)
    if step.marks_itself:
        step.run(layout)
        return
    layout.clear(step.name)
    began, cpu = time.perf_counter(), time.process_time()
    with one_blas_thread():
        facts = step.run(layout)
    facts["wall_seconds"] = round(time.perf_counter() - began, 3)
    facts["cpu_seconds"] = round(time.process_time() - cpu, 3)
    facts["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    written = [file for path in step.outputs(layout) for file in array_files(path)]
    layout.mark_done(step.name, step.key, written, facts)


def execute(layout: StudyLayout, steps: Sequence[Step], *, workers: int | None = None) -> list[str]:
    """Run the steps that are not done, stage by stage; return the names of those that ran.

    With more than one worker the steps of a stage run in that many processes.  Results do not depend on their number.
    """
    workers = workers or os.cpu_count() or 1
    ran: list[str] = []
    stages: dict[str, list[Step]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step)
    for stage, members in stages.items():
        todo = [step for step in members if not layout.is_done(step.name, step.key)]
        log.info("%s: %d steps, %d already done", stage, len(members), len(members) - len(todo))
        if not todo:
            continue
        ran += [step.name for step in todo]
        if any(step.marks_itself for step in todo):
            for step in todo:
                run_step(layout.root, step)
        else:
            with progress(stage, sum(step.cost for step in todo)) as advance:
                _run_side_by_side(layout.root, todo, min(workers, len(todo)), advance)
    return ran


def _run_side_by_side(root: Path, steps: Sequence[Step], workers: int, advance: Callable[[float], None]) -> None:
    if workers == 1:
        for step in steps:
            run_step(root, step)
            advance(step.cost)
        return
    from joblib import Parallel, delayed

    # The dearest first, so that no worker is left with a long one at the end.
    ordered = sorted(steps, key=lambda step: -step.cost)
    pool = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", pre_dispatch=workers)
    # loky replaces a worker that grew by 300 MB since its first task, as one that compiles with numba does (341 to 652)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
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
