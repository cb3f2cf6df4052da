"""Matching of concepts through a dictionary, on sparse matrices; and its null, vectorised.

Notation: V types, K concepts.  ``S`` (V_s, K_s) and ``T`` (V_t, K_t) say which type occurs in which concept,
``D`` (V_s, V_t) which target types are translations of which source type; all are sparse and 0/1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from isogloss.settings import AlignmentSettings

Int = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]


def incidence(rows: Int, columns: Int, shape: tuple[int, int]) -> sp.csr_array:
    """Return a 0/1 matrix with ones at (rows, columns); repeats count once."""
    matrix = sp.csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def coverage_of(S: sp.csr_array, D: sp.csr_array, T: sp.csr_array) -> float:
    """Return the share of clustered source types with a translation among the clustered target types, or NaN."""
    clustered, there = np.diff(S.indptr) > 0, np.diff(T.indptr) > 0
    translated = clustered & (D @ there.astype(np.int32) > 0)
    return float(translated.sum() / clustered.sum()) if clustered.any() else math.nan


def match_counts(S: sp.csr_array, D: sp.csr_array, T: sp.csr_array) -> sp.csr_array:
    """Return (K_s, K_t) int32: |{w in types(s): D(w) ∩ types(t) ≠ ∅}|, the source types with a translation in t."""
    reached = (D @ T).tocsr()
    reached.data[:] = 1
    counts: sp.csr_array = (S.T @ reached).tocsr()
    return counts


def best_matches(counts: sp.csr_array, source: Int, target: Int, rule: AlignmentSettings) -> Float:
    """Return (K_s,) float64 in [0, 1]: the best match m(s, t) over admissible targets; 0 where there is none.

    `counts` is from `match_counts`; `source` (K_s,) and `target` (K_t,) are the numbers of types of every concept.
    """
    pairs = counts.tocoo()
    s, t = pairs.coords
    kept = rule.admissible(source[s], target[t])
    best = np.zeros(len(source))
    np.maximum.at(best, s[kept], pairs.data[kept] / source[s[kept]])
    return best


def frequency_bins(frequency: npt.NDArray[np.int64]) -> Int:
    """Group words by floor(log2(frequency)); words that occur in no concept are a bin of their own, -1."""
    return np.where(frequency > 0, np.log2(np.maximum(frequency, 1)).astype(np.int32), -1).astype(np.int32)


def permutations_within(bins: Int, n: int, generator: np.random.Generator) -> Int:
    """Return (n, V) permutations of 0 .. V-1 that move every element only inside its bin."""
    result = np.tile(np.arange(len(bins), dtype=np.int32), (n, 1))
    order = np.argsort(bins, kind="stable").astype(np.int32)
    edges = np.flatnonzero(np.diff(bins[order])) + 1
    for group in np.split(order, edges):
        result[:, group] = generator.permuted(np.tile(group, (n, 1)), axis=1)
    return result


def null_best_matches(
    S: sp.csr_array,
    D: sp.csr_array,
    T: sp.csr_array,
    rule: AlignmentSettings,
    *,
    moves: Int | None = None,
    columns: Int | None = None,
) -> npt.NDArray[np.float32]:
    """Return (n, K_s): `best_matches` when words or concepts of the target side have changed places.

    With `moves`, (n, V_t), the translation v is read as ``moves[p, v]``; with `columns`, (n, T.nnz), they are the
    concepts of the entries of T, in the order of its data.  Sizes of concepts stay those of T.
    """
    source, allowed = S.sum(axis=0).astype(np.int32), _admissible(S, T, rule)
    (t_pointers, t_columns), n_types = _plain(T), T.shape[0]
    moves = np.arange(n_types, dtype=np.int32)[None] if moves is None else moves
    columns = t_columns[None] if columns is None else columns
    result = np.zeros((max(len(moves), len(columns)), len(source)), np.float32)
    _null(_plain(S), _plain(D), (t_pointers, columns), moves, source, allowed, result)
    return result


def weighted_best_matches(
    S: sp.csr_array, D: sp.csr_array, T: sp.csr_array, rule: AlignmentSettings, weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return (n, K_s): best matches when the types of source concepts weigh unequally, as in resamples of sentences.

    `weights` (S.nnz, n), none negative, are of every entry of `S`, a type in a concept, in the order of its data.
    Which pairs are admissible, and which types match, is kept.  NaN where all types of a concept weigh nothing.
    """
    allowed = _admissible(S, T, rule)
    result = np.full((weights.shape[1], len(allowed)), np.nan, np.float32)
    _weighted(_plain(S), _plain(D @ T), np.ascontiguousarray(weights.T), allowed, result)
    return result


def weighted_matches(
    S: sp.csr_array, D: sp.csr_array, T: sp.csr_array, rule: AlignmentSettings, weights: npt.NDArray[np.float32]
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield, for every column of weights, the (K_s, K_t) matches of all pairs of concepts; see `weighted_best_matches`.

    They are 0 for pairs that are not admissible, and NaN where all types of a source concept weigh nothing.
    """
    allowed, plain_s, plain_reached = _admissible(S, T, rule), _plain(S), _plain(D @ T)
    for drawn in np.ascontiguousarray(weights.T):
        matched, total = _matched(plain_s, plain_reached, drawn, allowed.shape)
        with np.errstate(invalid="ignore"):
            yield np.where(allowed, matched, 0) / total[:, None]


def _admissible(S: sp.csr_array, T: sp.csr_array, rule: AlignmentSettings) -> npt.NDArray[np.bool_]:
    """Return (K_s, K_t): which pairs of concepts may be aligned by their sizes."""
    source, target = S.sum(axis=0).astype(np.int32), T.sum(axis=0).astype(np.int32)
    return rule.admissible(source[:, None], target[None, :])


def _plain(matrix: sp.csr_array) -> tuple[npt.NDArray[np.int64], Int]:
    """Return the pointers and indices of a matrix, as compiled loops take them."""
    rows = matrix.tocsr()
    return rows.indptr.astype(np.int64), rows.indices.astype(np.int32)


@numba.njit(cache=True)
def _matched(S, reached, weights, shape):  # type: ignore[no-untyped-def]
    (s_ptr, s_ix), (r_ptr, r_ix) = S, reached
    matched = np.zeros(shape, np.float32)
    total = np.zeros(shape[0], np.float32)
    for w in range(len(s_ptr) - 1):
        for c in range(s_ptr[w], s_ptr[w + 1]):
            s = s_ix[c]
            total[s] += weights[c]
            for i in range(r_ptr[w], r_ptr[w + 1]):
                matched[s, r_ix[i]] += weights[c]
    return matched, total


@numba.njit(parallel=True, cache=True)
def _weighted(S, reached, weights, allowed, result):  # type: ignore[no-untyped-def]
    n_source, n_target = allowed.shape
    for p in numba.prange(len(weights)):
        matched, total = _matched(S, reached, weights[p], allowed.shape)
        for s in range(n_source):
            most = np.float32(0)
            for t in range(n_target):
                if allowed[s, t] and matched[s, t] > most:
                    most = matched[s, t]
            if total[s] > 0:
                result[p, s] = most / total[s]


@numba.njit(parallel=True, cache=True)
def _null(S, D, T, moves, source, allowed, result):  # type: ignore[no-untyped-def] # noqa: PLR0917
    (s_ptr, s_ix), (d_ptr, d_ix), (t_ptr, columns) = S, D, T
    n_source, n_target = allowed.shape
    for p in numba.prange(len(result)):
        move, t_ix = moves[p % len(moves)], columns[p % len(columns)]
        counts = np.zeros((n_source, n_target), np.int32)
        seen = np.full(n_target, -1, np.int32)  # the last type that reached a target concept
        reached = np.empty(n_target, np.int32)
        for w in range(len(s_ptr) - 1):
            if s_ptr[w] == s_ptr[w + 1]:
                continue
            n = 0
            for a in range(d_ptr[w], d_ptr[w + 1]):
                v = move[d_ix[a]]
                for b in range(t_ptr[v], t_ptr[v + 1]):
                    t = t_ix[b]
                    if seen[t] != w:
                        seen[t] = w
                        reached[n] = t
                        n += 1
            for c in range(s_ptr[w], s_ptr[w + 1]):
                for i in range(n):
                    counts[s_ix[c], reached[i]] += 1
        for s in range(n_source):
            most = 0
            for t in range(n_target):
                if allowed[s, t] and counts[s, t] > most:
                    most = counts[s, t]
            if source[s] > 0:
                result[p, s] = most / source[s]
