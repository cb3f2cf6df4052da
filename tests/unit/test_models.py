"""Loading models: what kind they are, how deep, how long a sentence may be, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from isogloss import models
from isogloss.errors import InputError, UsageError
from tiny_models import LIMIT, WIDTH

ENCODER, DECODER, BOTH = ("encoder",), ("decoder",), ("encoder", "decoder")
KINDS = {"bert": ENCODER, "xlmr": ENCODER, "t5": BOTH, "mt5": BOTH, "llama": DECODER, "qwen": DECODER}


@pytest.fixture
def copy(tiny_model, tmp_path):
    """Return a copy of the tiny BERT that a test may damage."""
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "copy"))


@pytest.mark.parametrize(("family", "stacks"), [*KINDS.items(), ("gemma", DECODER)])
def test_description_agrees_with_what_is_loaded(tiny_model, family, stacks):
    info = models.describe(tiny_model(family))
    assert info.stacks == stacks
    for stack in stacks:
        loaded = models.load(tiny_model(family), stack=stack)
        assert loaded.n_layers == info.n_layers[stack] == (3 if stack == "decoder" and stacks == BOTH else 2)
        assert loaded.d == WIDTH
        assert loaded.fingerprint == info.fingerprint
        assert not loaded.module.training


@pytest.mark.parametrize(
    ("family", "limit"), [("bert", LIMIT), ("xlmr", LIMIT), ("t5", LIMIT), ("mt5", None), ("llama", 256)]
)
def test_length_limit(tiny_model, family, limit):
    assert models.load(tiny_model(family)).max_length == limit


def test_roberta_positions_reserved_for_padding_do_not_count(tiny_model, tmp_path):
    folder = Path(shutil.copytree(tiny_model("xlmr"), tmp_path / "copy"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    loaded = models.load(folder)
    assert loaded.max_length == LIMIT  # of LIMIT + 2 positions
    full = models.encode(loaded, ["old " * 100])[0]
    assert len(full.ids) == LIMIT
    ids = torch.tensor([full.ids])
    assert models.hidden_states(loaded, ids, torch.ones_like(ids), torch.clone)[0].shape == (1, LIMIT, WIDTH)


def test_encoder_of_an_encoder_decoder_has_no_decoder(tiny_model):
    assert not any("decoder" in name for name, _ in models.load(tiny_model("t5")).module.named_modules())


def test_default_stack_is_the_first(tiny_model):
    assert models.load(tiny_model("mt5")).stack == "encoder"


def test_weights_stored_in_half_precision_are_computed_with_in_float32(copy):
    from safetensors.torch import load_file, save_file

    weights = {k: v.half() for k, v in load_file(copy / "model.safetensors").items()}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((copy / "config.json").read_text()) | {"dtype": "float16"}
    (copy / "config.json").write_text(json.dumps(config))
    assert {p.dtype for p in models.load(copy).module.parameters()} == {torch.float32}


def test_fingerprint_follows_weights_and_tokenizer(copy):
    first = models.describe(copy).fingerprint
    assert models.describe(copy).fingerprint == first
    (copy / "README.md").write_text("about")
    assert models.describe(copy).fingerprint == first
    for name in ("model.safetensors", "tokenizer.json"):
        data = bytearray((copy / name).read_bytes())
        data[-9] ^= 1
        (copy / name).write_bytes(bytes(data))
        assert models.describe(copy).fingerprint != first
        first = models.describe(copy).fingerprint


def test_unknown_stack_names_the_known_ones(tiny_model):
    with pytest.raises(UsageError, match=r"unknown stack 'decoder'.*Known: encoder"):
        models.load(tiny_model("bert"), stack="decoder")


def test_unknown_device(tiny_model):
    with pytest.raises(UsageError, match="device 'gpu' cannot be used"):
        models.load(tiny_model("bert"), device="gpu")


def test_revision_of_a_folder_is_refused(tiny_model):
    with pytest.raises(UsageError, match="revision='main'"):
        models.describe(tiny_model("bert"), revision="main")


@pytest.mark.parametrize("name", ["./no/such/folder", "no/such/folder/either"])
def test_missing_folder_is_one_line(name):
    with pytest.raises(InputError, match=name) as caught:
        models.describe(name)
    assert "\n" not in str(caught.value)


def test_unreachable_hub_is_one_line_that_names_model_and_reason(monkeypatch):
    from huggingface_hub import HfApi

    def fail(*args, **options):
        raise ConnectionError("no route to the hub\nand a long story")

    monkeypatch.setattr(HfApi, "model_info", fail)
    with pytest.raises(InputError, match=r"'someone/nothing-here'.*no route to the hub\)") as caught:
        models.describe("someone/nothing-here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "lacking"),
    [
        (["config.json"], "no configuration"),
        (["model.safetensors"], "no weights"),
        (["tokenizer.json"], "no tokenizer"),
    ],
)
def test_incomplete_folder_names_what_it_lacks(copy, files, lacking):
    for name in files:
        (copy / name).unlink()
    with pytest.raises(InputError, match=lacking):
        models.load(copy)


def test_damaged_files_are_one_line(copy):
    (copy / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"The weights of the model '.*copy' cannot be loaded") as caught:
        models.load(copy)
    assert "\n" not in str(caught.value)
    (copy / "config.json").write_text("{")
    with pytest.raises(InputError, match="configuration"):
        models.describe(copy)


def test_weights_that_would_be_made_up_are_refused(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 tensors.*encoder\.layer\.1\.output\.dense\.weight"):
        models.load(copy)


def test_slow_tokenizer_is_refused(copy, monkeypatch):
    import transformers

    class Slow:
        is_fast = False

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *args, **options: Slow())
    with pytest.raises(InputError, match="slow one"):
        models.load(copy)


def test_loading_is_silent_and_leaves_the_settings_of_transformers(tiny_model, capfd):
    from transformers.utils import logging as theirs

    before = theirs.get_verbosity()
    models.load(tiny_model("llama"))
    assert capfd.readouterr() == ("", "")
    assert theirs.get_verbosity() == before
    assert theirs.is_progress_bar_enabled()
    assert logging.getLogger().level == logging.WARNING


def test_memory_that_does_not_suffice_for_the_trial_is_one_line(tiny_model, monkeypatch):
    import transformers

    def forward(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(transformers.BertModel, "forward", forward)
    with pytest.raises(InputError, match=r"^Memory does not suffice for '.*' .* on cpu\. .*smaller model\.$"):
        models.load(tiny_model("bert"), device="cpu")


def test_importing_imports_neither_torch_nor_transformers():
    code = "import isogloss.models, isogloss.extraction, sys; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_example_is_trained_on_equally_often_and_like_lengths_go_together() -> None:
    from isogloss.models.trainer import training_order

    generator = np.random.default_rng(0)
    lengths = generator.integers(3, 80, 1000)
    order = training_order(lengths, 16, 250, np.random.default_rng(1))
    counts = np.bincount(order, minlength=1000)
    assert counts.min() == counts.max() == 4
    widths = lengths[order].reshape(250, 16)
    assert (widths.max(axis=1) - widths.min(axis=1)).mean() < 6  # without grouping about 70
    assert abs(np.corrcoef(widths.mean(axis=1), np.arange(250))[0, 1]) < 0.2  # batches are shuffled
    assert (order == training_order(lengths, 16, 250, np.random.default_rng(1))).all()
