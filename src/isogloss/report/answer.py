"""The answer in words: what the numbers of one run say, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

Row = Mapping[str, Any]
_NOTHING = "No layer has enough concepts of sufficient size to measure alignment."


def alignment_answer(layers: pl.DataFrame) -> str:
    """Say at which layer alignment is highest, which cannot be told from it, and which pairs share most and least.

    A layer is above chance only where its p-value, corrected for the search, is below 0.05, and its interval, which
    holds for whichever layer is chosen, lies above its chance level.  If none is, this is all that is said, with the
    nearest.

    Parameters
    ----------
    layers : polars.DataFrame
        Rows of `FinishedStudy.by_layer`: of one run, of CALIGN at one theta or of its soft form.
    """
    best = _best(layers)
    if best is None:
        return _NOTHING
    soft = math.isnan(best["theta"])
    what = "of the words of a concept translate into its best counterpart"
    what = what if soft else "of concepts find a counterpart in the other language"
    place = f"layer {best['layer']}: {_with_interval(best)} {what}"
    place += f", where chance gives {percent(best['chance'])}{_p(best)}."
    if best["above"] is None:
        return f"Whether a layer is above chance is not known: no chance was drawn. The highest is {place}"
    if not best["above"]:
        return f"No layer is above chance. The nearest is {place}"
    return f"Above chance, alignment is highest at {place}{_rivals(layers, best)}{_pairs(best)}"


def overlap_answer(layers: pl.DataFrame) -> str:
    """Say at which layer COLAP is highest, which layers cannot be told from it, and what mixing at random would give.

    `layers` are rows of `FinishedStudy.by_layer`: of one run, of COLAP at one theta.
    """
    best = _best(layers)
    if best is None:
        return "No layer has a concept to measure overlap with."
    text = "When two languages are clustered together, the share of concepts that both own is largest at layer "
    text += f"{best['layer']}: {_with_interval(best)}"
    mixed = best["chance"]
    text += "." if math.isnan(mixed) else f"; languages mixed at random would reach {percent(mixed)}."
    return text + _rivals(layers, best)


def percent(share: float) -> str:
    """Write a share as a percentage, with a decimal where it is small.

    Examples
    --------
    >>> percent(0.413), percent(0.042)
    ('41%', '4.2%')
    """
    return f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"


def _best(layers: pl.DataFrame) -> Row | None:
    rows = layers.filter("best")
    return rows.row(0, named=True) if rows.height else None


def _with_interval(row: Row) -> str:
    if math.isnan(row["ci_low"]):
        return percent(row["score"])
    return f"{percent(row['score'])} (95% interval {percent(row['ci_low'])} to {percent(row['ci_high'])})"


def _p(row: Row) -> str:
    p = row["p_search"]
    return "" if math.isnan(p) else f" (p = {p:.2g}, corrected for all that was looked at)"


def _rivals(layers: pl.DataFrame, best: Row) -> str:
    """Say which layers cannot be told from the best one."""
    others = layers.filter(~pl.col("best")).sort("layer")
    if others.is_empty() or best["below_best"] is None:
        return ""
    close = others.filter(~pl.col("below_best"))["layer"].to_list()
    if not close:
        return " Every other layer is lower."
    if 1 < len(close) == others.height:
        return " No other layer can be told apart from it."
    return f" {_spans(close)} cannot be told apart from it."


def _spans(layers: Sequence[int]) -> str:
    """Write rising layers as spans.

    Examples
    --------
    >>> _spans([3, 4, 5, 8]), _spans([2])
    ('Layers 3 to 5 and 8', 'Layer 2')
    """
    spans: list[list[int]] = []
    for layer in layers:
        if spans and layer == spans[-1][-1] + 1:
            spans[-1].append(layer)
        else:
            spans.append([layer])
    parts = [x for s in spans for x in ([f"{s[0]} to {s[-1]}"] if len(s) > 2 else map(str, s))]
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return f"Layer{'s' if len(layers) > 1 else ''} {listed}"


def _pairs(best: Row) -> str:
    """Say which pairs share most and least there, if they can be told apart."""
    if best["most"] is None:
        return ""
    if not best["pairs_apart"]:
        return f" At layer {best['layer']} no pair can be told apart from another."
    return f" At layer {best['layer']}, {best['most']} share most and {best['least']} least."
