"""`finetune` and `evaluate`: train a model for a task on some languages, and score it on any."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isogloss.arguments import Draws, Seed, checked
from isogloss.corpus import Corpus
from isogloss.errors import InputError, UsageError, unknown
from isogloss.extraction.passes import sensible_threads
from isogloss.models import (
    Loaded,
    describe,
    facts,
    lines_with_names,
    load_head,
    quiet_transformers,
    save_head,
    train_head,
)
from isogloss.settings import TrainingSettings, Weights, takes
from isogloss.store import digest, locked, make_folder, write_json, write_table
from isogloss.tasks.batches import Example
from isogloss.tasks.finetuned import FineTuned, check_replaceable, is_done, sweep
from isogloss.tasks.ner import Ner
from isogloss.tasks.sentiment import Sentiment
from isogloss.tasks.translation import Translation

log = logging.getLogger(__name__)

VERSION = 2  # raise it when training or its files change
Task = Ner | Sentiment | Translation
TASKS: dict[str, type[Task]] = {"ner": Ner, "sentiment": Sentiment, "translation": Translation}
SCORES = {
    "language": pl.String,
    "metric": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "baseline": pl.Float64,
    "n": pl.Int64,
    "zero_shot": pl.Boolean,
}


@checked
@takes(TrainingSettings)
def finetune(
    model: str | Path,
    task: str,
    *,
    train: Corpus,
    out: str | Path,
    settings: TrainingSettings,
    dev: Corpus | None = None,
    target: str | None = None,
    shuffled: bool = False,
    weights: Weights = "pretrained",
    codes: Mapping[str, str] | None = None,
    revision: str | None = None,
    seed: Seed = 0,
    device: str = "auto",
) -> FineTuned:
    """Fine-tune a model on one or several languages; an interrupted run goes on from its last evaluation.

    Training is transformers' Trainer in float32: AdamW, the weights of the best evaluation on the development data.

    Parameters
    ----------
    model : str or Path
        A folder in the hub's format, or a hub id.
    task : {"ner", "sentiment", "translation"}
        ``"ner"``: word column ``ner`` (IOB2); a word's label stands at its first subword.  ``"sentiment"``: sentence
        column ``label``.  ``"translation"``: from every other language of a parallel corpus into `target`.
    train : Corpus
    out : str or Path
        Folder for the model; finished there with the same settings it is only opened.
    settings : TrainingSettings, optional
        All of these at once; what is given beside it differs.
    dev : Corpus, optional
        For choosing the best weights; default: a tenth of the training sentences, which are then not trained on.
    target : str, optional
        Language to translate into.
    shuffled : bool
        A control: labels (target lines) are dealt to any sentence before training, the development data's too.  It
        is trained to the end and keeps its last weights, since no score says which are best.
    weights : {"pretrained", "random"}
        ``"random"``: train from scratch.
    codes : mapping of str to str, optional
        Language -> code, for models that read codes.
    revision : str, optional
        Branch, tag or commit on the hub.
    seed : int
        Of a new head, the order of sentences, dropout, the development sentences and the shuffling.
    device : str

    Returns
    -------
    FineTuned

    Raises
    ------
    UsageError
        If the task is unknown or the corpus does not fit it.
    InputError
        If the model or the labels cannot be used.
    MissingExtraError
        If accelerate (or peft, sacrebleu) is not installed.

    Examples
    --------
    >>> import isogloss as ig
    >>> corpus = ig.Corpus.read({"en": "train.jsonl"})  # doctest: +SKIP
    >>> ner = ig.finetune("xlm-roberta-base", "ner", train=corpus, out="ner")  # doctest: +SKIP
    >>> ig.evaluate(ner, ig.Corpus.read({"de": "test.jsonl"}))  # doctest: +SKIP
    """
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    folder, kind = Path(out), TASKS[task].of(train, target=target)
    key = digest(
        {
            "version": VERSION,
            "model": [describe(model, revision=revision).fingerprint, weights, dict(codes or {})],
            "task": [task, target, shuffled],
            "text": [train.file_digest, dev.file_digest if dev else None],
            "settings": [settings.model_dump(), seed],
        }
    )
    if is_done(folder, key):
        return FineTuned.open(folder)
    make_folder(folder)
    with locked(folder / ".lock"):
        check_replaceable(folder, model)
        (folder / f"checkpoints-{key}").mkdir(exist_ok=True)
        sweep(folder, key)
        generator = np.random.default_rng(seed)
        if dev is None:
            train, dev = _split(train, generator)
        if shuffled:
            train, dev = (kind.shuffled(corpus, generator) for corpus in (train, dev))
        loaded = load_head(
            model,
            kind.head,
            labels=kind.labels,
            languages=kind.languages(train),
            target=target,
            codes=codes,
            device=device,
            revision=revision,
            weights=weights,
            seed=seed,
            lora=settings.lora,
        )
        limits = [x for x in (loaded.max_length, settings.max_length) if x is not None]
        short = replace(loaded, max_length=min(limits))
        examples, held_out = kind.examples(short, train), kind.examples(short, dev)
        if not held_out:
            raise InputError("The development data have no sentence with a label.")
        for corpus in (train, dev):
            _warn_of_names(loaded, corpus)
        _warn_of_cut(kind, [*examples, *held_out], "training and development", limit=short.max_length, model=loaded)

        def judge(trained: Any) -> dict[str, float]:
            with quiet_transformers():
                predicted, loss = kind.predict(trained, held_out)
            scores = {x.metric: x.score for x in kind.score(held_out, predicted, n_bootstrap=0)}
            return {"score": scores[kind.main], "loss": loss}

        with sensible_threads(loaded.device):
            curve = train_head(
                short,
                examples,
                lambda batch: kind.collate(batch, pad_id=loaded.pad_id),
                judge,
                settings,
                folder=folder / f"checkpoints-{key}",
                seed=seed,
                keep="last" if shuffled else "best",
            )
        save_head(loaded, folder / "model.partial")
        (folder / "model.partial").rename(folder / "model")
        write_table(folder / "curve.parquet", curve)
        best = curve.drop_nulls("dev_score")
        best = (best[-1:] if shuffled else best).sort("dev_score", descending=True, maintain_order=True)
        write_json(
            folder / "task.json",
            {
                "key": key,
                "result": {
                    "task": task,
                    "labels": kind.labels,
                    "target": target,
                    "languages": kind.languages(train),
                    "best_step": best["step"][0],
                    "dev_score": best["dev_score"][0],
                },
                "training": {**settings.model_dump(), "seed": seed},
                "shuffled": shuffled,
                "n_train": len(examples),
                "n_dev": len(held_out),
                "steps": curve["step"].max(),
                "base": {name: value for name, value in facts(loaded).items() if name != "attention"},
            },
        )
        sweep(folder, "")
    return FineTuned.open(folder)


@checked
def evaluate(tuned: FineTuned, corpus: Corpus, *, n_bootstrap: Draws = 1000, device: str = "auto") -> pl.DataFrame:
    """Return the scores of a fine-tuned model, language by language.

    Parameters
    ----------
    tuned : FineTuned
    corpus : Corpus
        With labels, or for translation with the target; languages never trained on are zero-shot.
    n_bootstrap : int
        Resamples of sentences for the intervals.
    device : str

    Returns
    -------
    polars.DataFrame
        ``language, metric, score, ci_low, ci_high, baseline, n, zero_shot``; see `isogloss.metrics.task_scores`.

    Raises
    ------
    InputError
        If no sentence has a label.
    """
    kind = TASKS[tuned.task](tuned.labels, tuned.target)  # type: ignore[arg-type]
    languages = kind.languages(corpus)
    model = load_head(tuned.model, kind.head, languages=languages, target=tuned.target, device=device)
    examples = kind.examples(model, corpus)
    if not examples:
        raise InputError("The test data have no sentence with a label.")
    _warn_of_names(model, corpus)
    _warn_of_cut(kind, examples, "test", limit=model.max_length, model=model)
    with quiet_transformers(), sensible_threads(model.device):
        predicted, _ = kind.predict(model, examples)
    rows = []
    for language in languages:
        mine = [i for i, example in enumerate(examples) if example["language"] == language]
        if not mine:
            raise InputError(f"The test data of {language} have no sentence with a label.")
        scores = kind.score([examples[i] for i in mine], [predicted[i] for i in mine], n_bootstrap=n_bootstrap)
        zero_shot = language not in tuned.languages
        rows += [{"language": language, "zero_shot": zero_shot, **vars(score)} for score in scores]
    return pl.DataFrame(rows, schema=SCORES)


def _warn_of_names(model: Loaded, corpus: Corpus) -> None:
    """Warn, language by language, of lines that hold what the model would take for more than text."""
    for language in corpus.languages:
        texts = corpus.texts(language)
        n, name = lines_with_names(model, texts)
        if n:
            log.warning(
                "%d of %d lines of %s hold names of the model's special subwords, such as '%s'; they are read as text.",
                n,
                len(texts),
                language,
                name,
            )


def _warn_of_cut(kind: Task, examples: Sequence[Example], what: str, *, limit: int | None, model: Loaded) -> None:
    """Warn, language by language, of sentences whose end is not read: because of the model, or of the settings."""
    longest, way_out = f"the model's {limit} subwords", "use a model that reads more"
    if limit != model.max_length:
        longest, way_out = f"the {limit} subwords that max_length of the training allows", "raise max_length"
    for language in dict.fromkeys(example["language"] for example in examples):
        of_language = [example for example in examples if example["language"] == language]
        cut = [example for example in of_language if example["cut"]]
        if cut:
            log.warning(
                "%d of %d %s sentences of %s%s are longer than %s; %s. Split them, or %s.",
                len(cut),
                len(of_language),
                what,
                language,
                f" (or their lines in {kind.target})" if kind.target else "",
                longest,
                kind.loss_of(cut),
                way_out,
            )


def _split(corpus: Corpus, generator: np.random.Generator) -> tuple[Corpus, Corpus]:
    """Set a tenth of the sentences aside."""
    numbers = generator.permutation(corpus.sentences["sentence"].unique().sort().to_numpy())
    n = max(1, len(numbers) // 10)
    if n == len(numbers):
        raise UsageError("One sentence cannot be both trained and judged on. Give more, or development data.")
    return corpus.restrict(sentences=numbers[n:].tolist()), corpus.restrict(sentences=numbers[:n].tolist())
