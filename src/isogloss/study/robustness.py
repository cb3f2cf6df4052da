"""Whether the ordering of layers, pairs and models survives other settings of CALIGN than the study's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isogloss.arguments import NTypes, PositiveShare, Several, Translations, Workers, checked
from isogloss.concepts import Concepts
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.errors import InputError, UsageError
from isogloss.metrics import calign
from isogloss.progress import progress
from isogloss.store import StudyLayout, digest, locked, write_csv, write_table
from isogloss.study.opened import FinishedStudy, open_study
from isogloss.threads import one_blas_thread

SETTINGS = ("n_concepts", "top", "min_types", "theta")
_PERMUTATIONS = 20
_PLACE = ("model", "stack", "layer", "source", "target")


@checked
def robustness(
    root: str | Path,
    *,
    theta_align: Sequence[PositiveShare] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    n_concepts: Sequence[Several] = (),
    top: Sequence[Translations] = (1, 5, 10),
    min_types: Sequence[NTypes] = (3, 5, 8),
    workers: Workers | None = None,
) -> pl.DataFrame:
    """Measure CALIGN under every combination of settings, and how far each agrees with the study's own.

    Every number of concepts is cut from the trees that are there, so nothing is clustered again.  `chance` is the mean
    of 20 permuted dictionaries.

    Parameters
    ----------
    root : str or Path
        A finished study folder, made with ``ward``.
    theta_align, top, min_types : sequences of numbers
        `top` beyond the study's ``dictionary.top`` changes nothing.
    n_concepts : sequence of int
        Default: half of the study's first number, it, and twice it, as far as the trees have states.
    workers : int, optional
        Processes; default: the number of cores.

    Returns
    -------
    polars.DataFrame
        One row a combination: the settings, ``adjusted`` (the mean over everything), and Spearman's correlations with
        the study's first setting of the ordering of layers (``rho_layers``, pairs averaged, models one by one, then
        averaged), of pairs (``rho_pairs``) and of models (``rho_models``); null where there are fewer than three, or
        they tie.
        Also in ``robustness.csv`` of the folder; every single estimate is in ``robustness.parquet``.

    Raises
    ------
    InputError
        If the study is not finished or has no trees.
    UsageError
        If a list of settings is empty.
    """
    from joblib import Parallel, delayed

    opened = open_study(root)
    config = opened.config
    if not (theta_align and top and min_types):
        raise UsageError("Give at least one theta, one top and one min_types.")
    first = opened.runs[0]
    own = {
        "n_concepts": first.n_concepts,
        "top": config.dictionary.top,
        "min_types": float(config.metrics.min_types),
        "theta": float(config.metrics.theta_align[0]),
    }
    numbers = sorted({*(n_concepts or (own["n_concepts"] // 2, own["n_concepts"] * 2)), own["n_concepts"]})
    grid = {
        "thetas": sorted({*map(float, theta_align), own["theta"]}),
        "tops": sorted({*(min(n, own["top"]) for n in top), own["top"]}),
        "min_types": sorted({*map(float, min_types), own["min_types"]}),
        "numbers": [k for k in numbers if k >= 2],
    }
    runs = {(r.model, r.stack): r for r in opened.runs if r.method == first.method and r.seed == first.seed}
    pairs = opened.results.only(metric="calign_mean").select("source", "target").unique(maintain_order=True)
    jobs = [
        (model, stack, layer, pair)
        for (model, stack), run in runs.items()
        for layer in run.layers
        for pair in pairs.iter_rows()
    ]
    study = StudyLayout(opened.root)
    with locked(study.lock), progress("robustness", len(jobs)) as advance:
        pool = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator_unordered")
        rows: list[dict[str, Any]] = []
        for found in pool(
            delayed(_sweep)(opened, job, method=first.method, seed=first.seed, **grid) for job in jobs
        ):
            rows += found
            advance(1)
        table = pl.DataFrame(rows).sort(*SETTINGS, *_PLACE)
        summary = _agreement(table, own)
        write_table(study.robustness, table)
        write_csv(study.robustness_csv, summary)
        study.mark_done("robustness", digest([own, grid]), [study.robustness, study.robustness_csv])
    return summary


@one_blas_thread()
def _sweep(
    opened: FinishedStudy,
    job: tuple[str, str, int, tuple[str, str]],
    *,
    method: str,
    seed: int,
    numbers: Sequence[int],
    tops: Sequence[int],
    min_types: Sequence[float],
    thetas: Sequence[float],
) -> list[dict[str, Any]]:
    """Measure one pair at one layer under every setting: the mean of both directions."""
    model, stack, layer, pair = job
    study = StudyLayout(opened.root)
    words = Corpus.open(study).words
    trees = {}
    for language in pair:
        path = study.tree(model, stack, method=method, seed=seed, layer=layer, space=language)
        if not path.is_file():
            raise InputError(f"There is no tree {path}: robustness needs a study made with the method ward.")
        trees[language] = Concepts.read_tree(study.checked(path), words, method=method, layer=layer)
    settings = opened.config.metrics
    rows = []
    for k in numbers:
        if k > min(len(tree.labels) for tree in trees.values()):
            continue
        cut = {language: tree.cut(n_concepts=k) for language, tree in trees.items()}
        for best, least in product(tops, min_types):
            found = []
            for source, target in permutations(pair):
                dictionary: TranslationDictionary = opened.dictionary(source, target).top(best)
                one = calign(
                    cut[source],
                    cut[target],
                    dictionary,
                    theta_align=thetas,
                    min_types=least,
                    min_size_ratio=settings.min_size_ratio,
                    rule=settings.rule,
                    n_permutations=_PERMUTATIONS,
                    draw_seed=settings.draw_seed,
                    words=False,
                )
                found.append(one.estimates)
            place = dict(zip(_PLACE, (model, stack, layer, *pair), strict=True))
            for forward, backward in zip(*found, strict=True):
                both = {
                    name: (getattr(forward, name) + getattr(backward, name)) / 2
                    for name in ("score", "chance", "adjusted")
                }
                rows.append(
                    place | {"n_concepts": k, "top": best, "min_types": least, "theta": forward.theta} | both
                )
    return rows


def _agreement(table: pl.DataFrame, own: dict[str, float]) -> pl.DataFrame:
    groups = dict(table.group_by(*SETTINGS, maintain_order=True))
    reference = groups[tuple(own[name] for name in SETTINGS)]
    rows = []
    for key, part in groups.items():
        rows.append(
            dict(zip(SETTINGS, key, strict=True))
            | {
                "adjusted": part["adjusted"].drop_nans().mean(),
                "rho_layers": _rank_agreement(part, reference, ["layer"], within=["model", "stack"]),
                "rho_pairs": _rank_agreement(
                    part, reference, ["source", "target"], within=["model", "stack"]
                ),
                "rho_models": _rank_agreement(part, reference, ["model", "stack"], within=[]),
            }
        )
    kinds = {"adjusted": pl.Float64} | {f"rho_{x}": pl.Float64 for x in ("layers", "pairs", "models")}
    return pl.DataFrame(rows, schema_overrides=kinds)


def _rank_agreement(
    part: pl.DataFrame, reference: pl.DataFrame, what: list[str], *, within: list[str]
) -> float | None:
    """Return Spearman's correlation of mean adjusted scores, averaged over the groups of `within`."""
    from scipy.stats import rankdata

    means = [
        t.group_by(*within, *what).agg(pl.col("adjusted").fill_nan(None).mean()) for t in (part, reference)
    ]
    both = means[0].join(means[1], on=[*within, *what], suffix="_own").drop_nulls()
    found = []
    for _, group in both.group_by(*within) if within else [((), both)]:
        x, y = (rankdata(group[name].to_numpy().round(12)) for name in ("adjusted", "adjusted_own"))
        if len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0:
            found.append(float(np.corrcoef(x, y)[0, 1]))
    return float(np.mean(found)) if found else None
