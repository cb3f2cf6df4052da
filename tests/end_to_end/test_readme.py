"""The README keeps its word: its Python runs, its figure and files exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from isogloss.cli import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len([line for line in printed if "CALIGN(en->de) = " in line]) == 7
    assert printed[-1].startswith("COLAP(en+de) = ")


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_its_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^    make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE)


def test_every_page_names_commands_and_options_that_there_are() -> None:
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    pages = (ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").iterdir(), *(ROOT / "examples").iterdir())
    n = 0
    for page in (page for page in pages if page.suffix in (".md", ".ipynb", ".yaml")):
        text = page.read_text(encoding="utf-8")
        for line in re.findall(r"^(?:    |#   )isogloss (.*)|`isogloss (.+?)`", text, flags=re.MULTILINE):
            name, *words = "".join(line).split("#")[0].split()
            assert name in commands or name.startswith("-"), f"{page.name}: isogloss {name}"
            known = {option for p in commands[name].params for option in p.opts} if name in commands else set()
            for option in (word for word in words if word.startswith("--")):
                assert option in known | {"--no-browser"}, f"{page.name}: isogloss {name} {option}"
            n += 1
    assert n > 30
