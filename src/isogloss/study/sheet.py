"""Estimates as rows of a file: what a step that measures writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.coordinates import Pair, Space
from isogloss.results import RESULT_COLUMNS, Estimate, Results, signature
from isogloss.runner import Facts
from isogloss.store import write_table

_ESTIMATE = (
    *("theta", "score", "chance", "chance_words", "chance_sentence", "adjusted"),
    *("p_value", "ci_low", "ci_high", "n", "coverage"),
)

# what a step knows of its estimates: the rest is of the whole study (see JoinResults)
MEASURED = tuple(name for name in RESULT_COLUMNS if name not in ("q_value", "p_search"))
# of resamples of sentences, and of both nulls
DRAWS = ("draws", "null_words", "null_sentence")


class Sheet:
    """Rows of `Results`, and the draws of each beside it.

    Parameters
    ----------
    place : mapping
        The columns that all rows share: model, stack, layer and so on; what is not given stays null.
    """

    def __init__(self, place: Mapping[str, Any]) -> None:
        self._place = place
        self._rows: list[dict[str, Any]] = []
        self._draws: dict[str, list[list[float] | None]] = {name: [] for name in DRAWS}

    def add(self, metric: str, of: Pair | Space, estimate: Estimate, *, signed: Mapping[str, object]) -> None:
        """Add an estimate of a pair (of both languages, or in one direction) or of a group, with its signature."""
        source, target = of.languages if isinstance(of, Pair) else (of.name, "")
        row = {
            **dict.fromkeys(("method", "n_concepts", "seed")),
            **self._place,
            "metric": metric,
            "source": source,
            "target": target,
            **{name: getattr(estimate, name) for name in _ESTIMATE},
            "signature": signature(signed),
        }
        self._rows.append(row)
        for name, column in self._draws.items():
            draws = getattr(estimate, name)
            column.append(None if draws is None else draws.tolist())

    def write(self, path: Path) -> Facts:
        """Write the rows and their draws; return how many there are."""
        table = Results.from_rows(self._rows).table.select(MEASURED)
        draws = [pl.Series(name, column, dtype=pl.List(pl.Float32)) for name, column in self._draws.items()]
        write_table(path, table.with_columns(draws))
        return {"n_estimates": len(self._rows)}
