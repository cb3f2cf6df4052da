"""The rows behind a figure: the estimates of one metric at one theta, ready to be drawn."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from isogloss.coordinates import Space
from isogloss.errors import UsageError, unknown
from isogloss.metrics.registry import ALIGNMENT, GROUP_OVERLAP, MEASURES, with_theta
from isogloss.results import Results

Row = dict[str, Any]
NUMBERS = ("score", "chance", "chance_words", "chance_sentence", "adjusted", "ci_low", "ci_high", "coverage")
RUN = ("model", "stack", "method", "n_concepts", "seed")
"""The columns that name one run: estimates of different runs are never joined by a line."""


def languages(table: pl.DataFrame) -> list[str]:
    """Return the languages of a results table in the order of the study, else of appearance."""
    groups = table.filter(pl.col("metric") == GROUP_OVERLAP)["source"]
    named = Space.named(groups[0]).languages if len(groups) else ()
    pairs = table.filter(pl.col("target") != "")
    paired = pl.concat([pairs["source"], pairs["target"]]).unique(maintain_order=True).to_list()
    return [x for x in named if x in paired] + [x for x in paired if x not in named]


def run_labels(table: pl.DataFrame) -> pl.DataFrame:
    """Return the distinct runs of a results table with a ``label`` that is as short as it can be."""
    runs = table.drop_nulls("method").select(RUN).unique(maintain_order=True)
    counts = runs.group_by("model", "stack").agg(pl.col(name).n_unique() for name in RUN[2:])
    marks = {"method": "", "n_concepts": "K ", "seed": "seed "}
    parts = [pl.col("model"), pl.col("stack")]
    parts += [pl.lit(mark) + pl.col(name).cast(pl.String) for name, mark in marks.items() if (counts[name] > 1).any()]
    return runs.with_columns(pl.concat_str(parts, separator=" · ").alias("label"))


def main_theta(table: pl.DataFrame, metric: str) -> float:
    """Return the theta to draw when none is asked for: the published default, else the smallest."""
    thetas = sorted(set(table.filter(pl.col("metric") == metric)["theta"].to_list()))
    published = MEASURES[metric].theta
    return published if published is not None and published in thetas else thetas[0]


def figure_rows(
    results: Results, metric: str, *, model: str | None, stack: str | None, theta: float | None
) -> list[Row]:
    """Return the rows to draw, ordered by language and layer; numbers have four digits, NaN is None.

    Raises
    ------
    UsageError
        If the metric, model, stack or theta is not in the results.
    """
    table = _of_metric(results, metric, [measure.name for measure in with_theta()], model=model, stack=stack)
    theta = main_theta(table, metric) if theta is None else theta
    if theta not in table["theta"].to_list():
        raise unknown("theta", f"{theta:g}", {f"{x:g}" for x in table["theta"]})
    table = table.filter(pl.col("theta") == theta)
    rank = {name: i for i, name in enumerate(languages(results.table))}

    def place(row: Row) -> tuple[int, int, int]:
        return rank.get(row["source"], 0), rank.get(row["target"], 0), row["layer"]

    return [_drawn(row, theta) for row in sorted(table.iter_rows(named=True), key=place)]


def space_rows(results: Results, metric: str, *, model: str | None, stack: str | None) -> list[Row]:
    """Return the rows to draw of a measure of spaces, which has no theta, ordered by layer; as `figure_rows`.

    ``spaces`` says which kind a space is of: ``"alone"`` (a language), ``"pairs"`` or ``"all"``.
    """
    table = _of_metric(results, metric, [metric], model=model, stack=stack)

    def kind(space: str) -> str:
        n = len(Space.named(space).languages)
        return {1: "alone", 2: "pairs"}.get(n, "all")

    rows = (_drawn(row, None) | {"spaces": kind(row["source"])} for row in table.iter_rows(named=True))
    return sorted(rows, key=lambda row: row["layer"])


def _of_metric(
    results: Results, metric: str, metrics: Sequence[str], *, model: str | None, stack: str | None
) -> pl.DataFrame:
    """Return the rows of a metric, which must be one of some, with the ``label`` of their run."""
    table = results.table
    there = set(table["metric"].to_list())
    if metric not in there or metric not in metrics:
        raise unknown("metric", metric, [name for name in metrics if name in there])
    table = table.filter(pl.col("metric") == metric)
    for name, value in (("model", model), ("stack", stack)):
        if value is not None:
            if value not in table[name].to_list():
                raise unknown(name, value, set(table[name].to_list()))
            table = table.filter(pl.col(name) == value)
    if table.is_empty():
        raise UsageError(f"There is no {metric} figure of model {model}, stack {stack}. Leave one of them out.")
    return table.join(run_labels(table), on=RUN, how="left", maintain_order="left")


def _drawn(row: Mapping[str, Any], theta: float | None) -> Row:
    arrow = " → " if MEASURES[row["metric"]].directed else " – "
    kept = {name: row[name] for name in ("layer", "source", "target", "n")}
    kept |= {"run": row["label"], "theta": theta}
    kept["pair"] = row["source"] + (arrow + row["target"] if row["target"] else "")
    return kept | {name: _number(row[name]) for name in (*NUMBERS, "p_search")}


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)


def average(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return one row a layer: the mean over pairs of every number.

    The interval is the mean of the pairs' bounds.  Pairs share languages and are not independent; this is
    the widest interval their mean can have, whatever the dependence.
    """
    layers: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None:
            layers[row["layer"]].append(row)
    means = []
    for layer, group in sorted(layers.items()):
        mean: Row = {"layer": layer, "n": sum(row["n"] for row in group), "n_pairs": len(group)}
        for name in NUMBERS:
            values = [row[name] for row in group if row[name] is not None]
            mean[name] = round(sum(values) / len(values), 4) if values else None
        means.append(mean)
    return means


def highest(rows: Iterable[Row], metric: str) -> Row | None:
    """Return the first of the rows that are highest, CALIGN above chance; None where nothing was measured."""
    field = MEASURES[metric].column
    measured = [row for row in rows if row[field] is not None]
    return max(measured, key=lambda row: (row[field], -row["layer"]), default=None)


def highest_layer(
    results: Results, *, model: str | None = None, stack: str | None = None, theta: float | None = None
) -> int:
    """Return the layer to draw where none is asked for: where CALIGN above chance is highest, else the last one.

    A place to look at, and no finding: of a study, `isogloss.plots.start_layer` knows what the search costs.
    """
    if ALIGNMENT in results.table["metric"].to_list():
        rows = figure_rows(results, ALIGNMENT, model=model, stack=stack, theta=theta)
        peak = highest(average(row for row in rows if row["adjusted"] is not None), ALIGNMENT)
        if peak is not None:
            return int(peak["layer"])
    return int(max(results.table["layer"].to_list()))
