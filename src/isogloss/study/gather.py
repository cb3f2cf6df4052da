"""The last steps of a study: estimates of all layers joined, and measures compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isogloss.metrics.statistics.multiple import with_q_values
from isogloss.results import Results
from isogloss.store import StudyLayout, read_table, write_csv
from isogloss.study.beside import COLUMNS, rank_correlations


def gather_results(root: Path, *, parts: Sequence[str]) -> dict[str, Any]:
    """Join the estimates of all layers into results.parquet and results.csv."""
    study = StudyLayout(root)
    together = Results.concat([Results.read(root / part) for part in parts])
    names = ["model", "stack", "method", "n_concepts", "seed", "metric", "theta"]
    results = Results(with_q_values(together.table, names))
    results.write(study.results)
    results.write_csv(study.results_csv)
    seeds = results.over_seeds()
    if seeds.height:
        write_csv(study.root / "results_seeds.csv", seeds.fill_nan(None), decimals=10)
    return {"n_estimates": results.table.height}


def correlate_measures(root: Path) -> dict[str, Any]:
    """Write the rank correlations of CALIGN, COLAP and the companion measures: companions_correlations.csv."""
    study = StudyLayout(root)
    results = Results.read(study.results).table
    found = rank_correlations(results, read_table(study.companions, COLUMNS))
    write_csv(study.correlations, found.fill_nan(None), decimals=4)
    return {"n_pairs": found.height}
