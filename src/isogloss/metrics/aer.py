"""Alignment error rate: how far word links are from a gold alignment."""

from __future__ import annotations

from collections.abc import Collection

from isogloss.arguments import checked
from isogloss.errors import UsageError

Link = tuple[int, int, int]


@checked
def alignment_error_rate(
    links: Collection[Link], sure: Collection[Link], *, possible: Collection[Link] = ()
) -> float:
    """Return AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|), in [0, 1]; 0 is best.

    Och and Ney, "A Systematic Comparison of Various Statistical Alignment Models", Computational
    Linguistics 29(1), 2003.  Without possible links it is 1 - F1.

    Parameters
    ----------
    links : iterable of (int, int, int)
        A, as (sentence, source position, target position), e.g. ``WordLinks.table.iter_rows()`` cut to three
        columns.  Links of sentences without gold must be left out.
    sure : iterable of (int, int, int)
        S, the gold links that must be found.
    possible : iterable of (int, int, int)
        Gold links that may be found; P is these and the sure ones.

    Raises
    ------
    UsageError
        If there are neither links nor sure links: the rate is not defined.

    Examples
    --------
    >>> alignment_error_rate([(0, 0, 0), (0, 1, 2)], [(0, 0, 0)], possible=[(0, 1, 1)])
    0.33333333333333337
    """
    found, certain = _triples(links), _triples(sure)
    allowed = certain | _triples(possible)
    if not found and not certain:
        raise UsageError("The alignment error rate needs links or sure gold links; got none of both.")
    return 1.0 - (len(found & certain) + len(found & allowed)) / (len(found) + len(certain))


def _triples(links: Collection[Link]) -> set[Link]:
    return {(int(s), int(i), int(j)) for s, i, j in links}
