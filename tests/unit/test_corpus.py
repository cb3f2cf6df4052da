"""Readers: every format, the checks of parallel sets, and the two tables they build."""

import gzip
import json
import logging
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.corpus import SENTENCE_COLUMNS, WORD_COLUMNS, Corpus
from isogloss.errors import InputError, UsageError

PUD = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "parallel" / "pud"
PUD_LANGUAGES = ("en", "de", "es", "fr", "ar", "hi", "ru", "tr", "fi", "zh")


@pytest.fixture
def write(tmp_path):
    """Write lines (or bytes) to a file and return its path as a string."""

    def write(name, content):
        path = tmp_path / name
        data = content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


def assert_sound(corpus):
    """Check the schema, the order, and that every offset names its word."""
    for table, columns in ((corpus.sentences, SENTENCE_COLUMNS), (corpus.words, WORD_COLUMNS)):
        assert list(table.schema.items())[: len(columns)] == list(columns.items())
    words = corpus.words
    assert words["row"].to_list() == list(range(words.height))
    assert tuple(words["language"].unique(maintain_order=True)) == corpus.languages
    joined = words.join(corpus.sentences, on=["language", "sentence"], maintain_order="left")
    assert joined.height == words.height
    position, key = 0, None
    for row in joined.iter_rows(named=True):
        assert row["text"][row["start"] : row["end"]] == row["word"]
        position = position + 1 if key == (row["language"], row["sentence"]) else 0
        key = (row["language"], row["sentence"])
        assert row["position"] == position


# -- plain text ---------------------------------------------------------------------------------


def test_text_is_read_segmented_and_numbered(write):
    files = {"en": write("a.en", ["A car.", "It's red."]), "de": write("a.de.gz", ["Ein Auto.", "Es ist rot."])}
    corpus = Corpus.read(files)
    assert_sound(corpus)
    assert corpus.languages == ("en", "de") and corpus.parallel and corpus.n_sentences == 2
    assert corpus.texts("de") == ["Ein Auto.", "Es ist rot."]
    assert corpus.word_lists("en") == [["A", "car", "."], ["It's", "red", "."]]
    assert Corpus.read(files, languages=["de"]).languages == ("de",)


def test_crlf_and_bom_are_not_text(write):
    corpus = Corpus.read({"en": write("a.txt", b"\xef\xbb\xbfone\r\ntwo\r\n")})
    assert corpus.texts("en") == ["one", "two"]


def test_text_is_normalised_before_segmentation(write):
    decomposed = unicodedata.normalize("NFD", "Öl über ल़")
    for segmented in (False, True):
        corpus = Corpus.read({"de": write("a.txt", [decomposed])}, segmented=segmented)
        assert corpus.texts("de") == [unicodedata.normalize("NFC", decomposed)]
        assert corpus.word_lists("de") == [["Öl", "über", unicodedata.normalize("NFC", "ल़")]]
        assert_sound(corpus)


def test_segmented_text_keeps_its_words(write):
    corpus = Corpus.read({"fr": write("a.words", ["l' eau  10\u00a0000 5␣000 don't!", " x\ty "])}, segmented=True)
    assert corpus.word_lists("fr") == [["l'", "eau", "10\u00a0000", "5␣000", "don't!"], ["x", "y"]]
    assert corpus.texts("fr")[1] == " x\ty "
    assert_sound(corpus)


def test_right_to_left_text_is_untouched():
    text = "\u200fقال: «مرحبًا»\u200e."
    corpus = Corpus.from_texts({"ar": [text]})
    assert corpus.texts("ar") == [text]
    assert corpus.word_lists("ar") == [["قال", ":", "«", "مرحبًا", "»", "."]]


# -- dropping and checking ----------------------------------------------------------------------


def test_empty_and_overlong_sentences_are_dropped_everywhere(write, caplog):
    files = {
        "en": write("a.en", ["one", "", "three", "a b c d", "five", "six"]),
        "de": write("a.de", ["eins", "zwei", " \u200f", "", "fünf", "sechs"]),
    }
    with caplog.at_level(logging.WARNING):
        corpus = Corpus.read(files, max_words=3)
    assert corpus.sentences["sentence"].to_list() == [0, 4, 5] * 2
    assert corpus.word_lists("de") == [["eins"], ["fünf"], ["sechs"]]
    assert_sound(corpus)
    assert [(d.reason, d.language, d.path, d.line) for d in corpus.dropped] == [
        ("empty", "en", files["en"], 2),
        ("empty", "de", files["de"], 3),
        ("overlong", "en", files["en"], 4),
    ]
    (record,) = caplog.records
    assert "3 of 6" in record.getMessage() and "2 empty, 1 overlong" in record.getMessage()
    assert f"{files['de']}:3" in record.getMessage()


def test_a_sentence_of_exactly_max_words_is_kept():
    corpus = Corpus.from_texts({"en": ["a b c"], "de": ["a b"]}, max_words=3)
    assert corpus.n_sentences == 1 and corpus.dropped == ()


def test_one_file_for_two_languages_is_refused(write, tmp_path):
    path = write("a.txt", ["one"])
    (tmp_path / "b.txt").symlink_to(path)
    for other in (path, tmp_path / "b.txt", tmp_path / "." / "a.txt"):
        with pytest.raises(UsageError, match=r"en and de have one and the same file.*aligned by construction"):
            Corpus.read({"en": path, "de": other}, parallel=False)


def test_byte_order_marks_and_carriage_returns_between_lines_are_not_text(write):
    corpus = Corpus.read({"en": write("a.txt", b"\xef\xbb\xbfone\r\r\n\xef\xbb\xbftwo\n")})
    assert corpus.texts("en") == ["one", "two"]
    with pytest.raises(InputError, match="ends its lines by carriage returns alone"):
        Corpus.read({"en": write("b.txt", b"one\rtwo\r")})


@pytest.mark.parametrize(
    ("name", "first", "message"),
    [
        ("a.tmx", b"<tmx>", "ending names none of the formats"),
        ("a.sgm", b'<srcset setid="x">', "ending names none of the formats"),
        ("a.docx", b"PK\x03\x04", "ending names none of the formats"),
        ("a.en", b'<?xml version="1.0"?>', "lines are not sentences"),
        ("a.gu", b"<!DOCTYPE html>", "lines are not sentences"),
        ("a.txt", b"%PDF-1.7", "lines are not sentences"),
    ],
)
def test_documents_are_not_text(write, name, first, message):
    path = write(name, first + b"\nA line.\n")
    with pytest.raises(UsageError, match=message):
        Corpus.read({"en": path})
    with pytest.raises(UsageError, match="lines are not sentences"):
        Corpus.read({"en": path}, format="text")


def test_independent_languages_drop_alone(write):
    files = {"en": write("a.en", ["one", "", "three"]), "de": write("a.de", ["eins", "zwei"])}
    corpus = Corpus.read(files, parallel=False)
    assert not corpus.parallel
    assert corpus.texts("en") == ["one", "three"] and corpus.texts("de") == ["eins", "zwei"]
    assert [(d.language, d.line) for d in corpus.dropped] == [("en", 2)]


def test_unequal_counts_name_both_files(write):
    files = {"en": write("a.en", ["1", "2", "3"]), "de": write("a.de", ["1", "2"])}
    with pytest.raises(InputError, match=r"a\.en \(en\) has 3, .*a\.de \(de\) has 2"):
        Corpus.read(files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good\nna\xefve\n", r"a\.en, line 2: byte 0xef is not UTF-8"),
        (b"", r"a\.en \(en\) has no sentences"),
        (b"\n \n", r"No sentence is left.*2 empty.*a\.en:1"),
    ],
)
def test_unusable_text_is_an_input_error(write, content, message):
    with pytest.raises(InputError, match=message):
        Corpus.read({"en": write("a.en", content)})


def test_an_independent_language_without_sentences_left_is_an_error():
    with pytest.raises(InputError, match="No sentence of de is left"):
        Corpus.from_texts({"en": ["one"], "de": ["", " "]}, parallel=False)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no file"):
        Corpus.read({"en": tmp_path / "absent.en"})


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"en": "b.txt"}, {"format": "jsnl"}, "unknown format 'jsnl'.*Did you mean 'jsonl'"),
        ({"en": "b.txt"}, {"max_word": 3}, "unknown option 'max_word'.*Did you mean 'max_words'"),
        ({"en": "a.conll"}, {"collumns": {}}, "Did you mean 'columns'"),
        ({"en": "b.txt"}, {"text_field": "x"}, "unknown option 'text_field'"),
        ({"en": "b.txt"}, {"languages": ["de"]}, "unknown language 'de'"),
        ({"en": "b.txt"}, {"max_words": 0}, "max_words must be a whole number from 1 to 32,767"),
        ({"en": "b.txt", "de": "a.conllu"}, {}, "must have the same format"),
        ({"en": "a.tsv"}, {}, "one file with all languages"),
        ({"en": "a.csv"}, {}, "ending names none of the formats"),
        ({}, {}, "No files"),
        ("a.txt", {}, "one file a language.*format='datasets'"),
    ],
)
def test_wrong_calls(write, monkeypatch, files, options, message):
    monkeypatch.chdir(Path(write("b.txt", ["one"])).parent)
    with pytest.raises(UsageError, match=message):
        Corpus.read(files, **options)


def test_from_texts_wants_lists_of_strings():
    with pytest.raises(UsageError, match="texts must be a mapping from text to a list of texts"):
        Corpus.from_texts({"en": "One sentence."})
    with pytest.raises(UsageError, match=r"a mapping from text to a list of texts; got \{False"):
        Corpus.from_texts({False: ["Norsk"]})  # what YAML makes of an unquoted no
    with pytest.raises(InputError, match=r"texts\['en'\] \(en\) has 1, texts\['de'\] \(de\) has 2"):
        Corpus.from_texts({"en": ["a"], "de": ["b", "c"]})


# -- CoNLL-U ------------------------------------------------------------------------------------

TREE = """\
# sent_id = 1
# text = Il va du  «parc», 10\u00a0000.
1\tIl\til\tPRON\t_\tPerson=3\t2\tnsubj\t_\t_
2\tva\taller\tVERB\t_\tMood=Ind\t0\troot\t_\t_
2.1\tva\taller\tVERB\t_\t_\t_\t_\t0:root\t_
3-4\tdu\t_\t_\t_\t_\t_\t_\t_\t_
3\tde\tde\tADP\t_\t_\t6\tcase\t_\t_
4\tle\tle\tDET\t_\tGender=Masc\t6\tdet\t_\t_
5\t«\t«\tPUNCT\t_\t_\t6\tpunct\t_\tSpaceAfter=No
6\tparc\tparc\tNOUN\t_\t_\t2\tobl\t_\tSpaceAfter=No|Gloss=park
7\t»\t»\tPUNCT\t_\t_\t6\tpunct\t_\tSpaceAfter=No
8\t,\t,\tPUNCT\t_\t_\t6\tpunct\t_\t_
9\t10 000\t10000\tNUM\t_\t_\t6\tnummod\t_\tSpaceAfter=No
10\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\t_

1-2\tAu\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
1\tà\tà\tADP\t_\t_\t0\troot\t_\t_
2\tle\tle\tDET\t_\t_\t1\tdet\t_\t_
3\t!\t!\tPUNCT\t_\t_\t1\tpunct\t_\t_
"""


def test_conllu_surface_words_tags_and_offsets(write):
    corpus = Corpus.read({"fr": write("a.conllu", TREE.encode())})
    assert_sound(corpus)
    first, second = corpus.word_lists("fr")
    assert first == ["Il", "va", "du", "«", "parc", "»", ",", "10\u00a0000", "."]
    assert second == ["Au", "!"]
    assert corpus.texts("fr") == ["Il va du  «parc», 10\u00a0000.", "Au!"]  # the second is rebuilt
    upos = corpus.words["upos"].to_list()
    assert upos[:4] == ["PRON", "VERB", "ADP+DET", "PUNCT"] and upos[9] == "ADP+DET"
    assert corpus.words["feats"][2] == "_+Gender=Masc"


def test_conllu_text_that_does_not_fit_is_rebuilt(write, caplog):
    path = write("a.conllu", TREE.replace("Il va du", "Elle va du").encode())
    with caplog.at_level(logging.WARNING):
        corpus = Corpus.read({"fr": path})
    assert corpus.texts("fr")[0] == "Il va du «parc», 10 000."
    assert "does not fit" in caplog.text and "line 1" in caplog.text
    assert_sound(corpus)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2\tva\taller\tVERB", "2 va\taller\tVERB", "line 4: .*ten columns.*got 9"),
        ("2\tva\t", "4\tva\t", "line 4: ID 4 does not follow ID 1"),
        ("3-4\tdu", "3-2\tdu", "line 6: ID 3-2 does not follow ID 2"),
        ("3-4\tdu", "3-44\tdu", "line 1: the sentence that starts here ends before ID 44"),
        ("1\tIl", "x\tIl", "line 3: .*starts with an ID"),
        ("1\tIl", "9" * 5000 + "\tIl", "line 3: .*starts with an ID"),
        ("1\tIl", "1\t ", "line 3: the word is empty"),
    ],
)
def test_malformed_conllu(write, old, new, message):
    path = write("a.conllu", TREE.replace(old, new).encode())
    with pytest.raises(InputError, match=message):
        Corpus.read({"fr": path})


PLUS = """\
# global.columns = ID FORM UPOS PARSEME:MWE
# source_sent_id = 1
1\tTake\tVERB\t1:VPC
2-3\tdont\t_\t*
2\tdo\tAUX\t*
3\tnt\tPART\t*
4\toff\tADP\t1

1\tNow\tADV\t*
"""


@pytest.mark.parametrize("name", ["a.cupt", "a.conllup", "a.conll", "a.txt"])
def test_conllu_plus_names_its_columns(write, name):
    corpus = Corpus.read({"en": write(name, PLUS.encode())})
    assert_sound(corpus)
    assert corpus.word_lists("en") == [["Take", "dont", "off"], ["Now"]]
    assert corpus.words["upos"].to_list() == ["VERB", "AUX+PART", "ADP", "ADV"]
    assert "feats" not in corpus.words.columns
    with pytest.raises(InputError, match=r"line 9: .*the 4 columns named at the top.*got 3"):
        Corpus.read({"en": write(name, PLUS.replace("ADV\t*", "ADV").encode())})
    with pytest.raises(InputError, match="line 1: the columns of CoNLL-U Plus begin with ID, have FORM"):
        Corpus.read({"en": write("b.cupt", PLUS.replace("FORM", "WORD").encode())})


@pytest.mark.parametrize("name", ["a.conllx", "a.conll", "a.bio", "a.fr", "a.txt.gz"])
def test_treebanks_are_known_by_their_content(write, name, caplog):
    files = {"fr": write("a.conllu", TREE.encode()), "fr2": write(name, TREE.encode())}
    corpus = Corpus.read(files)
    assert corpus.word_lists("fr") == corpus.word_lists("fr2")
    assert ("by its content" in caplog.text) == (name in ("a.fr", "a.txt.gz"))


# -- column files, JSONL, TSV -------------------------------------------------------------------


def test_conll_columns(write):
    lines = ["-DOCSTART- -X- O O", "", "EU NNP B-NP B-ORG", "rejects VBZ B-VP O", "", "", "# # O O", ". . O O"]
    corpus = Corpus.read({"en": write("a.conll", lines)})
    assert_sound(corpus)
    assert corpus.texts("en") == ["EU rejects", "# ."]
    assert corpus.words["ner"].to_list() == ["B-ORG", "O", "O", "O"]
    corpus = Corpus.read({"en": write("b.conll", lines)}, columns={"word": 0, "pos": 1}, comment="# ")
    assert corpus.words["pos"].to_list() == ["NNP", "VBZ", "."]
    with pytest.raises(InputError, match="line 3: there is no column 7 for 'ner'"):
        Corpus.read({"en": write("c.conll", lines)}, columns={"word": 0, "ner": 7})
    with pytest.raises(UsageError, match="columns must give a number for 'word'"):
        Corpus.read({"en": write("d.conll", lines)}, columns={"ner": 1})


def test_conll_with_tabs_keeps_spaces_inside_words(write):
    corpus = Corpus.read({"en": write("a.conll", ["10 000\tB-NUM", "men\tO"])})
    assert corpus.word_lists("en") == [["10 000", "men"]]
    assert_sound(corpus)


def test_conll_columns_end_at_spaces_and_tabs_alone(write):
    lines = ["10\u00a0000  B-NUM ", "a\u2028b\tI-NUM", "\x85x O"]
    corpus = Corpus.read({"en": write("a.conll", lines)})
    assert_sound(corpus)
    assert corpus.word_lists("en") == [["10\u00a0000", "a\u2028b", "\x85x"]]
    assert corpus.words["ner"].to_list() == ["B-NUM", "I-NUM", "O"]
    with pytest.raises(InputError, match=r"line 2: the word is empty, or white space"):
        Corpus.read({"ja": write("b.conll", ["a O", "\u3000 O"])})
    with pytest.raises(InputError, match=r"line 2: 1 column\(s\), but line 1 has 2"):
        Corpus.read({"ja": write("c.conll", ["a O", "\u3000"])})  # no blank line


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a", "b"], r"line 1: one column, 'a'.*columns=\{'word': 0\}"),
        (["a O", "", "b"], r"line 3: 1 column\(s\), but line 1 has 2: 'b'"),
        (["a X O", "b O"], r"line 2: 2 column\(s\), but line 1 has 3"),
        (["New York B-LOC", "is O"], r"line 2: 2 column\(s\), but line 1 has 3"),
        (["a O", "#tag"], r"line 2: 1 column\(s\), but line 1 has 2: '#tag'.*comment="),
        (["#tag", "a O"], r"line 1: one column, '#tag'"),
        (["1\ta\tO", "2\tb\tO", "", "1\tc\tO"], r"line 1: the first column counts 1, 2, 3.*'ner': 2"),
        (["a O", "b 3"], r"line 2: the entity tag '3' is a number.*columns=\{'word': 0\}"),
        (["a NN", "b VB"], r"line 1: the entity tag 'NN' has no mark"),
        (["# x = y", "a O", "b B-X", "c Q"], r"line 4: the entity tag 'Q' beside 'B-X' .*line 3"),
    ],
)
def test_malformed_conll(write, lines, message):
    with pytest.raises(InputError, match=message):
        Corpus.read({"en": write("a.conll", lines)})


def test_conll_comments_are_no_words_and_hashes_are(write):
    lines = [
        "# id 52 domain=en",  # as many columns as a word
        "# text = a b c d e f",
        "# _ _ O",
        "#x=y _ _ B-X",
        "# _ _ I-X",
        "",
        "#begin document (a); part 0",
        "",
        "b _ _ O",
    ]
    corpus = Corpus.read({"en": write("a.conll", lines)})
    assert corpus.word_lists("en") == [["#", "#x=y", "#"], ["b"]]
    assert corpus.words["ner"].to_list() == ["O", "B-X", "I-X", "O"]
    with pytest.raises(InputError, match="line 2: 9 column"):
        Corpus.read({"en": write("b.conll", lines)}, comment="#begin")
    words = Corpus.read({"en": write("c.conll", ["a", "b"])}, columns={"word": 0})
    assert words.word_lists("en") == [["a", "b"]] and "ner" not in words.words.columns


def test_a_document_mark_ends_a_sentence(write):
    lines = ["EU B-ORG", "-DOCSTART- O", "# id 1", "Ana B-PER", "-DOCSTART- O", "", "-DOCSTART- O"]
    corpus = Corpus.read({"en": write("a.conll", lines)})
    assert corpus.word_lists("en") == [["EU"], ["Ana"]]
    assert corpus.words["ner"].to_list() == ["B-ORG", "B-PER"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["en:Rick", "en::", "en:"], ["Rick", ":", "en:"]),  # PAN-X
        (["zh-min-nan:Ho", "zh-min-nan:en:x"], ["Ho", "en:x"]),
        (["en:Rick", "and"], ["en:Rick", "and"]),
        (["en:Rick", "de:Rick"], ["en:Rick", "de:Rick"]),
        (["http://a.b", "http://c.d"], ["http://a.b", "http://c.d"]),
    ],
)
def test_a_language_before_every_word_is_taken_off(write, caplog, words, expected):
    with caplog.at_level(logging.INFO):
        corpus = Corpus.read({"en": write("a.bio", [f"{word}\tO" for word in words])})
    assert_sound(corpus)
    assert corpus.word_lists("en") == [expected]
    assert ("which is taken off" in caplog.text) == (words != expected)


@pytest.mark.parametrize("name", ["row", "language", "sentence", "position", "start", "end", "n_subwords", "shared"])
def test_conll_columns_do_not_hide_those_of_the_table(write, name):
    with pytest.raises(UsageError, match=f"the token table has a column '{name}' of its own"):
        Corpus.read({"en": write("a.conll", ["a X O"])}, columns={"word": 0, name: 1})


@pytest.mark.parametrize("name", ["train.txt", "eng.train", "a.tsv"])
def test_words_with_entity_tags_are_known_by_their_content(write, name):
    lines = ["EU NNP I-NP I-ORG", "rejects VBZ I-VP O", "", ". . O O"]
    corpus = Corpus.read({"en": write(name, lines)})
    assert corpus.word_lists("en") == [["EU", "rejects"], ["."]]
    assert corpus.words["ner"].to_list() == ["B-ORG", "O", "O"]  # IOB1 became IOB2


def test_entity_tags_become_iob2_file_by_file(write):
    rows = [{"tokens": ["Ana", "Li", "in", "Bonn"], "ner_tags": ["B-PER", "E-PER", "O", "S-LOC"]}]
    files = {
        "en": write("a.jsonl", map(json.dumps, rows)),
        "de": write("b.jsonl", [json.dumps({"tokens": ["Ana", "da"], "ner_tags": ["PER_B", "O"]})]),
    }
    corpus = Corpus.read(files)
    assert corpus.words["ner"].to_list() == ["B-PER", "I-PER", "O", "B-LOC", "B-PER", "O"]
    numbers = {"tokens": ["a", "b"], "ner_tags": [1, 0]}
    with pytest.raises(InputError, match=r"line 1: the entity tag '1' is a number.*Leave 'ner_tags' out"):
        Corpus.read({"en": write("c.jsonl", [json.dumps(numbers)])})


def test_a_sentence_without_tags_is_not_annotated(write, caplog):
    rows = [{"tokens": ["a"]}, {"tokens": ["b", "c"], "ner_tags": ["B-X", "O"]}, {"tokens": ["d"], "ner_tags": None}]
    corpus = Corpus.read({"en": write("a.jsonl", map(json.dumps, rows))})
    assert corpus.words["ner"].to_list() == [None, "B-X", "O", None]
    assert "2 of 3 sentences have no 'ner_tags' and count as not annotated, first: line 1" in caplog.text
    with pytest.raises(InputError, match="line 1: 'tokens' must be a list"):
        Corpus.read({"en": write("b.jsonl", ['{"text": "a"}', '{"tokens": ["b"]}'])})


def test_jsonl_rows_that_lack_a_language_are_counted_and_named(write, caplog):
    rows = [
        {"id": 1, "en": "a", "de": None, "n": 3},
        {"id": 2, "en": "b", "de": "B", "fr": "β"},
        {"id": 3, "en": None, "de": "C", "fr": "γ"},
        {"id": 4, "en": "d", "de": "D"},
        {"id": 5, "en": "e", "de": "E", "fr": "ε"},
    ]
    path = write("a.jsonl", map(json.dumps, rows))
    corpus = Corpus.read(path)
    assert_sound(corpus)
    assert corpus.languages == ("en", "de", "fr") and corpus.texts("de") == ["B", "E"]
    assert [(d.language, d.line) for d in corpus.dropped] == [("de", 1), ("en", 3), ("fr", 4)]
    message = caplog.records[0].getMessage()
    assert "3 of 5" in message and "1 of en, 1 of de, 2 of fr" in message and f"{path}:1 (de empty)" in message
    rows[1]["note"] = "odd"
    with pytest.raises(InputError, match=r"'note' has a text in only 1 of 5 objects.*\['en', 'de', 'fr'\]"):
        Corpus.read(write("b.jsonl", map(json.dumps, rows)))
    named = Corpus.read(write("c.jsonl", map(json.dumps, rows)), languages=["en", "de"])
    assert named.texts("de") == ["B", "D", "E"]


def test_jsonl_multi_parallel(write):
    rows = [
        {"id": "x1", "en": "A car.", "de": "Ein Auto.", "label": "positive"},
        {"id": "x2", "en": None, "de": "Leer.", "label": None},
        {"id": "x3", "en": "Red.", "de": "Rot.", "label": 1},
    ]
    path = write("a.jsonl", [*map(json.dumps, rows), ""])
    corpus = Corpus.read(path)
    assert_sound(corpus)
    assert corpus.languages == ("en", "de")
    assert corpus.sentences["label"].to_list() == ["positive", "1"] * 2
    assert [(d.reason, d.line) for d in corpus.dropped] == [("empty", 2)]
    assert Corpus.read(path, languages=["de"]).n_sentences == 3
    with pytest.raises(InputError, match=r"line 1: unknown field 'dee'\. Did you mean 'de'"):
        Corpus.read(path, languages=["dee"])


def test_jsonl_tokens_and_tags(write):
    rows = [
        {"text": "Ana isn’t here.", "tokens": ["Ana", "isn’t", "here", "."], "ner_tags": ["B-PER", "O", "O", "O"]},
        {"text": "something else", "tokens": ["Bonn", "!"], "ner_tags": ["B-LOC", "O"]},
    ]
    plain = [json.dumps({"sentence": "Ana ist weg."}), json.dumps({"sentence": "Bonn!"})]
    files = {"en": write("a.en.jsonl", map(json.dumps, rows)), "de": write("a.de.jsonl", plain)}
    english = Corpus.read({"en": files["en"]})
    assert_sound(english)
    assert english.texts("en") == ["Ana isn’t here.", "Bonn !"]
    assert english.words["ner"].to_list() == ["B-PER", "O", "O", "O", "B-LOC", "O"]
    both = Corpus.read(files, text_field="sentence")
    assert_sound(both)
    assert both.words.filter(pl.col("language") == "de")["ner"].to_list() == [None] * 6
    with pytest.raises(InputError, match="line 1: unknown field 'text'"):
        Corpus.read({"de": files["de"]})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "line 2: not JSON"),
        ("", "line 2: not JSON"),
        ('["a"]', "line 2: expected a JSON object"),
        ('{"text": 3}', "line 2: 'text' must be a string"),
        ('{"text": "a\\ud83d"}', "line 2: half of a surrogate pair"),
        ('{"text": "a", "label": "\\uDC00"}', "line 2: half of a surrogate pair.*'label'"),
        ('{"text": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2: lists or objects lie too deep"),
        ('{"text": "a", "x": ' + "9" * 5000 + "}", "line 2: not JSON"),
        ('{"text": "a", "label": NaN}', "line 2: 'label' must be a string, a number, or null; got nan"),
        ('{"text": "a", "label": ["x"]}', "line 2: 'label' must be"),
    ],
)
def test_malformed_jsonl(write, line, message):
    with pytest.raises(InputError, match=message):
        Corpus.read({"en": write("a.jsonl", ['{"text": "ok"}', line, '{"text": "ok"}'])})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "line 2: 2 tokens but 1 ner_tags"),
        ({"tokens": ["a", " "], "ner_tags": ["O", "O"]}, "line 2: an item of 'tokens' is empty"),
        ({"tokens": "a b", "ner_tags": ["O"]}, "line 2: 'tokens' must be a list"),
        ({"tokens": ["a"], "ner_tags": ["B-\ud83d"]}, "line 2: half of a surrogate pair.*'ner_tags'"),
        ({"tokens": ["a\ud83d"], "ner_tags": ["O"]}, "line 2: half of a surrogate pair.*'tokens'"),
        ({"tokens": ["a"], "ner_tags": [None]}, "line 2: 'ner_tags' must be a list of strings"),
        ({"tokens": ["a"], "ner_tags": [True]}, "line 2: 'ner_tags' must be a list of strings"),
    ],
)
def test_malformed_tokens(write, row, message):
    rows = [{"tokens": ["ok"], "ner_tags": ["O"]}, row]
    with pytest.raises(InputError, match=message):
        Corpus.read({"en": write("a.jsonl", map(json.dumps, rows))})


def test_tsv(write):
    path = write("a.tsv", ["id\ten\tde\tlabel", "1\tA car.\tEin Auto.\tgood", "2\tRed.\t\tbad", "3\tOne.\tEins.\t"])
    corpus = Corpus.read(path)
    assert_sound(corpus)
    assert corpus.languages == ("en", "de") and corpus.texts("de") == ["Ein Auto.", "Eins."]
    assert corpus.sentences["sentence"].to_list() == [0, 2] * 2
    assert corpus.sentences["label"].to_list() == ["good", None] * 2
    assert [(d.language, d.line) for d in corpus.dropped] == [("de", 3)]
    assert Corpus.read(path, languages=["de", "en"]).languages == ("de", "en")
    headerless = Corpus.read(write("b.tsv", ["A\tB", "C\tD"]), languages=["en", "de"])
    assert headerless.texts("de") == ["B", "D"]
    with pytest.raises(UsageError, match="unknown language 'dee'"):
        Corpus.read(path, languages=["en", "dee"])
    with pytest.raises(InputError, match="line 3: 1 columns, but 2 expected"):
        Corpus.read(write("c.tsv", ["en\tde", "a\tb", "c"]))


@pytest.mark.parametrize(
    ("ids", "languages"),
    [
        (["rumah itu", "anjing"], ("id", "en")),  # Indonesian
        (["kota", "kota"], ("id", "en")),
        (["dev-1", "dev-2"], ("en",)),
        (["1", "1"], ("en",)),  # two files, one behind the other
        (["rumah", "anjing"], ("en",)),  # nobody can say; the message does
        ([" 1", "2 "], ("en",)),
        (["", "  "], ("en",)),
    ],
)
def test_id_is_indonesian_unless_it_numbers_the_rows(write, caplog, ids, languages):
    rows = [json.dumps({"id": x, "en": "a house", "label": "good"}) for x in ids]
    for path in (write("a.jsonl", rows), write("a.tsv", ["id\ten\tlabel", *(f"{x}\ta house\tgood" for x in ids)])):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            corpus = Corpus.read(path)
        assert corpus.languages == languages and corpus.sentences["label"].to_list()[0] == "good"
        message = f"{path}: 'id' looks like row ids and was left out; for Indonesian give languages=['id', 'en']"
        assert (message in caplog.text) == ("id" not in languages)
        doubtful = [record.levelname for record in caplog.records] == ["WARNING"]
        assert doubtful == (ids[0] == "rumah")
        if ids[0].strip():
            assert Corpus.read(path, languages=["id", "en"]).languages == ("id", "en")


@pytest.mark.parametrize(
    ("first", "cell"),
    [
        ("Go.\tGeh.", "Go."),
        ("Run\tLauf weg", "Lauf weg"),
        ("Run\t你好吗？", "你好吗？"),
        ("He\t„Ja!“", "„Ja!“"),
        ("Go\t" + "x" * 31, "x" * 30 + "..."),
        ("Go.\tGo.", "Go."),
    ],
)
def test_a_table_without_a_header_loses_no_sentence(write, first, cell):
    path = write("a.tsv", [first, "a\tb"])
    with pytest.raises(InputError) as error:
        Corpus.read(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line 1: '{cell}' looks like a sentence")
    assert "name its 2 columns" in message and "languages=['en', 'de']" in message
    named = Corpus.read(path, languages=["en", "de"])
    assert named.n_sentences == 2 and [*named.texts("en")] == [first.split("\t")[0], "a"]


@pytest.mark.parametrize(
    ("header", "warned"),
    [("en\tde", False), ("zho_Hans\teng_Latn", False), ("cpp\tcuda", True), ("Go\tGeh", True), ("id\tcpp", True)],
)
def test_labels_of_a_table_may_be_anything(write, caplog, header, warned):
    corpus = Corpus.read(write("a.tsv", [header, "1\tb"]))
    assert corpus.n_sentences == 1
    assert ("line 1: no natural language is among the columns" in caplog.text) == warned


# -- Hugging Face datasets ----------------------------------------------------------------------


def test_datasets_from_folders(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    label = datasets.ClassLabel(names=["bad", "good"])
    columns = {"sentence_en": ["A car.", "Red."], "sentence_de": ["Ein Auto.", "Rot."], "label": [1, 0]}
    data = datasets.Dataset.from_dict(columns).cast_column("label", label)
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(str(tmp_path / "two"))
    pick = {"en": "sentence_en", "de": "sentence_de"}
    corpus = Corpus.read(tmp_path / "two", split="train", columns=pick)
    assert_sound(corpus)
    assert corpus.texts("de") == ["Ein Auto.", "Rot."]
    assert corpus.sentences["label"].to_list() == ["good", "bad"] * 2
    assert Corpus.read(tmp_path / "two", split="test", columns=pick).texts("en") == ["Red."]
    with pytest.raises(UsageError, match="has the splits train, test"):
        Corpus.read(tmp_path / "two", columns=pick)
    with pytest.raises(UsageError, match=r"unknown split 'tset'.*Did you mean 'test'"):
        Corpus.read(tmp_path / "two", split="tset", columns=pick)
    with pytest.raises(UsageError, match="unknown column 'sentence_d'"):
        Corpus.read(tmp_path / "two", split="test", columns={"de": "sentence_d"})
    with pytest.raises(UsageError, match="Say which hold sentences"):
        Corpus.read(tmp_path / "two", split="test")

    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-LOC"]))
    features = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": tags})
    ner = datasets.Dataset.from_dict({"tokens": [["in", "Bonn"]], "ner_tags": [[0, 1]]}, features=features)
    ner.save_to_disk(str(tmp_path / "ner"))
    corpus = Corpus.read({"de": tmp_path / "ner"}, format="datasets")
    assert corpus.words["ner"].to_list() == ["O", "B-LOC"]

    rows = {"tokens": [["in", "Bonn"], ["in", "Rom"]], "ner_tags": [[0, 1], [-1, -1]]}  # -1: hidden
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "hidden"))
    corpus = Corpus.read({"de": tmp_path / "hidden"})
    assert corpus.words["ner"].to_list() == ["O", "B-LOC", None, None]
    rows = {"tokens": [["in", "Bonn"]], "ner_tags": [[0, 1]]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "numbers"))
    with pytest.raises(InputError, match="line 1: the entity tag '0' is a number"):
        Corpus.read({"de": tmp_path / "numbers"})

    (tmp_path / "raw").mkdir()
    rows = [{"translation": {"en": "One.", "fr": "Un."}}, {"translation": {"en": "Two.", "fr": "Deux."}}]
    (tmp_path / "raw" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus.read(tmp_path / "raw")
    assert corpus.languages == ("en", "fr") and corpus.texts("fr") == ["Un.", "Deux."]

    rows = [{"id": str(i), "translation": {"en": "A car.", "id": x}} for i, x in enumerate(("Mobil", "Merah"))]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "indonesian"))
    corpus = Corpus.read(tmp_path / "indonesian")
    assert corpus.languages == ("en", "id") and corpus.texts("id") == ["Mobil", "Merah"]
    assert Corpus.read(tmp_path / "indonesian", languages=["en"]).languages == ("en",)

    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none' cannot be loaded"):
        Corpus.read(tmp_path / "none")


# -- properties and real data -------------------------------------------------------------------

sentences = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6), st.booleans())
def test_every_sentence_is_kept_or_recorded(pairs, segmented):
    texts = {"en": ["start", *(one for one, _ in pairs)], "x": ["start", *(two for _, two in pairs)]}
    corpus = Corpus.from_texts(texts, segmented=segmented, max_words=5)
    assert_sound(corpus)
    kept = corpus.sentences.filter(pl.col("language") == "x")["sentence"].to_list()
    assert sorted([*kept, *(one.line - 1 for one in corpus.dropped)]) == list(range(len(pairs) + 1))
    for language, given_texts in texts.items():
        assert corpus.texts(language) == [unicodedata.normalize("NFC", given_texts[i]) for i in kept]
        assert all(1 <= len(words) <= 5 for words in corpus.word_lists(language))


@pytest.mark.shared
def test_pud_treebanks_in_ten_languages(caplog):
    if not PUD.exists():
        pytest.skip(f"no PUD treebanks in {PUD}")
    files = {x: PUD / "conllu" / f"{x}_pud-ud-test.conllu.gz" for x in PUD_LANGUAGES}
    corpus = Corpus.read(files)
    assert_sound(corpus)
    assert corpus.languages == PUD_LANGUAGES and corpus.n_sentences == 1000
    assert corpus.dropped == () and not caplog.records  # all texts fit their words
    assert corpus.words["upos"].null_count() == 0
    tags = {part for tag in corpus.words["upos"].unique() for part in tag.split("+")}
    known = "ADJ|ADP|ADV|AUX|CCONJ|DET|INTJ|NOUN|NUM|PART|PRON|PROPN|PUNCT|SCONJ|SYM|VERB|X|_"
    assert {"NOUN", "VERB", "ADP"} < tags
    assert tags <= set(known.split("|"))
    french = corpus.words.filter((pl.col("language") == "fr") & (pl.col("word") == "du"))
    assert (french["upos"] == "ADP+DET").mean() > 0.9
    for language in PUD_LANGUAGES:
        lines = (PUD / "txt" / f"pud.{language}.txt").read_text(encoding="utf-8").splitlines()
        normal = [unicodedata.normalize("NFC", line) for line in lines]
        assert [text.split() for text in corpus.texts(language)] == [line.split() for line in normal]


@pytest.mark.shared
def test_pud_plain_text():
    if not PUD.exists():
        pytest.skip(f"no PUD text in {PUD}")
    languages = [x for x in PUD_LANGUAGES if x != "zh"]
    corpus = Corpus.read({x: PUD / "txt" / f"pud.{x}.txt" for x in languages})
    assert_sound(corpus)
    assert corpus.n_sentences == 1000 and corpus.dropped == ()
