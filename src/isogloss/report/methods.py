"""The parts of the report that say how its numbers were made; all text is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import polars as pl

from isogloss.html import text
from isogloss.metrics.registry import ALIGNMENT, DIRECTED, MEASURES, SOFT_ALIGNMENT
from isogloss.plots.rows import RUN, run_labels
from isogloss.store import StudyLayout

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

GLOSSARY = (
    ("concept", "A cluster of words in context whose states lie close together at one layer."),
    (
        "soft CALIGN",
        "How many of a concept's words have a translation in its best counterpart in the other language; the mean over "
        "concepts.",
    ),
    ("CALIGN", "The share of concepts of which enough words have a translation in one concept of the other language."),
    ("COLAP", "The share of concepts of languages clustered together in which every language has its part."),
    (
        "chance",
        "What a score would be with nothing shared. Of CALIGN there are two, of which the higher counts: words that "
        "translate at random, and words of one sentence exchanged (which sees concepts that are a sentence). COLAP: "
        "languages mixed at random.",
    ),
    ("adjusted", "(score − chance) / (1 − chance): 0 at chance level, 1 at the maximum."),
)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table of text."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    # it can be moved by the keyboard where it is wider than the page
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(study: FinishedStudy) -> str:
    """Return the line under the title: models, layers, languages, sentences."""
    models = list(dict.fromkeys(run[0].model for run in study.runs))
    layers = max(len(run) for run in study.runs)
    parts = [", ".join(models), f"{layers} layers", ", ".join(study.languages)]
    n = study.manifest.get("n_sentences")
    if n:
        parts.append(f"{n:,} sentences")
    return " <span>·</span> ".join(f"<span>{text(part)}</span>" for part in parts)


def warnings(study: FinishedStudy) -> str:
    """Return the warnings of the study as a list, or nothing."""
    items = "".join(f"<li>{text(warning)}</li>" for warning in study.warnings)
    title = "Before you rely on these numbers"
    return f'<aside class="warnings" id="warnings"><h2>{title}</h2><ul>{items}</ul></aside>' if items else ""


def glossary() -> str:
    """Return the terms that every report explains."""
    return "<dl>" + "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in GLOSSARY) + "</dl>"


def runs(study: FinishedStudy) -> str:
    """Return the table of models and clusterings."""
    rows = [
        (
            *(run[0].model, study.bases[run[0].model] or "–", run[0].stack),
            _ranges([clustering.layer for clustering in run]),
            *(run[0].method, run[0].n_concepts, run[0].seed),
        )
        for run in study.runs
    ]
    return table(("model", "base model", "stack", "layers", "method", "K", "seed"), rows)


def power(study: FinishedStudy) -> str:
    """Return what the study could show: per run and measure the concepts that count, and from where on one is seen."""
    rows = []
    for run in run_labels(study.results.table).iter_rows(named=True):
        of_run = study.by_layer.filter(pl.col(name) == run[name] for name in RUN)
        for metric in (SOFT_ALIGNMENT, ALIGNMENT):
            for (theta,), layers in of_run.filter(metric=metric).group_by("theta", maintain_order=True):
                at = f" at {theta}" if MEASURES[metric].theta else ""
                # both directions of every pair
                counts = (layers["n"] / (2 * len(study.pairs))).round().cast(pl.Int64).to_list()
                seen = [x for x in layers["seen_from"].to_list() if x is not None and not math.isnan(x)]
                span = f"{min(seen):.3f} to {max(seen):.3f}" if seen else "not known"
                span = "never: more permutations are needed" if math.inf in seen else span
                rows.append((run["label"], f"{MEASURES[metric].title}{at}", f"{min(counts)} to {max(counts)}", span))
    head = ("run", "measure", "concepts of a language that count, layer by layer", "seen from so far above chance on")
    return table(head, rows)


def _ranges(layers: Sequence[int]) -> str:
    whole = list(layers) == list(range(layers[0], layers[-1] + 1)) and len(layers) > 2
    return f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))


def coverage(study: FinishedStudy) -> str:
    """Return how many source words have a translation among the target words, per direction, over layers and models."""
    rows = study.results.only(metric=DIRECTED)
    if rows.is_empty():
        return ""
    low, high = pl.col("coverage").min().alias("low"), pl.col("coverage").max().alias("high")
    ends = rows.group_by("source", "target", maintain_order=True).agg(low, high)
    lines = [(s, t, f"{low:.1%}", f"{high:.1%}") for s, t, low, high in ends.iter_rows()]
    inside = table(("source", "target", "least", "most"), lines)
    return (
        f"<p>{min(ends['low']):.0%} to {max(ends['high']):.0%} of the clustered word forms have a translation among "
        "those of the other language.</p>"
        f"<details><summary>Coverage of every direction</summary>{inside}</details>"
    )


def signatures(study: FinishedStudy) -> str:
    """Return, for every metric, the parts of its signature that all its estimates share, and what varies."""
    entries = []
    for measure in MEASURES.values():
        signed = study.results.only(metric=measure.name)["signature"].unique(maintain_order=True).to_list()
        if not signed:
            continue
        first, *others = (dict(part.partition(":")[::2] for part in signature.split("|")) for signature in signed)
        same = {k: v for k, v in first.items() if all(parts.get(k) == v for parts in others)}
        varied = ", ".join(k for k in first if k not in same)
        common = text("|".join(f"{k}:{v}" for k, v in same.items())).replace("|", "|<wbr>")
        note = f" <span>with {text(varied)} as in the table</span>" if varied else ""
        entries.append(f"<dt>{text(measure.title)}</dt><dd><code>{common}</code>{note}</dd>")
    return f'<dl class="signatures">{"".join(entries)}</dl>'


def material(study: FinishedStudy) -> str:
    """Return what the manifest says of text and software."""
    facts = study.manifest
    parts = []
    if "n_words" in facts:
        dropped = ", ".join(f"{n:,} {reason}" for reason, n in facts.get("dropped_sentences", {}).items())
        note = f"; left out in all languages: {dropped}" if dropped else ""
        parts.append(f"{facts['n_sentences']:,} sentences per language, {facts['n_words']:,} words in all{note}.")
    versions = {"isogloss": facts.get("isogloss"), "python": facts.get("python"), **facts.get("packages", {})}
    parts.append(", ".join(f"{name} {version}" for name, version in versions.items() if version) + ".")
    return "".join(f"<p>{text(part)}</p>" for part in parts if part != ".")


def files(study: FinishedStudy, *, beside: bool) -> str:
    """Return the names of the study's files, as links where the report lies beside them."""
    layout = StudyLayout(study.root)
    names = [text(path.name) for path in (layout.results_csv, layout.results, layout.config, layout.manifest)]
    shown = [f'<a href="{name}"><code>{name}</code></a>' if beside else f"<code>{name}</code>" for name in names]
    return f"<p>In the study folder: {', '.join(shown)}.</p>"
