"""Ward linkage on a sample beside exact Ward linkage: what it costs in quality, and saves in time and memory.

    python benchmarks/ward_sample.py STUDY --layer 4 [--k 100 300 600] [--shares 20 8 4 2]
    python benchmarks/ward_sample.py STUDY --layer 4 --only costs [--states STATES.npy] [--n 40000]

STUDY is a finished study (states, links and dictionaries are read).  In one joint space of all its languages, and for
CALIGN in a space of each: adjusted mutual information and adjusted Rand index to the exact tree's cut, squared distance
to the centroid as a part of the exact cut's, COLAP, CALIGN and CALIGN above chance.  Four ways, of one sample:

    cells      the package's: Ward goes on from the cells of the sampled rows, with their true means and sizes
    sizes      the same, with the sampled rows themselves in place of the means
    rows       the tree of the sampled rows alone; a row goes where its nearest sampled row goes
    centroids  the tree of the sampled rows alone; at every cut a row goes to the nearest centroid (no tree of all rows)

Yardsticks: the exact cut after every row went to its nearest centroid; two halves of the data with a tree each; two
seeds of k-means; two seeds of the sample.  Costs are measured in a process each, from a mapped float16 file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from discovery_quality import centroids, concepts_of, nearest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

import isogloss as ig
from isogloss.discovery import kmeans, ward
from isogloss.discovery.rows import centred, survey
from isogloss.discovery.ward.sampled import attach, draw
from isogloss.study import open_study
from isogloss.trees import cut

Labels = np.ndarray
ByK = dict[int, Labels]
SELECT = 15  # tokens of a type at most


def cuts(tree: np.ndarray, ks: list[int]) -> ByK:
    return {k: cut(tree, n_clusters=k) for k in ks}


def exact(X: np.ndarray, ks: list[int]) -> ByK:
    return cuts(ward.linkage(X), ks)


def by_cells(X: np.ndarray, ks: list[int], sample: int, seed: int) -> ByK:
    return cuts(ward.linkage(X, sample=sample, seed=seed), ks)


def by_sizes(X: np.ndarray, ks: list[int], sample: int, seed: int) -> ByK:
    def seeds_of(data, _, slots, known):
        return centred(data, slots, known)

    with mock.patch.object(ward, "cell_means", seeds_of):
        return by_cells(X, ks, sample, seed)


def sampled(X: np.ndarray, sample: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows drawn, and for every row the place of the nearest among them."""
    known = survey(X)
    chosen = draw(np.flatnonzero(known.first == np.arange(len(X))), sample, seed=seed)
    return chosen, np.searchsorted(chosen, attach(X, chosen, known, threads=ward.n_threads(None)))


def by_rows(X: np.ndarray, ks: list[int], sample: int, seed: int) -> ByK:
    chosen, places = sampled(X, sample, seed)
    return {k: labels[places] for k, labels in exact(X[chosen], ks).items()}


def by_centroids(X: np.ndarray, ks: list[int], sample: int, seed: int) -> ByK:
    known = survey(X)
    chosen = draw(np.flatnonzero(known.first == np.arange(len(X))), sample, seed=seed)
    return {k: nearest(X, centroids(X[chosen], labels)) for k, labels in exact(X[chosen], ks).items()}


WAYS = {"cells": by_cells, "sizes": by_sizes, "rows": by_rows, "centroids": by_centroids}


def within(X: np.ndarray, labels: Labels) -> float:
    labels = np.unique(labels, return_inverse=True)[1]  # a centroid may have lost all its rows
    return float(((X - centroids(X, labels)[labels]) ** 2).sum())


def agreement(a: Labels, b: Labels) -> str:
    return f"{adjusted_mutual_info_score(a, b):.3f} | {adjusted_rand_score(a, b):.3f}"


class Bench:
    """The spaces of one layer of a study."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.study = open_study(given.study)
        states = states_of(given.study)
        self.languages = [x for x in self.study.languages if not given.languages or x in given.languages]
        self.pairs = list(itertools.combinations(self.languages, 2))
        self.joint = states.select(max_count=SELECT, languages=self.languages).at(given.layer)
        self.X = self.joint.X.astype(np.float64)
        links = [links_of(self.study, *pair) for pair in self.pairs]
        alone = states.select(links=links, max_count=SELECT)
        self.alone = {x: alone.at(given.layer, language=x) for x in self.languages}
        self.given, self.ks = given, given.k

    def quality(self) -> None:
        given, X, ks = self.given, self.X, self.ks
        n_copies = len(X) - len(np.unique(X, axis=0))
        print(f"layer {given.layer}: {len(X)} states of {'+'.join(self.languages)}, {n_copies} copies")
        self.truth = exact(X, ks)
        self.within = {k: within(X, labels) for k, labels in self.truth.items()}
        print("way | share | K | AMI | ARI | within | COLAP | CALIGN | above chance | biggest")
        self.tell("exact", "", self.truth, {x: exact(own.X, ks) for x, own in self.alone.items()})
        self.yardsticks()
        for share in given.shares:
            for way in given.ways:
                found = WAYS[way](X, ks, len(X) // share, 0)
                own = {x: WAYS[way](s.X, ks, len(s.X) // share, 0) for x, s in self.alone.items()}
                self.tell(way, f"1/{share}", found, own)
                if share == given.seeds_at:
                    self.compare(f"{way} 1/{share}, two seeds", found, WAYS[way](X, ks, len(X) // share, 1))

    def yardsticks(self) -> None:
        X, ks = self.X, self.ks
        moved = {k: nearest(X, centroids(X, labels)) for k, labels in self.truth.items()}
        self.compare("exact, and after a move to the nearest centroid", self.truth, moved)
        side = np.random.default_rng(0).permutation(len(X)) % 2
        halves = [np.flatnonzero(side == s) for s in (0, 1)]
        grown = [exact(X[half], ks) for half in halves]
        placed = [{k: nearest(X, centroids(X[h], g[k])) for k in ks} for h, g in zip(halves, grown, strict=True)]
        self.compare("two halves, rows to the nearest centroid", *placed)
        known = survey(X)
        firsts = [np.intersect1d(half, np.flatnonzero(known.first == np.arange(len(X)))) for half in halves]
        grown = [exact(X[first], ks) for first in firsts]
        at = [np.searchsorted(first, attach(X, first, known, threads=ward.n_threads(None))) for first in firsts]
        placed = [{k: g[k][places] for k in ks} for g, places in zip(grown, at, strict=True)]
        self.compare("two halves, rows to the nearest row", *placed)
        runs = [{k: kmeans.fit(X, k, seed=seed) for k in ks} for seed in (0, 1)]
        self.compare("k-means, two seeds", *runs)
        own = {x: {k: kmeans.fit(s.X, k, seed=0) for k in ks} for x, s in self.alone.items()}
        self.tell("k-means", "", runs[0], own)

    def compare(self, name: str, a: ByK, b: ByK) -> None:
        for k in self.ks:
            print(f"{name} | | {k} | {agreement(a[k], b[k])}", flush=True)

    def tell(self, way: str, share: str, found: ByK, own: dict[str, ByK]) -> None:
        for k in self.ks:
            labels = found[k]
            overlap = ig.colap(concepts_of(self.joint, labels), theta_overlap=0.6 / len(self.languages)).score
            spaces = {x: concepts_of(self.alone[x], own[x][k]) for x in self.languages}
            directions = [(a, b) for pair in self.pairs for a, b in (pair, pair[::-1])]
            figures = [
                ig.calign(
                    spaces[a],
                    spaces[b],
                    self.study.dictionary(a, b).top(10),
                    theta_align=0.5,
                    min_types=3,
                    n_permutations=50,
                    words=False,
                ).estimates[0]
                for a, b in directions
            ]
            score, above = np.mean([f.score for f in figures]), np.mean([f.adjusted for f in figures])
            print(
                f"{way} | {share} | {k} | {agreement(self.truth[k], labels)} | "
                f"{within(self.X, labels) / self.within[k]:.3f} | {overlap:.3f} | {score:.3f} | {above:.3f} | "
                f"{np.bincount(labels).max()}",
                flush=True,
            )


def states_of(folder: Path) -> ig.States:
    """Return the states of the only model of a study."""
    from isogloss.extraction import open_states
    from isogloss.store import StudyLayout

    (place,) = sorted((folder / "states").glob("*/*"))
    return open_states(StudyLayout(folder), name=place.parent.name, stack=place.name)


def links_of(study, source: str, target: str) -> ig.WordLinks:
    from isogloss.store import StudyLayout

    aligner = study.config.alignment.aligner
    path = StudyLayout(study.root).links(aligner, source, target)
    return ig.WordLinks.read(path, source=source, target=target, aligner=aligner)


def costs(given: argparse.Namespace, states: Path) -> None:
    """Print time and peak memory of the exact tree and of samples, a process each."""
    n, d = np.load(states, mmap_mode="r").shape
    n = min(n, given.n or n)
    print(f"{n} states of {d} values\nsample | CPU s | wall s | peak MB | MB before")
    for sample in [None, *(n // share for share in given.shares)][given.shares_only :]:
        job = json.dumps({"states": str(states), "n": n, "sample": sample})
        command = [sys.executable, __file__, str(given.study), "--job", job]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        facts = [f"{found[x]:.1f}" for x in ("cpu", "wall")] + [f"{found[x]:.0f}" for x in ("peak", "before")]
        print(" | ".join([str(sample or "all"), *facts]), flush=True)


def child(job: dict) -> None:
    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    X = np.load(job["states"], mmap_mode="r")[: job["n"]]
    for sample in (None, 20):
        ward.linkage(X[:100], sample=sample)  # compiles
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    ward.linkage(X, sample=job["sample"])
    found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    print(json.dumps(found | {"peak": peak(), "before": before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--layer", type=int)
    parser.add_argument("--k", type=int, nargs="+", default=[100, 300, 600])
    parser.add_argument("--shares", type=int, nargs="+", default=[20, 8, 4, 2], help="the sample is 1/share")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--languages", nargs="+")
    parser.add_argument("--seeds-at", type=int, default=8, help="the share that two seeds are compared at")
    parser.add_argument("--only", choices=["quality", "costs"])
    parser.add_argument("--states", type=Path, help="(n, d) .npy for the costs in place of the layer's")
    parser.add_argument("--n", type=int, help="of its rows the first")
    parser.add_argument("--shares-only", action="store_true", help="costs without the exact tree")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        child(given.job)
        return
    if given.only != "costs":
        Bench(given).quality()
    if given.only != "quality":
        with tempfile.TemporaryDirectory() as folder:
            states = given.states or Path(folder) / "states.npy"
            if not given.states:
                np.save(states, states_of(given.study).select(max_count=SELECT).at(given.layer).X)
            costs(given, states)


if __name__ == "__main__":
    main()
