"""Numbers of threads: of forward passes, and of BLAS, where how it parts a product decides the last bits."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread in this block, so that no digit depends on the number of cores, workers or variables.

    The main thread gives BLAS its threads back.  Others, such as those of workers, do not: the limit is one for the
    whole process, and they do not know who else counts on it.
    """
    import scipy.linalg  # noqa: F401  has a BLAS of its own, and only what is loaded is held

    if threading.current_thread() is threading.main_thread():
        with threadpool_limits(1, "blas"):
            yield
    else:
        threadpool_limits(1, "blas")
        yield


def threads_of_passes() -> int:
    """Return the number of threads that forward passes on cores may use."""
    import joblib

    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdigit() else int(joblib.cpu_count(only_physical_cores=True))
