"""Entity tags: every scheme that is known becomes IOB2 with the same entities, and the rest is refused."""

from __future__ import annotations

import numpy as np
import pytest

from isogloss.corpus.tags import to_iob2
from isogloss.errors import InputError
from isogloss.metrics.task_scores import entities, score_entities

Span = tuple[str, int, int]


def convert(*sentences: list[str] | None) -> list[list[str] | None]:
    return to_iob2(sentences, lambda i, k: f"f.conll, line {10 * i + k + 1}", advice="Way out.")


def random_spans(generator: np.random.Generator, n: int) -> list[Span]:
    found, end = [], 0
    while end < n:
        begin = end + int(generator.integers(0, 2))
        end = min(n, begin + int(generator.integers(1, 4)))
        if begin < end:
            found.append((str(generator.choice(["PER", "LOC", "geo-loc"])), begin, end))
    return found


def written(spans: list[Span], n: int, scheme: str) -> list[str]:
    """Return the tags of entities in a scheme, from its definition."""
    tags = ["O"] * n
    for i, (kind, begin, end) in enumerate(spans):
        before = i and spans[i - 1][0] == kind and spans[i - 1][2] == begin
        after = i + 1 < len(spans) and spans[i + 1][0] == kind and spans[i + 1][1] == end
        marks = ["I"] * (end - begin)
        if scheme == "IOB2" or (scheme == "IOB1" and before):
            marks[0] = "B"
        if scheme == "IOE2" or (scheme == "IOE1" and after):
            marks[-1] = "E"
        if scheme in ("BIOES", "BILOU", "BMES", "BMEWO"):
            inside, last, single = {"BIOES": "IES", "BILOU": "ILU", "BMES": "MES", "BMEWO": "MEW"}[scheme]
            marks = [single] if end - begin == 1 else ["B", *[inside] * (end - begin - 2), last]
        tags[begin:end] = [f"{mark}-{kind}" for mark in marks]
    return tags


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "IOE1", "IOE2", "BIOES", "BILOU", "BMES", "BMEWO"])
def test_every_scheme_keeps_every_entity(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 12, 200)
    spans = [random_spans(generator, n) for n in sizes]
    tags = [written(own, n, scheme) for own, n in zip(spans, sizes, strict=True)]
    iob2 = convert(*tags)
    assert iob2 == [written(own, n, "IOB2") for own, n in zip(spans, sizes, strict=True)]
    assert [entities(own or []) for own in iob2] == spans
    assert not caplog.records


# not IOE1: of that, seqeval's class loses entities of one word whose tag is E
@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "IOE2", "BIOES", "BILOU"])
def test_entities_are_those_of_seqeval_by_its_definition_of_each_scheme(scheme: str) -> None:
    schemes = pytest.importorskip("seqeval.scheme")
    reference = getattr(schemes, {"BIOES": "IOBES"}.get(scheme, scheme))
    generator = np.random.default_rng(4)
    sizes = generator.integers(1, 12, 200)
    tags = [written(random_spans(generator, n), n, scheme) for n in sizes]
    theirs = [[(x.tag, x.start, x.end) for x in own] for own in schemes.Entities(tags, reference).entities]
    assert [entities(own or []) for own in convert(*tags)] == theirs
    assert sum(map(len, theirs)) > 200


def test_broken_sequences_are_read_as_seqeval_reads_them(caplog: pytest.LogCaptureFixture) -> None:
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    generator = np.random.default_rng(5)
    for names in (["B-P", "I-P", "B-L", "I-L"], ["B-P", "I-P", "E-P", "S-P", "B-L", "I-L", "E-L", "S-L"]):
        tags = [generator.choice(["O", *names], n).tolist() for n in generator.integers(1, 12, 300)]
        caplog.clear()
        iob2 = convert(*tags)
        for own, given in zip(iob2, tags, strict=True):
            assert entities(own or []) == [(kind, i, j + 1) for kind, i, j in seqeval.get_entities(given)]
        (record,) = caplog.records
        assert "not tagged as their scheme wants" in record.getMessage()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["B_PER", "I_PER", "O"], ["B-PER", "I-PER", "O"]),
        (["PER-B", "PER-I", "O", "LOC-B"], ["B-PER", "I-PER", "O", "B-LOC"]),
        (["PER_B", "PER_E", "O", "LOC_S"], ["B-PER", "I-PER", "O", "B-LOC"]),
        (["b-per", "i-per", "o"], ["B-per", "I-per", "O"]),
        (["B", "I", "O", "B"], ["B-ENT", "I-ENT", "O", "B-ENT"]),
        (["PER", "PER", "O", "LOC"], ["B-PER", "I-PER", "O", "B-LOC"]),
        (["B-geo-loc", "I-geo-loc", "O"], ["B-geo-loc", "I-geo-loc", "O"]),
        (["O", "O"], ["O", "O"]),
    ],
)
def test_forms(tags: list[str], expected: list[str]) -> None:
    assert convert(tags) == [expected]


def test_types_without_marks_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    convert(["PER", "O"])
    assert "f.conll: the tags have no marks of a beginning" in caplog.text


def test_a_sentence_that_is_not_annotated_stays_so() -> None:
    assert convert(None, ["U-PER"]) == [None, ["B-PER"]]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["O", "1", "2"], r"line 2: the entity tag '1' is a number.*Way out"),
        (["B-PER", "O", "LOC"], r"line 3: the entity tag 'LOC' beside 'B-PER' \(f.conll, line 1\) is in no"),
        (["B-PER", "E-PER", "L-LOC"], r"line 3: the marks B, E, L .* up to 'L-LOC' belong to no one scheme"),
        (["Q-PER", "O"], r"line 1: the marks Q"),
        (["NOUN", "VERB"], r"line 1: the entity tag 'NOUN' has no mark, and no word of the file is O"),
        (["N", "O", "V"], r"line 1: the marks N"),  # parts of speech of tweets: O is a pronoun
        (["B-PER|B-LOC", "O", "B-PER"], r"line 1: the entity tag 'B-PER\|B-LOC' beside 'B-PER'"),
        (["(PER*", "*)", "*"], r"line 1: the entity tag"),
        (["B-", "O", "B-PER"], r"line 1: the entity tag 'B-'"),
        (["", "O"], r"line 1: the entity tag ''"),
        (["B-PER\u00a0X", "O"], r"line 1: the entity tag"),
    ],
)
def test_what_is_in_no_scheme_is_refused_with_its_place(tags: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(tags)


def test_gold_against_gold_cannot_hide_entities() -> None:
    tags = ["B-PER", "E-PER", "O", "S-LOC"]
    with pytest.raises(InputError, match="'E-PER' is not IOB2"):
        score_entities([tags], [tags], n_bootstrap=0)
    with pytest.raises(InputError, match=r"'B' is not IOB2: O, B-PER and I-PER.*to_iob2"):
        score_entities([["B", "I"]], [["O", "O"]], n_bootstrap=0)
    (iob2,) = convert(tags)
    assert iob2 is not None
    assert len(entities(iob2)) == 2 and score_entities([iob2], [iob2], n_bootstrap=0)[0].score == 1
    assert score_entities([iob2], [["B-PER", "I-PER", "O", "O"]], n_bootstrap=0)[0].score == pytest.approx(2 / 3)


@pytest.mark.parametrize("tags", [["B.PER", "I.PER", "O"], ["B/PER", "O"], ["PER.B", "O"]])
def test_marks_behind_another_sign_are_no_types(tags):
    with pytest.raises(InputError, match=r"f\.conll, line 1: .*no scheme that is known"):
        to_iob2([tags], lambda i, k: f"f.conll, line {10 * i + k + 1}", advice="Way out.")
