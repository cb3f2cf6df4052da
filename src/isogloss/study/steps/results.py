"""The last steps of a study: estimates of all layers joined, models compared, measures held against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from isogloss.metrics.statistics.multiple import with_q_values
from isogloss.results import RESULT_COLUMNS, Results
from isogloss.runner import Facts, Step
from isogloss.store import StudyLayout, read_table, write_csv, write_table, write_with_csv
from isogloss.study.analyses.comparison import compare_models, read_estimates
from isogloss.study.analyses.correlations import rank_correlations
from isogloss.study.analyses.search import by_layer, read_drawn, with_search
from isogloss.study.analyses.transfer import SCORE_COLUMNS, associations, transfer_points
from isogloss.study.steps.companions import MeasureCompanions
from isogloss.study.steps.metrics import MeasurePair, MeasureSpaces

_GROUPS = ["model", "stack", "method", "n_concepts", "seed", "metric", "theta"]  # of one false-discovery rate


@dataclass(frozen=True)
class JoinResults(Step):
    """The estimates of all layers, with their q-values and what is corrected for the search; and their means.

    The means are over pairs, by layer, and over the seeds where there are several.
    """

    measured: tuple[MeasurePair | MeasureSpaces | MeasureCompanions, ...]
    version: ClassVar[int] = 4
    stage: ClassVar[str] = "results"

    def _over_seeds(self) -> bool:
        clustered = [step for step in self.measured if not isinstance(step, MeasureCompanions)]
        return len({step.clustering.seed for step in clustered}) > 1

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        over_seeds = [layout.results_over_seeds] if self._over_seeds() else []
        means = layout.results_by_layer, layout.results_by_layer.with_suffix(".csv")
        return (layout.results, layout.results_csv, *means, *over_seeds)

    def run(self, layout: StudyLayout) -> Facts:
        drawn = with_search(read_drawn(self.reads(layout)))
        whole = drawn.with_columns(q_value=pl.lit(math.nan)).select(*RESULT_COLUMNS)
        results = Results(with_q_values(Results.concat([Results(whole)]).table, _GROUPS))
        results.write(layout.results)
        results.write_csv(layout.results_csv)
        write_with_csv(layout.results_by_layer, by_layer(drawn))
        if self._over_seeds():
            write_csv(layout.results_over_seeds, results.over_seeds().fill_nan(None), decimals=10)
        return {"n_estimates": results.table.height}


@dataclass(frozen=True)
class CompareWithBases(Step):
    """The differences of every model with the one that it was fine-tuned from.

    Attributes
    ----------
    bases : dict of str to str
    measured : tuple of steps
        Whose files hold the draws.
    """

    bases: dict[str, str]
    measured: tuple[MeasurePair | MeasureSpaces | MeasureCompanions, ...]
    stage: ClassVar[str] = "differences"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return layout.differences, layout.differences.with_suffix(".csv")

    def run(self, layout: StudyLayout) -> Facts:
        tables, estimates = [], read_estimates(self.reads(layout))
        for model, base in self.bases.items():
            names = [pl.lit(model).alias("model"), pl.lit(base).alias("base_model")]
            tables.append(compare_models(estimates, base, model).select(*names, pl.all()))
        table = pl.concat([t for t in tables if t.height], how="vertical_relaxed")
        write_with_csv(layout.differences, table)
        return {"n_differences": table.height}


@dataclass(frozen=True)
class ExplainTransfer(Step):
    """How each measure goes with the zero-shot scores over languages; `scores` is the digest of the scores."""

    results: JoinResults
    scores: str
    stage: ClassVar[str] = "transfer"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return layout.transfer, layout.transfer.with_suffix(".csv"), layout.transfer_points

    def run(self, layout: StudyLayout) -> Facts:
        scores = read_table(layout.task_scores, SCORE_COLUMNS)
        points = transfer_points(scores, Results.read(layout.results))
        table = associations(points)
        write_table(layout.transfer_points, points)
        write_with_csv(layout.transfer, table)
        return {"n": table.height}


@dataclass(frozen=True)
class CorrelateMeasures(Step):
    """The rank correlations of CALIGN, COLAP and the companion measures."""

    results: JoinResults
    stage: ClassVar[str] = "correlations"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.correlations,)

    def run(self, layout: StudyLayout) -> Facts:
        table = rank_correlations(Results.read(layout.results))
        write_csv(layout.correlations, table.fill_nan(None), decimals=4)
        return {"n_pairs": table.height}
