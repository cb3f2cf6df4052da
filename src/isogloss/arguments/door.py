"""The door: `checked` stands over every public function and data class."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from isogloss.arguments.rules import Want
from isogloss.arguments.wants import refusal, want_of
from isogloss.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


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
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, called: str = "", spelt: Callable[[str], str] = str
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
