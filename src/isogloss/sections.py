"""A YAML file as typed sections: defaults, validation, and errors that name the file, the line and the nearest key."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from isogloss.errors import InputError, UsageError, unknown
from isogloss.urls import hidden

Loc = tuple[str | int, ...]


class Section(BaseModel):
    """A mapping of a study file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Form = TypeVar("Form", bound=Section)


def read_yaml(path: str | Path, form: type[Form]) -> Form:
    """Read a file and validate it as `form`.

    Raises
    ------
    InputError
        If the file is missing or not YAML.
    UsageError
        If a key or value is wrong: the line is named, and the nearest known key.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"There is no study file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the study file {path}: {error}.") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{path}{where}: not YAML ({reason}).") from None
    if not isinstance(data, dict):
        needed = " and ".join(f"'{name}'" for name, field in form.model_fields.items() if field.is_required())
        raise UsageError(f"{path}: a study file is a mapping with at least {needed}.")
    lines: dict[Loc, int] = {}
    if node is not None:
        _note_lines(node, (), lines, path)
    _check_keys(form, data, (), path, lines)
    try:
        return form.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        loc = tuple(part for part in first["loc"])
        raise UsageError(
            f"{path}, line {_line(loc, lines)}: {_name(loc)}: {first['msg'].removeprefix('Value error, ')}; "
            f"got {hidden(repr(first['input'])):.80}."
        ) from None


def _note_lines(node: yaml.Node, loc: Loc, lines: dict[Loc, int], path: Path) -> None:
    lines.setdefault(loc, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            here, number = (*loc, key.value), key.start_mark.line + 1
            if key.value in seen:
                raise UsageError(
                    f"{path}, line {number}: {_name(here)} stands in line {seen[key.value]} already. Keep one of them."
                )
            if isinstance(key, yaml.ScalarNode) and key.tag == "tag:yaml.org,2002:bool":
                raise UsageError(
                    f"{path}, line {number}: YAML reads the key {key.value} as true or false. "
                    f"Write '{key.value}' in quotes."
                )
            seen[key.value] = lines[here] = number
            _note_lines(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _note_lines(item, (*loc, i), lines, path)


def _line(loc: Loc, lines: dict[Loc, int]) -> int:
    while loc not in lines:
        loc = loc[:-1]
    return lines[loc]


def _name(loc: Loc) -> str:
    return ".".join(str(part) for part in loc) or "study"


def _sections(annotation: Any) -> list[type[Section]]:
    """Return the section classes inside an annotation such as ``list[ModelSection]``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if typing.get_origin(annotation) in (list, tuple, types.UnionType, typing.Union):
        return [s for part in typing.get_args(annotation) for s in _sections(part)]
    return []


def _check_keys(section: type[Section], data: Any, loc: Loc, path: Path, lines: dict[Loc, int]) -> None:
    if isinstance(data, list):
        for i, item in enumerate(data):
            _check_keys(section, item, (*loc, i), path, lines)
    if not isinstance(data, Mapping):
        return
    for key, value in data.items():
        here = (*loc, key)
        if key not in section.model_fields:
            where = f"{path}, line {_line(here, lines)}"
            raise unknown(f"key in {_name(loc)}", key, section.model_fields, where=where)
        for inner in _sections(section.model_fields[key].annotation):
            _check_keys(inner, value, here, path, lines)
