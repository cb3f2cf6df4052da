"""Adapters (LoRA and its kin, as peft saves them), merged into their base model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from isogloss.errors import InputError, MissingExtraError

_HEADS = ("classifier", "score", "lm_head", "qa_outputs", "pre_classifier", "cls", "predictions")


def merge_adapter(module: Any, folder: Path) -> Any:
    """Return the base model with the adapter of a folder added to its weights.

    An adapter trained with a head on top names its weights by the place of the base in the whole (``bert.encoder...``);
    here the base stands alone.  Heads are left out, as no state depends on them.

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
        whole = get_peft_model(module, config)
        start = f"base_model.model.{module.base_model_prefix}."
        weights = {
            name.replace(start, "base_model.model.", 1): value
            for name, value in saved.items()
            if not any(f".{head}." in name for head in _HEADS)
        }
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
    return whole.merge_and_unload()
