"""The walls of the house: imports go downwards only, and some things live in one room."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "isogloss"

# From the ground up; rooms on one line may not import each other, except where a line says so.
FLOORS = [
    {"compiled", "errors", "languages", "spread", "threads", "urls"},
    {"arguments"},
    {"html", "progress", "sections", "store", "trees"},
    {"segment", "settings"},
    {"corpus"},
    {"dictionary"},
    {"states"},
    {"concepts"},
    {"results"},
    {"peers"},
    {"metrics", "models"},
    {"extraction"},
    {"discovery", "aligners", "starter", "tasks"},
    {"config"},
    {"study"},
    {"plots"},
    {"export", "report"},
    {"explore"},
    {"cli"},
]
# These make and judge a model of their own; everything else takes models from the room.
MAKERS = {SOURCE / "starter" / "training.py", SOURCE / "starter" / "judge.py"}
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_downwards(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in LEVEL, f"{room} is a new room: give it a floor here and a line in ARCHITECTURE.md"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "isogloss" and len(parts) > 1 and parts[1] in LEVEL:
            other = parts[1]
            assert other == room or LEVEL[other] < LEVEL[room], f"{path}: {room} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_transformers_is_imported_in_models_alone(path: Path) -> None:
    allowed = path.parent == SOURCE / "models" or path in MAKERS
    uses = any(name.split(".")[0] == "transformers" for name in imports_of(path))
    assert not uses or allowed


def test_importing_isogloss_is_light() -> None:
    code = "import sys, isogloss; print([m for m in ('torch', 'transformers', 'polars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import isogloss

    for name in isogloss.__all__:
        assert getattr(isogloss, name).__name__ == name
