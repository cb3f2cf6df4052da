"""Tokenizers: loading them, reading sentences with them, and what they say of the longest sequence."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.errors import InputError
from isogloss.models.sentencepiece import as_in_file, normal_forms
from isogloss.models.sources import Source, load_part, model_file
from isogloss.models.text import as_text

if TYPE_CHECKING:
    from isogloss.models.info import ModelInfo
    from isogloss.models.loading import Loaded

_NO_LIMIT = 10**6  # tokenizers without a limit of their own name a huge one (1e30)
_LIMITS = ("max_seq_len", "n_positions", "max_encoder_position_embeddings")  # beside max_position_embeddings
_DECODER_LIMIT = "max_decoder_position_embeddings"
_PIECES = ("spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "spm.model", "tokenizer.model")
_BYTES, _CHARACTERS = "ByT5Tokenizer", "CanineTokenizer"


@dataclass(frozen=True)
class Encoding:
    """One sentence of a tokenizer that reads bytes, in the form of `tokenizers.Encoding`.

    Its `offsets` are code points of the sentence (the bytes of one share its span); `overflowing` is what was cut off.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    special_tokens_mask: list[int]
    overflowing: list[Encoding] = field(default_factory=list)


def load_tokenizer(info: ModelInfo) -> Any:
    """Load the tokenizer of a model; it cuts long sentences at their end, whatever its files say.

    Raises
    ------
    InputError
        If it cannot be loaded, gives no character offsets, or reads in another way than its files say.
    """
    from transformers import AutoTokenizer

    source = info.source

    def make(**options: Any) -> Any:
        return load_part(
            "tokenizer", info.name, lambda: AutoTokenizer.from_pretrained(source.tokenizer, **source.options, **options)
        )

    tokenizer = make()
    kind = type(tokenizer).__name__
    if kind == _CHARACTERS:
        raise InputError(
            f"'{info.name}' is a CANINE model: it reads single characters, and its blocks hold one state for every "
            "four of them, so that a word has no state of its own. Give a model of subwords or bytes, such as ByT5."
        )
    if kind != _BYTES and not tokenizer.is_fast:
        raise InputError(
            f"The tokenizer of '{info.name}' ({kind}) is a slow one, which tells no character offsets. Give a model "
            "that has a tokenizer.json, or convert its tokenizer with transformers and save it beside the model."
        )
    if kind != _BYTES:
        tokenizer = _as_in_files(tokenizer, make, source, name=info.name)
    tokenizer.truncation_side = "right"
    return tokenizer


def _as_in_files(tokenizer: Any, make: Any, source: Source, *, name: str) -> Any:
    """Put right what transformers' class for the tokenizer leaves out of the files that it is made of."""
    whole = model_file(source, "tokenizer.json", place=source.tokenizer)
    if whole is not None:
        steps = json.loads(whole.read_text(encoding="utf-8")).get("normalizer") or {}
        tables = [x["precompiled_charsmap"] for x in steps.get("normalizers", [steps]) if x.get("precompiled_charsmap")]
        if tables:
            normal_forms(tokenizer, base64.b64decode(tables[0]))
        return tokenizer
    named = Path(str(getattr(tokenizer, "vocab_file", ""))).name
    beside = (model_file(source, x, place=source.tokenizer) for x in (named, *_PIECES) if x.endswith(".model"))
    pieces = next((x for x in beside if x is not None), None)
    if pieces is None:
        return tokenizer
    with pieces.open("rb") as file:
        first = file.read(1)
    # Files of tiktoken have the same ending, and begin otherwise.
    if first not in (b"\n", b""):
        return tokenizer
    return as_in_file(tokenizer, make, pieces, name=name)


def encode(model: Loaded, texts: Sequence[str], *, language: str | None = None, prefix: str = "") -> list[Any]:
    """Tokenise whole sentences of one language, special subwords included, cut at the model's limit.

    A sentence is text, whatever it holds: see `isogloss.models.text`.  Only the prefix may name special subwords.

    Returns
    -------
    list of tokenizers.Encoding or Encoding
        ``ids``, ``offsets`` (code points of prefix and sentence), ``special_tokens_mask`` and ``overflowing`` (not
        empty if it was cut).

    Raises
    ------
    InputError
        If a subword has a number that the model has no embedding for.
    """
    tokenizer = model.tokenizer
    if language is not None and language in model.codes and tokenizer.src_lang != model.codes[language]:
        tokenizer.src_lang = model.codes[language]
    texts = as_text(model, texts, prefix)
    if not tokenizer.is_fast:
        return [_bytes(tokenizer, text, model.max_length) for text in texts]
    limit: dict[str, Any] = {}
    if model.max_length is not None:
        limit = {"truncation": True, "max_length": model.max_length}
    encodings = list(tokenizer(texts, add_special_tokens=True, **limit).encodings)
    largest = max((i for x in encodings for i in x.ids), default=0)
    check_ids(tokenizer, model.module, [largest], name=model.name)
    return encodings


def _bytes(tokenizer: Any, text: str, limit: int | None) -> Encoding:
    """Read a sentence as ByT5 does: a number for every byte of UTF-8, and the end."""
    sizes = [len(character.encode()) for character in text]
    ids = [byte + tokenizer.offset for byte in text.encode()]
    spans = [(i, i + 1) for i, size in enumerate(sizes) for _ in range(size)]
    kept = len(ids) if limit is None else min(len(ids), limit - 1)
    rest = [Encoding(ids[kept:], spans[kept:], [0] * (len(ids) - kept))] if kept < len(ids) else []
    return Encoding([*ids[:kept], tokenizer.eos_token_id], [*spans[:kept], (0, 0)], [*[0] * kept, 1], rest)


def check_ids(tokenizer: Any, module: Any, ids: Sequence[int], *, name: str) -> None:
    """Refuse subwords that the model has no embedding for."""
    size = n_embeddings(module)
    beyond = [] if size is None else [i for i in ids if i >= size]
    if beyond:
        raise InputError(
            f"The tokenizer of '{name}' does not fit its weights: the subword "
            f"'{tokenizer.convert_ids_to_tokens(beyond[0])}' has the number {beyond[0]}, and there are {size} "
            "embeddings, counted from 0. Give the tokenizer that the model was trained with."
        )


def check_fits(tokenizer: Any, module: Any, codes: Sequence[str], *, name: str) -> None:
    """Refuse a tokenizer whose own pieces, or the special ones that it adds to every sentence, lack embeddings.

    Pieces that were added later, and that no sentence may ever hold, do not count here; `encode` looks at those.
    """
    if not tokenizer.is_fast:
        return
    largest = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False) - 1
    around = [*tokenizer("")["input_ids"], *(tokenizer.convert_tokens_to_ids(list(codes)) if codes else [])]
    unknown = [] if tokenizer.unk_token_id is None else [tokenizer.unk_token_id]
    check_ids(tokenizer, module, [largest, *around, *unknown], name=name)


def n_embeddings(module: Any) -> int | None:
    """Return how many subwords a model has embeddings for; None where it does not say."""
    try:
        weight = getattr(module.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError):
        return None
    return None if weight is None or weight.dim() != 2 else int(weight.shape[0])


def space_marks(model: Loaded) -> list[int]:
    """Return the ids of subwords that stand for a space and nothing else.

    Some tokenizers put one in front of a sentence and give it the span of the first character.  Which sign that is,
    SentencePiece's or byte-level BPE's, is seen from what a text with spaces becomes: elsewhere it is a letter, as the
    ``Ġ`` of Maltese is.
    """
    tokenizer = model.tokenizer
    if not tokenizer.is_fast:
        return []
    spaced = "".join(tokenizer.tokenize("a e 1 2"))
    marks = [tokenizer.convert_tokens_to_ids(sign) for sign in ("\u2581", "\u0120") if sign in spaced]
    return [i for i in marks if i is not None and i != tokenizer.unk_token_id]


def max_length(tokenizer: Any, module: Any, stack: str) -> int | None:
    """Return the smallest of the tokenizer's limit and the numbers of learnt, rotary or biased positions."""
    limits = []
    if tokenizer.model_max_length < _NO_LIMIT:
        limits.append(int(tokenizer.model_max_length))
    config = module.config.get_text_config()
    optional = (*_LIMITS, _DECODER_LIMIT) if stack == "decoder" else _LIMITS
    # What the JSON alone names, and the class does not know, has no meaning.
    names = ["max_position_embeddings", *(x for x in optional if hasattr(type(config), x))]
    # RoBERTa-like: positions count from padding_idx + 1
    table = getattr(getattr(module, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    unused = 0 if padding is None else int(padding) + 1
    for positions in (getattr(config, name, None) for name in names):
        if positions and positions > 0:
            limits.append(int(positions) - unused)
    return min(limits, default=None)


def pad_number(tokenizer: Any, module: Any) -> int:
    """Return the id that fills a batch up: one that has an embedding, and a special one wherever there is any.

    The mask keeps it from all states, but a decoder's classifier looks for the last subword that is not this one: a
    sign of the text, such as the 0 that is ``!`` in GPT-2, would not be read at the end of a line.
    """
    config = module.config.get_text_config()
    named = [getattr(config, "pad_token_id", None)]
    named += [getattr(tokenizer, f"{kind}_token_id", None) for kind in ("pad", "eos", "bos", "unk")]
    size = n_embeddings(module)
    return int(next((x for x in named if x is not None and x >= 0 and (size is None or x < size)), 0))
