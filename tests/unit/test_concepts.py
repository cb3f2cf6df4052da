from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from isogloss.concepts import Concepts
from isogloss.coordinates import Clustering
from isogloss.errors import InputError, UsageError

TOKENS = pl.DataFrame(
    {
        "row": np.arange(7, dtype=np.int64),
        "language": ["de", "de", "de", "de", "en", "en", "en"],
        "sentence": np.array([0, 0, 1, 1, 0, 0, 1], np.int32),
        "position": np.array([0, 1, 0, 1, 0, 1, 0], np.int16),
        "word": ["Hund", "Hund", "der", "Ast", "dog", "in", "in"],
    }
)
LABELS = np.array([0, 0, 1, 0, 0, -1, 1], np.int32)
CLUSTERING = Clustering("m", "encoder", layer=3, method="ward", n_concepts=2, seed=4)


def test_types_count_words_by_concept_and_language_most_frequent_first():
    found = Concepts(TOKENS, LABELS, 2).types()
    assert found.rows() == [
        (0, "de", "Hund", 2),
        (0, "de", "Ast", 1),
        (0, "en", "dog", 1),
        (1, "de", "der", 1),
        (1, "en", "in", 1),
    ]


def test_tokens_without_a_concept_are_in_no_concept():
    concepts = Concepts(TOKENS, LABELS, 2)
    assert concepts.table().height == 6
    assert concepts.members(1)["row"].to_list() == [2, 6]
    with pytest.raises(UsageError, match=r"concept '2'.*0 \.\. 1"):
        concepts.members(2)


def test_the_space_is_named_in_token_order():
    assert Concepts(TOKENS, LABELS, 2).space == "de+en"
    assert Concepts(TOKENS[:3], LABELS[:3], 2).space == "de"


def test_what_is_written_is_read_and_belongs_to_the_same_tokens(tmp_path):
    some = np.array([0, 2, 3, 6])
    concepts = Concepts(TOKENS[some], LABELS[some], **CLUSTERING.facts())
    concepts.write(tmp_path / "en.parquet")
    back = Concepts.read(tmp_path / "en.parquet", TOKENS, CLUSTERING)
    assert back.tokens.equals(concepts.tokens)
    assert (back.labels == concepts.labels).all()
    assert {name: getattr(back, name) for name in CLUSTERING.facts()} == CLUSTERING.facts()


def test_a_file_of_another_study_is_refused(tmp_path):
    path = tmp_path / "de.parquet"
    Concepts(TOKENS, LABELS, 2).write(path)
    with pytest.raises(InputError, match=r"de\.parquet.*outside the token table of 3 rows"):
        Concepts.read(path, TOKENS[:3], CLUSTERING)
    with pytest.raises(InputError, match=r"must lie in -1 \.\. 0"):
        Concepts.read(path, TOKENS, replace(CLUSTERING, n_concepts=1))


TREE = np.array([[0, 1, 0.0, 2], [5, 6, 1.0, 2], [2, 3, 2.0, 2], [7, 4, 3.0, 3], [9, 8, 4.0, 5], [10, 11, 5.0, 7]])


def grown() -> Concepts:
    """Seven leaves; the first two are copies."""
    return Concepts(TOKENS, np.zeros(7, np.int32), 1, tree=TREE, method="ward", layer=3)


def test_a_tree_is_cut_by_number_and_by_height():
    two, four = grown().cut(n_concepts=2), grown().cut(n_concepts=4)
    assert (two.n_concepts, two.labels.tolist()) == (2, [0, 0, 1, 1, 0, 1, 1])
    assert four.labels.tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert grown().cut(height=2.0).labels.tolist() == four.labels.tolist()
    assert (four.tree is TREE, four.method, four.layer) == (True, "ward", 3)


def test_equal_states_are_never_parted():
    assert grown().cut(n_concepts=6).labels.tolist() == [0, 0, 1, 2, 3, 4, 5]
    with pytest.raises(UsageError, match=r"n_concepts = 7 .* 7 states \(6 distinct\) of de\+en.* 1 to 6"):
        grown().cut(n_concepts=7)


def test_centroids_of_unions_are_means_and_of_parts_unknown():
    four = replace(grown().cut(n_concepts=4), centroids=np.arange(4, dtype=np.float32)[:, None])
    two = four.cut(n_concepts=2)
    np.testing.assert_allclose(two.centroids[:, 0], [2 / 3, 2.0], rtol=1e-6)
    assert two.cut(n_concepts=4).centroids is None


def test_a_tree_is_written_and_read(tmp_path):
    some = grown()
    some.write_tree(tmp_path / "tree.parquet")
    back = Concepts.read_tree(tmp_path / "tree.parquet", TOKENS, CLUSTERING)
    assert (back.tree == TREE).all()
    assert (back.n_concepts, back.model, back.method, back.layer, back.seed) == (1, "m", "ward", 3, 4)
    assert back.tokens.equals(TOKENS)
    assert (back.cut(n_concepts=4).labels == some.cut(n_concepts=4).labels).all()
    with pytest.raises(InputError, match=r"outside the token table of 3 rows"):
        Concepts.read_tree(tmp_path / "tree.parquet", TOKENS[:3])


def test_leaves_of_an_exported_tree_are_concepts_by_name(tmp_path):
    concepts = grown().cut(n_concepts=3)
    assert concepts.names(n_words=2) == ["0 Hund, dog", "1 Ast, der", "2 in"]
    concepts.export_tree(tmp_path / "tree.nwk", n_words=1)
    text = (tmp_path / "tree.nwk").read_text(encoding="utf-8")
    assert all(f"'{name}'" in text for name in concepts.names(n_words=1))
    with pytest.raises(UsageError, match=r"'\.xml'.*\.nwk"):
        concepts.export_tree(tmp_path / "tree.xml")


def test_concepts_without_a_tree_cannot_be_cut(tmp_path):
    with pytest.raises(UsageError, match="no tree"):
        Concepts(TOKENS, LABELS, 2).cut(n_concepts=1)
    with pytest.raises(UsageError, match="kmeans have no tree"):
        Concepts(TOKENS, LABELS, 2, method="kmeans").export_tree(tmp_path / "tree.nwk")


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 1], "2 labels for 7 tokens"), ([0] * 6 + [2], r"-1 \.\. 1"), ([0] * 6 + [-2], r"-1 \.\. 1")],
)
def test_labels_must_fit(labels, message):
    with pytest.raises(InputError, match=message):
        Concepts(TOKENS, np.array(labels, np.int32), 2)
