"""How the measures of a study go together: rank correlations over layers and pairs."""

from __future__ import annotations

from itertools import combinations

import polars as pl

from isogloss.metrics.registry import headlines
from isogloss.metrics.statistics.ranks import rank_correlation

COLUMNS: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "base_model": pl.String,
    "stack": pl.String,
    "layer": pl.Int32,
    "measure": pl.String,
    "source": pl.String,
    "target": pl.String,
    "score": pl.Float64,
    "chance": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n": pl.Int64,
    "signature": pl.String,
}
PLACE = ["model", "stack", "layer", "source", "target"]


def rank_correlations(results: pl.DataFrame, companions: pl.DataFrame) -> pl.DataFrame:
    """Return Spearman's correlation of every two measures over the layers and pairs that both have.

    Parameters
    ----------
    results : polars.DataFrame
        Of `isogloss.Results`: CALIGN (the mean of both directions, adjusted), its soft form and COLAP
        enter at their first theta.
    companions : polars.DataFrame
        ``companions.parquet`` of a study.

    Returns
    -------
    polars.DataFrame
        ``model, stack, first, second, rho, n``; rho is NaN where a measure does not vary.
    """
    parts = [companions.select(*PLACE, "measure", "score"), *clustered_measures(results)]
    wide = pl.concat(parts).pivot(on="measure", index=PLACE, values="score", maintain_order=True)
    rows = []
    for (model, stack), own in wide.group_by("model", "stack", maintain_order=True):
        for first, second in combinations([c for c in wide.columns if c not in PLACE], 2):
            both = own.select(first, second).drop_nulls().filter(pl.all_horizontal(pl.all().is_finite()))
            rho = rank_correlation(both[first], both[second])
            rows.append((model, stack, first, second, rho, both.height))
    texts = dict.fromkeys(("model", "stack", "first", "second"), pl.String)
    return pl.DataFrame(rows, schema={**texts, "rho": pl.Float64, "n": pl.Int64}, orient="row")


def clustered_measures(results: pl.DataFrame) -> list[pl.DataFrame]:
    """Return CALIGN, its soft form (both above chance) and COLAP at the first clustering and theta of a study.

    A table each, as far as it is there: where it was measured, ``measure`` and ``score``.
    """
    return [
        own.select(*PLACE, pl.lit(metric).alias("measure"), pl.col(column).alias("score"))
        for metric, column, own in first_clustering(results)
    ]


def first_clustering(results: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """Return the rows behind `clustered_measures`: a metric, the column it is read in, and its rows."""
    found = []
    for measure in headlines():
        own = results.filter(pl.col("metric") == measure.name)
        if own.height:
            names = ("method", "n_concepts", "seed", "theta")
            for name, value in zip(names, own.select(names).row(0), strict=True):
                own = own.filter(pl.col(name).eq_missing(pl.lit(value)) | (value != value))  # noqa: PLR0124  NaN
            found.append((measure.name, measure.column, own))
    return found
