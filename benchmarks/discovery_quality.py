"""What the choice of method changes: Ward linkage, k-means and mini-batch k-means at equal K on real states.

    python benchmarks/discovery_quality.py --model FOLDER --text en=en.conllu --text de=de.conllu --layer 4 --k 300

For every method: squared distance to the centroid (a token, as part of the variance), agreement with gold parts of
speech (adjusted mutual information; the files must have them), agreement between seeds, agreement between two halves of
the data (each half is clustered; all tokens go to the nearest centroid of either), CALIGN and COLAP.  All but CALIGN in
one joint space of all languages; Ward has no seed, so its seeds are orders of the rows.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

import isogloss as ig
from isogloss.discovery import kmeans, ward
from isogloss.trees import cut

Labels = np.ndarray


def by_ward(X: np.ndarray, k: int, seed: int) -> Labels:
    order = np.random.default_rng(seed).permutation(len(X))
    labels = np.empty(len(X), np.int32)
    labels[order] = cut(ward.linkage(X[order]), n_clusters=k)
    return labels


def by_kmeans(X: np.ndarray, k: int, seed: int) -> Labels:
    return kmeans.fit(X, k, seed=seed)


def by_mini_batches(X: np.ndarray, k: int, seed: int) -> Labels:
    return np.unique(
        MiniBatchKMeans(k, n_init=1, random_state=seed, batch_size=4096).fit(X).labels_, return_inverse=True
    )[1]


METHODS: dict[str, Callable[[np.ndarray, int, int], Labels]] = {
    "ward": by_ward,
    "kmeans": by_kmeans,
    "mini-batch": by_mini_batches,
}


def centroids(X: np.ndarray, labels: Labels) -> np.ndarray:
    sums = np.zeros((labels.max() + 1, X.shape[1]))
    np.add.at(sums, labels, X)
    return sums / np.bincount(labels)[:, None]


def nearest(X: np.ndarray, means: np.ndarray) -> Labels:
    return np.concatenate(
        [((means**2).sum(axis=1) - 2 * part @ means.T).argmin(axis=1) for part in np.array_split(X, 1 + len(X) // 4096)]
    )


def halves(X: np.ndarray, k: int, find: Callable[[np.ndarray, int, int], Labels], seed: int) -> float:
    side = np.random.default_rng(seed).permutation(len(X)) % 2
    found = [nearest(X, centroids(X[side == s], find(X[side == s], k, seed))) for s in (0, 1)]
    return float(adjusted_rand_score(*found))


def concepts_of(layer, labels: Labels) -> ig.Concepts:
    tokens = layer.tokens.select("row", "language", "sentence", "position", "word")
    return ig.Concepts(tokens, labels.astype(np.int32), int(labels.max()) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", action="append", required=True, metavar="LANG=FILE")
    parser.add_argument("--layer", type=int, nargs="+", required=True)
    parser.add_argument("--k", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-count", type=int, default=15)
    given = parser.parse_args()
    corpus = ig.Corpus.read(dict(item.split("=", 1) for item in given.text))
    languages = corpus.languages
    pairs = list(itertools.combinations(languages, 2))
    links = {pair: ig.align_words(corpus, source=pair[0], target=pair[1]) for pair in pairs}
    with tempfile.TemporaryDirectory() as out:
        states = ig.extract(corpus, given.model, layers=given.layer, out=out)
        joint = states.select(max_count=given.max_count)
        alone = states.select(links=list(links.values()), max_count=given.max_count)
        for number in given.layer:
            layer = joint.at(number)
            X = layer.X.astype(np.float64)
            spread = ((X - X.mean(axis=0)) ** 2).sum()
            upos = layer.tokens.select("row").join(corpus.words, on="row", maintain_order="left")["upos"].to_numpy()
            print(f"layer {number}: {len(X)} tokens, {len(languages)} languages, K = {given.k}")
            for name, find in METHODS.items():
                runs = [find(X, given.k, seed) for seed in range(given.seeds)]
                within = [((X - centroids(X, labels)[labels]) ** 2).sum() / spread for labels in runs]
                two = list(itertools.combinations(runs, 2))
                rand = np.mean([adjusted_rand_score(*x) for x in two])
                mutual = np.mean([adjusted_mutual_info_score(*x) for x in two])
                split = np.mean([halves(X, given.k, find, seed) for seed in range(given.seeds)])
                speech = np.mean([adjusted_mutual_info_score(upos, labels) for labels in runs])
                overlap, align, chance = [], [], []
                for seed, labels in enumerate(runs):
                    overlap.append(ig.colap(concepts_of(layer, labels), theta_overlap=0.6 / len(languages)).score)
                    spaces = {}
                    for x in languages:
                        own = alone.at(number, language=x)
                        spaces[x] = concepts_of(own, find(own.X.astype(np.float64), given.k, seed))
                    figures = [
                        ig.calign(spaces[a], spaces[b], d, theta_align=0.5).estimates[0]
                        for s, t in pairs
                        for a, b, d in (
                            (s, t, links[s, t].dictionary(top=10)),
                            (t, s, links[s, t].reversed().dictionary(top=10)),
                        )
                    ]
                    align.append(np.mean([f.score for f in figures]))
                    chance.append(np.mean([f.adjusted for f in figures]))
                print(
                    f"  {name}: within {np.mean(within):.4f}, seeds ARI {rand:.3f} AMI {mutual:.3f}, "
                    f"halves ARI {split:.3f}, "
                    f"UPOS AMI {speech:.3f}, COLAP {np.mean(overlap):.3f} +- {np.std(overlap):.3f}, "
                    f"CALIGN {np.mean(align):.3f} +- {np.std(align):.3f}, above chance {np.mean(chance):.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
