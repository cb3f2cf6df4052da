"""Word segmentation: the rules of `segment`, and properties that hold for any text."""

import logging
import marshal
import sys
import tempfile
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import MissingExtraError
from isogloss.segment import segment, segmenter

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def words(text, language="en"):
    return [word for word, _, _ in segment(text, language)]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Don’t panic, it's me!", "en", ["Don’t", "panic", ",", "it's", "me", "!"]),
        ("the dogs' 'quoted' words", "en", ["the", "dogs", "'", "'", "quoted", "'", "words"]),
        ("a long-term COVID-19 1990-1995 -5", "en", ["a", "long-term", "COVID-19", "1990", "-", "1995", "-", "5"]),
        ("3.14, 1,000.5 at 12:30.", "en", ["3.14", ",", "1,000.5", "at", "12:30", "."]),
        ("U.S. 50% $3", "en", ["U.S", ".", "50", "%", "$", "3"]),
        ("see http://a.org/x", "en", ["see", "http", ":", "/", "/", "a.org", "/", "x"]),
        ("my_var += std::max", "code", ["my_var", "+", "=", "std", ":", ":", "max"]),
        ("Donaudampfschifffahrt über Öl", "de", ["Donaudampfschifffahrt", "über", "Öl"]),
        ("l’homme d'eau aujourd'hui Jusqu'à", "fr", ["l’", "homme", "d'", "eau", "aujourd'hui", "Jusqu'", "à"]),
        ("dell'arte un po' col·lega", "it", ["dell'", "arte", "un", "po", "'", "col·lega"]),
        ("EU:n jäsen: ei", "fi", ["EU:n", "jäsen", ":", "ei"]),
        ("EU:n", "en", ["EU", ":", "n"]),
        ("кто-то сказал «да»", "ru", ["кто-то", "сказал", "«", "да", "»"]),
        ("हिन्दी में क्यों?", "hi", ["हिन्दी", "में", "क्यों", "?"]),
        ("كِتَابٌ جديد، ١٢٫٥", "ar", ["كِتَابٌ", "جديد", "،", "١٢٫٥"]),
        ('צה"ל אמר', "he", ['צה"ל', "אמר"]),
        ("می‌خواهم", "fa", ["می‌خواهم"]),
        ("한국어를 배웁니다.", "ko", ["한국어를", "배웁니다", "."]),
    ],
)
def test_rules(text, language, expected):
    assert words(text, language) == expected


def test_invisible_characters():
    assert words("10\u00a0000\u2009km\u3000x") == ["10", "000", "km", "x"]  # all kinds of space
    assert words("\u200fשלום\u200f \u202babc\u202c\ufeff") == ["שלום", "abc"]  # direction marks are no words
    assert words("Donau\u00addampf a\u200bb") == ["Donau\u00addampf", "a", "b"]
    assert words("a\x00b\x07") == ["a", "b"]
    assert segment(" \t\u200f\u00a0", "en") == []


def test_emoji_and_flags_are_one_word_each():
    family, thumb, heart, keycap = "👨‍👩‍👧", "👍🏽", "❤️", "1️⃣"
    scotland = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    assert words(f"{family}{thumb} {heart}{keycap} 🇩🇪🇫🇷{scotland}") == [
        family, thumb, heart, keycap, "🇩🇪", "🇫🇷", scotland,
    ]  # fmt: skip


def test_chinese_japanese_thai():
    chinese = "我昨天在北京买了iPhone15，花了1,200.5元👍🏽。"
    for label in ("zh", "zh-Hans", "zho_Hans", "Hani", "zh_CN", "cmn", "chi", "ZH"):
        assert words(chinese, label) == [
            "我", "昨天", "在", "北京", "买", "了", "iPhone15", "，", "花", "了", "1,200.5", "元", "👍🏽", "。",
        ]  # fmt: skip
    assert words("昨日、東京で\u3000買った。", "ja") == ["昨日", "、", "東京", "で", "買っ", "た", "。"]
    assert words("ab\x00東京です", "ja") == ["ab", "東京", "です"]
    assert words("ฉันซื้อ iPhone 1,200.50 บาท", "th") == ["ฉัน", "ซื้อ", "iPhone", "1,200.50", "บาท"]


def test_chinese_reads_and_writes_nothing_in_the_temporary_folder(tmp_path, monkeypatch):
    """The package alone would take its dictionary from this file, which another user may have put there."""
    planted = tmp_path / "jieba.cache"
    planted.write_bytes(marshal.dumps(({"我昨": 10**9, "我": 1, "昨": 1}, 10**9)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    segmenter.cache_clear()
    assert words("我昨天在北京", "zh") == ["我", "昨天", "在", "北京"]
    assert [path.name for path in tmp_path.iterdir()] == ["jieba.cache"]


def test_a_missing_package_names_its_extra(monkeypatch):
    for module, language, extra, text in (
        ("jieba", "zh-x-1", "zh", "文"),
        ("fugashi", "ja-x-1", "ja", "文"),
        ("pythainlp.tokenize", "th-x-1", "th", "ไทย"),
        ("icu4py.breakers", "lo-x-1", "icu", "ລາວ"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=rf"isogloss\[{extra}\]"):
            segment(text, language)
        assert words("a label that begins so", language)[1] == "label"  # such text needs no package


def test_unspaced_script_under_another_label_warns_once(caplog):
    with caplog.at_level(logging.WARNING, logger="isogloss.segment"):
        assert words("語です one two", "dialect-7") == ["語です", "one", "two"]
        words("語です again", "dialect-7")
    assert len(caplog.records) == 1
    assert "label it zh" in caplog.text and "dialect-7" in caplog.text


@pytest.mark.parametrize(
    ("label", "text", "expected"),
    [
        ("km", "ខ្ញុំចូលចិត្តរៀន។", ["ខ្ញុំ", "ចូលចិត្ត", "រៀន", "។"]),
        ("khm_Khmr", "😀ខ្ញុំរៀន 2 ដង", ["😀", "ខ្ញុំ", "រៀន", "2", "ដង"]),  # offsets are code points
        ("lo", "ຂ້ອຍມັກຮຽນພາສາລາວ", ["ຂ້ອຍ", "ມັກ", "ຮຽນ", "ພາສາ", "ລາວ"]),
        ("my_MM", "မြန်မာစာကြိုက်တယ်။", ["မြန်မာ", "စာ", "ကြိုက်", "တယ်", "။"]),
    ],
)
def test_khmer_lao_burmese(label, text, expected):
    pytest.importorskip("icu4py")
    assert words(text, label) == expected


@pytest.mark.parametrize(
    ("label", "text", "advice"),
    [
        ("en", "ខ្ញុំចូលចិត្តរៀន", "label it km"),
        ("corpus", "ຂ້ອຍມັກຮຽນ", "label it lo"),
        ("news", "ကျွန်တော်", "label it my"),
        ("shn", "ၵႂၢမ်းတႆး", "whole clauses become words: separate"),  # Burmese script, but not Burmese
        ("bo", "བོད་ཡིག", "Tibetan characters"),
        ("dz", "རྫོང་ཁ", "Tibetan characters"),
        ("jv", "ꦲꦏ꧀ꦱꦫꦗꦮ", "Javanese characters"),
        ("zh", "ไทย", "label it th"),
        ("th", "东京", "label it zh"),
    ],
)
def test_text_without_spaces_is_noticed_whatever_the_label_says(label, text, advice, caplog):
    segmenter.cache_clear()  # it warns once
    with caplog.at_level(logging.WARNING, logger="isogloss.segment"):
        words(text, label)
    assert advice in caplog.text
    assert "separate the words by spaces" in caplog.text


def test_text_that_is_cut_is_not_warned_of(caplog):
    segmenter.cache_clear()
    with caplog.at_level(logging.WARNING, logger="isogloss.segment"):
        words("我在北京看アニメ", "zh_CN")
        words("東京で", "ja_XX")
        words("ฉันซื้อ", "tha_Thai")
        words("plain text, größer, кто-то", "my-corpus")
    assert caplog.text == ""


INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp"}
LANGUAGES = ["en", "fr", "it", "fi", "zh", "ja", "th", *(["my"] if find_spec("icu4py") else [])]
letters = st.text(st.characters(exclude_categories=["Cs"]))
tricky = st.text(
    st.sampled_from(
        list("aЯß1٣अा्كֿِ'’-.,:_·\"\u200d\u200c\u200f\u00ad\u00a0 \u3000\u200b👍🏽🇩❤️\ufe0f漢字カナไทยก็မြန်မာ\x00\n")
    )
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(letters, tricky), st.sampled_from(LANGUAGES))
def test_any_text_is_covered_exactly(text, language):
    found = segment(text, language)
    end_before = 0
    for word, start, end in found:
        assert text[start:end] == word
        assert end_before <= start < end
        assert not any(c.isspace() for c in word)
        between = text[end_before:start]
        assert all(unicodedata.category(c) in INVISIBLE for c in between), f"lost {between!r}"
        end_before = end
    assert all(unicodedata.category(c) in INVISIBLE for c in text[end_before:])


@pytest.mark.shared
@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "hi", "ru", "tr", "fi"])
def test_words_of_treebanks(language):
    """Boundaries agree with the words that linguists marked, F1 above 0.97 (Arabic splits its clitics)."""
    from isogloss.corpus import Corpus

    path = SHARED / f"data/parallel/pud/conllu/{language}_pud-ud-test.conllu.gz"
    if not path.exists():
        pytest.skip(f"no treebank at {path}")
    gold = Corpus.read({language: path})
    spans = gold.words.group_by("sentence", maintain_order=True).agg("start", "end")
    same = ours = theirs = 0
    for text, starts, ends in zip(gold.texts(language), spans["start"], spans["end"], strict=True):
        expected = set(zip(starts, ends, strict=True))
        found = {(start, end) for _, start, end in segment(text, language)}
        same, ours, theirs = same + len(found & expected), ours + len(found), theirs + len(expected)
    assert 2 * same / (ours + theirs) > 0.97
