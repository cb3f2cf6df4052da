"""Are the two nulls of CALIGN centred?  Planted concepts of words, topics, sentences and mixtures, none aligned.

    python benchmarks/planted_nulls.py             # about ten minutes on two cores

Prints the tables of docs/planted.md: the score less each null, mean over corpora and its standard error.  Beside the
nulls of `calign` stand forms that were tried and given up: target words of the links exchanged inside every sentence
and the dictionary counted anew; the same with as many translations a word as before; and concept labels exchanged
inside every sentence, token by token.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from planted import tokens_of

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary, WordLinks
from isogloss.metrics import calign
from isogloss.results import Estimate

N_SENTENCES, N_WORDS, N_TYPES, N_TOPICS, N_CONCEPTS = 300, 16, 1200, 20, 60
OPTIONS = {"theta_align": 0.5, "words": False}
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Text:
    """The words (300, 16) of a parallel corpus, the same numbers in both languages, and their topics."""

    types: Ints
    topics: Ints

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Text:
        """Words are Zipf-like (exponent 0.9); the rarer ones come twelve times as often in a topic of theirs."""
        share = 1 / np.arange(1, N_TYPES + 1) ** 0.9
        topics, home = rng.integers(0, N_TOPICS, N_SENTENCES), rng.integers(0, N_TOPICS, N_TYPES)
        types = np.empty((N_SENTENCES, N_WORDS), np.int64)
        for topic in range(N_TOPICS):
            p = share * np.where((home == topic) & (np.arange(N_TYPES) > 50), 12, 1)
            rows = np.flatnonzero(topics == topic)
            types[rows] = rng.choice(N_TYPES, (len(rows), N_WORDS), p=p / p.sum())
        return cls(types, topics)

    @property
    def sentence(self) -> Ints:
        return np.repeat(np.arange(N_SENTENCES), N_WORDS).reshape(self.types.shape)

    @property
    def topic(self) -> Ints:
        return self.topics[self.sentence]


def classes(text: Text, n: int, rng: np.random.Generator) -> Ints:
    """Deal types to n classes, and give every token its class: words alone, and not those of another language."""
    return rng.integers(0, n, N_TYPES)[text.types]


def frequent(text: Text) -> Ints:
    """Return 0 .. 3, how frequent the word of every token is."""
    return np.digitize(np.bincount(text.types.ravel(), minlength=N_TYPES), [1.5, 4, 12])[text.types]


def either(first: Ints, second: Ints, rng: np.random.Generator, share: float = 0.5) -> Ints:
    """Return the first label for a share of the tokens, the second, in numbers of their own, for the others."""
    return np.where(rng.random(first.shape) < share, first, first.max() + 1 + second)


Structure = Callable[[Text, np.random.Generator], Ints]
UNRELATED: dict[str, Structure] = {
    "words": lambda text, rng: classes(text, N_CONCEPTS, rng),
    "a concept a sentence": lambda text, _: text.sentence,
    "a concept three sentences": lambda text, _: text.sentence // 3,
    "topics": lambda text, _: text.topic,
    "topics, 3 tokens of 10 anywhere": lambda text, rng: np.where(
        rng.random(text.topic.shape) < 0.3, rng.integers(0, N_TOPICS, text.topic.shape), text.topic
    ),
    "words inside topics": lambda text, rng: text.topic * 4 + classes(text, 4, rng),
    "words inside three sentences": lambda text, rng: text.sentence // 3 * 2 + classes(text, 2, rng),
    "half of the tokens words, half sentences": lambda text, rng: either(
        classes(text, N_CONCEPTS, rng), text.sentence // 3, rng
    ),
    "half of the tokens words, half topics": lambda text, rng: either(classes(text, N_CONCEPTS, rng), text.topic, rng),
    "half of the types words, half sentences": lambda text, rng: np.where(
        rng.integers(0, 2, N_TYPES)[text.types] > 0, classes(text, N_CONCEPTS, rng), N_CONCEPTS + text.sentence // 3
    ),
    "frequent words words, others sentences": lambda text, rng: np.where(
        frequent(text) > 2, classes(text, N_CONCEPTS, rng), N_CONCEPTS + text.sentence // 3
    ),
    "words of like frequency": lambda text, rng: frequent(text) * 15 + classes(text, 15, rng),
    "words of like frequency inside three sentences": lambda text, _: text.sentence // 3 * 2 + (frequent(text) > 1),
}
ALIGNED: dict[str, Structure] = {
    "aligned words": lambda text, _: np.arange(N_TYPES)[text.types] * 7919 % N_CONCEPTS,
    "aligned words, 1 token of 10 anywhere": lambda text, rng: np.where(
        rng.random(text.types.shape) < 0.1,
        rng.integers(0, N_CONCEPTS, text.types.shape),
        text.types * 7919 % N_CONCEPTS,
    ),
    "half aligned words, half sentences": lambda text, rng: either(
        text.types * 7919 % N_CONCEPTS, text.sentence // 3, rng
    ),
    "aligned words inside topics": lambda text, _: text.topic * 4 + text.types * 7919 % 4,
}


@dataclass(frozen=True)
class Planted:
    """Two languages, each clustered alone, and the links of 8 types in 10, one in ten of them wrong."""

    source: Concepts
    target: Concepts
    links: WordLinks

    @classmethod
    def draw(cls, structure: Structure, seed: int) -> Planted:
        rng = np.random.default_rng(seed)
        text = Text.draw(rng)
        sides = [_concepts(text, structure(text, rng), name) for name in ("a", "b")]
        n = text.types.size
        right = np.arange(n)
        wrong = text.sentence.ravel() * N_WORDS + rng.integers(0, N_WORDS, n)
        linked = np.where(rng.random(n) < 0.1, wrong, right)
        kept = (rng.random(N_TYPES) < 0.8)[text.types.ravel()]
        s, t = sides[0].tokens[right[kept]], sides[1].tokens[linked[kept]]
        table = s.select("sentence", source_position="position", source_word="word").with_columns(
            target_position=t["position"], target_word=t["word"]
        )
        return cls(*sides, WordLinks("a", "b", table))


def _concepts(text: Text, labels: Ints, language: str) -> Concepts:
    tokens = tokens_of(language, text.types, first_row=text.types.size if language == "b" else 0)
    dense = np.unique(labels.ravel(), return_inverse=True)[1].astype(np.int32)
    return Concepts(tokens, dense, int(dense.max()) + 1)


def within(groups: Ints, rng: np.random.Generator) -> Ints:
    """Return a permutation that moves every element inside its group."""
    moved = np.empty(len(groups), np.int64)
    moved[np.argsort(groups, kind="stable")] = np.lexsort((rng.random(len(groups)), groups))
    return moved


def given_up(
    planted: Planted, dictionary: TranslationDictionary, rng: np.random.Generator
) -> dict[str, list[Estimate]]:
    """Return one draw of each form that was given up: the soft estimate and that at theta 0.5."""

    def score(target: Concepts, words: TranslationDictionary) -> list[Estimate]:
        aligned = calign(planted.source, target, words, n_permutations=0, **OPTIONS)
        return [aligned.soft, aligned.estimates[0]]

    table, target = planted.links.table, planted.target
    moved = table.with_columns(table["target_word"][within(table["sentence"].to_numpy(), rng)])
    whole = WordLinks("a", "b", moved).dictionary(top=10_000, min_count=1)
    numbers = dictionary.table.group_by("source").len("n")
    best = whole.table.join(numbers, on="source").filter(pl.int_range(pl.len()).over("source") < pl.col("n"))
    held = TranslationDictionary("a", "b", best.select(dictionary.table.columns))
    labels = target.labels[within(target.tokens["sentence"].to_numpy(), rng)]
    shuffled = Concepts(target.tokens, labels, target.n_concepts)
    return {"links": score(target, whole.top(10)), "held": score(target, held), "labels": score(shuffled, dictionary)}


def table(structures: dict[str, Structure], repeats: int, draws: int) -> None:
    """Print the score less every null."""
    names = ("words", "sentence", "links", "held", "labels")
    print(f"| concepts are | figure | score | {' | '.join(names)} | called significant |")
    print(f"|---|---|---|{'---|' * len(names)}---|")
    for name, structure in structures.items():
        rows: list[list[list[float]]] = [[], []]
        for seed in range(repeats):
            planted = Planted.draw(structure, seed)
            dictionary = planted.links.dictionary(top=10, min_count=1)
            aligned = calign(planted.source, planted.target, dictionary, n_permutations=200, **OPTIONS)
            rng = np.random.default_rng([seed, 1])
            others = [given_up(planted, dictionary, rng) for _ in range(draws)]
            for i, estimate in enumerate((aligned.soft, aligned.estimates[0])):
                means = [float(np.mean([one[form][i].score for one in others])) for form in names[2:]]
                nulls = [estimate.chance_words, estimate.chance_sentence, *means]
                rows[i].append([estimate.score, *nulls, estimate.p_value])
        for figure, values in zip(("soft", "at 0.5"), rows, strict=True):
            x = np.array(values)
            above = x[:, :1] - x[:, 1:-1]
            cells = [f"{m:+.3f} ± {e:.3f}" for m, e in zip(above.mean(0), above.std(0) / repeats**0.5, strict=True)]
            significant = (x[:, -1] < 0.05).mean()
            print(f"| {name} | {figure} | {x[:, 0].mean():.3f} | {' | '.join(cells)} | {significant:.0%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--draws", type=int, default=8, help="of every form that was given up")
    given = parser.parse_args()
    for structures in (UNRELATED, ALIGNED):
        table(structures, given.repeats, given.draws)
        print()


if __name__ == "__main__":
    main()
