"""What a discovery method returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Partition(NamedTuple):
    """(n,) int32 labels 0 .. k-1, all in use, and the (n - 1, 4) linkage matrix of methods that have one."""

    labels: npt.NDArray[np.int32]
    tree: npt.NDArray[np.float64] | None
