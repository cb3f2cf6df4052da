"""A study of six languages and seven layers in one process and on Dask: are files the same, how long, at what overhead?

python benchmarks/cluster.py --out runs [--sentences 250] [--workers 1 2 4]

Every run starts anew, one after another, in a process of its own; all files but manifest, markers and report are
compared byte by byte.  Needs isogloss[dask].
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import yaml

from isogloss.starter.study import write_study

CODE = """
import sys, isogloss as ig
if __name__ == "__main__":
    ig.run_study(sys.argv[1], out=sys.argv[2], scheduler=sys.argv[3], workers=int(sys.argv[4]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=250)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    given = parser.parse_args()
    study = seven_layers(given.out, given.sentences)
    script = given.out / "run.py"
    script.write_text(CODE)
    runs = [("local", n) for n in (1, os.cpu_count() or 1)] + [("processes", n) for n in given.workers]
    told, first = {}, {}
    print(f"{'scheduler':12} {'workers':>7} {'wall s':>8} {'to local 1':>10} {'CPU s of steps':>14}  files", flush=True)
    for scheduler, n in runs:
        folder = given.out / f"{scheduler}-{n}"
        shutil.rmtree(folder, ignore_errors=True)
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, script, study, folder, scheduler, str(n)],
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        wall = time.perf_counter() - began
        told[scheduler, n] = wall
        files = digests(folder)
        first = first or files
        same = "the same" if files == first else f"{sum(files[x] != first.get(x) for x in files)} differ"
        steps = json.loads((folder / "manifest.json").read_text())["steps"]
        cpu = sum(step.get("cpu_seconds", 0) for step in steps.values())
        ratio = told["local", 1] / wall
        print(f"{scheduler:12} {n:7d} {wall:8.1f} {ratio:9.2f}x {cpu:14.1f}  {len(files)} {same}", flush=True)
    units(given.out / "local-1")


def seven_layers(out: Path, n_sentences: int) -> Path:
    """Write the built-in study with all layers and less text."""
    path = write_study(out / "input")
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    study["models"][0]["layers"] = "all"
    study["corpus"]["n_sentences"] = n_sentences
    path.write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    return path


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file that a run writes, but of those that tell of the run itself."""
    own = {"manifest.json", "study.yaml", ".lock"}
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in own and ".steps" not in path.parts
    }


def units(folder: Path) -> None:
    """Print what a step of every kind takes."""
    steps = json.loads((folder / "manifest.json").read_text())["steps"]
    kinds: dict[str, list[float]] = defaultdict(list)
    size: dict[str, int] = defaultdict(int)
    for name, step in steps.items():
        kind = name.split("/")[0]
        kinds[kind].append(step.get("cpu_seconds", step["wall_seconds"]))
        size[kind] += sum(entry["bytes"] for entry in step["outputs"].values())
    print(f"\n{'kind':24} {'steps':>6} {'CPU s a step':>12} {'MB in all':>10}")
    for kind, seconds in kinds.items():
        print(f"{kind:24} {len(seconds):6d} {sum(seconds) / len(seconds):12.3f} {size[kind] / 1e6:10.1f}")


if __name__ == "__main__":
    main()
