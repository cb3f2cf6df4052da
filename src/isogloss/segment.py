"""Word segmentation: Unicode rules for spaced scripts; jieba, fugashi, pythainlp and ICU for some without spaces.

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
from isogloss.languages import HAN, KANA, UNSPACED, Language, read_language, unspaced_pattern

log = logging.getLogger(__name__)

Word = tuple[str, int, int]
Segmenter = Callable[[str], list[Word]]
Cutter = Callable[[str], Iterator[int]]

# Segmenter -> the scripts it cuts, and their characters.
_SCRIPTS = {
    "zh": (("Hani",), HAN),
    "ja": (("Hani", "Jpan"), HAN + KANA),
    "th": (("Thai",), UNSPACED["Thai"][1]),
    "icu": (("Khmr", "Laoo", "Mymr"), "".join(UNSPACED[x][1] for x in ("Khmr", "Laoo", "Mymr"))),
}
# Language and script -> segmenter; that of Chinese is for every language in Han characters.
_MADE_FOR = {("ja", "Jpan"): "ja", ("th", "Thai"): "th"}
_MADE_FOR |= dict.fromkeys((("km", "Khmr"), ("lo", "Laoo"), ("my", "Mymr")), "icu")
_LABELS = {"Hani": "zh", "Jpan": "ja", **{script: language for language, script in _MADE_FOR}}

# Format characters one does not see.  Zero width space is not among them: it separates words.
_INVISIBLE = r"\u00ad\u061c\u180e\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_SPACE = r"\s\u200b\x00-\x08\x0e-\x1f\x7f-\x9f"
_APOSTROPHES = "'’"
_HYPHENS = r"\-‐‑"  # hyphen-minus, U+2010, U+2011
_LETTER = r"[^\W\d_]"

# Words that lose their vowel before a vowel and end with an apostrophe: l'|homme, dell'|arte.
_ELIDED = {"fr": r"(?:[cdjlmnst]|(?:jus|lors|puis|quoi)?qu)", "ca": r"[dlmnst]", "it": rf"{_LETTER}+"}
# Finnish and Swedish hang endings on abbreviations with a colon: EU:n, EU:s.
_EXTRA_JOINERS = {"fi": ":", "sv": ":"}


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
    - Chinese, Japanese, Thai, Khmer, Lao and Burmese: what the rules above take for a word is cut further by
      jieba (made for Simplified characters; Traditional ones are cut less well), MeCab, newmm or ICU,
      wherever it contains characters of that script.
    - Text of any other script without spaces (Tibetan, Javanese, ...), or of these under another label, is warned
      of once: its "words" are clauses (of Tibetan: syllables).

    Parameters
    ----------
    text : str
        Taken as it is; normalise it (NFC) before.
    language : str
        Any label.  What `isogloss.languages.read_language` reads in it chooses the segmenter; a label that is no
        language is segmented by the Unicode rules.

    Returns
    -------
    list of (str, int, int)
        Word, start and end; half-open code point offsets.

    Raises
    ------
    MissingExtraError
        If language and text need a package that is not installed.

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

    The package of a language is loaded at the first text that has its script.
    """
    natural = read_language(language)
    name = _made_for(natural)
    code = natural.code if natural else ""
    pattern = _pattern(code if code in _ELIDED or code in _EXTRA_JOINERS else "")
    cut = _cutting(name, pattern) if name else lambda text: [(m[0], *m.span()) for m in pattern.finditer(text)]
    cut_too = ("Hani", "Jpan") if name in ("zh", "ja") else _SCRIPTS[name][0] if name else ()
    unspaced = unspaced_pattern(without=cut_too)
    warned = False

    def split(text: str) -> list[Word]:
        nonlocal warned
        if not warned and not text.isascii() and (first := unspaced.search(text)):
            warned = True
            _warn_unspaced(language, str(first.lastgroup), text[first.start() :])
        return cut(text)

    return split


def _made_for(language: Language | None) -> str:
    if language is None:
        return ""
    if language.unspaced == "Hani":
        return "zh"
    return _MADE_FOR.get((language.code, language.script), "")


def _warn_unspaced(language: str, script: str, text: str) -> None:
    natural = read_language(language)
    name = UNSPACED[script][0]
    label = "" if natural and natural.unspaced == script else _LABELS.get(script, "")
    log.warning(
        "Language '%s': its text has %s characters, which are not segmented under this label: '%.20s'. "
        "If it is written without spaces, whole clauses become words: %sseparate the words by spaces yourself "
        "and read it with segmented: true.",
        language,
        name,
        text,
        f"label it {label} to segment it, or " if label else "",
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


def _cutting(name: str, pattern: re.Pattern[str]) -> Segmenter:
    """Return the segmenter that cuts the words of the Unicode rules at the places a package names."""
    load = functools.cache({"zh": _jieba, "ja": _fugashi, "th": _newmm, "icu": _icu}[name])
    chars = f"[{_SCRIPTS[name][1]}]"
    script = re.compile(chars)
    # A cut lies beside a character of the script (never inside 1,000.5 or iPhone15), and parts no mark or
    # invisible character from what it belongs to.
    cut_here = re.compile(rf"(?:(?<={chars})|(?={chars}))(?![{_marks()}{_INVISIBLE}'’])")

    def split(text: str) -> list[Word]:
        cuts = sorted(load()(text)) if script.search(text) else []
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
    # Its `initialize` believes a file of a fixed name in the temporary folder that all users of a machine share,
    # whoever wrote it.  The dictionary is read in the same time.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
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


def _icu() -> Cutter:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError:
        raise MissingExtraError("icu4py", "icu", "Segmenting Khmer, Lao and Burmese") from None

    def cuts(text: str) -> Iterator[int]:
        # ICU counts UTF-16 units: a character that has two of them is given as another symbol that has one.
        plain = re.sub("[^\0-\uffff]", "\ufffc", text)
        return (start for start, _ in WordBreaker(plain, "km").segments())

    return cuts
