"""Fine-tuning: scores by language, training curves, what moved, and what goes with zero-shot transfer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import altair as alt
import polars as pl

from isogloss.metrics.concepts.fates import FATES
from isogloss.metrics.registry import MEASURES, SOFT_ALIGNMENT, headlines
from isogloss.plots.theme import BLUE, GREY, MEAN, ORANGE, PALETTE, count, facet, numbers, shown, span

_WIDTH, _HEIGHT = 170, 110
_SCORES = {"f1": "entity F1", "accuracy": "accuracy", "macro_f1": "macro F1", "bleu": "BLEU", "chrf": "chrF"}
_NUMBERS = ("score", "ci_low", "ci_high")
MAIN_SCORES = ("f1", "macro_f1", "bleu")  # of every task its own


def score_chart(scores: pl.DataFrame) -> alt.FacetChart:
    """Draw the scores of every fine-tuned model by language, with intervals; a tick is the baseline.

    Parameters
    ----------
    scores : polars.DataFrame
        ``tasks.parquet`` of a study.
    """
    table = scores.filter(pl.col("metric").is_in(MAIN_SCORES)).with_columns(
        pl.concat_str(pl.col("task"), pl.col("metric").replace(_SCORES), separator=": ").alias("panel"),
        pl.when(pl.col("control") == "").then(pl.lit("trained")).otherwise(pl.lit("shuffled labels")).alias("labels"),
        pl.col(_NUMBERS).fill_nan(None),
    )
    there = scores["language"].unique(maintain_order=True).to_list()
    plain = alt.Chart().encode(alt.Y("language:N", title=None, sort=there))
    base = plain.encode(_colour("labels", {"trained": BLUE, "shuffled labels": ORANGE}))
    tips = ["model:N", "language:N", "train_languages:N", *numbers(*_NUMBERS, "baseline"), "n:Q"]
    kinds = alt.Scale(domain=[False, True], range=["diamond", "circle"])
    legend = _legend(labelExpr="datum.label == 'true' ? 'zero-shot' : 'trained on'")
    layers = [
        plain.mark_tick(color=GREY, thickness=2, size=14).encode(alt.X("baseline:Q")),
        base.mark_rule(strokeWidth=2, opacity=0.45).encode(alt.X("ci_low:Q", title=None), x2="ci_high:Q"),
        base.mark_point(filled=True, size=46, opacity=1).encode(
            alt.X("score:Q", title=None, scale=alt.Scale(domain=[0, 1])),
            shape=alt.Shape("zero_shot:N", scale=kinds, legend=legend),
            tooltip=tips,
        ),
    ]
    chart = alt.LayerChart(layer=layers).properties(width=_WIDTH + 40, height=20 * len(there))
    zero = table.filter(pl.col("zero_shot") & (pl.col("control") == "")).drop_nulls("score").sort("score")
    ends = [(end, row) for end, rows in (("highest", zero[-1:]), ("lowest", zero[:1])) for row in rows.to_dicts()]
    extremes = [f"{end} {row['language']}, {shown(row['score'])} ({row['model']})" for end, row in ends]
    models = count(table["model"].n_unique(), "model")
    zero_shot = "; ".join(extremes) or "no zero-shot scores"
    return _panels(
        chart,
        table,
        title="Scores by language",
        note="95% intervals over sentences; grey: without a model",
        description=f"Task scores of {models} in {count(len(there), 'language')}. Zero-shot: {zero_shot}.",
        columns=(*("task", "model", "labels", "language", "zero_shot", "metric"), *_NUMBERS, "baseline", "n"),
    )


def curve_chart(curves: pl.DataFrame) -> alt.FacetChart:
    """Draw training loss and development score over the steps, a panel a model.

    Parameters
    ----------
    curves : polars.DataFrame
        ``model`` and the columns of `isogloss.models.CURVE`.
    """
    numeric = pl.col("loss", "dev_loss", "dev_score").fill_nan(None)
    table = curves.select("model", "step", numeric, panel=pl.col("model"))
    base = alt.Chart().encode(alt.X("step:Q", title="step", axis=alt.Axis(tickCount=4)))
    loss = base.transform_filter("isValid(datum.loss)").mark_line(color=BLUE, strokeWidth=1.5)
    dev = base.transform_filter("isValid(datum.dev_score)")
    layers = [
        loss.encode(alt.Y("loss:Q", title="training loss (line)")),
        dev.mark_line(color=ORANGE, point=alt.OverlayMarkDef(color=ORANGE, size=25)).encode(
            alt.Y("dev_score:Q", title="development score (dots)", scale=alt.Scale(domain=[0, 1])),
            tooltip=["model:N", "step:Q", *numbers("dev_score", "dev_loss")],
        ),
    ]
    two_axes = alt.Resolve(scale=alt.ScaleResolveMap(y="independent"))
    chart = alt.LayerChart(layer=layers, resolve=two_axes).properties(width=_WIDTH, height=_HEIGHT)
    ends = table.drop_nulls("dev_score").group_by("model", maintain_order=True).agg(pl.col("dev_score").max())
    best = ", ".join(f"{name} {shown(score)}" for name, score in ends.iter_rows())
    return _panels(
        chart,
        table,
        title="Training",
        note="loss of the training, and score on the development data",
        description=f"Training loss and development score of {count(table['model'].n_unique(), 'model')} over "
        f"{max(table['step'])} steps; best development scores: {best or 'none'}.",
        columns=("model", "step", "loss", "dev_loss", "dev_score"),
        across=3,
        # an axis on either side
        gap=110,
    )


def difference_chart(differences: pl.DataFrame, *, thetas: Mapping[str, float]) -> alt.FacetChart:
    """Draw what fine-tuning changed in CALIGN and COLAP over the layers: a panel a model and measure, 95% bars a pair.

    Parameters
    ----------
    differences : polars.DataFrame
        ``differences.parquet`` of a study.
    thetas : mapping of str to float
        What to draw every measure at, as of `main_thetas`.
    """
    parts = []
    for measure in headlines():
        rows = differences.filter((pl.col("metric") == measure.name) & (pl.col("of") == measure.column))
        if measure.theta is not None:
            rows = rows.filter((pl.col("theta") - thetas[measure.name]).abs() < 1e-9)
        parts.append(rows)
    titles = {measure.name: measure.read_as for measure in headlines()}
    table = pl.concat(parts)
    first = table.select("n_concepts", "seed").row(0)
    table = table.filter((pl.col("n_concepts") == first[0]) & (pl.col("seed") == first[1]))
    table = table.with_columns(
        pl.concat_str("source", "target", separator="–").alias("pair"),
        pl.concat_str(pl.col("model"), pl.col("metric").replace(titles), separator=": ").alias("panel"),
        pl.col("difference", "ci_low", "ci_high").fill_nan(None),
        (pl.col("q_value") < 0.05).alias("sure"),
    ).drop_nulls("difference")
    layers_there = table["layer"].unique().sort().to_list()
    gap = min((b - a for a, b in pairwise(layers_there)), default=1)
    n_pairs = table["pair"].n_unique()
    aside = (pl.col("pair").rank("dense") - (n_pairs + 1) / 2) / max(n_pairs, 2) * 0.6 * gap
    table = table.with_columns((pl.col("layer") + aside).alias("x"))
    table = table.with_columns(pl.col("difference", "ci_low", "ci_high").round(4), kind=pl.lit("pair"))
    columns = ["panel", "pair", "layer", "difference", "ci_low", "ci_high", "p_value", "q_value", "sure"]
    means = table.group_by("panel", "layer", maintain_order=True).agg(pl.col("difference").mean())
    means = means.with_columns(x=pl.col("layer").cast(pl.Float64), pair=pl.lit(MEAN), kind=pl.lit("mean"))
    ends = [layers_there[0] - gap / 2, layers_there[-1] + gap / 2]
    axis = alt.Axis(values=layers_there, grid=False, format="d")
    base = alt.Chart().encode(alt.X("x:Q", title="layer", axis=axis, scale=alt.Scale(domain=ends, nice=False)))
    pairs = base.transform_filter("datum.kind == 'pair'")
    mean = base.transform_filter("datum.kind == 'mean'")
    certain = _colour("sure", {True: BLUE, False: GREY}, labelExpr="datum.label == 'true' ? 'q < 0.05' : 'not sure'")
    tips = ["pair:N", "layer:O", *numbers("difference", "ci_low", "ci_high", "q_value")]
    layers = [
        alt.Chart().mark_rule(color=GREY, strokeDash=[3, 3]).encode(y=alt.datum(0)),
        pairs.mark_rule(strokeWidth=1, opacity=0.3).encode(alt.Y("ci_low:Q", title=None), y2="ci_high:Q"),
        pairs.mark_circle(size=18, opacity=0.9).encode(alt.Y("difference:Q", title=None), certain, tooltip=tips),
        mean.mark_line(color=ORANGE, strokeWidth=2).encode(alt.Y("difference:Q")),
    ]
    chart = alt.LayerChart(layer=layers).properties(width=_WIDTH + 60, height=_HEIGHT)
    counts = []
    for (panel,), rows in table.group_by("panel", maintain_order=True):
        sure = rows.filter("sure")
        rose = sure.filter(pl.col("difference") > 0).height
        counts.append(f"{panel} rose in {rose} and fell in {sure.height - rose} of {rows.height}")
    return _panels(
        chart,
        pl.concat([table.select(*columns, "x", "kind"), means], how="diagonal"),
        title="What fine-tuning changed",
        note="after minus before, every pair with its 95% interval on the same resamples; line: mean of the pairs",
        description=f"Differences to the base model of {count(n_pairs, 'pair')} over {span(layers_there)}. Of layers "
        f"and pairs with q < 0.05: {'; '.join(counts)}.",
        columns=columns,
        across=min(6, table["model"].n_unique()),
    )


def fate_chart(fates: pl.DataFrame) -> alt.FacetChart:
    """Draw what became of the base model's concepts: kept, split, merged or gone, over the layers.

    Parameters
    ----------
    fates : polars.DataFrame
        ``movement/fates.parquet`` of a study; rows compared with the base, joint spaces averaged.
    """
    joint = pl.col("space").str.contains("+", literal=True)
    table = fates.filter((pl.col("compared") == "base") & pl.col("fate").is_in(list(FATES)) & joint)
    table = table.group_by("model", "layer", "fate", maintain_order=True).agg(pl.col("share", "chance", "ami").mean())
    rank = pl.col("fate").replace_strict({name: i for i, name in enumerate(FATES)}, return_dtype=pl.Int64)
    table = table.with_columns(rank.alias("rank"), panel=pl.col("model"))
    bars = alt.Chart(width=_WIDTH, height=_HEIGHT).encode(
        alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
        alt.Y("share:Q", title="share of concepts", scale=alt.Scale(domain=[0, 1])),
        _colour("fate", dict(zip(FATES, (PALETTE[0], PALETTE[2], PALETTE[1], GREY), strict=True))),
        alt.Order("rank:Q"),
        tooltip=["model:N", "layer:O", "fate:N", *numbers("share", "chance", "ami")],
    )
    means = table.group_by("panel", "fate", maintain_order=True).agg(pl.col("share").mean())
    shares = [
        f"in {panel} " + ", ".join(f"{fate} {share:.0%}" for fate, share in rows.select("fate", "share").iter_rows())
        for (panel,), rows in means.group_by("panel", maintain_order=True)
    ]
    return _panels(
        bars.mark_bar(),
        table,
        title="What became of the base model's concepts",
        note="joint spaces of the pairs, averaged",
        description=f"Shares of the base model's concepts by their fate, over {span(table['layer'])}; on average "
        f"{'; '.join(shares)}.",
        columns=("model", "layer", "fate", "share", "chance", "ami"),
        gap=60,
    )


def transfer_chart(points: pl.DataFrame, *, measure: str = SOFT_ALIGNMENT) -> alt.FacetChart | None:
    """Draw zero-shot scores against a measure of alignment with the training language, a panel a task and layer.

    Parameters
    ----------
    points : polars.DataFrame
        ``transfer_points.parquet`` of a study.
    measure : str
        Name of the measure; before and after fine-tuning are drawn.

    Returns
    -------
    altair.FacetChart or None
        None where the study has no such points.
    """
    trained = points.filter((pl.col("measure") == measure) & (pl.col("control") == ""))
    if trained.is_empty():
        return None
    index = ["task", "stack", "layer", "language", "score", "score_metric"]
    long = trained.unpivot(["before", "after"], index=index, variable_name="when", value_name="value")
    stack = pl.col("stack") + " " if trained["stack"].n_unique() > 1 else pl.lit("")
    panel = pl.concat_str(pl.col("task"), pl.lit(", "), stack, pl.lit("layer "), pl.col("layer"))
    table = long.drop_nulls(["value", "score"]).with_columns(panel.alias("panel"))
    base = alt.Chart().encode(
        alt.X("value:Q", title=MEASURES[measure].read_as, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
        alt.Y("score:Q", title="zero-shot score", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
    )
    when = _colour("when", {"before": GREY, "after": BLUE})
    layers = [
        base.mark_line(strokeWidth=0.8, opacity=0.4).encode(detail="language:N"),
        base.mark_circle(size=36, opacity=1).encode(when, tooltip=["language:N", "when:N", *numbers("value", "score")]),
        base.transform_filter("datum.when == 'after'").mark_text(dy=-9, style="cell").encode(text="language:N"),
    ]
    n = trained["language"].n_unique()
    low, high = min(table["score"]), max(table["score"])
    few = ": a picture, not a proof" if n < 10 else ""
    return _panels(
        alt.LayerChart(layer=layers).properties(width=_WIDTH, height=_HEIGHT),
        table,
        title="Does alignment with the training language go with transfer?",
        note=f"{count(n, 'language')}{few}",
        description=f"Zero-shot scores of {count(n, 'language')}{few}, from {shown(low)} to {shown(high)}, against "
        f" {MEASURES[measure].read_as} before and after fine-tuning, in "
        f"{count(table['panel'].n_unique(), 'panel')}.",
        columns=("task", "stack", "layer", "language", "when", "value", "score", "score_metric"),
        gap=60,
    )


def _panels(chart: Any, table: pl.DataFrame, **words: Any) -> alt.FacetChart:
    """Lay out a panel a value of the column ``panel``, each with its own scales."""
    order = table["panel"].unique(maintain_order=True).to_list()
    return facet(chart, table.to_dicts(), "panel", order, free=("x", "y"), **words)


def _colour(field: str, colours: Mapping[Any, str], **legend: Any) -> alt.Color:
    """Colour by the values of a field, with a legend above."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=_legend(**legend))


def _legend(**options: Any) -> alt.Legend:
    return alt.Legend(title=None, orient="top", **options)
