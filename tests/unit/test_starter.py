"""The built-in corpus and model, and the script that made the model."""

from __future__ import annotations

import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from isogloss import starter
from isogloss.errors import InputError, UsageError
from isogloss.starter import examples, pretrain

PUD = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "parallel" / "pud" / "txt"
LANGUAGES = ("en", "de", "es", "fr", "ar")
LETTERS = {
    "en": "a-zA-Zíáéñ",  # names keep their accents
    "de": "a-zA-ZäöüÄÖÜßíáéñ",
    "es": "a-zA-ZáéíóúüñÁÉÍÓÚÑ",
    "fr": "a-zA-ZàâçéèêëîïôùûüœæÀÂÇÉÈÊÎÔœŒíáñ",
    "ar": "\u0621-\u063a\u0641-\u0652",
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
    if not starter.corpus_file().exists():
        pytest.skip("the built-in corpus is not there")
    return starter.load_corpus()


# -- the built-in corpus ----------------------------------------------------------------------------


def test_corpus_has_the_same_sentences_in_five_languages(corpus):
    assert corpus.languages == LANGUAGES
    counts = corpus.sentences.group_by("language").agg(pl.len(), pl.col("id").n_unique().alias("ids"))
    assert set(counts["len"]) == set(counts["ids"]) == {corpus.n_sentences}
    assert corpus.n_sentences >= 150
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
    kinds = (
        corpus.words.filter(pl.col("ner").str.starts_with("B-")).group_by("sentence", "ner", "language").len()
    )
    wide = kinds.pivot(on="language", index=["sentence", "ner"], values="len").fill_null(0)
    assert wide.height > 100
    for language in LANGUAGES[1:]:
        assert wide[language].to_list() == wide["en"].to_list()
    assert set(kinds["ner"]) == {"B-PER", "B-LOC", "B-ORG"}
    last = "O"
    for tag, position in corpus.words.select("ner", "position").iter_rows():
        if tag.startswith("I-"):
            assert position > 0
            assert last[2:] == tag[2:]
        last = tag


def test_corpus_sentences_are_distinct_and_of_many_lengths(corpus):
    lengths = corpus.words.group_by("language", "sentence").len()
    for language in LANGUAGES:
        assert len(set(corpus.texts(language))) == corpus.n_sentences
        n = lengths.filter(pl.col("language") == language)["len"]
        assert n.min() <= 8
        assert n.max() >= 25
        assert n.std() > 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_corpus_letters_belong_to_the_language(corpus, language):
    letters = {c for text in corpus.texts(language) for c in text if c.isalpha()}
    assert not re.sub(f"[{LETTERS[language]}]", "", "".join(sorted(letters)))


def test_corpus_sentiment_is_balanced_and_topics_vary(corpus):
    one = corpus.sentences.filter(pl.col("language") == "en")
    shares = one["label"].value_counts(normalize=True)
    assert set(shares["label"]) == {"positive", "neutral", "negative"}
    assert shares["proportion"].min() > 0.25
    assert one["topic"].n_unique() >= 15


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
        ("de: Es regnet.", "", "x2 does not"),
        ("# x2\tneutral\tweather", "# x2 neutral weather", "line 5: neither"),
    ],
)
def test_parse_names_the_place_of_a_mistake(old, new, message):
    lines = [line.replace(old, new) if k != 2 else line for k, line in enumerate(BLOCKS)]
    with pytest.raises(InputError, match=re.escape(message)):
        starter.parse(lines)


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
    for text in ("Über Paris été mañana", "قال الرئيس"):
        coded = tokenizer(text, return_offsets_mapping=True)
        assert coded["input_ids"][0] == tokenizer.cls_token_id
        assert coded["input_ids"][-1] == tokenizer.sep_token_id
        assert tokenizer.decode(coded["input_ids"], skip_special_tokens=True) == text
        spans = [text[start:end] for start, end in coded["offset_mapping"]]
        pieces = tokenizer.convert_ids_to_tokens(coded["input_ids"])
        assert spans[1:-1] == [piece.removeprefix("##") for piece in pieces[1:-1]]


def test_model_knows_every_character_of_the_corpus(corpus):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter.model_folder())
    ids = tokenizer(corpus.sentences["text"].to_list())["input_ids"]
    assert not any(tokenizer.unk_token_id in line for line in ids)


@pytest.mark.shared
def test_model_finds_translations_it_has_not_seen():
    if not PUD.exists():
        pytest.skip("the shared PUD sentences are not there")
    texts = {
        language: (PUD / f"pud.{language}.txt").read_text(encoding="utf-8").split("\n")[:100]
        for language in ("en", "es", "ar")
    }
    found = pretrain.evaluate(starter.model_folder(), texts)
    best = found.group_by("source", "target").agg(pl.col("precision").max())
    pairs = {(s, t): p for s, t, p in best.iter_rows()}
    assert found["chance"].unique().to_list() == [0.01]
    assert pairs["en", "es"] > 0.3
    assert pairs["en", "ar"] > 0.1


# -- pre-training -----------------------------------------------------------------------------------

SMALL = pretrain.Settings(
    vocab=200, layers=2, width=16, heads=2, positions=16, steps=60, batch_pieces=512, warmup=2, save_minutes=0
)


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(5)
    numbers = [rng.integers(0, 12, size=rng.integers(2, 8)) for _ in range(60)]
    words = {
        "en": [
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ],
        "de": [
            "eins",
            "zwei",
            "drei",
            "vier",
            "fünf",
            "sechs",
            "sieben",
            "acht",
            "neun",
            "zehn",
            "elf",
            "zwölf",
        ],
    }
    return [
        {
            language: [" ".join(names[n] for n in line) for line in numbers]
            for language, names in words.items()
        }
    ]


@pytest.fixture(scope="module")
def trained(sets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain")
    return pretrain.pretrain(sets, folder, settings=SMALL)


def _weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_pretrain_learns_and_exports_a_model_that_evaluate_reads(sets, tmp_path):
    settings = pretrain.Settings(**{**vars(SMALL), "steps": 100, "rate": 5e-3, "save_minutes": 9.0})
    folder = pretrain.pretrain(sets, tmp_path, settings=settings)
    curve = pl.read_csv(tmp_path / "curve.csv")
    assert curve["step"].to_list() == [50, 100]
    assert curve["loss_pairs"][1] < curve["loss_pairs"][0] < np.log(200) + 0.5
    same = pretrain.evaluate(folder, {"a": sets[0]["en"][:20], "b": sets[0]["en"][:20]})
    assert same.columns == ["source", "target", "layer", "precision", "chance"]
    assert same["layer"].unique().sort().to_list() == [0, 1, 2]
    assert same["precision"].min() > 0.9  # a sentence is nearest to itself (bar anagrams)


def test_pretrain_killed_and_run_again_ends_with_the_same_weights(sets, trained, tmp_path, monkeypatch):
    true_losses, calls = pretrain._losses, []

    def dies(*args):
        calls.append(1)
        if len(calls) > 54:  # after the first point of the curve
            raise KeyboardInterrupt
        return true_losses(*args)

    shutil.copy(trained.parent / "tokenizer.json", tmp_path)
    monkeypatch.setattr(pretrain, "_losses", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(sets, tmp_path, settings=SMALL)
    monkeypatch.setattr(pretrain, "_losses", true_losses)
    again = pretrain.pretrain(sets, tmp_path, settings=SMALL)
    assert pl.read_csv(tmp_path / "curve.csv")["step"].to_list() == [50]
    expected, found = _weights(trained), _weights(again)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name


def test_pretrain_leaves_the_global_generator_alone(sets, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    pretrain.pretrain(sets, tmp_path, settings=pretrain.Settings(**{**vars(SMALL), "steps": 1}))
    assert torch.equal(before, torch.get_rng_state())


def test_pretrain_refuses_a_checkpoint_of_another_shape(sets, trained):
    other = pretrain.Settings(**{**vars(SMALL), "layers": 3})
    with pytest.raises(UsageError, match="Choose another --out"):
        pretrain.pretrain(sets, trained.parent, settings=other)


def test_pretrain_refuses_lines_that_do_not_match(tmp_path):
    with pytest.raises(InputError, match=r"same number of lines.*'en': 2, 'de': 1"):
        pretrain.pretrain([{"en": ["a", "b"], "de": ["a"]}], tmp_path, settings=SMALL)
    with pytest.raises(UsageError, match="repeats"):
        pretrain.pretrain([{"en": ["a"]}], tmp_path, repeats=[1, 2], settings=SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [("masked", 1.5), ("masked", 0.0), ("heads", 3), ("batch_pieces", 16), ("pairs", -0.1)],
)
def test_settings_refuse_impossible_values(field, value):
    with pytest.raises(UsageError, match=field):
        pretrain.Settings(**{field: value})


def test_masking_hides_whole_words_and_tells_the_lines_of_a_pair_apart():
    continues = np.zeros(50, dtype=bool)
    continues[30:] = True
    first = np.array([examples.CLS, 10, 30, 31, 11, 12, 32, examples.SEP])
    second = np.array([examples.CLS, 13, 33, examples.SEP])
    rng = np.random.default_rng(0)
    share = []
    for _ in range(300):
        batch = examples.mask([[first, second], [second]], rng, continues, 0.25)
        hidden = batch.labels != examples.IGNORED
        assert batch.positions[0].tolist() == [*range(8), *range(4)]
        assert batch.segments.tolist() == [[0] * 8 + [1] * 4, [0] * 12]
        assert batch.is_pair.tolist() == [True, False]
        assert hidden[0, 1] == hidden[0, 2] == hidden[0, 3]
        assert hidden[0, 5] == hidden[0, 6]
        assert not hidden[0, [0, 7, 8, 11]].any()
        assert not hidden[1, 3:].any()  # [SEP] and padding
        joined = np.concatenate([first, second])
        assert (batch.labels[0][hidden[0]] == joined[hidden[0]]).all()
        assert (batch.ids[0][~hidden[0]] == joined[~hidden[0]]).all()
        share.append(hidden[0, 4])
    assert 0.15 < np.mean(share) < 0.35


def test_shared_vectors_put_pieces_of_the_same_lines_together():
    rng = np.random.default_rng(2)
    meanings = [rng.choice(10, size=3, replace=False) for _ in range(200)]
    lines = {
        "a": [m + 5 for m in meanings],
        "b": [m + 15 for m in meanings],
    }  # piece 5 + k says what 15 + k says
    data = examples.Data([lines], np.zeros((0, 2), dtype=np.int64))
    vectors = examples.shared_vectors(data, vocab=26, width=8, seed=0)
    assert vectors.shape == (26, 8)
    near = vectors[5:15] @ vectors[15:25].T
    assert near.argmax(axis=1).tolist() == list(range(10))
    assert np.diag(near) == pytest.approx(1, abs=1e-3)
    assert not vectors[[0, 4, 25]].any()  # special pieces and a piece that is in no line


def test_command_line_reads_sets_and_refuses_a_bad_pair(tmp_path):
    for name in ("a.en", "a.de", "b.en", "b.de"):
        (tmp_path / name).write_text(f"{name}\n", encoding="utf-8")
    files = [f"{name[-2:]}={tmp_path / name}" for name in ("a.en", "b.en", "a.de", "b.de")]
    assert examples.read_sets(files) == [{"en": ["a.en"], "de": ["a.de"]}, {"en": ["b.en"], "de": ["b.de"]}]
    with pytest.raises(UsageError, match="LANGUAGE=FILE"):
        examples.read_sets(["en:a.txt"])
