"""CALIGN and COLAP among other measures: small panels over depth, a measure each."""

from __future__ import annotations

import math

import altair as alt
import polars as pl

from isogloss.plots.charts import PALETTE, theme

_CLUSTERED = {
    "calign_mean": ("CALIGN, above chance", "adjusted"),
    "calign_soft_mean": ("CALIGN soft, above chance", "adjusted"),
    "colap": ("COLAP", "score"),
}


def companion_panels(results: pl.DataFrame, companions: pl.DataFrame) -> alt.FacetChart:
    """Draw every measure over the layers, a panel each: pairs in grey, their mean, chance dashed.

    Parameters
    ----------
    results, companions : polars.DataFrame
        Rows of one model and stack; of the clustered measures those of the first clustering and theta are drawn.
    """
    rows = []
    for metric, (title, column) in _CLUSTERED.items():
        own = results.filter(pl.col("metric") == metric)
        if own.height:
            first, shown = own.row(0, named=True), title
            for name in ("method", "n_concepts", "seed"):
                own = own.filter(pl.col(name) == first[name])
            if not math.isnan(first["theta"]):
                own = own.filter(pl.col("theta") == first["theta"])
                shown = f"{title} ({first['theta']:g})"
            chance = pl.col("chance") if metric == "colap" else pl.lit(0.0)
            pair = pl.concat_str(["source", "target"], separator="–")
            rows.append(
                own.select(
                    "layer", pair.alias("pair"), pl.lit(shown).alias("measure"), score=column, chance=chance
                )
            )
    names = companions["measure"].unique(maintain_order=True).to_list()
    pair = pl.concat_str(["source", "target"], separator="–")
    rows.append(companions.select("layer", pair.alias("pair"), "measure", "score", "chance"))
    table = pl.concat(rows).with_columns(pl.col("score", "chance").fill_nan(None)).drop_nulls("score")
    means = table.group_by("measure", "layer", maintain_order=True).agg(pl.col("score", "chance").mean())
    base = alt.Chart().encode(
        alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
        alt.Y("score:Q", title=None, scale=alt.Scale(zero=False)),
    )
    tips = ["pair:N", "layer:O", alt.Tooltip("score:Q", format=".3f"), alt.Tooltip("chance:Q", format=".3f")]
    pairs = base.transform_filter("isValid(datum.pair)").mark_line(strokeWidth=0.7, opacity=0.35)
    main = base.transform_filter("!isValid(datum.pair)")
    layers = [
        pairs.encode(detail="pair:N"),
        main.mark_line(strokeWidth=2.2, color=PALETTE[0]),
        main.mark_circle(size=26, opacity=1, color=PALETTE[0]).encode(tooltip=tips),
        main.mark_line(style="chance").encode(y="chance:Q"),
    ]
    data = [*table.to_dicts(), *means.with_columns(pair=pl.lit(None, dtype=pl.String)).to_dicts()]
    there = table["measure"].unique(maintain_order=True).to_list()
    order = [name for name in there if name not in names] + [name for name in names if name in there]
    chart = alt.LayerChart(layer=layers).properties(width=170, height=110, data=alt.InlineData(values=data))
    panels = chart.facet(alt.Facet("measure:N", title=None, sort=order), columns=4)
    heading = alt.TitleParams(
        "The same states by other measures", subtitle="grey: pairs; line: their mean; dashed: chance"
    )
    done: alt.FacetChart = panels.resolve_scale(y="independent").properties(title=heading, config=theme())
    return done
