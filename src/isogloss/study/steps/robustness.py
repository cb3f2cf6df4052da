"""Steps of robustness: CALIGN of one pair at one layer under other settings, and how far the orderings agree."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import polars as pl

from isogloss.coordinates import Pair
from isogloss.corpus import Corpus
from isogloss.metrics import calign
from isogloss.runner import Facts, Step
from isogloss.settings import AlignmentSettings
from isogloss.store import StudyLayout, read_table, write_csv, write_table
from isogloss.study.analyses.orderings import PLACE, SETTINGS, Grid, agreement
from isogloss.study.steps.concepts import GrowTree
from isogloss.study.steps.words import Dictionary, read_dictionary

log = logging.getLogger(__name__)

_PERMUTATIONS = 20


@dataclass(frozen=True)
class SweepSettings(Step):
    """CALIGN of one pair at one layer under every setting of a grid: the mean of both directions.

    Every number of concepts is cut from the trees that are there, so nothing is clustered again.  `chance` is the mean
    of 20 draws of each null, the higher one.

    Attributes
    ----------
    pair : Pair
    trees : tuple of GrowTree
        Of the source and of the target.
    dictionaries : tuple of Dictionary
        There and back.
    grid : Grid
    alignment : AlignmentSettings
    """

    pair: Pair
    trees: tuple[GrowTree, GrowTree]
    dictionaries: tuple[Dictionary, Dictionary]
    grid: Grid
    alignment: AlignmentSettings
    version: ClassVar[int] = 2
    stage: ClassVar[str] = "robustness of layers"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        clustering = replace(self.trees[0].clustering, n_concepts=self.grid.of_study[0])
        return (layout.robustness_at(clustering, self.pair),)

    def run(self, layout: StudyLayout) -> Facts:
        tokens = Corpus.open(layout).words
        trees = {tree.space: tree.load(layout, tokens) for tree in self.trees}
        dictionaries = {x: read_dictionary(layout, x) for x in self.pair.directions}
        where = self.trees[0].clustering
        values = (where.model, where.stack, where.layer, *self.pair.languages)
        place = dict(zip(PLACE, values, strict=True))
        # equal states, and what lies beside a tree's sample, are never parted
        most = min(tree.n_distinct for tree in trees.values())
        rows = []
        for k in self.grid.n_concepts:
            if k > most:
                log.warning("robustness: %s has only %d states for %d concepts", self.name, most, k)
                continue
            cut = {space: tree.cut(n_concepts=k) for space, tree in trees.items()}
            for top, min_types in product(self.grid.top, self.grid.min_types):
                both = []
                for direction in self.pair.directions:
                    source, target = direction.sides
                    alignment = calign(
                        cut[source],
                        cut[target],
                        dictionaries[direction].top(top),
                        theta_align=self.grid.theta,
                        min_types=min_types,
                        min_size_ratio=self.alignment.min_size_ratio,
                        rule=self.alignment.rule,
                        n_permutations=_PERMUTATIONS,
                        draw_seed=self.alignment.draw_seed,
                        words=False,
                    )
                    both.append(alignment.estimates)
                for there, back in zip(*both, strict=True):
                    setting = {"n_concepts": k, "top": top, "min_types": min_types, "theta": there.theta}
                    means = {
                        name: (getattr(there, name) + getattr(back, name)) / 2
                        for name in ("score", "chance", "adjusted")
                    }
                    rows.append(place | setting | means)
        table = pl.DataFrame(rows)
        write_table(self.outputs(layout)[0], table)
        return {"n_estimates": table.height}


@dataclass(frozen=True)
class JoinRobustness(Step):
    """How far the ordering of layers, pairs and models under every setting agrees with the study's own."""

    swept: tuple[SweepSettings, ...]
    grid: Grid
    stage: ClassVar[str] = "robustness"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return layout.robustness, layout.robustness_csv

    def run(self, layout: StudyLayout) -> Facts:
        columns = [*PLACE, *SETTINGS, "score", "chance", "adjusted"]
        table = pl.concat([read_table(path, columns) for path in self.reads(layout)])
        table = table.sort(*SETTINGS, *PLACE)
        summary = agreement(table, self.grid)
        write_table(layout.robustness, table)
        write_csv(layout.robustness_csv, summary)
        return {"n_settings": summary.height}
