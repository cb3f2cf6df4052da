"""What the steps of a study are made from, read and checked: text, pairs, the stacks and layers of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.aligners import make_aligner
from isogloss.config import CorpusSection, ModelSection, StudyConfig
from isogloss.coordinates import Pair
from isogloss.corpus import Corpus
from isogloss.discovery import METHODS, check_options, default_n_concepts, with_trees
from isogloss.errors import InputError, UsageError, unknown
from isogloss.extraction import states_key
from isogloss.models import describe


def read_corpus(section: CorpusSection, *, parallel: bool = True) -> Corpus:
    """Read the text that a section of a study file names.

    Raises
    ------
    InputError
        If the files cannot be used, or have no sentence among the lines asked for.
    """
    corpus = Corpus.read(
        section.files,
        format=section.format,
        max_words=section.max_words,
        parallel=parallel,
        segmented=section.segmented,
        languages=section.languages,
        **section.options,
    )
    if section.lines:
        first, last = section.lines
        corpus = corpus.restrict(sentences=range(first - 1, last))
    return corpus if section.n_sentences is None else corpus.restrict(n_sentences=section.n_sentences)


def pairs_of(config: StudyConfig, languages: Sequence[str]) -> list[Pair]:
    """Return the pairs of a study, the languages of each in corpus order."""
    if config.pairs == "all":
        return [Pair(*both) for both in combinations(languages, 2)]
    pairs = []
    for both in config.pairs:
        for language in both:
            if language not in languages:
                raise unknown("language in pairs:", language, languages)
        pairs.append(Pair(*sorted(both, key=languages.index)))
    return pairs


def _by_pair(files: Mapping[str, str], pairs: Sequence[Pair], what: str) -> dict[Pair, str]:
    """Return files by pair, each of which is named as in ``en-de``; where labels hold ``-``, as `Pair.name` has it."""
    named: dict[str, list[Pair]] = {}
    for pair in pairs:
        for name in {pair.name, "-".join(pair.languages)}:
            named.setdefault(name, []).append(pair)
    by_pair = {}
    for name, file in files.items():
        meant = named.get(name, [])
        if len(meant) != 1:
            raise unknown(what, name, [pair.name for pair in pairs])
        if not Path(file).is_file():
            raise InputError(f"There is no file {file}, named in alignment of the study.")
        by_pair[meant[0]] = file
    return by_pair


class Inputs:
    """A study file and its text, with what follows from them before any step is made.

    Attributes
    ----------
    config : StudyConfig
    corpus : Corpus
    languages : list of str
        In corpus order.
    pairs : list of Pair
        See `pairs_of`.
    link_files, dictionary_files : dict
        Pair -> file of the user.
    stacks : dict
        Model -> (stack, layers, width) of every stack that takes part.
    states_keys : dict
        (model, stack) -> key of its states.
    aligner_options : dict
    n_concepts : list of int
        Rising.
    warnings : list of str
        What a reader of the results must know.

    Raises
    ------
    UsageError, InputError
        See `isogloss.study.make_plan`.
    """

    def __init__(self, config: StudyConfig, corpus: Corpus) -> None:
        self.config, self.corpus = config, corpus
        self.languages = list(corpus.languages)
        if len(self.languages) < 2:
            raise UsageError(f"A study needs at least two languages; the corpus has {self.languages}.")
        self.pairs = pairs_of(config, self.languages)
        self.warnings: list[str] = []
        self.stacks = {m.name: self._stacks(m) for m in config.models}
        self.states_keys = {
            (m.name, stack): self._states_key(m, stack, layers)
            for m in config.models
            for stack, layers, _ in self.stacks[m.name]
        }
        self.aligner_options = self._aligner_options()
        self.n_concepts = self._n_concepts()
        check_options(config.discovery.method, config.discovery.options, n_concepts=self.n_concepts[-1])
        self._check_sizes()
        alignment = config.alignment
        self.link_files = _by_pair(alignment.links, self.pairs, "pair in alignment.links (in corpus order):")
        directions = [direction for pair in self.pairs for direction in pair.directions]
        self.dictionary_files = _by_pair(alignment.dictionaries, directions, "pair in alignment.dictionaries:")
        if config.robustness is not None and not METHODS[config.discovery.method].has_tree:
            raise UsageError(
                f"robustness cuts trees at other numbers of concepts, and {config.discovery.method} grows none. "
                f"Choose another discovery.method ({with_trees()}), or leave robustness out."
            )

    def _stacks(self, model: ModelSection) -> list[tuple[str, tuple[int, ...], int]]:
        """Return (stack, layers, width) of every stack of a model that takes part."""
        info = describe(model.path, revision=model.revision)
        stacks = []
        for stack in model.stacks or info.stacks:
            layers = info.check_layers(info.check_stack(stack), model.layers)
            stacks.append((stack, layers, info.d))
        return stacks

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

    def _check_sizes(self) -> None:
        """Refuse concepts that no language of the text has the types for: every score would be missing."""
        types = self.corpus.words.group_by("language").agg(pl.col("word").n_unique().alias("n"))
        poorest = types.sort("n", "language").row(0, named=True)
        least = self.config.metrics.min_types
        if least > poorest["n"]:
            raise UsageError(
                f"metrics.min_types = {least:g} is not possible: {poorest['language']} has only {poorest['n']} "
                "types in all, so none of its concepts can have as many. Choose a smaller number, e.g. 5."
            )

    def _aligner_options(self) -> dict[str, Any]:
        """Return the aligner's options; those of ``model`` are checked: a model of the study, its stack and layer."""
        options = dict(self.config.alignment.options)
        if self.config.alignment.aligner != "model":
            make_aligner(self.config.alignment.aligner, options)
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

    def _states_key(self, model: ModelSection, stack: str, layers: tuple[int, ...]) -> str:
        settings = model.extraction(stack)
        return states_key(
            self.corpus, model.path, settings=settings, layers=layers, stack=stack, revision=model.revision
        )

    def dictionary_name(self) -> str:
        """Return where the dictionaries come from, for signatures."""
        section = self.config.alignment
        if section.dictionaries:
            return f"file-{section.case}"
        if section.aligner == "model":
            return f"model:{self.aligner_options['model']}:{self.aligner_options['layer']}"
        return f"{section.aligner}-{section.symmetrise}"
