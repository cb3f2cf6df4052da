"""`takes`: a function whose keywords are the settings of a group."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from isogloss.errors import unknown
from isogloss.sections import Section, described, validated, values_in_words

R = TypeVar("R")


def takes(form: type[Section]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a function the settings of a group as keywords: in its signature, its annotations and its docstring.

    The function has one keyword `settings`, which it gets as a `form`, checked and complete.  Whoever calls it gives
    single settings, or a whole group (of `form`, or of a class made of it) and what differs from that.  Put `checked`
    above it, and an entry ``settings : ...`` under the Parameters of its docstring.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        name = function.__qualname__.rsplit(".", 1)[-1]
        others = [key for key in inspect.signature(function).parameters if key != "settings"]

        @functools.wraps(function)
        def collected(*args: Any, settings: Section | None = None, **keywords: Any) -> R:
            single = {key: keywords.pop(key) for key in form.model_fields if key in keywords}
            if type(settings) is not form or single:
                whole = {} if settings is None else settings.values_of(form)
                settings = validated(whole | single, form, of=name)
            for key in keywords:
                if key not in others:
                    raise unknown(f"argument of {name}", key, [*form.model_fields, *others])
            return function(*args, settings=settings, **keywords)

        _declare(collected, function, form)
        return collected

    return decorate


def _declare(outer: Any, function: Callable[..., Any], form: type[Section]) -> None:
    plain = typing.get_type_hints(form)
    fields = []
    for key, field in form.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        fields.append(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=plain[key]))
    signature = inspect.signature(function)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == "settings":
            parameters += [*fields, parameter.replace(default=None, annotation=form | None)]
        else:
            parameters.append(parameter)
    outer.__signature__ = signature.replace(parameters=parameters)
    hints = typing.get_type_hints(form, include_extras=True)
    outer.__annotations__ = function.__annotations__ | hints | {"settings": form | None}
    # an entry a field before the entry of `settings`
    text = function.__doc__ or ""
    place = re.search(r"^( *)settings : ", text, re.MULTILINE)
    if place is not None:
        entries = [_entry(form, field) for field in fields]
        outer.__doc__ = text[: place.start()] + textwrap.indent("".join(entries), place[1]) + text[place.start() :]


def _entry(form: type[Section], field: inspect.Parameter) -> str:
    """Return what a docstring says of a keyword."""
    about = described(form, field.name)
    about = f"{about[0].upper()}{about[1:]}."
    values = values_in_words(form, field.name)
    if values and typing.get_origin(field.annotation) is not typing.Literal:
        about += f"  {values[0].upper()}{values[1:]}."
    head = f"{field.name} : {inspect.formatannotation(field.annotation)}, default {field.default!r}"
    return f"{head}\n{textwrap.indent(textwrap.fill(about, 112), '    ')}\n"
