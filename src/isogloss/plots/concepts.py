"""The charts of the explorer: a map of concepts, and one pair through the layers.

Both are given their rows by the page that shows them: `concept_map` takes ``points``, `depth_curves` ``depth``.
"""

from __future__ import annotations

import altair as alt

from isogloss.metrics.registry import ALIGNMENT, MEASURES, OVERLAP
from isogloss.plots.theme import BLUE, ORANGE, Rows, chart_config


def concept_map(points: Rows = (), *, width: int = 520, height: int = 420) -> alt.LayerChart:
    """Draw concepts as discs on a plane: near ones have similar means.

    Parameters
    ----------
    points : sequence of mappings
        ``concept, x, y, size`` (tokens), ``words``, ``about`` (text for the tooltip), ``colour`` (of CSS), ``chosen``
        (whether it is marked).
    width, height : int
        In pixels.
    """
    plain = alt.Axis(labels=False, ticks=False, title=None, domain=False, grid=False)
    base = alt.Chart().encode(
        # the padding is for a name
        alt.X("x:Q", axis=plain, scale=alt.Scale(zero=False, nice=False, padding=44)),
        alt.Y("y:Q", axis=plain, scale=alt.Scale(zero=False, nice=False, padding=24)),
        alt.Size("size:Q", legend=None, scale=alt.Scale(range=[14, 420])),
    )
    discs = base.mark_circle(opacity=0.72, cursor="pointer", stroke="currentColor").encode(
        alt.Color("colour:N", scale=None),
        strokeWidth=alt.condition("datum.chosen", alt.value(2.5), alt.value(0)),
        tooltip=[
            alt.Tooltip("concept:Q", format="d"),
            alt.Tooltip("words:N"),
            alt.Tooltip("size:Q", title="tokens"),
            alt.Tooltip("about:N", title=" "),
        ],
    )
    # of all discs, with empty names: a layer without rows would have no extent to share
    names = base.mark_text(dy=-16, fontWeight="bold").encode(
        size=alt.value(11), text=alt.condition("datum.chosen", "words:N", alt.value(""))
    )
    chart = alt.LayerChart(layer=[discs.add_params(alt.selection_interval(name="view", bind="scales")), names])
    data = alt.InlineData(values=[dict(row) for row in points], name="points")
    return chart.properties(data=data, width=width, height=height, config=chart_config())


def depth_curves(rows: Rows = (), *, width: int = 300, height: int = 110) -> alt.LayerChart:
    """Draw CALIGN and COLAP of one pair over the layers, chance dashed; the layer ``now`` is marked.

    Parameters
    ----------
    rows : sequence of mappings
        ``layer, measure, score, chance, ci_low, ci_high``.
    width, height : int
        In pixels.
    """
    scale = alt.Scale(domain=[MEASURES[name].title for name in (ALIGNMENT, OVERLAP)], range=[BLUE, ORANGE])
    legend = alt.Legend(title=None, orient="top", padding=0, offset=2, symbolOpacity=1)
    colour = alt.Color("measure:N", scale=scale, legend=legend)
    numbers = [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("score", "chance", "ci_low", "ci_high")]
    tips = ["measure:N", "layer:Q", *numbers]
    base = alt.Chart().encode(alt.X("layer:O", axis=alt.Axis(labelAngle=0, title="layer")), colour)
    at_now = base.transform_filter("datum.layer == now")

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=4))

    now = alt.param(name="now", value=0)
    layers = [
        base.mark_area(opacity=0.14).encode(y("ci_low"), y2="ci_high:Q"),
        base.mark_line(style="chance").encode(y("chance")),
        base.mark_line(strokeWidth=2).encode(y("score")),
        base.mark_circle(size=46, opacity=1, cursor="pointer").encode(y("score"), tooltip=tips),
        at_now.mark_rule(strokeWidth=1.2, opacity=0.5).encode(color=alt.value("gray")),
    ]
    data = alt.InlineData(values=[dict(row) for row in rows], name="depth")
    chart = alt.LayerChart(layer=layers).add_params(now)
    return chart.properties(data=data, width=width, height=height, config=chart_config())
