"""What chance aligns: the two nulls of CALIGN, of words and of sentences."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from isogloss.concepts import Concepts
from isogloss.metrics.concepts.matching import Int, frequency_bins, null_best_matches, permutations_within
from isogloss.metrics.concepts.matrices import Matrices, entries
from isogloss.settings import AlignmentSettings

Floats = npt.NDArray[np.floating]


def against(score: float, *, words: Floats | None, sentence: Floats | None) -> dict[str, Any]:
    """Return the fields of an `Estimate` that say how a score stands to its two nulls.

    `words` and `sentence`, (n,), are the scores under each.  The chance level is the higher of the two means, the
    p-value the larger of the two shares ``(1 + #{null >= score}) / (1 + n)``: both nulls have to be refused.
    """
    fields: dict[str, Any] = {"chance": math.nan, "chance_sd": math.nan, "p_value": math.nan}
    for name, null in (("words", words), ("sentence", sentence)):
        scores = np.empty(0) if null is None else np.asarray(null, np.float64)
        if not len(scores) or not np.isfinite(scores).all():
            continue
        mean = float(scores.mean())
        # sums in float32 may miss a tie by rounding
        p = float((1 + (scores >= score - 1e-6).sum()) / (1 + len(scores)))
        fields |= {f"chance_{name}": mean, f"null_{name}": scores.astype(np.float32)}
        if not mean <= fields["chance"]:
            fields |= {"chance": mean, "chance_sd": float(scores.std())}
        if not p <= fields["p_value"]:
            fields["p_value"] = p
    return fields


def words_null(matrices: Matrices, settings: AlignmentSettings) -> npt.NDArray[np.float32]:
    """Return (n, K_s): best matches when target words change places; both clusterings stay; see `permuted`."""
    moves = permuted(matrices, settings.n_permutations, draw_seed=settings.draw_seed)
    return null_best_matches(matrices.S, matrices.D, matrices.T, settings, moves=moves)


def sentence_null(matrices: Matrices, target: Concepts, settings: AlignmentSettings) -> npt.NDArray[np.float32]:
    """Return (n, K_s): best matches when words of one sentence exchange their target concepts; see `exchanged`."""
    columns = exchanged(matrices, target, settings.n_permutations, draw_seed=settings.draw_seed)
    return null_best_matches(matrices.S, matrices.D, matrices.T, settings, columns=columns)


def permuted(matrices: Matrices, n: int, *, draw_seed: int) -> Int:
    """Return (n, V_t) int32: target words permuted among words of like frequency, n times.

    Like frequency is the same floor(log2) of clustered tokens.
    """
    return permutations_within(frequency_bins(matrices.frequency), n, np.random.default_rng(draw_seed))


def exchanged(matrices: Matrices, target: Concepts, n: int, *, draw_seed: int) -> Int:
    """Return (n, T.nnz) int32: the columns of T when words of one sentence exchange their concepts, n times.

    A type stands in a concept through some of its tokens.  Of these one is drawn, more often from a sentence of which
    the concept has more tokens.  The types drawn in one sentence are ordered by frequency, and neighbours exchange
    their concepts, by twos and threes.  Who stands where changes, so what is owed to words is gone; what is kept is
    which sentences a concept is made of, how many types it has, and in how many concepts a type stands: a type that
    comes into a concept twice stays in one of its old ones instead.

    Where concepts are sentences or topics this changes nothing, and where they are words it is as good as any other
    permutation of words.  docs/planted.md has its score on planted truth, beside other forms that were tried.

    Draws depend on the token's row and on `draw_seed` alone, so those of several layers and clusterings of the same
    tokens go together.
    """
    tokens = target.table()
    entry = entries(tokens, matrices.target_words, matrices.T)
    sentence = tokens["sentence"].to_numpy().astype(np.int64)
    order = np.argsort(sentence, kind="stable")
    entry, sentence = entry[order], sentence[order]
    bounds = np.flatnonzero(np.diff(sentence, prepend=-1, append=-1)).astype(np.int64)
    cells = sentence * matrices.T.shape[1] + tokens["concept"].to_numpy()[order]
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    pointers, concepts = matrices.T.indptr.astype(np.int64), matrices.T.indices.astype(np.int32)
    of_entry = np.repeat(matrices.frequency, np.diff(pointers))
    result = np.tile(concepts, (n, 1))
    rows = tokens["row"].to_numpy()[order].astype(np.uint64)
    together = counts[cell].astype(np.float64)
    _exchange(np.uint64(draw_seed), rows, entry, bounds, together, of_entry, pointers, concepts, result)
    return result


@numba.njit(cache=True)
def _uniform(seed, draw, token, what):  # type: ignore[no-untyped-def]
    """Return a number in (0, 1] from a seed, the number of a draw, a token and what it is for (splitmix64)."""
    x = seed + np.uint64(0x9E3779B97F4A7C15) * (np.uint64(draw) * np.uint64(4) + np.uint64(what) + np.uint64(1))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = (x ^ (x >> np.uint64(31))) + np.uint64(0x9E3779B97F4A7C15) * (token + np.uint64(1))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (np.float64(x >> np.uint64(11)) + 1.0) / 9007199254740992.0


@numba.njit(parallel=True, cache=True)
def _exchange(seed, rows, entry, bounds, together, frequency, pointers, concepts, result):  # type: ignore[no-untyped-def] # noqa: PLR0917
    for p in numba.prange(len(result)):
        new = result[p]
        drawn = _drawn(seed, p, rows, entry, together, len(concepts))
        members = np.empty(len(rows), np.int64)
        keys = np.empty(len(rows), np.float64)
        for s in range(len(bounds) - 1):
            m = 0
            for y in range(bounds[s], bounds[s + 1]):
                if drawn[entry[y]] == y:
                    # ties by a draw: it stays below 1, and frequencies are whole numbers
                    keys[m] = frequency[entry[y]] + _uniform(seed, p, rows[y], 1) * 0.999
                    members[m] = entry[y]
                    m += 1
            ordered = members[np.argsort(keys[:m])]
            n_groups = max(m // 2, 1)
            # of three, each takes the next one's concept or the one before's
            forward = _uniform(seed, p, np.uint64(s), 2) < 0.5
            for g in range(n_groups):
                first = 2 * g
                size = (m if g == n_groups - 1 else first + 2) - first
                step = 1 if forward else size - 1
                for i in range(size):
                    new[ordered[first + i]] = concepts[ordered[first + (i + step) % size]]
        _keep_numbers(seed, p, pointers, concepts, new)


@numba.njit(cache=True)
def _drawn(seed, p, rows, entry, together, n_entries):  # type: ignore[no-untyped-def] # noqa: PLR0917
    """Return the token drawn of every entry: the least of exponential times at rates `together`."""
    drawn = np.full(n_entries, -1, np.int64)
    least = np.full(n_entries, np.inf)
    for y in range(len(rows)):
        time = -math.log(_uniform(seed, p, rows[y], 0)) / together[y]
        if time < least[entry[y]]:
            least[entry[y]], drawn[entry[y]] = time, y
    return drawn


@numba.njit(cache=True)
def _keep_numbers(seed, p, pointers, concepts, new):  # type: ignore[no-untyped-def]
    """Where a type came into a concept twice, let it stay in one of its old concepts instead."""
    seen = np.full(concepts.max() + 1 if len(concepts) else 0, -1, np.int64)
    for v in range(len(pointers) - 1):
        low, high = pointers[v], pointers[v + 1]
        twice = 0
        for e in range(low, high):
            if seen[new[e]] == v:
                new[e] = -1
                twice += 1
            else:
                seen[new[e]] = v
        if twice == 0:
            continue
        # the old ones in turn, from one drawn at random
        old = int(_uniform(seed, p, np.uint64(v), 3) * (high - low))
        for e in range(low, high):
            if new[e] < 0:
                while seen[concepts[low + old % (high - low)]] == v:
                    old += 1
                new[e] = concepts[low + old % (high - low)]
                seen[new[e]] = v
