"""Results: one estimate, an alignment, an overlap, and the tidy table of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import Columns, Share, checked
from isogloss.errors import unknown
from isogloss.html import Markup, card, grid, word
from isogloss.settings import AlignmentSettings, OverlapSettings
from isogloss.store import read_table, write_csv, write_table

RESULT_COLUMNS: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "base_model": pl.String,
    "stack": pl.String,
    "layer": pl.Int32,
    "metric": pl.String,
    "source": pl.String,
    "target": pl.String,
    "method": pl.String,
    "n_concepts": pl.Int32,
    "seed": pl.Int64,
    "theta": pl.Float64,
    "score": pl.Float64,
    "chance": pl.Float64,
    "chance_words": pl.Float64,
    "chance_sentence": pl.Float64,
    "adjusted": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "p_search": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n": pl.Int64,
    "coverage": pl.Float64,
    "signature": pl.String,
}

_SHOWN, _WORDS = 8, 6  # rows in a notebook, and pairs of words in one


def above_chance(scores: npt.ArrayLike, chance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (score - chance) / (1 - chance), elementwise; 0 where chance is 1, which means of float32 just miss."""
    levels = np.asarray(chance, dtype=np.float64)
    left = np.where(levels >= 1 - 1e-6, np.inf, 1 - levels)
    return np.asarray((np.asarray(scores, dtype=np.float64) - levels) / left)


@checked
@dataclass(frozen=True)
class Estimate:
    """One number and what is needed to believe it.

    Attributes
    ----------
    theta : float
        The threshold it was computed at; NaN where the measure has none.
    score : float
        A share of concepts (or the measure's own range); NaN when `n` is 0.
    chance : float
        Its expectation under the null; of CALIGN the higher of `chance_words` and `chance_sentence`.
    chance_sd : float
        Standard deviation of the score under that null.
    p_value : float
        P(score under the null >= this score), of CALIGN the larger of both; NaN where it was not estimated.
    ci_low, ci_high : float
        95% interval; NaN where there is none.
    n : int
        Number of concepts the share is taken over.
    coverage : float
        Share of the clustered source types with a translation among the clustered target types (CALIGN), or of the
        tokens that belong to a concept (COLAP).
    ci : str
        What the interval is of: ``"bca200"``, a bootstrap of 200 resamples; ``"jackknife20"``, 20 groups of sentences
        left out one after the other; ``"wilson"`` or ``"normal"``, over concepts; ``"none"``.
    draws : numpy.ndarray or None
        The score in every resample of sentences (see `isogloss.metrics.statistics.bootstrap`), float32.
    chance_words, chance_sentence : float
        Of CALIGN, its expectation when words translate at random, and when words of one sentence exchange their
        concepts (see `isogloss.metrics.concepts.nulls`); NaN for other measures.
    null_words, null_sentence : numpy.ndarray or None
        (n permutations,) float32, the scores under these two nulls.
    """

    theta: float
    score: float
    chance: float
    chance_sd: float
    p_value: float
    ci_low: float
    ci_high: float
    n: int
    coverage: float
    ci: str = "none"
    draws: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    chance_words: float = math.nan
    chance_sentence: float = math.nan
    null_words: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    null_sentence: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    @property
    def adjusted(self) -> float:
        """(score - chance) / (1 - chance): 0 at chance level, and where chance is 1; 1 at the maximum."""
        return float(above_chance(self.score, self.chance))

    def __str__(self) -> str:
        return (
            f"{self.score:.3f} (chance {self.chance:.3f}, adjusted {self.adjusted:.3f}, 95% {self.ci_low:.3f} to "
            f"{self.ci_high:.3f}, {'' if math.isnan(self.theta) else f'theta {self.theta:g}, '}n {self.n}, "
            f"coverage {self.coverage:.2f})"
        )


class _Scored:
    """What alignments and overlaps have in common: estimates, the first of them the main one."""

    estimates: tuple[Estimate, ...]

    def at(self, theta: float) -> Estimate:
        """Return the estimate at one of the thetas asked for."""
        for estimate in self.estimates:
            if estimate.theta == theta:
                return estimate
        raise unknown("theta", theta, [f"{e.theta:g}" for e in self.estimates])

    @property
    def score(self) -> float:
        """The score at the first theta."""
        return self.estimates[0].score

    @property
    def chance(self) -> float:
        """The chance level at the first theta."""
        return self.estimates[0].chance

    @property
    def adjusted(self) -> float:
        """The chance-adjusted score at the first theta."""
        return self.estimates[0].adjusted

    def _estimates_html(self, further: Iterable[tuple[str, Estimate]] = ()) -> Markup:
        """Return the estimates as a table; `further` have a name where the others have a theta."""
        named = [*((f"{e.theta:g}", e) for e in self.estimates), *further]
        rows = [
            (name, e.score, e.chance, e.adjusted, f"{e.ci_low:.3f} to {e.ci_high:.3f}", e.n, e.coverage)
            for name, e in named
        ]
        return grid(("theta", "score", "chance", "adjusted", "95 %", "n", "coverage"), rows)


@checked
@dataclass(frozen=True)
class Alignment(_Scored):
    """How the concepts of one language align to those of another: the result of `calign`.

    Attributes
    ----------
    source, target : str
        The direction.
    estimates : tuple of Estimate
        One per theta, in the order asked for.
    soft : Estimate
        Without a threshold: the mean of `best`, which is also the area under the curve of the score over theta.
    best : numpy.ndarray
        (n source concepts,) float64: the best match of every concept over admissible target concepts; NaN where the
        concept is not eligible.  Any theta can be read off it.
    pairs : polars.DataFrame
        Admissible concept pairs, best match first: ``source_concept, target_concept, source_types, target_types,
        n_matched, match``.  All pairs at or above the smallest theta, and every source concept's best pair.
    words : polars.DataFrame
        ``source_concept, target_concept, source, target``: the matched words of `pairs` (empty when not asked for).
    rule : AlignmentSettings
        When concepts are aligned.
    null_words, null_sentence : numpy.ndarray or None
        (n permutations, n source concepts) float32: `best` when words translate at random, and when words of one
        sentence exchange their concepts.
    """

    source: str
    target: str
    estimates: tuple[Estimate, ...]
    soft: Estimate
    best: npt.NDArray[np.float64]
    pairs: pl.DataFrame
    words: pl.DataFrame
    rule: AlignmentSettings
    null_words: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    null_sentence: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    @checked
    def chance_of(self, theta: Share | None = None) -> npt.NDArray[np.float64]:
        """Return (n source concepts,): how often chance aligns each at a theta; NaN where not eligible or not asked.

        Of both nulls the one that aligns the concept more often.
        """
        limit = np.float32(self.estimates[0].theta if theta is None else self.at(theta).theta)
        both = [null for null in (self.null_words, self.null_sentence) if null is not None]
        if not both:
            return np.full(len(self.best), np.nan)
        shares = [self.rule.reaches(null, limit).mean(axis=0) for null in both]
        return np.where(np.isnan(self.best), np.nan, np.maximum.reduce(shares))

    @checked
    def aligned(self, theta: Share | None = None) -> pl.DataFrame:
        """Return the aligned concept pairs at a theta (default: the first)."""
        limit = self.estimates[0].theta if theta is None else self.at(theta).theta
        return self.pairs.filter(self.rule.reaches(pl.col("match"), limit))

    def __repr__(self) -> str:
        return f"CALIGN({self.source}->{self.target}) = {self.estimates[0]}"

    def _repr_html_(self) -> str:
        keys = ["source_concept", "target_concept"]
        best = self.aligned().unique("source_concept", keep="first", maintain_order=True)
        shown = best.head(_SHOWN)
        ties: dict[tuple[int, int], dict[str, str]] = {}
        for s, t, a, b in self.words.join(shown.select(keys), on=keys, how="semi").iter_rows():
            ties.setdefault((s, t), {}).setdefault(a, b)
        rows = []
        for s, t, match in shown.select(*keys, "match").iter_rows():
            words = list(ties.get((s, t), {}).items())[:_WORDS]
            pairs = (f"{word(a, self.source)} – {word(b, self.target)}" for a, b in words)
            rows.append((s, t, match, Markup("; ".join(pairs))))
        facts = {f"{self.source} -> {self.target}": f"{best.height} of {self.estimates[0].n} concepts are aligned"}
        head = (f"{self.source} concept", f"{self.target} concept", "match", "words that meet")
        parts = self._estimates_html([("soft", self.soft)]), grid(head, rows)
        rest = best.height - shown.height
        note = f"The best match of each; {rest} more." if rest > 0 else ""
        return card("CALIGN", facts, *parts, note=note)


@checked
@dataclass(frozen=True)
class Overlap(_Scored):
    """How far languages share the concepts of a joint space: the result of `colap`.

    Attributes
    ----------
    languages : tuple of str
        The group.
    estimates : tuple of Estimate
        One per theta, in the order asked for.
    counts : numpy.ndarray
        (n_concepts, n_languages) int64: tokens of every language in every concept.
    rule : OverlapSettings
        When a concept overlaps.
    """

    languages: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    counts: npt.NDArray[np.int64]
    rule: OverlapSettings

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """(n_concepts, n_languages): share of every language in every concept; NaN for an empty one."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.counts / self.counts.sum(axis=1, keepdims=True))

    @checked
    def overlapping(self, theta: Share | None = None) -> npt.NDArray[np.bool_]:
        """Return (n_concepts,) bool: the concept overlaps at a theta (default: the first)."""
        return self.rule.overlapping(self.counts, self.estimates[0].theta if theta is None else theta)

    def table(self) -> pl.DataFrame:
        """Return one row a concept: ``concept, n_tokens``, one share per language, and ``evenness``.

        ``evenness`` is the smallest share times the number of languages: 1 when all own the same, 0 when one is
        missing.
        """
        shares = self.shares
        columns: dict[str, Any] = {"concept": np.arange(len(shares)), "n_tokens": self.counts.sum(axis=1)}
        columns |= {language: shares[:, i] for i, language in enumerate(self.languages)}
        columns["evenness"] = shares.min(axis=1) * len(self.languages)
        return pl.DataFrame(columns)

    def __repr__(self) -> str:
        return f"COLAP({'+'.join(self.languages)}) = {self.estimates[0]}"

    def _repr_html_(self) -> str:
        shown = self.table().fill_nan(None).drop_nulls("evenness")
        shown = shown.sort("evenness", "n_tokens", "concept", descending=[True, True, False]).head(_SHOWN)
        facts = {"+".join(self.languages): f"{len(self.counts)} concepts"}
        head = ("concept", "tokens", *(f"share of {x}" for x in self.languages), "evenness")
        parts = self._estimates_html(), grid(head, shown.iter_rows())
        note = "The most even concepts, and of these the biggest, first." if shown.height else ""
        return card("COLAP", facts, *parts, note=note)


def signature(parts: Mapping[str, object]) -> str:
    """Join ``key:value`` parts with ``|``: all a reader needs to reproduce an estimate (after sacreBLEU's)."""
    return "|".join(f"{key}:{value}" for key, value in parts.items())


@checked
@dataclass(frozen=True)
class Results:
    """The tidy table of a study, one row an estimate, with the columns of ``RESULT_COLUMNS``.

    Metrics: ``calign`` (source -> target), ``calign_mean`` (mean of both directions), ``calign_soft`` and
    ``calign_soft_mean`` (without a threshold: ``theta`` is NaN), ``colap`` and ``colap_other_sentences`` (a pair),
    ``colap_group`` and ``sentence_ami`` (``source`` names the space, ``target`` is empty); ``language_entropy``,
    ``purity`` and ``ami`` of joint concepts.
    ``q_value`` controls the false-discovery rate over the layers and pairs of one model, stack, clustering, metric and
    theta.  ``p_search``, of CALIGN, is the p-value corrected by the maximum statistic over all rows of the metric,
    whatever the study varied.  With the simultaneous interval of `FinishedStudy.by_layer` it says what is above chance.
    """

    table: Annotated[pl.DataFrame, Columns(tuple(RESULT_COLUMNS))]

    @classmethod
    @checked
    def from_rows(cls, rows: Iterable[Mapping[str, object]]) -> Results:
        """Make a table from dictionaries with the columns of ``RESULT_COLUMNS``."""
        return cls(pl.DataFrame(list(rows), schema=RESULT_COLUMNS, orient="row"))

    @classmethod
    @checked
    def concat(cls, parts: Sequence[Results]) -> Results:
        """Join tables, in a fixed order of rows."""
        table = pl.concat([cls.from_rows([]).table, *(part.table for part in parts)])
        order = ["model", "stack", "method", "n_concepts", "seed", "layer", "metric", "theta"]
        return cls(table.sort(order, maintain_order=True, nulls_last=True))

    @classmethod
    @checked
    def read(cls, path: str | Path) -> Results:
        """Read the Parquet table of a study folder."""
        return cls(read_table(path, RESULT_COLUMNS).select(*RESULT_COLUMNS))

    @checked
    def write(self, path: Path) -> None:
        """Write the Parquet table, atomically."""
        write_table(path, self.table)

    @checked
    def write_csv(self, path: Path) -> None:
        """Write the table as CSV (UTF-8, a header, missing values empty), atomically."""
        write_csv(path, self.table.fill_nan(None), decimals=10)

    @property
    def clustered(self) -> pl.DataFrame:
        """The rows of measures of concepts: those that have a clustering."""
        return self.table.drop_nulls("method")

    @property
    def companions(self) -> pl.DataFrame:
        """The rows of measures that look at states without concepts; method, n_concepts and seed are null."""
        return self.table.filter(pl.col("method").is_null())

    def over_seeds(self) -> pl.DataFrame:
        """Return one row an estimate over the seeds of its clustering, where there are several.

        Returns
        -------
        polars.DataFrame
            What names an estimate without its seed, then ``n_seeds``, ``score`` (the mean), ``seed_sd``, ``least``,
            ``most``, ``adjusted`` (the mean), and ``ci_low``, ``ci_high``: the mean score minus and plus the root of
            (the mean half width)^2 + (1.96 seed_sd)^2, for the choice of sentences and of the seed together.
        """
        keys = ["model", "base_model", "stack", "layer", "metric", "source", "target", "method", "n_concepts", "theta"]
        # NaN, the theta of measures that have none, groups with itself
        half = {side: (pl.col("score") - pl.col(side)).abs().mean() for side in ("ci_low", "ci_high")}
        score, spread = pl.col("score"), 1.959963984540054 * pl.col("seed_sd")
        over_seeds = self.table.group_by(keys, maintain_order=True).agg(
            pl.col("seed").n_unique().alias("n_seeds"),
            score.mean(),
            seed_sd=score.std(),
            least=score.min(),
            most=score.max(),
            adjusted=pl.col("adjusted").mean(),
            down=half["ci_low"],
            up=half["ci_high"],
        )
        ends = {
            "ci_low": score - (pl.col("down") ** 2 + spread**2).sqrt(),
            "ci_high": score + (pl.col("up") ** 2 + spread**2).sqrt(),
        }
        return over_seeds.filter(pl.col("n_seeds") > 1).with_columns(**ends).drop("down", "up")

    def only(self, **values: object) -> pl.DataFrame:
        """Return the rows with the given values, e.g. ``results.only(metric="colap", layer=6)``."""
        table = self.table
        for name, value in values.items():
            if name not in RESULT_COLUMNS:
                raise unknown("column", name, RESULT_COLUMNS)
            table = table.filter(pl.col(name).eq_missing(pl.lit(value)))
        return table

    def __repr__(self) -> str:
        t = self.table
        return f"Results({t.height} estimates: {t['model'].n_unique()} models, layers {sorted(set(t['layer']))})"

    def _repr_html_(self) -> str:
        t = self.table
        counts = t.group_by("metric", maintain_order=True).agg(pl.len()).iter_rows()
        facts = {
            "estimates": f"{t.height:,}",
            "models": ", ".join(dict.fromkeys(t["model"].to_list())) or "none",
            "layers": ", ".join(map(str, sorted(set(t["layer"].to_list())))) or "none",
            "metrics": ", ".join(f"{name} ({n})" for name, n in counts) or "none",
        }
        columns = ["model", "stack", "layer", "metric", "source", "target", "theta"]
        columns += ["score", "chance", "adjusted", "ci_low", "ci_high", "n"]
        shown = t.select(columns).head(_SHOWN)
        rest = t.height - shown.height
        note = f"The first rows; {rest:,} more in .table, and .only(metric=...) chooses." if rest > 0 else ""
        return card("Results", facts, grid(columns, shown.iter_rows()), note=note)
