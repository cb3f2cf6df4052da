"""Adapters (LoRA and its kin, as peft saves them), merged into their base model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from isogloss.errors import InputError, MissingExtraError

_HEADS = ("classifier", "score", "lm_head", "qa_outputs", "pre_classifier", "cls", "predictions")

# peft saves resized embeddings under these names, too
_TWICE = ("original_module", "modules_to_save")


def merge_adapter(module: Any, folder: Path) -> Any:
    """Return the base model with the adapter of a folder added to its weights.

    An adapter trained with a head on top names its weights and targets by the place of the base in the whole
    (``bert.encoder...``): the base is then put into a shell of that name.  Heads are left out, as no state depends on
    them.  Where the adapter's vocabulary is larger than the base's, the embeddings grow to its size.

    Raises
    ------
    MissingExtraError
        If peft is not installed.
    InputError
        If the adapter does not fit the base.
    """
    try:
        from peft import PeftConfig, get_peft_model
        from peft.utils import load_peft_weights, set_peft_model_state_dict
    except ImportError:
        raise MissingExtraError("peft", "lora", f"The adapter {folder}") from None
    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
        saved = load_peft_weights(str(folder), device="cpu")
        kept = [x for x in getattr(config, "modules_to_save", None) or () if x not in _HEADS]
        config = replace(config, task_type=None, modules_to_save=kept or None, inference_mode=True)
        weights = {
            name: value for name, value in saved.items() if not any(f".{part}." in name for part in (*_HEADS, *_TWICE))
        }
        _resize(module, weights)
        place = module.base_model_prefix
        inside = any(name.startswith(f"base_model.model.{place}.") for name in weights)
        whole = get_peft_model(_shell(module, place) if inside else module, config)
        report: Any = set_peft_model_state_dict(whole, weights)
    except Exception as error:  # peft raises many kinds
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise InputError(f"The adapter {folder} cannot be added to its base: {reason}") from error
    empty = [x for x in report.missing_keys if "lora_" in x or "modules_to_save" in x]
    strange = [*report.unexpected_keys, *empty]
    if strange or not weights:
        raise InputError(
            f"The adapter {folder} does not fit its base model: {len(strange)} of its tensors have no place there, "
            f"e.g. '{strange[0] if strange else 'none found'}'."
        )
    merged = whole.merge_and_unload()
    return getattr(merged, place) if inside else merged


def _shell(module: Any, place: str) -> Any:
    """Return a model that holds nothing but the base, under the name that it has in a model with a head."""
    import torch

    class _Shell(torch.nn.Module):
        is_gradient_checkpointing = False  # peft takes its absence for a yes

        def get_input_embeddings(self) -> Any:
            return module.get_input_embeddings()

    shell = _Shell()
    shell.add_module(place, module)
    shell.config = module.config
    return shell


def _resize(module: Any, weights: dict[str, Any]) -> None:
    """Give the base as many embeddings as the adapter was saved with."""
    table = module.get_input_embeddings()
    place = next(name for name, part in module.named_modules() if part is table)
    for name, value in weights.items():
        by_column = "lora_embedding_A" in name
        whole = name.endswith(".weight") and value.shape[1:] == table.weight.shape[1:]
        if f".{place}." in name and (by_column or whole):
            rows = value.shape[1 if by_column else 0]
            if rows != table.weight.shape[0]:
                module.resize_token_embeddings(rows, mean_resizing=False)
            return
