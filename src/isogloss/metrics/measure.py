"""What is known of a measure; all of them stand in `isogloss.metrics.registry`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from isogloss.metrics.inputs import Floats

Family = Literal["alignment", "overlap", "concepts", "companion"]
Takes = Literal["sentences", "words", "space"]


@dataclass(frozen=True)
class Measure:
    """A measure of two languages, or of a group, at one layer."""

    # in tables and signatures
    name: str
    # for people: of axes, panels and tables
    title: str
    # in one line
    what: str
    # of a companion formula(X, Y) -> number or one value a row, of a space formula(X, languages, sentences)
    formula: Callable[..., Any]
    _: KW_ONLY
    # CALIGN, COLAP, other measures of joint concepts, and measures without concepts
    family: Family
    # what its chance level is, after "the score with"; empty: it has none
    chance: str
    # the parts of its signature, in their order
    signature: tuple[str, ...]
    # its least and greatest value, where intervals end
    range: tuple[float, float] = (0.0, 1.0)
    # the usual threshold; None: it has no threshold
    theta: float | None = None
    # whether it goes from a source to a target; else a pair has one value
    directed: bool = False
    # whether a study is summed up by it
    headline: bool = False
    # the part `null` of its signature; empty: the settings say it
    null: str = ""

    @property
    def above_chance(self) -> bool:
        """Whether it is read as what it has above chance.

        The null of CALIGN is what unrelated words would reach.  The null of COLAP deals tokens out without regard to
        language: a model with no boundary between languages reaches it, so it is the upper end and not the lower.
        """
        return self.family == "alignment"

    @property
    def column(self) -> str:
        """The column of results that it is read in: ``"adjusted"`` or ``"score"``."""
        return "adjusted" if self.above_chance else "score"

    @property
    def read_as(self) -> str:
        """Its title, and that it is read above chance where it is."""
        return f"{self.title} above chance" if self.above_chance else self.title


@dataclass(frozen=True, kw_only=True)
class Companion(Measure):
    """A measure of the same states without concepts."""

    # row-aligned states of sentences, of linked words (every pair of types once), or all sentences of both, stacked
    takes: Takes
    # its chance level from the number of rows; None: from shuffled pairs, or undefined for a space
    level: Callable[[int], float] | None = None
    # draws(*arrays, weights=w) -> (m,): the measure under every line of (m, n) weights of rows, for the bootstrap;
    # None: from the values a row, or by the jackknife if there are none
    draws: Callable[..., Floats] | None = None
    # only the first so many rows are looked at
    most: int | None = None
    # by how much the values a row vary less than the measure does
    widened: float = 1.0
