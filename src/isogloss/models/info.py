"""What can be known of a model without its weights: its files, its stacks and layers, its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from isogloss.errors import InputError, UsageError, unknown
from isogloss.models.sources import Source, find_source, load_part


@dataclass(frozen=True)
class ModelInfo:
    """What can be known of a model without loading its weights.

    Attributes
    ----------
    name : str
        The folder or hub id as given.
    stacks : tuple of str
        ``("encoder",)``, ``("decoder",)`` or ``("encoder", "decoder")``; the first is the default.
    n_layers : mapping of str to int
        Stack -> number of blocks L; layers are numbered 0 (embeddings) .. L.
    d : int
        Width of a state.
    source : Source
        Where its parts are loaded from.
    """

    name: str
    stacks: tuple[str, ...]
    n_layers: Mapping[str, int]
    d: int
    source: Source

    @property
    def fingerprint(self) -> str:
        """Digest of the model's files (a folder) or commit (the hub)."""
        return self.source.fingerprint

    def check_stack(self, stack: str | None) -> str:
        """Return the stack to use: the one named, or the first one for None."""
        if stack is not None and stack not in self.stacks:
            raise unknown("stack", stack, self.stacks, where=f"model '{self.name}'")
        return stack or self.stacks[0]

    def check_layers(self, stack: str, layers: Literal["all"] | Sequence[int]) -> tuple[int, ...]:
        """Return the layers to use, rising: those given, or all of the stack for "all"."""
        last = self.n_layers[stack]
        if layers == "all":
            return tuple(range(last + 1))
        if max(layers) > last:
            raise UsageError(
                f"The {stack} of '{self.name}' has layers 0 (embeddings) .. {last}; got {list(layers)}. "
                "Give 'all' or a list of these numbers."
            )
        return tuple(sorted(layers))


def describe(name: str | Path, *, revision: str | None = None) -> ModelInfo:
    """Return stacks, layers and width of a model without loading its weights.

    Parameters
    ----------
    name : str or Path
        A folder in the hub's format (config.json, tokenizer.json, model.safetensors), or a hub id.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    InputError
        If there is no such model, or the hub cannot be reached and the model is not in its local cache.
    UsageError
        If a `revision` is given for a folder.
    """
    source = find_source(name, revision)
    return ModelInfo(str(name), *shape_of(read_config(source, name), name), source)


def read_config(source: Source, name: object) -> Any:
    """Return transformers' configuration of a model."""
    from transformers import AutoConfig

    return load_part("configuration", name, lambda: AutoConfig.from_pretrained(source.path, **source.options))


def shape_of(config: Any, name: object) -> tuple[tuple[str, ...], dict[str, int], int]:
    """Return stacks, layers of each and width, from a configuration.

    Raises
    ------
    InputError
        If it is not of a text model with layers.
    """
    stacks = _stacks(config)
    try:
        n_layers = {stack: _depth(config, stack) for stack in stacks}
        d = int(config.get_text_config().hidden_size)
    except (AttributeError, ValueError):
        raise InputError(
            f"The model '{name}' (type '{config.model_type}') is not a text model with layers. Give another one."
        ) from None
    return stacks, n_layers, d


def _stacks(config: Any) -> tuple[str, ...]:
    from transformers.models.auto import modeling_auto

    if config.is_encoder_decoder:
        return ("encoder", "decoder")
    # BERT-like types are in both tables: they can be run as decoders, and say so in the configuration
    text = config.get_text_config()
    kinds = {config.model_type, text.model_type}
    masked = kinds & set(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    causal = kinds & set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    # beside images or sound, text is read by a language model that goes on writing
    writes = config.model_type in {
        *modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        *modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    }
    reads_left = getattr(text, "is_decoder", False) or ((causal or writes) and not masked)
    return ("decoder",) if reads_left else ("encoder",)


def _depth(config: Any, stack: str) -> int:
    if config.is_encoder_decoder and stack == "decoder":
        n_layers = getattr(config, "num_decoder_layers", None)  # T5-like
        return int(n_layers or config.get_text_config(decoder=True).num_hidden_layers)
    return int(config.get_text_config().num_hidden_layers)


def model_class(config: Any) -> Any:
    """Return transformers' loader of a whole model without a head: for T5's encoder alone it is another one."""
    from transformers import AutoModel, AutoModelForTextEncoding

    mapping = AutoModelForTextEncoding._model_mapping
    alone = not config.is_encoder_decoder and type(config) in mapping
    return AutoModelForTextEncoding if alone and mapping[type(config)].__name__.endswith("EncoderModel") else AutoModel


def without_weights(info: ModelInfo) -> Any:
    """Return the module of a whole model without a head, its weights only sizes.

    Raises
    ------
    InputError
        If transformers does not know this kind of model.
    """
    import torch

    config = read_config(info.source, info.name)
    try:
        with torch.device("meta"):
            return model_class(config).from_config(config, trust_remote_code=False)
    except (ValueError, ImportError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"The model '{info.name}' cannot be built: {reason}") from None
