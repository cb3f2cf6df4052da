"""How long the explorer takes to answer, over HTTP as a page asks: python benchmarks/explore.py STUDY [--k 600]

Every question is asked at random layers, pairs and numbers of concepts; "first" is a place nobody looked at before (a
tree is read and cut), "again" the same question repeated.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import urlencode

from isogloss.explore import open_explorer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    began = time.perf_counter()
    explorer = open_explorer(given.study)
    threading.Thread(target=explorer.serve, daemon=True).start()

    def ask(question: str, **parameters: Any) -> tuple[float, Any]:
        start = time.perf_counter()
        with urllib.request.urlopen(f"{explorer.address}api/{question}?{urlencode(parameters)}") as answer:
            found = json.load(answer)
        return 1000 * (time.perf_counter() - start), found

    overview = ask("overview")[1]
    layers, ks = overview["places"][0]["layers"], overview["places"][0]["ks"]
    print(
        f"open in {time.perf_counter() - began:.1f} s: {len(overview['languages'])} languages, {len(layers)} layers, "
        f"{overview['n_tokens']:,} tokens, K {ks}"
    )
    source, target = overview["pairs"][0]
    ask("aligned", place=0, layer=layers[0], k=ks[0], source=source, target=target)  # compiled code is loaded

    draw = random.Random(given.seed)
    times: dict[tuple[str, str], list[float]] = {}

    def timed(question: str, **parameters: Any) -> Any:
        for turn in ("first", "again"):
            took, found = ask(question, **parameters)
            times.setdefault((question, turn), []).append(took)
        return found

    for _ in range(given.rounds):
        source, target = draw.choice(overview["pairs"])
        at = {
            "place": 0,
            "layer": draw.choice(layers),
            "k": draw.choice([*ks, draw.randint(20, overview["max_concepts"])]),
        }
        joint = f"{source}+{target}"
        pairs = timed("aligned", **at, source=source, target=target)["entries"]
        shared = timed("shared", **at, space=joint)["entries"]
        timed("map", **at, space=joint)
        timed("map", **at, space=source, towards=target)
        timed("concept", **at, space=joint, concept=shared[0]["concept"])
        timed("occurrences", **at, space=joint, concept=shared[0]["concept"])
        timed("follow", **at, space=joint, concept=shared[0]["concept"])
        if pairs:
            timed("concept", **at, space=source, concept=pairs[0]["source"])
            word = pairs[0]["ties"][0][0]
            timed("search", q=word[:2])
            timed("word", **at, language=source, word=word)
        timed("score", place=0, layer=at["layer"], k=ks[0], source=source, target=target)
    print(f"{'question':12} {'turn':6} {'n':>3} {'median':>8} {'95 %':>8} {'most':>8}   ms")
    for (question, turn), found in times.items():
        found.sort()
        tail = found[min(len(found) - 1, round(0.95 * len(found)))]
        print(f"{question:12} {turn:6} {len(found):3} {statistics.median(found):8.1f} {tail:8.1f} {found[-1]:8.1f}")
    explorer.stop()


if __name__ == "__main__":
    main()
