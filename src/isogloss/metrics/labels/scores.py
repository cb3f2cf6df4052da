"""How much of its concepts a label set explains, and which kinds of concepts align and overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Dimensions, Share, checked
from isogloss.errors import InputError, UsageError, unknown
from isogloss.metrics.concepts.overlap import chance_overlap
from isogloss.metrics.labels.enrichment import ALL, Bool, ConceptLabels, groups_of, tally
from isogloss.metrics.statistics.intervals import wilson
from isogloss.results import Alignment, Overlap

_SCORES = (
    *("kind", "measure", "score", "chance", "chance_sd", "p_value", "adjusted"),
    *("ci_low", "ci_high", "n", "significant"),
)


@checked
def label_set_scores(labels: ConceptLabels) -> pl.DataFrame:
    """Return how many concepts the label set explains and how much of it they use, for every kind and over all.

    ``alignment`` is the share of eligible concepts that take some label, ``coverage`` the share of the label set's
    values that some concept takes.  Source: Dalvi et al. 2022; Hawasly et al., *Scaling up Discovery of Latent Concepts
    in Deep NLP Models*, EACL 2024.  Chance is the mean score of random concepts of the same sizes
    (`label_concepts`); a family (``feats`` of ``feats:Case``, ...) and ``all`` count a concept once.

    Returns
    -------
    polars.DataFrame
        One row a kind and measure: ``kind``, ``measure`` (``alignment`` or ``coverage``), ``score``, ``chance``,
        ``chance_sd``, ``p_value`` (of a score at least as high by chance), ``adjusted`` ((score - chance) /
        (1 - chance)), ``ci_low``, ``ci_high`` (95%, Wilson), ``n`` (concepts or values), ``significant`` (the score by
        labels beyond chance alone).  Kinds by name, ``all`` last.  NaN where n is 0, and chance where there were no
        permutations.
    """
    n_concepts, draws = int(labels.eligible.sum()), labels.n_permutations
    n_values = dict(groups_of(labels.values["kind"]).group_by("group").len().iter_rows())
    taken = labels.table.with_columns(draw=pl.lit(0))
    observed, sure, drawn = (
        {kind: table for (kind,), table in tables.group_by("kind")}
        for tables in (tally(taken), tally(taken.filter("significant")), labels.null)
    )
    rows = []
    for kind in (*labels.kinds, ALL):
        columns = ("alignment", "n_labelled", n_concepts), ("coverage", "n_covered", n_values.get(kind, 0))
        for measure, column, n in columns:
            hits, beyond = (int(t[kind][column].item()) if kind in t else 0 for t in (observed, sure))
            null = np.zeros(draws)
            if kind in drawn:
                null[drawn[kind]["draw"].to_numpy()] = drawn[kind][column].to_numpy()
            score = hits / n if n else math.nan
            chance = sd = p = adjusted = math.nan
            if draws and n:
                chance, sd = float(null.mean()) / n, float(null.std()) / n
                p = float((1 + (null >= hits).sum()) / (1 + draws))
                adjusted = (score - chance) / (1 - chance) if chance < 1 else math.nan
            significant = beyond / n if n else math.nan
            rows.append((kind, measure, score, chance, sd, p, adjusted, *wilson(hits, n), n, significant))
    return pl.DataFrame(rows, schema=_SCORES, orient="row")


@checked
def split_alignment(
    alignment: Alignment,
    labels: ConceptLabels,
    *,
    kinds: Sequence[str] | None = None,
    theta: Share | None = None,
    significant: bool = True,
    chance: Annotated[npt.NDArray[np.float64], Dimensions(1)] | None = None,
) -> pl.DataFrame:
    """Return CALIGN by label: which share of the source concepts with each label is aligned.

    Parameters
    ----------
    alignment : Alignment
        From `calign`.
    labels : ConceptLabels
        Of the source concepts of `alignment`.
    kinds : sequence of str, optional
        Kinds or families of the label set (default: all).  In a family a concept may have several labels, and counts
        for each.
    theta : float, optional
        Any threshold in (0, 1] (default: the first of `alignment`).
    significant : bool
        Only labels beyond chance; a concept whose labels are not counts among those without.
    chance : numpy.ndarray, optional
        (n source concepts,) probability of every concept to be aligned under the null.

    Returns
    -------
    polars.DataFrame
        ``kind``, ``value`` (str; null: concepts that take no label of the kind), ``n`` (i64, concepts that are eligible
        for both CALIGN and labels), ``score`` (share of them that are aligned), ``chance`` (mean of `chance`, or NaN),
        ``ci_low``, ``ci_high`` (95%, Wilson), by kind and value, null last.  Values that no eligible concept takes are
        left out.

    Raises
    ------
    UsageError
        If a kind is unknown or theta out of range.
    InputError
        If the labels, or `chance`, are not of as many concepts as the alignment.
    """
    limit = _theta(alignment, theta)
    _check_sizes(len(alignment.best), labels, "the source concepts of the alignment")
    eligible = ~np.isnan(alignment.best)
    hit = eligible & alignment.rule.reaches(alignment.best, limit)
    return _split(labels, kinds, labels.eligible & eligible, hit, chance, significant=significant)


@checked
def split_overlap(
    overlap: Overlap,
    labels: ConceptLabels,
    *,
    kinds: Sequence[str] | None = None,
    theta: Share | None = None,
    significant: bool = True,
) -> pl.DataFrame:
    """Return COLAP by label: which share of the concepts with each label overlaps.

    The rule is that of `colap`, and chance its exact probability for concepts of these sizes; see `split_alignment` for
    the parameters, the columns and the errors.

    Parameters
    ----------
    overlap : Overlap
        From `colap`.
    labels : ConceptLabels
        Of the same concepts.
    kinds : sequence of str, optional
    theta : float, optional
    significant : bool

    Returns
    -------
    polars.DataFrame
        ``kind, value, n, score, chance, ci_low, ci_high``.  Concepts without a token of the group's languages are left
        out.
    """
    limit = _theta(overlap, theta)
    _check_sizes(len(overlap.counts), labels, "the concepts of the overlap")
    sizes = overlap.counts.sum(axis=1)
    chance = chance_overlap(sizes, overlap.counts.sum(axis=0), limit, rule=overlap.rule)
    hit = overlap.overlapping(limit)
    return _split(labels, kinds, labels.eligible & (sizes > 0), hit, chance, significant=significant)


def _theta(scored: Alignment | Overlap, theta: float | None) -> float:
    if theta is None:
        return scored.estimates[0].theta
    if not (0 < theta <= 1 or (theta == 0 and scored.rule.strict)):
        raise UsageError(f"theta is a share and must lie in (0, 1]; got {theta}.")
    return theta


def _check_sizes(n: int, labels: ConceptLabels, what: str) -> None:
    m = len(labels.n_types)
    if n != m:
        raise InputError(f"The labels are of {m} concepts, but {what} are {n}. Label the same concepts.")


def _split(
    labels: ConceptLabels,
    kinds: Sequence[str] | None,
    eligible: Bool,
    hit: Bool,
    chance: npt.NDArray[np.float64] | None,
    *,
    significant: bool,
) -> pl.DataFrame:
    """Return, kind by kind, the share of hits among the eligible concepts of every value, and of those without one."""
    expected = np.full(len(hit), math.nan) if chance is None else chance
    if len(expected) != len(hit):
        raise InputError(f"chance must have one number for each of {len(hit)} concepts; got {len(expected)}.")
    for kind in kinds or ():
        if kind not in labels.kinds:
            raise unknown("kind of label", kind, labels.kinds)
    asked = pl.DataFrame({"kind": labels.kinds if kinds is None else kinds}, schema={"kind": pl.String})
    groups = groups_of(labels.values["kind"].unique()).join(asked, left_on="group", right_on="kind")
    taken = labels.table.filter(pl.col("significant") | pl.lit(not significant)).join(groups, on="kind")
    table = pl.DataFrame({"concept": np.arange(len(hit), dtype=np.int32), "hit": hit, "chance": expected})
    split = (
        table.filter(eligible)
        .join(asked, how="cross")
        .join(taken.select("concept", pl.col("group").alias("kind"), "value"), on=["concept", "kind"], how="left")
        .group_by("kind", "value")
        .agg(n=pl.len().cast(pl.Int64), hits=pl.col("hit").sum().cast(pl.Int64), chance=pl.col("chance").mean())
        .sort("kind", "value", nulls_last=True)
    )
    bounds = [wilson(hits, n) for hits, n in split.select("hits", "n").iter_rows()]
    ends = pl.DataFrame(bounds, schema={"ci_low": pl.Float64, "ci_high": pl.Float64}, orient="row")
    score = (pl.col("hits") / pl.col("n")).alias("score")
    return split.select("kind", "value", "n", score, "chance", *ends)
