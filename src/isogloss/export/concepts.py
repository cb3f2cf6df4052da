"""Concepts with their words, labels, counterparts and shares: JSON, or one long Parquet table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from isogloss.coordinates import Clustering, Pair, Space
from isogloss.errors import unknown
from isogloss.export.choice import Choice, Place, one_place, run_facts, with_place
from isogloss.export.files import write_parts
from isogloss.metrics.registry import DIRECTED, GROUP_OVERLAP, OVERLAP
from isogloss.progress import progress
from isogloss.store import atomic

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

SCHEMA = 1  # raise it when a field of the JSON file changes its meaning
_COLUMNS = ["metric", "source", "target", "theta", "score", "chance", "adjusted", "p_value", "q_value", "p_search"]
_COLUMNS += ["ci_low", "ci_high", "n", "coverage", "signature"]


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
    endings[out.suffix](study, out, list(choice.places(study)))
    return [out]


def write_tree(study: FinishedStudy, out: Path, choice: Choice) -> list[Path]:
    """Write the tree of one space of one clustering, in the form that the ending says; see `Concepts.export_tree`.

    Raises
    ------
    UsageError
        If the file has another ending, a choice is unknown, more than one layer or space is chosen, or the method of
        the study grows no trees.
    """
    study.tree(*one_place(study, choice)).export_tree(out)
    return [out]


def concept_rows(study: FinishedStudy, clustering: Clustering, space: Space) -> pl.DataFrame:
    """Return ``model ... layer, space, concept, language, word, count`` of one space."""
    return with_place(study, study.concepts(clustering, space).types(), clustering, space)


def _write_parquet(study: FinishedStudy, out: Path, places: list[Place]) -> None:
    with progress("Export", len(places)) as advance:
        write_parts(out, (concept_rows(study, *place) for place in places), advance=advance)


def _write_json(study: FinishedStudy, out: Path, places: list[Place]) -> None:
    head = {"schema": SCHEMA, "isogloss": study.manifest.get("isogloss")}
    head |= {"study": study.config.name, "languages": list(study.languages)}
    with progress("Export", len(places)) as advance, atomic(out) as f:
        f.write(f'{_json(head)[:-1]},"spaces":['.encode())
        for number, place in enumerate(places):
            f.write(f"{',' if number else ''}\n{_json(space_of(study, *place))}".encode())
            advance(1)
        f.write(b"\n]}\n")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def space_of(study: FinishedStudy, clustering: Clustering, space: Space) -> dict[str, Any]:
    """Return one entry of ``spaces`` in the JSON file: a space at a layer, its estimates and its concepts."""
    concepts = study.concepts(clustering, space)
    languages = list(space.languages)
    sizes = np.bincount(concepts.labels[concepts.labels >= 0], minlength=concepts.n_concepts).tolist()
    entries: list[dict[str, Any]]
    entries = [{"concept": c, "size": size, "words": {x: [] for x in languages}} for c, size in enumerate(sizes)]
    for concept, language, word, count in concepts.types().iter_rows():
        entries[concept]["words"][language].append([word, count])
    facts = run_facts(study, clustering) | {"layer": clustering.layer, "space": space.name, "languages": languages}
    if space.is_joint:
        facts["theta"] = _add_shares(study, clustering, space, entries)
    else:
        facts["theta"] = study.config.metrics.theta_align[0]
        _add_counterparts(study, clustering, languages[0], entries)
    for concept, label in _labels(study, clustering, space):
        entries[concept].setdefault("labels", []).append(label)
    return {**facts, "estimates": _estimates(study, clustering, space), "concepts": entries}


def _add_counterparts(study: FinishedStudy, clustering: Clustering, source: str, entries: list[dict[str, Any]]) -> None:
    """Add the concepts of other languages that each concept is aligned to, best match first."""
    for entry in entries:
        entry["aligned"] = []
    directions = study.results.table.filter((pl.col("metric") == DIRECTED) & (pl.col("source") == source))
    for target in directions["target"].unique(maintain_order=True).to_list():
        aligned = study.alignment(clustering, Pair(source, target)).aligned()
        for s, t, match in aligned.select("source_concept", "target_concept", "match").iter_rows():
            entries[s]["aligned"].append({"language": target, "concept": t, "match": _number(match)})


def _add_shares(study: FinishedStudy, clustering: Clustering, space: Space, entries: list[dict[str, Any]]) -> float:
    """Add the share of every language, and whether the concept overlaps; return the threshold of that."""
    overlap = study.overlap(clustering, space)
    for entry, shares, overlaps in zip(entries, overlap.shares, overlap.overlapping().tolist(), strict=True):
        entry["shares"] = {x: _number(share) for x, share in zip(space.languages, shares, strict=True)}
        entry["overlaps"] = overlaps
    return overlap.estimates[0].theta


def _labels(study: FinishedStudy, clustering: Clustering, space: Space) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the labels of concepts of one space, of every kind, where the study has labels."""
    table = labels_of(study, clustering, space)
    if table is not None:
        for row in table.iter_rows(named=True):
            label = {name: row[name] for name in ("kind", "value", "significant")}
            numbers = {name: _number(row[name]) for name in ("share", "chance", "q_value")}
            yield row["concept"], label | numbers


def labels_of(study: FinishedStudy, clustering: Clustering, space: Space) -> pl.DataFrame | None:
    """Return the rows of the study's table of labels for one space, or None without labels."""
    if study.labels is None or study.labels["labels"].is_empty():
        return None
    values = clustering.facts() | {"space": space.name}
    rows = study.labels["labels"].filter(pl.col(name) == value for name, value in values.items())
    return rows.sort("concept", "kind", maintain_order=True)


def _estimates(study: FinishedStudy, clustering: Clustering, space: Space) -> list[dict[str, object]]:
    """Return the results that are about one space: CALIGN from a language, COLAP of a joint space."""
    first, last = space.languages[0], space.languages[-1]
    if not space.is_joint:
        about = pl.col("metric").is_in([DIRECTED, "calign_soft"]) & (pl.col("source") == first)
    else:
        about = (pl.col("metric") == GROUP_OVERLAP) & (pl.col("source") == space.name)
        if len(space.languages) == 2:
            of_pair = (pl.col("source") == first) & (pl.col("target") == last)
            about = about | ((pl.col("metric") == OVERLAP) & of_pair)
    table = study.results.only(**clustering.facts()).filter(about).select(_COLUMNS)
    return [{k: _number(v) for k, v in row.items()} for row in table.iter_rows(named=True)]


def _number(value: Any) -> Any:
    """Return a value as JSON has it: six digits, and null for NaN."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
