"""What a discovery method returns, and how many threads it uses."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Partition(NamedTuple):
    """(n,) int32 labels 0 .. k-1, all in use, and the (n - 1, 4) linkage matrix of methods that have one."""

    labels: npt.NDArray[np.int32]
    tree: npt.NDArray[np.float64] | None


def n_threads(wanted: int | None) -> int:
    """Return the number of threads to use: what is wanted, what worker processes are allowed, or all cores."""
    if wanted is not None:
        return wanted
    allowed = os.environ.get("NUMBA_NUM_THREADS", "")  # joblib sets it for the processes it starts
    return int(allowed) if allowed.isdigit() and int(allowed) else len(os.sched_getaffinity(0))
