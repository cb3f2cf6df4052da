"""What COLAP, COLAP across sentences and the AMI of sentences make of concepts that are words, topics or sentences.

    python benchmarks/planted_sentences.py            # about two minutes on two cores

Prints the tables of docs/planted.md on sentences.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from planted import held, tokens_of
from scipy.stats import entropy
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

from isogloss.concepts import Concepts
from isogloss.metrics import colap
from isogloss.metrics.concepts.sentences import colap_other_sentences, expected_information, sentence_ami
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.results import Estimate

Numbers = npt.NDArray[np.int64]
LANGUAGES = ("a", "b")
WORDS, TOPIC_WORDS, SENTENCES = "words", "topic words", "sentences"
KINDS = {
    WORDS: "some words, in both languages",
    "words of a language": "some words of one language",
    TOPIC_WORDS: "some words of one topic, in both languages",
    "topics": "all sentences of one topic",
    SENTENCES: "one sentence",
    "several sentences": "three sentences, drawn at random",
    "parts of a sentence": "a half of one sentence, words of both languages",
    "sentences of a language": "one sentence in one language",
}
"""What a concept is made of."""


@dataclass(frozen=True)
class Text:
    """A made-up parallel text: both languages have the same words in the same sentences.

    Attributes
    ----------
    tokens : polars.DataFrame
        The tokens of `Concepts`, first of the language ``a``, then of ``b``.
    types : numpy.ndarray
        (n,) the meaning of every token, the same numbers in both languages.
    topics : numpy.ndarray
        (n,) the topic of its sentence.
    n_types, n_topics, seed : int
    """

    tokens: pl.DataFrame
    types: Numbers
    topics: Numbers
    n_types: int
    n_topics: int
    seed: int

    @property
    def sentences(self) -> Numbers:
        return self.tokens["sentence"].to_numpy().astype(np.int64)

    @property
    def is_b(self) -> npt.NDArray[np.bool_]:
        return (self.tokens["language"] == "b").to_numpy()


def write_text(
    *,
    n_sentences: int = 300,
    n_words: int = 18,
    n_types: int = 1500,
    n_topics: int = 25,
    topical: float = 0.0,
    zipf: float = 1.0,
    seed: int = 0,
) -> Text:
    """Make sentences of words with Zipf frequencies; a share `topical` of them is drawn from the sentence's topic.

    Every type belongs to one topic.
    """
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, n_types + 1) ** zipf
    topic_of_type = np.arange(n_types) % n_topics
    topic = rng.integers(0, n_topics, n_sentences)
    types = rng.choice(n_types, (n_sentences, n_words), p=weights / weights.sum())
    from_topic = rng.random(types.shape) < topical
    for t in range(n_topics):
        inside = np.flatnonzero(topic_of_type == t)
        places = from_topic & (topic == t)[:, None]
        types[places] = rng.choice(inside, int(places.sum()), p=weights[inside] / weights[inside].sum())
    flat, n = types.reshape(-1), types.size
    tokens = pl.concat([tokens_of(language, types, first_row=n * i) for i, language in enumerate(LANGUAGES)])
    return Text(tokens, np.tile(flat, 2), np.tile(np.repeat(topic, n_words), 2), n_types, n_topics, seed)


def cluster(
    text: Text, kind: str, *, n_concepts: int = 200, share: float = 1.0, stray: float = 0.0, seed: int = 0
) -> Concepts:
    """Return the joint space of a text in which concepts are of a kind of `KINDS`.

    Parameters
    ----------
    n_concepts : int
        Of words: which of them a type belongs to is drawn, topic by topic for topic words.
    share : float
        Share of the types that follow `kind`; the tokens of the others are concepts of words.
    stray : float
        Share of the tokens that lie in a concept at random; which, the text's seed says too.
    seed : int
        Of the concepts.
    """
    rng = np.random.default_rng([seed, 7])
    group = rng.permutation(np.arange(text.n_types) % n_concepts)
    label = _labels(text, kind, group, rng)
    follows = rng.permutation(text.n_types) < share * text.n_types
    label = np.where(follows[text.types], label, label.max() + 1 + group[text.types])
    noise = np.random.default_rng([seed, text.seed, 8])
    astray = noise.random(len(label)) < stray
    label[astray] = noise.permutation(label)[astray]
    numbers, label = np.unique(label, return_inverse=True)
    return Concepts(text.tokens, label.astype(np.int32), len(numbers))


def _labels(text: Text, kind: str, group: Numbers, rng: np.random.Generator) -> Numbers:
    sentences, of_words, is_b = text.sentences, group[text.types], text.is_b
    each = max(1, (int(group.max()) + 1) // text.n_topics)
    return {
        WORDS: of_words,
        "words of a language": 2 * (of_words // 2) + is_b,
        TOPIC_WORDS: (text.types % text.n_topics) * each + of_words % each,
        "topics": text.topics,
        SENTENCES: sentences,
        "several sentences": (rng.permutation(int(sentences.max()) + 1) // 3)[sentences],
        "parts of a sentence": 2 * sentences + of_words % 2,
        "sentences of a language": 2 * sentences + is_b,
    }[kind]


def alone(joint: Concepts, language: str) -> Concepts:
    """Return the concepts of one language of a joint space."""
    there = (joint.tokens["language"] == language).to_numpy()
    return Concepts(joint.tokens.filter(pl.Series(there)), joint.labels[there], joint.n_concepts)


def told_apart(repeats: int) -> None:
    """Print COLAP, COLAP across sentences and the AMI of sentences for every kind, and for mixtures."""
    print("| a concept is | COLAP | if mixed | across sentences | if mixed | AMI, a alone | AMI, a+b |")
    print("|---|---|---|---|---|---|---|")
    cases: list[tuple[str, str, dict[str, float]]] = [(name, kind, {}) for kind, name in KINDS.items()]
    cases += [(f"words; one sentence for {x:.0%} of the types", SENTENCES, {"share": x}) for x in (0.25, 0.5, 0.75)]
    cases += [(f"one sentence, {x:.0%} of the tokens anywhere", SENTENCES, {"stray": x}) for x in (0.05, 0.2)]
    for name, kind, options in cases:
        rows = []
        for seed in range(repeats):
            joint = cluster(write_text(seed=seed, topical=_topical(kind)), kind, seed=seed, **options)
            same, other = colap(joint).estimates[0], colap_other_sentences(joint)[0]
            amis = sentence_ami(alone(joint, "a")).score, sentence_ami(joint).score
            rows.append((same.score, same.chance, other.score, other.chance, *amis))
        table = np.array(rows)
        means, errors = table.mean(axis=0), table.std(axis=0, ddof=1) / repeats**0.5
        exact = [f"{mean:.3f} ± {error:.3f}" for mean, error in zip(means, errors, strict=True)]
        cells = [exact[0], f"{means[1]:.3f}", exact[2], f"{means[3]:.3f}", *exact[4:]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def bounds(repeats: int) -> None:
    """Print the AMI with other bounds, and of both languages taken as one text."""
    print("| a concept is | least entropy | mean entropy | that of concepts | least, a and b as one text |")
    print("|---|---|---|---|---|")
    for kind in (WORDS, TOPIC_WORDS, SENTENCES, "several sentences", "parts of a sentence"):
        rows = []
        for seed in range(repeats):
            joint = cluster(write_text(seed=seed, topical=_topical(kind)), kind, seed=seed)
            single = alone(joint, "a")
            both = [(x.tokens["sentence"].to_numpy(), x.labels) for x in (single, joint)]
            least, mean = (adjusted_mutual_info_score(*both[0], average_method=x) for x in ("min", "arithmetic"))
            sizes = [np.bincount(labels).astype(np.int64) for labels in both[0]]
            expected = expected_information(sizes[0], sizes[1])
            information = mutual_info_score(*both[0]) - expected
            of_concepts = information / (entropy(sizes[1]) - expected)
            rows.append((least, mean, of_concepts, adjusted_mutual_info_score(*both[1], average_method="min")))
        print(f"| {KINDS[kind]} | {' | '.join(f'{x:.3f}' for x in np.mean(rows, axis=0))} |", flush=True)


def _topical(kind: str) -> float:
    return 0.4 if "topic" in kind else 0.0


def covered(texts: int, n: int) -> None:
    """Print how often 95 % intervals hold the mean over many texts of the same languages."""
    print("| a concept is | figure | mean score | bca | percentile | half width | spread of texts |")
    print("|---|---|---|---|---|---|---|")
    cases: dict[str, tuple[str, dict[str, float]]] = {
        KINDS[WORDS]: (WORDS, {}),
        f"{KINDS[TOPIC_WORDS]}; 10% of the tokens anywhere": (TOPIC_WORDS, {"stray": 0.1}),
        "words; one sentence for 50% of the types": (SENTENCES, {"share": 0.5}),
        "one sentence, 20% of the tokens anywhere": (SENTENCES, {"stray": 0.2}),
    }
    for name, (kind, options) in cases.items():
        by_figure: dict[str, list[Estimate]] = {}
        for text in range(texts):
            joint = cluster(write_text(seed=text + 1000, topical=_topical(kind)), kind, **options)
            resamples = Resamples.draw(np.arange(300), n, draw_seed=text)
            estimates = {
                "COLAP across sentences": colap_other_sentences(joint, resamples=resamples, draw_seed=text)[0],
                "AMI, a alone": sentence_ami(alone(joint, "a"), resamples=resamples),
                "AMI, a+b": sentence_ami(joint, resamples=resamples),
            }
            for figure, estimate in estimates.items():
                by_figure.setdefault(figure, []).append(estimate)
        for figure, values in by_figure.items():
            mean, bca, percentile, width = held(values)
            spread = 1.96 * np.std([estimate.score for estimate in values], ddof=1)
            numbers = f"{mean:.3f} | {bca:.0%} | {percentile:.0%} | {width / 2:.3f} | {spread:.3f}"
            print(f"| {name} | {figure} | {numbers} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200)
    given = parser.parse_args()
    told_apart(given.repeats)
    print()
    bounds(given.repeats)
    print()
    covered(given.texts, given.resamples)


if __name__ == "__main__":
    main()
