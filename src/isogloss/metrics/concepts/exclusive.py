"""CALIGN with every target concept used once: what is left when one large concept may not serve for many."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import maximum_bipartite_matching

from isogloss.arguments import checked
from isogloss.concepts import Concepts
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics.concepts.alignment import check_sides, drawn_types
from isogloss.metrics.concepts.matching import Int, match_counts, weighted_matches
from isogloss.metrics.concepts.matrices import Matrices
from isogloss.metrics.concepts.nulls import against, exchanged, permuted
from isogloss.metrics.statistics.bootstrap import Resamples, named_interval, share_interval
from isogloss.metrics.statistics.intervals import wilson
from isogloss.parallel import spread
from isogloss.results import Estimate
from isogloss.settings import AlignmentSettings, takes

_MOST_PERMUTATIONS = 50


@checked
@takes(AlignmentSettings)
def one_to_one(
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    *,
    settings: AlignmentSettings,
    resamples: Resamples | None = None,
) -> Estimate:
    """Return the largest share of eligible source concepts that can be aligned, each to a target concept of its own.

    A pair may be matched when `calign` would call it aligned; the share is that of a maximum matching (Hopcroft and
    Karp 1973), the assignment problem with weights 0 and 1.  It is at most CALIGN, and equal to it when no two source
    concepts need the same target.

    Parameters
    ----------
    source, target, dictionary, resamples
        As of `calign`; a maximum matching in every resample.
    settings : AlignmentSettings, optional
        Of `calign`: the first threshold, sizes by the symmetric rule, both nulls, of at most 50 draws, as each is a
        matching.

    Returns
    -------
    Estimate
        Without `resamples` the interval is Wilson's over concepts.

    Raises
    ------
    UsageError
        As `calign`.
    """
    check_sides(source, target, dictionary)
    theta, n_permutations = settings.theta_align[0], min(settings.n_permutations, _MOST_PERMUTATIONS)
    rule = AlignmentSettings(**settings.values_of(AlignmentSettings) | {"rule": "symmetric"})
    matrices = Matrices.of(source, target, dictionary)
    S, T, D, sizes = matrices.S, matrices.T, matrices.D, matrices.sizes
    n = int(rule.eligible(sizes[0]).sum())
    matched = _matched(match_counts(S, D, T), *sizes, rule, theta)
    score = matched / n if n else math.nan
    nulls: dict[str, Any] = {"words": None, "sentence": None}
    if n and n_permutations:
        moves = permuted(matrices, n_permutations, draw_seed=settings.draw_seed)
        columns = exchanged(matrices, target, n_permutations, draw_seed=settings.draw_seed)
        dictionaries = (sp.csr_array((D.data, move[D.indices], D.indptr), shape=D.shape) for move in moves)
        targets = (sp.csr_array((T.data, column, T.indptr), shape=T.shape) for column in columns)
        nulls = {
            "words": np.array([_matched(match_counts(S, moved, T), *sizes, rule, theta) for moved in dictionaries]) / n,
            "sentence": np.array([_matched(match_counts(S, D, moved), *sizes, rule, theta) for moved in targets]) / n,
        }
    low, high, ci, draws = *wilson(matched, n), "wilson", None
    if resamples is not None:
        draw = partial(_draws, matrices.type_counts(source, resamples), S, D, T, rule, theta)
        draws = np.concatenate(list(spread(draw, resamples.batches())))
        low, high = share_interval(score, draws, method=settings.interval)
        ci = named_interval(settings.interval, draws)
    facts: dict[str, Any] = {"theta": theta, "score": score, "n": n, "coverage": matrices.coverage}
    return Estimate(**facts, ci_low=low, ci_high=high, ci=ci, draws=draws, **against(score, **nulls))


def _draws(  # noqa: PLR0917
    counts: sp.csr_array,
    S: sp.csr_array,
    D: sp.csr_array,
    T: sp.csr_array,
    rule: AlignmentSettings,
    theta: float,
    weights: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return (n,): the share of aligned concepts under (n, m) weights, among those with any type drawn."""
    eligible = rule.eligible(S.sum(axis=0).astype(np.int32))
    least = np.float32(theta) - np.float32(1e-6)  # sums in float32 may miss a tie by rounding
    shares = []
    for match in weighted_matches(S, D, T, rule, drawn_types(counts, weights)):
        passing = match[eligible & np.isfinite(match).all(axis=1)] >= least
        shares.append(_pairs(sp.csr_array(passing)) / len(passing) if len(passing) else math.nan)
    return np.array(shares, np.float32)


def _matched(counts: sp.csr_array, source: Int, target: Int, rule: AlignmentSettings, theta: float) -> int:
    pairs = counts.tocoo()
    s, t = pairs.coords
    kept = rule.admissible(source[s], target[t]) & rule.reaches(pairs.data / source[s], theta)
    return _pairs(sp.csr_array((np.ones(int(kept.sum()), np.int8), (s[kept], t[kept])), shape=counts.shape))


def _pairs(graph: sp.csr_array) -> int:
    """Return the number of edges of a maximum matching of a bipartite graph."""
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
