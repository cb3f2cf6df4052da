"""Whether the ordering of layers, pairs and models survives other settings of CALIGN than the study's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from isogloss.metrics.statistics.ranks import rank_correlation

SETTINGS = ("n_concepts", "top", "min_types", "theta")
PLACE = ("model", "stack", "layer", "source", "target")


@dataclass(frozen=True)
class Grid:
    """The settings under which CALIGN is measured, in every combination; rising.

    Attributes
    ----------
    n_concepts, top, min_types, theta : tuple of numbers
    of_study : tuple
        The study's own setting, in the order of ``SETTINGS``; it is in the grid.
    """

    n_concepts: tuple[int, ...]
    top: tuple[int, ...]
    min_types: tuple[float, ...]
    theta: tuple[float, ...]
    of_study: tuple[int, int, float, float]


def agreement(table: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Return one row a setting: ``adjusted`` (the mean over everything) and the agreement of its orderings.

    ``rho_layers`` (pairs averaged, models one by one, then averaged), ``rho_pairs`` and ``rho_models`` are Spearman's
    correlations with the ordering under the study's own setting; null where there are fewer than three, or they tie.
    """
    groups = dict(table.group_by(*SETTINGS, maintain_order=True))
    reference = groups[grid.of_study]
    rows = []
    for key, part in groups.items():
        rows.append(
            dict(zip(SETTINGS, key, strict=True))
            | {
                "adjusted": part["adjusted"].drop_nans().mean(),
                "rho_layers": _rank_agreement(part, reference, ["layer"], within=["model", "stack"]),
                "rho_pairs": _rank_agreement(part, reference, ["source", "target"], within=["model", "stack"]),
                "rho_models": _rank_agreement(part, reference, ["model", "stack"], within=[]),
            }
        )
    kinds = {"adjusted": pl.Float64} | {f"rho_{x}": pl.Float64 for x in ("layers", "pairs", "models")}
    return pl.DataFrame(rows, schema_overrides=kinds)


def _rank_agreement(part: pl.DataFrame, reference: pl.DataFrame, what: list[str], *, within: list[str]) -> float | None:
    """Return Spearman's correlation of mean adjusted scores, averaged over the groups of `within`."""
    means = [t.group_by(*within, *what).agg(pl.col("adjusted").fill_nan(None).mean()) for t in (part, reference)]
    both = means[0].join(means[1], on=[*within, *what], suffix="_own").drop_nulls()
    correlations = []
    for _, group in both.group_by(*within) if within else [((), both)]:
        x, y = (group[name].to_numpy().round(12) for name in ("adjusted", "adjusted_own"))
        correlations.append(rank_correlation(x, y))
    defined = [rho for rho in correlations if not math.isnan(rho)]
    return float(np.mean(defined)) if defined else None
