"""Languages made alike in how frequent their types are, and what that takes away from CALIGN."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign
from isogloss.metrics.concepts.matching import frequency_bins
from isogloss.metrics.concepts.restricted import match_frequencies


def made(language: str, counts: Mapping[str, int], *, concept: Mapping[str, int] | None = None) -> Concepts:
    """Return concepts with so many tokens of every word, all of a word in one concept."""
    words = [word for word, n in counts.items() for _ in range(n)]
    n = len(words)
    tokens = pl.DataFrame(
        {
            "row": np.arange(n, dtype=np.int64),
            "language": [language] * n,
            "sentence": np.arange(n, dtype=np.int32) % 7,
            "position": np.arange(n, dtype=np.int16),
            "word": words,
        },
        schema_overrides={"word": pl.String, "language": pl.String},
    )
    labels = np.array([concept[word] if concept else 0 for word in words], np.int32)
    return Concepts(tokens, labels, int(labels.max(initial=-1)) + 1)


def zipfian(language: str, n: int, seed: int) -> Concepts:
    counts = np.random.default_rng(seed).zipf(1.7, n).clip(max=40)
    return made(language, {f"{language}{i}": int(c) for i, c in enumerate(counts)})


def bins_of(concepts: Concepts) -> dict[int, int]:
    found = frequency_bins(concepts.types()["count"].to_numpy())
    return dict(zip(*(x.tolist() for x in np.unique(found, return_counts=True)), strict=True))


def words_of(found: Mapping[str, Concepts]) -> dict[str, list[str]]:
    return {language: sorted(set(x.types()["word"])) for language, x in found.items()}


def test_bins_are_equal_afterwards_and_as_full_as_the_poorest_language_allows() -> None:
    before = {x: zipfian(x, n, seed) for x, n, seed in (("en", 300, 1), ("de", 120, 2), ("fi", 200, 3))}
    after = match_frequencies(before)
    sizes = [bins_of(x) for x in before.values()]
    least = {b: min(size.get(b, 0) for size in sizes) for b in set().union(*sizes)}
    for language, found in after.items():
        assert bins_of(found) == {b: n for b, n in least.items() if n}
        kept = found.labels >= 0
        assert (found.labels[kept] == before[language].labels[kept]).all()
        assert found.tokens.equals(before[language].tokens)
        types = set(found.types()["word"])
        assert kept.tolist() == [word in types for word in found.tokens["word"]], "a type went only in part"


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_languages_or_tokens() -> None:
    before = {x: zipfian(x, 100 + 50 * i, i) for i, x in enumerate(("en", "de", "fi"))}
    one = words_of(match_frequencies(before))
    assert words_of(match_frequencies(dict(reversed(before.items())))) == one
    turned = {x: Concepts(c.tokens.reverse(), c.labels[::-1], c.n_concepts) for x, c in before.items()}
    assert words_of(match_frequencies(turned)) == one
    assert words_of(match_frequencies(before, draw_seed=1)) != one
    # two languages of the same words draw independently, or shared spellings would stay together
    twins = {x: made(x, {f"w{i}": 1 for i in range(40)}) for x in ("en", "de")} | {"fi": made("fi", {"a": 1})}
    drawn = words_of(match_frequencies(twins))
    assert [len(words) for words in drawn.values()] == [1, 1, 1]
    assert drawn["en"] != drawn["de"]


def test_a_language_without_a_type_in_a_bin_empties_it() -> None:
    found = match_frequencies({"en": made("en", {"a": 1, "b": 2, "c": 9}), "de": made("de", {"x": 1, "y": 8})})
    assert words_of(found) == {"en": ["a", "c"], "de": ["x", "y"]}
    nothing = match_frequencies({"en": made("en", {"a": 1}), "de": made("de", {"x": 4})})
    assert words_of(nothing) == {"en": [], "de": []}
    table = pl.DataFrame({"source": ["a"], "target": ["x"], "count": [1], "probability": [1.0]})
    empty = calign(nothing["en"], nothing["de"], TranslationDictionary("en", "de", table), n_permutations=5)
    assert np.isnan(empty.score)
    assert empty.estimates[0].n == 0


def test_tokens_of_no_concept_are_not_counted() -> None:
    concepts = made("en", {"a": 2, "b": 1})
    half = Concepts(concepts.tokens, np.array([0, -1, 0], np.int32), 1)
    assert words_of(match_frequencies({"en": half, "de": made("de", {"x": 1, "y": 1})}))["en"] == ["a", "b"]


@pytest.mark.parametrize("null", ["targets", "labels"])
def test_a_pair_that_looked_better_by_frequency_alone_no_longer_does(null: str) -> None:
    """Frequent words lie in the concept of their meaning, rare ones anywhere; of c fewer words are frequent."""
    n, per = 600, 10
    generator = np.random.default_rng(0)
    order = generator.permutation(n)
    before = {}
    for language, n_frequent in (("a", 400), ("b", 400), ("c", 200)):
        frequent = set(order[:n_frequent].tolist())
        strays = generator.permutation(n) // per
        counts = {f"{language}{i}": 8 if i in frequent else 1 for i in range(n)}
        concept = {f"{language}{i}": i // per if i in frequent else int(strays[i]) for i in range(n)}
        before[language] = made(language, counts, concept=concept)

    def above_chance(sides: Mapping[str, Concepts], target: str) -> float:
        pairs = pl.DataFrame({"source": [f"a{i}" for i in range(n)], "target": [f"{target}{i}" for i in range(n)]})
        pairs = pairs.with_columns(count=pl.lit(1, pl.Int64), probability=pl.lit(1.0))
        dictionary = TranslationDictionary("a", target, pairs)
        options = {"min_types": 2, "n_permutations": 5, "null": null}
        return calign(sides["a"], sides[target], dictionary, **options).soft.adjusted

    assert above_chance(before, "b") > above_chance(before, "c") + 0.2
    differences = []
    for seed in range(10):
        after = match_frequencies(before, draw_seed=seed)
        differences.append(above_chance(after, "b") - above_chance(after, "c"))
    assert abs(np.mean(differences)) < 0.02
