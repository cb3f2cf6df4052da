"""The command for figures of papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isogloss.cli.common import Json, Quiet, StudyDir, command, tell
from isogloss.progress import progress


@command()
def plot(
    folder: StudyDir,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME ...]", help="Figures, e.g. calign or robustness; default: all.")
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="svg, pdf or png; repeat for several; default: pdf.")
    ] = None,
    width: Annotated[
        str, typer.Option(help="Of the whole figure: column (84 mm), page (174 mm), or millimetres as in 120mm.")
    ] = "column",
    out: Annotated[Path | None, typer.Option(help="Folder for the files; default: figures/WIDTH of the study.")] = None,
    title: Annotated[bool, typer.Option("--title", help="Keep titles; without, as papers have captions.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the names of all figures; draw nothing.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw figures of a finished study for a paper, at column or page width, with text of 7 to 9 points."""
    from isogloss.plots import chosen_charts, save_charts, width_of
    from isogloss.store import StudyLayout
    from isogloss.study import open_study

    study = open_study(folder)
    millimetres = width_of(width)
    charts = chosen_charts(study, names or [])
    if listed:
        longest = max(map(len, charts))
        lines = [f"{name:{longest}}  {chart.title.text}" for name, chart in charts.items()]
        tell(as_json, {"figures": {name: chart.description for name, chart in charts.items()}}, lines)
        return
    place = out or StudyLayout(study.root).figures / f"{millimetres:g}mm"
    written = []
    with progress("Figures", len(charts)) as advance:
        for name, chart in charts.items():
            written += save_charts({name: chart}, place, formats=formats or ["pdf"], width=millimetres, title=title)
            advance(1)
    tell(as_json, {"figures": written}, [*map(str, written)])
