"""The look that all charts share, and how each is finished: its rows, title, description and panels.

Inks are neutral or one accent per family of metrics, so that charts read in grey, for colour-blind readers,
and on dark paper: every colour here has a contrast of 3 or more to white and to the report's dark paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import altair as alt

from isogloss.metrics.registry import MEASURES

# Bright qualitative colours after Tol (2021), the pale ones made darker.
PALETTE = (
    *("#4a86c5", "#ee6576", "#3a9a4a", "#b58b00", "#c2529a"),
    *("#2c9dc0", "#ec6b21", "#009988", "#8a6fd1", "#8c6d46"),
)
BLUE, ORANGE, GREY = "#3b7dc4", "#cf6a2b", "#80868c"
LABEL_SIZE = 10
GAPS = alt.Scale(paddingInner=0.06)
MEAN = "mean of the pairs"
Chart = alt.LayerChart | alt.FacetChart
AnyChart = TypeVar("AnyChart", alt.LayerChart, alt.FacetChart)
Rows = Sequence[Mapping[str, Any]]


def chart_config(
    *, ink: str = "#1f2328", font: str = "Liberation Sans, Arial, sans-serif", size: float = LABEL_SIZE
) -> dict[str, Any]:
    """Return the Vega-Lite configuration of all charts.

    `ink` is the colour of text, axes and pair lines, `size` that of labels in pixels; numbers in cells are half a
    pixel smaller, titles a little bigger.
    """
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": size, "titleFontSize": size}
    quiet = {"labelOpacity": 0.75, "titleOpacity": 0.75, "titleFontWeight": "normal"}
    bare = {"domain": False, "ticks": False, "labelPadding": 5, "gridColor": ink, "gridOpacity": 0.1}
    return {
        "background": "transparent" if ink == "currentColor" else "white",
        "font": font,
        "padding": 4,
        "view": {"stroke": None},
        "axis": text | quiet | bare | {"titlePadding": 6},
        "header": {"labelColor": ink, "labelFontSize": size + 1, "labelFontWeight": "bold"}
        | {"labelPadding": 6, "labelAnchor": "start"},
        "legend": text | {"symbolFillColor": ink},
        "title": {"color": ink, "fontSize": size + 2, "fontWeight": "bold", "anchor": "start", "offset": 10}
        | {"subtitleColor": ink, "subtitleFontSize": size, "subtitlePadding": 4},
        "mark": {"color": ink},
        "rule": {"color": ink},
        "text": {"color": ink, "fontSize": size},
        "style": {"chance": {"strokeWidth": 1.2, "strokeDash": [4, 3]}}
        | {"dotted": {"strokeWidth": 1.2, "strokeDash": [1, 3]}, "cell": {"fontSize": size - 0.5}},
    }


def finish(chart: AnyChart, rows: Rows, *, title: str, note: str, description: str, columns: Sequence[str]) -> AnyChart:
    """Give a chart its rows, words and look.

    Parameters
    ----------
    chart : altair.LayerChart or altair.FacetChart
    rows : sequence of mapping
        What is drawn; rows of the kind ``"label"`` only place a name beside a line.
    title, note : str
        The title and the line under it.
    description : str
        The text alternative: what is drawn, where it peaks, against chance; one or two sentences.
    columns : sequence of str
        What a reader who takes the data away gets of `rows`; kept in the chart's ``usermeta``.
    """
    finished: AnyChart = chart.properties(
        data=alt.InlineData(values=list(rows)),
        title=alt.TitleParams(title, subtitle=note),
        description=description,
        usermeta={"columns": list(columns)},
        config=chart_config(),
    )
    return finished


def facet(
    chart: alt.Chart | alt.LayerChart,
    rows: Rows,
    by: str,
    order: Sequence[str],
    *,
    across: int = 4,
    free: Sequence[str] = (),
    gap: int = 0,
    **words: Any,
) -> alt.FacetChart:
    """Draw a chart once for every value of the field `by`, `across` panels in a row, and `finish` it.

    `free` are the scales, of ``"x"`` and ``"y"``, that are each panel's own; `gap` the pixels between panels, where
    their axes need more than usual; `words` the title, note, description and columns.
    """
    panels = alt.Facet(f"{by}:N", title=None, sort=list(order))
    data = alt.InlineData(values=list(rows))
    # "flush": panels stand in line whatever the widths of their labels, which the gaps have room for
    spacing = {"row": 70, "column": gap or (44 if "y" in free else 18)}
    faceted: alt.FacetChart = chart.facet(panels, data=data, columns=across, spacing=spacing, bounds="flush")
    independent: Any = dict.fromkeys(free, "independent")
    if free:
        faceted = faceted.resolve_scale(**independent)
    # no orphan axis under a missing last panel
    faceted = faceted.resolve_axis(x="independent")
    return finish(faceted, rows, **words)


def accent(metric: str) -> str:
    """Return the colour of a family of metrics."""
    return ORANGE if MEASURES[metric].family == "overlap" else BLUE


def numbers(*names: str) -> list[alt.Tooltip]:
    """Return the tooltip of numbers with three decimals."""
    return [alt.Tooltip(f"{name}:Q", format=".3f", title=name.replace("_", " ")) for name in names]


# -- words of descriptions --------------------------------------------------------------------------


def span(layers: Iterable[int]) -> str:
    """Name a set of layers.

    Examples
    --------
    >>> span([0, 1, 2]), span([3]), span([0, 4])
    ('layers 0 to 2', 'layer 3', 'layers 0 to 4')
    """
    there = sorted(set(layers))
    return f"layer {there[0]}" if len(there) == 1 else f"layers {there[0]} to {there[-1]}"


def count(n: int, thing: str) -> str:
    """Return a number and what it counts.

    Examples
    --------
    >>> count(1, "pair"), count(3, "pair")
    ('1 pair', '3 pairs')
    """
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def shown(value: float | None) -> str:
    """Write a score in a sentence."""
    return "unknown" if value is None else f"{round(value, 2) + 0.0:.2f}"


def against(row: dict[str, Any]) -> str:
    """Write a score and its chance level in parentheses."""
    level = f", chance {shown(row['chance'])}" if row.get("chance") is not None else ""
    return f"({shown(row['score'])}{level})"
