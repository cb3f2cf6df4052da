"""The tutorial notebook runs from its first cell to its last, and is stored without outputs."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorial.ipynb"


def read() -> Any:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_it_is_stored_without_outputs() -> None:
    for cell in read().cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
    assert NOTEBOOK.stat().st_size < 40_000


def test_its_links_lead_somewhere() -> None:
    prose = "\n".join(cell.source for cell in read().cells if cell.cell_type == "markdown")
    targets = re.findall(r"\]\(([^)#]+)", prose)
    assert targets
    for target in targets:
        assert (NOTEBOOK.parent / target).exists(), target


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = read()
    _kernel(tmp_path / "jupyter", monkeypatch)
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    work = tmp_path / "work"
    work.mkdir()
    client = nbclient.NotebookClient(
        notebook, kernel_name="this-python", timeout=600, resources={"metadata": {"path": str(work)}}
    )
    client.execute()  # an error in a cell is raised here
    assert not list(work.iterdir())  # it writes into a temporary folder of its own
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in shown if output.get("name") == "stderr"], "a warning is in the way"
    data = [output["data"] for output in shown if "data" in output]
    cards = [part["text/html"] for part in data if "text/html" in part]
    for noun in ("Corpus", "WordLinks", "TranslationDictionary", "States", "Concepts", "CALIGN", "COLAP"):
        assert any(f"<b>{noun}</b>" in card and "<table" in card for card in cards), noun
    assert any("<b>Results</b>" in card for card in cards)
    charts = [part["image/svg+xml"] for part in data if "image/svg+xml" in part]
    assert len(charts) == 3  # drawn here: nothing is loaded when the notebook is looked at
    assert all("<script" not in chart for chart in charts)
    assert any(r"\toprule" in output.get("text", "") for output in shown)


def _kernel(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe this Python as a kernel, whatever kernels this machine knows."""
    folder = root / "kernels" / "this-python"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "This Python", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(root))
