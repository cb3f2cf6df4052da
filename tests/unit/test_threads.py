"""No digit depends on how many threads BLAS may use."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import threadpoolctl

import isogloss
from isogloss.metrics.registry import COMPANIONS
from isogloss.runner import Facts, Step, run_step
from isogloss.store import StudyLayout, read_json, write_json


def blas() -> set[int]:
    import scipy.linalg  # noqa: F401

    return {one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}


@dataclass(frozen=True)
class Look(Step):
    """Tells how many threads BLAS has while it runs."""

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.root / "look.json",)

    def run(self, layout: StudyLayout) -> Facts:
        write_json(self.outputs(layout)[0], sorted(blas()))
        return {}


def test_every_blas_has_one_thread_in_a_step_and_its_own_number_after_it(tmp_path):
    with threadpoolctl.threadpool_limits(3, "blas"):
        run_step(tmp_path, Look())
        assert blas() == {3}
    assert read_json(tmp_path / "look.json") == [1]


def test_in_other_threads_one_thread_stays_whoever_leaves_first():
    """As tasks of a worker do; in a process of its own, for what they set stays."""
    code = """
import threadpoolctl, scipy.linalg
from concurrent.futures import ThreadPoolExecutor
from isogloss.threads import one_blas_thread
blas = lambda: {x["num_threads"] for x in threadpoolctl.threadpool_info() if x["user_api"] == "blas"}
one, other = one_blas_thread(), one_blas_thread()
with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
    first.submit(one.__enter__).result()
    second.submit(other.__enter__).result()
    first.submit(one.__exit__, None, None, None).result()
    assert second.submit(blas).result() == {1}
    second.submit(other.__exit__, None, None, None).result()
    assert first.submit(blas).result() == {1}
"""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "3", "PYTHONPATH": str(Path(isogloss.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


@pytest.mark.slow
def test_files_are_the_same_bits_whatever_the_environment_says(study_file, tmp_path):
    """In processes of their own: how many threads BLAS has by itself is asked for when it is loaded."""
    study = study_file(companions={"measures": list(COMPANIONS)})
    said = []
    for workers, threads in ((1, ""), (2, ""), (1, "1")):
        env = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
        env |= {"PYTHONPATH": str(Path(isogloss.__file__).parents[1])}
        env |= {name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if threads}
        root = tmp_path / f"{workers}-{threads}"
        code = f"import isogloss; isogloss.run_study({str(study)!r}, out={str(root)!r}, workers={workers})"
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        files = [path for path in root.rglob("*") if path.suffix in (".parquet", ".csv", ".npy")]
        said.append({str(path.relative_to(root)): path.read_bytes() for path in files})
    first = said[0]
    assert "companions/starter/encoder/layer_04/en-de.parquet" in first
    for other in said[1:]:
        assert [name for name in first if first[name] != other.get(name)] == []
