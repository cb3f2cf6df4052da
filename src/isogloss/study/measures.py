"""Measures with the settings of a study: CALIGN and its variants, the silhouette, and their signatures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.concepts import Concepts
from isogloss.config import MetricsSection, Variant
from isogloss.coordinates import Clustering
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign, one_to_one
from isogloss.metrics.concepts.partition import sample_of, silhouette_estimate
from isogloss.metrics.concepts.restricted import other_sentences
from isogloss.metrics.concepts.sentences import N_SPLITS
from isogloss.metrics.registry import MEASURES
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.results import Alignment, Estimate
from isogloss.settings import AlignmentSettings

MATCHED = "frequency_matched"


def align_variant(
    name: Variant,
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    *,
    settings: MetricsSection,
    resamples: Resamples | None,
) -> Estimate:
    """Return one further form of CALIGN at the first theta."""
    theta = settings.theta_align[0]
    if name == "one_to_one":
        return one_to_one(source, target, dictionary, settings=settings, theta_align=theta, resamples=resamples)
    if name == "other_sentences":
        source, target = other_sentences(source, target, draw_seed=settings.draw_seed)
    if name in ("no_identical", "no_cognates"):
        dictionary = dictionary.without_cognates(similarity=1 if name == "no_identical" else 0.5)
    options: dict[str, Any] = {"theta_align": theta, "resamples": resamples}
    options["covered_only"] = name == "covered"
    return align_concepts(source, target, dictionary, settings, **options).estimates[0]


def silhouette_of(
    concepts: Concepts, states: npt.NDArray[np.floating], settings: MetricsSection, resamples: Resamples | None
) -> Estimate:
    """Return the silhouette of a sample of the states of a space; `states` has a row for every token of the study."""
    rows = sample_of(concepts.labels, draw_seed=settings.draw_seed)
    tokens = concepts.tokens[rows]
    return silhouette_estimate(
        states[tokens["row"].to_numpy()],
        concepts.labels[rows],
        sentences=tokens["sentence"],
        resamples=resamples,
        interval=settings.interval,
        draw_seed=settings.draw_seed,
    )


def align_concepts(
    source: Concepts, target: Concepts, dictionary: TranslationDictionary, settings: AlignmentSettings, **options: Any
) -> Alignment:
    """Return `calign` with the settings of a study."""
    return calign(source, target, dictionary, settings=settings, **{"words": False, **options})


@dataclass(frozen=True)
class Origin:
    """Where an estimate comes from, as its signature says it, beside its clustering and settings.

    The version of isogloss, the digest of the corpus, the model that its own was fine-tuned from (or nothing), pooling,
    what the dictionary was induced by, how many translations a word has there, and which tokens were selected.
    """

    version: str
    corpus: str
    base: str
    pooling: str
    dictionary: str
    top: int
    select_calign: str
    select_colap: str


def signature_parts(
    metric: str, clustering: Clustering, settings: MetricsSection, estimate: Estimate, origin: Origin
) -> dict[str, object]:
    """Return what a reader needs to reproduce an estimate, in the order of its measure."""
    measure = MEASURES[metric]
    values = {
        "isogloss": origin.version,
        "metric": metric,
        "rule": settings.rule,
        "theta": f"{estimate.theta:g}",
        "splits": f"{N_SPLITS}s{settings.draw_seed}",
        "top": origin.top,
        "min_types": f"{settings.min_types:g}",
        "min_size_ratio": f"{settings.min_size_ratio:g}",
        "dictionary": origin.dictionary,
        "null": measure.null or f"{settings.null}+sentence{settings.n_permutations}s{settings.draw_seed}",
        "select": origin.select_calign if measure.family == "alignment" else origin.select_colap,
        "ci": "none" if math.isnan(estimate.ci_low) else estimate.ci,
        "model": clustering.model,
        "pooling": origin.pooling,
        "stack": clustering.stack,
        "layer": clustering.layer,
        "method": clustering.method,
        "k": clustering.n_concepts,
        "seed": clustering.seed,
        "corpus": origin.corpus,
    }
    return {name: values[name] for name in measure.signature}
