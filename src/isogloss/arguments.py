"""Arguments, checked at the door: a function's own annotations say what it takes.

`checked` stands over every public function and data class.  Bounds are part of the annotation (`Count`, `Seed`,
`Share`), and the study file uses the same ones, so a number has one range and one reason wherever it is given.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from isogloss.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

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


class Want(NamedTuple):
    """What an argument has to be: in words, as a test, and the names there are to choose from."""

    text: str
    fits: Callable[[Any], bool]
    names: tuple[str, ...] = ()


class Rule:
    """What an annotation asks for beyond a kind: ``Annotated[int, Within(1, 100)]``."""

    def __contains__(self, value: Any) -> bool:
        raise NotImplementedError

    def narrow(self, want: Want) -> Want:
        """Return a want of only those values that keep the rule."""
        return Want(f"{want.text}{self}", lambda value: want.fits(value) and value in self)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Let the study file keep the same rule."""
        from pydantic_core import core_schema

        want = want_of(source)
        said = f"must be {_text(want)}{self}"

        def check(value: Any) -> Any:
            if value not in self:
                raise ValueError(said)
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))


@dataclass(frozen=True)
class Within(Rule):
    """A range of numbers; NaN is in none.

    Attributes
    ----------
    low, high : float
        Both belong to the range, unless `above` or `below` is set.
    why : str
        The reason for its ends.
    above, below : bool
        Whether the lower, the upper end is outside.
    """

    low: float
    high: float
    why: str = ""
    above: bool = False
    below: bool = False

    def __contains__(self, value: Any) -> bool:
        low = self.low < value if self.above else self.low <= value
        return bool(low and (value < self.high if self.below else value <= self.high))

    def __str__(self) -> str:
        low = f" above {self.low:,} and" if self.above else f" from {self.low:,}"
        high = (
            f" below {self.high:,}" if self.below else f" {'at most' if self.above else 'to'} {self.high:,}"
        )
        return low + high + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True)
class Distinct(Rule):
    """A list without repetition, with `least` entries or more."""

    least: int = 0

    def __contains__(self, value: Any) -> bool:
        entries = [tuple(entry) if isinstance(entry, list) else entry for entry in value]
        return len(entries) >= self.least and len(set(entries)) == len(entries)

    def __str__(self) -> str:
        return ", not empty and with no entry twice" if self.least else ", with no entry twice"


@dataclass(frozen=True)
class Dimensions(Rule):
    """An array of so many dimensions."""

    n: int

    def __contains__(self, value: Any) -> bool:
        return np.ndim(value) == self.n

    def __str__(self) -> str:
        return f" of {self.n} dimension{'s' if self.n > 1 else ''}"


@dataclass(frozen=True)
class Columns(Rule):
    """A table with these columns, and maybe others."""

    names: Collection[str]

    def __contains__(self, value: Any) -> bool:
        return set(self.names) <= set(value.columns)

    def __str__(self) -> str:
        return f" with the columns {', '.join(self.names)}"


_GENERATORS = "what every generator of random numbers takes"
_MANY = (
    "each costs a whole count and is held in memory; the error of 10,000 is below a hundredth of their spread"
)

Seed = Annotated[int, Within(0, 2**32 - 1, why=_GENERATORS)]
Count = Annotated[int, Within(1, 2**31 - 1, why="tables number their rows in 32 bits")]
Index = Annotated[int, Within(0, 2**31 - 1, why="tables number their rows in 32 bits")]
NConcepts = Annotated[int, Within(1, 2**31 - 1, why="one concept or more; tables number them in 32 bits")]
Layer = Annotated[int, Within(0, 10_000, why="0 is the embedding output")]
Share = Annotated[float, Within(0, 1)]
PositiveShare = Annotated[float, Within(0, 1, above=True)]
PartShare = Annotated[float, Within(0, 1, below=True)]
Half = Annotated[float, Within(0, 0.5, above=True, why="two languages cannot both own more than a half")]
Draws = Annotated[int, Within(0, 10_000, why=_MANY)]
SomeDraws = Annotated[int, Within(1, 10_000, why=_MANY)]
NTypes = Annotated[float, Within(0, 1e6, why="no concept has more types")]
Translations = Annotated[int, Within(1, 10_000, why="no word has more translations")]
Words = Annotated[int, Within(1, 32_767, why="positions in a sentence are numbers of 16 bits")]
Workers = Annotated[int, Within(1, 1_000, why="processes; more than the cores gain nothing")]
BatchTokens = Annotated[
    int, Within(1, 1_000_000, why="subwords in one forward pass, whose memory grows with them")
]


def checked(target: F) -> F:
    """Check the arguments of a function, or of a data class, against its annotations, before anything is done.

    Raises
    ------
    UsageError
        From the function, for a value that does not fit: names function and argument, what was given and is wanted.
    """
    if isinstance(target, type):
        target.__init__ = _guarded(target.__init__, target)  # type: ignore[misc]
        return target
    return typing.cast(F, _guarded(target, None))


class _Argument(NamedTuple):
    name: str
    want: Want | None
    default: Any


def _guarded(function: Callable[..., Any], owner: type | None) -> Callable[..., Any]:
    called = owner.__name__ if owner else function.__qualname__
    arguments: dict[str, _Argument] = {}
    by_position: list[_Argument] = []

    def learn() -> None:
        # At the first call: by then names that are imported late can be read, and importing stays cheap.
        hints = typing.get_type_hints(owner or function, include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            want = want_of(hints[parameter.name]) if parameter.name in hints else None
            arguments[parameter.name] = _Argument(parameter.name, want, parameter.default)
            if parameter.kind is not parameter.KEYWORD_ONLY:
                by_position.append(arguments[parameter.name])

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not arguments:
            learn()
        for argument, value in zip(by_position, args, strict=False):
            if argument.want is not None and not argument.want.fits(value):
                raise _refused(called, argument, value)
        for name, value in kwargs.items():
            argument = arguments.get(name, _ANY)
            if argument.want is not None and not argument.want.fits(value):
                raise _refused(called, argument, value)
        return function(*args, **kwargs)

    return guarded


_ANY = _Argument("", None, None)


def _refused(called: str, argument: _Argument, value: Any) -> UsageError:
    assert argument.want is not None
    text = f"{called}: {argument.name} must be {argument.want.text}; got {shown(value)}."
    near = difflib.get_close_matches(str(value), argument.want.names, n=1, cutoff=0.5)
    if near:
        return UsageError(f"{text} Did you mean '{near[0]}'?")
    default = argument.default
    if isinstance(default, int | float | str) and default not in ("", None):
        text += f" Example: {argument.name}={default!r}."
    return UsageError(text)


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, and by its kind where it is large."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if hasattr(value, "columns"):
        return f"a table with the columns {', '.join(map(str, value.columns)) or '(none)'}"
    if value is None or isinstance(value, bool | int | float | str | list | tuple | dict | Path):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}... ({type(value).__name__})"
    return f"a {type(value).__name__}"


def want_of(hint: Any) -> Want | None:
    """Return what an annotation asks for; None where anything goes."""
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in _GENERIC:
        return _GENERIC[origin](parts)
    return _instance(origin or hint)


def _is_int(value: Any) -> bool:
    return type(value) is int or (isinstance(value, numbers.Integral) and not isinstance(value, bool))


def _is_float(value: Any) -> bool:
    return type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_array_like(value: Any) -> bool:
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__"):
        return False
    return not isinstance(value, np.ndarray) or value.ndim > 0


def _annotated(parts: Sequence[Any]) -> Want | None:
    want = want_of(parts[0])
    for rule in parts[1:]:
        if want is not None and isinstance(rule, Rule):
            want = rule.narrow(want)
    return want


def _either(parts: Sequence[Any]) -> Want | None:
    wants = [want for want in map(want_of, parts) if want is not None]
    if len(wants) < len(parts):
        return None
    text = " or ".join(want.text for want in wants)
    names = tuple(name for want in wants for name in want.names)
    return Want(text, lambda value: any(want.fits(value) for want in wants), names)


def _literal(parts: Sequence[Any]) -> Want:
    text = " or ".join(map(repr, parts))
    return Want(text, lambda value: isinstance(value, str) and value in parts, tuple(map(str, parts)))


def _tuple(parts: Sequence[Any]) -> Want:
    if Ellipsis in parts:
        return _list(parts)
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
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__"):
            return False
        if getattr(value, "ndim", 1) != 1 or not hasattr(value, "__iter__"):
            return False
        return items is None or all(map(items.fits, value))

    return Want("a list" + (f", each {items.text}" if items else ""), fits)


def _iterable(_parts: Sequence[Any]) -> Want:
    # Not looked into: that would use it up.
    return Want("a list", lambda value: isinstance(value, Iterable) and not isinstance(value, str | bytes))


def _array(_parts: Sequence[Any]) -> Want:
    return Want("an array", lambda value: isinstance(value, np.ndarray))


def _function(_parts: Sequence[Any]) -> Want:
    return Want("a function", callable)


def _instance(kind: Any) -> Want | None:
    """Return the want of a class of ours or of a library; of a protocol where it can be told."""
    told = not getattr(kind, "_is_protocol", False) or getattr(kind, "_is_runtime_protocol", False)
    if not isinstance(kind, type) or not told:
        return None
    made = _MADE_BY.get(kind.__name__)
    text = f"{kind.__name__}, as of {made}" if made else f"a {kind.__name__}"
    return Want(text, lambda value: isinstance(value, kind))


def _text(want: Want | None) -> str:
    return want.text if want else "any value"


_SIMPLE: dict[Any, Want | None] = {
    Any: None,
    object: None,
    int: Want("a whole number", _is_int),
    float: Want("a number", _is_float),
    bool: Want("True or False", lambda value: isinstance(value, bool | np.bool_)),
    str: Want("text", _is_text),
    Path: Want("a path", lambda value: isinstance(value, os.PathLike) and "\0" not in str(value)),
    type(None): Want("None", lambda value: value is None),
    npt.ArrayLike: Want("a list or an array", _is_array_like),
}
_GENERIC: dict[Any, Callable[[Sequence[Any]], Want | None]] = {
    Annotated: _annotated,
    Literal: _literal,
    Callable: _function,
    Iterable: _iterable,
    np.ndarray: _array,
    tuple: _tuple,
    **dict.fromkeys((typing.Union, types.UnionType), _either),
    **dict.fromkeys((Mapping, dict), _mapping),
    **dict.fromkeys((Collection, Sequence, list), _list),
}
