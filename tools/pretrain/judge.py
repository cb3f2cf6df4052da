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
from isogloss.errors import InputError
from isogloss.metrics.companions.nearest import retrieval
from isogloss.models import load_part
from isogloss.progress import progress
from tools.pretrain.examples import MASK, PAD, SPECIAL, Bools, Floats, Ints, pad, words_hidden

_BATCH = 64  # lines
_MASKED = 0.15
_NEIGHBOURS = 10  # of CSLS, as Conneau et al. 2018
RETRIEVAL = {
    **dict.fromkeys(("model", "source", "target"), pl.String()),
    "layer": pl.Int64(),
    **dict.fromkeys(("cosine", "csls", "chance"), pl.Float64()),
}


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

    Raises
    ------
    InputError
        If a model is none that `tools.pretrain` made (its special pieces are other ones).

    Notes
    -----
    On the CPU, in float32.
    """
    tables: dict[str, list[pl.DataFrame]] = {"retrieval": [], "masked": []}
    with progress("judging", 2 * len(models)) as advance:
        for name, folder in models.items():
            for kind, measure in (("retrieval", sentence_retrieval), ("masked", masked_accuracy)):
                table = measure(folder, texts)
                tables[kind].append(table.select(pl.lit(name).alias("model"), pl.all()))
                advance(1)
    both = {kind: pl.concat(parts) for kind, parts in tables.items()}
    for kind, table in both.items():
        store.write_csv(Path(out) / f"{kind}.csv", table, decimals=4)
    return both["retrieval"], both["masked"]


def sentence_retrieval(model: str | Path, texts: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Return how often a sentence's nearest one in another language is its translation, by layer and ordered pair.

    Returns
    -------
    polars.DataFrame
        ``source``, ``target``, ``layer``; ``cosine`` and ``csls``: P@1 over all lines
        (`isogloss.metrics.companions.nearest`), a sentence being the mean of the states of its pieces; ``chance``:
        1 / lines.
    """
    tokenizer, network = _load(str(model))
    pooled = {language: _pooled(network, _pieces(tokenizer, lines, network)) for language, lines in texts.items()}
    rows = []
    for source, target in itertools.permutations(texts, 2):
        for layer, (x, y) in enumerate(zip(pooled[source], pooled[target], strict=True)):
            k = min(_NEIGHBOURS, len(x))
            precisions = (float(retrieval(x, y, csls=csls).mean()) for csls in (None, k))
            rows.append((source, target, layer, *precisions, 1 / len(x)))
    schema = {name: kind for name, kind in RETRIEVAL.items() if name != "model"}
    return pl.DataFrame(rows, schema=schema, orient="row")


def masked_accuracy(model: str | Path, texts: Mapping[str, Sequence[str]], *, seed: int = 0) -> pl.DataFrame:
    """Return how often the pieces of masked words are guessed right, by language, alone and beside each translation.

    15 % of the words are replaced by [MASK], the same ones in every context.  To a model trained without pairs a second
    line is an unfamiliar input, so what it gets beside a translation may lie below what it gets alone.

    Parameters
    ----------
    model, texts
        See `judge`.
    seed : int
        Of the words that are masked.

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
    schema = {"language": pl.String, "beside": pl.String, "n": pl.Int64, "accuracy": pl.Float64, "chance": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _load(model: str) -> tuple[Any, Any]:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = load_part("tokenizer", model, lambda: AutoTokenizer.from_pretrained(model))
    if tokenizer.convert_tokens_to_ids(list(SPECIAL)) != list(range(len(SPECIAL))):
        raise InputError(f"{model} was not made by tools.pretrain: its special pieces are other ones.")
    network = load_part("weights", model, lambda: AutoModelForMaskedLM.from_pretrained(model))
    return tokenizer, network.float().eval()


def _pieces(tokenizer: Any, lines: Sequence[str], network: Any) -> list[Ints]:
    """Return the pieces of every line, special ones included; what is too long is cropped."""
    longest = network.config.max_position_embeddings
    coded = tokenizer(list(lines), truncation=True, max_length=longest)["input_ids"]
    return [np.array(ids, dtype=np.int64) for ids in coded]


@torch.inference_mode()
def _pooled(network: Any, lines: list[Ints]) -> Floats:
    """Return (layers + 1, lines, width): the mean state of each line's pieces, special ones left out."""
    parts = []
    for begin in range(0, len(lines), _BATCH):
        batch = pad([[ids] for ids in lines[begin : begin + _BATCH]])
        ids = torch.from_numpy(batch.ids)
        states = network.base_model(ids, attention_mask=(ids != PAD).long(), output_hidden_states=True).hidden_states
        weight = (ids >= len(SPECIAL))[None, :, :, None].float()
        parts.append((torch.stack(states) * weight).sum(2) / weight.sum(2).clamp(min=1))
    pooled: Floats = torch.cat(parts, dim=1).numpy()
    return pooled


@torch.inference_mode()
def _guess(network: Any, lines: list[Ints], hidden: list[Bools], beside: list[Ints] | None) -> Ints:
    """Return the likeliest piece at every hidden place, line by line."""
    guesses: list[Ints] = []
    for begin in range(0, len(lines), _BATCH):
        rows = range(begin, min(begin + _BATCH, len(lines)))
        batch = pad([[np.where(hidden[i], MASK, lines[i]), *([beside[i]] if beside else [])] for i in rows])
        asked = np.zeros(batch.ids.shape, dtype=bool)
        for row, i in enumerate(rows):
            # the line itself comes first
            asked[row, : len(hidden[i])] = hidden[i]
        ids = torch.from_numpy(batch.ids)
        states = network.base_model(
            ids,
            attention_mask=(ids != PAD).long(),
            token_type_ids=torch.from_numpy(batch.segments),
            position_ids=torch.from_numpy(batch.positions),
        ).last_hidden_state
        guesses.append(network.cls(states[torch.from_numpy(asked)]).argmax(-1).numpy())
    return np.concatenate(guesses)
