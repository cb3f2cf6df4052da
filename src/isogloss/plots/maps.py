"""Maps: every pair at every layer, and every language by every other at one layer, ordered by likeness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from isogloss.arguments import Count, Share, checked
from isogloss.errors import unknown
from isogloss.metrics.registry import ALIGNMENT, DIRECTED, MEASURES
from isogloss.plots.charts import COLUMNS, titled, tooltip
from isogloss.plots.rows import Row, figure_rows, highest, highest_layer, languages
from isogloss.plots.theme import GAPS, Chart, accent, count, finish, shown, span
from isogloss.results import Results
from isogloss.study.analyses.search import SURE

_NARROW = 23  # pixels: a cell below it is too narrow for "(.12)"


@checked
def pair_heatmap(
    results: Results,
    *,
    metric: str = ALIGNMENT,
    model: str | None = None,
    stack: str | None = None,
    theta: Share | None = None,
    width: Count = 320,
) -> Chart:
    """Draw every pair (rows) at every layer (columns), paler for less, with the number in the cell.

    Parameters are those of `layer_curves`; of several runs only the first is drawn.  CALIGN is shown
    adjusted for chance: the scale starts at 0, the chance level, and what lies below is as pale as chance;
    a number in parentheses is not above chance, if all rows of the metric are counted that the study has (``p_search``
    of at least 0.05), or its interval includes chance.  COLAP is shown as it is, for its null is
    reached when languages mix freely (see `isogloss.metrics.measure.Measure.above_chance`).
    """
    rows = _first_run(results, metric, model=model, stack=stack, theta=theta)
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    n_layers = len({row["layer"] for row in rows})
    base = alt.Chart().encode(
        alt.X("layer:O", axis=alt.Axis(labelAngle=0, orient="top", title="layer"), scale=GAPS),
        alt.Y("pair:N", sort=pairs, title=None, scale=GAPS),
        tooltip=tooltip(),
    )
    chart = _cells(base, metric, top=_top(rows, metric), across=n_layers)
    chart = chart.properties(width=width, height=(20 if len(pairs) <= 20 else 16) * len(pairs))
    text = f"{MEASURES[metric].read_as} of {count(len(pairs), 'pair')} at {span(row['layer'] for row in rows)}"
    words = titled(metric, rows, _note(metric)) | {"description": text + _extremes(rows, metric, at_layer=True)}
    return finish(chart, rows, **words, columns=COLUMNS)


@checked
def language_map(
    results: Results,
    *,
    metric: str = DIRECTED,
    layer: int | None = None,
    model: str | None = None,
    stack: str | None = None,
    theta: Share | None = None,
    width: Count = 320,
) -> Chart:
    """Draw every language by every other at one layer, like languages side by side.

    CALIGN has a direction: a row is the source, a column the target; a COLAP map is symmetric.  Cells are those of
    `pair_heatmap`.  Order and shades are the same at every layer, so that maps of two layers compare.

    Parameters
    ----------
    results : Results
        Of several runs only the first is drawn.
    metric : {"calign", "calign_mean", "colap"}
    layer : int, optional
        Default: where CALIGN is highest above chance.
    model, stack, theta
        As in `layer_curves`.
    width : int
        In pixels; cells are as high as needed.

    Raises
    ------
    UsageError
        If the metric, layer, model, stack or theta is not in the results.
    """
    every = _first_run(results, metric, model=model, stack=stack, theta=theta)
    layers = sorted({row["layer"] for row in every})
    if layer is None:
        layer = highest_layer(results, model=model, stack=stack)
    if layer not in layers:
        raise unknown("layer", layer, map(str, layers))
    order = language_order(results, metric=metric, model=model, stack=stack, theta=theta)
    rows = [row for row in every if row["layer"] == layer]
    directed = MEASURES[metric].directed
    if not directed:
        rows += [row | {"source": row["target"], "target": row["source"]} for row in rows]
    scale = alt.Scale(domain=order, paddingInner=0.06)
    axis = alt.Axis(labelAngle=0, orient="top")
    base = alt.Chart().encode(
        alt.X("target:N", title="target" if directed else None, axis=axis, scale=scale),
        alt.Y("source:N", title="source" if directed else None, scale=scale),
        tooltip=tooltip(),
    )
    chart = _cells(base, metric, top=_top(every, metric), across=len(order))
    chart = chart.properties(width=width, height=max(180, (26 if len(order) <= 10 else 18) * len(order)))
    return finish(chart, rows, **_map_words(rows, metric), columns=COLUMNS)


@checked
def language_map_words(
    results: Results,
    *,
    metric: str = DIRECTED,
    model: str | None = None,
    stack: str | None = None,
    theta: Share | None = None,
) -> dict[int, dict[str, Any]]:
    """Return ``title``, ``note`` and ``description`` of `language_map` at every layer, for a page that changes it."""
    layers: dict[int, list[Row]] = defaultdict(list)
    for row in _first_run(results, metric, model=model, stack=stack, theta=theta):
        layers[row["layer"]].append(row)
    return {layer: _map_words(rows, metric) for layer, rows in sorted(layers.items())}


def _map_words(rows: Sequence[Row], metric: str) -> dict[str, Any]:
    layer = rows[0]["layer"]
    pairs = {frozenset((row["source"], row["target"])): row for row in rows}
    if not MEASURES[metric].directed:
        rows = list(pairs.values())
    what = count(len(rows), "direction" if MEASURES[metric].directed else "pair")
    words = f"{MEASURES[metric].read_as} of {what} at layer {layer}{_extremes(rows, metric)}"
    return titled(metric, rows, f"layer {layer}; {_note(metric)}") | {"description": words}


@checked
def language_order(
    results: Results,
    *,
    metric: str = DIRECTED,
    model: str | None = None,
    stack: str | None = None,
    theta: Share | None = None,
) -> list[str]:
    """Return the languages of the first run in an order that puts like ones side by side.

    Likeness is the score (CALIGN above chance) averaged over layers and both directions.  Languages are merged by
    average linkage, and the tree's leaves are turned so that the sum of distances between neighbours is least
    (Bar-Joseph, Gifford and Jaakkola 2001, Fast optimal leaf ordering for hierarchical clustering, Bioinformatics 17).
    The language that comes first in the study is nearer to the beginning.  With fewer than three languages the order
    is the study's.

    Parameters are those of `language_map`.
    """
    names = languages(results.table)
    scores: dict[frozenset[str], list[float]] = defaultdict(list)
    for row in _first_run(results, metric, model=model, stack=stack, theta=theta):
        if row[MEASURES[metric].column] is not None:
            scores[frozenset((row["source"], row["target"]))].append(row[MEASURES[metric].column])
    if len(names) < 3 or not scores:
        return names
    means = {pair: float(np.mean(values)) for pair, values in scores.items()}
    least, most = min(means.values()), max(means.values())
    # A pair without a number is as far as the farthest; distances are at least a little more than none.
    distance = np.array([[most - means.get(frozenset((a, b)), least) for b in names] for a in names]) + 1e-9
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance), "average", optimal_ordering=True)
    order = [names[i] for i in leaves_list(tree)]
    return order if order.index(names[0]) < len(order) / 2 else order[::-1]


# -- parts ------------------------------------------------------------------------------------------


def _first_run(results: Results, metric: str, **chosen: Any) -> list[Row]:
    rows = figure_rows(results, metric, **chosen)
    return [row for row in rows if row["run"] == rows[0]["run"]]


def _top(rows: Sequence[Row], metric: str) -> float:
    """Return the number that gets the full colour."""
    values = [row[MEASURES[metric].column] for row in rows]
    return max(0.1, max((value for value in values if value is not None), default=0.1))


def _cells(base: alt.Chart, metric: str, *, top: float, across: int) -> alt.LayerChart:
    """Return coloured cells with their number in them, as long as they are wide enough."""
    field = MEASURES[metric].column
    red, green, blue = (int(accent(metric)[i : i + 2], 16) for i in (1, 3, 5))
    # One hue from nearly transparent on: paler is always nearer the paper, be it white or black.  It ends where
    # the number in ink still has a contrast of 4.5 on either paper.
    shades = [f"rgba({red}, {green}, {blue}, {alpha})" for alpha in (0.06, 0.72)]
    colour = alt.Color(f"{field}:Q", scale=alt.Scale(domain=[0, top], range=shades, clamp=True), legend=None)
    seen = alt.condition(f"width < {_NARROW * across}", alt.value(0), alt.value(1))
    text = base.mark_text(style="cell").encode(text="cell:N", opacity=seen)
    rects = base.mark_rect(cornerRadius=2).encode(colour)
    # Written by Vega, since the report gives the map the rows of another layer without Python.
    return alt.LayerChart(layer=[rects, text]).transform_calculate(cell=_cell(field))


def _cell(field: str) -> str:
    """Return the Vega expression of a cell's number: in parentheses where it is not above chance."""
    number = f"replace(format(datum.{field}, '.2f'), '0.', '.')"
    if field == "adjusted":
        above = "isValid(datum.ci_low) && isValid(datum.chance) && datum.ci_low > datum.chance"
        above += f" && !(datum.p_search >= {SURE})"
        number = f"{above} ? {number} : '(' + {number} + ')'"
    return f"!isValid(datum.{field}) ? '' : {number}"


def _note(metric: str) -> str:
    adjusted = MEASURES[metric].above_chance
    return "adjusted score, 0 = chance; (…): not above chance" if adjusted else "score"


def _extremes(rows: Sequence[Row], metric: str, *, at_layer: bool = False) -> str:
    """Say which cells are highest and lowest, and how many are clear of chance."""
    field = MEASURES[metric].column
    high = highest(rows, metric)
    if high is None:
        return "; nothing could be measured."
    measured = [row for row in rows if row[field] is not None]
    low = min(measured, key=lambda row: row[field])

    def named(row: Row) -> str:
        where = f" at layer {row['layer']}" if at_layer else ""
        return f"{row['pair']}{where} ({shown(row[field])})"

    text = f": highest for {named(high)}, lowest for {named(low)}"
    if field == "adjusted":
        clear = sum((row["ci_low"] or 0) > row["chance"] and not (row["p_search"] or 0) >= SURE for row in measured)
        text += f"; {clear} of {len(measured)} are above chance, corrected for all that was looked at"
    return f"{text}."
