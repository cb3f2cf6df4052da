"""Whatever is lost of a cluster, worker, scheduler, client or file: the study goes on, and its files are the same."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import (
    Machines,
    alive,
    assert_same,
    done_steps,
    finish,
    kill,
    machines_in,
    markers,
    reference_study,  # noqa: F401  fixture
    start_run,
    wait_until,
)
from isogloss.runner.dask import execution
from isogloss.study import run_study

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

Reference = tuple[Path, Path]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A scheduler and workers: every test leaves two of them, or starts them again."""
    with machines_in(tmp_path_factory.mktemp("machines")) as found:
        yield found


def test_a_file_that_is_lost_before_it_is_read_is_made_again(
    reference: Reference, machines: Machines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tree goes as soon as it is there, before or after concepts are cut from it."""
    study, expected = reference
    lost = []

    def lose() -> None:
        place = tmp_path / "trees/starter/encoder/ward-s0/layer_04/en.parquet"
        wait_until(lambda: "trees/starter/encoder/ward-s0/layer_04/en" in markers(tmp_path), "a tree")
        place.unlink()
        lost.append(place)

    thread = threading.Thread(target=lose)
    thread.start()
    run_study(study, out=tmp_path, scheduler=machines.address)
    thread.join()
    assert lost
    if not lost[0].exists():  # its readers were quicker
        run_study(study, out=tmp_path, scheduler=machines.address)
    assert_same(tmp_path, expected)


def test_files_that_were_lost_between_two_runs_are_made_again(
    reference: Reference, machines: Machines, tmp_path: Path
) -> None:
    study, expected = reference
    run_study(study, out=tmp_path, scheduler=machines.address)
    (tmp_path / "dictionary/en-de.parquet").unlink()
    (tmp_path / "states/starter/encoder/layer_04.npy").unlink()
    (tmp_path / ".steps/results.json").unlink()
    before = markers(tmp_path)
    run_study(study, out=tmp_path, scheduler=machines.address)
    assert_same(tmp_path, expected)
    after = markers(tmp_path)
    again = {name for name in after if after[name] != before.get(name)} - {"plan", "corpus", "manifest"}
    assert again == {"dictionary/en-de", "results"}  # the marker of the states holds for the same bits


def test_a_file_that_goes_while_it_is_needed_is_made_again_in_another_round(
    reference: Reference, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done when the steps are listed is gone when the first of them runs."""
    study, expected = reference
    run_study(study, out=tmp_path, scheduler=machines.address)
    for path in (tmp_path / ".steps/metrics").rglob("*.json"):
        path.unlink()
    plain, rounds = execution._submit, []

    def submit(*arguments: object, **where: object) -> bool:
        if not rounds:
            (tmp_path / "dictionary/en-de.parquet").unlink()
        rounds.append(plain(*arguments, **where))  # type: ignore[arg-type]
        return rounds[-1]

    monkeypatch.setattr(execution, "_submit", submit)
    run_study(study, out=tmp_path, scheduler=machines.address)
    assert rounds == [False, True]
    assert_same(tmp_path, expected)


def test_a_worker_that_is_killed_loses_nothing(reference: Reference, machines: Machines, tmp_path: Path) -> None:
    study, expected = reference
    run = start_run(study, tmp_path, "--scheduler", machines.address)
    try:
        wait_until(done_steps(tmp_path, 7), "some steps")
        assert run.poll() is None
        kill(machines.workers.pop())
        status, said = finish(run)
    finally:
        kill(run)
    assert status == 0, said
    assert_same(tmp_path, expected)
    assert (tmp_path / "report.html").exists()


def test_a_scheduler_that_is_killed_and_started_again(reference: Reference, machines: Machines, tmp_path: Path) -> None:
    study, expected = reference
    run = start_run(study, tmp_path, "--scheduler", machines.address)
    try:
        wait_until(done_steps(tmp_path, 7), "some steps")
        assert run.poll() is None
        machines.end()
        before = markers(tmp_path)
        machines.start(workers=2)
        status, said = finish(run)
    finally:
        kill(run)
    assert status == 0, said
    assert "is gone" in said
    assert_same(tmp_path, expected)
    after = markers(tmp_path)
    kept = {name for name in before if not name.startswith("states/")} - {"plan", "corpus"}
    assert kept
    assert [name for name in kept if after[name] != before[name]] == []


def test_a_client_that_is_killed_takes_its_workers_along_and_goes_on(reference: Reference, tmp_path: Path) -> None:
    study, expected = reference
    run = start_run(study, tmp_path, "--scheduler", "processes", "--workers", 1)
    try:
        wait_until(done_steps(tmp_path, 7), "some steps")
        children = _descendants(run.pid)
        assert children
    finally:
        kill(run)
    wait_until(lambda: not any(alive(child) for child in children), "the end of the workers", seconds=20)
    before = markers(tmp_path)
    run_study(study, out=tmp_path, scheduler="processes", workers=1)
    assert_same(tmp_path, expected)
    after = markers(tmp_path)
    kept = {name for name in before if "/shard-" not in name and name in after} - {"plan", "corpus"}
    assert [name for name in kept if after[name] != before[name]] == []


def _descendants(process: int) -> list[int]:
    done = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = dict(map(int, line.split()) for line in done.stdout.splitlines())
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]
