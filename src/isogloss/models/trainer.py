"""One training run of a model with a head: transformers' Trainer, with our scores; it resumes at an evaluation."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.errors import InputError, MissingExtraError
from isogloss.models.loading import Loaded
from isogloss.models.sources import quiet_transformers
from isogloss.progress import progress
from isogloss.settings import TrainingSettings

log = logging.getLogger(__name__)

_NUMBERS = ("epoch", "loss", "rate", "dev_loss", "dev_score")
CURVE: dict[str, type[pl.DataType]] = {"step": pl.Int64, **dict.fromkeys(_NUMBERS, pl.Float64)}


def train_head(
    model: Loaded,
    examples: Sequence[Mapping[str, Any]],
    collate: Callable[[Sequence[Any]], Mapping[str, Any]],
    judge: Callable[[Loaded], Mapping[str, float]],
    settings: TrainingSettings,
    *,
    folder: Path,
    seed: int = 0,
    keep: Literal["best", "last"] = "best",
) -> pl.DataFrame:
    """Train in place; an interrupted run goes on in its folder.

    Parameters
    ----------
    model : Loaded
        From `load_head`; its module holds the weights that are kept afterwards.
    examples : sequence of mappings
        With ``input_ids`` and what `collate` reads.
    collate : callable
        Examples -> what the module takes, ``labels`` included.
    judge : callable
        The model in evaluation mode -> ``{"score": ..., "loss": ...}`` on the development data; higher scores are
        better.
    settings : TrainingSettings
    folder : Path
        For checkpoints.
    seed : int
        Of the order of the examples and of dropout.
    keep : {"best", "last"}
        The weights with the best score, ending early without a better one; or the last ones of the whole training.

    Returns
    -------
    polars.DataFrame
        ``step, epoch, loss, rate, dev_loss, dev_score``, a row a logged step or evaluation.

    Raises
    ------
    MissingExtraError
        If accelerate is not installed.
    InputError
        If there are no examples, or the loss is not a number.
    """
    try:
        import accelerate  # type: ignore[import-untyped]  # noqa: F401  Trainer imports it late, with its own error
    except ImportError:
        raise MissingExtraError("accelerate", "finetune", "Fine-tuning") from None
    from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    if not examples:
        raise InputError("There is nothing to train on: no sentence of the training data has a label.")
    steps = max(1, round(settings.epochs * len(examples) / settings.batch_size))
    lengths = np.array([len(example["input_ids"]) for example in examples])
    order = training_order(lengths, settings.batch_size, steps, np.random.default_rng(seed))
    every = max(1, -(-steps // settings.evaluations))

    class _Judged(Trainer):  # type: ignore[misc]  # untyped
        control: Any

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            self.model.eval()
            scores = {f"eval_{name}": float(value) for name, value in judge(model).items()}
            self.log(scores)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
            return scores

    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.rate,
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        lr_scheduler_type="linear",
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=keep == "best",
        metric_for_best_model="score",
        greater_is_better=True,
        logging_strategy="steps",
        logging_steps=max(1, every // 10),
        logging_nan_inf_filter=False,
        # the order is ours: the Trainer's others cannot go on in the middle of an epoch
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        bf16=settings.precision == "bfloat16",
        use_cpu=model.device == "cpu",
        dataloader_pin_memory=model.device != "cpu",
        seed=seed,
        data_seed=seed,
    )
    with progress(f"training {folder.parent.name}", steps) as advance, quiet_transformers():

        class _Advance(TrainerCallback):  # type: ignore[misc]  # untyped
            def on_step_end(self, *_: Any, **__: Any) -> None:
                advance(1)

        trainer = _Judged(
            model=model.module,
            args=arguments,
            train_dataset=[examples[i] for i in order],
            # the judge has its own data
            eval_dataset=[],
            data_collator=collate,
            callbacks=[_Advance(), *([EarlyStoppingCallback(settings.patience)] if keep == "best" else [])],
        )
        trainer.remove_callback(PrinterCallback)
        last = _last_checkpoint(folder)
        if last is not None:
            log.info("going on from %s", last)
            advance(int(last.name.split("-")[-1]))
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        model.module.eval()
        curve = _curve(trainer.state.log_history, settings.batch_size / len(examples))
    if curve["loss"].is_nan().any():
        raise InputError(f"The loss became NaN in training (rate {settings.rate:g}). Give a lower rate.")
    return curve


def training_order(
    lengths: npt.NDArray[np.int64], batch_size: int, steps: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the examples of every step, one after the other: shuffled, like lengths in one batch.

    Examples are dealt like a pack of cards, again and again; of the next 50 batches those of like length go together,
    and the batches are shuffled.

    Returns
    -------
    numpy.ndarray
        (steps * batch_size,) int64.
    """
    n = steps * batch_size
    packs = [generator.permutation(len(lengths)) for _ in range(-(-n // len(lengths)))]
    stream = np.concatenate(packs)[:n]
    order = []
    for begin in range(0, n, 50 * batch_size):
        group = stream[begin : begin + 50 * batch_size]
        batches = group[np.argsort(lengths[group], kind="stable")].reshape(-1, batch_size)
        order.append(generator.permutation(batches).ravel())
    return np.concatenate(order)


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the latest checkpoint that is whole, and remove those after it; the Trainer writes its state last."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[-1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
        except (OSError, ValueError):
            shutil.rmtree(path)
    return None


def _curve(history: Sequence[Mapping[str, float]], epochs_a_step: float) -> pl.DataFrame:
    names = {"loss": "loss", "learning_rate": "rate", "eval_loss": "dev_loss", "eval_score": "dev_score"}
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        values = {names[key]: float(value) for key, value in entry.items() if key in names}
        if values:
            row = rows.setdefault(int(entry["step"]), {"step": entry["step"]})
            row |= {"epoch": entry["step"] * epochs_a_step} | values
    return pl.DataFrame([rows[step] for step in sorted(rows)], schema=CURVE)
