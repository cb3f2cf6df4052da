"""One forward pass, no further than the last layer that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from isogloss.errors import InputError
from isogloss.models.loading import Loaded

if TYPE_CHECKING:
    import torch

LastLayer = Literal["normed", "raw"]
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
    source_ids: torch.Tensor | None = None,
    source_mask: torch.Tensor | None = None,
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
    source_ids, source_mask : torch.Tensor, optional
        What the encoder reads, for the decoder of an encoder-decoder.

    Returns
    -------
    dict of int to object
        Layer -> what `take` returned.
    """
    import torch

    wanted = range(model.n_layers + 1) if layers is None else layers
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    if model.conditioned:
        inputs = {"input_ids": source_ids, "attention_mask": source_mask}
        inputs |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    stack: Any = model.module
    blocks = blocks_of(stack.get_decoder() if model.conditioned else stack, model.n_layers)
    if blocks is None:  # and no final norm
        return _all_at_once(model, inputs, wanted, take)
    found: dict[int, T] = {}
    end = wanted[-1]

    def before(layer: int) -> Callable[..., None]:
        def keep(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:  # noqa: ARG001  a hook
            found[layer] = take(positional[0] if positional else named["hidden_states"])
            if layer == end:
                raise _EnoughError

        return keep

    def after(module: Any, positional: Any, output: Any) -> None:  # noqa: ARG001  a hook
        found[model.n_layers] = take(output if isinstance(output, torch.Tensor) else output[0])
        raise _EnoughError

    hooks = [
        blocks[layer].register_forward_pre_hook(before(layer), with_kwargs=True)
        for layer in wanted
        if layer < model.n_layers
    ]
    if last_layer == "raw" and end == model.n_layers:
        hooks.append(blocks[-1].register_forward_hook(after))
    try:
        with torch.inference_mode():
            found[model.n_layers] = take(model.module(**inputs).last_hidden_state)
    except _EnoughError:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return found


def has_final_norm(model: Loaded) -> bool:
    """Return whether the model changes the output of its last block before it returns it: by trying it."""
    import torch

    ids = torch.tensor([[model.pad_id if model.start_id is None else model.start_id]], device=model.device)
    source = {"source_ids": ids, "source_mask": torch.ones_like(ids)} if model.conditioned else {}

    def last(kind: LastLayer) -> torch.Tensor:
        found = hidden_states(
            model,
            ids,
            torch.ones_like(ids),
            torch.clone,
            layers=[model.n_layers],
            last_layer=kind,
            **source,
        )
        return found[model.n_layers]

    return not torch.equal(last("normed"), last("raw"))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of a forward pass says that memory, the device's or the machine's, did not suffice."""
    import torch

    text = str(error).lower()
    short = "can't allocate memory" in text or "not enough memory" in text or "out of memory" in text
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and short
    )


def blocks_of(stack: Any, n_layers: int) -> Any:
    """Return the list of a stack's blocks, or None for models that are built otherwise (ALBERT shares one block)."""
    import torch

    lists = (m for m in stack.modules() if isinstance(m, torch.nn.ModuleList))
    return next((m for m in lists if len(m) == n_layers), None)


def _all_at_once(
    model: Loaded, inputs: dict[str, Any], wanted: Sequence[int], take: Callable[[torch.Tensor], T]
) -> dict[int, T]:
    import torch

    with torch.inference_mode():
        output = model.module(**inputs, output_hidden_states=True)
        found = output.decoder_hidden_states if model.conditioned else output.hidden_states
        if len(found) != model.n_layers + 1:
            raise InputError(
                f"'{model.name}' returned {len(found)} layers where its configuration promises "
                f"{model.n_layers + 1}, embeddings included. This kind of model is not supported."
            )
        return {layer: take(found[layer]) for layer in wanted}
