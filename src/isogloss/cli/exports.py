"""The command that writes a finished study for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isogloss.arguments import Layer, Seed
from isogloss.cli.common import Json, NConcepts, Quiet, StudyDir, command, tell


@command()
def export(
    folder: StudyDir,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="concepts, atlas, dataset, latex or tree.")],
    out: Annotated[
        Path, typer.Option(help="concepts: a .json or .parquet file; tree: .npy, .nwk or .json; else a folder.")
    ],
    model: Annotated[str | None, typer.Option(help="Name of the model; default: all.")] = None,
    stack: Annotated[str | None, typer.Option(help="encoder or decoder; default: all.")] = None,
    layer: Annotated[list[Layer] | None, typer.Option(help="Repeat; default: all.")] = None,
    space: Annotated[list[str] | None, typer.Option(help="en, or en+de; repeat; default: all.")] = None,
    n_concepts: NConcepts = None,
    seed: Annotated[Seed | None, typer.Option(help="Seed of the method, where several are there.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a study for other programs: JSON or Parquet, embedding-atlas, a Hugging Face dataset, LaTeX, trees.

    What is not chosen is taken whole.
    An atlas or a tree is of one place: if not chosen, the first model, its best aligned layer, all languages.
    """
    from isogloss.export import export_study

    written = export_study(
        folder, kind, out=out, model=model, stack=stack, n_concepts=n_concepts, seed=seed, layers=layer, spaces=space
    )
    tell(as_json, {"files": written}, [str(path) for path in written])
