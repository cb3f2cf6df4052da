"""Figures: Results, or a finished study, in; altair charts and files out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import altair as alt
import polars as pl
import vl_convert

from isogloss.plots.charts import Chart, language_curves, layer_curves, pair_heatmap, theme
from isogloss.plots.companions import companion_panels
from isogloss.plots.labels import label_panels, shared_panels
from isogloss.plots.robustness import robustness_map
from isogloss.plots.rows import RUN, languages, run_labels
from isogloss.plots.training import loss_curve, retrieval_curves
from isogloss.plots.tuning import (
    MAIN_SCORES,
    curve_chart,
    difference_chart,
    fate_chart,
    score_chart,
    transfer_chart,
)
from isogloss.results import Results
from isogloss.store import Study, atomic, folder_name

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy, Run

__all__ = [
    "MAIN_SCORES",
    "beside_charts",
    "companion_panels",
    "curve_chart",
    "difference_chart",
    "fate_chart",
    "label_panels",
    "language_curves",
    "layer_curves",
    "loss_curve",
    "pair_heatmap",
    "retrieval_curves",
    "robustness_map",
    "run_charts",
    "save_figures",
    "save_study_figures",
    "save_task_figures",
    "score_chart",
    "shared_panels",
    "theme",
    "transfer_chart",
    "tuning_charts",
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


def beside_charts(study: FinishedStudy, run: Run) -> dict[str, Chart]:
    """Return the charts of what lies beside the results of one run, by name, as far as it is there.

    ``companions``: other measures of the same states; ``labels`` and ``labels_shared``: what concepts are made of.
    """
    found: dict[str, Chart] = {}
    mine = (pl.col("model") == run.model) & (pl.col("stack") == run.stack)
    own = mine & pl.all_horizontal(
        pl.col(name) == getattr(run, name) for name in ("method", "n_concepts", "seed")
    )
    if study.companions is not None and study.companions.filter(mine).height:
        results = study.results.table.filter(own)
        found["companions"] = companion_panels(results, study.companions.filter(mine))
    if study.labels is not None and study.labels["scores"].filter(own).height:
        found["labels"] = label_panels(study.labels["scores"].filter(own))
        shared = shared_panels(study.labels["splits"].filter(own), thetas=main_thetas(study))
        if shared is not None:
            found["labels_shared"] = shared
    return found


def tuning_charts(root: str | Path, *, thetas: Mapping[str, float]) -> dict[str, Chart]:
    """Return the charts of the fine-tuning part of a study folder by name, as far as their tables are there.

    ``tasks``: scores by language; ``training``: loss curves; ``differences``, ``movement``, ``transfer``.
    """
    study = Study(Path(root))
    found: dict[str, Chart] = {}
    if study.task_scores.is_file():
        scores = pl.read_parquet(study.task_scores)
        found["tasks"] = score_chart(scores)
        names = scores["model"].unique(maintain_order=True).to_list()
        curves = [
            pl.read_parquet(study.tuned(name) / "curve.parquet").with_columns(model=pl.lit(name))
            for name in names
        ]
        found["training"] = curve_chart(pl.concat(curves))
    if study.differences.is_file() and thetas:
        found["differences"] = difference_chart(pl.read_parquet(study.differences), thetas=thetas)
    if study.movement("fates").is_file():
        fates = pl.read_parquet(study.movement("fates"))
        if fates.filter(pl.col("compared") == "base").height:
            found["movement"] = fate_chart(fates)
    if study.transfer_points.is_file():
        chart = transfer_chart(pl.read_parquet(study.transfer_points))
        if chart is not None:
            found["transfer"] = chart
    return found


def save_task_figures(root: str | Path) -> list[Path]:
    """Write the figures of `tuning_charts` that need no results: scores by language, and training curves."""
    folder = Study(Path(root)).figures
    charts = tuning_charts(root, thetas={})
    return [path for name in ("tasks", "training") for path in write_chart(charts[name], folder / name)]


def main_thetas(study: FinishedStudy) -> dict[str, float]:
    """Return the first thetas of a study, which its figures are drawn at."""
    metrics = study.config.metrics
    return {"calign": metrics.theta_align[0], "colap": metrics.theta_overlap[0]}


def save_study_figures(study: FinishedStudy) -> list[Path]:
    """Write every figure of a finished study into its folder ``figures``; return the paths.

    Beside those of `save_figures`, for every run ``companions_...``, ``labels_...`` and ``labels_shared_...``, and the
    map ``robustness``, as far as their tables are in the folder.
    """
    folder = Study(study.root).figures
    written = save_figures(study.results, folder, thetas=main_thetas(study))
    charts: dict[str, Chart] = {}
    for row, run in zip(run_labels(study.results.table).iter_rows(named=True), study.runs, strict=True):
        charts |= {f"{what}_{_name(row)}": chart for what, chart in beside_charts(study, run).items()}
    if study.robustness is not None:
        charts["robustness"] = robustness_map(study.robustness)
    charts |= tuning_charts(study.root, thetas=main_thetas(study))
    return written + [path for name, chart in charts.items() for path in write_chart(chart, folder / name)]


def _name(run: dict[str, str]) -> str:
    """Return the part of a figure's name that tells a run, from a row of `run_labels`."""
    rest = run["label"].removeprefix(f"{run['model']} · {run['stack']}")
    return "_".join(folder_name(part) for part in (run["model"], run["stack"], rest) if part)


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
        charts |= {f"{what}_{_name(run)}": chart for what, chart in run_charts(own, thetas=thetas).items()}
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
