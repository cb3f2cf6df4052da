"""The charts themselves, and the one look they share.

Every chart shows the chance level (dashed), and every mark carries its numbers in a tooltip.  Inks are
neutral or one accent per family of metrics, so that the charts read in grey, for colour-blind readers,
and on dark paper.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from isogloss.plots.rows import NUMBERS, Row, average, figure_rows, languages
from isogloss.results import Results

TITLES = {
    "calign": "CALIGN",
    "calign_mean": "CALIGN, mean of both directions",
    "colap": "COLAP",
    "colap_group": "COLAP of the whole group",
}
# Bright qualitative colours after Tol (2021), the pale yellow made darker: readable on white and on black.
PALETTE = (
    *("#4a86c5", "#ee6677", "#3a9a4a", "#c99a00", "#c2529a"),
    *("#2ea3c7", "#ee7733", "#009988", "#8a6fd1", "#8c6d46"),
)
BLUE, ORANGE = "#3b7dc4", "#cf6a2b"
MAX_COLOURED = 4  # pairs that still get a colour, a band and a chance line each in one panel
LABEL_SIZE = 10
GAPS = alt.Scale(paddingInner=0.06)

ADJUSTED = ("calign", "calign_mean")  # the metrics that are read as what they have above chance
Chart = alt.LayerChart | alt.FacetChart


def theme(*, ink: str = "#1f2328", font: str = "Liberation Sans, Arial, sans-serif") -> dict[str, Any]:
    """Return the Vega-Lite configuration of all charts; `ink` is the colour of text, axes and pair lines."""
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": LABEL_SIZE, "titleFontSize": LABEL_SIZE}
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
            "labelFontSize": 11,
            "labelFontWeight": "bold",
            "labelPadding": 6,
            "labelAnchor": "start",
        },
        "legend": text,
        "title": {"color": ink, "fontSize": 12, "fontWeight": "bold", "anchor": "start", "offset": 10}
        | {"subtitleColor": ink, "subtitleFontSize": LABEL_SIZE, "subtitlePadding": 4},
        "mark": {"color": ink},
        "text": {"color": ink, "fontSize": LABEL_SIZE},
        "style": {"chance": {"strokeWidth": 1.2, "strokeDash": [4, 3]}},
    }


def reference(metric: str) -> str:
    """Say what the dashed line of a metric is.

    The null of CALIGN is what unrelated words would reach.  The null of COLAP deals tokens out without regard to
    language: a model with no boundary between languages reaches it, so it is the upper end and not the lower.
    """
    return "chance" if metric in ADJUSTED else "if languages were mixed at random"


# -- curves -----------------------------------------------------------------------------------------


def layer_curves(
    results: Results,
    *,
    metric: str,
    model: str | None = None,
    stack: str | None = None,
    theta: float | None = None,
    width: int = 320,
    height: int = 230,
) -> Chart:
    """Draw score over layer, a line a pair, with intervals and the chance level dashed; a panel a run.

    Up to four pairs get a colour, a 95% band and a dashed chance line each.  With more, pairs are thin
    grey lines and their mean is drawn out with its band and chance; `language_curves` tells them apart.

    Parameters
    ----------
    results : Results
    metric : {"calign", "calign_mean", "colap", "colap_group"}
    model, stack : str, optional
        Only these; otherwise a panel each.
    theta : float, optional
        Default: 0.8 for CALIGN and 0.3 for COLAP where present, else the smallest.
    width, height : int
        Of a panel, in pixels.

    Returns
    -------
    altair.LayerChart or altair.FacetChart

    Raises
    ------
    UsageError
        If the metric, model, stack or theta is not in the results.
    """
    rows = figure_rows(results, metric, model=model, stack=stack, theta=theta)
    runs = _by(rows, "run")
    n_pairs = len({row["pair"] for row in rows})
    few = n_pairs <= MAX_COLOURED
    top = _top(rows, ("score", "chance", "ci_high") if few else ("score", "chance"))
    data: list[Row] = []
    for run, own in runs.items():
        lines = _by(own, "pair")
        if few:
            main = [row | {"colour": row["pair"]} for row in own]
        else:
            common = {"pair": "mean of the pairs", "colour": "mean", "run": run, "theta": own[0]["theta"]}
            main = [row | common for row in average(own)]
            lines = {"mean": main} | _extremes(lines)
            data += [row | {"kind": "pair"} for row in own]
        marks = _ends(lines, main if metric in ADJUSTED else [], top=top, height=height)
        data += [row | {"kind": "main"} for row in main] + [row | {"run": run} for row in marks]
    chart = _curve_layers(data, metric, top=top, coloured=few).properties(width=width, height=height)
    note = f"bands: 95% intervals, dashed: {reference(metric)}"
    if not few:
        note = f"grey: {n_pairs} pairs, bold: their mean, dashed: {reference(metric)}"
    panels = alt.Facet("run:N", title=None, sort=list(runs))
    return _finish(chart, data, _title(metric, rows, note), panels=panels if len(runs) > 1 else None)


def _extremes(pairs: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return the pairs that end highest and lowest: the two worth naming beside the mean."""
    last = {name: rows[-1] for name, rows in pairs.items() if rows[-1]["score"] is not None}
    order = sorted(last, key=lambda name: (last[name]["score"], name))
    return {name: [last[name]] for name in order[:1] + order[-1:]}


def _curve_layers(data: Sequence[Row], metric: str, *, top: float, coloured: bool) -> alt.LayerChart:
    names = list(dict.fromkeys(row["colour"] for row in data if row["kind"] == "main"))
    scale = alt.Scale(domain=names, range=list(PALETTE[: len(names)]) if coloured else [_accent(metric)])
    colour = alt.Color("colour:N", scale=scale, legend=None)
    title = "share of overlapping concepts" if metric.startswith("colap") else "share of aligned concepts"

    def y(field: str) -> alt.Y:
        return _y(field, top, title=title)

    base = alt.Chart().encode(_x(data, room=0.2))
    main = base.transform_filter("datum.kind == 'main'")
    layers = [main.mark_area(opacity=0.14, clip=True).encode(y("ci_low"), y2="ci_high:Q", color=colour)]
    if not coloured:
        near = alt.selection_point(
            name="near", on="pointerover", clear="pointerout", fields=["pair"], nearest=True, empty=False
        )
        pairs = base.transform_filter("datum.kind == 'pair'").encode(y("score"), detail="pair:N")
        shown = alt.condition(near, alt.value(1), alt.value(0.28))
        layers.append(pairs.mark_line(strokeWidth=1).encode(opacity=shown))
        shown = alt.condition(near, alt.value(1), alt.value(0))
        dots = pairs.mark_circle(size=26).encode(opacity=shown, tooltip=_tooltip())
        layers.append(dots.add_params(near))
    layers += [
        main.mark_line(style="chance").encode(y("chance"), color=colour),
        main.mark_line(strokeWidth=2.2).encode(y("score"), color=colour),
        main.mark_circle(size=34, opacity=1).encode(
            y("score"), color=colour, tooltip=_tooltip(of_mean=not coloured)
        ),
        _names(base).encode(y("at")),
    ]
    return alt.LayerChart(layer=layers)


def language_curves(
    results: Results,
    *,
    metric: str,
    model: str | None = None,
    stack: str | None = None,
    theta: float | None = None,
    columns: int = 3,
    width: int = 150,
    height: int = 130,
) -> Chart:
    """Draw a small panel a language: its pairs over layers, coloured by the other language.

    Parameters are those of `layer_curves`; of several runs only the first is drawn.  Every line has its
    95% band and its dashed chance level.  For ``calign`` a panel is the source and its lines are the
    targets; for the other metrics a pair appears in the panels of both its languages.
    """
    rows = figure_rows(results, metric, model=model, stack=stack, theta=theta)
    rows = [row for row in rows if row["run"] == rows[0]["run"] and row["target"]]
    names = languages(results.table)
    top = _top(rows, ("score", "chance", "ci_high"))
    data: list[Row] = []
    for name in names:
        own = [row | {"colour": row["target"]} for row in rows if row["source"] == name]
        if metric != "calign":
            own += [row | {"colour": row["source"]} for row in rows if row["target"] == name]
        ends = _ends(_by(own, "colour"), [], top=top, height=height)
        data += [row | {"panel": name} for row in [row | {"kind": "main"} for row in own] + ends]
    scale = alt.Scale(domain=names, range=[PALETTE[i % len(PALETTE)] for i in range(len(names))])
    colour = alt.Color("colour:N", scale=scale, legend=None)

    def y(field: str) -> alt.Y:
        return _y(field, top, title=None)

    base = alt.Chart().encode(_x(data, room=0.22, max_ticks=7), colour)
    main = base.transform_filter("datum.kind == 'main'")
    layers = [
        main.mark_area(opacity=0.1 if len(names) <= 6 else 0.05).encode(y("ci_low"), y2="ci_high:Q"),
        main.mark_line(style="chance", strokeWidth=0.9, opacity=0.8).encode(y("chance")),
        main.mark_line(strokeWidth=1.5).encode(y("score")),
        main.mark_circle(size=22, opacity=1).encode(y("score"), tooltip=_tooltip()),
        _names(base, fontWeight="bold").encode(y("at")),
    ]
    chart = alt.LayerChart(layer=layers).properties(width=width, height=height)
    role = "panel: source, lines: targets" if metric == "calign" else "panel: one language, lines: the others"
    title = _title(metric, rows, f"{role}, dashed: {reference(metric)}")
    return _finish(chart, data, title, panels=alt.Facet("panel:N", title=None, sort=names), columns=columns)


# -- heat maps --------------------------------------------------------------------------------------


def pair_heatmap(
    results: Results,
    *,
    metric: str,
    model: str | None = None,
    stack: str | None = None,
    theta: float | None = None,
    width: int = 320,
) -> Chart:
    """Draw every pair (rows) at every layer (columns), paler for less, with the number in the cell.

    Parameters are those of `layer_curves`; of several runs only the first is drawn.  CALIGN is shown
    adjusted for chance: the scale starts at 0, the chance level, and what lies below is as pale as chance;
    the interval of a number in parentheses includes chance.  COLAP is shown as it is, for its null is
    reached when languages mix freely (see `reference`).
    """
    field = "adjusted" if metric in ADJUSTED else "score"
    rows = figure_rows(results, metric, model=model, stack=stack, theta=theta)
    rows = [row | {"cell": _cell(row, field)} for row in rows if row["run"] == rows[0]["run"]]
    top = max(0.1, max((row[field] for row in rows if row[field] is not None), default=0.1))
    red, green, blue = (int(_accent(metric)[i : i + 2], 16) for i in (1, 3, 5))
    # One hue from nearly transparent to full: paler is always nearer the paper, be it white or black.
    shades = [f"rgba({red}, {green}, {blue}, {alpha})" for alpha in (0.06, 1)]
    colour = alt.Color(f"{field}:Q", scale=alt.Scale(domain=[0, top], range=shades, clamp=True), legend=None)
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    base = alt.Chart().encode(
        alt.X("layer:O", axis=alt.Axis(labelAngle=0, orient="top", title="layer"), scale=GAPS),
        alt.Y("pair:N", sort=pairs, title=None, scale=GAPS),
        tooltip=_tooltip(),
    )
    text = base.mark_text(fontSize=9).encode(text="cell:N")
    chart = alt.LayerChart(layer=[base.mark_rect(cornerRadius=2).encode(colour), text])
    chart = chart.properties(width=width, height=(20 if len(pairs) <= 20 else 16) * len(pairs))
    note = "adjusted score, 0 = chance; (…): interval includes chance" if field == "adjusted" else "score"
    title = _title(metric, rows, note)
    return _finish(chart, rows, title)


def _cell(row: Row, field: str) -> str:
    if row[field] is None:
        return ""
    text = f"{round(row[field], 2) + 0.0:.2f}".replace("0.", ".", 1).replace("-", "−")
    above = row["ci_low"] is not None and row["chance"] is not None and row["ci_low"] > row["chance"]
    return text if above or field == "score" else f"({text})"


# -- parts ------------------------------------------------------------------------------------------


def _accent(metric: str) -> str:
    return ORANGE if metric.startswith("colap") else BLUE


def _by(rows: Iterable[Row], field: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[field]].append(row)
    return dict(found)


def _tooltip(*, of_mean: bool = False) -> list[alt.Tooltip]:
    numbers = [alt.Tooltip(f"{name}:Q", format=".3f", title=name.replace("_", " ")) for name in NUMBERS]
    head = [alt.Tooltip("run:N", title="model"), alt.Tooltip("pair:N"), alt.Tooltip("layer:Q")]
    head += [alt.Tooltip("n_pairs:Q", title="pairs")] if of_mean else []
    return [*head, *numbers, alt.Tooltip("n:Q", title="concepts"), alt.Tooltip("theta:Q")]


def _x(data: Iterable[Row], *, room: float, max_ticks: int = 13) -> alt.X:
    """Return the layers as an axis with `room` (a share of its span) left on the right for names of lines."""
    layers = sorted({row["layer"] for row in data})
    span = max(layers[-1] - layers[0], 1)
    step = next((s for s in (1, 2, 3, 4, 6, 8, 12) if span / s <= max_ticks), 24)
    ticks = [layer for layer in layers if (layer - layers[0]) % step == 0]
    scale = alt.Scale(domain=[layers[0] - 0.03 * span, layers[-1] + room * span], nice=False)
    return alt.X("layer:Q", axis=alt.Axis(values=ticks, format="d", grid=False, title="layer"), scale=scale)


def _y(field: str, top: float, *, title: str | None) -> alt.Y:
    axis = alt.Axis(tickCount=5, format=".1f" if top > 0.3 else ".2f")
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, top]), axis=axis)


def _top(rows: Iterable[Row], names: Sequence[str]) -> float:
    """Return the end of the score axis: the largest number shown, rounded up to a tenth."""
    values = [row[name] for row in rows for name in names if row.get(name) is not None]
    return min(1.0, max(0.1, math.ceil(max(values, default=0.1) * 10 - 1e-9) / 10))


def _names(base: alt.Chart, **look: Any) -> alt.Chart:
    """Write the name of every line at its right end, instead of a legend."""
    kept: alt.Chart = base.transform_filter("datum.kind == 'label'")
    named: alt.Chart = kept.mark_text(align="left", dx=7, **look).encode(text="text:N")
    return named


def _ends(
    lines: Mapping[str, Sequence[Row]], chance: Sequence[Row], *, top: float, height: float
) -> list[Row]:
    """Return one row a line for its name at its right end, and one for the word chance."""
    ends: dict[str, tuple[int, float]] = {}
    for name, field, rows in [(name, "score", rows) for name, rows in lines.items()] + [
        ("chance", "chance", chance)
    ]:
        drawn = [row for row in rows if row[field] is not None]
        last = [row[field] for row in drawn if row["layer"] == drawn[-1]["layer"]]
        if last:
            ends[name] = (drawn[-1]["layer"], sum(last) / len(last))
    gap = (LABEL_SIZE + 1) * top / height
    places = _spread({name: y for name, (_, y) in ends.items()}, gap, top)
    return [
        {"kind": "label", "layer": layer, "at": places[name], "text": name, "colour": name}
        for name, (layer, _) in ends.items()
    ]


def _spread(wanted: Mapping[str, float], gap: float, top: float) -> dict[str, float]:
    """Move positions in 0 .. top until neighbours are `gap` apart, keeping their order and their centre."""
    blocks: list[tuple[list[str], float]] = []  # names that touch, and the sum of their wanted positions
    for name, y in sorted(wanted.items(), key=lambda item: (item[1], item[0])):
        names, total = [name], y
        while blocks:
            below, low = blocks[-1]
            if total / len(names) - low / len(below) >= gap * (len(names) + len(below)) / 2:
                break
            blocks.pop()
            names, total = below + names, low + total
        blocks.append((names, total))
    placed: dict[str, float] = {}
    for names, total in blocks:
        half = gap * (len(names) - 1) / 2
        start = max(min(total / len(names) + half, top) - 2 * half, 0.0)
        placed |= {name: start + gap * i for i, name in enumerate(names)}
    return placed


def _title(metric: str, rows: Sequence[Row], note: str) -> alt.TitleParams:
    runs = list(dict.fromkeys(row["run"] for row in rows))
    where = runs[0] if len(runs) == 1 else f"{len(runs)} runs"
    return alt.TitleParams(f"{TITLES[metric]}, {where}", subtitle=f"θ = {rows[0]['theta']:g}; {note}")


def _finish(
    chart: alt.LayerChart,
    data: Sequence[Row],
    title: alt.TitleParams,
    *,
    panels: alt.Facet | None = None,
    columns: int = 2,
) -> Chart:
    """Give a chart its data, title and look, and lay out its panels."""
    chart = chart.properties(data=alt.InlineData(values=list(data)))
    if panels is None:
        return chart.properties(title=title, config=theme())
    faceted: alt.FacetChart = chart.facet(panels, columns=columns, spacing={"row": 22, "column": 18})
    faceted = faceted.resolve_axis(x="independent")  # no orphan axis under a missing last panel
    return faceted.properties(title=title, config=theme())
