"""Rules that an annotation may carry beyond a kind: a range, no repetition, a form, dimensions, columns."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np


class Want(NamedTuple):
    """What an argument has to be: in words, as a test, the names there are to choose from, and several of it."""

    text: str
    fits: Callable[[Any], bool]
    names: tuple[str, ...] = ()
    many: str = ""


class Rule(ABC):
    """What an annotation asks for beyond a kind: ``Annotated[int, Within(1, 100)]``."""

    @abstractmethod
    def __contains__(self, value: Any) -> bool:
        """Tell whether a value of the right kind keeps the rule."""

    def narrow(self, want: Want) -> Want:
        """Return a want of only those values that keep the rule."""
        many = want.many and f"{want.many}{self}"
        return Want(f"{want.text}{self}", lambda value: want.fits(value) and value in self, want.names, many)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Let the study file keep the same rule."""
        from pydantic_core import core_schema

        from isogloss.arguments.wants import want_of

        want = want_of(source)
        text = f"must be {want.text if want else 'of another kind'}{self}"

        def check(value: Any) -> Any:
            if value not in self:
                raise ValueError(text)
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
        high = f" below {self.high:,}" if self.below else f" {'at most' if self.above else 'to'} {self.high:,}"
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
class OrOne(Rule):
    """A list, or one `entry` of it alone."""

    entry: Any

    def __contains__(self, value: Any) -> bool:
        return True

    def narrow(self, want: Want) -> Want:
        from isogloss.arguments.wants import want_of

        alone = want_of(self.entry)
        assert alone is not None
        return Want(f"{alone.text} or {want.text}", lambda value: alone.fits(value) or want.fits(value), want.names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def listed(value: Any) -> Any:
            return value if isinstance(value, Collection) else (value,)

        return core_schema.no_info_before_validator_function(listed, handler(source))


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
            # What lies in a file has a shape and a type, and is not read for this.
            array = value if is_array(value) else np.asarray(value)
        except (TypeError, ValueError):  # ragged
            return False
        if self.width is not None and array.shape[-1:] != (self.width,):
            return False
        kinds = {"numbers": "biuf", "whole numbers": "biu", "entries": "biufUTOSM"}[self.entries]
        # an empty list has no kind
        return len(array.shape) == self.n and (array.dtype.kind in kinds or 0 in array.shape)

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


def is_array(value: Any) -> bool:
    """Tell whether a value has the shape and type of an array, in memory or not."""
    return isinstance(getattr(value, "dtype", None), np.dtype) and len(value.shape) > 0
