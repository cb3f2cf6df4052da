"""What concepts are made of: which kinds of labels they take, and which labels are shared, over depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from isogloss.metrics.registry import ALIGNMENT, DIRECTED, MEASURES, OVERLAP
from isogloss.plots.theme import BLUE, ORANGE, against, count, facet, numbers, span

_KINDS = {
    "all": "any label",
    "upos": "part of speech",
    "feats": "morphology",
    "ner": "entity",
    "sentiment": "sentiment of the sentence",
    "casing": "casing",
    "prefix": "prefix",
    "suffix": "suffix",
    "position": "first or last word",
    "frequency": "frequency",
}
# what splits call the two; directions are pooled
_MEASURES = {DIRECTED: MEASURES[ALIGNMENT].title, OVERLAP: MEASURES[OVERLAP].title}
_MOST, _LEAST = 12, 3  # panels; concepts that a label with a panel has in a pair, on average
_NUMBERS = ("score", "chance", "ci_low", "ci_high")
_WIDTH, _HEIGHT = 170, 110


def label_panels(scores: pl.DataFrame) -> alt.FacetChart:
    """Draw the share of concepts that take a label over the layers, a panel a kind: languages grey, chance dashed.

    Parameters
    ----------
    scores : polars.DataFrame
        The ``scores`` of `FinishedStudy.labels`, of one clustering of one model; spaces of one language count.
    """
    alone = (pl.col("measure") == "alignment") & ~pl.col("space").str.contains("+", literal=True)
    families = ~pl.col("kind").str.contains(":", literal=True)  # prefix, not prefix:2
    table = scores.filter(alone & families).with_columns(pl.col("kind").replace(_KINDS).alias("panel"))
    table = table.select("panel", "layer", "space", *_NUMBERS, pl.col("n")).fill_nan(None).drop_nulls("score")
    table = table.with_columns(pl.col(*_NUMBERS).round(4), kind=pl.lit("space"))
    means = table.group_by("panel", "layer", maintain_order=True).agg(pl.col(*_NUMBERS).mean().round(4))
    means = means.with_columns(space=pl.lit("mean of the languages"), kind=pl.lit("mean"))
    there = table["panel"].unique(maintain_order=True).to_list()
    order = [x for x in _KINDS.values() if x in there] + sorted(set(there) - set(_KINDS.values()))
    base = _base()
    spaces = base.transform_filter("datum.kind == 'space'").mark_line(strokeWidth=0.7, opacity=0.35)
    main = base.transform_filter("datum.kind == 'mean'")
    layers = [
        main.mark_area(opacity=0.14, color=BLUE).encode(_y("ci_low"), y2="ci_high:Q"),
        spaces.encode(_y("score"), detail="space:N"),
        main.mark_line(strokeWidth=2.2, color=BLUE).encode(_y("score")),
        main.mark_circle(size=26, opacity=1, color=BLUE).encode(_y("score"), tooltip=_tooltip("panel", "label")),
        main.mark_line(style="chance", color=BLUE).encode(_y("chance")),
    ]
    best = means.sort("score", descending=True, maintain_order=True).row(0, named=True)
    spaces_there = count(table["space"].n_unique(), "language")
    return _panels(
        layers,
        [*table.to_dicts(), *means.to_dicts()],
        order,
        title="What concepts are made of",
        note="share of concepts with a label; grey: languages; line: their mean, with the 95% interval of one; "
        "dashed: chance",
        description=f"Share of concepts with a label of {count(len(order), 'kind')} in {spaces_there} over "
        f"{span(table['layer'])}; the mean is highest for {best['panel']} at layer {best['layer']} {against(best)}.",
        columns=("panel", "layer", "space", *_NUMBERS, "n"),
    )


def shared_panels(splits: pl.DataFrame, *, thetas: Mapping[str, float] | None = None) -> alt.FacetChart | None:
    """Draw CALIGN and COLAP of the concepts with a label over the layers, a panel a label; None where there is none.

    The labels most concepts take are shown, 12 at most; pairs and directions are pooled.  Beside their chance levels
    (dashed) the same of all concepts is drawn, thin.

    Parameters
    ----------
    splits : polars.DataFrame
        The ``splits`` of `FinishedStudy.labels`, of one clustering of one model.
    thetas : mapping of str to float, optional
        What ``"calign"`` and ``"colap"`` were measured at, for the subtitle.
    """
    kinds = splits["kind"].unique().sort().to_list()
    leaves = [kind for kind in kinds if not any(other.startswith(f"{kind}:") for other in kinds)]
    table = splits.filter(pl.col("kind").is_in(leaves))
    table = table.with_columns(pl.col("metric").replace(_MEASURES), panel=_panel())
    keys = ["layer", "metric"]
    labelled = table.drop_nulls("value").filter(pl.col("kind") != "language")
    often = labelled.group_by("panel").agg(pl.col("n").mean(), pl.col("n").sum().alias("sum"))
    often = often.filter(pl.col("n") >= _LEAST).sort("sum", "panel", descending=[True, False]).head(_MOST)
    if often.is_empty():
        return None
    shown = labelled.filter(pl.col("panel").is_in(often["panel"].implode()))
    pooled = shown.group_by("panel", *keys, maintain_order=True).agg(*_pooled())
    # of one kind every concept has one value or none: together they are all concepts
    every = table.filter(pl.col("kind") == leaves[0]).group_by(keys, maintain_order=True).agg(*_pooled())
    every = every.select(*keys, pl.col("score").alias("all"))
    pooled = pooled.join(every, on=keys, how="left", maintain_order="left").fill_nan(None)
    order = shown.select("kind", "panel").unique().sort("kind", "panel")["panel"].to_list()
    scale = alt.Scale(domain=list(_MEASURES.values()), range=[BLUE, ORANGE])
    legend = alt.Legend(title=None, orient="top", offset=10, symbolOpacity=1, symbolDash=[1, 0])
    base = _base().encode(alt.Color("metric:N", scale=scale, legend=legend))
    tips = [alt.Tooltip("metric:N"), *_tooltip("panel", "label")]
    layers = [
        base.mark_area(opacity=0.12).encode(_y("ci_low", top=1), y2="ci_high:Q"),
        base.mark_line(strokeWidth=0.9, opacity=0.7).encode(_y("all", top=1)),
        base.mark_line(style="chance").encode(_y("chance", top=1)),
        base.mark_line(strokeWidth=2.2).encode(_y("score", top=1)),
        base.mark_circle(size=26, opacity=1).encode(_y("score", top=1), tooltip=tips),
    ]
    at = [f"{title} at θ = {thetas[name]:g}; " for name, title in _MEASURES.items()] if thetas else []
    random = f"{_MEASURES[OVERLAP]}: {MEASURES[OVERLAP].chance}"
    note = f"{''.join(at)}all pairs together; thin: all concepts; dashed: chance ({random})"
    tops = pooled.sort("score", descending=True, nulls_last=True, maintain_order=True)
    tops = tops.unique("metric", keep="first", maintain_order=True).sort("metric")
    peaks = [f"{r['metric']} for {r['panel']} at layer {r['layer']} {against(r)}" for r in tops.iter_rows(named=True)]
    return _panels(
        layers,
        pooled.with_columns(pl.col(*_NUMBERS, "all").round(4)).to_dicts(),
        order,
        title="Which concepts are shared, by what they are made of",
        note=note,
        description=f"{' and '.join(_MEASURES.values())} of concepts with one of {count(len(order), 'label')} over "
        f"{span(pooled['layer'])}; highest: {', '.join(peaks)}.",
        columns=("panel", "metric", "layer", *_NUMBERS, "all", "n"),
    )


def _panel() -> pl.Expr:
    """Name a label by its kind and value; a morphological value has its feature's name in it."""
    kind = pl.col("kind").str.extract("^([^:]*)")
    named = pl.concat_str(kind.replace(_KINDS), pl.lit(": "), pl.col("value"))
    return pl.when(kind == "feats").then(pl.col("value")).otherwise(named)


def _pooled() -> list[pl.Expr]:
    """Return the means over pairs, weighted by their concepts; so the interval is that of one pair, the widest."""
    n = pl.col("n")
    return [*(((pl.col(name) * n).sum() / n.sum()).alias(name) for name in _NUMBERS), n.sum().alias("n")]


def _base() -> alt.Chart:
    return alt.Chart().encode(alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)))


def _y(field: str, *, top: float | None = None) -> alt.Y:
    scale = alt.Scale(zero=True) if top is None else alt.Scale(domain=[0, top])
    return alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=4), scale=scale)


def _tooltip(field: str, title: str) -> list[alt.Tooltip]:
    head = [alt.Tooltip(f"{field}:N", title=title), alt.Tooltip("layer:O")]
    return [*head, *numbers(*_NUMBERS), alt.Tooltip("n:Q", title="concepts")]


def _panels(layers: list[alt.Chart], data: list[dict[str, object]], order: list[str], **words: Any) -> alt.FacetChart:
    chart = alt.LayerChart(layer=layers).properties(width=_WIDTH, height=_HEIGHT)
    return facet(chart, data, "panel", order, free=("y",), **words)
