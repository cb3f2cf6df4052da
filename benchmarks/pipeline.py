"""The whole pipeline beside the peers': NeuroX extraction, scikit-learn k-means, CALIGN by sets; then a study of ours.

    pip install --no-deps neurox h5py
    python benchmarks/pipeline.py --model FOLDER --text en=pud.en.txt --text de=pud.de.txt --sentences 200

Both run in processes of their own, one after the other, on the same sentences, model, layers and K, and cluster every
layer of both languages alone and together; printed are CPU seconds, wall time, peak memory and bytes on disk, and
their ratios.  The peers' part does CALIGN in one direction, ours both and 200 permutations for chance.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml


def peer(folder: Path, model: str, texts: dict[str, str], n_concepts: int) -> None:
    """Extract with NeuroX to JSON, cluster every layer with k-means, compare types by sets."""
    import numpy as np
    from neurox.data.extraction.transformers_extractor import extract_representations
    from sklearn.cluster import KMeans

    clusters: dict[tuple[str, int], list[set[str]]] = {}
    n_layers = 0
    together: dict[int, list[list[float]]] = {}
    extracted = 0.0
    for language, path in texts.items():
        out = folder / f"{language}.json"
        before = time.process_time()
        extract_representations(model, path, str(out), aggregation="last", output_type="json")
        extracted += time.process_time() - before
        words: list[str] = []
        states: dict[int, list[list[float]]] = {}
        with out.open(encoding="utf-8") as f:
            for line in f:
                for token in json.loads(line)["features"]:
                    words.append(token["token"])
                    for layer in token["layers"]:
                        states.setdefault(layer["index"], []).append(layer["values"])
        n_layers = len(states)
        for layer, values in states.items():
            together.setdefault(layer, []).extend(values)
            k = min(n_concepts, len(values))
            labels = KMeans(k, random_state=212, n_init=1).fit(np.array(values)).labels_
            found: list[set[str]] = [set() for _ in range(k)]
            for word, label in zip(words, labels, strict=True):
                found[label].add(word)
            clusters[language, layer] = found
    source, target = texts
    for layer in range(n_layers):
        n = 0
        for s in clusters[source, layer]:
            # identical words stand in for a dictionary: the same number of set operations
            n += any(len(s & t) / len(s) > 0.8 for t in clusters[target, layer] if s)
        KMeans(n_concepts, random_state=212, n_init=1).fit(np.array(together[layer]))
        print(f"layer {layer}: {n} aligned")
    (folder / "stages.json").write_text(json.dumps({"extraction": extracted}))


def ours(folder: Path, model: str, texts: dict[str, str], n_concepts: int) -> None:
    """Run a study with k-means on all layers."""
    import isogloss as ig

    study = {
        "name": "bench",
        "corpus": {"files": texts},
        "models": [{"name": "m", "path": model}],
        "selection": {"calign": {"by": "types", "max_count": None}, "colap": {"by": "types", "max_count": None}},
        "discovery": {"method": "kmeans", "n_concepts": n_concepts},
    }
    (folder / "bench.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    began = time.process_time()
    ig.extract(ig.Corpus.read(texts), model, name="m", out=folder / "study")
    extracted = time.process_time() - began
    ig.run_study(folder / "bench.yaml", out=folder / "study")
    (folder / "stages.json").write_text(json.dumps({"extraction": extracted}))


def measured(name: str, arguments: list[str], folder: Path) -> dict[str, float]:
    """Run one side in a process of its own; return what it cost."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, __file__, *arguments, "--side", name, "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        assert process.stderr is not None
        sys.exit(process.stderr.read().decode())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    stages = json.loads((folder / "stages.json").read_text())
    total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "CPU seconds, extraction": stages["extraction"],
        "CPU seconds, all the rest": total - stages["extraction"],
        "CPU seconds, all": total,
        "wall seconds": time.perf_counter() - began,
        "peak MB (process and its workers)": peak,
        "MB on disk": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20,
    }


def _memory(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB (Linux)."""
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return total / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder in the hub's format")
    parser.add_argument("--text", action="append", required=True, metavar="LANG=FILE", help="twice")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--n-concepts", type=int, default=300)
    parser.add_argument("--side", choices=["peer", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        files = {p.suffix[1:]: str(p) for p in sorted(given.folder.parent.glob("text.*"))}
        {"peer": peer, "ours": ours}[given.side](given.folder, given.model, files, given.n_concepts)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for item in given.text:
            language, _, path = item.partition("=")
            lines = Path(path).read_text(encoding="utf-8").splitlines()[: given.sentences]
            (folder / f"text.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
        costs = {}
        for side in ("peer", "ours"):
            (folder / side).mkdir()
            costs[side] = measured(side, sys.argv[1:], folder / side)
        print(f"{given.sentences} sentences, K = {given.n_concepts}, {os.cpu_count()} cores")
        print(f"{'':36}{'peers':>10}{'isogloss':>10}{'ratio':>8}")
        for what, theirs in costs["peer"].items():
            mine = costs["ours"][what]
            print(f"{what:36}{theirs:10.1f}{mine:10.1f}{theirs / mine:8.1f}")


if __name__ == "__main__":
    main()
