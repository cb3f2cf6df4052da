"""Loading a model, its kind and its layers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from isogloss.errors import InputError, UsageError, unknown
from isogloss.models.adapters import merge_adapter
from isogloss.models.languages import language_codes
from isogloss.models.memory import enough_memory
from isogloss.models.sources import Source, check_complete, find_source, load_part, quiet_transformers
from isogloss.models.text import Names, special_names
from isogloss.models.tokenizers import check_fits, load_tokenizer, max_length, pad_number
from isogloss.models.trial import Reading, try_out
from isogloss.settings import Compute, Weights

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, in evaluation mode.

    Attributes
    ----------
    info : ModelInfo
    stack : str
        The stack in use.
    tokenizer : transformers.PreTrainedTokenizerFast
    module : torch.nn.Module
        The whole model, or only its encoder where that is the stack of an encoder-decoder.
    max_length : int or None
        Most subwords in one sequence, special ones included; None = no limit.
    pad_id : int
    start_id : int or None
        First input of the decoder of an encoder-decoder.
    device : str
    compute : str
        The number type of weights and arithmetic: float32, bfloat16 or float16.
    codes : mapping of str to str
        Language -> the code that the tokenizer puts beside its sentences; empty where there are no codes.
    """

    info: ModelInfo
    stack: str
    tokenizer: Any
    module: torch.nn.Module
    max_length: int | None
    pad_id: int
    start_id: int | None
    device: str
    compute: str
    codes: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def stacks(self) -> tuple[str, ...]:
        return self.info.stacks

    @property
    def n_layers(self) -> int:
        """Number of blocks of the stack in use."""
        return self.info.n_layers[self.stack]

    @property
    def d(self) -> int:
        return self.info.d

    @property
    def fingerprint(self) -> str:
        return self.info.fingerprint

    @property
    def kind(self) -> str:
        """The type in the model's configuration, such as ``bert``."""
        config: Any = self.module.config
        return str(config.model_type)

    @cached_property
    def reading(self) -> Reading:
        """Where its layers are to be had, and which lines may share a batch; found by trying it, once."""
        return try_out(self)

    @cached_property
    def special_names(self) -> Names | None:
        """What finds names of special subwords in a line."""
        return special_names(self.tokenizer)

    @property
    def conditioned(self) -> bool:
        """True if the stack reads another line through an encoder."""
        return self.stack == "decoder" and len(self.stacks) == 2


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
    return ModelInfo(str(name), *shape_of(_config(source, name), name), source)


def shape_of(config: Any, name: object) -> tuple[tuple[str, ...], dict[str, int], int]:
    """Return stacks, layers of each and width, as a configuration tells them.

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


def _config(source: Source, name: object) -> Any:
    from transformers import AutoConfig

    return load_part("configuration", name, lambda: AutoConfig.from_pretrained(source.path, **source.options))


def load(
    name: str | Path,
    *,
    stack: str | None = None,
    device: str = "auto",
    revision: str | None = None,
    compute: Compute = "auto",
    languages: Sequence[str] = (),
    codes: Mapping[str, str] | None = None,
    weights: Weights = "pretrained",
) -> Loaded:
    """Load a model and its fast tokenizer; an adapter is merged into its base.

    Parameters
    ----------
    name : str or Path
        A folder in the hub's format, or a hub id.
    stack : {"encoder", "decoder"}, optional
        Default: the first of the model's stacks.
    device : str
        ``"auto"`` (a CUDA device where there is one, else the CPU) or a torch device.
    revision : str, optional
        Branch, tag or commit on the hub.
    compute : {"auto", "float32", "bfloat16", "float16"}
        Number type of weights and arithmetic.  ``"auto"``: the type the weights are stored in on a GPU, float32 on a
        CPU.
    languages : sequence of str
        Those that will be read; asked for where the tokenizer needs a code for each.
    codes : mapping of str to str, optional
        Language -> code, where the label does not tell it; see `language_codes`.
    weights : {"pretrained", "random"}
        ``"random"``: as this kind of model begins its training, always the same; a control.

    Raises
    ------
    InputError
        If the model does not exist, is incomplete, or has no fast tokenizer.
    UsageError
        If the model has no such stack, there is no such device or number type, or a language has no code.
    MissingExtraError
        If an adapter needs peft.
    """
    import torch

    info = describe(name, revision=revision)
    source = info.source
    stack = info.check_stack(stack)
    place, number = where(device, compute, _config(source, name))
    tokenizer = load_tokenizer(info)
    found = language_codes(tokenizer, languages, codes or {}, name=str(name))
    log.info("loading %s in %s", name, number)
    whole_model = model_class(_config(source, name))
    if weights == "random":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = load_part(
                "weights", name, lambda: whole_model.from_config(_config(source, name), trust_remote_code=False)
            ).to(getattr(torch, number))
    else:
        module, report = load_part(
            "weights",
            name,
            lambda: whole_model.from_pretrained(
                source.path, dtype=getattr(torch, number), output_loading_info=True, **source.options
            ),
        )
        part = len(info.stacks) == 2 and stack == "encoder"
        check_complete(name, report["missing_keys"], encoder_only=part)
        if source.adapter is not None:
            module = merge_adapter(module, source.adapter)
    used = part_of(module, info, stack)
    with enough_memory(str(name), place), quiet_transformers():
        loaded = assemble(
            info, used, stack=stack, whole=module, tokenizer=tokenizer, place=(place, number), codes=found
        )
        log.debug("%s: %s", name, loaded.reading)  # a model that cannot be read is refused here
    return loaded


def part_of(whole: Any, info: ModelInfo, stack: str) -> Any:
    """Return the module to run for a stack: the encoder alone, or the whole."""
    used = whole.get_encoder() if len(info.stacks) == 2 and stack == "encoder" else whole
    if not hasattr(used, "config"):  # FSMT's encoder
        used.config = whole.config
    used.config.get_text_config().use_cache = False  # a cache of keys and values only costs memory here
    return used


def assemble(
    info: ModelInfo,
    module: Any,
    *,
    stack: str,
    whole: Any,
    tokenizer: Any,
    place: tuple[str, str],
    codes: Mapping[str, str],
) -> Loaded:
    """Return a module with what is read from its configuration.

    Parameters
    ----------
    info : ModelInfo
    module : torch.nn.Module
        What is to be run.
    stack : str
    whole : torch.nn.Module
        The model without a head, whose embeddings tell the longest sequence.
    tokenizer : transformers.PreTrainedTokenizerFast
    place : (str, str)
        Device and number type.
    codes : mapping of str to str
    """
    config = whole.config
    _read_in_full(module)
    for part in (module, whole):
        _answer_by_name(part)
    check_fits(tokenizer, whole, tuple(codes.values()), name=info.name)
    pad = pad_number(tokenizer, whole)
    start = getattr(config, "decoder_start_token_id", None)
    return Loaded(
        info=info,
        stack=stack,
        tokenizer=tokenizer,
        module=module.eval().to(place[0]),
        max_length=max_length(tokenizer, whole, stack),
        pad_id=pad,
        start_id=int(pad if start is None else start) if len(info.stacks) == 2 else None,
        device=place[0],
        compute=place[1],
        codes=codes,
    )


def outline(info: ModelInfo, stack: str) -> Loaded:
    """Return a model without weights: nothing can be run, but its tokenizer and longest sequence are there."""
    tokenizer, whole = load_tokenizer(info), without_weights(info)
    limit = max_length(tokenizer, whole, stack)
    return Loaded(info, stack, tokenizer, whole, limit, 0, None, "meta", "float32", {})


def without_weights(info: ModelInfo) -> Any:
    """Return the module of a whole model without a head, its weights only sizes.

    Raises
    ------
    InputError
        If transformers does not know this kind of model.
    """
    import torch

    config = read_config(info)
    try:
        with torch.device("meta"):
            return model_class(config).from_config(config, trust_remote_code=False)
    except (ValueError, ImportError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"The model '{info.name}' cannot be built: {reason}") from None


def facts(model: Loaded) -> dict[str, object]:
    """Return what pins a model's states beside the settings: fingerprint, commit, versions, device."""
    import torch
    import transformers

    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "base": model.info.source.path if model.info.source.adapter else None,
        "revision": model.info.source.commit,
        "max_length": model.max_length,
        "language_codes": dict(model.codes),
        "lower_case": model.info.source.lower_case,
        "device": model.device,
        "compute": model.compute,
        "attention": getattr(model.module.config, "_attn_implementation", None),
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }


def _read_in_full(module: Any) -> None:
    """Switch sparse attention off where a model would switch by itself (BigBird).

    It reads sparsely until it meets a short batch, and in full from then on: states would depend on what came before.
    """
    for part in module.modules():
        if hasattr(part, "set_attention_type") and getattr(part, "attention_type", None) == "block_sparse":
            part.set_attention_type("original_full")


# -- what kind of model it is ---------------------------------------------------------------------


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


def _answer_by_name(module: Any) -> None:
    """Let all parts of a model return their answers by name, whatever ``return_dict`` its files ask for."""
    for part in module.modules():
        if hasattr(part, "config") and getattr(part.config, "return_dict", True) is False:
            part.config.return_dict = True


def read_config(info: ModelInfo) -> Any:
    """Return transformers' configuration of a model."""
    return _config(info.source, info.name)


def where(device: str, compute: Compute, config: Any) -> tuple[str, str]:
    """Return the device and the number type to use.

    Raises
    ------
    UsageError
        If there is no such device or number type.
    """
    if compute not in get_args(Compute):
        raise unknown("compute", compute, get_args(Compute))
    place = _device(device)
    if compute != "auto":
        return place, compute
    stored = str(config.dtype or "float32").removeprefix("torch.")
    return place, stored if place != "cpu" and stored in get_args(Compute) else "float32"


def _device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UsageError(f"The device '{device}' cannot be used ({reason}). Give auto, cpu or cuda.") from None
    return device
