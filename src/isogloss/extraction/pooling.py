"""Pooling: a padded batch of subwords in, one state a word out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from isogloss import models
from isogloss.errors import InputError
from isogloss.extraction.subwords import Ints

if TYPE_CHECKING:
    import torch

Pooling = Literal["mean", "last", "first"]
Storage = Literal["float16", "float32"]


def as_decoder_input(ids: Ints, owner: Ints, model: models.Loaded) -> tuple[Ints, Ints]:
    """Put the start token in front; the end token is only ever a label."""
    if len(ids) and ids[-1] == model.tokenizer.eos_token_id and owner[-1] < 0:
        ids, owner = ids[:-1], owner[:-1]
    assert model.start_id is not None
    return np.concatenate([[model.start_id], ids]), np.concatenate([[-1], owner])


def pad(lines: Sequence[Ints], model: models.Loaded) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of lines of unlike length, (n, longest) int64 on the model's device, padded right."""
    import torch

    width = max(len(ids) for ids in lines)
    padded = np.full((len(lines), width), model.pad_id, dtype=np.int64)
    mask = np.zeros((len(lines), width), dtype=np.int64)
    for i, ids in enumerate(lines):
        padded[i, : len(ids)] = ids
        mask[i, : len(ids)] = 1
    return torch.from_numpy(padded).to(model.device), torch.from_numpy(mask).to(model.device)


def places(owner: Sequence[Ints], width: int, pooling: Pooling) -> tuple[Ints, Ints, Ints | None]:
    """Return the token rows of a batch, the flat positions to read, and for the mean how many a row has."""
    flat = np.concatenate([i * width + np.arange(len(x)) for i, x in enumerate(owner)])
    row = np.concatenate(owner)
    flat, row = flat[row >= 0], row[row >= 0]
    order = np.argsort(row, kind="stable")
    rows, first, counts = np.unique(row[order], return_index=True, return_counts=True)
    flat = flat[order]
    if pooling == "mean":
        return rows, flat, counts
    return rows, flat[first if pooling == "first" else first + counts - 1], None


def pool(hidden: torch.Tensor, flat: Ints, counts: Ints | None) -> npt.NDArray[np.float32]:
    """Read or average the states at flat positions; sums run in order, so the result is repeatable."""
    import torch

    with torch.inference_mode():
        picked = hidden.reshape(-1, hidden.shape[-1])[torch.from_numpy(flat).to(hidden.device)].float()
        if counts is not None:
            lengths = torch.from_numpy(counts).to(hidden.device)
            picked = torch.segment_reduce(picked, "mean", lengths=lengths, unsafe=True)
        pooled: npt.NDArray[np.float32] = picked.cpu().numpy()
    return pooled


def stored(pooled: npt.NDArray[np.float32], dtype: Storage, layer: int) -> npt.NDArray[np.floating]:
    """Return pooled states in the storage type; what does not fit is an ``InputError``."""
    with np.errstate(over="ignore"):
        kept: npt.NDArray[np.floating] = pooled.astype(dtype)
    if np.isfinite(kept).all():
        return kept
    if np.isfinite(pooled).all():
        largest = float(np.abs(pooled).max())
        raise InputError(f"States reach {largest:.3g} at layer {layer}, too large for float16. Use float32.")
    raise InputError(f"The model returns states that are not finite at layer {layer}: NaN or infinite.")
