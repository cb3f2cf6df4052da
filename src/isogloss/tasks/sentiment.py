"""Sentiment, or any other label of a whole sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from isogloss.corpus import Corpus
from isogloss.errors import InputError
from isogloss.metrics.task_scores import TaskScore, score_classes
from isogloss.models import Loaded, encode
from isogloss.tasks.batches import Example, in_batches, inputs


@dataclass(frozen=True)
class Sentiment:
    """Classification of sentences.

    Attributes
    ----------
    labels : tuple of str
        In alphabetical order.
    """

    labels: tuple[str, ...]
    target: str | None = None
    head: ClassVar[str] = "sentences"
    main: ClassVar[str] = "macro_f1"

    @classmethod
    def of(cls, corpus: Corpus, *, target: str | None = None) -> Sentiment:  # noqa: ARG003  one form for all tasks
        """Take the labels from a corpus with a sentence column ``label``."""
        _check(corpus)
        labels = corpus.sentences["label"].drop_nulls().unique().sort().to_list()
        if len(labels) < 2:
            raise InputError(f"Sentiment needs two labels at least; the training data have {labels}.")
        return cls(tuple(labels))

    def check(self, corpus: Corpus) -> None:
        """Refuse a corpus without labels, or with others than the training data's."""
        _check(corpus)
        strange = corpus.sentences.drop_nulls("label").filter(~pl.col("label").is_in(self.labels))
        if strange.height:
            row = strange.row(0, named=True)
            raise InputError(
                f"The label '{row['label']}' of {row['language']} is not among those trained on: "
                f"{', '.join(self.labels)}. Map it to one of them, or leave the label of these sentences null."
            )

    def languages(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the languages that are read."""
        return corpus.languages

    def examples(self, model: Loaded, corpus: Corpus) -> list[Example]:
        """Return one example a labelled sentence."""
        self.check(corpus)
        number = {label: i for i, label in enumerate(self.labels)}
        examples: list[Example] = []
        for language in corpus.languages:
            labelled = corpus.sentences.filter(pl.col("language") == language).drop_nulls("label")
            encodings = encode(model, labelled["text"].to_list(), language=language) if labelled.height else []
            examples += [
                {"input_ids": x.ids, "label": number[label], "language": language, "cut": bool(x.overflowing)}
                for x, label in zip(encodings, labelled["label"].to_list(), strict=True)
            ]
        return examples

    def collate(self, examples: Sequence[Example], *, pad_id: int) -> dict[str, Any]:
        """Return a padded batch."""
        import torch

        return inputs(examples, pad_id) | {"labels": torch.tensor([x["label"] for x in examples])}

    def predict(self, model: Loaded, examples: Sequence[Example]) -> tuple[list[str], float]:
        """Return the label of every example, and the mean loss."""
        import torch

        labels = [""] * len(examples)
        total = 0.0
        for numbers, batch in in_batches(examples, self.collate, model):
            with torch.inference_mode():
                output = model.module(**batch)
            total += float(output.loss) * len(numbers)
            for best, i in zip(output.logits.argmax(dim=-1).tolist(), numbers, strict=True):
                labels[i] = self.labels[best]
        return labels, total / len(examples)

    def loss_of(self, cut: Sequence[Example]) -> str:  # noqa: ARG002  one form for all tasks
        """Return what is lost of sentences that were cut."""
        return "the rest is not read"

    def score(self, examples: Sequence[Example], predicted: Sequence[Any], *, n_bootstrap: int) -> list[TaskScore]:
        """Return the scores of predictions."""
        return score_classes([self.labels[x["label"]] for x in examples], predicted, n_bootstrap=n_bootstrap)

    def shuffled(self, corpus: Corpus, generator: np.random.Generator) -> Corpus:
        """Return the corpus with its labels dealt to any sentence: a control that teaches no sentiment."""
        labels = generator.permutation(corpus.sentences["label"].to_numpy())
        return replace(corpus, sentences=corpus.sentences.with_columns(pl.Series("label", labels, dtype=pl.String)))


def _check(corpus: Corpus) -> None:
    if "label" not in corpus.sentences.columns:
        raise InputError("There are no labels. Give JSONL or TSV with a field 'label', or a data set with 'label'.")
