"""k-means on shards beside scikit-learn's and dask-ml's: inertia, cost, and whether parting matters.

    python3 -m venv daskml && daskml/bin/pip install dask-ml
    python benchmarks/kmeans.py STUDY --n 50000 --k 300 --seeds 2 --peer-python daskml/bin/python

The data are the states of a finished study, some layers joined, in random order.  Every measurement has a process of
its own; dask-ml runs in an environment of its own, with a thread a core and one BLAS thread in each, on the same file;
scikit-learn has one thread.
"Own memory" is the peak of a process without the pages of mapped files, looked at 50 times a second; for workers, that
of the largest.  dask-ml is given scikit-learn's tolerance, relative to the variance; its own is not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

JOBS = {
    "kmeans": {"what": "ours"},
    "kmeans, 2 workers": {"what": "ours", "workers": 2, "shard_rows": 8192},
    "scikit-learn": {"what": "sklearn"},
}
PEERS = {
    "dask-ml as it comes": {"what": "dask", "factor": 2, "rounds": None},
    "dask-ml, 2 K a round": {"what": "dask", "factor": None, "rounds": 5},
}
# Threads of OpenMP and BLAS: dask has one a core already; scikit-learn's wait for each other by spinning, which, on a
# busy machine, counts as CPU time many times over.
THREADS = {"dask": "1", "sklearn": "1"}


# -- one job, in a process of its own: nothing but numpy may be imported above --------------------------


class Watch:
    """Own memory of this process and of its children, at their peaks, in MB."""

    def __init__(self) -> None:
        self.own = self.child = 0.0
        self._stop = threading.Event()

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        me = os.getpid()
        while not self._stop.wait(0.02):
            self.own = max(self.own, anonymous(me))
            for path in Path("/proc").glob("[0-9]*/stat"):
                try:
                    parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
                    if parent == me:
                        self.child = max(self.child, anonymous(int(path.parent.name)))
                except OSError:
                    pass  # it has just ended


def anonymous(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


def child(job: dict) -> None:
    """Fit, save labels (and dask-ml's centres), and print the cost as JSON."""
    run = {"ours": ours, "sklearn": sklearn, "dask": dask_ml}[job["what"]](job)
    base = anonymous(os.getpid())
    wall, cpu = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Watch() as watch:
        found = run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    workers = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu + workers}
    print(json.dumps(found | {"own": watch.own, "base": base, "child": watch.child}))


def ours(job: dict):
    from isogloss.discovery import kmeans
    from isogloss.store import Rows

    kmeans.fit(np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32), 5, seed=0)  # compiles
    X = Rows(Path(job["states"])).part(0, job["n"])

    def run() -> dict:
        np.save(job["out"], on_workers(kmeans.fit, X, job))
        return {}

    return run


def on_workers(fit, X, job: dict) -> np.ndarray:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from isogloss.parallel import spreading

    options = {"shard_rows": job["shard_rows"]} if "shard_rows" in job else {}
    if "workers" not in job:
        return fit(X, job["k"], seed=job["seed"], **options)
    with ProcessPoolExecutor(job["workers"], mp_context=get_context("spawn")) as pool, spreading(pool.map):
        return fit(X, job["k"], seed=job["seed"], threads=1, **options)


def sklearn(job: dict):
    from sklearn.cluster import KMeans

    X = np.array(np.load(job["states"], mmap_mode="r")[: job["n"]])
    model = KMeans(job["k"], n_init=1, random_state=job["seed"], max_iter=100)

    def run() -> dict:
        np.save(job["out"], model.fit(X).labels_)
        return {"iterations": int(model.n_iter_)}

    return run


def dask_ml(job: dict):
    import dask.array as da
    from dask_ml.cluster import KMeans

    mapped = np.load(job["states"], mmap_mode="r")[: job["n"]]
    X = da.from_array(mapped, chunks=(job["chunk"], mapped.shape[1]))
    tol = 1e-4 * float(np.mean([mapped[:, t].var(dtype=np.float64) for t in range(mapped.shape[1])]))
    start = {"init": np.array(mapped[: job["k"]])} if job.get("given") else {"init": "k-means||"}
    model = KMeans(
        job["k"],
        oversampling_factor=job["factor"] or 2 * job["k"],
        init_max_iter=job["rounds"],
        max_iter=100,
        tol=tol,
        random_state=job["seed"],
        **start,
    )

    def run() -> dict:
        model.fit(X)
        np.save(job["out"], np.asarray(model.labels_))
        np.save(job["out"] + ".centres.npy", model.cluster_centers_)
        return {"iterations": int(model.n_iter_)}

    return run


# -- all of them -----------------------------------------------------------------------------------------


def states_of(study: Path, name: str | None, stack: str, layers: list[int], out: Path) -> Path:
    from isogloss.extraction import open_states
    from isogloss.store import StudyLayout

    name = name or sorted(path.name for path in (study / "states").iterdir())[0]
    states = open_states(StudyLayout(study), name=name, stack=stack)
    rows = np.random.default_rng(0).permutation(states.rows)
    X = np.concatenate([np.asarray(states.arrays[layer])[rows] for layer in layers], axis=1)
    np.save(out, X.astype(np.float32))
    print(f"{name}/{stack}, layers {layers}: {X.shape}")
    return out


def measure(python: str, job: dict) -> dict:
    environment = os.environ.copy()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.pop(variable, None)
        if job["what"] in THREADS:
            environment[variable] = THREADS[job["what"]]
    command = [python, __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def inertia(X: np.ndarray, labels: np.ndarray) -> float:
    """Squared distance to the mean of the cluster, a row; of the labels, so that it is one measure for all."""
    k = int(labels.max()) + 1
    sums, squares = np.zeros((k, X.shape[1])), 0.0
    for begin in range(0, len(labels), 4096):
        rows = X[begin : begin + 4096].astype(np.float64)
        np.add.at(sums, labels[begin : begin + 4096], rows)
        squares += float((rows**2).sum())
    counts = np.maximum(np.bincount(labels, minlength=k), 1)
    return (squares - float((sums**2 / counts[:, None]).sum())) / len(labels)


def compare(given: argparse.Namespace, states: Path, folder: Path) -> None:
    """Every method once a seed."""
    X = np.load(states, mmap_mode="r")[: given.n]
    for seed in range(given.seeds):
        for name, job in (JOBS | (PEERS if given.peer_python else {})).items():
            if given.methods and name not in given.methods:
                continue
            python = given.peer_python if job["what"] == "dask" else sys.executable
            out = str(folder / "labels.npy")
            common = {"states": str(states), "n": given.n, "k": given.k, "seed": seed, "out": out}
            f = measure(python, {"chunk": given.n // 4} | common | job)
            labels = np.load(out)
            parts = [f"seed {seed}", name, f"{f['cpu']:.1f} CPU s", f"{f['wall']:.1f} s"]
            parts += [f"{inertia(X, labels):.2f} a row", f"{len(np.unique(labels))} in use"]
            parts += [f"own memory {f['own']:.0f} MB, {f['base']:.0f} before"]
            parts += [f"worker {f['child']:.0f} MB"] if "workers" in job else []
            parts += [f"{f['iterations']} iterations"] if "iterations" in f else []
            print(" | ".join(parts), flush=True)


def parting(given: argparse.Namespace, states: Path, folder: Path) -> None:
    """One seed, the same rows parted in several ways: how far is the result from that of the first?"""
    X = np.load(states, mmap_mode="r")[: given.n]
    common = {"states": str(states), "n": given.n, "k": given.k, "seed": 0}
    ways: dict[str, list[dict]] = {
        "kmeans": [{"what": "ours", "shard_rows": rows} for rows in given.chunks]
        + [{"what": "ours", "shard_rows": given.chunks[-1], "workers": workers} for workers in (1, 2)]
    }
    if given.peer_python:
        for name, job in PEERS.items():
            ways[name] = [job | {"chunk": rows} for rows in (*given.chunks, given.chunks[0])]
        ways["dask-ml, start given"] = [
            PEERS["dask-ml as it comes"] | {"chunk": rows, "given": True} for rows in given.chunks
        ]
    for name, jobs in ways.items():
        first = None
        for job in jobs:
            out = str(folder / "labels.npy")
            python = given.peer_python if job["what"] == "dask" else sys.executable
            measure(python, common | job | {"out": out})
            labels = np.load(out)
            centres = np.load(out + ".centres.npy") if job["what"] == "dask" else means(X, labels)
            parted = f"{job.get('chunk', job.get('shard_rows'))} rows a part"
            parted += f", {job['workers']} workers" if "workers" in job else ""
            print(f"{name} | {parted} | {inertia(X, labels):.4f} a row", end="")
            if first is None:
                first = labels, centres
                print(flush=True)
            else:
                print(f" | {difference(first, (labels, centres))}", flush=True)


def means(X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    from isogloss.discovery import centroids

    return centroids(X, labels)


def difference(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> str:
    """Say how two clusterings differ, centres matched one to one at the least sum of distances."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist
    from sklearn.metrics import adjusted_rand_score

    if all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True)):
        return "the same bits"
    apart = cdist(one[1].astype(np.float64), other[1].astype(np.float64))
    pairs = apart[linear_sum_assignment(apart)]
    size = np.sqrt(((one[1] - one[1].mean(axis=0)).astype(np.float64) ** 2).sum(axis=1)).mean()
    moved = f"{pairs.mean() / size:.2g} on average, {pairs.max() / size:.2g} at most"
    rand = adjusted_rand_score(one[0], other[0])
    return f"matched centres apart, by their mean distance to their mean: {moved}; adjusted Rand {rand:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, nargs="?")
    parser.add_argument("--name", help="of the model in the study; default: the first")
    parser.add_argument("--stack", default="encoder")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 6, 8, 10, 12])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--k", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--chunks", type=int, nargs="+", default=[50_000, 12_500, 7_777])
    parser.add_argument("--methods", nargs="+", choices=[*JOBS, *PEERS], help="to compare; default: all")
    parser.add_argument("--only", choices=["compare", "parting"])
    parser.add_argument("--peer-python", help="of an environment with dask-ml")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        child(given.job)
        return
    if given.study is None:
        parser.error("STUDY is missing: a folder of a finished study")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        states = states_of(given.study, given.name, given.stack, given.layers, folder / "states.npy")
        given.n = min(given.n, len(np.load(states, mmap_mode="r")))
        if given.only != "parting":
            compare(given, states, folder)
        if given.only != "compare":
            parting(given, states, folder)


if __name__ == "__main__":
    main()
