"""What a model reads of a line: lower-cased where its files ask for that, and text alone.

A tokenizer takes the name of a special subword in a line, such as ``</s>`` in a page about HTML, for that subword.
There is no switch against it that holds for all kinds (a Unigram vocabulary has these names among its pieces), so the
first character of such a name gives way to another one: one for one, so that spans of characters hold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isogloss.models.languages import CODE

if TYPE_CHECKING:
    from isogloss.models.loading import Loaded

_STAND_IN = "\u2039"  # ‹, a sign of text that looks like the < that most names begin with
# What may be a name: in brackets, or a language's code.  A special subword that is a word or a sign, as where a user
# pads with "!", stands for text in a line.
_BRACKETED = re.compile(r"[<\[{(|].*[>\]})|]", re.DOTALL)
_BEGINS = rf"(?=[<\[{{(|]|{CODE.pattern})"


def special_names(tokenizer: Any) -> re.Pattern[str] | None:
    """Return what finds the first character of every name of a special subword; None where nothing is to be found."""
    if not tokenizer.is_fast:  # reads bytes
        return None
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    known = {*tokenizer.all_special_tokens, *(x.content for x in added if x.special)}
    names = [x for x in sorted(known, key=len, reverse=True) if _BRACKETED.fullmatch(x) or CODE.fullmatch(x)]
    return re.compile(f"{_BEGINS}(?=({'|'.join(map(re.escape, names))})).", re.DOTALL) if names else None


def as_text(model: Loaded, texts: Sequence[str], prefix: str = "") -> list[str]:
    """Return lines as a model is to read them, as many characters each; a prefix may name special subwords."""
    texts, names = [_cased(model, text) for text in texts], model.special_names
    if names is not None:
        texts = [names.sub(_STAND_IN, text) for text in texts]
    return [_cased(model, prefix) + text for text in texts]


def lines_with_names(model: Loaded, texts: Sequence[str]) -> tuple[int, str]:
    """Return how many lines hold the name of a special subword, and the first one, or ""."""
    if model.special_names is None:
        return 0, ""
    matches = (model.special_names.search(_cased(model, text)) for text in texts)
    found = [match[1] for match in matches if match]
    return len(found), found[0] if found else ""


def _cased(model: Loaded, text: str) -> str:
    return lowered(text) if model.info.source.lower_case else text


def lowered(text: str) -> str:
    """Return a text in lower case with as many characters: one that would become several stays as it is.

    Examples
    --------
    >>> lowered("ΟΔΟΣ"), lowered("İZMİR")
    ('οδος', 'İzmİr')
    """
    whole = text.lower()
    if len(whole) == len(text):
        return whole
    return "".join(x.lower() if len(x.lower()) == 1 else x for x in text)
