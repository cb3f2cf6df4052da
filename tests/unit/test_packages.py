"""The walls of the house: imports go downwards only, and some things live in one package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "isogloss"

# From the ground up; packages on one line may not import each other.
FLOORS = [
    {"compiled", "coordinates", "errors", "languages", "parallel", "threads", "urls"},
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
    {"runner"},
    {"study"},
    {"plots"},
    {"export", "report"},
    {"explore"},
    {"cli"},
]
LEVEL = {package: level for level, packages in enumerate(FLOORS) for package in packages}
FILES = sorted(SOURCE.rglob("*.py"))
PACKAGES = [path.parent for path in FILES if path.name == "__init__.py"]


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    return imported(path.read_text(encoding="utf-8"), path)


def imported(code: str, path: Path) -> set[str]:
    """Return what is imported by name; and by string, where modules are: names of them are texts of their own."""
    found = set()
    nodes = list(ast.walk(ast.parse(code)))
    names = {getattr(node, "id", getattr(node, "attr", "")) for node in nodes}
    if names & {"import_module", "__import__"}:
        texts = [str(node.value) for node in nodes if isinstance(node, ast.Constant)]
        found |= {text for text in texts if re.fullmatch(r"isogloss(\.\w+)+", text)}
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_downwards(path: Path) -> None:
    package = package_of(path)
    if package == "__init__":
        return
    assert package in LEVEL, f"{package} is a new package: give it a floor here and a line in ARCHITECTURE.md"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "isogloss" and len(parts) > 1 and parts[1] in LEVEL:
            other = parts[1]
            assert other == package or LEVEL[other] < LEVEL[package], f"{path}: {package} imports {other}"


@pytest.mark.parametrize(
    "code",
    [
        'importlib.import_module("isogloss.plots").study_charts',
        'import_module("isogloss.plots.charts")',
        '__import__("isogloss.plots")',
        'WHERE = {"curves": "isogloss.plots"}\nimport_module(WHERE["curves"])',
    ],
)
def test_an_import_by_string_is_an_import(code: str) -> None:
    assert any(name.startswith("isogloss.plots") for name in imported(code, Path("results.py")))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_transformers_is_imported_in_models_alone(path: Path) -> None:
    uses = any(name.split(".")[0] == "transformers" for name in imports_of(path))
    assert not uses or path.parent == SOURCE / "models"


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda p: p.name)
def test_no_module_bears_the_name_of_what_its_package_exports(folder: Path) -> None:
    package = import_module(".".join(folder.relative_to(SOURCE.parent).parts))
    inner = (path.parent if path.name == "__init__.py" else path for path in FILES if folder in path.parents)
    names = {path.stem for path in inner if folder in (path, path.parent)}
    taken = [name for name in names if not isinstance(getattr(package, name, package), ModuleType)]
    assert not taken, f"{package.__name__} exports {taken}: a module has that name already"


def test_importing_isogloss_is_light() -> None:
    code = "import sys, isogloss; print([m for m in ('torch', 'transformers', 'polars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import isogloss

    for name in isogloss.__all__:
        assert getattr(isogloss, name).__name__ == name
