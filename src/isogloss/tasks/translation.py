"""Translation of one or several languages into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from isogloss.corpus import Corpus
from isogloss.errors import UsageError, unknown
from isogloss.metrics.task_scores import TaskScore, score_translations
from isogloss.models import Loaded, as_text, encode
from isogloss.tasks.batches import IGNORED, Example, in_batches, inputs, pad

_LONGER, _MORE = 1.5, 10  # a translation has at most 1.5 times the source's subwords, and 10


@dataclass(frozen=True)
class Translation:
    """Translation into the target language.

    Attributes
    ----------
    target : str
    """

    labels: tuple[str, ...]
    target: str
    head: ClassVar[str] = "translation"
    main: ClassVar[str] = "chrf"

    @classmethod
    def of(cls, corpus: Corpus, *, target: str | None = None) -> Translation:
        """Check that the corpus has the target and something to translate.

        Raises
        ------
        UsageError
            If the corpus is not parallel, or lacks the target or a second language.
        """
        if target is None:
            raise UsageError("Translation needs a target: the language to translate into.")
        if target not in corpus.languages:
            raise unknown("target", target, corpus.languages)
        if len(corpus.languages) < 2 or not corpus.parallel:
            raise UsageError("Translation needs parallel text in the target and another language.")
        return cls((), target)

    def check(self, corpus: Corpus) -> None:
        """Refuse a corpus without the target or anything to translate."""
        self.of(corpus, target=self.target)

    def languages(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the languages that are read."""
        return tuple(x for x in corpus.languages if x != self.target)

    def examples(self, model: Loaded, corpus: Corpus) -> list[Example]:
        """Return one example a sentence and source language."""
        self.check(corpus)
        numbers = corpus.sentences.select("language", "sentence", "text")
        into = numbers.filter(pl.col("language") == self.target).select("sentence", reference="text")
        examples: list[Example] = []
        for language in self.languages(corpus):
            pairs = numbers.filter(pl.col("language") == language).join(into, on="sentence", maintain_order="left")
            sources, references = pairs["text"].to_list(), pairs["reference"].to_list()
            read = encode(model, sources, language=language)
            written = self._targets(model, references)
            for x, (ids, cut), source, reference in zip(read, written, sources, references, strict=True):
                examples.append(
                    {
                        "input_ids": x.ids,
                        "labels": ids,
                        "n_labels": len(ids),
                        "source": source,
                        "reference": reference,
                        "language": language,
                        "cut": cut or bool(x.overflowing),
                    }
                )
        return examples

    def _targets(self, model: Loaded, texts: Sequence[str]) -> list[tuple[list[int], bool]]:
        """Return the ids of every line to be written, and whether it was cut."""
        limit: dict[str, Any] = {}
        if model.max_length is not None:
            limit = {"truncation": True, "max_length": model.max_length}
        end = model.tokenizer.eos_token_id
        rows = []
        for x in model.tokenizer(text_target=as_text(model, texts), **limit).encodings:
            whole = end is None or (x.ids and x.ids[-1] == end) or model.codes
            rows.append((x.ids if whole else [*x.ids, end], bool(x.overflowing)))
        return rows

    def collate(self, examples: Sequence[Example], *, pad_id: int) -> dict[str, Any]:
        """Return a padded batch; the module shifts the labels to make the decoder's inputs."""
        return inputs(examples, pad_id) | {"labels": pad([x["labels"] for x in examples], IGNORED)}

    def predict(self, model: Loaded, examples: Sequence[Example]) -> tuple[list[str], float]:
        """Return the greedy translation of every example, and the mean loss a target subword."""
        import torch

        translations = [""] * len(examples)
        total = n = 0.0
        options: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        module: Any = model.module
        # transformers makes as many places in the cache as the encoder has blocks
        if getattr(module.config, "num_decoder_layers", None) not in (None, module.config.num_hidden_layers):
            options["use_cache"] = False
        if model.codes:
            options["forced_bos_token_id"] = model.tokenizer.convert_tokens_to_ids(model.codes[self.target])
        for numbers, batch in in_batches(examples, self.collate, model):
            labels = batch.pop("labels")
            n_labels = int((labels != IGNORED).sum())
            longest = int(batch["input_ids"].shape[1] * _LONGER) + _MORE
            # the decoder's first subword is there from the start
            if model.max_length is not None:
                longest = min(longest, model.max_length - 1)
            with torch.inference_mode():
                total += float(module(**batch, labels=labels).loss) * n_labels
                written = module.generate(**batch, max_new_tokens=longest, **options)
            n += n_labels
            for text, i in zip(model.tokenizer.batch_decode(written, skip_special_tokens=True), numbers, strict=True):
                translations[i] = text
        return translations, total / n

    def loss_of(self, cut: Sequence[Example]) -> str:  # noqa: ARG002  one form for all tasks
        """Return what is lost of sentences that were cut."""
        return "the rest is not read"

    def score(self, examples: Sequence[Example], predicted: Sequence[Any], *, n_bootstrap: int) -> list[TaskScore]:
        """Return the scores of predictions."""
        return score_translations(
            [x["reference"] for x in examples],
            predicted,
            [x["source"] for x in examples],
            language=self.target,
            n_bootstrap=n_bootstrap,
        )

    def shuffled(self, corpus: Corpus, generator: np.random.Generator) -> Corpus:
        """Return the corpus with its target lines in any order: a control that teaches no translation."""
        table = corpus.sentences
        mine = (table["language"] == self.target).to_numpy()
        texts = table["text"].to_numpy().copy()
        texts[mine] = generator.permutation(texts[mine])
        return replace(corpus, sentences=table.with_columns(pl.Series("text", texts, dtype=pl.String)))
