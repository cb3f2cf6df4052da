"""Word segmentation: Unicode rules for spaced scripts; jieba, fugashi and pythainlp for zh, ja and th.

The rules follow the spirit of Unicode Standard Annex 29 (word boundaries) with the standard library
alone, and deviate from it where a multilingual comparison profits.  `segment` lists them.
"""

from __future__ import annotations

import functools
import logging
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator

from isogloss.arguments import checked
from isogloss.errors import MissingExtraError

log = logging.getLogger(__name__)

Word = tuple[str, int, int]
Segmenter = Callable[[str], list[Word]]
Cutter = Callable[[str], Iterator[int]]

# First subtag of a language label -> the segmenter it needs (ISO 639-1, 639-3, ISO 15924).
_LABELS = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue", "hani", "hans", "hant"), "zh"),
    **dict.fromkeys(("ja", "jpn", "jpan"), "ja"),
    **dict.fromkeys(("th", "tha", "thai"), "th"),
}
_HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = r"\u3041-\u3096\u309d-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_THAI = r"\u0e01-\u0e5b"
_UNSPACED = re.compile(f"(?P<zh>[{_HAN}])|(?P<ja>[{_KANA}])|(?P<th>[{_THAI}])")
_NAMES = {"zh": "Han", "ja": "Kana", "th": "Thai"}

# Format characters one does not see.  Zero width space is not among them: it separates words.
_INVISIBLE = r"\u00ad\u061c\u180e\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_SPACE = r"\s\u200b\x00-\x08\x0e-\x1f\x7f-\x9f"
_APOSTROPHES = "'’"
_HYPHENS = r"\-‐‑"  # hyphen-minus, U+2010, U+2011
_LETTER = r"[^\W\d_]"

# Words that lose their vowel before a vowel and end with an apostrophe: l'|homme, dell'|arte.
_ELIDED = {
    "fr": r"(?:[cdjlmnst]|(?:jus|lors|puis|quoi)?qu)",
    "ca": r"[dlmnst]",
    "it": rf"{_LETTER}+",
}
# Finnish and Swedish hang endings on abbreviations with a colon: EU:n, EU:s.
_EXTRA_JOINERS = {"fi": ":", "sv": ":"}


def segmenters() -> dict[str, str]:
    """Return the segmenters that exist, by name, with what each is for and needs."""
    return {
        "unicode": "every other language label: spaces, punctuation and Unicode categories; built in",
        "zh": "Chinese (zh, zh-*, zho, cmn, yue, Hani): jieba; extra 'zh'",
        "ja": "Japanese (ja, jpn): fugashi with unidic-lite; extra 'ja'",
        "th": "Thai (th, tha): pythainlp newmm; extra 'th'",
    }


@checked
def segment(text: str, language: str) -> list[Word]:
    """Return the words of a text with their places: ``text[start:end] == word``.

    Words rise, do not overlap, and contain no white space; every visible character is in one.

    - A word is a run of letters, marks, digits and underscores.  Combining marks (Arabic vowel
      signs, Devanagari matras) stay with their word, and so do invisible format characters *inside*
      it (joiners, soft hyphens).
    - Word-internal apostrophes (``don't``), full stops between letters (``U.S``), middle dots
      (``col·lega``) and Hebrew gershayim are kept, as are points, commas and colons inside numbers
      (``1,000.5``, ``12:30``).
    - Hyphenated words stay whole (``кто-то``, ``long-term``, ``COVID-19``), as in the white-space tokens
      of the method's first implementation; a hyphen between digits separates (``1990-1995``).
    - An elided word of French, Italian or Catalan ends with its apostrophe: ``l'`` ``homme``.
      Finnish and Swedish keep the colon of ``EU:n``.
    - Every other visible character is a word of its own; an emoji with its modifiers, joined
      emoji and flags are one.
    - White space (no-break space too), zero width space, control characters and invisible format
      characters outside words (U+200F, U+FEFF) are no words.
    - Chinese, Japanese and Thai: what the rules above take for a word is cut further by jieba (made
      for Simplified characters; Traditional ones are cut less well), MeCab or newmm, wherever
      it contains characters of that script.

    Parameters
    ----------
    text : str
        Taken as it is; normalise it (NFC) before.
    language : str
        Any label.  Its part before the first ``-`` or ``_`` chooses the segmenter, see `segmenters`; an
        unknown label is segmented by the Unicode rules.

    Returns
    -------
    list of (str, int, int)
        Word, start and end; half-open code point offsets.

    Raises
    ------
    MissingExtraError
        If the language needs a package that is not installed.

    References
    ----------
    Unicode Standard Annex 29, "Unicode Text Segmentation", section 4 (word boundaries).

    Examples
    --------
    >>> segment("Don't panic!", "en")
    [("Don't", 0, 5), ('panic', 6, 11), ('!', 11, 12)]
    """
    return segmenter(language)(text)


@functools.lru_cache(maxsize=256)
def segmenter(language: str) -> Segmenter:
    """Return the function behind `segment` for one language, ``text -> [(word, start, end), ...]``.

    Raises
    ------
    MissingExtraError
        If the language needs a package that is not installed.
    """
    base = re.split("[-_]", language.lower(), maxsplit=1)[0]
    name = _LABELS.get(base)
    if name is not None:
        return _cutting(name)
    pattern = _pattern(base if base in _ELIDED or base in _EXTRA_JOINERS else "")
    warned = False

    def split(text: str) -> list[Word]:
        nonlocal warned
        if not warned and not text.isascii() and (found := _UNSPACED.search(text)):
            warned = True
            _warn_unspaced(language, str(found.lastgroup), text[found.start() :])
        return [(m[0], m.start(), m.end()) for m in pattern.finditer(text)]

    return split


def _warn_unspaced(language: str, name: str, text: str) -> None:
    log.warning(
        "Language '%s' is segmented at spaces, but its text has %s characters: '%.20s'. "
        "If it is written without spaces, label it %s to segment it.",
        language,
        _NAMES[name],
        text,
        name,
    )


# -- Unicode rules ------------------------------------------------------------------------------


@functools.cache
def _marks() -> str:
    """Return all combining marks as ranges for a character class (``re`` knows no categories)."""
    codes = [c for c in range(0x300, 0x1FFFF) if unicodedata.category(chr(c)).startswith("M")]
    codes += range(0xE0100, 0xE01F0)  # variation selectors supplement
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges)


@functools.cache
def _pattern(language: str) -> re.Pattern[str]:
    """Compile the rules: elided word, then word, then emoji, then any single visible character."""
    marks = _marks()
    run = rf"[\w{marks}]+"
    joiner = "|".join(
        (
            f"[{_INVISIBLE}]+",
            f"[{_APOSTROPHES}]",
            rf"(?<![\d_])[.·״{_EXTRA_JOINERS.get(language, '')}](?={_LETTER})",
            r'(?<=[\u05d0-\u05ea])"(?=[\u05d0-\u05ea])',  # Hebrew abbreviations
            r"(?<=\d)[.,:٫٬](?=\d)",
            rf"(?<!\d)[{_HYPHENS}]|[{_HYPHENS}](?=[^\W\d])",
        )
    )
    word = rf"{run}(?:(?:{joiner}){run})*"
    elided = rf"(?i:{_ELIDED[language]}[{_APOSTROPHES}])(?={_LETTER})|" if language in _ELIDED else ""
    visible = rf"[^\w{_SPACE}{_INVISIBLE}]"
    modifiers = rf"[{marks}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    symbol = rf"{visible}{modifiers}(?:\u200d{visible}{modifiers})*"
    return re.compile(f"{elided}{word}|{flag}|{symbol}")


# -- scripts without spaces ---------------------------------------------------------------------


def _cutting(name: str) -> Segmenter:
    """Return the segmenter that cuts the words of the Unicode rules at the places a package names."""
    places = {"zh": _jieba, "ja": _fugashi, "th": _newmm}[name]()
    pattern = _pattern("")
    script = re.compile({"zh": f"[{_HAN}]", "ja": f"[{_HAN}{_KANA}]", "th": f"[{_THAI}]"}[name])
    chars = script.pattern
    # A cut lies beside a character of the script (never inside 1,000.5 or iPhone15), and parts no mark or
    # invisible character from what it belongs to.
    cut_here = re.compile(rf"(?:(?<={chars})|(?={chars}))(?![{_marks()}{_INVISIBLE}'’])")

    def split(text: str) -> list[Word]:
        cuts = sorted(places(text)) if script.search(text) else []
        words = []
        i = 0
        for match in pattern.finditer(text):
            start, end = match.span()
            while i < len(cuts) and cuts[i] < end:
                if cuts[i] > start and cut_here.match(text, cuts[i]):
                    words.append((text[start : cuts[i]], start, cuts[i]))
                    start = cuts[i]
                i += 1
            words.append((text[start:end], start, end))
        return words

    return split


def _jieba() -> Cutter:
    """Return jieba's word starts, from a tokenizer of our own (the package's is shared by its users)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's own syntax and deprecation warnings
            import jieba
    except ImportError:
        raise MissingExtraError("jieba", "zh", "Segmenting Chinese") from None
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    return lambda text: (start for _, start, _ in tokenizer.tokenize(text))


def _fugashi() -> Cutter:
    try:
        import fugashi
        import unidic_lite
    except ImportError:
        raise MissingExtraError("fugashi", "ja", "Segmenting Japanese") from None
    tagger = fugashi.Tagger(f'-d "{unidic_lite.DICDIR}"')

    def cuts(text: str) -> Iterator[int]:
        # MeCab leaves out white space, so its words are looked up; a null character would stop it.
        end = 0
        for node in tagger(text.replace("\0", " ")):
            start = text.find(node.surface, end)
            if start < 0:
                return
            yield start
            end = start + len(node.surface)

    return cuts


def _newmm() -> Cutter:
    try:
        from pythainlp.tokenize import word_tokenize
    except ImportError:
        raise MissingExtraError("pythainlp", "th", "Segmenting Thai") from None

    def cuts(text: str) -> Iterator[int]:
        end = 0
        for word in word_tokenize(text, engine="newmm", join_broken_num=False):
            yield end
            end += len(word)

    return cuts
