"""How a model is fine-tuned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from isogloss.arguments import (
    BatchSize,
    Decay,
    Distinct,
    Epochs,
    Evaluations,
    Length,
    PartShare,
    Rank,
    Rate,
    Scale,
    Text,
)
from isogloss.sections import Section


class LoraSettings(Section):
    """Low-rank adapters instead of all weights (Hu et al., *LoRA*, 2021); merged into the weights at the end."""

    rank: Rank = Field(default=8, description="rank of the update of a layer")
    alpha: Scale = Field(default=16, description="the update is scaled by alpha / rank")
    dropout: PartShare = Field(default=0, description="share of the adapter's input that is left out in training")
    targets: Annotated[tuple[Text, ...], Distinct(1)] | None = Field(
        default=None, description="names of the linear layers; default: those that peft knows for the model"
    )


class TrainingSettings(Section):
    """How long a model is trained, and how."""

    epochs: Epochs = Field(default=3, description="how often the training sentences are read; may be a part of one")
    rate: Rate = Field(
        default=5e-5, description="peak rate of AdamW; it rises over the warm-up and falls in a line to 0"
    )
    batch_size: BatchSize = Field(default=32, description="sentences in a batch")
    warmup: PartShare = Field(default=0.1, description="share of the steps in which the rate rises")
    weight_decay: Decay = Field(default=0.01, description="of AdamW")
    evaluations: Evaluations = Field(
        default=6,
        description="on the development data, evenly over the training; the best weights are kept, and a killed "
        "training goes on from the last one",
    )
    patience: Evaluations = Field(default=3, description="evaluations without a better score before training ends")
    max_length: Length = Field(default=128, description="subwords of a training sentence; longer ones are cut")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of the matrix products in training; weights, their updates and evaluation are float32 in any "
        "case. bfloat16 is for GPUs: on CPUs every width of a batch is compiled anew",
    )
    lora: LoraSettings | None = Field(
        default=None, description="train low-rank adapters in place of all weights, and merge them (extra `lora`)"
    )
