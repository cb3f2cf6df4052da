"""Arguments are checked at the door: no wrong value of any public function ends in a raw error."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import pytest

import isogloss
import synthetic
from isogloss.aligners.protocol import Directions
from isogloss.arguments import Columns, Distinct, Share, Within, checked
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.discovery import discover
from isogloss.errors import IsoglossError, UsageError
from isogloss.metrics import calign, colap
from isogloss.metrics.labels.enrichment import label_concepts
from isogloss.metrics.labels.word_facts import word_properties
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.sections import Section
from isogloss.states import LayerStates, States
from isogloss.store import StudyLayout

WRONG = (None, "x", "", 0, -1, 2.7, 10**30, float("nan"), True, [], [None], {}, {"x": None}, object(), b"x")
WRONG_ARRAYS = (np.array(1), np.zeros(3), np.zeros((2, 0)), np.zeros((2, 2, 2)), np.array([["a"], ["b"]]))


def guarded() -> dict[str, Callable[..., Any]]:
    """Return every function that is checked, by its name; of data classes what makes them."""
    found = {}
    for module in pkgutil.walk_packages(isogloss.__path__, "isogloss."):
        if module.name.endswith("__main__"):
            continue
        room = importlib.import_module(module.name)
        for name, thing in vars(room).items():
            if getattr(thing, "__module__", None) != module.name:
                continue
            place = f"{module.name.removeprefix('isogloss.')}.{name}"
            if inspect.isfunction(thing) and is_checked(thing):
                found[place] = thing
            elif inspect.isclass(thing):
                if is_checked(vars(thing).get("__init__")) or is_group(thing):
                    found[place] = thing
                for inner, method in vars(thing).items():
                    bound = getattr(thing, inner) if isinstance(method, classmethod) else method
                    if is_checked(getattr(method, "__func__", method)) and inner != "__init__":
                        found[f"{place}.{inner}"] = bound
    return found


def is_group(kind: type) -> bool:
    """Tell a group of settings, which checks its values as a function does."""
    return issubclass(kind, Section) and kind.__module__.startswith("isogloss.settings.")


def is_checked(thing: Any) -> bool:
    return inspect.isfunction(thing) and thing.__code__.co_name == "guarded"


FUNCTIONS = guarded()


class Made:
    """One right value for every kind of argument."""

    def __init__(self, folder: Path) -> None:
        lines = [f"{a} {b} {c}" for a, b, c in zip("abcdef", "bcdefa", "cdefab", strict=True)]
        self.corpus = Corpus.from_texts({"en": lines, "de": [line.upper() for line in lines]})
        generator = np.random.default_rng(0)
        tokens = self.corpus.words.with_columns(pl.lit(1, pl.Int16).alias("n_subwords"))
        n = tokens.height
        self.X = generator.normal(size=(n, 5)).astype(np.float32)
        sentences = self.corpus.sentences.with_columns(pl.lit(1, pl.Int32).alias("n_subwords"))
        pooled = {"mean": {1: self.X[: sentences.height]}}
        self.states = States(tokens, {1: self.X}, np.arange(n), "m", "encoder", sentences, pooled)
        self.concepts = {
            language: discover(self.states.at(1, language=language), n_concepts=4) for language in ("en", "de")
        }
        self.joint = discover(self.states.at(1), n_concepts=4)
        self.links = isogloss.align_words(self.corpus, source="en", target="de")
        self.dictionary: TranslationDictionary = self.links.dictionary()
        self.alignment = calign(*self.concepts.values(), self.dictionary, n_permutations=3)
        self.overlap = colap(self.joint)
        self.resamples = Resamples.draw(range(6), 5)
        self.labels = label_concepts(self.joint, word_properties(self.joint.tokens), n_permutations=2)
        self.results = synthetic.SyntheticStudy(folder).results
        self.folder = folder
        (folder / "en").write_text("a b\n")

    def value(self, function: str, name: str) -> Any:
        """Return a right value of an argument without a default."""
        short = ".".join(part for part in function.split(".")[-2:] if not part.islower()) or function
        short = function.rsplit(".", 1)[-1] if short == function else short
        for key in (f"{function}({name})", f"{short}({name})", name):
            if key in self.values:
                return self.values[key]
        return self.folder / f"{short}-{name}"

    @cached_property
    def values(self) -> dict[str, Any]:
        n, joint, figure = len(self.X), self.joint, self.alignment.estimates[0]
        english, german = self.concepts.values()
        study = StudyLayout(self.folder)
        tree = joint.tree
        return {
            "X": self.X,
            "Y": self.X,
            "tree": tree,
            "labels": joint.labels,
            "concepts": joint,
            "corpus": self.corpus,
            "train": self.corpus,
            "links": self.links,
            "dictionary": self.dictionary,
            "source": "en",
            "target": "de",
            "language": "en",
            "study": study,
            "theta": 0.3,
            "seed": 0,
            "model": "nowhere/there",
            "stack": "encoder",
            "layer": 1,
            "results": self.results,
            "n": 5,
            "n_concepts": 4,
            "n_sentences": 6,
            "n_clusters": 3,
            "coverage": 0.5,
            "task": "ner",
            "n_types": 9,
            "kind": "concepts",
            "options": {},
            "method": "ward",
            "text": "a b",
            "name": "tiny",
            "before": joint.labels,
            "after": joint.labels,
            "values": np.arange(4.0),
            "chosen": np.arange(4) > 1,
            "draws": np.linspace(0, 1, 30),
            "left_out": np.linspace(0, 1, 20),
            "p_values": [0.1, 0.2],
            "score": 0.5,
            "gold": [["O", "B-PER"]],
            "predicted": [["O", "B-PER"]],
            "tags": ["O", "B-PER"],
            "references": ["a"],
            "translations": ["a"],
            "sources": ["b"],
            "measure": np.arange(6.0),
            "forward": figure,
            "backward": figure,
            "alone": self.concepts,
            "alignment": self.alignment,
            "overlap": self.overlap,
            "states": self.states,
            "metric": "calign_mean",
            "texts": {"en": ["a"]},
            "charts": {},
            "rows": [],
            "parts": [self.results],
            "induced_by": "file",
            "properties": word_properties(joint.tokens),
            "concept": 0,
            "aligner": "diagonal",
            "first": "a",
            "second": "b",
            "languages": np.arange(n) % 2,
            "sentences": np.arange(n) % 6,
            "formats": ["svg"],
            "files": {"en": self.folder / "en"},
            "path": self.folder / "en",
            "discover(states)": self.states.at(1),
            "retrieval(source)": self.X,
            "retrieval(target)": self.X,
            "metrics.concepts.alignment.calign(source)": english,
            "metrics.concepts.exclusive.one_to_one(source)": english,
            "metrics.concepts.alignment.calign(target)": german,
            "metrics.concepts.exclusive.one_to_one(target)": german,
            "other_sentences(source)": english,
            "other_sentences(target)": german,
            "label_agreement(concepts)": joint.labels,
            "tokens": joint.tokens,
            "names": [str(i) for i in range(n)],
            "association(score)": np.arange(6.0),
            "as_links(pairs)": [(0, 0, 0)],
            "label_set_scores(labels)": self.labels,
            "split_alignment(labels)": self.labels,
            "split_overlap(labels)": self.labels,
            "score_classes(gold)": ["a"],
            "score_classes(predicted)": ["a"],
            "paired_difference(first)": 0.5,
            "paired_difference(second)": 0.6,
            "find_method(name)": "ward",
            "SelectionRule(by)": "types",
            "FineTuned(labels)": ("a",),
            "paired_difference(draws)": (np.linspace(0, 1, 30), np.linspace(0, 1, 30)),
            "width_of(text)": "column",
            "look_at_space(name)": "mean_cosine",
            "compare_rows(name)": "cka",
            "ConceptLabels.of(kind)": "casing",
            "WordLinks(table)": self.links.table,
            "TranslationDictionary(table)": self.dictionary.table,
            "WordLinks.from_pairs(pairs)": {i: [(0, 0)] for i in range(6)},
            "Results(table)": self.results.table,
            "Corpus(sentences)": self.corpus.sentences,
            "Corpus(words)": self.corpus.words,
            "Corpus(languages)": ("en", "de"),
            "LayerStates(tokens)": self.states.tokens,
            "SentenceStates(sentences)": self.states.sentences,
            "select_rows(tokens)": self.states.tokens,
            "States(tokens)": self.states.tokens,
            "States(arrays)": self.states.arrays,
            "States(rows)": self.states.rows,
            "symmetrise(directions)": Directions(np.zeros((1, 3), np.int32), np.zeros((1, 3), np.int32)),
            "Directions(forward)": np.zeros((1, 3), np.int32),
            "Directions(backward)": np.zeros((1, 3), np.int32),
            "Bitext(sentences)": np.arange(1),
            "Bitext(source_words)": [["a"]],
            "Bitext(target_words)": [["b"]],
            **{f"Estimate({one.name})": getattr(figure, one.name) for one in fields(figure)},
            **{f"Alignment({one.name})": getattr(self.alignment, one.name) for one in fields(self.alignment)},
            **{f"Overlap({one.name})": getattr(self.overlap, one.name) for one in fields(self.overlap)},
            **{f"ConceptLabels({one.name})": getattr(self.labels, one.name) for one in fields(self.labels)},
            **{f"Resamples({one.name})": getattr(self.resamples, one.name) for one in fields(self.resamples)},
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("study"))


def wrong_for(default: Any) -> Iterator[Any]:
    yield from WRONG
    yield from WRONG_ARRAYS
    if isinstance(default, str):
        yield from (0, [default])
    if isinstance(default, int | float):
        yield from (str(default), [default], -0.5)


# These would wait for a browser; what they call is walked over.
NOT_CALLED = {"explore.server.explore_study", "explore.server.open_explorer"}


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - NOT_CALLED))
def test_no_wrong_argument_ends_in_a_raw_error(
    made: Made, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    function = FUNCTIONS[name]
    parameters = list(inspect.signature(function).parameters.values())
    right: dict[str, Any] = {}
    for p in parameters:
        if p.name == "self":
            right["self"] = self_of(made, name)
        elif p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            right[p.name] = made.value(name, p.name)
    raw = []
    for p in parameters:
        if p.name == "self" or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            continue
        for value in wrong_for(p.default):
            arguments = right | {p.name: value}
            first = [arguments.pop(q.name) for q in parameters if q.kind is q.POSITIONAL_ONLY or q.name == "self"]
            try:
                function(*first, **arguments)
            except IsoglossError as error:
                assert str(error)
            except Exception as error:
                raw.append(f"{p.name}={value!r}: {type(error).__name__}: {error}"[:200])
    assert not raw, "\n".join(raw)


def self_of(made: Made, name: str) -> Any:
    owner = name.rsplit(".", 2)[-2]
    return {
        "Alignment": made.alignment,
        "Concepts": made.joint,
        "Corpus": made.corpus,
        "Overlap": made.overlap,
        "ConceptLabels": made.labels,
        "Results": made.results,
        "States": made.states,
        "TranslationDictionary": made.dictionary,
        "WordLinks": made.links,
    }[owner]


def test_the_message_names_function_argument_value_and_what_is_wanted(made: Made) -> None:
    english, german = made.concepts.values()
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: calign(english, german, made.dictionary, theta_align="0.5"), r"calign: theta_align .* got '0\.5'"),
        (lambda: calign(english, german, made.dictionary, draw_seed=-1), r"draw_seed must be .* from 0 .* got -1"),
        (lambda: calign(english, german, made.dictionary, n_permutations=-1), r"n_permutations .* got -1"),
        (lambda: calign(english, german, None), r"dictionary must be TranslationDictionary, .*\(\); got None"),
        (lambda: calign(english, german, made.dictionary, rule="symetric"), "Did you mean 'symmetric'"),
        (lambda: discover(made.states.at(1), n_concepts=2.7), r"n_concepts must be a whole number; got 2\.7"),
        (lambda: discover(made.states.at(1), n_concepts=True), "n_concepts must be a whole number; got True"),
        (lambda: Corpus.from_texts([["a"], ["b"]]), "texts must be a mapping"),
        (lambda: LayerStates(made.X[:, 0], made.states.tokens, "m", "encoder", 1), "X must be an array of numbers"),
        (lambda: isogloss.extract(made.corpus, "m", out="o", layers=[1.5]), r"layers .* got \[1\.5\]"),
        (lambda: isogloss.extract(made.corpus, "m", out="o", layers=0), "layers .* got 0"),
    ]  # fmt: skip
    for call, said in calls:
        with pytest.raises(UsageError, match=said):
            call()


def test_what_python_and_numpy_call_numbers_is_taken() -> None:
    @checked
    def take(n: Annotated[int, Within(1, 5)], share: Share = 0.5) -> tuple[int, float]:
        """Give back."""
        return n, share

    assert take(np.int32(3), np.float32(0.25)) == (3, 0.25)
    assert take(3, 1) == (3, 1)
    for n in (True, 2.0, np.bool_(True), "3", 10**30):
        with pytest.raises(UsageError, match="n must be a whole number from 1 to 5"):
            take(n)
    for share in (float("nan"), float("inf"), True, -0.1):
        with pytest.raises(UsageError, match=r"share must be a number from 0 to 1; .* Example: share=0\.5"):
            take(1, share)


def test_signatures_and_docstrings_stay() -> None:
    assert list(inspect.signature(calign).parameters)[:3] == ["source", "target", "dictionary"]
    assert (calign.__name__, calign.__module__) == ("calign", "isogloss.metrics.concepts.alignment")
    assert calign.__doc__
    assert list(inspect.signature(LayerStates).parameters) == ["X", "tokens", "model", "stack", "layer"]


def test_rules_of_lists_tables_and_names() -> None:
    @checked
    def take(
        seeds: Annotated[list[int], Distinct(1)] = [0],  # noqa: B006
        table: Annotated[pl.DataFrame, Columns(("a", "b"))] | None = None,
        how: Literal["mean", "last"] = "mean",
        names: dict[str, str] | None = None,
    ) -> None:
        pass

    take([0, 1], pl.DataFrame({"a": [], "b": [], "c": []}), "last", {"a": "b"})
    for given, said in (
        ({"seeds": [0, 0]}, "with no entry twice; got"),
        ({"seeds": []}, "not empty"),
        ({"table": pl.DataFrame({"a": []})}, "with the columns a, b; got a table with the columns a"),
        ({"how": "lats"}, "Did you mean 'last'"),
        ({"names": {"a": 1}}, "a mapping from text to text"),
    ):
        with pytest.raises(UsageError, match=said):
            take(**given)
