"""Aligners: the diagonal model against its formulas, symmetrisation against its definition, errors."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma

from benchmarks.align import alignment_error_rate
from isogloss import Corpus
from isogloss.aligners import METHODS, Bitext, Directions, align_words
from isogloss.aligners.diagonal import Diagonal
from isogloss.aligners.model import Model, itermax
from isogloss.aligners.protocol import as_links
from isogloss.aligners.symmetrise import symmetrise
from isogloss.errors import InputError, IsoglossError, MissingExtraError, UsageError
from isogloss.states import States

EN = ["the house is red", "the red wine", "a house", "wine and bread", "the bread is old", "a red bread"]
ES = ["la casa es roja", "el vino rojo", "una casa", "vino y pan", "el pan es viejo", "un pan rojo"]


@pytest.fixture
def corpus() -> Corpus:
    return Corpus.from_texts({"en": EN, "es": ES}, segmented=True)


def positions(links) -> set[tuple[int, int, int]]:
    return set(links.table.select("sentence", "source_position", "target_position").iter_rows())


# -- diagonal -----------------------------------------------------------------------------------


def by_the_book(given, generated, model: Diagonal) -> dict[tuple[int, int], tuple[list[float], float]]:
    """The model of the module's docstring word by word: (pair, position) -> scores of null and every given word."""
    pairs = list(zip(given, generated, strict=True))
    cooccur = defaultdict(set)
    for e, f in pairs:
        for word in e:
            cooccur[word] |= set(f)
    types = {word for f in generated for word in f}
    cooccur[None] = types
    t = defaultdict(lambda: 1 / len(types))

    def scores(e, f, i):
        m, n = len(f), len(e)
        raw = [math.exp(-model.tension * abs((i + 1) / m - (j + 1) / n)) for j in range(n)]
        prior = [(1 - model.p_null) * x / sum(raw) for x in raw]
        return [model.p_null * t[None, f[i]], *(p * t[word, f[i]] for p, word in zip(prior, e, strict=True))]

    for _ in range(model.iterations):
        count, total = defaultdict(float), defaultdict(float)
        for e, f in pairs:
            for i in range(len(f)):
                s = scores(e, f, i)
                for word, q in zip([None, *e], s, strict=True):
                    count[word, f[i]] += q / sum(s)
                    total[word] += q / sum(s)
        t = {
            (word, x): math.exp(digamma(count[word, x] + model.alpha) - digamma(total[word] + model.alpha * len(xs)))
            for word, xs in cooccur.items()
            for x in xs
        }
    return {(p, i): scores(e, f, i) for p, (e, f) in enumerate(pairs) for i in range(len(f))}


sentence = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(sentence, sentence), min_size=1, max_size=6),
    st.sampled_from([Diagonal(), Diagonal(iterations=2, p_null=0.3, tension=1.0, alpha=0.2)]),
)
def test_diagonal_is_the_model_of_its_formulas(pairs, model) -> None:
    source, target = [a for a, _ in pairs], [b for _, b in pairs]
    found = model.align(Bitext("x", "y", np.arange(len(pairs)), source, target))
    backward = found.backward[:, [0, 2, 1]]
    for links, book in (
        (found.forward, by_the_book(source, target, model)),
        (backward, by_the_book(target, source, model)),
    ):
        ours = {(p, i): j + 1 for p, j, i in links.tolist()}  # 0 = null
        for place, scores in book.items():
            # Ties may be broken by rounding; what we chose must be as good as the best.
            assert scores[ours.get(place, 0)] == pytest.approx(max(scores), rel=1e-9)


def made_up(n: int) -> tuple[Corpus, set[tuple[int, int, int]]]:
    """Sentences of Zipfian words; every word is translated by itself with a T, neighbours change places at times."""
    generator = np.random.default_rng(0)
    english, spanish, gold = [], [], set()
    for s in range(n):
        words = [f"w{x}" for x in generator.zipf(1.4, size=generator.integers(3, 12)) % 97]
        order = np.arange(len(words))
        at = int(generator.integers(0, len(words) - 1))
        order[[at, at + 1]] = order[[at + 1, at]]
        english.append(" ".join(words))
        spanish.append(" ".join(f"T{words[i]}" for i in order))
        gold |= {(s, int(i), j) for j, i in enumerate(order)}
    return Corpus.from_texts({"en": english, "es": spanish}, segmented=True), gold


def test_diagonal_finds_the_translations() -> None:
    corpus, gold = made_up(200)
    links = align_words(corpus, source="en", target="es")
    assert alignment_error_rate(positions(links), gold) < 0.15
    best = links.dictionary(top=1).table
    assert (("T" + best["source"]) == best["target"]).mean() > 0.9


def test_case_does_not_matter_but_words_stay() -> None:
    corpus, _ = made_up(60)
    texts = {x: corpus.texts(x) for x in corpus.languages}
    texts["en"] = [line.upper() if i % 2 else line for i, line in enumerate(texts["en"])]
    shouted = Corpus.from_texts(texts, segmented=True)
    links = align_words(shouted, source="en", target="es")
    assert positions(links) == positions(align_words(corpus, source="en", target="es"))
    assert any(word.startswith("W") for word in links.table["source_word"])
    assert positions(align_words(shouted, source="en", target="es", lowercase=False)) != positions(links)


def test_same_links_in_every_process() -> None:
    code = (
        "from isogloss import Corpus, align_words\n"
        f"c = Corpus.from_texts({{'en': {EN * 3}, 'es': {ES * 3}}}, segmented=True)\n"
        "print(align_words(c, source='en', target='es').table.rows())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 100


# -- symmetrise ---------------------------------------------------------------------------------


def grown_by_the_book(forward: set, backward: set, method: str) -> set:
    """The docstring of `symmetrise`, for one pair, on sets of (i, j)."""
    union, links = forward | backward, forward & backward
    if method == "intersection":
        return links
    if method == "union":
        return union

    def free(i, j):
        return i not in {a for a, _ in links}, j not in {b for _, b in links}

    steps = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    while True:
        before = len(links)
        for place in sorted(union):
            if place in links:
                for a, b in steps:
                    near = (place[0] + a, place[1] + b)
                    if near in union and near not in links and any(free(*near)):
                        links = links | {near}
        if len(links) == before:
            break
    if method != "grow-diag":
        enough = all if method.endswith("and") else any
        for direction in (forward, backward):
            for place in sorted(direction):
                if place not in links and enough(free(*place)):
                    links = links | {place}
    return links


directional = st.lists(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=9), min_size=1, max_size=3)


def rows(sentences: list[set]) -> np.ndarray:
    return as_links([(2 * p, i, j) for p, links in enumerate(sentences) for i, j in links])


@settings(max_examples=150, deadline=None)
@given(directional, directional, st.sampled_from(METHODS))
def test_symmetrise_does_what_it_says(forward, backward, method) -> None:
    n = max(len(forward), len(backward))
    forward, backward = ([*x, *[set()] * (n - len(x))] for x in (forward, backward))
    found = symmetrise(Directions(rows(forward), rows(backward)), method)
    expected = [(2 * p, i, j) for p in range(n) for i, j in sorted(grown_by_the_book(forward[p], backward[p], method))]
    assert [tuple(row) for row in found.tolist()] == expected


@settings(max_examples=100, deadline=None)
@given(directional, directional)
def test_every_method_lies_between_intersection_and_union(forward, backward) -> None:
    found = {
        method: {tuple(row) for row in symmetrise(Directions(rows(forward), rows(backward)), method).tolist()}
        for method in METHODS
    }
    for links in found.values():
        assert found["intersection"] <= links <= found["union"]
    assert found["grow-diag"] <= found["grow-diag-final-and"]
    assert found["grow-diag"] <= found["grow-diag-final"]


def test_symmetrise_names_the_nearest_method() -> None:
    nothing = Directions(as_links([]), as_links([]))
    with pytest.raises(UsageError, match="grow-diag-final-and"):
        symmetrise(nothing, "grow-diag-final-nad")
    for method in METHODS:
        assert symmetrise(nothing, method).shape == (0, 3)


# -- model --------------------------------------------------------------------------------------


def states_of(corpus: Corpus, vectors: dict[str, list[float]]) -> States:
    """States that depend on the word alone; words without a vector have no state."""
    words = corpus.words["word"].to_list()
    X = np.array([vectors.get(w, [0.0] * 3) for w in words], dtype=np.float16)
    counts = pl.Series("n_subwords", [int(w in vectors) for w in words], dtype=pl.Int16)
    return States(corpus.words.with_columns(counts), {4: X}, np.arange(len(X)), "toy/model", "encoder")


def test_model_links_similar_states() -> None:
    corpus = Corpus.from_texts({"en": ["red wine", "wine x"], "es": ["vino rojo", "vino"]}, segmented=True)
    vectors = {"red": [1, 0, 0], "rojo": [5, 0.5, 0], "wine": [0, 1, 0], "vino": [0, 0.1, 0.02]}
    states = states_of(corpus, vectors)
    links = align_words(corpus, source="en", target="es", aligner="model", states=states, layer=4)
    assert positions(links) == {(0, 0, 1), (0, 1, 0), (1, 0, 0)}  # "x" has no state
    assert links.aligner == "model:toy/model:4"
    inter = align_words(
        corpus, source="en", target="es", aligner="model", states=states, layer=4, matching="argmax",
        symmetrise="intersection",
    )  # fmt: skip
    assert positions(inter) == positions(links)


def test_itermax_adds_links_that_argmax_does_not_have() -> None:
    # Both rows prefer column 0; in the second round it counts a tenth less: 0.72 < 0.75, but 0.72 > 0.5.
    similarity = np.array([[0.9, 0.1], [0.8, 0.75]])
    assert list(zip(*(x.tolist() for x in itermax(similarity)), strict=True)) == [(0, 0), (1, 1)]
    similarity = np.array([[0.9, 0.6], [0.8, 0.5]])
    assert list(zip(*(x.tolist() for x in itermax(similarity)), strict=True)) == [(0, 0), (0, 1), (1, 0)]


def test_itermax_links_nothing_where_all_is_zero() -> None:
    assert len(itermax(np.zeros((2, 3)))[0]) == 0


def test_model_refuses_states_of_another_corpus(corpus) -> None:
    other = Corpus.from_texts({"en": EN[::-1], "es": ES[::-1]}, segmented=True)
    states = states_of(other, {"red": [1, 0, 0], "rojo": [1, 0, 0]})
    with pytest.raises(UsageError, match="not of this corpus: sentence 0 of 'en'"):
        align_words(corpus, source="en", target="es", aligner="model", states=states, layer=4)
    with pytest.raises(UsageError, match="unknown layer '3'"):
        Model(states, 3)
    with pytest.raises(UsageError, match="Did you mean 'itermax'"):
        Model(states, 4, matching="itermx")


# -- align_words --------------------------------------------------------------------------------


class Mine:
    """A user's own aligner."""

    name = "mine"

    def __init__(self, links) -> None:
        self.links = links

    def align(self, bitext: Bitext):
        return as_links(self.links)


def test_an_aligner_of_ones_own(corpus) -> None:
    links = align_words(corpus, source="en", target="es", aligner=Mine([(5, 1, 2), (0, 1, 1), (0, 1, 1)]))
    assert links.aligner == "mine"
    assert links.table.rows() == [(0, 1, 1, "house", "casa"), (5, 1, 2, "red", "rojo")]


@pytest.mark.parametrize("wrong", [(0, 4, 0), (0, 0, 4), (6, 0, 0), (0, -1, 0)])
def test_links_to_words_that_do_not_exist_are_refused(corpus, wrong) -> None:
    with pytest.raises(InputError, match="'mine' gave links to words that do not exist"):
        align_words(corpus, source="en", target="es", aligner=Mine([(0, 0, 0), wrong]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "en"}, "both 'en'"),
        ({"target": "fr"}, "unknown language 'fr'"),
        ({"aligner": "diagnal"}, "Did you mean 'diagonal'"),
        ({"symmetrise": "gdfa"}, "unknown symmetrisation 'gdfa'"),
        ({"iteration": 3}, "Did you mean 'iterations'"),
        ({"p_null": 1.5}, "p_null must be a number above 0 and below 1; got 1.5"),
        ({"iterations": 2.5}, "iterations must be a whole number .* got 2.5"),
        ({"alpha": "much"}, "alpha must be a number .* got .much."),
        ({"aligner": "model"}, "needs states and layer"),
        ({"aligner": Mine([]), "alpha": 1}, "aligner of your own"),
        ({"aligner": 3}, "aligner must be text or an Aligner; got 3"),
    ],
)
def test_wrong_calls(corpus, options, message) -> None:
    with pytest.raises(UsageError, match=message):
        align_words(corpus, **{"source": "en", "target": "es", **options})


def test_a_corpus_that_is_not_parallel_is_refused() -> None:
    corpus = Corpus.from_texts({"en": EN, "es": ES[:2]}, segmented=True, parallel=False)
    with pytest.raises(UsageError, match="not: sentence numbers"):
        align_words(corpus, source="en", target="es")


def test_eflomal_missing(corpus, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(MissingExtraError, match=r"isogloss\[eflomal\]"):
        align_words(corpus, source="en", target="es", aligner="eflomal")


def test_eflomal_failing(corpus, monkeypatch) -> None:
    class Broken:
        class Aligner:
            def align(self, *args, **options):
                raise RuntimeError("no such program")

    monkeypatch.setitem(sys.modules, "eflomal", Broken)
    with pytest.raises(IsoglossError, match="eflomal failed: no such program"):
        align_words(corpus, source="en", target="es", aligner="eflomal")


def test_the_list_of_aligners_is_light() -> None:
    code = "import sys; from isogloss.aligners import ALIGNERS; print('numba' in sys.modules, 'torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["False", "False"]


# -- alignment error rate -----------------------------------------------------------------------


def test_alignment_error_rate_by_hand() -> None:
    sure, possible = [(0, 0, 0), (0, 1, 1)], [(0, 1, 2)]
    assert alignment_error_rate(sure, sure) == 0.0
    assert alignment_error_rate([*sure, *possible], sure, possible=possible) == 0.0
    assert alignment_error_rate([], sure) == 1.0
    # A = {sure, possible, wrong}: 1 - (1 + 2) / (3 + 2)
    found = [(0, 0, 0), (0, 1, 2), (1, 0, 0)]
    assert alignment_error_rate(found, sure, possible=possible) == pytest.approx(0.4)
