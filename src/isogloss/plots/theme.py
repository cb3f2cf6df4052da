"""The one look of all charts, and how each is finished: its rows, title, description and panels.

Inks are neutral or one accent per family of metrics, so that charts read in grey, for colour-blind readers,
and on dark paper: every colour here has a contrast of 3 or more to white and to the report's dark paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

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
        "header": {
            "labelColor": ink,
            "labelFontSize": size + 1,
            "labelFontWeight": "bold",
            "labelPadding": 6,
            "labelAnchor": "start",
        },
        "legend": text | {"symbolFillColor": ink},
        "title": {"color": ink, "fontSize": size + 2, "fontWeight": "bold", "anchor": "start", "offset": 10}
        | {"subtitleColor": ink, "subtitleFontSize": size, "subtitlePadding": 4},
        "mark": {"color": ink},
        "rule": {"color": ink},
        "text": {"color": ink, "fontSize": size},
        "style": {"chance": {"strokeWidth": 1.2, "strokeDash": [4, 3]}, "cell": {"fontSize": size - 0.5}},
    }


def finish(
    chart: Any,
    rows: Iterable[dict[str, Any]],
    *,
    title: str,
    note: str,
    description: str,
    columns: Sequence[str],
    panels: alt.Facet | None = None,
    across: int = 4,
    free: Sequence[str] = (),
    gap: int = 0,
) -> Any:
    """Give a chart its rows, words and look, and lay out its panels.

    Parameters
    ----------
    chart : altair.LayerChart or altair.Chart
    rows : iterable of dict
        What is drawn; rows of the kind ``"label"`` only place a name beside a line.
    title, note : str
        The title and the line under it.
    description : str
        The text alternative: what is drawn, where it peaks, against chance; one or two sentences.
    columns : sequence of str
        What a reader who takes the data away gets of `rows`; kept in the chart's ``usermeta``.
    panels : altair.Facet, optional
        A panel a value of it, `across` of them in a row.
    free : sequence of str
        The scales, of ``"x"`` and ``"y"``, that are each panel's own.
    gap : int
        Pixels between panels, where their axes need more than usual.
    """
    chart = chart.properties(data=alt.InlineData(values=list(rows)))
    look = {
        "title": alt.TitleParams(title, subtitle=note),
        "description": description,
        "usermeta": {"columns": list(columns)},
        "config": chart_config(),
    }
    if panels is None:
        return chart.properties(**look)
    # "flush": panels stand in line whatever the widths of their labels, which the gaps have room for
    gap = gap or (44 if "y" in free else 18)
    faceted = chart.facet(panels, columns=across, spacing={"row": 70, "column": gap})
    faceted = faceted.properties(bounds="flush")
    if free:
        faceted = faceted.resolve_scale(**dict.fromkeys(free, "independent"))
    # no orphan axis under a missing last panel
    return faceted.resolve_axis(x="independent").properties(**look)


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
