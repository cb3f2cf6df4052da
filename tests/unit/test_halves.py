"""CALIGN in other sentences: concepts that are sentences are no longer aligned, concepts of meaning are."""

from __future__ import annotations

import numpy as np
import polars as pl

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign
from isogloss.metrics.concepts.restricted import other_sentences

N_SENTENCES, N_WORDS, N_MEANINGS = 200, 8, 20


def make(language: str, *, by: str) -> Concepts:
    """Return made-up text in which word i of a language translates word i of any other, and its concepts."""
    generator = np.random.default_rng(0)  # the same for both: parallel
    word = generator.integers(0, 400, (N_SENTENCES, N_WORDS)).ravel()
    sentence = np.repeat(np.arange(N_SENTENCES), N_WORDS)
    tokens = pl.DataFrame(
        {
            "row": np.arange(len(word)),
            "language": [language] * len(word),
            "sentence": sentence.astype(np.int32),
            "position": np.tile(np.arange(N_WORDS), N_SENTENCES).astype(np.int16),
            "word": [f"{language}{i}" for i in word],
        }
    )
    labels = sentence if by == "sentence" else word % N_MEANINGS
    return Concepts(tokens, labels.astype(np.int32), int(labels.max()) + 1)


def dictionary() -> TranslationDictionary:
    words = np.arange(400)
    table = {"source": [f"en{i}" for i in words], "target": [f"de{i}" for i in words]}
    counts = {"count": np.ones(400, dtype=np.int64), "probability": np.ones(400)}
    return TranslationDictionary("en", "de", pl.DataFrame({**table, **counts}), induced_by="made up")


def scores(by: str) -> tuple[float, float]:
    both = make("en", by=by), make("de", by=by)
    options = {"theta_align": 0.4, "min_types": 4, "n_permutations": 50, "words": False}
    plain = calign(*both, dictionary(), **options).estimates[0]
    apart = calign(*other_sentences(*both), dictionary(), **options).estimates[0]
    return plain.score - plain.chance_words, apart.score - apart.chance_words


def test_sentences_are_aligned_in_the_same_sentences_only() -> None:
    plain, apart = scores("sentence")
    assert plain > 0.9
    assert abs(apart) < 0.05


def test_meanings_are_aligned_in_either() -> None:
    plain, apart = scores("meaning")
    assert plain > 0.9 and apart > 0.9


def test_every_sentence_is_seen_on_one_side() -> None:
    one, two = other_sentences(make("en", by="meaning"), make("de", by="meaning"), draw_seed=3)
    seen = [set(side.tokens["sentence"].to_numpy()[side.labels >= 0]) for side in (one, two)]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == N_SENTENCES
    again, _ = other_sentences(make("en", by="meaning"), make("de", by="meaning"), draw_seed=3)
    assert (again.labels == one.labels).all()
