"""What decides the states of a corpus, beside the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from isogloss.arguments import Distinct, Layer, Text
from isogloss.sections import Section

Pooling = Literal["mean", "last", "first"]
Sentences = Literal["mean", "cls", "last"]
Storage = Literal["float16", "float32"]
Compute = Literal["auto", "float32", "bfloat16", "float16"]
LastLayer = Literal["normed", "raw"]
Weights = Literal["pretrained", "random"]


class ExtractionSettings(Section):
    """How states are made of sentences."""

    layers: Literal["all"] | Annotated[tuple[Layer, ...], Distinct(1)] = Field(
        default="all", description="0 is the embedding output, l the output of block l, up to the model's last"
    )
    pooling: Pooling = Field(
        default="mean", description="how the states of a word's subwords become one; computed in float32"
    )
    sentences: Annotated[tuple[Sentences, ...], Distinct()] = Field(
        default=("mean",),
        description="states of whole sentences, written in the same pass: the mean or the last of the subwords that "
        "are text (special ones and the prefix are not), or the first subword of all, `[CLS]` or `<s>`",
    )
    dtype: Storage = Field(default="float16", description="number type of the files")
    compute: Compute = Field(
        default="auto",
        description="number type of the forward pass; auto: float32 on a CPU, on a GPU the type that the weights are "
        "stored in",
    )
    last_layer: LastLayer = Field(
        default="normed",
        description="the last layer after the model's final norm, as transformers' `hidden_states[-1]`, or before it, "
        "as the other layers are: in T5-, mBART-, Llama-, Qwen-, Gemma-, BLOOM- or GPT-NeoX-like models a curve over "
        "layers jumps at a normed one. The same in models without such a norm (BERT- and RoBERTa-like)",
    )
    prefix: str = Field(
        default="",
        description="text put before every sentence, such as an instruction; its states are not kept. An "
        "encoder-decoder reads it with its encoder",
    )
    weights: Weights = Field(
        default="pretrained",
        description="with random weights: the same architecture before any training, always with the same numbers, a "
        "control; give it a name of its own",
    )
    language_codes: dict[Text, Text] = Field(
        default_factory=dict,
        description="language -> code such as `deu_Latn`, for models that read one beside every sentence (mBART, "
        "NLLB), where the language's label does not tell it",
    )
    condition: dict[Text, Text] | None = Field(
        default=None,
        description="for the decoder of an encoder-decoder: language -> language that the encoder reads meanwhile. "
        "Default: the first language for all others, the second for the first; a single language conditions itself",
    )
