"""Commands on whole studies: demo, run, status, report, pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from isogloss.cli.app import Json, Quiet, StudyDir, app, tell


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The study folder to make.")] = Path("isogloss-demo"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the built-in study on the built-in model and corpus; needs no network."""
    from isogloss.starter.study import write_study

    _run(write_study(out / "input"), out=out, workers=None, as_json=as_json)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")],
    out: Annotated[
        Path | None, typer.Option(help="The study folder; default: a folder named after the study.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: the number of cores.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print steps, what is done, sizes and times; do nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a study, or go on with an interrupted one: states, concepts, results, figures, report."""
    if plan:
        from isogloss.study import preview

        stages = preview(study, out=out)
        tell(as_json, {"stages": stages}, _stage_lines(stages))
    else:
        _run(study, out=out, workers=workers, as_json=as_json)


def _run(study: Path, *, out: Path | None, workers: int | None, as_json: bool) -> None:
    from isogloss.config import read_config
    from isogloss.plots import save_figures
    from isogloss.report import write_report
    from isogloss.store import Study
    from isogloss.study import run_study

    config = read_config(study)
    folder = Study(Path(out or config.name))
    results = run_study(config, out=folder.root, workers=workers)
    thetas = {"calign": config.metrics.theta_align[0], "colap": config.metrics.theta_overlap[0]}
    figures = save_figures(results, folder.figures, thetas=thetas)
    report = write_report(folder.root)
    facts = {
        "study": folder.root,
        "results": folder.results_csv,
        "n_figures": results.table.height,
        "figures": figures,
        "report": report,
    }
    lines = [
        f"{results.table.height} results: {folder.results_csv}",
        f"{len(figures)} figures: {folder.figures}",
        f"Report: {report}",
    ]
    tell(as_json, facts, lines)


def _stage_lines(stages: list[dict[str, Any]]) -> list[str]:
    lines = [f"{'stage':14} {'steps':>6} {'done':>6} {'size':>12} {'about':>12}"]
    for s in stages:
        size = f"{s['bytes'] / 1e6:,.0f} MB" if s["bytes"] else ""
        lines.append(
            f"{s['stage']:14} {s['steps']:6d} {s['done']:6d} {size:>12} {_duration(s['seconds']):>12}"
        )
    return [line.rstrip() for line in lines]


def _duration(seconds: float) -> str:
    if seconds < 1:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


@app.command()
def status(
    folder: StudyDir,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and check its digest.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tell what of a study is done, running or missing, and how large it is."""
    from isogloss.study import study_status

    found = study_status(folder, verify=verify)
    lines = _stage_lines(found["stages"])
    lines.append(f"running: process {found['running']}" if found["running"] else "running: nothing")
    lines.append(f"on disk: {found['bytes'] / 1e6:,.1f} MB in {found['files']} files")
    lines += [f"missing: {name}" for name in found["missing"][:10]]
    if len(found["missing"]) > 10:
        lines.append(f"missing: ... and {len(found['missing']) - 10} more")
    tell(as_json, found, lines)


@app.command()
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


@app.command()
def pretrain(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file of a pre-training run.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder to make; default: a folder named after the study.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pre-train a small multilingual BERT, or go on with an interrupted run: models, loss curve, judgement."""
    from isogloss.plots import loss_curve, retrieval_curves, write_chart
    from isogloss.starter.pretrain import pretrain as train

    done = train(study, out=out)
    figures = write_chart(loss_curve(done.curve), done.folder / "curve") if done.curve.height else []
    if done.retrieval is not None:
        figures += write_chart(retrieval_curves(done.retrieval), done.folder / "retrieval")
    facts = {"models": done.models, "figures": figures, "folder": done.folder}
    lines = [f"{name}: {path}" for name, path in done.models.items()]
    tell(as_json, facts, [*lines, f"Loss, judgement and figures: {done.folder}"])
