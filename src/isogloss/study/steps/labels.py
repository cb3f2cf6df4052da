"""Steps of labels: what the concepts of one layer are made of, and which kinds of them are shared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from isogloss.config import LabelsSection
from isogloss.coordinates import Clustering, Pair
from isogloss.corpus import Corpus
from isogloss.metrics.concepts.overlap import language_counts
from isogloss.metrics.labels.enrichment import label_concepts
from isogloss.metrics.labels.scores import label_set_scores, split_alignment, split_overlap
from isogloss.metrics.labels.word_facts import word_properties
from isogloss.results import Overlap
from isogloss.runner import Facts, Step
from isogloss.settings import AlignmentSettings, OverlapSettings
from isogloss.store import LABEL_TABLES, StudyLayout, read_table, write_table, write_with_csv
from isogloss.study.measures import align_concepts
from isogloss.study.steps.concepts import FindConcepts
from isogloss.study.steps.words import Dictionary, read_dictionary


@dataclass(frozen=True)
class LabelConcepts(Step):
    """The labels of every concept of one layer, and CALIGN and COLAP by label.

    See `isogloss.metrics.labels.enrichment.label_concepts` for the kinds of labels and their chance levels.

    Attributes
    ----------
    clustering : Clustering
    pairs : tuple of Pair
    concepts : tuple of FindConcepts
        Of the languages of the pairs, each alone, and of the pairs.
    dictionaries : tuple of Dictionary
    settings : LabelsSection
    alignment : AlignmentSettings
    overlap : OverlapSettings
    text : str
        Digest of the tables of the corpus, tags too.
    """

    clustering: Clustering
    pairs: tuple[Pair, ...]
    concepts: tuple[FindConcepts, ...]
    dictionaries: tuple[Dictionary, ...]
    settings: LabelsSection
    alignment: AlignmentSettings
    overlap: OverlapSettings
    text: str
    version: ClassVar[int] = 2
    stage: ClassVar[str] = "labels of layers"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return tuple(layout.labels_at(self.clustering, table) for table in LABEL_TABLES)

    def run(self, layout: StudyLayout) -> Facts:
        corpus = Corpus.open(layout)
        properties = word_properties(corpus.words, corpus.sentences)
        place = [pl.lit(value).alias(name) for name, value in self.clustering.facts().items()]
        tables: dict[str, list[pl.DataFrame]] = {name: [] for name in LABEL_TABLES}

        def add(name: str, table: pl.DataFrame, **more: str) -> None:
            facts = [pl.lit(value).alias(key) for key, value in more.items()]
            tables[name].append(table.select(*place, *facts, pl.all()))

        concepts, labels = {}, {}
        least_types = max(1, math.ceil(self.alignment.min_types))
        for step in self.concepts:
            space = step.space
            concepts[space] = step.load(layout, corpus.words)
            labels[space] = label_concepts(concepts[space], properties, settings=self.settings, min_types=least_types)
            add("labels", labels[space].table, space=space.name)
            add("scores", label_set_scores(labels[space]), space=space.name)
        for pair in self.pairs:
            for direction in pair.directions:
                source, target = direction.sides
                alignment = align_concepts(
                    concepts[source],
                    concepts[target],
                    read_dictionary(layout, direction),
                    self.alignment,
                    n_permutations=self.settings.n_permutations,
                )
                split = split_alignment(alignment, labels[source], chance=alignment.chance_of())
                add("splits", split, metric="calign", source=direction.source, target=direction.target)
            counts = language_counts(concepts[pair.space], pair.languages)
            # its own estimates are in the results
            overlap = Overlap(pair.languages, (), counts, self.overlap)
            split = split_overlap(overlap, labels[pair.space], theta=self.overlap.theta_overlap[0])
            add("splits", split, metric="colap", source=pair.source, target=pair.target)
        for name, parts in tables.items():
            write_table(layout.labels_at(self.clustering, name), pl.concat(parts))
        return {"n_labels": sum(part.height for part in tables["labels"])}


@dataclass(frozen=True)
class JoinLabels(Step):
    """The labels of all layers."""

    layers: tuple[LabelConcepts, ...]
    stage: ClassVar[str] = "labels"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        tables = [layout.labels(name) for name in LABEL_TABLES]
        return (*tables, *(path.with_suffix(".csv") for path in tables))

    def run(self, layout: StudyLayout) -> Facts:
        facts: dict[str, Any] = {}
        for name in LABEL_TABLES:
            files = [layout.labels_at(layer.clustering, name) for layer in self.layers]
            table = pl.concat([read_table(file, ("layer", "kind")) for file in files])
            write_with_csv(layout.labels(name), table)
            facts[f"n_{name}"] = table.height
        return facts
