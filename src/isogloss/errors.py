"""Exceptions of isogloss: every message says what is wrong, what was given, and what to do.

``UsageError`` is a wrong call (a misspelt option, an impossible setting): exit status 2 on the
command line.  Every other ``IsoglossError`` is work that failed: exit status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IsoglossError(Exception):
    """Base of all errors raised on purpose by isogloss."""


class UsageError(IsoglossError):
    """The call itself is wrong: an unknown name, a value out of range, a contradiction."""


class InputError(IsoglossError):
    """A file or a piece of data given by the user cannot be used."""


class MissingExtraError(IsoglossError):
    """An optional package is needed and is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'isogloss[{extra}]'"
        )


def unknown(kind: str, name: object, names: Iterable[str], *, where: str = "") -> UsageError:
    """Return the error for a name that is not among the known ones, naming the nearest.

    Parameters
    ----------
    kind : str
        What is being named, e.g. ``"aligner"``.
    name : object
        What the user wrote.
    names : iterable of str
        Those that would have been right.
    where : str
        Place of the mistake, e.g. ``"study.yaml, line 4"``; put in front of the message.
    """
    listed = sorted(names)
    near = difflib.get_close_matches(str(name), listed, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    prefix = f"{where}: " if where else ""
    return UsageError(f"{prefix}unknown {kind} '{name}'.{hint} Known: {', '.join(listed)}.")
