"""What a pre-trained model has learnt, on text it has not seen: guessing masked words, finding translations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from isogloss import store
from isogloss.metrics.retrieval import retrieval
from isogloss.models import load_part
from isogloss.progress import progress
from isogloss.starter.examples import MASK, PAD, SPECIAL, Bools, Floats, Ints, pad, words_hidden

_BATCH = 64  # lines
_MASKED = 0.15
_NEIGHBOURS = 10  # of CSLS, as Conneau et al. 2018


def judge(
    models: Mapping[str, str | Path], texts: Mapping[str, Sequence[str]], *, out: str | Path
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judge models on parallel lines, write ``retrieval.csv`` and ``masked.csv`` into a folder and return both.

    Parameters
    ----------
    models : mapping of str to path
        Name -> folder in the hub's format of a masked language model.
    texts : mapping of str to sequence of str
        Language -> lines; line i is the same sentence in every language.
    out : path
        An existing folder.

    Returns
    -------
    retrieval, masked : polars.DataFrame
        `sentence_retrieval` and `masked_accuracy` with a column ``model`` in front.
    """
    tables: dict[str, list[pl.DataFrame]] = {"retrieval": [], "masked": []}
    with progress("judging", 2 * len(models)) as advance:
        for name, folder in models.items():
            for kind, measure in (("retrieval", sentence_retrieval), ("masked", masked_accuracy)):
                table = measure(folder, texts)
                tables[kind].append(table.select(pl.lit(name).alias("model"), pl.all()))
                advance(1)
    found, guessed = (pl.concat(tables[kind]) for kind in ("retrieval", "masked"))
    store.write_text(Path(out) / "retrieval.csv", found.write_csv(float_precision=4))
    store.write_text(Path(out) / "masked.csv", guessed.write_csv(float_precision=4))
    return found, guessed


def sentence_retrieval(model: str | Path, texts: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Return how often a sentence's nearest one in another language is its translation, by layer and ordered pair.

    Returns
    -------
    polars.DataFrame
        ``source``, ``target``, ``layer``; ``cosine`` and ``csls``: P@1 over all lines (`isogloss.metrics.retrieval`), a
        sentence being the mean of the states of its pieces; ``chance``: 1 / lines.
    """
    pooled = {language: _pooled(str(model), lines) for language, lines in texts.items()}
    rows = []
    for source, target in itertools.permutations(texts, 2):
        for layer, (x, y) in enumerate(zip(pooled[source], pooled[target], strict=True)):
            k = min(_NEIGHBOURS, len(x))
            found = (float(retrieval(x, y, csls=csls).mean()) for csls in (None, k))
            rows.append((source, target, layer, *found, 1 / len(x)))
    return pl.DataFrame(rows, schema=["source", "target", "layer", "cosine", "csls", "chance"], orient="row")


def masked_accuracy(model: str | Path, texts: Mapping[str, Sequence[str]], *, seed: int = 0) -> pl.DataFrame:
    """Return how often the pieces of masked words are guessed right, by language, alone and beside each translation.

    15 % of the words are replaced by [MASK], the same ones in every context.

    Returns
    -------
    polars.DataFrame
        ``language``; ``beside``: the language of the unmasked translation in the same sequence, null for none; ``n``
        pieces to guess; ``accuracy``; ``chance``: share of the commonest of these pieces.
    """
    tokenizer, network = _load(str(model))
    coded = {language: _pieces(tokenizer, lines, network) for language, lines in texts.items()}
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    continues = np.array([piece.startswith("##") for piece in pieces])
    rows: list[tuple[str, str | None, int, float, float]] = []
    for language, lines in coded.items():
        rng = np.random.default_rng(seed)
        hidden = [words_hidden(ids, continues, rng, _MASKED) for ids in lines]
        true = np.concatenate([ids[chosen] for ids, chosen in zip(lines, hidden, strict=True)])
        if len(true) == 0:
            continue
        chance = np.bincount(true).max() / len(true)
        for other in (None, *(name for name in coded if name != language)):
            guessed = _guess(network, lines, hidden, coded[other] if other else None)
            rows.append((language, other, len(true), float((guessed == true).mean()), float(chance)))
    schema = {
        "language": pl.String,
        "beside": pl.String,
        "n": pl.Int64,
        "accuracy": pl.Float64,
        "chance": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _load(model: str) -> tuple[Any, Any]:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = load_part("tokenizer", model, lambda: AutoTokenizer.from_pretrained(model))
    network = load_part("weights", model, lambda: AutoModelForMaskedLM.from_pretrained(model))
    return tokenizer, network.float().eval()


def _pieces(tokenizer: Any, lines: Sequence[str], network: Any) -> list[Ints]:
    """Return the pieces of every line, special ones included; what is too long is cropped."""
    longest = network.config.max_position_embeddings
    coded = tokenizer(list(lines), truncation=True, max_length=longest)["input_ids"]
    return [np.array(ids, dtype=np.int64) for ids in coded]


@torch.inference_mode()
def _pooled(model: str, lines: Sequence[str]) -> Floats:
    """Return (layers + 1, lines, width): the mean state of each line's pieces, special ones left out."""
    tokenizer, network = _load(model)
    coded = _pieces(tokenizer, lines, network)
    parts = []
    for begin in range(0, len(coded), _BATCH):
        batch = pad([[ids] for ids in coded[begin : begin + _BATCH]])
        ids = torch.from_numpy(batch.ids)
        states = network.base_model(
            ids, attention_mask=(ids != PAD).long(), output_hidden_states=True
        ).hidden_states
        weight = (ids >= len(SPECIAL))[None, :, :, None].float()
        parts.append((torch.stack(states) * weight).sum(2) / weight.sum(2).clamp(min=1))
    pooled: Floats = torch.cat(parts, dim=1).numpy()
    return pooled


@torch.inference_mode()
def _guess(network: Any, lines: list[Ints], hidden: list[Bools], beside: list[Ints] | None) -> Ints:
    """Return the likeliest piece at every hidden place, line by line."""
    found: list[Ints] = []
    for begin in range(0, len(lines), _BATCH):
        rows = range(begin, min(begin + _BATCH, len(lines)))
        batch = pad([[np.where(hidden[i], MASK, lines[i]), *([beside[i]] if beside else [])] for i in rows])
        ids = torch.from_numpy(batch.ids)
        states = network.base_model(
            ids,
            attention_mask=(ids != PAD).long(),
            token_type_ids=torch.from_numpy(batch.segments),
            position_ids=torch.from_numpy(batch.positions),
        ).last_hidden_state
        # the line itself comes first, so its masked pieces are the only ones in the sequence
        found.append(network.cls(states[ids == MASK]).argmax(-1).numpy())
    return np.concatenate(found)
