"""The page of the study file is what the classes say, and no key is left without a description."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from isogloss.sections import Section, described

TOOL = Path(__file__).resolve().parents[2] / "tools" / "study_file_page.py"
spec = importlib.util.spec_from_file_location("study_file_page", TOOL)
assert spec and spec.loader
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

FORMS = list(dict.fromkeys(tool.forms()))


def test_the_page_is_what_the_tool_writes() -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    assert tool.filled(text) == text, "run python tools/study_file_page.py"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_key_is_described_and_on_the_page(form: type[Section]) -> None:
    assert f"<!-- keys of {form.__name__} -->" in tool.PAGE.read_text(encoding="utf-8")
    assert not [name for name in form.model_fields if not described(form, name)]
