"""How the measures of a study go together: rank correlations over layers and pairs."""

from __future__ import annotations

from itertools import combinations

import polars as pl

from isogloss.metrics.measure import Measure
from isogloss.metrics.registry import headlines
from isogloss.metrics.statistics.ranks import rank_correlation
from isogloss.results import Results

PLACE = ["model", "stack", "layer", "source", "target"]


def rank_correlations(results: Results) -> pl.DataFrame:
    """Return Spearman's correlation of every two measures over the layers and pairs that both have.

    Parameters
    ----------
    results : Results
        Companion measures, and those of `at_first_clustering`: CALIGN and its soft form above chance, COLAP.

    Returns
    -------
    polars.DataFrame
        ``model, stack, first, second, rho, n``; rho is NaN where a measure does not vary.
    """
    wide = measured(results).pivot(on="measure", index=PLACE, values="score", maintain_order=True)
    names = [column for column in wide.columns if column not in PLACE]
    rows = []
    for (model, stack), places in wide.group_by("model", "stack", maintain_order=True):
        for first, second in combinations(names, 2):
            both = places.select(first, second).drop_nulls()
            both = both.filter(pl.all_horizontal(pl.all().is_finite()))
            rho = rank_correlation(both[first], both[second])
            rows.append((model, stack, first, second, rho, both.height))
    texts = dict.fromkeys(("model", "stack", "first", "second"), pl.String)
    return pl.DataFrame(rows, schema={**texts, "rho": pl.Float64, "n": pl.Int64}, orient="row")


def measured(results: Results) -> pl.DataFrame:
    """Return a row a measure and place (model, stack, layer, pair): ``measure`` and the ``score`` it is read as."""
    companions = results.companions.select(*PLACE, pl.col("metric").alias("measure"), "score")
    headline = [
        rows.select(*PLACE, pl.lit(measure.name).alias("measure"), pl.col(measure.column).alias("score"))
        for measure, rows in at_first_clustering(results)
    ]
    return pl.concat([companions, *headline])


def at_first_clustering(results: Results) -> list[tuple[Measure, pl.DataFrame]]:
    """Return the headline measures that are there, each with its rows at the first clustering and theta."""
    names = ("method", "n_concepts", "seed", "theta")
    chosen = []
    for measure in headlines():
        rows = results.only(metric=measure.name)
        if rows.height:
            for name, value in zip(names, rows.select(names).row(0), strict=True):
                # NaN: the theta of a measure that has none
                rows = rows.filter(pl.col(name).eq_missing(pl.lit(value)) | (value != value))  # noqa: PLR0124
            chosen.append((measure, rows))
    return chosen
