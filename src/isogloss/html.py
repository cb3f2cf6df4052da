"""What data classes look like in a notebook: a line, and a small table; all data in them is escaped here.

No colours are set, so that a card is readable on a light and on a dark page; words are set apart by ``<bdi>``, so that
right-to-left words do not reorder what stands beside them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from isogloss.languages import read_language

_LINE = "border-bottom:1px solid; border-color:color-mix(in srgb, currentColor 35%, transparent)"
_CELL = "padding:0.15em 1em 0.15em 0; text-align:left; vertical-align:top; background:none"


class Markup(str):
    """HTML that is ready: it is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as HTML: `Markup` as it is, floats with three decimals, None and NaN as nothing.

    Examples
    --------
    >>> text("<b>"), text(0.25), text(None)
    ('&lt;b&gt;', '0.250', '')
    """
    if isinstance(value, Markup):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Markup("")
    return Markup(html.escape(f"{value:.3f}" if isinstance(value, float) else str(value), quote=True))


def word(value: str, language: str) -> Markup:
    """Return a word of a language, which may be written from right to left.

    Examples
    --------
    >>> word("بيت", "arb_Arab"), word("int", "c++")
    ('<bdi lang="ar-Arab" dir="auto">بيت</bdi>', '<bdi dir="auto">int</bdi>')
    """
    natural = read_language(language)
    lang = f' lang="{text(natural.tag)}"' if natural else ""
    return Markup(f'<bdi{lang} dir="auto">{text(value)}</bdi>')


def words(values: Iterable[str], language: str) -> Markup:
    """Return words of a language with a space between them."""
    return Markup(" ".join(word(value, language) for value in values))


def grid(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table of `text` cells; empty where there are no rows."""
    body = "".join("<tr>" + "".join(f'<td style="{_CELL}">{text(cell)}</td>' for cell in row) + "</tr>" for row in rows)
    if not body:
        return Markup("")
    top = "".join(f'<th scope="col" style="{_CELL}; {_LINE}">{text(cell)}</th>' for cell in head)
    return Markup(
        '<table style="border-collapse:collapse; margin:0.4em 0">'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    )


def card(title: str, facts: Mapping[str, object], *parts: Markup, note: str = "") -> str:
    """Return the HTML of a data class.

    Parameters
    ----------
    title : str
        What it is, e.g. ``"Corpus"``.
    facts : mapping of str to object
        Shown on one line behind the title; those that are None are left out.
    parts : Markup
        Tables.
    note : str
        A line below, e.g. how many rows are not shown.
    """
    shown = "; ".join(f"{text(name)} {text(value)}" for name, value in facts.items() if value is not None)
    below = f'<div style="opacity:0.75">{text(note)}</div>' if note else ""
    return f"<div><div><b>{text(title)}</b> {shown}</div>{''.join(parts)}{below}</div>"
