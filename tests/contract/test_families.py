"""Every family of models: the states are those of a plain forward pass, whatever the family is like."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from isogloss import models
from isogloss.errors import InputError, UsageError
from isogloss.extraction import extract
from isogloss.store import StudyLayout
from tiny_models import CODES, ENCODERS, FAMILIES, LINES, ODD, SEQ2SEQ, WIDTH, corpus_of, covers, naive_owner

STACKS = [(f, s) for f in SEQ2SEQ for s in ("encoder", "decoder")]
STACKS += [(f, "encoder" if f in (*ENCODERS, *ODD) else "decoder") for f in (*FAMILIES, *ODD) if f not in SEQ2SEQ]
NORMED = {*SEQ2SEQ, "llama", "qwen", "gemma", "neox", "bloom"}  # a norm after the last block
PIECES = {"xlmr", "deberta", "t5", "mt5"}  # they have a subword that covers two of the words
PREFIX = "old: "


def run(corpus, folder, out, **options):
    if Path(folder).name == "mbart":  # knows no Thai; the other codes follow from the labels
        options["language_codes"] = {"th": "vi_VN"} if "th" in corpus.languages else {}
    return extract(corpus, folder, out=out, **{"dtype": "float32", "device": "cpu", **options})


def plain_states(loaded, corpus, line, mate, prefix):
    """Return per layer the subwords' states of one line, read in one plain call, and their tokenisation."""
    texts, languages = corpus.sentences["text"].to_list(), corpus.sentences["language"].to_list()

    def read(line, prefix):
        codes = CODES.get(Path(loaded.name).name)
        if codes:
            loaded.tokenizer.src_lang = codes[languages[line]]
        return loaded.tokenizer(
            prefix + texts[line], return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt"
        )

    found = read(line, "" if loaded.conditioned else prefix)
    offsets = found.pop("offset_mapping")[0].tolist()
    special = found.pop("special_tokens_mask")[0].bool().tolist()
    found.pop("token_type_ids", None)
    labels = found["input_ids"][0]
    with torch.no_grad():
        if not loaded.conditioned:
            hidden = loaded.module(**found, output_hidden_states=True).hidden_states
            cut = len(prefix)
            offsets = [(max(low - cut, 0), max(high - cut, 0)) for low, high in offsets]
            return [h[0].numpy() for h in hidden], labels.tolist(), offsets, special
        start = torch.tensor([loaded.module.config.decoder_start_token_id])
        if "mbart" in loaded.name:
            start = labels[-1:]  # as transformers shifts its labels: the code goes from the end to the start
        shifted = torch.cat([start, labels])[None]  # the end token may stay: nothing reads it
        source = read(mate, prefix)["input_ids"]
        output = loaded.module(input_ids=source, decoder_input_ids=shifted, output_hidden_states=True)
        return [h[0, 1:].numpy() for h in output.decoder_hidden_states], labels.tolist(), offsets, special


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize(("family", "stack"), STACKS)
def test_states_are_those_of_a_plain_forward_pass(tiny_model, tmp_path, family, stack, prefix):
    corpus = corpus_of(LINES)
    states = run(corpus, tiny_model(family), tmp_path, stack=stack, prefix=prefix, sentences=["mean", "last"])
    loaded = models.load(tiny_model(family), stack=stack)
    assert states.layers == tuple(range(loaded.n_layers + 1))
    marks = models.space_marks(loaded)
    lost = 0
    for line, (language, sentence, _) in enumerate(corpus.sentences.iter_rows()):
        mate = sentence + (5 if language == "en" else 0)  # English reads German, the others read English
        hidden, ids, offsets, special = plain_states(loaded, corpus, line, mate, prefix)
        here = corpus.words.filter((corpus.words["language"] == language) & (corpus.words["sentence"] == sentence))
        words = list(zip(here["start"], here["end"], strict=True))
        belongs = [None if i in marks else naive_owner(x, words) for i, x in zip(ids, offsets, strict=True)]
        covering = [[k for k, x in enumerate(offsets) if ids[k] not in marks and covers(x, word)] for word in words]
        text = [k for k, (low, high) in enumerate(offsets) if high > low and not special[k]]
        assert states.sentences["n_subwords"][line] == len(text)
        for layer, array in states.arrays.items():
            for index, row in enumerate(here["row"]):
                # a word that no subword belongs to takes those that cover it
                own = [k for k, owner in enumerate(belongs) if owner == index] or covering[index]
                others = [k for word in covering[:index] + covering[index + 1 :] for k in word]
                assert states.tokens["shared"][row] == bool(set(covering[index]) & set(others))
                assert states.tokens["n_subwords"][row] == len(own)
                expected = hidden[layer][own].mean(axis=0) if own else np.zeros(WIDTH)
                np.testing.assert_allclose(array[row], expected, atol=2e-5)
                lost += not own
            for kind, expected in (("mean", hidden[layer][text].mean(axis=0)), ("last", hidden[layer][text[-1]])):
                np.testing.assert_allclose(states.sentence_arrays[kind][layer][line], expected, atol=2e-5)
    shared = states.tokens.filter("shared")["word"].to_list()
    assert shared == (["我", "们"] if family in PIECES else [])
    info = StudyLayout(tmp_path).record(f"states/{family}/{stack}")["info"]
    assert info["n_shared"] == len(shared)
    assert info["n_without_state"] == lost / len(states.layers)  # every word has its state, or is reported
    assert info["final_norm"] == (family in NORMED)
    assert info["batches"] == ("lines of equal length" if family == "convbert" else "any lines")


@pytest.mark.parametrize(("family", "stack"), STACKS)
def test_layers_asked_for_are_all_that_is_computed(tiny_model, family, stack):
    loaded = models.load(tiny_model(family), stack=stack)
    ids = torch.tensor([models.encode(loaded, ["the old house"])[0].ids])
    source = (ids, torch.ones_like(ids)) if loaded.conditioned else None
    everything = models.hidden_states(loaded, ids, torch.ones_like(ids), torch.clone, source=source)
    assert list(everything) == list(range(loaded.n_layers + 1))
    blocks = loaded.reading.blocks
    assert (blocks is None) == (family == "albert")
    calls = []
    for number, block in enumerate(blocks or []):
        block.register_forward_hook(lambda *_, number=number: calls.append(number))
    for layers in ([0], [1], [0, 1], [loaded.n_layers], [0, loaded.n_layers]):
        calls.clear()
        found = models.hidden_states(loaded, ids, torch.ones_like(ids), torch.clone, layers=layers, source=source)
        assert list(found) == layers
        assert all(torch.equal(found[layer], everything[layer]) for layer in layers)
        assert blocks is None or calls == list(range(layers[-1]))


@pytest.mark.parametrize(("family", "stack"), STACKS)
def test_the_last_layer_is_had_before_or_after_the_final_norm(tiny_model, tmp_path, family, stack):
    corpus = corpus_of({x: LINES[x] for x in ("en", "de")})
    folder = tiny_model(family)
    normed, raw = (
        run(corpus, folder, tmp_path / kind, stack=stack, pooling="last", last_layer=kind) for kind in ("normed", "raw")
    )
    last = normed.layers[-1]
    for layer in normed.layers[:-1]:
        np.testing.assert_array_equal(normed.arrays[layer], raw.arrays[layer])
    assert np.array_equal(normed.arrays[last], raw.arrays[last]) == (family not in NORMED)
    if family == "llama":  # its norm, from its formula
        weight = models.load(folder).module.norm.weight.detach().numpy()
        x = np.asarray(raw.arrays[last])[raw.rows]
        expected = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6) * weight
        np.testing.assert_allclose(normed.arrays[last][normed.rows], expected, atol=1e-5)
    record = StudyLayout(tmp_path / "raw").record(f"states/{family}/{stack}")
    assert record["info"]["last_layer"] == "raw"


@pytest.mark.parametrize("family", ["bert", "mt5", "qwen"])
@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_number_types_differ_by_their_rounding_only(tiny_model, tmp_path, family, compute):
    corpus = corpus_of(LINES)
    exact = run(corpus, tiny_model(family), tmp_path / "a")
    rough = run(corpus, tiny_model(family), tmp_path / "b", compute=compute)
    for layer in exact.layers:
        x, y = (np.asarray(states.arrays[layer])[exact.rows] for states in (exact, rough))
        error = np.linalg.norm(x - y) / np.linalg.norm(x)
        assert 0 < error < (0.05 if compute == "bfloat16" else 0.01)
    info = StudyLayout(tmp_path / "b").record(f"states/{family}/encoder" if family != "qwen" else "states/qwen/decoder")
    assert info["info"]["compute"] == compute


@pytest.mark.parametrize("family", ["bert", "mt5", "llama"])
def test_random_weights_are_another_model_and_always_the_same(tiny_model, tmp_path, family):
    corpus = corpus_of({x: LINES[x] for x in ("en", "de")})
    trained, one, two = (
        run(corpus, tiny_model(family), tmp_path / str(i), weights=weights)
        for i, weights in enumerate(("pretrained", "random", "random"))
    )
    np.testing.assert_array_equal(one.arrays[2], two.arrays[2])
    assert np.abs(one.arrays[2] - trained.arrays[2]).max() > 0.1
    stack = "decoder" if family == "llama" else "encoder"
    record = StudyLayout(tmp_path / "1").record(f"states/{family}/{stack}")
    assert record["info"]["weights"] == "random"


def test_cls_is_the_first_subword_and_needs_a_tokenizer_that_has_one(tiny_model, tmp_path):
    corpus = corpus_of({"en": LINES["en"]})
    states = run(corpus, tiny_model("bert"), tmp_path / "a", sentences=["cls"])
    loaded = models.load(tiny_model("bert"))
    for line, text in enumerate(LINES["en"]):
        hidden = loaded.module(**loaded.tokenizer(text, return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(states.sentence_arrays["cls"][2][line], hidden[0, 0].detach().numpy(), atol=1e-5)
    with pytest.raises(UsageError, match=r"no \[CLS\] subword"):
        run(corpus, tiny_model("llama"), tmp_path / "b", sentences=["cls"])


# -- other folders --------------------------------------------------------------------------------


def test_sentence_transformers_folder(tiny_model, tmp_path):
    """The old layout keeps the transformer in a folder of its own, the new one at the root."""
    plain = run(corpus_of(LINES), tiny_model("xlmr"), tmp_path / "plain")
    for place in ("", "0_Transformer"):
        folder = tmp_path / f"st{place}"
        shutil.copytree(tiny_model("xlmr"), folder / place)
        (folder / "1_Pooling").mkdir()
        modules = [{"idx": 0, "name": "0", "path": place, "type": "sentence_transformers.models.Transformer"}]
        modules.append({"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
        (folder / "modules.json").write_text(json.dumps(modules))
        states = run(corpus_of(LINES), folder, tmp_path / f"out{place}")
        np.testing.assert_array_equal(states.arrays[2], plain.arrays[2])


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_adapter_is_loaded_on_its_base(tiny_model, tmp_path, family, head):
    """An adapter may have been trained on the bare model, or under a task's head."""
    peft = pytest.importorskip("peft")
    import transformers as tf

    base = Path(shutil.copytree(tiny_model(family), tmp_path / "base"))
    kind = tf.AutoModelForSequenceClassification if head else tf.AutoModel
    targets = ["query", "value"] if family == "bert" else ["q_proj", "v_proj"]
    task = {"task_type": "SEQ_CLS"} if head else {}
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=targets, **task)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = peft.get_peft_model(kind.from_pretrained(base), config)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(tmp_path / "adapter")
    model.eval()
    corpus = corpus_of({"en": LINES["en"]})
    states = run(corpus, tmp_path / "adapter", tmp_path / "out", pooling="last", sentences=[])
    loaded = models.load(tmp_path / "adapter")
    changed = 0
    for line, text in enumerate(LINES["en"]):
        found = loaded.tokenizer(text, return_tensors="pt")
        found.pop("token_type_ids", None)
        with torch.no_grad():
            hidden = model(**found, output_hidden_states=True).hidden_states
            alone = loaded.module(**found, output_hidden_states=True).hidden_states
        for layer in states.layers:
            np.testing.assert_allclose(alone[layer], hidden[layer], atol=1e-5)
        words = states.tokens.filter(states.tokens["sentence"] == line)
        changed += words.height
    assert changed == states.tokens.height
    plain = run(corpus, base, tmp_path / "plain", pooling="last", sentences=[])
    assert np.abs(plain.arrays[2][plain.rows] - states.arrays[2][plain.rows]).max() > 0.01
    info = StudyLayout(tmp_path / "out").record(f"states/adapter/{'encoder' if family == 'bert' else 'decoder'}")[
        "info"
    ]
    assert info["base"] == str(base)
    # another base, or other numbers in the adapter, are another model
    first = models.describe(tmp_path / "adapter").fingerprint
    data = bytearray((tmp_path / "adapter/adapter_model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "adapter/adapter_model.safetensors").write_bytes(bytes(data))
    assert models.describe(tmp_path / "adapter").fingerprint not in (first, models.describe(base).fingerprint)


def test_adapter_of_another_base_is_refused(tiny_model, tmp_path):
    peft = pytest.importorskip("peft")
    import transformers as tf

    config = peft.LoraConfig(r=2, target_modules=["query"])
    peft.get_peft_model(tf.AutoModel.from_pretrained(tiny_model("bert")), config).save_pretrained(tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"base_model_name_or_path": str(tiny_model("llama"))}))
    with pytest.raises(InputError, match=r"adapter .* cannot be added to its base") as caught:
        models.load(tmp_path / "a")
    assert "\n" not in str(caught.value)
    path.write_text(json.dumps(settings | {"base_model_name_or_path": None}))
    with pytest.raises(InputError, match="names no base_model_name_or_path"):
        models.load(tmp_path / "a")


def test_model_that_brings_its_own_code_is_refused(tiny_model, tmp_path):
    folder = Path(shutil.copytree(tiny_model("bert"), tmp_path / "own"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(InputError, match="Python code that comes with it, which isogloss never runs") as caught:
        models.describe(folder)
    assert "\n" not in str(caught.value)


# -- language codes -------------------------------------------------------------------------------


def test_languages_get_the_codes_of_the_model(tiny_model):
    load = models.load
    given = ["en", "de", "zh", "tha_Thai"]
    assert load(tiny_model("nllb"), languages=given).codes == {
        **{x: CODES["nllb"][x] for x in ("en", "de", "zh")},
        "tha_Thai": "tha_Thai",
    }
    assert load(tiny_model("mbart"), languages=["ar"], codes={"ar": "ja_XX"}).codes == {"ar": "ja_XX"}
    with pytest.raises(UsageError, match=r"none is known for 'th'\. Give one, e\.g\. language_codes: \{th: "):
        load(tiny_model("mbart"), languages=["en", "th"])
    with pytest.raises(UsageError, match=r"unknown language code 'deu_Latin'\. Did you mean 'deu_Latn'"):
        load(tiny_model("nllb"), languages=["de"], codes={"de": "deu_Latin"})
    with pytest.raises(UsageError, match="language_codes are for models that read them"):
        load(tiny_model("bert"), languages=["de"], codes={"de": "deu_Latn"})
