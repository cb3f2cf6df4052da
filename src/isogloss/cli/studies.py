"""Commands on whole studies: demo, run, status, report."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.arguments import NTypes, Port, PositiveShare, Several, Translations
from isogloss.cli.common import Json, Out, Processes, Quiet, StudyDir, StudyFile, command, tell

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy
    from isogloss.study.power import Power

log = logging.getLogger(__name__)

_LONG = 3600.0  # seconds of exact trees from which a sample is offered


@command()
def demo(
    out: Annotated[Path, typer.Option(help="The study folder to make.")] = Path("isogloss-demo"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the built-in study on the built-in model and corpus; needs no network."""
    from importlib.util import find_spec

    from isogloss.starter.study import write_study, write_tuning_study

    facts, lines = _run(write_study(out / "input"), out=out)
    if find_spec("accelerate") is None:
        log.warning("the demo leaves out its fine-tuning part: it needs pip install 'isogloss[finetune]'")
    else:
        facts["finetune"], more = _run(write_tuning_study(out / "input"), out=out / "finetune")
        lines += ["Fine-tuning:", *more]
    tell(as_json, facts, lines)


@command()
def run(
    study: StudyFile,
    out: Out = None,
    workers: Processes = None,
    scheduler: Annotated[
        str | None, typer.Option(help="local, or on Dask: processes, slurm, or an address such as tls://host:8786.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="URL for workers without a common file system: s3://bucket/study.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Only this stage, e.g. states or concepts, and what it needs; --plan lists all stages.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print steps, what is done, sizes, times, job script; do nothing.")
    ] = False,
    graph: Annotated[
        Path | None, typer.Option(help="With --plan: draw the graph of steps to this file (.svg, .pdf, .png).")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a study, or go on with an interrupted one: states, concepts, results, figures, report.

    A study file names text and models; the smallest is

    corpus: {files: {en: dev.en, de: dev.de}}

    models: [{path: bert-base-multilingual-cased}]

    `isogloss demo` writes one to start from, and docs/study-file.md has every key. What is done is not done again.
    """
    if plan:
        from isogloss.study import job_script, preview

        ahead, script = preview(study, out=out, until=until), job_script(study, scheduler=scheduler)
        facts = asdict(ahead) | ({"job_script": script} if script else {})
        lines = _stage_lines(ahead.stages) + _power_lines(ahead.power) + (["", *script.splitlines()] if script else [])
        if graph is not None:
            from isogloss.plots import graph_chart, write_chart
            from isogloss.study import planned_graph

            chart = graph_chart(*planned_graph(study, out=out, scheduler=scheduler, until=until))
            written = write_chart(chart, graph.with_suffix(""), formats=[graph.suffix.lstrip(".")])
            lines.append(f"Graph: {written[0]}")
        tell(as_json, facts, lines)
    else:
        how = {"workers": workers, "scheduler": scheduler, "storage": storage}
        tell(as_json, *_run(study, out=out, until=until, **how))


def _run(study: Path, *, out: Path | None, until: str | None = None, **how: Any) -> tuple[dict[str, Any], list[str]]:
    from isogloss.config import read_config
    from isogloss.store import StudyLayout
    from isogloss.study import run_study

    config = read_config(study)
    folder = StudyLayout(Path(out or config.name))
    results = run_study(config, out=folder.root, until=until, **how)
    if until is not None:
        return {"study": folder.root, "until": until}, [f"Done until {until}: {folder.root}"]
    shown, lines = _show(folder.root)
    n = results.table.height
    facts = {"study": folder.root, "results": folder.results_csv, "n_estimates": n}
    return facts | shown, [f"{n} results: {folder.results_csv}", *lines]


def _findings(study: FinishedStudy) -> dict[str, str]:
    """Return the first sentence of every run of a finished study, by the name of the run."""
    from isogloss.plots.rows import run_labels
    from isogloss.report.answer import study_answers

    runs = run_labels(study.results.table).iter_rows(named=True)
    return {run["label"]: study_answers(study, run)[0] for run in runs}


def _show(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Draw the figures of a finished study and write its report; return what to tell of them."""
    from isogloss.plots import save_study_figures
    from isogloss.report import write_report
    from isogloss.store import StudyLayout
    from isogloss.study import open_study

    study = open_study(folder)
    figures, report, findings = save_study_figures(study), write_report(folder), _findings(study)
    lines = [f"{len(figures)} figures: {StudyLayout(folder).figures}", f"Report: {report}"]
    lines += [f"{label}: {finding}" for label, finding in findings.items()]
    return {"figures": figures, "report": report, "findings": findings}, lines


def _stage_lines(stages: list[dict[str, Any]]) -> list[str]:
    lines = [f"{'stage':20} {'steps':>6} {'done':>6} {'size':>12} {'about':>12}"]
    for s in stages:
        size = f"{s['bytes'] / 1e6:,.0f} MB" if s["bytes"] else ""
        lines.append(f"{s['stage']:20} {s['steps']:6d} {s['done']:6d} {size:>12} {_duration(s['seconds']):>12}")
    if any(s["stage"] == "trees" and s["seconds"] > _LONG for s in stages):
        lines.append("Trees of a sample take less: discovery.options {sample: 50000}, see docs/discovery.md.")
    return [line.rstrip() for line in lines]


def _power_lines(power: list[Power]) -> list[str]:
    lines = ["What it can show, as a rule of thumb (first layers to last; 8 times in 10, corrected for all looked at):"]
    for x in power:
        lines.append(
            f"K {x.n_concepts}: {x.least} to {x.most} concepts of {x.language} count ({x.n_types} types); seen from "
            f"{x.soft[1]:.3f} to {x.soft[0]:.3f} above chance (soft CALIGN), {x.calign[1]:.2f} to {x.calign[0]:.2f} "
            "(CALIGN at 0.5)"
        )
    return lines


def _duration(seconds: float) -> str:
    if seconds < 1:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


@command()
def status(
    folder: StudyDir,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and check its digest.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tell what of a study is done, running or missing, and how large it is."""
    from isogloss.errors import IsoglossError
    from isogloss.study import open_study, study_status

    facts = study_status(folder, verify=verify)
    try:
        facts["findings"] = _findings(open_study(folder))
    except IsoglossError:
        # not finished yet, or with other settings than the folder's
        facts["findings"] = {}
    lines = _stage_lines(facts["stages"])
    lines += [f"{label}: {finding}" for label, finding in facts["findings"].items()]
    lines.append(f"running: process {facts['running']}" if facts["running"] else "running: nothing")
    lines.append(f"on disk: {facts['bytes'] / 1e6:,.1f} MB in {facts['files']} files")
    lines += [f"missing: {name}" for name in facts["missing"][:10]]
    if len(facts["missing"]) > 10:
        lines.append(f"missing: ... and {len(facts['missing']) - 10} more")
    tell(as_json, facts, lines)


@command()
def report(
    folder: StudyDir,
    out: Annotated[Path | None, typer.Option(help="The HTML file; default: report.html in DIR.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the report of a finished study: one HTML file."""
    from isogloss.report import write_report

    path = write_report(folder, out=out)
    tell(as_json, {"report": path}, [f"Report: {path}"])


@command()
def explore(
    folder: StudyDir,
    port: Annotated[Port, typer.Option(help="0: any free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    quiet: Quiet = False,
) -> None:
    """Look through a finished study in a local page: layers, concepts, words, sentences. Ctrl-C ends it."""
    from isogloss.explore import explore_study

    explore_study(folder, port=port, browser=browser)


@command()
def compare(
    folder: StudyDir,
    first: Annotated[str, typer.Argument(help="A model of the study, e.g. a base.")],
    second: Annotated[str, typer.Argument(help="Another, e.g. what was fine-tuned from it.")],
    out: Annotated[Path | None, typer.Option(help="Write all differences to this CSV file.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tell how two models of a study differ, with intervals from the same resamples of sentences."""
    from isogloss.metrics.registry import GROUP_OVERLAP, MEASURES, headlines
    from isogloss.store import write_csv
    from isogloss.study import compare as differences

    table = differences(folder, first, second)
    if out is not None:
        write_csv(out, table.fill_nan(None))
    read = {measure.name: measure.column for measure in (*headlines(), MEASURES[GROUP_OVERLAP])}
    rows = table.filter(table["of"] == table["metric"].replace_strict(read, default=""))
    lines = [f"{'metric':17} {'layer':>5} {'pair':14} {'difference':>10}  {'95 %':16} {'q':>6}"]
    for r in rows.iter_rows(named=True):
        pair = "-".join(x for x in (r["source"], r["target"]) if x)
        ends = f"{r['ci_low']:+.3f} to {r['ci_high']:+.3f}"
        lines.append(
            f"{r['metric']:17} {r['layer']:5d} {pair:14} {r['difference']:+10.3f}  {ends:16} {r['q_value']:6.3f}"
        )
    tell(as_json, {"differences": table.fill_nan(None).to_dicts()}, lines)


@command()
def robustness(
    folder: StudyDir,
    theta: Annotated[
        list[PositiveShare] | None, typer.Option(help="Thresholds; repeat; default: 0.3, 0.4 ... 0.9.")
    ] = None,
    n_concepts: Annotated[
        list[Several] | None, typer.Option(help="Repeat; default: half of the study's number, it, and twice it.")
    ] = None,
    top: Annotated[
        list[Translations] | None, typer.Option(help="Translations a word; repeat; default: 1, 5, 10.")
    ] = None,
    min_types: Annotated[
        list[NTypes] | None, typer.Option(help="Types that a concept must have; repeat; default: 3, 5, 8.")
    ] = None,
    workers: Processes = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure CALIGN under other settings: does the ordering of layers, pairs and models survive?

    Nothing is clustered again. The section `robustness` of a study file makes the same part of every run.
    """
    from isogloss.store import StudyLayout
    from isogloss.study import robustness as sweep

    options = {"theta_align": theta, "n_concepts": n_concepts, "top": top, "min_types": min_types}
    table = sweep(folder, workers=workers, **{name: value for name, value in options.items() if value})
    lines = [f"{table.height} combinations: {StudyLayout(folder).robustness_csv}"]
    for what in ("layers", "pairs", "models"):
        rhos = table[f"rho_{what}"].drop_nulls().sort()
        if len(rhos):
            lines.append(
                f"ordering of {what}: rank correlation with the study's own: median {rhos[len(rhos) // 2]:.2f}, "
                f"least {rhos[0]:.2f}; above 0.8 in {(rhos > 0.8).sum() / len(rhos):.0%}"
            )
    if len(lines) == 1:
        lines.append("ordering: nothing to order, as there are fewer than three layers, pairs and models")
    shown, more = _show(folder)
    tell(as_json, {"settings": table.to_dicts(), **shown}, lines + more)


@command()
def finetune(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file with tasks.")],
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fine-tune models on the tasks of a study, and score them zero-shot on other languages; `run` does this first."""
    from isogloss.config import read_config
    from isogloss.plots import save_task_figures
    from isogloss.store import StudyLayout
    from isogloss.study import finetune_study

    config = read_config(study)
    folder = StudyLayout(Path(out or config.name))
    table = finetune_study(config, out=folder.root)
    figures = save_task_figures(folder.root)
    facts = {"study": folder.root, "scores": table.to_dicts(), "figures": figures}
    lines = [f"{'model':24} {'language':10} {'metric':10} {'score':>6}  {'95 %':13} {'baseline':>8}"]
    for row in table.iter_rows(named=True):
        ends = f"{row['ci_low']:.3f}..{row['ci_high']:.3f}"
        lines.append(
            f"{row['model']:24} {row['language']:10} {row['metric']:10} {row['score']:6.3f}  {ends:13} "
            f"{row['baseline']:8.3f}{'  zero-shot' if row['zero_shot'] else ''}"
        )
    tell(as_json, facts, [*lines, f"{table.height} scores: {folder.task_scores_csv}"])
