"""A line is text: names of special subwords in it are letters; it is lower-cased where a model's files say so."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isogloss import models
from isogloss.corpus import Corpus
from isogloss.extraction import extract
from isogloss.settings import TrainingSettings
from tiny_models import CODES, LIMIT, corpus_of, make

FAMILIES = ("bert", "roberta", "xlmr", "llama", "t5", "mbart", "nllb")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    made = {}

    def get(family):
        if family not in made:
            made[family] = make(family, tmp_path_factory.mktemp("text") / family)
        return made[family]

    return get


def load(family, folder):
    return models.load(folder, device="cpu", languages=["en", "de"] if family in CODES else [])


@pytest.mark.parametrize("family", FAMILIES)
def test_names_of_special_subwords_are_text(tiny_model, family):
    loaded = load(family, tiny_model(family))
    tokenizer = loaded.tokenizer
    names = tokenizer.all_special_tokens
    lines = [f"the {name} house" for name in names] + ["the" + "".join(names[:2]), "a </s>.</s> <s>"]
    language = "en" if family in CODES else None
    for line, found in zip(lines, models.encode(loaded, lines, language=language), strict=True):
        inside = {i for i, special in zip(found.ids, found.special_tokens_mask, strict=True) if not special}
        assert not inside & set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}, line
        assert "house" not in line or max(end for _, end in found.offsets) == len(line)
    assert models.lines_with_names(loaded, ["the house", *lines])[0] == len(lines) - (not {"<s>", "</s>"} & set(names))
    plain = ["the old house", "a <b> [1] {x}", "|a|", "snake_Case", "‹"]
    assert models.as_text(loaded, plain) == plain
    # what a user puts in front may name them
    end = next(x for x in names if x != tokenizer.unk_token)
    number = tokenizer.convert_tokens_to_ids(end)
    before, behind = (
        models.encode(loaded, [end], language=language, prefix=prefix)[0].ids.count(number) for prefix in ("", end)
    )
    assert behind == before + 1


@pytest.mark.parametrize(("family", "word"), [("xlmr", "＜pad＞"), ("t5", "＜/s＞"), ("xlmr", "﹤s﹥")])
def test_a_name_that_normal_forms_make_is_text_too(tiny_model, family, word):
    loaded = load(family, tiny_model(family))
    line = f"the {word} house"
    (found,) = models.encode(loaded, [line])
    inside = {i for i, special in zip(found.ids, found.special_tokens_mask, strict=True) if not special}
    assert not inside & set(loaded.tokenizer.all_special_ids) - {loaded.tokenizer.unk_token_id}
    assert models.lines_with_names(loaded, [line]) == (1, word)
    assert models.as_text(loaded, ["１ ＜ ２"]) == ["１ ＜ ２"]


def test_a_special_subword_that_is_a_word_or_a_sign_stays_as_it_is(tiny_model, tmp_path):
    folder = Path(shutil.copytree(tiny_model("bert"), tmp_path / "bert"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"pad_token": "!", "extra_special_tokens": ["house", "[1]"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    loaded = replace(load("bert", tiny_model("bert")), tokenizer=load("bert", folder).tokenizer)
    assert models.as_text(loaded, ["old house! [1] [CLS]"]) == ["old house! ‹1] ‹CLS]"]


def test_states_of_a_line_with_names_are_those_of_its_text_and_it_is_said_once(tiny_model, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "isogloss")
    lines = {"en": ["the </s> house", "old </s> <pad>", "water"], "de": ["das haus", "alte <s> stadt", "wasser"]}
    found = extract(corpus_of(lines), tiny_model("roberta"), out=tmp_path / "a", device="cpu")
    said = [x for x in caplog.messages if "special subwords" in x]
    assert said == [
        f"roberta/encoder: {n} of 3 lines of {language} hold names of the model's special subwords, such as '{name}'; "
        "they are read as text"
        for n, language, name in ((2, "en", "</s>"), (1, "de", "<s>"))
    ]
    plain = {x: [line.replace("<", "‹") for line in lines[x]] for x in lines}
    wanted = extract(corpus_of(plain), tiny_model("roberta"), out=tmp_path / "b", device="cpu")
    assert found.tokens["word"].to_list() != wanted.tokens["word"].to_list()
    for layer in wanted.arrays:
        np.testing.assert_array_equal(found.arrays[layer], wanted.arrays[layer])


@pytest.mark.parametrize("family", ["t5", "mbart"])
def test_sentiment_of_lines_with_the_name_of_the_end(tiny_model, tmp_path, caplog, family):
    pytest.importorskip("accelerate")
    from isogloss.tasks import evaluate, finetune

    caplog.set_level(logging.WARNING, "isogloss")
    lines = ["the old house", "the </s> river", "a </s> </s> city", "the water"] * 3
    corpus = Corpus.from_texts({"en": lines}, parallel=False)
    labels = pl.Series("label", ["a", "b", "b", "a"] * 3)
    corpus = replace(corpus, sentences=corpus.sentences.with_columns(labels))
    settings = TrainingSettings(epochs=1, batch_size=4, evaluations=1)
    out = tmp_path / "out"
    tuned = finetune(
        tiny_model(family), "sentiment", train=corpus, dev=corpus, out=out, settings=settings, device="cpu"
    )
    caplog.clear()
    assert evaluate(tuned, corpus, n_bootstrap=0, device="cpu")["n"].to_list() == [12, 12]
    assert [x for x in caplog.messages if "special" in x] == [
        "6 of 12 lines of en hold names of the model's special subwords, such as '</s>'; they are read as text."
    ]


def test_both_sides_of_a_translation_are_text(tiny_model):
    from isogloss.tasks.translation import Translation

    loaded = models.load_head(tiny_model("t5"), "translation", device="cpu", target="de", languages=["en"])
    corpus = Corpus.from_texts({"en": ["the </s> house"], "de": ["das </s> haus"]})
    (example,) = Translation((), "de").examples(loaded, corpus)
    end = loaded.tokenizer.eos_token_id
    assert example["input_ids"].count(end) == example["labels"].count(end) == 1
    assert example["reference"] == "das </s> haus"


# -- lower case -----------------------------------------------------------------------------------


def sentence_folder(model: Path, folder: Path, place: str, *, lower: bool) -> Path:
    """Write a folder of sentence-transformers: the old layout keeps the transformer in a folder of its own."""
    shutil.copytree(model, folder / place)
    kind = "sentence_transformers.models.Transformer"
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": place, "type": kind}]))
    settings = {"max_seq_length": 6, "do_lower_case": lower}
    (folder / place / "sentence_bert_config.json").write_text(json.dumps(settings))
    return folder


def test_files_of_the_hub_s_cache_say_it_too(tiny_model, tmp_path, monkeypatch):
    from huggingface_hub import constants

    root, commit = tmp_path / "models--some--model", "a" * 40
    sentence_folder(tiny_model("bert"), root / "snapshots", commit, lower=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", _unreachable)
    loaded = models.load("some/model", device="cpu")
    assert loaded.info.source.commit == commit and models.facts(loaded)["lower_case"] is True


def _unreachable(*_, **__):
    raise OSError("no network")


@pytest.mark.parametrize("place", ["", "0_Transformer"])
def test_text_is_lower_cased_where_sentence_transformers_asks_for_it(tiny_model, tmp_path, place):
    lines = {"en": ["THE OLD House", "İ The River .", "<PAD> Water </S>"]}
    lower = {"en": ["the old house", "İ the river .", "<pad> water </s>"]}
    model = tiny_model("roberta")
    folder = sentence_folder(model, tmp_path / "lower", place, lower=True)
    assert models.facts(load("roberta", folder))["lower_case"] is True
    states = extract(corpus_of(lines), folder, out=tmp_path / "a", device="cpu", prefix="The Old ")
    wanted = extract(corpus_of(lower), model, out=tmp_path / "b", device="cpu", prefix="the old ")
    assert states.tokens["word"][0] == "THE"
    for layer in wanted.arrays:
        np.testing.assert_array_equal(states.arrays[layer], wanted.arrays[layer])
    as_given = sentence_folder(model, tmp_path / "given", place, lower=False)
    assert models.facts(load("roberta", as_given))["lower_case"] is False
    states = extract(corpus_of(lines), as_given, out=tmp_path / "c", device="cpu")
    wanted = extract(corpus_of(lines), model, out=tmp_path / "d", device="cpu")
    np.testing.assert_array_equal(states.arrays[1], wanted.arrays[1])


def test_a_model_tuned_on_lower_case_goes_on_reading_it(tiny_model, tmp_path):
    folder = sentence_folder(tiny_model("bert"), tmp_path / "lower", "", lower=True)
    head = models.load_head(folder, "sentences", labels=("a", "b"), device="cpu")
    models.save_head(head, tmp_path / "tuned")
    assert models.describe(tmp_path / "tuned").source.lower_case
    assert models.load(tmp_path / "tuned").max_length == LIMIT  # max_seq_length is not read
