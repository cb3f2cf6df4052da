"""The first half of a plan: word links, dictionaries, states and concepts, and what all makers of steps share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from isogloss.discovery import METHODS
from isogloss.settings import SelectionRule
from isogloss.store import StudyLayout, digest, file_digest, state_files
from isogloss.study import steps as work
from isogloss.study.graph import Step
from isogloss.study.inputs import Inputs

VERSION = 7  # of the steps of a plan; raise it when a formula or a file changes


class Sources:
    """Makes the steps that others build on; remembers keys of earlier steps."""

    def __init__(self, given: Inputs, study: StudyLayout) -> None:
        self.given, self.study = given, study
        self.config, self.corpus, self.pairs = given.config, given.corpus, given.pairs
        self.link_keys: dict[tuple[str, str], str] = {}
        self.dictionary_keys: dict[tuple[str, str], str] = {}

    def link_steps(self) -> Iterator[Step]:
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
                reads=self.layer_files(options["model"], options["stack"], options["layer"])
                if by_model
                else (),
            )

    def dictionary_steps(self) -> Iterator[Step]:
        section, alignment = self.config.dictionary, self.config.alignment
        for left, right in self.pairs:
            for source, target in ((left, right), (right, left)):
                file = alignment.dictionaries.get(f"{source}-{target}")
                given = [file_digest(Path(file)), alignment.case, self.corpus.digest] if file else None
                origin = given or self.link_keys[left, right]
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
                        "case": alignment.case,
                    },
                    outputs=(path,),
                    stage="dictionaries",
                    reads=() if file else (self.study.links(alignment.aligner, left, right),),
                )

    def state_steps(self) -> Iterator[Step]:
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

    def spaces(self) -> list[tuple[tuple[str, ...], SelectionRule]]:
        rules = self.config.selection
        paired = [
            language for language in self.given.languages if any(language in pair for pair in self.pairs)
        ]
        alone = [((language,), rules.calign) for language in paired]
        joint = [(pair, rules.colap) for pair in self.pairs]
        group = tuple(self.given.languages)
        return alone + joint + ([(group, rules.colap)] if group not in self.pairs else [])

    def concept_steps(
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
        links = [self.study.links(self.config.alignment.aligner, *p) for p in linked] if by_pairs else []
        reads = (*self.layer_files(place["model"], place["stack"], place["layer"]), *links)
        if not METHODS[section.method].has_tree:
            for k, path in paths.items():
                key = digest([VERSION, "concepts", facts, k])
                arguments = discovery | {"n_concepts": k}
                yield self.step(
                    path, key, work.discover_concepts, arguments, stage="concepts", cost=cost, reads=reads
                )
            return
        tree = self.study.tree(place["model"], place["stack"], **where)
        tree_key = digest([VERSION, "tree", facts])
        arguments = discovery | {"n_concepts": max(self.given.n_concepts)}
        yield self.step(
            tree, tree_key, work.discover_concepts, arguments, stage="trees", cost=cost, reads=reads
        )
        for k, path in paths.items():
            key = digest([VERSION, "concepts", tree_key, k])
            arguments = place | common | {"n_concepts": k}
            yield self.step(path, key, work.cut_concepts, arguments, stage="concepts", reads=(tree,))

    def gather(
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
        reads = tuple(path for step in steps for path in step.outputs)
        return Step(name, key, call, {"parts": parts}, outputs, stage, reads=reads)

    def step(
        self,
        path: Path,
        key: str,
        call: Callable[..., dict[str, Any]],
        arguments: dict[str, Any],
        *,
        stage: str,
        cost: float = 1.0,
        reads: tuple[Path, ...] = (),
    ) -> Step:
        return Step(self.study.step_of(path), key, call, arguments, (path,), stage, cost=cost, reads=reads)

    def layer_files(
        self, model: str, stack: str, layer: int, *, sentences: Sequence[str] = ()
    ) -> tuple[Path, ...]:
        """Return the files of the states of one layer: of words, and of sentences by the kinds of pooling asked for."""
        folder = self.study.states(model, stack)
        return tuple(state_files(folder, [layer], sentences))
