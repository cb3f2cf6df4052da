"""What a study of its size can show, before it runs: concepts that count, and the smallest score that is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from isogloss.corpus import Corpus
from isogloss.settings import SelectionRule
from isogloss.study.estimate import kept_types
from isogloss.study.plan import Plan
from isogloss.study.steps.metrics import MeasurePair

# Of a real model (multilingual-e5-small, 300 sentences, K 50 to 600): types of a concept are log-normal with this
# sigma, and in the last layer a type stands in so many concepts; in the first a quarter as many concepts count.
_SIGMA, _SPREAD, _FIRST_LAYER = 0.9, 2.5, 0.25
# Of the same: spread of best matches under the nulls, and the chance level of CALIGN at 0.5 in the middle layers.
_SOFT_SD, _CHANCE = 0.055, 0.05


@dataclass(frozen=True)
class Power:
    """What a study of its size can show at one number of concepts, as a rule of thumb.

    Attributes
    ----------
    n_concepts : int
    language : str
        That with the fewest types.
    n_types : int
        Of that language, as selected for CALIGN.
    least, most : int
        Concepts of it that have `min_types` types: about so many in the first layer, and in the last.
    soft, calign : float
        How far above chance soft CALIGN, and CALIGN at 0.5, have to be to be seen 8 times in 10 at `least` to `most`
        concepts and the level 0.05, corrected for all that is looked at.
    """

    n_concepts: int
    language: str
    n_types: int
    least: int
    most: int
    soft: tuple[float, float]
    calign: tuple[float, float]


@dataclass(frozen=True)
class Preview:
    """What a study would do, and could show.

    Attributes
    ----------
    stages : list of dict
        Steps, steps done, and bytes and seconds of those that are not.
    power : list of Power
        For every number of concepts, as a rule of thumb.
    """

    stages: list[dict[str, Any]]
    power: list[Power]


def foreseen(plan: Plan) -> list[Power]:
    """Return what a planned study can show, for every number of concepts."""
    clusterings = {step.clustering for step in plan.steps if isinstance(step, MeasurePair)}
    metrics, rule = plan.config.metrics, plan.config.selection.calign
    looked_at = len(clusterings) * len(metrics.theta_align)
    return [
        power_of(plan.corpus, rule, n_concepts, min_types=metrics.min_types, n_looked_at=looked_at)
        for n_concepts in sorted({clustering.n_concepts for clustering in clusterings})
    ]


def power_of(corpus: Corpus, rule: SelectionRule, n_concepts: int, *, min_types: float, n_looked_at: int) -> Power:
    """Return what can be shown with a number of concepts, when so many layers, K, thetas and so on are looked at."""
    counts = kept_types(corpus, rule).group_by("language").len().sort("len", "language")
    language, n_types = counts.row(0)
    normal = NormalDist()
    centre = math.log(max(_SPREAD * n_types / n_concepts, 1e-9)) - _SIGMA**2 / 2
    share = 1 - normal.cdf((math.log(max(min_types, 1)) - centre) / _SIGMA)
    most = max(1, round(share * n_concepts))
    least = max(1, round(share * n_concepts * _FIRST_LAYER))
    z = normal.inv_cdf(1 - 0.05 / n_looked_at) + normal.inv_cdf(0.8)
    of_share = math.sqrt(_CHANCE * (1 - _CHANCE))
    soft, calign = ((z * sd / math.sqrt(most), z * sd / math.sqrt(least)) for sd in (_SOFT_SD, of_share))
    return Power(n_concepts, language, n_types, least, most, soft, calign)
