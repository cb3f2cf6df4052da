"""One forward pass, no further than the last layer that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from isogloss.errors import InputError
from isogloss.models.loading import Loaded

if TYPE_CHECKING:
    import torch


class _EnoughError(Exception):
    """Ends a forward pass at the input of a block."""


def hidden_states(
    model: Loaded,
    ids: torch.Tensor,
    mask: torch.Tensor,
    *,
    layers: Sequence[int] | None = None,
    source_ids: torch.Tensor | None = None,
    source_mask: torch.Tensor | None = None,
) -> dict[int, torch.Tensor]:
    """Run one padded batch and return layers of the stack; blocks after the last one asked for are not computed.

    Parameters
    ----------
    model : Loaded
    ids, mask : torch.Tensor
        (n, width) int64, padded on the right; mask is 1 on real subwords.
    layers : sequence of int, optional
        Rising; default: all.
    source_ids, source_mask : torch.Tensor, optional
        What the encoder reads, for the decoder of an encoder-decoder.

    Returns
    -------
    dict of int to torch.Tensor
        Layer -> (n, width, d) float32.  0 is the embedding output, l the output of block l, as the input of the next
        block.  Layer L, the last, is *after* the final norm in models that have one (T5-, Llama-, Qwen-,
        Gemma-like), so curves over layers may jump there.
    """
    import torch

    wanted = range(model.n_layers + 1) if layers is None else layers
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    if model.conditioned:
        inputs = {"input_ids": source_ids, "attention_mask": source_mask}
        inputs |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    blocks = _blocks(model)
    if blocks is None:
        return _all_at_once(model, inputs, wanted)
    found: dict[int, torch.Tensor] = {}
    hooks = [
        blocks[layer].register_forward_pre_hook(_keeper(found, layer, last=wanted[-1]), with_kwargs=True)
        for layer in wanted
        if layer < model.n_layers
    ]
    try:
        with torch.inference_mode():
            found[model.n_layers] = model.module(**inputs).last_hidden_state
    except _EnoughError:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _keeper(found: dict[int, torch.Tensor], layer: int, *, last: int) -> Callable[..., None]:
    def keep(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:  # noqa: ARG001  a hook
        found[layer] = positional[0] if positional else named["hidden_states"]
        if layer == last:
            raise _EnoughError

    return keep


def _blocks(model: Loaded) -> Any:
    """Return the list of the stack's blocks, or None for models that are built otherwise (ALBERT shares one block)."""
    import torch

    module: Any = model.module
    stack = module.get_decoder() if model.conditioned else module
    lists = (m for m in stack.modules() if isinstance(m, torch.nn.ModuleList))
    return next((m for m in lists if len(m) == model.n_layers), None)


def _all_at_once(model: Loaded, inputs: dict[str, Any], wanted: Sequence[int]) -> dict[int, torch.Tensor]:
    import torch

    with torch.inference_mode():
        output = model.module(**inputs, output_hidden_states=True)
    found = output.decoder_hidden_states if model.conditioned else output.hidden_states
    if len(found) != model.n_layers + 1:
        raise InputError(
            f"'{model.name}' returned {len(found)} layers where its configuration promises "
            f"{model.n_layers + 1}, embeddings included. This kind of model is not supported."
        )
    return {layer: found[layer] for layer in wanted}
