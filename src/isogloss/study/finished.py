"""A finished study, opened for reading: what report, explorer and notebooks work on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.arguments import checked
from isogloss.concepts import Concepts
from isogloss.config import StudyConfig, read_config
from isogloss.coordinates import Clustering, Pair, Space
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.discovery import METHODS, with_trees
from isogloss.errors import InputError, UsageError
from isogloss.html import card, grid
from isogloss.metrics import colap
from isogloss.metrics.concepts.overlap import group_theta
from isogloss.results import Alignment, Overlap, Results
from isogloss.store import CORPUS, LABEL_TABLES, StudyLayout, read_csv, read_json
from isogloss.study.analyses.search import BY_LAYER
from isogloss.study.measures import align_concepts
from isogloss.study.steps.concepts import read_concepts, read_tree
from isogloss.study.steps.words import read_dictionary


@dataclass(frozen=True)
class FinishedStudy:
    """The files of a study as data classes.

    Attributes
    ----------
    root : Path
    config : StudyConfig
    results : Results
    manifest : dict
    """

    root: Path
    config: StudyConfig
    results: Results
    manifest: dict[str, Any]

    @cached_property
    def corpus(self) -> Corpus:
        """The text and its words."""
        return Corpus.open(StudyLayout(self.root))

    @property
    def languages(self) -> tuple[str, ...]:
        """In the order of the study."""
        return tuple(self.manifest["languages"])

    @property
    def sentences(self) -> pl.DataFrame:
        """See `Corpus.sentences`."""
        return self.corpus.sentences

    @property
    def tokens(self) -> pl.DataFrame:
        """See `Corpus.words`."""
        return self.corpus.words

    @cached_property
    def by_layer(self) -> pl.DataFrame:
        """The mean over pairs at every layer, and which layer is the best; see `isogloss.study.analyses.search`.

        Raises
        ------
        InputError
            If the study was run by a version that did not write it.
        """
        study = StudyLayout(self.root)
        table = study.table(study.results_by_layer, BY_LAYER, study.results.stem)
        if table is None:
            raise InputError(f"The study in {self.root} has no {study.results_by_layer.name}. Run it again.")
        return table

    @cached_property
    def labels(self) -> dict[str, pl.DataFrame] | None:
        """What concepts are made of (``labels``, ``scores``, ``splits``), or None where they were not labelled."""
        study = StudyLayout(self.root)
        tables = {}
        for name in LABEL_TABLES:
            table = study.table(study.labels(name), ("layer", "kind"), "labels/labels")
            if table is not None:
                tables[name] = table
        return tables or None

    @cached_property
    def robustness(self) -> pl.DataFrame | None:
        """The agreement of other settings with the study's (section ``robustness``), or None without one."""
        study = StudyLayout(self.root)
        path = study.robustness_csv
        if not study.is_there(path):
            return None
        kinds = {f"rho_{name}": pl.Float64 for name in ("layers", "pairs", "models")}
        return read_csv(study.checked(path), schema_overrides=kinds)

    @property
    def warnings(self) -> list[str]:
        """What a reader of the results must know."""
        return list(self.manifest["warnings"])

    @cached_property
    def runs(self) -> list[tuple[Clustering, ...]]:
        """One clustering at all its layers, of every model, stack, number of concepts and seed with results."""
        names = ("model", "stack", "method", "n_concepts", "seed")
        table = self.results.clustered.group_by(names, maintain_order=True).agg(pl.col("layer").unique().sort())
        return [
            tuple(Clustering(layer=layer, **row) for layer in row.pop("layer")) for row in table.iter_rows(named=True)
        ]

    @cached_property
    def clusterings(self) -> list[Clustering]:
        """Those of all `runs`."""
        return [clustering for run in self.runs for clustering in run]

    @cached_property
    def bases(self) -> dict[str, str]:
        """Model -> the one that it was fine-tuned from, or nothing."""
        return dict(self.results.table.select("model", "base_model").unique(maintain_order=True).iter_rows())

    @cached_property
    def pairs(self) -> list[Pair]:
        """Those that were measured, in the order of the study."""
        table = self.results.only(metric="colap").select("source", "target").unique(maintain_order=True)
        return [Pair(*both) for both in table.iter_rows()]

    @cached_property
    def spaces(self) -> list[Space]:
        """What was clustered: every language of a pair alone, every pair, and all languages together."""
        joint = [pair.space for pair in self.pairs]
        whole = Space(self.languages)
        paired = {language for pair in self.pairs for language in pair.languages}
        single = [Space.of(language) for language in self.languages if language in paired]
        return [*single, *joint, *([] if whole in joint else [whole])]

    def concepts(self, clustering: Clustering, space: Space) -> Concepts:
        """Return the concepts of one space."""
        return read_concepts(StudyLayout(self.root), self.tokens, clustering, space)

    def tree(self, clustering: Clustering, space: Space) -> Concepts:
        """Return the concepts of one space with the tree that they are cut from.

        Raises
        ------
        UsageError
            If the method grows no trees.
        """
        if not METHODS[clustering.method].has_tree:
            raise UsageError(
                f"The concepts of this study were found by {clustering.method}, which grows no trees. "
                f"Run it with another discovery.method ({with_trees()})."
            )
        whole = read_tree(StudyLayout(self.root), self.tokens, clustering, space)
        return whole.cut(n_concepts=clustering.n_concepts)

    def dictionary(self, direction: Pair) -> TranslationDictionary:
        """Return the translations in use from one language to another."""
        aligner = self.config.alignment.aligner
        return read_dictionary(StudyLayout(self.root), direction, induced_by=aligner)

    def alignment(
        self, clustering: Clustering, direction: Pair, *, n_permutations: int = 0, words: bool = True
    ) -> Alignment:
        """Return CALIGN source -> target with its pairs and matched words, as asked for without its chance level."""
        source, target = (self.concepts(clustering, side) for side in direction.sides)
        return align_concepts(
            source, target, self.dictionary(direction), self.config.metrics, n_permutations=n_permutations, words=words
        )

    def overlap(self, clustering: Clustering, space: Space) -> Overlap:
        """Return COLAP of a pair's space, or of all languages together."""
        thetas = self.config.metrics.theta_overlap
        if space.languages == self.languages:
            thetas = tuple(group_theta(theta, len(space.languages)) for theta in thetas)
        concepts = self.concepts(clustering, space)
        return colap(concepts, settings=self.config.metrics, theta_overlap=thetas)

    def __repr__(self) -> str:
        runs, n = len(self.runs), self.results.table.height
        return f"FinishedStudy({self.config.name}: {'+'.join(self.languages)}, {runs} runs, {n} estimates)"

    def _repr_html_(self) -> str:
        manifest = self.manifest
        facts = {
            "named": self.config.name,
            "languages": ", ".join(self.languages),
            "sentences": manifest.get("n_sentences"),
            "words": manifest.get("n_words"),
            "estimates": self.results.table.height,
            "isogloss": manifest.get("isogloss"),
        }
        rows = []
        for run in self.runs:
            first, layers = run[0], ", ".join(str(clustering.layer) for clustering in run)
            names = (first.model, self.bases[first.model], first.stack, first.method)
            rows.append((*names, first.n_concepts, first.seed, layers))
        columns = ("model", "base_model", "stack", "method", "n_concepts", "seed", "layers")
        return card("Study", facts, grid(columns, rows), note=" ".join(self.warnings))


@checked
def open_study(folder: str | Path) -> FinishedStudy:
    """Open a study folder that has results.

    Raises
    ------
    InputError
        If the folder has no finished study, its results are of another text than it holds now, or a file is damaged;
        the message says which.
    """
    files = StudyLayout(Path(folder).resolve())
    if not files.config.is_file():
        raise InputError(f"{folder} is not a study folder: it has no {files.config.name}.")
    if not files.results.exists() and files.record(files.results.stem) is None:
        raise InputError(
            f"The study in {folder} has no results yet. Run it with: isogloss run {files.config} --out {folder}"
        )
    results = Results.read(files.checked(files.results))
    for path in (files.tokens, files.sentences):
        files.checked(path, CORPUS)
    manifest = read_json(files.checked(files.manifest))
    return FinishedStudy(files.root, read_config(files.config), results, manifest)
