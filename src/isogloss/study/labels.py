"""What the concepts of a study are made of, and which kinds of them are shared at which depth."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.arguments import Draws, Share, Workers, checked
from isogloss.config import MetricsSection
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.errors import UsageError
from isogloss.metrics.colap import language_counts
from isogloss.metrics.label_scores import label_set_scores, split_alignment, split_overlap
from isogloss.metrics.labels import label_concepts
from isogloss.metrics.word_facts import word_properties
from isogloss.progress import progress
from isogloss.results import Overlap
from isogloss.store import (
    LABEL_TABLES,
    StudyLayout,
    digest,
    locked,
    read_table,
    run_name,
    write_csv,
    write_table,
)
from isogloss.study.measures import align_concepts
from isogloss.study.opened import open_study
from isogloss.study.steps import read_concepts
from isogloss.threads import one_blas_thread


@one_blas_thread()
def label_layer(
    root: Path,
    *,
    model: str,
    stack: str,
    method: str,
    n_concepts: int,
    seed: int,
    layer: int,
    pairs: Sequence[Sequence[str]],
    metrics: dict[str, Any],
    threshold: float,
    n_permutations: int,
) -> dict[str, pl.DataFrame]:
    """Return the tables of `label_study` for one layer of one clustering; its concepts must be there."""
    study, settings = StudyLayout(root), MetricsSection.model_validate(metrics)
    corpus = Corpus.open(study)
    properties = word_properties(corpus.words, corpus.sentences)
    run: dict[str, Any] = {"model": model, "stack": stack, "method": method}
    run |= {"n_concepts": n_concepts, "seed": seed, "layer": layer}
    place = [pl.lit(value).alias(name) for name, value in run.items()]
    tables: dict[str, list[pl.DataFrame]] = {name: [] for name in LABEL_TABLES}

    def add(name: str, table: pl.DataFrame, **more: str) -> None:
        facts = [pl.lit(value).alias(key) for key, value in more.items()]
        tables[name].append(table.select(*place, *facts, pl.all()))

    alone = list(dict.fromkeys(language for pair in pairs for language in pair))
    concepts, labels = {}, {}
    for space in [*alone, *("+".join(pair) for pair in pairs)]:
        concepts[space] = read_concepts(study, corpus.words, **run, space=space)
        labels[space] = label_concepts(
            concepts[space],
            properties,
            threshold=threshold,
            n_permutations=n_permutations,
            min_types=max(1, math.ceil(settings.min_types)),
        )
        add("labels", labels[space].table, space=space)
        add("scores", label_set_scores(labels[space]), space=space)
    for pair in pairs:
        for source, target in permutations(pair):
            path = study.checked(study.dictionary(source, target))
            dictionary = TranslationDictionary.read(path, source=source, target=target, induced_by="")
            alignment = align_concepts(
                concepts[source], concepts[target], dictionary, settings, n_permutations=n_permutations
            )
            split = split_alignment(alignment, labels[source], chance=alignment.chance_of())
            add("splits", split, metric="calign", source=source, target=target)
        space = "+".join(pair)
        counts = language_counts(concepts[space], pair)
        overlap = Overlap(tuple(pair), (), counts, settings)  # its own estimates are in the results
        split = split_overlap(overlap, labels[space], theta=settings.theta_overlap[0])
        add("splits", split, metric="colap", source=pair[0], target=pair[1])
    return {name: pl.concat(parts) for name, parts in tables.items()}


def write_labels(root: Path, **arguments: Any) -> dict[str, Any]:
    """Write the tables of `label_layer`: the step of a study."""
    run = run_name(*(arguments[name] for name in ("method", "n_concepts", "seed")))
    folder = StudyLayout(root).labels_of(arguments["model"], arguments["stack"], run, arguments["layer"])
    tables = label_layer(root, **arguments)
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table)
    return {"n_labels": tables["labels"].height}


def gather_labels(root: Path, *, parts: Sequence[str]) -> dict[str, Any]:
    """Join the tables of all layers, of each of which a part is named."""
    folders = [(root / part).parent for part in parts]
    tables = {
        name: pl.concat([read_table(folder / f"{name}.parquet", ("layer", "kind")) for folder in folders])
        for name in LABEL_TABLES
    }
    _write(StudyLayout(root), tables)
    return {"n_labels": tables["labels"].height}


def _write(study: StudyLayout, tables: dict[str, pl.DataFrame]) -> list[Path]:
    written = []
    for name, table in tables.items():
        path = study.labels(name)
        write_table(path, table)
        write_csv(path.with_suffix(".csv"), table)
        written += [path, path.with_suffix(".csv")]
    return written


@checked
def label_study(
    root: str | Path,
    *,
    threshold: Share = 0.9,
    n_permutations: Draws = 100,
    layers: Sequence[int] | None = None,
    workers: Workers | None = None,
) -> dict[str, pl.DataFrame]:
    """Label every concept of a finished study with what its members share, and split CALIGN and COLAP by label.

    What the section ``labels`` of a study file does as part of a run, with other settings or afterwards.  See
    `isogloss.metrics.labels.label_concepts` for the kinds of labels and their chance levels.

    Parameters
    ----------
    root : str or Path
        A finished study folder.
    threshold : float
        Share of a concept's types that must carry a label.
    n_permutations : int
        For the chance levels of the label set's scores and of CALIGN.
    layers : sequence of int, optional
        Default: all.
    workers : int, optional
        Processes; default: the number of cores.

    Returns
    -------
    dict of str to polars.DataFrame
        ``labels`` (one row a concept and label), ``scores`` (alignment and coverage of the label set, kind by kind) and
        ``splits`` (CALIGN and COLAP of the concepts with each label); also in ``labels/*.parquet`` and
        ``labels/*.csv`` of the folder.

    Raises
    ------
    InputError
        If the study is not finished.
    UsageError
        If a layer is not in it.
    """
    from joblib import Parallel, delayed

    opened = open_study(root)
    known = sorted({layer for run in opened.runs for layer in run.layers})
    for layer in layers or ():
        if layer not in known:
            raise UsageError(f"The study has the layers {known}; got {layer}.")
    pairs = opened.results.only(metric="calign_mean").select("source", "target").unique(maintain_order=True)
    jobs = [
        {name: getattr(run, name) for name in ("model", "stack", "method", "n_concepts", "seed")}
        | {"layer": layer, "pairs": list(pairs.iter_rows()), "metrics": opened.config.metrics.model_dump()}
        | {"threshold": threshold, "n_permutations": n_permutations}
        for run in opened.runs
        for layer in run.layers
        if not layers or layer in layers
    ]
    study = StudyLayout(opened.root)
    with locked(study.lock), progress("labels", len(jobs)) as advance:
        pool = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator")
        made = []
        for one in pool(delayed(label_layer)(study.root, **job) for job in jobs):
            made.append(one)
            advance(1)
        tables = {name: pl.concat([one[name] for one in made]) for name in LABEL_TABLES}
        written = _write(study, tables)
        study.mark_done(
            "labels", digest([threshold, n_permutations, layers]), written
        )  # a run makes its own again
    return tables
