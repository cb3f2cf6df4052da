"""How concepts move between two clusterings of the same tokens: kept, split, merged, gone, born."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Draws, NConcepts, Numbers, Seed, Share, SomeDraws, WholeNumbers, checked
from isogloss.errors import InputError, UsageError
from isogloss.metrics.inputs import Floats, same_rows

FATES = ("kept", "split", "merged", "gone")
ORIGINS = ("kept", "merged", "split", "born")


@dataclass(frozen=True)
class Movement:
    """What became of every concept.

    Attributes
    ----------
    flows : polars.DataFrame
        ``before, after`` (concepts, i64), ``n`` (tokens in both), ``share_before`` and ``share_after`` (of the
        tokens of either), most tokens first.
    before, after : polars.DataFrame
        ``concept, n, fate`` of every concept before, and ``concept, n, origin`` of every concept after, by number.
    """

    flows: pl.DataFrame
    before: pl.DataFrame
    after: pl.DataFrame

    def shares(self) -> dict[str, float]:
        """Return the share of concepts with every fate (of those before) and origin (of those after).

        Keys are ``"kept"``, ``"split"``, ``"merged"``, ``"gone"`` for concepts before, and ``"from kept"``,
        ``"from merged"``, ``"from split"``, ``"born"`` for those after.
        """
        n, m = self.before.height, self.after.height
        shares = {fate: int((self.before["fate"] == fate).sum()) / n for fate in FATES}
        names = {origin: origin if origin == "born" else f"from {origin}" for origin in ORIGINS}
        return shares | {name: int((self.after["origin"] == origin).sum()) / m for origin, name in names.items()}


@checked
def movement(before: WholeNumbers, after: WholeNumbers, *, theta: Share = 0.5) -> Movement:
    """Match the concepts of two clusterings by the tokens they share.

    With a the share of a concept's tokens that goes to another one and b the share of that one's tokens that comes from
    it: a concept is **kept** where both are over `theta`; **split** where two or more concepts come mostly from it (b
    over `theta`) and hold most of it; **merged** where most of it goes into a concept that is not mostly it; else
    **gone**.  A concept afterwards is from one that was **kept**; from a **merger** of two or more that went mostly
    into it and make most of it; from a **split** of one that makes most of it; else **born**.  Such rules are used for
    following communities through time (Palla, Barabási and Vicsek, *Quantifying Social Group Evolution*, Nature 446,
    2007).

    Parameters
    ----------
    before, after : arrays (n,) of int
        The concept of every token; tokens without a concept (-1) in either are left out.
    theta : float
        In [0.5, 1): over a half, no concept can have two partners.

    Returns
    -------
    Movement

    Raises
    ------
    InputError
        If the two differ in length, or have no token in common.
    UsageError
        If `theta` is out of range.

    Examples
    --------
    >>> moved = movement([0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 2, 2])
    >>> moved.before["fate"].to_list(), moved.after["origin"].to_list()
    (['split', 'merged', 'merged'], ['split', 'split', 'merged'])
    """
    if not 0.5 <= theta < 1:
        raise UsageError(f"theta must lie in [0.5, 1); got {theta}.")
    first, second = (np.asarray(x, dtype=np.int64) for x in (before, after))
    if first.shape != second.shape:
        raise InputError(f"Both clusterings must be of the same tokens; got {first.size} and {second.size}.")
    both = (first >= 0) & (second >= 0)
    if not both.any():
        raise InputError("The two clusterings have no token in common.")
    pairs = pl.DataFrame({"before": first[both], "after": second[both]})
    sizes = {side: pairs.group_by(side).len("n").sort(side).rename({side: "concept"}) for side in ("before", "after")}
    flows = pairs.group_by("before", "after").len("n").cast({"n": pl.Int64})
    size = {side: pl.col("n").sum().over(side) for side in ("before", "after")}
    flows = flows.with_columns((pl.col("n") / size[side]).alias(f"share_{side}") for side in size)
    flows = flows.sort(["n", "before", "after"], descending=[True, False, False])
    into, out_of = flows.filter(pl.col("share_before") > theta), flows.filter(pl.col("share_after") > theta)
    kept = into.filter(pl.col("share_after") > theta)
    fates = [kept["before"], _many(out_of, "before", theta), into["before"]]
    origins = [kept["after"], _many(into, "after", theta), out_of["after"]]
    return Movement(
        flows, _named(sizes["before"], "fate", FATES, fates), _named(sizes["after"], "origin", ORIGINS, origins)
    )


def _many(flows: pl.DataFrame, side: str, theta: float) -> pl.Series:
    """Return the concepts with two or more partners that together have most of their tokens."""
    totals = flows.group_by(side).agg(pl.len(), pl.col(f"share_{side}").sum())
    return totals.filter((pl.col("len") > 1) & (pl.col(f"share_{side}") > theta))[side]


def _named(sizes: pl.DataFrame, column: str, names: Sequence[str], members: Sequence[pl.Series]) -> pl.DataFrame:
    """Give every concept the first name whose members it is among, the last name if none."""
    name = pl.lit(names[-1])
    for here, concepts in reversed(list(zip(names, members, strict=False))):
        name = pl.when(pl.col("concept").is_in(concepts.implode())).then(pl.lit(here)).otherwise(name)
    return sizes.select("concept", pl.col("n").cast(pl.Int64), name.alias(column))


@checked
def chance_shares(
    before: WholeNumbers,
    after: WholeNumbers,
    *,
    theta: Share = 0.5,
    n_permutations: SomeDraws = 20,
    draw_seed: Seed = 0,
) -> dict[str, float]:
    """Return the mean `Movement.shares` when the concepts after are dealt to the tokens at random."""
    same_rows("chance_shares", before=before, after=after)
    first, second = (np.asarray(x, dtype=np.int64) for x in (before, after))
    both = (first >= 0) & (second >= 0)
    first, second, generator = first[both], second[both], np.random.default_rng(draw_seed)
    drawn = [movement(first, generator.permutation(second), theta=theta).shares() for _ in range(n_permutations)]
    return {name: float(np.mean([shares[name] for shares in drawn])) for name in drawn[0]}


def newly_shared(flows: pl.DataFrame, shared_before: npt.ArrayLike, shared_after: npt.ArrayLike) -> pl.DataFrame:
    """Return the concepts that became multilingual: shared now, and mostly made of tokens that were not in shared ones.

    `flows` are those of `movement`; the others say, by number of the concept, whether it overlaps (COLAP's rule).  The
    table has ``concept`` (i64), ``n`` (its tokens), ``was_shared`` (the share of them that was in a shared concept, at
    most a half), the largest first.
    """
    old, new = (np.asarray(x, dtype=bool) for x in (shared_before, shared_after))
    table = flows.with_columns(
        pl.Series("old", old[flows["before"].to_numpy()]), pl.Series("new", new[flows["after"].to_numpy()])
    )
    stayed = (pl.col("n") * pl.col("old")).sum()
    shared = table.filter("new").group_by(concept="after").agg(pl.col("n").sum(), was_shared=stayed / pl.col("n").sum())
    return shared.filter(pl.col("was_shared") <= 0.5).sort(["n", "concept"], descending=[True, False])


@checked
def label_agreement(labels: WholeNumbers, concepts: WholeNumbers, n_concepts: NConcepts) -> Floats:
    """Return, for every concept, the probability that two of its members, drawn without putting back, agree.

    ``sum over labels of n_l (n_l - 1) / (n (n - 1))`` (Simpson, *Measurement of Diversity*, Nature 163, 1949): without
    bias from the size of a concept; NaN with fewer than two members.  `labels` and `concepts` (n,) hold a member a row:
    for labels of sentences, give every sentence of a concept once.
    """
    same_rows("label_agreement", labels=labels, concepts=concepts)
    label, concept = np.asarray(labels, dtype=np.int64), np.asarray(concepts, dtype=np.int64)
    counts = np.zeros((n_concepts, int(label.max(initial=0)) + 1))
    np.add.at(counts, (concept, label), 1)
    n = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 1, (counts * (counts - 1)).sum(axis=1) / (n * (n - 1)), np.nan)


@checked
def difference_of_groups(
    values: Numbers, chosen: WholeNumbers, *, n_permutations: Draws = 2000, draw_seed: Seed = 0
) -> tuple[float, float, float]:
    """Return the means of the chosen values and of the others, and a two-sided permutation p-value.

    Values that are NaN are left out; what a group without any would have is NaN.
    """
    same_rows("difference_of_groups", values=values, chosen=chosen)
    x, mine = np.asarray(values, dtype=np.float64), np.asarray(chosen, dtype=bool)
    defined = np.isfinite(x)
    x, mine = x[defined], mine[defined]
    if not mine.any() or mine.all():
        means = [float(group.mean()) if len(group) else math.nan for group in (x[mine], x[~mine])]
        return means[0], means[1], math.nan
    k, n = int(mine.sum()), len(x)
    generator = np.random.default_rng(draw_seed)
    sums = np.array([x[mine].sum(), *(x[generator.permutation(n)[:k]].sum() for _ in range(n_permutations))])
    differences = np.abs(sums / k - (x.sum() - sums) / (n - k))
    hits = int(np.sum(differences[1:] >= differences[0] - 1e-12))
    return float(x[mine].mean()), float(x[~mine].mean()), (hits + 1) / (n_permutations + 1)
