"""Differences of two models of one study, estimate by estimate, on the same resamples of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import checked
from isogloss.errors import InputError, UsageError, unknown
from isogloss.metrics.registry import MEASURES
from isogloss.metrics.statistics.bootstrap import paired_difference
from isogloss.metrics.statistics.multiple import with_q_values
from isogloss.results import above_chance
from isogloss.store import StudyLayout, read_table

_SAME = ("stack", "layer", "metric", "source", "target", "method", "n_concepts", "seed", "theta")
_KEYS = ["stack", "metric", "of", "method", "n_concepts", "seed", "theta"]
_READ = ["model", *_SAME, "score", "chance", "draws"]
DIFFERENCES: dict[str, Any] = {
    "stack": pl.String,
    "layer": pl.Int64,
    "metric": pl.String,
    "of": pl.String,
    "source": pl.String,
    "target": pl.String,
    "method": pl.String,
    "n_concepts": pl.Int64,
    "seed": pl.Int64,
    "theta": pl.Float64,
    **dict.fromkeys(("first", "second", "difference", "ci_low", "ci_high", "p_value"), pl.Float64),
}


@checked
def compare(root: str | Path, first: str, second: str) -> pl.DataFrame:
    """Return second - first for every estimate that both models have, with paired intervals.

    The concepts of both are taken as they are; what varies is the choice of sentences, the same one for both.

    Parameters
    ----------
    root : str or Path
        A finished study folder.
    first, second : str
        Names of models, e.g. a base and what was fine-tuned from it.

    Returns
    -------
    polars.DataFrame
        ``stack, layer, metric, of, source, target, method, n_concepts, seed, theta, first, second, difference, ci_low,
        ci_high, p_value, q_value``.  Every metric has a row ``of`` its score, and CALIGN also one of its adjusted
        score: chance levels are taken as they are, and they too may change between models.  The companion measures
        with draws stand below.  The q-values are over the layers and pairs of a metric and theta.

    Raises
    ------
    UsageError
        If a model is unknown, both are one, or the study was run without a bootstrap.
    InputError
        If the folder has no results.
    """
    files = StudyLayout(Path(root).resolve()).find_estimates()
    if not files:
        raise InputError(f"{root} has no results to compare. Run the study first.")
    return compare_models(read_estimates(files), first, second)


def read_estimates(files: Sequence[Path]) -> pl.DataFrame:
    """Read what `compare_models` takes from files of measuring steps."""
    return pl.concat([read_table(path, _READ).select(*_READ) for path in files])


def compare_models(table: pl.DataFrame, first: str, second: str) -> pl.DataFrame:
    """Return `compare` of two models of a table of `read_estimates`."""
    models = table["model"].unique().to_list()
    for name in (first, second):
        if name not in models:
            raise unknown("model", name, models)
    if first == second:
        raise UsageError(f"Two different models are compared; got '{first}' twice.")
    if table["draws"].null_count() == table.height:
        raise UsageError("The study was run without a bootstrap: set metrics.n_bootstrap and run it again.")
    # NaN, the theta of measures that have none, is no key of a join
    table = table.with_columns(pl.col("theta").fill_nan(None)).drop_nulls("draws")
    columns = [*_SAME, "score", "chance", "draws"]
    both = (
        table.filter(pl.col("model") == first)
        .select(columns)
        .join(
            table.filter(pl.col("model") == second).select(columns),
            on=list(_SAME),
            suffix="_second",
            nulls_equal=True,
            maintain_order="left",
        )
    )
    rows = []
    for row in both.iter_rows(named=True):
        for of in ("score", "adjusted") if MEASURES[row["metric"]].above_chance else ("score",):
            before, after = (_values(row, side, of) for side in ("", "_second"))
            difference = paired_difference(before[0], after[0], (before[1:], after[1:]))
            place = {name: row[name] for name in _SAME} | {"of": of}
            rows.append(place | {"first": float(before[0]), "second": float(after[0])} | vars(difference))
    result = pl.DataFrame(rows, schema=DIFFERENCES)
    return with_q_values(result, _KEYS).select(*DIFFERENCES, "q_value")


def _values(row: dict[str, Any], side: str, of: str) -> npt.NDArray[np.float64]:
    """Return a score and its draws, or both above chance."""
    values = np.array([row[f"score{side}"], *row[f"draws{side}"]], dtype=np.float64)
    if of == "score":
        return values
    return above_chance(values, row[f"chance{side}"])
