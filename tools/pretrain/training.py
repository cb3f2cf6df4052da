"""The training itself: the model, its loss, the loop, checkpoints, and the folder of a finished model."""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from isogloss import store
from isogloss.errors import InputError, IsoglossError, UsageError
from isogloss.models import quiet_transformers
from isogloss.progress import progress
from tools.pretrain.examples import IGNORED, PAD, SPECIAL, Batch, Data, Ints, batches, distributional_vectors, mask, pad
from tools.pretrain.recipe import Recipe, RunSection

log = logging.getLogger(__name__)
POINT = 100  # steps between two points of the loss curve
CURVE = {"step": pl.Int64(), **{name: pl.Float64() for name in ("seconds", "loss", "loss_pairs", "rate")}}
_DRAWING, _MASKING = 0, 1  # streams of random numbers


def new_model(recipe: Recipe, vocab: int) -> Any:
    """Return an untrained model, its numbers drawn from the seed."""
    from transformers import BertConfig, BertForMaskedLM

    shape = recipe.model
    config = BertConfig(
        vocab_size=vocab,
        hidden_size=shape.width,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.n_positions,
        type_vocab_size=2,
        initializer_range=0.04,  # BERT's 0.02 is for a width of 768
        hidden_dropout_prob=0.0,  # a short run of a small model underfits
        attention_probs_dropout_prob=0.0,
        pad_token_id=PAD,
        tie_word_embeddings=True,
        # PyTorch 2.13's fused attention is slow backwards in bfloat16 on a CPU: 127 ms against 10 at (32, 64).
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.training.seed)
        model = BertForMaskedLM(config)
    # Sinusoids at the usual scale, so that late positions, rarely seen in training, are not noise.
    place = torch.arange(shape.n_positions)[:, None] / 10_000 ** (torch.arange(0, shape.width, 2) / shape.width)
    waves = torch.stack([place.sin(), place.cos()], dim=2).reshape(shape.n_positions, shape.width)
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.copy_(waves * config.initializer_range * 2**0.5)
    return model


def device_of(run: RunSection) -> torch.device:
    """Return the device a run asks for."""
    if run.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("run.device is 'cuda', and PyTorch sees no GPU. Use 'auto' or 'cpu'.")
    return torch.device("cuda" if run.device != "cpu" and torch.cuda.is_available() else "cpu")


def precision_of(run: RunSection, device: torch.device) -> torch.dtype:
    """Return the dtype of the matrix products."""
    if run.precision != "auto":
        return torch.bfloat16 if run.precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities()
        fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def losses(
    model: Any, batch: Batch, labels: Ints, *, precision: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of every masked piece and whether it stands in a pair."""
    device = next(model.parameters()).device
    ids = torch.from_numpy(batch.ids)
    true = torch.from_numpy(labels)
    hidden = true != IGNORED
    in_pair = torch.from_numpy(batch.is_pair)[:, None].expand_as(hidden)[hidden]
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        states = model.bert(
            ids.to(device),
            attention_mask=(ids != PAD).long().to(device),
            token_type_ids=torch.from_numpy(batch.segments).to(device),
            position_ids=torch.from_numpy(batch.positions).to(device),
        ).last_hidden_state
        scores = model.cls(states[hidden.to(device)])  # only where something is to be guessed
    loss = torch.nn.functional.cross_entropy(scores.float(), true[hidden].to(device), reduction="none")
    return loss, in_pair.to(device)


class Run:
    """The state of a run: everything a checkpoint holds.

    `content` are digests of what the run was made from (text, tokenizer): a checkpoint of another content, or of
    other settings of model and training, is refused.
    """

    def __init__(self, recipe: Recipe, folder: Path, *, vocab: int, content: dict[str, str]) -> None:
        self.recipe, self.folder = recipe, folder
        self.device = device_of(recipe.run)
        self.precision = precision_of(recipe.run, self.device)
        self.model = new_model(recipe, vocab).to(self.device)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
            lr=recipe.training.rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.step, self.pool, self.index, self.seconds = 0, 0, 0, 0.0
        self.curve: list[dict[str, float | None]] = []
        self.sessions: list[dict[str, str | int]] = []
        settings = recipe.model_dump(mode="json")
        # what is kept changes no weight
        self.made_of = content | {
            f"{part}.{key}": json.dumps(value)
            for part in ("model", "training")
            for key, value in settings[part].items()
            if key != "keep"
        }

    @property
    def file(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        content = io.BytesIO()
        saved = {
            "made_of": self.made_of,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "place": [self.step, self.pool, self.index, self.seconds],
            "curve": self.curve,
            "sessions": self.sessions,
        }
        torch.save(saved, content)
        with store.atomic(self.file) as f:
            f.write(content.getbuffer())
        store.write_csv(self.folder / "curve.csv", pl.DataFrame(self.curve, schema=CURVE))

    def start(self, data: Data) -> None:
        """Begin where a long run would soon be; a short one from random numbers ends before it gets there.

        The output knows how frequent each piece is, and half the energy of the embeddings is what
        pieces in like contexts share.
        """
        weight = self.model.get_input_embeddings().weight
        vocab, width = weight.shape
        vectors = distributional_vectors(data, vocab=vocab, width=width, seed=self.recipe.training.seed)
        with torch.no_grad():
            weight.mul_(width**-0.5 / self.model.config.initializer_range)  # rows of about length 1
            weight.add_(torch.from_numpy(vectors).to(self.device)).mul_(0.5**0.5)
            counts = torch.from_numpy(data.counts(vocab) + 1.0)
            self.model.get_output_embeddings().bias.copy_((counts / counts.sum()).log())

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises
        ------
        UsageError
            If it was made from another content or with other settings.
        """
        try:
            saved = torch.load(self.file, map_location=self.device, weights_only=True)
        except Exception as error:  # pickle, zip and torch raise many kinds
            reason = str(error).split("\n")[0]
            raise InputError(f"{self.file} cannot be read: {reason}. Remove it to begin anew.") from None
        before, now = saved["made_of"], self.made_of
        changed = [f"{key} ({before.get(key)} -> {now[key]})" for key in now if before.get(key) != now[key]]
        if changed:
            raise UsageError(
                f"{self.file} was begun with something else: {', '.join(changed)}. "
                "Choose another --out, or take the change back."
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.pool, self.index, self.seconds = saved["place"]
        self.curve, self.sessions = saved["curve"], saved["sessions"]
        log.info("going on from step %d, %.0f s", self.step, self.seconds)

    def note_session(self) -> None:
        """Remember from which step on which machine worked how."""
        cuda = self.device.type == "cuda"
        machine = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU"
        session: dict[str, str | int] = {"from_step": self.step, "machine": machine, "threads": torch.get_num_threads()}
        precision = str(self.precision).removeprefix("torch.")
        self.sessions.append(session | {"precision": precision, "torch": str(torch.__version__)})


def train(run: Run, data: Data, continues: npt.NDArray[np.bool_], *, keep: Callable[[int], None]) -> None:
    """Train to the last step; `keep` is called with every step from the present one on, before it is made.

    Raises
    ------
    IsoglossError
        If the loss is no longer a number; the last checkpoint is still good.
    """
    training, model, n_steps = run.recipe.training, run.model, run.recipe.training.steps
    model.train()
    last = saved = time.monotonic()
    # loss and count of single lines, of pairs; read once a point, so that a GPU need not wait
    sums = torch.zeros(4, dtype=torch.float64, device=run.device)
    seed, n_pieces = [_DRAWING, training.seed], training.batch_pieces
    drawn = batches(data, run.pool, run.index, size=n_pieces, pairs=training.pairs, seed=seed)
    with progress("pretraining", n_steps) as advance:
        advance(run.step)
        while True:
            keep(run.step)
            if run.step >= n_steps:
                break
            pool, index, examples = next(drawn)
            rate = training.rate * min(1.0, (run.step + 1) / training.warmup) * (1 - run.step / n_steps)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            rng = np.random.default_rng([_MASKING, training.seed, pool, index])
            batch, labels = mask(
                pad(examples), rng, continues, masked=training.masked, masked_pair=training.masked_pair
            )
            loss, in_pair = losses(model, batch, labels, precision=run.precision)
            run.optimizer.zero_grad()
            loss.mean().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            run.optimizer.step()
            exact = loss.detach().double()
            sums += torch.stack([(exact * ~in_pair).sum(), (~in_pair).sum(), (exact * in_pair).sum(), in_pair.sum()])
            run.step, run.pool, run.index = run.step + 1, pool, index + 1
            now = time.monotonic()
            run.seconds, last = run.seconds + now - last, now
            advance(1)
            if run.step % POINT == 0 or run.step == n_steps:
                _note(run, sums.tolist(), rate)
                sums.zero_()
                if now - saved >= 60 * run.recipe.run.save_minutes:
                    run.save()
                    saved = now
    run.save()


def _note(run: Run, sums: list[float], rate: float) -> None:
    """Add a point to the loss curve; a loss that was not met (no pairs at all) is missing."""
    single, pair = (sums[k] / sums[k + 1] if sums[k + 1] else None for k in (0, 2))
    if not all(value is None or math.isfinite(value) for value in (single, pair)):
        raise IsoglossError(
            f"The loss is no longer a number (before step {run.step}). Lower training.rate (now "
            f"{run.recipe.training.rate:g}) and begin anew with another --out."
        )
    point = {"step": run.step, "seconds": run.seconds, "loss": single, "loss_pairs": pair, "rate": rate}
    run.curve.append(point)
    shown = ["-" if value is None else f"{value:.3f}" for value in (single, pair)]
    log.info("step %d, %.0f s: loss %s, on pairs %s", run.step, run.seconds, *shown)


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def export(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer in the hub's format, the weights as float16; whole or not at all."""
    from transformers import PreTrainedTokenizerFast

    halved = copy.deepcopy(model).cpu().half()
    if not all(torch.isfinite(weight).all() for weight in halved.parameters()):
        raise IsoglossError(f"The weights of {folder} do not fit float16. Lower training.rate and begin anew.")
    partial = folder.with_name(folder.name + ".partial")
    store.remove_folder(partial)
    store.make_folder(partial)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    with quiet_transformers():
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            model_max_length=model.config.max_position_embeddings,
            **dict(zip(names, SPECIAL, strict=True)),
        ).save_pretrained(partial)
        halved.save_pretrained(partial)
    # Stored in half precision, computed in full: loaders follow the configuration, not the file.
    config = store.read_json(partial / "config.json")
    config["dtype"] = "float32"
    store.write_json(partial / "config.json", config)
    store.remove_folder(folder)
    partial.rename(folder)
