"""Running out of memory, the device's or the machine's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from isogloss.errors import InputError


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of a forward pass says that memory, the device's or the machine's, did not suffice."""
    import torch

    text = str(error).lower()
    short = "can't allocate memory" in text or "not enough memory" in text or "out of memory" in text
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (isinstance(error, RuntimeError) and short)


@contextlib.contextmanager
def enough_memory(name: str, device: str) -> Iterator[None]:
    """Turn running out of memory while a model is made ready into one message."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"Memory does not suffice for '{name}' and a few short lines on {device}. Use a larger device or machine "
            "(device: cpu), half precision (compute: bfloat16), or a smaller model."
        ) from error
