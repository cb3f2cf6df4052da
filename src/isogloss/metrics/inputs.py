"""What the measures share: checked matrices, vectors of length 1, columns about their means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from isogloss.arguments import INSIDE
from isogloss.errors import InputError

Vectors = Annotated[npt.NDArray[np.floating], INSIDE]  # by `matrix` and `paired`
Floats = npt.NDArray[np.float64]
Labels = Sequence[Any] | npt.NDArray[Any]
Codes = npt.NDArray[np.int64]


def matrix(X: Any, *, what: str, least: int = 1) -> Floats:
    """Return X as float64 after checking that it is (n, d), n >= `least`, d >= 1 and finite; else an InputError."""
    x = _numbers(X, what)
    if x.ndim != 2 or x.size == 0 or len(x) < least:
        rows = "row" if least == 1 else "rows"
        raise InputError(f"{what} needs an (n, d) array of at least {least} {rows}; got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise InputError(f"{what} was given a number that is not finite; look at the model's states.")
    return x


def paired(X: Any, Y: Any, *, what: str, least: int = 1, same_width: bool = False) -> tuple[Floats, Floats]:
    """Return X and Y as `matrix` does, after checking that they have the same rows (and columns if `same_width`)."""
    x, y = _numbers(X, what), _numbers(Y, what)
    if x.shape[:1] != y.shape[:1] or (same_width and x.shape != y.shape):
        kind = "two equal (n, d) arrays" if same_width else "two arrays (n, d) and (n, e)"
        raise InputError(f"{what} needs the same rows on both sides, as {kind}; got {x.shape} and {y.shape}.")
    return matrix(x, what=what, least=least), matrix(y, what=what, least=least)


def codes(values: Labels, *, what: str, name: str, n: int | None = None) -> Codes:
    """Return values (n,) numbered from 0 in sorted order; an InputError if they are not a list of n names."""
    array = np.asarray(values)
    if array.ndim != 1 or len(array) == 0 or (n is not None and len(array) != n):
        count = "one" if n is None else f"{n}"
        raise InputError(f"{what} needs {count} {name}, a name for every row; got shape {array.shape}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{what} was given {name} that are not finite; name every row, -1 for no concept.")
    try:
        return np.unique(array, return_inverse=True)[1].astype(np.int64)
    except TypeError as error:
        raise InputError(f"{what} was given {name} of mixed kinds (None among them?); name every row.") from error


def same_rows(what: str, **columns: npt.ArrayLike) -> None:
    """Refuse columns of different lengths: row r of each is about the same thing."""
    lengths = {name: len(np.atleast_1d(column)) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{n} in {name}" for name, n in lengths.items())
        raise InputError(f"{what} needs a row for the same things in each of its columns; got {counts}.")


def unit(x: Floats) -> Floats:
    """Return the rows scaled to length 1; rows of length 0 stay."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    scaled: Floats = x / np.maximum(lengths, np.finfo(np.float64).tiny)
    return scaled


def centred(x: Floats) -> Floats:
    """Return the columns minus their means; a constant column is exactly 0, not what rounding leaves of it."""
    moved: Floats = x - x.mean(axis=0)
    moved[:, np.ptp(x, axis=0) == 0] = 0
    return moved


def _numbers(X: Any, what: str) -> Floats:
    try:
        return np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        kind = f"{type(X).__name__}: {error}"
        raise InputError(f"{what} needs vectors as an (n, d) array of numbers; got {kind}") from error
