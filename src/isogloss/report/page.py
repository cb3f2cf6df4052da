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

from isogloss.errors import InputError
from isogloss.plots import (
    VEGA_LITE,
    beside_charts,
    layer_curves,
    main_thetas,
    robustness_map,
    run_charts,
    theme,
    tuning_charts,
)
from isogloss.plots.charts import PALETTE
from isogloss.plots.rows import RUN, run_labels
from isogloss.report import methods
from isogloss.report.answer import alignment_answer, overlap_answer, start_layer
from isogloss.report.explorer import Explorer
from isogloss.report.paper import methods_paragraph
from isogloss.report.tuning import tuning
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
    runs = [
        Results(study.results.only(**{name: run[name] for name in RUN}))
        for run in labels.iter_rows(named=True)
    ]
    data = {
        "runs": [
            {"label": label, **{name: getattr(run, name) for name in RUN}, "layers": list(run.layers)}
            | {"start": start_layer(own, theta=explorer.thetas.get("calign"))}
            for label, run, own in zip(labels["label"], study.runs, runs, strict=True)
        ],
        "languages": list(study.languages),
        "colours": list(PALETTE),
        "pairs": explorer.pairs,
        "thetas": explorer.thetas,
        "config": theme(ink="currentColor", font=FONT),
        "charts": charts(study, runs, explorer.thetas),
        "table": columns(study.results.table),
        "words": list(explorer.words),
        "views": explorer.views,
    }
    parts = {
        "title": methods.text(study.config.name),
        "facts": methods.facts(study),
        "answers": answers(runs, explorer.thetas),
        "warnings": methods.warnings(study),
        "runs": methods.runs(study),
        "signatures": methods.signatures(study),
        "tuning": tuning(study),
        "coverage": methods.coverage(study),
        "paper": f'<pre class="paper">{methods.text(methods_paragraph(study))}</pre>',
        "material": methods.material(study),
        "files": methods.files(study, beside=beside),
        "glossary": methods.glossary(),
        "style": asset("common.css") + asset("page.css"),
        "script": module("common.js", "page.js"),
        "vega": bundle(),
        "data": safe_json(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], asset("page.html"))


def asset(name: str) -> str:
    """Return one of the files beside this module."""
    return (files("isogloss.report") / name).read_text(encoding="utf-8")


def module(*names: str) -> str:
    """Return ES modules beside this file as one: a page without addresses has nowhere to import from."""
    texts = (re.sub(r"^import .*\n", "", asset(name), flags=re.MULTILINE) for name in names)
    return "\n".join(re.sub(r"^export ", "", text, flags=re.MULTILINE) for text in texts)


@cache
def bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script.

    It is 0.9 MB, about half of a usual report, and buys tooltips with every number, highlighting of a pair
    under the pointer and charts that fit the width of any screen; static SVG would carry none of these.
    """
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def safe_json(value: object) -> str:
    """Return compact JSON that may stand inside a script element whatever its strings contain.

    Examples
    --------
    >>> safe_json(["</script>"]) == '["' + chr(92) + 'u003c/script>"]'
    True
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def answers(runs: list[Results], thetas: dict[str, float]) -> str:
    """Return the sentences of every run; the script shows those of the run that is chosen."""
    found = []
    for i, results in enumerate(runs):
        there = set(results.table["metric"].to_list())
        label = run_labels(results.table)["label"][0]
        lead = alignment_answer(results, theta=thetas.get("calign")) if "calign_mean" in there else ""
        more = overlap_answer(results, theta=thetas.get("colap")) if "colap" in there else ""
        name = f"<h2>{methods.text(label)}</h2>" if len(runs) > 1 else ""
        found.append(
            f'<div class="answer" data-run="{i}">{name}<p class="lead">{methods.text(lead)}</p>'
            f"<p>{methods.text(more)}</p></div>"
        )
    return "".join(found)


def charts(study: FinishedStudy, runs: list[Results], thetas: dict[str, float]) -> dict[str, Any]:
    """Return the charts as Vega-Lite: of every run, of all runs together where there are several, of the study."""
    found: dict[str, Any] = {}
    for i, (run, own) in enumerate(zip(study.runs, runs, strict=True)):
        made = run_charts(own, thetas=thetas) | beside_charts(study, run)
        found[str(i)] = {name: _spec(chart) for name, chart in made.items()}
    whole: dict[str, Any] = tuning_charts(study.root, thetas=main_thetas(study))
    if study.robustness is not None:
        whole["robustness"] = robustness_map(study.robustness)
    if whole:
        found["study"] = {name: _spec(chart) for name, chart in whole.items()}
    results = study.results
    there = set(results.table["metric"].to_list())
    if len(runs) > 1:
        found["all"] = {
            name: _spec(layer_curves(results, metric=metric, theta=thetas.get(name), height=180))
            for name, metric in (("calign", "calign_mean"), ("colap", "colap"))
            if metric in there
        }
    return found


def _spec(chart: Any) -> dict[str, Any]:
    """Return a chart without what the page gives it: title (the caption), look, and schema address."""
    spec: dict[str, Any] = chart.to_dict(validate=False)
    for name in ("title", "config", "$schema"):
        spec.pop(name, None)
    return spec


def columns(table: pl.DataFrame) -> dict[str, Any]:
    """Return a results table by column, texts as ``{"values": [...], "codes": [...]}``, NaN as null."""
    found: dict[str, Any] = {}
    for name, dtype in RESULT_COLUMNS.items():
        column = table[name].to_list()
        if dtype == pl.String:
            values = list(dict.fromkeys(column))
            codes = {value: i for i, value in enumerate(values)}
            found[name] = {"values": values, "codes": [codes[value] for value in column]}
        else:
            found[name] = [_number(value) for value in column]
    return found


def _number(value: float | None) -> float | None:
    """Round to the ten decimals that results.csv has."""
    return None if value is None or math.isnan(value) else round(value, 10)
