"""Named entities: a label for every word, at the first subword that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from isogloss.corpus import Corpus
from isogloss.corpus.tags import is_iob2
from isogloss.errors import InputError
from isogloss.extraction.subwords import lines_of, tokenise
from isogloss.metrics.task_scores import TaskScore, score_entities
from isogloss.models import Loaded
from isogloss.tasks.batches import IGNORED, Example, in_batches, inputs, pad

_WINDOW = 4096  # lines tokenised at a time


@dataclass(frozen=True)
class Ner:
    """Named entity recognition.

    Attributes
    ----------
    labels : tuple of str
        IOB2 tags, ``"O"`` first.
    """

    labels: tuple[str, ...]
    target: str | None = None
    head: ClassVar[str] = "tokens"
    main: ClassVar[str] = "f1"

    @classmethod
    def of(cls, corpus: Corpus, *, target: str | None = None) -> Ner:  # noqa: ARG003  one form for all tasks
        """Take the labels from a corpus with a word column ``ner``."""
        check_tags(corpus)
        tags = corpus.words["ner"].drop_nulls().unique().to_list()
        kinds = sorted({tag[2:] for tag in tags if tag != "O"})
        if not kinds:
            raise InputError("The training data have no entity: every tag is O.")
        return cls(("O", *(f"{mark}-{kind}" for kind in kinds for mark in "BI")))

    def check(self, corpus: Corpus) -> None:
        """Refuse a corpus without tags, or with others than IOB2."""
        check_tags(corpus)

    def languages(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the languages that are read."""
        return corpus.languages

    def examples(self, model: Loaded, corpus: Corpus) -> list[Example]:
        """Return one example a sentence; a word whose tag the training data lacked counts as O in training only."""
        check_tags(corpus)
        number = {label: i for i, label in enumerate(self.labels)}
        lines = lines_of(corpus, {})
        tags = corpus.words["ner"].to_list()
        languages = corpus.sentences["language"].to_list()
        examples: list[Example] = []
        for begin in range(0, len(lines), _WINDOW):
            window = range(begin, min(begin + _WINDOW, len(lines)))
            subwords = tokenise(lines, window, model)
            cut = set(subwords.cut)
            for i, line in enumerate(window):
                low, high = (int(x) for x in lines.bounds[line : line + 2])
                of_words = tags[low:high]
                # not annotated
                if high == low or None in of_words:
                    continue
                read = subwords.line(i)
                words, places = np.unique(read.owners, return_index=True)
                firsts = np.full(high - low, -1)
                firsts[words[words >= 0] - low] = places[words >= 0]
                labels = np.full(len(read.ids), IGNORED)
                seen = np.flatnonzero(firsts >= 0)
                labels[firsts[seen]] = [number.get(of_words[k], 0) for k in seen]
                examples.append(
                    {
                        "input_ids": read.ids.tolist(),
                        "labels": labels.tolist(),
                        "firsts": firsts,
                        "tags": of_words,
                        "language": languages[line],
                        "cut": i in cut,
                    }
                )
        return examples

    def collate(self, examples: Sequence[Example], *, pad_id: int) -> dict[str, Any]:
        """Return a padded batch."""
        return inputs(examples, pad_id) | {"labels": pad([x["labels"] for x in examples], IGNORED)}

    def predict(self, model: Loaded, examples: Sequence[Example]) -> tuple[list[list[str]], float]:
        """Return the tags of every example's words, and the mean loss; a word that no subword belongs to is O."""
        import torch

        tags: list[list[str]] = [[] for _ in examples]
        total = n = 0.0
        for numbers, batch in in_batches(examples, self.collate, model):
            with torch.inference_mode():
                output = model.module(**batch)
            n_labels = int((batch["labels"] != IGNORED).sum())
            if n_labels:
                total, n = total + float(output.loss) * n_labels, n + n_labels
            best = output.logits.argmax(dim=-1).cpu().numpy()
            for row, i in zip(best, numbers, strict=True):
                tags[i] = [self.labels[row[k]] if k >= 0 else "O" for k in examples[i]["firsts"]]
        return tags, total / n if n else float("nan")

    def loss_of(self, cut: Sequence[Example]) -> str:
        """Return what is lost of sentences that were cut."""
        n = sum(int((x["firsts"] < 0).sum()) for x in cut)
        return f"{n} of their words got no subword and count as O"

    def score(self, examples: Sequence[Example], predicted: Sequence[Any], *, n_bootstrap: int) -> list[TaskScore]:
        """Return the scores of predictions."""
        return score_entities([x["tags"] for x in examples], predicted, n_bootstrap=n_bootstrap)

    def shuffled(self, corpus: Corpus, generator: np.random.Generator) -> Corpus:
        """Return the corpus with its tags dealt to any annotated words: a control that teaches no entity."""
        tags = corpus.words["ner"].to_numpy().copy()
        annotated = corpus.words["ner"].is_not_null().to_numpy()
        tags[annotated] = generator.permutation(tags[annotated])
        return replace(corpus, words=corpus.words.with_columns(pl.Series("ner", tags.tolist(), dtype=pl.String)))


def check_tags(corpus: Corpus) -> None:
    """Refuse a corpus without tags, or with others than IOB2, which readers make of every scheme they know."""
    if "ner" not in corpus.words.columns:
        raise InputError(
            "There are no entity tags. Give CoNLL columns with a column 'ner', or JSONL with 'tokens' and 'ner_tags'."
        )
    tags = corpus.words["ner"].drop_nulls()
    odd = [tag for tag in tags.unique(maintain_order=True) if not is_iob2(str(tag))]
    if odd:
        tagged = corpus.words.filter(pl.col("ner") == odd[0])
        word, language, sentence = tagged.select("word", "language", "sentence").row(0)
        raise InputError(
            f"The entity tag '{odd[0]}' of '{word}' ({language}, sentence {sentence}) is not IOB2: O, B-PER and I-PER. "
            "Corpus.read makes IOB2 of other schemes; read the files again if it was made before that."
        )
