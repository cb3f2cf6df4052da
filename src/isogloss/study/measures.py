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
from isogloss.metrics.bootstrap import Resamples
from isogloss.metrics.halves import other_sentences
from isogloss.metrics.partition import sample_of, silhouette_estimate
from isogloss.results import Alignment, Estimate

MATCHED = "frequency_matched"


def group_theta(theta: float, n_languages: int) -> float:
    """Return the overlap threshold of a group that asks of every language what `theta` asks of a pair.

    A pair at 0.3 asks for 0.6 of an even share (1/2).  Of L languages no more than 1/L can be asked, so the group
    is held to the same part of its even share: ``theta * 2 / L``.
    """
    return theta * 2 / n_languages


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
        return one_to_one(
            source,
            target,
            dictionary,
            theta_align=theta,
            min_types=settings.min_types,
            min_size_ratio=settings.min_size_ratio,
            n_permutations=min(settings.n_permutations, 50),
            resamples=resamples,
            interval=settings.interval,
            seed=settings.seed,
        )
    if name == "other_sentences":
        source, target = other_sentences(source, target, seed=settings.seed)
    if name in ("no_identical", "no_cognates"):
        dictionary = dictionary.without_cognates(similarity=1 if name == "no_identical" else 0.5)
    options: dict[str, Any] = {"theta_align": theta, "resamples": resamples}
    options["covered_only"] = name == "covered"
    return align_concepts(source, target, dictionary, settings, **options).estimates[0]


def silhouette_of(
    concepts: Concepts,
    states: npt.NDArray[np.floating],
    settings: MetricsSection,
    resamples: Resamples | None,
) -> Estimate:
    """Return the silhouette of a sample of the states of a space; `states` has a row for every token of the study."""
    rows = sample_of(concepts.labels, seed=settings.seed)
    tokens = concepts.tokens[rows]
    return silhouette_estimate(
        states[tokens["row"].to_numpy()],
        concepts.labels[rows],
        sentences=tokens["sentence"],
        resamples=resamples,
        interval=settings.interval,
        seed=settings.seed,
    )


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
        **{
            "theta_align": settings.theta_align,
            "min_types": settings.min_types,
            "min_size_ratio": settings.min_size_ratio,
            "rule": settings.rule,
            "n_permutations": settings.n_permutations,
            "null": settings.null,
            "interval": settings.interval,
            "seed": settings.seed,
            "words": False,
            **options,
        },
    )


@dataclass(frozen=True)
class Origin:
    """Where an estimate comes from, as its signature says it, beside its clustering and settings.

    Attributes
    ----------
    version : str
        Of isogloss.
    corpus : str
        Digest.
    base : str
        The model that the estimate's own was fine-tuned from, or nothing.
    pooling : str
    dictionary : str
        What it was induced by.
    top : int
    select_calign, select_colap : str
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
    metric: str, clustering: Clustering, settings: MetricsSection, theta: float, origin: Origin
) -> dict[str, object]:
    """Return what a reader needs to reproduce an estimate, in a fixed order."""
    parts: dict[str, object] = {"isogloss": origin.version, "metric": metric, "rule": settings.rule}
    if not math.isnan(theta):
        parts["theta"] = f"{theta:g}"
    if metric.startswith("calign"):
        parts |= {
            "top": origin.top,
            "min_types": f"{settings.min_types:g}",
            "min_size_ratio": f"{settings.min_size_ratio:g}",
            "dictionary": origin.dictionary,
            "null": f"{settings.null}{settings.n_permutations}s{settings.seed}",
            "select": origin.select_calign,
        }
    else:
        null = "shuffled" if metric == "silhouette" else "hypergeometric"
        parts |= {"null": null, "select": origin.select_colap}
    parts["ci"] = f"{settings.interval}{settings.n_bootstrap}" if settings.n_bootstrap else "wilson"
    parts |= {
        "model": clustering.model,
        "pooling": origin.pooling,
        "stack": clustering.stack,
        "layer": clustering.layer,
        "method": clustering.method,
        "k": clustering.n_concepts,
        "seed": clustering.seed,
        "corpus": origin.corpus,
    }
    return parts
