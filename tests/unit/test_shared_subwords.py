"""Subwords that cover several words: all of these have a state, are told, and can be left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isogloss import models
from isogloss.corpus import Corpus
from isogloss.extraction import extract, open_states, passes
from isogloss.settings import Pooling
from isogloss.states import States
from isogloss.store import StudyLayout
from tiny_models import LIMIT, corpus_of

PIECES = ['."', "...", "老房子", "里看书"]
LINES = {
    "en": ['"|the old house|.|"', "the river|.|.|.", 'water|.|" old', "green water", 'the city|.|"'],
    "zh": ["老房|子里|看书", "我们|在|家", "我|们", "古い 家", "水"],
}
MakeModel = Callable[[str], Path]


@pytest.fixture
def quoting(tiny_model: MakeModel, tmp_path: Path) -> MakeModel:
    """Return a function from a family to its tiny model, in whose vocabulary `PIECES` replace letters."""

    def make(family: str) -> Path:
        folder = Path(shutil.copytree(tiny_model(family), tmp_path / family))
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        places = [i for i, (piece, _) in enumerate(vocabulary) if piece in "äöüß"]
        for i, piece in zip(places, PIECES, strict=True):
            vocabulary[i] = [piece, 0.0]
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        return folder

    return make


def run(corpus: Corpus, folder: Path, out: Path, **options: Any) -> States:
    return extract(corpus, folder, out=out, **{"dtype": "float32", "device": "cpu", **options})


def rows_of(states: States, language: str, sentence: int) -> list[int]:
    return states.tokens.filter(language=language, sentence=sentence)["row"].to_list()


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize(
    ("family", "stack", "prefix"),
    [("xlmr", "encoder", ""), ("xlmr", "encoder", "old: "), ("mt5", "encoder", ""), ("mt5", "decoder", "old: ")],
)
def test_a_word_without_a_subword_has_the_states_of_those_that_cover_it(
    quoting: MakeModel, tmp_path: Path, family: str, stack: str, prefix: str, pooling: Pooling
) -> None:
    folder = quoting(family)
    states = run(corpus_of(LINES), folder, tmp_path / "out", stack=stack, prefix=prefix, pooling=pooling)
    assert len(states.rows) == states.tokens.height
    several = {(language, sentence): [] for language in LINES for sentence in range(5)}
    several |= {("en", 0): [".", '"'], ("en", 1): [".", ".", "."], ("en", 2): [".", '"'], ("en", 4): [".", '"']}
    several |= {("zh", 0): ["老房", "子里", "看书"], ("zh", 2): ["我", "们"]}
    for (language, sentence), words in several.items():
        shared = states.tokens.filter("shared", language=language, sentence=sentence)
        assert shared["word"].to_list() == words
    for array in states.arrays.values():
        for language, sentence in several:
            rows = states.tokens.filter("shared", language=language, sentence=sentence)["row"].to_list()
            if (language, sentence) == ("zh", 0):  # two subwords, of which the word in the middle takes both
                left, middle, right = array[rows]
                expected = {"mean": (left + right) / 2, "first": left, "last": right}[pooling]
                np.testing.assert_allclose(middle, expected, atol=1e-6)
                assert np.abs(left - right).max() > 0.1
            else:
                assert (array[rows] == array[rows[:1]]).all()
                assert array[rows].any(axis=1).all()
    middle = rows_of(states, "zh", 0)[1]
    assert states.tokens["n_subwords"][middle] == 2
    assert set(states.tokens.filter("shared")["n_subwords"]) == {1, 2}


def test_the_state_is_that_of_the_subword(quoting: MakeModel, tmp_path: Path) -> None:
    folder = quoting("xlmr")
    states = run(corpus_of({"en": ['the old|.|"']}), folder, tmp_path / "out")
    loaded = models.load(folder)
    encoded = models.encode(loaded, ['the old."'])[0]
    place = encoded.tokens.index('."')
    ids = torch.tensor([encoded.ids])
    hidden = models.hidden_states(loaded, ids, torch.ones_like(ids), torch.clone)
    for layer, array in states.arrays.items():
        for row in (2, 3):
            np.testing.assert_allclose(array[row], hidden[layer][0, place].numpy(), atol=1e-6)


def test_a_word_that_is_cut_off_takes_nothing(quoting: MakeModel, tmp_path: Path) -> None:
    kept = LIMIT - 2
    line = "water " * (kept - 1) + 'old|.|"'  # the limit goes between "old" and what follows it
    states = run(corpus_of({"en": [line]}), quoting("xlmr"), tmp_path / "out", layers=[2])
    assert states.tokens["n_subwords"].to_list() == [1] * kept + [0, 0]
    assert not states.tokens["shared"].any()


def test_selection_leaves_them_out_when_asked(quoting: MakeModel, tmp_path: Path) -> None:
    states = run(corpus_of(LINES), quoting("xlmr"), tmp_path / "out", layers=[2])
    assert states.select().at(2, language="en").tokens["word"].to_list().count(".") == 6
    kept = states.select(drop=["shared"])
    # the first quotation mark of the first line is a subword of its own
    words = ['"', "the", "old", "house", "the", "river", "water", "old", "green", "water", "the", "city"]
    assert kept.at(2, language="en").tokens["word"].to_list() == words
    assert not kept.at(2).tokens["shared"].any()


def test_they_are_counted_and_told_where_they_are_many(
    quoting: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = {"en": LINES["en"], "de": ["das alte haus", "das haus"] * 20 + ['stadt|.|"']}
    run(corpus_of(lines), quoting("xlmr"), tmp_path / "out", layers=[0])
    info = StudyLayout(tmp_path / "out").record("states/xlmr/encoder")["info"]
    assert info["n_shared"] == 11
    assert info["n_without_state"] == 0
    (warning,) = info["warnings"]
    assert "many words share a subword with a neighbour (43% of en)" in warning
    assert "drop: [shared]" in warning
    assert warning in caplog.text


def test_interrupted_and_run_again_gives_the_same_bytes(
    quoting: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, folder = corpus_of(LINES), quoting("xlmr")
    monkeypatch.setattr(passes, "WINDOW", 4)
    monkeypatch.setattr(passes, "_SAVE_LINES", 1)
    whole = run(corpus, folder, tmp_path / "whole", batch_tokens=1)
    with monkeypatch.context() as patch:
        plain, done = models.hidden_states, []

        def stop(*args: Any, **options: Any) -> Any:
            done.append(None)
            if len(done) > 5:
                raise KeyboardInterrupt
            return plain(*args, **options)

        patch.setattr(models, "hidden_states", stop)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, folder, tmp_path / "out", batch_tokens=1)
    path = tmp_path / "out/states/xlmr/encoder.partial/shared.npy"
    data = path.read_bytes()
    # flags are made again, whatever happened to them
    path.write_bytes(data[:128] + bytes(len(data) - 128))
    again = run(corpus, folder, tmp_path / "out", batch_tokens=1)
    assert again.tokens.equals(whole.tokens)
    assert again.tokens["shared"].sum() == 14
    for layer, array in whole.arrays.items():
        np.testing.assert_array_equal(again.arrays[layer], array)
    opened = open_states(StudyLayout(tmp_path / "out"), name="xlmr", stack="encoder")
    assert opened.tokens.equals(whole.tokens)
