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

from isogloss.concepts import Concepts
from isogloss.metrics import colap
from isogloss.metrics.concepts.sentences import colap_other_sentences, sentence_ami
from isogloss.metrics.statistics.bootstrap import Resamples, interval

Numbers = npt.NDArray[np.int64]
LANGUAGES = ("a", "b")
KINDS = {
    "words": "a concept is some words, in both languages",
    "words of a language": "a concept is some words of one language",
    "topic words": "a concept is some words of one topic, in both languages",
    "topics": "a concept is all sentences of one topic",
    "sentences": "a concept is one sentence",
    "several sentences": "a concept is three sentences, drawn at random",
    "parts of a sentence": "a concept is a half of one sentence, with words of both languages",
    "sentences of a language": "a concept is one sentence in one language",
}


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
    topical: float = 0.4,
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
    tokens = pl.DataFrame(
        {
            "row": np.arange(2 * n),
            "language": ["a"] * n + ["b"] * n,
            "sentence": np.tile(np.repeat(np.arange(n_sentences, dtype=np.int32), n_words), 2),
            "position": np.tile(np.arange(n_words, dtype=np.int16), 2 * n_sentences),
            "word": [f"{language}{i}" for language in LANGUAGES for i in flat],
        }
    )
    return Text(tokens, np.tile(flat, 2), np.tile(np.repeat(topic, n_words), 2), n_types, n_topics, seed)


def cluster(
    text: Text, kind: str, *, n_concepts: int = 200, own: float = 1.0, stray: float = 0.0, seed: int = 0
) -> Concepts:
    """Return the joint space of a text in which concepts are of a kind of `KINDS`.

    Parameters
    ----------
    n_concepts : int
        Of words: which of them a type belongs to is drawn, topic by topic for ``"topic words"``.
    own : float
        Share of the types that follow `kind`; the tokens of the others are concepts of words.
    stray : float
        Share of the tokens that lie in a concept at random; which, the text's seed says too.
    seed : int
        Of the concepts.
    """
    rng = np.random.default_rng([seed, 7])
    group = rng.permutation(np.arange(text.n_types) % n_concepts)
    label = _labels(text, kind, group, n_concepts, rng)
    follows = rng.permutation(text.n_types) < own * text.n_types
    label = np.where(follows[text.types], label, label.max() + 1 + group[text.types])
    noise = np.random.default_rng([seed, text.seed, 8])
    astray = noise.random(len(label)) < stray
    label[astray] = noise.permutation(label)[astray]
    numbers, label = np.unique(label, return_inverse=True)
    return Concepts(text.tokens, label.astype(np.int32), len(numbers))


def _labels(text: Text, kind: str, group: Numbers, n_concepts: int, rng: np.random.Generator) -> Numbers:
    sentences, types, is_b = text.sentences, text.types, text.is_b
    if kind == "words":
        return group[types]
    if kind == "words of a language":
        return 2 * (group[types] // 2) + is_b
    if kind == "topic words":
        each = max(1, n_concepts // text.n_topics)
        return (types % text.n_topics) * each + group[types] % each
    if kind == "topics":
        return text.topics
    if kind == "sentences":
        return sentences
    if kind == "several sentences":
        return (rng.permutation(sentences.max() + 1) // 3)[sentences]
    if kind == "parts of a sentence":
        return 2 * sentences + group[types] % 2
    return 2 * sentences + is_b


def alone(joint: Concepts, language: str) -> Concepts:
    """Return the concepts of one language of a joint space."""
    there = (joint.tokens["language"] == language).to_numpy()
    return Concepts(joint.tokens.filter(pl.Series(there)), joint.labels[there], joint.n_concepts)


def told_apart(repeats: int) -> None:
    """Print COLAP, COLAP across sentences and the AMI of sentences for every kind, and for mixtures."""
    print("| concepts | COLAP | at random | across sentences | at random | AMI, a alone | AMI, a+b |")
    print("|---|---|---|---|---|---|---|")
    cases = [(KINDS[kind], kind, {}) for kind in KINDS]
    cases += [
        (f"words, and one sentence for {own:.0%} of the types", "sentences", {"own": own}) for own in (0.25, 0.5, 0.75)
    ]
    cases += [("one sentence, and 10 % of the tokens anywhere", "sentences", {"stray": 0.1})]
    for name, kind, options in cases:
        rows = []
        for seed in range(repeats):
            joint = cluster(write_text(seed=seed), kind, seed=seed, **options)
            same, other = colap(joint).estimates[0], colap_other_sentences(joint)[0]
            amis = sentence_ami(alone(joint, "a")).score, sentence_ami(joint).score
            rows.append((same.score, same.chance, other.score, other.chance, *amis))
        table = np.array(rows)
        spread = table.std(axis=0, ddof=1) / repeats**0.5
        cells = [f"{mean:.3f} ± {se:.3f}" for mean, se in zip(table.mean(axis=0), spread, strict=True)]
        print(
            f"| {name} | {cells[0]} | {table[:, 1].mean():.3f} | {cells[2]} | {table[:, 3].mean():.3f} | {cells[4]} | {cells[5]} |"
        )


def covered(texts: int, n: int) -> None:
    """Print how often 95 % intervals hold the mean over many texts of the same languages."""
    print("| concepts | figure | mean score | bca | percentile | width of bca |")
    print("|---|---|---|---|---|---|")
    cases = {
        KINDS["words"]: ("words", {}),
        KINDS["topic words"]: ("topic words", {"stray": 0.1}),
        "words, and one sentence for 50 % of the types": ("sentences", {"own": 0.5}),
        "one sentence, and 20 % of the tokens anywhere": ("sentences", {"stray": 0.2}),
    }
    for name, (kind, options) in cases.items():
        rows: dict[str, list[tuple[float, ...]]] = {}
        for text in range(texts):
            joint = cluster(write_text(seed=text + 1000), kind, seed=0, **options)
            resamples = Resamples.draw(np.arange(300), n, draw_seed=text)
            estimates = {
                "COLAP across sentences": colap_other_sentences(joint, resamples=resamples, draw_seed=text)[0],
                "AMI, a alone": sentence_ami(alone(joint, "a"), resamples=resamples),
                "AMI, a+b": sentence_ami(joint, resamples=resamples),
            }
            for figure, estimate in estimates.items():
                ends = [interval(estimate.score, estimate.draws, method=m) for m in ("bca", "percentile")]
                rows.setdefault(figure, []).append((estimate.score, *ends[0], *ends[1]))
        for figure, values in rows.items():
            x = np.array(values)
            mean = x[:, 0].mean()
            bca, percentile = (((x[:, i] <= mean) & (mean <= x[:, i + 1])).mean() for i in (1, 3))
            width = (x[:, 2] - x[:, 1]).mean()
            print(f"| {name} | {figure} | {mean:.3f} | {bca:.0%} | {percentile:.0%} | {width:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200)
    given = parser.parse_args()
    told_apart(given.repeats)
    print()
    covered(given.texts, given.resamples)


if __name__ == "__main__":
    main()
