"""CALIGN and COLAP among other measures: small panels over depth, a measure each."""

from __future__ import annotations

import math

import altair as alt
import polars as pl

from isogloss.metrics.registry import COMPANIONS
from isogloss.plots.theme import BLUE, MEAN, count, facet, numbers, shown, span
from isogloss.results import Results
from isogloss.study.analyses.correlations import at_first_clustering


def companion_panels(results: Results) -> alt.FacetChart:
    """Draw every measure over the layers, a panel each: pairs in grey, their mean, chance dashed.

    Parameters
    ----------
    results : Results
        Of one model and stack; of the measures of concepts those of the first clustering and theta are drawn.
    """
    pair = pl.concat_str(["source", "target"], separator=" – ").alias("pair")
    parts = []
    for measure, rows in at_first_clustering(results):
        theta = rows["theta"][0]
        name = measure.read_as + ("" if math.isnan(theta) else f", θ = {theta:g}")
        # above chance, chance is 0
        chance = pl.lit(0.0) if measure.above_chance else pl.col("chance")
        parts.append(rows.select(pl.lit(name).alias("measure"), "layer", pair, score=measure.column, chance=chance))
    for measure in COMPANIONS.values():
        rows = results.only(metric=measure.name)
        parts.append(rows.select(pl.lit(measure.title).alias("measure"), "layer", pair, "score", "chance"))
    table = pl.concat(parts).with_columns(pl.col("score", "chance").fill_nan(None).round(4))
    table = table.drop_nulls("score").with_columns(kind=pl.lit("pair"))
    means = table.group_by("measure", "layer", maintain_order=True).agg(pl.col("score", "chance").mean().round(4))
    means = means.with_columns(pair=pl.lit(MEAN), kind=pl.lit("mean"))
    base = alt.Chart().encode(
        alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
        alt.Y("score:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
    )
    main = base.transform_filter("datum.kind == 'mean'")
    layers = [
        base.transform_filter("datum.kind == 'pair'").mark_line(strokeWidth=0.7, opacity=0.35).encode(detail="pair:N"),
        main.mark_line(strokeWidth=2.2, color=BLUE),
        main.mark_circle(size=26, opacity=1, color=BLUE).encode(
            tooltip=["measure:N", "pair:N", "layer:O", *numbers("score", "chance")]
        ),
        # A measure without a chance level has a line that is not seen: an axis over nothing is an error to Vega.
        main.transform_calculate(level="isValid(datum.chance) ? datum.chance : datum.score")
        .mark_line(style="chance")
        .encode(y="level:Q", opacity=alt.condition("isValid(datum.chance)", alt.value(1), alt.value(0))),
    ]
    order = table["measure"].unique(maintain_order=True).to_list()
    falling = means.sort("score", descending=True, maintain_order=True)
    at = {row["measure"]: row for row in falling.unique("measure", keep="first").iter_rows(named=True)}
    peaks = [f"{name} at layer {at[name]['layer']} ({shown(at[name]['score'])})" for name in order]
    return facet(
        alt.LayerChart(layer=layers).properties(width=170, height=110),
        [*table.to_dicts(), *means.to_dicts()],
        "measure",
        order,
        free=("y",),
        title="The same states by other measures",
        note="grey: pairs; line: their mean; dashed: chance",
        description=f"{count(len(order), 'measure')} of {count(table['pair'].n_unique(), 'pair')} over "
        f"{span(table['layer'])}. The mean of the pairs is highest: {'; '.join(peaks)}.",
        columns=("measure", "layer", "pair", "score", "chance"),
    )
