"""Arguments, checked at the door: a function's own annotations say what it takes.

`checked` stands over every public function and data class.  Bounds are part of the annotation (`Count`, `Seed`,
`Share`), and the study file uses the same ones, so a number has one range and one reason wherever it is given.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import os
import re
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
    """What an argument has to be: in words, as a test, the names there are to choose from, and several of it."""

    text: str
    fits: Callable[[Any], bool]
    names: tuple[str, ...] = ()
    many: str = ""


class Rule:
    """What an annotation asks for beyond a kind: ``Annotated[int, Within(1, 100)]``."""

    def __contains__(self, value: Any) -> bool:
        raise NotImplementedError

    def narrow(self, want: Want) -> Want:
        """Return a want of only those values that keep the rule."""
        many = want.many and f"{want.many}{self}"
        return Want(f"{want.text}{self}", lambda value: want.fits(value) and value in self, want.names, many)

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
    low, high : int or float
        Both belong to the range, unless `above` or `below` is set.
    why : str
        The reason for its ends.
    above, below : bool
        Whether the lower, the upper end is outside.
    """

    low: int | float
    high: int | float
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
class Like(Rule):
    """Text of one form, of which there is an example."""

    pattern: str
    example: str

    def __contains__(self, value: Any) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return f" such as '{self.example}'"


@dataclass(frozen=True)
class OneOf(Rule):
    """A name out of some."""

    names: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return f" out of {', '.join(self.names)}"

    def narrow(self, want: Want) -> Want:
        return super().narrow(want)._replace(text=f"one of {', '.join(self.names)}", names=self.names)


@dataclass(frozen=True)
class Dimensions(Rule):
    """An array, or what becomes one, of `n` dimensions and maybe of a fixed width."""

    n: int
    entries: Literal["numbers", "whole numbers", "entries"] = "numbers"
    width: int | None = None

    def __contains__(self, value: Any) -> bool:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):  # ragged
            return False
        if self.width is not None and array.shape[-1:] != (self.width,):
            return False
        kinds = {"numbers": "biuf", "whole numbers": "biu", "entries": "biufUTOSM"}[self.entries]
        # an empty list has no kind
        return array.ndim == self.n and (array.dtype.kind in kinds or array.size == 0)

    def __str__(self) -> str:
        width = f", {self.width} wide" if self.width else ""
        return f" of {self.entries} in {self.n} dimension{'s' if self.n > 1 else ''}{width}"


@dataclass(frozen=True)
class Columns(Rule):
    """A table with these columns, and maybe others."""

    names: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return set(self.names) <= set(value.columns)

    def __str__(self) -> str:
        return f" with the columns {', '.join(self.names)}"


INSIDE = "checked inside"  # in an annotation: the function looks at this argument by itself

_DRAWS = "each costs a whole count and is held in memory; what more than 10,000 add is below a hundredth of the spread"

Seed = Annotated[int, Within(0, 2**32 - 1, why="what every generator of random numbers takes")]
Count = Annotated[int, Within(1, 2**31 - 1)]
Several = Annotated[int, Within(2, 2**31 - 1)]
Index = Annotated[int, Within(0, 2**31 - 1)]
NConcepts = Annotated[int, Within(1, 2**31 - 1)]
Layer = Annotated[int, Within(0, 10_000, why="0 is the embedding output")]
Share = Annotated[float, Within(0, 1)]
Half = Annotated[
    float, Within(0, 0.5, why="beyond a half no two languages can both own so much of a concept")
]
PositiveShare = Annotated[float, Within(0, 1, above=True)]
PartShare = Annotated[float, Within(0, 1, below=True)]
Inside = Annotated[float, Within(0, 1, above=True, below=True)]
Draws = Annotated[int, Within(0, 10_000, why=_DRAWS)]
SomeDraws = Annotated[int, Within(1, 10_000, why=_DRAWS)]
NTypes = Annotated[float, Within(0, 1_000_000, why="no concept has more types")]
Translations = Annotated[int, Within(1, 10_000, why="no word has more translations")]
Words = Annotated[int, Within(1, 32_767, why="positions in a sentence are numbers of 16 bits")]
Rounds = Annotated[int, Within(1, 100_000, why="what has not settled by then never does")]
Folds = Annotated[int, Within(2, 1_000, why="every fold is a fit of its own")]
Workers = Annotated[int, Within(1, 1_000, why="processes or threads; more than the cores gain nothing")]
BatchTokens = Annotated[int, Within(1, 1_000_000, why="subwords of one pass, whose memory grows with them")]
Height = Annotated[float, Within(0, math.inf)]
Port = Annotated[int, Within(0, 65_535, why="0 is any free one")]

Text = Annotated[str, Like(r".*\S.*", "news")]
Name = Annotated[
    str, Like(r"(?!.*(?:^|/)\.\.(?:/|$))[^\\]*[^./\\][^\\]*", "news")
]  # of a folder that is made here

Numbers = Annotated[npt.ArrayLike, Dimensions(1)]
WholeNumbers = Annotated[npt.ArrayLike, Dimensions(1, "whole numbers")]
Entries = Annotated[npt.ArrayLike, Dimensions(1, "entries")]

# Of training.
Epochs = Annotated[float, Within(0, 1_000, above=True, why="how often the text is read")]
Rate = Annotated[float, Within(0, 1, above=True, why="a step as long as that leads nowhere")]
BatchSize = Annotated[int, Within(1, 10_000, why="sentences in one step, whose memory grows with them")]
Decay = Annotated[float, Within(0, 10)]
Evaluations = Annotated[int, Within(1, 1_000, why="each goes over the development data")]
Length = Annotated[int, Within(8, 100_000, why="subwords; memory grows with their square")]
Rank = Annotated[int, Within(1, 10_000, why="an adapter is smaller than the layer it stands beside")]
Scale = Annotated[float, Within(0, 1_000_000, above=True)]


def checked(target: F) -> F:
    """Check the arguments of a function, or of a data class, against its annotations, before anything is done.

    Raises
    ------
    UsageError
        From the function, for a value that does not fit: names function and argument, what was given and is wanted.
    """
    if isinstance(target, type):
        target.__init__ = _guarded(target.__init__, _Door(target.__init__, target))  # type: ignore[misc]
        return target
    return typing.cast(F, _guarded(target, _Door(target, target)))


def check_given(
    target: Callable[..., Any], options: Mapping[str, Any], *, of: str, spelt: Callable[[str], str] = str
) -> None:
    """Check options that a `checked` function or data class will be given, long before it is called.

    The message names `of`, and the option as `spelt`.

    Raises
    ------
    UsageError
        As from the function.
    """
    door: _Door = vars(vars(target)["__init__"] if isinstance(target, type) else target)["door"]
    door.check((), options, called=of, spelt=spelt)


class _Argument(NamedTuple):
    name: str
    want: Want | None = None
    default: Any = None


class _Door:
    """Where the arguments of one function are looked at."""

    def __init__(self, function: Callable[..., Any], owner: Any) -> None:
        self._function, self._owner = function, owner
        self._arguments: dict[str, _Argument] = {}
        self._in_order: list[_Argument] = []

    def check(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        called: str = "",
        spelt: Callable[[str], str] = str,
    ) -> None:
        if not self._arguments:
            self._learn()
        for argument, value in zip(self._in_order, args, strict=False):
            if argument.want is not None and not argument.want.fits(value):
                raise _refused(called or self._owner.__qualname__, argument, value)
        for name, value in kwargs.items():
            argument = self._arguments.get(name, _ANY)
            if argument.want is not None and not argument.want.fits(value):
                named = argument._replace(name=spelt(name))
                raise _refused(called or self._owner.__qualname__, named, value)

    def _learn(self) -> None:
        # At the first call: by then names that are imported late can be read, and importing stays cheap.
        hints = typing.get_type_hints(self._owner, include_extras=True)
        for p in inspect.signature(self._function).parameters.values():
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                want = want_of(hints[p.name]) if p.name in hints else None
                self._arguments[p.name] = _Argument(p.name, want, p.default)
                if p.kind is not p.KEYWORD_ONLY:
                    self._in_order.append(self._arguments[p.name])


_ANY = _Argument("")


def _guarded(function: Callable[..., Any], door: _Door) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        door.check(args, kwargs)
        return function(*args, **kwargs)

    guarded.door = door  # type: ignore[attr-defined]
    return guarded


def _refused(called: str, argument: _Argument, value: Any) -> UsageError:
    assert argument.want is not None
    text = f"{called}: {argument.name} {refusal(argument.want, value)}"
    default = argument.default
    if isinstance(default, int | float | str) and default != "" and "Did you mean" not in text:
        text += f" Example: {argument.name}={default!r}."
    return UsageError(text)


def refusal(want: Want, value: Any) -> str:
    """Return what is said of a value that does not fit: what is wanted, what was given, and the nearest name."""
    text = f"must be {want.text}; got {shown(value)}."
    for given in value if isinstance(value, list | tuple) else [value]:
        wrong = isinstance(given, str) and given not in want.names
        near = difflib.get_close_matches(given, want.names, n=1, cutoff=0.5) if wrong else []
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


def _is_path_name(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


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
    path = Want("a path as text", _is_path_name)
    found = [path if part is str and Path in parts else want_of(part) for part in parts]
    wants = [want for want in found if want is not None]
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


def _array(_parts: Sequence[Any]) -> Want:
    # `Pieces` too: one array in several files
    return Want("an array", lambda value: hasattr(value, "shape") and hasattr(value, "dtype"))


def _function(_parts: Sequence[Any]) -> Want:
    return Want("a function", callable)


def _instance(kind: Any) -> Want | None:
    """Return the want of a class of ours or of a library; of a protocol where it can be told."""
    told = not getattr(kind, "_is_protocol", False) or getattr(kind, "_is_runtime_protocol", False)
    if not isinstance(kind, type) or not told:
        return None
    made = _MADE_BY.get(kind.__name__)
    text = f"{kind.__name__}, as of {made}" if made else _a(kind.__name__)
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
    Callable: _function,
    Iterable: _iterable,
    np.ndarray: _array,
    tuple: _tuple,
    **dict.fromkeys((typing.Union, types.UnionType), _either),
    **dict.fromkeys((Mapping, dict), _mapping),
    Collection: _list,
    **dict.fromkeys((Sequence, list), _ordered),
}
