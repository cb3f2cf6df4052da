"""What CALIGN and COLAP make of languages whose alignment is known, and how often their intervals hold the truth.

    python benchmarks/planted.py            # about three minutes on two cores

Prints the tables of docs/planted.md.
"""

from __future__ import annotations

import argparse

import numpy as np

from isogloss.metrics import calign, colap
from isogloss.metrics.planted import plant
from isogloss.metrics.statistics.bootstrap import Resamples, interval

SPACES = {
    "clean": {},
    "5 % of the tokens anywhere": {"noise": 0.05},
    "a dictionary of 70 %": {"coverage": 0.7},
    "4 wrong translations a word": {"n_wrong": 4},
}


def recovered(repeats: int) -> None:
    """Print adjusted CALIGN, its soft form and COLAP at planted alignments."""
    print("| sizes | space | planted | CALIGN 0.8, adjusted | soft, adjusted | COLAP | its truth |")
    print("|---|---|---|---|---|---|---|")
    for sizes, unevenness in (("even", 0.0), ("uneven", 0.7)):
        for name, options in SPACES.items():
            for a in (0.0, 0.25, 0.5, 0.75, 1.0):
                hard, soft, shared = [], [], []
                for seed in range(repeats):
                    p = plant(a, seed=seed, unevenness=unevenness, **options)
                    found = calign(p.source, p.target, p.dictionary, n_permutations=40, words=False)
                    hard.append(found.adjusted)
                    soft.append(found.soft.adjusted)
                    shared.append(colap(p.joint).score)
                cells = [f"{np.mean(x):.3f} ± {np.std(x) / repeats**0.5:.3f}" for x in (hard, soft, shared)]
                print(f"| {sizes} | {name} | {a} | {' | '.join(cells)} | {a / (2 - a):.3f} |", flush=True)


def covered(repeats: int, n: int) -> None:
    """Print how often 95 % intervals hold the mean score over many texts."""
    print("| planted | space | figure | mean score | bca | percentile | width of bca |")
    print("|---|---|---|---|---|---|---|")
    common = {"unevenness": 0.5, "n_sentences": 400, "n_types": 800, "n_concepts": 40}
    spaces = [
        (0.5, {"noise": 0.04, "coverage": 0.85}),
        (0.75, {"noise": 0.02}),
        (0.25, {"n_wrong": 4, "noise": 0.03}),
    ]
    for a, options in spaces:
        found: dict[str, list[tuple[float, ...]]] = {}
        for text in range(repeats):
            p = plant(a, seed=5, text_seed=text, **common, **options)
            resamples = Resamples.draw(np.arange(400), n, draw_seed=text)
            aligned = calign(
                p.source,
                p.target,
                p.dictionary,
                theta_align=[0.8, 0.6],
                n_permutations=0,
                resamples=resamples,
                words=False,
            )
            shared = colap(p.joint, theta_overlap=0.45, resamples=resamples)
            named = {
                "CALIGN 0.8": aligned.estimates[0],
                "CALIGN 0.6": aligned.estimates[1],
                "soft": aligned.soft,
            }
            for name, figure in (named | {"COLAP 0.45": shared.estimates[0]}).items():
                ends = [interval(figure.score, figure.draws, method=m) for m in ("bca", "percentile")]
                found.setdefault(name, []).append((figure.score, *ends[0], *ends[1]))
        for name, rows in found.items():
            x = np.array(rows)
            mean = x[:, 0].mean()
            shares = [((x[:, i] <= mean) & (mean <= x[:, i + 1])).mean() for i in (1, 3)]
            said = ", ".join(f"{k} {v}" for k, v in options.items())
            width = (x[:, 2] - x[:, 1]).mean()
            print(
                f"| {a} | {said} | {name} | {mean:.3f} | {shares[0]:.0%} | {shares[1]:.0%} | {width:.3f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200)
    given = parser.parse_args()
    recovered(given.repeats)
    print()
    covered(given.texts, given.resamples)


if __name__ == "__main__":
    main()
