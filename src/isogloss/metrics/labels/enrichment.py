"""What the members of a concept share: labels of concepts, and what chance would give.

A *unit* is a type in a concept, as in a row of `Concepts.types`; a type that occurs in two concepts is two units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import gammaln

from isogloss.arguments import Count, Draws, Inside, Seed, Share, checked
from isogloss.concepts import Concepts
from isogloss.errors import unknown
from isogloss.metrics.labels.word_facts import By, Units, check_properties, least_carrying, units_of
from isogloss.metrics.statistics.multiple import false_discovery
from isogloss.settings import LabelSettings, takes

ALL = "all"
FAMILY = "^([^:]*):"  # "feats" of "feats:Case"
MEASURED = ("share", "n_carrying", "n_types", "base_rate", "chance", "p_value", "q_value", "significant")
Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@checked
@dataclass(frozen=True)
class ConceptLabels:
    """The labels of the concepts of one space, and what chance would give: the result of `label_concepts`.

    Attributes
    ----------
    table : polars.DataFrame
        One row a label that a concept takes, at most one a concept and kind: ``concept`` (i32), ``kind``, ``value``
        (str), ``share`` (of the concept's types, or tokens, that carry the value), ``n_carrying``, ``n_types`` (i64,
        types that carry it and all), ``base_rate`` (share of all units, or tokens, of the space that carry it),
        ``chance`` (probability that a random concept of that size reaches the threshold), ``p_value`` (that at least
        `n_carrying` types of a random concept carry it), ``q_value`` and ``significant``.
    values : polars.DataFrame
        The label set: ``kind, value, n_types`` (distinct types with a token that carries it), ``base_rate``.
    n_types : numpy.ndarray
        (n_concepts,) int64: types of every concept.
    null : polars.DataFrame
        ``draw, kind, n_labelled, n_covered`` of random concepts, where either is not 0.
    threshold, q : float
    min_types, n_permutations : int
    by : {"types", "tokens"}
    """

    table: pl.DataFrame
    values: pl.DataFrame
    n_types: Int
    null: pl.DataFrame
    threshold: Share
    q: float
    min_types: int
    n_permutations: Draws
    by: By

    @property
    def eligible(self) -> Bool:
        """(n_concepts,) bool: the concept has at least `min_types` types."""
        return np.asarray(self.n_types >= self.min_types)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the label set and their families (``feats`` of ``feats:Case``), by name."""
        groups = groups_of(self.values["kind"])["group"].unique().sort()
        return tuple(group for group in groups.to_list() if group != ALL)

    @checked
    def of(self, kind: str, *, significant: bool = True) -> pl.DataFrame:
        """Return the labels of one kind or family, only those beyond chance unless told otherwise.

        Raises
        ------
        UsageError
            If the label set has no such kind.
        """
        if kind not in self.kinds:
            raise unknown("kind of label", kind, self.kinds)
        of_kind = (pl.col("kind") == kind) | (pl.col("kind").str.extract(FAMILY) == kind).fill_null(False)
        return self.table.filter(of_kind & (pl.col("significant") | pl.lit(not significant)))

    def __repr__(self) -> str:
        labelled, n = self.table["concept"].n_unique(), int(self.eligible.sum())
        return f"ConceptLabels({labelled} of {n} concepts take {self.table.height} labels at {self.threshold:g})"


@checked
@takes(LabelSettings)
def label_concepts(
    concepts: Concepts,
    properties: pl.DataFrame,
    *,
    settings: LabelSettings,
    min_types: Count = 5,
    by: By = "types",
    q: Inside = 0.05,
    draw_seed: Seed = 0,
) -> ConceptLabels:
    """Label concepts with what at least `threshold` of their types share, and say which labels chance explains.

    A type carries a value in a concept when more than half of its tokens *in that concept* do.  A concept of at least
    `min_types` types takes, of every kind, the value that the largest share of its types carries, if that share reaches
    the threshold; of equal ones the first by name.  Source: Dalvi et al., *Discovering Latent Concepts Learned in
    BERT*, ICLR 2022, who ask for 90% of the types.

    A random concept of n types draws them from all N units of the space.  If K of these carry the value, the number X
    that carries it among the n is hypergeometric: ``P(X >= x) = sum over k >= x of C(K, k) C(N - K, n - k) / C(N, n)``.
    Frequent types are in many concepts and so are many units: random concepts have their fair share of them.  (A real
    concept has a type once at most, so that it varies a little less: chance errs on the high side.)

    Parameters
    ----------
    concepts : Concepts
        Of one language or of several together.
    properties : polars.DataFrame
        ``row, kind, value`` from `word_properties`, or of your own; rows of other tokens are ignored.
    settings : LabelSettings, optional
        All of these at once; what is given beside it differs.
    min_types : int
        Smallest number of types of a concept that can take a label; at least 1.
    by : {"types", "tokens"}
        Of what the share is taken.  With ``"tokens"`` `chance` is counted in the permutations; p-values are over types.
    q : float
        In (0, 1): the false discovery rate (Benjamini and Hochberg 1995) at which a label is more than chance allows.
        A test is any eligible concept with any value that a random concept of its size could take; tests that take
        no label count with p = 1.
    draw_seed : int
        Seed of the permutations.

    Returns
    -------
    ConceptLabels
        Its label set are the values that ``threshold * min_types`` distinct types or more carry on some token, and not
        every token of the space (the language, in a space of one): the others no concept could take, or all would.

    Raises
    ------
    UsageError
        If an option is out of range.
    InputError
        If `properties` lacks a column or has a kind named ``all``.

    Examples
    --------
    >>> import numpy as np, polars as pl
    >>> words = [*"abcdefghij"]
    >>> tokens = pl.DataFrame({"row": range(10), "language": ["en"] * 10, "sentence": [0] * 10,
    ...                        "position": range(10), "word": words})
    >>> concepts = Concepts(tokens, np.repeat([0, 1], 5).astype(np.int32), 2)
    >>> tags = pl.DataFrame({"row": range(10), "kind": ["upos"] * 10, "value": ["NOUN"] * 5 + ["VERB"] * 5})
    >>> label_concepts(concepts, tags).table.select("concept", "value", "share", "p_value").row(0)
    (0, 'NOUN', 1.0, 0.003968253968253968)
    """
    check_properties(properties, reserved=ALL)
    threshold, n_permutations = settings.threshold, settings.n_permutations
    at_least = least_carrying(np.array([min_types]), threshold)[0]
    units, values = units_of(concepts, properties, int(at_least), by=by)
    n_types = np.bincount(units.concept, minlength=concepts.n_concepts).astype(np.int64)
    eligible = n_types >= min_types
    observed = _best(units.reached(units.concept, eligible, threshold).with_columns(draw=pl.lit(0)), values)
    generator = np.random.default_rng(draw_seed)
    draws = [
        units.reached(generator.permuted(units.concept), eligible, threshold).with_columns(draw=pl.lit(i))
        for i in range(n_permutations)
    ]
    random = pl.concat(draws) if draws else observed.select("concept", "v", "share", "draw").clear()
    if by == "types":
        least = least_carrying(n_types, threshold)
        here = observed["concept"].to_numpy()
        chance = hypergeometric_tail(least[here], n_types[here], observed["n_units"].to_numpy(), units.n)
        table = observed.with_columns(chance=chance)
    else:
        least = np.ones_like(n_types)
        often = random.group_by("concept", "v").agg(chance=pl.len() / max(n_permutations, 1))
        table = observed.join(often, on=["concept", "v"], how="left", maintain_order="left")
        table = table.with_columns(pl.col("chance").fill_null(0.0 if n_permutations else math.nan))
    possible = np.searchsorted(np.sort(least[eligible]), values["n_units"].to_numpy(), side="right")
    table = _tested(table, units, n_types, n_tests=int(possible.sum()))
    table = table.with_columns(significant=pl.col("q_value") <= q).select("concept", "kind", "value", *MEASURED)
    null = tally(_best(random, values))
    label_set = values.select("kind", "value", "n_types", "base_rate")
    return ConceptLabels(table, label_set, n_types, null, threshold, q, min_types, n_permutations, by)


def hypergeometric_tail(least: Int, n: Int, carrying: Int, total: int) -> Float:
    """Return P(X >= least) for X carriers among n units drawn without replacement from `total`, elementwise.

    `least`, `n` and `carrying` (m,) are the units asked for, the units drawn, and the carriers among all.  The
    probabilities of the tail are summed, so that small ones keep their digits.

    Examples
    --------
    >>> import numpy as np
    >>> single = np.array([1])
    >>> round(hypergeometric_tail(single, single, single, 4).item(), 12)
    0.25
    """
    first = np.maximum(least, np.maximum(0, n - (total - carrying)))
    terms = np.maximum(np.minimum(n, carrying) - first + 1, 0)
    starts = np.concatenate([[0], np.cumsum(terms)])
    item = np.repeat(np.arange(len(terms)), terms)
    k = first[item] + np.arange(starts[-1]) - starts[item]
    log = gammaln(np.arange(total + 2, dtype=np.float64) + 1)  # log[i] = log(i!)

    def choose(a: Int, b: Int) -> Float:
        return np.asarray(log[a] - log[b] - log[a - b])

    K, drawn = carrying[item], n[item]
    logs = choose(K, k) + choose(total - K, drawn - k) - choose(np.full_like(K, total), drawn)
    return np.minimum(np.bincount(item, np.exp(logs), len(terms)), 1.0)


def _best(reached: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Keep, of every draw, concept and kind, the value with the largest share; of equal ones the first by name."""
    labels = reached.join(values, on="v")
    order = labels.sort("draw", "concept", "kind", "share", "v", descending=[False, False, False, True, False])
    return order.unique(["draw", "concept", "kind"], keep="first", maintain_order=True)


def _tested(labels: pl.DataFrame, units: Units, n_types: Int, *, n_tests: int) -> pl.DataFrame:
    """Add ``n_carrying, n_types, p_value, q_value`` to labels."""
    concept, width = labels["concept"].to_numpy(), np.int64(units.n_values)
    flat = (units.concept[units.unit] * width + units.value)[units.carries]
    counts = np.bincount(flat, minlength=units.n_concepts * units.n_values)
    carrying, n = counts[concept * width + labels["v"].to_numpy()], n_types[concept]
    p = hypergeometric_tail(carrying, n, labels["n_units"].to_numpy(), units.n)
    return labels.with_columns(n_carrying=carrying, n_types=n, p_value=p, q_value=false_discovery(p, n_tests=n_tests))


def groups_of(kinds: pl.Series) -> pl.DataFrame:
    """Return ``kind, group``: every kind is in its own group, in its family's if it has one, and in ``all``."""
    family = pl.col("kind").str.extract(FAMILY)
    groups = pl.concat_list("kind", family, pl.lit(ALL))
    table = pl.DataFrame({"kind": kinds}, schema={"kind": pl.String}).select("kind", group=groups)
    return table.explode("group").drop_nulls()


def tally(labels: pl.DataFrame) -> pl.DataFrame:
    """Return ``draw, kind, n_labelled, n_covered``: concepts with a label and values with a concept, of every group."""
    groups = groups_of(labels["kind"].unique())
    return (
        labels.join(groups, on="kind")
        .group_by("draw", "group")
        .agg(n_labelled=pl.col("concept").n_unique(), n_covered=pl.struct("kind", "value").n_unique())
        .rename({"group": "kind"})
        .sort("draw", "kind")
    )
