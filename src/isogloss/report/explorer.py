"""What the concept explorer shows: the best aligned and the most shared concepts of every layer and pair.

Words are written once and named by number, and a concept is a short list, so that the page stays small:
a view has at most `MAX_CONCEPTS` entries of a kind, fewer where there are many layers and pairs.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import polars as pl

from isogloss.concepts import Concepts
from isogloss.coordinates import Clustering, Pair, Space
from isogloss.metrics.registry import DIRECTED, GROUP_OVERLAP, OVERLAP
from isogloss.metrics.statistics.intervals import wilson
from isogloss.progress import progress
from isogloss.results import Alignment

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

MAX_CONCEPTS = 12  # concept pairs of a direction, and shared concepts, in one view
MIN_CONCEPTS = 3
MAX_ENTRIES = 14_000  # in the whole page; about 150 bytes each
MAX_WORDS = 10  # on each side of an entry

Types = dict[int, dict[str, list[str]]]


class Explorer:
    """Collects the views of a study, and the table of their words."""

    def __init__(self, study: FinishedStudy) -> None:
        self.study = study
        # every word shown and its number
        self.words: dict[str, int] = {}
        # "RUN/LAYER/a-b" (all for the whole group) -> forward, backward, joint
        self.views: dict[str, dict[str, Any]] = {}
        # the main threshold of calign, colap and colap_group
        self.thetas: dict[str, float] = {}
        self.pairs = [pair.languages for pair in study.pairs]
        n_views = len(study.clusterings) * max(len(self.pairs), 1)
        self.n_concepts = min(MAX_CONCEPTS, max(MIN_CONCEPTS, MAX_ENTRIES // (3 * max(n_views, 1))))
        self._collect()

    def _collect(self) -> None:
        groups = self.study.results.table.filter(pl.col("metric") == GROUP_OVERLAP)
        whole = len(self.study.languages) > 2 and groups.height > 0
        steps = [(i, clustering) for i, run in enumerate(self.study.runs) for clustering in run]
        with progress("Report: concepts", len(steps) * (len(self.pairs) + whole)) as advance:
            for i, clustering in steps:
                alone: dict[str, Types] = {}
                for pair in self.study.pairs:
                    key = f"{i}/{clustering.layer}/{pair.name}"
                    self.views[key] = self._pair_view(clustering, pair, alone)
                    advance(1)
                if whole:
                    joint = self._joint(clustering, Space(self.study.languages), GROUP_OVERLAP)
                    self.views[f"{i}/{clustering.layer}/all"] = {"joint": joint}
                    advance(1)

    def _pair_view(self, clustering: Clustering, pair: Pair, alone: dict[str, Types]) -> dict[str, Any]:
        for side in pair.sides:
            if side.name not in alone:
                alone[side.name] = words_of(self.study.concepts(clustering, side))
        view: dict[str, Any] = {}
        for name, direction in zip(("forward", "backward"), pair.directions, strict=True):
            alignment = self.study.alignment(clustering, direction)
            self.thetas.setdefault(DIRECTED, alignment.estimates[0].theta)
            source, target = (alone[side.name] for side in direction.sides)
            view[name] = self._aligned(alignment, source, target)
        view["joint"] = self._joint(clustering, pair.space, OVERLAP)
        return view

    def _aligned(self, alignment: Alignment, source: Types, target: Types) -> list[list[Any]]:
        """Return ``[source concept, target concept, matched, source types, target types, ties, rest, rest]``.

        ``ties`` are ``[source word, its translations ...]``; the rests are words without a tie.
        """
        best = alignment.pairs.unique("source_concept", keep="first", maintain_order=True).head(self.n_concepts)
        keys = ["source_concept", "target_concept"]
        ties: dict[tuple[int, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for s, t, word, translation in alignment.words.join(best.select(keys), on=keys, how="semi").iter_rows():
            ties[s, t][word].append(translation)
        entries = []
        for row in best.iter_rows(named=True):
            s, t = row["source_concept"], row["target_concept"]
            tied, left, right = ties[s, t], source[s][alignment.source], target[t][alignment.target]
            rank = {word: i for i, word in enumerate(right)}
            shown = [[w, *sorted(tied[w], key=rank.__getitem__)[:2]] for w in left if w in tied][:MAX_WORDS]
            reached = {word for words in tied.values() for word in words}
            unmatched = [w for w in left if w not in tied], [w for w in right if w not in reached]
            rests = [words[: max(MAX_WORDS - len(shown), 2)] for words in unmatched]
            sizes = [row["n_matched"], row["source_types"], row["target_types"]]
            numbered = [[self._number(w) for w in tie] for tie in shown]
            entries.append([s, t, *sizes, numbered, *([self._number(w) for w in rest] for rest in rests)])
        return entries

    def _joint(self, clustering: Clustering, space: Space, metric: str) -> list[list[Any]]:
        """Return ``[concept, whether it overlaps, tokens per language, words per language]``, most even first.

        Evenness is the smallest share, taken at the lower end of its 95% interval: else concepts of two
        tokens would always come first.
        """
        overlap, languages = self.study.overlap(clustering, space), space.languages
        theta = overlap.estimates[0].theta
        self.thetas.setdefault(metric, theta)
        sizes, least = overlap.counts.sum(axis=1), overlap.counts.min(axis=1)
        even = [(wilson(int(k), int(n))[0] if n else 0.0) for k, n in zip(least, sizes, strict=True)]
        order = sorted((i for i in range(len(even)) if least[i]), key=lambda i: (-even[i], i))
        types = words_of(self.study.concepts(clustering, space))
        passed = overlap.overlapping()
        entries = []
        for concept in order[: self.n_concepts]:
            words = [types[concept].get(x, [])[: MAX_WORDS if len(languages) < 4 else 5] for x in languages]
            numbered = [[self._number(w) for w in side] for side in words]
            entries.append([concept, int(passed[concept]), overlap.counts[concept].tolist(), numbered])
        return entries

    def _number(self, word: str) -> int:
        return self.words.setdefault(word, len(self.words))


def words_of(concepts: Concepts) -> Types:
    """Return concept -> language -> words, most frequent first."""
    words: Types = defaultdict(lambda: defaultdict(list))
    for concept, language, word in concepts.types().select("concept", "language", "word").iter_rows():
        words[concept][language].append(word)
    return words
