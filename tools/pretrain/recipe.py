"""The study file of a pre-training run (YAML): text, tokenizer, model, training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from isogloss import store
from isogloss.arguments import (
    Count,
    Distinct,
    Index,
    Length,
    Name,
    PositiveShare,
    Rate,
    Seed,
    Share,
    Text,
    Within,
    Workers,
)
from isogloss.errors import InputError
from isogloss.sections import Section, read_yaml

log = logging.getLogger(__name__)
Texts = dict[str, list[str]]


class TextSection(Section):
    """A set of line-parallel files: line i is the same sentence in every language."""

    files: Annotated[dict[Text, Text], Distinct(1)] | None = Field(
        default=None, description="language -> file of plain text"
    )
    starter: bool = Field(default=False, description="the built-in corpus, instead of files")
    lines: tuple[Count, Count] | None = Field(default=None, description="first and last line used, counted from 1")
    repeat: Annotated[int, Within(1, 1_000, why="a share of the batches")] = Field(
        default=1, description="how often it is drawn in relation to the others"
    )

    @model_validator(mode="after")
    def _one(self) -> TextSection:
        if bool(self.files) == self.starter:
            raise ValueError("a text is either 'files' (language -> file) or 'starter: true'")
        if self.lines and self.lines[0] > self.lines[1]:
            raise ValueError("lines are the first and the last one used, counted from 1")
        return self

    def read(self) -> Texts:
        """Return the lines of every language.

        Raises
        ------
        InputError
            If a file cannot be read, or the languages differ in their number of lines.
        """
        if self.files is None:
            from isogloss.starter import load_corpus

            corpus = load_corpus()
            texts = {language: list(corpus.texts(language)) for language in corpus.languages}
        else:
            texts = {language: store.read_lines(path) for language, path in self.files.items()}
        counts = {language: len(lines) for language, lines in texts.items()}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            files = self.files or {}
            lines = ", ".join(f"{n} in {files.get(language, language)}" for language, n in counts.items())
            raise InputError(
                f"A text must have the same number of lines, at least one, in every language; got {lines}."
            )
        name, n_lines = next(iter((self.files or {"": "the built-in corpus"}).values())), max(counts.values())
        first, last = self.lines or (1, n_lines)
        if last > n_lines:
            raise InputError(f"lines {first} to {last} were asked for; {name} has {n_lines}.")
        kept = [i for i in range(first - 1, last) if all(lines[i].strip() for lines in texts.values())]
        if len(kept) < last - first + 1:
            log.warning("%s: %d lines are empty in a language and left out of all", name, last - first + 1 - len(kept))
        if not kept:
            raise InputError(f"{name}: every line from {first} to {last} is empty in some language.")
        return {language: [lines[i] for i in kept] for language, lines in texts.items()}


class TokenizerSection(Section):
    """WordPiece, cased, NFC; Chinese characters stand alone, as in BERT."""

    file: Text | None = Field(default=None, description="tokenizer.json of another run; trained when not given")
    n_pieces: Annotated[int, Within(10, 1_000_000, why="a row of the embeddings each")] = 12_000
    n_characters: Annotated[int, Within(1, 1_000_000, why="Unicode has hardly more")] = Field(
        default=3_000, description="the most frequent ones; others are unknown"
    )


_SIZE = "larger than any model there is"


class ModelSection(Section):
    """A BERT."""

    n_layers: Annotated[int, Within(1, 1_000, why=_SIZE)] = 6
    width: Annotated[int, Within(2, 100_000, why=_SIZE)] = 128
    n_heads: Annotated[int, Within(1, 1_000, why=_SIZE)] = 4
    feed_forward: Annotated[int, Within(1, 1_000_000, why=_SIZE)] = 512
    n_positions: Length = Field(default=128, description="longest line in pieces; longer ones are cropped")

    @model_validator(mode="after")
    def _whole(self) -> ModelSection:
        if self.width % self.n_heads or self.width % 2:
            raise ValueError("width must be even and a multiple of n_heads")
        return self


Steps = Annotated[int, Within(1, 100_000_000, why="years, on any machine")]


class TrainingSection(Section):
    """How long and how."""

    steps: Steps = 20_000
    batch_pieces: Annotated[int, Within(16, 10_000_000, why="memory grows with them")] = Field(
        default=2048, description="pieces of a batch, padding included"
    )
    pairs: Share = Field(default=0.7, description="share of translation pairs; 0: no translation at all")
    masked: PositiveShare = Field(default=0.25, description="share of words masked in a single line")
    masked_pair: tuple[Share, Share] = Field(
        default=(0.5, 0.1), description="in one line of a pair (drawn at random) and in the other"
    )
    rate: Rate = Field(default=1.5e-3, description="peak rate of AdamW")
    warmup: Steps = 100
    start: Literal["distributional", "random"] = Field(
        default="distributional", description="first embeddings: from the contexts of the pieces, or random numbers"
    )
    seed: Seed = 1
    keep: Annotated[list[Index], Distinct()] = Field(
        default_factory=list, description="steps whose model is kept too; 0 = before training"
    )

    @model_validator(mode="after")
    def _shares(self) -> TrainingSection:
        if sum(self.masked_pair) == 0:
            raise ValueError("masked_pair are two shares, not both 0")
        if any(not 0 <= step < self.steps for step in self.keep):
            raise ValueError(f"steps to keep lie in 0..{self.steps - 1}; the last one is kept in any case")
        return self


class RunSection(Section):
    """How the work is done.  Another machine, precision or number of threads rounds differently, and the runs part."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of the matrix products; auto: bfloat16 where the machine multiplies it fast"
    )
    threads: Workers | None = Field(default=None, description="default: all cores")
    save_minutes: Annotated[float, Within(0, 10_000, why="a week; what is not saved is lost with the machine")] = 2


class Recipe(Section):
    """A pre-training run."""

    name: Name = Field(default="pretrained", description="default folder of the run")
    text: list[TextSection] = Field(min_length=1)
    held_out: TextSection | None = Field(default=None, description="judged at the end, every kept model")
    tokenizer: TokenizerSection = TokenizerSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.held_out and self.held_out.files and len(self.held_out.files) < 2:
            raise ValueError("held_out needs at least two languages")
        if self.training.batch_pieces < 2 * self.model.n_positions:
            raise ValueError(f"batch_pieces must hold one pair, 2 * n_positions = {2 * self.model.n_positions}")
        return self


def read_recipe(path: str | Path) -> Recipe:
    """Read and validate the study file of a pre-training run; paths in it are relative to its folder.

    Raises
    ------
    InputError
        If the file is missing or not YAML.
    UsageError
        If a key or value is wrong: the line is named, and the nearest known key.
    """
    recipe = read_yaml(path, Recipe)
    folder = Path(path).resolve().parent

    def resolve(name: str) -> str:
        return str((folder / Path(name).expanduser()).resolve())

    def resolved(text: TextSection) -> TextSection:
        return text.model_copy(update={"files": text.files and {k: resolve(v) for k, v in text.files.items()}})

    tokenizer = recipe.tokenizer
    return recipe.model_copy(
        update={
            "text": [resolved(text) for text in recipe.text],
            "held_out": recipe.held_out and resolved(recipe.held_out),
            "tokenizer": tokenizer.model_copy(update={"file": tokenizer.file and resolve(tokenizer.file)}),
        }
    )
