"""A corpus of a million sentences: memory at its peak, and how fast random rows of a large layer are read.

    python benchmarks/large.py --text en=pud.en.txt --sentences 1000000 --layers 0 --out DIR

The text is repeated until it has so many sentences; the model is the built-in one.  Peaks are of whole processes, one
that reads the corpus and one that extracts as well.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, metavar="LANG=FILE")
    parser.add_argument("--sentences", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=["corpus", "extract", "read"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    language, path = given.text.split("=", 1)
    large = given.out / f"{language}.txt"
    if not given.only:
        given.out.mkdir(parents=True, exist_ok=True)
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        with large.open("w", encoding="utf-8") as f:
            for i in range(given.sentences):
                f.write(f"{lines[i % len(lines)]}\n")
        for only in ("corpus", "extract", "read"):
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", only], check=True)
        return

    import isogloss as ig
    from isogloss.extraction import open_states
    from isogloss.starter import model_folder
    from isogloss.store import StudyLayout

    began = time.perf_counter()
    if given.only == "read":
        states = open_states(StudyLayout(given.out / "study"), name="starter", stack="encoder")
        array = states.arrays[given.layers[0]]
        opened = time.perf_counter() - began
        rows = np.random.default_rng(0).choice(len(array), given.rows, replace=False)
        for order, wanted in (("rising", np.sort(rows)), ("any", rows)):
            began = time.perf_counter()
            found = array[wanted]
            said = f"{len(found)} rows of {array.shape} in {order} order: {time.perf_counter() - began:.2f} s"
            print(said, flush=True)
        print(f"tables opened in {opened:.1f} s", flush=True)
    else:
        corpus = ig.Corpus.read({language: large})
        if given.only == "extract":
            ig.extract(corpus, model_folder(), name="starter", layers=given.layers, out=given.out / "study")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{given.only}: peak {peak:,.0f} MB, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
