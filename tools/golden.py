"""Golden studies: run before and after a change of the code that must not change a number, and compared.

    python tools/golden.py run FOLDER          # two studies, all their tables; again on worker processes
    python tools/golden.py compare ONE OTHER   # tables whose content only one of them has

What is compared is the content of tables and arrays, whatever their files are called.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

import isogloss as ig
from isogloss.metrics.registry import COMPANIONS
from isogloss.starter import model_folder
from isogloss.starter.study import write_study
from isogloss.study import compare, open_study, robustness

LANGUAGES = ("en", "de", "zh")
VARIANTS = ["covered", "one_to_one", "no_identical", "no_cognates", "frequency_matched", "other_sentences"]


def studies(texts: Path) -> dict[str, dict[str, Any]]:
    """Return the two studies: trees, tasks and everything else; k-means by the paper's rule and a model's links."""
    files = {language: str(texts / f"starter.{language}.jsonl") for language in LANGUAGES}
    model = str(model_folder())
    task = {
        "kind": "sentiment",
        "train": {"files": {"en": files["en"]}, "lines": [1, 160]},
        "test": {"files": files, "lines": [500, 540]},
        "epochs": 1,
        "rate": 1e-3,
        "evaluations": 1,
    }
    common = {"corpus": {"files": files, "lines": [1, 60]}}
    starter = {"name": "starter", "path": model, "layers": [0, 6]}
    return {
        "trees": {
            **common,
            "name": "trees",
            "models": [starter, {**starter, "name": "random", "weights": "random", "base": "starter"}],
            "tasks": [task],
            "discovery": {"n_concepts": [20, 30], "seeds": [0, 1]},
            "metrics": {
                "theta_align": [0.5, 0.8],
                "theta_overlap": [0.3, 0.4],
                "min_types": 2,
                "n_bootstrap": 40,
                "n_permutations": 40,
                "variants": VARIANTS,
            },
            "companions": {"measures": list(COMPANIONS), "n_words": 100},
        },
        "kmeans": {
            **common,
            "name": "kmeans",
            "models": [{**starter, "layers": [2, 4], "sentences": ["cls", "mean"]}],
            "pairs": [["en", "de"], ["zh", "en"]],
            "alignment": {"aligner": "model"},
            "selection": {"calign": {"by": "types", "max_count": 4}, "colap": {"by": "pairs", "drop": ["punctuation"]}},
            "discovery": {"method": "kmeans", "n_concepts": [10, 25]},
            "metrics": {
                "rule": "paper-code",
                "theta_align": [0.3],
                "theta_overlap": [0.2],
                "min_types": 1,
                "n_permutations": 20,
                "n_bootstrap": 0,
            },
        },
    }


def run(folder: Path) -> None:
    """Run both studies, `kmeans` also on worker processes, and what can be asked of a finished one."""
    texts = folder / "texts"
    write_study(texts)
    for name, content in studies(texts).items():
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        ig.run_study(file, out=folder / name)
    for name in ("trees", "kmeans"):
        ig.run_study(folder / f"{name}.yaml", out=folder / f"{name}-workers", scheduler="processes", workers=2)
    more = folder / "asked"
    more.mkdir(exist_ok=True)
    compare(folder / "trees", "starter", "random").write_parquet(more / "compare.parquet")
    robustness(folder / "trees", theta_align=(0.3, 0.6), n_concepts=(10,), top=(1, 5), min_types=(2, 4))
    again = studies(texts)["kmeans"] | {"labels": {"threshold": 0.5, "n_permutations": 20}}
    file = folder / "labels.yaml"
    file.write_text(yaml.safe_dump(again, sort_keys=False), encoding="utf-8")
    shutil.copytree(folder / "kmeans", more / "kmeans")
    ig.run_study(file, out=more / "kmeans", until="labels")
    for name, table in (open_study(more / "kmeans").labels or {}).items():
        table.write_parquet(more / f"labels-{name}.parquet")


def content(file: Path) -> str:
    """Return a digest of what a file holds, rows in any order; of results without signatures, which name versions."""
    if file.suffix == ".npy":
        array = np.load(file)
        return hashlib.sha256(str((array.dtype, array.shape)).encode() + array.tobytes()).hexdigest()[:16]
    table = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    rows = sorted(map(repr, table.drop("signature", strict=False).rows()))
    return hashlib.sha256(repr((table.columns, rows)).encode()).hexdigest()[:16]


def contents(folder: Path) -> dict[str, str]:
    """Return the content of every table and array below a folder, by name."""
    files = (p for p in sorted(folder.rglob("*")) if p.suffix in {".parquet", ".csv", ".npy"} and p.is_file())
    return {p.relative_to(folder).as_posix(): content(p) for p in files}


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Return the names of files of the first side whose content the second has not, or not so often."""
    there = Counter(second.values())
    missing = []
    for name, value in first.items():
        if there[value] == 0:
            missing.append(name)
        there[value] -= 1
    return missing


def main() -> int:
    """Run or compare, as the command line says; 1 if anything differs."""
    command, *folders = sys.argv[1], *(Path(folder).resolve() for folder in sys.argv[2:])
    if command == "run":
        folder = folders[0]
        run(folder)
        (folder / "contents.json").write_text(json.dumps(contents(folder), indent=0), encoding="utf-8")
        for name in ("trees", "kmeans"):
            local, workers = (
                {k: v for k, v in contents(folder / x).items() if "robustness" not in k and "labels/" not in k}
                for x in (name, f"{name}-workers")
            )
            print(name, len(local), "tables; only local:", differences(local, workers))
        return 0
    before, after = (json.loads((folder / "contents.json").read_text()) for folder in folders)
    lost, new = differences(before, after), differences(after, before)
    print(f"{len(before)} and {len(after)} tables")
    for title, names in (("only in the first:", lost), ("only in the second:", new)):
        print(title, len(names), *names, sep="\n  ")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
