"""Names of pairs and spaces: whatever labels hold, no two are alike, and each is the name of one file."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isogloss.coordinates import Clustering, Pair, Space
from isogloss.corpus import Corpus
from isogloss.errors import UsageError
from isogloss.explore import Views
from isogloss.starter import load_corpus, model_folder
from isogloss.store import StudyLayout
from isogloss.study import open_study, run_study

# few letters, so that names come close to each other
LABELS = st.text("ab-+%/\\. 2BDé语", min_size=1, max_size=5) | st.text(string.printable, min_size=1, max_size=5)
SPACES = st.lists(LABELS, min_size=1, max_size=4, unique=True).map(lambda labels: Space(tuple(labels)))
PAIRS = st.builds(Pair, LABELS, LABELS)


@given(SPACES)
def test_a_space_is_read_back_from_its_name(space):
    assert Space.named(space.name) == space


@given(SPACES, SPACES)
def test_two_spaces_have_two_names(first, second):
    assert (first.name == second.name) == (first == second)


@given(PAIRS, PAIRS)
def test_two_pairs_have_two_names(first, second):
    assert (first.name == second.name) == (first == second)


@given(PAIRS)
def test_names_are_names_of_files(pair):
    layout, clustering = StudyLayout(Path("study")), Clustering("m", "encoder", 0, "ward", 2, 0)
    assert layout.dictionary(pair).parent == layout.root / "dictionary"
    for space in (pair.space, *pair.sides):
        assert layout.concepts(clustering, space).parent == layout.concepts(clustering, Space.of("x")).parent


def test_long_labels_have_files_with_short_names():
    layout = StudyLayout(Path("study"))
    paths = {layout.dictionary(Pair("-" * n, "x" * 200)) for n in (199, 200)}
    assert len(paths) == 2
    assert all(len(path.name) < 100 for path in paths)


@pytest.mark.parametrize("label", ["", " en", "en ", "e\tn", "e\nn", "e\0n"])
def test_labels_that_cannot_be_seen_are_refused(label):
    with pytest.raises(UsageError, match=r"cannot be the label of a language.*e\.g\. en"):
        Corpus.from_texts({label: ["a word"], "de": ["ein Wort"]})


def test_plain_labels_are_written_as_they_are():
    assert Pair("en", "zh+yue").name == "en-zh+yue"
    assert Space.of("en", "zh-yue", "Old English").name == "en+zh-yue+Old English"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose labels hold what separates labels, and what names of files cannot hold."""
    folder = tmp_path_factory.mktemp("labels")
    corpus = load_corpus(["en", "de", "fr", "es", "ar"])
    files = {}
    for label, language in zip(("a", "b-c", "a-b", "c", "d+e/50% f"), corpus.languages, strict=True):
        files[label] = f"{language}.txt"
        (folder / files[label]).write_text("\n".join(corpus.texts(language)[:40]) + "\n", encoding="utf-8")
    study = {
        "name": "labels",
        "corpus": {"files": files},
        "models": [{"name": "starter", "path": str(model_folder()), "layers": [4]}],
        "pairs": [["a", "b-c"], ["a-b", "c"], ["a", "d+e/50% f"]],
        "discovery": {"n_concepts": 20},
        "metrics": {"min_types": 2, "n_permutations": 3, "n_bootstrap": 0},
        "companions": {"measures": ["retrieval"]},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    run_study(folder / "study.yaml", out=folder / "out", workers=1)
    return folder / "out"


def test_every_pair_and_space_of_a_study_has_files_of_its_own(folder):
    names = {"a-b%2Dc", "a%2Db-c", "a-d+e%2F50%25 f"}
    at = "starter/encoder/ward-k20-s0/layer_04"
    links = {path.stem for path in (folder / "links/diagonal").iterdir()}
    assert links == names
    assert {path.stem for path in (folder / "metrics" / at).iterdir()} == {*names, "spaces"}
    assert {path.stem for path in (folder / "companions/starter/encoder/layer_04").iterdir()} == names
    back = {"b%2Dc-a", "c-a%2Db", "d+e%2F50%25 f-a"}
    assert {path.stem for path in (folder / "dictionary").iterdir()} == names | back
    single = {"a", "b-c", "a-b", "c", "d%2Be%2F50%25 f"}
    joint = {"a+b-c", "a-b+c", "a+d%2Be%2F50%25 f", "a+b-c+a-b+c+d%2Be%2F50%25 f"}
    assert {path.stem for path in (folder / "concepts" / at).iterdir()} == single | joint


def test_tables_name_languages_as_the_text_does(folder):
    study = open_study(folder)
    assert study.pairs == [Pair("a", "b-c"), Pair("a-b", "c"), Pair("a", "d+e/50% f")]
    measured = study.results.only(metric="calign").select("source", "target").iter_rows()
    assert {Pair(*row) for row in measured} == {direction for pair in study.pairs for direction in pair.directions}
    for pair in study.pairs:
        assert study.dictionary(pair).source == pair.source
        concepts = study.concepts(study.clusterings[0], pair.space)
        assert set(concepts.languages) == set(pair.languages)
    assert {Space.named(name) for name in study.labels["labels"]["space"]} == set(study.spaces[:-1])


def test_the_explorer_finds_what_is_of_such_a_label(folder):
    views, label = Views(open_study(folder)), "d+e/50% f"
    at = {"place": 0, "layer": 4, "k": 20}
    overview = views.overview()
    assert overview["names"][label] in overview["spaces"]
    assert views.aligned(**at, source="a", target=label)["n_eligible"] > 0
    assert views.score(**at, source="a", target=label)
    alone = Space.of(label).name
    assert views.map(**at, space=alone, towards="a")["languages"] == (label,)
    counterparts = views.concept(**at, space=alone, concept=0)["counterparts"]
    assert {entry["space"] for entry in counterparts} <= {"a"}
