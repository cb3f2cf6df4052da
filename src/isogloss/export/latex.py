"""Tables for a paper: LaTeX with booktabs, one file a table, every score beside its chance level."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from isogloss.coordinates import Pair, Space
from isogloss.export.choice import Choice
from isogloss.metrics.registry import ALIGNMENT, COMPANIONS, MEASURES, OVERLAP, SOFT_ALIGNMENT
from isogloss.plots import MAIN_SCORES, main_thetas
from isogloss.plots.rows import RUN, average, figure_rows, run_labels
from isogloss.results import Results
from isogloss.store import StudyLayout, folder_name, write_text

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

LONG = 40  # rows above which a table may break over pages
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "→": r"$\to$",
    "–": "--",
    **{x: f"\\{x}" for x in "&%$#_{}"},
}
_BEYOND = "Adjusted: (score $-$ chance) / (1 $-$ chance). Intervals: 95\\%."


@dataclass(frozen=True)
class TexTable:
    """One table: the name of its file, and LaTeX.

    The first `n_words` columns hold text, the others numbers; a little space stands wherever the first `groups` columns
    change.  `signature`, what reproduces the estimates, becomes a comment.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_words: int
    signature: str
    groups: int = 0

    def source(self) -> str:
        """Return the file: a float, or a longtable where it has more than `LONG` rows."""
        kinds = "l" * self.n_words + "r" * (len(self.columns) - self.n_words)
        head = ["\\toprule", " & ".join(self.columns) + r" \\", "\\midrule"]
        title = f"\\caption{{{self.caption}}}\\label{{tab:{self.name.replace('_', '-')}}}"
        comment = f"% {self.signature}"
        if len(self.rows) <= LONG:
            lines = [comment, "% \\usepackage{booktabs}", "\\begin{table}", "\\centering", "\\small", title]
            lines += [f"\\begin{{tabular}}{{{kinds}}}", *head, *self._body()]
            lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
        else:
            lines = [comment, "% \\usepackage{booktabs,longtable}", f"\\begin{{longtable}}{{{kinds}}}", f"{title} \\\\"]
            lines += [*head, "\\endfirsthead", *head, "\\endhead", "\\bottomrule", "\\endfoot"]
            lines += [*self._body(), "\\end{longtable}"]
        return "\n".join(lines) + "\n"

    def _body(self) -> Iterator[str]:
        """Yield the lines of the rows; the first `groups` cells are empty where they repeat the row above."""
        for before, row in itertools.pairwise([(), *self.rows]):
            repeats = self.groups and before[: self.groups] == row[: self.groups]
            cells = ("",) * self.groups + row[self.groups :] if repeats else row
            if self.groups and before and cells[0]:
                yield r"\addlinespace"
            yield " & ".join(cells) + r" \\"


def escape(value: object) -> str:
    r"""Return text as LaTeX prints it; line ends become spaces.

    Examples
    --------
    >>> escape("50% of a_b")
    '50\\% of a\\_b'
    """
    return "".join(_SPECIAL.get(c, c) for c in " ".join(str(value).split()))


def write_latex(study: FinishedStudy, out: Path, choice: Choice) -> list[Path]:
    """Write the tables of the chosen runs into a folder, ``NAME.tex`` each.

    ``calign_RUN``, ``colap_RUN``: every layer and pair; ``calign_layers_RUN``, ``colap_layers_RUN``: the mean over
    pairs; ``companions_RUN``; and of the fine-tuning part of a study ``tasks`` and ``differences_MODEL``.  A choice of
    spaces takes the pairs of those names.

    Raises
    ------
    UsageError
        If a choice is unknown.
    """
    files = {out / f"{table.name}.tex": table.source() for table in tables(study, choice)}
    for path, source in files.items():
        write_text(path, source)
    return list(files)


def tables(study: FinishedStudy, choice: Choice) -> list[TexTable]:
    """Return the tables of the chosen runs, layers and pairs."""
    runs = choice.runs(study)
    layers = choice.layers_of(runs)
    tex: list[TexTable] = []
    chosen = pl.col("layer").is_in(layers) & _is_pair(choice.spaces_of(study))
    labels = {row[:-1]: row[-1] for row in run_labels(study.results.table).select(*RUN, "label").iter_rows()}
    for run in runs:
        values = {name: getattr(run[0], name) for name in RUN}
        label = labels[tuple(values.values())]
        of_run = study.results.only(**values).filter(chosen)
        for metric in (SOFT_ALIGNMENT, ALIGNMENT, OVERLAP):
            rows = of_run.filter(pl.col("metric") == metric)
            if rows.height:
                tex += _of_metric(study, rows, metric, label)
    # these have no clustering: once a stack, whatever the runs
    for model, stack in dict.fromkeys((run[0].model, run[0].stack) for run in runs):
        of_stack = (pl.col("model") == model) & (pl.col("stack") == stack)
        rows = study.results.companions.filter(of_stack & chosen)
        if rows.height:
            tex.append(_companions(rows, f"{model} · {stack}"))
    models = [run[0].model for run in runs]
    files = StudyLayout(Path(study.root))
    scores = files.table(files.task_scores, ("model", "baseline"), "tasks")
    if scores is not None:
        tex += _tasks(study, scores, models)
    table = files.table(files.differences, ("model", "base_model", "difference"))
    if table is not None:
        for model in dict.fromkeys(models):
            tex += _differences(study, table.filter((pl.col("model") == model) & chosen))
    return list({table.name: table for table in tex}.values())


def _is_pair(spaces: Sequence[Space]) -> pl.Expr:
    pairs = [Pair(*space.languages) for space in spaces if len(space.languages) == 2]
    of_pairs = ((pl.col("source") == pair.source) & (pl.col("target") == pair.target) for pair in pairs)
    return pl.any_horizontal(pl.lit(False), *of_pairs)


def _of_metric(study: FinishedStudy, kept: pl.DataFrame, metric: str, label: str) -> list[TexTable]:
    """Return two tables of one metric of one run at the study's first theta: every pair, and their mean."""
    name, measure = metric.removesuffix("_mean"), MEASURES[metric]
    theta = main_thetas(study).get(metric)
    if theta is not None:
        kept = kept.filter(pl.col("theta") == theta)
    rows = figure_rows(Results(kept), metric, model=None, stack=None, theta=theta)
    rows.sort(key=lambda row: row["layer"])  # stable: pairs keep the order of the study
    at = "" if theta is None else f"at $\\theta = {theta:g}$ "
    facts = f"{at}({escape(label)}): {measure.what}. "
    facts += f"Chance: the score with {measure.chance}. {_BEYOND}"
    heads = ("Score", "Chance", "Adjusted", "Interval", "$n$")
    signature, stem = common_signature(kept["signature"]), folder_name(label)
    searched = measure.above_chance
    corrected = "$p$: corrected for all rows of the measure in the study. " if searched else ""
    every = TexTable(
        f"{name}_{stem}",
        f"{measure.title} of every layer and pair {facts} {corrected}$n$: concepts.",
        ("Layer", "Pair", *heads[:-1], *(["$p$"] if searched else []), heads[-1]),
        tuple(
            (
                *(str(r["layer"]), escape(r["pair"]), *_estimate(r)),
                *([number(r["p_search"])] if searched else []),
                str(r["n"]),
            )
            for r in rows
        ),
        2,
        signature,
        1,
    )
    means = TexTable(
        f"{name}_layers_{stem}",
        f"{measure.title} by layer, mean over pairs, {facts} The ends of an interval are the means of the pairs' "
        "ends, not corrected for the choice of a layer (results\\_by\\_layer.csv has those that are). $n$: "
        "pairs.",
        ("Layer", *heads),
        tuple((str(r["layer"]), *_estimate(r), str(r["n_pairs"])) for r in average(rows)),
        1,
        signature,
    )
    return [means, every] if every.rows else []


def _companions(kept: pl.DataFrame, label: str) -> TexTable:
    """Return the table of the measures without concepts: the mean over pairs of every measure and layer."""
    columns = ("score", "chance", "ci_low", "ci_high")
    groups = kept.fill_nan(None).group_by("metric", "layer", maintain_order=True)
    means = groups.agg(pl.col(columns).mean(), pl.len().alias("n_pairs"))
    order = {name: i for i, name in enumerate(kept["metric"].unique(maintain_order=True).to_list())}
    rows = sorted(means.iter_rows(named=True), key=lambda row: (order[row["metric"]], row["layer"]))
    titles = {name: escape(measure.title) for name, measure in COMPANIONS.items()}
    cells = tuple((titles[r["metric"]], str(r["layer"]), *_scores(r), str(r["n_pairs"])) for r in rows)
    return TexTable(
        f"companions_{folder_name(label)}",
        f"Measures of the same states without concepts ({escape(label)}), mean over pairs. Chance: of unrelated "
        "vectors. Intervals: 95\\%; their ends are the means of the pairs' ends. $n$: pairs.",
        ("Measure", "Layer", "Score", "Chance", "Interval", "$n$"),
        cells,
        1,
        common_signature(kept["signature"]),
        1,
    )


def _tasks(study: FinishedStudy, scores: pl.DataFrame, models: Sequence[str]) -> list[TexTable]:
    kept = scores.filter(pl.col("metric").is_in(MAIN_SCORES))
    chosen = kept.filter(pl.col("model").is_in(list(models)))
    # none chosen: the scores of a study that was only fine-tuned, or of a base
    kept = chosen if chosen.height else kept
    rows = tuple((*_task(r), *_scores({**r, "chance": r["baseline"]}), str(r["n"])) for r in kept.iter_rows(named=True))
    caption = (
        "Scores of fine-tuned models by language. Chance: the score without looking at the text (for sentiment, the "
        "most frequent label). Intervals: 95\\%. $n$: sentences."
    )
    heads = ("Model", "Language", "Zero-shot", "Metric", "Score", "Chance", "Interval", "$n$")
    facts = study.manifest
    signature = common_signature([f"isogloss:{facts.get('isogloss', '')}|study:{facts.get('study', '')}"])
    return [TexTable("tasks", caption, heads, rows, 4, signature, 1)] if rows else []


def _differences(study: FinishedStudy, kept: pl.DataFrame) -> list[TexTable]:
    """Return the table of what fine-tuning changed in one model: CALIGN above chance, and COLAP, at the first theta."""
    if kept.is_empty():
        return []
    model, base = kept.row(0, named=True)["model"], kept.row(0, named=True)["base_model"]
    thetas = main_thetas(study)
    rows = []
    for measure in (MEASURES[ALIGNMENT], MEASURES[OVERLAP]):
        of_measure = (pl.col("metric") == measure.name) & (pl.col("of") == measure.column)
        chosen = of_measure & (pl.col("theta") == thetas[measure.name])
        for r in kept.filter(chosen).sort("layer", maintain_order=True).iter_rows(named=True):
            chances = [_chance(study, name, r) for name in (base, model)]
            what = f"{measure.title}{', adjusted' if measure.above_chance else ''}"
            cells = (number(r["first"]), chances[0], number(r["second"]), chances[1])
            change = (signed(r["difference"]), f"{signed(r['ci_low'])} to {signed(r['ci_high'])}")
            pair = escape(f"{r['source']} – {r['target']}")
            rows.append((what, str(r["layer"]), pair, *cells, *change, number(r["q_value"])))
    caption = (
        f"What fine-tuning changed: {escape(model)} beside {escape(base)}. Chance: of the bare score before and after; "
        "adjusted: (score $-$ chance) / (1 $-$ chance). Intervals: 95\\%, of the same resamples of sentences. $q$: "
        "false-discovery rate over layers and pairs."
    )
    heads = ("Measure", "Layer", "Pair", "Before", "Chance", "After", "Chance", "Change", "Interval", "$q$")
    signature = common_signature(study.results.clustered.filter(pl.col("model") == model)["signature"])
    return [TexTable(f"differences_{folder_name(model)}", caption, heads, tuple(rows), 3, signature, 2)]


def _chance(study: FinishedStudy, model: str, row: dict[str, Any]) -> str:
    """Return the chance level of the result that a difference is made of."""
    keys = ("stack", "layer", "metric", "source", "target", "method", "n_concepts", "seed", "theta")
    same = study.results.table.filter(*(pl.col(name) == row[name] for name in keys), pl.col("model") == model)
    return number(same["chance"][0] if same.height else None)


def _task(row: dict[str, Any]) -> tuple[str, ...]:
    model, language, metric = (escape(row[name]) for name in ("model", "language", "metric"))
    return model, language, "yes" if row["zero_shot"] else "no", metric


def _scores(row: dict[str, Any]) -> tuple[str, ...]:
    return number(row["score"]), number(row["chance"]), interval(row)


def _estimate(row: dict[str, Any]) -> tuple[str, ...]:
    return number(row["score"]), number(row["chance"]), number(row["adjusted"]), interval(row)


def number(value: float | None) -> str:
    """Return a number with three decimals and a minus sign that is one; ``--`` where there is none."""
    if value is None or not math.isfinite(value):
        return "--"
    text = f"{value:.3f}"
    return f"${text}$" if text.startswith("-") else text


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return "--" if value is None or not math.isfinite(value) else f"${value:+.3f}$"


def interval(row: dict[str, Any]) -> str:
    """Return both ends of an interval."""
    low, high = number(row["ci_low"]), number(row["ci_high"])
    return "--" if "--" in (low, high) else f"{low} to {high}"


def common_signature(signatures: Iterable[str]) -> str:
    """Return one signature for several estimates: what differs between them is ``*``.

    Examples
    --------
    >>> common_signature(["theta:0.5|layer:0", "theta:0.5|layer:1"])
    'theta:0.5|layer:*'
    """
    values: dict[str, set[str]] = {}
    for part in itertools.chain.from_iterable(text.split("|") for text in dict.fromkeys(signatures)):
        key, _, value = part.partition(":")
        values.setdefault(key, set()).add(value)
    parts = (f"{key}:{'*' if len(of_key) > 1 else of_key.pop()}" for key, of_key in values.items())
    return re.sub(r"\s+", " ", "|".join(parts))
