"""Concepts with their words, labels, counterparts and shares: JSON, or one long Parquet table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from isogloss.errors import unknown
from isogloss.export.choice import RUN_COLUMNS, Choice, run_facts, with_place
from isogloss.export.files import write_parts
from isogloss.progress import progress
from isogloss.store import atomic

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy, Run

SCHEMA = 1  # raise it when a field of the JSON file changes its meaning
_FIGURE = ["metric", "source", "target", "theta", "score", "chance", "adjusted", "p_value", "q_value"]
_FIGURE += ["ci_low", "ci_high", "n", "coverage", "signature"]


def write_concepts(study: FinishedStudy, out: Path, choice: Choice) -> list[Path]:
    """Write the concepts of all chosen places to one file, ``.json`` or ``.parquet``; see docs/exports.md.

    One space of one layer is in memory at a time.

    Raises
    ------
    UsageError
        If the file has another ending, or a choice is unknown.
    """
    endings = {".json": _write_json, ".parquet": _write_parquet}
    if out.suffix not in endings:
        raise unknown("ending for concepts", out.suffix or str(out), endings)
    places = list(choice.places(study))
    endings[out.suffix](study, out, places)
    return [out]


def concept_rows(study: FinishedStudy, run: Run, layer: int, space: str) -> pl.DataFrame:
    """Return ``model ... layer, space, concept, language, word, count`` of one space."""
    return with_place(study.concepts(run, layer, space).types(), run, layer, space)


def _write_parquet(study: FinishedStudy, out: Path, places: list[tuple[Run, int, str]]) -> None:
    with progress("Export", len(places)) as advance:
        write_parts(out, (concept_rows(study, *place) for place in places), advance=advance)


def _write_json(study: FinishedStudy, out: Path, places: list[tuple[Run, int, str]]) -> None:
    head = {
        "schema": SCHEMA,
        "isogloss": study.manifest.get("isogloss"),
        "study": study.config.name,
        "languages": list(study.languages),
    }
    with progress("Export", len(places)) as advance, atomic(out) as f:
        f.write(f'{_json(head)[:-1]},"spaces":['.encode())
        for number, place in enumerate(places):
            f.write(f"{',' if number else ''}\n{_json(space_of(study, *place))}".encode())
            advance(1)
        f.write(b"\n]}\n")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def space_of(study: FinishedStudy, run: Run, layer: int, space: str) -> dict[str, Any]:
    """Return one entry of ``spaces`` in the JSON file: a space at a layer, its estimates and its concepts."""
    concepts = study.concepts(run, layer, space)
    languages = space.split("+")
    sizes = np.bincount(concepts.labels[concepts.labels >= 0], minlength=concepts.n_concepts).tolist()
    entries: list[dict[str, Any]] = [
        {"concept": c, "size": size, "words": {x: [] for x in languages}} for c, size in enumerate(sizes)
    ]
    for concept, language, word, count in concepts.types().iter_rows():
        entries[concept]["words"][language].append([word, count])
    facts = {**run_facts(run), "layer": layer, "space": space, "languages": languages}
    if len(languages) == 1:
        facts["theta"] = study.config.metrics.theta_align[0]
        _add_counterparts(study, run, layer, space, entries)
    else:
        facts["theta"] = _add_shares(study, run, layer, languages, entries)
    for concept, label in _labels(study, run, layer, space):
        entries[concept].setdefault("labels", []).append(label)
    return {**facts, "estimates": _estimates(study, run, layer, space), "concepts": entries}


def _add_counterparts(
    study: FinishedStudy, run: Run, layer: int, source: str, entries: list[dict[str, Any]]
) -> None:
    """Add the concepts of other languages that each concept is aligned to, best match first."""
    for entry in entries:
        entry["aligned"] = []
    directions = study.results.table.filter((pl.col("metric") == "calign") & (pl.col("source") == source))
    for target in directions["target"].unique(maintain_order=True).to_list():
        found = study.alignment(run, layer, source, target).aligned()
        for s, t, match in found.select("source_concept", "target_concept", "match").iter_rows():
            entries[s]["aligned"].append({"language": target, "concept": t, "match": _number(match)})


def _add_shares(
    study: FinishedStudy, run: Run, layer: int, languages: list[str], entries: list[dict[str, Any]]
) -> float:
    """Add the share of every language, and whether the concept overlaps; return the threshold of that."""
    overlap = study.overlap(run, layer, tuple(languages))
    theta = overlap.estimates[0].theta
    passed = overlap.overlapping().tolist()
    for entry, shares, shared in zip(entries, overlap.shares, passed, strict=True):
        entry["shares"] = {x: _number(share) for x, share in zip(languages, shares, strict=True)}
        entry["overlaps"] = shared
    return theta


def _labels(
    study: FinishedStudy, run: Run, layer: int, space: str
) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the labels of concepts of one space, of every kind, where the study has labels."""
    table = labels_of(study, run, layer, space)
    if table is not None:
        for row in table.iter_rows(named=True):
            label = {name: row[name] for name in ("kind", "value", "significant")}
            numbers = {name: _number(row[name]) for name in ("share", "chance", "q_value")}
            yield row["concept"], label | numbers


def labels_of(study: FinishedStudy, run: Run, layer: int, space: str) -> pl.DataFrame | None:
    """Return the rows of the study's table of labels for one space, or None without labels."""
    if study.labels is None or study.labels["labels"].is_empty():
        return None
    values = {**run_facts(run), "layer": layer, "space": space}
    table = study.labels["labels"]
    own = table.filter(pl.col(name) == value for name, value in values.items() if name in table.columns)
    return own.sort("concept", "kind", maintain_order=True)


def _estimates(study: FinishedStudy, run: Run, layer: int, space: str) -> list[dict[str, object]]:
    """Return the results that are about one space: CALIGN from a language, COLAP of a joint space."""
    values = {name: getattr(run, name) for name in RUN_COLUMNS} | {"layer": layer}
    table = study.results.table.filter(pl.col(name) == value for name, value in values.items())
    joint = pl.format("{}+{}", "source", "target") == space
    alone = pl.col("metric").is_in(["calign", "calign_soft"]) & (pl.col("source") == space)
    table = table.filter(
        alone
        | ((pl.col("metric") == "colap") & joint)
        | ((pl.col("metric") == "colap_group") & (pl.col("source") == space))
    )
    return [{k: _number(v) for k, v in row.items()} for row in table.select(_FIGURE).iter_rows(named=True)]


def _number(value: Any) -> Any:
    """Return a value as JSON has it: six digits, and null for NaN."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
