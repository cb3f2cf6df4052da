"""Models with a head on top, to be trained for a task: loading, adapters, and the folder of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isogloss.errors import InputError, MissingExtraError, UsageError
from isogloss.models.info import describe, read_config
from isogloss.models.languages import language_codes
from isogloss.models.loading import Loaded, assemble, load, where
from isogloss.models.sources import SENTENCE_SETTINGS, check_complete, load_part, quiet_transformers
from isogloss.models.tokenizers import load_tokenizer
from isogloss.settings import LoraSettings, Weights
from isogloss.store import write_json

# Kind of head -> transformers' loader of it, peft's name of its task, and ours.
_HEADS = {
    "tokens": ("AutoModelForTokenClassification", "TOKEN_CLS", "labelling tokens"),
    "sentences": ("AutoModelForSequenceClassification", "SEQ_CLS", "labelling sentences"),
    "translation": ("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM", "translation (an encoder-decoder such as mT5 or mBART)"),
}


def load_head(
    name: str | Path,
    kind: str,
    *,
    labels: Sequence[str] = (),
    languages: Sequence[str] = (),
    target: str | None = None,
    codes: Mapping[str, str] | None = None,
    device: str = "auto",
    revision: str | None = None,
    weights: Weights = "pretrained",
    seed: int = 0,
    lora: LoraSettings | None = None,
) -> Loaded:
    """Load a model with a head for a task, in float32; a head that the files lack is drawn from the seed.

    Parameters
    ----------
    name, codes, device, revision
        As of `isogloss.models.load`.
    kind : {"tokens", "sentences", "translation"}
        What the head does.
    labels : sequence of str
        Of tokens or sentences; empty: those in the model's configuration.
    languages : sequence of str
        Those that will be read.
    target : str, optional
        The language to translate into.
    weights : {"pretrained", "random"}
        ``"random"``: the head is drawn from the seed; below it is what `load` calls random.
    seed : int
    lora : LoraSettings, optional

    Returns
    -------
    Loaded
        Its module is the whole model with its head, in evaluation mode.

    Raises
    ------
    InputError
        If the model does not exist, is incomplete, or cannot carry such a head.
    MissingExtraError
        If `lora` needs peft.
    """
    import torch
    import transformers

    info = describe(name, revision=revision)
    if info.source.adapter is not None:
        raise InputError(f"'{name}' is an adapter. Merge it into its base and give the folder of the result.")
    config, tokenizer = read_config(info.source, name), load_tokenizer(info)
    place = where(device, "float32", config)
    loader_name, _, task = _HEADS[kind]
    loader = getattr(transformers, loader_name)
    settings: dict[str, Any] = {}
    if labels:
        numbers = {label: i for i, label in enumerate(labels)}
        settings = {"num_labels": len(labels), "label2id": numbers, "id2label": dict(enumerate(labels))}
    if type(config) not in loader._model_mapping:
        raise InputError(f"'{name}' (type '{config.model_type}') has no head for {task}.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if weights == "random":
            for key, value in settings.items():
                setattr(config, key, value)
            module = load_part("weights", name, lambda: loader.from_config(config, trust_remote_code=False))
            module = module.float()
        else:
            module, report = load_part(
                "weights",
                name,
                lambda: loader.from_pretrained(
                    info.source.path, dtype=torch.float32, output_loading_info=True, **settings, **info.source.options
                ),
            )
            inner = f"{module.base_model_prefix}."
            check_complete(name, [x for x in report["missing_keys"] if x.startswith(inner)], encoder_only=False)
        whole = getattr(module, module.base_model_prefix, module)
        # the same numbers that stand for the untrained model elsewhere
        if weights == "random":
            untrained = load(name, stack=info.stacks[-1], device="cpu", revision=revision, weights="random")
            whole.load_state_dict(untrained.module.state_dict(), strict=False)
        if lora is not None:
            module = _with_lora(module, lora, kind)
    codes = language_codes(tokenizer, [*languages, *([target] if target else [])], codes or {}, name=str(name))
    if target and codes:
        tokenizer.tgt_lang = codes[target]
    loaded = assemble(info, module, stack=info.stacks[0], whole=whole, tokenizer=tokenizer, place=place, codes=codes)
    text_config = module.config.get_text_config()
    text_config.use_cache = kind == "translation"
    # a decoder's classifier takes the last subword that is not this one
    text_config.pad_token_id = loaded.pad_id
    return loaded


def save_head(model: Loaded, folder: Path) -> None:
    """Write model (adapters merged) and tokenizer in the hub's format."""
    module: Any = model.module
    if hasattr(module, "merge_and_unload"):
        module = module.merge_and_unload()
    # a head on the encoder alone says so in its configuration; the folder is then still of a model with both stacks
    module.config.is_encoder_decoder = len(model.stacks) == 2
    with quiet_transformers():
        module.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
    if model.info.source.lower_case:
        write_json(folder / SENTENCE_SETTINGS, {"do_lower_case": True})


def _with_lora(module: Any, lora: LoraSettings, kind: str) -> Any:
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError:
        raise MissingExtraError("peft", "lora", "Training with LoRA") from None
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else None,
        task_type=TaskType[_HEADS[kind][1]],
    )
    try:
        return get_peft_model(module, settings)
    except ValueError as error:
        raise UsageError(f"LoRA does not fit this model: {str(error).splitlines()[0]} Name its targets.") from None
