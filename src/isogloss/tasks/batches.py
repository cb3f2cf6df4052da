"""Examples in padded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from isogloss.extraction.subwords import batches
from isogloss.models import Loaded

Example = Mapping[str, Any]
IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
EVALUATION_TOKENS = 4096  # padded subwords in a batch


def pad(rows: Sequence[Sequence[int]], fill: int) -> Any:
    """Return the (n, longest) int64 tensor of rows, filled up on the right."""
    import torch

    tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill)


def inputs(examples: Sequence[Example], pad_id: int) -> dict[str, Any]:
    """Return the padded ids of examples and their mask."""
    ids = [example["input_ids"] for example in examples]
    return {"input_ids": pad(ids, pad_id), "attention_mask": pad([[1] * len(x) for x in ids], 0)}


def in_batches(
    examples: Sequence[Example], collate: Callable[..., dict[str, Any]], model: Loaded
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Yield the numbers of examples, like lengths together, and their batch on the model's device."""
    costs = np.array([len(example["input_ids"]) + example.get("n_labels", 0) for example in examples])
    for numbers in batches(np.argsort(-costs, kind="stable"), costs, EVALUATION_TOKENS):
        batch = collate([examples[i] for i in numbers], pad_id=model.pad_id)
        yield numbers.tolist(), {name: value.to(model.device) for name, value in batch.items()}
