"""The paper's own programs, case by case: the same answers, or a listed reason why not.

The cases are what the programs answered on small synthetic inputs (``shared/oracles``).
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isogloss.concepts import Concepts
from isogloss.corpus import Corpus
from isogloss.dictionary import WordLinks
from isogloss.discovery import discover
from isogloss.errors import InputError, IsoglossError
from isogloss.metrics import calign, colap
from isogloss.peers import read_clusters, read_dictionary
from isogloss.states import LayerStates, select_rows
from isogloss.trees import cut

ORACLES = Path(__file__).resolve().parents[2].parent / "shared" / "oracles"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not ORACLES.is_dir(), reason="the recorded answers are not beside the repository"),
]
REFUSED = "refused"  # their program crashes, or ours raises an IsoglossError

DIFFERENT_BY_DESIGN = {
    "align/err_topn_float": "5.0 is refused by their command line; a number is a number in Python",
    "overlap_unmodified/unmodified_type_error": "their script compares int with str on any input; ours answers",
    "parallel_sentence_length/unequal_files": "files of unequal length are refused, not cut to the shorter",
    "parallel_sentence_length/blank_lines": "a sentence without words is dropped in both languages",
    "frequency_filter/unicode_split": "theirs counts words by another segmentation than it filters; ours by one",
    "parallel_frequency_filter/err_length_mismatch": "links are positions; there is no second copy of the words",
    "parallel_frequency_filter/err_word_mismatch": "links are positions; there is no second copy of the words",
    "parallel_frequency_filter/err_index_out_of_range": "links of a sentence that was dropped are left aside",
    "parallel_frequency_filter/err_pipe_token": "a word may contain |",
    "kmeans_writer/duplicates_empty_clusters/1.9.1": "more concepts than distinct states are refused",
    "kmeans_writer/duplicates_empty_clusters/0.24.2": "more concepts than distinct states are refused",
    "agglomerative/single_k_crashes": "one K is a range of one",
    "agglomerative/two_k_crashes": "two K are no range, and not an error",
}


def cases() -> dict[str, dict]:
    found = {}
    for name in ("align", "overlap", "stages"):
        path = ORACLES / f"{name}.json"
        for case in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []:
            version = f"/{case['sklearn']}" if "sklearn" in case else ""
            found[f"{case['kind']}/{case['id']}{version}"] = case
    return found


CASES = cases()


def lines_file(path: Path, lines: list[str]) -> Path:
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    return path


# -- the two metrics ------------------------------------------------------------------------------


def align(case: dict, folder: Path) -> dict:
    p = case["params"]
    source, source_ids = read_clusters(lines_file(folder / "s.txt", case["clusters_src"]), language="en")
    target, target_ids = read_clusters(lines_file(folder / "t.txt", case["clusters_tgt"]), language="de")
    dictionary = read_dictionary(lines_file(folder / "d.txt", case["dictionary"]), source="en", target="de")
    theta = float(p["match_threshold"])
    found = calign(
        source,
        target,
        dictionary.top(max(1, int(float(p["top_n"])))),
        theta_align=theta,
        min_types=float(p["min_types"]),
        min_size_ratio=float(p["size_threshold"]),
        rule="paper-code",
        n_permutations=0,
    )
    stats = [
        {
            "source": source_ids[row["source_concept"]],
            "target": target_ids[row["target_concept"]],
            "source_types": row["source_types"],
            "target_types": row["target_types"],
            "matched_source_types": row["n_matched"],
        }
        for row in found.aligned().iter_rows(named=True)
    ]
    stats.sort(key=lambda s: (s["source"], s["target"]))
    aligned = {s["source"] for s in stats}
    figure = found.at(theta)
    assert figure.n == source.n_concepts
    assert figure.n == 0 or figure.score == len(aligned) / figure.n
    return {
        "status": "ok",
        "n_source_clusters": source.n_concepts,
        "aligned_pairs": [[s["source"], s["target"]] for s in stats],
        "aligned_source_clusters": sorted(aligned),
        "stats": stats,
    }


def overlap(case: dict, folder: Path) -> dict:
    p = case["params"]
    concepts, ids = read_clusters(
        lines_file(folder / "c.txt", case["clusters"]), languages=("low", "high"), boundary=p["sentences_threshold"]
    )
    theta = float(Decimal(str(p["clusters_threshold"])) / 100)
    found = colap(concepts, theta_overlap=theta, languages=("low", "high"), rule="paper-code")
    figure = found.at(theta)
    passed = np.flatnonzero(found.overlapping(theta))
    assert figure.n == 0 or figure.score == len(passed) / figure.n
    return {"status": "ok", "overlapping": [f"c{ids[i]}" for i in passed]}


# -- the stages before ----------------------------------------------------------------------------


def parallel_sentence_length(case: dict, folder: Path) -> dict:
    files = {"en": folder / "encoder.txt", "de": folder / "decoder.txt"}
    for path, side in zip(files.values(), ("encoder", "decoder"), strict=True):
        path.write_bytes(case[side].encode())
    corpus = Corpus.read(files, format="text", max_words=case["params"]["length"] - 1)
    return {side: sorted(corpus.texts(language)) for language, side in (("en", "encoder"), ("de", "decoder"))}


def token_table(sentences: dict[str, list[list[str]]]) -> pl.DataFrame:
    rows = [
        (language, i, j, word, 1)
        for language, lists in sentences.items()
        for i, words in enumerate(lists)
        for j, word in enumerate(words)
    ]
    schema = {
        "language": pl.String,
        "sentence": pl.Int32,
        "position": pl.Int16,
        "word": pl.String,
        "n_subwords": pl.Int16,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row").cast({"row": pl.Int64})


def bounds(p: dict) -> dict[str, int]:
    return {"min_count": max(1, p["min"]), "max_count": p["max"], "drop_above": p["delete"]}


def frequency_filter(case: dict, folder: Path) -> list[int]:
    sentences: dict[int, list[str]] = {}
    for key in case["dataset_keys"]:
        word, _, sentence, _ = key.rsplit("|||", 3)
        sentences.setdefault(int(sentence), []).append(word)
    return select_rows(token_table({"en": list(sentences.values())}), **bounds(case["params"])).tolist()


def parallel_frequency_filter(case: dict, folder: Path) -> dict[str, list[tuple[int, int]]]:
    texts = {"src": case["src_sentences"], "tgt": case["tgt_sentences"]}
    corpus = Corpus.from_texts(texts, segmented=True)
    pairs: dict[int, set[tuple[int, int]]] = {i: set() for i in range(len(case["src_sentences"]))}
    for sentence, links in case["mapping"].items():
        found = {(i, j) for _, _, left, right in links for i in left for j in right}
        pairs.setdefault(int(sentence), set()).update(found)
    links = WordLinks.from_pairs(pairs, corpus, source="src", target="tgt")
    tokens = corpus.words.with_columns(pl.lit(1, pl.Int16).alias("n_subwords"))
    kept = tokens[select_rows(tokens, links=links, **bounds(case["params"]))]
    return {
        side: kept.filter(pl.col("language") == side).select("sentence", "position").rows() for side in ("src", "tgt")
    }


def states_of(points: list, vocabulary: list[str]) -> LayerStates:
    words = [[key.split("|||")[0] for key in vocabulary]]
    return LayerStates(np.array(points, np.float64), token_table({"en": words}), "model", "encoder", 0)


def groups(concepts: Concepts, vocabulary: list[str]) -> list[list[str]]:
    """Members of every concept, which are numbered by their first token."""
    rows = [np.flatnonzero(concepts.labels == c) for c in range(concepts.n_concepts)]
    return [[vocabulary[i] for i in found] for found in rows]


def kmeans_writer(case: dict, folder: Path) -> list[list[str]]:
    p, points = case["params"], case["points"]
    count = p["count"]  # a share of the points; -1 leaves out the last
    n = int(count * len(points)) if isinstance(count, float) else count
    vocabulary = case["vocab"][:n]
    concepts = discover(states_of(points[:n], vocabulary), n_concepts=p["k"], method="kmeans", seed=212)
    return sorted(groups(concepts, vocabulary))


def agglomerative(case: dict, folder: Path) -> dict[str, list[list[str]]]:
    given = [int(k) for k in case["params"]["cluster"].split(",")]
    wanted = range(given[0], given[1] + 1, given[2]) if len(given) == 3 else given
    states = states_of(case["points"], case["vocab"])
    tree = discover(states, n_concepts=wanted[0], method="ward").tree
    found = {}
    for k in wanted:
        concepts = discover(states, n_concepts=k, method="ward")
        assert groups(concepts, case["vocab"]) == sorted(
            groups(Concepts(concepts.tokens, cut(tree, n_clusters=k), k), case["vocab"]),
            key=lambda members: case["vocab"].index(members[0]),
        )
        found[f"clusters-{k}.txt"] = groups(concepts, case["vocab"])
    return found


OURS = {
    "align": align,
    "overlap": overlap,
    "overlap_unmodified": overlap,
    "parallel_sentence_length": parallel_sentence_length,
    "frequency_filter": frequency_filter,
    "parallel_frequency_filter": parallel_frequency_filter,
    "kmeans_writer": kmeans_writer,
    "agglomerative": agglomerative,
}


def ours(case: dict, folder: Path) -> object:
    try:
        return OURS[case["kind"]](case, folder)
    except IsoglossError:
        return REFUSED


def theirs(case: dict) -> object:
    """What their program gave, in the form of ours: kept tokens are compared as sets, partitions without ids."""
    expected = case["expected"]
    if expected["status"] != "ok":
        return REFUSED
    match case["kind"]:
        case "parallel_sentence_length":
            return {side: sorted(expected[side].splitlines()) for side in ("encoder", "decoder")}
        case "frequency_filter":
            return [int(activation[0]) for _, activation in expected["kept"]]
        case "parallel_frequency_filter":
            return {
                side: sorted({tuple(int(x) for x in key.rsplit("|||", 2)[1:]) for key, _ in expected[side]})
                for side in ("src", "tgt")
            }
        case "kmeans_writer":
            return sorted(expected["partition"])
        case "agglomerative":
            return {
                name: sorted(one["partition"], key=lambda members: case["vocab"].index(members[0]))
                for name, one in expected["files"].items()
            }
    return expected


@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENT_BY_DESIGN])
def test_the_same_answer(name, tmp_path):
    assert ours(CASES[name], tmp_path) == theirs(CASES[name])


@pytest.mark.parametrize("name", DIFFERENT_BY_DESIGN)
def test_the_listed_differences_are_real(name, tmp_path):
    assert ours(CASES[name], tmp_path) != theirs(CASES[name])


def test_every_case_is_compared():
    assert {case["kind"] for case in CASES.values()} == set(OURS)
    assert set(DIFFERENT_BY_DESIGN) <= set(CASES)
    assert len(CASES) == sum(len(json.loads(path.read_text())) for path in ORACLES.glob("*.json"))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("align/err_blank_line_in_clusters", "s.txt, line 3:"),
        ("align/err_arrow_in_target", "d.txt, line "),
        ("align/err_arrow_source", "d.txt, line "),
        ("align/err_float_count", "d.txt, line 1:"),
        ("align/err_carriage_return_in_word", "s.txt, line 1:"),
        ("overlap/err_missing_field", "c.txt, line 1:"),
    ],
)
def test_where_their_programs_crash_the_line_is_named(name, place, tmp_path):
    with pytest.raises(InputError, match=place):
        OURS[CASES[name]["kind"]](CASES[name], tmp_path)


def test_what_their_crashes_hide(tmp_path):
    assert align(CASES["align/err_topn_float"], tmp_path)["aligned_pairs"] == [[0, 0]]
    unrepaired = CASES["overlap_unmodified/unmodified_type_error"]
    assert overlap(unrepaired, tmp_path)["overlapping"] == ["c0"]
    pipe = CASES["parallel_frequency_filter/err_pipe_token"]
    assert parallel_frequency_filter(pipe, tmp_path) == {"src": [(0, 1)], "tgt": [(0, 1)]}
    for name in ("agglomerative/single_k_crashes", "agglomerative/two_k_crashes"):
        found = agglomerative(CASES[name], tmp_path)
        assert [len(one) for one in found.values()] == [int(k) for k in CASES[name]["params"]["cluster"].split(",")]
