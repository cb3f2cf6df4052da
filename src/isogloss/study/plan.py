"""From a study file to its steps: names, keys and sizes, without doing any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

import isogloss
from isogloss.config import ModelSection, SelectionRule, StudyConfig
from isogloss.corpus import Corpus
from isogloss.discovery import METHODS, check_options, default_n_concepts
from isogloss.errors import InputError, UsageError, unknown
from isogloss.extraction import states_key
from isogloss.models import describe
from isogloss.store import Study, digest, file_digest, run_name
from isogloss.study import steps as work
from isogloss.study.beside import gather_companions, measure_companions
from isogloss.study.graph import Step

VERSION = 3  # of the steps made here; raise it when a formula or a file changes


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


def read_corpus(config: StudyConfig) -> Corpus:
    """Read the text of a study."""
    section = config.corpus
    corpus = Corpus.read(
        section.files,
        format=section.format,
        max_words=section.max_words,
        segmented=section.segmented,
        languages=section.languages,
        **section.options,
    )
    return corpus if section.n_sentences is None else corpus.restrict(n_sentences=section.n_sentences)


def make_plan(config: StudyConfig, corpus: Corpus, root: Path) -> Plan:
    """List the steps of a study on a corpus, for a study folder.

    Raises
    ------
    UsageError
        If pairs, link files or dictionaries name a language that the corpus lacks, or a model lacks a stack or layer.
    """
    maker = _Maker(config, corpus, Study(root))
    steps = tuple(maker.steps())
    return Plan(config, corpus, steps, tuple(maker.warnings))


def pairs_of(config: StudyConfig, languages: Sequence[str]) -> list[tuple[str, str]]:
    """Return the unordered pairs of a study, each in corpus order."""
    if config.pairs == "all":
        return list(combinations(languages, 2))
    rank = {language: i for i, language in enumerate(languages)}
    found: list[tuple[str, str]] = []
    for pair in config.pairs:
        for language in pair:
            if language not in rank:
                raise unknown("language in pairs:", language, languages)
        left, right = sorted(pair, key=lambda language: rank[language])
        if left == right:
            raise UsageError(f"pairs: a pair needs two languages; got {left} twice.")
        if (left, right) not in found:
            found.append((left, right))
    return found


class _Maker:
    """Builds the steps stage by stage; remembers keys of earlier steps."""

    def __init__(self, config: StudyConfig, corpus: Corpus, study: Study) -> None:
        self.config, self.corpus, self.study = config, corpus, study
        self.languages = list(corpus.languages)
        if len(self.languages) < 2:
            raise UsageError(f"A study needs at least two languages; the corpus has {self.languages}.")
        self.pairs = pairs_of(config, self.languages)
        self.warnings: list[str] = []
        self.link_keys: dict[tuple[str, str], str] = {}
        self.dictionary_keys: dict[tuple[str, str], str] = {}
        self.stacks = {m.name: self._stacks(m) for m in config.models}
        self.states_keys = {
            (m.name, stack): self._states_key(m, stack, layers)
            for m in config.models
            for stack, layers, _ in self.stacks[m.name]
        }
        self.options = self._aligner_options()
        self.n_concepts = self._n_concepts()
        check_options(config.discovery.method, config.discovery.options)
        self._check_files()

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
        for stage in ("trees", "concepts", "metrics"):
            yield from (step for step in made if step.stage == stage)
        yield from self._companion_steps()
        metric_steps = [step for step in made if step.stage == "metrics"]
        yield Step(
            name="results",
            key=digest([VERSION, [step.key for step in metric_steps]]),
            call=work.gather_results,
            arguments={"parts": [str(s.outputs[0].relative_to(self.study.root)) for s in metric_steps]},
            outputs=(self.study.results, self.study.results_csv),
            stage="results",
        )

    # -- parts of the plan ------------------------------------------------------------------------

    def _stacks(self, model: ModelSection) -> list[tuple[str, tuple[int, ...], int]]:
        """Return (stack, layers, width) of every stack of a model that takes part."""
        known = describe(model.path, revision=model.revision)
        found = []
        for stack in model.stacks or known.stacks:
            layers = known.check_layers(known.check_stack(stack), model.layers)
            found.append((stack, layers, known.d))
        return found

    def _n_concepts(self) -> list[int]:
        """Return the numbers of concepts, rising."""
        wanted = self.config.discovery.n_concepts
        sizes = self.corpus.words.group_by("language").agg(pl.len(), pl.col("word").n_unique())
        if wanted == "auto":
            return [default_n_concepts(int(sizes["word"].to_numpy().min()))]
        numbers = sorted({wanted} if isinstance(wanted, int) else set(wanted))
        least = sizes.sort("len", "language").row(0)
        if numbers[-1] > least[1]:  # what selection leaves may still be too little: discovery says so
            raise UsageError(
                f"n_concepts = {numbers[-1]} is not possible: {least[0]} has only {least[1]} words in all. "
                "Choose a smaller number, or take in more text."
            )
        return numbers

    def _check_files(self) -> None:
        alignment = self.config.alignment
        known = [f"{s}-{t}" for s, t in self.pairs] + [f"{t}-{s}" for s, t in self.pairs]
        for name in alignment.dictionaries:
            if name not in known:
                raise unknown("pair in alignment.dictionaries:", name, known)
        for name in alignment.links:
            if name not in known[: len(self.pairs)]:
                raise unknown("pair in alignment.links (in corpus order):", name, known[: len(self.pairs)])
        for path in (*alignment.links.values(), *alignment.dictionaries.values()):
            if not Path(path).is_file():
                raise InputError(f"There is no file {path}, named in alignment of the study.")

    def _link_steps(self) -> Iterator[Step]:
        section = self.config.alignment
        aligner = section.aligner
        needed = self.config.selection.calign.by == "pairs" or self.config.selection.colap.by == "pairs"
        for source, target in self.pairs:
            given = {f"{source}-{target}", f"{target}-{source}"} <= set(section.dictionaries)
            if given and not needed:
                continue
            file = section.links.get(f"{source}-{target}")
            options = {} if file else self.options
            by_model = aligner == "model" and not file
            facts = {
                "file": file_digest(Path(file)) if file else None,
                "aligner": aligner,
                "symmetrise": section.symmetrise,
                "options": options,
                "states": self.states_keys[options["model"], options["stack"]] if by_model else None,
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

    def _aligner_options(self) -> dict[str, Any]:
        """Return the aligner's options; those of ``model`` are checked: a model of the study, its stack and layer."""
        options = dict(self.config.alignment.options)
        if self.config.alignment.aligner != "model":
            return options
        name = options.setdefault("model", self.config.models[0].name)
        if name not in self.stacks:
            raise unknown("model in alignment.options:", name, self.stacks)
        stacks = {stack: layers for stack, layers, _ in self.stacks[name]}
        stack = options.setdefault("stack", next(iter(stacks)))
        if stack not in stacks:
            raise unknown(f"stack of {name} in alignment.options:", stack, stacks)
        options.setdefault("layer", stacks[stack][len(stacks[stack]) * 2 // 3])
        self.warnings.append(
            f"The dictionary was induced with the model under study ({name}): its alignment scores are circular."
        )
        return options

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

    def _states_key(self, model: ModelSection, stack: str, layers: tuple[int, ...]) -> str:
        return states_key(self.corpus, model.path, **(model.extraction(stack) | {"layers": layers}))

    def _state_steps(self) -> Iterator[Step]:
        run = self.config.run
        for model in self.config.models:
            n_rows = self.corpus.words.height + self.corpus.sentences.height * len(model.sentences)
            for stack, layers, width in self.stacks[model.name]:
                yield Step(
                    name=self.study.states_step(model.name, stack),
                    key=self.states_keys[model.name, stack],
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
        paired = [language for language in self.languages if any(language in pair for pair in self.pairs)]
        alone = [((language,), rules.calign) for language in paired]
        joint = [(pair, rules.colap) for pair in self.pairs]
        group = tuple(self.languages)
        return alone + joint + ([(group, rules.colap)] if group not in self.pairs else [])

    def _concepts_and_metrics(self, states: Step) -> Iterator[Step]:
        model = next(m for m in self.config.models if m.name == states.arguments["model"]["name"])
        stack = states.arguments["stack"]
        layers = next(layers for name, layers, _ in self.stacks[model.name] if name == stack)
        for seed in self.config.discovery.seeds:
            for layer in layers:
                keys: dict[int, list[str]] = {k: [] for k in self.n_concepts}
                for space, rule in self._spaces():
                    place = {"model": model.name, "stack": stack, "layer": layer, "languages": list(space)}
                    for step in self._concept_steps(place, rule, states_key=states.key, seed=seed):
                        yield step
                        if step.stage == "concepts":
                            keys[step.arguments["n_concepts"]].append(step.key)
                for k in self.n_concepts:
                    yield self._metric_step(keys[k], model, stack=stack, layer=layer, seed=seed, n_concepts=k)

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
            for k in self.n_concepts
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
        arguments = discovery | {"n_concepts": max(self.n_concepts)}
        yield self._step(tree, tree_key, work.discover_concepts, arguments, stage="trees", cost=cost)
        for k, path in paths.items():
            key = digest([VERSION, "concepts", tree_key, k])
            arguments = place | common | {"n_concepts": k}
            yield self._step(path, key, work.cut_concepts, arguments, stage="concepts")

    def _companion_steps(self) -> Iterator[Step]:
        config, section = self.config, self.config.companions
        if not section.measures:
            return
        made = []
        for model in config.models:
            for stack, layers, _ in self.stacks[model.name]:
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
                    content = [self.states_keys[model.name, stack], links, place, settings]
                    key = digest([VERSION, "companions", content])
                    arguments = {**place, **settings, "aligner": config.alignment.aligner}
                    path = self.study.companions_of(model.name, stack, layer)
                    made.append(self._step(path, key, measure_companions, arguments, stage="companions"))
        yield from made
        yield Step(
            name="companions",
            key=digest([VERSION, [step.key for step in made]]),
            call=gather_companions,
            arguments={"parts": [str(s.outputs[0].relative_to(self.study.root)) for s in made]},
            outputs=(self.study.companions, self.study.companions_csv),
            stage="companion table",
        )

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

    def _metric_step(
        self,
        concept_keys: list[str],
        model: ModelSection,
        *,
        stack: str,
        layer: int,
        seed: int,
        n_concepts: int,
    ) -> Step:
        config = self.config
        facts = {
            "version": isogloss.__version__,
            "top": str(config.dictionary.top),
            "dictionary": self._dictionary_name(),
            "select_calign": _short(config.selection.calign),
            "select_colap": _short(config.selection.colap),
            "model": model.name,
            "pooling": model.pooling,
            "corpus": self.corpus.digest,
        }
        metrics = config.metrics.model_dump()
        dictionaries = [self.dictionary_keys[p] for p in sorted(self.dictionary_keys)]
        base = model.base or ""
        run = run_name(config.discovery.method, n_concepts, seed)
        path = self.study.metrics(model.name, stack, run, layer)
        return Step(
            name=self.study.step_of(path),
            key=digest([VERSION, "metrics", concept_keys, dictionaries, metrics, facts, base]),
            call=work.measure_layer,
            arguments={
                "model": model.name,
                "base": base,
                "stack": stack,
                "method": config.discovery.method,
                "n_concepts": n_concepts,
                "seed": seed,
                "layer": layer,
                "languages": self.languages,
                "pairs": self.pairs,
                "metrics": metrics,
                "facts": facts,
            },
            outputs=(path,),
            stage="metrics",
        )

    def _dictionary_name(self) -> str:
        section = self.config.alignment
        if section.dictionaries:
            return "file"
        if section.aligner == "model":
            return f"model:{self.options['model']}:{self.options['layer']}"
        return f"{section.aligner}-{section.symmetrise}"


def _short(rule: SelectionRule) -> str:
    dropped = "".join(f"-{name}" for name in rule.drop)
    return f"{rule.by}{rule.min_count}..{rule.max_count or ''}{dropped}"
