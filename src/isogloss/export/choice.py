"""Which part of a study is exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from isogloss.errors import UsageError, unknown
from isogloss.metrics.registry import DIRECTED, GROUP_OVERLAP, OVERLAP

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy, Run

RUN_COLUMNS = ("model", "base_model", "stack", "method", "n_concepts", "seed")
"""What names a run in every table that is exported."""


@dataclass(frozen=True)
class Choice:
    """What was chosen of a study; None is everything.

    Attributes
    ----------
    model, stack : str or None
    n_concepts, seed : int or None
    layers : tuple of int or None
    spaces : tuple of str or None
    """

    model: str | None = None
    stack: str | None = None
    n_concepts: int | None = None
    seed: int | None = None
    layers: tuple[int, ...] | None = None
    spaces: tuple[str, ...] | None = None

    def runs(self, study: FinishedStudy) -> list[Run]:
        """Return the runs that are chosen.

        Raises
        ------
        UsageError
            If there is none; the message says which choice is unknown.
        """
        runs = study.runs
        for name in ("model", "stack", "n_concepts", "seed"):
            value = getattr(self, name)
            if value is not None:
                known = list(dict.fromkeys(getattr(run, name) for run in runs))
                runs = [run for run in runs if getattr(run, name) == value]
                if not runs:
                    raise unknown(name.replace("_", " "), value, map(str, known))
        if not runs:
            raise UsageError(f"The study in {study.root} has no results to export. Run it again.")
        return runs

    def layers_of(self, runs: list[Run]) -> list[int]:
        """Return the layers that are chosen, rising; every one of them must be in some run."""
        known = sorted({layer for run in runs for layer in run.layers})
        for layer in self.layers or ():
            if layer not in known:
                raise unknown("layer", layer, map(str, known))
        return [layer for layer in known if self.layers is None or layer in self.layers]

    def spaces_of(self, study: FinishedStudy) -> list[str]:
        """Return the spaces that are chosen, in the order of the study."""
        known = spaces(study)
        for space in self.spaces or ():
            if space not in known:
                raise unknown("space", space, known)
        return [space for space in known if self.spaces is None or space in self.spaces]

    def places(self, study: FinishedStudy) -> Iterator[tuple[Run, int, str]]:
        """Yield every run, layer and space that is chosen."""
        runs = self.runs(study)
        layers, chosen = self.layers_of(runs), self.spaces_of(study)
        for run in runs:
            for layer in layers:
                if layer in run.layers:
                    for space in chosen:
                        yield run, layer, space


def spaces(study: FinishedStudy) -> list[str]:
    """Return the spaces that a study has concepts of: languages, pairs, and the whole group."""
    table = study.results.table
    alone = set(table.filter(pl.col("metric") == DIRECTED)["source"].to_list())
    joint = table.filter(pl.col("metric").is_in([OVERLAP, GROUP_OVERLAP]))
    named = joint.select(
        pl.when(pl.col("target") == "").then("source").otherwise(pl.format("{}+{}", "source", "target"))
    )
    together = named.to_series().unique(maintain_order=True).to_list()
    return [x for x in study.languages if x in alone] + together


def run_facts(run: Run) -> dict[str, Any]:
    """Return the values of `RUN_COLUMNS`."""
    return {name: getattr(run, name) for name in RUN_COLUMNS}


def with_place(table: pl.DataFrame, run: Run, layer: int, space: str) -> pl.DataFrame:
    """Return a table with the columns that name its run, layer and space in front."""
    facts = {**run_facts(run), "layer": layer, "space": space}
    kinds = {"n_concepts": pl.Int32, "seed": pl.Int64, "layer": pl.Int32}
    place = [pl.lit(value, dtype=kinds.get(name, pl.String)).alias(name) for name, value in facts.items()]
    return table.select(*place, pl.all())
