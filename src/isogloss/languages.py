"""The one reader of language labels: what natural language a label names, if any, and how that is written.

The table holds what ISO 639 and CLDR (likely scripts, members of macro-languages) say of the languages that
corpora, treebanks and translation models use.  A package for this is larger than all of it, or needs a compiled
one, and knows thousands of three-letter codes, so that labels such as ``new`` or ``bio`` become languages.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

# Script in which a language is usually written, then its languages: the shortest code of ISO 639 and, behind the colon,
# other codes of the same: 639-2/B, 639-3, withdrawn ones, and the member of a macro-language that is meant by it.
_TABLE = """
Arab acm acq acw aeb afb ajp apc apd ar:ara,arb ars ary arz ayl ayn azb bal:bcc bqi ckb fa:fas,per,pes glk haz ks:kas
Arab lah lki mzn ota pnb prs ps:pbt,pbu,pus sd:snd sdh shu skr ug:uig ur:urd uzs
Armi arc
Armn hy:arm,hye hyw xcl
Avst ae:ave
Beng as:asm bn:ben bpy mni
Cans cr:cre iu:ike,iku oj:oji
Cher chr
Copt cop
Cyrl ab:abk abq ady alt av:ava ba:bak be:bel bg:bul bua:bxr ce:che chm:mhr crh cu:chu cv:chv inh kbd kjh kk:kaz koi
Cyrl krc kum kv:kom,kpv ky:kir lez mdf mk:mac,mkd mn:khk,mon mrj myv nog orv os:oss ru:rus rue sah sr:scc,srp tg:tgk
Cyrl tt:tat tyv udm uk:ukr xal
Deva awa bho brx dgo doi dty gbm hi:hin hne kok:gom,knn mag mai mr:mar ne:nep,npi new raj sa:san
Egyp egy
Ethi am:amh ti:tir
Geor ka:geo,kat xmf
Goth got
Grek el:ell,gre grc
Gujr gu:guj
Guru pa:pan
Hans cdo cjy cpx gan hak hsn lzh mnp nan wuu zh:chi,cmn,zho
Hant yue
Hebr hbo he:heb,iw jrb lad yi:ji,ydd,yid
Jpan ja:jpn ryu
Khmr km:khm
Knda kn:kan
Kore ko:kor
Lana nod
Laoo lo:lao
Latn aa:aar ace af:afr ak:aka,fat an:arg ang arn ast ay:aym,ayr az:aze,azj ban bar bci bcl bem bi:bis bjn bm:bam
Latn br:bre bs:bos bug ca:cat ceb ch:cha chk cjk cnr co:cos cs:ces,cze csb cy:cym,wel da:dan de:deu,ger din:dik dsb
Latn dyu ee:ewe efi eml en:eng enm eo:epo es:spa et:ekk,est eu:baq,eus ext ff:ful,fuv fi:fin fj:fij fo:fao fon
Latn fr:fra,fre frm fro frr fur fy:fry ga:gle gag gd:gla gl:glg gmh gn:grn,gug goh gsw guw gv:glv ha:hau haw hil hmn
Latn ho:hmo hr:hrv,scr hsb ht:hat hu:hun hz:her ia:ina ibb id:in,ind ie:ile ig:ibo ik:ipk ilo io:ido is:ice,isl
Latn it:ita ium izh jv:jav,jw kab kac kam kbp kea kek kg:kon ki:kik kj:kua kl:kal kmb kr:kau,knc krl ksh ku:kmr,kur
Latn kw:cor la:lat lb:ltz lg:lug li:lim lij liv lmo ln:lin loz lt:lit ltg lu:lub lua luo lus lv:lav,lvs lzz mad mak
Latn mg:mlg,plt mh:mah mi:mao,mri min mos ms:may,msa,zsm mt:mlt mww na:nau nah nap nd:nde nds ng:ndo nhi nl:dut,nld
Latn nn:nno no:nb,nob,nor non nr:nbl nrm nso nus nv:nav ny:nya oc:oci olo om:gaz,orm osx pag pap pcm pdc pl:pol pms
Latn pt:por qu:que,quy quc rgn rif rm:roh rn:run ro:mo,mol,ron,rum rom rup rw:kin sc:srd scn sco se:sme sg:sag sh:hbs
Latn sk:slk,slo sl:slv sli sm:smo sma smj smn sms sn:sna so:som sq:alb,als,sqi ss:ssw st:sot stq su:sun sv:swe
Latn sw:swa,swh szl taq tet tk:tuk tl:fil,tgl tlh tmh tn:tsn to:ton tok tpi tr:tur tru ts:tso tum tvl tw:twi ty:tah
Latn umb uz:uzb,uzn ve:ven vec vep vi:vie vo:vol vro wa:wln war wo:wol xh:xho yo:yor yua za:zha zu:zul
Mand mid
Mlym ml:mal
Mymr blk ksw mnw my:bur,mya rki shn
Nkoo nqo
Olck sat
Orya or:ori,ory
Rohg rhg
Samr smp
Sinh si:sin
Syrc aii syr
Tale tdd
Talu khb
Taml ta:tam
Tavt blt
Telu te:tel
Tfng shi tzm zgh
Thaa dv:div
Thai sou th:tha tts
Tibt bo:bod,tib dz:dzo
Xsux akk hit sux
Yiii ii:iii
"""
_CODES: dict[str, tuple[str, str]] = {}  # every code -> (shortest code, usual script)
for _line in _TABLE.split("\n"):
    for _entry in _line.split(" ")[1:]:
        _code, _, _others = _entry.partition(":")
        _CODES |= dict.fromkeys((_code, *filter(None, _others.split(","))), (_code, _line[:4]))

# Scripts that one may name although no language above is usually written in them.
_FURTHER = ("Adlm", "Ahom", "Bali", "Batk", "Bugi", "Cakm", "Cham", "Hani", "Java", "Mong", "Sund", "Tagb")
_SCRIPTS = frozenset({script for _, script in _CODES.values()} | set(_FURTHER))
_SAME_SCRIPT = {"Hang": "Kore", "Aran": "Arab", "Hira": "Jpan", "Kana": "Jpan", "Hrkt": "Jpan"}
# Labels that are a script alone.
_ALONE = {"hani": "zh", "hans": "zh", "hant": "zh", "jpan": "ja", "thai": "th"}
# Regions where a language is written in another script than elsewhere.
_REGIONAL = {
    **dict.fromkeys((("zh", "TW"), ("zh", "HK"), ("zh", "MO")), "Hant"),
    **dict.fromkeys((("pa", "PK"), ("ku", "IQ"), ("ku", "IR"), ("uz", "AF"), ("az", "IR"), ("kk", "CN")), "Arab"),
    ("mn", "CN"): "Mong",
    ("sr", "ME"): "Latn",
}
_RIGHT_TO_LEFT = frozenset(["Adlm", "Arab", "Armi", "Avst", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"])

HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
KANA = r"\u3041-\u3096\u309d-\u30ff\u31f0-\u31ff\uff66-\uff9f"
# Scripts without spaces between words: English name and characters, as ranges of a character class.  They are what
# Unicode Standard Annex 14 gives the line-breaking classes ID, SA and AK, and Tibetan, which marks syllables alone.
UNSPACED = {
    "Hani": ("Han", HAN),
    "Jpan": ("Kana", KANA),
    "Thai": ("Thai", r"\u0e01-\u0e5b"),
    "Laoo": ("Lao", r"\u0e81-\u0edf"),
    "Khmr": ("Khmer", r"\u1780-\u17ff\u19e0-\u19ff"),
    "Mymr": ("Burmese", r"\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f"),
    "Tibt": ("Tibetan", r"\u0f00-\u0fff"),
    "Java": ("Javanese", r"\ua980-\ua9df"),
    "Bali": ("Balinese", r"\u1b00-\u1b7f"),
    "Batk": ("Batak", r"\u1bc0-\u1bff"),
    "Bugi": ("Buginese", r"\u1a00-\u1a1f"),
    "Cham": ("Cham", r"\uaa00-\uaa5f"),
    "Lana": ("Tai Tham", r"\u1a20-\u1aad"),
    "Tale": ("Tai Le", r"\u1950-\u197f"),
    "Talu": ("New Tai Lue", r"\u1980-\u19df"),
    "Tavt": ("Tai Viet", r"\uaa80-\uaadf"),
    "Ahom": ("Ahom", r"\U00011700-\U0001174f"),
    "Yiii": ("Yi", r"\ua000-\ua4cf"),
}


@dataclass(frozen=True)
class Language:
    """A natural language, as its label says.

    Attributes
    ----------
    code : str
        The shortest code of ISO 639; that of the macro-language where its main member is named (``zh`` for ``cmn``).
    script : str
        Four letters of ISO 15924: what the label says, or the usual one of language and region.  Han characters are
        ``Hans``, ``Hant`` or ``Hani``, Korean is ``Kore``, Japanese ``Jpan`` in whatever it is written.
    tag : str
        BCP 47: what the label says, and no more.
    named_script : bool
        The label itself names the script, or a region that has another than usual.
    """

    code: str
    script: str
    tag: str
    named_script: bool = False

    @property
    def right_to_left(self) -> bool:
        """The script runs from right to left."""
        return self.script in _RIGHT_TO_LEFT

    @property
    def unspaced(self) -> str:
        """The key of `UNSPACED` if the script has no spaces between words, else nothing."""
        script = "Hani" if self.script in ("Hans", "Hant") else self.script
        return script if script in UNSPACED else ""


@functools.lru_cache(maxsize=1024)
def read_language(label: str) -> Language | None:
    """Return the natural language that a label names, or None: a label may name anything.

    BCP 47 (``zh-Hant-TW``, ``pt-BR``), also with underscores (``zh_CN``); ISO 639-1, 639-2 and 639-3 (``ja``, ``ger``,
    ``deu``); codes of translation models: NLLB's (``zho_Hans``), mBART's (``ja_XX``); in any case.  What stands behind
    a code and is neither script nor region is left aside (``de-news``).

    Examples
    --------
    >>> read_language("cmn_Hant")
    Language(code='zh', script='Hant', tag='zh-Hant', named_script=True)
    >>> read_language("ja_XX")
    Language(code='ja', script='Jpan', tag='ja', named_script=False)
    >>> read_language("c++") is read_language("news") is None
    True
    """
    first, *rest = re.split("[-_.@]", label.strip())
    if first.lower() in _ALONE:
        first, rest = _ALONE[first.lower()], [first, *rest]
    named = next((part.title() for part in rest[:2] if len(part) == 4 and _script(part) in _SCRIPTS), "")
    code, usual = _CODES.get(first.lower(), ("", ""))
    if not code:
        if not (named and re.fullmatch("[A-Za-z]{2,3}", first)):
            return None
        code = first.lower()
    upper = (part.upper() for part in rest[:2])
    region = next((part for part in upper if re.fullmatch("[A-Z]{2}|[0-9]{3}", part) and part != "XX"), "")
    script = _script(named) or _REGIONAL.get((code, region), "")
    return Language(code, script or usual, "-".join(filter(None, (code, named, region))), bool(script))


def _script(part: str) -> str:
    return _SAME_SCRIPT.get(part.title(), part.title())


def direction(label: str) -> str:
    """Return how text of a label runs on a page: ``"ltr"``, ``"rtl"``, or for no language ``"auto"``: the text says.

    Examples
    --------
    >>> direction("arb_Arab"), direction("az"), direction("az-Arab"), direction("c++")
    ('rtl', 'ltr', 'rtl', 'auto')
    """
    language = read_language(label)
    if language is None:
        return "auto"
    return "rtl" if language.right_to_left else "ltr"


def page_attributes(labels: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the HTML attributes ``lang`` (of labels that are a language) and ``dir`` of text under every label.

    Examples
    --------
    >>> page_attributes(["pes_Arab", "c++"])
    {'pes_Arab': {'lang': 'fa-Arab', 'dir': 'rtl'}, 'c++': {'dir': 'auto'}}
    """
    natural = {label: read_language(label) for label in labels}
    return {label: ({"lang": x.tag} if x else {}) | {"dir": direction(label)} for label, x in natural.items()}


@functools.cache
def unspaced_pattern(without: tuple[str, ...] = ()) -> re.Pattern[str]:
    """Return a pattern of one character of a script without spaces; the script is the name of its group."""
    kept = {script: chars for script, (_, chars) in UNSPACED.items() if script not in without}
    groups = "|".join(f"(?P<{script}>[{chars}])" for script, chars in kept.items())
    # without the first part: 20 times slower
    return re.compile(f"(?=[{''.join(kept.values())}])(?:{groups})")


def mainly_unspaced(text: str) -> str:
    """Return the script without spaces that most letters of a text are of, else nothing; Han with Kana is ``Jpan``.

    Examples
    --------
    >>> mainly_unspaced("東京です"), mainly_unspaced("他昨天在北京 (PRC)"), mainly_unspaced("the word 東京")
    ('Jpan', 'Hani', '')
    """
    scripts = [str(match.lastgroup) for match in unspaced_pattern().finditer(text)]
    if not scripts or 2 * len(scripts) <= sum(c.isalpha() for c in text):
        return ""
    # a tenth: Chinese has a Kana now and then, a Japanese line is seldom below a third
    if scripts.count("Jpan") * 10 >= len(scripts) and {"Hani", "Jpan"} >= set(scripts):
        return "Jpan"
    return max(sorted(set(scripts)), key=scripts.count)
