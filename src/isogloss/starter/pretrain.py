"""Pre-train a small multilingual BERT on parallel text: how the built-in model was made.

Masked language modelling (Devlin et al., NAACL 2019) on single lines and translation language
modelling (Conneau & Lample, NeurIPS 2019) on pairs of lines: both sentences in one sequence, the
positions of the second starting at 0 again.  BERT's segment embeddings tell the two apart; there are
no language embeddings: the model has to find out by itself what its languages share, which is what
isogloss then measures.

    python -m isogloss.starter.pretrain --parallel en=a.en --parallel de=a.de --out FOLDER
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from isogloss import store
from isogloss.errors import UsageError
from isogloss.starter.examples import (
    IGNORED,
    PAD,
    SPECIAL,
    Batch,
    Bools,
    Data,
    Texts,
    batches,
    check_sets,
    encode,
    mask,
    read_sets,
    shared_vectors,
    tokenizer_of,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What can be chosen; every field is an option of the command line.

    `steps` and `minutes` both bound the run, and the learning rate falls linearly to 0 at whichever
    comes first.  Only a run bounded by `steps` alone can be repeated exactly, and only with the same
    ``tokenizer.json`` in its folder: the library that trains it breaks ties at random.
    """

    vocab: int = 8000
    layers: int = 6
    width: int = 128
    heads: int = 4
    positions: int = 128  # longest sentence in pieces, [CLS] and [SEP] included; longer ones are cropped
    steps: int = 10_000
    minutes: float = float("inf")
    batch_pieces: int = 2048  # pieces of a batch, padding included
    rate: float = 1.5e-3
    warmup: int = 100
    masked: float = 0.25  # share of words that are masked
    pairs: float = 0.7  # share of examples that are translation pairs
    seed: int = 1
    threads: int = 1
    save_minutes: float = 2.0

    def __post_init__(self) -> None:
        for name in ("masked", "pairs"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a share and must lie in [0, 1]; got {getattr(self, name)}.")
        if self.masked == 0:
            raise UsageError("masked is 0: nothing would be learned. Give a share such as 0.2.")
        if self.width % self.heads:
            raise UsageError(f"width must be a multiple of heads; got {self.width} and {self.heads}.")
        if self.batch_pieces < 2 * self.positions:
            raise UsageError(
                f"batch_pieces must hold one pair, 2 * positions = {2 * self.positions}; "
                f"got {self.batch_pieces}."
            )

    @property
    def shape(self) -> dict[str, int]:
        """What a checkpoint cannot change."""
        return {name: getattr(self, name) for name in ("vocab", "layers", "width", "heads", "positions")}


# -- the model --------------------------------------------------------------------------------------


def _new_model(settings: Settings) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=settings.vocab,
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=2 * settings.width,
        max_position_embeddings=settings.positions,
        type_vocab_size=2,
        initializer_range=0.04,  # BERT's 0.02 is for a width of 768
        hidden_dropout_prob=0.0,  # a short run of a small model underfits
        attention_probs_dropout_prob=0.0,
        pad_token_id=PAD,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = BertForMaskedLM(config)
    # Sinusoids at the usual scale, so that late positions, rarely seen in training, are not noise.
    place = torch.arange(settings.positions)[:, None] / 10_000 ** (
        torch.arange(0, settings.width, 2) / settings.width
    )
    waves = torch.stack([place.sin(), place.cos()], dim=2).reshape(settings.positions, -1)
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight.copy_(
            waves[:, : settings.width] * config.initializer_range * 2**0.5
        )
    return model


def _losses(model: Any, batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of every masked piece and whether it stands in a pair."""
    ids = torch.from_numpy(batch.ids)
    labels = torch.from_numpy(batch.labels)
    hidden = labels != IGNORED
    in_pair = torch.from_numpy(batch.is_pair)[:, None].expand_as(hidden)[hidden]
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        states = model.bert(
            ids.to(device),
            attention_mask=(ids != PAD).long().to(device),
            token_type_ids=torch.from_numpy(batch.segments).to(device),
            position_ids=torch.from_numpy(batch.positions).to(device),
        ).last_hidden_state
        scores = model.cls(states[hidden.to(device)])  # only where something is to be guessed
    loss = torch.nn.functional.cross_entropy(scores.float(), labels[hidden].to(device), reduction="none")
    return loss, in_pair.to(device)


class _Run:
    """The state of a run: everything a checkpoint holds."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.file = settings, folder / "checkpoint.pt"
        self.curve_file = folder / "curve.csv"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = _new_model(settings).to(self.device)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
            lr=settings.rate,
            betas=(0.9, 0.98),
        )
        self.step, self.pool, self.index, self.seconds = 0, 0, 0, 0.0
        self.curve: list[dict[str, float]] = []

    @property
    def progress(self) -> float:
        return max(self.step / self.settings.steps, self.seconds / 60 / self.settings.minutes)

    def save(self) -> None:
        with store.atomic(self.file) as f:
            torch.save(
                {
                    "shape": self.settings.shape,
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "place": [self.step, self.pool, self.index, self.seconds],
                    "curve": self.curve,
                },
                f,
            )
        if self.curve:
            store.write_text(self.curve_file, pl.DataFrame(self.curve).write_csv(float_precision=4))

    def start(self, data: Data, vocab: int) -> None:
        """Begin where a long run would soon be; a short one from random numbers ends before it gets there.

        The output knows how frequent each piece is, and half the energy of the embeddings is what
        pieces of the same lines share.
        """
        shared = shared_vectors(data, vocab=vocab, width=self.settings.width, seed=self.settings.seed)
        weight = self.model.get_input_embeddings().weight
        with torch.no_grad():
            weight.mul_(
                self.settings.width**-0.5 / self.model.config.initializer_range
            )  # rows of about length 1
            weight.add_(torch.from_numpy(shared).to(self.device)).mul_(0.5**0.5)
            counts = torch.from_numpy(data.counts(vocab) + 1.0)
            self.model.get_output_embeddings().bias.copy_((counts / counts.sum()).log())

    def resume(self) -> bool:
        """Go on from the checkpoint; False when there is none."""
        if not self.file.exists():
            return False
        saved = torch.load(self.file, map_location=self.device, weights_only=True)
        if saved["shape"] != self.settings.shape:
            raise UsageError(
                f"{self.file} holds a model with {saved['shape']}, and {self.settings.shape} was asked for. "
                "Choose another --out, or the same settings."
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.pool, self.index, self.seconds = saved["place"]
        self.curve = saved["curve"]
        log.info("going on from step %d, %.0f s", self.step, self.seconds)
        return True


def _train(run: _Run, data: Data, continues: Bools) -> None:
    settings, model = run.settings, run.model
    model.train()
    last = saved = time.monotonic()
    sums = np.zeros(4)  # loss and count of single lines, of pairs
    place = (run.pool, run.index)
    for pool, index, examples in batches(
        data, *place, size=settings.batch_pieces, pairs=settings.pairs, seed=settings.seed
    ):
        if run.progress >= 1:
            break
        rate = settings.rate * min(1.0, (run.step + 1) / settings.warmup) * (1 - run.progress)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng([settings.seed, pool, index])
        loss, in_pair = _losses(model, mask(examples, rng, continues, settings.masked), run.device)
        run.optimizer.zero_grad()
        loss.mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimizer.step()
        for k, chosen in enumerate((~in_pair, in_pair)):
            sums[2 * k : 2 * k + 2] += float(loss.detach()[chosen].sum()), int(chosen.sum())
        run.step, run.pool, run.index = run.step + 1, pool, index + 1
        now = time.monotonic()
        run.seconds += now - last
        last = now
        if run.step % 50 == 0:
            single, pair = sums[0] / max(sums[1], 1), sums[2] / max(sums[3], 1)
            run.curve.append(
                {
                    "step": run.step,
                    "seconds": run.seconds,
                    "loss": float(single),
                    "loss_pairs": float(pair),
                    "rate": rate,
                }
            )
            log.info("step %d, %.0f s: loss %.3f, on pairs %.3f", run.step, run.seconds, single, pair)
            sums[:] = 0
        if now - saved > 60 * settings.save_minutes:
            run.save()
            saved = now
    run.save()


def export(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer in the hub's format, the weights as float16."""
    from transformers import PreTrainedTokenizerFast

    store.make_folder(folder)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=model.config.max_position_embeddings,
        **dict(zip(names, SPECIAL, strict=True)),
    ).save_pretrained(folder)
    copy.deepcopy(model).half().save_pretrained(folder)
    # Stored in half precision, computed in full: loaders follow the configuration, not the file.
    config = store.read_json(folder / "config.json")
    config["dtype"] = "float32"
    store.write_json(folder / "config.json", config)


def pretrain(
    sets: Sequence[Texts],
    out: str | Path,
    *,
    repeats: Sequence[int] | None = None,
    settings: Settings | None = None,
) -> Path:
    """Train a tokenizer and a small BERT on line-parallel sets, and return the folder of the finished model.

    Parameters
    ----------
    sets : sequence of mappings
        Each maps a language to its lines; line i is the same sentence in every language of a set.
    out : path
        Folder for ``tokenizer.json``, ``checkpoint.pt``, ``curve.csv`` (loss by step) and ``model/``.
        A run that was stopped goes on from its checkpoint.
    repeats : sequence of int
        How often each set is drawn in relation to the others; 1 each when not given.
    settings : Settings
        Sizes, bounds and rates.

    Raises
    ------
    InputError
        If a set has no lines, or its languages differ in their number of lines.
    UsageError
        If `repeats` does not fit, or the folder holds a checkpoint of another shape.

    Notes
    -----
    Masked language modelling on single lines, translation language modelling (Conneau & Lample 2019)
    on pairs; float32 on a CPU, bfloat16 products on a GPU.
    """
    settings = settings or Settings()
    repeats = [1] * len(sets) if repeats is None else list(repeats)
    check_sets(sets, repeats)
    folder = store.make_folder(Path(out))
    with store.locked(folder / ".lock"):
        tokenizer = tokenizer_of(sets, repeats, folder / "tokenizer.json", vocab=settings.vocab)
        vocab = tokenizer.get_vocab_size()
        continues = np.array([tokenizer.id_to_token(i).startswith("##") for i in range(vocab)])
        settings = Settings(**{**asdict(settings), "vocab": vocab})  # little text gives fewer pieces
        data = encode(tokenizer, sets, repeats, positions=settings.positions)
        torch.set_num_threads(settings.threads)
        run = _Run(settings, folder)
        if not run.resume():
            run.start(data, vocab)
        _train(run, data, continues)
        export(run.model.cpu(), tokenizer, folder / "model")
    return folder / "model"


# -- judging ----------------------------------------------------------------------------------------


def evaluate(model: str | Path, texts: Texts, *, batch: int = 64) -> pl.DataFrame:
    """Return sentence retrieval by layer: how often a sentence's nearest one is its own translation.

    Parameters
    ----------
    model : path
        A folder in the hub's format of a masked language model.
    texts : mapping of str to sequence of str
        Language to lines; line i is the same sentence in every language.

    Returns
    -------
    polars.DataFrame
        ``source``, ``target``, ``layer``, ``precision`` (P@1 over all lines of the target, cosine of the mean
        of a sentence's pieces), ``chance`` (1 / lines).
    """
    pooled = {language: _pooled(str(model), lines, batch) for language, lines in texts.items()}
    rows = []
    for source, target in itertools.permutations(texts, 2):
        for layer, (x, y) in enumerate(zip(pooled[source], pooled[target], strict=True)):
            right = (x @ y.T).argmax(1) == torch.arange(len(x))
            rows.append((source, target, layer, float(right.float().mean()), 1 / len(x)))
    return pl.DataFrame(rows, schema=["source", "target", "layer", "precision", "chance"], orient="row")


@torch.inference_mode()
def _pooled(model: str, lines: Sequence[str], batch: int) -> torch.Tensor:
    """Return unit vectors, (layers + 1, lines, width): the mean state of each line's pieces."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    encoder = AutoModelForMaskedLM.from_pretrained(model).base_model.float().eval()
    parts = []
    for begin in range(0, len(lines), batch):
        coded = tokenizer(
            list(lines[begin : begin + batch]),
            padding=True,
            truncation=True,
            return_tensors="pt",
            return_special_tokens_mask=True,
        )
        weight = (1 - coded.pop("special_tokens_mask"))[None, :, :, None].float()
        states = torch.stack(encoder(**coded, output_hidden_states=True).hidden_states)
        parts.append((states * weight).sum(2) / weight.sum(2).clamp(min=1))
    return torch.nn.functional.normalize(torch.cat(parts, dim=1), dim=-1)


# -- the command line -------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``python -m isogloss.starter.pretrain``."""
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.starter.pretrain", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--parallel", action="append", required=True, metavar="LANGUAGE=FILE")
    parser.add_argument("--repeat", type=int, nargs="+", metavar="N", help="how often each set is drawn")
    parser.add_argument("--evaluate", action="append", default=[], metavar="LANGUAGE=FILE")
    parser.add_argument("--out", type=Path, required=True)
    for item in fields(Settings):
        parser.add_argument(f"--{item.name.replace('_', '-')}", type=type(item.default), default=item.default)
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    files, repeat, held_out, out = (given.pop(name) for name in ("parallel", "repeat", "evaluate", "out"))
    model = pretrain(read_sets(files), out, repeats=repeat, settings=Settings(**given))
    for texts in read_sets(held_out):
        table = evaluate(model, texts)
        store.write_text(out / "retrieval.csv", table.write_csv(float_precision=4))
        mean = table.group_by("layer").agg(pl.col("precision").mean()).sort("layer")["precision"]
        log.info("sentence retrieval P@1 by layer: %s", " ".join(f"{value:.3f}" for value in mean))


if __name__ == "__main__":
    main()
