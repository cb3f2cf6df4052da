"""Add pairs of words and phrases to a small parallel text, cut from it by our own word links.

python benchmarks/phrases.py train.en.txt.gz train.de.txt.gz --languages en de --out with-phrases

A small model that translates must learn first which source word to look at; in a phrase of one to six words there is
little to choose from. Pairs are consistent with the links: no word inside is linked to one outside (Koehn, Och
and Marcu 2003, *Statistical Phrase-Based Translation*).
"""

from __future__ import annotations

import argparse
import gzip
import random
from collections import defaultdict
from pathlib import Path

import isogloss as ig

_LENGTHS = (1, 1, 2, 3, 4, 5, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs=2, type=Path)
    parser.add_argument("--languages", nargs=2, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--per-sentence", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    source, target = given.languages
    corpus = ig.Corpus.read(dict(zip(given.languages, given.files, strict=True)))
    table = ig.align_words(corpus, source=source, target=target).table
    links: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for sentence, s, t in table.select("sentence", "source_position", "target_position").iter_rows():
        links[sentence].append((s, t))
    places: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for language, sentence, start, end in corpus.words.select("language", "sentence", "start", "end").iter_rows():
        places[language, sentence].append((start, end))
    texts = {key[:2]: key[2] for key in corpus.sentences.select("language", "sentence", "text").iter_rows()}

    draw = random.Random(given.seed)
    pairs = [(texts[source, i], texts[target, i]) for i in sorted(links)]
    n_lines = len(pairs)
    for i in sorted(links):
        left, right = places[source, i], places[target, i]
        for _ in range(given.per_sentence):
            n = draw.choice(_LENGTHS)
            a = draw.randrange(len(left))
            b = min(a + n, len(left))
            inside = [t for s, t in links[i] if a <= s < b]
            if not inside:
                continue
            c, d = min(inside), max(inside)
            if d - c > 2 * n + 1 or any(c <= t <= d and not a <= s < b for s, t in links[i]):
                continue
            pairs.append((texts[source, i][left[a][0] : left[b - 1][1]], texts[target, i][right[c][0] : right[d][1]]))
    given.out.mkdir(parents=True, exist_ok=True)
    for language, lines in zip(given.languages, zip(*pairs, strict=True), strict=True):
        with gzip.open(given.out / f"train.{language}.txt.gz", "wt", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
    print(f"{n_lines:,} lines and {len(pairs) - n_lines:,} phrases: {given.out}")


if __name__ == "__main__":
    main()
