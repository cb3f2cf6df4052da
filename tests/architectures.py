"""One tiny random model of every text architecture that the installed transformers can build so small.

Run as a program, it tries them all and prints what came out as JSON, or writes it into the lists of a page.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import re
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

WIDTH, VOCABULARY, LIMIT = 32, 120, 256
MOST = 4_000_000  # weights of a model that still counts as tiny
MEMORY = 6 * 2**30  # bytes of addresses; a model that escapes the sizes below must not take the machine
_SIZES: tuple[tuple[int, str], ...] = (
    (WIDTH, "hidden_size d_model n_embd dim emb_dim embed_dim n_embed embedding_size word_embed_proj_dim embed_size"),
    (WIDTH, "output_dim out_hidden_size projection_dim lm_hidden_size vision_hidden_size decoder_hidden_size"),
    (2, "num_hidden_layers num_layers n_layer n_layers encoder_layers num_encoder_layers depth num_layer"),
    (3, "decoder_layers num_decoder_layers"),
    (32, "intermediate_size ffn_dim d_ff hidden_dim encoder_ffn_dim decoder_ffn_dim d_inner n_inner ffn_hidden_size"),
    (32, "moe_intermediate_size shared_expert_intermediate_size ff_dim intermediate_size_mlp expert_ffn_hidden_size"),
    (4, "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads num_head"),
    (4, "num_key_value_heads num_kv_heads"),
    (8, "head_dim d_kv global_head_dim qk_rope_head_dim qk_nope_head_dim v_head_dim rotary_dim kv_channels"),
    (16, "q_lora_rank kv_lora_rank"),
    (4, "num_experts num_local_experts n_routed_experts moe_num_experts"),
    (2, "num_experts_per_tok moe_k num_experts_per_token top_k_experts"),
    (1, "n_group topk_group"),
    (VOCABULARY, "vocab_size vocab_size_per_layer_input entity_vocab_size src_vocab_size tgt_vocab_size"),
    (LIMIT, "max_position_embeddings n_positions n_ctx max_seq_len context_length max_sequence_length seq_length"),
    (32, "image_size"),
    (8, "patch_size"),
)
SMALL = {name: size for size, names in _SIZES for name in names.split()}
_SECTIONS = [2, 1, 1]  # of half a head: time, height and width
_ROTARY = {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": _SECTIONS}}
# What a few kinds ask for beside small numbers.
OWN: dict[str, dict[str, Any]] = {
    "xmod": {"languages": ("en_XX", "de_DE")},
    "longformer": {"attention_window": 8},
    "led": {"attention_window": 8},
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "reformer": {
        "axial_pos_shape": (16, 16),
        "axial_pos_embds_dim": (16, 16),
        "attn_layers": ["local", "local"],
        "feed_forward_size": 32,
        "attention_head_size": 8,
        "is_decoder": False,
    },
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2, "n_groups": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "fsmt": {"langs": ["en", "de"]},
    "funnel": {"block_sizes": [1, 1], "d_head": 8},
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20},
    "layoutlmv3": {"coordinate_size": 5, "shape_size": 6},
    "lilt": {"hidden_size": 48, "num_attention_heads": 4},
    "mllama_text_model": {"num_hidden_layers": 3, "cross_attention_layers": [1]},
    **dict.fromkeys(
        ["qwen2_vl_text", "qwen2_5_vl_text", "glm4v_text", "glm_ocr_text", "paddleocr_vl_text", "qwen2_5_omni_text"],
        _ROTARY,
    ),
    "glm4v_moe_text": {"rope_parameters": {**_ROTARY["rope_parameters"], "mrope_section": [1, 1, 0]}},
    "hunyuan_vl_text": _ROTARY,
    "mimo_v2_flash": {"num_key_value_heads": 2, "head_dim": 32, "v_head_dim": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"]},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 101, "vision_end_token_id": 102},
    "zamba2": {
        "hybrid_layer_ids": [1, 3],
        "num_mem_blocks": 1,
        "num_hidden_layers": 4,
        "layer_types": ["mamba", "hybrid", "mamba", "hybrid"],
    },
    "gemma4_text": {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": [0.0, 0.0],
        "hidden_size_per_layer_input": 8,
        "laurel_rank": 4,
    },
    "dots1": {"n_shared_experts": 1},
    "step3p5": {"sliding_window": 8},
    "zaya": {"num_experts_per_tok": 1},
    "inkling2_vision": {"text_hidden_size": WIDTH},
    "omniasr": {"vocab_size": 40},
    "gptj": {"rotary_dim": 8},
    "esm": {"pad_token_id": 0, "mask_token_id": 1},
    "luke": {"entity_emb_size": 16},
}


def kinds() -> list[str]:
    """Return the types of models that transformers lists for text, alone or beside images or sound."""
    from transformers.models.auto import modeling_auto as auto

    of_text = (
        auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )
    return sorted(set(auto.MODEL_MAPPING_NAMES) & {x for table in of_text for x in table})


def small(kind: str, cls: Any = None, depth: int = 0) -> Any:
    """Return the configuration of a type, with small numbers, in its parts too."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    cls = cls or CONFIG_MAPPING[kind]
    usual = cls()
    names = {field.name for field in dataclasses.fields(cls)}
    given: dict[str, Any] = {}
    for name in names & SMALL.keys():
        if not isinstance(_read(usual, name), (list, tuple, dict)):
            given[name] = SMALL[name]
    marks = 0
    for name in sorted(names):
        value = _read(usual, name)
        if name.endswith(("_token_id", "_token_index")) and isinstance(value, int) and value >= VOCABULARY - 10:
            marks += 1
            given[name] = VOCABULARY - marks
    rotary = getattr(usual, "rope_parameters", None)
    if isinstance(rotary, dict) and "mrope_section" in rotary:
        given["rope_parameters"] = {**rotary, "mrope_section": _SECTIONS}
    if depth < 3:
        for name in getattr(cls, "sub_configs", None) or {}:
            part = _read(usual, name)
            if part is not None and not isinstance(part, dict):
                given[name] = small(part.model_type, type(part), depth + 1)
    return cls(**{**given, **OWN.get(kind, {})})


def _read(config: Any, name: str) -> Any:
    """Return an attribute, or None where a configuration has it for every layer apart."""
    try:
        return getattr(config, name, None)
    except Exception:
        return None


def build(kind: str) -> Any:
    """Return a tiny model with random weights that make its layers unlike, in evaluation mode."""
    import torch
    from transformers import AutoModel

    config = small(kind)
    with torch.device("meta"):
        n_weights = sum(p.numel() for p in AutoModel.from_config(config).parameters())
    if n_weights > MOST:
        raise ValueError(f"{n_weights:,} weights at the least")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = AutoModel.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


class Tokenizer:
    """Stands for the tokenizer, of which the pass needs little."""

    is_fast = False
    all_special_ids = ()
    added_tokens_decoder: dict[int, str] = {}  # noqa: RUF012
    pad_token_id = 0
    model_max_length = 10**30

    def __len__(self) -> int:
        return VOCABULARY


def loaded(kind: str, whole: Any, stack: str | None = None) -> list[Any]:
    """Return a tiny model as `load` would, once for every stack."""
    from isogloss import models
    from isogloss.models import loading
    from isogloss.models.info import shape_of

    info = models.ModelInfo(kind, *shape_of(whole.config, kind), source=None)
    found = []
    for one in info.stacks:
        used, place = loading.part_of(whole, info, one), ("cpu", "float32")
        found.append(loading.assemble(info, used, stack=one, whole=whole, tokenizer=Tokenizer(), place=place, codes={}))
    return [one for one in found if stack in (None, one.stack)]


def check(model: Any) -> None:
    """Hold a model to the contract: in a batch, every layer of every line is what a plain call on it alone returns."""
    import torch

    from isogloss import models

    lengths = (12, 12, 12) if model.reading.equal_lengths else (5, 21, 12)
    drawn = torch.Generator().manual_seed(5)
    ids, mask = _lines(lengths, model.pad_id, drawn)
    source = None
    if model.conditioned:
        read = (14, 14, 14) if model.reading.equal_lengths else (9, 4, 17)
        source = _lines(read, model.pad_id, drawn)
    found = models.hidden_states(model, ids, mask, torch.clone, source=source)
    assert list(found) == list(range(model.n_layers + 1)), f"layers {list(found)}"
    for i, size in enumerate(lengths):
        line = ids[i : i + 1, :size]
        if model.conditioned:
            own = int(source[1][i].sum())
            given = {"input_ids": source[0][i : i + 1, :own], "decoder_input_ids": line}
        else:
            given = {"input_ids": line}
        with torch.no_grad():
            output = model.module(**given, output_hidden_states=True)
        told = output.decoder_hidden_states if model.conditioned else output.hidden_states
        for layer, states in found.items():
            own_states = states[i, :size]
            assert states.shape == (*ids.shape, model.d), f"shape {tuple(states.shape)}"
            assert own_states.isfinite().all(), f"layer {layer} is not finite"
            assert own_states.abs().sum(-1).min() > 0, f"layer {layer} has zeros"
            if layer == model.n_layers:
                expected = output.last_hidden_state
            elif type(model.module).__name__ in ("MambaModel", "FalconMambaModel", "Mamba2Model", "RwkvModel"):
                if layer == 0:
                    continue
                expected = told[layer - 1]  # they collect from block 1 on
            else:
                expected = told[layer]
            off = float((own_states - expected[0, :size]).norm() / expected[0, :size].norm())
            assert off < 1e-4, f"layer {layer}, line {i}: off by {off:.2g}"


def _lines(lengths: tuple[int, ...], pad: int, drawn: Any) -> tuple[Any, Any]:
    import torch

    ids = torch.full((len(lengths), max(lengths)), pad)
    mask = torch.zeros_like(ids)
    for i, size in enumerate(lengths):
        ids[i, :size] = torch.randint(10, VOCABULARY - 20, (size,), generator=drawn)
        mask[i, :size] = 1
    return ids, mask


def outcome(kind: str) -> dict[str, str]:
    """Return what becomes of a type: stack -> "works", "equal lengths" or the reason of a refusal; {} = not built."""
    from isogloss.errors import InputError, UsageError

    try:
        whole = build(kind)
    except Exception as error:
        return {"not built": re.sub(r"\s+", " ", str(error))[:150] or type(error).__name__}
    try:
        found = loaded(kind, whole)
    except InputError as error:
        return {"refused": f"refused: {error}"}
    except Exception as error:
        return {"loaded": f"BROKEN: {type(error).__name__} {error}"}
    said = {}
    for model in found:
        try:
            equal = model.reading.equal_lengths
            check(model)
            said[model.stack] = "equal lengths" if equal else "works"
        except (InputError, UsageError) as error:
            said[model.stack] = f"refused: {error}"
        except Exception as error:
            said[model.stack] = f"BROKEN: {type(error).__name__} {error}"
    return said


def lists(outcomes: dict[str, dict[str, str]]) -> str:
    """Return what came out as the lists of a page."""
    import transformers

    works, equal, refused, left = [], [], [], []
    for kind, found in outcomes.items():
        if "not built" in found:
            left.append(f"`{kind}`")
            continue
        good = [stack for stack, said in found.items() if said == "works"]
        name = f"`{kind}`" + (f" ({', '.join(good)})" if len(good) < len(found) else "")
        works += [name] if good else []
        equal += [f"`{kind}`"] if "equal lengths" in found.values() else []
        for stack, said in found.items():
            if said.startswith("refused: "):
                reason = said.removeprefix("refused: ").replace(f" of '{kind}'", "").replace(f"'{kind}' ", "")
                reason = reason.replace(f"(type '{kind}') ", "").replace(" This kind of model is not supported.", "")
                refused.append(f"| `{kind}` | {stack} | {reason.replace('|', '/')} |")
    return "\n".join(
        [
            f"With transformers {transformers.__version__}, of {len(outcomes)} types:",
            "",
            f"**Works** ({len(works)}): {', '.join(works)}.",
            "",
            f"**Works in batches of lines of one length** ({len(equal)}): {', '.join(equal)}.",
            "",
            "**Refused**:",
            "",
            "| type | stack | reason |",
            "|---|---|---|",
            *refused,
            "",
            f"**Not tried** ({len(left)}), as no model of so few weights can be built, or another package is needed: "
            f"{', '.join(left)}.",
        ]
    )


BEGIN, END = "<!-- lists: begin -->\n", "\n<!-- lists: end -->"


def main() -> None:
    import torch
    import transformers

    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--page", type=Path, help="write the lists into this page")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    outcomes = {kind: outcome(kind) for kind in asked.kinds or kinds()}
    json.dump(outcomes, sys.stdout, indent=1)
    if asked.page:
        page = asked.page.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        asked.page.write_text(before + BEGIN + lists(outcomes) + END + after)


if __name__ == "__main__":
    main()
