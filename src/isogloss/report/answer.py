"""The answer in words: what the numbers of one run say, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.metrics.registry import ALIGNMENT, OVERLAP
from isogloss.plots.rows import average, figure_rows, highest
from isogloss.results import Results

Row = Mapping[str, Any]


def alignment_answer(results: Results, *, theta: float | None = None) -> str:
    """Say at which layer CALIGN peaks, from where, against chance, and which pairs share most and least.

    A peak is called one only where its interval lies above chance; a rise is called certain only where
    the chance-adjusted intervals of the first layer and of the peak do not touch.

    Parameters
    ----------
    results : Results
        Of one run, with ``calign_mean``.
    theta : float, optional
        As in `isogloss.plots.layer_curves`.
    """
    rows = figure_rows(results, ALIGNMENT, model=None, stack=None, theta=theta)
    rows = [row for row in rows if row["adjusted"] is not None]
    means = average(rows)
    peak = highest(means, ALIGNMENT)
    if peak is None:
        return "No layer has enough concepts of sufficient size to measure alignment."
    first = means[0]
    place = f"layer {peak['layer']}: {_with_interval(peak)} of concepts find a counterpart in the other language, "
    place += f"where chance gives {percent(peak['chance'])}."
    text = f"Above chance, alignment peaks at {place}"
    if peak["ci_low"] <= peak["chance"]:
        return f"No layer is clearly above chance. At the highest, {place}"
    if peak["layer"] == first["layer"]:
        last = means[-1]
        if last is not first:
            text += f" It is the first layer; by layer {last['layer']} the share is {percent(last['score'])}."
    else:
        text += f" At layer {first['layer']} it is {percent(first['score'])} (chance {percent(first['chance'])})"
        text += "." if _apart(first, peak) else ", but the intervals of the two layers overlap."
    return text + _extremes([row for row in rows if row["layer"] == peak["layer"]])


def overlap_answer(results: Results, *, theta: float | None = None) -> str:
    """Say at which layer COLAP peaks, and how that compares with languages mixed at random."""
    rows = figure_rows(results, OVERLAP, model=None, stack=None, theta=theta)
    peak = highest(average(row for row in rows if row["score"] is not None), OVERLAP)
    if peak is None:
        return "No layer has a concept to measure overlap with."
    text = "When two languages are clustered together, the share of concepts that both own is largest at layer "
    text += f"{peak['layer']}: {_with_interval(peak)}"
    mixed = peak["chance"]
    return text + (f"; languages mixed at random would reach {percent(mixed)}." if mixed is not None else ".")


def percent(share: float) -> str:
    """Write a share as a percentage, with a decimal where it is small.

    Examples
    --------
    >>> percent(0.413), percent(0.042)
    ('41%', '4.2%')
    """
    return f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"


def _with_interval(row: Row) -> str:
    return f"{percent(row['score'])} (95% interval {percent(row['ci_low'])} to {percent(row['ci_high'])})"


def _apart(low: Row, high: Row) -> bool:
    """Whether two chance-adjusted intervals do not touch."""

    def adjusted(row: Row, bound: str) -> float:
        return float((row[bound] - row["chance"]) / (1 - row["chance"]))

    return adjusted(low, "ci_high") < adjusted(high, "ci_low")


def _extremes(rows: Sequence[Row]) -> str:
    if len(rows) < 2:
        return ""
    order = sorted(rows, key=lambda row: row["adjusted"])
    low, high = order[0], order[-1]
    if percent(low["score"]) == percent(high["score"]):
        return f" There is no difference between pairs at layer {high['layer']}."
    text = f" At layer {high['layer']}, {high['pair']} share most ({percent(high['score'])}) and {low['pair']} least "
    text += f"({percent(low['score'])})"
    return text + ("." if _apart(low, high) else ", though their intervals overlap.")
