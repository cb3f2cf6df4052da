"""BLAS held to one thread: how it parts a product among several decides the last bits."""

from __future__ import annotations

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
