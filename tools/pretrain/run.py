"""Pre-train a small multilingual BERT on parallel text: how the built-in model was made.

Masked language modelling (Devlin et al., NAACL 2019) on single lines and translation language
modelling (Conneau & Lample, NeurIPS 2019) on pairs of lines: both sentences in one sequence, the
positions of the second starting at 0 again.  BERT's segment embeddings tell the two apart; there are
no language embeddings: the model has to find out by itself what its languages share, which is what
isogloss then measures.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from isogloss import store
from isogloss.arguments import checked
from isogloss.errors import InputError
from tools.pretrain.examples import Data, encode, read_tokenizer, train_tokenizer
from tools.pretrain.judge import RETRIEVAL, judge
from tools.pretrain.recipe import Recipe, Texts, read_recipe
from tools.pretrain.training import CURVE, Run, device_of, export, n_cores, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretrained:
    """A run and its folder: models, loss, judgement."""

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
        early = sorted((self.folder / "kept").glob("step_*"))
        there = [path for path in (*early, self.model) if re.fullmatch(r"model|step_\d+", path.name)]
        return {path.name: path for path in there if path.is_dir()}

    @property
    def curve(self) -> pl.DataFrame:
        """The loss: ``step, seconds, loss, loss_pairs, rate``; means over the 100 steps before."""
        return store.read_csv(self.folder / "curve.csv", schema=CURVE)

    @property
    def retrieval(self) -> pl.DataFrame | None:
        """Sentence retrieval of every model on the held-out text (`tools.pretrain.judge`), if there was any."""
        file = self.folder / "retrieval.csv"
        return store.read_csv(file, schema=RETRIEVAL) if file.exists() else None


@checked
def pretrain(recipe: Recipe | str | Path, *, out: str | Path | None = None) -> Pretrained:
    """Train a tokenizer and a small BERT on line-parallel text.

    Parameters
    ----------
    recipe : Recipe or path
        The study file; `tools.pretrain.recipe` has its keys.
    out : path, optional
        Folder for ``tokenizer.json``, ``checkpoint.pt``, ``curve.csv`` (loss by step), ``run.json`` (machines,
        versions, time, settings), ``model/`` and ``kept/step_000000/``; default: the name of the recipe.  A run that
        was stopped goes on from its checkpoint.  With held-out text also ``retrieval.csv`` and ``masked.csv``
        (`tools.pretrain.judge`).

    Returns
    -------
    Pretrained

    Raises
    ------
    InputError
        If a text or tokenizer cannot be read, or the languages of a text differ in their number of lines.
    UsageError
        If the recipe is wrong, or the folder holds a run of another one.
    IsoglossError
        If the loss is no longer a number.

    Notes
    -----
    Sums and weights are float32; matrix products bfloat16 where the machine is fast at it.  A run is repeatable on
    one machine with the same number of threads and the same ``tokenizer.json`` (the library that trains the
    tokenizer breaks ties at random).
    """
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe)
    device_of(recipe.run)  # refuses before any work
    pretrained = Pretrained(store.make_folder(Path(out or store.folder_name(recipe.name))))
    threads = torch.get_num_threads()
    with store.locked(pretrained.folder / ".lock"):
        store.sweep(pretrained.folder)
        try:
            torch.set_num_threads(recipe.run.threads or n_cores())
            _pretrain(recipe, pretrained)
        finally:
            torch.set_num_threads(threads)
    return pretrained


def _pretrain(recipe: Recipe, pretrained: Pretrained) -> None:
    sets = [section.read() for section in recipe.text]
    repeats = [section.repeat for section in recipe.text]
    held_out = recipe.held_out.read() if recipe.held_out else None
    if held_out:
        _warn_of_seen(sets, held_out)
    folder, section = pretrained.folder, recipe.tokenizer
    begun = (folder / "checkpoint.pt").exists()
    file = folder / "tokenizer.json"
    if begun:
        tokenizer = read_tokenizer(file)
    else:
        _clear(pretrained)
        if section.file:
            tokenizer = read_tokenizer(section.file)
        else:
            tokenizer = train_tokenizer(sets, repeats, n_pieces=section.n_pieces, n_characters=section.n_characters)
        store.write_text(file, tokenizer.to_str())
    vocab = tokenizer.get_vocab_size()
    continues = np.array([tokenizer.id_to_token(i).startswith("##") for i in range(vocab)])
    data = encode(tokenizer, sets, repeats, positions=recipe.model.n_positions)
    wanted = {"file": store.read_text(section.file)} if section.file else section.model_dump()
    content = {
        "text": store.digest([*sets, *repeats]),
        "the study's tokenizer": store.digest(wanted),
        "tokenizer.json": store.file_digest(file),
    }
    run = Run(recipe, folder, vocab=vocab, content=content)
    if begun:
        run.resume()
    else:
        if recipe.training.start == "distributional":
            run.start(data)
        run.save()
    run.note_session()

    def keep(step: int) -> None:
        if step in recipe.training.keep and not pretrained.kept(step).exists():
            export(run.model, tokenizer, pretrained.kept(step))

    train(run, data, continues, keep=keep)
    export(run.model, tokenizer, pretrained.model)
    store.write_json(folder / "run.json", _facts(run, data))
    if held_out:
        judge(pretrained.models, held_out, out=folder)


def _clear(pretrained: Pretrained) -> None:
    """Remove what a run that had no checkpoint yet left in the folder; models cannot be from such a run."""
    for name in ("kept", "model"):
        if (pretrained.folder / name).exists():
            raise InputError(
                f"There is a folder {pretrained.folder / name}, and no checkpoint.pt of the run that made it. "
                "Remove the folder, or choose another one with --out."
            )
    for name in ("tokenizer.json", "curve.csv", "run.json", "retrieval.csv", "masked.csv"):
        (pretrained.folder / name).unlink(missing_ok=True)


def _warn_of_seen(sets: Sequence[Texts], held_out: Texts) -> None:
    for language, lines in held_out.items():
        seen = {line for texts in sets for line in texts.get(language, ())}
        trained_on = [line for line in lines if line in seen]
        if trained_on:
            text = "%d of %d held-out lines in %s are trained on too, e.g. %.60r"
            log.warning(text, len(trained_on), len(lines), language, trained_on[0])


def _facts(run: Run, data: Data) -> dict[str, object]:
    """Return what a reader of the run needs to know beside the curve."""
    recipe = run.recipe.model_dump(mode="json", exclude={"run"})
    return {
        "sessions": run.sessions,
        "seconds": round(run.seconds),
        "steps": run.step,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "lines_a_language": [len(next(iter(texts.values()))) for texts in data.lines],
        "pieces": [{language: sum(map(len, lines)) for language, lines in texts.items()} for texts in data.lines],
        "recipe": recipe,
    }
