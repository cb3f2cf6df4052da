"""A finished study, opened for reading: what report, explorer and notebooks work on."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.arguments import checked
from isogloss.concepts import Concepts
from isogloss.config import StudyConfig, read_config
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.errors import InputError
from isogloss.html import card, grid
from isogloss.metrics import colap
from isogloss.results import Alignment, Overlap, Results
from isogloss.store import CORPUS, LABEL_TABLES, StudyLayout, read_csv, read_json
from isogloss.study.beside import COLUMNS
from isogloss.study.measures import align_concepts, group_theta
from isogloss.study.steps import read_concepts


@dataclass(frozen=True)
class Run:
    """One clustering of all layers of one stack of one model."""

    model: str
    base_model: str
    stack: str
    layers: tuple[int, ...]
    method: str
    n_concepts: int
    seed: int


@dataclass(frozen=True)
class FinishedStudy:
    """The files of a study as nouns.

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
    def companions(self) -> pl.DataFrame | None:
        """The companion measures (``companions.parquet``), or None where the study asked for none."""
        study = StudyLayout(self.root)
        return study.table(study.companions, COLUMNS)

    @cached_property
    def labels(self) -> dict[str, pl.DataFrame] | None:
        """The tables of `isogloss.study.label_study`, or None where concepts were not labelled."""
        study = StudyLayout(self.root)
        found = {}
        for name in LABEL_TABLES:
            table = study.table(study.labels(name), ("layer", "kind"), "labels")
            if table is not None:
                found[name] = table
        return found or None

    @cached_property
    def robustness(self) -> pl.DataFrame | None:
        """The agreement of other settings with the study's (`isogloss.study.robustness`), or None without one."""
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
    def runs(self) -> list[Run]:
        """Every model, stack and clustering with results, in the order of the results."""
        names = ("model", "base_model", "stack", "method", "n_concepts", "seed")
        table = self.results.table.group_by(names, maintain_order=True).agg(pl.col("layer").unique().sort())
        return [Run(layers=tuple(row.pop("layer")), **row) for row in table.iter_rows(named=True)]

    def concepts(self, run: Run, layer: int, space: str) -> Concepts:
        """Return the concepts of one space (``"en"``, ``"en+de"``) at one layer."""
        return read_concepts(
            StudyLayout(self.root),
            self.tokens,
            model=run.model,
            stack=run.stack,
            method=run.method,
            n_concepts=run.n_concepts,
            seed=run.seed,
            layer=layer,
            space=space,
        )

    def dictionary(self, source: str, target: str) -> TranslationDictionary:
        """Return the translations in use from one language to another."""
        study = StudyLayout(self.root)
        path = study.checked(study.dictionary(source, target))
        aligner = self.config.alignment.aligner
        return TranslationDictionary.read(path, source=source, target=target, induced_by=aligner)

    def alignment(
        self, run: Run, layer: int, source: str, target: str, *, n_permutations: int = 0, words: bool = True
    ) -> Alignment:
        """Return CALIGN source -> target with its pairs and matched words, as asked for without its chance level."""
        return align_concepts(
            self.concepts(run, layer, source),
            self.concepts(run, layer, target),
            self.dictionary(source, target),
            self.config.metrics,
            n_permutations=n_permutations,
            words=words,
        )

    def charts(self) -> dict[str, Any]:
        """Return every figure of the study by name, each an Altair chart: `isogloss.plots.study_charts`."""
        # by name, as `Results.plot` does it: figures stand above studies
        found: dict[str, Any] = importlib.import_module("isogloss.plots").study_charts(self)
        return found

    def overlap(self, run: Run, layer: int, languages: tuple[str, ...]) -> Overlap:
        """Return COLAP of a pair, or of the whole group."""
        thetas = self.config.metrics.theta_overlap
        if languages == self.languages:
            thetas = tuple(group_theta(theta, len(languages)) for theta in thetas)
        concepts = self.concepts(run, layer, "+".join(languages))
        return colap(concepts, theta_overlap=thetas, rule=self.config.metrics.rule)

    def __repr__(self) -> str:
        runs, n = len(self.runs), self.results.table.height
        return f"FinishedStudy({self.config.name}: {'+'.join(self.languages)}, {runs} runs, {n} estimates)"

    def _repr_html_(self) -> str:
        known = self.manifest
        facts = {
            "named": self.config.name,
            "languages": ", ".join(self.languages),
            "sentences": known.get("n_sentences"),
            "words": known.get("n_words"),
            "estimates": self.results.table.height,
            "isogloss": known.get("isogloss"),
        }
        columns = ("model", "base_model", "stack", "method", "n_concepts", "seed")
        rows = [
            (*(getattr(run, name) for name in columns), ", ".join(map(str, run.layers))) for run in self.runs
        ]
        return card("Study", facts, grid((*columns, "layers"), rows), note=" ".join(self.warnings))


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
