"""Can sentiment and entities be learnt from the English part of the starter corpus, and does it transfer?

Linear probes on the frozen states of one or more models, one layer at a time: logistic regression on the mean
of a sentence's word states (sentiment) and on the state of each word (entity tags).  Five folds over the topics:
trained on English sentences of four folds, tested on the sentences of the fifth in every language, so that the
probe has seen no test sentence in any language.  (The built-in model itself was pre-trained on all of them, without
labels.)  Prints a table, and the score of always guessing the commonest label.

    python benchmarks/starter_probes.py NAME=FOLDER [NAME=FOLDER ...] [--out probes.csv]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import isogloss as ig
from isogloss.starter import load_corpus

FOLDS = GroupKFold(5)


def probe(strength: float):
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def spans(tags: list[str], sentences: np.ndarray) -> set[tuple[int, int, str]]:
    """Return (first word, last word, kind) of every entity; a stray I- begins one."""
    found, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        inside = start is not None and i < len(tags) and sentences[i] == sentences[start]
        if start is not None and not (inside and tag == f"I-{tags[start][2:]}"):
            found.add((start, i - 1, tags[start][2:]))
            start = None
        if tag != "O" and start is None:
            start = i
    return found


def entity_f1(true: list[str], guessed: list[str], sentences: np.ndarray) -> float:
    """Strict: borders and kind must agree."""
    a, b = spans(true, sentences), spans(guessed, sentences)
    return 2 * len(a & b) / max(len(a) + len(b), 1)


def judge(states: ig.States, corpus: ig.Corpus, layer: int) -> list[tuple[str, str, float, float]]:
    """Return (task, language, score, score of the commonest label) of one layer."""
    taken = states.at(layer)
    x = np.asarray(taken.X, dtype=np.float32)
    tokens = taken.tokens.select("row").join(corpus.words, on="row", maintain_order="left")
    language, sentence = tokens["language"].to_numpy(), tokens["sentence"].to_numpy()
    tags = tokens["ner"].to_numpy()
    english = corpus.sentences.filter(pl.col("language") == "en").sort("sentence")
    labels, topics = english["label"].to_numpy(), english["topic"].to_numpy()
    pooled = {}
    for name in corpus.languages:
        rows = language == name
        sums = np.zeros((len(labels), x.shape[1]))
        np.add.at(sums, sentence[rows], x[rows])
        pooled[name] = sums / np.bincount(sentence[rows], minlength=len(labels))[:, None]
    guesses = {name: np.empty(len(labels), dtype=object) for name in corpus.languages}
    tagged = np.empty(len(tags), dtype=object)
    for train, test in FOLDS.split(labels, groups=topics):
        classifier = probe(0.01).fit(pooled["en"][train], labels[train])
        learnt = (language == "en") & np.isin(sentence, train)
        tagger = probe(0.1).fit(x[learnt], tags[learnt])
        asked = np.isin(sentence, test)
        tagged[asked] = tagger.predict(x[asked])
        for name in corpus.languages:
            guesses[name][test] = classifier.predict(pooled[name][test])
    found = []
    commonest = np.full(len(labels), max(set(labels), key=list(labels).count), dtype=object)
    for name in corpus.languages:
        score = f1_score(labels.astype(str), guesses[name].astype(str), average="macro")
        base = f1_score(labels.astype(str), commonest.astype(str), average="macro")
        found.append(("sentiment, macro F1", name, score, base))
        rows = language == name
        score = entity_f1(list(tags[rows]), list(tagged[rows]), sentence[rows])
        found.append(("entities, strict F1", name, score, 0.0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 2, 4, 6])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("error", ConvergenceWarning)
    corpus = load_corpus()
    rows = []
    for item in given.models:
        name, _, folder = item.partition("=")
        with tempfile.TemporaryDirectory() as out:
            states = ig.extract(corpus, folder, layers=given.layers, out=out)
            for layer in given.layers:
                rows += [(name, layer, *row) for row in judge(states, corpus, layer)]
    table = pl.DataFrame(rows, schema=["model", "layer", "task", "language", "score", "commonest"], orient="row")
    if given.out:
        table.write_csv(given.out, float_precision=4)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3):
        print(
            table.pivot(on="language", index=["task", "model", "layer", "commonest"], values="score").sort(
                "task", "model", "layer"
            )
        )


if __name__ == "__main__":
    main()
