"""The study file (YAML) as typed models: defaults, validation, and errors that name the line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from isogloss.aligners import ALIGNERS
from isogloss.aligners import METHODS as SYMMETRISE
from isogloss.arguments import (
    Count,
    Distinct,
    Draws,
    Name,
    NTypes,
    OneOf,
    OrOne,
    PositiveShare,
    Seed,
    Several,
    SomeDraws,
    Text,
    Translations,
    Words,
)
from isogloss.corpus.readers import FORMATS
from isogloss.dictionary import Case
from isogloss.discovery import METHODS
from isogloss.errors import unknown
from isogloss.metrics.registry import COMPANIONS, DEFAULT_COMPANIONS
from isogloss.sections import Section, read_yaml
from isogloss.settings import (
    AlignmentSettings,
    DiscoverySettings,
    ExtractionSettings,
    LabelSettings,
    OverlapSettings,
    RunSection,
    SelectionRule,
    TrainingSettings,
)
from isogloss.store import folder_name, write_text


class CorpusSection(Section):
    """Where the text is."""

    files: Annotated[dict[Text, Text], Distinct(1)] | Text = Field(
        description="language -> file, or one multi-parallel file"
    )
    format: Annotated[str, OneOf(("auto", *FORMATS))] = Field(
        default="auto", description="auto: by the file's ending, and by its content where that leaves no doubt"
    )
    languages: Annotated[list[Text], Distinct(1)] | None = Field(
        default=None, description="which of them, in which order; default: all"
    )
    max_words: Words = Field(default=300, description="words of the longest sentence that is kept")
    n_sentences: Count | None = Field(default=None, description="only the first ones")
    lines: tuple[Count, Count] | None = Field(default=None, description="first and last line used, counted from 1")
    segmented: bool = Field(default=False, description="words are already separated by spaces")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the format's reader")

    @field_validator("lines")
    @classmethod
    def _in_order(cls, lines: tuple[int, int] | None) -> tuple[int, int] | None:
        if lines and lines[0] > lines[1]:
            raise ValueError("lines are the first and the last one used, counted from 1")
        return lines


class _Model(Section):
    """Which model it is."""

    path: Text = Field(
        description="a hub id, a folder in the hub's format, or one of sentence-transformers or of a peft adapter"
    )
    name: str = Field(default="", description="short name in the study; default: the last part of path")
    base: str | None = Field(default=None, description="name of the model it was fine-tuned from")
    revision: Text | None = Field(default=None, description="branch, tag or commit on the hub")
    stacks: Annotated[list[Literal["encoder", "decoder"]], Distinct(1)] | None = Field(
        default=None, description="default: all it has"
    )


class ModelSection(ExtractionSettings, _Model):
    """One model, by hub id or folder, and how its states are made."""

    def extraction(self, stack: str) -> ExtractionSettings:
        """Return the settings of one stack: what the encoder reads meanwhile is for the decoder."""
        condition = self.condition if stack == "decoder" else None
        return ExtractionSettings(**self.values_of(ExtractionSettings) | {"condition": condition})

    @model_validator(mode="after")
    def _named(self) -> ModelSection:
        if not self.name:
            object.__setattr__(self, "name", folder_name(Path(self.path).name or self.path))
        return self


class AlignmentSection(Section):
    """Word links between every two languages."""

    aligner: Annotated[str, OneOf(tuple(ALIGNERS))] = Field(
        default="diagonal", description="see `isogloss list aligners`"
    )
    symmetrise: Annotated[str, OneOf(SYMMETRISE)] = Field(
        default="grow-diag-final-and", description="how the links of both directions become one set"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the aligner")
    links: dict[Text, Text] = Field(default_factory=dict, description="en-de -> Pharaoh file; replaces the aligner")
    dictionaries: dict[Text, Text] = Field(
        default_factory=dict,
        description="en-de -> MUSE-style file; replaces the counted dictionary. Two columns, or "
        "three: the third is a weight",
    )
    case: Case = Field(
        default="folded",
        description="how words of such a file are found in the corpus: folded, apart from "
        "case where that is unambiguous, or exact",
    )


class DictionarySection(Section):
    """What is kept of the counted dictionary."""

    top: Translations = Field(default=10, description="translations kept of a word, the most probable ones")
    min_count: Count = Field(default=1, description="links that a pair of words needs")


class SelectionSection(Section):
    """Tokens of monolingual spaces (CALIGN) and of joint spaces (COLAP)."""

    calign: SelectionRule = Field(default=SelectionRule(by="pairs"), description="of every language alone, for CALIGN")
    colap: SelectionRule = Field(
        default=SelectionRule(by="types"), description="of languages clustered together, for COLAP"
    )


class DiscoverySection(DiscoverySettings):
    """How concepts are found."""

    method: Annotated[str, OneOf(tuple(METHODS))] = DiscoverySettings.field("method")


Variant = Literal["covered", "one_to_one", "no_identical", "no_cognates", "frequency_matched", "other_sentences"]


class MetricsSection(OverlapSettings, AlignmentSettings):
    """Thresholds, chance levels and intervals."""

    n_permutations: SomeDraws = AlignmentSettings.field("n_permutations")
    n_bootstrap: Draws = Field(
        default=200, description="resamples of sentences for intervals; 0: Wilson's over concepts"
    )
    variants: Annotated[list[Variant], Distinct()] = Field(
        default_factory=list, description="further forms of CALIGN, at the first theta"
    )

    @model_validator(mode="after")
    def _below_a_half(self) -> MetricsSection:
        if 0.5 in self.theta_overlap and self.strict:
            raise ValueError("theta_overlap must be below 0.5: two languages cannot both own more than a half")
        return self


Measure = Annotated[str, OneOf(tuple(COMPANIONS))]


class CompanionsSection(Section):
    """Measures beside CALIGN and COLAP, from the same states without clusters."""

    measures: Annotated[list[Measure], Distinct()] = Field(
        default=list(DEFAULT_COMPANIONS), description="see `isogloss list metrics`; `[]` for none"
    )
    n_words: Several = Field(default=1000, description="linked word pairs, drawn from all")


class LabelsSection(LabelSettings):
    """What the members of a concept share."""

    n_permutations: SomeDraws = LabelSettings.field("n_permutations")


class RobustnessSection(Section):
    """CALIGN under other settings, to see whether the ordering of layers, pairs and models survives."""

    theta_align: Annotated[tuple[PositiveShare, ...], Distinct(1), OrOne(PositiveShare)] = Field(
        default=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), description="thresholds"
    )
    n_concepts: Annotated[tuple[Several, ...], Distinct(1), OrOne(Several)] | None = Field(
        default=None, description="cut from the trees; default: half of the study's least number, it, and twice it"
    )
    top: Annotated[tuple[Translations, ...], Distinct(1), OrOne(Translations)] = Field(
        default=(1, 5, 10), description="translations a word; at most `dictionary.top`"
    )
    min_types: Annotated[tuple[NTypes, ...], Distinct(1), OrOne(NTypes)] = Field(
        default=(3, 5, 8), description="types that a concept must have"
    )


class _Task(Section):
    """What is learnt, from which model and texts."""

    name: str = Field(default="", description="default: the kind")
    kind: Literal["ner", "sentiment", "translation"] = Field(
        description="tags of words, labels of sentences, or translation"
    )
    base: str = Field(default="", description="name of the model to fine-tune; default: the first")
    train: CorpusSection = Field(description="one or several languages")
    dev: CorpusSection | None = Field(default=None, description="chooses the best weights; default: a tenth of `train`")
    test: CorpusSection = Field(description="languages not in `train` are zero-shot")
    target: Text | None = Field(
        default=None, description="of translation: the language to translate into; all others are sources"
    )
    seeds: Annotated[list[Seed], Distinct(1)] = Field(
        default_factory=lambda: [0],
        description="of new heads, the order of sentences, dropout and the development sentences: a training each",
    )
    controls: Annotated[list[Literal["shuffled"]], Distinct()] = Field(
        default_factory=list,
        description="shuffled: the same training with labels (target lines) dealt at random, for every seed",
    )


class TaskSection(TrainingSettings, _Task):
    """Fine-tuning of one model on one task; every seed and control is a model of the study, beside its base."""

    @model_validator(mode="after")
    def _whole(self) -> TaskSection:
        if not self.name:
            object.__setattr__(self, "name", self.kind)
        if (self.kind == "translation") != (self.target is not None):
            raise ValueError("target, the language to translate into, goes with the kind 'translation' alone")
        return self


# what Mousi et al. (2024) set, as far as it could be established: docs/paper-settings.md
_PAPER: dict[str, dict[str, Any]] = {
    "dictionary": {"top": 10},
    "discovery": {"method": "kmeans", "n_concepts": 600},
    "metrics": {"theta_align": [0.8, 0.7, 0.9], "theta_overlap": [0.3], "min_types": 5, "min_size_ratio": 0.4},
}


class StudyConfig(Section):
    """A whole study."""

    preset: Literal["paper"] | None = Field(
        default=None,
        description="paper: what this file leaves out of dictionary, discovery and metrics is as Mousi et al. have it "
        "(k-means, K 600, theta 0.8), see docs/paper-settings.md",
    )
    name: Name = Field(default="study", description="the default folder of the study")
    corpus: CorpusSection = Field(description="the text")
    models: list[ModelSection] = Field(min_length=1, description="whose states are looked at")
    pairs: Literal["all"] | Annotated[list[tuple[Text, Text]], Distinct(1)] = Field(
        default="all", description="pairs of languages, such as `[[en, de], [en, ar]]`; each is measured both ways"
    )
    alignment: AlignmentSection = Field(
        default=AlignmentSection(), description="word links between every two languages"
    )
    dictionary: DictionarySection = Field(
        default=DictionarySection(), description="what is kept of the counted dictionaries"
    )
    selection: SelectionSection = Field(default=SelectionSection(), description="which tokens are clustered")
    discovery: DiscoverySection = Field(default=DiscoverySection(), description="how concepts are found")
    metrics: MetricsSection = Field(default=MetricsSection(), description="thresholds, chance levels and intervals")
    companions: CompanionsSection = Field(default=CompanionsSection(), description="measures without clusters")
    labels: LabelsSection | None = Field(
        default=LabelsSection(), description="what the members of a concept share; null leaves it out"
    )
    robustness: RobustnessSection | None = Field(
        default=None,
        description="other settings to measure CALIGN under, to see what depends on them; `{}` for the usual ones",
    )
    tasks: list[TaskSection] = Field(
        default_factory=list, description="what to fine-tune, and look at before and after"
    )
    run: RunSection = Field(default=RunSection(), description="how the work is done; no result depends on it")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("preset") != "paper":
            return data
        sections = {name: data.get(name, {}) for name in _PAPER}
        # a section that is no mapping is refused where it is read
        return data | {
            name: _PAPER[name] | section if isinstance(section, dict) else section for name, section in sections.items()
        }

    @field_validator("pairs")
    @classmethod
    def _of_two(cls, pairs: Literal["all"] | list[tuple[str, str]]) -> Literal["all"] | list[tuple[str, str]]:
        seen: set[frozenset[str]] = set()
        for pair in pairs if pairs != "all" else []:
            if len(set(pair)) < 2:
                raise ValueError(f"a pair needs two languages; got {pair[0]} twice")
            if frozenset(pair) in seen:
                raise ValueError(f"{' and '.join(pair)} are a pair twice; both directions are measured anyway")
            seen.add(frozenset(pair))
        return pairs

    @field_validator("models")
    @classmethod
    def _told_apart(cls, models: list[ModelSection]) -> list[ModelSection]:
        names = [folder_name(model.name) for model in models]
        for model, name in zip(models, names, strict=True):
            if names.count(name) > 1:
                raise ValueError(f"two models are called '{name}': give each its own name")
            if model.base is not None and model.base not in [m.name for m in models]:
                raise ValueError(str(unknown("base model", model.base, [m.name for m in models])))
        return models

    @field_validator("tasks")
    @classmethod
    def _of_a_model(cls, tasks: list[TaskSection], info: ValidationInfo) -> list[TaskSection]:
        names = [folder_name(task.name) for task in tasks]
        models = [model.name for model in info.data.get("models", [])]
        for task, name in zip(tasks, names, strict=True):
            if names.count(name) > 1:
                raise ValueError(f"two tasks are called '{name}': give each its own name")
            if task.base and task.base not in models:
                raise ValueError(str(unknown("base model", task.base, models)))
        return tasks

    def write(self, path: Path) -> None:
        """Write the study file as resolved, every default written out."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def read_config(path: str | Path) -> StudyConfig:
    """Read and validate a study file; paths in it are relative to its folder.

    Raises
    ------
    InputError
        If the file is missing or not YAML.
    UsageError
        If a key or value is wrong: the line is named, and the nearest known key.
    """
    return _with_absolute_paths(read_yaml(path, StudyConfig), Path(path).resolve().parent)


def _with_absolute_paths(config: StudyConfig, folder: Path) -> StudyConfig:
    """Resolve paths against the study file's folder; a model stays a hub id unless such a folder exists."""

    def resolve(name: str) -> str:
        return str((folder / Path(name).expanduser()).resolve())

    def text(section: CorpusSection) -> CorpusSection:
        files = section.files
        if section.format == "datasets":
            return section
        paths = resolve(files) if isinstance(files, str) else {k: resolve(v) for k, v in files.items()}
        return section.model_copy(update={"files": paths})

    tasks = [
        task.model_copy(update={"train": text(task.train), "dev": task.dev and text(task.dev), "test": text(task.test)})
        for task in config.tasks
    ]
    models = [
        m.model_copy(update={"path": resolve(m.path)})
        if m.path.startswith((".", "/", "~")) or (folder / m.path).is_dir()
        else m
        for m in config.models
    ]
    links = {k: resolve(v) for k, v in config.alignment.links.items()}
    dictionaries = {k: resolve(v) for k, v in config.alignment.dictionaries.items()}
    alignment = config.alignment.model_copy(update={"links": links, "dictionaries": dictionaries})
    changed = {"corpus": text(config.corpus), "models": models, "tasks": tasks, "alignment": alignment}
    return config.model_copy(update=changed)
