"""What CALIGN and COLAP make of languages whose alignment is known, and how often their intervals hold the truth.

    python benchmarks/planted.py            # about three minutes on two cores

Prints the tables of docs/planted.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign, colap
from isogloss.metrics.statistics.bootstrap import Resamples, interval
from isogloss.results import Estimate

SPACES = {
    "clean": {},
    "5 % of the tokens anywhere": {"noise": 0.05},
    "a dictionary of 70 %": {"coverage": 0.7},
    "4 wrong translations a word": {"n_wrong": 4},
}


@dataclass(frozen=True)
class Planted:
    """A made-up parallel corpus, clustered.

    Attributes
    ----------
    source, target : Concepts
        Of the languages ``a`` and ``b``, each clustered alone.
    joint : Concepts
        Of both together.
    dictionary : TranslationDictionary
        a -> b.
    """

    source: Concepts
    target: Concepts
    joint: Concepts
    dictionary: TranslationDictionary


def plant(
    alignment: float,
    *,
    n_concepts: int = 60,
    n_types: int = 1200,
    n_sentences: int = 800,
    n_words: int = 12,
    noise: float = 0.0,
    zipf: float = 0.8,
    unevenness: float = 0.0,
    coverage: float = 1.0,
    n_wrong: int = 0,
    seed: int = 0,
    text_seed: int | None = None,
) -> Planted:
    """Make two languages of which a share `alignment` of the concepts is the same.

    Every type of ``a`` has one translation in ``b``.  The types of ``a`` are dealt to concepts.  In aligned concepts
    the translations stand together in ``b`` as well; those of all other concepts are dealt to as many concepts of the
    same sizes at random.  In the joint space aligned concepts are one, the others one a language: COLAP is
    ``a / (2 - a)`` then.

    Parameters
    ----------
    alignment : float
        In [0, 1].
    n_concepts, n_types : int
        Of each language.
    n_sentences, n_words : int
        Sentence pairs, and words in each; both sides of a pair have the same meanings.
    noise : float
        Share of tokens that lie in a concept at random.
    zipf : float
        Exponent of the types' frequencies.
    unevenness : float
        Standard deviation of the logarithm of the concepts' sizes.
    coverage : float
        Share of the types that the dictionary has.
    n_wrong : int
        Wrong translations of every type, beside the right one.
    seed : int
        Of concepts, dictionary and text.
    text_seed : int, optional
        Of the text (sentences and noise) alone: other samples of the same languages.
    """
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(0, unevenness, n_concepts))
    concept_a = rng.permutation(
        np.searchsorted(np.cumsum(sizes / sizes.sum()), np.arange(n_types) / n_types, side="right")
    ).clip(max=n_concepts - 1)
    aligned = np.zeros(n_concepts, dtype=bool)
    aligned[rng.permutation(n_concepts)[: round(alignment * n_concepts)]] = True
    concept_b = concept_a.copy()
    loose = np.flatnonzero(~aligned[concept_a])
    concept_b[loose] = rng.permutation(concept_a[loose])
    dictionary = _dictionary(n_types, coverage, n_wrong, rng)
    joint_b = np.where(aligned, np.arange(n_concepts), n_concepts + np.cumsum(~aligned) - 1)

    text = rng if text_seed is None else np.random.default_rng([seed, text_seed])
    weights = 1 / np.arange(1, n_types + 1) ** zipf
    types = text.choice(n_types, size=(n_sentences, n_words), p=weights / weights.sum()).reshape(-1)
    labels = []
    for concept in (concept_a, concept_b):
        found = concept[types]
        moved = text.random(len(types)) < noise
        labels.append(np.where(moved, text.integers(0, n_concepts, len(types)), found))
    text_of = types.reshape(n_sentences, n_words)
    tokens = pl.concat([tokens_of("a", text_of), tokens_of("b", text_of, first_row=len(types))])
    n = len(types)
    joint = np.concatenate([labels[0], joint_b[labels[1]]]).astype(np.int32)
    return Planted(
        Concepts(tokens[:n], labels[0].astype(np.int32), n_concepts),
        Concepts(tokens[n:], labels[1].astype(np.int32), n_concepts),
        Concepts(tokens, joint, int(n_concepts + (~aligned).sum())),
        dictionary,
    )


def _dictionary(n_types: int, coverage: float, n_wrong: int, rng: np.random.Generator) -> TranslationDictionary:
    known = np.sort(rng.permutation(n_types)[: round(coverage * n_types)])
    source = np.repeat(known, 1 + n_wrong)
    wrong = rng.integers(0, n_types, (len(known), n_wrong))
    target = np.concatenate([known[:, None], wrong], axis=1).reshape(-1)
    table = pl.DataFrame({"source": source, "target": target}).unique(maintain_order=True)
    words = [pl.concat_str(pl.lit(x), pl.col(side)).alias(side) for x, side in (("a", "source"), ("b", "target"))]
    table = table.select(*words, pl.lit(1, dtype=pl.Int64).alias("count"), pl.lit(1.0).alias("probability"))
    return TranslationDictionary("a", "b", table)


def tokens_of(language: str, types: npt.NDArray[np.integer], *, first_row: int = 0) -> pl.DataFrame:
    """Return the token table of made-up sentences of one language: (sentences, words) numbers of types."""
    n_sentences, n_words = types.shape
    return pl.DataFrame(
        {
            "row": np.arange(first_row, first_row + types.size, dtype=np.int64),
            "language": [language] * types.size,
            "sentence": np.repeat(np.arange(n_sentences, dtype=np.int32), n_words),
            "position": np.tile(np.arange(n_words, dtype=np.int16), n_sentences),
            "word": [f"{language}{number}" for number in types.ravel()],
        }
    )


def held(estimates: Sequence[Estimate]) -> tuple[float, float, float, float]:
    """Return the mean score over texts, how often BCa and percentile intervals hold it, and the width of BCa."""
    scores = np.array([estimate.score for estimate in estimates])
    shares, widths = [], []
    for method in ("bca", "percentile"):
        low, high = np.array([interval(e.score, e.draws, method=method) for e in estimates]).T
        shares.append(float(((low <= scores.mean()) & (scores.mean() <= high)).mean()))
        widths.append(float((high - low).mean()))
    return float(scores.mean()), *shares, widths[0]


def recovered(repeats: int) -> None:
    """Print adjusted CALIGN, its soft form and COLAP at planted alignments."""
    print("| sizes | space | planted | CALIGN 0.8, adjusted | soft, adjusted | COLAP | its truth |")
    print("|---|---|---|---|---|---|---|")
    for sizes, unevenness in (("even", 0.0), ("uneven", 0.7)):
        for name, options in SPACES.items():
            for a in (0.0, 0.25, 0.5, 0.75, 1.0):
                hard, soft, shared = [], [], []
                for seed in range(repeats):
                    p = plant(a, seed=seed, unevenness=unevenness, **options)
                    found = calign(p.source, p.target, p.dictionary, n_permutations=40, words=False)
                    hard.append(found.adjusted)
                    soft.append(found.soft.adjusted)
                    shared.append(colap(p.joint).score)
                cells = [f"{np.mean(x):.3f} ± {np.std(x) / repeats**0.5:.3f}" for x in (hard, soft, shared)]
                print(f"| {sizes} | {name} | {a} | {' | '.join(cells)} | {a / (2 - a):.3f} |", flush=True)


def covered(repeats: int, n: int) -> None:
    """Print how often 95 % intervals hold the mean score over many texts."""
    print("| planted | space | figure | mean score | bca | percentile | width of bca |")
    print("|---|---|---|---|---|---|---|")
    common = {"unevenness": 0.5, "n_sentences": 400, "n_types": 800, "n_concepts": 40}
    spaces = [(0.5, {"noise": 0.04, "coverage": 0.85}), (0.75, {"noise": 0.02}), (0.25, {"n_wrong": 4, "noise": 0.03})]
    for a, options in spaces:
        found: dict[str, list[Estimate]] = {}
        for text in range(repeats):
            p = plant(a, seed=5, text_seed=text, **common, **options)
            resamples = Resamples.draw(np.arange(400), n, draw_seed=text)
            aligned = calign(
                p.source,
                p.target,
                p.dictionary,
                theta_align=[0.8, 0.6],
                n_permutations=0,
                resamples=resamples,
                words=False,
            )
            shared = colap(p.joint, theta_overlap=0.45, resamples=resamples)
            named = {"CALIGN 0.8": aligned.estimates[0], "CALIGN 0.6": aligned.estimates[1], "soft": aligned.soft}
            for name, estimate in (named | {"COLAP 0.45": shared.estimates[0]}).items():
                found.setdefault(name, []).append(estimate)
        said = ", ".join(f"{k} {v}" for k, v in options.items())
        for name, estimates in found.items():
            mean, bca, percentile, width = held(estimates)
            print(f"| {a} | {said} | {name} | {mean:.3f} | {bca:.0%} | {percentile:.0%} | {width:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200)
    given = parser.parse_args()
    recovered(given.repeats)
    print()
    covered(given.texts, given.resamples)


if __name__ == "__main__":
    main()
