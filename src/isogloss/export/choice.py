"""Which part of a study is exported."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from isogloss.coordinates import Clustering, Space
from isogloss.errors import UsageError, unknown
from isogloss.plots import start_layer

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

Place = tuple[Clustering, Space]
RUN_COLUMNS = ("model", "base_model", "stack", "method", "n_concepts", "seed")
"""What names a run in every table that is exported."""


@dataclass(frozen=True)
class Choice:
    """What was chosen of a study; None is everything."""

    model: str | None = None
    stack: str | None = None
    n_concepts: int | None = None
    seed: int | None = None
    layers: tuple[int, ...] | None = None
    spaces: tuple[str, ...] | None = None

    def runs(self, study: FinishedStudy) -> list[tuple[Clustering, ...]]:
        """Return the runs that are chosen; see `FinishedStudy.runs`.

        Raises
        ------
        UsageError
            If there is none; the message says which choice is unknown.
        """
        runs = study.runs
        for name in ("model", "stack", "n_concepts", "seed"):
            value = getattr(self, name)
            if value is not None:
                there = list(dict.fromkeys(getattr(run[0], name) for run in runs))
                runs = [run for run in runs if getattr(run[0], name) == value]
                if not runs:
                    raise unknown(name.replace("_", " "), value, map(str, there))
        if not runs:
            raise UsageError(f"The study in {study.root} has no results to export. Run it again.")
        return runs

    def layers_of(self, runs: list[tuple[Clustering, ...]]) -> list[int]:
        """Return the layers that are chosen, rising; every one of them must be in some run."""
        there = sorted({clustering.layer for run in runs for clustering in run})
        for layer in self.layers or ():
            if layer not in there:
                raise unknown("layer", layer, map(str, there))
        return [layer for layer in there if self.layers is None or layer in self.layers]

    def spaces_of(self, study: FinishedStudy) -> list[Space]:
        """Return the spaces that are chosen, in the order of the study."""
        names = [space.name for space in study.spaces]
        for name in self.spaces or ():
            if name not in names:
                raise unknown("space", name, names)
        return [space for space in study.spaces if self.spaces is None or space.name in self.spaces]

    def places(self, study: FinishedStudy) -> Iterator[Place]:
        """Yield every clustering and space that is chosen."""
        runs = self.runs(study)
        layers, spaces = self.layers_of(runs), self.spaces_of(study)
        for clustering in itertools.chain.from_iterable(runs):
            if clustering.layer in layers:
                yield from ((clustering, space) for space in spaces)


def run_facts(study: FinishedStudy, clustering: Clustering) -> dict[str, Any]:
    """Return the values of `RUN_COLUMNS`."""
    facts = clustering.facts() | {"base_model": study.bases[clustering.model]}
    return {name: facts[name] for name in RUN_COLUMNS}


def with_place(study: FinishedStudy, table: pl.DataFrame, clustering: Clustering, space: Space) -> pl.DataFrame:
    """Return a table with the columns that name its run, layer and space in front."""
    facts = {**run_facts(study, clustering), "layer": clustering.layer, "space": space.name}
    kinds = {"n_concepts": pl.Int32, "seed": pl.Int64, "layer": pl.Int32}
    place = [pl.lit(value, dtype=kinds.get(name, pl.String)).alias(name) for name, value in facts.items()]
    return table.select(*place, pl.all())


def one_place(study: FinishedStudy, choice: Choice) -> Place:
    """Return the one clustering and space that are chosen.

    Of several: the first run, the best layer by soft CALIGN, all languages together.

    Raises
    ------
    UsageError
        If more layers or spaces than one are named.
    """
    for name in ("layers", "spaces"):
        chosen = getattr(choice, name)
        if chosen is not None and len(chosen) != 1:
            raise unknown(f"choice of {name}", " ".join(map(str, chosen)), [f"one of the {name}"])
    run = choice.runs(study)[0]
    layer = start_layer(study, run[0]) if choice.layers is None else choice.layers_of([run])[0]
    spaces, whole = choice.spaces_of(study), Space(study.languages)
    return run[0].at(layer), whole if whole in spaces else spaces[-1]
