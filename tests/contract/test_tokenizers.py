"""Tokenizers of every form: SentencePiece files alone, bytes, and what their settings and vocabularies may say."""

from __future__ import annotations

import importlib
import io
import json
import re
import shutil
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from isogloss import models
from isogloss.errors import InputError
from isogloss.extraction import extract, states_key
from isogloss.models.info import ModelInfo
from isogloss.models.sources import Source
from tiny_models import LIMIT, LINES, WIDTH, corpus_of

TEXT = [
    "the old house by the river is green and the water is cold",
    "das alte haus am fluss ist grün und das wasser ist kalt",
    "la vieille maison près de la rivière est verte",
    "我们在老房子里看书 古い家の中で本を読む القط في البيت บ้านเก่า",
    "old city, new city. 1234567890 (abc) ABC; it's an old man's tale!",
]

# -- folders with a SentencePiece file and no tokenizer.json --------------------------------------

FAIRSEQ = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
BPE = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "split_digits": True}
BPE |= {"remove_extra_whitespaces": False, "vocab_size": 450}
BERT = {"pad_piece": "[PAD]", "unk_piece": "[UNK]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
SP = "sentencepiece.bpe.model"
# family: file, how it is trained, config.json, tokenizer_config.json, what stands around a sentence, shift of the ids
FORMS = {
    "mt5": ("spiece.model", {**T5, "byte_fallback": True}, {"model_type": "mt5"}, {"extra_ids": 0}, (0, 1), 0),
    "t5": ("spiece.model", T5, {"model_type": "t5"}, {"extra_ids": 100}, (0, 1), 0),
    "xlmr": (SP, FAIRSEQ, {"model_type": "xlm-roberta"}, {}, (1, 1), 1),
    "mdeberta": (
        *("spm.model", {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, **BERT}),
        *({"model_type": "deberta-v2"}, {"do_lower_case": False, "vocab_type": "spm"}, (1, 1), 0),
    ),
    "rembert": (
        "sentencepiece.model",
        {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, **BERT, "user_defined_symbols": ["[MASK]"]},
        *({"model_type": "rembert"}, {"do_lower_case": False, "keep_accents": True}, (1, 1), 0),
    ),
    "llama": (
        *("tokenizer.model", {**FAIRSEQ, **BPE}, {"model_type": "llama"}),
        {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False},
        *((1, 0), 0),
    ),
    "gemma": (
        "tokenizer.model",
        {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>", **BPE}
        | {"add_dummy_prefix": False},
        *({"model_type": "gemma"}, {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True}, (1, 0), 0),
    ),
    "nllb": (
        *(SP, {**FAIRSEQ, "model_type": "bpe", "vocab_size": 300}, {"model_type": "m2m_100"}),
        *({"tokenizer_class": "NllbTokenizer"}, (1, 1), 1),
    ),
    "mbart": (SP, FAIRSEQ, {"model_type": "mbart"}, {}, (0, 2), 1),
    "mbart50": (SP, FAIRSEQ, {"model_type": "mbart"}, {"tokenizer_class": "MBart50Tokenizer"}, (1, 1), 1),
}


def train(path: Path, **options: object) -> bytes:
    spm = pytest.importorskip("sentencepiece")
    out = io.BytesIO()
    settings = {"vocab_size": 450, "character_coverage": 1.0, "hard_vocab_limit": False, "minloglevel": 2}
    spm.SentencePieceTrainer.train(sentence_iterator=iter(TEXT * 5), model_writer=out, **(settings | options))
    path.write_bytes(out.getvalue())
    return out.getvalue()


def load(folder: Path) -> object:
    return models.load_tokenizer(ModelInfo(folder.name, ("encoder",), {}, 1, Source(str(folder), "", None, True)))


@pytest.fixture(scope="module")
def pieces_folder(tmp_path_factory):
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            file, training, config, settings, *_ = FORMS[family]
            folder = tmp_path_factory.mktemp(family)
            train(folder / file, **training)
            (folder / "config.json").write_text(json.dumps(config))
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            made[family] = folder
        return made[family]

    return make


@pytest.mark.parametrize("family", FORMS)
def test_a_sentencepiece_file_alone_is_read_as_sentencepiece_reads_it(pieces_folder, family):
    from sentencepiece import SentencePieceProcessor

    folder = pieces_folder(family)
    file, *_, around, shift = FORMS[family]
    tokenizer = load(folder)
    pieces = SentencePieceProcessor(model_file=str(folder / file))
    lines = ["the old house", "das grüne haus", "我们看书", "ABC it's 12", "old, old water"]
    if family not in ("llama", "gemma"):  # their normal form is the text itself
        lines += ["ｏｌｄ ｈａｕｓ", "the\u3000house"]
    for line in lines:
        found = tokenizer(line).encodings[0]
        text = [i for i, special in zip(found.ids, found.special_tokens_mask, strict=True) if not special]
        assert text == [i + shift for i in pieces.encode(line)]
        marks = found.special_tokens_mask
        assert marks == [1] * around[0] + [0] * len(text) + [1] * around[1]
    assert tokenizer.unk_token_id == pieces.unk_id() + (3 if shift else 0)
    if "byte_fallback" not in FORMS[family][1] and family != "nllb":
        assert tokenizer("\ue000", add_special_tokens=False)["input_ids"][-1] == tokenizer.unk_token_id


@pytest.mark.parametrize("listed", [False, True])
def test_nllb_of_a_sentencepiece_file_has_its_codes_where_its_weights_have_them(pieces_folder, tmp_path, listed):
    """After the pieces, one place on as <pad> goes between; the mask is the last."""
    import transformers as tf

    folder = Path(shutil.copytree(pieces_folder("nllb"), tmp_path / "nllb"))
    codes = ["ace_Latn", "deu_Latn", "eng_Latn", "zho_Hans"]
    if listed:
        (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": codes}))
    tokenizer = load(folder)
    first = tokenizer.convert_tokens_to_ids("ace_Latn" if listed else "ace_Arab")
    assert first == 301
    assert tokenizer.convert_tokens_to_ids("<mask>") == len(tokenizer) - 1 == 301 + (4 if listed else 202)
    blocks = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": WIDTH}
    config = tf.M2M100Config(vocab_size=len(tokenizer), **blocks, **heads, max_position_embeddings=64)
    tf.M2M100Model(config).save_pretrained(folder)
    loaded = models.load(folder, languages=["en", "de", "zh"])
    assert loaded.codes == {"en": "eng_Latn", "de": "deu_Latn", "zh": "zho_Hans"}
    for language, code in loaded.codes.items():
        ids = models.encode(loaded, ["old house"], language=language)[0].ids
        assert ids[0] == tokenizer.convert_tokens_to_ids(code) > 300
    states = extract(corpus_of({x: LINES[x] for x in ("en", "de")}), folder, out=tmp_path / "out")
    assert len(states.rows) > 20


def test_a_saved_tokenizer_keeps_the_normal_forms_of_its_file(pieces_folder, tmp_path):
    """transformers' class of mBART forgets them again, though tokenizer.json has them."""
    tokenizer = load(pieces_folder("mbart"))
    tokenizer.save_pretrained(tmp_path)
    shutil.copy(pieces_folder("mbart") / "config.json", tmp_path)
    assert not list(tmp_path.glob("*.model"))
    again = load(tmp_path)
    assert again.tokenize("ｏｌｄ ｈａｕｓ") == tokenizer.tokenize("ｏｌｄ ｈａｕｓ") == again.tokenize("old haus")


def test_a_file_that_transformers_reads_wrongly_is_refused(tmp_path):
    train(tmp_path / "sentencepiece.bpe.model", **FAIRSEQ)
    (tmp_path / "config.json").write_text('{"model_type": "xglm"}')
    with pytest.raises(InputError, match=r"reads \d+ of \d+ words wrongly, e\.g\. .* instead of .*older transformers"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\nnothing of the kind", b"IQ== 0\n"])
def test_a_broken_file_is_one_line_that_names_the_cause(tmp_path, content):
    (tmp_path / "spiece.model").write_bytes(content)
    (tmp_path / "config.json").write_text('{"model_type": "mt5"}')
    with pytest.raises(InputError, match=r"spiece\.model") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_transformers_warns_of_stands_in_the_error(pieces_folder, monkeypatch):
    converter = importlib.import_module("transformers.convert_slow_tokenizer")

    def lacking(self, model):
        raise ImportError("SentencePieceExtractor requires the protobuf library\nbut it was not found")

    monkeypatch.setattr(converter.SentencePieceExtractor, "__init__", lacking)
    with pytest.raises(InputError, match="requires the protobuf library but it was not found") as caught:
        load(pieces_folder("mt5"))
    assert "\n" not in str(caught.value)


def test_what_transformers_needs_for_sentencepiece_files_is_declared():
    """Its own extra names what its converter imports: all of it is among our core dependencies."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    name = re.compile(r"[\w.-]+")
    declared = {name.match(x).group().lower() for x in project["dependencies"]}
    wanted = [x for x in metadata.requires("transformers") if re.search(r"extra == ['\"]sentencepiece['\"]", x)]
    assert wanted
    assert {name.match(x).group().lower() for x in wanted} <= declared


# -- bytes and characters -------------------------------------------------------------------------


@pytest.fixture
def byt5(tmp_path):
    import transformers as tf

    size = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 2, "num_decoder_layers": 2}
    tf.T5Model(tf.T5Config(vocab_size=384, **size, decoder_start_token_id=0)).save_pretrained(tmp_path / "byt5")
    settings = {"tokenizer_class": "ByT5Tokenizer", "extra_ids": 125, "eos_token": "</s>", "pad_token": "<pad>"}
    (tmp_path / "byt5/tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path / "byt5"


def test_byt5_reads_the_bytes_of_every_word(byt5, tmp_path):
    corpus = corpus_of(LINES)
    states = extract(corpus, byt5, out=tmp_path / "out", dtype="float32")
    assert states.tokens["n_subwords"].to_list() == [len(word.encode()) for word in corpus.words["word"]]
    loaded = models.load(byt5)
    for line in (0, 1, 10):
        language, sentence, text = corpus.sentences.row(line)
        found = loaded.tokenizer(text, return_tensors="pt")
        assert models.encode(loaded, [text])[0].ids == found["input_ids"][0].tolist()
        with torch.no_grad():
            hidden = loaded.module(**found).last_hidden_state[0].numpy()
        for row, word, start, _ in (
            states.tokens.filter(language=language, sentence=sentence).select("row", "word", "start", "end").iter_rows()
        ):
            first = len(text[:start].encode())
            expected = hidden[first : first + len(word.encode())].mean(axis=0)
            np.testing.assert_allclose(states.arrays[2][row], expected, atol=2e-5)
    assert len(extract(corpus, byt5, out=tmp_path / "out", stack="decoder").rows) == corpus.words.height


def test_byt5_half_a_character_at_the_limit_is_no_word(byt5, tmp_path):
    path = byt5 / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 8}))
    states = extract(corpus_of({"en": ["old grün", "abc de我 x"]}), byt5, out=tmp_path / "out")
    # seven bytes and the end: "old gr", the first byte of "ü"; "abc de" and a third of a character
    assert states.tokens["n_subwords"].to_list() == [3, 0, 3, 0, 0]


def test_canine_is_refused_for_what_it_is(tmp_path):
    import transformers as tf

    size = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tf.CanineModel(tf.CanineConfig(**size, num_hash_buckets=64)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"CANINE model: .* one state for every four"):
        models.load(tmp_path)


# -- settings and vocabularies --------------------------------------------------------------------


@pytest.fixture
def change(tiny_model, tmp_path):
    """Return a copy of a tiny model with other settings in one of its files."""

    def change(family: str, file: str, **settings: object) -> Path:
        folder = Path(shutil.copytree(tiny_model(family), tmp_path / family))
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | settings))
        return folder

    return change


@pytest.mark.parametrize("family", ["bert", "neox"])
def test_the_side_of_truncation_does_not_matter(tiny_model, tmp_path, change, family):
    corpus = corpus_of({"en": ["housing water " * 40 + "city", "the old house"]})
    left = change(family, "tokenizer_config.json", truncation_side="left", model_max_length=LIMIT)
    found = extract(corpus, left, out=tmp_path / "left", dtype="float32")
    right = Path(shutil.copytree(left, tmp_path / "right-model"))
    settings = json.loads((right / "tokenizer_config.json").read_text()) | {"truncation_side": "right"}
    (right / "tokenizer_config.json").write_text(json.dumps(settings))
    wanted = extract(corpus, right, out=tmp_path / "right", dtype="float32")
    np.testing.assert_array_equal(found.arrays[2], wanted.arrays[2])
    counts = found.tokens["n_subwords"].to_list()
    assert 0 in counts
    for word in ("housing", "water"):  # one that is cut has no state at all
        assert len({n for x, n in zip(found.tokens["word"], counts, strict=True) if x == word} - {0}) == 1
    assert counts[0] and not counts[80]  # the end is cut, not the beginning


def test_maltese_letter_is_no_space(tmp_path, tiny_model):
    """In a byte-level vocabulary the sign stands for a space, in a WordPiece one for itself."""
    folder = Path(shutil.copytree(tiny_model("bert"), tmp_path / "mt"))
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    pieces = vocabulary["model"]["vocab"]
    pieces["Ġ"] = pieces.pop("ö")
    pieces["##anni"] = pieces.pop("##ö")
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    assert models.space_marks(models.load(folder)) == []
    states = extract(corpus_of({"mt": ["Ġanni Ġ"]}), folder, out=tmp_path / "out")
    assert states.tokens["n_subwords"].to_list() == [2, 1]
    assert len(models.space_marks(models.load(tiny_model("neox")))) == 1
    assert len(models.space_marks(models.load(tiny_model("mt5")))) == 1


@pytest.mark.parametrize("prefix", ["old " * 60, "old " * LIMIT])
@pytest.mark.parametrize("family", ["bert", "t5"])
def test_a_prefix_that_leaves_no_room_is_refused(tiny_model, tmp_path, family, prefix):
    corpus = corpus_of({x: LINES[x] for x in ("en", "de")})
    with pytest.raises(InputError, match=rf"prefix 'old .*\.\.\.' takes all of the {LIMIT} subwords.*shorter prefix"):
        extract(corpus, tiny_model(family), out=tmp_path, prefix=prefix)
    with pytest.raises(InputError, match="shorter prefix"):  # when a study is planned
        states_key(corpus, tiny_model(family), prefix=prefix)


def test_subwords_without_an_embedding_are_refused(tmp_path, tiny_model):
    import transformers as tf

    folder = Path(shutil.copytree(tiny_model("bert"), tmp_path / "short"))
    model = tf.BertModel.from_pretrained(folder)
    size = model.config.vocab_size
    model.resize_token_embeddings(size - 1)
    model.save_pretrained(folder)
    with pytest.raises(InputError, match=rf"'##ung' has the number {size - 1}, and there are {size - 1} embeddings"):
        models.load(folder)


def test_an_added_subword_without_an_embedding_counts_where_it_is_read(tmp_path, tiny_model):
    """Many folders on the hub have a [PAD] beyond the embeddings, which no sentence is read as."""
    import transformers as tf

    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "padded"))
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["isogloss"])
    tokenizer.save_pretrained(folder)
    loaded = models.load(folder)
    assert loaded.pad_id == loaded.tokenizer.eos_token_id  # the one that is named has no embedding
    assert len(extract(corpus_of({"en": [*LINES["en"], "the [PAD] house"]}), folder, out=tmp_path / "a").rows)
    with pytest.raises(InputError, match=r"'isogloss' has the number \d+, and there are"):
        extract(corpus_of({"en": ["the isogloss house"]}), folder, out=tmp_path / "b")


@pytest.mark.parametrize("family", ["bert", "mt5", "llama"])
def test_a_model_that_wants_to_answer_with_tuples(tiny_model, tmp_path, change, family):
    corpus = corpus_of({x: LINES[x] for x in ("en", "de")})
    folder = change(family, "config.json", return_dict=False)
    for stack in models.describe(folder).stacks:
        wanted = extract(corpus, tiny_model(family), out=tmp_path / "a", stack=stack)
        found = extract(corpus, folder, out=tmp_path / "b", stack=stack)
        np.testing.assert_array_equal(found.arrays[2], wanted.arrays[2])


def test_encoder_of_t5_alone(tiny_model, tmp_path):
    import transformers as tf

    folder = Path(shutil.copytree(tiny_model("mt5"), tmp_path / "alone"))
    tf.MT5EncoderModel.from_pretrained(folder).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["is_encoder_decoder"] is False
    info = models.describe(folder)
    assert info.stacks == ("encoder",)
    whole = models.describe(tiny_model("mt5"))
    assert models.work_per_subword(info, "encoder", [2]) == models.work_per_subword(whole, "encoder", [2])
    corpus = corpus_of({x: LINES[x] for x in ("en", "de")})
    wanted = extract(corpus, tiny_model("mt5"), out=tmp_path / "a")
    np.testing.assert_array_equal(extract(corpus, folder, out=tmp_path / "b").arrays[2], wanted.arrays[2])


def _other_model(folder: Path, kind: str, vocab_size: int) -> None:
    import transformers as tf

    if kind == "codegen":
        size = {"n_embd": WIDTH, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 64, "n_ctx": 64}
        model = tf.CodeGenModel(tf.CodeGenConfig(vocab_size=vocab_size, **size))
    elif kind == "rwkv":
        size = {"hidden_size": WIDTH, "num_hidden_layers": 2, "attention_hidden_size": WIDTH}
        model = tf.RwkvModel(tf.RwkvConfig(vocab_size=vocab_size, **size, intermediate_size=32))
    elif kind == "mpt":
        size = {"d_model": WIDTH, "n_layers": 2, "n_heads": 2, "max_seq_len": 32, "expansion_ratio": 2}
        model = tf.MptModel(tf.MptConfig(vocab_size=vocab_size, **size))
    else:
        size = {"d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2}
        size |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "attention_window": 8}
        limits = {"max_encoder_position_embeddings": 48, "max_decoder_position_embeddings": 24}
        model = tf.LEDModel(tf.LEDConfig(vocab_size=vocab_size, **size, **limits))
    model.save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "stack", "limit"),
    [
        *(("codegen", "decoder", 64), ("rwkv", "decoder", 1024), ("mpt", "decoder", 32)),
        *(("led", "encoder", 48), ("led", "decoder", 24)),
    ],
)
def test_models_without_a_padding_id_and_with_other_names_for_their_length(
    tiny_model, tmp_path, capfd, kind, stack, limit
):
    folder = Path(shutil.copytree(tiny_model("neox"), tmp_path / kind))
    (folder / "model.safetensors").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    _other_model(folder, kind, json.loads((folder / "config.json").read_text())["vocab_size"])
    loaded = models.load(folder, stack=stack)
    assert loaded.max_length == limit
    if kind != "led":  # its blocks are the concern of the families
        corpus = corpus_of({"en": [*LINES["en"], "old house " * 40]})
        states = extract(corpus, folder, out=tmp_path / "out")
        assert states.tokens["n_subwords"].to_list()[:3] == [1, 1, 5]
        assert "attention_mask" not in capfd.readouterr().err
