"""Studies on Dask: workers of this machine, of an address, of SLURM, with and without a common file system."""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import isogloss as ig
from cluster import (
    Machines,
    alive,
    assert_same,
    content,
    done_steps,
    free_port,
    machines_in,
    markers,
    reference_study,  # noqa: F401  fixture
    wait_until,
    write_study,
)
from isogloss import cli
from isogloss.config import read_config
from isogloss.errors import IsoglossError, UsageError
from isogloss.extraction import write_corpus
from isogloss.runner import Step, run_step
from isogloss.runner.dask import Job, cluster, execution
from isogloss.settings import RunSection, SlurmSection
from isogloss.store import Remote, StudyLayout
from isogloss.study import Plan, make_plan, run_study, study_status
from isogloss.study.inputs import read_corpus

pytest.importorskip("distributed")

Reference = tuple[Path, Path]


@dataclass
class Store:
    """A local object store."""

    env: dict[str, str]

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects of a study."""
        from fsspec.core import url_to_fs

        files, base = url_to_fs("s3://bucket", use_listings_cache=False)
        return sorted(str(name).removeprefix(f"{base}/{prefix}/") for name in files.find(f"{base}/{prefix}"))


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    port = free_port()
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    running.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        from fsspec.core import url_to_fs

        files, _ = url_to_fs("s3://bucket", use_listings_cache=False)
        files.mkdir("bucket")
        yield Store(env)
    running.stop()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Machines]:
    """A scheduler and two workers for all tests that kill none of them; they know the object store."""
    with machines_in(tmp_path_factory.mktemp("machines"), **store.env) as found:
        yield found


# -- where steps run changes nothing ------------------------------------------------------------------


def planned(study: Path) -> Plan:
    config = read_config(study)
    return make_plan(config, read_corpus(config.corpus))


def divided(plan: Plan) -> list[Step]:
    """Return the steps as workers have them."""
    return [part for step in plan.steps for part in step.parts() or (step,)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_write_the_same_files(reference: Reference, tmp_path: Path, workers: int) -> None:
    study, expected = reference
    assert sum("shard-" in step.name for step in divided(planned(study))) > 1
    table = run_study(study, out=tmp_path, scheduler="processes", workers=workers).table
    assert_same(tmp_path, expected)
    assert table.height == ig.Results.read(expected / "results.parquet").table.height
    assert not list(tmp_path.rglob("*.shards"))
    assert not list(tmp_path.rglob("*.tmp"))
    status = study_status(tmp_path)
    assert status["missing"] == []
    assert all(stage["done"] == stage["steps"] for stage in status["stages"])


def test_where_all_is_done_no_worker_starts(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    study, out = reference

    def never(*_: object) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr(cluster, "_processes", never)
    before = markers(out)
    run_study(study, out=out, scheduler="processes", workers=2)
    assert {name: at for name, at in markers(out).items() if name not in ("plan", "corpus", "manifest")} == {
        name: at for name, at in before.items() if name not in ("plan", "corpus", "manifest")
    }


@pytest.mark.slow
def test_workers_at_an_address_write_the_same_files(reference: Reference, machines: Machines, tmp_path: Path) -> None:
    study, expected = reference
    run_study(study, out=tmp_path, scheduler=machines.address)
    assert_same(tmp_path, expected)


@pytest.mark.slow
def test_files_behind_a_url(
    reference: Reference, machines: Machines, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, expected = reference
    where = {"scheduler": machines.address, "storage": "s3://bucket/study"}
    run_study(study, out=tmp_path / "one", **where)
    assert_same(tmp_path / "one", expected, without=("states/",))
    assert not (tmp_path / "one/states").exists()
    kept = store.names("study")
    assert not [name for name in kept if "shard" in name]
    assert "states/starter/encoder/layer_04.npy" in kept
    before = markers(tmp_path / "one")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("workers were asked for")

    monkeypatch.setattr(execution, "connected", never)
    run_study(study, out=tmp_path / "one", **where)
    run_study(study, out=tmp_path / "other", **where)  # a folder that is new only brings
    assert_same(tmp_path / "other", expected, without=("states/",))
    assert set(markers(tmp_path / "one")) == set(before)
    assert store.names("study") == kept
    foreign = write_study(tmp_path / "foreign")  # the same names, other text
    text = foreign.with_name("text.tsv")
    text.write_text(text.read_text(encoding="utf-8").replace("e", "o"), encoding="utf-8")
    with pytest.raises(IsoglossError, match=r"s3://bucket/study holds the study .small.*--storage"):
        run_study(foreign, out=tmp_path / "foreign-out", **where)
    assert store.names("study") == kept


@pytest.mark.slow
@pytest.mark.parametrize("name", ["results.csv", "states/starter/encoder/layer_04.npy"])
def test_damage_in_a_storage_is_noticed_and_made_anew(
    reference: Reference, machines: Machines, tmp_path: Path, name: str
) -> None:
    study, expected = reference
    url = tmp_path / "storage"
    where = {"scheduler": machines.address, "storage": f"file://{url}"}
    run_study(study, out=tmp_path / "out", **where)
    whole = (url / name).read_bytes()
    (url / name).write_bytes(whole[:-1000] + bytes(min(1000, len(whole))))
    run_study(study, out=tmp_path / "out", **where)
    assert (url / name).read_bytes() == whole
    assert_same(tmp_path / "out", expected, without=("states/",))


# -- the order of steps -------------------------------------------------------------------------------


def latest_first(steps: list[Step]) -> Iterator[Step]:
    """Yield steps in an order that their inputs allow and that a plan would never take: the last one that may run."""
    done = set[str]()
    while len(done) < len(steps):
        chosen = next(
            step
            for step in reversed(steps)
            if step.name not in done and done.issuperset(before.name for before in step.inputs)
        )
        done.add(chosen.name)
        yield chosen


def needed_first(steps: list[Step]) -> Iterator[Step]:
    """Yield every step as soon as its own inputs allow, before anything else that comes before it in the plan."""
    by_name, done = {step.name: step for step in steps}, set[str]()

    def up_to(step: Step) -> Iterator[Step]:
        if step.name not in done:
            done.add(step.name)
            for before in step.inputs:
                yield from up_to(by_name[before.name])
            yield step

    for step in reversed(steps):
        yield from up_to(step)


@pytest.mark.slow
@pytest.mark.parametrize("order", [latest_first, needed_first])
def test_inputs_of_steps_are_all_that_they_wait_for(reference: Reference, tmp_path: Path, order: Any) -> None:
    study, expected = reference
    plan, folder = planned(study), StudyLayout(tmp_path)
    write_corpus(plan.corpus, folder)
    for step in order(divided(plan)):
        run_step(tmp_path, step)
        assert folder.is_done(step.name, step.key)
    for step in plan.steps:
        step.forget_parts(folder)
    assert content(tmp_path) == content(expected)


# -- errors -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("what", ["dictionary", "concepts"])
def test_an_error_of_a_step_is_the_same_line_as_in_a_local_run(machines: Machines, tmp_path: Path, what: str) -> None:
    sections: dict[str, dict[str, object]] = {
        "dictionary": {"alignment": {"dictionaries": {"en-de": "words.txt"}}},
        "concepts": {"discovery": {"n_concepts": 1500}},
    }
    study = write_study(tmp_path / "input", **sections[what])
    (tmp_path / "input/words.txt").write_text("alone\n", encoding="utf-8")
    said = []
    for number, where in enumerate(({"workers": 1}, {"scheduler": machines.address})):
        with pytest.raises(IsoglossError) as caught:
            run_study(study, out=tmp_path / str(number), **where)
        said.append((type(caught.value), re.sub("for .* of .*[.] ", "", str(caught.value))))
        assert "\n" not in str(caught.value)
    assert said[0] == said[1]  # but which of several sets of states is too small is up to the order
    assert re.search("expected 'source target'|n_concepts = 1500 is not possible", said[1][1])
    assert not (tmp_path / "1/results.parquet").exists()


def test_nobody_at_an_address(reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_ANSWER", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(IsoglossError, match=rf"No Dask scheduler answers at {address} .*`dask scheduler"):
        run_study(reference[0], out=tmp_path, scheduler=address)
    with pytest.raises(IsoglossError, match="No Dask scheduler answers at what://"):
        run_study(reference[0], out=tmp_path, scheduler="what://127.0.0.1:1")


def test_settings_that_do_not_fit(reference: Reference, tmp_path: Path) -> None:
    study = reference[0]
    with pytest.raises(UsageError, match=r"unknown scheduler 'proceses'. Did you mean 'processes'"):
        run_study(study, out=tmp_path, scheduler="proceses")
    with pytest.raises(UsageError, match="storage is for workers of Dask"):
        run_study(study, out=tmp_path, storage="s3://bucket/study")
    with pytest.raises(IsoglossError, match=r"The storage what://x cannot be used: .*what"):
        run_study(study, out=tmp_path, scheduler="processes", storage="what://x")
    assert not (tmp_path / "states").exists()


def test_a_storage_that_is_not_there(reference: Reference, store: Store, tmp_path: Path) -> None:
    assert store.env
    with pytest.raises(IsoglossError, match=r"The storage s3://nobody/study cannot be used: .*bucket") as caught:
        run_study(reference[0], out=tmp_path, scheduler="processes", storage="s3://nobody/study")
    assert "\n" not in str(caught.value)


def test_without_dask_the_extra_is_named(reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(IsoglossError, match=r"needs Dask.*isogloss\[dask\]"):
        run_study(reference[0], out=tmp_path / "out", scheduler="processes")
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(IsoglossError, match=r"dask-jobqueue.*isogloss\[dask\]"):
        cluster.slurm_cluster(SlurmSection())


# -- who may speak to workers ---------------------------------------------------------------------------


def test_nobody_else_reaches_worker_processes(tmp_path: Path) -> None:
    """Another user of this machine has the address, and no certificate: neither plain nor with one of its own."""
    from distributed import Client
    from distributed.security import Security

    with cluster.connected(RunSection(scheduler="processes", workers=1)) as client:
        address = client.scheduler.address
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        assert client.submit(sum, [1, 2]).result() == 3
        assert all(one.startswith("tls://127.0.0.1:") for one in (address, *workers))
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        for place in (address, *workers):
            with pytest.raises((OSError, TimeoutError)):
                Client(place, security=Security.temporary(), timeout=3)
            with pytest.raises((OSError, TimeoutError)):
                Client(place.replace("tls://", "tcp://"), timeout=3)


def test_a_plain_address_of_another_machine_is_refused_unless_asked_for(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    for address in ("tcp://10.1.2.3:8786", "ws://far:1", "ucx://far:1"):
        with pytest.raises(UsageError, match=rf"{address} would be reached without encryption.*unencrypted: true"):
            run_study(study, out=tmp_path / "out", scheduler=address)
    assert not (tmp_path / "out").exists()
    for section in (
        {"scheduler": "tls://far:8786"},
        {"scheduler": "tcp://far:8786", "unencrypted": True},
        {"scheduler": "tcp://127.0.0.1:8786"},
    ):
        assert RunSection.model_validate(section).scheduler == section["scheduler"]


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(IsoglossError, match=r"needs cryptography.*isogloss\[dask\]"):
        cluster.temporary_security()


def test_forward_passes_are_of_one_process_with_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their last bits may depend on the number of threads, so this does not depend on the number of workers."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(cluster, "_gpus", lambda: 0)
    made: list[Any] = []
    monkeypatch.setattr("distributed.SpecCluster", lambda workers, **_: made.append(workers))
    for n in (1, 2, 4):
        cluster._processes(n, "scratch")
        options = [one["options"] for one in made[-1].values()]
        assert [one["resources"].get(cluster.PASSES) for one in options] == [1] + [None] * (n - 1)
        assert options[0]["env"]["OMP_NUM_THREADS"] == "3"


class Seen:
    """A client whose only worker sees nothing."""

    def scheduler_info(self, **_: object) -> dict[str, Any]:
        return {"workers": {}}

    def wait_for_workers(self, n: int) -> None:
        assert n == 1

    def run(self, function: Any, paths: list[str], **_: object) -> dict[str, list[str]]:
        assert function(["/no/such/file", str(Path(__file__))]) == ["/no/such/file"]
        return {"tcp://far:1": paths[-1:]}


def test_workers_that_do_not_see_the_files_are_refused(reference: Reference, tmp_path: Path) -> None:
    plan = planned(reference[0])
    job = Job("small", plan.steps, (), [Path(plan.config.models[0].path)], memory=lambda _: 0)
    client: Any = Seen()
    with pytest.raises(IsoglossError, match=r"tcp://far:1 does not see .*tokens\.parquet.*--storage URL"):
        execution._look(client, StudyLayout(tmp_path), job, None)
    with pytest.raises(IsoglossError, match=r"does not see .*model\. Put it on a file system") as caught:
        execution._look(client, StudyLayout(tmp_path), job, Remote("memory://study"))
    assert "--storage" not in str(caught.value)


# -- SLURM --------------------------------------------------------------------------------------------

SBATCH = """#!{python}
import pathlib, subprocess, sys
here = pathlib.Path(__file__).parent
if "--test-only" in sys.argv:
    sys.exit()
with (here / "log").open("ab") as log:
    job = subprocess.Popen(["bash", sys.argv[-1]], stdout=log, stderr=log, start_new_session=True)
with (here / "jobs").open("a") as jobs:
    jobs.write(f"{{job.pid}}\\n")
with (here / "scripts").open("a") as scripts:
    scripts.write(pathlib.Path(sys.argv[-1]).read_text())
print("Submitted batch job", job.pid)
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do kill -TERM -- -"$job" 2>/dev/null; done; true
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Commands of SLURM that run jobs as processes of this machine; all are gone after the test."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH.format(python=sys.executable), "scancel": SCANCEL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(ig.__file__).parents[1]))
    yield folder
    jobs = (folder / "jobs").read_text().split() if (folder / "jobs").exists() else []
    for job in jobs:
        try:
            os.killpg(int(job), 9)
        except ProcessLookupError:
            continue


@pytest.mark.slow
def test_jobs_of_slurm_write_the_same_files(
    reference: Reference, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a job ends in the middle: another is submitted in its place, and none is left at the end."""
    pytest.importorskip("dask_jobqueue")
    import dask

    config = read_config(reference[0])
    section: dict[str, Any] = {"scheduler": "slurm", "workers": 1, "slurm": {"cpus": 1, "memory": "2 GB", "gpus": 0}}
    section["slurm"]["certificates"] = str(tmp_path / "home")
    config = config.model_copy(update={"run": RunSection.model_validate(section)})
    monkeypatch.setattr(cluster, "_RENEWAL", 1.0)

    modes: set[str] = set()

    def end_of_walltime() -> None:
        wait_until(done_steps(tmp_path / "out", 7), "some steps")
        keys = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
        modes.update(oct(path.stat().st_mode)[-3:] for path in (*keys, keys[0].parent))
        os.killpg(int((slurm / "jobs").read_text()), 9)

    ending = threading.Thread(target=end_of_walltime)
    ending.start()
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        run_study(config, out=tmp_path / "out")
    ending.join()
    assert modes == {"600", "700"}  # keys, and the folder that they lie in
    assert_same(tmp_path / "out", reference[1])
    jobs = (slurm / "jobs").read_text().split()
    assert len(jobs) == 2
    wait_until(lambda: not any(alive(int(job)) for job in jobs), "the end of the jobs", seconds=20)
    script = (slurm / "scripts").read_text()
    assert "--resources MEMORY=2000000000" in script
    assert "tls://" in script
    keys = [Path(word) for word in script.split() if word.endswith(".pem")]
    assert keys
    assert not any(key.exists() for key in keys)
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize("refused", [True, False])
def test_without_slurm_no_study_waits(reference: Reference, slurm: Path, tmp_path: Path, refused: bool) -> None:
    pytest.importorskip("dask_jobqueue")
    text = "#!/bin/bash\necho 'sbatch: error: invalid partition: longer' >&2; exit 1\n"
    (slurm / "sbatch").write_text(text if refused else "")
    if not refused:
        (slurm / "sbatch").unlink()
    with pytest.raises(IsoglossError, match=r"SLURM takes no job: .*(invalid partition: longer|sbatch)") as caught:
        run_study(reference[0], out=tmp_path / "out", scheduler="slurm", workers=1)
    assert "\n" not in str(caught.value)


def test_plan_prints_the_job_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    from isogloss.study import job_script

    section = {"cpus": 3, "memory": "7 GB", "gpus": 1, "walltime": "01:30:00", "partition": "long"}
    section |= {"account": "words", "prologue": ["module load python"], "directives": ["--exclusive"]}
    study = write_study(tmp_path, run={"slurm": section})
    assert job_script(study) == ""
    script = job_script(study, scheduler="slurm")
    lines = script.splitlines()
    for wanted in ("--cpus-per-task=3", "-n 1", "--mem=7G", "-t 01:30:00", "-p long", "-A words", "--gpus=1"):
        assert f"#SBATCH {wanted}" in lines, script
    assert "#SBATCH --exclusive" in lines
    assert lines.index("module load python") < lines.index("export OMP_NUM_THREADS=3")
    assert "--resources MEMORY=7000000000,GPU=1" in lines[-1]
    assert "--nthreads 1" in lines[-1]
    assert lines[-1].rindex("--memory-limit 0") > lines[-1].index("--memory-limit")
    words = ["run", str(study), "--out", str(tmp_path / "out"), "--scheduler", "slurm", "--plan"]
    monkeypatch.setattr(sys, "argv", ["isogloss", *words])
    with suppress(SystemExit):
        cli.main()
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in lines[:-1] if line not in printed] == []  # the last has the scheduler's port
    assert not (tmp_path / "out").exists()
