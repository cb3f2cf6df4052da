"""Discovery beside its peers: exact Ward linkage and k-means, CPU seconds, memory, quality, in one run.

    pip install fastcluster
    python benchmarks/discovery.py ward --n 5000 10000 [--states STATES.npy] [--peers fastcluster vector scipy sklearn]
    python benchmarks/discovery.py kmeans --n 20000 --k 200 [--states STATES.npy]

Without --states the data are the words of the built-in corpus in the built-in model, all six layers joined (d = 768),
in random order.  Every measurement has a process of its own.  CPU seconds are also given times the GFLOP/s of one core,
measured in the same run (float32 products of the shape that Ward linkage uses, one thread on every core at once), so
that the figure travels.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

PEERS = ("fastcluster", "vector", "scipy", "sklearn")


def built_in_states(out: Path) -> Path:
    import isogloss as ig
    from isogloss.starter import load_corpus, model_folder

    with tempfile.TemporaryDirectory() as folder:
        states = ig.extract(load_corpus(), model_folder(), layers=[1, 2, 3, 4, 5, 6], out=folder)
        X = np.concatenate([states.at(layer).X for layer in states.layers], axis=1)
    np.save(out, X[np.random.default_rng(0).permutation(len(X))])
    return out


def gflops() -> float:
    """GFLOP/s of one core when all are busy."""
    import os

    from threadpoolctl import threadpool_limits

    cores = len(os.sched_getaffinity(0))
    rng = np.random.default_rng(0)

    def work(_: int) -> float:
        a, b = (rng.normal(size=(m, 768)).astype(np.float32) for m in (2048, 512))
        out = np.empty((2048, 512), np.float32)
        np.matmul(a, b.T, out=out)
        began, n = time.perf_counter(), 0
        while time.perf_counter() - began < 2:
            np.matmul(a, b.T, out=out)
            n += 1
        return n * 2 * 2048 * 512 * 768 / (time.perf_counter() - began) / 1e9

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores) as pool:
        return float(np.mean(list(pool.map(work, range(cores)))))


def child(job: dict) -> None:
    """Do one job and print its cost as JSON."""
    mapped = np.load(job["states"], mmap_mode="r")[: job["n"]]
    X = np.ascontiguousarray(mapped, dtype=np.float32)
    what = job["what"]
    found: dict = {}
    if what == "ward":
        from isogloss.discovery import ward

        scanners = []
        make = ward._scanner

        def watched(*arguments):
            scanners.append(make(*arguments))
            return scanners[-1]

        ward.linkage(X[:100])  # compiles
        ward._scanner = watched
        run = partial(ward.linkage, X, device=job.get("device"))
    elif what in ("fastcluster", "vector"):
        import fastcluster

        run = partial(getattr(fastcluster, {"vector": "linkage_vector"}.get(what, "linkage")), X, "ward")
    elif what == "scipy":
        from scipy.cluster.hierarchy import linkage

        run = partial(linkage, X, "ward")
    elif what == "sklearn":
        from sklearn.cluster import AgglomerativeClustering

        run = partial(AgglomerativeClustering(100).fit, X)
    else:
        run = kmeans_job(what, X, job)
    wall, cpu = time.perf_counter(), time.process_time()
    made = run()
    found |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if what == "ward":
        found["products"] = scanners[0].multiplied / job["n"] ** 2
    if what in ("ward", "fastcluster", "vector", "scipy"):
        np.save(job["out"], made)
    elif what != "sklearn":
        found["inertia"] = inertia(X, made) / len(X)
    print(json.dumps(found))


def kmeans_job(what: str, X: np.ndarray, job: dict):
    from sklearn.cluster import KMeans, MiniBatchKMeans

    k, seed = job["k"], job["seed"]
    if what == "kmeans":
        from isogloss.discovery import kmeans

        kmeans.fit(X[:200], 5, seed=0)  # compiles
        return lambda: kmeans.fit(X, k, seed=seed)
    if what == "sklearn k-means":
        return lambda: KMeans(k, n_init=1, random_state=seed, max_iter=100).fit(X).labels_
    return lambda: MiniBatchKMeans(k, n_init=1, random_state=seed, batch_size=4096).fit(X).labels_


def inertia(X: np.ndarray, labels: np.ndarray) -> float:
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.unique(labels))
    counts = np.diff(np.append(starts, len(labels)))
    Y = X[order].astype(np.float64)
    means = np.add.reduceat(Y, starts, axis=0) / counts[:, None]
    return float(((Y - np.repeat(means, counts, axis=0)) ** 2).sum())


def measure(**job) -> dict:
    done = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(job)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def cost(found: dict) -> str:
    return f"{found['cpu']:.1f} CPU s, {found['wall']:.1f} s, {found['peak_mb']:.0f} MB"


def bench_ward(given: argparse.Namespace, folder: Path, states: Path) -> None:
    d = np.load(states, mmap_mode="r").shape[1]
    speed = gflops()
    print(f"{speed:.0f} GFLOP/s a core (float32 products, all cores busy); d = {d}")
    before = None
    for n in given.n:
        ours = measure(what="ward", n=n, states=str(states), out=str(folder / "ward.npy"), device=given.device)
        floor = ours["products"] * 2 * n**2 * d / speed / 1e9
        costs = cost(ours)
        print(
            f"{n} | ours | {costs} | {ours['cpu'] * speed:.0f} CPU s x GFLOP/s | {ours['products']:.2f} n^2 products, "
            f"{floor / ours['cpu']:.0%} of the CPU time at GEMM speed",
            flush=True,
        )
        if before:
            power = math.log(ours["cpu"] / before[1]) / math.log(n / before[0])
            print(f"{n} | grows with n^{power:.2f} from {before[0]}")
        before = n, ours["cpu"]
        for peer in given.peers if n <= given.peers_up_to else ():
            file = str(folder / f"{peer}.npy")
            found = measure(what=peer, n=n, states=str(states), out=file)
            line = f"{n} | {peer} | {cost(found)} | {found['cpu'] / ours['cpu']:.1f} times our CPU"
            if peer != "sklearn":
                line += " | " + agreement(np.load(folder / "ward.npy"), np.load(file))
            print(line, flush=True)


def agreement(a: np.ndarray, b: np.ndarray) -> str:
    """Largest relative difference of heights above 1e-2, and least adjusted Rand index of the cuts."""
    from sklearn.metrics import adjusted_rand_score

    from isogloss.trees import cut

    high = b[:, 2] > 1e-2
    gap = np.abs(a[high, 2] / b[high, 2] - 1).max()
    rand = min(adjusted_rand_score(cut(a, n_clusters=k), cut(b, n_clusters=k)) for k in (10, 100, 600, 1000))
    return f"heights to {gap:.0e}, adjusted Rand {rand:g}"


def bench_kmeans(given: argparse.Namespace, states: Path) -> None:
    for n in given.n:
        for seed in range(given.seeds):
            for what in ("kmeans", *(("sklearn k-means", "mini-batch") if n <= given.peers_up_to else ())):
                f = measure(what=what, n=n, k=given.k, seed=seed, states=str(states))
                about = f"{n} | K {given.k} | seed {seed} | {what}"
                print(f"{about} | {cost(f)} | inertia {f['inertia']:.5g} a row", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ward", "kmeans"], nargs="?", default="ward")
    parser.add_argument("--n", type=int, nargs="+", default=[5000, 10000, 20000])
    parser.add_argument("--states", type=Path)
    parser.add_argument("--peers", nargs="*", default=["fastcluster"], choices=PEERS)
    parser.add_argument("--peers-up-to", type=int, default=20000)
    parser.add_argument("--device")
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--job", type=json.loads)
    given = parser.parse_args()
    if given.job:
        child(given.job)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        states = given.states or built_in_states(folder / "states.npy")
        if given.what == "ward":
            bench_ward(given, folder, states)
        else:
            bench_kmeans(given, states)


if __name__ == "__main__":
    main()
