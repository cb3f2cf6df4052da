"""How often the best of many layers is called a finding where there is nothing to find, and how often where there is.

    python benchmarks/planted_search.py            # about an hour on two cores

A study has 13 layers, two numbers of concepts and three thetas of one pair.  Layers resemble each other: from one to
the next, one in eight words, sentences or topics changes its concept.  Prints the tables of docs/planted.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from planted import tokens_of

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign
from isogloss.metrics.statistics.bootstrap import Resamples, interval
from isogloss.metrics.statistics.search import corrected_p, simultaneous_intervals, told_apart
from isogloss.results import Estimate, above_chance

Labels = npt.NDArray[np.int32]
N_LAYERS, N_TYPES, N_SENTENCES, N_WORDS, N_TOPICS = 13, 400, 200, 8, 20
NUMBERS = (24, 48)  # of concepts; the first are those of the second, two by two
THETAS = (0.5, 0.3, 0.8)
MIN_TYPES = 4
# shares of aligned concepts, layer by layer
ALIKE = (0.5,) * N_LAYERS
RISEN = (0.2, 0.2, 0.25, 0.25, 0.3, 0.3, 0.5, 0.5, 0.4, 0.3, 0.25, 0.2, 0.2)


@dataclass(frozen=True)
class Text:
    """A made-up parallel text: types (sentences, words) of both languages, their topics, and tables of tokens."""

    types: npt.NDArray[np.int64]
    topics: npt.NDArray[np.int64]
    tokens: tuple[pl.DataFrame, pl.DataFrame]
    dictionary: TranslationDictionary

    @classmethod
    def draw(cls, rng: np.random.Generator, text: np.random.Generator, *, topical: bool = False) -> Text:
        """Draw a dictionary from `rng`, and sentences of Zipf-like words from `text`.

        A topic's words, a twentieth of the rarer ones, are twelve times as frequent in its sentences.
        """
        weights, home = 1 / np.arange(1, N_TYPES + 1) ** 0.9, rng.integers(0, N_TOPICS, N_TYPES)
        there = np.flatnonzero(rng.random(N_TYPES) < 0.85)
        wrong = rng.choice(N_TYPES, len(there))
        links = pl.DataFrame({"s": np.r_[there, there], "t": np.r_[there, wrong]}).unique(maintain_order=True)
        names = {"source": pl.format("a{}", "s"), "target": pl.format("b{}", "t")}
        table = links.select(**names, count=pl.lit(1, pl.Int64), probability=pl.lit(1.0))
        topics = text.integers(0, N_TOPICS, N_SENTENCES)
        types = np.empty((N_SENTENCES, N_WORDS), dtype=np.int64)
        for i, topic in enumerate(topics):
            p = weights * np.where(topical & (home == topic) & (np.arange(N_TYPES) > 20), 12, 1)
            types[i] = text.choice(N_TYPES, N_WORDS, p=p / p.sum())
        tokens = (tokens_of("a", types), tokens_of("b", types))
        return cls(types, topics, tokens, TranslationDictionary("a", "b", table))


# -- layers ---------------------------------------------------------------------------------------


def drifting(first: npt.NDArray[np.int64], rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yield one assignment a layer: from one to the next an eighth of the things change their concepts."""
    now = first.copy()
    for _ in range(N_LAYERS):
        yield now.copy()
        moved = rng.permutation(len(now))[: len(now) // 8]
        now[moved] = now[rng.permutation(moved)]


def dealt(n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Deal n things to concepts of like size."""
    return rng.permutation(np.arange(n) % NUMBERS[-1])


Layer = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def layers(kind: str, text: Text, rng: np.random.Generator) -> list[Layer]:
    """Return the labels (sentences, words) of both languages, layer by layer, of a kind without alignment."""
    of_words = [list(drifting(dealt(N_TYPES, rng), rng)) for _ in range(2)]
    of_sentences = list(drifting(dealt(N_SENTENCES, rng), rng))
    of_topics = list(drifting(dealt(N_TOPICS, rng), rng))
    shape, result = text.types.shape, []
    when = [rng.random(shape) for _ in range(2)]
    for layer in range(N_LAYERS):
        words = [of_words[side][layer][text.types] for side in (0, 1)]
        sentence = np.broadcast_to(of_sentences[layer][:, None], shape)
        topic = np.broadcast_to(of_topics[layer][text.topics][:, None], shape)
        if kind == "words":
            sides = words
        elif kind == "sentences":
            sides = [sentence, sentence]
        elif kind == "topics":
            # a topic is two concepts, of which a word has one
            sides = [topic // 2 * 2 + words[side] % 2 for side in (0, 1)]
        else:
            # more of the sentence with depth, as in real models
            share = layer / (N_LAYERS - 1)
            sides = [np.where(when[side] < share, sentence, words[side]) for side in (0, 1)]
        result.append((sides[0], sides[1]))
    return result


def aligned(
    shares: Sequence[float], text: Text, rng: np.random.Generator, noise: np.random.Generator, *, drifts: bool
) -> list[Layer]:
    """Return labels of word concepts of which a share is the same in both languages, layer by layer.

    Three tokens in a hundred lie anywhere, partly others at every layer.  Where concepts do not drift, layers of like
    shares differ by these tokens alone.
    """
    k, shape = NUMBERS[-1], text.types.shape
    sources, others = (list(drifting(dealt(N_TYPES, rng), rng)) for _ in range(2))
    ranks = rng.permutation(k // 2).repeat(2)
    at = [noise.random(shape) for _ in range(2)]
    result = []
    for layer, share in enumerate(shares):
        source, other = (concepts[layer if drifts else 0] for concepts in (sources, others))
        alone = np.flatnonzero(ranks >= round(share * k / 2))
        target = source.copy()
        loose = np.isin(source, alone)
        target[loose] = alone[other[loose] % max(len(alone), 1)] if len(alone) else target[loose]
        sides = []
        for side, concept in enumerate((source, target)):
            at[side] = np.where(noise.random(shape) < 0.3, noise.random(shape), at[side])
            # the number that says whether a token lies anywhere also says where
            anywhere = (at[side] / 0.03 * k).astype(np.int64)
            sides.append(np.where(at[side] < 0.03, anywhere, concept[text.types]))
        result.append((sides[0], sides[1]))
    return result


# -- studies --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """The estimates of all layers, numbers of concepts and thetas; of `SOFT` the theta is NaN."""

    estimates: list[Estimate]
    places: npt.NDArray[np.float64]  # (r, 3): layer, number, theta

    @classmethod
    def of(cls, text: Text, labels: Sequence[Layer], *, n_permutations: int = 0, n_bootstrap: int = 0) -> Study:
        """Measure CALIGN from a to b."""
        estimates, places = [], []
        resamples = Resamples.draw(np.arange(N_SENTENCES), n_bootstrap) if n_bootstrap else None
        for layer, sides in enumerate(labels):
            for k in NUMBERS:
                source, target = (
                    Concepts(tokens, (side.ravel() * k // NUMBERS[-1]).astype(np.int32), k)
                    for tokens, side in zip(text.tokens, sides, strict=True)
                )
                measured = calign(
                    source,
                    target,
                    text.dictionary,
                    theta_align=THETAS,
                    min_types=MIN_TYPES,
                    n_permutations=n_permutations,
                    resamples=resamples,
                    words=False,
                )
                estimates += [measured.soft, *measured.estimates]
                places += [(layer, k, theta) for theta in (np.nan, *THETAS)]
        return cls(estimates, np.array(places))

    def family(self, *, soft: bool) -> Study:
        """Return the soft estimates, or those with a theta: what one search is over."""
        kept = np.flatnonzero(np.isnan(self.places[:, 2]) == soft)
        return Study([self.estimates[i] for i in kept], self.places[kept])

    @property
    def adjusted(self) -> npt.NDArray[np.float64]:
        return np.array([e.adjusted if e.n else -np.inf for e in self.estimates])

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        return np.array([e.score for e in self.estimates])

    @property
    def draws(self) -> npt.NDArray[np.float64]:
        return np.array([e.draws for e in self.estimates], dtype=np.float64)

    def p_values(self) -> npt.NDArray[np.float64]:
        """Return the corrected p-values, of the null that is refused less."""
        return np.maximum(*(self._p("words"), self._p("sentence")))

    def _p(self, null: str) -> npt.NDArray[np.float64]:
        drawn = [getattr(e, f"null_{null}") for e in self.estimates]
        empty = np.full(max(len(x) for x in drawn if x is not None), np.nan)
        chance = np.array([getattr(e, f"chance_{null}") for e in self.estimates])
        nulls = np.array([empty if x is None else x for x in drawn])
        return corrected_p(above_chance(self.scores, chance), above_chance(nulls, chance[:, None]))

    def above(self) -> npt.NDArray[np.bool_]:
        """Say which rows are above chance: corrected p below 0.05, simultaneous interval above the chance level."""
        low, _ = simultaneous_intervals(self.scores, self.draws)
        return (self.p_values() < 0.05) & (low > np.array([e.chance for e in self.estimates]))


def _generator(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, sum(map(ord, name))])


def unaligned(kind: str, seed: int) -> Study:
    """Return a study without alignment."""
    rng = _generator(kind, seed)
    text = Text.draw(rng, rng, topical=kind == "topics")
    return Study.of(text, layers(kind, text, rng), n_permutations=100, n_bootstrap=100)


def one_layer(share: float, seed: int) -> Study:
    """Return a study of which a share of the concepts is aligned at layer 6."""
    rng = _generator(f"one{share}", seed)
    text = Text.draw(rng, rng)
    labels = aligned([share * (layer == 6) for layer in range(N_LAYERS)], text, rng, rng, drifts=True)
    return Study.of(text, labels, n_permutations=100, n_bootstrap=100)


def of_text(shares: Sequence[float], seed: int) -> Study:
    """Return a study of languages and concepts that are always the same, of another text for every seed."""
    rng, drawn = np.random.default_rng(5), np.random.default_rng([5, seed])
    text = Text.draw(rng, drawn)
    return Study.of(text, aligned(shares, text, rng, drawn, drifts=False), n_bootstrap=200)


# -- tables ---------------------------------------------------------------------------------------


def nothing_planted(repeats: int) -> None:
    """Print how often the best, and any row, is called a finding where nothing is aligned."""
    print("| concepts | measure | rows | best: p_value < 0.05 | best: own interval above chance "
          "| best: p_search < 0.05 | any: p_search < 0.05 | any: above |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("words", "sentences", "topics", "mixtures"):
        studies = [unaligned(kind, seed) for seed in range(repeats)]
        for soft in (True, False):
            said = []
            for study in (study.family(soft=soft) for study in studies):
                best, p = int(np.argmax(study.adjusted)), study.p_values()
                of_best = study.estimates[best]
                naive = of_best.p_value < 0.05, of_best.ci_low > of_best.chance
                said.append((*naive, p[best] < 0.05, (p < 0.05).any(), study.above().any()))
            cells = " | ".join(f"{share:.1%}" for share in np.mean(said, axis=0))
            print(f"| {kind} | {'soft' if soft else 'theta'} | {len(p)} | {cells} |", flush=True)


def one_layer_planted(repeats: int) -> None:
    """Print how often the layer with alignment is found, and how often another is called above chance."""
    print("| planted at layer 6 | measure | rows | layer 6: p_value < 0.05 | layer 6: p_search < 0.05 "
          "| layer 6: above | it is the best | another layer: above |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for share in (0.05, 0.1, 0.25, 0.5):
        studies = [one_layer(share, seed) for seed in range(repeats)]
        for soft in (True, False):
            said = []
            for study in (study.family(soft=soft) for study in studies):
                here, above, p = study.places[:, 0] == 6, study.above(), study.p_values()
                naive = np.array([e.p_value for e in study.estimates]) < 0.05
                best = here[np.argmax(np.where(above | ~above.any(), study.adjusted, -np.inf))]
                said.append((naive[here].any(), (p[here] < 0.05).any(), above[here].any(), best, above[~here].any()))
            cells = " | ".join(f"{x:.0%}" for x in np.mean(said, axis=0))
            print(f"| {share} | {'soft' if soft else 'theta'} | {len(here)} | {cells} |", flush=True)


def all_alike(texts: int) -> None:
    """Print how often layers are told apart that are not different, and how often intervals of the best hold."""
    print("| layers | measure | told from the best, wrongly | rightly | own intervals do not touch, wrongly "
          "| own interval of the best holds | simultaneous one holds | all of the family hold | widths |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name, shares in (("all alike", ALIKE), ("two alike at the top", RISEN)):
        studies = [of_text(shares, seed) for seed in range(texts)]
        for soft in (True, False):
            families = [study.family(soft=soft) for study in studies]
            truth = np.mean([study.scores for study in families], axis=0)
            at = families[0].places
            for k in NUMBERS:
                for theta in (np.nan,) if soft else THETAS:
                    rows = np.flatnonzero((at[:, 1] == k) & (soft | (at[:, 2] == theta)))
                    cells = _compared(families, rows, truth, np.array(shares))
                    print(f"| {name} | {'soft' if soft else f'theta {theta}'}, K {k} | {cells} |", flush=True)


def _compared(
    families: Sequence[Study],
    rows: npt.NDArray[np.int64],
    truth: npt.NDArray[np.float64],
    shares: npt.NDArray[np.floating],
) -> str:
    """Return the cells of `all_alike` of the layers of one number and theta, of which the best is named."""
    said, widths = [], []
    for study in families:
        scores, draws = study.scores, study.draws
        best = rows[int(np.argmax(scores[rows]))]
        mine = shares[study.places[best, 0].astype(int)]
        alike, lower = shares == mine, shares < mine
        apart = told_apart(scores[rows], draws[rows], widened=1.2)[list(rows).index(best)]
        own = np.array([interval(scores[i], draws[i]) for i in rows])
        beside = own[list(rows).index(best), 0] > own[:, 1]
        low, high = simultaneous_intervals(scores, draws)
        holds = (low <= truth) & (truth <= high)
        ends = own[list(rows).index(best)]
        said.append(
            (
                apart[alike].any(),
                apart[lower].mean() if lower.any() else np.nan,
                (beside & alike).any(),
                ends[0] <= truth[best] <= ends[1],
                holds[best],
                holds.all(),
            )
        )
        widths.append((ends[1] - ends[0], high[best] - low[best]))
    shares_said = " | ".join("–" if np.isnan(x).all() else f"{np.nanmean(x):.1%}" for x in np.array(said).T)
    return shares_said + " | " + " and ".join(f"{x:.3f}" for x in np.mean(widths, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    given = parser.parse_args()
    nothing_planted(given.repeats)
    print()
    # what is there is seen in nearly all or few: fewer will do
    one_layer_planted(given.repeats * 3 // 10)
    print()
    all_alike(given.repeats)


if __name__ == "__main__":
    main()
