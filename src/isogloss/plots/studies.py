"""Every figure of a finished study by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from isogloss.arguments import checked
from isogloss.coordinates import Clustering
from isogloss.errors import unknown
from isogloss.metrics.concepts.overlap import group_theta
from isogloss.metrics.registry import (
    ALIGNMENT,
    DIRECTED,
    GROUP_OVERLAP,
    OVERLAP,
    OVERLAP_ACROSS,
    SENTENCE,
    SOFT,
    SOFT_ALIGNMENT,
    with_theta,
)
from isogloss.plots.charts import language_curves, layer_curves, overlap_curves, sentence_curves
from isogloss.plots.companions import companion_panels
from isogloss.plots.files import save_charts
from isogloss.plots.labels import label_panels, shared_panels
from isogloss.plots.maps import language_map, pair_heatmap
from isogloss.plots.robustness import robustness_map
from isogloss.plots.rows import RUN, highest_layer, languages, run_labels
from isogloss.plots.task_charts import curve_chart, difference_chart, fate_chart, score_chart, transfer_chart
from isogloss.plots.theme import Chart
from isogloss.results import Results
from isogloss.store import StudyLayout, folder_name, read_table

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

_CURVE = {"step": pl.Int64, **dict.fromkeys(("epoch", "loss", "dev_loss", "dev_score"), pl.Float64)}
_CURVES = {SOFT: SOFT_ALIGNMENT, DIRECTED: ALIGNMENT, OVERLAP: OVERLAP}


@checked
def run_charts(
    results: Results, *, thetas: Mapping[str, float] | None = None, layer: int | None = None
) -> dict[str, Chart]:
    """Return the standard charts of one run by name, as far as its metrics are there.

    ``calign_soft``, ``calign`` and ``colap`` (curves), ``calign_pairs`` and ``colap_pairs`` (heat maps),
    ``calign_languages`` (a panel a language), ``calign_map`` and ``colap_map`` (language by language at one layer),
    ``colap_sentences`` (COLAP beside COLAP across sentences), ``sentences`` (how much of a concept is its sentence).

    Parameters
    ----------
    results : Results
    thetas : mapping of str to float, optional
        What to draw ``"calign"`` and ``"colap"`` at.
    layer : int, optional
        Of the maps; default: where CALIGN is highest above chance.
    """
    there, thetas = set(results.table["metric"].to_list()), thetas or {}
    charts: dict[str, Chart] = {}
    for name, metric in _CURVES.items():
        theta = thetas.get(name)
        if metric in there:
            charts[name] = layer_curves(results, metric=metric, theta=theta)
        if name == SOFT:
            continue
        if metric in there:
            charts[f"{name}_pairs"] = pair_heatmap(results, metric=metric, theta=theta)
        if name in there:
            at = highest_layer(results, theta=thetas.get(DIRECTED)) if layer is None else layer
            charts[f"{name}_map"] = language_map(results, metric=name, layer=at, theta=theta)
        if name == DIRECTED and name in there and len(languages(results.table)) > 2:
            charts["calign_languages"] = language_curves(results, metric=name, theta=theta)
    if {OVERLAP, OVERLAP_ACROSS} <= there:
        charts["colap_sentences"] = overlap_curves(results, theta=thetas.get(OVERLAP))
    if results.only(metric=SENTENCE)["score"].is_finite().any():
        charts["sentences"] = sentence_curves(results)
    return charts


@checked
def side_by_side(results: Results, *, thetas: Mapping[str, float] | None = None) -> dict[str, Chart]:
    """Return the curves of several runs in one figure, e.g. ``calign_soft_runs``; none of a single run."""
    if run_labels(results.table).height < 2:
        return {}
    there, thetas = set(results.table["metric"].to_list()), thetas or {}
    return {
        f"{name}_runs": layer_curves(results, metric=metric, theta=thetas.get(name), width=280, height=180)
        for name, metric in _CURVES.items()
        if metric in there
    }


@checked
def results_charts(results: Results, *, thetas: Mapping[str, float] | None = None) -> dict[str, Chart]:
    """Return the charts of `run_charts` for every run, ``WHAT_MODEL_STACK``, and those of `side_by_side`."""
    charts: dict[str, Chart] = {}
    for run in run_labels(results.table).iter_rows(named=True):
        of_run = Results(results.only(**{name: run[name] for name in RUN}))
        charts |= {f"{what}_{_name(run)}": chart for what, chart in run_charts(of_run, thetas=thetas).items()}
    return charts | side_by_side(results, thetas=thetas)


def beside_charts(study: FinishedStudy, run: Sequence[Clustering]) -> dict[str, Chart]:
    """Return the charts of what lies beside the results of one run, by name, as far as it is there.

    ``companions``: other measures of the same states; ``labels`` and ``labels_shared``: what concepts are made of.
    """
    charts: dict[str, Chart | None] = {}
    of_stack = (pl.col("model") == run[0].model) & (pl.col("stack") == run[0].stack)
    of_run = pl.all_horizontal(pl.col(name) == getattr(run[0], name) for name in RUN)
    companions = study.results.companions.filter(of_stack)
    if companions.height:
        charts["companions"] = companion_panels(Results(pl.concat([study.results.table.filter(of_run), companions])))
    if study.labels is not None and study.labels["scores"].filter(of_run).height:
        charts["labels"] = label_panels(study.labels["scores"].filter(of_run))
        charts["labels_shared"] = shared_panels(study.labels["splits"].filter(of_run), thetas=main_thetas(study))
    return _drawn(charts)


def tuning_charts(root: str | Path, *, thetas: Mapping[str, float]) -> dict[str, Chart]:
    """Return the charts of the fine-tuning part of a study folder by name, as far as their tables are there.

    ``tasks``: scores by language; ``training``: loss curves; ``differences``, ``movement``, ``transfer``.
    """
    study = StudyLayout(Path(root))
    charts: dict[str, Chart | None] = {}
    scores = study.table(study.task_scores, (), "tasks")
    if scores is not None:
        charts["tasks"] = score_chart(scores)
        names = scores["model"].unique(maintain_order=True).to_list()
        curves = {name: read_table(study.tuned(name) / "curve.parquet", _CURVE) for name in names}
        charts["training"] = curve_chart(pl.concat(t.with_columns(model=pl.lit(name)) for name, t in curves.items()))
    differences = study.table(study.differences, ()) if thetas else None
    if differences is not None:
        charts["differences"] = difference_chart(differences, thetas=thetas)
    fates = study.table(study.movement("fates"), ())
    if fates is not None and fates.filter(pl.col("compared") == "base").height:
        charts["movement"] = fate_chart(fates)
    points = study.table(study.transfer_points, (), "transfer")
    if points is not None:
        charts["transfer"] = transfer_chart(points)
    return _drawn(charts)


def whole_charts(study: FinishedStudy) -> dict[str, Chart]:
    """Return the charts of a whole study that are not of one run: ``robustness``, and those of `tuning_charts`."""
    orderings = None if study.robustness is None else robustness_map(study.robustness)
    return _drawn({"robustness": orderings}) | tuning_charts(study.root, thetas=main_thetas(study))


def study_charts(study: FinishedStudy) -> dict[str, Chart]:
    """Return every chart of a finished study by name, as far as its tables are in the folder.

    Those of `results_charts`; of every run those of `beside_charts`, with the run in the name; `whole_charts`.

    Examples
    --------
    >>> from isogloss.study import open_study
    >>> study_charts(open_study("my-study"))["calign_xlm-r_encoder"]  # doctest: +SKIP
    """
    charts = results_charts(study.results, thetas=main_thetas(study))
    for row, run in zip(run_labels(study.results.table).iter_rows(named=True), study.runs, strict=True):
        charts |= {f"{what}_{_name(row)}": chart for what, chart in beside_charts(study, run).items()}
    return charts | whole_charts(study)


def chosen_charts(study: FinishedStudy, names: Sequence[str]) -> dict[str, Chart]:
    """Return some charts of `study_charts`: a name in full, or without its run for all runs; all where none is named.

    Raises
    ------
    UsageError
        If the study has no such figure.
    """
    there = study_charts(study)
    ends = [f"_{_name(row)}" for row in run_labels(study.results.table).iter_rows(named=True)]
    chosen: dict[str, Chart] = {}
    for name in names:
        charts = {full: there[full] for full in (name, *(name + end for end in ends)) if full in there}
        if not charts:
            # the short names come first to mind, and are nearer to what was mistyped
            short = {next((full.removesuffix(end) for end in ends if full.endswith(end)), full) for full in there}
            raise unknown("figure", name, short)
        chosen |= charts
    return chosen if names else there


def save_study_figures(study: FinishedStudy) -> list[Path]:
    """Write every figure of a finished study as PNG and SVG into its folder ``figures``; return the paths."""
    return save_charts(study_charts(study), StudyLayout(study.root).figures)


@checked
def save_task_figures(root: str | Path) -> list[Path]:
    """Write the figures of `tuning_charts` that need no results: scores by language, and training curves."""
    charts = tuning_charts(root, thetas={})
    charts = {name: chart for name, chart in charts.items() if name in ("tasks", "training")}
    return save_charts(charts, StudyLayout(Path(root)).figures)


def main_thetas(study: FinishedStudy) -> dict[str, float]:
    """Return the first theta of a study for every measure that has one: what its figures are drawn at."""
    metrics = study.config.metrics
    first = {"alignment": metrics.theta_align[0], "overlap": metrics.theta_overlap[0]}
    whole = {GROUP_OVERLAP: group_theta(first["overlap"], len(study.languages))}
    return {measure.name: first[measure.family] for measure in with_theta()} | whole


def start_layer(study: FinishedStudy, run: Clustering) -> int:
    """Return the layer worth looking at first: the best by soft CALIGN of the run of a clustering, else its last."""
    of_run = [pl.col(name) == getattr(run, name) for name in RUN]
    best = study.by_layer.filter(*of_run, pl.col("metric") == SOFT_ALIGNMENT).filter("best")["layer"]
    return int(best[0]) if len(best) else max(study.results.table.filter(*of_run)["layer"].to_list())


def _drawn(charts: Mapping[str, Chart | None]) -> dict[str, Chart]:
    """Leave out the charts that had nothing to draw."""
    return {name: chart for name, chart in charts.items() if chart is not None}


def _name(run: dict[str, str]) -> str:
    """Return the part of a figure's name that tells a run, from a row of `run_labels`."""
    rest = run["label"].removeprefix(f"{run['model']} · {run['stack']}")
    return "_".join(folder_name(part) for part in (run["model"], run["stack"], rest) if part)
