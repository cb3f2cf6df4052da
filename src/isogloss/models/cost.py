"""What a forward pass will cost, before any weights are loaded."""

from __future__ import annotations

import time
from collections.abc import Sequence

from isogloss.models.info import ModelInfo, read_config, without_weights
from isogloss.models.loading import where
from isogloss.models.trial import block_lists
from isogloss.settings import Compute

_EFFICIENCY = 0.85  # of a forward pass, beside products of matrices alone; measured on 12 x 768, two cores


def work_per_subword(info: ModelInfo, stack: str, layers: Sequence[int]) -> float:
    """Return the floating-point operations that one subword takes up to the last layer, attention's share left out.

    Two for every weight of the blocks (a product and a sum); a decoder that reads an encoder's line counts as many
    subwords there as its own.

    Raises
    ------
    InputError
        If transformers does not know this kind of model.
    """
    whole = without_weights(info)
    # of a model that sees or hears too, the part that reads text
    parts = {stack: (whole.get_decoder() if stack == "decoder" else whole, max(layers))}
    if len(info.stacks) == 2:
        parts["encoder"] = (whole.get_encoder(), info.n_layers["encoder"] if stack == "decoder" else max(layers))
    weights = 0
    for name, (module, last) in parts.items():
        lists = block_lists(module, info.n_layers[name])
        # ALBERT: one block, again and again
        used = list(lists[0])[:last] if lists else [module] * last
        weights += sum(p.numel() for block in used for p in block.parameters())
    return 2.0 * weights


def operations_per_second(info: ModelInfo, *, device: str, compute: Compute) -> float:
    """Measure, in a second or less, how many floating-point operations a second a forward pass will do here.

    Raises
    ------
    UsageError
        If there is no such device or number type.
    """
    import torch

    place, number = where(device, compute, read_config(info.source, info.name))
    d = 1024 if place == "cpu" else 8192
    x = torch.ones((d, d), dtype=getattr(torch, number), device=place)
    (x @ x).sum().item()
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < 0.3:
        y = x @ x
        n += 1
    y[0, 0].item()  # waits for a GPU
    return _EFFICIENCY * n * 2.0 * d**3 / (time.perf_counter() - began)
