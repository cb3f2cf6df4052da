"""Nearest neighbours of many clusters at once by a torch device, e.g. a GPU; float64 on the CPU still decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from isogloss.compiled import compiled
from isogloss.discovery.ward.forest import Forest, Ints, offer, squared_height, trust_lists
from isogloss.discovery.ward.scan import Scanner, Singles, clear_all, fetch
from isogloss.errors import UsageError

ROWS, COLUMNS = 4096, 32768
_UPLOADED = 16384  # clusters sent to the device at once
_SPARE = 2  # candidates asked of the device, in lists' lengths


class DeviceScanner(Scanner):
    """Makes the lists of `Scanner`: the device names the candidates of the least lower bounds, the CPU measures them.

    A list is the true one if its last value is below the bounds of all that was not named; where it is not (many
    clusters equally near, up to the rounding of float32), the CPU makes it anew.  The device keeps d + 2
    float32 values a cluster.
    """

    def __init__(self, forest: Forest, *, device: str, threads: int, block: tuple[int, int] | None = None) -> None:
        super().__init__(forest, threads=threads)
        try:
            self.device = torch.device(device)
            self.values = torch.empty(forest.centroids.shape, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"The device '{device}' cannot hold the centroids, or is none: {str(error).splitlines()[0]}"
            ) from None
        n = len(forest.weights)
        self.block = block or (ROWS, COLUMNS)
        self.norms = torch.empty(n, device=self.device)
        self.inverse = torch.empty(n, device=self.device)
        self.sent = np.full(n, -1, np.int64)  # the node whose centroid the device has
        self.n_anew = 0

    def __enter__(self) -> Self:
        super().__enter__()
        self.matmul = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # the bounds do not hold for TF32
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self.matmul)
        super().__exit__()

    def __call__(self, wanted: Ints, active: Ints) -> None:
        """See `Scanner`."""
        forest, k = self.forest, self.forest.lists.shape[1]
        self._send(active)
        n_asked = min(_SPARE * k, len(active) - 1)
        clear_all(forest, wanted)
        sure = np.zeros(len(wanted), bool)
        tasks = []
        for begin, near, least in self._candidates(wanted, active, n_asked):
            part = slice(begin, begin + len(near))
            arguments = (forest, wanted[part], near, least, n_asked == len(active) - 1, sure[part])
            tasks.append(self.pool.submit(_measure, *arguments))
        for task in tasks:
            task.result()
        self.multiplied += len(wanted) * len(active)
        trust_lists(forest, wanted, len(active) - 1 <= k)
        anew = wanted[~sure]
        self.n_anew += len(anew)
        if len(anew):
            super().__call__(anew, active)

    def summary(self) -> str:
        """See `Scanner`."""
        return f"{super().summary()}, {self.n_anew} lists made anew by the CPU"

    def _send(self, active: Ints) -> None:
        """Bring the device's copy up to date."""
        forest = self.forest
        stale = active[self.sent[active] != forest.nodes[active]]
        for p in range(0, len(stale), _UPLOADED):
            slots = stale[p : p + _UPLOADED]
            values = np.empty((len(slots), forest.centroids.shape[1]), np.float32)
            facts = np.empty((2, len(slots)), np.float32)
            fetch(forest, slots, values, facts[0], facts[1], self.slack, self.floor)
            at = torch.from_numpy(slots.astype(np.int64)).to(self.device)
            self.values[at] = torch.from_numpy(values).to(self.device)
            self.norms[at], self.inverse[at] = torch.from_numpy(facts).to(self.device)
        self.sent[stale] = forest.nodes[stale]

    def _candidates(self, wanted: Ints, active: Ints, n_asked: int) -> Iterator[tuple[int, Ints, Singles]]:
        """Yield, for some rows at a time: the first, and (rows, n_asked) slots and lower bounds of squared heights."""
        n_rows, n_columns = self.block
        slots = torch.from_numpy(active.astype(np.int64)).to(self.device)
        for begin in range(0, len(wanted), n_rows):
            rows = torch.from_numpy(wanted[begin : begin + n_rows].astype(np.int64)).to(self.device)
            x, norms, inverse = self.values[rows], self.norms[rows, None], self.inverse[rows, None]
            best = torch.full((len(rows), n_asked), torch.inf, device=self.device)
            names = torch.full((len(rows), n_asked), -1, dtype=torch.int64, device=self.device)
            for columns in torch.split(slots, n_columns):
                least = torch.addmm(self.norms[columns][None], x, self.values[columns].T, alpha=-2)
                least = (least + norms) / (inverse + self.inverse[columns][None])
                least[rows[:, None] == columns[None]] = torch.inf
                near, at = least.topk(min(n_asked, len(columns)), largest=False)
                joined, named = torch.cat([best, near], 1), torch.cat([names, columns[at]], 1)
                best, at = joined.topk(n_asked, largest=False)
                names = named.gather(1, at)
            yield begin, names.int().cpu().numpy(), (2 * best).cpu().numpy()


@compiled
def _measure(
    forest: Forest, slots: Ints, near: Ints, least: Singles, complete: bool, sure: npt.NDArray[np.bool_]
) -> None:
    """Measure candidates, keep the nearest, and say of which slots the list is certainly the true one."""
    last = forest.lists.shape[1] - 1
    for r in range(len(slots)):
        bound = 0.0
        for t in range(near.shape[1]):
            j = near[r, t]
            if j >= 0:
                offer(forest, slots[r], j, squared_height(forest, slots[r], j), forest.nodes[j])
                bound = max(bound, least[r, t])
        sure[r] = complete or forest.values[slots[r], last] < bound * (1 - 2.0**-20)
