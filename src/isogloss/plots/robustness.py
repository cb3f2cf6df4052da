"""The robustness map: where the ordering of layers, pairs or models is another than the study's."""

from __future__ import annotations

import altair as alt
import polars as pl

from isogloss.plots.charts import theme

_KINDS = {"rho_layers": "layers", "rho_pairs": "pairs", "rho_models": "models"}


def robustness_map(table: pl.DataFrame) -> alt.FacetChart:
    """Draw Spearman's correlation with the study's own setting: theta across, K down, a panel a kind of ordering.

    Parameters
    ----------
    table : polars.DataFrame
        From `isogloss.study.robustness`; `top` and `min_types` are averaged over.
    """
    kinds = [name for name in _KINDS if table[name].null_count() < table.height]
    long = table.unpivot(kinds, index=["theta", "n_concepts"], variable_name="kind", value_name="rho")
    long = long.group_by("kind", "theta", "n_concepts", maintain_order=True).agg(
        pl.col("rho").mean(), pl.col("rho").min().alias("least")
    )
    long = long.with_columns(pl.col("kind").replace(_KINDS), pl.col("rho").round(2).alias("text"))
    base = alt.Chart().encode(
        alt.X("theta:O", title="theta", axis=alt.Axis(labelAngle=0)),
        alt.Y("n_concepts:O", title="K", sort="descending"),
        tooltip=[
            "theta:O",
            "n_concepts:O",
            alt.Tooltip("rho:Q", format=".2f"),
            alt.Tooltip("least:Q", format=".2f"),
        ],
    )
    scale = alt.Scale(domain=[-1, 0, 1], range=["#c0392b", "#e8e8e8", "#2f6fb7"])
    dark = alt.condition("abs(datum.rho) > 0.6", alt.value("white"), alt.value("#1f2328"))
    layers = [
        base.mark_rect(cornerRadius=2).encode(alt.Color("rho:Q", scale=scale, legend=None)),
        base.mark_text(fontSize=10).encode(alt.Text("text:Q", format=".2f"), color=dark),
    ]
    chart = alt.LayerChart(layer=layers).properties(
        width=44 * long["theta"].n_unique(),
        height=30 * long["n_concepts"].n_unique(),
        data=alt.InlineData(values=long.to_dicts()),
    )
    heading = alt.TitleParams(
        "Does the ordering survive other settings?",
        subtitle="rank correlation of CALIGN above chance with the study's own; mean over top and min_types",
    )
    panels: alt.FacetChart = chart.facet(
        alt.Facet("kind:N", title=None, sort=list(_KINDS.values())), columns=3
    )
    done: alt.FacetChart = panels.properties(title=heading, config=theme())
    return done
