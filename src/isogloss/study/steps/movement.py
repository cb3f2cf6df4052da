"""Steps of movement: how the concepts of one layer came from a base model's, and from those of the layer before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from isogloss.coordinates import Clustering
from isogloss.corpus import Corpus
from isogloss.runner import Facts, Step
from isogloss.settings import OverlapSettings
from isogloss.store import MOVEMENT_TABLES, StudyLayout, read_table, write_table, write_with_csv
from isogloss.study.analyses.movement import COLUMNS, compare_concepts, word_facts
from isogloss.study.steps.concepts import FindConcepts

_JOINED = tuple(name for name in MOVEMENT_TABLES if name != "flows")  # these are large, and stay with their layers


@dataclass(frozen=True)
class FollowConcepts(Step):
    """The concepts of one layer beside those that they came from, space by space.

    Attributes
    ----------
    clustering : Clustering
    base : str
        Model that it is compared with, or nothing.
    after : tuple of FindConcepts
        A space each.
    from_base, from_layer : tuple of FindConcepts
        The same spaces in the base model and in the layer before; empty where there is none.
    overlap : OverlapSettings
    draw_seed : int
    text : str
        Digest of the tables of the corpus, tags too.
    """

    clustering: Clustering
    base: str
    after: tuple[FindConcepts, ...]
    from_base: tuple[FindConcepts, ...]
    from_layer: tuple[FindConcepts, ...]
    overlap: OverlapSettings
    draw_seed: int
    text: str
    stage: ClassVar[str] = "movement of layers"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return tuple(layout.movement_at(self.clustering, table) for table in MOVEMENT_TABLES)

    def run(self, layout: StudyLayout) -> Facts:
        corpus = Corpus.open(layout)
        place = self.clustering.facts() | {"base_model": self.base}
        sides = {}
        if self.from_base:
            sides["base"] = self.from_base
        if self.from_layer:
            sides[f"layer_{self.from_layer[0].clustering.layer:02d}"] = self.from_layer
        facts = word_facts(corpus)
        rows: dict[str, list[pl.DataFrame]] = {name: [] for name in MOVEMENT_TABLES}
        for i, step in enumerate(self.after):
            after = step.load(layout, corpus.words)
            for compared, side in sides.items():
                before = side[i].load(layout, corpus.words)
                here = place | {"compared": compared, "space": step.space.name}
                columns = [pl.lit(value).alias(name) for name, value in here.items()]
                tables = compare_concepts(before, after, step.space, self.overlap, facts, draw_seed=self.draw_seed)
                for name, table in tables.items():
                    whole = table.select(*columns, pl.all()).select(list(COLUMNS[name]))
                    rows[name].append(pl.DataFrame(whole, schema_overrides=COLUMNS[name]))
        for name, parts in rows.items():
            table = pl.concat([pl.DataFrame(schema=COLUMNS[name]), *parts])
            write_table(layout.movement_at(self.clustering, name), table)
        return {"n_flows": sum(table.height for table in rows["flows"])}


@dataclass(frozen=True)
class JoinMovement(Step):
    """The movement at all layers, without the flows."""

    layers: tuple[FollowConcepts, ...]
    stage: ClassVar[str] = "movement"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        tables = [layout.movement(name) for name in _JOINED]
        return (*tables, *(path.with_suffix(".csv") for path in tables))

    def run(self, layout: StudyLayout) -> Facts:
        for name in _JOINED:
            files = [layout.movement_at(layer.clustering, name) for layer in self.layers]
            write_with_csv(layout.movement(name), pl.concat([read_table(x, COLUMNS[name]) for x in files]))
        return {}
