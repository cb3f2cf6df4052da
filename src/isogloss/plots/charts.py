"""Curves over depth: all pairs with their mean, or a panel a language.

Every chart shows the chance level, of CALIGN both (words dotted, sentence dashed), and every mark carries its numbers
in a tooltip.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import altair as alt

from isogloss.arguments import Count, Share, checked
from isogloss.metrics.registry import ALIGNMENT, DIRECTED, MEASURES, OVERLAP, OVERLAP_ACROSS, SENTENCE
from isogloss.plots.rows import NUMBERS, Row, average, figure_rows, highest, languages, space_rows
from isogloss.plots.theme import LABEL_SIZE, MEAN, PALETTE, Chart, accent, against, count, facet, finish, numbers, span
from isogloss.results import Results

MAX_COLOURED = 4  # pairs that still get a colour, a band and a chance line each in one panel
_SHARE = {"alignment": "share of aligned concepts", "overlap": "share of overlapping concepts"}
_BEST = "mean best match"
COLUMNS = ("run", "layer", "pair", "source", "target", "theta", *NUMBERS, "n")


@checked
def layer_curves(
    results: Results,
    *,
    metric: str = ALIGNMENT,
    model: str | None = None,
    stack: str | None = None,
    theta: Share | None = None,
    width: Count = 320,
    height: Count = 230,
) -> Chart:
    """Draw score over layer, a line a pair, with intervals and chance levels; a panel a run.

    Of CALIGN there are two chance levels: words dotted, sentence dashed; of COLAP one, dashed.  Up to four pairs get a
    colour, a 95% band and chance lines each.  With more, pairs are thin
    grey lines and their mean is drawn out with its band and chance; `language_curves` tells them apart.

    Parameters
    ----------
    results : Results
    metric : {"calign_soft_mean", "calign_soft", "calign_mean", "calign", "colap", "colap_group"}
        Or a further form of CALIGN, e.g. ``"calign_covered"``.
    model, stack : str, optional
        Only these; otherwise a panel each.
    theta : float, optional
        Default: 0.5 for CALIGN and 0.3 for COLAP where present, else the smallest. Soft CALIGN has none.
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
    dashed = _dashed(metric)
    top = _top(rows, ("score", *dashed, *(["ci_high"] if few else [])))
    data: list[Row] = []
    for run, of_run in runs.items():
        lines = _by(of_run, "pair")
        if few:
            main = [row | {"colour": row["pair"]} for row in of_run]
        else:
            common = {"pair": MEAN, "colour": "mean", "run": run, "theta": of_run[0]["theta"]}
            main = [row | common for row in average(of_run)]
            lines = {"mean": main} | _extremes(lines)
            data += [row | {"kind": "pair"} for row in of_run]
        levels = {name: (field, main) for field, name in dashed.items() if MEASURES[metric].above_chance}
        marks = _ends({name: ("score", rows) for name, rows in lines.items()} | levels, top=top, height=height)
        data += [row | {"kind": "main"} for row in main] + [row | {"run": run} for row in marks]
    title = _BEST if MEASURES[metric].theta is None else _SHARE[MEASURES[metric].family]
    chart = _curve_layers(data, title, top=top, hue="" if few else accent(metric), levels=dashed)
    chart = chart.properties(width=width, height=height)
    marks_are = "bands: 95% intervals" if few else f"grey: {n_pairs} pairs, bold: their mean"
    words = titled(metric, rows, f"{marks_are}, {_lines(metric)}")
    words |= {"description": _curve_words(runs, metric, n_pairs), "columns": COLUMNS}
    return facet(chart, data, "run", list(runs), across=2, **words) if len(runs) > 1 else finish(chart, data, **words)


def _curve_words(runs: Mapping[str, Sequence[Row]], metric: str, n_pairs: int) -> str:
    """Say what the curves of every run show: where the mean of the pairs is highest, against chance."""
    layers = span(row["layer"] for rows in runs.values() for row in rows)
    text = f"{MEASURES[metric].title}, of {count(n_pairs, 'pair')} over {layers}"
    peaks = {run: highest(average(rows), metric) for run, rows in runs.items()}
    if len(runs) == 1:
        [peak] = peaks.values()
        if peak is None:
            return f"{text}; nothing could be measured."
        what = "the score" if n_pairs == 1 else "the mean"
        less = " less chance" if MEASURES[metric].above_chance else ""
        return f"{text}; {what}{less} is highest at layer {peak['layer']} {against(peak)}."
    places = [f"{run} at layer {peak['layer']} {against(peak)}" for run, peak in peaks.items() if peak]
    return f"{text}, a panel for each of {len(runs)} runs. The mean is highest in {'; '.join(places)}."


def _extremes(pairs: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return the pairs that end highest and lowest: the two worth naming beside the mean."""
    last = {name: rows[-1] for name, rows in pairs.items() if rows[-1]["score"] is not None}
    order = sorted(last, key=lambda name: (last[name]["score"], name))
    return {name: [last[name]] for name in order[:1] + order[-1:]}


def _curve_layers(
    data: Sequence[Row], title: str, *, top: float, hue: str = "", levels: Iterable[str] = ("chance",)
) -> alt.LayerChart:
    """Draw the main rows as lines, a colour each, with chance levels; or in one `hue`, and pairs in grey."""
    names = list(dict.fromkeys(row["colour"] for row in data if row["kind"] == "main"))
    scale = alt.Scale(domain=names, range=[hue] if hue else list(PALETTE[: len(names)]))
    colour = alt.Color("colour:N", scale=scale, legend=None)

    def y(field: str) -> alt.Y:
        return _y(field, top, title=title)

    base = alt.Chart().encode(_x(data, margin=0.2))
    main = base.transform_filter("datum.kind == 'main'")
    layers = [main.mark_area(opacity=0.14, clip=True).encode(y("ci_low"), y2="ci_high:Q", color=colour)]
    if hue:
        at_pointer: Any = {"on": "pointerover", "clear": "pointerout", "nearest": True, "empty": False}
        near = alt.selection_point(name="near", fields=["pair"], **at_pointer)
        pairs = base.transform_filter("datum.kind == 'pair'").encode(y("score"), detail="pair:N")
        pale, unseen = (alt.condition(near, alt.value(1), alt.value(opacity)) for opacity in (0.28, 0))
        dots = pairs.mark_circle(size=26).encode(opacity=unseen, tooltip=tooltip())
        layers += [pairs.mark_line(strokeWidth=1).encode(opacity=pale), dots.add_params(near)]
    layers += [
        *(main.mark_line(style=_STYLE[level]).encode(y(level), color=colour) for level in levels),
        main.mark_line(strokeWidth=2.2).encode(y("score"), color=colour),
        main.mark_circle(size=34, opacity=1).encode(y("score"), color=colour, tooltip=tooltip(of_mean=bool(hue))),
        *_names(base, y("at"), colour),
    ]
    return alt.LayerChart(layer=layers)


@checked
def language_curves(
    results: Results,
    *,
    metric: str = DIRECTED,
    model: str | None = None,
    stack: str | None = None,
    theta: Share | None = None,
    columns: Count = 3,
    width: Count = 150,
    height: Count = 130,
) -> Chart:
    """Draw a small panel a language: its pairs over layers, coloured by the other language.

    Parameters are those of `layer_curves`; of several runs only the first is drawn.  Every line has its
    95% band and its chance level (dashed; of CALIGN the higher of both).  For ``calign`` a panel is the source and its
    lines are the targets; for the other metrics a pair appears in the panels of both its languages.
    """
    rows = figure_rows(results, metric, model=model, stack=stack, theta=theta)
    rows = [row for row in rows if row["run"] == rows[0]["run"] and row["target"]]
    names, directed = languages(results.table), MEASURES[metric].directed
    top = _top(rows, ("score", "chance", "ci_high"))
    data: list[Row] = []
    for name in names:
        of_language = [row | {"colour": row["target"], "kind": "main"} for row in rows if row["source"] == name]
        if not directed:
            of_language += [row | {"colour": row["source"], "kind": "main"} for row in rows if row["target"] == name]
        by_colour = _by(of_language, "colour")
        ends = _ends({name: ("score", lines) for name, lines in by_colour.items()}, top=top, height=height)
        data += [row | {"panel": name} for row in of_language + ends]
    scale = alt.Scale(domain=names, range=[PALETTE[i % len(PALETTE)] for i in range(len(names))])
    colour = alt.Color("colour:N", scale=scale, legend=None)

    def y(field: str) -> alt.Y:
        return _y(field, top, title=None)

    base = alt.Chart().encode(_x(data, margin=0.25, max_ticks=7))
    main = base.transform_filter("datum.kind == 'main'").encode(colour)
    layers = [
        main.mark_area(opacity=0.1 if len(names) <= 6 else 0.05).encode(y("ci_low"), y2="ci_high:Q"),
        main.mark_line(style="chance", strokeWidth=0.9, opacity=0.8).encode(y("chance")),
        main.mark_line(strokeWidth=1.5).encode(y("score")),
        main.mark_circle(size=22, opacity=1).encode(y("score"), tooltip=tooltip()),
        *_names(base, y("at"), colour),
    ]
    chart = alt.LayerChart(layer=layers).properties(width=width, height=height)
    role = "panel: source, lines: targets" if directed else "panel: one language, lines: the others"
    words = titled(metric, rows, f"{role}, dashed: {_chance(metric)}")
    words |= {"description": _language_words(rows, metric, len(names)), "columns": ("panel", *COLUMNS)}
    return facet(chart, data, "panel", names, across=columns, **words)


def _language_words(rows: Sequence[Row], metric: str, n_languages: int) -> str:
    lines = count(len({row["pair"] for row in rows}), "direction" if MEASURES[metric].directed else "pair")
    text = f"{MEASURES[metric].title} of {lines} over {span(row['layer'] for row in rows)}, "
    text += f"a panel for each of {n_languages} languages"
    peak = highest(rows, metric)
    return f"{text}; highest for {peak['pair']} at layer {peak['layer']} {against(peak)}." if peak else f"{text}."


@checked
def overlap_curves(
    results: Results,
    *,
    model: str | None = None,
    stack: str | None = None,
    theta: Share | None = None,
    width: Count = 320,
    height: Count = 230,
) -> Chart:
    """Draw COLAP and COLAP across sentences over layers, the mean over pairs, with intervals; a panel a run.

    Dashed is what languages mixed at random would reach.  Parameters are those of `layer_curves`.
    """
    names = {"COLAP": OVERLAP, "across": OVERLAP_ACROSS}
    lines = {
        name: figure_rows(results, metric, model=model, stack=stack, theta=theta) for name, metric in names.items()
    }
    rows = lines["COLAP"]
    note = f"across: each language in other sentences; {_means(rows)}, dashed: {_chance(OVERLAP)}"
    words = titled(OVERLAP, rows, note)
    words["title"] = words["title"].replace("COLAP", "COLAP across sentences", 1)
    return _mean_curves(lines, _SHARE["overlap"], words, width=width, height=height)


@checked
def sentence_curves(
    results: Results, *, model: str | None = None, stack: str | None = None, width: Count = 320, height: Count = 230
) -> Chart:
    """Draw how much of a concept is its sentence over layers, a line a kind of space, with intervals; a panel a run.

    0 is what random concepts have, 1 that concepts are sentences.  Parameters are those of `layer_curves`.
    """
    rows = space_rows(results, SENTENCE, model=model, stack=stack)
    lines = _by(rows, "spaces")
    runs = list(dict.fromkeys(row["run"] for row in rows))
    words = {
        "title": f"How much of a concept is its sentence, {runs[0] if len(runs) == 1 else f'{len(runs)} runs'}",
        "note": f"0: as in random concepts, 1: nothing else; alone: each language; {_means(rows)}",
    }
    return _mean_curves(lines, "adjusted mutual information", words, width=width, height=height)


def _means(rows: Sequence[Row]) -> str:
    return "means of spaces, bands: 95% intervals" if len({row["pair"] for row in rows}) > 1 else "bands: 95% intervals"


def _mean_curves(
    lines: Mapping[str, Sequence[Row]], title: str, words: dict[str, Any], *, width: int, height: int
) -> Chart:
    """Draw the mean of every line's rows over layers, a panel a run."""
    top = _top(chain.from_iterable(lines.values()), ("score", "chance", "ci_high"))
    data: list[Row] = []
    runs = list(dict.fromkeys(row["run"] for rows in lines.values() for row in rows))
    highs: list[str] = []
    for run in runs:
        means: dict[str, list[Row]] = {}
        for name, rows in lines.items():
            of_run = [row for row in rows if row["run"] == run]
            common = {"kind": "main", "run": run, "pair": name, "colour": name, "theta": rows[0]["theta"]}
            means[name] = [mean | common for mean in average(of_run)]
            peak = max(means[name], key=lambda row: row["score"], default=None)
            highs += [f"{name} is highest at layer {peak['layer']} {against(peak)}"] if peak else []
        data += [row for rows in means.values() for row in rows]
        ends = {name: ("score", rows) for name, rows in means.items()}
        data += [row | {"run": run} for row in _ends(ends, top=top, height=height)]
    chart = _curve_layers(data, title, top=top).properties(width=width, height=height)
    words |= {"columns": COLUMNS, "description": f"{words['title']}: {'; '.join(highs) or 'nothing was measured'}."}
    return facet(chart, data, "run", runs, across=2, **words) if len(runs) > 1 else finish(chart, data, **words)


# -- parts ------------------------------------------------------------------------------------------


# of the lines of chance levels, by the number they show
_STYLE = {"chance": "chance", "chance_words": "dotted", "chance_sentence": "chance"}


def _dashed(metric: str) -> dict[str, str]:
    """Return the chance levels that are drawn, and their names: of CALIGN both, of others the one that there is."""
    if MEASURES[metric].above_chance:
        return {"chance_words": "words", "chance_sentence": "sentences"}
    return {"chance": "chance"}


def _lines(metric: str) -> str:
    """Say what the dotted and dashed lines are."""
    return "dotted: chance of words, dashed: of sentences" if len(_dashed(metric)) > 1 else f"dashed: {_chance(metric)}"


def _chance(metric: str) -> str:
    """Return what a single dashed line is: of COLAP it is no lower end, see `Measure.above_chance`."""
    measure = MEASURES[metric]
    return "chance, the higher of words and sentence" if measure.above_chance else measure.chance


def _by(rows: Iterable[Row], field: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[field]].append(row)
    return dict(groups)


def tooltip(*, of_mean: bool = False) -> list[alt.Tooltip]:
    """Return what a mark tells under the pointer: its run, pair and layer, and every number."""
    head = [alt.Tooltip("run:N", title="model"), alt.Tooltip("pair:N"), alt.Tooltip("layer:Q")]
    head += [alt.Tooltip("n_pairs:Q", title="pairs")] if of_mean else []
    return [*head, *numbers(*NUMBERS), alt.Tooltip("n:Q", title="concepts"), alt.Tooltip("theta:Q")]


def _x(data: Iterable[Row], *, margin: float, max_ticks: int = 13) -> alt.X:
    """Return the layers as an axis with a `margin` (a share of its span) left on the right for names of lines."""
    layers = sorted({row["layer"] for row in data})
    span = max(layers[-1] - layers[0], 1)
    step = next((s for s in (1, 2, 3, 4, 6, 8, 12) if span / s <= max_ticks), 24)
    ticks = [layer for layer in layers if (layer - layers[0]) % step == 0]
    scale = alt.Scale(domain=[layers[0] - 0.03 * span, layers[-1] + margin * span], nice=False)
    return alt.X("layer:Q", axis=alt.Axis(values=ticks, format="d", grid=False, title="layer"), scale=scale)


def _y(field: str, top: float, *, title: str | None) -> alt.Y:
    axis = alt.Axis(tickCount=5, format=".1f" if top > 0.3 else ".2f")
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, top]), axis=axis)


def _top(rows: Iterable[Row], names: Sequence[str]) -> float:
    """Return the end of the score axis: the largest number shown, rounded up to a tenth."""
    values = [row[name] for row in rows for name in names if row.get(name) is not None]
    return min(1.0, max(0.1, math.ceil(max(values, default=0.1) * 10 - 1e-9) / 10))


def _names(base: alt.Chart, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    """Write the name of every line at its right end, instead of a legend; a dot ties it to the line by colour.

    The name itself is in ink: no colour can be read as small text on white and on dark paper.
    """
    named = base.transform_filter("datum.kind == 'label'").encode(y)
    dots = named.transform_filter("datum.line").mark_circle(size=22, opacity=1, xOffset=7).encode(colour)
    return [dots, named.mark_text(align="left", dx=13).encode(text="text:N")]


def _ends(lines: Mapping[str, tuple[str, Sequence[Row]]], *, top: float, height: float) -> list[Row]:
    """Return one row a line, the number it shows and its rows, for its name at its right end."""
    ends: dict[str, tuple[int, float]] = {}
    for name, (field, rows) in lines.items():
        drawn = [row for row in rows if row[field] is not None]
        last = [row[field] for row in drawn if row["layer"] == drawn[-1]["layer"]]
        if last:
            ends[name] = (drawn[-1]["layer"], sum(last) / len(last))
    places = _spread({name: y for name, (_, y) in ends.items()}, (LABEL_SIZE + 2) * top / height, top)
    return [
        {"kind": "label", "layer": layer, "at": places[name], "text": name, "colour": name}
        | {"line": any(row.get("colour") == name for row in lines[name][1])}
        for name, (layer, _) in ends.items()
    ]


def _spread(wanted: Mapping[str, float], gap: float, top: float) -> dict[str, float]:
    """Move positions in 0 .. top until neighbours are `gap` apart, keeping their order and their centre."""
    blocks: list[tuple[list[str], float]] = []  # names that touch, and the sum of their wanted positions

    def start(names: list[str], total: float) -> float:
        half = gap * (len(names) - 1) / 2
        return max(min(total / len(names) + half, top) - 2 * half, 0.0)

    for name, y in sorted(wanted.items(), key=lambda item: (item[1], item[0])):
        names, total = [name], y
        while blocks:
            below, low = blocks[-1]
            if start(names, total) - start(below, low) >= gap * len(below) - 1e-9:
                break
            blocks.pop()
            names, total = below + names, low + total
        blocks.append((names, total))
    return {name: start(names, total) + gap * i for names, total in blocks for i, name in enumerate(names)}


def titled(metric: str, rows: Sequence[Row], note: str) -> dict[str, Any]:
    """Return the title of a chart and the line under it."""
    runs = list(dict.fromkeys(row["run"] for row in rows))
    where = runs[0] if len(runs) == 1 else f"{len(runs)} runs"
    measure = MEASURES[metric]
    both = "mean of both directions; " if measure.above_chance and not measure.directed else ""
    theta = "" if measure.theta is None else f"θ = {rows[0]['theta']:g}; "
    return {"title": f"{measure.title}, {where}", "note": f"{theta}{both}{note}"}
