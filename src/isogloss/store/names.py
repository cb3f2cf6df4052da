"""Names that come from a file (a marker, a plan, a table, a storage) become paths here, and only inside a folder."""

from __future__ import annotations

import os
from pathlib import Path

from isogloss.errors import InputError

_LONGEST_PART, _LONGEST = 255, 3_000  # bytes of a name, characters of a path that file systems take


def inside(root: Path, name: object) -> Path:
    """Return the path of a name inside a folder; it may be several folders down.

    Raises
    ------
    InputError
        If the name is no relative path of plain names (it has ``..``, begins at the root, holds a backslash or NUL), or
        if a link on the way leads out of the folder.
    """
    if not is_name(name):
        raise InputError(
            f"{name!r} is not the name of a file inside {root}; wanted is a name such as 'concepts/en.parquet'. "
            "isogloss writes no other: delete the file that holds it, and run again."
        )
    path = root / str(name)
    real, whole = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([real, whole]) != whole:
        raise InputError(
            f"{path} leads by a link out of the folder {root}, to {real}. "
            "Put the whole study where there is room, with --out."
        )
    return path


def is_name(name: object) -> bool:
    """Tell whether something is a relative path of plain names, as isogloss writes them with ``/`` between."""
    if not isinstance(name, str) or "\\" in name or "\0" in name:
        return False
    parts = name.split("/")
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return longest <= _LONGEST_PART and len(name) <= _LONGEST and not {"", ".", ".."} & set(parts)
