"""Entity tags: which scheme a file uses is told from all its tags, and every scheme becomes IOB2."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence

from isogloss.errors import InputError

log = logging.getLogger(__name__)

Mark = tuple[str, str]  # one of O, B, I, E, S, and the kind of the entity ("" for O)
Where = Callable[[int, int], str]  # (sentence, word) -> "FILE, line N"

# The letters that occur together, and what each means: begin, inside, end, single.
_SCHEMES = {
    "IOB": {"B": "B", "I": "I"},
    "BIOES": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "BILOU": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "BMES": {"B": "B", "M": "I", "E": "E", "S": "S"},
    "BMEWO": {"B": "B", "M": "I", "E": "E", "W": "S"},
}
_LONGEST = 60  # characters of a tag in a message
_ONLY_KIND = "ENT"  # of tags that are marks alone: B, I, O
_IOB2 = re.compile(r"O|[BI]-.+")
_KIND = r"[^\s|()*,;]*[^\W_][^\s|()*,;]*"  # brackets and bars belong to nested tags
_PREFIXED = re.compile(rf"(?P<mark>[A-Za-z])[-_:](?P<kind>{_KIND})")
_SUFFIXED = re.compile(rf"(?P<kind>{_KIND})[-_:](?P<mark>[A-Za-z])")
_ALONE = re.compile(r"(?P<mark>[A-Za-z])(?P<kind>)")
# Single letters may be parts of speech, and one before or behind a sign is a mark of a scheme that we do not know.
_BARE = re.compile(rf"(?=..)(?=.*[^\W\d_])(?![A-Za-z][\W_])(?!.*[\W_][A-Za-z]$){_KIND}")
_WANTED = (
    "Known are IOB1, IOB2, BIOES, BILOU and BMES (B-PER, B_PER or PER-B; B and I alone), and types without marks "
    "(PER); O marks every word outside"
)


def is_iob2(tag: str) -> bool:
    """Return whether a tag is ``O``, or ``B-`` or ``I-`` with a type."""
    return _IOB2.fullmatch(tag) is not None


def spans(marks: Iterable[Mark]) -> list[tuple[str, int, int]]:
    """Return the (type, first word, word after the last) of every entity, in any scheme.

    As conlleval (Tjong Kim Sang and De Meulder, *Introduction to the CoNLL-2003 Shared Task*, 2003): an entity begins
    at B or S, and at an I or E that continues no entity of its type; it ends after E or S.
    """
    entities: list[tuple[str, int, int]] = []
    kind, begin = "", 0
    for i, (mark, name) in enumerate([*marks, ("O", "")]):
        if kind and (mark in "BSO" or name != kind):
            entities.append((kind, begin, i))
            kind = ""
        if mark != "O" and not kind:
            kind, begin = name, i
        if mark in "ES":
            entities.append((kind, begin, i + 1))
            kind = ""
    return entities


def to_iob2(sentences: Sequence[Sequence[str] | None], where: Where, *, advice: str) -> list[list[str] | None]:
    """Return the tags of a file in IOB2, whatever scheme they are in; None for a sentence that is not annotated.

    `where` gives the place in the file of a sentence's word, `advice` what a user does who has no entity tags there.

    Raises
    ------
    InputError
        If the tags are in no scheme that is known; the first that does not fit is named with its place.
    """
    places: dict[str, tuple[int, int]] = {}
    for i, tags in enumerate(sentences):
        for k, tag in enumerate(tags or ()):
            places.setdefault(tag, (i, k))
    named = [tag for tag in places if tag not in ("O", "o")]
    numbers = [tag for tag in named if re.fullmatch(r"[-+]?\d+", tag)]
    if numbers:
        raise InputError(
            f"{where(*places[numbers[0]])}: the entity tag {_shown(numbers[0])} is a number, and nothing says what it "
            f"stands for. Write names, e.g. B-PER; a Hugging Face data set whose column has class names is read by "
            f"format='datasets'. {advice}"
        )
    marks = _read(named, has_outside=len(named) < len(places)) if named else {}
    if marks is None:
        raise InputError(_misfit(named, {tag: where(*place) for tag, place in places.items()}, advice))
    marks |= {"O": ("O", ""), "o": ("O", "")}
    _warn_of_broken(sentences, marks, where)
    return [None if tags is None else _iob2([marks[tag] for tag in tags]) for tags in sentences]


def _iob2(marks: Sequence[Mark]) -> list[str]:
    tags = ["O"] * len(marks)
    for kind, begin, end in spans(marks):
        tags[begin:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - begin - 1)]
    return tags


def _read(tags: Sequence[str], *, has_outside: bool) -> dict[str, Mark] | None:
    """Return what every tag means in the one form and scheme that fits them all; None where none does."""
    for form in (_PREFIXED, _SUFFIXED, _ALONE):
        parts = [form.fullmatch(tag) for tag in tags]
        if not all(parts):
            continue
        letters = {part["mark"].upper() for part in parts if part}
        for meaning in _SCHEMES.values():
            # letters alone are marks only where some entity could begin
            if letters <= set(meaning) and (form is not _ALONE or letters & {"B", "I"}):
                return {
                    tag: (meaning[part["mark"].upper()], part["kind"] or _ONLY_KIND)
                    for tag, part in zip(tags, parts, strict=True)
                    if part
                }
    if has_outside and all(_BARE.fullmatch(tag) for tag in tags):
        return {tag: ("I", tag) for tag in tags}
    return None


def _misfit(tags: Sequence[str], places: dict[str, str], advice: str) -> str:
    """Return the message for tags of no scheme: the first tag that most of the others contradict."""
    forms = (_PREFIXED, _SUFFIXED, _ALONE, _BARE)
    usual = max(forms, key=lambda form: sum(form.fullmatch(tag) is not None for tag in tags))
    odd = [tag for tag in tags if not usual.fullmatch(tag)]
    if odd:
        others = [tag for tag in tags if tag not in odd]
        beside = f" beside {_shown(others[0])} ({places[others[0]]})" if others else ""
        what = f"the entity tag {_shown(odd[0])}{beside} is in no scheme that is known"
        return f"{places[odd[0]]}: {what}. {_WANTED}. {advice}"
    if usual is _BARE:
        what = f"the entity tag {_shown(tags[0])} has no mark, and no word of the file is O"
        return f"{places[tags[0]]}: {what}. {_WANTED}. {advice}"
    letters: dict[str, str] = {}
    for tag in tags:
        part = usual.fullmatch(tag)
        if part:
            letters.setdefault(part["mark"].upper(), tag)
            if not any(set(letters) <= set(meaning) for meaning in _SCHEMES.values()):
                break
    what = f"the marks {', '.join(letters)} of the entity tags up to {_shown(tag)} belong to no one scheme"
    return f"{places[tag]}: {what}. {_WANTED}. {advice}"


def _shown(tag: str) -> str:
    return repr(tag if len(tag) <= _LONGEST else tag[:_LONGEST] + "...")


def _warn_of_broken(sentences: Sequence[Sequence[str] | None], marks: dict[str, Mark], where: Where) -> None:
    """Warn once of entities that the scheme would write otherwise, and of types that side by side become one."""
    used = {mark for mark, _ in marks.values()}
    if used == {"O", "I"} and all(kind in ("", tag) for tag, (_, kind) in marks.items()):
        log.warning(
            "%s: the tags have no marks of a beginning, so two entities of one type side by side are read as one",
            where(0, 0).partition(", line")[0],
        )
        return
    closed = bool(used & {"E", "S"}) and bool(used & {"B", "S"})
    broken: list[tuple[int, int]] = []  # what strict BIOES does not allow, or an I that begins an entity
    free = False  # a B where IOB1 would write I
    for i, tags in enumerate(sentences):
        last: Mark = ("O", "")
        for k, mark in enumerate([marks[tag] for tag in tags or ()]):
            going = last[0] in "BI" and last[1] == mark[1]
            if mark[0] in "IE" and not going:
                broken.append((i, k))
            elif closed and mark[0] in "BSO" and last[0] in "BI":
                broken.append((i, max(k - 1, 0)))
            free = free or (mark[0] == "B" and last[1] != mark[1])
            last = mark
        if closed and last[0] in "BI":
            broken.append((i, len(tags or ()) - 1))
    if broken and (closed or (free and used <= {"O", "B", "I"})):
        log.warning(
            "%s: %d entities are not tagged as their scheme wants it, e.g. begin with I where others begin with B; "
            "they are read as conlleval reads them. This is the first",
            where(*broken[0]),
            len(broken),
        )
