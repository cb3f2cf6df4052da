"""Source and target concepts seen in different sentences: a concept that is one sentence is then aligned to nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isogloss.arguments import Seed, checked
from isogloss.concepts import Concepts


@checked
def other_sentences(source: Concepts, target: Concepts, *, seed: Seed = 0) -> tuple[Concepts, Concepts]:
    """Return the source's concepts in one half of the sentences, and the target's in the other half.

    Where a model's states say which sentence a word stands in more than which word it is, concepts are sentences.  In
    a parallel corpus such concepts are aligned, word for word, though nothing is shared; random weights do that.
    Seen in different sentences they share hardly a translation, while concepts of meaning still do.

    Parameters
    ----------
    source, target : Concepts
        Of a parallel corpus: sentence numbers mean the same in both.
    seed : int
        Of the halves.

    Returns
    -------
    (source, target)
        The same concepts with label -1 on the tokens left out.

    Examples
    --------
    >>> import polars as pl
    >>> def made(language):
    ...     table = {"row": range(4), "language": [language] * 4, "sentence": range(4), "position": [0] * 4}
    ...     return Concepts(pl.DataFrame({**table, "word": list("abcd")}), np.arange(4, dtype=np.int32), 4)
    >>> one, two = other_sentences(made("en"), made("de"))
    >>> sorted(one.labels.tolist() + two.labels.tolist())
    [-1, -1, -1, -1, 0, 1, 2, 3]
    """
    numbers = [side.tokens["sentence"].to_numpy() for side in (source, target)]
    known = np.union1d(*numbers)
    first = known[np.random.default_rng(seed).permutation(len(known))[: len(known) // 2]]
    inside = [np.isin(own, first) for own in numbers]
    kept = (inside[0], ~inside[1])
    one, two = (
        replace(side, labels=np.where(mine, side.labels, -1).astype(np.int32))
        for side, mine in zip((source, target), kept, strict=True)
    )
    return one, two
