"""Every measure that a study's tables can hold, in one place: what it is called, how it is made, how it is read.

To add one, write its formula and give it an entry here; tables, figures, reports, exports and lists follow.
"""

from __future__ import annotations

import math
from functools import partial

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
from isogloss.metrics.concepts.sentences import colap_other_sentences, sentence_ami
from isogloss.metrics.inputs import Floats, Vectors
from isogloss.metrics.measure import Companion, Measure

DIRECTED = "calign"
ALIGNMENT = "calign_mean"
SOFT_ALIGNMENT = "calign_soft_mean"
OVERLAP = "colap"
OVERLAP_ACROSS = "colap_other_sentences"
GROUP_OVERLAP = "colap_group"
SENTENCE = "sentence_ami"

DEFAULT_COMPANIONS = (
    *("retrieval_csls", "mexa", "cka", "anc", "word_retrieval_csls"),
    *("language_probe", "knn_mixing", "mean_cosine"),
)

_CLUSTERED = ("null", "select", "ci", "model", "pooling", "stack", "layer", "method", "k", "seed", "corpus")
_RULES = ("top", "min_types", "min_size_ratio", "dictionary")

_of_direction = partial(
    Measure,
    family="alignment",
    chance="words permuted, or exchanged inside their sentences: the higher",
    theta=0.5,
    directed=True,
    signature=("isogloss", "metric", "rule", "theta", *_RULES, *_CLUSTERED),
)
_soft = partial(_of_direction, theta=None, signature=("isogloss", "metric", "rule", *_RULES, *_CLUSTERED))
_overlap = partial(
    Measure,
    family="overlap",
    chance="languages mixed at random",
    theta=0.3,
    signature=("isogloss", "metric", "rule", "theta", *_CLUSTERED),
    null="hypergeometric",
)
_of_joint_concepts = partial(
    Measure,
    family="concepts",
    chance="languages mixed at random",
    signature=("isogloss", "metric", "rule", *_CLUSTERED),
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
_retrieval = partial(_companion, takes="sentences", chance="a row taken at random (1 / n)", level=lambda n: 1 / n)
_of_space = partial(_companion, takes="space", chance="")
_probe = partial(
    _of_space,
    chance="a guess (0.5)",
    level=lambda _n: 0.5,
    # Probes of cross-validation share their training rows: with 5 folds the variance of the accuracy is about 1 + 5 / 4
    # times that of its rows.  Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    widened=1.5,
)


def _k(n: int) -> int:
    """Return the number of neighbours: 10, as Conneau et al. (2018) have it for CSLS, as far as there are rows."""
    return min(10, max(1, n - 1))


def _csls(X: Vectors, Y: Vectors) -> Floats:
    return retrieval(X, Y, csls=_k(len(X)))


_ALL: tuple[Measure, ...] = (
    _of_direction("calign", "CALIGN by direction", "share of source concepts aligned to a target concept", calign),
    _of_direction(
        "calign_mean",
        "CALIGN",
        "share of concepts aligned to one of the other language, mean of both directions",
        mean_alignment,
        directed=False,
        headline=True,
    ),
    _soft(
        "calign_soft",
        "Soft CALIGN by direction",
        "mean best match of the source concepts, the area under CALIGN over theta",
        calign,
    ),
    _soft(
        "calign_soft_mean",
        "Soft CALIGN",
        "mean best match of concepts, the area under CALIGN over theta, mean of both directions",
        mean_alignment,
        directed=False,
        headline=True,
    ),
    _of_direction("calign_covered", "CALIGN of covered words", "CALIGN of words that the dictionary knows", calign),
    _of_direction("calign_one_to_one", "CALIGN, one to one", "CALIGN with every target concept used once", one_to_one),
    _of_direction(
        "calign_no_identical", "CALIGN without identical words", "CALIGN without translations spelt the same", calign
    ),
    _of_direction("calign_no_cognates", "CALIGN without cognates", "CALIGN without translations spelt alike", calign),
    _of_direction(
        "calign_frequency_matched",
        "CALIGN at like frequencies",
        "CALIGN of as many types of every frequency in all languages",
        calign,
    ),
    _of_direction(
        "calign_other_sentences",
        "CALIGN across sentences",
        "CALIGN of source concepts in one half of the sentences and target concepts in the other",
        calign,
    ),
    _overlap("colap", "COLAP", "share of joint concepts of which both languages own enough", colap, headline=True),
    _overlap(
        "colap_other_sentences",
        "COLAP across sentences",
        "share of joint concepts of which both languages own enough, each counted in other sentences",
        colap_other_sentences,
        signature=("isogloss", "metric", "rule", "theta", "splits", *_CLUSTERED),
    ),
    _overlap(
        "colap_group",
        "COLAP of the whole group",
        "share of joint concepts of which all languages own enough, at theta * 2 / languages",
        colap,
    ),
    _of_joint_concepts(
        "language_entropy",
        "Language entropy",
        "how evenly languages mix in joint concepts, without a threshold",
        language_entropy,
    ),
    _of_joint_concepts("purity", "Purity", "share of tokens of the main language of their joint concept", purity),
    _of_joint_concepts(
        "ami",
        "AMI of concepts and languages",
        "what joint concepts tell of the language, adjusted mutual information",
        ami,
        range=(-1, 1),
    ),
    _of_joint_concepts(
        "sentence_ami",
        "AMI of concepts and sentences",
        "how much of a concept is its sentence, of every space: 0 as in random concepts, 1 nothing else",
        sentence_ami,
        chance="tokens dealt to concepts at random (0)",
        range=(-1, 1),
        signature=("isogloss", "metric", *_CLUSTERED),
    ),
    _of_joint_concepts(
        "silhouette",
        "Silhouette",
        "how much nearer states are to their own joint concept than to the next",
        silhouette_estimate,
        chance="concepts shuffled over the tokens",
        range=(-1, 1),
        null="shuffled",
    ),
    _retrieval(
        "retrieval", "Retrieval, cosine", "P@1 of the translation among all sentences, by the cosine", retrieval
    ),
    _retrieval("retrieval_csls", "Retrieval, CSLS", "P@1 of the translation by CSLS, 10 neighbours", _csls),
    _retrieval(
        "retrieval_margin",
        "Retrieval, margin",
        "P@1 of the translation by the ratio margin, 10 neighbours",
        lambda X, Y: retrieval(X, Y, margin=_k(len(X))),
    ),
    _retrieval(
        "mexa",
        "MEXA",
        "share of pairs nearer than any wrong pair of theirs",
        mexa,
        chance="pairs at random (1 / (2 n - 1))",
        level=lambda n: 1 / (2 * n - 1),
    ),
    _of_sentences("cka", "CKA", "linear CKA, debiased", linear_cka, range=(-1, 1), draws=cka_draws),
    _of_sentences("anc", "ANC", "mean correlation of neurons, signed", anc, range=(-1, 1), draws=anc_draws),
    _of_sentences(
        "anc_absolute",
        "ANC, absolute",
        "mean correlation of neurons, absolute",
        partial(anc, signed=False),
        draws=partial(anc_draws, signed=False),
    ),
    _of_sentences("svcca", "SVCCA", "mean canonical correlation, 99 % of the variance", svcca),
    _of_sentences("pwcca", "PWCCA", "canonical correlation, weighted by projection", pwcca),
    _of_sentences(
        "rsa",
        "RSA",
        "rank correlation of dissimilarities, of 1000 rows at most",
        lambda X, Y: rsa(X, Y).rho,
        range=(-1, 1),
        most=1000,
    ),
    _retrieval(
        "word_retrieval", "Word retrieval, cosine", "P@1 of linked words, by the cosine", retrieval, takes="words"
    ),
    _retrieval("word_retrieval_csls", "Word retrieval, CSLS", "P@1 of linked words, by CSLS", _csls, takes="words"),
    _retrieval(
        "procrustes",
        "Word retrieval, rotated",
        "held-out P@1 of linked words after a rotation",
        procrustes_retrieval,
        takes="words",
        chance="a word of the fold taken at random (5 / n)",
        level=lambda n: min(1.0, 5 / n),
    ),
    _probe(
        "language_probe",
        "Language probe",
        "cross-validated accuracy of a linear probe for the language",
        lambda X, languages, sentences: language_probe(X, languages, groups=sentences),
    ),
    _probe(
        "language_probe_centred",
        "Language probe, centred",
        "accuracy of the probe without language means, with squares of 16 axes",
        lambda X, languages, sentences: language_probe(
            X, languages, groups=sentences, remove_means=True, axes=min(16, X.shape[1])
        ),
    ),
    _of_space(
        "knn_mixing",
        "Mixing of neighbours",
        "foreign neighbours of 10, over what full mixing has",
        lambda X, languages, _sentences: knn_mixing(X, languages, k=_k(len(X))),
        chance="languages mixed at random (1)",
        level=lambda _n: 1.0,
        range=(0, math.inf),
    ),
    _of_space(
        "mean_cosine",
        "Mean cosine",
        "mean cosine of all pairs (anisotropy)",
        lambda X, _languages, _sentences: mean_cosine(X),
        range=(-1, 1),
        draws=lambda X, _languages, _sentences, *, weights: mean_cosine_draws(X, weights),
    ),
    _of_space("isoscore", "IsoScore", "evenness of the variance", lambda X, _languages, _sentences: isoscore(X)),
)
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
COMPANIONS: dict[str, Companion] = {m.name: m for m in _ALL if isinstance(m, Companion)}


def headlines() -> tuple[Measure, ...]:
    """Return the measures that a study is summed up by: CALIGN of both directions, its soft form, COLAP."""
    return tuple(measure for measure in _ALL if measure.headline)


def with_theta() -> tuple[Measure, ...]:
    """Return the measures that have a threshold."""
    return tuple(measure for measure in _ALL if measure.theta is not None)
