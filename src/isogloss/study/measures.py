"""The steps that measure: the estimates of a pair, and of a group, at one layer of one clustering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.concepts import Concepts
from isogloss.config import MetricsSection, Variant
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.extraction import open_states
from isogloss.metrics import calign, colap, mean_alignment, one_to_one
from isogloss.metrics.bootstrap import Resamples
from isogloss.metrics.colap import drawn_counts
from isogloss.metrics.frequency import match_frequencies
from isogloss.metrics.halves import other_sentences
from isogloss.metrics.mixing import mixing
from isogloss.metrics.partition import sample_of, silhouette_estimate
from isogloss.results import Alignment, Estimate, Overlap, Results, signature
from isogloss.store import StudyLayout, run_name, write_table
from isogloss.study.steps import read_concepts


def group_theta(theta: float, n_languages: int) -> float:
    """Return the overlap threshold of a group that asks of every language what `theta` asks of a pair.

    A pair at 0.3 asks for 0.6 of an even share (1/2).  Of L languages no more than 1/L can be asked, so the group
    is held to the same part of its even share: ``theta * 2 / L``.
    """
    return theta * 2 / n_languages


def measure_pair(root: Path, *, pair: Sequence[str], matched: Sequence[str], **where: Any) -> dict[str, Any]:
    """Write every estimate of one pair at one layer: CALIGN both ways and their mean, COLAP and what goes with it.

    `matched` are the languages whose frequencies are matched for the variant of that name; the rest is of `_Sheet`.
    """
    sheet = _Sheet(root, **where)
    settings, resamples = sheet.settings, sheet.resamples
    alone = {language: sheet.concepts((language,)) for language in (*pair, *matched)}
    alike = match_frequencies(alone, seed=settings.draw_seed) if matched else {}
    left, right = pair
    found = {}
    for s, t in permutations(pair):
        path = sheet.study.checked(sheet.study.dictionary(s, t))
        dictionary = TranslationDictionary.read(
            path, source=s, target=t, induced_by=sheet.facts["dictionary"]
        )
        found[s] = align_concepts(alone[s], alone[t], dictionary, settings, resamples=resamples)
        for estimate in found[s].estimates:
            sheet.add("calign", s, t, estimate)
        sheet.add("calign_soft", s, t, found[s].soft)
        for variant in settings.variants:
            sides = alike if variant == _MATCHED else alone
            estimate = _variant(variant, sides[s], sides[t], dictionary, settings, resamples)
            sheet.add(f"calign_{variant}", s, t, estimate)
    for a, b in zip(found[left].estimates, found[right].estimates, strict=True):
        sheet.add("calign_mean", left, right, mean_alignment(a, b))
    sheet.add("calign_soft_mean", left, right, mean_alignment(found[left].soft, found[right].soft))
    together = sheet.concepts(pair)
    overlap = sheet.overlap(together, settings.theta_overlap)
    for estimate in overlap.estimates:
        sheet.add("colap", left, right, estimate)
    resampled = None if resamples is None else drawn_counts(together, overlap.languages, resamples)
    for name, estimate in mixing(overlap.counts, drawn=resampled, interval=settings.interval).items():
        sheet.add(name, left, right, estimate)
    sheet.add("silhouette", left, right, _silhouette(together, sheet.states(), settings, resamples))
    return sheet.write("-".join(pair))


def measure_group(root: Path, *, languages: Sequence[str], **where: Any) -> dict[str, Any]:
    """Write the overlap of all languages together at one layer."""
    sheet = _Sheet(root, **where)
    space = "+".join(languages)
    thetas = [group_theta(theta, len(languages)) for theta in sheet.settings.theta_overlap]
    for estimate in sheet.overlap(sheet.concepts(languages), thetas).estimates:
        sheet.add("colap_group", space, "", estimate)
    return sheet.write(space)


class _Sheet:
    """The estimates of one layer of one clustering that a step writes, and what their formulas are given."""

    def __init__(
        self, root: Path, *, base: str, facts: dict[str, str], metrics: dict[str, Any], **run: Any
    ) -> None:
        self.study, self.base, self.facts = StudyLayout(root), base, facts
        self.settings = MetricsSection.model_validate(metrics)
        self.tokens = Corpus.open(self.study).words
        self.run = run  # model, stack, method, n_concepts, seed, layer
        self.resamples = None
        if (
            self.settings.n_bootstrap
        ):  # the same sentences for every model, layer and pair: differences are paired
            sentences = self.tokens["sentence"].unique()
            self.resamples = Resamples.draw(
                sentences, self.settings.n_bootstrap, seed=self.settings.draw_seed
            )
        self.rows: list[dict[str, Any]] = []
        self.draws: list[list[float] | None] = []

    def concepts(self, space: Sequence[str]) -> Concepts:
        return read_concepts(self.study, self.tokens, **self.run, space="+".join(space))

    def states(self) -> npt.NDArray[np.floating]:
        """Return the states of the layer, a row for every token."""
        layer = self.run["layer"]
        where = {"name": self.run["model"], "stack": self.run["stack"], "layer": layer, "sentences": False}
        return open_states(self.study, **where).arrays[layer]

    def overlap(self, concepts: Concepts, thetas: Sequence[float]) -> Overlap:
        return colap(
            concepts,
            settings=self.settings,
            theta_overlap=thetas,
            resamples=self.resamples,
        )

    def add(self, metric: str, source: str, target: str, estimate: Estimate) -> None:
        parts = signature_parts(metric, self.run, self.settings, estimate.theta, self.facts)
        if estimate.draws is None and math.isnan(estimate.ci_low):
            parts["ci"] = "none"
        row = {
            **self.run,
            "base_model": self.base,
            "metric": metric,
            "source": source,
            "target": target,
            **{name: getattr(estimate, name) for name in _ESTIMATE},
            "q_value": math.nan,  # over the whole study: see gather_results
            "signature": signature(parts),
        }
        self.rows.append(row)
        self.draws.append(None if estimate.draws is None else estimate.draws.tolist())

    def write(self, of: str) -> dict[str, Any]:
        table = Results.from_rows(self.rows).table
        draws = pl.Series("draws", self.draws, dtype=pl.List(pl.Float32))
        run = self.run
        name = run_name(run["method"], run["n_concepts"], run["seed"])
        path = self.study.metrics(run["model"], run["stack"], name, run["layer"], of)
        write_table(path, table.with_columns(draws))
        return {"n_estimates": len(self.rows)}


def _variant(  # noqa: PLR0917
    name: Variant,
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    settings: MetricsSection,
    resamples: Resamples | None,
) -> Estimate:
    """Return one further form of CALIGN at the first theta."""
    theta = settings.theta_align[0]
    if name == "one_to_one":
        return one_to_one(
            source,
            target,
            dictionary,
            settings=settings,
            theta_align=theta,
            resamples=resamples,
        )
    if name == "other_sentences":
        source, target = other_sentences(source, target, seed=settings.draw_seed)
    if name in ("no_identical", "no_cognates"):
        dictionary = dictionary.without_cognates(similarity=1 if name == "no_identical" else 0.5)
    options: dict[str, Any] = {"theta_align": theta, "resamples": resamples}
    options["covered_only"] = name == "covered"
    return align_concepts(source, target, dictionary, settings, **options).estimates[0]


def _silhouette(
    concepts: Concepts,
    states: npt.NDArray[np.floating],
    settings: MetricsSection,
    resamples: Resamples | None,
) -> Estimate:
    """Return the silhouette of a sample of the states of a space; `states` has a row for every token of the study."""
    rows = sample_of(concepts.labels, seed=settings.draw_seed)
    tokens = concepts.tokens[rows]
    return silhouette_estimate(
        states[tokens["row"].to_numpy()],
        concepts.labels[rows],
        sentences=tokens["sentence"],
        resamples=resamples,
        interval=settings.interval,
        seed=settings.draw_seed,
    )


_MATCHED = "frequency_matched"
_ESTIMATE = ("theta", "score", "chance", "adjusted", "p_value", "ci_low", "ci_high", "n", "coverage")


def align_concepts(
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    settings: MetricsSection,
    **options: Any,
) -> Alignment:
    """Return `calign` with the settings of a study."""
    return calign(
        source,
        target,
        dictionary,
        settings=settings,
        **{"words": False, **options},
    )


def signature_parts(
    metric: str, run: dict[str, Any], settings: MetricsSection, theta: float, facts: dict[str, str]
) -> dict[str, object]:
    """Return what a reader needs to reproduce an estimate, in a fixed order."""
    parts: dict[str, object] = {"isogloss": facts["version"], "metric": metric, "rule": settings.rule}
    if not math.isnan(theta):
        parts["theta"] = f"{theta:g}"
    if metric.startswith("calign"):
        parts |= {
            "top": facts["top"],
            "min_types": f"{settings.min_types:g}",
            "min_size_ratio": f"{settings.min_size_ratio:g}",
            "dictionary": facts["dictionary"],
            "null": f"{settings.null}{settings.n_permutations}s{settings.draw_seed}",
            "select": facts["select_calign"],
        }
    else:
        null = "shuffled" if metric == "silhouette" else "hypergeometric"
        parts |= {"null": null, "select": facts["select_colap"]}
    parts["ci"] = f"{settings.interval}{settings.n_bootstrap}" if settings.n_bootstrap else "wilson"
    parts |= {
        "model": facts["model"],
        "pooling": facts["pooling"],
        "stack": run["stack"],
        "layer": run["layer"],
        "method": run["method"],
        "k": run["n_concepts"],
        "seed": run["seed"],
        "corpus": facts["corpus"],
    }
    return parts
