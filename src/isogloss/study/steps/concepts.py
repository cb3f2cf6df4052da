"""Steps of concepts: a tree and its cuts, or a clustering for every number of concepts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from isogloss.concepts import Concepts
from isogloss.coordinates import Clustering, Space
from isogloss.corpus import Corpus
from isogloss.discovery import discover, reads_in_parts
from isogloss.extraction import open_states
from isogloss.runner import Facts, Step
from isogloss.settings import SelectionRule
from isogloss.store import StudyLayout
from isogloss.study.estimate import PROCESS, Estimates
from isogloss.study.steps.states import ExtractStates
from isogloss.study.steps.words import LinkWords

_PASSES = 80  # products of states and centres that k-means takes, measured to convergence
_START = 1.0  # CPU seconds of a clustering beside its products


@dataclass(frozen=True)
class ClusterStates(Step):
    """What clustering a space at one layer is given.

    Attributes
    ----------
    states : ExtractStates
    layer : int
    space : Space
    rule : SelectionRule
        Which tokens take part.
    links : tuple of LinkWords
        Of the pairs that the rule counts.
    method : str
    options : dict
        Of the method.
    seed : int
    n_concepts : int
    """

    states: ExtractStates
    layer: int
    space: Space
    rule: SelectionRule
    links: tuple[LinkWords, ...]
    method: str
    options: dict[str, Any]
    seed: int
    n_concepts: int

    @property
    def clustering(self) -> Clustering:
        model, stack = self.states.model.name, self.states.stack
        return Clustering(model, stack, self.layer, self.method, self.n_concepts, self.seed)

    @property
    def cost(self) -> float:
        return float(len(self.space.languages))

    def reads(self, layout: StudyLayout) -> tuple[Path, ...]:
        links = (path for step in self.links for path in step.outputs(layout))
        return (*self.states.layer_files(layout, self.layer), *links)

    def discover(self, layout: StudyLayout) -> Concepts:
        """Select the states and cluster them."""
        languages = list(self.space.languages)
        states = open_states(
            layout, name=self.states.model.name, stack=self.states.stack, layer=self.layer, sentences=False
        ).select(
            links=[step.load(layout) for step in self.links],
            min_count=self.rule.min_count,
            max_count=self.rule.max_count,
            drop=self.rule.drop,
            languages=languages,
        )
        return discover(
            states.at(self.layer, language=languages, mapped=reads_in_parts(self.method, self.options)),
            n_concepts=self.n_concepts,
            method=self.method,
            seed=self.seed,
            **self.options,
        )

    def products(self, n: int) -> float:
        """Return how many products of two states `n` of them take."""
        raise NotImplementedError

    def seconds(self, about: Estimates) -> float:
        products = self.products(about.n_selected(self.rule, self.space))
        speed = about.speed(self.states.model)
        return float(2.0 * products * self.states.width / speed + _START / (os.cpu_count() or 1))

    def memory(self, about: Estimates) -> int:
        """Return bytes of the selected states, where they are read into memory, beside those of a process."""
        n = about.n_selected(self.rule, self.space)
        return PROCESS + (0 if reads_in_parts(self.method, self.options) else n * self.states.width * 2)


@dataclass(frozen=True)
class GrowTree(ClusterStates):
    """The tree of a space at one layer; at most `n_concepts` will be cut from it, so many it must have."""

    n_concepts: int = field(compare=False)
    stage: ClassVar[str] = "trees"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.tree(self.clustering, self.space),)

    def run(self, layout: StudyLayout) -> Facts:
        concepts = self.discover(layout)
        concepts.write_tree(self.outputs(layout)[0])
        return {"n_states": len(concepts.labels)}

    def load(self, layout: StudyLayout, tokens: pl.DataFrame) -> Concepts:
        """Read the tree, uncut."""
        return read_tree(layout, tokens, self.clustering, self.space)

    def _in_sample(self, n: int) -> int:
        return min(n, self.options.get("sample") or n)

    def products(self, n: int) -> float:
        kept = self._in_sample(n)
        # a tree of the sample, and the rows beside it
        return float(kept * kept + (n * kept if kept < n else 0))

    def memory(self, about: Estimates) -> int:
        n = about.n_selected(self.rule, self.space)
        return super().memory(about) + self._in_sample(n) * 8 * self.states.width + n * 350


@dataclass(frozen=True)
class CutTree(Step):
    """The concepts of a space at one layer, cut from its tree."""

    tree: GrowTree
    n_concepts: int
    stage: ClassVar[str] = "concepts"

    @property
    def clustering(self) -> Clustering:
        return replace(self.tree.clustering, n_concepts=self.n_concepts)

    @property
    def space(self) -> Space:
        return self.tree.space

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.concepts(self.clustering, self.space),)

    def run(self, layout: StudyLayout) -> Facts:
        tree = self.tree.load(layout, Corpus.open(layout).words)
        return _written(tree.cut(n_concepts=self.n_concepts), self.outputs(layout)[0])

    def load(self, layout: StudyLayout, tokens: pl.DataFrame) -> Concepts:
        """Read what it wrote."""
        return read_concepts(layout, tokens, self.clustering, self.space)


@dataclass(frozen=True)
class Cluster(ClusterStates):
    """The concepts of a space at one layer, by a method without a tree."""

    stage: ClassVar[str] = "concepts"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.concepts(self.clustering, self.space),)

    def run(self, layout: StudyLayout) -> Facts:
        return _written(self.discover(layout), self.outputs(layout)[0])

    def load(self, layout: StudyLayout, tokens: pl.DataFrame) -> Concepts:
        """Read what it wrote."""
        return read_concepts(layout, tokens, self.clustering, self.space)

    def products(self, n: int) -> float:
        return float(n * self.n_concepts * _PASSES)

    def memory(self, about: Estimates) -> int:
        return super().memory(about) + about.n_selected(self.rule, self.space) * 12


FindConcepts = CutTree | Cluster


def _written(concepts: Concepts, path: Path) -> Facts:
    concepts.write(path)
    return {"n_states": len(concepts.labels), "n_concepts": concepts.n_concepts}


def read_concepts(layout: StudyLayout, tokens: pl.DataFrame, clustering: Clustering, space: Space) -> Concepts:
    """Read the concepts of one space from a study folder; those of another text, or damaged, are an error."""
    path = layout.checked(layout.concepts(clustering, space))
    return Concepts.read(path, tokens, clustering)


def read_tree(layout: StudyLayout, tokens: pl.DataFrame, clustering: Clustering, space: Space) -> Concepts:
    """Read the tree of one space from a study folder, uncut; one of another text, or damaged, is an error."""
    path = layout.checked(layout.tree(clustering, space))
    return Concepts.read_tree(path, tokens, clustering)
