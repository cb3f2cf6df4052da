"""Loading a model, so that it is ready to run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from isogloss.errors import UsageError, unknown
from isogloss.models.adapters import merge_adapter
from isogloss.models.info import ModelInfo, describe, model_class, read_config, without_weights
from isogloss.models.languages import language_codes
from isogloss.models.memory import enough_memory
from isogloss.models.sources import check_complete, load_part, quiet_transformers
from isogloss.models.text import Names, special_names
from isogloss.models.tokenizers import check_fits, load_tokenizer, max_length, pad_number
from isogloss.models.trial import Reading, try_out
from isogloss.settings import Compute, Weights

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, in evaluation mode.

    `module` is the whole model, or only its encoder where that is the `stack` in use of an encoder-decoder; `start_id`
    is the first input of such a model's decoder.  `max_length` is the most subwords in one sequence, special ones
    included; None = no limit.  `compute` is the number type of weights and arithmetic.  `codes` are language -> the
    code that the tokenizer puts beside its sentences, empty where there are no codes.
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
        Language -> code, where the label does not say it; see `language_codes`.
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
    config = read_config(source, name)
    place = where(device, compute, config)
    dtype = getattr(torch, place[1])
    tokenizer = load_tokenizer(info)
    codes = language_codes(tokenizer, languages, codes or {}, name=str(name))
    log.info("loading %s in %s", name, place[1])
    loader = model_class(config)
    if weights == "random":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = load_part("weights", name, lambda: loader.from_config(config, trust_remote_code=False)).to(dtype)
    else:
        module, report = load_part(
            "weights",
            name,
            lambda: loader.from_pretrained(source.path, dtype=dtype, output_loading_info=True, **source.options),
        )
        check_complete(name, report["missing_keys"], encoder_only=len(info.stacks) == 2 and stack == "encoder")
        if source.adapter is not None:
            module = merge_adapter(module, source.adapter)
    used = part_of(module, info, stack)
    with enough_memory(str(name), place[0]), quiet_transformers():
        loaded = assemble(info, used, stack=stack, whole=module, tokenizer=tokenizer, place=place, codes=codes)
        # a model that cannot be read is refused here
        log.debug("%s: %s", name, loaded.reading)
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
    """Return the module to be run with what is read from its configuration.

    `whole` is the model without a head, whose embeddings limit the length of a sequence; `place` is device and number
    type.
    """
    _settle(module)
    _settle(whole)
    check_fits(tokenizer, whole, tuple(codes.values()), name=info.name)
    pad = pad_number(tokenizer, whole)
    start = getattr(whole.config, "decoder_start_token_id", None)
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


def _settle(module: Any) -> None:
    """Let all parts of a model return their answers by name and attend to everything, whatever its files ask for.

    A model with sparse attention (BigBird) reads sparsely until it meets a short batch, and in full from then on:
    states would depend on what came before.
    """
    for part in module.modules():
        if hasattr(part, "config") and getattr(part.config, "return_dict", True) is False:
            part.config.return_dict = True
        if hasattr(part, "set_attention_type") and getattr(part, "attention_type", None) == "block_sparse":
            part.set_attention_type("original_full")


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
