"""The step of the companion measures: of one pair at one layer, from its states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from isogloss.config import CompanionsSection
from isogloss.coordinates import Pair
from isogloss.dictionary import WordLinks
from isogloss.extraction import open_states
from isogloss.metrics.companions.estimates import compare_rows, look_at_space
from isogloss.metrics.registry import COMPANIONS
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.runner import Facts, Step
from isogloss.states import States, with_rows
from isogloss.store import StudyLayout
from isogloss.study.sheet import Sheet
from isogloss.study.steps.states import ExtractStates
from isogloss.study.steps.words import LinkWords


@dataclass(frozen=True)
class MeasureCompanions(Step):
    """Every companion measure of one pair at one layer, with its draws as `MeasurePair` has them.

    Attributes
    ----------
    pair : Pair
    layer : int
    states : ExtractStates
    links : LinkWords or None
    settings : CompanionsSection
    n_bootstrap, draw_seed : int
    made_by, corpus, base : str
        The version of isogloss, the digest of the corpus, the model that its own was fine-tuned from or nothing.
    """

    pair: Pair
    layer: int
    states: ExtractStates
    links: LinkWords | None
    settings: CompanionsSection
    n_bootstrap: int
    draw_seed: int
    made_by: str
    corpus: str
    base: str
    stage: ClassVar[str] = "companions"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.companions_at(self.states.model.name, self.states.stack, self.layer, self.pair),)

    def reads(self, layout: StudyLayout) -> tuple[Path, ...]:
        links = self.links.outputs(layout) if self.links else ()
        return (*self.states.layer_files(layout, self.layer, self.states.model.sentences), *links)

    def run(self, layout: StudyLayout) -> Facts:
        model, stack = self.states.model.name, self.states.stack
        states = open_states(layout, name=model, stack=stack, layer=self.layer)
        resamples = None
        if self.n_bootstrap:  # those of MeasurePair: the same sentences for every model, layer and measure
            resamples = Resamples.draw(states.tokens["sentence"].unique(), self.n_bootstrap, draw_seed=self.draw_seed)
        place = {"model": model, "stack": stack, "layer": self.layer}
        sheet = Sheet({**place, "base_model": self.base})
        material = self._material(layout, states)
        for name in self.settings.measures:
            takes = COMPANIONS[name].takes
            # no links, or no states of sentences
            if takes not in material:
                continue
            if takes == "space":
                estimate = look_at_space(name, *material[takes], resamples=resamples)
            else:
                X, Y, sentences = material[takes]
                estimate = compare_rows(name, X, Y, sentences=sentences, resamples=resamples, draw_seed=self.draw_seed)
            signed = {
                "isogloss": self.made_by,
                "metric": name,
                "states": takes,
                "pooling": self.states.model.pooling if takes == "words" else next(iter(states.sentence_arrays)),
                "n": estimate.n,
                "ci": estimate.ci,
                "draw_seed": self.draw_seed,
                **place,
                "corpus": self.corpus,
            }
            signed = {part: signed[part] for part in COMPANIONS[name].signature}
            sheet.add(name, self.pair, estimate, signed=signed)
        return sheet.write(self.outputs(layout)[0])

    def _material(self, layout: StudyLayout, states: States) -> dict[str, tuple[Any, ...]]:
        """Return what the measures take, as far as it is there: aligned sentences, linked words, the stacked space.

        The last array of each is the sentence that every row is of, or its word is taken from.
        """
        material: dict[str, tuple[Any, ...]] = {}
        kind = next(iter(states.sentence_arrays), None)
        if kind is not None:
            left, right = (states.sentences_at(self.layer, language=x, pooling=kind) for x in self.pair.languages)
            numbers = [side.sentences["sentence"].to_numpy() for side in (left, right)]
            common = np.intersect1d(numbers[0], numbers[1])
            X, Y = (
                side.X[np.searchsorted(of_side, common)].astype(np.float64)
                for side, of_side in zip((left, right), numbers, strict=True)
            )
            if len(common) > 1:
                languages = np.repeat(np.array(self.pair.languages), len(common))
                material["sentences"] = (X, Y, common)
                material["space"] = (np.concatenate([X, Y]), languages, np.tile(common, 2))
        if self.links is not None:
            linked = _linked_types(
                states.tokens, self.links.load(layout), n_words=self.settings.n_words, draw_seed=self.draw_seed
            )
            if linked.height > 1:
                rows = (linked[f"{side}_row"].to_numpy() for side in ("source", "target"))
                X, Y = (states.arrays[self.layer][side].astype(np.float64) for side in rows)
                material["words"] = (X, Y, linked["sentence"].to_numpy())
        return material


def _linked_types(tokens: pl.DataFrame, links: WordLinks, *, n_words: int, draw_seed: int) -> pl.DataFrame:
    """Return the first link of at most `n_words` pairs of types, with token rows; every type once on its side."""
    table = links.table.unique(["source_word", "target_word"], keep="first", maintain_order=True)
    table = table.unique("source_word", keep="first", maintain_order=True)
    table = table.unique("target_word", keep="first", maintain_order=True)
    there = tokens.filter(pl.col("n_subwords") > 0)
    table = with_rows(table, there, source=links.source, target=links.target)
    if table.height > n_words:
        kept = np.sort(np.random.default_rng(draw_seed).choice(table.height, n_words, replace=False))
        table = table[kept]
    return table
