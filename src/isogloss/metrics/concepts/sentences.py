"""What of concepts is owed to the sentence: COLAP across sentences, and how much a sentence tells of concepts.

Where a model's states say which sentence a word stands in more than which word it is, concepts are sentences.  In a
parallel corpus such a concept holds all languages though no word of it is shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp
from scipy.special import gammaln, xlogy

from isogloss.arguments import Count, Seed, checked
from isogloss.concepts import Concepts
from isogloss.errors import UsageError, unknown
from isogloss.metrics.concepts.mixing import estimate_of
from isogloss.metrics.statistics.bootstrap import Resamples, named_interval, share_interval
from isogloss.metrics.statistics.intervals import wilson
from isogloss.results import Estimate
from isogloss.settings import Interval, OverlapSettings, takes

N_SPLITS = 30  # then their choice moves the score by about a fifth of the interval's half width
_N_SIZES = 150  # of concepts, for which the expected information is computed; between them it is interpolated

Floats = npt.NDArray[np.float64]
Draws = npt.NDArray[np.float32]


@checked
@takes(OverlapSettings)
def colap_other_sentences(
    concepts: Concepts,
    *,
    settings: OverlapSettings,
    languages: Sequence[str] | None = None,
    n_splits: Count = N_SPLITS,
    draw_seed: Seed = 0,
    resamples: Resamples | None = None,
) -> tuple[Estimate, ...]:
    """Return COLAP with the two languages counted in different sentences.

    The sentences are split into halves at random; the tokens of one language are counted in one half and those of the
    other in the other half, both ways round.  A concept that is one sentence then owns one language only, so it does
    not overlap; one of words does as before.  Score, chance and every resample are means over the splits.  Chance is
    that of `colap` with the sizes and totals counted.  Concepts are smaller by half, so the score of a space that
    knows no languages is lower than with `colap`: compare it with its own chance.

    Parameters
    ----------
    concepts : Concepts
        Discovered in both languages of a parallel corpus together: sentence numbers mean the same in both.
    settings : OverlapSettings, optional
        All of these at once; what is given beside it differs.
    languages : sequence of str, optional
        The two languages (default: those of the space).
    n_splits : int
        Each is used both ways round.
    draw_seed : int
        Of the splits.
    resamples : Resamples, optional
        Of sentences, for intervals from a bootstrap; concepts and splits are kept.

    Returns
    -------
    tuple of Estimate
        One per theta, in the order asked for.  `n` is the mean number of concepts that have a token in a split;
        there is no p-value.

    Raises
    ------
    UsageError
        If a threshold is out of range, or there are not two different languages of the space.

    Examples
    --------
    Two concepts, each a sentence in both languages:

    >>> table = {"row": range(4), "language": ["en", "en", "de", "de"], "sentence": [0, 1, 0, 1], "position": [0] * 4}
    >>> tokens = pl.DataFrame({**table, "word": list("abxy")})
    >>> colap_other_sentences(Concepts(tokens, np.array([0, 1, 0, 1], np.int32), 2))[0].score
    0.0
    """
    pair = tuple(languages) if languages is not None else concepts.languages
    if len(pair) != 2 or len(set(pair)) != 2:
        raise UsageError(f"COLAP across sentences is of two languages; got {'+'.join(pair) or 'none'}.")
    for language in pair:
        if language not in concepts.languages:
            raise unknown("language", language, concepts.languages)
    clustered = concepts.table().filter(pl.col("language").is_in(list(pair)))
    numbers = np.unique(clustered["sentence"].to_numpy())
    tables = [_counts(clustered, language, numbers, concepts.n_concepts) for language in pair]
    weights = _weights(numbers, resamples)
    wholes = [table @ weights.T for table in tables]
    thetas = settings.theta_overlap
    scores = np.zeros((len(thetas), len(weights)))
    chances, n_counted, ways = np.zeros(len(thetas)), 0.0, 0
    for half in _halves(len(numbers), n_splits, draw_seed=draw_seed):
        for first, second in _both_ways(tables, half, weights, wholes):
            sizes = first + second
            there = np.count_nonzero(sizes, axis=0)
            if there[0] == 0:
                continue
            ways += 1
            n_counted += float(there[0])
            totals = int(first[:, 0].sum()), int(second[:, 0].sum())
            with np.errstate(invalid="ignore"):
                # the less of the two; NaN, of an empty concept, is below every threshold
                shares = np.divide(np.minimum(first, second), sizes, dtype=np.float64)
            for i, theta in enumerate(thetas):
                scores[i] += np.count_nonzero(settings.owns(shares, theta), axis=0) / np.maximum(there, 1)
                chances[i] += _chance(sizes[:, 0].astype(np.int64), totals, theta, settings)
    coverage = float((concepts.labels >= 0).mean()) if len(concepts.labels) else math.nan
    if ways == 0:
        return tuple(Estimate(theta, *(math.nan,) * 6, n=0, coverage=coverage) for theta in thetas)
    n = round(n_counted / ways)
    estimates = []
    for theta, of_theta, chance in zip(thetas, scores / ways, chances / ways, strict=True):
        score, draws = float(of_theta[0]), None
        ends, ci = wilson(score * n, n), "wilson"
        if resamples is not None:
            draws = of_theta[1:].astype(np.float32)
            ends = share_interval(score, draws, method=settings.interval)
            ci = named_interval(settings.interval, draws)
        estimates.append(Estimate(theta, score, float(chance), math.nan, math.nan, *ends, n, coverage, ci, draws))
    return tuple(estimates)


def _halves(n: int, n_splits: int, *, draw_seed: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield (n,) masks of one half of n sentences."""
    generator = np.random.default_rng(draw_seed)
    for _ in range(n_splits):
        half = np.zeros(n, np.bool_)
        half[generator.permutation(n)[: n // 2]] = True
        yield half


def _both_ways(
    tables: Sequence[sp.csr_array], half: npt.NDArray[np.bool_], weights: Draws, wholes: Sequence[Draws]
) -> Iterator[tuple[Draws, Draws]]:
    """Yield the tokens (n_concepts, resamples) of one language in the half and of the other in the rest, and back.

    `wholes` are those of each language in all sentences.
    """
    inside = (weights * half).T
    first, second = (table @ inside for table in tables)
    yield first, wholes[1] - second
    yield wholes[0] - first, second


def _chance(sizes: npt.NDArray[np.int64], totals: tuple[int, int], theta: float, rule: OverlapSettings) -> float:
    """Return the mean of `chance_overlap` of two languages over the concepts that have a token, all sizes at once."""
    n, times = np.unique(sizes[sizes > 0], return_counts=True)
    # the smallest count that passes theta, which is next to theta * n
    near = np.maximum(np.floor(theta * n) + np.arange(-1, 3)[:, None], 0).astype(np.int64)
    passed = rule.owns(near / n, theta)
    least = np.where(passed.any(axis=0), near[passed.argmax(axis=0), np.arange(len(n))], n + 1)
    low, high = np.maximum(least, n - totals[1]), np.minimum(n - least, totals[0])
    spans = np.maximum(high - low + 1, 0)
    of_size = np.repeat(np.arange(len(n)), spans)
    k = np.arange(len(of_size)) - np.repeat(np.cumsum(spans) - spans, spans) + low[of_size]
    log_factorial = gammaln(np.arange(sum(totals) + 1) + 1)

    def log_choose(total: int, k: npt.NDArray[np.int64]) -> Floats:
        return np.asarray(log_factorial[total] - log_factorial[k] - log_factorial[total - k])

    logs = log_choose(totals[0], k) + log_choose(totals[1], n[of_size] - k) - log_choose(sum(totals), n)[of_size]
    chances = np.bincount(of_size, np.exp(logs), minlength=len(n))
    return float(np.minimum(chances, 1.0) @ times / times.sum())


@checked
def sentence_ami(concepts: Concepts, *, resamples: Resamples | None = None, interval: Interval = "bca") -> Estimate:
    """Return how much of a concept is its sentence: adjusted mutual information of concepts and sentences.

    Parameters
    ----------
    concepts : Concepts
        Of one language, or of several of a parallel corpus.  In a joint space it is the mean over languages, weighted
        by their tokens: translations stand in the same sentence, so concepts of words would seem to be sentences if
        all were taken together.
    resamples : Resamples, optional
        Of sentences, for the interval; concepts are kept.  The expected information is that of the concepts' sizes in
        the resample and of all sentences.
    interval : {"bca", "percentile"}

    Returns
    -------
    Estimate
        Without a threshold.  0: a sentence tells of the concepts of its words what it tells of random concepts of
        these sizes.  1: every concept is one or several whole sentences, or a part of one.  `n` counts the concepts.
        NaN where there are not two sentences and two concepts in any language.

    Notes
    -----
    ``(I - E[I]) / (min(H(concept), H(sentence)) - E[I])``, I the mutual information of the concept and the sentence of
    a clustered token, E[I] its expectation when tokens are dealt to concepts of the same sizes (Vinh, Epps and Bailey,
    *Information Theoretic Measures for Clusterings Comparison*, JMLR 2010: AMI with the least entropy as its bound).
    The mean of the two entropies would stay below 1 where a concept is several sentences.

    Examples
    --------
    Four sentences of two words; every concept is two whole sentences, or a word:

    >>> table = {"row": range(8), "language": ["en"] * 8, "sentence": [0, 0, 1, 1, 2, 2, 3, 3], "position": [0, 1] * 4}
    >>> tokens = pl.DataFrame({**table, "word": list("abababab")})
    >>> whole, words = (np.array(labels, np.int32) for labels in ([0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1]))
    >>> [round(sentence_ami(Concepts(tokens, labels, 2)).score, 3) for labels in (whole, words)]
    [1.0, -0.75]
    """
    clustered = concepts.table()
    numbers = np.unique(clustered["sentence"].to_numpy())
    weights = _weights(numbers, resamples)
    total, tokens = np.zeros(len(weights)), np.zeros(len(weights))
    for language in concepts.languages:
        table = _counts(clustered, language, numbers, concepts.n_concepts)
        of_language, n = _ami_of(table, weights), weights @ table.sum(axis=0)
        told = np.isfinite(of_language)
        total[told] += (of_language * n)[told]
        tokens[told] += n[told]
    with np.errstate(invalid="ignore"):
        scores = total / tokens
    draws = None if resamples is None else scores[1:].astype(np.float32)
    n_concepts = clustered["concept"].n_unique()
    return estimate_of(float(scores[0]), np.zeros(1), draws, interval, n=n_concepts, range_=(-1.0, 1.0))


def _ami_of(table: sp.csr_array, weights: Draws) -> Floats:
    """Return (resamples,): the AMI of rows and columns of a (n_concepts, n_sentences) table, columns weighted.

    The first of the `weights` are ones.
    """
    of_concepts, of_sentences = (np.asarray(table.sum(axis=axis), np.int64) for axis in (1, 0))
    if (of_concepts > 0).sum() < 2 or (of_sentences > 0).sum() < 2:
        return np.full(len(weights), math.nan)
    w = weights.astype(np.float64)
    n = w @ of_sentences
    drawn = table @ w.T
    # sums of x log x over cells, sentences and concepts; of a product w x it is w (x log x) + x (w log w)
    cells = table.astype(np.float64)
    cells.data = xlogy(cells.data, cells.data)
    repeated = xlogy(w, w) @ of_sentences
    both = w @ cells.sum(axis=0) + repeated
    sentences = w @ xlogy(of_sentences, of_sentences) + repeated
    concepts = xlogy(drawn, drawn).sum(axis=0)
    expected = np.full(len(weights), expected_information(of_concepts, of_sentences))
    if len(weights) > 1:
        expected[1:] = _expected_in(drawn[:, 1:] * (n[0] / n[1:]), of_sentences)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(n) + (both - sentences - concepts) / n
        room = np.log(n) - np.maximum(sentences, concepts) / n - expected
        return np.asarray(np.where(room > 1e-9, (information - expected) / room, math.nan))


def expected_information(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> float:
    """Return the expected mutual information, in nats, of two labelings with classes of these sizes.

    ``E[I] = sum_ij sum_k (k / N) log(N k / (a_i b_j)) P(k)``, P the hypergeometric probability of k tokens in common
    (Vinh et al. 2010, theorem 2).  Classes of one size are looked at once, which makes it 10 to 100 times as fast as
    scikit-learn's where there are hundreds of concepts and thousands of sentences.

    Examples
    --------
    >>> round(expected_information(np.array([2, 2]), np.array([2, 2])), 4)
    0.231
    """
    sizes, times = np.unique(rows[rows > 0], return_counts=True)
    return float(_expected_of(sizes, columns) @ times)


def _expected_of(sizes: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Floats:
    """Return what a class of each of the sizes adds to `expected_information`."""
    n = int(columns.sum())
    log_factorial = gammaln(np.arange(n + 1) + 1)
    b, times = np.unique(columns[columns > 0], return_counts=True)
    added = np.zeros(len(sizes))
    for i, a in enumerate(sizes):
        k = np.arange(1, min(a, b[-1]) + 1)[:, None]
        possible = (k <= b) & (k >= a + b - n)
        in_a, in_b, in_none = a - k, np.maximum(b - k, 0), np.maximum(n - a - b + k, 0)
        above = log_factorial[a] + log_factorial[b] + log_factorial[n - a] + log_factorial[n - b]
        below = sum(log_factorial[part] for part in (n, k, in_a, in_b, in_none))
        terms = np.where(possible, k / n * np.log(n * k / (a * b)) * np.exp(above - below), 0.0)
        added[i] = terms.sum(axis=0) @ times
    return added


def _expected_in(sizes: Floats, columns: npt.NDArray[np.int64]) -> Floats:
    """Return (resamples,): the expected information with the sizes (n_concepts, resamples), read off a table.

    It goes with the concepts' sizes as the information itself does.  Held, it would leave the bootstrap up to twice the
    spread of other texts.
    """
    most = min(math.ceil(sizes.max()), int(columns.sum()))
    grid = np.unique(np.append(np.geomspace(1, most, _N_SIZES).astype(np.int64), [*range(1, min(most, 50)), most]))
    of_grid = np.append(0.0, _expected_of(grid, columns))
    return np.asarray(np.interp(sizes, np.append(0, grid), of_grid).sum(axis=0))


def _counts(clustered: pl.DataFrame, language: str, numbers: npt.NDArray[np.integer], n_concepts: int) -> sp.csr_array:
    """Return (n_concepts, sentences): the tokens of a language."""
    table = clustered.filter(pl.col("language") == language)
    cells = table["concept"].to_numpy(), np.searchsorted(numbers, table["sentence"].to_numpy())
    counts = sp.csr_array((np.ones(table.height, np.float32), cells), shape=(n_concepts, len(numbers)))
    counts.sum_duplicates()
    return counts


def _weights(numbers: npt.NDArray[np.integer], resamples: Resamples | None) -> Draws:
    """Return (1 + resamples, sentences): every sentence once, then how often each resample has it."""
    once = np.ones((1, len(numbers)), np.float32)
    return once if resamples is None else np.concatenate([once, resamples.of_rows(numbers)])
