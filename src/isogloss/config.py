"""The study file (YAML) as typed models: defaults, validation, and errors that name the line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator

from isogloss.aligners import ALIGNERS
from isogloss.aligners import METHODS as SYMMETRISE
from isogloss.arguments import (
    BatchSize,
    BatchTokens,
    Count,
    Decay,
    Distinct,
    Draws,
    Epochs,
    Evaluations,
    Half,
    Layer,
    Length,
    Like,
    Name,
    NTypes,
    OneOf,
    PartShare,
    PositiveShare,
    Rank,
    Rate,
    Scale,
    Seed,
    Several,
    Share,
    SomeDraws,
    Text,
    Translations,
    Within,
    Words,
    Workers,
)
from isogloss.corpus.readers import FORMATS
from isogloss.dictionary import Case
from isogloss.discovery import METHODS
from isogloss.errors import unknown
from isogloss.metrics.concepts.alignment import Null, Rule
from isogloss.metrics.registry import COMPANIONS, DEFAULT_COMPANIONS
from isogloss.metrics.statistics.bootstrap import Interval
from isogloss.sections import Section, read_yaml
from isogloss.states import Drop
from isogloss.store import folder_name, write_text
from isogloss.urls import is_loopback, without_secrets


class CorpusSection(Section):
    """Where the text is."""

    files: Annotated[dict[Text, Text], Distinct(1)] | Text = Field(
        description="language -> file, or one multi-parallel file"
    )
    format: Annotated[str, OneOf(("auto", *FORMATS))] = "auto"
    languages: Annotated[list[Text], Distinct(1)] | None = None
    max_words: Words = 300
    n_sentences: Count | None = Field(default=None, description="only the first ones")
    lines: tuple[Count, Count] | None = Field(
        default=None, description="first and last line used, counted from 1"
    )
    segmented: bool = Field(default=False, description="words are already separated by spaces")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the format's reader")

    @field_validator("lines")
    @classmethod
    def _in_order(cls, lines: tuple[int, int] | None) -> tuple[int, int] | None:
        if lines and lines[0] > lines[1]:
            raise ValueError("lines are the first and the last one used, counted from 1")
        return lines


class ModelSection(Section):
    """One model, by hub id or folder."""

    path: Text
    name: str = Field(default="", description="short name in the study; default: the last part of path")
    base: str | None = Field(default=None, description="name of the model it was fine-tuned from")
    revision: Text | None = None
    stacks: Annotated[list[Literal["encoder", "decoder"]], Distinct(1)] | None = Field(
        default=None, description="default: all it has"
    )
    layers: Literal["all"] | Annotated[list[Layer], Distinct(1)] = "all"
    pooling: Literal["mean", "last", "first"] = "mean"
    sentences: Annotated[list[Literal["mean", "cls", "last"]], Distinct()] = Field(
        default=["mean"], description="states of whole sentences, in the same pass"
    )
    dtype: Literal["float16", "float32"] = Field(default="float16", description="of the files")
    compute: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="of the forward pass; auto: float32 on a CPU, as stored on a GPU"
    )
    last_layer: Literal["normed", "raw"] = Field(
        default="normed", description="the last layer after or before the final norm (T5-, Llama-like)"
    )
    prefix: str = Field(default="", description="text before every sentence; its states are not kept")
    weights: Literal["pretrained", "random"] = Field(
        default="pretrained", description="random: the architecture before any training, a control"
    )
    language_codes: dict[Text, Text] = Field(
        default_factory=dict, description="language -> code that the model reads (mBART, NLLB): deu_Latn"
    )
    condition: dict[Text, Text] | None = Field(
        default=None, description="decoder of a seq2seq model: language -> language its encoder reads"
    )

    def extraction(self, stack: str) -> dict[str, Any]:
        """Return the settings of `isogloss.extract` that decide the states of one stack."""
        names = (
            "layers",
            "pooling",
            "sentences",
            "dtype",
            "compute",
            "last_layer",
            "prefix",
            "weights",
            "language_codes",
        )
        settings = {name: getattr(self, name) for name in (*names, "revision")}
        return {**settings, "stack": stack, "condition": self.condition if stack == "decoder" else None}

    @model_validator(mode="after")
    def _named(self) -> ModelSection:
        if not self.name:
            object.__setattr__(self, "name", folder_name(Path(self.path).name or self.path))
        return self


class AlignmentSection(Section):
    """Word links between every two languages."""

    aligner: Annotated[str, OneOf(tuple(ALIGNERS))] = "diagonal"
    symmetrise: Annotated[str, OneOf(SYMMETRISE)] = "grow-diag-final-and"
    options: dict[str, Any] = Field(default_factory=dict)
    links: dict[Text, Text] = Field(
        default_factory=dict, description="en-de -> Pharaoh file; replaces the aligner"
    )
    dictionaries: dict[Text, Text] = Field(
        default_factory=dict, description="en-de -> MUSE-style file; replaces the counted dictionary"
    )
    case: Case = Field(default="folded", description="how words of such a file are found in the corpus")


class DictionarySection(Section):
    """What is kept of the counted dictionary."""

    top: Translations = 10
    min_count: Count = 1


class SelectionRule(Section):
    """Which tokens are clustered."""

    by: Literal["pairs", "types"]
    min_count: Count = 1
    max_count: Count | None = 15
    drop: Annotated[list[Drop], Distinct()] = Field(default_factory=list)


class SelectionSection(Section):
    """Tokens of monolingual spaces (CALIGN) and of joint spaces (COLAP)."""

    calign: SelectionRule = SelectionRule(by="pairs")
    colap: SelectionRule = SelectionRule(by="types")


class DiscoverySection(Section):
    """How concepts are found."""

    method: Annotated[str, OneOf(tuple(METHODS))] = "ward"
    n_concepts: Literal["auto"] | Several | Annotated[list[Several], Distinct(1)] = Field(
        default="auto", description="one number or several; with ward several cost one clustering"
    )
    seeds: Annotated[list[Seed], Distinct(1)] = Field(default_factory=lambda: [0])
    options: dict[str, Any] = Field(default_factory=dict)


Variant = Literal[
    "covered", "one_to_one", "no_identical", "no_cognates", "frequency_matched", "other_sentences"
]


class MetricsSection(Section):
    """Thresholds and chance levels."""

    theta_align: Annotated[list[Share], Distinct(1)] = Field(default_factory=lambda: [0.8])
    theta_overlap: Annotated[list[Half], Distinct(1)] = Field(default_factory=lambda: [0.3])
    min_types: NTypes = 5
    min_size_ratio: Share = 0.4
    rule: Rule = "symmetric"
    n_permutations: SomeDraws = 200
    null: Null = Field(default="targets", description="what CALIGN's chance level permutes")
    n_bootstrap: Draws = Field(
        default=200, description="resamples of sentences for intervals; 0: Wilson's over concepts"
    )
    interval: Interval = "bca"
    variants: Annotated[list[Variant], Distinct()] = Field(
        default_factory=list, description="further forms of CALIGN, at the first theta"
    )
    draw_seed: Seed = Field(default=0, description="of what is drawn: permutations, resamples, samples")

    @model_validator(mode="after")
    def _reachable(self) -> MetricsSection:
        strict = self.rule == "paper-code"  # more than the threshold, where the other rule has at least
        if 0 in (*self.theta_align, *self.theta_overlap) and not strict:
            raise ValueError(
                "theta_align and theta_overlap must be above 0: every concept has at least nothing"
            )
        if 0.5 in self.theta_overlap and strict:
            raise ValueError(
                "theta_overlap must be below 0.5: two languages cannot both own more than a half"
            )
        return self


Measure = Annotated[str, OneOf(tuple(COMPANIONS))]


class CompanionsSection(Section):
    """Measures beside CALIGN and COLAP, from the same states without clusters."""

    measures: Annotated[list[Measure], Distinct()] = Field(
        default=list(DEFAULT_COMPANIONS), description="see: isogloss list metrics; [] for none"
    )
    n_words: Several = Field(default=1000, description="linked word pairs, drawn from all")


class LabelsSection(Section):
    """What the members of a concept share."""

    threshold: PositiveShare = Field(default=0.9, description="share of a concept's types with the label")
    n_permutations: SomeDraws = 100


class RobustnessSection(Section):
    """CALIGN under other settings, to see whether the ordering of layers, pairs and models survives."""

    theta_align: Annotated[list[PositiveShare], Distinct(1)] = Field(
        default_factory=lambda: [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], description="thresholds"
    )
    n_concepts: Annotated[list[Several], Distinct(1)] | None = Field(
        default=None,
        description="cut from the trees; default: half of the study's first number, it, and twice it",
    )
    top: Annotated[list[Translations], Distinct(1)] = Field(
        default_factory=lambda: [1, 5, 10], description="translations a word; at most dictionary.top"
    )
    min_types: Annotated[list[NTypes], Distinct(1)] = Field(
        default_factory=lambda: [3.0, 5.0, 8.0], description="types that a concept must have"
    )


class LoraSection(Section):
    """Low-rank adapters instead of all weights."""

    rank: Rank = 8
    alpha: Scale = 16
    dropout: PartShare = 0
    targets: Annotated[list[Text], Distinct(1)] | None = Field(
        default=None, description="linear layers; default: those peft knows"
    )


class TaskSection(Section):
    """Fine-tuning of one model on one task; every seed and control is a model of the study, beside its base."""

    name: str = Field(default="", description="default: the kind")
    kind: Literal["ner", "sentiment", "translation"]
    base: str = Field(default="", description="name of the model to fine-tune; default: the first")
    train: CorpusSection
    dev: CorpusSection | None = Field(
        default=None, description="for the best weights; default: a tenth of train"
    )
    test: CorpusSection = Field(description="languages not in train are zero-shot")
    target: Text | None = Field(default=None, description="of translation")
    seeds: Annotated[list[Seed], Distinct(1)] = Field(default_factory=lambda: [0])
    controls: Annotated[list[Literal["shuffled"]], Distinct()] = Field(
        default_factory=list, description="shuffled: the same training with labels dealt at random"
    )
    epochs: Epochs = 3
    rate: Rate = 5e-5
    batch_size: BatchSize = 32
    warmup: PartShare = 0.1
    weight_decay: Decay = 0.01
    evaluations: Evaluations = Field(default=6, description="on dev, evenly over the training")
    patience: Evaluations = Field(default=3, description="evaluations without a better score before it ends")
    max_length: Length = Field(default=128, description="subwords of a training sentence")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the matrix products in training"
    )
    lora: LoraSection | None = None

    @model_validator(mode="after")
    def _whole(self) -> TaskSection:
        if not self.name:
            object.__setattr__(self, "name", self.kind)
        if (self.kind == "translation") != (self.target is not None):
            raise ValueError("target, the language to translate into, goes with the kind 'translation' alone")
        return self


SCHEDULERS = ("local", "processes", "slurm")
ENCRYPTED = ("tls://", "wss://")


class SlurmSection(Section):
    """A job of a SLURM cluster: one worker of a study."""

    cpus: Workers = 4
    memory: Annotated[str, Like(r"\d+(\.\d+)? ?[kKMGT]?i?B?", "16 GB")] = Field(
        default="16 GB", description="of a job"
    )
    gpus: Annotated[int, Within(0, 1, why="a worker uses one")] = 0
    walltime: Annotated[str, Like(r"(\d+-)?\d+:\d\d(:\d\d)?", "04:00:00")] = Field(
        default="04:00:00", description="HH:MM:SS"
    )
    partition: str | None = None
    account: str | None = None
    interface: str | None = Field(default=None, description="network interface of the nodes, e.g. ib0")
    scratch: str | None = Field(default=None, description="folder on a node's own disk")
    logs: str | None = Field(default=None, description="folder for the output of jobs")
    certificates: str = Field(
        default="~", description="folder that login and compute nodes share, for the keys of a running study"
    )
    prologue: list[str] = Field(
        default_factory=list, description="lines of shell before the worker starts, e.g. module load"
    )
    directives: list[str] = Field(default_factory=list, description="further #SBATCH options")


class RunSection(Section):
    """How the work is done; nothing here changes a result beyond float rounding."""

    scheduler: str = Field(
        default="local",
        description="local; or on Dask: processes of this machine, slurm, or the address of a scheduler (tls://...)",
    )
    workers: Workers | None = Field(
        default=None, description="processes; default: the number of cores. On slurm: jobs, default 1"
    )
    storage: str | None = Field(
        default=None,
        repr=False,  # it may hold a password, which stays in memory
        description="URL through which workers exchange files where they share no file system, e.g. s3://bucket/study",
    )
    unencrypted: bool = Field(
        default=False,
        description="true: also a scheduler at tcp:// of another machine, which runs whatever it is sent",
    )
    slurm: SlurmSection = SlurmSection()
    batch_tokens: BatchTokens | None = Field(
        default=None, description="padded subwords in a batch; default: 2048 on a CPU, 16384 on a GPU"
    )
    device: Annotated[str, Like(r"auto|cpu|(cuda|mps|xpu)(:\d+)?", "cuda")] = "auto"

    @field_serializer("storage")
    def _shown(self, url: str | None) -> str | None:
        return url and without_secrets(url)

    @field_validator("scheduler")
    @classmethod
    def _known(cls, name: str) -> str:
        if "://" not in name and name not in SCHEDULERS:
            raise ValueError(f"{unknown('scheduler', name, SCHEDULERS)} An address reads tls://host:8786.")
        return name

    @model_validator(mode="after")
    def _apart(self) -> RunSection:
        if self.storage and self.scheduler == "local":
            raise ValueError(
                "storage is for workers of Dask: name a scheduler, e.g. processes, or leave it out"
            )
        address = self.scheduler
        if "://" in address and not (
            self.unencrypted or address.startswith(ENCRYPTED) or is_loopback(address)
        ):
            raise ValueError(
                f"the scheduler at {address} would be reached without encryption, and whoever reaches it can run code "
                "as you. Give it certificates and write tls://host:8786 (docs/cluster.md), or, in a network that you "
                "trust, say run: {unencrypted: true}"
            )
        return self


class StudyConfig(Section):
    """A whole study."""

    name: Name = "study"
    corpus: CorpusSection
    models: list[ModelSection] = Field(min_length=1)
    pairs: Literal["all"] | Annotated[list[tuple[Text, Text]], Distinct(1)] = "all"
    alignment: AlignmentSection = AlignmentSection()
    dictionary: DictionarySection = DictionarySection()
    selection: SelectionSection = SelectionSection()
    discovery: DiscoverySection = DiscoverySection()
    metrics: MetricsSection = MetricsSection()
    companions: CompanionsSection = CompanionsSection()
    labels: LabelsSection | None = LabelsSection()
    robustness: RobustnessSection | None = Field(
        default=None, description="other settings to measure CALIGN under; {} for the usual ones"
    )
    tasks: list[TaskSection] = Field(
        default_factory=list, description="what to fine-tune, and look at before and after"
    )
    run: RunSection = RunSection()

    @field_validator("pairs")
    @classmethod
    def _of_two(cls, pairs: Literal["all"] | list[tuple[str, str]]) -> Literal["all"] | list[tuple[str, str]]:
        seen: set[frozenset[str]] = set()
        for pair in pairs if pairs != "all" else []:
            if len(set(pair)) < 2:
                raise ValueError(f"a pair needs two languages; got {pair[0]} twice")
            if frozenset(pair) in seen:
                raise ValueError(
                    f"{' and '.join(pair)} are a pair twice; both directions are measured anyway"
                )
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

    alignment = config.alignment

    def text(section: CorpusSection) -> CorpusSection:
        files = section.files
        if section.format == "datasets":
            return section
        found = resolve(files) if isinstance(files, str) else {k: resolve(v) for k, v in files.items()}
        return section.model_copy(update={"files": found})

    tasks = [
        task.model_copy(
            update={
                "train": text(task.train),
                "dev": task.dev and text(task.dev),
                "test": text(task.test),
            }
        )
        for task in config.tasks
    ]
    models = [
        m.model_copy(update={"path": resolve(m.path)})
        if m.path.startswith((".", "/", "~")) or (folder / m.path).is_dir()
        else m
        for m in config.models
    ]
    return config.model_copy(
        update={
            "corpus": text(config.corpus),
            "models": models,
            "tasks": tasks,
            "alignment": alignment.model_copy(
                update={
                    "links": {k: resolve(v) for k, v in alignment.links.items()},
                    "dictionaries": {k: resolve(v) for k, v in alignment.dictionaries.items()},
                }
            ),
        }
    )
