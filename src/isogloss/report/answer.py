"""The answer in words: what the numbers of one run say, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from isogloss.coordinates import Space
from isogloss.metrics.registry import ALIGNMENT, OVERLAP, OVERLAP_ACROSS, SENTENCE, SOFT_ALIGNMENT
from isogloss.plots import main_thetas
from isogloss.plots.rows import RUN
from isogloss.results import above_chance
from isogloss.study.analyses.search import FEWEST, SURE

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

Row = Mapping[str, Any]
# of what a sentence could tell of its words' concepts; planted: 0.14 where a quarter of the types are in such concepts,
# 0.42 where half are (docs/planted.md)
_SENTENCES = 0.25
_NOTHING = "No layer has enough concepts of sufficient size to measure alignment."


def study_answers(study: FinishedStudy, run: Mapping[str, Any]) -> list[str]:
    """Return what one run of a study says, a paragraph each, the first one the finding: above both nulls, or nothing.

    Parameters
    ----------
    study : FinishedStudy
    run : mapping
        ``model, stack, method, n_concepts, seed``, as in `isogloss.plots.rows.run_labels`.
    """
    of_run = [pl.col(name) == run[name] for name in RUN]
    layers, results, thetas = study.by_layer.filter(*of_run), study.results.table.filter(*of_run), main_thetas(study)
    soft = layers.filter(metric=SOFT_ALIGNMENT)
    lead = alignment_answer(soft)
    best = _best(soft)
    sentences = _sentences(results.filter(metric=SENTENCE))
    told = dict(sentences.iter_rows()).get(best["layer"], 0.0) if best is not None else 0.0
    if best is not None and best["above"]:
        if told >= _SENTENCES:
            lead += (
                f" But concepts are largely sentences there (a sentence tells {told:.2f} of a concept), and neither "
                "chance level sees classes of words inside a sentence, such as frequent words apart from rare ones."
            )
        lead += _control(study, run, best)
    elif best is not None and best["above"] is False:
        lead += _help(study, run, best, told)
    at = layers.filter(metric=ALIGNMENT, theta=thetas[ALIGNMENT])
    if best is not None:
        at = at.filter(layer=best["layer"])
    texts = [lead, " ".join(filter(None, [_share(at), sentence_answer(sentences)]))]
    if results["metric"].is_in([OVERLAP]).any():
        across = results.filter(metric=OVERLAP_ACROSS, theta=thetas[OVERLAP_ACROSS])
        texts.append(overlap_answer(layers.filter(metric=OVERLAP, theta=thetas[OVERLAP]), across))
    return [text for text in texts if text]


def _help(study: FinishedStudy, run: Mapping[str, Any], best: Row, told: float) -> str:
    """Say what would help where nothing was found."""
    if math.isinf(best["seen_from"]):
        n = study.config.metrics.n_permutations
        return f" With {n} permutations no layer can be above chance: set metrics.n_permutations to 200."
    if told >= _SENTENCES:
        return " Its concepts are largely sentences: look at layers where they are words."
    return (
        f" What would help: more text first of all (there are {study.manifest.get('n_sentences', 0):,} sentences), "
        f"or another number of concepts (here {run['n_concepts']}; about a tenth of the types of a language is usual)."
    )


def _control(study: FinishedStudy, run: Mapping[str, Any], best: Row) -> str:
    """Say what random weights reach at the best layer of a trained model, and in their own run what it means."""
    controls = [model.name for model in study.config.models if model.weights == "random"]
    if run["model"] in controls:
        return (
            " The weights are random: what is above chance here is the form of words, such as their spelling, their "
            "number of subwords and their place in the sentence."
        )
    alike = [pl.col(name) == run[name] for name in RUN if name != "model"]
    rows = study.by_layer.filter(*alike, pl.col("model").is_in(controls), metric=SOFT_ALIGNMENT, layer=best["layer"])
    if rows.is_empty():
        return (
            " Spelling, numbers of subwords and places in the sentence can lift a score too: a model with "
            "weights: random beside it would tell how far."
        )
    control = rows.sort("adjusted", descending=True).row(0, named=True)
    low, high = (above_chance(row[end], row["chance"]) for row, end in ((best, "ci_low"), (control, "ci_high")))
    verdict = (
        "what it has more is learnt"
        if low > high
        else "the two cannot be told apart, so that nothing of it need be learnt"
    )
    return (
        f" Random weights ({control['model']}) are {control['adjusted']:.3f} above chance there, this model "
        f"{best['adjusted']:.3f}: {verdict}."
    )


def alignment_answer(layers: pl.DataFrame) -> str:
    """Say at which layer soft CALIGN is highest, which cannot be told from it, and which pairs share most and least.

    A layer is above chance only where its p-value, corrected for the search, is below 0.05, and its interval, which
    holds for whichever layer is chosen, lies above its chance level, the higher of both nulls.  If none is, this is all
    that is said, with the nearest.

    Parameters
    ----------
    layers : polars.DataFrame
        Rows of `FinishedStudy.by_layer`: of one run, of soft CALIGN.
    """
    best = _best(layers)
    if best is None:
        return _NOTHING
    place = f"layer {best['layer']}: {_with_interval(best)} of the words of a concept translate into its best "
    place += f"counterpart, where chance gives {percent(best['chance'])}{_p(best)}."
    if best["above"] is None:
        return f"Whether a layer is above chance is not known: {_unknown(best)}. The highest is {place}"
    if not best["above"]:
        reaches = best["p_search"] < SURE and best["ci_low"] <= best["chance"]
        text = f"Nothing was found: no layer is above chance, of words and of sentences both. The nearest is {place}"
        return f"{text} Its interval reaches down to chance." if reaches else text
    return (
        f"Above chance, of words and of sentences, alignment is highest at {place}{_rivals(layers, best)}{_pairs(best)}"
    )


def _unknown(row: Row) -> str:
    """Say why it is not known whether a layer is above chance."""
    if math.isnan(row["p_search"]):
        return "no chance was drawn"
    if math.isnan(row["ci_low"]):
        return "no resamples were drawn, set metrics.n_bootstrap to 200"
    n = row["n"] / (2 * row["n_pairs"])
    return f"{n:.0f} concepts of a language count, and at least {FEWEST} are wanted"


def _share(at: pl.DataFrame) -> str:
    """Say what share of concepts is aligned at a threshold, at one layer: a row of `FinishedStudy.by_layer` or none."""
    if at.is_empty():
        return ""
    row = at.row(0, named=True)
    chance = "" if math.isnan(row["chance"]) else f" (chance {percent(row['chance'])})"
    chance += ", which is not clearly above it" if row["above"] is False else ""
    text = f"At layer {row['layer']}, {percent(row['score'])} of concepts find a counterpart for at least "
    return f"{text}{percent(row['theta'])} of their words{chance}."


def _sentences(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``layer, score``: what sentences tell of the concepts of languages alone, the mean, layers rising."""
    alone = rows.filter(pl.Series([len(Space.named(name).languages) == 1 for name in rows["source"]], dtype=pl.Boolean))
    return alone.group_by("layer").agg(pl.col("score").fill_nan(None).mean()).drop_nulls().sort("layer")


def sentence_answer(means: pl.DataFrame) -> str:
    """Say where concepts are sentences; `means` are ``layer, score`` of ``sentence_ami`` of one run."""
    if means.is_empty():
        return ""
    high = means.filter(pl.col("score") >= _SENTENCES)["layer"].to_list()
    layer, score = means.sort("score", "layer", descending=[True, False]).row(0)
    if not high:
        return f"Concepts are not sentences: a sentence tells at most {max(score, 0):.2f} of a concept (0 to 1)."
    return (
        f"Concepts are largely sentences at {_spans(high).lower()}: a word's sentence tells {score:.2f} of its concept "
        f"at layer {layer} (0: as in random concepts, 1: all). What is shared there may be the sentence alone."
    )


def overlap_answer(layers: pl.DataFrame, across: pl.DataFrame) -> str:
    """Say at which layer COLAP is highest, and how much of it is left when languages are counted in other sentences.

    Parameters
    ----------
    layers : polars.DataFrame
        Rows of `FinishedStudy.by_layer`: of one run, of COLAP at one theta.
    across : polars.DataFrame
        Results of COLAP across sentences of the same run and theta, or none.
    """
    best = _best(layers)
    if best is None:
        return "No layer has a concept to measure overlap with."
    text = "When two languages are clustered together, the share of concepts that both own is largest at layer "
    text += f"{best['layer']}: {_with_interval(best)}"
    mixed = best["chance"]
    text += "." if math.isnan(mixed) else f"; languages mixed at random would reach {percent(mixed)}."
    text += _rivals(layers, best)
    at = across.filter(layer=best["layer"]).select(pl.col("score", "chance").mean())
    if at["score"][0] is not None:
        text += f" Counted in other sentences each, it is {percent(at['score'][0])} there"
        text += f" (mixed at random: {percent(at['chance'][0])})."
    return text


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
