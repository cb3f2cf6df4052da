"""What can a study of its size show?  Planted alignments at several numbers of sentences, K, theta and `min_types`.

    python benchmarks/planted_power.py             # about fifteen minutes on two cores

Prints the table of docs/planted.md: concepts that count, the mean score above chance, and how often it is significant.
"""

from __future__ import annotations

import argparse

import numpy as np
import polars as pl
from planted import tokens_of

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign

N_TYPES, N_WORDS, SIGMA = 20_000, 16, 0.7
THETAS = (0.3, 0.5, 0.8)


def plant(
    alignment: float, *, n_sentences: int, n_concepts: int, noise: float, seed: int
) -> tuple[Concepts, Concepts, TranslationDictionary]:
    """Make a corpus whose words are Zipf-like (exponent 1.05), and concepts of uneven sizes, a share of them aligned.

    A share `noise` of the tokens lies anywhere; 8 in 10 types of the text have their translation in the dictionary.
    """
    rng = np.random.default_rng([seed, n_sentences])
    share = 1 / np.arange(1, N_TYPES + 1) ** 1.05
    types = rng.choice(N_TYPES, n_sentences * N_WORDS, p=share / share.sum())
    sizes = np.exp(rng.normal(0, SIGMA, n_concepts))
    first = rng.choice(n_concepts, N_TYPES, p=sizes / sizes.sum())
    aligned = rng.random(n_concepts) < alignment
    second = np.where(aligned[first], first, rng.permutation(first))
    sides = []
    for language, of_type in (("a", first), ("b", second)):
        labels = np.where(rng.random(len(types)) < noise, rng.integers(0, n_concepts, len(types)), of_type[types])
        first_row = len(types) if language == "b" else 0
        tokens = tokens_of(language, types.reshape(n_sentences, N_WORDS), first_row=first_row)
        sides.append(Concepts(tokens, labels.astype(np.int32), n_concepts))
    there = np.unique(types)
    there = there[rng.random(len(there)) < 0.8]
    words = {"source": [f"a{i}" for i in there], "target": [f"b{i}" for i in there]}
    counts = {"count": np.ones(len(there), np.int64), "probability": np.ones(len(there))}
    return sides[0], sides[1], TranslationDictionary("a", "b", pl.DataFrame(words | counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--sentences", type=int, nargs="*", default=[300, 1000, 2000])
    given = parser.parse_args()
    names = [*(f"theta {theta:g}" for theta in THETAS), "soft"]
    print("| sentences | K | types | min_types | concepts that count | planted |", " | ".join(names), "|")
    print("|---|---|---|---|---|---|" + "---|" * len(names))
    for n_sentences in given.sentences:
        for n_concepts in (50, 100, 200, 400):
            for min_types in (3, 5):
                for alignment in (0.0, 0.1, 0.3):
                    rows = []
                    for seed in range(given.repeats):
                        source, target, words = plant(
                            alignment, n_sentences=n_sentences, n_concepts=n_concepts, noise=given.noise, seed=seed
                        )
                        aligned = calign(
                            source,
                            target,
                            words,
                            theta_align=THETAS,
                            min_types=min_types,
                            n_permutations=100,
                            words=False,
                        )
                        n_types = source.tokens["word"].n_unique()
                        estimates = [*aligned.estimates, aligned.soft]
                        rows.append([n_types, aligned.soft.n, *(e.adjusted for e in estimates)])
                        rows[-1] += [e.p_value < 0.05 for e in estimates]
                    x = np.array(rows, float)
                    mean, k = np.nanmean(x, axis=0), len(names)
                    cells = [f"{mean[2 + i]:.3f}, {mean[2 + k + i]:.0%}" for i in range(k)]
                    place = f"| {n_sentences} | {n_concepts} | {mean[0]:.0f} | {min_types} | {mean[1]:.0f} |"
                    print(f"{place} {alignment} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
