"""Write the tables of keys in docs/study-file.md from the classes that a study file is made of.

    python tools/study_file_page.py

A table stands under a line ``<!-- keys of CorpusSection -->``; all other text of the page is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from isogloss.config import StudyConfig
from isogloss.sections import Section, described, sections_in, values_in_words

PAGE = Path(__file__).resolve().parents[1] / "docs" / "study-file.md"
_TABLE = re.compile(r"(?<=<!-- keys of )(\w+) -->\n(?:\|.*\n)*")


def forms(form: type[Section] = StudyConfig) -> Iterator[type[Section]]:
    """Return the class of a section, and those of the sections in it."""
    yield form
    for field in form.model_fields.values():
        for inner in sections_in(field.annotation):
            yield from forms(inner)


def table(form: type[Section]) -> str:
    """Return the keys of a section as a table in Markdown."""
    rows = ["| key | default | values | |", "|---|---|---|---|"]
    for name in form.model_fields:
        values = values_in_words(form, name).replace("'", "`")
        rows.append(f"| `{name}` | {default_of(form, name)} | {values} | {described(form, name)} |")
    return "\n".join(rows) + "\n"


def default_of(form: type[Section], name: str) -> str:
    """Return a default as a study file writes it; nothing for a section that may be left out."""
    field = form.model_fields[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        value = {key: getattr(value, key) for key in value.model_fields_set}
        return f"`{_flow(value)}`" if value else ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{_flow(value)}`"


def _flow(value: object) -> str:
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def filled(text: str) -> str:
    """Return a page with its tables written anew."""
    by_name = {form.__name__: form for form in forms()}
    return _TABLE.sub(lambda section: f"{section[1]} -->\n{table(by_name[section[1]])}", text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
