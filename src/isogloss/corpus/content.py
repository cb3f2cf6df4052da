"""What a file is by its content, where its ending lies or says nothing."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from isogloss.errors import UsageError

_HEAD = 65_536  # bytes looked at
_FEWEST = 3  # lines of words and tags, before they are taken for columns

# How files begin that hold text, but not one sentence a line.
_MARKUP = re.compile(r"(?i)<\?xml|<!doctype|<html|<tmx|<xliff|<(src|ref|tst)set\b|<mteval|%PDF-|PK\x03\x04|\{\\rtf")
_FIRST_ID = re.compile(r"1(-[0-9]+)?|0\.1")
_TAG = re.compile(r"O|[BIESLUMW][-_]\S+")


def head_of(path: str) -> list[str]:
    """Return the first lines of a file, without one that is cut off; none if it cannot be read."""
    try:
        with gzip.open(path) if path.endswith(".gz") else Path(path).open("rb") as file:
            data = file.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return []  # whoever reads the file says what is wrong with it
    lines = data.decode(errors="replace").removeprefix("\ufeff").split("\n")
    if len(data) == _HEAD and len(lines) > 1:
        lines.pop()
    return [line.rstrip("\r") for line in lines]


def refuse_markup(path: str) -> None:
    """Refuse a file that begins as XML, HTML, SGML, PDF or a packed document does: its lines are not sentences.

    Raises
    ------
    UsageError
    """
    first = next((line.strip() for line in head_of(path) if line.strip()), "")
    if _MARKUP.match(first):
        raise UsageError(
            f"{path} begins with '{first[:20]!s}': its lines are not sentences. Take the text out of it, one sentence "
            "a line and one file a language."
        )


def recognise(path: str) -> str | None:
    """Return ``"conllu"`` or ``"conll"`` for a file that is so without doubt, else None."""
    lines = head_of(path)
    rows = [line for line in lines if line.strip(" \t") and not line.startswith("#")]
    if not rows:
        return None
    cells = rows[0].split("\t")
    plus = any(line.startswith("# global.columns") for line in lines[:1])
    if _FIRST_ID.fullmatch(cells[0]) and (len(cells) == 10 or plus):
        return "conllu"
    if rows[0].startswith("-DOCSTART-"):
        return "conll"
    columns = [row.split() for row in rows]
    tagged = all(len(row) == len(columns[0]) > 1 and _TAG.fullmatch(row[-1]) for row in columns)
    return "conll" if tagged and len(columns) >= _FEWEST and any(row[-1] == "O" for row in columns) else None
