"""Where steps run when not in this process: workers of a Dask scheduler, on this machine, at an address, on SLURM."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.errors import IsoglossError
from isogloss.settings import RunSection, SlurmSection
from isogloss.store import make_folder
from isogloss.threads import threads_of_passes

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

GPU, MEMORY = "GPU", "MEMORY"  # what workers declare, and steps ask for
PASSES = "PASSES"  # forward passes: where they run on cores, one process has them all, as in a local run
PATIENCE = 600.0  # seconds for a scheduler that is gone to come back
_ROLES = ("client", "scheduler", "worker")  # that have certificates
_ANSWER = 5.0  # seconds for a scheduler to answer
_RENEWAL = 30.0  # seconds between looks at whether jobs have ended


def need_dask() -> None:
    """Refuse to go on without Dask, naming the extra."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise IsoglossError(
            "This scheduler needs Dask. Install it: pip install 'isogloss[dask]', or use scheduler: local."
        ) from None


@contextmanager
def connected(run: RunSection, *, wait: float = 0.0) -> Iterator[Client]:
    """Yield a client of the scheduler that a study names; workers that were started for it end with the block.

    A scheduler at an address is waited for, for so many seconds.

    Raises
    ------
    IsoglossError
        If Dask is not installed, or no scheduler answers at the address.
    """
    need_dask()
    from distributed import Client

    if run.scheduler not in ("processes", "slurm"):
        client = _reach(run.scheduler, wait)
        try:
            yield client
        finally:
            with suppress(OSError, TimeoutError):  # where the scheduler is gone there is nobody to take leave of
                client.close(timeout=_ANSWER)
        return
    n_workers = run.workers or (os.cpu_count() or 1)
    if run.scheduler == "slurm":
        with _slurm(run.slurm) as cluster, _jobs(cluster, run.workers or 1), Client(cluster) as client:
            yield client
        return
    with (
        tempfile.TemporaryDirectory(prefix="isogloss-workers-") as scratch,
        _processes(n_workers, scratch) as cluster,
        Client(cluster) as client,
    ):
        yield client


def temporary_security() -> Any:
    """Return certificates for one cluster: made now, in memory, so that nobody else can speak to its processes.

    Raises
    ------
    IsoglossError
        If what makes them is not installed.
    """
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError:
        raise IsoglossError(
            "Workers of a study speak by TLS, which needs cryptography. Install it: pip install 'isogloss[dask]'"
        ) from None


def _reach(address: str, wait: float) -> Client:
    from distributed import Client

    until = time.monotonic() + wait
    while True:
        try:
            return Client(address, timeout=_ANSWER)
        except (OSError, ValueError, TypeError) as error:  # the last: tls:// without certificates
            if time.monotonic() > until:
                raise IsoglossError(
                    f"No Dask scheduler answers at {address} ({type(error).__name__}). Start one with "
                    "`dask scheduler` and workers with `dask worker ADDRESS --nthreads 1`, or use scheduler: processes."
                    " For tls:// Dask's configuration must name the certificates (docs/cluster.md)."
                ) from None
            time.sleep(1)


def _processes(n: int, scratch: str) -> Any:
    """Return a cluster of worker processes on this machine; the first ones have its GPUs, one each.

    All of it speaks by TLS, and its pages are on the loopback alone: other users of the machine are not trusted.
    """
    from dask.utils import parse_bytes
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    share = int(parse_bytes(MEMORY_LIMIT)) // n
    threads = str(max(1, (os.cpu_count() or 1) // n))
    gpus = _gpus()
    security = temporary_security()
    here = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
    workers = {}
    for i in range(n):
        has_gpu = i < gpus
        has_passes = has_gpu or not (gpus or i)
        env = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        if gpus:
            env["CUDA_VISIBLE_DEVICES"] = str(i) if has_gpu else ""
        elif has_passes:
            env["OMP_NUM_THREADS"] = str(threads_of_passes())
        options = {
            "nthreads": 1,
            "memory_limit": 0,  # of maps of files, which count as memory here and are none
            "resources": {MEMORY: share, **({GPU: 1} if has_gpu else {}), **({PASSES: 1} if has_passes else {})},
            "env": env,
            "local_directory": scratch,
            "silence_logs": logging.CRITICAL,  # errors of steps come back by themselves
            "dashboard_address": "127.0.0.1:0",
            **here,
        }
        workers[i] = {"cls": Nanny, "options": options}
    scheduler = {
        "cls": Scheduler,
        "options": {"port": 0, "dashboard": True, "dashboard_address": "127.0.0.1:0", **here},
    }
    try:
        return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=logging.ERROR)
    except RuntimeError as error:
        raise IsoglossError(
            f"Worker processes did not start: {error} In a script of your own, run_study must stand under "
            "`if __name__ == '__main__':`, since every process imports the script."
        ) from None


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


# -- SLURM ----------------------------------------------------------------------------------------


@contextmanager
def _slurm(section: SlurmSection) -> Iterator[Any]:
    """Yield the cluster of a ``slurm`` section; its certificates lie, for its jobs, where only you can read them."""
    shared = make_folder(Path(section.certificates).expanduser())
    with tempfile.TemporaryDirectory(prefix=".isogloss-", dir=shared) as folder:
        security = _in_files(temporary_security(), Path(folder))
        with slurm_cluster(section, security) as cluster:
            yield cluster


def _in_files(security: Any, folder: Path) -> Any:
    """Return the same certificates as names of files, which jobs can be given."""
    from distributed.security import Security

    names = {}
    for field in ("tls_ca_file", *(f"tls_{x}_{y}" for x in _ROLES for y in ("key", "cert"))):
        path = folder / f"{field}.pem"
        path.touch(mode=0o600)
        path.write_text(getattr(security, field), encoding="ascii")
        names[field] = str(path)
    return Security(require_encryption=True, **names)


def slurm_cluster(section: SlurmSection, security: Any = None) -> Any:
    """Return the cluster of a ``slurm`` section, no job of it started yet.

    A job is one worker with one thread for steps, so that steps do not share its memory; what a step multiplies in
    parallel uses all its cores.

    Raises
    ------
    IsoglossError
        If dask-jobqueue is not installed.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise IsoglossError("scheduler: slurm needs dask-jobqueue. Install it: pip install 'isogloss[dask]'") from None
    from dask.utils import parse_bytes

    resources = f"{MEMORY}={parse_bytes(section.memory)}" + (f",{GPU}=1" if section.gpus else "")
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    directives = [f"--gpus={section.gpus}"] if section.gpus else []
    return SLURMCluster(
        cores=1,
        processes=1,
        memory=section.memory,
        job_cpu=section.cpus,
        walltime=section.walltime,
        queue=section.partition,
        account=section.account,
        job_name="isogloss",
        interface=section.interface,
        local_directory=section.scratch,
        log_directory=section.logs,
        job_extra_directives=[*directives, *section.directives],
        job_script_prologue=[*section.prologue, *(f"export {name}={section.cpus}" for name in names)],
        worker_extra_args=["--resources", resources, "--memory-limit", "0"],  # as for processes; SLURM has its own
        security=security,
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    )


@contextmanager
def _jobs(cluster: Any, n: int) -> Iterator[None]:
    """Keep so many jobs: one that ends, at its walltime or with its node, is followed by another.

    Raises
    ------
    IsoglossError
        If SLURM takes no job.
    """
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEWAL):
            cluster.scale(jobs=n)  # adds to those that are there what lacks

    _check_job(cluster)
    cluster.scale(jobs=n)
    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _check_job(cluster: Any) -> None:
    """Ask SLURM whether it would take a job: when it refuses one later on, a study would wait for it."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(cluster.job_script())
        file.flush()
        try:
            command = ["sbatch", "--test-only", file.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            status, answer = done.returncode, done.stderr
        except OSError as error:
            status, answer = 1, f"sbatch: {error.strerror}"
    if status:
        reason = " ".join(answer.split())
        raise IsoglossError(
            f"SLURM takes no job: {reason}. Look at the job script with --plan, and at the section run: slurm."
        )


def slurm_script(section: SlurmSection) -> str:
    """Return the job script that starts one worker, as `sbatch` would be given it."""
    need_dask()
    with _slurm(section) as cluster:
        return str(cluster.job_script())
