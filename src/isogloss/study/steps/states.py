"""Steps of states: one stack of one model whole, or in shards of its lines that are joined layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from isogloss import models
from isogloss.config import ModelSection
from isogloss.corpus import Corpus
from isogloss.extraction import (
    Shard,
    extract,
    extract_shard,
    finish_states,
    forget_shards,
    join_shards,
    shard_files,
    shards_of,
)
from isogloss.runner import Facts, Step
from isogloss.store import StudyLayout, partial_folder, state_files
from isogloss.study.estimate import PROCESS, Estimates


@dataclass(frozen=True)
class ExtractStates(Step):
    """The states of one stack of one model.

    Attributes
    ----------
    model : ModelSection
    stack : str
    layers : tuple of int
    extracted : str
        The key that `extract` gives these states, and so the key of this step.
    width, n_words, n_lines : int
        Of the model's states, and of the corpus.
    batch_tokens : int or None
    computes_on : str
    """

    model: ModelSection
    stack: str
    layers: tuple[int, ...]
    extracted: str
    width: int
    n_words: int
    n_lines: int
    batch_tokens: int | None
    computes_on: str
    stage: ClassVar[str] = "states"
    marks_itself: ClassVar[bool] = True
    is_forward_pass: ClassVar[bool] = True

    @cached_property
    def name(self) -> str:
        return StudyLayout(Path()).states_step(self.model.name, self.stack)

    @cached_property
    def key(self) -> str:
        return self.extracted

    @property
    def device(self) -> str:
        return self.computes_on

    @property
    def size(self) -> int:
        n_rows = self.n_words + self.n_lines * len(self.model.sentences)
        return n_rows * self.width * len(self.layers) * (2 if self.model.dtype == "float16" else 4)

    def size_left(self, layout: StudyLayout) -> int:
        begun = partial_folder(self._folder(layout)).rglob("*")
        return max(0, self.size - sum(file.stat().st_blocks * 512 for file in begun if file.is_file()))

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return tuple(state_files(self._folder(layout), self.layers, self.model.sentences))

    def layer_files(self, layout: StudyLayout, layer: int, sentences: Sequence[str] = ()) -> tuple[Path, ...]:
        """Return the files of one layer: of words, and of sentences by the kinds of pooling asked for."""
        return tuple(state_files(self._folder(layout), [layer], sentences))

    def _folder(self, layout: StudyLayout) -> Path:
        return layout.states(self.model.name, self.stack)

    def run(self, layout: StudyLayout) -> Facts:
        # resumes and marks by itself
        extract(Corpus.open(layout), out=layout.root, **self.options, **self.how)
        return {}

    @property
    def options(self) -> dict[str, Any]:
        """What decides the states, as `extract` takes it."""
        return {
            "model": self.model.path,
            "name": self.model.name,
            "settings": self.model.extraction(self.stack),
            "stack": self.stack,
            "revision": self.model.revision,
        }

    @property
    def how(self) -> dict[str, Any]:
        """How they are computed, which changes no more than the last bits."""
        return {"batch_tokens": self.batch_tokens, "device": self.computes_on}

    def seconds(self, about: Estimates) -> float:
        info = about.info(self.model)
        rate = models.operations_per_second(info, device=self.computes_on, compute=self.model.compute)
        work = models.work_per_subword(info, self.stack, self.layers)
        return float(about.n_subwords(info) * work / rate)

    def memory(self, about: Estimates) -> int:
        """Return bytes: the weights twice, of the file and in memory."""
        work = models.work_per_subword(about.info(self.model), self.stack, self.layers)
        return PROCESS + int(work / 2 * 8)

    def parts(self) -> tuple[Step, ...]:
        cut = shards_of(self.n_lines)
        shards = tuple(ExtractShard(self, shard, len(cut), self.batch_tokens) for shard in cut)
        joined = tuple(JoinShards(self, shards, layer) for layer in (None, *self.layers))
        return (*shards, *joined, FinishStates(self, shards, joined))

    def forget_parts(self, layout: StudyLayout) -> tuple[Path, ...]:
        forget_shards(layout, name=self.model.name, stack=self.stack)
        return layout.shards(self.model.name, self.stack), layout.marker(self.name).with_suffix("")


@dataclass(frozen=True)
class ExtractShard(Step):
    """One of `n_shards` shards of states: a run of the batches that `batch_tokens` makes."""

    # not a step that is waited for: what it is a part of
    states: ExtractStates = field(metadata={"is_input": False})
    shard: Shard
    n_shards: int
    batch_tokens: int | None
    stage: ClassVar[str] = "shards of states"
    is_forward_pass: ClassVar[bool] = True

    @cached_property
    def name(self) -> str:
        return f"{self.states.name}/shard-{self.shard.name}"

    @property
    def device(self) -> str:
        return self.states.device

    @property
    def cost(self) -> float:
        return self.states.cost / self.n_shards

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        folder = layout.shard(self.states.model.name, self.states.stack, self.shard.name)
        return tuple(shard_files(folder, self.states.layers, self.states.model.sentences))

    def run(self, layout: StudyLayout) -> Facts:
        states = self.states
        return extract_shard(Corpus.open(layout), study=layout, shard=self.shard, **states.options, **states.how)

    def memory(self, about: Estimates) -> int:
        return self.states.memory(about)


@dataclass(frozen=True)
class JoinShards(Step):
    """The states of one layer, or (None) the facts of subwords, from all shards."""

    states: ExtractStates = field(metadata={"is_input": False})
    shards: tuple[ExtractShard, ...]
    layer: int | None
    stage: ClassVar[str] = "joined states"

    @cached_property
    def name(self) -> str:
        return f"{self.states.name}/" + ("counts" if self.layer is None else f"layer_{self.layer:02d}")

    def _kinds(self) -> Sequence[str]:
        return () if self.layer is None else self.states.model.sentences

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        counts = tuple(state_files(layout.states(self.states.model.name, self.states.stack), (), ()))
        if self.layer is None:
            return counts
        return tuple(x for x in self.states.layer_files(layout, self.layer, self._kinds()) if x not in counts)

    def reads(self, layout: StudyLayout) -> tuple[Path, ...]:
        layers = [] if self.layer is None else [self.layer]
        names = [part.shard.name for part in self.shards]
        folders = [layout.shard(self.states.model.name, self.states.stack, name) for name in names]
        return tuple(path for folder in folders for path in shard_files(folder, layers, self._kinds()))

    def run(self, layout: StudyLayout) -> Facts:
        join_shards(
            layout,
            name=self.states.model.name,
            stack=self.states.stack,
            shards=[part.shard.name for part in self.shards],
            layer=self.layer,
            kinds=self._kinds(),
            n_rows=self.states.n_words,
            n_lines=self.states.n_lines,
        )
        return {}


@dataclass(frozen=True)
class FinishStates(Step):
    """The marker of states, from what the steps of their shards and layers tell."""

    states: ExtractStates = field(metadata={"is_input": False})
    shards: tuple[ExtractShard, ...]
    joined: tuple[JoinShards, ...]
    stage: ClassVar[str] = "states"
    marks_itself: ClassVar[bool] = True

    @cached_property
    def name(self) -> str:
        return self.states.name

    @cached_property
    def key(self) -> str:
        return self.states.key

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return self.states.outputs(layout)

    def reads(self, layout: StudyLayout) -> tuple[Path, ...]:
        return self.joined[0].outputs(layout)

    def run(self, layout: StudyLayout) -> Facts:
        finish_states(
            Corpus.open(layout),
            study=layout,
            shards=[part.name for part in self.shards],
            joined=[part.name for part in self.joined],
            **self.states.options,
        )
        return {}
