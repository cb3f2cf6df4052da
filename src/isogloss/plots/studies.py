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
from isogloss.metrics.registry import ALIGNMENT, DIRECTED, GROUP_OVERLAP, OVERLAP, with_theta
from isogloss.plots.charts import language_curves, layer_curves
from isogloss.plots.companions import companion_panels
from isogloss.plots.files import save_charts
from isogloss.plots.labels import label_panels, shared_panels
from isogloss.plots.maps import language_map, pair_heatmap
from isogloss.plots.robustness import robustness_map
from isogloss.plots.rows import RUN, languages, run_labels, start_layer
from isogloss.plots.task_charts import curve_chart, difference_chart, fate_chart, score_chart, transfer_chart
from isogloss.plots.theme import Chart
from isogloss.results import Results
from isogloss.store import StudyLayout, folder_name, read_table

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

_CURVE = {"step": pl.Int64, **dict.fromkeys(("epoch", "loss", "dev_loss", "dev_score"), pl.Float64)}  # of training
_CURVES = {DIRECTED: ALIGNMENT, OVERLAP: OVERLAP}


@checked
def run_charts(
    results: Results, *, thetas: Mapping[str, float] | None = None, layer: int | None = None
) -> dict[str, Chart]:
    """Return the standard charts of one run by name, as far as its metrics are there.

    ``calign`` and ``colap`` (curves), ``calign_pairs`` and ``colap_pairs`` (heat maps), ``calign_languages`` (a panel a
    language), ``calign_map`` and ``colap_map`` (language by language at one layer).

    Parameters
    ----------
    results : Results
    thetas : mapping of str to float, optional
        What to draw ``"calign"`` and ``"colap"`` at.
    layer : int, optional
        Of the maps; default: where CALIGN is highest above chance.
    """
    there = set(results.table["metric"].to_list())
    many = len(languages(results.table)) > 2
    found: dict[str, Chart] = {}
    for name, metric in _CURVES.items():
        theta = dict(thetas or {}).get(name)
        if metric in there:
            found[name] = layer_curves(results, metric=metric, theta=theta)
            found[f"{name}_pairs"] = pair_heatmap(results, metric=metric, theta=theta)
        if name in there:
            at = start_layer(results, theta=dict(thetas or {}).get(DIRECTED)) if layer is None else layer
            found[f"{name}_map"] = language_map(results, metric=name, layer=at, theta=theta)
        if name == DIRECTED and name in there and many:
            found["calign_languages"] = language_curves(results, metric=name, theta=theta)
    return found


@checked
def side_by_side(results: Results, *, thetas: Mapping[str, float] | None = None) -> dict[str, Chart]:
    """Return the curves of several runs in one figure, ``calign_runs`` and ``colap_runs``; none of a single run."""
    if run_labels(results.table).height < 2:
        return {}
    there = set(results.table["metric"].to_list())
    return {
        f"{name}_runs": layer_curves(results, metric=metric, theta=dict(thetas or {}).get(name), width=280, height=180)
        for name, metric in _CURVES.items()
        if metric in there
    }


@checked
def results_charts(results: Results, *, thetas: Mapping[str, float] | None = None) -> dict[str, Chart]:
    """Return the charts of `run_charts` for every run, ``WHAT_MODEL_STACK``, and those of `side_by_side`."""
    found: dict[str, Chart] = {}
    for run in run_labels(results.table).iter_rows(named=True):
        own = Results(results.only(**{name: run[name] for name in RUN}))
        found |= {f"{what}_{_name(run)}": chart for what, chart in run_charts(own, thetas=thetas).items()}
    return found | side_by_side(results, thetas=thetas)


def beside_charts(study: FinishedStudy, run: Sequence[Clustering]) -> dict[str, Chart]:
    """Return the charts of what lies beside the results of one run, by name, as far as it is there.

    ``companions``: other measures of the same states; ``labels`` and ``labels_shared``: what concepts are made of.
    """
    found: dict[str, Chart] = {}
    mine = (pl.col("model") == run[0].model) & (pl.col("stack") == run[0].stack)
    of_run = (pl.col(name) == getattr(run[0], name) for name in ("method", "n_concepts", "seed"))
    own = mine & pl.all_horizontal(of_run)
    companions = study.results.companions.filter(mine)
    if companions.height:
        results = Results(pl.concat([study.results.table.filter(own), companions]))
        found["companions"] = companion_panels(results)
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
    study = StudyLayout(Path(root))
    found: dict[str, Chart] = {}
    scores = study.table(study.task_scores, (), "tasks")
    if scores is not None:
        found["tasks"] = score_chart(scores)
        names = scores["model"].unique(maintain_order=True).to_list()
        curves = [
            read_table(study.tuned(name) / "curve.parquet", _CURVE).with_columns(model=pl.lit(name)) for name in names
        ]
        found["training"] = curve_chart(pl.concat(curves))
    differences = study.table(study.differences, ()) if thetas else None
    if differences is not None:
        found["differences"] = difference_chart(differences, thetas=thetas)
    fates = study.table(study.movement("fates"), ())
    if fates is not None and fates.filter(pl.col("compared") == "base").height:
        found["movement"] = fate_chart(fates)
    points = study.table(study.transfer_points, (), "transfer")
    if points is not None:
        chart = transfer_chart(points)
        if chart is not None:
            found["transfer"] = chart
    return found


def whole_charts(study: FinishedStudy) -> dict[str, Chart]:
    """Return the charts of a whole study that are not of one run: ``robustness``, and those of `tuning_charts`."""
    found: dict[str, Chart] = {}
    orderings = None if study.robustness is None else robustness_map(study.robustness)
    if orderings is not None:
        found["robustness"] = orderings
    return found | tuning_charts(study.root, thetas=main_thetas(study))


def study_charts(study: FinishedStudy) -> dict[str, Chart]:
    """Return every chart of a finished study by name, as far as its tables are in the folder.

    Those of `results_charts`; of every run those of `beside_charts`, with the run in the name; `whole_charts`.

    Examples
    --------
    >>> from isogloss.study import open_study
    >>> study_charts(open_study("my-study"))["calign_xlm-r_encoder"]  # doctest: +SKIP
    """
    found = results_charts(study.results, thetas=main_thetas(study))
    for row, run in zip(run_labels(study.results.table).iter_rows(named=True), study.runs, strict=True):
        found |= {f"{what}_{_name(row)}": chart for what, chart in beside_charts(study, run).items()}
    return found | whole_charts(study)


def chosen_charts(study: FinishedStudy, names: Sequence[str]) -> dict[str, Chart]:
    """Return some charts of `study_charts`: a name in full, or without its run for all runs; all where none is named.

    Raises
    ------
    UsageError
        If the study has no such figure.
    """
    there = study_charts(study)
    ends = [f"_{_name(row)}" for row in run_labels(study.results.table).iter_rows(named=True)]
    found: dict[str, Chart] = {}
    for name in names:
        own = {full: there[full] for full in (name, *(name + end for end in ends)) if full in there}
        if not own:
            # the short names come first to mind, and are nearer to what was mistyped
            short = {next((full.removesuffix(end) for end in ends if full.endswith(end)), full) for full in there}
            raise unknown("figure", name, short)
        found |= own
    return found if names else there


def save_study_figures(study: FinishedStudy) -> list[Path]:
    """Write every figure of a finished study as PNG and SVG into its folder ``figures``; return the paths."""
    return save_charts(study_charts(study), StudyLayout(study.root).figures)


@checked
def save_task_figures(root: str | Path) -> list[Path]:
    """Write the figures of `tuning_charts` that need no results: scores by language, and training curves."""
    charts = tuning_charts(root, thetas={})
    shown = ("tasks", "training")
    return save_charts({n: chart for n, chart in charts.items() if n in shown}, StudyLayout(Path(root)).figures)


def main_thetas(study: FinishedStudy) -> dict[str, float]:
    """Return the first theta of a study for every measure that has one: what its figures are drawn at."""
    metrics = study.config.metrics
    first = {"alignment": metrics.theta_align[0], "overlap": metrics.theta_overlap[0]}
    whole = {GROUP_OVERLAP: group_theta(first["overlap"], len(study.languages))}
    return {measure.name: first[measure.family] for measure in with_theta()} | whole


def _name(run: dict[str, str]) -> str:
    """Return the part of a figure's name that tells a run, from a row of `run_labels`."""
    rest = run["label"].removeprefix(f"{run['model']} · {run['stack']}")
    return "_".join(folder_name(part) for part in (run["model"], run["stack"], rest) if part)
