"""A model is tried once when it is loaded: where its layers are to be had, and which lines may share a batch.

What transformers itself collects (``output_hidden_states``) on a few short lines is the truth.  Hooks on a stack's
blocks can stop a pass early and keep one layer at a time; they are used where they give the same.  Then every line is
read alone: its states must be those that it had in a padded batch.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from isogloss.errors import InputError
from isogloss.models.memory import is_out_of_memory

if TYPE_CHECKING:
    import torch

    from isogloss.models.loading import Loaded

    Layers = Mapping[int, torch.Tensor]

# Subwords of the lines of a batch: short and long ones; a multiple of the windows of small sparse models, and none.
_LENGTHS = ((3, 11), (7, 16))
# Relative distance from which states count as other ones.  In tiny models of 150 kinds rounding gives up to 2e-6, 3e-3
# and 3e-2 (more where it sends a subword to another expert); states that mix in padding are off by 0.3 and more.
_TOLERANCE = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.12}
_NOTHING = 1e-6  # relative distance of states that nothing has touched


@dataclass(frozen=True)
class Reading:
    """How the states of a stack are to be had.

    Attributes
    ----------
    blocks : sequence of torch.nn.Module or None
        Block l reads layer l; None: transformers collects the layers.
    cut : bool
        The states of a batch are wider than its text, as the model pads inside: what is beyond is cut off.
    equal_lengths : bool
        Padding changes the states of a line: only lines of one length may share a batch.
    final_norm : bool or None
        The last layer is changed after the last block; None: it is, and what it was before is not to be had.
    """

    blocks: Sequence[Any] | None
    cut: bool
    equal_lengths: bool
    final_norm: bool | None


def try_out(model: Loaded) -> Reading:
    """Run a few short lines through a model in several ways.

    Raises
    ------
    InputError
        If it does not run on text alone, its layers are not those of its configuration, or its states depend on
        other lines of a batch or on chance.
    """
    import torch

    adapted = getattr(model.module.config, "languages", None)
    # X-MOD reads all lines with one of them
    if adapted and hasattr(model.module.config, "default_language"):
        raise InputError(
            f"'{model.name}' (type '{model.kind}') has weights of its own for each of {len(adapted)} languages, and "
            "would read every line with those of one. This kind of model is not supported."
        )
    with torch.inference_mode():
        batches = [_batch(model, lengths) for lengths in _LENGTHS]
        truths = [collected(model, batch) for batch in batches]
        reading = _hooked(model, batches, truths) or _collected_only(model, batches)
        for batch, truth in zip(batches, truths, strict=True):
            if _changed(model, batch, truth):
                return _apart(model, reading)
    return reading


# -- inputs and outputs ---------------------------------------------------------------------------


def inputs_of(
    model: Loaded, ids: torch.Tensor, mask: torch.Tensor, source: tuple[torch.Tensor, torch.Tensor] | None = None
) -> dict[str, Any]:
    """Return what a model is called with; a mask only where it takes one."""
    if model.conditioned:
        assert source is not None
        names = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
        return dict(zip(names, (*source, ids, mask), strict=True))
    takes = inspect.signature(model.module.forward).parameters.values()
    masked = any(x.name == "attention_mask" or x.kind is x.VAR_KEYWORD for x in takes)
    return {"input_ids": ids, **({"attention_mask": mask} if masked else {})}


def fitting(state: Any, text: torch.Tensor, model: Loaded, layer: int, *, cut: bool) -> torch.Tensor:
    """Return the states of one layer of the text, (n, width, d); anything else is refused."""
    n, width = text.shape
    shape = tuple(getattr(state, "shape", ()))
    if len(shape) == 3 and cut and shape[1] > width:
        state, shape = state[:, :width], (shape[0], width, shape[2])
    if shape != (n, width, model.d):
        raise InputError(
            f"Layer {layer} of the {model.stack} of '{model.name}' has states of shape {shape} where the text needs "
            f"{(n, width, model.d)} (lines, subwords, width). This kind of model is not supported."
        )
    return state  # type: ignore[no-any-return]


def collected(model: Loaded, inputs: Mapping[str, Any], *, cut: bool = True) -> dict[int, torch.Tensor]:
    """Return all layers as transformers collects them, the last one as the model returns it."""
    try:
        output = model.module(**inputs, output_hidden_states=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # whatever a model asks for beside text
        lines = [line.strip() for line in str(error).split("\n") if line.strip()]
        reason = type(error).__name__ if not lines or isinstance(error, KeyError) else lines[0]
        raise InputError(f"'{model.name}' (type '{model.kind}') cannot be run on text alone: {reason}") from error
    last = getattr(output, "last_hidden_state", None)
    layers = getattr(output, "decoder_hidden_states" if model.conditioned else "hidden_states", None)
    if last is None or layers is None:
        raise InputError(
            f"'{model.name}' (type '{model.kind}') does not return the states of its layers. This kind of model is "
            "not supported."
        )
    if len(layers) != model.n_layers + 1:
        raise InputError(
            f"The {model.stack} of '{model.name}' (type '{model.kind}') returned {len(layers)} layers of text where "
            f"its configuration promises {model.n_layers + 1}, embeddings included. This kind of model is not "
            "supported."
        )
    text = inputs[_text_names(model)[0]]
    return {layer: fitting(x, text, model, layer, cut=cut) for layer, x in enumerate([*layers[:-1], last])}


def _text_names(model: Loaded) -> tuple[str, str]:
    """Return what the text and its mask are called among the inputs."""
    return ("decoder_input_ids", "decoder_attention_mask") if model.conditioned else ("input_ids", "attention_mask")


def _batch(model: Loaded, lengths: Sequence[int]) -> dict[str, Any]:
    """Return lines of these lengths, of subwords from all over the vocabulary, padded."""
    import numpy as np
    import torch

    usable = _plain_subwords(model)
    drawn = np.random.default_rng(len(lengths) + sum(lengths))
    longest = model.max_length or max(lengths)

    def padded(sizes: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        sizes = [min(size, longest) for size in sizes]
        ids = torch.full((len(sizes), max(sizes)), model.pad_id)
        mask = torch.zeros_like(ids)
        for i, size in enumerate(sizes):
            ids[i, :size] = torch.from_numpy(drawn.choice(usable, size))
            mask[i, :size] = 1
        return ids.to(model.device), mask.to(model.device)

    text = padded(lengths)
    return inputs_of(model, *text, padded([size + 2 for size in lengths]) if model.conditioned else None)


def _plain_subwords(model: Loaded) -> list[int]:
    """Return the ids of subwords of text: none that stands for padding, an image or a mask."""
    config: Any = model.module.config
    text = config.get_text_config()
    marks = {model.pad_id, *getattr(model.tokenizer, "all_special_ids", ())}
    marks.update(getattr(model.tokenizer, "added_tokens_decoder", ()))
    for part in (config, text):
        for name, value in vars(part).items():
            if name.endswith(("_token_id", "_token_index")):
                marks.update(value if isinstance(value, (list, tuple)) else [value])
    size = int(getattr(text, "vocab_size", None) or len(model.tokenizer))
    return [i for i in range(size) if i not in marks] or list(range(size))


# -- where the layers are ---------------------------------------------------------------------------


def block_lists(stack: Any, n_layers: int) -> list[Any]:
    """Return the lists of modules that may be a stack's blocks, by their length."""
    import torch

    return [m for m in stack.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == n_layers]


def _hooked(model: Loaded, batches: Sequence[Mapping[str, Any]], truths: Sequence[Layers]) -> Reading | None:
    """Return the blocks whose inputs are the layers, in every batch, and whose last output becomes the last one."""
    for blocks in block_lists(text_stack(model), model.n_layers):
        cut = normed = False
        for batch, truth in zip(batches, truths, strict=True):
            seen = _watch(model, blocks, batch)
            width = batch[_text_names(model)[0]].shape[1]
            # Mamba-like models collect what comes out of blocks alone, without the embeddings
            if seen is None or not any(
                all(_same(seen[x + skipped], truth[x], model) for x in range(model.n_layers)) for skipped in (0, 1)
            ):
                break
            cut = cut or any(state.shape[1] > width for state in seen.values())
            output, last = seen[model.n_layers], truth[model.n_layers]
            if output.shape[1] < width or output.shape[2:] != last.shape[2:]:
                break
            if _distance(output[:, :width], last) > _NOTHING:
                normed = True
                if not _decides(model, blocks[-1], batch, last):
                    break
        else:
            return Reading(blocks, cut=cut, equal_lengths=False, final_norm=normed)
    return None


def text_stack(model: Loaded) -> Any:
    """Return the module in which the blocks of the stack lie."""
    whole: Any = model.module
    return whole.get_decoder() if model.conditioned else whole


def state_in(positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Return the states that a block is called with."""
    return positional[0] if positional else named.get("hidden_states")


def state_out(output: Any) -> Any:
    """Return the states that a block returns."""
    return output[0] if isinstance(output, (tuple, list)) else output


def _watch(model: Loaded, blocks: Sequence[Any], inputs: Mapping[str, Any]) -> dict[int, torch.Tensor] | None:
    """Return what goes into every block, and out of the last one; None unless each is called once, with 3-D states."""
    import torch

    seen: dict[int, list[Any]] = {layer: [] for layer in range(len(blocks) + 1)}

    def before(layer: int) -> Callable[..., None]:
        # copied, as some models add to their states in place
        return lambda _, positional, named: seen[layer].append(_copy(state_in(positional, named)))

    hooks = [block.register_forward_pre_hook(before(i), with_kwargs=True) for i, block in enumerate(blocks)]
    hooks.append(blocks[-1].register_forward_hook(lambda *call: seen[len(blocks)].append(_copy(state_out(call[-1])))))
    with removed_afterwards(hooks):
        model.module(**inputs)
    states = [calls[0] for calls in seen.values() if len(calls) == 1]
    if len(states) <= len(blocks) or any(not isinstance(x, torch.Tensor) or x.ndim != 3 for x in states):
        return None
    return dict(enumerate(states))


def _copy(state: Any) -> Any:
    return state.clone() if hasattr(state, "clone") else state


def _decides(model: Loaded, block: Any, batch: Mapping[str, Any], last: torch.Tensor) -> bool:
    """Return whether the last layer follows from the last block's output alone, whatever was read before.

    The block's output is kept and put into a pass over other subwords, which must then end alike.
    """
    import torch

    kept: list[Any] = []
    with removed_afterwards([block.register_forward_hook(lambda *call: kept.append(_copied(call[-1])))]):
        model.module(**batch)
    name, mask_name = _text_names(model)
    ids = batch[name]
    mask = batch.get(mask_name, torch.ones_like(ids))
    other = {**batch, name: torch.where((mask == 1) & (mask.flip(0) == 1), ids.flip(0), ids)}
    with removed_afterwards([block.register_forward_hook(lambda *_: kept[0])]):
        replayed = model.module(**other).last_hidden_state
    return _distance(replayed, last) < _NOTHING


def _copied(output: Any) -> Any:
    return type(output)(map(_copy, output)) if isinstance(output, (tuple, list)) else _copy(output)


@contextlib.contextmanager
def removed_afterwards(hooks: Sequence[Any]) -> Iterator[None]:
    """Remove hooks when the block ends, however it does."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _collected_only(model: Loaded, batches: Sequence[Mapping[str, Any]]) -> Reading:
    cut = False
    try:
        for batch in batches:
            collected(model, batch, cut=False)
    except InputError:
        cut = True
    return Reading(None, cut=cut, equal_lengths=False, final_norm=None if _has_maker_of_its_own(model) else False)


def _has_maker_of_its_own(model: Loaded) -> bool:
    """Return whether the last layer comes out of other kinds of modules than the one before it: out of a final norm."""
    import torch

    # Lines of one length: what follows a module may put zeros where padding is.
    last, batch = model.n_layers, _batch(model, (5, 5))
    truth = collected(model, batch)
    makers: dict[int, set[type]] = {last - 1: set(), last: set()}

    def look(module: Any, _: Any, output: Any) -> None:
        state = state_out(output)
        for layer, kinds in makers.items():
            if isinstance(state, torch.Tensor) and torch.equal(state, truth[layer]):
                kinds.add(type(module))

    with removed_afterwards([m.register_forward_hook(look) for m in model.module.modules()]):
        model.module(**batch)
    return not makers[last - 1] or not makers[last - 1] <= makers[last]


# -- which lines may share a batch ------------------------------------------------------------------


def _changed(model: Loaded, batch: Mapping[str, Any], together: Layers) -> bool:
    """Return whether any line of a batch has other states there than alone."""
    of_text = _text_names(model)
    sizes = {names: batch[names[1]].sum(1).tolist() for names in (("input_ids", "attention_mask"), of_text)}
    for i, size in enumerate(sizes[of_text]):
        line = {name: batch[name][i : i + 1, : sizes[names][i]] for names in sizes for name in names}
        for layer, state in collected(model, line).items():
            if not _same(together[layer][i : i + 1, :size], state, model):
                return True
    return False


def _apart(model: Loaded, reading: Reading) -> Reading:
    """Return a reading of lines of one length, if their states do not change by sharing a batch.

    In half precision, states that change even so have been rounded to another expert: no way of reading mends that.
    """
    for length in _LENGTHS[0]:
        batch = _batch(model, (length, length))
        together, again = collected(model, batch), collected(model, batch)
        by_chance = any(not _same(again[layer], state, model) for layer, state in together.items())
        if not by_chance and not _changed(model, batch, together):
            continue
        if model.compute != "float32":
            return reading
        why = "change by chance from one pass to the next"
        if not by_chance:
            why = "depend on the other lines of a batch, even where all are of one length"
        raise InputError(
            f"The states of '{model.name}' (type '{model.kind}') {why}. This kind of model is not supported."
        )
    return replace(reading, equal_lengths=True)


def _same(states: torch.Tensor, expected: torch.Tensor, model: Loaded) -> bool:
    """Return whether states are the same but for rounding; what pads them inside is left out."""
    if states.ndim != 3 or states.shape[0] != expected.shape[0] or states.shape[1] < expected.shape[1]:
        return False
    states = states[:, : expected.shape[1]]
    return states.shape == expected.shape and _distance(states, expected) <= _TOLERANCE[model.compute]


def _distance(states: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the difference of states relative to their size; what is not finite is refused elsewhere."""
    states, expected = states.double().nan_to_num(), expected.double().nan_to_num()
    return float((states - expected).norm() / expected.norm().clamp(min=1e-30))
