"""From a study file to its steps: names, keys and sizes, without doing any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import isogloss
from isogloss.config import LabelsSection, ModelSection, SelectionRule, StudyConfig
from isogloss.corpus import Corpus
from isogloss.discovery import METHODS
from isogloss.store import LABEL_TABLES, MOVEMENT_TABLES, Study, digest, file_digest, run_name
from isogloss.study import steps as work
from isogloss.study.beside import gather_companions, measure_companions
from isogloss.study.compare import write_differences
from isogloss.study.gather import correlate_measures, gather_results
from isogloss.study.graph import Step
from isogloss.study.inputs import Inputs
from isogloss.study.labels import gather_labels, write_labels
from isogloss.study.movement import gather_movement, write_movement
from isogloss.study.transfer import explain_transfer

VERSION = 5  # of the steps made here; raise it when a formula or a file changes


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
    return Plan(config, corpus, tuple(_Maker(given, Study(root), scores).steps()), tuple(given.warnings))


class _Maker:
    """Builds the steps stage by stage; remembers keys of earlier steps."""

    def __init__(self, given: Inputs, study: Study, scores: str) -> None:
        self.given, self.study, self.scores_key = given, study, scores
        self.config, self.corpus, self.pairs = given.config, given.corpus, given.pairs
        self.link_keys: dict[tuple[str, str], str] = {}
        self.dictionary_keys: dict[tuple[str, str], str] = {}
        self.concept_keys: dict[tuple[Any, ...], list[str]] = {}  # model, stack, seed, layer, K

    def steps(self) -> Iterator[Step]:
        by_model = self.config.alignment.aligner == "model"
        if not by_model:
            yield from self._link_steps()
        state_steps = list(self._state_steps())
        yield from state_steps
        if by_model:
            yield from self._link_steps()
        yield from self._dictionary_steps()
        made = [step for states in state_steps for step in self._concepts_and_metrics(states)]
        for stage in ("trees", "concepts", "metrics", "labels"):
            yield from (step for step in made if step.stage == stage)
        labelled = [step for step in made if step.stage == "labels"]
        if labelled:
            tables = [self.study.labels(name) for name in LABEL_TABLES]
            outputs = (*tables, *(path.with_suffix(".csv") for path in tables))
            yield self._gather("labels", labelled, gather_labels, outputs, stage="label tables")
        moved = list(self._movement_steps(made))
        yield from moved
        if moved:
            tables = [self.study.movement(name) for name in MOVEMENT_TABLES if name != "flows"]
            outputs = (*tables, *(path.with_suffix(".csv") for path in tables))
            parts = [str(path.relative_to(self.study.root)) for step in moved for path in step.outputs]
            key = digest([VERSION, [step.key for step in moved]])
            yield Step("movement", key, gather_movement, {"parts": parts}, outputs, "movement tables")
        companions = list(self._companion_steps())
        yield from companions
        measured = [step for step in made if step.stage == "metrics"]
        outputs = (self.study.results, self.study.results_csv)
        results = self._gather("results", measured, gather_results, outputs, stage="results")
        yield results
        bases = {model.name: model.base for model in self.config.models if model.base}
        if bases and self.config.metrics.n_bootstrap:
            key = digest([VERSION, "differences", results.key, bases])
            outputs = (self.study.differences, self.study.differences.with_suffix(".csv"))
            yield Step("differences", key, write_differences, {"bases": bases}, outputs, "differences")
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
            )
        if companions:
            yield Step(
                name="companions_correlations",
                key=digest([VERSION, "correlations", results.key, companions[-1].key]),
                call=correlate_measures,
                arguments={},
                outputs=(self.study.correlations,),
                stage="correlations",
            )

    # -- parts of the plan ------------------------------------------------------------------------

    def _link_steps(self) -> Iterator[Step]:
        section = self.config.alignment
        aligner = section.aligner
        needed = self.config.selection.calign.by == "pairs" or self.config.selection.colap.by == "pairs"
        for source, target in self.pairs:
            given = {f"{source}-{target}", f"{target}-{source}"} <= set(section.dictionaries)
            if given and not needed:
                continue
            file = section.links.get(f"{source}-{target}")
            options = {} if file else self.given.aligner_options
            by_model = aligner == "model" and not file
            facts = {
                "file": file_digest(Path(file)) if file else None,
                "aligner": aligner,
                "symmetrise": section.symmetrise,
                "options": options,
                "states": self.given.states_keys[options["model"], options["stack"]] if by_model else None,
                "corpus": self.corpus.digest,
            }
            key = digest([VERSION, "links", source, target, facts])
            self.link_keys[source, target] = key
            path = self.study.links(aligner, source, target)
            yield Step(
                name=self.study.step_of(path),
                key=key,
                call=work.link_words,
                arguments={
                    "source": source,
                    "target": target,
                    "aligner": aligner,
                    "symmetrise": section.symmetrise,
                    "options": options,
                    "file": file,
                },
                outputs=(path,),
                stage="word links",
            )

    def _dictionary_steps(self) -> Iterator[Step]:
        section, alignment = self.config.dictionary, self.config.alignment
        for left, right in self.pairs:
            for source, target in ((left, right), (right, left)):
                file = alignment.dictionaries.get(f"{source}-{target}")
                origin = file_digest(Path(file)) if file else self.link_keys[left, right]
                key = digest([VERSION, "dictionary", source, target, origin, section.model_dump()])
                self.dictionary_keys[source, target] = key
                path = self.study.dictionary(source, target)
                yield Step(
                    name=self.study.step_of(path),
                    key=key,
                    call=work.count_dictionary,
                    arguments={
                        "source": source,
                        "target": target,
                        "aligner": alignment.aligner,
                        "backward": source != left,
                        "top": section.top,
                        "min_count": section.min_count,
                        "file": file,
                    },
                    outputs=(path,),
                    stage="dictionaries",
                )

    def _state_steps(self) -> Iterator[Step]:
        run = self.config.run
        for model in self.config.models:
            n_rows = self.corpus.words.height + self.corpus.sentences.height * len(model.sentences)
            for stack, layers, width in self.given.stacks[model.name]:
                yield Step(
                    name=self.study.states_step(model.name, stack),
                    key=self.given.states_keys[model.name, stack],
                    call=work.extract_states,
                    arguments={
                        "model": model.model_dump(),
                        "stack": stack,
                        "batch_tokens": run.batch_tokens,
                        "device": run.device,
                    },
                    outputs=(self.study.states(model.name, stack),),
                    stage="states",
                    alone=True,
                    size=n_rows * width * len(layers) * (2 if model.dtype == "float16" else 4),
                )

    def _spaces(self) -> list[tuple[tuple[str, ...], SelectionRule]]:
        rules = self.config.selection
        paired = [
            language for language in self.given.languages if any(language in pair for pair in self.pairs)
        ]
        alone = [((language,), rules.calign) for language in paired]
        joint = [(pair, rules.colap) for pair in self.pairs]
        group = tuple(self.given.languages)
        return alone + joint + ([(group, rules.colap)] if group not in self.pairs else [])

    def _concepts_and_metrics(self, states: Step) -> Iterator[Step]:
        model = next(m for m in self.config.models if m.name == states.arguments["model"]["name"])
        stack = states.arguments["stack"]
        layers = next(layers for name, layers, _ in self.given.stacks[model.name] if name == stack)
        for seed in self.config.discovery.seeds:
            for layer in layers:
                keys: dict[int, list[str]] = {k: [] for k in self.given.n_concepts}
                for space, rule in self._spaces():
                    place = {"model": model.name, "stack": stack, "layer": layer, "languages": list(space)}
                    for step in self._concept_steps(place, rule, states_key=states.key, seed=seed):
                        yield step
                        if step.stage == "concepts":
                            keys[step.arguments["n_concepts"]].append(step.key)
                for k in self.given.n_concepts:
                    self.concept_keys[model.name, stack, seed, layer, k] = keys[k]
                    place = {"model": model.name, "stack": stack, "method": self.config.discovery.method}
                    place |= {"n_concepts": k, "seed": seed, "layer": layer}
                    yield self._metric_step(keys[k], model, place)
                    if self.config.labels is not None:
                        yield self._label_step(self.config.labels, keys[k], place)

    def _concept_steps(
        self, place: dict[str, Any], rule: SelectionRule, *, states_key: str, seed: int
    ) -> Iterator[Step]:
        """One tree and its cuts, or a clustering for every number of concepts."""
        section, space = self.config.discovery, tuple(place["languages"])
        inside = [p for p in self.pairs if set(p) <= set(space)]
        linked = inside or [p for p in self.pairs if set(space) <= set(p)]  # of one language: its pairs
        by_pairs = rule.by == "pairs"
        facts = {
            "states": states_key,
            "layer": place["layer"],
            "space": space,
            "rule": rule.model_dump(),
            "links": [self.link_keys[p] for p in linked] if by_pairs else None,
            "method": section.method,
            "seed": seed,
            "options": section.options,
        }
        common = {"method": section.method, "seed": seed}
        where = {**common, "layer": place["layer"], "space": "+".join(space)}
        discovery = {
            **place,
            **common,
            "selection": rule.model_dump_json(),
            "aligner": self.config.alignment.aligner,
            "pairs": linked if by_pairs else [],
            "options": section.options,
        }
        paths = {
            k: self.study.concepts(place["model"], place["stack"], n_concepts=k, **where)
            for k in self.given.n_concepts
        }
        cost = float(len(space))
        if not METHODS[section.method].has_tree:
            for k, path in paths.items():
                key = digest([VERSION, "concepts", facts, k])
                arguments = discovery | {"n_concepts": k}
                yield self._step(path, key, work.discover_concepts, arguments, stage="concepts", cost=cost)
            return
        tree = self.study.tree(place["model"], place["stack"], **where)
        tree_key = digest([VERSION, "tree", facts])
        arguments = discovery | {"n_concepts": max(self.given.n_concepts)}
        yield self._step(tree, tree_key, work.discover_concepts, arguments, stage="trees", cost=cost)
        for k, path in paths.items():
            key = digest([VERSION, "concepts", tree_key, k])
            arguments = place | common | {"n_concepts": k}
            yield self._step(path, key, work.cut_concepts, arguments, stage="concepts")

    def _movement_steps(self, made: Sequence[Step]) -> Iterator[Step]:
        """From the base model's concepts and from those of the layer before, for every set of metrics."""
        metrics = self.config.metrics.model_dump()
        spaces = [list(space) for space, _ in self._spaces()]
        for step in made:
            if step.stage != "metrics":
                continue
            names = ("model", "base", "stack", "method", "n_concepts", "seed", "layer")
            place = {name: step.arguments[name] for name in names}
            model, base, stack, _, k, seed, layer = place.values()
            layers = [x[3] for x in self.concept_keys if x[:3] == (model, stack, seed) and x[4] == k]
            earlier = max((x for x in layers if x < layer), default=None)
            keys = [self.concept_keys[model, stack, seed, layer, k]]
            if base and (base, stack, seed, layer, k) in self.concept_keys:
                keys.append(self.concept_keys[base, stack, seed, layer, k])
            else:
                place["base"] = ""
            if earlier is not None:
                keys.append(self.concept_keys[model, stack, seed, earlier, k])
            if len(keys) == 1:  # nothing to compare with
                continue
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
            )

    def _companion_steps(self) -> Iterator[Step]:
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
                    "seed": config.metrics.seed,
                    "facts": facts,
                    "pairs": self.pairs,
                }
                links = [self.link_keys.get(pair) for pair in self.pairs]
                for layer in layers:
                    place = {"model": model.name, "base": model.base or "", "stack": stack, "layer": layer}
                    content = [self.given.states_keys[model.name, stack], links, place, settings]
                    key = digest([VERSION, "companions", content])
                    arguments = {**place, **settings, "aligner": config.alignment.aligner}
                    path = self.study.companions_of(model.name, stack, layer)
                    made.append(self._step(path, key, measure_companions, arguments, stage="companions"))
        yield from made
        outputs = (self.study.companions, self.study.companions_csv)
        yield self._gather("companions", made, gather_companions, outputs, stage="companion table")

    def _gather(
        self,
        name: str,
        steps: Sequence[Step],
        call: Callable[..., dict[str, Any]],
        outputs: tuple[Path, ...],
        *,
        stage: str,
    ) -> Step:
        """Return the step that joins what others have written; `call` is given their first files."""
        key = digest([VERSION, [step.key for step in steps]])
        parts = [str(step.outputs[0].relative_to(self.study.root)) for step in steps]
        return Step(name, key, call, {"parts": parts}, outputs, stage)

    def _step(
        self,
        path: Path,
        key: str,
        call: Callable[..., dict[str, Any]],
        arguments: dict[str, Any],
        *,
        stage: str,
        cost: float = 1.0,
    ) -> Step:
        return Step(self.study.step_of(path), key, call, arguments, (path,), stage, cost=cost)

    def _metric_step(self, concept_keys: list[str], model: ModelSection, place: dict[str, Any]) -> Step:
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
        metrics = config.metrics.model_dump()
        dictionaries = [self.dictionary_keys[p] for p in sorted(self.dictionary_keys)]
        base = model.base or ""
        path = self.study.metrics(model.name, place["stack"], _run(place), place["layer"])
        key = digest([VERSION, "metrics", concept_keys, dictionaries, metrics, facts, base])
        settings = {
            "languages": self.given.languages,
            "pairs": self.pairs,
            "metrics": metrics,
            "facts": facts,
        }
        return self._step(path, key, work.measure_layer, {**place, "base": base, **settings}, stage="metrics")

    def _label_step(self, section: LabelsSection, concept_keys: list[str], place: dict[str, Any]) -> Step:
        settings = {"pairs": self.pairs, "metrics": self.config.metrics.model_dump(), **section.model_dump()}
        dictionaries = [self.dictionary_keys[p] for p in sorted(self.dictionary_keys)]
        content = [self.corpus.file_digest, concept_keys, dictionaries, settings]  # tags are further columns
        folder = self.study.labels_of(place["model"], place["stack"], _run(place), place["layer"])
        return Step(
            name=self.study.step_of(folder),
            key=digest([VERSION, "labels", content]),
            call=write_labels,
            arguments=place | settings,
            outputs=tuple(folder / f"{name}.parquet" for name in LABEL_TABLES),
            stage="labels",
        )


def _run(place: dict[str, Any]) -> str:
    return run_name(place["method"], place["n_concepts"], place["seed"])


def _short(rule: SelectionRule) -> str:
    dropped = "".join(f"-{name}" for name in rule.drop)
    return f"{rule.by}{rule.min_count}..{rule.max_count or ''}{dropped}"
