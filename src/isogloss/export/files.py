"""Files of an export: one table in parts, and a README that is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from isogloss.errors import InputError
from isogloss.store import read_text, temporary_folder, write_table, write_text

MARK = "<!-- written by isogloss export -->"
_ROW_GROUP = 200_000  # rows that a reader must have in memory together


def write_parts(path: Path, tables: Iterable[pl.DataFrame], *, advance: Callable[[float], None]) -> None:
    """Write tables of equal columns below each other into one Parquet file, atomically.

    One table is in memory at a time: they are kept as files in a temporary folder beside `path`, and streamed from
    there into a file that is renamed at the end.  `advance` is told of each (see `isogloss.progress`).
    """
    with temporary_folder(path) as folder:
        parts = []
        for number, table in enumerate(tables):
            parts.append(folder / f"{number:06d}.parquet")
            write_table(parts[-1], table)
            advance(1)
        whole = folder / path.name
        pl.scan_parquet(parts, glob=False).sink_parquet(whole, row_group_size=_ROW_GROUP)
        whole.replace(path)


def check_readme(folder: Path) -> Path:
    """Return the README.md of a folder to export to.

    Raises
    ------
    InputError
        If there is one that was written by someone else.
    """
    path = folder / "README.md"
    if path.exists() and MARK not in read_text(path):
        raise InputError(
            f"{path} was not written by isogloss, and an export would replace it. Choose another folder with --out."
        )
    return path


def write_readme(path: Path, text: str, *, front: str = "") -> None:
    """Write a README.md atomically, with our mark in it; `front` is YAML for its head."""
    head = f"---\n{front}---\n" if front else ""
    write_text(path, f"{head}{MARK}\n{text}")
