"""Work in parts: one after another in this process, or wherever the one who runs the study has workers for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

_current: ContextVar[Spread] = ContextVar("spread", default=map)


def spread(function: Callable[[T], R], items: Iterable[T]) -> Iterable[R]:
    """Apply a function to every item and return what comes out, in the order of the items.

    Function and items must be picklable, and no result may depend on where or beside what an item is worked on: under
    `spreading` they may go to other processes or machines.
    """
    items = list(items)
    return _current.get()(function, items) if len(items) > 1 else map(function, items)


@contextmanager
def spreading(by: Spread) -> Iterator[None]:
    """Let `spread` work by another function in this block; it is called as ``by(function, items)``."""
    token = _current.set(by)
    try:
        yield
    finally:
        _current.reset(token)
