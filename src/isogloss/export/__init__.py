"""A finished study for other programs: JSON or Parquet, embedding-atlas, Hugging Face datasets, LaTeX, merge trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from isogloss.arguments import NConcepts, Seed, checked
from isogloss.errors import unknown
from isogloss.export.atlas import write_atlas
from isogloss.export.choice import Choice
from isogloss.export.concepts import write_concepts, write_tree
from isogloss.export.dataset import write_dataset
from isogloss.export.latex import write_latex
from isogloss.study import FinishedStudy, open_study

__all__ = [
    "KINDS",
    "Choice",
    "export_study",
    "write_atlas",
    "write_concepts",
    "write_dataset",
    "write_latex",
    "write_tree",
]

KINDS: dict[str, Callable[[FinishedStudy, Path, Choice], list[Path]]] = {
    "concepts": write_concepts,
    "atlas": write_atlas,
    "dataset": write_dataset,
    "latex": write_latex,
    "tree": write_tree,
}


@checked
def export_study(
    folder: str | Path,
    kind: str,
    *,
    out: str | Path,
    model: str | None = None,
    stack: str | None = None,
    n_concepts: NConcepts | None = None,
    seed: Seed | None = None,
    layers: Sequence[int] | None = None,
    spaces: Sequence[str] | None = None,
) -> list[Path]:
    """Write a finished study, or a part of it, in a form that other programs read; return the files.

    Every file is written atomically.  What is not chosen is taken whole, except by ``"atlas"`` and ``"tree"``, which
    are of one layer of one space: the first run, the best layer by soft CALIGN, and all languages
    together.

    Parameters
    ----------
    folder : str or Path
        A study folder with results.
    kind : {"concepts", "atlas", "dataset", "latex", "tree"}
        ``"concepts"``: one file, JSON or Parquet by its ending.  ``"atlas"``: a folder for embedding-atlas.
        ``"dataset"``: a folder that ``datasets.load_dataset`` opens.  ``"latex"``: a folder of tables.  ``"tree"``: one
        file, ``.npy`` (scipy's linkage matrix), ``.nwk`` (Newick) or ``.json``.
    out : str or Path
        The file or folder.  Files of the same names are replaced.
    model, stack : str, optional
    n_concepts, seed : int, optional
        Of the clustering, where a study has several.
    layers : sequence of int, optional
    spaces : sequence of str, optional
        ``"en"``, or ``"en+de"`` in the order of the study.

    Raises
    ------
    UsageError
        If a kind, a choice or the ending of the file is unknown.
    InputError
        If the folder has no results, or the folder to write has a README.md that is not ours.

    Examples
    --------
    >>> export_study("my-study", "concepts", out="concepts.json")  # doctest: +SKIP
    [PosixPath('concepts.json')]
    """
    if kind not in KINDS:
        raise unknown("kind of export", kind, KINDS)
    choice = Choice(model, stack, n_concepts, seed, tuple(layers or ()) or None, tuple(spaces or ()) or None)
    return KINDS[kind](open_study(folder), Path(out), choice)
