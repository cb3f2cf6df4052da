"""From a study file to its steps: names, keys and sizes, without doing any of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

import isogloss
from isogloss.config import LabelsSection, ModelSection, StudyConfig
from isogloss.corpus import Corpus
from isogloss.settings import SelectionRule
from isogloss.store import LABEL_TABLES, MOVEMENT_TABLES, StudyLayout, digest, run_name
from isogloss.study.beside import gather_companions, measure_companions
from isogloss.study.compare import write_differences
from isogloss.study.gather import correlate_measures, gather_results
from isogloss.study.graph import Step
from isogloss.study.inputs import Inputs
from isogloss.study.labels import gather_labels, write_labels
from isogloss.study.measures import measure_group, measure_pair
from isogloss.study.movement import gather_movement, write_movement
from isogloss.study.sources import VERSION, Sources
from isogloss.study.transfer import explain_transfer


@dataclass(frozen=True)
class Plan:
    """The steps of a study, in an order in which they can run.

    Attributes
    ----------
    config : StudyConfig
    corpus : Corpus
    steps : tuple of Step
    warnings : tuple of str
        What a reader of the results must know, e.g. a circular dictionary.
    """

    config: StudyConfig
    corpus: Corpus
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]


def make_plan(config: StudyConfig, corpus: Corpus, root: Path, *, scores: str = "") -> Plan:
    """List the steps of a study on a corpus, for a study folder; `scores` is the digest of its tasks' scores.

    Raises
    ------
    UsageError
        If pairs, link files or dictionaries name a language that the corpus lacks, or a model lacks a stack or layer.
    """
    given = Inputs(config, corpus)
    return Plan(
        config, corpus, tuple(_Maker(given, StudyLayout(root), scores).steps()), tuple(given.warnings)
    )


class _Maker(Sources):
    """Builds the steps stage by stage."""

    def __init__(self, given: Inputs, study: StudyLayout, scores: str) -> None:
        super().__init__(given, study)
        self.scores_key = scores
        # model, stack, seed, layer, K -> space -> key
        self.concept_keys: dict[tuple[Any, ...], dict[str, str]] = {}

    def steps(self) -> Iterator[Step]:
        by_model = self.config.alignment.aligner == "model"
        if not by_model:
            yield from self.link_steps()
        state_steps = list(self.state_steps())
        yield from state_steps
        if by_model:
            yield from self.link_steps()
        yield from self.dictionary_steps()
        made = [step for states in state_steps for step in self._concepts_and_metrics(states)]
        for stage in ("trees", "concepts", "metrics", "labels"):
            yield from (step for step in made if step.stage == stage)
        labelled = [step for step in made if step.stage == "labels"]
        if labelled:
            tables = [self.study.labels(name) for name in LABEL_TABLES]
            outputs = (*tables, *(path.with_suffix(".csv") for path in tables))
            yield self.gather("labels", labelled, gather_labels, outputs, stage="label tables")
        moved = list(self._movement_steps())
        yield from moved
        if moved:
            tables = [self.study.movement(name) for name in MOVEMENT_TABLES if name != "flows"]
            outputs = (*tables, *(path.with_suffix(".csv") for path in tables))
            written = tuple(path for step in moved for path in step.outputs)
            parts = [str(path.relative_to(self.study.root)) for path in written]
            key = digest([VERSION, [step.key for step in moved]])
            yield Step(
                "movement", key, gather_movement, {"parts": parts}, outputs, "movement tables", reads=written
            )
        companions = list(self._companion_steps())
        yield from companions
        measured = [step for step in made if step.stage == "metrics"]
        outputs = (self.study.results, self.study.results_csv)
        results = self.gather("results", measured, gather_results, outputs, stage="results")
        yield results
        bases = {model.name: model.base for model in self.config.models if model.base}
        if bases and self.config.metrics.n_bootstrap:
            key = digest([VERSION, "differences", results.key, bases])
            outputs = (self.study.differences, self.study.differences.with_suffix(".csv"))
            files = tuple(step.outputs[0] for step in (*measured, *companions[:-1]))
            arguments = {"bases": bases}
            yield Step("differences", key, write_differences, arguments, outputs, "differences", reads=files)
        measured_tables = (self.study.results, *([self.study.companions] if companions else []))
        if self.scores_key:
            facts = [results.key, companions[-1].key if companions else None, self.scores_key]
            outputs = (
                self.study.transfer_points,
                self.study.transfer,
                self.study.transfer.with_suffix(".csv"),
            )
            yield Step(
                name="transfer",
                key=digest([VERSION, "transfer", facts]),
                call=explain_transfer,
                arguments={"companions": bool(companions)},
                outputs=outputs,
                stage="transfer",
                reads=measured_tables,
            )
        if companions:
            yield Step(
                name="companions_correlations",
                key=digest([VERSION, "correlations", results.key, companions[-1].key]),
                call=correlate_measures,
                arguments={},
                outputs=(self.study.correlations,),
                stage="correlations",
                reads=measured_tables,
            )

    def _concepts_and_metrics(self, states: Step) -> Iterator[Step]:
        model = next(m for m in self.config.models if m.name == states.arguments["model"]["name"])
        stack = states.arguments["stack"]
        layers = next(layers for name, layers, _ in self.given.stacks[model.name] if name == stack)
        for seed in self.config.discovery.seeds:
            for layer in layers:
                keys: dict[int, dict[str, str]] = {k: {} for k in self.given.n_concepts}
                for space, rule in self.spaces():
                    place = {"model": model.name, "stack": stack, "layer": layer, "languages": list(space)}
                    for step in self.concept_steps(place, rule, states_key=states.key, seed=seed):
                        yield step
                        if step.stage == "concepts":
                            keys[step.arguments["n_concepts"]]["+".join(space)] = step.key
                for k in self.given.n_concepts:
                    self.concept_keys[model.name, stack, seed, layer, k] = keys[k]
                    place = {"model": model.name, "stack": stack, "method": self.config.discovery.method}
                    place |= {"n_concepts": k, "seed": seed, "layer": layer}
                    yield from self._metric_steps(keys[k], model, place)
                    if self.config.labels is not None:
                        yield self._label_step(self.config.labels, keys[k], place)

    def _movement_steps(self) -> Iterator[Step]:
        """From the base model's concepts and from those of the layer before, for every set of metrics."""
        metrics = self.config.metrics.model_dump()
        spaces = [list(space) for space, _ in self.spaces()]
        bases = {model.name: model.base or "" for model in self.config.models}
        for model, stack, seed, layer, k in self.concept_keys:
            base = bases[model]
            place = {"model": model, "base": base, "stack": stack, "method": self.config.discovery.method}
            place |= {"n_concepts": k, "seed": seed, "layer": layer}
            layers = [x[3] for x in self.concept_keys if x[:3] == (model, stack, seed) and x[4] == k]
            earlier = max((x for x in layers if x < layer), default=None)
            sides = [(model, stack, seed, layer, k)]
            if base and (base, stack, seed, layer, k) in self.concept_keys:
                sides.append((base, stack, seed, layer, k))
            else:
                place["base"] = ""
            if earlier is not None:
                sides.append((model, stack, seed, earlier, k))
            if len(sides) == 1:  # nothing to compare with
                continue
            keys = [list(self.concept_keys[side].values()) for side in sides]
            files = [
                self._concepts_file({**place, "model": side[0], "layer": side[3]}, space)
                for side in sides
                for space in self.concept_keys[side]
            ]
            arguments = {**place, "earlier": earlier, "spaces": spaces, "metrics": metrics}
            outputs = tuple(
                self.study.movement_of(model, stack, _run(place), layer, name) for name in MOVEMENT_TABLES
            )
            yield Step(
                name=self.study.step_of(outputs[0].parent),
                key=digest([VERSION, "movement", keys, self.corpus.file_digest, arguments]),
                call=write_movement,
                arguments=arguments,
                outputs=outputs,
                stage="movement",
                reads=tuple(files),
            )

    def _companion_steps(self) -> Iterator[Step]:
        """A step a layer and pair, and at the end the table of all."""
        config, section = self.config, self.config.companions
        if not section.measures:
            return
        made = []
        for model in config.models:
            for stack, layers, _ in self.given.stacks[model.name]:
                facts = {
                    "version": isogloss.__version__,
                    "pooling": model.pooling,
                    "corpus": self.corpus.digest,
                }
                settings = {
                    **section.model_dump(),
                    "n_bootstrap": config.metrics.n_bootstrap,
                    "seed": config.metrics.draw_seed,
                    "facts": facts,
                    "aligner": config.alignment.aligner,
                }
                for layer, pair in product(layers, self.pairs):
                    place = {"model": model.name, "base": model.base or "", "stack": stack, "layer": layer}
                    place |= {"pair": list(pair)}
                    links = self.link_keys.get(pair)
                    content = [self.given.states_keys[model.name, stack], links, place, settings]
                    key = digest([VERSION, "companions", content])
                    path = self.study.companions_of(model.name, stack, layer, "-".join(pair))
                    reads = self.layer_files(model.name, stack, layer, sentences=model.sentences)
                    if links:
                        reads = (*reads, self.study.links(config.alignment.aligner, *pair))
                    arguments = place | settings
                    made.append(
                        self.step(path, key, measure_companions, arguments, stage="companions", reads=reads)
                    )
        yield from made
        outputs = (self.study.companions, self.study.companions_csv)
        yield self.gather("companions", made, gather_companions, outputs, stage="companion table")

    def _metric_steps(
        self, concept_keys: dict[str, str], model: ModelSection, place: dict[str, Any]
    ) -> Iterator[Step]:
        """Make a step for every pair, and one for the whole group, at one layer of one clustering."""
        config = self.config
        facts = {
            "version": isogloss.__version__,
            "top": str(config.dictionary.top),
            "dictionary": self.given.dictionary_name(),
            "select_calign": _short(config.selection.calign),
            "select_colap": _short(config.selection.colap),
            "model": model.name,
            "pooling": model.pooling,
            "corpus": self.corpus.digest,
        }
        settings = {"metrics": config.metrics.model_dump(), "facts": facts, "base": model.base or ""}
        states = self.layer_files(model.name, place["stack"], place["layer"])
        alone = list(dict.fromkeys(language for pair in self.pairs for language in pair))
        matched = alone if "frequency_matched" in config.metrics.variants else []

        def step(of: str, spaces: Sequence[str], call: Any, files: Sequence[Path], **arguments: Any) -> Step:
            path = self.study.metrics(model.name, place["stack"], _run(place), place["layer"], of)
            both = permutations(arguments.get("pair", ()), 2)
            dictionaries = [self.dictionary_keys[s, t] for s, t in both]
            used = [concept_keys[space] for space in spaces]
            key = digest([VERSION, "metrics", used, dictionaries, settings, place, arguments])
            reads = (*(self._concepts_file(place, space) for space in spaces), *files)
            return self.step(path, key, call, place | arguments | settings, stage="metrics", reads=reads)

        for pair in self.pairs:
            spaces = list(dict.fromkeys([*pair, "+".join(pair), *matched]))
            files = [self.study.dictionary(s, t) for s, t in permutations(pair)]
            arguments = {"pair": list(pair), "matched": matched}
            yield step("-".join(pair), spaces, measure_pair, (*states, *files), **arguments)
        group = "+".join(self.given.languages)
        yield step(group, [group], measure_group, (), languages=self.given.languages)

    def _concepts_file(self, place: dict[str, Any], space: str) -> Path:
        names = ("method", "n_concepts", "seed", "layer")
        where = {name: place[name] for name in names}
        return self.study.concepts(place["model"], place["stack"], space=space, **where)

    def _label_step(
        self, section: LabelsSection, concept_keys: dict[str, str], place: dict[str, Any]
    ) -> Step:
        settings = {"pairs": self.pairs, "metrics": self.config.metrics.model_dump(), **section.model_dump()}
        dictionaries = [self.dictionary_keys[p] for p in sorted(self.dictionary_keys)]
        keys = list(concept_keys.values())
        content = [self.corpus.file_digest, keys, dictionaries, settings]  # tags are further columns
        files = [self._concepts_file(place, space) for space in concept_keys]
        folder = self.study.labels_of(place["model"], place["stack"], _run(place), place["layer"])
        return Step(
            name=self.study.step_of(folder),
            key=digest([VERSION, "labels", content]),
            call=write_labels,
            arguments=place | settings,
            outputs=tuple(folder / f"{name}.parquet" for name in LABEL_TABLES),
            stage="labels",
            reads=(*files, *(self.study.dictionary(*pair) for pair in sorted(self.dictionary_keys))),
        )


def _run(place: dict[str, Any]) -> str:
    return run_name(place["method"], place["n_concepts"], place["seed"])


def _short(rule: SelectionRule) -> str:
    dropped = "".join(f"-{name}" for name in rule.drop)
    return f"{rule.by}{rule.min_count}..{rule.max_count or ''}{dropped}"
