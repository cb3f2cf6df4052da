"""Every measure that a study's tables can hold, in one place: what it is called, how it is made, how it is read.

To add one, write its formula and give it an entry here; tables, figures, reports, exports and lists follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from isogloss.metrics.companions.cca import pwcca, svcca
from isogloss.metrics.companions.cka import cka_draws, linear_cka
from isogloss.metrics.companions.dissimilarity import rsa
from isogloss.metrics.companions.isotropy import isoscore, mean_cosine, mean_cosine_draws
from isogloss.metrics.companions.nearest import mexa, retrieval
from isogloss.metrics.companions.neurons import anc, anc_draws
from isogloss.metrics.companions.rotation import procrustes_retrieval
from isogloss.metrics.companions.separability import knn_mixing, language_probe
from isogloss.metrics.concepts.alignment import calign, mean_alignment
from isogloss.metrics.concepts.exclusive import one_to_one
from isogloss.metrics.concepts.overlap import colap
from isogloss.metrics.concepts.partition import ami, language_entropy, purity, silhouette_estimate
from isogloss.metrics.measure import Companion, Measure

DIRECTED = "calign"
ALIGNMENT = "calign_mean"
SOFT_ALIGNMENT = "calign_soft_mean"
OVERLAP = "colap"
GROUP_OVERLAP = "colap_group"

DEFAULT_COMPANIONS = (
    *("retrieval_csls", "mexa", "cka", "anc", "word_retrieval_csls"),
    *("language_probe", "knn_mixing", "mean_cosine"),
)

_CLUSTERED = ("ci", "model", "pooling", "stack", "layer", "method", "k", "seed", "corpus")


def _signed(theta: float | None, *parts: str) -> tuple[str, ...]:
    threshold = () if theta is None else ("theta",)
    return ("isogloss", "metric", "rule", *threshold, *parts, "null", "select", *_CLUSTERED)


def _alignment(
    name: str,
    title: str,
    what: str,
    formula: Callable[..., Any] = calign,
    *,
    theta: float | None = 0.8,
    directed: bool = True,
    headline: bool = False,
) -> Measure:
    return Measure(
        name=name,
        title=title,
        family="alignment",
        what=what,
        chance="target words permuted",
        formula=formula,
        theta=theta,
        directed=directed,
        headline=headline,
        signature=_signed(theta, "top", "min_types", "min_size_ratio", "dictionary"),
    )


def _overlap(name: str, title: str, what: str, *, headline: bool = False) -> Measure:
    return Measure(
        name=name,
        title=title,
        family="overlap",
        what=what,
        chance="languages mixed at random",
        formula=colap,
        theta=0.3,
        headline=headline,
        signature=_signed(0.3),
        null="hypergeometric",
    )


_of_joint_concepts = partial(
    Measure,
    family="concepts",
    chance="languages mixed at random",
    signature=_signed(None),
    null="hypergeometric",
)
_companion = partial(
    Companion,
    family="companion",
    signature=(
        *("isogloss", "metric", "states", "pooling", "n", "ci", "draw_seed"),
        *("model", "stack", "layer", "corpus"),
    ),
)
_of_sentences = partial(_companion, takes="sentences", chance="pairs shuffled")
_retrieval = partial(_companion, chance="a row taken at random (1 / n)", level=lambda n: 1 / n)
_probe = partial(
    _companion,
    takes="space",
    chance="a guess (0.5)",
    level=lambda _n: 0.5,
    # Probes of cross-validation share their training rows: with 5 folds the variance of the accuracy is about 1 + 5 / 4
    # times that of its rows.  Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    widened=1.5,
)


def _k(n: int) -> int:
    """Return the number of neighbours: 10, as Conneau et al. (2018) have it for CSLS, as far as there are rows."""
    return min(10, max(1, n - 1))


_ALL: tuple[Measure, ...] = (
    _alignment("calign", "CALIGN by direction", "share of source concepts aligned to a target concept"),
    _alignment(
        "calign_mean",
        "CALIGN",
        "share of concepts aligned to one of the other language, mean of both directions",
        mean_alignment,
        directed=False,
        headline=True,
    ),
    _alignment(
        "calign_soft",
        "Soft CALIGN by direction",
        "mean best match of the source concepts, the area under CALIGN over theta",
        theta=None,
    ),
    _alignment(
        "calign_soft_mean",
        "Soft CALIGN",
        "mean best match of concepts, the area under CALIGN over theta, mean of both directions",
        mean_alignment,
        theta=None,
        directed=False,
        headline=True,
    ),
    _alignment(
        "calign_covered",
        "CALIGN of covered words",
        "CALIGN of the words that the dictionary knows, on both sides",
    ),
    _alignment(
        "calign_one_to_one", "CALIGN, one to one", "CALIGN with every target concept used once", one_to_one
    ),
    _alignment(
        "calign_no_identical", "CALIGN without identical words", "CALIGN without translations spelt the same"
    ),
    _alignment("calign_no_cognates", "CALIGN without cognates", "CALIGN without translations spelt alike"),
    _alignment(
        "calign_frequency_matched",
        "CALIGN at like frequencies",
        "CALIGN of as many types of every frequency in all languages",
    ),
    _alignment(
        "calign_other_sentences",
        "CALIGN across sentences",
        "CALIGN of source concepts in one half of the sentences and target concepts in the other",
    ),
    _overlap(
        "colap", "COLAP", "share of joint concepts of which both languages own enough tokens", headline=True
    ),
    _overlap(
        "colap_group", "COLAP of the whole group", "the same for all languages, at theta * 2 / languages"
    ),
    _of_joint_concepts(
        name="language_entropy",
        title="Language entropy",
        what="how evenly languages mix in joint concepts, without a threshold",
        formula=language_entropy,
    ),
    _of_joint_concepts(
        name="purity",
        title="Purity",
        what="share of tokens of the main language of their joint concept",
        formula=purity,
    ),
    _of_joint_concepts(
        name="ami",
        title="AMI of concepts and languages",
        what="what joint concepts tell of the language, adjusted mutual information",
        formula=ami,
        range=(-1, 1),
    ),
    _of_joint_concepts(
        name="silhouette",
        title="Silhouette",
        what="how much nearer states are to their own joint concept than to the next",
        chance="concepts shuffled over the tokens",
        formula=silhouette_estimate,
        range=(-1, 1),
        null="shuffled",
    ),
    _retrieval(
        name="retrieval",
        title="Retrieval, cosine",
        takes="sentences",
        formula=retrieval,
        what="P@1 of the translation among all sentences, by the cosine",
    ),
    _retrieval(
        name="retrieval_csls",
        title="Retrieval, CSLS",
        takes="sentences",
        formula=lambda X, Y: retrieval(X, Y, csls=_k(len(X))),
        what="the same by CSLS, 10 neighbours",
    ),
    _retrieval(
        name="retrieval_margin",
        title="Retrieval, margin",
        takes="sentences",
        formula=lambda X, Y: retrieval(X, Y, margin=_k(len(X))),
        what="the same by the ratio margin, 10 neighbours",
    ),
    _retrieval(
        name="mexa",
        title="MEXA",
        takes="sentences",
        formula=mexa,
        what="share of pairs nearer than any wrong pair of theirs",
        chance="pairs at random (1 / (2 n - 1))",
        level=lambda n: 1 / (2 * n - 1),
    ),
    _of_sentences(
        name="cka",
        title="CKA",
        formula=linear_cka,
        what="linear CKA, debiased",
        range=(-1, 1),
        draws=cka_draws,
    ),
    _of_sentences(
        name="anc",
        title="ANC",
        formula=anc,
        what="mean correlation of neurons, signed",
        range=(-1, 1),
        draws=anc_draws,
    ),
    _of_sentences(
        name="anc_absolute",
        title="ANC, absolute",
        formula=partial(anc, signed=False),
        what="the same, absolute",
        draws=partial(anc_draws, signed=False),
    ),
    _of_sentences(
        name="svcca",
        title="SVCCA",
        formula=svcca,
        what="mean canonical correlation, 99 % of the variance",
    ),
    _of_sentences(
        name="pwcca",
        title="PWCCA",
        formula=pwcca,
        what="canonical correlation, weighted by projection",
    ),
    _of_sentences(
        name="rsa",
        title="RSA",
        formula=lambda X, Y: rsa(X, Y).rho,
        what="rank correlation of dissimilarities, of 1000 rows at most",
        range=(-1, 1),
        most=1000,
    ),
    _retrieval(
        name="word_retrieval",
        title="Word retrieval, cosine",
        takes="words",
        formula=retrieval,
        what="P@1 of linked words, by the cosine",
    ),
    _retrieval(
        name="word_retrieval_csls",
        title="Word retrieval, CSLS",
        takes="words",
        formula=lambda X, Y: retrieval(X, Y, csls=_k(len(X))),
        what="P@1 of linked words, by CSLS",
    ),
    _retrieval(
        name="procrustes",
        title="Word retrieval, rotated",
        takes="words",
        formula=procrustes_retrieval,
        what="held-out P@1 of linked words after a rotation",
        chance="a word of the fold taken at random (5 / n)",
        level=lambda n: min(1.0, 5 / n),
    ),
    _probe(
        name="language_probe",
        title="Language probe",
        formula=lambda X, languages, sentences: language_probe(X, languages, groups=sentences),
        what="cross-validated accuracy of a linear probe for the language",
    ),
    _probe(
        name="language_probe_centred",
        title="Language probe, centred",
        formula=lambda X, languages, sentences: language_probe(
            X, languages, groups=sentences, remove_means=True, axes=min(16, X.shape[1])
        ),
        what="the same without language means, with squares of 16 axes",
    ),
    _companion(
        name="knn_mixing",
        title="Mixing of neighbours",
        takes="space",
        formula=lambda X, languages, _sentences: knn_mixing(X, languages, k=_k(len(X))),
        what="foreign neighbours of 10, over what full mixing has",
        chance="languages mixed at random (1)",
        level=lambda _n: 1.0,
        range=(0, math.inf),
    ),
    _companion(
        name="mean_cosine",
        title="Mean cosine",
        takes="space",
        formula=lambda X, _languages, _sentences: mean_cosine(X),
        what="mean cosine of all pairs (anisotropy)",
        chance="",
        range=(-1, 1),
        draws=lambda X, _languages, _sentences, *, weights: mean_cosine_draws(X, weights),
    ),
    _companion(
        name="isoscore",
        title="IsoScore",
        takes="space",
        formula=lambda X, _languages, _sentences: isoscore(X),
        what="evenness of the variance",
        chance="",
    ),
)
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
COMPANIONS: dict[str, Companion] = {m.name: m for m in _ALL if isinstance(m, Companion)}


def headlines() -> tuple[Measure, ...]:
    """Return the measures that a study is summed up by: CALIGN of both directions, its soft form, COLAP."""
    return tuple(measure for measure in _ALL if measure.headline)


def with_theta() -> tuple[Measure, ...]:
    """Return the measures that have a threshold."""
    return tuple(measure for measure in _ALL if measure.theta is not None)
