"""The report: one HTML file with the answer, the curves, the concepts and how they were made."""

from __future__ import annotations

from pathlib import Path

from isogloss.arguments import checked
from isogloss.report.page import render
from isogloss.store import StudyLayout, write_text

__all__ = ["render", "write_report"]


@checked
def write_report(folder: str | Path, *, out: str | Path | None = None) -> Path:
    """Write the report of a finished study as one self-contained HTML file, atomically; return its path.

    The file loads nothing from anywhere: charts, concepts, words and every result are inside.

    Parameters
    ----------
    folder : str or Path
        A study folder with results.
    out : str or Path, optional
        Default: ``report.html`` in the study folder.

    Raises
    ------
    InputError
        If the folder is not a study or has no results yet.

    Examples
    --------
    >>> write_report("my-study")  # doctest: +SKIP
    PosixPath('my-study/report.html')
    """
    from isogloss.study import open_study

    study = open_study(folder)
    path = Path(out) if out is not None else StudyLayout(Path(study.root)).report
    write_text(path, render(study, beside=path.resolve().parent == Path(study.root).resolve()))
    return path
