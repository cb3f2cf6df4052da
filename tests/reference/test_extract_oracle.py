"""States against the peers' extractor: the same numbers word by word, or a listed reason why not.

The recorded vectors are those of NeuroX and of the paper's modified NeuroX on two micro models with random
weights (``shared/oracles/extraction``).  Their words are the pieces of ``line.split(" ")``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from isogloss import models
from isogloss.corpus import SENTENCE_COLUMNS, WORD_COLUMNS, Corpus
from isogloss.extraction import extract
from isogloss.states import States

ORACLES = Path(__file__).resolve().parents[2].parent / "shared" / "oracles" / "extraction"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not ORACLES.is_dir(), reason="the recorded states are not beside the repository"),
]

# (sentence, word) where theirs has a vector of zeros and ours no token, or a token without a state.
ZEROS = {
    (3, ""): "a double space makes a word of no characters",
    (5, "\u200b"): "the tokenizer drops the word",
    (10, ""): "an empty line makes a word of no characters",
}
CUT = 9  # the sentence that is longer than the limit: both leave out the words after it


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    return {entry["id"]: entry for entry in json.loads((ORACLES / "extraction.json").read_text())}


def corpus_of(lines: dict[str, list[str]]) -> Corpus:
    sentences, words = [], []
    for language, texts in lines.items():
        for number, text in enumerate(texts):
            sentences.append((language, number, text))
            at = position = 0
            for word in text.split(" "):
                if word:
                    words.append((len(words), language, number, position, word, at, at + len(word)))
                    position += 1
                at += len(word) + 1
    tables = (
        pl.DataFrame(sentences, schema=SENTENCE_COLUMNS, orient="row"),
        pl.DataFrame(words, schema=WORD_COLUMNS, orient="row"),
    )
    return Corpus(*tables, tuple(lines))


def both(states: States, language: str, entry: dict[str, Any], lines: list[str]) -> list[tuple[Any, ...]]:
    """Return sentence, word, our vectors and their vectors (layer, neuron) of every word; None = no vector."""
    found = []
    for number, (line, answer) in enumerate(zip(lines, entry["expected"], strict=True)):
        here = (pl.col("language") == language) & (pl.col("sentence") == number)
        tokens = states.tokens.filter(here).iter_rows(named=True)
        theirs = np.array(answer["layers"], dtype=np.float32)
        for index, word in enumerate(line.split(" ")):
            token = next(tokens) if word else None
            ours = None
            if token is not None and token["n_subwords"] > 0:
                ours = np.stack([states.arrays[layer][token["row"]] for layer in states.layers])
            found.append((number, word, ours, theirs[:, index] if index < theirs.shape[1] else None))
    return found


def check_same(found: list[tuple[Any, ...]], zeros: set[tuple[int, str]]) -> int:
    """Check that vectors are equal and that only zeros are theirs alone; return how many were compared."""
    n, alone = 0, set()
    for number, word, ours, theirs in found:
        if ours is None and theirs is not None:
            assert not theirs.any(), (number, word)
            alone.add((number, word))
        elif ours is not None:
            assert theirs is not None, (number, word)
            np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=f"sentence {number}, {word!r}")
            n += 1
    assert alone == zeros
    return n


@pytest.mark.parametrize(("pooling", "theirs"), [("last", "last"), ("first", "first"), ("mean", "average")])
def test_bert_states_are_theirs(answers, tmp_path, pooling, theirs):
    entry = answers[f"bert_{theirs}"]
    lines = entry["sentences"]
    states = extract(corpus_of({"x": lines}), ORACLES / "bert-micro", out=tmp_path, pooling=pooling, dtype="float32")
    found = both(states, "x", entry, lines)
    assert check_same(found, set(ZEROS)) == 64
    lost = [word for number, word, ours, theirs in found if number == CUT and ours is None and theirs is None]
    assert len(lost) == len(lines[CUT].split(" ")) - 12


def mt5_states(entry: dict[str, Any], out: Path, **options: Any) -> States:
    corpus = corpus_of({"en": entry["encoder_sentences"], "de": entry["decoder_sentences"]})
    return extract(corpus, ORACLES / "mt5-micro", out=out, dtype="float32", **options)


def test_mt5_encoder_states_are_theirs(answers, tmp_path):
    entry = answers["mt5_encoder_last"]
    found = both(mt5_states(entry, tmp_path, pooling="last"), "en", entry, entry["encoder_sentences"])
    assert check_same(found, {(3, ""), (10, "")}) == 69


def test_mt5_encoder_means_differ_where_theirs_counts_the_space(answers, tmp_path):
    entry = answers["mt5_encoder_average"]
    found = both(mt5_states(entry, tmp_path, pooling="mean"), "en", entry, entry["encoder_sentences"])
    loaded = models.load(ORACLES / "mt5-micro")
    with_space = {w for _, w, *_ in found if models.encode(loaded, [w])[0].ids[0] in models.space_marks(loaded)}
    pairs = [(word, ours, theirs) for _, word, ours, theirs in found if ours is not None]
    equal = [word for word, ours, theirs in pairs if np.allclose(ours, theirs, atol=1e-5)]
    assert equal == [word for word, *_ in pairs if word not in with_space]
    assert len(equal) == 23


def test_mt5_decoder_states_are_theirs_one_position_later(answers, tmp_path):
    """Theirs is the state that predicts a subword; ours has read it, as theirs has at the next position."""
    entry = answers["mt5_decoder_last"]
    found = both(mt5_states(entry, tmp_path, pooling="last", stack="decoder"), "de", entry, entry["decoder_sentences"])
    loaded = models.load(ORACLES / "mt5-micro", stack="decoder")
    sources = models.encode(loaded, entry["encoder_sentences"])
    targets = models.encode(loaded, entry["decoder_sentences"])
    for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
        ids = [torch.tensor([x]) for x in ([0, *target.ids], source.ids)]
        masks = [torch.ones_like(x) for x in ids]
        hidden = models.hidden_states(loaded, ids[0], masks[0], torch.clone, source=(ids[1], masks[1]))
        by_position = np.stack([layer[0].numpy() for layer in hidden.values()])
        last = {word: k for k, word in enumerate(target.word_ids) if word is not None}
        mine = [x for x in found if x[0] == number]
        assert len(mine) == len(last)
        for (_, word, ours, theirs), k in zip(mine, last.values(), strict=True):
            np.testing.assert_allclose(theirs, by_position[:, k], atol=1e-5, err_msg=word)  # predicts piece k
            np.testing.assert_allclose(ours, by_position[:, k + 1], atol=1e-5, err_msg=word)  # has read piece k
