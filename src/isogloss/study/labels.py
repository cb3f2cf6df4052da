"""What the concepts of a finished study are made of, and which kinds of them are shared at which depth."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.corpus import Corpus
from isogloss.errors import UsageError
from isogloss.metrics.labels import label_concepts, label_set_scores, split_alignment, split_overlap
from isogloss.metrics.word_facts import word_properties
from isogloss.progress import progress
from isogloss.store import Study, locked, write_table, write_text
from isogloss.study.opened import FinishedStudy, Run, open_study

_RUN = ("model", "stack", "method", "n_concepts", "seed")


def label_study(
    root: str | Path,
    *,
    threshold: float = 0.9,
    n_permutations: int = 100,
    layers: Sequence[int] | None = None,
    workers: int | None = None,
) -> dict[str, pl.DataFrame]:
    """Label every concept of a study with what its members share, and split CALIGN and COLAP by label.

    See `isogloss.metrics.labels.label_concepts` for the kinds of labels and their chance levels.

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
    jobs = [(run, layer) for run in opened.runs for layer in run.layers if not layers or layer in layers]
    pairs = opened.results.only(metric="calign_mean").select("source", "target").unique(maintain_order=True)
    study = Study(opened.root)
    found: dict[str, list[pl.DataFrame]] = {"labels": [], "scores": [], "splits": []}
    with locked(study.lock), progress("labels", len(jobs)) as advance:
        pool = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator")
        options = {"threshold": threshold, "n_permutations": n_permutations, "pairs": list(pairs.iter_rows())}
        for made in pool(delayed(_label_layer)(opened, run, layer, **options) for run, layer in jobs):
            for name, table in made.items():
                found[name].append(table)
            advance(1)
        tables = {name: pl.concat(parts, how="diagonal_relaxed") for name, parts in found.items()}
        for name, table in tables.items():
            write_table(study.root / "labels" / f"{name}.parquet", table)
            write_text(study.root / "labels" / f"{name}.csv", table.write_csv(float_precision=6))
    return tables


def _label_layer(
    opened: FinishedStudy,
    run: Run,
    layer: int,
    *,
    threshold: float,
    n_permutations: int,
    pairs: Sequence[tuple[str, str]],
) -> dict[str, pl.DataFrame]:
    corpus = Corpus.open(Study(opened.root))
    properties = word_properties(corpus.words, corpus.sentences)
    settings = opened.config.metrics
    place: dict[str, Any] = {name: getattr(run, name) for name in _RUN} | {"layer": layer}
    least = max(1, math.ceil(settings.min_types))
    labels, scores, splits = {}, [], []

    def here(table: pl.DataFrame, **more: str) -> pl.DataFrame:
        facts = [pl.lit(value).alias(name) for name, value in (place | more).items()]
        return table.select(*facts, pl.all())

    alone = [language for language in opened.languages if any(language in pair for pair in pairs)]
    for space in [*alone, *("+".join(pair) for pair in pairs)]:
        found = label_concepts(
            opened.concepts(run, layer, space),
            properties,
            threshold=threshold,
            n_permutations=n_permutations,
            min_types=least,
        )
        labels[space] = found
        scores.append(here(label_set_scores(found), space=space))
    for pair in pairs:
        for source, target in permutations(pair):
            alignment = opened.alignment(
                run, layer, source, target, n_permutations=n_permutations, words=False
            )
            for kind in labels[source].kinds:
                part = split_alignment(alignment, labels[source], kind=kind, chance=alignment.chance_of())
                splits.append(here(part, metric="calign", source=source, target=target, kind=kind))
        space = "+".join(pair)
        overlap = opened.overlap(run, layer, pair)
        for kind in labels[space].kinds:
            part = split_overlap(overlap, labels[space], kind=kind)
            splits.append(here(part, metric="colap", source=pair[0], target=pair[1], kind=kind))
    return {
        "labels": pl.concat([here(found.table, space=space) for space, found in labels.items()]),
        "scores": pl.concat(scores),
        "splits": pl.concat(splits),
    }
