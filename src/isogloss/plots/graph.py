"""The graph of a study's steps, drawn by stages: what waits for what, and how many steps run side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from isogloss.plots.theme import BLUE, count, finish

_ACROSS, _DOWN = 150, 60  # pixels from stage to stage
_WIDE, _HIGH = 0.38, 0.36  # half of a box, as part of these


def graph_chart(stages: Sequence[Mapping[str, Any]], links: Sequence[tuple[str, str]]) -> alt.LayerChart:
    """Draw the stages of a study, from left to right.

    Parameters
    ----------
    stages : sequence of mapping
        ``stage, steps, depth``, as `isogloss.runner.stage_graph` returns them.
    links : sequence of (str, str)
        A stage, and one that reads what it writes.
    """
    place: dict[str, tuple[int, float]] = {}
    depths = [stage["depth"] for stage in stages]
    for stage in stages:
        mates = [other["stage"] for other in stages if other["depth"] == stage["depth"]]
        place[stage["stage"]] = (stage["depth"], mates.index(stage["stage"]) - (len(mates) - 1) / 2)
    boxes = [
        {"kind": "stage", "x": x - _WIDE, "x2": x + _WIDE, "y": y - _HIGH, "y2": y + _HIGH, "middle": x, "line": y}
        | {"stage": stage["stage"], "steps": stage["steps"], "label": count(stage["steps"], "step")}
        for stage in stages
        for x, y in [place[stage["stage"]]]
    ]
    lines = [
        {"kind": "link", "from": a, "to": b, "x": place[a][0] + _WIDE, "y": place[a][1]}
        | {"x2": place[b][0] - _WIDE, "y2": place[b][1]}
        for a, b in links
    ]
    tallest = max(depths.count(depth) for depth in depths)
    across = alt.Scale(domain=[-0.5, max(depths) + 0.5], nice=False)
    down = alt.Scale(domain=[tallest / 2, -tallest / 2], nice=False)
    box = alt.Chart().transform_filter("datum.kind == 'stage'")
    ends: Any = {"x": alt.X("x:Q", axis=None, scale=across), "x2": alt.X2("x2:Q")}
    ends |= {"y": alt.Y("y:Q", axis=None, scale=down), "y2": alt.Y2("y2:Q")}
    words = box.encode(alt.X("middle:Q", scale=across), alt.Y("line:Q", scale=down))
    layers = [
        alt.Chart().transform_filter("datum.kind == 'link'").mark_rule(opacity=0.4).encode(**ends),
        box.mark_rect(cornerRadius=4, opacity=0.16, color=BLUE).encode(**ends, tooltip=["stage:N", "steps:Q"]),
        words.mark_text(dy=-7, fontWeight="bold").encode(alt.Text("stage:N")),
        words.mark_text(dy=8).encode(alt.Text("label:N")),
    ]
    total = sum(stage["steps"] for stage in stages)
    widest = max(stages, key=lambda stage: stage["steps"])
    return finish(
        alt.LayerChart(layer=layers).properties(width=_ACROSS * (max(depths) + 1), height=_DOWN * max(2, tallest)),
        [*lines, *boxes],
        title="Steps of the study",
        note="a line: the right stage reads what the left one writes; steps of a stage run side by side",
        description=(
            f"The graph of a study's {count(total, 'step')} in {count(len(stages), 'stage')}, {max(depths) + 1} deep; "
            f"widest is {widest['stage']} with {count(widest['steps'], 'step')}."
        ),
        columns=("kind", "stage", "steps", "from", "to"),
    )
