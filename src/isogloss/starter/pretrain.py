"""Pre-train a small multilingual BERT on parallel text: how the built-in model was made.

Masked language modelling (Devlin et al., NAACL 2019) on single lines and translation language
modelling (Conneau & Lample, NeurIPS 2019) on pairs of lines: both sentences in one sequence, the
positions of the second starting at 0 again.  BERT's segment embeddings tell the two apart; there are
no language embeddings: the model has to find out by itself what its languages share, which is what
isogloss then measures.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from isogloss import store
from isogloss.errors import UsageError
from isogloss.models import quiet_transformers
from isogloss.progress import progress
from isogloss.starter.examples import (
    IGNORED,
    PAD,
    SPECIAL,
    Batch,
    Bools,
    Data,
    Ints,
    batches,
    distributional_vectors,
    encode,
    mask,
    pad,
    tokenizer_of,
)
from isogloss.starter.judge import judge
from isogloss.starter.recipe import Recipe, read_recipe

log = logging.getLogger(__name__)
_POINT = 100  # steps between two points of the loss curve
_CURVE = {"step": pl.Int64(), **{name: pl.Float64() for name in ("seconds", "loss", "loss_pairs", "rate")}}


@dataclass(frozen=True)
class Pretrained:
    """A finished run: where its models and its log are."""

    folder: Path

    @property
    def model(self) -> Path:
        """The last model, in the hub's folder format."""
        return self.folder / "model"

    def kept(self, step: int) -> Path:
        """The model after `step` steps (see ``training.keep``)."""
        return self.folder / "kept" / f"step_{step:06d}"

    @property
    def models(self) -> dict[str, Path]:
        """Name -> folder of every model that is there, the last one at the end."""
        kept = self.folder / "kept"
        early = sorted(kept.iterdir()) if kept.is_dir() else []
        return {**{path.name: path for path in early}, "model": self.model}

    @property
    def curve(self) -> pl.DataFrame:
        """The loss: ``step, seconds, loss, loss_pairs, rate``; means over the 100 steps before."""
        return pl.read_csv(self.folder / "curve.csv", schema=_CURVE)

    @property
    def retrieval(self) -> pl.DataFrame | None:
        """Sentence retrieval of every model on the held-out text (`isogloss.starter.judge`), if there was any."""
        file = self.folder / "retrieval.csv"
        return pl.read_csv(file) if file.exists() else None


# -- the model --------------------------------------------------------------------------------------


def _new_model(recipe: Recipe, vocab: int) -> Any:
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
    place = torch.arange(shape.n_positions)[:, None] / 10_000 ** (
        torch.arange(0, shape.width, 2) / shape.width
    )
    waves = torch.stack([place.sin(), place.cos()], dim=2).reshape(shape.n_positions, shape.width)
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.copy_(waves * config.initializer_range * 2**0.5)
    return model


def _precision(wanted: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the matrix products."""
    if wanted == "auto":
        able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        fast = device.type == "cuda" or able.get("avx512_bf16") or able.get("amx_bf16")
        wanted = "bfloat16" if fast else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def _losses(
    model: Any, batch: Batch, labels: Ints, device: torch.device, precision: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of every masked piece and whether it stands in a pair."""
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


class _Run:
    """The state of a run: everything a checkpoint holds."""

    def __init__(self, recipe: Recipe, vocab: int, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.file = folder / "checkpoint.pt"
        wanted = recipe.run.device
        name = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
        if name == "cuda" and not torch.cuda.is_available():
            raise UsageError("run.device is 'cuda', and PyTorch sees no GPU. Use 'auto' or 'cpu'.")
        self.device = torch.device(name)
        self.precision = _precision(recipe.run.precision, self.device)
        self.model = _new_model(recipe, vocab).to(self.device)
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

    def save(self) -> None:
        with store.atomic(self.file) as f:
            torch.save(
                {
                    "recipe": _fixed(self.recipe),
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "place": [self.step, self.pool, self.index, self.seconds],
                    "curve": self.curve,
                },
                f,
            )
        text = pl.DataFrame(self.curve, schema=_CURVE).write_csv(float_precision=6)
        store.write_text(self.folder / "curve.csv", text)

    def start(self, data: Data, vocab: int) -> None:
        """Begin where a long run would soon be; a short one from random numbers ends before it gets there.

        The output knows how frequent each piece is, and half the energy of the embeddings is what
        pieces in like contexts share.
        """
        width, seed = self.recipe.model.width, self.recipe.training.seed
        vectors = distributional_vectors(data, vocab=vocab, width=width, seed=seed)
        weight = self.model.get_input_embeddings().weight
        with torch.no_grad():
            weight.mul_(width**-0.5 / self.model.config.initializer_range)  # rows of about length 1
            weight.add_(torch.from_numpy(vectors).to(self.device)).mul_(0.5**0.5)
            counts = torch.from_numpy(data.counts(vocab) + 1.0)
            self.model.get_output_embeddings().bias.copy_((counts / counts.sum()).log())

    def resume(self) -> bool:
        """Go on from the checkpoint; False when there is none."""
        if not self.file.exists():
            return False
        saved = torch.load(self.file, map_location=self.device, weights_only=True)
        now = _fixed(self.recipe)
        if saved["recipe"] != now:
            changed = [name for name in now if saved["recipe"].get(name) != now[name]]
            raise UsageError(
                f"{self.file} was begun with another study: {', '.join(changed)} changed since. "
                "Choose another --out, or take the change back."
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.pool, self.index, self.seconds = saved["place"]
        self.curve = saved["curve"]
        log.info("going on from step %d, %.0f s", self.step, self.seconds)
        return True


def _fixed(recipe: Recipe) -> dict[str, str]:
    """Return what may not change while a run is under way, part by part."""
    given = recipe.model_dump(mode="json")
    return {name: json.dumps(given[name], sort_keys=True) for name in ("text", "model", "training")}


def _train(run: _Run, data: Data, continues: Bools, tokenizer: Any) -> None:
    training, model, n_steps = run.recipe.training, run.model, run.recipe.training.steps
    kept = Pretrained(run.folder)
    model.train()
    last = saved = time.monotonic()
    sums = np.zeros(4)  # loss and count of single lines, of pairs
    place = (run.pool, run.index)
    drawn = batches(data, *place, size=training.batch_pieces, pairs=training.pairs, seed=training.seed)
    with progress("pretraining", n_steps) as advance:
        advance(run.step)
        while True:
            if run.step in training.keep and not kept.kept(run.step).exists():
                export(model, tokenizer, kept.kept(run.step))
            if run.step >= n_steps:
                break
            pool, index, examples = next(drawn)
            rate = training.rate * min(1.0, (run.step + 1) / training.warmup) * (1 - run.step / n_steps)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            rng = np.random.default_rng([training.seed, pool, index])
            batch, labels = mask(
                pad(examples), rng, continues, masked=training.masked, masked_pair=training.masked_pair
            )
            loss, in_pair = _losses(model, batch, labels, run.device, run.precision)
            run.optimizer.zero_grad()
            loss.mean().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            run.optimizer.step()
            for k, chosen in enumerate((~in_pair, in_pair)):
                sums[2 * k : 2 * k + 2] += float(loss.detach()[chosen].sum()), int(chosen.sum())
            run.step, run.pool, run.index = run.step + 1, pool, index + 1
            now = time.monotonic()
            run.seconds, last = run.seconds + now - last, now
            advance(1)
            if run.step % _POINT == 0:
                _note(run, sums, rate)
                sums[:] = 0
                if now - saved >= 60 * run.recipe.run.save_minutes:
                    run.save()
                    saved = now
    run.save()


def _note(run: _Run, sums: npt.NDArray[np.float64], rate: float) -> None:
    """Add a point to the loss curve; a loss that was not met (no pairs at all) is missing."""
    single, pair = (float(sums[k] / sums[k + 1]) if sums[k + 1] else None for k in (0, 2))
    point = {"step": run.step, "seconds": run.seconds, "loss": single, "loss_pairs": pair, "rate": rate}
    run.curve.append(point)
    shown = ["-" if value is None else f"{value:.3f}" for value in (single, pair)]
    log.info("step %d, %.0f s: loss %s, on pairs %s", run.step, run.seconds, *shown)


def export(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer in the hub's format, the weights as float16; whole or not at all."""
    from transformers import PreTrainedTokenizerFast

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
        copy.deepcopy(model).cpu().half().save_pretrained(partial)
    # Stored in half precision, computed in full: loaders follow the configuration, not the file.
    config = store.read_json(partial / "config.json")
    config["dtype"] = "float32"
    store.write_json(partial / "config.json", config)
    store.remove_folder(folder)
    partial.rename(folder)


def pretrain(recipe: Recipe | str | Path, *, out: str | Path | None = None) -> Pretrained:
    """Train a tokenizer and a small BERT on line-parallel text.

    Parameters
    ----------
    recipe : Recipe or path
        The study file; `isogloss.starter.recipe` has its keys.
    out : path, optional
        Folder for ``tokenizer.json``, ``checkpoint.pt``, ``curve.csv`` (loss by step), ``run.json`` (machine,
        versions, time, settings), ``model/`` and ``kept/step_000000/``; default: the name of the recipe.  A run that
        was stopped goes on from its checkpoint.  With held-out text also ``retrieval.csv`` and ``masked.csv``
        (`isogloss.starter.judge`).

    Returns
    -------
    Pretrained

    Raises
    ------
    InputError
        If a text cannot be read, or its languages differ in their number of lines.
    UsageError
        If the recipe is wrong, or the folder holds a checkpoint of another one.

    Notes
    -----
    Sums and weights are float32; matrix products bfloat16 where the machine is fast at it.  A run is repeatable on
    one machine with the same number of threads and the same ``tokenizer.json`` (the library that trains the
    tokenizer breaks ties at random).
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe)
    done = Pretrained(store.make_folder(Path(out or recipe.name)))
    with store.locked(done.folder / ".lock"):
        sets = recipe.texts()
        held_out = recipe.held_out.read() if recipe.held_out else None
        repeats = [section.repeat for section in recipe.text]
        given = recipe.tokenizer
        if given.file and not (done.folder / "tokenizer.json").exists():
            store.write_text(done.folder / "tokenizer.json", store.read_text(given.file))
        tokenizer = tokenizer_of(
            sets,
            repeats,
            done.folder / "tokenizer.json",
            n_pieces=given.n_pieces,
            n_characters=given.n_characters,
        )
        vocab = tokenizer.get_vocab_size()  # little text gives fewer pieces than asked for
        continues = np.array([tokenizer.id_to_token(i).startswith("##") for i in range(vocab)])
        data = encode(tokenizer, sets, repeats, positions=recipe.model.n_positions)
        torch.set_num_threads(recipe.run.threads or os.cpu_count() or 1)
        run = _Run(recipe, vocab, done.folder)
        if not run.resume():
            run.start(data, vocab)
        _train(run, data, continues, tokenizer)
        export(run.model, tokenizer, done.model)
        store.write_json(done.folder / "run.json", _facts(run, data))
        if held_out:
            judge(done.models, held_out, out=done.folder)
    return done


def _facts(run: _Run, data: Data) -> dict[str, object]:
    """Return what a reader of the run needs to know beside the curve."""
    cuda = run.device.type == "cuda"
    return {
        "machine": torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "precision": str(run.precision).removeprefix("torch."),
        "torch": torch.__version__,
        "seconds": round(run.seconds),
        "steps": run.step,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "lines_a_language": [len(next(iter(texts.values()))) for texts in data.lines],
        "pieces": [
            {language: sum(map(len, lines)) for language, lines in texts.items()} for texts in data.lines
        ],
        "recipe": run.recipe.model_dump(mode="json", exclude={"run"}),
    }
