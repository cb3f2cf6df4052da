"""Merge trees: cuts as scipy makes them, and what viewers get."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage, to_tree
from sklearn.metrics import adjusted_rand_score

from isogloss.errors import UsageError
from isogloss.trees import cut, nested, newick, top

TREE = linkage(np.random.default_rng(0).normal(size=(60, 4)), "ward")


@pytest.mark.parametrize("k", [1, 2, 7, 59, 60])
def test_a_cut_by_number_is_scipys(k):
    labels = cut(TREE, n_clusters=k)
    assert adjusted_rand_score(labels, fcluster(TREE, k, "maxclust")) == 1.0
    assert labels.dtype == np.int32
    assert np.unique(labels, return_index=True)[1].tolist() == sorted(np.unique(labels, return_index=True)[1])
    assert len(np.unique(labels)) == k


@pytest.mark.parametrize("height", [-1.0, 0.0, *TREE[[0, 20, 57], 2], 2.5, 1e9])
def test_a_cut_by_height_is_scipys(height):
    assert adjusted_rand_score(cut(TREE, height=height), fcluster(TREE, height, "distance")) == 1.0


def test_ties_still_give_the_number_asked_for():
    tied = linkage(np.arange(16.0)[:, None], "single")
    assert [len(np.unique(cut(tied, n_clusters=k))) for k in range(1, 17)] == list(range(1, 17))


def test_a_cut_that_cannot_be_is_refused():
    for k in (0, -1, 61):
        with pytest.raises(UsageError, match=rf"60 leaves cannot be cut into {k}"):
            cut(TREE, n_clusters=k)
    for both in ({}, {"n_clusters": 2, "height": 1.0}):
        with pytest.raises(UsageError, match="one of them"):
            cut(TREE, **both)


def test_the_top_of_a_tree_is_a_tree_of_clusters():
    above, labels = top(TREE, 9)
    assert above.shape == (8, 4)
    for k in (1, 4, 9):
        assert adjusted_rand_score(cut(above, n_clusters=k)[labels], cut(TREE, n_clusters=k)) == 1.0
    assert above[-1, 3] == 60
    assert (top(TREE, 60)[0] == TREE).all()


def test_newick_keeps_names_joins_and_lengths():
    assert newick(linkage(np.array([[0.0], [1.0], [5.0]]), "ward"), ["Hund", "it's a dog", "猫"]) == (
        "(猫:5.19615,(Hund:1,'it''s a dog':1):4.19615);"
    )
    text = newick(TREE, [f"n{i}" for i in range(60)])
    assert sorted(re.findall(r"n\d+", text)) == sorted(f"n{i}" for i in range(60))
    assert text.count("(") == text.count(")") == 59


def test_nested_json_is_scipys_tree():
    def check(found: dict, node) -> None:
        if node.is_leaf():
            assert found == {"name": str(node.id)}
            return
        assert (found["size"], found["height"]) == (node.count, pytest.approx(node.dist))
        for child, expected in zip(found["children"], (node.left, node.right), strict=True):
            check(child, expected)

    check(json.loads(nested(TREE, [str(i) for i in range(60)])), to_tree(TREE))


def test_names_must_fit():
    for write in (newick, nested):
        with pytest.raises(UsageError, match="2 names for a tree of 60 leaves"):
            write(TREE, ["a", "b"])
