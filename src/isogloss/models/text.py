"""What a model reads of a line: lower-cased where its files ask for that, and text alone.

A tokenizer takes the name of a special subword in a line, such as ``</s>`` in a page about HTML, for that subword.
There is no switch against it that holds for all kinds (a Unigram vocabulary has these names among its pieces), so the
first character of such a name gives way to another one: one for one, so that spans of characters hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.models.languages import CODE

if TYPE_CHECKING:
    from isogloss.models.loading import Loaded

_STAND_IN = "\u2039"  # ‹, a sign of text that looks like the < that most names begin with
# What may be a name: in brackets, or a language's code.  A special subword that is a word or a sign, as where a user
# pads with "!", stands for text in a line.
_BRACKETED = re.compile(r"[<\[{(|].*[>\]})|]", re.DOTALL)
_BEGINS = rf"(?=[<\[{{(|]|{CODE.pattern})"


class _Normal(dict[int, str]):
    """Every character as a tokenizer's normal forms have it, where it stays one: a table for ``str.translate``."""

    def __init__(self, normalizer: Any) -> None:
        self._normalizer = normalizer

    def __missing__(self, code: int) -> str:
        form = self._normalizer.normalize_str(chr(code)).removeprefix("\u2581")
        self[code] = form if len(form) == 1 else chr(code)
        return self[code]


@dataclass(frozen=True)
class Names:
    """Finds the names of special subwords in a line.

    `pattern` matches the first character of a name, with the whole name behind it.  `normal` are the characters that a
    tokenizer takes for others before it looks at its pieces: ``＜`` for ``<``, small letters for large ones.
    """

    pattern: re.Pattern[str]
    normal: Mapping[int, str] | None

    def find(self, text: str) -> dict[int, str]:
        """Return the place of every name in a text, rising, and the name as it is written there."""
        forms = [text] if self.normal is None else [text, text.translate(self.normal)]
        names = {m.start(): text[m.start(1) : m.end(1)] for form in forms for m in self.pattern.finditer(form)}
        return dict(sorted(names.items()))

    def hidden(self, text: str) -> str:
        """Return a text with another character in place of the first one of every name."""
        places = self.find(text)
        return "".join(_STAND_IN if i in places else x for i, x in enumerate(text)) if places else text


def special_names(tokenizer: Any) -> Names | None:
    """Return what finds the names of special subwords in a line; None where nothing is to be found."""
    # one that is not fast reads bytes
    if not tokenizer.is_fast:
        return None
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {*tokenizer.all_special_tokens, *(x.content for x in added if x.special)}
    names = [x for x in sorted(special, key=len, reverse=True) if _BRACKETED.fullmatch(x) or CODE.fullmatch(x)]
    if not names:
        return None
    pattern = re.compile(f"{_BEGINS}(?=({'|'.join(map(re.escape, names))})).", re.DOTALL)
    normalizer = tokenizer.backend_tokenizer.normalizer
    return Names(pattern, None if normalizer is None else _Normal(normalizer))


def as_text(model: Loaded, texts: Sequence[str], prefix: str = "") -> list[str]:
    """Return lines as a model is to read them, as many characters each; a prefix may name special subwords."""
    texts, names = [_cased(model, text) for text in texts], model.special_names
    if names is not None:
        texts = [names.hidden(text) for text in texts]
    return [_cased(model, prefix) + text for text in texts]


def lines_with_names(model: Loaded, texts: Sequence[str]) -> tuple[int, str]:
    """Return how many lines hold the name of a special subword, and the first one, or ""."""
    if model.special_names is None:
        return 0, ""
    by_line = [names for text in texts if (names := model.special_names.find(_cased(model, text)))]
    return len(by_line), next(iter(by_line[0].values())) if by_line else ""


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
