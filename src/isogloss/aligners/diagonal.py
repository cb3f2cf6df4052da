"""The built-in aligner: IBM Model 2 with a diagonal prior, trained by variational Bayes.

The model is that of Dyer, Chahuneau and Smith, "A Simple, Fast, and Effective Reparameterization of IBM
Model 2", NAACL 2013 (known as fast_align).  A sentence of m generated words f_1..f_m explains each of
them by one of the n given words e_1..e_n or by none (null):

    p(a_i = 0 | i, m, n) = p_null
    p(a_i = j | i, m, n) = (1 - p_null) exp(-tension |i/m - j/n|) / Z(i, m, n)
    p(f_i | a_i = j)     = t(f_i | e_j),     t(. | e) ~ Dirichlet(alpha, ..., alpha)

Every round computes the posterior of the alignments (E step), then sets t to the exponential of its
expected logarithm, exp(digamma(count + alpha) - digamma(total + alpha V)), and moves the tension to the
maximum of its expected log likelihood, which is concave.  Links are the most probable a_i of every word.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numba
import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from isogloss.aligners.protocol import Bitext, Directions, Links
from isogloss.errors import UsageError
from isogloss.progress import progress

log = logging.getLogger(__name__)

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

# The likelihood is flat for a tension near 0 and for a very sharp one; Newton steps stay between.
_TENSION_BOUNDS = (0.1, 20.0)
_NEWTON_STEPS = 8


@dataclass(frozen=True)
class Diagonal:
    """fast_align's model, in both directions; deterministic.

    Attributes
    ----------
    lowercase : bool
        Compare words in lower case.  Links are positions, so the corpus' words stay as they are.
    iterations : int
        Rounds of training.
    p_null : float
        Probability that a word has no counterpart.
    tension : float
        Start of the diagonal's strength; 0 would be IBM Model 1.
    alpha : float
        Concentration of the Dirichlet prior on every word's translations.

    Notes
    -----
    Time is proportional to the number of cells, the sum of m n over all sentence pairs.  Memory: 4 bytes
    a cell, and 40 bytes a distinct pair of co-occurring types.
    """

    lowercase: bool = True
    iterations: int = 5
    p_null: float = 0.08
    tension: float = 4.0
    alpha: float = 0.01

    name = "diagonal"

    def __post_init__(self) -> None:
        if self.iterations < 1 or not 0 < self.p_null < 1 or self.tension <= 0 or self.alpha <= 0:
            raise UsageError(
                "Aligner 'diagonal' needs iterations >= 1, 0 < p_null < 1, tension > 0 and alpha > 0; "
                f"got iterations={self.iterations}, p_null={self.p_null}, tension={self.tension}, "
                f"alpha={self.alpha}."
            )

    def align(self, bitext: Bitext) -> Directions:
        """Train on the bitext and link it, once with each side as the generated one."""
        source = _Side.read(bitext.source_words, lowercase=self.lowercase)
        target = _Side.read(bitext.target_words, lowercase=self.lowercase)
        cells = _Cells.index(source, target)
        with progress(f"Aligning {bitext.source}-{bitext.target}", 2 * self.iterations + 2) as advance:
            chosen = []
            for generated, given, types in (
                (target, source, (cells.target_type, cells.source_type)),
                (source, target, (cells.source_type, cells.target_type)),
            ):
                model = _Direction(generated, given, *types, cells, transposed=generated is source)
                t, t_null, tension = model.initial(self.tension)
                for _ in range(self.iterations):
                    t, t_null, tension = model.update(t, t_null, tension, self)
                    advance(1)
                log.debug("%s-%s: tension %.3f", bitext.source, bitext.target, tension)
                chosen.append(model.viterbi(t, t_null, tension, self.p_null))
                advance(1)
        forward, backward = chosen
        source_of, target_of = forward, backward  # by target word, by source word; -1 = null
        by_target = np.flatnonzero(source_of >= 0)
        by_source = np.flatnonzero(target_of >= 0)
        return Directions(
            forward=_stack(target.pair[by_target], source_of[by_target], target.position[by_target]),
            backward=_stack(source.pair[by_source], source.position[by_source], target_of[by_source]),
        )


def _stack(pair: Ints, source: Ints, target: Ints) -> Links:
    return np.stack([pair, source, target], axis=1).astype(np.int32)


@dataclass(frozen=True)
class _Side:
    """One side of the bitext, flat: the type number of every word, and where sentences start."""

    types: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    n_types: int

    @classmethod
    def read(cls, sentences: Sequence[list[str]], *, lowercase: bool) -> _Side:
        numbers: dict[str, int] = {}
        words = chain.from_iterable(sentences)
        forms = (word.lower() for word in words) if lowercase else words
        types = np.fromiter((numbers.setdefault(form, len(numbers)) for form in forms), dtype=np.int32)
        lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
        return cls(types, np.concatenate([[0], np.cumsum(lengths)]), len(numbers))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)

    @property
    def pair(self) -> npt.NDArray[np.int64]:
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    @property
    def position(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.types)) - np.repeat(self.offsets[:-1], self.lengths)


@dataclass(frozen=True)
class _Cells:
    """Which entry of the translation table every cell (source word, target word) of a sentence pair uses.

    Sentence pair s owns the cells ``offsets[s]`` onwards, source word by source word.  Entry k is the
    pair of co-occurring types ``(source_type[k], target_type[k])``; both directions share the entries.
    """

    entry: Ints
    offsets: npt.NDArray[np.int64]
    source_type: npt.NDArray[np.int32]
    target_type: npt.NDArray[np.int32]

    @classmethod
    def index(cls, source: _Side, target: _Side) -> _Cells:
        offsets = np.concatenate([[0], np.cumsum(source.lengths * target.lengths)])
        n_cells = int(offsets[-1])
        entry = np.empty(n_cells, dtype=np.int32 if n_cells < 2**31 else np.int64)
        by_type = np.argsort(source.types, kind="stable")
        sides = (source.types, source.offsets, source.pair, target.types, target.offsets)
        n_entries = _number_entries(by_type, *sides, target.n_types, offsets, entry)
        source_type = np.empty(n_entries, dtype=np.int32)
        target_type = np.empty(n_entries, dtype=np.int32)
        _name_entries(*sides, offsets, entry, source_type, target_type)
        return cls(entry, offsets, source_type, target_type)


@dataclass(frozen=True)
class _Direction:
    """One direction of the model: `generated` words explained by `given` ones."""

    generated: _Side
    given: _Side
    generated_type: npt.NDArray[np.int32]  # of every entry
    given_type: npt.NDArray[np.int32]
    cells: _Cells
    transposed: bool  # the generated side is the source: its words are the rows of the cells

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Sentence pairs by shape, so that the prior of a shape is computed once."""
        return np.lexsort((self.given.lengths, self.generated.lengths))

    def initial(self, tension: float) -> tuple[Floats, Floats, float]:
        uniform = 1.0 / self.generated.n_types
        return (
            np.full(len(self.given_type), uniform),
            np.full(self.generated.n_types, uniform),
            tension,
        )

    def update(
        self, t: Floats, t_null: Floats, tension: float, settings: Diagonal
    ) -> tuple[Floats, Floats, float]:
        """One round of variational Bayes: return the new t(f|e), t(f|null) and tension."""
        count, count_null = np.zeros_like(t), np.zeros_like(t_null)
        order = self.order
        # The posterior's mass on real words, per shape and generated position, and its mean feature.
        m, n = self.generated.lengths[order], self.given.lengths[order]
        new = np.concatenate([[True], (np.diff(m) != 0) | (np.diff(n) != 0)])
        mass = np.zeros(int(m[new].sum()))
        distance = _expect(
            order, *self._arrays(), t, t_null, tension, settings.p_null, count, count_null, mass
        )
        tension = _best_tension(tension, distance, m[new], n[new], mass)
        alpha, n_types = settings.alpha, self.generated.n_types
        total = np.bincount(self.given_type, weights=count, minlength=self.given.n_types)
        norm = digamma(total + alpha * n_types)
        t = np.exp(digamma(count + alpha) - norm[self.given_type])
        norm_null = digamma(count_null.sum() + alpha * n_types)
        return t, np.exp(digamma(count_null + alpha) - norm_null), tension

    def viterbi(self, t: Floats, t_null: Floats, tension: float, p_null: float) -> Ints:
        """Return the best given position of every generated word, -1 for null; ties go to the first."""
        best = np.empty(len(self.generated.types), dtype=np.int32)
        _decode(self.order, *self._arrays(), t, t_null, tension, p_null, best)
        return best

    def _arrays(self) -> tuple[Ints, Ints, Ints, Ints, Ints, bool]:
        generated, given = self.generated, self.given
        cells = self.cells
        return (
            generated.types, generated.offsets, given.offsets, cells.entry, cells.offsets, self.transposed,
        )  # fmt: skip


def _best_tension(tension: float, distance: float, m: Ints, n: Ints, mass: Floats) -> float:
    """Newton's method on d/d tension = E_prior[distance] - E_posterior[distance]; its slope is -Var_prior."""
    for _ in range(_NEWTON_STEPS):
        expected, variance = _prior_moments(m, n, mass, tension)
        if variance <= 0:
            return tension
        step = (expected - distance) / variance
        tension = min(max(tension + step, _TENSION_BOUNDS[0]), _TENSION_BOUNDS[1])
    return tension


@numba.njit(cache=True, nogil=True)
def _number_entries(
    by_type, source_types, source_offsets, source_pair, target_types, target_offsets, n_target, offsets, entry
):  # type: ignore[no-untyped-def]
    """Number the distinct (source type, target type) pairs, source type by source type; fill `entry`."""
    last_source = np.full(n_target, -1, dtype=np.int64)
    number = np.empty(n_target, dtype=np.int64)
    n_entries = 0
    for k in by_type:
        e, s = source_types[k], source_pair[k]
        first, n = target_offsets[s], target_offsets[s + 1] - target_offsets[s]
        row = offsets[s] + (k - source_offsets[s]) * n
        for j in range(n):
            f = target_types[first + j]
            if last_source[f] != e:
                last_source[f] = e
                number[f] = n_entries
                n_entries += 1
            entry[row + j] = number[f]
    return n_entries


@numba.njit(cache=True, nogil=True)
def _name_entries(
    source_types, source_offsets, source_pair, target_types, target_offsets, offsets, entry, source_type, target_type
):  # type: ignore[no-untyped-def]
    for k in range(len(source_types)):
        s = source_pair[k]
        first, n = target_offsets[s], target_offsets[s + 1] - target_offsets[s]
        row = offsets[s] + (k - source_offsets[s]) * n
        for j in range(n):
            source_type[entry[row + j]] = source_types[k]
            target_type[entry[row + j]] = target_types[first + j]


@numba.njit(cache=True, nogil=True)
def _prior(m, n, tension, prior):  # type: ignore[no-untyped-def]
    """Fill prior[i, j] = exp(-tension |i/m - j/n|) / Z with positions counted from 1."""
    for i in range(m):
        z = 0.0
        for j in range(n):
            prior[i, j] = np.exp(-tension * abs((i + 1) / m - (j + 1) / n))
            z += prior[i, j]
        for j in range(n):
            prior[i, j] /= z


@numba.njit(cache=True, nogil=True)
def _widest(offsets):  # type: ignore[no-untyped-def]
    widest = 0
    for s in range(len(offsets) - 1):
        widest = max(widest, offsets[s + 1] - offsets[s])
    return widest


@numba.njit(cache=True, nogil=True)
def _expect(
    order, types, offsets, given_offsets, entry, cell_offsets, transposed,
    t, t_null, tension, p_null, count, count_null, mass,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """E step: add the posteriors to the counts and to `mass`; return the posterior sum of |i/m - j/n|."""
    widest = _widest(given_offsets)
    prior = np.empty((_widest(offsets), widest))
    weight = np.empty(widest)
    distance, at = 0.0, 0
    m, n = -1, -1
    for s in order:
        m_here, n_here = offsets[s + 1] - offsets[s], given_offsets[s + 1] - given_offsets[s]
        if m_here != m or n_here != n:
            at += max(m, 0)
            m, n = m_here, n_here
            _prior(m, n, tension, prior)
        down, across = (n, 1) if transposed else (1, m)
        for i in range(m):
            f = types[offsets[s] + i]
            cell = cell_offsets[s] + i * down
            null = p_null * t_null[f]
            total = null
            for j in range(n):
                weight[j] = (1.0 - p_null) * prior[i, j] * t[entry[cell + j * across]]
                total += weight[j]
            count_null[f] += null / total
            mass[at + i] += (total - null) / total
            for j in range(n):
                q = weight[j] / total
                count[entry[cell + j * across]] += q
                distance += q * abs((i + 1) / m - (j + 1) / n)
    return distance


@numba.njit(cache=True, nogil=True)
def _prior_moments(m, n, mass, tension):  # type: ignore[no-untyped-def]
    """Return the prior's mean and variance of |i/m - j/n|, weighted by `mass` and summed."""
    expected, variance, at = 0.0, 0.0, 0
    for k in range(len(m)):
        for i in range(m[k]):
            z, first, second = 0.0, 0.0, 0.0
            for j in range(n[k]):
                x = abs((i + 1) / m[k] - (j + 1) / n[k])
                p = np.exp(-tension * x)
                z += p
                first += p * x
                second += p * x * x
            first /= z
            expected += mass[at] * first
            variance += mass[at] * (second / z - first * first)
            at += 1
    return expected, variance


@numba.njit(cache=True, nogil=True)
def _decode(
    order, types, offsets, given_offsets, entry, cell_offsets, transposed, t, t_null, tension, p_null, best
):  # type: ignore[no-untyped-def]
    prior = np.empty((_widest(offsets), _widest(given_offsets)))
    m, n = -1, -1
    for s in order:
        m_here, n_here = offsets[s + 1] - offsets[s], given_offsets[s + 1] - given_offsets[s]
        if m_here != m or n_here != n:
            m, n = m_here, n_here
            _prior(m, n, tension, prior)
        down, across = (n, 1) if transposed else (1, m)
        for i in range(m):
            k = offsets[s] + i
            cell = cell_offsets[s] + i * down
            highest, best[k] = p_null * t_null[types[k]], -1
            for j in range(n):
                p = (1.0 - p_null) * prior[i, j] * t[entry[cell + j * across]]
                if p > highest:
                    highest, best[k] = p, j
