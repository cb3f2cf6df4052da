"""The built-in aligner: IBM Model 2 with a diagonal prior, trained by variational Bayes.

The model is that of Dyer, Chahuneau and Smith, "A Simple, Fast, and Effective Reparameterization of IBM
Model 2", NAACL 2013 (known as fast_align).  A sentence of m generated words f_1..f_m explains each of
them by one of the n origin words e_1..e_n, or by none (null):

    p(a_i = 0 | i, m, n) = p_null
    p(a_i = j | i, m, n) = (1 - p_null) exp(-tension |i/m - j/n|) / Z(i, m, n)
    p(f_i | a_i = j)     = t(f_i | e_j),     t(. | e) ~ Dirichlet(alpha, ..., alpha)

Every round computes the posteriors of the alignments (E step), then sets t to the exponential of its
expected logarithm, exp(digamma(count + alpha) - digamma(total + alpha V_e)).  V_e is the number of types
that occur in a sentence with e.  Links are the most probable a_i of every word.

The defaults were chosen on gold alignments (``benchmarks/align.py``): against the published alpha 0.01
and p_null 0.08 the error falls by about 0.01.  The tension stays as given: moving it to the maximum of
the likelihood, as the paper does, raised the error by about 0.01 (it sharpens until null has no chance).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from isogloss.aligners.protocol import Bitext, Directions, Links
from isogloss.arguments import Inside, Rounds, Scale, Within, checked
from isogloss.compiled import compiled
from isogloss.progress import progress

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


@checked
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
        Probability that a word has no counterpart, in (0, 1).
    tension : float
        Strength of the diagonal, 0 to 100; with 0 all positions are equally likely (IBM Model 1).
    alpha : float
        Concentration of the Dirichlet prior on every word's translations, above 0.

    Notes
    -----
    Time is proportional to the number of cells, the sum of m n over all sentence pairs.  Memory: 4 bytes
    a cell, and about 40 bytes a distinct pair of co-occurring types.
    """

    lowercase: bool = True
    iterations: Rounds = 5
    p_null: Inside = 0.12
    tension: Annotated[float, Within(0, 100)] = 4.0
    alpha: Scale = 0.03

    name = "diagonal"

    def align(self, bitext: Bitext) -> Directions:
        """Train on the bitext and link it, once with each side as the generated one."""
        source = _read_side(bitext.source_words, lowercase=self.lowercase)
        target = _read_side(bitext.target_words, lowercase=self.lowercase)
        cells = _index_cells(source, target)
        with progress(f"Aligning {bitext.source}-{bitext.target}", 2 * self.iterations) as advance:
            best = []
            for view in (
                _View(target, source, cells, cells.source_type, by_row=False),
                _View(source, target, cells, cells.target_type, by_row=True),
            ):
                order = np.lexsort((np.diff(view.origin.offsets), np.diff(view.generated.offsets)))
                uniform = 1.0 / view.generated.n_types
                t, t_null = np.full(len(cells.source_type), uniform), np.full(view.generated.n_types, uniform)
                for _ in range(self.iterations):
                    t, t_null = self._update(view, order, _Model(t, t_null, self.tension, self.p_null))
                    advance(1)
                best.append(_decode(view, order, _Model(t, t_null, self.tension, self.p_null)))
        return Directions(_links(target, best[0]), _links(source, best[1])[:, [0, 2, 1]])

    def _update(self, view: _View, order: Ints, model: _Model) -> tuple[Floats, Floats]:
        """One round of variational Bayes: return the new t(f | e) of every entry and t(f | null)."""
        count, count_null = np.zeros_like(model.t), np.zeros_like(model.t_null)
        _expect(view, order, model, count, count_null)
        total = np.bincount(view.origin_type, weights=count)
        n_types = np.bincount(view.origin_type)
        norm = digamma(total + self.alpha * n_types)
        t = np.exp(digamma(count + self.alpha) - norm[view.origin_type])
        norm_null = digamma(count_null.sum() + self.alpha * len(count_null))
        return t, np.exp(digamma(count_null + self.alpha) - norm_null)


class _Side(NamedTuple):
    """One side of the bitext, flat: type number and sentence pair of every word, and where pairs start."""

    types: npt.NDArray[np.int32]
    pair: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    n_types: int


class _Cells(NamedTuple):
    """Which entry of the translation table every cell (source word, target word) of a pair uses.

    Pair s owns the cells ``offsets[s]`` onwards, source word by source word.  Entry k is the pair of
    co-occurring types ``(source_type[k], target_type[k])``; both directions share the entries.
    """

    entry: Ints
    offsets: npt.NDArray[np.int64]
    source_type: npt.NDArray[np.int32]
    target_type: npt.NDArray[np.int32]


class _View(NamedTuple):
    """One direction: `generated` words are explained by those of their `origin`."""

    generated: _Side
    origin: _Side
    cells: _Cells
    origin_type: npt.NDArray[np.int32]  # of every entry
    by_row: bool  # generated words are the rows of the cells, i.e. the source


class _Model(NamedTuple):
    """Parameters of one direction."""

    t: Floats
    t_null: Floats
    tension: float
    p_null: float


def _read_side(sentences: Sequence[list[str]], *, lowercase: bool) -> _Side:
    numbers: dict[str, int] = {}
    words = chain.from_iterable(sentences)
    forms = (word.lower() for word in words) if lowercase else words
    types = np.fromiter((numbers.setdefault(form, len(numbers)) for form in forms), dtype=np.int32)
    lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return _Side(types, np.repeat(np.arange(len(lengths)), lengths), offsets, len(numbers))


def _index_cells(source: _Side, target: _Side) -> _Cells:
    offsets = np.concatenate([[0], np.cumsum(np.diff(source.offsets) * np.diff(target.offsets))])
    n_cells = int(offsets[-1])
    entry: Ints = np.empty(n_cells, dtype=np.dtype(np.int32 if n_cells < 2**31 else np.int64))
    by_type = np.argsort(source.types, kind="stable")
    n_entries = _number_entries(source, target, by_type, offsets, entry)
    cells = _Cells(entry, offsets, np.empty(n_entries, dtype=np.int32), np.empty(n_entries, dtype=np.int32))
    _name_entries(source, target, cells)
    return cells


def _links(generated: _Side, best: npt.NDArray[np.int32]) -> Links:
    """Return rows ``pair, origin position, generated position`` of the words that are not null's."""
    linked = np.flatnonzero(best >= 0)
    pair = generated.pair[linked]
    position = linked - generated.offsets[pair]
    return np.stack([pair, best[linked], position], axis=1).astype(np.int32)


@compiled
def _number_entries(source: _Side, target: _Side, by_type: Ints, offsets: Ints, entry: Ints) -> int:
    """Number the distinct (source type, target type) pairs, source type by source type; fill `entry`."""
    last_source = np.full(target.n_types, -1, dtype=np.int64)
    number = np.empty(target.n_types, dtype=np.int64)
    n_entries = 0
    for k in by_type:
        e, s = source.types[k], source.pair[k]
        first, n = target.offsets[s], target.offsets[s + 1] - target.offsets[s]
        row = offsets[s] + (k - source.offsets[s]) * n
        for j in range(n):
            f = target.types[first + j]
            if last_source[f] != e:
                last_source[f] = e
                number[f] = n_entries
                n_entries += 1
            entry[row + j] = number[f]
    return n_entries


@compiled
def _name_entries(source: _Side, target: _Side, cells: _Cells) -> None:
    for k in range(len(source.types)):
        s = source.pair[k]
        first, n = target.offsets[s], target.offsets[s + 1] - target.offsets[s]
        row = cells.offsets[s] + (k - source.offsets[s]) * n
        for j in range(n):
            cells.source_type[cells.entry[row + j]] = source.types[k]
            cells.target_type[cells.entry[row + j]] = target.types[first + j]


@compiled
def _prior(m: int, n: int, model: _Model) -> Floats:
    """Return p(a_i = j | i, m, n) for all i and j > 0, (m, n); positions count from 1 in the formula."""
    prior = np.empty((m, n))
    for i in range(m):
        z = 0.0
        for j in range(n):
            prior[i, j] = np.exp(-model.tension * abs((i + 1) / m - (j + 1) / n))
            z += prior[i, j]
        for j in range(n):
            prior[i, j] *= (1.0 - model.p_null) / z
    return prior


@compiled
def _expect(view: _View, order: Ints, model: _Model, count: Floats, count_null: Floats) -> None:
    """E step: add the posterior of every cell to the counts.  `order` has pairs of one shape together."""
    generated, origin, entry = view.generated, view.origin, view.cells.entry
    prior = np.empty((0, 0))
    for s in order:
        m = generated.offsets[s + 1] - generated.offsets[s]
        n = origin.offsets[s + 1] - origin.offsets[s]
        if prior.shape != (m, n):
            prior = _prior(m, n, model)
            weight = np.empty(n)
        down, across = (n, 1) if view.by_row else (1, m)
        for i in range(m):
            f = generated.types[generated.offsets[s] + i]
            cell = view.cells.offsets[s] + i * down
            null = model.p_null * model.t_null[f]
            total = null
            for j in range(n):
                weight[j] = prior[i, j] * model.t[entry[cell + j * across]]
                total += weight[j]
            count_null[f] += null / total
            for j in range(n):
                count[entry[cell + j * across]] += weight[j] / total


@compiled
def _decode(view: _View, order: Ints, model: _Model) -> npt.NDArray[np.int32]:
    """Return the best origin position of every generated word, -1 for null; ties go to the first."""
    generated, origin, entry = view.generated, view.origin, view.cells.entry
    best = np.full(len(generated.types), -1, dtype=np.int32)
    prior = np.empty((0, 0))
    for s in order:
        m = generated.offsets[s + 1] - generated.offsets[s]
        n = origin.offsets[s + 1] - origin.offsets[s]
        if prior.shape != (m, n):
            prior = _prior(m, n, model)
        down, across = (n, 1) if view.by_row else (1, m)
        for i in range(m):
            k = generated.offsets[s] + i
            cell = view.cells.offsets[s] + i * down
            highest = model.p_null * model.t_null[generated.types[k]]
            for j in range(n):
                p = prior[i, j] * model.t[entry[cell + j * across]]
                if p > highest:
                    highest, best[k] = p, j
    return best
