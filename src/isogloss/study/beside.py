"""The companion measures of a study: computed from its states, layer by layer and pair by pair, beside the concepts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isogloss.dictionary import WordLinks
from isogloss.extraction import open_states
from isogloss.metrics.companions.estimates import compare_rows, look_at_space
from isogloss.metrics.registry import COMPANIONS, headlines
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.metrics.statistics.ranks import rank_correlation
from isogloss.results import signature
from isogloss.states import States, with_rows
from isogloss.store import StudyLayout, read_table, write_csv, write_table

COLUMNS: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "base_model": pl.String,
    "stack": pl.String,
    "layer": pl.Int32,
    "measure": pl.String,
    "source": pl.String,
    "target": pl.String,
    "score": pl.Float64,
    "chance": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n": pl.Int64,
    "signature": pl.String,
}
PLACE = ["model", "stack", "layer", "source", "target"]
_ESTIMATE = ("score", "chance", "ci_low", "ci_high", "n")


def measure_companions(
    root: Path,
    *,
    model: str,
    base: str,
    stack: str,
    layer: int,
    pair: Sequence[str],
    aligner: str,
    measures: Sequence[str],
    n_words: int,
    n_bootstrap: int,
    draw_seed: int,
    facts: dict[str, str],
) -> dict[str, Any]:
    """Write every companion measure of one pair at one layer, with its draws as `measure_pair` has them."""
    study = StudyLayout(root)
    source, target = pair
    states = open_states(study, name=model, stack=stack, layer=layer)
    resamples = None
    if n_bootstrap:  # those of measure_pair: the same sentences for every model, layer and measure
        resamples = Resamples.draw(states.tokens["sentence"].unique(), n_bootstrap, draw_seed=draw_seed)
    place = {"model": model, "stack": stack, "layer": layer, "source": source, "target": target}
    rows, drawn = [], []
    given = _material(study, states, layer, (source, target), aligner, n_words=n_words, draw_seed=draw_seed)
    for name in measures:
        takes = COMPANIONS[name].takes
        if takes not in given:  # no links, or no states of sentences
            continue
        if takes == "space":
            found = look_at_space(name, *given[takes], resamples=resamples)
        else:
            X, Y, sentences = given[takes]
            found = compare_rows(name, X, Y, sentences=sentences, resamples=resamples, draw_seed=draw_seed)
        parts = {
            "isogloss": facts["version"],
            "metric": name,
            "states": takes,
            "pooling": "mean" if takes != "words" else facts["pooling"],
            "n": found.n,
            "ci": found.ci,
            "draw_seed": draw_seed,
            **{key: place[key] for key in ("model", "stack", "layer")},
            "corpus": facts["corpus"],
        }
        estimate = {column: getattr(found, column) for column in _ESTIMATE}
        rows.append(place | {"base_model": base, "measure": name, **estimate, "signature": signature(parts)})
        drawn.append(None if found.draws is None else found.draws.tolist())
    table = pl.DataFrame(rows, schema=COLUMNS)
    draws = pl.Series("draws", drawn, dtype=pl.List(pl.Float32))
    write_table(study.companions_of(model, stack, layer, f"{source}-{target}"), table.with_columns(draws))
    return {"n_estimates": table.height}


def gather_companions(root: Path, *, parts: Sequence[str]) -> dict[str, Any]:
    """Join the companions of all layers into companions.parquet and companions.csv."""
    study = StudyLayout(root)
    table = pl.concat([read_table(root / part, COLUMNS).select(*COLUMNS) for part in parts])  # without draws
    write_table(study.companions, table)
    write_csv(study.companions_csv, table.fill_nan(None), decimals=10)
    return {"n_estimates": table.height}


def rank_correlations(results: pl.DataFrame, companions: pl.DataFrame) -> pl.DataFrame:
    """Return Spearman's correlation of every two measures over the layers and pairs that both have.

    Parameters
    ----------
    results : polars.DataFrame
        Of `isogloss.Results`: CALIGN (the mean of both directions, adjusted), its soft form and COLAP
        enter at their first theta.
    companions : polars.DataFrame
        ``companions.parquet`` of a study.

    Returns
    -------
    polars.DataFrame
        ``model, stack, first, second, rho, n``; rho is NaN where a measure does not vary.
    """
    parts = [companions.select(*PLACE, "measure", "score"), *clustered_measures(results)]
    wide = pl.concat(parts).pivot(on="measure", index=PLACE, values="score", maintain_order=True)
    rows = []
    for (model, stack), own in wide.group_by("model", "stack", maintain_order=True):
        for first, second in combinations([c for c in wide.columns if c not in PLACE], 2):
            both = own.select(first, second).drop_nulls().filter(pl.all_horizontal(pl.all().is_finite()))
            rho = rank_correlation(both[first], both[second])
            rows.append((model, stack, first, second, rho, both.height))
    texts = dict.fromkeys(("model", "stack", "first", "second"), pl.String)
    return pl.DataFrame(rows, schema={**texts, "rho": pl.Float64, "n": pl.Int64}, orient="row")


def clustered_measures(results: pl.DataFrame) -> list[pl.DataFrame]:
    """Return CALIGN, its soft form (both above chance) and COLAP at the first clustering and theta of a study.

    A table each, as far as it is there: where it was measured, ``measure`` and ``score``.
    """
    return [
        own.select(*PLACE, pl.lit(metric).alias("measure"), pl.col(column).alias("score"))
        for metric, column, own in first_clustering(results)
    ]


def first_clustering(results: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """Return the rows behind `clustered_measures`: a metric, the column it is read in, and its rows."""
    found = []
    for measure in headlines():
        own = results.filter(pl.col("metric") == measure.name)
        if own.height:
            names = ("method", "n_concepts", "seed", "theta")
            for name, value in zip(names, own.select(names).row(0), strict=True):
                own = own.filter(pl.col(name).eq_missing(pl.lit(value)) | (value != value))  # noqa: PLR0124  NaN
            found.append((measure.name, measure.column, own))
    return found


def _material(
    study: StudyLayout,
    states: States,
    layer: int,
    pair: tuple[str, str],
    aligner: str,
    *,
    n_words: int,
    draw_seed: int,
) -> dict[str, tuple[Any, ...]]:
    """Return what the measures take, as far as it is there: aligned sentences, linked words, the stacked space.

    The last array of each is the sentence that every row is of, or its word is taken from.
    """
    found: dict[str, tuple[Any, ...]] = {}
    kind = next(iter(states.sentence_arrays), None)
    if kind is not None:
        left, right = (states.sentences_at(layer, language=x, pooling=kind) for x in pair)
        common = np.intersect1d(left.sentences["sentence"].to_numpy(), right.sentences["sentence"].to_numpy())
        X, Y = (
            side.X[np.searchsorted(side.sentences["sentence"].to_numpy(), common)].astype(np.float64)
            for side in (left, right)
        )
        if len(common) > 1:
            found["sentences"] = (X, Y, common)
            found["space"] = (
                np.concatenate([X, Y]),
                np.repeat(np.array(pair), len(common)),
                np.tile(common, 2),
            )
    path = study.links(aligner, *pair)
    if path.exists() and not study.is_outdated(path):
        links = WordLinks.read(study.checked(path), source=pair[0], target=pair[1], aligner=aligner)
        linked = _linked_types(states.tokens, links, n_words=n_words, draw_seed=draw_seed)
        if linked.height > 1:
            rows = (linked[f"{side}_row"].to_numpy() for side in ("source", "target"))
            X, Y = (states.arrays[layer][side].astype(np.float64) for side in rows)
            found["words"] = (X, Y, linked["sentence"].to_numpy())
    return found


def _linked_types(tokens: pl.DataFrame, links: WordLinks, *, n_words: int, draw_seed: int) -> pl.DataFrame:
    """Return the first link of at most `n_words` pairs of types, with token rows; every type once on its side."""
    table = links.table.unique(["source_word", "target_word"], keep="first", maintain_order=True)
    table = table.unique("source_word", keep="first", maintain_order=True)
    table = table.unique("target_word", keep="first", maintain_order=True)
    there = tokens.filter(pl.col("n_subwords") > 0)
    table = with_rows(table, there, source=links.source, target=links.target)
    if table.height > n_words:
        kept = np.sort(np.random.default_rng(draw_seed).choice(table.height, n_words, replace=False))
        table = table[kept]
    return table
