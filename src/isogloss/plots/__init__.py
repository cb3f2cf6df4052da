"""Figures: Results in, altair charts and files out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import altair as alt
import vl_convert

from isogloss.plots.charts import Chart, language_curves, layer_curves, pair_heatmap, theme
from isogloss.plots.companions import companion_panels
from isogloss.plots.robustness import robustness_map
from isogloss.plots.rows import RUN, languages, run_labels
from isogloss.plots.training import loss_curve, retrieval_curves
from isogloss.results import Results
from isogloss.store import atomic, folder_name

__all__ = [
    "companion_panels",
    "language_curves",
    "layer_curves",
    "loss_curve",
    "pair_heatmap",
    "retrieval_curves",
    "robustness_map",
    "run_charts",
    "save_figures",
    "theme",
    "write_chart",
]

# The version altair writes, of those that vl-convert carries: "v6.4.1" -> "v6_4".
VEGA_LITE = "_".join(alt.SCHEMA_VERSION.split(".")[:2])


def run_charts(results: Results, *, thetas: Mapping[str, float] | None = None) -> dict[str, Chart]:
    """Return the standard charts of one run by name, as far as its metrics are there.

    `thetas` may name the theta to draw for ``"calign"`` and ``"colap"``.
    """
    there = set(results.table["metric"].to_list())
    calign, colap = (dict(thetas or {}).get(name) for name in ("calign", "colap"))
    found: dict[str, Chart] = {}
    if "calign_mean" in there:
        found["calign"] = layer_curves(results, metric="calign_mean", theta=calign)
        found["calign_pairs"] = pair_heatmap(results, metric="calign_mean", theta=calign)
    if "colap" in there:
        found["colap"] = layer_curves(results, metric="colap", theta=colap)
        found["colap_pairs"] = pair_heatmap(results, metric="colap", theta=colap)
    if "calign" in there and len(languages(results.table)) > 2:
        found["calign_languages"] = language_curves(results, metric="calign", theta=calign)
    return found


def save_figures(
    results: Results, folder: str | Path, *, thetas: Mapping[str, float] | None = None
) -> list[Path]:
    """Write every figure of every run as PNG (3x) and SVG, atomically; return the paths.

    Names are ``WHAT_MODEL_STACK.png``, with WHAT among ``calign``, ``colap`` (curves), ``calign_languages``
    (a panel a language), ``calign_pairs`` and ``colap_pairs`` (heat maps).  With several runs,
    ``calign_runs`` and ``colap_runs`` show their curves side by side.  `thetas`: see `run_charts`.
    """
    charts: dict[str, Chart] = {}
    labels = run_labels(results.table)
    for run in labels.iter_rows(named=True):
        own = Results(results.only(**{name: run[name] for name in RUN}))
        rest = run["label"].removeprefix(f"{run['model']} · {run['stack']}")
        name = "_".join(folder_name(part) for part in (run["model"], run["stack"], rest) if part)
        charts |= {f"{what}_{name}": chart for what, chart in run_charts(own, thetas=thetas).items()}
    if labels.height > 1:
        for what, metric in (("calign", "calign_mean"), ("colap", "colap")):
            if metric in results.table["metric"].to_list():
                theta = dict(thetas or {}).get(what)
                charts[f"{what}_runs"] = layer_curves(results, metric=metric, theta=theta)
    return [path for name, chart in charts.items() for path in write_chart(chart, Path(folder) / name)]


def write_chart(chart: alt.TopLevelMixin, stem: Path) -> list[Path]:
    """Write one chart as ``STEM.png`` (3x) and ``STEM.svg``, atomically; return the paths."""
    # The rows are our own: checking each against the Vega-Lite schema would take most of the time.
    svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=False), vl_version=VEGA_LITE)
    written = []
    for kind, content in (("png", vl_convert.svg_to_png(svg, scale=3.0)), ("svg", svg.encode())):
        path = stem.with_name(f"{stem.name}.{kind}")
        with atomic(path) as f:
            f.write(content)
        written.append(path)
    return written
