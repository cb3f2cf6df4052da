"""Charts of a pre-training run: its loss, and what its models find on held-out text."""

from __future__ import annotations

import altair as alt
import polars as pl

from isogloss.plots.theme import PALETTE, count, facet, finish, shown

_HEIGHT = 210


def loss_curve(curve: pl.DataFrame) -> alt.LayerChart:
    """Draw the loss over the steps, single lines beside pairs; `curve` as `Pretrained.curve` has it."""
    kinds = {"loss": "single lines", "loss_pairs": "pairs of translations"}
    long = curve.unpivot(list(kinds), index=["step", "seconds"], variable_name="kind", value_name="value")
    long = long.drop_nulls().with_columns(pl.col("kind").replace(kinds))
    loss, seconds = alt.Tooltip("value:Q", title="loss", format=".3f"), alt.Tooltip("seconds:Q", format=".0f")
    base = alt.Chart().encode(
        alt.X("step:Q", title="step"),
        alt.Y("value:Q", title="loss", scale=alt.Scale(zero=False)),
        alt.Color("kind:N", scale=alt.Scale(range=list(PALETTE[:2])), title=None),
        tooltip=["kind:N", "step:Q", loss, seconds],
    )
    layers = [base.mark_line(strokeWidth=1.6), base.mark_circle(size=12)]
    ends = [rows.sort("step").row(-1, named=True) for _, rows in long.group_by("kind", maintain_order=True)]
    last = ", ".join(f"{row['kind']} {shown(row['value'])}" for row in ends)
    return finish(
        alt.LayerChart(layer=layers).properties(width=420, height=_HEIGHT),
        long.to_dicts(),
        title="Loss of pre-training",
        note="nats per masked piece, mean of 100 steps",
        description=f"Loss of pre-training over {max(long['step'])} steps; at the end {last}.",
        columns=("step", "seconds", "kind", "value"),
    )


def retrieval_curves(table: pl.DataFrame) -> alt.FacetChart:
    """Draw P@1 over the layers, a line a model (mean of the ordered pairs), a panel each for cosine and CSLS.

    `table` as `tools.pretrain.judge.sentence_retrieval` has it, with a column ``model``.
    """
    models = table["model"].unique(maintain_order=True).to_list()
    means = table.group_by("model", "layer", maintain_order=True).agg(pl.col("cosine", "csls", "chance").mean())
    long = means.unpivot(
        ["cosine", "csls"], index=["model", "layer", "chance"], variable_name="nearest by", value_name="precision"
    ).with_columns(pl.col("nearest by").replace("csls", "CSLS"))
    base = alt.Chart().encode(alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)))
    line = base.encode(
        alt.Y("precision:Q", title="share found", scale=alt.Scale(domainMin=0), axis=alt.Axis(format="%")),
        alt.Color("model:N", sort=models, scale=alt.Scale(domain=models, range=list(PALETTE)), title=None),
        tooltip=["model:N", "layer:O", alt.Tooltip("precision:Q", format=".1%"), alt.Tooltip("chance:Q", format=".1%")],
    )
    layers = [
        line.mark_line(strokeWidth=2),
        line.mark_circle(size=30, opacity=1),
        base.mark_line(style="chance").encode(y="chance:Q"),
    ]
    chart = alt.LayerChart(layer=layers).properties(width=260, height=_HEIGHT)
    best = long.sort("precision", descending=True, maintain_order=True).row(0, named=True)
    return facet(
        chart,
        long.to_dicts(),
        "nearest by",
        ["cosine", "CSLS"],
        across=2,
        title="Sentence retrieval, P@1",
        note="is the nearest sentence the translation; mean of the pairs; dashed: chance",
        description=f"Share of sentences whose nearest is their translation, for {count(len(models), 'model')}; "
        f"highest for {best['model']} at layer {best['layer']} by {best['nearest by']} ({best['precision']:.2f}, "
        f"chance {best['chance']:.2f}).",
        columns=("model", "layer", "nearest by", "precision", "chance"),
    )
