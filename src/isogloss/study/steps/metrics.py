"""Steps that measure concepts: the estimates of a pair, and of spaces, of one clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import polars as pl

from isogloss.concepts import Concepts
from isogloss.config import MetricsSection
from isogloss.coordinates import Clustering, Pair, Space
from isogloss.corpus import Corpus
from isogloss.extraction import open_states
from isogloss.metrics import colap, mean_alignment
from isogloss.metrics.concepts.mixing import mixing_estimates
from isogloss.metrics.concepts.overlap import drawn_counts, group_theta
from isogloss.metrics.concepts.restricted import match_frequencies
from isogloss.metrics.concepts.sentences import colap_other_sentences, sentence_ami
from isogloss.metrics.registry import (
    ALIGNMENT,
    DIRECTED,
    GROUP_OVERLAP,
    OVERLAP,
    OVERLAP_ACROSS,
    SENTENCE,
    SOFT_ALIGNMENT,
)
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.results import Estimate, Overlap
from isogloss.runner import Facts, Step
from isogloss.store import StudyLayout
from isogloss.study.measures import MATCHED, Origin, align_concepts, align_variant, signature_parts, silhouette_of
from isogloss.study.sheet import Sheet
from isogloss.study.steps.concepts import FindConcepts
from isogloss.study.steps.states import ExtractStates
from isogloss.study.steps.words import Dictionary, read_dictionary


@dataclass(frozen=True)
class MeasurePair(Step):
    """Every estimate of one pair: CALIGN both ways and their mean, COLAP and what goes with it.

    Attributes
    ----------
    clustering : Clustering
    pair : Pair
    alone : tuple of FindConcepts
        The concepts of the source and of the target.
    joint : FindConcepts
    matched : tuple of FindConcepts
        Of the languages whose frequencies are matched, where the variant of that name is asked for.
    dictionaries : tuple of Dictionary
        There and back.
    states : ExtractStates
    metrics : MetricsSection
    origin : Origin
    """

    clustering: Clustering
    pair: Pair
    alone: tuple[FindConcepts, FindConcepts]
    joint: FindConcepts
    matched: tuple[FindConcepts, ...]
    dictionaries: tuple[Dictionary, Dictionary]
    states: ExtractStates
    metrics: MetricsSection
    origin: Origin
    version: ClassVar[int] = 2
    stage: ClassVar[str] = "metrics"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.metrics(self.clustering, self.pair),)

    def reads(self, layout: StudyLayout) -> tuple[Path, ...]:
        steps = (*self.alone, self.joint, *self.matched, *self.dictionaries)
        written = (path for step in steps for path in step.outputs(layout))
        return (*self.states.layer_files(layout, self.clustering.layer), *written)

    def run(self, layout: StudyLayout) -> Facts:
        sheet = _Sheet(layout, self.clustering, self.metrics, self.origin)
        settings, resamples = self.metrics, sheet.resamples
        concepts = {step.space: sheet.concepts(step) for step in (*self.alone, *self.matched)}
        # the frequencies of all languages are matched together
        alike = {space.languages[0]: of_language for space, of_language in concepts.items()}
        alike = match_frequencies(alike, draw_seed=settings.draw_seed) if self.matched else {}
        aligned = []
        for direction in self.pair.directions:
            dictionary = read_dictionary(layout, direction, induced_by=self.origin.dictionary)
            source, target = (concepts[side] for side in direction.sides)
            alignment = align_concepts(source, target, dictionary, settings, resamples=resamples)
            aligned.append(alignment)
            for estimate in alignment.estimates:
                sheet.note(DIRECTED, direction, estimate)
            sheet.note("calign_soft", direction, alignment.soft)
            for variant in settings.variants:
                if variant == MATCHED:
                    source, target = (alike[language] for language in direction.languages)
                else:
                    source, target = (concepts[side] for side in direction.sides)
                estimate = align_variant(variant, source, target, dictionary, settings=settings, resamples=resamples)
                sheet.note(f"calign_{variant}", direction, estimate)
        there, back = aligned
        for estimate_there, estimate_back in zip(there.estimates, back.estimates, strict=True):
            sheet.note(ALIGNMENT, self.pair, mean_alignment(estimate_there, estimate_back))
        sheet.note(SOFT_ALIGNMENT, self.pair, mean_alignment(there.soft, back.soft))
        self._add_joint(layout, sheet)
        return sheet.write(self.outputs(layout)[0])

    def _add_joint(self, layout: StudyLayout, sheet: _Sheet) -> None:
        together, settings = sheet.concepts(self.joint), self.metrics
        overlap = sheet.overlap(together, settings.theta_overlap)
        for estimate in overlap.estimates:
            sheet.note(OVERLAP, self.pair, estimate)
        # the text of a study is parallel
        across = colap_other_sentences(
            together, settings=settings, draw_seed=settings.draw_seed, resamples=sheet.resamples
        )
        for estimate in across:
            sheet.note(OVERLAP_ACROSS, self.pair, estimate)
        resampled = None
        if sheet.resamples is not None:
            resampled = drawn_counts(together, overlap.languages, sheet.resamples)
        for name, estimate in mixing_estimates(overlap.counts, drawn=resampled, interval=settings.interval).items():
            sheet.note(name, self.pair, estimate)
        where = {"name": self.clustering.model, "stack": self.clustering.stack}
        layer = self.clustering.layer
        states = open_states(layout, **where, layer=layer, sentences=False).arrays[layer]
        sheet.note("silhouette", self.pair, silhouette_of(together, states, settings, sheet.resamples))


@dataclass(frozen=True)
class MeasureSpaces(Step):
    """What every space of a clustering has: how much of a concept is its sentence; and the overlap of all languages.

    Attributes
    ----------
    clustering : Clustering
    spaces : tuple of FindConcepts
    group : Space
        All languages together, one of the spaces.
    metrics : MetricsSection
    origin : Origin
    """

    clustering: Clustering
    spaces: tuple[FindConcepts, ...]
    group: Space
    metrics: MetricsSection
    origin: Origin
    stage: ClassVar[str] = "metrics"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.metrics(self.clustering, None),)

    def run(self, layout: StudyLayout) -> Facts:
        sheet = _Sheet(layout, self.clustering, self.metrics, self.origin)
        thetas = [group_theta(theta, len(self.group.languages)) for theta in self.metrics.theta_overlap]
        for step in self.spaces:
            concepts = sheet.concepts(step)
            if step.space == self.group:
                for estimate in sheet.overlap(concepts, thetas).estimates:
                    sheet.note(GROUP_OVERLAP, step.space, estimate)
            told = sentence_ami(concepts, resamples=sheet.resamples, interval=self.metrics.interval)
            sheet.note(SENTENCE, step.space, told)
        return sheet.write(self.outputs(layout)[0])


class _Sheet(Sheet):
    """The estimates of one clustering, and what their formulas are given."""

    def __init__(self, layout: StudyLayout, clustering: Clustering, metrics: MetricsSection, origin: Origin) -> None:
        super().__init__({**clustering.facts(), "base_model": origin.base})
        self._layout, self._clustering, self._metrics, self._origin = layout, clustering, metrics, origin

    @cached_property
    def _tokens(self) -> pl.DataFrame:
        return Corpus.open(self._layout).words

    @cached_property
    def resamples(self) -> Resamples | None:
        """The same sentences for every model, layer and pair, so that differences are paired."""
        if not self._metrics.n_bootstrap:
            return None
        sentences = self._tokens["sentence"].unique()
        return Resamples.draw(sentences, self._metrics.n_bootstrap, draw_seed=self._metrics.draw_seed)

    def concepts(self, step: FindConcepts) -> Concepts:
        return step.load(self._layout, self._tokens)

    def overlap(self, concepts: Concepts, thetas: Sequence[float]) -> Overlap:
        return colap(concepts, settings=self._metrics, theta_overlap=thetas, resamples=self.resamples)

    def note(self, metric: str, of: Pair | Space, estimate: Estimate) -> None:
        """Add an estimate, signed."""
        signed = signature_parts(metric, self._clustering, self._metrics, estimate, self._origin)
        if isinstance(of, Space) and not of.is_joint:
            signed["select"] = self._origin.select_calign
        self.add(metric, of, estimate, signed=signed)
