"""What is owed to the sentence: COLAP across sentences, and the AMI of concepts and sentences."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information

from isogloss.concepts import Concepts
from isogloss.errors import UsageError
from isogloss.metrics import colap
from isogloss.metrics.concepts.overlap import chance_overlap
from isogloss.metrics.concepts.sentences import (
    _chance,
    _expected_in,
    colap_other_sentences,
    expected_information,
    sentence_ami,
)
from isogloss.metrics.statistics.bootstrap import Resamples
from isogloss.settings import OverlapSettings

N_SENTENCES, N_WORDS = 120, 10


def joint(labels, sentences, languages) -> Concepts:
    """Concepts of tokens from the three columns; the label -1 is none."""
    n = len(labels)
    tokens = pl.DataFrame(
        {
            "row": np.arange(n),
            "language": languages,
            "sentence": np.asarray(sentences, np.int32),
            "position": np.zeros(n, np.int16),
            "word": ["w"] * n,
        }
    )
    labels = np.asarray(labels, np.int32)
    return Concepts(tokens, labels, int(labels.max(initial=-1)) + 1)


def parallel_text(*, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The meaning, sentence and language of every token of two languages that say the same."""
    words = np.random.default_rng(seed).integers(0, 40, N_SENTENCES * N_WORDS)
    sentences = np.repeat(np.arange(N_SENTENCES), N_WORDS)
    return np.tile(words, 2), np.tile(sentences, 2), ["en"] * len(words) + ["de"] * len(words)


def by_words() -> Concepts:
    words, sentences, languages = parallel_text()
    return joint(words, sentences, languages)


def by_sentences() -> Concepts:
    _, sentences, languages = parallel_text()
    return joint(sentences, sentences, languages)


def by_words_of_a_language() -> Concepts:
    words, sentences, languages = parallel_text()
    return joint(2 * words + (np.array(languages) == "de"), sentences, languages)


# -- COLAP across sentences -----------------------------------------------------------------------


def test_a_concept_that_is_a_sentence_overlaps_in_the_same_sentences_only() -> None:
    assert colap(by_sentences()).score == 1
    assert colap_other_sentences(by_sentences())[0].score == 0


def test_a_concept_of_words_overlaps_as_if_languages_were_mixed() -> None:
    [across] = colap_other_sentences(by_words())
    assert across.score > 0.95
    assert across.score == pytest.approx(across.chance, abs=0.05)
    assert colap_other_sentences(by_words_of_a_language())[0].score == 0


def test_every_split_is_used_both_ways_round() -> None:
    # en in sentence 0 and de in sentence 1 of one concept: they meet one way round, in every split that parts the two
    [across] = colap_other_sentences(joint([0, 0], [0, 1], ["en", "de"]), n_splits=1)
    assert (across.score, across.n) == (1, 1)
    twice = joint([0, 0, 0, 0], [0, 1, 0, 1], ["en", "en", "de", "de"])
    assert colap_other_sentences(twice, n_splits=3)[0].score == 1


def test_concepts_without_a_token_in_a_split_are_left_out() -> None:
    # one concept of two sentences, and one of en alone in sentence 0, which is there one way round only
    concepts = joint([0, 0, 0, 0, 1], [0, 1, 0, 1, 0], ["en", "en", "de", "de", "en"])
    [across] = colap_other_sentences(concepts, n_splits=1)
    assert across.score == pytest.approx((1 / 1 + 1 / 2) / 2)


@pytest.mark.parametrize("rule", ["symmetric", "paper-code"])
@pytest.mark.parametrize("theta", [0.07, 0.25, 0.3, 1 / 3, 0.49])
def test_the_chance_of_all_sizes_at_once_is_that_of_each(rule: str, theta: float) -> None:
    generator = np.random.default_rng(1)
    settings = OverlapSettings(rule=rule)
    for _ in range(20):
        sizes = generator.integers(0, 60, generator.integers(2, 25))
        first = int(generator.integers(0, sizes.sum() + 1))
        totals = first, int(sizes.sum()) - first
        single = chance_overlap(sizes[sizes > 0], np.array(totals), theta, rule=settings)
        assert _chance(sizes, totals, theta, settings) == pytest.approx(single.mean(), abs=1e-12)


def test_chance_is_what_shuffled_languages_score() -> None:
    words, sentences, languages = parallel_text()
    generator = np.random.default_rng(5)
    # both languages and sentences are dealt anew: the null knows neither
    order = [generator.permutation(len(words)) for _ in range(30)]
    labels = words * 7 % 30
    estimates = [colap_other_sentences(joint(labels[o], sentences, languages), n_splits=2)[0] for o in order]
    scores = np.array([estimate.score for estimate in estimates])
    assert estimates[0].chance == pytest.approx(scores.mean(), abs=4 * scores.std() / len(order) ** 0.5 + 1e-3)


def test_intervals_are_around_the_score_and_narrow_with_text() -> None:
    words, sentences, languages = parallel_text()
    half = (np.arange(len(words)) % 2 == 0) & (words < 20)
    concepts = joint(np.where(half, sentences, N_SENTENCES + words), sentences, languages)
    resamples = Resamples.draw(sentences, 100)
    [across] = colap_other_sentences(concepts, resamples=resamples)
    assert 0 < across.ci_low < across.score < across.ci_high < 1
    assert (across.ci, len(across.draws)) == ("bca100", 120)
    [formula] = colap_other_sentences(concepts)
    assert (formula.score, formula.ci) == (across.score, "wilson")
    assert math.isnan(across.p_value)


def test_the_splits_are_drawn_by_their_seed() -> None:
    words, sentences, languages = parallel_text()
    small = words * N_SENTENCES + sentences // 20
    concepts = joint(np.unique(small, return_inverse=True)[1], sentences, languages)
    first, again, other = (colap_other_sentences(concepts, n_splits=1, draw_seed=s)[0].score for s in (0, 0, 1))
    assert first == again != other


def test_thetas_come_in_their_order_and_groups_are_refused() -> None:
    assert [e.theta for e in colap_other_sentences(by_words(), theta_overlap=[0.4, 0.2])] == [0.4, 0.2]
    three = joint([0, 0, 0], [0, 0, 0], ["en", "de", "ar"])
    with pytest.raises(UsageError, match="two languages"):
        colap_other_sentences(three)
    with pytest.raises(UsageError, match="unknown language 'fr'"):
        colap_other_sentences(three, languages=["en", "fr"])
    assert math.isnan(colap_other_sentences(joint([-1, -1], [0, 1], ["en", "de"]))[0].score)


# -- how much of a concept is its sentence --------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_it_is_sklearns_ami_with_the_least_entropy_of_one_language(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels, sentences = generator.integers(-1, 15, 300), generator.integers(0, 40, 300)
    labels[sentences < 20] = sentences[sentences < 20] // 2
    kept = labels >= 0
    expected = adjusted_mutual_info_score(sentences[kept], labels[kept], average_method="min")
    assert sentence_ami(joint(labels, sentences, ["en"] * 300)).score == pytest.approx(expected, abs=1e-9)


def test_a_joint_space_is_the_mean_over_languages_by_their_tokens() -> None:
    generator = np.random.default_rng(2)
    labels, sentences = generator.integers(0, 9, 300), generator.integers(0, 30, 300)
    labels[:100] = sentences[:100] // 4
    languages = ["en"] * 100 + ["de"] * 200
    single = [
        adjusted_mutual_info_score(sentences[part], labels[part], average_method="min")
        for part in (slice(0, 100), slice(100, 300))
    ]
    expected = (single[0] + 2 * single[1]) / 3
    assert sentence_ami(joint(labels, sentences, languages)).score == pytest.approx(expected, abs=1e-9)


def test_expected_information_is_sklearns() -> None:
    generator = np.random.default_rng(3)
    for k, m, n in ((3, 4, 20), (30, 80, 900), (2, 200, 2000)):
        table = np.zeros((k, m), np.int64)
        np.add.at(table, (generator.zipf(1.6, n) % k, generator.integers(0, m, n)), 1)
        table = table[np.ix_(table.sum(axis=1) > 0, table.sum(axis=0) > 0)]
        ours = expected_information(table.sum(axis=1), table.sum(axis=0))
        assert ours == pytest.approx(expected_mutual_information(table, n), abs=1e-9)
        # in resamples it is read off a table
        sizes = table.sum(axis=1)[:, None].astype(np.float64)
        assert _expected_in(sizes, table.sum(axis=0))[0] == pytest.approx(ours, rel=2e-3)


def test_words_have_nothing_of_their_sentence_and_sentences_are_nothing_else() -> None:
    _, sentences, languages = parallel_text()
    # translations stand in the same sentence, which does not make a sentence of a concept
    assert abs(sentence_ami(by_words()).score) < 0.03
    assert abs(sentence_ami(by_words_of_a_language()).score) < 0.03
    is_de = np.array(languages) == "de"
    halves = np.tile(np.arange(N_WORDS) % 2, 2 * N_SENTENCES)
    for labels in (sentences, sentences // 3, 2 * sentences + is_de, 2 * sentences + halves):
        assert sentence_ami(joint(labels, sentences, languages)).score == pytest.approx(1)


def test_mixtures_lie_between_in_their_order() -> None:
    words, sentences, languages = parallel_text()
    follows = np.random.default_rng(0).random(40)[words]
    scores = [
        sentence_ami(joint(np.where(follows < x, 40 + sentences, words), sentences, languages)).score
        for x in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert scores == sorted(scores)
    assert scores[1] > 0.05 and scores[3] < 0.95


def test_its_interval_is_that_of_other_texts() -> None:
    scores, spreads = [], []
    for seed in range(40):
        words, sentences, languages = parallel_text(seed=seed)
        concepts = joint(np.where(words < 10, 40 + sentences, words), sentences, languages)
        estimate = sentence_ami(concepts, resamples=Resamples.draw(sentences, 100, draw_seed=seed))
        scores.append(estimate.score)
        spreads.append(estimate.draws[:100].std())
        assert estimate.ci_low < estimate.score < estimate.ci_high
    assert 0.6 < np.mean(spreads) / np.std(scores) < 1.6


def test_where_there_is_nothing_to_tell_it_is_nan() -> None:
    for labels, sentences in (([0, 0, 0], [0, 1, 2]), ([0, 1, 2], [0, 0, 0]), ([0, 1, 2], [0, 1, 2]), ([-1], [0])):
        assert math.isnan(sentence_ami(joint(labels, sentences, ["en"] * len(labels))).score)
