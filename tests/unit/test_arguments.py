"""Arguments are checked at the door: no wrong value of any public function ends in a raw error."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import isogloss
import synthetic
from isogloss.aligners.protocol import Bitext, Directions
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.discovery import discover
from isogloss.errors import IsoglossError
from isogloss.metrics import calign, colap
from isogloss.metrics.bootstrap import Resamples
from isogloss.metrics.labels import label_concepts
from isogloss.metrics.word_facts import word_properties
from isogloss.states import States

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
                if is_checked(vars(thing).get("__init__")):
                    found[place] = thing
                for inner, method in vars(thing).items():
                    bound = getattr(thing, inner) if isinstance(method, classmethod) else method
                    if is_checked(getattr(method, "__func__", method)) and inner != "__init__":
                        found[f"{place}.{inner}"] = bound
    return found


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
            language: discover(self.states.at(1, language=language), n_concepts=4)
            for language in ("en", "de")
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

    def value(self, function: str, name: str) -> Any:
        """Return a right value of an argument without a default."""
        short = function.rsplit(".", 1)[-1]
        n = len(self.X)
        own = {
            ("metrics", "sentences"): np.arange(n) % 6,
            ("metrics", "languages"): np.arange(n) % 2,
            ("metrics", "labels"): np.arange(n) % 3,
            ("corpus", "texts"): {"en": ["a"]},
            ("dictionary", "table"): self.dictionary.table if "Translation" in function else self.links.table,
            ("dictionary", "pairs"): {0: [(0, 0)]},
            ("results", "labels"): self.joint.labels,
            ("states", "tokens"): self.states.tokens,
            ("states", "sentences"): self.states.sentences,
            ("concepts", "tokens"): self.joint.tokens,
            ("discovery", "labels"): self.joint.labels,
            ("trees", "names"): [str(i) for i in range(n)],
        }
        room = function.split(".", 1)[0]
        if (room, name) in own:
            return own[room, name]
        if room == "metrics" and name in ("source", "target") and short in ("retrieval",):
            return self.X
        if room in ("metrics", "aligners", "corpus", "dictionary") and name in ("source", "target"):
            concepts = room == "metrics"
            language = "en" if name == "source" else "de"
            return self.concepts[language] if concepts else language
        values = {
            "X": self.X,
            "Y": self.X,
            "y": self.X,
            "Z": self.X,
            "concepts": self.joint.labels if short == "label_agreement" else self.joint,
            "labels": self.labels if "label_" in function or "split" in short else self.joint.labels,
            "corpus": self.corpus,
            "train": self.corpus,
            "dictionary": self.dictionary,
            "states": self.states.at(1) if short == "discover" else self.states,
            "links": {(0, 0, 0)} if short == "alignment_error_rate" else self.links,
            "sure": {(0, 0)},
            "alone": self.concepts,
            "alignment": self.alignment,
            "overlap": self.overlap,
            "results": self.results,
            "tree": self.joint.tree,
            "tokens": self.joint.tokens,
            "properties": word_properties(self.joint.tokens),
            "forward": self.alignment.figures[0],
            "backward": self.alignment.figures[0],
            "bitext": Bitext("en", "de", np.arange(1), [["a"]], [["b"]]),
            "directions": Directions(np.zeros((1, 3), np.int32), np.zeros((1, 3), np.int32)),
            "weights": np.ones((3, n), np.float32),
            "draws": np.linspace(0, 1, 30),
            "left_out": np.linspace(0, 1, 20),
            "p_values": [0.1, 0.2],
            "score": 0.5,
            "first": 0.5,
            "second": 0.6,
            "before": self.joint.labels,
            "after": self.joint.labels,
            "values": np.arange(4.0),
            "chosen": np.arange(4) > 1,
            "shared_before": np.ones(4, bool),
            "shared_after": np.ones(4, bool),
            "counts": np.ones((3, 2), np.int64),
            "sizes": np.full(3, 4),
            "totals": np.array([6, 6]),
            "theta": 0.3,
            "n": 5,
            "n_concepts": 4,
            "seed": 0,
            "layer": 1,
            "alignment_": 0.5,
            "gold": [["O", "B-PER"]],
            "predicted": [["O", "B-PER"]],
            "tags": ["O", "B-PER"],
            "references": ["a"],
            "translations": ["a"],
            "sources": ["b"],
            "measure": np.arange(6.0),
            "source": "en",
            "target": "de",
            "language": "en",
            "method": "ward",
            "options": {},
            "name": "mean_cosine" if short == "look_at_space" else "cka",
            "matching": "itermax",
            "text": "a b",
            "texts": {"en": ["a"]},
            "metric": "calign_mean",
            "companions": pl.DataFrame(),
            "model": "nowhere/there",
            "task": "ner",
            "concept": 0,
            "kind": "concepts",
            "weights_": None,
            "similarity": self.X,
            "rows": [],
            "parts": [self.results],
            "flows": pl.DataFrame(),
            "formats": ["svg"],
            "n_types": 9,
            "sentence": 0,
            "successes": 1.0,
        }
        if short == "as_links":
            return [(0, 0, 0)]
        if short == "plant":
            return 0.5
        if name in values:
            return values[name]
        return self.folder / "nothing"


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


# These would wait for a browser, train or write beside the tests; what they call is walked over.
NOT_CALLED = {"explore.server.explore", "explore.server.open_explorer", "starter.pretrain.pretrain"}


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
            first = [
                arguments.pop(q.name) for q in parameters if q.kind is q.POSITIONAL_ONLY or q.name == "self"
            ]
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
        "ConceptLabels": made.labels,
        "Results": made.results,
        "States": made.states,
        "TranslationDictionary": made.dictionary,
        "WordLinks": made.links,
    }[owner]
