"""A YAML file as typed sections: defaults, validation, and errors that name the file, the line and the nearest key."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isogloss.arguments import Want, refusal, want_of
from isogloss.errors import InputError, UsageError, unknown
from isogloss.urls import hidden

Loc = tuple[str | int, ...]

_LONGEST = 1_000_000  # characters of a study file: YAML is read at about as many in ten seconds
_REASONS = r" \([^()]*\)|,( not empty and)? with no entry twice| to 2,147,483,647"
_MOST_VALUES, _DEEPEST = 100_000, 50  # aliases counted as often as they stand


class Section(BaseModel):
    """A group of settings, which may be a mapping of a study file; unknown keys are refused.

    Raises
    ------
    UsageError
        From making one, for a value that does not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __init__(self, **values: Any) -> None:
        form = type(self)
        for name, value in values.items():
            if name not in form.model_fields:
                raise unknown(f"setting of {form.__name__}", name, form.model_fields)
            want = _want(form, name)
            if want is not None and not want.fits(value):
                raise UsageError(f"{form.__name__}: {name} {refusal(want, value)}")
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _refused(error, form.__name__) from None

    # pydantic: what is validated as part of a file does not come this way, and keeps its place in it
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def values_of(self, form: type[Section]) -> dict[str, Any]:
        """Return the settings of a group that this section is made of."""
        return {name: getattr(self, name) for name in form.model_fields}

    @classmethod
    def field(cls, name: str, **changes: Any) -> Any:
        """Return a field for a section made of this one that has another range or another default."""
        field = cls.model_fields[name]
        return Field(**{"default": field.default, "description": field.description, **changes})


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
    node, data = _parsed(path)
    if not isinstance(data, dict):
        needed = " and ".join(f"'{name}'" for name, field in form.model_fields.items() if field.is_required())
        raise UsageError(f"{path}: a study file is a mapping with at least {needed}.")
    place = _Places(path)
    place.note(node, ())
    _check(form, data, (), place)
    try:
        return form.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        shown = hidden(repr(first["input"]))
        raise UsageError(f"{place.named(first['loc'])}: {_reason(first)}; got {shown:.80}.") from None


def validated(data: Mapping[str, Any], form: type[Form], *, of: str) -> Form:
    """Return a section made of settings that are not from a file; a message names what they are `of`.

    Raises
    ------
    UsageError
        If a value is wrong.
    """
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise _refused(error, of) from None


def described(form: type[Section], name: str) -> str:
    """Return what is said of a setting."""
    return form.model_fields[name].description or ""


def values_in_words(form: type[Section], name: str) -> str:
    """Return which values a setting may have; nothing where that is any text, a yes or no, or other settings."""
    want = _want(form, name)
    text = re.sub(_REASONS, "", want.text) if want else ""
    return "" if re.search(r"\btexts?\b|True|2 values", text) else text


def _refused(error: ValidationError, of: str) -> UsageError:
    first = error.errors()[0]
    return UsageError(f"{'.'.join([of, *map(str, first['loc'])])}: {_reason(first)}.")


def _reason(error: Any) -> str:
    if error["type"] == "model_type":
        return "must be keys with values; for the defaults, leave it out"
    return str(error["msg"]).removeprefix("Value error, ")


def _parsed(path: Path) -> tuple[yaml.Node | None, Any]:
    """Return the tree of a file, with its lines, and what it says."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST + 1)  # no more: it may be a text of gigabytes, given by mistake
    except FileNotFoundError:
        raise InputError(f"There is no study file {path}.") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a NUL
        raise InputError(f"Cannot read the study file {path}: {error}.") from None
    if len(text) > _LONGEST:
        raise InputError(
            f"{path} has more than {_LONGEST:,} characters; a study file has a few thousand. Is it the text itself? "
            "Name that in a study file, under corpus.files."
        )
    try:
        node = yaml.compose(text, Loader=_Loader)
        return node, yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number of 5,000 digits
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{path}{where}: not YAML ({reason}).") from None


class _Loader(yaml.SafeLoader):
    """YAML as a study file means it: ``2024-01-01`` and ``04:00:00`` are text, ``1e-5`` is a number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag.rsplit(":", 1)[1] not in ("timestamp", "int", "float")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _rule in (
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+"),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_rule})$"), list("-+.0123456789"))


class _Places:
    """The line of every key and value of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[Loc, int] = {(): 1}
        self._n_nodes = 0

    def note(self, node: yaml.Node | None, loc: Loc) -> None:
        """Note the lines of a tree; refuse keys given twice, and aliases that make a short file a huge one."""
        if node is None:
            return
        number = node.start_mark.line + 1
        self._n_nodes += 1
        if self._n_nodes > _MOST_VALUES or len(loc) > _DEEPEST:
            raise UsageError(
                f"{self._path}, line {number}: more than {_MOST_VALUES:,} values, or {_DEEPEST} in each other. "
                "Write the study without aliases (&name, *name) that repeat each other."
            )
        self._lines.setdefault(loc, number)
        if isinstance(node, yaml.ScalarNode) and "\0" in node.value:
            raise UsageError(f"{self.named(loc)}: a NUL character has no place in a study file. Delete it.")
        if isinstance(node, yaml.MappingNode):
            self._note_keys(node, loc)
        elif isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                self.note(item, (*loc, i))

    def _note_keys(self, node: yaml.MappingNode, loc: Loc) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            here, number = (*loc, key.value), key.start_mark.line + 1
            if key.value in seen:
                raise UsageError(
                    f"{self._path}, line {number}: {_name(here)} stands in line {seen[key.value]} already. "
                    "Keep one of them."
                )
            if isinstance(key, yaml.ScalarNode) and key.tag == "tag:yaml.org,2002:bool":
                raise UsageError(
                    f"{self._path}, line {number}: YAML reads the key {key.value} as true or false. "
                    f"Write '{key.value}' in quotes."
                )
            seen[key.value] = self._lines[here] = number
            self.note(value, here)

    def line(self, loc: Loc) -> str:
        """Return file and line of a place."""
        while loc not in self._lines:
            loc = loc[:-1]
        return f"{self._path}, line {self._lines[loc]}"

    def named(self, loc: Loc) -> str:
        """Return file, line and name of a place, as far as the file has it."""
        while loc and loc not in self._lines:
            loc = loc[:-1]
        return f"{self.line(loc)}: {_name(loc)}"


def _name(loc: Loc) -> str:
    return ".".join(str(part) for part in loc) or "study"


@cache
def _want(form: type[Section], name: str) -> Want | None:
    """Return what a setting has to be; None where it is a section, which looks at its values by itself."""
    if sections_in(form.model_fields[name].annotation):
        return None
    return want_of(typing.get_type_hints(form, include_extras=True)[name])


def sections_in(annotation: Any) -> list[type[Section]]:
    """Return the section classes inside an annotation such as ``list[ModelSection]``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if typing.get_origin(annotation) in (list, tuple, types.UnionType, typing.Union):
        return [s for part in typing.get_args(annotation) for s in sections_in(part)]
    return []


def _check(section: type[Section], data: Any, loc: Loc, place: _Places) -> None:
    """Refuse unknown keys, and values that their annotation does not allow, in a section or a list of some."""
    if isinstance(data, list):
        for i, item in enumerate(data):
            _check(section, item, (*loc, i), place)
    if not isinstance(data, Mapping):
        return
    for key, value in data.items():
        here = (*loc, key)
        if key not in section.model_fields:
            raise unknown(f"key in {_name(loc)}", key, section.model_fields, where=place.line(here))
        for inner in sections_in(section.model_fields[key].annotation):
            _check(inner, value, here, place)
        want = _want(section, key)
        if want is not None and not want.fits(value):
            raise UsageError(f"{place.named(here)} {refusal(want, value)}{_in_quotes(want, value)}")


def _in_quotes(want: Want, value: Any) -> str:
    plain = isinstance(value, bool | int | float) and want.fits(str(value))
    return f" To mean the text, write it in quotes: '{value}'." if plain else ""
