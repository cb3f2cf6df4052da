from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from isogloss.concepts import Concepts
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
    concepts = Concepts(TOKENS[some], LABELS[some], 2, model="m", layer=3, seed=4)
    concepts.write(tmp_path / "en.parquet")
    back = Concepts.read(tmp_path / "en.parquet", TOKENS, n_concepts=2, model="m", layer=3, seed=4)
    assert back.tokens.equals(concepts.tokens)
    assert (back.labels == concepts.labels).all()
    assert (back.n_concepts, back.model, back.layer, back.seed) == (2, "m", 3, 4)


def test_a_file_of_another_study_is_refused(tmp_path):
    path = tmp_path / "de.parquet"
    Concepts(TOKENS, LABELS, 2).write(path)
    with pytest.raises(InputError, match=r"de\.parquet.*outside the token table of 3 rows"):
        Concepts.read(path, TOKENS[:3], n_concepts=2)
    with pytest.raises(InputError, match=r"must lie in -1 \.\. 0"):
        Concepts.read(path, TOKENS, n_concepts=1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 1], "2 labels for 7 tokens"), ([0] * 6 + [2], r"-1 \.\. 1"), ([0] * 6 + [-2], r"-1 \.\. 1")],
)
def test_labels_must_fit(labels, message):
    with pytest.raises(InputError, match=message):
        Concepts(TOKENS, np.array(labels, np.int32), 2)
