"""Many tests at once: the false-discovery rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Index, Numbers, checked


@checked
def false_discovery(p_values: Numbers, *, n_tests: Index | None = None) -> npt.NDArray[np.float64]:
    """Return q-values: the smallest false-discovery rate at which each test would be called significant.

    Benjamini and Hochberg, *Controlling the False Discovery Rate*, JRSS B 57, 1995: ``q_(i) = min over j >= i of
    p_(j) m / j``, over the m tests whose p-value is not NaN; NaN stays NaN.

    Parameters
    ----------
    p_values : array (n,)
    n_tests : int, optional
        m, where there were more tests than are given: all others have p = 1.

    Examples
    --------
    >>> false_discovery([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    if len(tested):
        order = tested[np.argsort(p[tested], kind="stable")]
        raised = p[order] * (n_tests or len(order)) / np.arange(1, len(order) + 1)
        q[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return q


def with_q_values(table: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Return the table with ``q_value`` from its ``p_value``, group by group; see `false_discovery`."""
    if table.is_empty():
        return table
    index = pl.int_range(table.height).alias("i")
    groups = table.with_columns(index).group_by(keys, maintain_order=True).agg("i", "p_value")
    q = np.full(table.height, np.nan)
    for places, p in zip(groups["i"].to_list(), groups["p_value"].to_list(), strict=True):
        q[places] = false_discovery(np.array(p, dtype=np.float64))
    return table.with_columns(pl.Series("q_value", q))
