"""What an annotation asks for, as a test and in words."""

from __future__ import annotations

import difflib
import numbers
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss.arguments.rules import Rule, Want, is_array

INSIDE = "checked inside"  # in an annotation: the function looks at this argument by itself

# Where the values of our classes come from: the way out for who gives something else.
_MADE_BY = {
    "Alignment": "isogloss.calign(...)",
    "Concepts": "isogloss.discover(...)",
    "Corpus": "isogloss.Corpus.read(...)",
    "FineTuned": "isogloss.finetune(...)",
    "LayerStates": "states.at(6)",
    "Overlap": "isogloss.colap(...)",
    "Resamples": "Resamples.draw(...)",
    "Results": "isogloss.run_study(...)",
    "States": "isogloss.extract(...)",
    "TranslationDictionary": "links.dictionary()",
    "WordLinks": "isogloss.align_words(...)",
}


def want_of(hint: Any) -> Want | None:
    """Return what an annotation asks for; None where anything goes."""
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in _GENERIC:
        return _GENERIC[origin](parts)
    return _instance(origin or hint)


def _is_int(value: Any) -> bool:
    whole = type(value) is int or (isinstance(value, numbers.Integral) and not isinstance(value, bool))
    return whole and -(2**63) <= value < 2**63  # what an array can hold


def _is_float(value: Any) -> bool:
    if isinstance(value, numbers.Integral):
        return _is_int(value)
    return type(value) is float or isinstance(value, numbers.Real)


def _is_array_like(value: Any) -> bool:
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__"):
        return False
    return not isinstance(value, np.ndarray) or value.ndim > 0


def _annotated(parts: Sequence[Any]) -> Want | None:
    if INSIDE in parts:
        return None
    want = want_of(parts[0])
    for rule in parts[1:]:
        if want is not None and isinstance(rule, Rule):
            want = rule.narrow(want)
    return want


def _either(parts: Sequence[Any]) -> Want | None:
    path = Want("a path as text", lambda value: isinstance(value, str) and "\0" not in value)
    by_part = [path if part is str and Path in parts else want_of(part) for part in parts]
    wants = [want for want in by_part if want is not None]
    if len(wants) < len(parts):
        return None
    # None is what an optional argument is when it is not given: nobody needs to be told.
    text = " or ".join(want.text for want in wants if want.text != "None")
    names = tuple(name for want in wants for name in want.names)
    return Want(text, lambda value: any(want.fits(value) for want in wants), names)


def _literal(parts: Sequence[Any]) -> Want:
    text = " or ".join(map(repr, parts))
    return Want(text, lambda value: isinstance(value, str) and value in parts, tuple(parts), text)


def _tuple(parts: Sequence[Any]) -> Want:
    if Ellipsis in parts:
        return _ordered(parts)
    wants = [want_of(part) for part in parts]

    def fits(value: Any) -> bool:
        return (
            isinstance(value, tuple | list)
            and len(value) == len(wants)
            and all(want is None or want.fits(item) for want, item in zip(wants, value, strict=True))
        )

    return Want(f"{len(wants)} values ({', '.join(map(_text, wants))})", fits)


def _mapping(parts: Sequence[Any]) -> Want:
    keys, values = map(want_of, parts)

    def fits(value: Any) -> bool:
        return (
            isinstance(value, Mapping)
            and (keys is None or all(map(keys.fits, value)))
            and (values is None or all(map(values.fits, value.values())))
        )

    return Want(f"a mapping from {_text(keys)} to {_text(values)}", fits)


def _list(parts: Sequence[Any]) -> Want:
    items = want_of(parts[0])

    def fits(value: Any) -> bool:
        if isinstance(value, str | bytes | Mapping) or not (hasattr(value, "__len__") and hasattr(value, "__iter__")):
            return False
        return getattr(value, "ndim", 1) == 1 and (items is None or all(map(items.fits, value)))

    if items is None:
        return Want("a list", fits)
    return Want(f"a list of {items.many}" if items.many else f"a list, each {items.text}", fits, items.names)


def _ordered(parts: Sequence[Any]) -> Want:
    some = _list(parts)
    return some._replace(fits=lambda value: not isinstance(value, set | frozenset) and some.fits(value))


def _iterable(parts: Sequence[Any]) -> Want:
    some = _list(parts)

    def fits(value: Any) -> bool:
        # A generator is not looked into: that would use it up.
        return some.fits(value) if hasattr(value, "__len__") else isinstance(value, Iterable)

    return Want(some.text, fits, some.names)


def _instance(kind: Any) -> Want | None:
    """Return the want of a class of ours or of a library; of a protocol where it can be told."""
    testable = not getattr(kind, "_is_protocol", False) or getattr(kind, "_is_runtime_protocol", False)
    if not isinstance(kind, type) or not testable:
        return None
    call = _MADE_BY.get(kind.__name__)
    text = f"{kind.__name__}, as of {call}" if call else _a(kind.__name__)
    return Want(text, lambda value: isinstance(value, kind))


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _text(want: Want | None) -> str:
    return want.text if want else "any value"


_SIMPLE: dict[Any, Want | None] = {
    Any: None,
    object: None,
    int: Want("a whole number", _is_int, many="whole numbers"),
    float: Want("a number", _is_float, many="numbers"),
    bool: Want("True or False", lambda value: isinstance(value, bool | np.bool_)),
    str: Want("text", lambda value: isinstance(value, str), many="texts"),
    Path: Want("a Path", lambda value: isinstance(value, os.PathLike) and "\0" not in str(value)),
    type(None): Want("None", lambda value: value is None),
    npt.ArrayLike: Want("a list or an array", _is_array_like),
}
_GENERIC: dict[Any, Callable[[Sequence[Any]], Want | None]] = {
    Annotated: _annotated,
    Literal: _literal,
    Callable: lambda _: Want("a function", callable),
    Iterable: _iterable,
    np.ndarray: lambda _: Want("an array", is_array),
    tuple: _tuple,
    **dict.fromkeys((typing.Union, types.UnionType), _either),
    **dict.fromkeys((Mapping, dict), _mapping),
    Collection: _list,
    **dict.fromkeys((Sequence, list), _ordered),
}


def refusal(want: Want, value: Any) -> str:
    """Return what is said of a value that does not fit: what is wanted, what was given, and the nearest name."""
    text = f"must be {want.text}; got {shown(value)}."
    for entry in value if isinstance(value, list | tuple) else [value]:
        wrong = isinstance(entry, str) and entry not in want.names
        near = difflib.get_close_matches(entry, want.names, n=1, cutoff=0.5) if wrong else []
        if near:
            return f"{text} Did you mean '{near[0]}'?"
    return text


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, and by its kind where it is large."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if hasattr(value, "columns"):
        return f"a table with the columns {', '.join(map(str, value.columns)) or '(none)'}"
    if value is None or isinstance(value, bool | int | float | str | list | tuple | dict | Path):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}... ({type(value).__name__})"
    return _a(type(value).__name__)
