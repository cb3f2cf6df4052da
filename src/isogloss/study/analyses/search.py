"""The best layer of a study, with what it takes to believe it: everything that was looked at is in its p-value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.metrics.registry import ALIGNMENT, MEASURES, OVERLAP, SOFT_ALIGNMENT
from isogloss.metrics.statistics.search import corrected_p, least_seen, simultaneous_intervals, told_apart
from isogloss.results import above_chance
from isogloss.store import read_table
from isogloss.study.sheet import DRAWS, MEASURED

Floats = npt.NDArray[np.float64]
Groups = Sequence[npt.NDArray[np.int64]] | npt.NDArray[np.int64]

SUMMED_UP = (ALIGNMENT, SOFT_ALIGNMENT, OVERLAP)
# of one search: the layers that a reader compares
SEARCH = ("model", "base_model", "stack", "method", "n_concepts", "seed", "metric", "theta")
_MEANS = ("score", "chance", "chance_words", "chance_sentence", "adjusted")
_NULLS = ("words", "sentence")
SURE = 0.05
# concepts that count, a direction and pair: of fewer no finding is made
FEWEST = 10
# resamples hold the concepts and what matches: on planted truth differences of new texts vary up to 1.2 times as much
_WIDENED = 1.2
BY_LAYER: dict[str, Any] = {
    **dict.fromkeys(("model", "base_model", "stack", "method"), pl.String),
    "n_concepts": pl.Int32,
    "seed": pl.Int64,
    "metric": pl.String,
    "theta": pl.Float64,
    "layer": pl.Int32,
    "n_pairs": pl.Int64,
    "n": pl.Int64,
    **dict.fromkeys((*_MEANS, "p_search", "seen_from", "ci_low", "ci_high"), pl.Float64),
    **dict.fromkeys(("above", "best", "below_best"), pl.Boolean),
    **dict.fromkeys(("most", "least"), pl.String),
    "pairs_apart": pl.Boolean,
}


def read_drawn(files: Iterable[Path]) -> pl.DataFrame:
    """Read the estimates of measuring steps with their draws."""
    columns = [*MEASURED, *DRAWS]
    return pl.concat([read_table(path, columns).select(columns) for path in files])


def with_search(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table of `read_drawn` with ``p_search``: p-values corrected over all rows of a metric.

    These are all models, stacks, layers, pairs, numbers of concepts, seeds and thetas: what a reader may have looked
    at.  NaN for measures without draws of a null.
    """
    p = np.full(table.height, np.nan)
    for _, rows in table.with_row_index("i").group_by("metric", maintain_order=True):
        if any(rows[f"null_{null}"].null_count() < rows.height for null in _NULLS):
            p[rows["i"].to_numpy()] = _Drawn(rows).p_values(np.arange(rows.height)[:, None])
    return table.with_columns(pl.Series("p_search", p))


def by_layer(table: pl.DataFrame) -> pl.DataFrame:
    """Return the mean over pairs at every layer, with what is needed to name the best one.

    Parameters
    ----------
    table : polars.DataFrame
        Of `read_drawn`.

    Returns
    -------
    polars.DataFrame
        A row a layer of every model, stack, clustering, theta and measure (`SUMMED_UP`), with the columns of
        `BY_LAYER`; docs/study-folder.md says what they mean.
    """
    parts = [_of_metric(table.filter((pl.col("metric") == name) & pl.col("score").is_not_nan())) for name in SUMMED_UP]
    order = [*SEARCH[:-2], "metric", "theta", "layer"]
    rows = pl.concat([pl.DataFrame(schema=BY_LAYER), *parts])
    return rows.sort(order, maintain_order=True, nulls_last=True)


def _of_metric(table: pl.DataFrame) -> pl.DataFrame:
    if table.is_empty():
        return pl.DataFrame(schema=BY_LAYER)
    drawn = _Drawn(table)
    places = table.with_row_index("i").group_by(*SEARCH, "layer", maintain_order=True)
    means = places.agg("i", pl.len().alias("n_pairs"), pl.col("n").sum(), pl.col(*_MEANS).mean())
    groups = [np.array(rows) for rows in means["i"].to_list()]
    low, high = drawn.ends(groups)
    columns = {"p_search": drawn.p_values(groups), "seen_from": drawn.seen_from(groups), "ci_low": low, "ci_high": high}
    means = means.drop("i").with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    alignment = MEASURES[table["metric"][0]].above_chance
    # unknown without draws of a null or resamples, and of a handful of concepts (n is of both directions)
    known = pl.col("p_search").is_not_nan() & pl.col("ci_low").is_not_nan()
    known &= pl.col("n") >= 2 * FEWEST * pl.col("n_pairs")
    above = pl.when(known).then((pl.col("p_search") < SURE) & (pl.col("ci_low") > pl.col("chance")))
    means = means.with_columns(above=above if alignment else pl.lit(None, pl.Boolean))
    facts: list[dict[str, Any]] = [{} for _ in groups]
    for _, layers in means.with_row_index("i").group_by(*SEARCH, maintain_order=True):
        at = layers["i"].to_list()
        candidates = layers["above"].fill_null(False).to_numpy()
        for i, fact in zip(at, _rivals(drawn, [groups[i] for i in at], candidates), strict=True):
            facts[i] = fact
    named = ("best", "below_best", "most", "least", "pairs_apart")
    more = pl.DataFrame(facts, schema={name: BY_LAYER[name] for name in named})
    return pl.concat([means, more], how="horizontal").select(pl.col(name).cast(kind) for name, kind in BY_LAYER.items())


def _rivals(
    drawn: _Drawn, groups: Sequence[npt.NDArray[np.int64]], above: npt.NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return, of the layers of one search, which is the best, which lie below it, and its pairs that differ most.

    The best is the highest of those above chance, and the highest of all where none is.
    """
    values, draws = drawn.read_as(groups)
    # rounded: of equal layers the first
    best = int(np.argmax(np.where(above | ~above.any(), np.round(values, 10), -np.inf)))
    there = np.isfinite(draws).any()
    below = told_apart(values, draws, widened=_WIDENED)[best] if there else [None] * len(groups)
    facts: list[dict[str, Any]] = [{"best": i == best, "below_best": x} for i, x in enumerate(below)]
    pairs = groups[best]
    if len(pairs) > 1:
        values, draws = drawn.read_as(pairs[:, None])
        names = drawn.table.select(pl.concat_str("source", "target", separator=" – "))[pairs].to_series()
        most, least = int(np.argmax(values)), int(np.argmin(values))
        apart = bool(told_apart(values, draws, widened=_WIDENED)[most, least]) if there else None
        facts[best] |= {"most": names[most], "least": names[least], "pairs_apart": apart}
    return facts


class _Drawn:
    """Estimates of one metric as arrays, and means over groups of their rows."""

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        self._measure = MEASURES[table["metric"][0]]

    def p_values(self, groups: Groups) -> Floats:
        """Return the corrected p-values (g,) of the means of groups, the larger of both nulls: both have to be refused.

        Above chance is counted from each null's own chance level, pair by pair.
        """
        return self._of_nulls(groups, corrected_p)

    def seen_from(self, groups: Groups) -> Floats:
        """Return how far above chance (g,) the means of groups have to be for `p_values` to be below 0.05."""
        return self._of_nulls(groups, lambda _scores, nulls: least_seen(nulls, level=SURE))

    def _of_nulls(self, groups: Groups, formula: Callable[[Floats, Floats], Floats]) -> Floats:
        """Return the larger of a formula (g,) of both nulls: of the means of scores and of draws, above chance."""
        values = np.full((len(_NULLS), len(groups)), np.nan)
        for i, (scores, draws) in enumerate(self._above_nulls):
            if draws.size:
                values[i] = formula(_means(scores, groups)[:, 0], _means(draws, groups))
        # NaN where one of them is
        return np.asarray(values.max(axis=0))

    @cached_property
    def _above_nulls(self) -> list[tuple[Floats, Floats]]:
        """Of each null the scores (r, 1) and its draws (r, n) above its chance level."""
        scores, both = self._column("score"), []
        for null in _NULLS:
            chance = self._column(f"chance_{null}")[:, None]
            both.append((above_chance(scores[:, None], chance), above_chance(self._array(f"null_{null}"), chance)))
        return both

    def ends(self, groups: Groups) -> tuple[Floats, Floats]:
        """Return the ends (g,), (g,) of intervals of the mean scores that hold for all groups at once."""
        if not self._draws.size:
            return np.full(len(groups), np.nan), np.full(len(groups), np.nan)
        scores = _means(self._column("score")[:, None], groups)[:, 0]
        low, high = simultaneous_intervals(scores, _means(self._draws, groups))
        least, most = self._measure.range
        return low.clip(least, most), high.clip(least, most)

    def read_as(self, groups: Groups) -> tuple[Floats, Floats]:
        """Return the means (g,) of groups, CALIGN above chance, and those of their resamples (g, n + 20)."""
        values, draws = self._read_as
        return _means(values, groups)[:, 0], _means(draws, groups)

    @cached_property
    def _draws(self) -> Floats:
        return self._array("draws")

    @cached_property
    def _read_as(self) -> tuple[Floats, Floats]:
        """What is read of every row (r, 1), and of its resamples (r, n + 20)."""
        if not self._measure.above_chance:
            return self._column("score")[:, None], self._draws
        return self._column("adjusted")[:, None], above_chance(self._draws, self._column("chance")[:, None])

    def _column(self, name: str) -> Floats:
        return self.table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    def _array(self, name: str) -> Floats:
        """Return draws (r, n), NaN in rows that have none or others than most; n is 0 if no row has any."""
        numbers = self.table[name].list.len()
        usual = numbers.drop_nulls().mode().max()
        n = int(usual) if isinstance(usual, int) else 0
        result = np.full((self.table.height, n), np.nan)
        if n:
            there = (numbers == n).fill_null(False)
            result[there.to_numpy()] = self.table[name].filter(there).explode().to_numpy().reshape(-1, n)
        return result


def _means(values: Floats, groups: Groups) -> Floats:
    """Return (g, n) means of the rows (r, n) of every group."""
    return np.array([values[rows].mean(axis=0) for rows in groups]).reshape(len(groups), values.shape[1])
