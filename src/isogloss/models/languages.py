"""Language codes: translation models (mBART, NLLB) read a code of the language beside every sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from isogloss.errors import UsageError, unknown

_CODE = re.compile(r"[a-z]{2,3}_[A-Z][A-Za-z]{1,3}")  # en_XX, eng_Latn

# Two-letter labels as NLLB's codes (Costa-jussà et al. 2022, the FLORES-200 list): the usual script of a language.
_FLORES = dict(
    re.findall(
        r"(\w+):(\w+)",
        """
        af:afr_Latn ar:arb_Arab bg:bul_Cyrl bn:ben_Beng ca:cat_Latn cs:ces_Latn da:dan_Latn de:deu_Latn
        el:ell_Grek en:eng_Latn es:spa_Latn et:est_Latn eu:eus_Latn fa:pes_Arab fi:fin_Latn fr:fra_Latn
        gl:glg_Latn he:heb_Hebr hi:hin_Deva hr:hrv_Latn hu:hun_Latn hy:hye_Armn id:ind_Latn is:isl_Latn
        it:ita_Latn ja:jpn_Jpan ka:kat_Geor kk:kaz_Cyrl ko:kor_Hang lt:lit_Latn lv:lvs_Latn mr:mar_Deva
        ms:zsm_Latn my:mya_Mymr nb:nob_Latn nl:nld_Latn no:nob_Latn pl:pol_Latn pt:por_Latn ro:ron_Latn
        ru:rus_Cyrl sk:slk_Latn sl:slv_Latn sr:srp_Cyrl sv:swe_Latn sw:swh_Latn ta:tam_Taml te:tel_Telu
        th:tha_Thai tl:tgl_Latn tr:tur_Latn uk:ukr_Cyrl ur:urd_Arab vi:vie_Latn yo:yor_Latn zh:zho_Hans
        """,
    )
)


def language_codes(
    tokenizer: Any, languages: Sequence[str], given: Mapping[str, str], *, name: str
) -> dict[str, str]:
    """Return the code that a tokenizer puts beside the sentences of every language; {} where it puts none.

    Without a given code a label stands for itself (``eng_Latn``), for the one code that begins with it (``en``:
    ``en_XX``), or for NLLB's code of that language.

    Raises
    ------
    UsageError
        If a code is not the tokenizer's, a language has none, or codes are given to a model without any.
    """
    if not hasattr(tokenizer, "src_lang"):
        if given:
            raise UsageError(f"language_codes are for models that read them; '{name}' does not.")
        return {}
    known = sorted(token for token in tokenizer.get_added_vocab() if _CODE.fullmatch(token))
    found = {}
    for language in languages:
        if language in given:
            if given[language] not in known:
                raise unknown("language code", given[language], known, where="language_codes")
            found[language] = given[language]
            continue
        begins = [code for code in known if code.split("_")[0] == language]
        guesses = [language, *(begins if len(begins) == 1 else []), _FLORES.get(language, "")]
        code = next((guess for guess in guesses if guess in known), None)
        if code is None:
            raise UsageError(
                f"'{name}' reads a language code beside every sentence, and none is known for '{language}'. "
                f"Give one, e.g. language_codes: {{{language}: {known[0] if known else 'eng_Latn'}}}."
            )
        found[language] = code
    return found
