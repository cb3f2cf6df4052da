"""Runs a study in child processes and kills them: at a given file operation, or after a given time.

    python faults.py STUDY.yaml OUT SEED

The folder OUT is worked on again and again, and the process killed at another operation each time, until a run gets to
its end; printed is the number of kills.  Everything is imported once, here, and every run is a fork of this process.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import polars  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401

import isogloss.study  # noqa: F401
from isogloss import run_study
from isogloss.extraction import passes

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.truncate", "os.rmdir", "os.posix_fallocate", "shutil.rmtree"}


def die_at(operation: int) -> None:
    """Kill this process just before its n-th operation on files; a half-written file counts as well."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa+")
        if writes or event in EVENTS:
            count()

    sys.addaudithook(watch)
    plain_write, plain_sync = os.pwrite, os.fsync

    def write(file: int, data: memoryview, place: int) -> int:
        half = len(data) // 2
        if half:
            plain_write(file, data[:half], place)
        count()
        return half + plain_write(file, data[half:], place + half)

    def sync(file: int) -> None:
        count()
        plain_sync(file)

    os.pwrite, os.fsync = write, sync  # type: ignore[assignment]


def main(study: str, out: str, seed: int) -> None:
    rng = random.Random(seed)
    passes.WINDOW = 16
    passes._SAVE_LINES = 5
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  the process ends with it
            if seed > 0:
                die_at(rng.randrange(20, 600))
            run_study(study, out=out, workers=1)
            os._exit(0)
        if seed < 0:  # by time
            time.sleep(rng.uniform(0.2, 2.5) + 0.2 * kills)  # a slow machine gets there too
            os.kill(child, signal.SIGKILL)
        rng.random()  # the child's draw is not ours
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            kills += 1
        elif status:
            sys.exit(f"run {kills} failed with {status}")
        else:
            break
    print(kills)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
