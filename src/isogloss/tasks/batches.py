"""Examples in padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from isogloss.extraction.subwords import batches

Example = Mapping[str, Any]
IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
EVALUATION_TOKENS = 4096  # padded subwords in a batch


def pad(rows: Sequence[Sequence[int]], fill: int) -> Any:
    """Return the (n, longest) int64 tensor of rows, filled up on the right."""
    import torch

    found = torch.full((len(rows), max(len(row) for row in rows)), fill, dtype=torch.int64)
    for i, row in enumerate(rows):
        found[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return found


def inputs(examples: Sequence[Example], pad_id: int) -> dict[str, Any]:
    """Return the padded ids of examples and their mask."""
    ids = [example["input_ids"] for example in examples]
    return {"input_ids": pad(ids, pad_id), "attention_mask": pad([[1] * len(x) for x in ids], 0)}


def in_batches(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Yield the numbers of examples, like lengths together."""
    costs = np.array([len(example["input_ids"]) + example.get("n_labels", 0) for example in examples])
    for batch in batches(np.argsort(-costs, kind="stable"), costs, EVALUATION_TOKENS):
        yield batch.tolist()
