"""Adapters of every form that peft saves: on their base alone they give the states that they gave under a head."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from isogloss import models
from isogloss.errors import InputError

peft = pytest.importorskip("peft")

QV = ["q_proj", "v_proj"]
CASES = {
    # family, head, subwords added to the vocabulary, what LoRA is told
    "some layers": ("llama", "CAUSAL_LM", 0, {"target_modules": QV, "layers_to_transform": [1]}),
    "some layers, no head": ("bert", None, 0, {"target_modules": ["query"], "layers_to_transform": [0]}),
    "some layers of a classifier": ("bert", "SEQ_CLS", 0, {"target_modules": ["query"], "layers_to_transform": [1]}),
    "some layers, named": (
        *("mt5", "SEQ_2_SEQ_LM", 0),
        {"target_modules": ["q", "v"], "layers_to_transform": [1], "layers_pattern": "block"},
    ),
    "all linear": ("llama", "CAUSAL_LM", 0, {"target_modules": "all-linear"}),
    "a pattern": ("llama", "CAUSAL_LM", 0, {"target_modules": r"model\.layers\.1\..*q_proj"}),
    "ranks by name": (
        *("llama", "CAUSAL_LM", 0),
        {"target_modules": QV, "rank_pattern": {"model.layers.0.self_attn.q_proj": 4}},
    ),
    "DoRA": ("llama", "CAUSAL_LM", 0, {"target_modules": QV, "use_dora": True}),
    "a larger vocabulary": ("llama", "CAUSAL_LM", 3, {"target_modules": QV}),
    "a larger vocabulary of a classifier": ("bert", "SEQ_CLS", 3, {"target_modules": ["query"]}),
    "larger embeddings, adapted": ("llama", "CAUSAL_LM", 3, {"target_modules": [*QV, "embed_tokens"]}),
    "larger embeddings, trained": (
        *("llama", "CAUSAL_LM", 3),
        {"target_modules": QV, "modules_to_save": ["embed_tokens", "lm_head"]},
    ),
    "some embeddings trained": ("llama", "CAUSAL_LM", 3, {"target_modules": QV, "trainable_token_indices": [5, 6]}),
}
HEADS = {"CAUSAL_LM": "ForCausalLM", "SEQ_CLS": "ForSequenceClassification", "SEQ_2_SEQ_LM": "ForSeq2SeqLM", None: ""}


def trained(base: Path, folder: Path, head: str | None, added: int, settings: dict) -> object:
    """Save an adapter with weights of some size; return the model that it was trained in."""
    import transformers as tf

    with torch.random.fork_rng():
        torch.manual_seed(3)
        whole = getattr(tf, f"AutoModel{HEADS[head]}").from_pretrained(base)
        if added:
            whole.resize_token_embeddings(whole.get_input_embeddings().weight.shape[0] + added)
        model = peft.get_peft_model(whole, peft.LoraConfig(r=2, task_type=head, **settings))
        for name, weight in model.named_parameters():
            if any(x in name for x in ("lora_", "trainable_tokens_delta")):
                torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_states_are_those_of_the_model_it_was_trained_in(tiny_model, tmp_path, case):
    family, head, added, settings = CASES[case]
    base = tiny_model(family)
    model = trained(base, tmp_path / "adapter", head, added, settings)
    loaded = models.load(tmp_path / "adapter")
    plain = models.load(base).module
    size = plain.get_input_embeddings().weight.shape[0]
    ids = torch.tensor([[5, 6, 7, 8, size + added - 1]])
    decoder = {"decoder_input_ids": ids} if family == "mt5" else {}
    with torch.no_grad():
        wanted = model(input_ids=ids, output_hidden_states=True, **decoder)
        wanted = wanted.encoder_hidden_states if decoder else wanted.hidden_states
        found = loaded.module(input_ids=ids, output_hidden_states=True).hidden_states
        before = plain(input_ids=ids.clamp(max=size - 1), output_hidden_states=True).hidden_states
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert (found[-1] - before[-1]).abs().max() > 0.01


@pytest.mark.filterwarnings("ignore")
def test_adapter_with_weights_for_other_places_is_refused(tiny_model, tmp_path):
    from safetensors.torch import load_file, save_file

    trained(tiny_model("llama"), tmp_path, "CAUSAL_LM", 0, {"target_modules": QV})
    path = tmp_path / "adapter_model.safetensors"
    weights = {name.replace("layers.1", "layers.7"): value for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match="does not fit its base model: 8 of its tensors have no place there"):
        models.load(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "LORA"
