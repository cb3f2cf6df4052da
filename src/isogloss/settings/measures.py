"""When concepts are aligned, shared and labelled, and what is drawn for chance levels and intervals."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from isogloss.arguments import Distinct, Draws, Half, NTypes, OrOne, PositiveShare, Seed, Share
from isogloss.sections import Section

Interval = Literal["bca", "percentile"]
Null = Literal["targets", "labels"]


class _Comparison(Section):
    """How shares are compared with a threshold."""

    rule: Literal["symmetric", "paper-code"] = Field(
        default="symmetric",
        description="paper-code is what the paper's scripts do. CALIGN: strict comparisons, `min_types` for the source "
        "alone, a size ratio of source to target, every source concept eligible. COLAP: strictly more than the "
        "threshold, compared in percent",
    )
    interval: Interval = Field(default="bca", description="of the bootstrap over sentences")

    @property
    def strict(self) -> bool:
        """Whether a share has to exceed a threshold, where it else has to reach it."""
        return self.rule == "paper-code"

    def _check_zero(self, name: str, thetas: tuple[float, ...]) -> None:
        if 0 in thetas and not self.strict:
            raise ValueError(f"{name} must be above 0, as every concept has at least nothing; got 0")


class AlignmentSettings(_Comparison):
    """When two concepts are aligned (CALIGN), and the chance of it."""

    theta_align: Annotated[tuple[Share, ...], Distinct(1), OrOne(Share)] = Field(
        default=(0.5,),
        description="thresholds of the share of types with a translation in the other concept, above 0 (with "
        "paper-code from 0); the first is the main one, further ones cost next to nothing. The paper has 0.8: with "
        "2,000 sentences or less hardly a concept reaches it (docs/planted.md)",
    )
    min_types: NTypes = Field(
        default=5,
        description="smallest number of types of a concept; in a study no more than the types of the language with the "
        "fewest",
    )
    min_size_ratio: Share = Field(
        default=0.4, description="least ratio of the numbers of types, the smaller concept to the larger"
    )
    n_permutations: Draws = Field(
        default=200,
        description="permutations for the chance level (of a function, 0 gives none). Its standard error is the "
        "spread of chance over the root of this",
    )
    null: Null = Field(
        default="targets",
        description="what the chance level permutes: the dictionary's target words, or the concept labels of the "
        "tokens of each side. The second also scatters the tokens of a word over concepts, and errs both ways: for "
        "comparison",
    )
    draw_seed: Seed = Field(default=0, description="of the permutations, and of the resamples of a study")

    @model_validator(mode="after")
    def _above_nothing(self) -> AlignmentSettings:
        self._check_zero("theta_align", self.theta_align)
        return self

    def reaches(self, match: Any, theta: float | np.floating) -> Any:
        """Compare matches with a threshold (elementwise; numbers, arrays or a polars expression)."""
        return match > theta if self.strict else match >= theta

    def eligible(self, sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Which source concepts count at all: those with enough types; under ``strict`` all that have a type."""
        return np.asarray((sizes > 0) & (self.strict | (sizes >= self.min_types)))

    def admissible(self, source: npt.NDArray[np.int32], target: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Which pairs of sizes may be aligned (elementwise, broadcasting).

        Both have at least `min_types` types and min(|s|, |t|) / max(|s|, |t|) >= `min_size_ratio` (Mousi et al. 2024,
        section 3, as far as it could be established).  Under ``strict``, as in the paper's released script,
        |s| > `min_types` and |s| / |t| > `min_size_ratio`, open above.
        """
        s, t = source.astype(np.float64), target.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.strict:
                return np.asarray((s > self.min_types) & (s / t > self.min_size_ratio))
            ratio = np.minimum(s, t) / np.maximum(s, t)
            return np.asarray((np.minimum(s, t) >= self.min_types) & (ratio >= self.min_size_ratio))


class OverlapSettings(_Comparison):
    """When languages share a concept (COLAP)."""

    theta_overlap: Annotated[tuple[Half, ...], Distinct(1), OrOne(Half)] = Field(
        default=(0.3,),
        description="thresholds of the share that every language owns, above 0 (with paper-code from 0; their 30 is "
        "0.3) to 1 / n_languages; the first is the main one",
    )

    @model_validator(mode="after")
    def _within_reach(self) -> OverlapSettings:
        self._check_zero("theta_overlap", self.theta_overlap)
        return self

    def owns(self, shares: Any, theta: float) -> Any:
        """Compare shares of languages with a threshold (elementwise)."""
        return shares * 100 > _percent(theta) if self.strict else shares >= theta

    def overlapping(self, counts: npt.NDArray[Any], theta: float) -> npt.NDArray[np.bool_]:
        """Return (..., n_concepts) of (..., n_concepts, n_languages) tokens: every language owns a share of theta."""
        with np.errstate(invalid="ignore"):
            shares = counts / counts.sum(axis=-1, keepdims=True, dtype=np.float64)
        return np.asarray(self.owns(shares, theta).all(axis=-1))


class LabelSettings(Section):
    """When the members of a concept share a label."""

    threshold: PositiveShare = Field(default=0.9, description="share of a concept's types that must carry a label")
    n_permutations: Draws = Field(
        default=100, description="random concepts for the chance levels: units are dealt to concepts of the same sizes"
    )


def _percent(theta: float) -> float:
    """Return 100 * theta without a rounding error: 0.07 is 7, where 0.07 * 100 is a little more."""
    return float(Decimal(repr(float(theta))).scaleb(2))
