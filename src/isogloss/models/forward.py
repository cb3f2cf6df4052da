"""One forward pass, no further than the last layer that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from isogloss.errors import InputError, UsageError
from isogloss.models.sources import quiet_transformers
from isogloss.models.trial import collected, fitting, inputs_of, removed_afterwards, state_in, state_out
from isogloss.settings import LastLayer

if TYPE_CHECKING:
    import torch

    from isogloss.models.loading import Loaded

T = TypeVar("T")


class _EnoughError(Exception):
    """Ends a forward pass where nothing later is asked for."""


def hidden_states(
    model: Loaded,
    ids: torch.Tensor,
    mask: torch.Tensor,
    take: Callable[[torch.Tensor], T],
    *,
    layers: Sequence[int] | None = None,
    last_layer: LastLayer = "normed",
    source: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> dict[int, T]:
    """Run one padded batch and take what is wanted of each layer; blocks after the last one are not computed.

    Parameters
    ----------
    model : Loaded
    ids, mask : torch.Tensor
        (n, width) int64, padded on the right; mask is 1 on real subwords.
    take : callable
        From the states of one layer, (n, width, d) in the model's number type and on its device, to what is kept of
        them; it is called as soon as the layer is there, which need not live on.
    layers : sequence of int, optional
        Rising; default: all.  0 is the embedding output, l the output of block l.
    last_layer : {"normed", "raw"}
        Layer L, the last, after the final norm of models that have one (T5-, mBART-, Llama-, GPT-NeoX-like), as
        transformers' ``hidden_states[-1]``; or before it, as all other layers are.
    source : (torch.Tensor, torch.Tensor), optional
        Ids and mask of what the encoder reads, for the decoder of an encoder-decoder.

    Returns
    -------
    dict of int to object
        Layer -> what `take` returned: exactly the layers wanted.

    Raises
    ------
    InputError
        If a layer does not come in the pass, comes twice, or its states are not (n, width, d).
    UsageError
        If `last_layer` is raw and the model does not show that state.
    """
    import torch

    wanted = tuple(range(model.n_layers + 1)) if layers is None else tuple(layers)
    reading, end = model.reading, wanted[-1]
    blocks = reading.blocks
    raw = last_layer == "raw" and end == model.n_layers
    if raw and reading.final_norm is None:
        raise UsageError(
            f"The last layer of '{model.name}' (type '{model.kind}') before its final norm cannot be had. "
            "Use last_layer normed, or leave the last layer out."
        )
    inputs = inputs_of(model, ids, mask, source)
    taken: dict[int, T] = {}

    def keep(layer: int, state: Any) -> None:
        if layer in taken:
            raise InputError(
                f"Layer {layer} of the {model.stack} of '{model.name}' came twice in one pass. "
                "This kind of model is not supported."
            )
        taken[layer] = take(fitting(state, ids, model, layer, cut=reading.cut))

    if blocks is None:
        with torch.inference_mode(), quiet_transformers():
            states = collected(model, inputs, cut=reading.cut)
            for layer in wanted:
                keep(layer, states[layer])
        return taken

    def before(layer: int) -> Callable[..., None]:
        def hook(_: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            keep(layer, state_in(positional, named))
            if layer == end:
                raise _EnoughError

        return hook

    def after(_module: Any, _positional: Any, output: Any) -> None:
        keep(model.n_layers, state_out(output))
        raise _EnoughError

    hooks = [blocks[x].register_forward_pre_hook(before(x), with_kwargs=True) for x in wanted if x < model.n_layers]
    if raw:
        hooks.append(blocks[-1].register_forward_hook(after))
    with removed_afterwards(hooks), suppress(_EnoughError), torch.inference_mode(), quiet_transformers():
        output = model.module(**inputs)
        if end == model.n_layers and not raw:
            keep(end, output.last_hidden_state)
    lacking = [layer for layer in wanted if layer not in taken]
    if lacking:
        raise InputError(
            f"The {model.stack} of '{model.name}' (type '{model.kind}') did not come by layers {lacking} in one pass. "
            "This kind of model is not supported."
        )
    return taken
