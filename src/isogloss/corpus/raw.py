"""What a format reader hands over: the sentences of one language, before they are checked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from isogloss.errors import InputError
from isogloss.store import read_lines

Span = tuple[str, int, int]

_SPACE = re.compile(r"\s")
_GAP = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*")


@dataclass
class Raw:
    """The sentences of one language in file order, as parallel columns.

    They come from `path`, named in messages, from these 1-based `lines` (or rows); the texts are NFC.  `spans` are the
    words and their places where the format gives them; None: the texts are to be segmented.  Further columns have one
    value a word (``upos``), only together with `spans`, or one a sentence (``label``).
    """

    path: str
    texts: list[str]
    lines: Sequence[int]
    spans: list[list[Span]] | None = None
    word_columns: dict[str, list[list[str | None]]] = field(default_factory=dict)
    sentence_columns: dict[str, list[str | None]] = field(default_factory=dict)


def lines_in(path: str) -> list[str]:
    """Return the lines of a text file; a byte order mark is left out, also where files were put one behind the other.

    Raises
    ------
    InputError
        If the file cannot be read, or only carriage returns end its lines.
    """
    lines = [line.removeprefix("\ufeff").rstrip("\r") for line in read_lines(path)]
    if len(lines) == 1 and "\r" in lines[0]:
        raise InputError(
            f"{path} ends its lines by carriage returns alone, as Macs did before 2001, and would be one sentence. "
            "Convert it, e.g. with: tr '\\r' '\\n'"
        )
    return lines


def nfc(text: str) -> str:
    """Return the text in Unicode normalisation form C."""
    return unicodedata.normalize("NFC", text)


def place(words: Sequence[str], text: str) -> list[Span] | None:
    """Find words one after the other in a text; None if anything visible lies between them.

    A space inside a word may be any white space of the text (``10 000`` with a no-break space); the word
    returned is spelled as in the text.
    """
    plain = _SPACE.sub(" ", text)
    spans = []
    end = 0
    for word in words:
        start = plain.find(_SPACE.sub(" ", word), end)
        if start < 0 or not _GAP.fullmatch(plain, end, start):
            return None
        end = start + len(word)
        spans.append((text[start:end], start, end))
    return spans if _GAP.fullmatch(plain, end) else None


def join(words: Sequence[str], glued: Sequence[bool] | None = None) -> tuple[str, list[Span]]:
    """Join words by single spaces (none after a word that is `glued` to the next)."""
    parts: list[str] = []
    spans = []
    start = 0
    for i, word in enumerate(words):
        spans.append((word, start, start + len(word)))
        space = "" if (glued is not None and glued[i]) or i == len(words) - 1 else " "
        parts.append(word + space)
        start += len(word) + len(space)
    return "".join(parts), spans
