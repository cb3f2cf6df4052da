"""Tiny random models in the hub's folder format, with tokenizers written by hand, and corpora for them.

Nothing is trained: a tokenizer trained on the fly differs from process to process.  Vocabularies are fixed lists.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.corpus import SENTENCE_COLUMNS, WORD_COLUMNS, Corpus

FAMILIES = (
    *("bert", "roberta", "xlmr", "distilbert", "electra", "deberta", "albert"),
    *("t5", "mt5", "mbart", "nllb"),
    *("llama", "qwen", "gemma", "neox", "bloom"),
)
# read otherwise than the rest: padding has a say, or the blocks pad inside
ODD = ("convbert", "longformer")
ENCODERS, SEQ2SEQ = FAMILIES[:7], FAMILIES[7:11]
WIDTH = 16
CODES = {  # what these families call the languages
    "mbart": {"en": "en_XX", "de": "de_DE", "zh": "zh_CN", "ar": "ar_AR", "ja": "ja_XX", "th": "vi_VN"},
    "nllb": {
        "en": "eng_Latn",
        "de": "deu_Latn",
        "zh": "zho_Hans",
        "ar": "arb_Arab",
        "ja": "jpn_Jpan",
        "th": "tha_Thai",
    },
}
LIMIT = 40  # subwords in a sequence, special ones included, where a family has a limit

_WORDS = ["the", "old", "house", "river", "green", "water", "city", "das", "alte", "haus", "fluss", "stadt"]
_LETTERS = list(dict.fromkeys("abcdefghijklmnopqrstuvwxyzäöüß.,!?0123456789我们在老房子里看书القطفيبت古い家บ้านเก่า"))


def make(family: str, folder: Path) -> Path:
    """Write the tiny model of a family, and return its folder."""
    import torch

    folder.mkdir(parents=True)
    limit = {"model_max_length": LIMIT} if family in (*ENCODERS, *ODD, "t5", "mbart", "nllb") else {}
    if family in CODES:  # tokenizers with a class of their own, which sets the language's code
        whole = _with_codes(family, **limit)
        whole.save_pretrained(folder)
        tokenizer = whole.backend_tokenizer
    else:
        tokenizer, special = _TOKENIZERS[family]()
        tokenizer.save(str(folder / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special, **limit}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = _model(family, tokenizer)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)  # the usual 0.02 would make all layers alike
        model.save_pretrained(folder)
    return folder


def _model(family: str, tokenizer: Any) -> Any:
    import transformers as tf

    size = {"vocab_size": tokenizer.get_vocab_size(), "hidden_size": WIDTH, "intermediate_size": 32}
    size |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    if family == "bert":
        return tf.BertModel(tf.BertConfig(**size, max_position_embeddings=LIMIT + 10))
    if family == "roberta":
        return tf.RobertaModel(tf.RobertaConfig(**size, max_position_embeddings=LIMIT + 2, pad_token_id=1))
    if family == "convbert":
        return tf.ConvBertModel(
            tf.ConvBertConfig(**size, max_position_embeddings=LIMIT + 10, embedding_size=WIDTH, head_ratio=1)
        )
    if family == "longformer":
        positions = {"max_position_embeddings": LIMIT + 10, "pad_token_id": 1, "attention_window": 8}
        return tf.LongformerModel(tf.LongformerConfig(**size, **positions))
    if family == "xlmr":  # two of its positions belong to padding
        return tf.XLMRobertaModel(tf.XLMRobertaConfig(**size, max_position_embeddings=LIMIT + 2, pad_token_id=1))
    if family in ("t5", "mt5"):
        config = {"vocab_size": size["vocab_size"], "d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_heads": 2}
        config |= {"num_layers": 2, "num_decoder_layers": 3, "pad_token_id": 0, "eos_token_id": 1}
        config |= {"decoder_start_token_id": 0}
        return tf.T5Model(tf.T5Config(**config)) if family == "t5" else tf.MT5Model(tf.MT5Config(**config))
    positions = {"max_position_embeddings": LIMIT + 10}
    if family == "distilbert":
        names = {"dim": WIDTH, "hidden_dim": 32, "n_layers": 2, "n_heads": 2}
        return tf.DistilBertModel(tf.DistilBertConfig(vocab_size=size["vocab_size"], **names, **positions))
    if family == "electra":
        return tf.ElectraModel(tf.ElectraConfig(**size, **positions, embedding_size=8))
    if family == "deberta":
        relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
        return tf.DebertaV2Model(tf.DebertaV2Config(**size, **positions, **relative, norm_rel_ebd="layer_norm"))
    if family == "albert":  # one block, used twice
        return tf.AlbertModel(tf.AlbertConfig(**size, **positions, embedding_size=8))
    if family in CODES:
        blocks = {"encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": WIDTH}
        ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
        settings = {"vocab_size": size["vocab_size"], **blocks, **heads, **ids, **positions}
        if family == "nllb":
            return tf.M2M100Model(tf.M2M100Config(**settings))
        return tf.MBartModel(tf.MBartConfig(**settings))
    if family == "neox":
        return tf.GPTNeoXModel(tf.GPTNeoXConfig(**size, max_position_embeddings=256))
    if family == "bloom":
        return tf.BloomModel(tf.BloomConfig(vocab_size=size["vocab_size"], hidden_size=WIDTH, n_layer=2, n_head=2))
    decoder = {**size, "num_key_value_heads": 1, "max_position_embeddings": 256, "head_dim": 8}
    if family == "llama":
        return tf.LlamaModel(tf.LlamaConfig(**decoder))
    if family == "qwen":
        return tf.Qwen3Model(tf.Qwen3Config(**decoder))
    return tf.Gemma3TextModel(tf.Gemma3TextConfig(**decoder, sliding_window=64))


def _wordpiece() -> tuple[Any, dict[str, str]]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *_WORDS, *_LETTERS, *(f"##{x}" for x in (*_LETTERS, "ing", "ung"))]
    tokenizer = Tokenizer(models.WordPiece({x: i for i, x in enumerate(dict.fromkeys(pieces))}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(special)
    around = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return tokenizer, dict(zip(names, special, strict=True))


def _unigram(special: list[str], template: str, names: dict[str, str]) -> tuple[Any, dict[str, str]]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = [*special, "▁", *(f"▁{x}" for x in _WORDS), "我们", *_WORDS, *_LETTERS]
    scores = [0.0] * len(special) + [-float(i) / 10 for i in range(len(pieces) - len(special))]
    vocabulary = list(zip(pieces, scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=special.index("<unk>")))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(special)
    around = [(x, special.index(x)) for x in special if x in template]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=around)
    return tokenizer, names


def _xlmr() -> tuple[Any, dict[str, str]]:
    names = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "eos_token": "</s>"}
    return _unigram(["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>", {**names, "unk_token": "<unk>"})


def _deberta() -> tuple[Any, dict[str, str]]:
    names = {"cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]", "eos_token": "[SEP]"}
    return _unigram(["[PAD]", "[CLS]", "[SEP]", "<unk>"], "[CLS] $A [SEP]", {**names, "unk_token": "<unk>"})


def _roberta() -> tuple[Any, dict[str, str]]:
    tokenizer, _ = _byte_level(False, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    from tokenizers import processors

    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    names = {"cls_token": "<s>", "bos_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>"}
    return tokenizer, {**names, "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


def _with_codes(family: str, **settings: Any) -> Any:
    import transformers as tf

    names = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = list(dict.fromkeys([*names, "▁", *_LETTERS, *(f"▁{x}" for x in _LETTERS)]))
    if family == "mbart":  # its codes are in its class
        return tf.MBartTokenizer(vocab=[(x, -float(i)) for i, x in enumerate(pieces)], **settings)
    vocabulary = {x: i for i, x in enumerate(pieces)}
    codes = [*CODES["nllb"].values(), "fra_Latn"]
    return tf.NllbTokenizer(vocab=vocabulary, merges=[("▁", "o")], extra_special_tokens=codes, **settings)


def _t5() -> tuple[Any, dict[str, str]]:
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return _unigram(["<pad>", "</s>", "<unk>"], "$A </s>", names)


def _byte_level(begin: bool, special: Sequence[str] = ("<|begin|>", "<|end|>")) -> tuple[Any, dict[str, str]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("o", "l"), ("ol", "d"), ("Ġ", "old"), ("Ġ", "h")]
    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({x: i for i, x in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(list(special))
    if begin:
        template = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
        return tokenizer, {"bos_token": "<|begin|>", "eos_token": "<|end|>"}  # Llama has no padding token
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {"eos_token": "<|end|>", "pad_token": "<|end|>"}


def _gemma() -> tuple[Any, dict[str, str]]:
    from tokenizers import Tokenizer, models, normalizers, processors

    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("o", "l"), ("ol", "d")]
    pieces = [*special, *(f"<0x{i:02X}>" for i in range(256)), "▁", *_LETTERS, *(a + b for a, b in merges)]
    vocabulary = {x: i for i, x in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    return tokenizer, names


_TOKENIZERS = {
    "bert": _wordpiece,
    "xlmr": _xlmr,
    "distilbert": _wordpiece,
    "electra": _wordpiece,
    "deberta": _deberta,
    "roberta": _roberta,
    "convbert": _wordpiece,
    "longformer": _roberta,
    "albert": _wordpiece,
    "neox": lambda: _byte_level(False),
    "bloom": lambda: _byte_level(False),
    "t5": _t5,
    "mt5": _t5,
    "llama": lambda: _byte_level(True),
    "qwen": lambda: _byte_level(False),
    "gemma": _gemma,
}


LINES = {
    "en": ["the old house", "a😀b the green river .", "water", "a\u200bb \u200b the dog", "the unknown city, old"],
    "de": ["das alte haus", "der fluss ist grün .", "wasser", "öde stadt", "die unbekannte stadt| in zwölf"],
    "zh": ["我们|在|老|房子|里", "我们|看书", "水 x", "老|房子|里|看书", "里|我|们"],
    "ar": ["القط في البيت", "البيت", "في بيت قط", "قط 12", "في|البيت"],
    "ja": ["古い|家", "家", "い 家|家", "古い|家|12", "👩\u200d👧|家"],
    "th": ["บ้าน|เก่า", "เก่า", "บ้าน เก่า", "บ้าน|12", "ก้า|บ่"],
}


def corpus_of(lines: dict[str, list[str]]) -> Corpus:
    """Return a corpus whose words are separated by spaces or by ``|``, which is not part of the text."""
    sentences, words = [], []
    for language, marked in lines.items():
        for number, line in enumerate(marked):
            text = line.replace("|", "")
            sentences.append((language, number, text))
            at = 0
            for position, word in enumerate(x for x in line.replace("|", " ").split(" ") if x):
                start = text.index(word, at)
                at = start + len(word)
                words.append((len(words), language, number, position, word, start, at))
    tables = (
        pl.DataFrame(sentences, schema=SENTENCE_COLUMNS, orient="row"),
        pl.DataFrame(words, schema=WORD_COLUMNS, orient="row"),
    )
    return Corpus(*tables, tuple(lines))


def covers(span, word):
    """Return whether two spans have characters in common."""
    return min(span[1], word[1]) > max(span[0], word[0])


def naive_owner(span, words):
    """Return the index of the word that shares most characters with a span, the first on ties, or None."""
    shared = [min(span[1], end) - max(span[0], start) for start, end in words]
    return shared.index(max(shared)) if words and span[1] > span[0] and max(shared) > 0 else None
