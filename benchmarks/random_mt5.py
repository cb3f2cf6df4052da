"""Make a small mT5 with random weights and a tokenizer of given text: the base of examples/finetune-translation.yaml.

python benchmarks/random_mt5.py train.en.txt.gz train.de.txt.gz --out mt5-random
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import MT5Config, MT5ForConditionalGeneration, PreTrainedTokenizerFast

from isogloss.store import read_lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="one sentence a line; .gz is unpacked")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3, help="of either stack")
    parser.add_argument("--pieces", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    special = ["<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    lines = (line for path in given.files for line in read_lines(path) if line)
    tokenizer.train_from_iterator(
        lines, trainers.UnigramTrainer(vocab_size=given.pieces, special_tokens=special, unk_token="<unk>")
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(given.out)

    torch.manual_seed(given.seed)
    model = MT5ForConditionalGeneration(
        MT5Config(
            vocab_size=given.pieces,
            d_model=given.width,
            d_kv=64,
            num_heads=given.width // 64,
            d_ff=2 * given.width,
            num_layers=given.layers,
            num_decoder_layers=given.layers,
            dropout_rate=0.1,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
            tie_word_embeddings=True,
        )
    )
    with torch.no_grad():  # mT5's own scale, 1, begins at a loss of over 100 where embeddings are tied
        model.get_input_embeddings().weight.mul_(given.width**-0.5)
        # mT5 makes queries eight times smaller than keys, for it does not divide products by eight; begun so,
        # a small model looks nowhere for thousands of steps.  The product's scale is kept, and shared by both.
        for name, weight in model.named_parameters():
            if name.endswith((".q.weight", ".k.weight")):
                weight.normal_(std=(given.width * 64**0.5) ** -0.5)
    model.save_pretrained(given.out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters: {given.out}")


if __name__ == "__main__":
    main()
