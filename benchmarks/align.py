"""Word alignment on gold data: isogloss's `diagonal` and systran-align, a port of fast_align, in one process.

    python benchmarks/align.py --data FOLDER

FOLDER has ``word_align/kftt/ja-en.{src,tgt,gold}``, ``nc/word_align_xlwa/en-X.{dev,test}.{src,tgt,gold}`` and
``parallel/ntrex/ntrex.X.txt.gz``.  Every gold set is aligned alone and together with NTREX as further text.
Install the peer by hand (``pip install systran-align==3.5.0``); without it only isogloss is measured.
Both get lower-cased words.  Times are CPU seconds of training and linking in both directions.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from isogloss import Corpus
from isogloss.aligners import METHODS, align_words
from isogloss.dictionary import WordLinks
from isogloss.segment import segment
from isogloss.store import read_lines

Triples = Collection[tuple[int, int, int]]
GOLD = {"ja-en": ["word_align/kftt/ja-en"]} | {
    f"en-{x}": [f"nc/word_align_xlwa/en-{x}.{part}" for part in ("dev", "test")] for x in ("es", "it", "pt", "nl", "ru")
}


def alignment_error_rate(links: Triples, sure: Triples, *, possible: Triples = ()) -> float:
    """Return AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|), in [0, 1]; 0 is best; P holds S.

    Och and Ney, "A Systematic Comparison of Various Statistical Alignment Models", Computational Linguistics 29(1),
    2003.  Without possible links it is 1 - F1.  Links of sentences without gold must be left out.
    """
    given, certain = set(links), set(sure)
    return 1.0 - (len(given & certain) + len(given & (certain | set(possible)))) / (len(given) + len(certain))


def read_gold(data: Path, pair: str) -> tuple[list[str], list[str], Triples, Triples]:
    """Return source lines, target lines, sure and possible links."""
    sides: dict[str, list[str]] = {"src": [], "tgt": [], "gold": []}
    for stem in GOLD[pair]:
        for ending in sides:
            sides[ending] += read_lines(data / f"{stem}.{ending}")
    sure, possible = [], []
    for sentence, line in enumerate(sides["gold"]):
        for link in line.split():
            i, j = link.replace("p", "-").split("-")
            (possible if "p" in link else sure).append((sentence, int(i), int(j)))
    return sides["src"], sides["tgt"], sure, possible


def read_ntrex(data: Path, language: str) -> list[str]:
    lines = read_lines(data / f"parallel/ntrex/ntrex.{language}.txt.gz")
    return [" ".join(word for word, _, _ in segment(line, language)) for line in lines]


def triples(links: WordLinks, n_sentences: int) -> Triples:
    table = links.table.select("sentence", "source_position", "target_position")
    return [row for row in table.iter_rows() if row[0] < n_sentences]


def peer(source: list[list[str]], target: list[list[str]]) -> Triples:
    """Align with systran-align, with the settings that fast_align's authors recommend (-d -o -v)."""
    import systran_align

    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text")
        pairs = zip(source, target, strict=True)
        text.write_text("".join(f"{' '.join(a)} ||| {' '.join(b)}\n" for a, b in pairs), encoding="utf-8")
        probabilities = str(Path(folder, "forward")), str(Path(folder, "backward"))
        systran_align.generate_alignment_probabilities(
            str(text), *probabilities, favor_diagonal=True, optimize_tension=True, variational_bayes=True
        )
        found = systran_align.Aligner(*probabilities).align_batch(source, target)
    return [(s, i, j) for s, one in enumerate(found) for i, j in one["alignments"]]


def have_peer() -> bool:
    try:
        import systran_align  # noqa: F401
    except ImportError:
        print("systran-align is not installed: its columns stay empty (pip install systran-align==3.5.0)")
        return False
    return True


def measure(data: Path, pair: str, *, extra: bool, compare: bool) -> tuple[float, float, float]:
    """Print one line of the table; return the difference to the peer and the CPU seconds of both."""
    a, b = pair.split("-")
    source, target, sure, possible = read_gold(data, pair)
    n = len(source)
    if extra:
        source, target = source + read_ntrex(data, a), target + read_ntrex(data, b)
    lowered = {a: [line.lower() for line in source], b: [line.lower() for line in target]}
    corpus = Corpus.from_texts(lowered, segmented=True)
    rates, ours = [], 0.0
    for method in METHODS:
        began = time.process_time()
        links = align_words(corpus, source=a, target=b, symmetrise=method)
        ours = time.process_time() - began
        rates.append(alignment_error_rate(triples(links, n), sure, possible=possible))
    print(f"{pair:6} {corpus.n_sentences:6}", *(f"{rate:20.4f}" for rate in rates), end="")
    if not compare:
        print(f" {'':8} {'':8} {ours:7.2f}")
        return 0.0, ours, 0.0
    numbers = corpus.sentences["sentence"].unique().sort().to_list()
    began = time.process_time()
    found = peer(corpus.word_lists(a), corpus.word_lists(b))
    theirs = time.process_time() - began
    numbered = [(numbers[s], i, j) for s, i, j in found if numbers[s] < n]
    rate = alignment_error_rate(numbered, sure, possible=possible)
    difference = rates[-1] - rate
    print(f" {rate:8.4f} {difference:+8.4f} {ours:7.2f} {theirs:7.2f} {theirs / ours:6.1f}", flush=True)
    return difference, ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    compare = have_peer()
    toy = Corpus.from_texts({"a": ["b"], "c": ["d"]}, segmented=True)
    began = time.process_time()
    align_words(toy, source="a", target="c")
    print(f"loading compiled loops: {time.process_time() - began:.2f} s, not counted below")
    heads = [f"{method:>20}" for method in METHODS]
    print(f"{'gold':6} {'pairs':>6}", *heads, f"{'peer':>8} {'diff':>8} {'CPU-s':>7} {'peer':>7} {'ratio':>6}")
    lines = [measure(data, pair, extra=extra, compare=compare) for extra in (False, True) for pair in GOLD]
    if compare:
        differences, ours, theirs = zip(*lines, strict=True)
        print(f"worst difference to the peer (grow-diag-final-and): {max(differences):+.4f} AER; target: +0.02")
        print(f"CPU seconds in all: {sum(ours):.1f}, peer {sum(theirs):.1f}, ratio {sum(theirs) / sum(ours):.1f}")


if __name__ == "__main__":
    main()
