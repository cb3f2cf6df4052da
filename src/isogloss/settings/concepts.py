"""Which tokens are clustered, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from isogloss.arguments import Count, Distinct, Seed, Several
from isogloss.sections import Section

Drop = Literal["punctuation", "digits", "identical", "shared"]


class Selection(Section):
    """Which tokens take part, by how often their types, or pairs of types, occur."""

    min_count: Count = Field(default=1, description="how often a type or pair must occur")
    max_count: Count | None = Field(
        default=None, description="how many of its occurrences are kept, the first ones; null for all"
    )
    drop: Annotated[tuple[Drop, ...], Distinct()] = Field(
        default=(),
        description="leave out words without any letter or digit; words that contain a digit; words that are linked to "
        "(where pairs are counted) or occur as (where words are) the same form in another language; words that share a "
        "subword with a neighbour, and so perhaps their state",
    )


class SelectionRule(Selection):
    """Which tokens of a study are clustered."""

    by: Literal["pairs", "types"] = Field(
        description="what is counted: occurrences of aligned word pairs, as in the paper's CALIGN "
        "experiment, or of words"
    )
    max_count: Count | None = Selection.field("max_count", default=15)


class DiscoverySettings(Section):
    """How concepts are found."""

    method: str = Field(default="ward", description="see `isogloss list methods`")
    n_concepts: Literal["auto"] | Several | Annotated[tuple[Several, ...], Distinct(1)] = Field(
        default="auto",
        description="one number, or several, which with ward cost one clustering. auto is 600, but at most a tenth of "
        "the types of the language with the fewest; a number is at most the words of that language",
    )
    seeds: Annotated[tuple[Seed, ...], Distinct(1)] = Field(
        default=(0,), description="of methods that draw at random: a clustering each"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the method")
