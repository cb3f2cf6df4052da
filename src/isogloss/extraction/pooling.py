"""Pooling: a padded batch of subwords in, one state a word and one a sentence out, on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss import models
from isogloss.errors import InputError
from isogloss.extraction.subwords import Ints, Line
from isogloss.settings import ExtractionSettings, Sentences, Storage

if TYPE_CHECKING:
    import torch

_LARGEST = {"float16": 65504.0, "float32": float(np.finfo(np.float32).max)}


def as_decoder_input(line: Line, model: models.Loaded) -> Line:
    """Shift a line right: a start in front; the end is only ever a label.

    The start is the model's own, or, where the tokenizer puts a language code after the end, that code (mBART).
    """
    start, end = model.start_id, model.tokenizer.eos_token_id
    assert start is not None
    ids, owners, takers, text = line
    stop = len(ids)
    if stop > 1 and ids[-2] == end and owners[-1] < 0 and not text[-1]:
        start, stop = int(ids[-1]), stop - 2
    elif stop and ids[-1] == end and owners[-1] < 0:
        stop -= 1
    return Line(
        np.concatenate([[start], ids[:stop]]),
        np.concatenate([[-1], owners[:stop]]),
        takers + np.array([1, 0]),
        np.concatenate([[False], text[:stop]]),
    )


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


@dataclass(frozen=True)
class Pooled:
    """What is kept of one layer of a batch: arrays in the storage type.

    `words` are (n_words, d), in the order of `Pooler.rows`; `sentences` are kind of pooling -> (n_lines, d).  `largest`
    is the largest absolute value before it was stored; not finite where a state is not.
    """

    words: npt.NDArray[np.floating]
    sentences: dict[str, npt.NDArray[np.floating]]
    largest: float


class Pooler:
    """Pools one batch, layer by layer; what it needs to know of the batch is worked out once.

    The subwords of a word are added in their order in float32, so a state does not depend on the batch.

    Parameters
    ----------
    lines : sequence of Line
        Of the batch.
    width : int
        Of the padded batch.
    settings : ExtractionSettings
        Its pooling of words, its sentences (``mean`` and ``last`` are of the subwords that are text, ``cls`` is the
        first one of all), and its storage type.
    device : str

    Attributes
    ----------
    rows : numpy.ndarray
        int64, rising: the token rows with a state in this batch.
    """

    def __init__(self, lines: Sequence[Line], width: int, settings: ExtractionSettings, *, device: str) -> None:
        import torch

        self._dtype, self._device = settings.dtype, device
        owners = np.full((len(lines), width), -1, dtype=np.int64)
        self._text = np.zeros((len(lines), width), dtype=bool)
        for i, line in enumerate(lines):
            owners[i, : len(line.owners)] = line.owners
            self._text[i, : len(line.text)] = line.text
        owned = np.flatnonzero(owners.reshape(-1) >= 0)
        taken = [line.takers + np.array([i * width, 0]) for i, line in enumerate(lines)]
        flat, row = np.concatenate([np.stack([owned, owners.reshape(-1)[owned]], axis=1), *taken]).T
        order = np.lexsort((flat, row))
        flat = flat[order]
        self.rows, first, counts = np.unique(row[order], return_index=True, return_counts=True)
        if settings.pooling == "last":
            first = first + counts - 1
        if settings.pooling != "mean":
            counts = np.ones_like(counts)
        # words by falling number of subwords: the k-th subwords are then those of the first words
        ranked = np.argsort(-counts, kind="stable")
        self._back = self._index(np.argsort(ranked))
        self._takes = []
        for k in range(int(counts.max(initial=0))):
            has = ranked[: int((counts > k).sum())]
            self._takes.append(self._index(flat[first[has] + k]))
        many = counts[ranked][: len(self._takes[1]) if len(self._takes) > 1 else 0]
        self._counts = torch.from_numpy(many.astype(np.float32)).to(device)[:, None]
        self._words: torch.Tensor | None = None
        self._kinds = {kind: self._sentence_weights(kind) for kind in settings.sentences}

    def _index(self, numbers: Ints) -> torch.Tensor:
        import torch

        return torch.from_numpy(numbers).to(self._device)

    def _sentence_weights(self, kind: Sentences) -> torch.Tensor:
        """Return (n_lines, 1, width) float32 for the mean, else (n_lines,) flat positions."""
        import torch

        n, width = self._text.shape
        if kind == "mean":
            weights = self._text / np.maximum(self._text.sum(axis=1, keepdims=True), 1)
            return torch.from_numpy(weights.astype(np.float32)).to(self._device)[:, None]
        place = np.zeros(n, dtype=np.int64) if kind == "cls" else width - 1 - self._text[:, ::-1].argmax(1)
        return self._index(np.arange(n) * width + place)

    def __call__(self, hidden: torch.Tensor) -> Pooled:
        """Pool the states of one layer, (n_lines, width, d)."""
        import torch

        # flat positions would be those of other subwords
        if tuple(hidden.shape[:-1]) != self._text.shape:
            raise InputError(
                f"The states of a layer have the shape {tuple(hidden.shape)}; the batch has {self._text.shape} "
                "(lines, subwords)."
            )
        d = hidden.shape[-1]
        flat = hidden.reshape(-1, d)
        # one buffer for all layers: fresh memory costs more than the sums
        if self._words is None or self._words.dtype != flat.dtype:
            self._words = torch.empty(len(self.rows), d, dtype=flat.dtype, device=flat.device)
        words = self._words
        if self._takes:
            torch.index_select(flat, 0, self._takes[0], out=words)
        words = words.float()
        for index in self._takes[1:]:
            words[: len(index)] += flat[index]
        if len(self._counts):
            words[: len(self._counts)] /= self._counts
        sentences = {}
        for kind, weights in self._kinds.items():
            of_mean = weights.ndim == 3
            sentences[kind] = torch.bmm(weights, hidden.float())[:, 0] if of_mean else flat[weights].float()
        ends = [x for part in (words, *sentences.values()) if part.numel() for x in torch.aminmax(part)]
        largest = float(torch.stack(ends).abs().max()) if ends else 0.0
        to = getattr(torch, self._dtype)
        kept: dict[str, Any] = {kind: x.to(to).cpu().numpy() for kind, x in sentences.items()}
        return Pooled(words.to(to)[self._back].cpu().numpy(), kept, largest)


def check_fits(largest: float, dtype: Storage, layer: int, *, compute: str) -> None:
    """Refuse states that are not finite, or do not fit the storage type, with the remedy."""
    if largest <= _LARGEST[dtype]:
        return
    if np.isfinite(largest):
        raise InputError(
            f"States reach {largest:.3g} at layer {layer}, too large for {dtype}. Use dtype float32 (storage)."
        )
    remedy = "float32 or bfloat16" if compute == "float16" else "float32"
    way_out = f"Use compute {remedy}." if compute != "float32" else "The weights themselves may be damaged."
    raise InputError(
        f"The model returns states that are not finite at layer {layer} (NaN or infinite) in {compute}. {way_out}"
    )
