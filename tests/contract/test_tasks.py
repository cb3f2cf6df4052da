"""Every task on every family of models: it learns what can be learnt, is scored, and its states can be extracted."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

pytest.importorskip("accelerate")

from isogloss.corpus import Corpus
from isogloss.errors import InputError, UsageError
from isogloss.extraction import extract
from isogloss.models import hidden_states, load, load_head
from isogloss.settings import LoraSettings, TrainingSettings
from isogloss.tasks import FineTuned, evaluate, finetune
from isogloss.tasks.sentiment import Sentiment
from tiny_models import FAMILIES, SEQ2SEQ, make

NOT_FOR_TOKENS = {"mbart", "nllb", "gemma"}  # transformers has no such head for them
NOT_FOR_SENTENCES = {"nllb"}
SHORT = TrainingSettings(epochs=24, rate=3e-3, batch_size=8, evaluations=4, patience=9, weight_decay=0.0, max_length=40)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = make(family, tmp_path_factory.mktemp("families") / family)
        return made[family]

    return get


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    """Sentences in which 'river' and 'fluss' are places; with 'old' or 'alte' they are good, else bad."""
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    words = {"en": ("the", "old", "green", "river"), "de": ("das", "alte", "haus", "fluss")}
    draws = [(generator.random() < 0.5, generator.random() < 0.5) for _ in range(40)]
    for language, (the, old, other, river) in words.items():
        lines = []
        for good, place in draws:
            tokens = [the, old if good else other, river if place else the, other]
            tags = ["B-LOC" if token == river else "O" for token in tokens]
            row = {"tokens": tokens, "ner_tags": tags, "label": "good" if good else "bad"}
            lines.append(json.dumps(row, ensure_ascii=False))
        (folder / f"{language}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    both = Corpus.read({language: folder / f"{language}.jsonl" for language in words})
    return {"both": both, "en": both.restrict(languages=["en"])}


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in NOT_FOR_TOKENS])
def test_entities_are_learnt(family, tiny, data, tmp_path) -> None:
    tuned = finetune(tiny(family), "ner", train=data["en"], out=tmp_path / "ner", settings=SHORT, device="cpu")
    assert tuned.labels == ("O", "B-LOC", "I-LOC") and tuned.languages == ("en",)
    table = evaluate(tuned, data["both"], n_bootstrap=50, device="cpu")
    assert table["language"].to_list() == ["en", "de"] and table["zero_shot"].to_list() == [False, True]
    assert table["score"][0] > 0.6
    curve = tuned.curve
    losses = curve["loss"].drop_nulls()
    assert losses[-1] < losses[0] and curve["dev_score"].drop_nulls().max() == tuned.dev_score
    states = extract(data["both"], tuned.model, out=tmp_path / "study", device="cpu", stack=_stack(family))
    before = extract(data["both"], tiny(family), out=tmp_path / "before", device="cpu", stack=_stack(family))
    last = max(states.arrays)
    a, b = (np.asarray(s.arrays[last], dtype=np.float32) for s in (states, before))
    assert a.shape == b.shape and np.isfinite(a).all()
    assert not np.allclose(a, b, atol=1e-3)  # fine-tuning changed them


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in NOT_FOR_SENTENCES])
def test_sentiment_is_learnt(family, tiny, data, tmp_path) -> None:
    tuned = finetune(
        tiny(family), "sentiment", train=data["en"], out=tmp_path / "sentiment", settings=SHORT, device="cpu"
    )
    table = evaluate(tuned, data["en"], n_bootstrap=50, device="cpu")
    scores = dict(table.select("metric", "score").iter_rows())
    assert scores["accuracy"] > 0.75 and tuned.labels == ("bad", "good")
    extract(data["en"], tuned.model, out=tmp_path / "study", device="cpu", layers=[0], stack=_stack(family))


@pytest.mark.parametrize("family", SEQ2SEQ)
def test_translation_is_learnt(family, tiny, data, tmp_path) -> None:
    pytest.importorskip("sacrebleu")
    tuned = finetune(
        tiny(family),
        "translation",
        train=data["both"],
        dev=data["both"],
        target="de",
        out=tmp_path / "mt",
        settings=TrainingSettings(epochs=60, rate=1e-2, batch_size=8, evaluations=2, patience=9, max_length=40),
        device="cpu",
    )
    assert tuned.languages == ("en",) and tuned.target == "de"
    table = evaluate(tuned, data["both"], n_bootstrap=50, device="cpu")
    assert table["language"].unique().to_list() == ["en"]
    chrf = table.row(1, named=True)
    assert chrf["metric"] == "chrf" and chrf["score"] > chrf["baseline"] + 0.1
    for stack in ("encoder", "decoder"):
        extract(data["both"], tuned.model, out=tmp_path / stack, device="cpu", stack=stack)


def test_lora_is_merged_and_learns(tiny, data, tmp_path) -> None:
    pytest.importorskip("peft")
    tuned = finetune(
        tiny("bert"),
        "sentiment",
        train=data["en"],
        out=tmp_path / "lora",
        settings=SHORT,
        epochs=30,
        rate=2e-2,
        lora=LoraSettings(rank=4, alpha=16),
        device="cpu",
    )
    assert not list(tuned.model.glob("adapter*"))
    assert evaluate(tuned, data["en"], n_bootstrap=0, device="cpu")["score"][0] > 0.7
    extract(data["en"], tuned.model, out=tmp_path / "study", device="cpu")


def test_finished_is_opened_and_other_settings_run_again(tiny, data, tmp_path, monkeypatch) -> None:
    settings = TrainingSettings(epochs=1, rate=1e-3, batch_size=8, evaluations=1)
    call = {"train": data["en"], "out": tmp_path / "ner", "device": "cpu"}
    first = finetune(tiny("bert"), "ner", settings=settings, **call)
    assert FineTuned.open(tmp_path / "ner") == first
    written = (first.model / "model.safetensors").stat().st_mtime_ns
    assert finetune(tiny("bert"), "ner", settings=settings, **call) == first
    assert (first.model / "model.safetensors").stat().st_mtime_ns == written
    other = finetune(tiny("bert"), "ner", settings=settings, seed=1, **call)
    assert other.key != first.key and (first.model / "model.safetensors").stat().st_mtime_ns != written
    assert sorted(p.name for p in (tmp_path / "ner").iterdir() if not p.name.startswith(".")) == [
        *("curve.parquet", "model", "task.json")
    ]


def test_an_interrupted_run_ends_with_the_same_weights(tiny, data, tmp_path, monkeypatch) -> None:
    settings = TrainingSettings(epochs=4, rate=1e-3, batch_size=8, evaluations=4, patience=9)
    call = {"train": data["en"], "settings": settings, "device": "cpu"}
    whole = finetune(tiny("bert"), "sentiment", out=tmp_path / "whole", **call)
    judge, calls = Sentiment.predict, []

    def dies(self, *given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return judge(self, *given)

    monkeypatch.setattr(Sentiment, "predict", dies)
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny("bert"), "sentiment", out=tmp_path / "cut", **call)
    left = sorted((tmp_path / "cut").glob("checkpoints-*/checkpoint-*"))
    assert left
    (left[-1].parent / "checkpoint-999").mkdir()  # what a kill in the middle of saving leaves
    resumed = finetune(tiny("bert"), "sentiment", out=tmp_path / "cut", **call)
    assert (whole.best_step, whole.dev_score) == (resumed.best_step, resumed.dev_score)
    a, b = ((x.model / "model.safetensors").read_bytes() for x in (whole, resumed))
    assert a == b


def test_a_model_that_no_fine_tuning_has_made_is_not_replaced(tiny, data, tmp_path) -> None:
    import shutil

    own = shutil.copytree(tiny("bert"), tmp_path / "model")
    (tmp_path / "checkpoints-mine").mkdir()
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    for model in (own, tiny("bert")):
        with pytest.raises(InputError, match=r"model would be replaced .* is not from a fine-tuning there\. Choose"):
            finetune(model, "sentiment", train=data["en"], out=tmp_path, device="cpu")
    (tmp_path / "checkpoints-0123456789abcdef").mkdir()  # of a fine-tuning
    with pytest.raises(InputError, match=r"is the model to begin from\. Choose another folder"):
        finetune(own, "sentiment", train=data["en"], out=tmp_path, device="cpu")
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
    assert (tmp_path / "checkpoints-mine").is_dir()


def test_shuffled_labels_teach_nothing_that_holds(tiny, data, tmp_path) -> None:
    call = {"train": data["en"], "dev": data["en"], "settings": SHORT, "device": "cpu"}
    true = finetune(tiny("bert"), "sentiment", out=tmp_path / "true", **call)
    control = finetune(tiny("bert"), "sentiment", out=tmp_path / "control", shuffled=True, **call)
    scores = [evaluate(x, data["en"], n_bootstrap=0, device="cpu")["score"][0] for x in (true, control)]
    assert scores[0] > scores[1] + 0.1


def test_what_does_not_fit_is_refused_before_training(tiny, data, tmp_path) -> None:
    plain = Corpus.from_texts({"en": ["the old house", "water"]})
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"unknown task 'nerr'\. Did you mean 'ner'"):
        finetune(tiny("bert"), "nerr", train=data["en"], out=out)
    with pytest.raises(InputError, match="no entity tags"):
        finetune(tiny("bert"), "ner", train=plain, out=out)
    other = pl.Series("ner", ["O", "B-PER", "E-PER", "O"])  # a corpus made by hand: readers would have made IOB2
    by_hand = replace(plain, words=plain.words.with_columns(other))
    with pytest.raises(InputError, match=r"tag 'E-PER' of 'house' \(en, sentence 0\) is not IOB2"):
        finetune(tiny("bert"), "ner", train=by_hand, out=out)
    with pytest.raises(InputError, match="There are no labels"):
        finetune(tiny("bert"), "sentiment", train=plain, out=out)
    with pytest.raises(UsageError, match="needs a target"):
        finetune(tiny("mt5"), "translation", train=data["both"], out=out)
    with pytest.raises(UsageError, match="unknown target 'fr'"):
        finetune(tiny("mt5"), "translation", train=data["both"], target="fr", out=out)
    with pytest.raises(InputError, match="no head for translation"):
        finetune(tiny("bert"), "translation", train=data["both"], target="de", out=out)
    assert not (out / "model").exists()


def test_the_scheme_of_the_tags_changes_nothing(tiny, data, tmp_path) -> None:
    settings = TrainingSettings(epochs=2, rate=3e-3, batch_size=8, evaluations=1, max_length=40)
    rows = data["en"].words.group_by("sentence", maintain_order=True).agg("word", "ner")
    keys, found = set(), []
    for name, mark in (("iob2", "B-LOC"), ("bioes", "S-LOC"), ("bilou", "U-LOC"), ("suffix", "LOC_B")):
        lines = [
            json.dumps({"tokens": words, "ner_tags": [mark if tag == "B-LOC" else tag for tag in tags], "label": "x"})
            for words, tags in rows.select("word", "ner").iter_rows()
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        corpus = Corpus.read({"en": tmp_path / f"{name}.jsonl"})
        tuned = finetune(tiny("bert"), "ner", train=corpus, out=tmp_path / name, settings=settings, device="cpu")
        keys.add(tuned.key)
        found.append(evaluate(tuned, corpus, n_bootstrap=0, device="cpu")["score"][0])
    assert len(keys) == 1 and len(set(found)) == 1 and tuned.labels == ("O", "B-LOC", "I-LOC")


def test_marks_alone_are_trained_on_and_scored(tiny, tmp_path) -> None:
    row = {"tokens": ["the", "old", "city", "river"], "ner_tags": ["O", "B", "I", "O"]}
    (tmp_path / "a.jsonl").write_text((json.dumps(row) + "\n") * 8, encoding="utf-8")
    corpus = Corpus.read({"en": tmp_path / "a.jsonl"})
    call = {"train": corpus, "dev": corpus, "settings": SHORT, "device": "cpu"}
    tuned = finetune(tiny("bert"), "ner", out=tmp_path / "ner", **call)
    assert tuned.labels == ("O", "B-ENT", "I-ENT")
    assert evaluate(tuned, corpus, n_bootstrap=0, device="cpu")["score"][0] == 1.0


@pytest.mark.parametrize(
    ("task", "family", "lost"),
    [
        ("ner", "bert", "48 of their words got no subword and count as O"),
        ("sentiment", "bert", "the rest is not read"),
        ("translation", "mbart", "the rest is not read"),
    ],
)
def test_sentences_beyond_the_models_window_are_counted(task, family, lost, tiny, tmp_path, caplog) -> None:
    short = [{"tokens": ["the", "river"], "ner_tags": ["O", "B-LOC"], "label": x} for x in ("a", "b") * 3]
    long = [{"tokens": ["the"] * 62, "ner_tags": ["O"] * 62, "label": "a"}] * 2
    for name, rows in (("short", short), ("long", short + long)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        (tmp_path / f"{name}2.jsonl").write_text("\n".join(map(json.dumps, short + rows[6:])), encoding="utf-8")
    files = {
        name: Corpus.read({"en": tmp_path / f"{name}.jsonl", "de": tmp_path / f"{name}2.jsonl"})
        for name in ("short", "long")
    }
    target = "de" if task == "translation" else None
    aside = " (or their lines in de)" if target else ""
    call = {"target": target, "device": "cpu"}
    settings = TrainingSettings(epochs=1, batch_size=8, evaluations=1)
    with caplog.at_level(logging.WARNING, logger="isogloss.tasks"):
        tuned = finetune(
            tiny(family), task, train=files["short"], dev=files["short"], out=tmp_path / "a", settings=settings, **call
        )
        evaluate(tuned, files["short"], n_bootstrap=0, device="cpu")
        assert not caplog.records
        evaluate(tuned, files["long"], n_bootstrap=0, device="cpu")
        assert [record.getMessage() for record in caplog.records] == [
            f"2 of 8 test sentences of {language}{aside} are longer than the model's 40 subwords; {lost}. Split them, "
            "or use a model that reads more."
            for language in (("en",) if target else ("en", "de"))
        ]
        caplog.clear()
        settings = settings.model_copy(update={"max_length": 30})
        finetune(
            tiny(family), task, train=files["long"], dev=files["short"], out=tmp_path / "b", settings=settings, **call
        )
        message = caplog.records[0].getMessage()
    assert f"2 of 14 training and development sentences of en{aside} are longer than the 30 subwords" in message
    assert message.endswith("Split them, or raise max_length.")


def test_labels_never_trained_on_are_named(tiny, data, tmp_path) -> None:
    settings = TrainingSettings(epochs=1, batch_size=8, evaluations=1)
    tuned = finetune(tiny("bert"), "sentiment", train=data["en"], out=tmp_path / "s", settings=settings, device="cpu")
    (tmp_path / "odd.jsonl").write_text('{"text": "the old house", "label": "odd"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="label 'odd' of en is not among those trained on: bad, good"):
        evaluate(tuned, Corpus.read({"en": tmp_path / "odd.jsonl"}))


def _stack(family: str) -> str | None:
    return "encoder" if family in SEQ2SEQ else None


@pytest.mark.parametrize(
    ("family", "kind"), [("bert", "tokens"), ("t5", "tokens"), ("t5", "translation"), ("llama", "sentences")]
)
def test_random_weights_are_those_of_the_untrained_model(family, kind, tiny) -> None:
    labels = () if kind == "translation" else ("a", "b")
    loaded = load_head(tiny(family), kind, labels=labels, weights="random", seed=5, device="cpu")
    whole = getattr(loaded.module, loaded.module.base_model_prefix, loaded.module)
    stack = "decoder" if kind == "translation" else None
    untrained = load(tiny(family), stack=stack, weights="random", device="cpu").module.state_dict()
    same = [name for name in whole.state_dict() if name.removeprefix("encoder.") in untrained or name in untrained]
    assert len(same) > 5
    for name in same:
        other = untrained.get(name, untrained.get(name.removeprefix("encoder.")))
        assert torch.equal(whole.state_dict()[name], other), name


def test_a_classifier_without_a_padding_token_reads_the_end_of_a_line(tmp_path) -> None:
    """In GPT-2-like vocabularies 0 is ``!``: as padding it would not be read at the end of a line."""
    import transformers as tf
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"]
    assert pieces[0] == "!"
    tokenizer = Tokenizer(models.BPE({x: i for i, x in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    end = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **end).save_pretrained(tmp_path)
    torch.manual_seed(0)
    size = {"vocab_size": len(pieces), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    tf.GPT2Model(tf.GPT2Config(**size, bos_token_id=256, eos_token_id=256)).save_pretrained(tmp_path)
    task = Sentiment(("neg", "pos"))
    corpus = Corpus.from_texts({"en": ["good", "good!!!", "a longer line!"]}, parallel=False)
    labels = pl.Series("label", ["neg", "pos", "neg"])
    corpus = replace(corpus, sentences=corpus.sentences.with_columns(labels))
    model = load_head(tmp_path, "sentences", labels=task.labels, device="cpu")
    examples = task.examples(model, corpus)
    with torch.inference_mode():
        given = task.collate(examples, pad_id=model.pad_id)
        together = model.module(**given).logits
        alone = [model.module.transformer(torch.tensor([x["input_ids"]])).last_hidden_state for x in examples]
        alone = torch.stack([model.module.score(x[0, -1]) for x in alone])
    assert torch.allclose(together, alone, rtol=0, atol=1e-6)
    assert not torch.allclose(together[0], together[1], rtol=0, atol=1e-3)
    states = []
    for pad_id in (model.pad_id, 0):  # the mask keeps it from all states
        loaded = replace(load(tmp_path, device="cpu"), pad_id=pad_id)
        ids = torch.where(given["attention_mask"] == 1, given["input_ids"], pad_id)
        found = hidden_states(loaded, ids, given["attention_mask"], lambda x: x)
        states.append(torch.stack(list(found.values()))[:, given["attention_mask"] == 1])
    assert torch.equal(*states)
