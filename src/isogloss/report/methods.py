"""The parts of the report that say how its numbers were made; all text is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from isogloss.metrics.registry import DIRECTED, MEASURES
from isogloss.store import StudyLayout

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

GLOSSARY = (
    ("concept", "A cluster of words in context whose states lie close together at one layer."),
    ("CALIGN", "The share of one language's concepts that translate, word by word, into one concept of another."),
    ("COLAP", "The share of concepts of languages clustered together in which every language has its part."),
    ("chance", "What a score would be if words were translated at random; for COLAP, if languages were mixed."),
    ("adjusted", "(score − chance) / (1 − chance): 0 at chance level, 1 at the maximum."),
)


def text(value: object) -> str:
    """Return a value as HTML text."""
    return html.escape(str(value), quote=True)


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
    found = [", ".join(models), f"{layers} layers", ", ".join(study.languages)]
    n = study.manifest.get("n_sentences")
    if n:
        found.append(f"{n:,} sentences")
    return " <span>·</span> ".join(f"<span>{text(part)}</span>" for part in found)


def warnings(study: FinishedStudy) -> str:
    """Return the warnings of the study as a list, or nothing."""
    items = "".join(f"<li>{text(warning)}</li>" for warning in study.warnings)
    title = "Before you rely on these numbers"
    return f'<aside class="warnings" id="warnings"><h2>{title}</h2><ul>{items}</ul></aside>' if items else ""


def glossary() -> str:
    """Return the five terms."""
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


def _ranges(layers: Sequence[int]) -> str:
    whole = list(layers) == list(range(layers[0], layers[-1] + 1)) and len(layers) > 2
    return f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))


def coverage(study: FinishedStudy) -> str:
    """Return how many source words have a translation among the target words, per direction, over layers and models."""
    rows = study.results.only(metric=DIRECTED)
    if rows.is_empty():
        return ""
    found = rows.group_by("source", "target", maintain_order=True).agg(
        pl.col("coverage").min().alias("least"), pl.col("coverage").max().alias("most")
    )
    lines = [(s, t, f"{low:.1%}", f"{high:.1%}") for s, t, low, high in found.iter_rows()]
    inside = table(("source", "target", "least", "most"), lines)
    low, high = min(found["least"].to_list()), max(found["most"].to_list())
    return (
        f"<p>{low:.0%} to {high:.0%} of the clustered word forms have a translation among those of the other "
        "language.</p>"
        f"<details><summary>Coverage of every direction</summary>{inside}</details>"
    )


def signatures(study: FinishedStudy) -> str:
    """Return, for every metric, the parts of its signature that all its figures share, and what varies."""
    found = []
    for measure in MEASURES.values():
        signed = study.results.only(metric=measure.name)["signature"].unique(maintain_order=True).to_list()
        if not signed:
            continue
        split = [dict(part.partition(":")[::2] for part in one.split("|")) for one in signed]
        same = [f"{k}:{v}" for k, v in split[0].items() if all(one.get(k) == v for one in split)]
        varied = [k for k in split[0] if any(one.get(k) != split[0][k] for one in split)]
        note = f" <span>with {text(', '.join(varied))} as in the table</span>" if varied else ""
        found.append(
            f"<dt>{text(measure.title)}</dt><dd><code>{text('|'.join(same)).replace('|', '|<wbr>')}</code>{note}</dd>"
        )
    return f'<dl class="signatures">{"".join(found)}</dl>'


def material(study: FinishedStudy) -> str:
    """Return what the manifest says of text and software."""
    known: dict[str, Any] = study.manifest
    parts = []
    if "n_words" in known:
        dropped = ", ".join(f"{n:,} {reason}" for reason, n in known.get("dropped_sentences", {}).items())
        note = f"; left out in all languages: {dropped}" if dropped else ""
        parts.append(f"{known['n_sentences']:,} sentences per language, {known['n_words']:,} words in all{note}.")
    versions = {"isogloss": known.get("isogloss"), "python": known.get("python"), **known.get("packages", {})}
    parts.append(", ".join(f"{name} {version}" for name, version in versions.items() if version) + ".")
    return "".join(f"<p>{text(part)}</p>" for part in parts if part != ".")


def files(study: FinishedStudy, *, beside: bool) -> str:
    """Return the names of the study's files, as links where the report lies beside them."""
    places = StudyLayout(study.root)
    wanted = (places.results_csv, places.results, places.config, places.manifest)
    shown = []
    for path in wanted:
        name = text(path.name)
        shown.append(f'<a href="{name}"><code>{name}</code></a>' if beside else f"<code>{name}</code>")
    return f"<p>In the study folder: {', '.join(shown)}.</p>"
