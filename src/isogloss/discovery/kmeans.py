"""k-means by scikit-learn: one k-means++ start, Lloyd's iterations."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from isogloss.discovery.partition import Partition

log = logging.getLogger(__name__)


def fit(
    X: npt.NDArray[np.floating], n_concepts: int, *, seed: int, n_starts: int = 1, max_iterations: int = 100
) -> Partition:
    """Cluster (n, d) float32 rows; the best of `n_starts` starts by inertia.

    One thread: scikit-learn adds the threads' partial sums in the order they finish, so that more of them would make
    results differ from run to run.  Run spaces side by side instead (`run.workers` of a study).
    """
    with threadpool_limits(1), warnings.catch_warnings():
        # Fewer distinct rows than concepts is refused before; iterations may end early on purpose.
        warnings.simplefilter("ignore")
        model = KMeans(n_concepts, n_init=n_starts, max_iter=max_iterations, random_state=seed)
        # In float32 scikit-learn's distances cannot tell nearly equal states apart, and concepts end up empty.
        labels = model.fit(X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)).labels_
    n_found = len(np.unique(labels))
    if n_found < n_concepts:
        log.warning(
            "k-means found only %d of %d concepts: too many states are nearly equal", n_found, n_concepts
        )
    return Partition(np.asarray(labels, dtype=np.int32), None)
