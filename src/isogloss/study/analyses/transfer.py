"""Zero-shot scores against alignment with the training language: before fine-tuning, after it, and the change."""

from __future__ import annotations

from typing import Any

import polars as pl

from isogloss.coordinates import Space
from isogloss.metrics.statistics.ranks import association
from isogloss.results import Results
from isogloss.study.analyses.correlations import PLACE, measured
from isogloss.tasks import TASKS

WHEN = ("before", "after", "change")
COLUMNS: dict[str, Any] = {
    "task": pl.String,
    "kind": pl.String,
    "base_model": pl.String,
    "control": pl.String,
    "train_language": pl.String,
    "score_metric": pl.String,
    "stack": pl.String,
    "layer": pl.Int64,
    "measure": pl.String,
    "when": pl.String,
    "n": pl.Int64,
    "rho": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p_value": pl.Float64,
    "slope": pl.Float64,
    "error": pl.Float64,
    "error_of_mean": pl.Float64,
    "languages": pl.String,
}


SCORE_COLUMNS = ("model", "language", "metric", "score", "zero_shot")


def associations(points: pl.DataFrame) -> pl.DataFrame:
    """Return how each measure goes with the zero-shot scores over languages, before, after and by its change."""
    keys = ["task", "kind", "base_model", "control", "train_language", "score_metric", "stack", "layer", "measure"]
    rows = []
    for key, of_measure in points.group_by(keys, maintain_order=True):
        place = dict(zip(keys, key, strict=True))
        for when in WHEN:
            if of_measure[when].null_count() == of_measure.height:
                continue
            association_ = association(of_measure[when].fill_null(float("nan")), of_measure["score"])
            names = " ".join(of_measure["language"].to_list())
            rows.append(place | {"when": when, **vars(association_), "languages": names})
    return pl.DataFrame(rows, schema=COLUMNS)


def transfer_points(scores: pl.DataFrame, results: Results) -> pl.DataFrame:
    """Return one row a task, training language, target language, layer and measure, seeds averaged.

    `scores` are those of tasks.

    Columns ``task, kind, base_model, control, train_language, score_metric, stack, layer, measure, language, score,
    before, after, change``.
    """
    scores = scores.filter("zero_shot")
    main = {name: kind.main for name, kind in TASKS.items()}
    scores = scores.filter(pl.col("metric") == pl.col("kind").replace_strict(main))
    values = measured(results).rename({"score": "value"})
    both = (
        pl.concat(  # a pair is stored once; a language may stand on either side
            [values, values.rename({"source": "target", "target": "source"}).select(values.columns)]
        )
        .group_by([*PLACE, "measure"], maintain_order=True)
        .agg(pl.col("value").mean())
    )
    trained = [list(Space.named(name).languages) for name in scores["train_languages"]]
    rows = scores.with_columns(pl.Series("train_language", trained, pl.List(pl.String))).explode("train_language")
    names = {"language": "target", "train_language": "source"}
    rows = rows.rename(names)
    after = rows.join(both, on=["model", "source", "target"]).rename({"value": "after"})
    before = both.rename({"model": "base_model", "value": "before"})
    changes = after.join(before, on=["base_model", "stack", "layer", "source", "target", "measure"], how="left")
    changes = changes.with_columns((pl.col("after") - pl.col("before")).alias("change"))
    keys = ["task", "kind", "base_model", "control", "source", "metric", "stack", "layer", "measure", "target"]
    return (
        changes.group_by(keys, maintain_order=True)
        .agg(pl.col(name).fill_nan(None).mean() for name in ("score", *WHEN))
        .rename({"source": "train_language", "metric": "score_metric", "target": "language"})
        .sort(["task", "control", "train_language", "measure", "stack", "layer", "language"])
    )
