"""What names a part of a study: a space, a pair, a clustering.  They are passed whole, and spelt here alone.

Labels of languages may hold any printable character.  In a name the character that separates labels, and what a file
name cannot hold, is written as ``%`` and two hexadecimal digits a byte, so that two names are never one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

_UNFIT = r"[%/\\\x00-\x1f\x7f]|^[.]+$"  # of a file's name


def _written(label: str, separator: str) -> str:
    return re.sub(f"[{separator}]|{_UNFIT}", lambda match: _escaped(match[0]), label)


def _escaped(characters: str) -> str:
    return "".join(quote(x, safe="") if quote(x, safe="") != x else f"%{ord(x):02X}" for x in characters)


@dataclass(frozen=True)
class Space:
    """Languages that are clustered together; one alone is a space too.

    Attributes
    ----------
    languages : tuple of str
        In the order of the corpus.
    """

    languages: tuple[str, ...]

    @classmethod
    def of(cls, *languages: str) -> Space:
        return cls(languages)

    @classmethod
    def named(cls, name: str) -> Space:
        """Return the space of a `name`.

        Examples
        --------
        >>> Space.named("en+zh-yue").languages
        ('en', 'zh-yue')
        """
        return cls(tuple(unquote(part) for part in name.split("+")))

    @property
    def name(self) -> str:
        """E.g. ``"en+de"``; in files, tables and messages."""
        return "+".join(_written(language, "+") for language in self.languages)

    @property
    def is_joint(self) -> bool:
        """True of more languages than one."""
        return len(self.languages) > 1

    def __contains__(self, language: object) -> bool:
        return language in self.languages

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Pair:
    """Two languages, and a direction where there is one.

    Attributes
    ----------
    source, target : str
    """

    source: str
    target: str

    @property
    def name(self) -> str:
        """E.g. ``"en-de"``; in files and messages.

        Examples
        --------
        >>> Pair("a", "b-c").name, Pair("a-b", "c").name
        ('a-b%2Dc', 'a%2Db-c')
        """
        return f"{_written(self.source, '-')}-{_written(self.target, '-')}"

    @property
    def reverse(self) -> Pair:
        return Pair(self.target, self.source)

    @property
    def directions(self) -> tuple[Pair, Pair]:
        """There and back."""
        return self, self.reverse

    @property
    def languages(self) -> tuple[str, str]:
        return self.source, self.target

    @property
    def sides(self) -> tuple[Space, Space]:
        """Each language alone."""
        return Space.of(self.source), Space.of(self.target)

    @property
    def space(self) -> Space:
        """Both languages clustered together."""
        return Space(self.languages)

    def __str__(self) -> str:
        return self.name


def alone(pairs: Iterable[Pair]) -> list[Space]:
    """Return the languages of some pairs, each a space of its own, once."""
    return [Space.of(language) for language in dict.fromkeys(x for pair in pairs for x in pair.languages)]


@dataclass(frozen=True)
class Clustering:
    """What names the concepts of one layer, space by space.

    Attributes
    ----------
    model, stack : str
    layer : int
        0 = embedding output, l = output of block l.
    method : str
    n_concepts : int
    seed : int
        Of the method; permutations and resamples have one of their own, `draw_seed`.
    """

    model: str
    stack: str
    layer: int
    method: str
    n_concepts: int
    seed: int

    def at(self, layer: int) -> Clustering:
        """Return the clustering of another layer that differs in nothing else."""
        return replace(self, layer=layer)

    def facts(self) -> dict[str, Any]:
        """Return the attributes by name, in the order of the columns of tables."""
        names = ("model", "stack", "method", "n_concepts", "seed", "layer")
        return {name: getattr(self, name) for name in names}
