"""A cluster for tests, on this machine: a Dask scheduler and workers that can be killed, and a study to run there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
import yaml

import isogloss
from isogloss.starter import load_corpus, model_folder

_OWN = (".steps/", ".lock", "manifest.json", "study.yaml", "figures/", "report.html")  # say when and where


def content(root: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return all that a study holds, but what says where and how fast it ran, and figures."""
    names = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(names.items()) if not name.startswith((*_OWN, *without))}


def markers(root: Path) -> dict[str, int]:
    """Return the names of all finished steps, and when they ended."""
    folder = root / ".steps"
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.json")
    }


def write_study(folder: Path, **sections: object) -> Path:
    """Write a study file: two languages, two layers, and just enough lines for states in several shards."""
    corpus = load_corpus(["en", "de"])
    texts = [corpus.texts(language)[:130] for language in corpus.languages]
    rows = ["en\tde", *("\t".join(row) for row in zip(*texts, strict=True))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    study: dict[str, object] = {
        "name": "small",
        "corpus": {"files": "text.tsv"},
        "models": [{"name": "starter", "path": str(model_folder()), "layers": [0, 4]}],
        "discovery": {"n_concepts": 20},
        "metrics": {"min_types": 2, "n_permutations": 3, "n_bootstrap": 5},
        "companions": {"measures": ["retrieval"]},
        **sections,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    return folder / "study.yaml"


@cache
def _reference(folder: Path) -> tuple[Path, Path]:
    study = write_study(folder / "input")
    isogloss.run_study(study, out=folder / "out", workers=1)
    return study, folder / "out"


@pytest.fixture(scope="session", name="reference")
def reference_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study file, and the folder of an undisturbed run of it in this process."""
    return _reference(tmp_path_factory.getbasetemp() / "reference")


def assert_same(out: Path, expected: Path, *, without: tuple[str, ...] = ()) -> None:
    """Check that two folders hold the same files, bit for bit, and that no step or shard is over."""
    wanted, found = content(expected, without=without), content(out, without=without)
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    if not without:
        assert set(markers(out)) == set(markers(expected))


def wait_until(true: Callable[[], object], what: str, *, seconds: float = 90.0) -> None:
    """Wait until something is true; after so many seconds that is an error."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.02)


def done_steps(out: Path, least: int) -> Callable[[], bool]:
    """Return a question: have so many steps been done, parts of states not counted?"""
    return lambda: sum("shard-" not in name for name in markers(out)) >= least


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which processes import this isogloss and do not crowd the machine."""
    source = str(Path(isogloss.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", **more}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Machines:
    """A scheduler at a fixed port and workers, processes of their own."""

    def __init__(self, logs: Path, env: Mapping[str, str] | None = None) -> None:
        self.port, self.address = free_port(), ""
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._logs, self._env = logs, environment(**(env or {}))

    def start(self, *, workers: int) -> None:
        """Start the scheduler, at the same port every time, and so many workers."""
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = self._start("scheduler", *where)
        for _ in range(workers):
            options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
            scratch = ["--local-directory", str(self._logs)]
            self.workers.append(self._start("worker", self.address, *options, *scratch))

    def _start(self, what: str, *words: str) -> subprocess.Popen[bytes]:
        with (self._logs / f"{what}.log").open("ab") as log:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words]
            return subprocess.Popen(command, env=self._env, stdout=log, stderr=log)

    def end(self) -> None:
        """Kill all that was started."""
        for process in (*self.workers, self.scheduler):
            if process is not None:
                kill(process)
        self.workers, self.scheduler = [], None


def kill(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill a process with signal 9 and wait for its end."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait()


def alive(process: int) -> bool:
    """Tell whether a process runs; one that only waits for its parent to look does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@contextmanager
def machines_in(folder: Path, *, workers: int = 2, **env: str) -> Iterator[Machines]:
    """Yield a scheduler and workers that end with the block, whatever happens in it."""
    folder.mkdir(parents=True, exist_ok=True)
    machines = Machines(folder, env)
    try:
        machines.start(workers=workers)
        yield machines
    finally:
        machines.end()


def start_run(study: Path, out: Path, *words: object) -> subprocess.Popen[str]:
    """Start ``isogloss run`` in a process of its own."""
    command = [sys.executable, "-c", "from isogloss.cli import main; main()", "run", str(study), "--out", str(out)]
    return subprocess.Popen(
        [*command, *map(str, words)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str], *, seconds: float = 180.0) -> tuple[int, str]:
    """Wait for a run to end; return its exit status and what it said."""
    try:
        printed, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, errors = process.communicate()
        pytest.fail(f"the run did not end: {errors[-2000:]}")
    return process.returncode, printed + errors
