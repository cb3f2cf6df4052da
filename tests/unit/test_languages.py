"""The reader of language labels: every usual form of a code, and labels that are no language."""

import re

import pytest

from isogloss.errors import UsageError
from isogloss.languages import UNSPACED, direction, mainly_unspaced, page_attributes, read_language
from isogloss.models.languages import language_codes


@pytest.mark.parametrize(
    ("labels", "code", "script"),
    [
        ("zh zho chi cmn zh_CN zh-CN zh-Hans zho_Hans cmn-Hans-CN ZH Hans zh-x-1", "zh", "Hans"),
        ("zh-Hant zh_TW zh-HK zho_Hant Hant", "zh", "Hant"),
        ("yue yue_Hant", "yue", "Hant"),
        ("ja jpn ja_XX jpn_Jpan", "ja", "Jpan"),
        ("ko kor ko_KR kor_Hang", "ko", "Kore"),
        ("pt pt-BR pt_XX por por_Latn", "pt", "Latn"),
        ("de ger deu deu_Latn de_DE de-news", "de", "Latn"),
        ("fa per fas pes_Arab fa_IR", "fa", "Arab"),
        ("ar ara arb arb_Arab ar_AR", "ar", "Arab"),
        ("no nb nob nor nob_Latn", "no", "Latn"),
        ("ms msa zsm zsm_Latn", "ms", "Latn"),
        ("lv lav lvs_Latn", "lv", "Latn"),
        ("tl fil tgl_Latn", "tl", "Latn"),
        ("he iw heb_Hebr", "he", "Hebr"),
        ("km khm khm_Khmr", "km", "Khmr"),
        ("tyv_Cyrl", "tyv", "Cyrl"),  # not in the table: a code with a script is a language
    ],
)
def test_forms_of_one_language(labels, code, script):
    for label in labels.split():
        found = read_language(label)
        assert found is not None, label
        assert (found.code, found.script) == (code, script), label


@pytest.mark.parametrize(
    "label", ["c++", "cuda", "news", "code", "java", "dialect-7", "", "-", "sql", "new york", "😀"]
)
def test_labels_that_are_no_language(label):
    assert read_language(label) is None
    assert direction(label) == "auto"


def test_direction_of_script():
    right = [
        "ar",
        "ara",
        "arb_Arab",
        "heb",
        "he_IL",
        "iw",
        "pes_Arab",
        "urd",
        "ckb",
        "dv",
        "nqo",
        "pa-PK",
        "az-Arab",
        "yi",
    ]
    left = ["en", "az", "pa", "ur-Latn", "hi", "zh-Hant", "kas_Deva", "arb_Latn"]
    assert {direction(label) for label in right} == {"rtl"}
    assert {direction(label) for label in left} == {"ltr"}


def test_attributes_of_text_on_a_page():
    assert page_attributes(["en_XX", "heb_Hebr", "pt-BR", 'x"']) == {
        "en_XX": {"lang": "en", "dir": "ltr"},
        "heb_Hebr": {"lang": "he-Hebr", "dir": "rtl"},
        "pt-BR": {"lang": "pt-BR", "dir": "ltr"},
        'x"': {"dir": "auto"},
    }


def test_codes_of_translation_models_are_read():
    mbart = pytest.importorskip("transformers.models.mbart50.tokenization_mbart50").FAIRSEQ_LANGUAGE_CODES
    nllb = pytest.importorskip("transformers.models.nllb.tokenization_nllb").FAIRSEQ_LANGUAGE_CODES
    for code in (*mbart, *nllb):
        found = read_language(code.split("_")[0])
        assert found is not None, code
        if "_XX" not in code and len(code) == 8:
            written = read_language(code)
            assert written.code == found.code
            assert written.named_script
    assert len({(read_language(code).code, read_language(code).script) for code in nllb}) == len(nllb)


class Tokenizer:
    src_lang = ""

    def __init__(self, codes):
        self.codes = codes

    def get_added_vocab(self):
        return dict.fromkeys(self.codes)


NLLB = ["arb_Arab", "deu_Latn", "jpn_Jpan", "kas_Arab", "kas_Deva", "nob_Latn", "sat_Beng", "srp_Cyrl", "tyv_Cyrl"]
NLLB += ["yue_Hant", "zho_Hans", "zho_Hant", "zsm_Latn"]
MBART = ["ar_AR", "de_DE", "ja_XX", "pt_XX", "zh_CN"]


@pytest.mark.parametrize(
    ("known", "labels", "code"),
    [
        (NLLB, "de deu ger de-AT de_DE deu_Latn", "deu_Latn"),
        (NLLB, "zh zho cmn zh-Hans zh_CN", "zho_Hans"),
        (NLLB, "zh-Hant zh_TW zho_Hant", "zho_Hant"),
        (NLLB, "ja ja_XX jpn", "jpn_Jpan"),
        (NLLB, "nb no nor", "nob_Latn"),
        (NLLB, "ms zsm msa", "zsm_Latn"),
        (NLLB, "ks kas", "kas_Arab"),
        (NLLB, "ks-Deva", "kas_Deva"),
        (NLLB, "sat", "sat_Beng"),  # the model's only one, though not the usual script
        (NLLB, "tyv", "tyv_Cyrl"),
        (MBART, "ar arb_Arab", "ar_AR"),
        (MBART, "pt pt-BR por_Latn", "pt_XX"),
        (MBART, "zh cmn zho_Hans", "zh_CN"),
    ],
)
def test_labels_find_the_code_of_a_translation_model(known, labels, code):
    names = labels.split()
    assert language_codes(Tokenizer(known), names, {}, name="m") == dict.fromkeys(names, code)


@pytest.mark.parametrize(
    ("known", "label", "near"),
    [(MBART, "zh-Hant", "zh_CN"), (MBART, "zh_TW", "zh_CN"), (NLLB, "sr-Latn", "srp_Cyrl"), (NLLB, "c++", "arb_Arab")],
)
def test_a_label_without_a_code_is_told_the_nearest(known, label, near):
    with pytest.raises(UsageError, match=re.escape(f"language_codes: {{{label}: {near}}}")):
        language_codes(Tokenizer(known), [label], {}, name="m")


def test_scripts_without_spaces():
    assert {script for script in UNSPACED if mainly_unspaced("ខ្មែរ") == script} == {"Khmr"}
    assert mainly_unspaced("བོད་ཡིག") == "Tibt"
    assert mainly_unspaced("это 北京") == mainly_unspaced("") == mainly_unspaced("123 !") == ""
