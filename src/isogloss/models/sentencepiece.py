"""Tokenizers that transformers makes of a SentencePiece file: held against that file, and put right where they differ.

Folders in the hub's older form bring ``spiece.model`` or its like and no ``tokenizer.json``.  transformers 5 converts
it with a class for each family, and some of these classes leave out what the file says: the table of normal forms
(DeBERTa, mBART), the codes of the languages (NLLB), the name and number of the unknown piece, [CLS] and [SEP]
(RemBERT).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isogloss.errors import InputError

log = logging.getLogger(__name__)

_PROBES = 200  # whole words of the vocabulary that are read both ways


def as_in_file(tokenizer: Any, make: Callable[..., Any], file: Path, *, name: str) -> Any:
    """Make a tokenizer that was converted from a SentencePiece file read as the file says.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
    make : callable
        Loads it anew, with options for its class.
    file : Path
    name : str
        The model's, for messages.

    Raises
    ------
    InputError
        If it cuts words into other pieces than the file does.
    """
    from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # generated
    try:
        proto.ParseFromString(file.read_bytes())
        pieces = SentencePieceProcessor(model_file=str(file))
    except Exception as error:  # protobuf and SentencePiece have kinds of their own
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{file} is not a SentencePiece model ({reason}). Give a whole copy.") from None
    options: dict[str, Any] = {}
    spec = proto.trainer_spec
    vocabulary = {piece.piece for piece in proto.pieces}
    for kind, piece in (("unk_token", spec.unk_piece), ("pad_token", spec.pad_piece if spec.pad_id >= 0 else "")):
        if piece in vocabulary and getattr(tokenizer, kind) not in vocabulary:
            options[kind] = piece
    if hasattr(tokenizer, "src_lang") and tokenizer.src_lang not in tokenizer.get_vocab():
        options["added_tokens_decoder"] = _codes(tokenizer, len(proto.pieces) + 1, file)
    if options:
        log.info("%s: transformers left out what %s says of %s", name, file.name, ", ".join(options))
        tokenizer = make(**options)
    _number_of_unknown(tokenizer)
    if proto.normalizer_spec.precompiled_charsmap:
        normal_forms(tokenizer, proto.normalizer_spec.precompiled_charsmap)
    _around(tokenizer)
    _compare(tokenizer, pieces, file, name=name)
    return tokenizer


def normal_forms(tokenizer: Any, table: bytes) -> None:
    """Put a SentencePiece table of normal forms (full-width letters, ligatures) in front, where it is missing."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    present = backend.normalizer
    if present is not None and b'"Precompiled"' in present.__getstate__():
        return
    first = normalizers.Precompiled(table)
    backend.normalizer = first if present is None else normalizers.Sequence([first, present])


def _codes(tokenizer: Any, begin: int, file: Path) -> dict[int, Any]:
    """Return NLLB's codes with their numbers: they follow the pieces, and the mask follows them."""
    from tokenizers import AddedToken
    from transformers.models.nllb import tokenization_nllb

    beside = file.parent / "special_tokens_map.json"
    listed = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    codes = listed.get("additional_special_tokens") or tokenization_nllb.FAIRSEQ_LANGUAGE_CODES
    names = [code["content"] if isinstance(code, dict) else str(code) for code in codes]
    tokens = [*names, str(tokenizer.mask_token)]
    return {begin + i: AddedToken(token, special=True, normalized=False) for i, token in enumerate(tokens)}


def _number_of_unknown(tokenizer: Any) -> None:
    """Let the model give its unknown pieces the number of the unknown token."""
    from tokenizers import models

    model = tokenizer.backend_tokenizer.model
    wanted = tokenizer.unk_token_id
    if not isinstance(model, models.Unigram) or wanted is None:
        return
    state = json.loads(model.__getstate__())
    if state["unk_id"] != wanted:
        tokenizer.backend_tokenizer.model = models.Unigram(
            [tuple(x) for x in state["vocab"]], unk_id=wanted, byte_fallback=state["byte_fallback"]
        )


def _around(tokenizer: Any) -> None:
    """Put [CLS] and [SEP] around sentences where the tokenizer has both and puts neither."""
    from tokenizers import processors

    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    if first is None or last is None or first == last or {first, last} & set(tokenizer("a")["input_ids"]):
        return
    cls, sep = str(tokenizer.cls_token), str(tokenizer.sep_token)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, first), (sep, last)],
    )


def _compare(tokenizer: Any, pieces: Any, file: Path, *, name: str) -> None:
    """Refuse a tokenizer that reads most words in another way than its file: a few differ by equal scores."""
    vocabulary = (pieces.id_to_piece(i) for i in range(len(pieces)) if not pieces.is_control(i))
    words = [x[1:] for x in vocabulary if x[:1] == "\u2581" and x[1:].isalpha() and x[1:].islower()][:_PROBES]
    differ = []
    for word in words:
        read = tokenizer.convert_ids_to_tokens(tokenizer(word, add_special_tokens=False)["input_ids"])
        wanted = pieces.encode(word, out_type=str)
        if [x for x in read if x != "\u2581"] != [x for x in wanted if x != "\u2581"]:
            differ.append((word, read, wanted))
    if 2 * len(differ) > len(words):
        word, read, wanted = differ[0]
        raise InputError(
            f"transformers makes of {file} a tokenizer that reads {len(differ)} of {len(words)} words wrongly, e.g. "
            f"'{word}' as {' '.join(read)} instead of {' '.join(wanted)}. Save a tokenizer.json of '{name}' with an "
            "older transformers (4.x) beside it."
        )
