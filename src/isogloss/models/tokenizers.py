"""Tokenizers: loading them, reading sentences with them, and what they say of the longest sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isogloss.errors import InputError
from isogloss.models.sources import load_part

if TYPE_CHECKING:
    from isogloss.models.loading import Loaded, ModelInfo

_NO_LIMIT = 10**6  # tokenizers without a limit of their own name a huge one (1e30)


def load_tokenizer(info: ModelInfo) -> Any:
    """Load the tokenizer of a model; a slow one, which tells no character offsets, is an ``InputError``."""
    from transformers import AutoTokenizer

    source = info.source
    tokenizer = load_part(
        "tokenizer", info.name, lambda: AutoTokenizer.from_pretrained(source.tokenizer, **source.options)
    )
    if not tokenizer.is_fast:
        raise InputError(
            f"The tokenizer of '{info.name}' is a slow one, which tells no character offsets. Give a model that "
            "has a tokenizer.json, or convert its tokenizer with transformers and save it beside the model."
        )
    return tokenizer


def encode(model: Loaded, texts: Sequence[str], *, language: str | None = None) -> list[Any]:
    """Tokenise whole sentences of one language, special subwords included, cut at the model's limit.

    Returns
    -------
    list of tokenizers.Encoding
        ``ids``, ``offsets`` (code points of the sentence), ``special_tokens_mask`` and ``overflowing`` (not empty if
        it was cut).
    """
    if language is not None and language in model.codes and model.tokenizer.src_lang != model.codes[language]:
        model.tokenizer.src_lang = model.codes[language]
    limit: dict[str, Any] = {}
    if model.max_length is not None:
        limit = {"truncation": True, "max_length": model.max_length}
    batch = model.tokenizer(list(texts), add_special_tokens=True, **limit)
    return list(batch.encodings)


def space_marks(model: Loaded) -> list[int]:
    """Return the ids of subwords that stand for a space and nothing else.

    Some tokenizers put one in front of a sentence and give it the span of the first character.
    """
    tokenizer = model.tokenizer
    found = tokenizer.convert_tokens_to_ids(["\u2581", "\u0120"])  # SentencePiece's and byte-level BPE's
    return [i for i in found if i is not None and i != tokenizer.unk_token_id]


def max_length(tokenizer: Any, module: Any) -> int | None:
    """Return the smaller of the tokenizer's limit and the number of learnt or rotary positions."""
    limits = []
    if tokenizer.model_max_length < _NO_LIMIT:
        limits.append(int(tokenizer.model_max_length))
    positions = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    if positions and positions > 0:
        table = getattr(getattr(module, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)  # RoBERTa-like: positions count from padding_idx + 1
        limits.append(int(positions) - (0 if padding is None else int(padding) + 1))
    return min(limits, default=None)


def pad_number(tokenizer: Any, config: Any) -> int:
    """Return the id that fills a batch up; nothing reads it, so that any will do where none is named."""
    named = (config.get_text_config().pad_token_id, tokenizer.pad_token_id)
    return int(next((x for x in named if x is not None), 0))
