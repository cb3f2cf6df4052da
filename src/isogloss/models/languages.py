"""Language codes: translation models (mBART, NLLB) read a code of the language beside every sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.errors import UsageError, unknown
from isogloss.languages import read_language

CODE = re.compile(r"[a-z]{2,3}_[A-Z][A-Za-z]{1,3}")  # en_XX, eng_Latn


def language_codes(tokenizer: Any, languages: Sequence[str], chosen: Mapping[str, str], *, name: str) -> dict[str, str]:
    """Return the code that a tokenizer puts beside the sentences of every language; {} where it puts none.

    Without a chosen code a label stands for itself (``eng_Latn``), or for the one code of its language: in the script
    named, else the usual one (``en``, ``eng`` or ``en-GB``: ``en_XX``, ``eng_Latn``; ``zh-Hant``: ``zho_Hant``).

    Raises
    ------
    UsageError
        If a code is not the tokenizer's, a language has none, or codes are chosen for a model without any.
    """
    if not hasattr(tokenizer, "src_lang"):
        if chosen:
            raise UsageError(f"language_codes are for models that read them; '{name}' does not.")
        return {}
    offered = sorted(token for token in tokenizer.get_added_vocab() if CODE.fullmatch(token))
    by_language = {}
    for language in languages:
        if language in chosen:
            if chosen[language] not in offered:
                raise unknown("language code", chosen[language], offered, where="language_codes")
            by_language[language] = chosen[language]
            continue
        codes = [language] if language in offered else _codes_of(language, offered)
        if len(codes) != 1:
            near = codes or [code for code in offered if _same_language(code, language)] or offered or ["eng_Latn"]
            raise UsageError(
                f"'{name}' reads a language code beside every sentence, and none is known for '{language}'. "
                f"Give one, e.g. language_codes: {{{language}: {near[0]}}}."
            )
        by_language[language] = codes[0]
    return by_language


def _codes_of(label: str, offered: Sequence[str]) -> list[str]:
    """Return the codes of a label's language: in its script where that is named, or where there are several."""
    wanted = read_language(label)
    codes = [code for code in offered if _same_language(code, label)]
    if wanted is not None and (wanted.named_script or len(codes) > 1):
        codes = [code for code in codes if (read := read_language(code)) and read.script == wanted.script]
    return codes


def _same_language(code: str, label: str) -> bool:
    wanted, read = read_language(label), read_language(code)
    if wanted is None or read is None:
        return code.split("_", maxsplit=1)[0] == label
    return wanted.code == read.code
