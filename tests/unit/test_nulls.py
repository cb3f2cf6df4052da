"""The two nulls of CALIGN: what they keep, and that no artefact is above both while aligned words are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign, mean_alignment, one_to_one
from isogloss.metrics.concepts.matrices import Matrices
from isogloss.metrics.concepts.nulls import exchanged

N_SENTENCES, N_WORDS, N_TYPES = 150, 14, 500


def text(seed: int) -> np.ndarray:
    """Return (150, 14) word numbers, Zipf-like: the same meanings in both languages."""
    share = 1 / np.arange(1, N_TYPES + 1)
    return np.random.default_rng(seed).choice(N_TYPES, (N_SENTENCES, N_WORDS), p=share / share.sum())


def concepts(words: np.ndarray, labels: np.ndarray, language: str) -> Concepts:
    n = words.size
    table = {
        "row": np.arange(n) + (n if language == "de" else 0),
        "language": [language] * n,
        "sentence": np.repeat(np.arange(N_SENTENCES, dtype=np.int32), N_WORDS),
        "position": np.tile(np.arange(N_WORDS, dtype=np.int16), N_SENTENCES),
        "word": [f"{language}{i}" for i in words.ravel()],
    }
    dense = np.unique(labels.ravel(), return_inverse=True)[1].astype(np.int32)
    return Concepts(pl.DataFrame(table), dense, int(dense.max()) + 1)


def dictionary(seed: int) -> TranslationDictionary:
    """Return the translations of 8 types in 10, as a user's file has them: without links."""
    chosen = np.flatnonzero(np.random.default_rng(seed).random(N_TYPES) < 0.8)
    words = {"source": [f"en{i}" for i in chosen], "target": [f"de{i}" for i in chosen]}
    counts = {"count": np.ones(len(chosen), np.int64), "probability": np.ones(len(chosen))}
    return TranslationDictionary("en", "de", pl.DataFrame(words | counts), induced_by="file")


def labels_of(kind: str, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sentence = np.repeat(np.arange(N_SENTENCES), N_WORDS).reshape(words.shape)
    topic = sentence % 10
    unrelated = rng.integers(0, 30, N_TYPES)[words]
    match kind:
        case "words":
            return unrelated
        case "sentences":
            return sentence
        case "topics":
            return topic
        case "words inside topics":
            return topic * 4 + unrelated % 4
        case "words and sentences":
            return np.where(rng.random(words.shape) < 0.5, unrelated, 30 + sentence)
    return words * 7919 % 30  # aligned


def sides(kind: str, seed: int) -> tuple[Concepts, Concepts]:
    words, rng = text(seed), np.random.default_rng([seed, 1])
    return concepts(words, labels_of(kind, words, rng), "en"), concepts(words, labels_of(kind, words, rng), "de")


@pytest.mark.parametrize("kind", ["words", "sentences", "topics", "words inside topics", "words and sentences"])
def test_no_artefact_is_above_both_nulls(kind):
    above = {"words": [], "sentence": [], "both": []}
    for seed in range(12):
        soft = calign(*sides(kind, seed), dictionary(seed), n_permutations=40, words=False).soft
        above["words"].append(soft.score - soft.chance_words)
        above["sentence"].append(soft.score - soft.chance_sentence)
        above["both"].append(soft.score - soft.chance)
    mean = {name: np.mean(x) for name, x in above.items()}
    error = {name: np.std(x, ddof=1) / np.sqrt(len(x)) for name, x in above.items()}
    assert abs(mean["sentence"]) < max(3 * error["sentence"], 0.004)
    assert mean["both"] < max(3 * error["both"], 0.004)
    if kind != "words":
        assert mean["words"] > 0.03  # it takes them for a finding


@pytest.mark.parametrize("theta", [0.3, 0.5])
def test_aligned_words_are_above_both_nulls(theta):
    source, target = sides("aligned", 0)
    estimate = calign(source, target, dictionary(0), theta_align=theta, n_permutations=60, words=False).estimates[0]
    assert estimate.adjusted > 0.9
    assert estimate.chance == max(estimate.chance_words, estimate.chance_sentence)
    assert estimate.p_value == 1 / 61


def test_sentences_are_at_the_level_of_the_sentence_null():
    """A measure that knew the words alone would call this a perfect alignment."""
    source, target = sides("sentences", 0)
    aligned = calign(source, target, dictionary(0), theta_align=0.5, n_permutations=30, words=False)
    estimate = aligned.estimates[0]
    assert estimate.score > 0.9 and estimate.chance_words < 0.7
    assert estimate.chance == estimate.chance_sentence == pytest.approx(estimate.score)
    assert estimate.adjusted == pytest.approx(0, abs=1e-6)
    assert estimate.p_value == 1
    # concept by concept too: chance aligns what is aligned
    assert np.nanmax(np.abs(aligned.chance_of() - (aligned.best >= 0.5))) < 1e-9


def test_what_the_exchange_keeps():
    source, target = sides("words and sentences", 3)
    both = Matrices.of(source, target, dictionary(3))
    columns = exchanged(both, target, 25, draw_seed=0)
    pointers, old = both.T.indptr, both.T.indices
    table = target.table()
    row_of = {word: i for i, word in enumerate(both.target_words)}
    of_sentence = dict(table.group_by("sentence").agg("concept").iter_rows())
    reachable = [set() for _ in row_of]
    for word, sentence in table.select("word", "sentence").iter_rows():
        reachable[row_of[word]] |= set(of_sentence[sentence])
    moved = 0
    for drawn in columns:
        for v in range(len(row_of)):
            new = drawn[pointers[v] : pointers[v + 1]].tolist()
            assert len(set(new)) == len(new)  # a type stands in as many concepts as before
            assert set(new) <= reachable[v]  # and in concepts of its own sentences
            moved += set(new) != set(old[pointers[v] : pointers[v + 1]].tolist())
        # concepts have about as many types as before
        sizes = [np.bincount(x, minlength=both.T.shape[1]) for x in (drawn, old)]
        assert abs(sizes[0] - sizes[1]).sum() < 0.1 * len(old)
    assert moved > 0.5 * len(row_of) * len(columns)


def test_draws_are_a_function_of_the_seed_and_of_the_tokens():
    source, target = sides("words and sentences", 4)
    words = dictionary(4)
    both = Matrices.of(source, target, words)
    first, again, other = (exchanged(both, target, 5, draw_seed=seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    assert (first[:3] == exchanged(both, target, 3, draw_seed=0)).all()
    # tokens in another order, and another layer with the same concepts under other numbers, draw alike
    order = np.random.default_rng(0).permutation(target.tokens.height)
    shuffled = Concepts(target.tokens[order], target.labels[order], target.n_concepts)
    assert (exchanged(Matrices.of(source, shuffled, words), shuffled, 5, draw_seed=0) == first).all()


def test_the_mean_of_both_directions_has_both_nulls_and_a_p_value():
    source, target = sides("aligned", 5)
    words = dictionary(5)
    there = calign(source, target, words, theta_align=0.4, n_permutations=30, words=False).estimates[0]
    back_words = TranslationDictionary(
        "de", "en", words.table.rename({"source": "target", "target": "source"}), induced_by="file"
    )
    back = calign(target, source, back_words, theta_align=0.4, n_permutations=30, words=False).estimates[0]
    mean = mean_alignment(there, back)
    for name in ("score", "chance_words", "chance_sentence"):
        assert getattr(mean, name) == pytest.approx((getattr(there, name) + getattr(back, name)) / 2)
    assert mean.chance == max(mean.chance_words, mean.chance_sentence)
    assert mean.p_value == 1 / 31


def test_concepts_used_once_have_both_nulls():
    source, target = sides("sentences", 6)
    estimate = one_to_one(source, target, dictionary(6), theta_align=0.5, n_permutations=10)
    assert estimate.chance_sentence == pytest.approx(estimate.score)
    assert estimate.chance_words < estimate.chance_sentence


def test_no_permutations_no_chance_level():
    source, target = sides("words", 7)
    estimate = calign(source, target, dictionary(7), n_permutations=0).estimates[0]
    for name in ("chance", "chance_words", "chance_sentence", "p_value"):
        assert np.isnan(getattr(estimate, name))
