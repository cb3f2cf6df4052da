"""The built-in corpus and model."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import polars as pl
import pytest
import torch

from isogloss import starter
from isogloss.errors import InputError, UsageError

LANGUAGES = ("en", "de", "es", "fr", "ar", "zh")
LETTERS = {
    "en": "a-zA-Zíáéñ",  # names keep their accents
    "de": "a-zA-ZäöüÄÖÜßíáéñ",
    "es": "a-zA-ZáéíóúüñÁÉÍÓÚÑ",
    "fr": "a-zA-ZàâçéèêëîïôùûüœæÀÂÇÉÈÊÎÔœŒíáñ",
    "ar": "\u0621-\u063a\u0641-\u064a",  # no vowel marks
    "zh": "\u4e00-\u9fff",
}

BLOCKS = """\
# x1\tpositive\tscience
en: [PER Marie Curie] lived in [LOC Paris].
de: [PER Marie Curie] lebte in [LOC Paris].

# x2\tneutral\tweather
en: It is raining.
de: Es regnet.
""".splitlines()


@pytest.fixture(scope="module")
def corpus():
    return starter.load_corpus()


# -- the built-in corpus ----------------------------------------------------------------------------


def test_corpus_has_the_same_sentences_in_six_languages(corpus):
    assert corpus.languages == LANGUAGES
    counts = corpus.sentences.group_by("language").agg(pl.len(), pl.col("id").n_unique().alias("ids"))
    assert set(counts["len"]) == set(counts["ids"]) == {corpus.n_sentences}
    assert corpus.n_sentences >= 600
    per_sentence = corpus.sentences.group_by("sentence").agg(pl.col("id", "label", "topic").n_unique())
    assert per_sentence.select("id", "label", "topic").max().row(0) == (1, 1, 1)


def test_corpus_words_are_where_they_say_and_nothing_is_left_of_the_markup(corpus):
    table = corpus.words.join(corpus.sentences, on=["language", "sentence"])
    for text, start, end, word in table.select("text", "start", "end", "word").iter_rows():
        assert text[start:end] == word
    for text in corpus.sentences["text"]:
        assert "[" not in text
        assert "  " not in text
        assert unicodedata.is_normalized("NFC", text)


def test_corpus_entities_agree_between_languages_and_tags_are_iob2(corpus):
    kinds = corpus.words.filter(pl.col("ner").str.starts_with("B-")).group_by("sentence", "ner", "language").len()
    wide = kinds.pivot(on="language", index=["sentence", "ner"], values="len").fill_null(0)
    for language in LANGUAGES[1:]:
        assert wide[language].to_list() == wide["en"].to_list()
    counts = dict(wide.group_by("ner").agg(pl.col("en").sum()).iter_rows())
    assert set(counts) == {"B-PER", "B-LOC", "B-ORG"}
    assert min(counts.values()) >= 200
    assert max(counts.values()) < 1.2 * min(counts.values())
    last = "O"
    for tag, position in corpus.words.select("ner", "position").iter_rows():
        if tag.startswith("I-"):
            assert position > 0
            assert last[2:] == tag[2:]
        last = tag


def test_corpus_names_recur_in_other_sentences_so_that_a_tagger_can_learn(corpus):
    names = corpus.words.filter(pl.col("ner").str.starts_with("B-"), pl.col("language") == "en")
    sentences = names.group_by("word").agg(pl.col("sentence").n_unique())
    recurring = sentences.filter(pl.col("sentence") > 1)["word"]
    assert 0.4 < names["word"].is_in(recurring.implode()).mean() < 0.95


def test_corpus_sentences_are_distinct_and_of_many_lengths(corpus):
    lengths = corpus.words.group_by("language", "sentence").len()
    for language in LANGUAGES:
        assert len(set(corpus.texts(language))) == corpus.n_sentences
        bare = {re.sub(r"\W|\d", "", text).casefold() for text in corpus.texts(language)}
        assert len(bare) == corpus.n_sentences  # nor but for a number or a comma
        n = lengths.filter(pl.col("language") == language)["len"]
        assert n.min() <= 8
        assert n.max() >= 25
        assert n.std() > 4


def test_corpus_translations_are_of_like_length(corpus):
    # A line put into the wrong block would show: no translation is three times as long as its English line.
    n = corpus.sentences.with_columns(pl.col("text").str.len_chars().alias("n"))
    wide = n.pivot(on="language", index="sentence", values="n")
    for language in LANGUAGES[1:]:
        ratio = (wide[language] / wide["en"]).to_numpy()
        ratio = ratio / np.median(ratio)
        assert ratio.min() > 1 / 3
        assert ratio.max() < 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_corpus_letters_belong_to_the_language(corpus, language):
    letters = {c for text in corpus.texts(language) for c in text if c.isalpha()}
    assert not re.sub(f"[{LETTERS[language]}]", "", "".join(sorted(letters)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_corpus_punctuation_is_that_of_the_language(corpus, language):
    wrong = {
        "en": "[«»¿¡،؟，。！？]",
        "de": '[«»¿¡،؟，。！？"]',
        "es": '[،؟，。！？"]',
        "fr": '[¿¡،؟，。！？"]|[^ \u00a0\u202f][!?;]',
        "ar": '[¿¡,?;，。！？"]',
        "zh": '[¿¡،؟,?!;"]|\\.$',
    }[language]
    assert [text for text in corpus.texts(language) if re.search(wrong, text)] == []
    for text in corpus.texts("es"):
        assert text.count("¿") == text.count("?")
        assert text.count("¡") == text.count("!")


def test_corpus_sentiment_is_balanced_in_every_way(corpus):
    one = corpus.sentences.filter(pl.col("language") == "en")
    named = corpus.words.filter(pl.col("language") == "en", pl.col("ner") != "O")["sentence"].unique()
    for part in (one, one.filter(pl.col("sentence").is_in(named.implode()))):
        shares = part["label"].value_counts(normalize=True)
        assert set(shares["label"]) == {"positive", "neutral", "negative"}
        assert shares["proportion"].min() > 0.25
    length = one.with_columns(pl.col("text").str.len_chars()).group_by("label").agg(pl.col("text").mean())
    assert length["text"].max() < 1.5 * length["text"].min()  # the label is not to be had from the length
    topics = one.group_by("topic").agg(pl.len(), pl.col("label").n_unique())
    assert topics.height >= 60
    assert set(topics["len"]) == {10}
    assert set(topics["label"]) == {3}


def test_corpus_takes_languages_in_the_order_asked_for(corpus):
    two = starter.load_corpus(["ar", "en"])
    assert two.languages == ("ar", "en")
    assert two.texts("en") == corpus.texts("en")
    assert two.words["row"].to_list() == list(range(two.words.height))
    with pytest.raises(UsageError, match="unknown language 'xx'"):
        starter.load_corpus(["xx"])


# -- its notation -----------------------------------------------------------------------------------


def test_parse_removes_marks_and_tags_words():
    found = starter.parse(BLOCKS)
    assert found.texts("de") == ["Marie Curie lebte in Paris.", "Es regnet."]
    assert found.sentences.filter(pl.col("language") == "en").select("id", "label", "topic").rows() == [
        ("x1", "positive", "science"),
        ("x2", "neutral", "weather"),
    ]
    english = found.words.filter(pl.col("language") == "en", pl.col("sentence") == 0)
    assert english.select("word", "ner").rows() == [
        ("Marie", "B-PER"),
        ("Curie", "I-PER"),
        ("lived", "O"),
        ("in", "O"),
        ("Paris", "B-LOC"),
        (".", "O"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[LOC Paris]", "[LOC Par]is", "line 2: the LOC 'Par' does not start and end with a word"),
        ("[LOC Paris]", "[Paris]", "line 2: an entity mark"),
        ("de: Es regnet.", "", "line 6 (x2) begins one that does not"),
        ("# x2", "# x1", "line 6: the id x1 is taken already"),
        ("en: [PER", "de: [PER", "one line a language; got de, de"),
        ("# x2\tneutral\tweather", "# x2 neutral weather", "line 5: neither"),
    ],
)
def test_parse_names_the_place_of_a_mistake(old, new, message):
    lines = [line.replace(old, new) if k != 2 else line for k, line in enumerate(BLOCKS)]
    with pytest.raises(InputError, match=re.escape(message)):
        starter.parse(lines)


def test_parse_closes_up_chinese_and_keeps_the_words():
    lines = ["# x1\tneutral\tsport", "zh: 2016 年 ， [PER 玛丽 · 居里] 在 FC Delta 和 [ORG 北京 大学] 。"]
    found = starter.parse(lines)
    text = "2016年，玛丽·居里在FC Delta和北京大学。"
    assert found.texts("zh") == [text]
    words = found.words.select("word", "ner").rows()
    assert [word for word, _ in words] == [
        "2016",
        "年",
        "，",
        "玛丽",
        "·",
        "居里",
        "在",
        "FC",
        "Delta",
        "和",
        "北京",
        "大学",
        "。",
    ]
    assert [tag for _, tag in words if tag != "O"] == ["B-PER", "I-PER", "I-PER", "B-ORG", "I-ORG"]
    for word, start, end in found.words.select("word", "start", "end").iter_rows():
        assert text[start:end] == word


def test_parse_refuses_an_empty_file():
    with pytest.raises(InputError, match="no sentences"):
        starter.parse([])


# -- the built-in model -----------------------------------------------------------------------------


def test_model_loads_and_is_small():
    from transformers import AutoModel, AutoModelForMaskedLM

    folder = starter.model_folder()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    model = AutoModel.from_pretrained(folder)
    assert model.config.architectures == ["BertForMaskedLM"]
    assert model.dtype == torch.float32  # stored as float16, computed in full
    assert all(torch.isfinite(p).all() for p in model.parameters())
    masked, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert masked.get_output_embeddings().weight is masked.get_input_embeddings().weight


def test_model_tokenizer_is_cased_keeps_accents_and_gives_offsets():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter.model_folder())
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 4)
    for text in ("Über Paris été mañana", "قال الرئيس", "我 们"):
        coded = tokenizer(text, return_offsets_mapping=True)
        assert coded["input_ids"][0] == tokenizer.cls_token_id
        assert coded["input_ids"][-1] == tokenizer.sep_token_id
        assert tokenizer.decode(coded["input_ids"], skip_special_tokens=True) == text
        spans = [text[start:end] for start, end in coded["offset_mapping"]]
        pieces = tokenizer.convert_ids_to_tokens(coded["input_ids"])
        assert spans[1:-1] == [piece.removeprefix("##") for piece in pieces[1:-1]]


def test_model_reads_chinese_character_by_character():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter.model_folder())
    assert tokenizer.tokenize("我们在北京，2016年。") == ["我", "们", "在", "北", "京", "，", "2016", "年", "。"]


def test_model_knows_every_character_of_the_corpus(corpus):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter.model_folder())
    ids = tokenizer(corpus.sentences["text"].to_list())["input_ids"]
    assert not any(tokenizer.unk_token_id in line for line in ids)
