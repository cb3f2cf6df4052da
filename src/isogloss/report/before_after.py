"""Fine-tuning in words and tables: scores, what changed, what became shared, what goes with transfer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from isogloss.html import text
from isogloss.metrics.registry import MEASURES, OVERLAP, SOFT_ALIGNMENT
from isogloss.plots import MAIN_SCORES
from isogloss.report import methods
from isogloss.report.answer import percent
from isogloss.store import StudyLayout

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

_TASKS = {"ner": "named entities", "sentiment": "sentiment", "translation": "translation"}
_SCORES = {"f1": "Entity F1", "macro_f1": "Macro F1", "bleu": "BLEU"}
_SHOWN = 10  # concepts that became shared, of each model


def tuning(study: FinishedStudy) -> str:
    """Return the sentences and tables of the fine-tuning part of a study; empty where it has none."""
    files = StudyLayout(study.root)
    scores = files.table(files.task_scores, (), "tasks")
    if scores is None:
        return ""
    scores = scores.filter(pl.col("metric").is_in(MAIN_SCORES))
    parts = []
    for (model,), rows in scores.group_by("model", maintain_order=True):
        sentences = [_scored(rows), *_changed(files, str(model)), *_concerned(files, str(model))]
        parts.append(f"<p><b>{text(model)}</b>: {text(' '.join(sentences))}</p>")
    parts += [f"<p>{text(line)}</p>" for line in _transferred(files)]
    return "".join([*parts, _shared(files, study)])


def _scored(rows: pl.DataFrame) -> str:
    """Say what a model was trained for, and its scores, from its rows of the table."""
    first = rows.row(0, named=True)
    what = _TASKS[first["kind"]] + (" with shuffled labels, a control" if first["control"] else "")
    what += f", from {first['base_model']}, trained on {first['train_languages']}. {_SCORES[first['metric']]}"
    seen, zero = rows.filter(~pl.col("zero_shot")), rows.filter("zero_shot").drop_nans("score").sort("score")
    named = [f"{_number(r['score'])} in {r['language']}" for r in seen.iter_rows(named=True)]
    if zero.height:
        low, high = zero.row(0, named=True), zero.row(-1, named=True)
        ends = f"{_number(low['score'])} ({low['language']})"
        if high is not low:
            ends += f" to {_number(high['score'])} ({high['language']})"
        named.append(f"zero-shot {ends}")
    return f"{what} {', '.join(named)}."


def _changed(files: StudyLayout, model: str) -> Iterator[str]:
    table = files.table(files.differences, ())
    if table is None:
        return
    table = table.filter(pl.col("model") == model)
    for measure in (MEASURES[SOFT_ALIGNMENT], MEASURES[OVERLAP]):
        rows = table.filter((pl.col("metric") == measure.name) & (pl.col("of") == measure.column))
        if rows.height:
            # null: the measure has no threshold
            theta = rows["theta"].fill_nan(None)
            rows = rows.filter(theta.eq_missing(theta[0]))
            sure = rows.filter(pl.col("q_value") < 0.05)
            rose = sure.filter(pl.col("difference") > 0).height
            counts = f"rose in {rose} and fell in {sure.height - rose} of {rows.height} layers and pairs"
            yield f"{measure.read_as} {counts} (q < 0.05)."


def _concerned(files: StudyLayout, model: str) -> Iterator[str]:
    table = files.table(files.movement("concerns"), (), "movement/fates")
    if table is None:
        return
    table = table.filter((pl.col("model") == model) & (pl.col("compared") == "base"))
    deepest = table.filter(pl.col("layer") == table["layer"].max())
    parts = []
    layer = n = 0
    for what, name in (("entities", "words in entities"), ("sentiment", "agreement in sentiment")):
        rows = deepest.filter(pl.col("what") == what).fill_nan(None).drop_nulls(["newly_shared", "others"])
        if rows.height:
            n, layer = int(rows["n_shared"].sum()), rows["layer"][0]
            new, rest = (percent(np.average(rows[x], weights=rows["n_shared"])) for x in ("newly_shared", "others"))
            parts.append(f"{name} {new} (in the other concepts {rest})")
    if parts:
        yield f"At layer {layer}, {n} concepts became shared by two languages: {', '.join(parts)}."


def _transferred(files: StudyLayout) -> Iterator[str]:
    table = files.table(files.transfer, ())
    if table is None:
        return
    measured = (pl.col("measure") == SOFT_ALIGNMENT) & (pl.col("when") == "after") & (pl.col("control") == "")
    soft = MEASURES[SOFT_ALIGNMENT].title
    for (task, stack), rows in table.filter(measured).group_by("task", "stack", maintain_order=True):
        last = rows.sort("layer").row(-1, named=True)
        n = last["n"]
        if not math.isfinite(last["rho"]):
            yield f"Transfer of {task}: {n} zero-shot languages in the text of the study are too few for a correlation."
            continue
        better = "better" if last["error"] < last["error_of_mean"] else "no better"
        few = " With so few languages nothing is proved." if n < 10 else ""
        yield (
            f"Transfer of {task}: over {n} languages the zero-shot scores have a rank correlation of {last['rho']:.2f} "
            f"with {soft} at layer {last['layer']} of the {stack} after fine-tuning (p = {last['p_value']:.2f}; "
            f"{n} languages allow no p below {2 / math.factorial(n):.2g}). Predicting a language from the "
            f"others by it is {better} than by their mean.{few}"
        )


def _shared(files: StudyLayout, study: FinishedStudy) -> str:
    table = files.table(files.movement("shared"), (), "movement/fates")
    if table is None:
        return ""
    first = study.clusterings[0]
    of_first = (pl.col("n_concepts") == first.n_concepts) & (pl.col("seed") == first.seed)
    of_pair = pl.col("space").str.count_matches(r"\+") == 1
    table = table.filter((pl.col("compared") == "base") & of_pair & of_first)
    if table.is_empty():
        return ""
    table = table.filter(pl.col("layer") == pl.col("layer").max().over("model"))
    rows: list[tuple[Any, ...]] = []
    for _, of_model in table.group_by("model", maintain_order=True):
        for r in of_model.sort("n", descending=True).head(_SHOWN).iter_rows(named=True):
            numbers = (percent(r["was_shared"]), _share(r["entities"]), _share(r["sentiment"]))
            rows.append((r["model"], r["layer"], r["space"], r["n"], *numbers, r["words"]))
    head = ("model", "layer", "space", "words", "shared before", "in entities", "sentiment agrees", "the most frequent")
    return (
        f"<details><summary>Concepts that became multilingual: the {_SHOWN} largest of every model at its deepest layer"
        f"</summary>{methods.table(head, rows)}</details>"
    )


def _number(score: float) -> str:
    return f"{score:.2f}" if math.isfinite(score) else "undefined"


def _share(value: float | None) -> str:
    return percent(value) if value is not None and math.isfinite(value) else ""
