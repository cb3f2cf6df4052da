"""`finetune` and `evaluate`: train a model for a task on some languages, and score it on any."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from isogloss.arguments import Draws, Seed, checked
from isogloss.corpus import Corpus
from isogloss.errors import InputError, UsageError, unknown
from isogloss.extraction.passes import sensible_threads
from isogloss.html import card, grid
from isogloss.models import (
    CURVE,
    Loaded,
    Lora,
    Training,
    describe,
    facts,
    lines_with_names,
    load_head,
    quiet_transformers,
    save_head,
    train_head,
)
from isogloss.store import digest, locked, make_folder, read_json, read_table, write_json, write_table
from isogloss.tasks.batches import Example
from isogloss.tasks.ner import Ner
from isogloss.tasks.sentiment import Sentiment
from isogloss.tasks.translation import Translation

log = logging.getLogger(__name__)

VERSION = 2  # raise it when training or its files change
Task = Ner | Sentiment | Translation
TASKS: dict[str, type[Ner] | type[Sentiment] | type[Translation]] = {
    "ner": Ner,
    "sentiment": Sentiment,
    "translation": Translation,
}
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


_RESULT = ("task", "labels", "target", "languages", "best_step", "dev_score")  # what task.json holds of it


@checked
@dataclass(frozen=True)
class FineTuned:
    """A model trained for a task.

    Attributes
    ----------
    folder : Path
        With ``model/`` (the hub's format), ``curve.parquet`` and ``task.json``.
    task : str
        ``"ner"``, ``"sentiment"`` or ``"translation"``.
    labels : tuple of str
        Of words or sentences; empty for translation.
    target : str or None
        Of translation.
    languages : tuple of str
        Those trained on (of translation: the sources).
    best_step : int
        The step whose weights were kept.
    dev_score : float
        Its score on the development data: entity F1, macro F1 or chrF.
    key : str
        Digest of base, data and settings.
    """

    folder: Path
    task: str
    labels: tuple[str, ...]
    target: str | None
    languages: tuple[str, ...]
    best_step: int
    dev_score: float
    key: str

    @property
    def model(self) -> Path:
        """The model's folder: give it to `isogloss.extract`."""
        return self.folder / "model"

    @property
    def curve(self) -> pl.DataFrame:
        """``step, epoch, loss, rate, dev_loss, dev_score`` of the training."""
        return read_table(self.folder / "curve.parquet", CURVE)

    @classmethod
    @checked
    def open(cls, folder: str | Path) -> FineTuned:
        """Open a folder that `finetune` has filled.

        Raises
        ------
        InputError
            If it has not.
        """
        whole = _told(Path(folder))
        if whole is None:
            raise InputError(f"{folder} has no finished fine-tuning: its task.json is missing or damaged.")
        found = {**whole["result"], "key": whole["key"]}
        listed = {name: tuple(found[name]) for name in ("labels", "languages")}
        return cls(folder=Path(folder), **{**found, **listed})

    def _repr_html_(self) -> str:
        facts = {
            "task": self.task,
            "labels": ", ".join(self.labels) or None,
            "into": self.target,
            "trained on": ", ".join(self.languages),
            "best step": self.best_step,
            "development score": f"{self.dev_score:.3f}",
        }
        curve = self.curve.fill_nan(None).drop_nulls("dev_score")
        columns = ["step", "epoch", "loss", "dev_loss", "dev_score"]
        return card("FineTuned", facts, grid(columns, curve.select(columns).iter_rows()))


@checked
def finetune(
    model: str | Path,
    task: str,
    *,
    train: Corpus,
    out: str | Path,
    dev: Corpus | None = None,
    target: str | None = None,
    settings: Training | None = None,
    lora: Lora | None = None,
    shuffled: bool = False,
    weights: Literal["pretrained", "random"] = "pretrained",
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
    dev : Corpus, optional
        For choosing the best weights; default: a tenth of the training sentences, which are then not trained on.
    target : str, optional
        Language to translate into.
    settings : Training, optional
        Length, rate and the like.
    lora : Lora, optional
        Train adapters, and merge them.
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
    settings, folder = settings or Training(), Path(out)
    kind = TASKS[task].of(train, target=target)
    key = digest(
        {
            "version": VERSION,
            "model": [describe(model, revision=revision).fingerprint, weights, dict(codes or {})],
            "task": [task, target, shuffled],
            "text": [train.file_digest, dev.file_digest if dev else None],
            "settings": [asdict(settings), asdict(lora) if lora else None, seed],
        }
    )
    if _is_done(folder, key):
        return FineTuned.open(folder)
    make_folder(folder)
    with locked(folder / ".lock"):
        _check_own(folder, model)
        (folder / f"checkpoints-{key}").mkdir(exist_ok=True)
        _sweep(folder, key)
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
            lora=lora,
        )
        limits = [x for x in (loaded.max_length, settings.max_length) if x is not None]
        short = replace(loaded, max_length=min(limits))
        examples, held_out = kind.examples(short, train), kind.examples(short, dev)
        if not held_out:
            raise InputError("The development data have no sentence with a label.")
        for corpus in (train, dev):
            _warn_of_names(loaded, corpus)
        both = [*examples, *held_out]
        _warn_of_cut(kind, both, "training and development", limit=short.max_length, model=loaded)

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
        if shuffled:
            best = best[-1:]
        best = best.sort("dev_score", descending=True, maintain_order=True)
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
                "training": {**asdict(settings), "lora": asdict(lora) if lora else None, "seed": seed},
                "shuffled": shuffled,
                "n_train": len(examples),
                "n_dev": len(held_out),
                "steps": curve["step"].max(),
                "base": {name: value for name, value in facts(loaded).items() if name != "attention"},
            },
        )
        _sweep(folder, "")
    return FineTuned.open(folder)


@checked
def evaluate(
    tuned: FineTuned, corpus: Corpus, *, n_bootstrap: Draws = 1000, device: str = "auto"
) -> pl.DataFrame:
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
        scores = kind.score(
            [examples[i] for i in mine], [predicted[i] for i in mine], n_bootstrap=n_bootstrap
        )
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


def _warn_of_cut(
    kind: Task, examples: Sequence[Example], what: str, *, limit: int | None, model: Loaded
) -> None:
    """Warn, language by language, of sentences whose end is not read: because of the model, or of the settings."""
    longest, way_out = f"the model's {limit} subwords", "use a model that reads more"
    if limit != model.max_length:
        longest, way_out = f"the {limit} subwords that max_length of the training allows", "raise max_length"
    for language in dict.fromkeys(example["language"] for example in examples):
        own = [example for example in examples if example["language"] == language]
        cut = [example for example in own if example["cut"]]
        if cut:
            log.warning(
                "%d of %d %s sentences of %s%s are longer than %s; %s. Split them, or %s.",
                len(cut),
                len(own),
                what,
                language,
                f" (or their lines in {kind.target})" if kind.target else "",
                longest,
                kind.loss_of(cut),
                way_out,
            )


def _is_done(folder: Path, key: str) -> bool:
    told = _told(folder)
    return told is not None and told["key"] == key and (folder / "model" / "config.json").is_file()


def _told(folder: Path) -> dict[str, Any] | None:
    """Return what ``task.json`` tells, or None where no fine-tuning has written it, or it is damaged."""
    try:
        whole: Any = read_json(folder / "task.json")
    except InputError:
        return None
    if not (
        isinstance(whole, dict)
        and isinstance(whole.get("key"), str)
        and isinstance(whole.get("result"), dict)
    ):
        return None
    return whole if set(_RESULT) <= whole["result"].keys() else None


def _check_own(folder: Path, model: str | Path) -> None:
    """Refuse a folder whose ``model`` is not from an earlier fine-tuning there, or is the one to begin from."""
    own = folder / "model"
    ours = _told(folder) is not None or _checkpoints(folder)
    if own.exists() and (not ours or Path(model).resolve() == own.resolve()):
        what = "the model to begin from" if ours else "not from a fine-tuning there"
        raise InputError(
            f"{own} would be replaced by the fine-tuned model, and is {what}. Choose another folder with out, or "
            "remove it."
        )


def _checkpoints(folder: Path) -> list[Path]:
    """Return the folders of checkpoints: of every key, 16 hex digits, one."""
    return [
        path for path in folder.glob("checkpoints-*") if re.fullmatch(r"checkpoints-[0-9a-f]{16}", path.name)
    ]


def _sweep(folder: Path, key: str) -> None:
    """Remove what other settings or an interrupted run left; keep the checkpoints of the run `key`."""
    for path in _checkpoints(folder):
        if path.name != f"checkpoints-{key}":
            shutil.rmtree(path)
    names = ["model.partial"]
    if key:
        (folder / "task.json").unlink(missing_ok=True)
        names.append("model")
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def _split(corpus: Corpus, generator: np.random.Generator) -> tuple[Corpus, Corpus]:
    """Set a tenth of the sentences aside."""
    numbers = generator.permutation(corpus.sentences["sentence"].unique().sort().to_numpy())
    n = max(1, len(numbers) // 10)
    if n == len(numbers):
        raise UsageError("One sentence cannot be both trained and judged on. Give more, or development data.")
    return corpus.restrict(sentences=numbers[n:].tolist()), corpus.restrict(sentences=numbers[:n].tolist())
