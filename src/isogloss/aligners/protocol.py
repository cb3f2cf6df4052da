"""What an aligner takes and gives: `Bitext` in, `Directions` or final links out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from isogloss.arguments import checked

METHODS = ("intersection", "union", "grow-diag", "grow-diag-final", "grow-diag-final-and")

Links = npt.NDArray[np.int32]


@checked
@dataclass(frozen=True)
class Bitext:
    """The sentence pairs to be aligned; both sides of every pair have at least one word.

    Attributes
    ----------
    source, target : str
        The two languages.
    sentences : numpy.ndarray
        (n,) int64, the corpus' number of every pair.
    source_words, target_words : sequence of list of str
        n lists of words, as they stand in the corpus.
    """

    source: str
    target: str
    sentences: npt.NDArray[np.int64]
    source_words: Sequence[list[str]]
    target_words: Sequence[list[str]]

    def __len__(self) -> int:
        return len(self.sentences)


@checked
@dataclass(frozen=True)
class Directions:
    """Two directional link sets, to be symmetrised.

    Attributes
    ----------
    forward : numpy.ndarray
        (k, 3) int32 rows ``pair, source position, target position`` (pair = index into the bitext, all
        0-based): at most one link per target word.
    backward : numpy.ndarray
        The same, at most one link per source word.
    """

    forward: Links
    backward: Links


@runtime_checkable
class Aligner(Protocol):
    """What `align_words` calls: a name and one method.

    An aligner gives either two directional link sets, which `align_words` symmetrises, or final links
    as one (k, 3) int32 array with the columns of `Directions`.
    """

    @property
    def name(self) -> str:
        """Become ``WordLinks.aligner``."""
        ...

    def align(self, bitext: Bitext) -> Directions | Links:
        """Link the words of every sentence pair."""
        ...


@checked
def as_links(pairs: Sequence[tuple[int, int, int]]) -> Links:
    """Return ``(pair, source position, target position)`` tuples as a (k, 3) int32 array."""
    return np.asarray(pairs, dtype=np.int32).reshape(-1, 3)
