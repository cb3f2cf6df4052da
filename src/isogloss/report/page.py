"""Putting the page together: template, style, script, charts and data in one file."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import polars as pl
import vl_convert

from isogloss import plots
from isogloss.errors import InputError
from isogloss.html import text
from isogloss.languages import page_attributes
from isogloss.metrics.registry import DIRECTED, OVERLAP
from isogloss.plots.rows import RUN, run_labels
from isogloss.report import methods
from isogloss.report.answer import study_answers
from isogloss.report.before_after import tuning
from isogloss.report.explorer import Explorer
from isogloss.report.paper import methods_paragraph
from isogloss.results import RESULT_COLUMNS, Results

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

FONT = "system-ui, sans-serif"  # the page's own: Vega measures text with it, so it cannot be inherited


def render(study: FinishedStudy, *, beside: bool = True) -> str:
    """Return the report of a study as the text of one HTML file.

    Parameters
    ----------
    study : FinishedStudy
        From `isogloss.study.open_study`.
    beside : bool
        Whether the file will lie in the study folder, so that it can link to the other files there.
    """
    if study.results.table.is_empty():
        raise InputError(f"The study in {study.root} has no figures. Run it again with: isogloss run")
    explorer = Explorer(study)
    labels = run_labels(study.results.table)
    runs = [Results(study.results.only(**{name: run[name] for name in RUN})) for run in labels.iter_rows(named=True)]
    data = {
        "runs": [
            {"label": label, **{name: getattr(run[0], name) for name in RUN}}
            | {"layers": [clustering.layer for clustering in run]}
            | {"start": plots.start_layer(study, run[0])}
            for label, run in zip(labels["label"], study.runs, strict=True)
        ],
        "name": study.config.name,
        "languages": list(study.languages),
        "attributes": page_attributes(study.languages),
        "pairs": explorer.pairs,
        "thetas": explorer.thetas,
        "config": plots.chart_config(ink="currentColor", font=FONT, size=11.5),
        "charts": charts(study, runs, explorer.thetas),
        "maps": [map_words(results, explorer.thetas) for results in runs],
        "table": columns(study.results.clustered),
        "words": list(explorer.words),
        "views": explorer.views,
    }
    parts = {
        "title": text(study.config.name),
        "facts": methods.facts(study),
        "answers": answers(study),
        "warnings": methods.warnings(study),
        "runs": methods.runs(study),
        "signatures": methods.signatures(study),
        "tuning": tuning(study),
        "power": methods.power(study),
        "coverage": methods.coverage(study),
        "paper": f'<pre class="paper">{text(methods_paragraph(study))}</pre>',
        "material": methods.material(study),
        "files": methods.files(study, beside=beside),
        "glossary": methods.glossary(),
        "style": asset("common.css") + asset("page.css"),
        "script": module("common.js", "figures.js", "concepts.js", "page.js"),
        "vega": bundle(),
        "data": safe_json(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], asset("page.html"))


def asset(name: str) -> str:
    """Return one of the files beside this module."""
    return (files("isogloss.report") / name).read_text(encoding="utf-8")


def module(*names: str) -> str:
    """Return ES modules beside this file as one: a page without addresses has nowhere to import from."""
    return "\n".join(re.sub(r"^import .*\n|^export ", "", asset(name), flags=re.MULTILINE) for name in names)


@cache
def bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script.

    It is 0.9 MB, about half of a usual report, and buys tooltips with every number, highlighting of a pair
    under the pointer and charts that fit the width of any screen; static SVG would carry none of these.
    """
    plots.check_room()
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=plots.VEGA_LITE)
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def safe_json(value: object) -> str:
    """Return compact JSON that may stand inside a script element whatever its strings contain.

    Examples
    --------
    >>> safe_json(["</script>"]) == '["' + chr(92) + 'u003c/script>"]'
    True
    """
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return compact.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def answers(study: FinishedStudy) -> str:
    """Return the sentences of every run; the script shows those of the run that is chosen."""
    parts = []
    labels = run_labels(study.results.table)
    for i, run in enumerate(labels.iter_rows(named=True)):
        name = f"<h2>{text(run['label'])}</h2>" if labels.height > 1 else ""
        lead, *more = study_answers(study, run)
        sentences = f'<p class="lead">{text(lead)}</p>' + "".join(f"<p>{text(x)}</p>" for x in more)
        parts.append(f'<div class="answer" data-run="{i}">{name}{sentences}</div>')
    return "".join(parts)


def charts(study: FinishedStudy, runs: list[Results], thetas: dict[str, float]) -> dict[str, Any]:
    """Return the charts as Vega-Lite by name: a list of those of every run, and those of the study."""
    of_runs = [
        plots.run_charts(results, thetas=thetas, layer=plots.start_layer(study, run[0]))
        | plots.beside_charts(study, run)
        for run, results in zip(study.runs, runs, strict=True)
    ]
    whole = plots.side_by_side(study.results, thetas=thetas) | plots.whole_charts(study)
    return {
        "runs": [{name: packed(chart) for name, chart in of_run.items()} for of_run in of_runs],
        "study": {name: packed(chart) for name, chart in whole.items()},
    }


def bare(chart: Any) -> dict[str, Any]:
    """Return a chart as Vega-Lite without its look and its schema's address."""
    spec: dict[str, Any] = chart.to_dict(validate=False)
    return {name: value for name, value in spec.items() if name not in ("config", "$schema")}


def packed(chart: Any) -> dict[str, Any]:
    """Return a chart without what the page has once, look and schema, its rows by column (see figures.js)."""
    spec = bare(chart)
    for name, rows in spec["datasets"].items():
        keys = dict.fromkeys(key for row in rows for key in row)
        spec["datasets"][name] = {key: [row.get(key) for row in rows] for key in keys}
    return spec


def map_words(results: Results, thetas: dict[str, float]) -> dict[str, Any]:
    """Return the words of the language maps of one run, for each metric and layer; the page finds the numbers."""
    there = set(results.table["metric"].to_list())
    return {
        metric: plots.language_map_words(results, metric=metric, theta=thetas.get(metric))
        for metric in (DIRECTED, OVERLAP)
        if metric in there
    }


def columns(table: pl.DataFrame) -> dict[str, Any]:
    """Return a results table by column, texts as ``{"values": [...], "codes": [...]}``, NaN as null."""
    by_name: dict[str, Any] = {}
    for name, dtype in RESULT_COLUMNS.items():
        column = table[name].to_list()
        if dtype == pl.String:
            codes = {value: i for i, value in enumerate(dict.fromkeys(column))}
            by_name[name] = {"values": list(codes), "codes": [codes[value] for value in column]}
        else:
            by_name[name] = [_number(value) for value in column]
    return by_name


def _number(value: float | None) -> float | None:
    """Round to the ten decimals that results.csv has."""
    return None if value is None or math.isnan(value) else round(value, 10)
