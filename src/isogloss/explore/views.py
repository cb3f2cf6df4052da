"""The questions of the explorer, each answered by one method of plain values: what the page asks for, as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from isogloss.concepts import Concepts
from isogloss.coordinates import Pair, Space
from isogloss.discovery import METHODS
from isogloss.explore.lookup import Clusterings
from isogloss.explore.spaces import MAX_CONCEPTS, Cut, Longs, best_match, flows
from isogloss.explore.words import MAX_WORDS, PAGE, Json, WordViews
from isogloss.languages import page_attributes
from isogloss.metrics import colap
from isogloss.metrics.concepts.overlap import group_theta
from isogloss.metrics.registry import ALIGNMENT, DIRECTED, MEASURES, OVERLAP
from isogloss.metrics.statistics.intervals import wilson
from isogloss.plots import main_thetas, start_layer
from isogloss.plots.rows import RUN
from isogloss.plots.theme import PALETTE
from isogloss.report.answer import study_answers
from isogloss.results import Estimate
from isogloss.study.measures import align_concepts

N_NEIGHBOURS, N_FLOWS = 8, 4
_PERMUTATIONS = 50  # of the chance level at numbers of concepts that the study did not measure


class Views(WordViews):
    """Answers about one finished study."""

    def overview(self) -> Json:
        """Return what can be chosen, and what the study says of itself."""
        metrics = self.study.config.metrics
        places = [
            {
                **place.first.facts(),
                "base_model": place.base_model,
                "layers": place.layers,
                "ks": place.ks,
                "label": " · ".join(self._named(place)),
                "free": METHODS[place.first.method].has_tree,
                "finding": self._finding(place),
            }
            for place in self.places
        ]
        return {
            "title": self.study.config.name,
            "languages": list(self.languages),
            "names": {language: Space.of(language).name for language in self.languages},
            "attributes": page_attributes(self.languages),
            "colours": list(PALETTE),
            "places": places,
            "pairs": [list(pair) for pair in self.pairs],
            "spaces": self.spaces,
            "columns": {name: values for name, (values, _) in self.columns.items()},
            "theta_align": metrics.theta_align[0],
            "theta_overlap": metrics.theta_overlap[0],
            "min_types": metrics.min_types,
            "max_concepts": self._max_concepts,
            "n_tokens": self.tokens.height,
            "n_types": len(self.lexicon.words),
            "n_sentences": self.sentences.height,
            "start": self._start(),
        }

    @cached_property
    def _max_concepts(self) -> int:
        """Return how many concepts may be asked for: four times the study's most, as far as a map is readable."""
        return min(MAX_CONCEPTS, 4 * max(k for place in self.places for k in place.ks))

    def _named(self, place: Clusterings) -> list[str]:
        first = place.first
        alike = [x.first for x in self.places if (x.first.model, x.first.stack) == (first.model, first.stack)]
        parts = [first.model, first.stack]
        if len({x.method for x in alike}) > 1:
            parts.append(first.method)
        return [*parts, f"seed {first.seed}"] if len({x.seed for x in alike}) > 1 else parts

    def _finding(self, place: Clusterings) -> str:
        """Return the first sentence of the report on the study's first number of concepts of a place."""
        values = {name: getattr(place.first, name) for name in RUN} | {"n_concepts": place.ks[0]}
        return study_answers(self.study, values)[0]

    def _start(self) -> Json:
        """Return what is worth looking at first: the best layer by soft CALIGN, the first pair."""
        place = self.places[0]
        layer = start_layer(self.study, place.first)
        return {"place": 0, "layer": layer if layer in place.layers else place.layers[-1], "k": place.ks[0]}

    # -- questions --------------------------------------------------------------------------------

    def aligned(self, *, place: int, layer: int, k: int, source: str, target: str, offset: int = 0) -> Json:
        """Return the best aligned pairs of concepts with the words that join them."""
        left, right, matches = self.matches(place, layer, k, source, target)
        links = self.translations(source, target)
        entries = []
        for i in range(offset, min(offset + PAGE, len(matches.source))):
            s, t = int(matches.source[i]), int(matches.target[i])
            mine, theirs = left.words(s)[0], right.words(t)[0]
            rank = {int(x): j for j, x in enumerate(theirs)}
            ties, reached = [], set()
            for x in mine:
                meant = [y for y in links.indices[links.indptr[x] : links.indptr[x + 1]].tolist() if y in rank]
                if meant:
                    reached.update(meant)
                    ties.append((int(x), sorted(meant, key=rank.__getitem__)))
            tied = {x for x, _ in ties}
            rest = [int(x) for x in mine if int(x) not in tied], [y for y in rank if y not in reached]
            entries.append(
                {
                    "source": s,
                    "target": t,
                    "n_matched": int(matches.matched[i]),
                    "n_source": int(left.n_types[s]),
                    "n_target": int(right.n_types[t]),
                    "ties": [[self._word(x), *map(self._word, ys[:3])] for x, ys in ties[:MAX_WORDS]],
                    "rest": [[self._word(x) for x in side[: MAX_WORDS // 2]] for side in rest],
                }
            )
        return {"entries": entries, "total": len(matches.source), "n_eligible": matches.n_eligible}

    def shared(self, *, place: int, layer: int, k: int, space: str, offset: int = 0) -> Json:
        """Return the concepts of a joint space, the most evenly shared first."""
        cut, names = self.cut(place, layer, space, k), Space.named(space).languages
        counts = cut.by_language[:, [self.languages.index(x) for x in names]]
        sizes, least = counts.sum(axis=1), counts.min(axis=1)
        even = np.array([(wilson(int(a), int(n))[0] if n else 0.0) for a, n in zip(least, sizes, strict=True)])
        order = np.lexsort((np.arange(cut.k), -even))
        passed = self.rule.overlapping(counts, self._theta(names))
        entries = [
            {
                "concept": int(c),
                "overlaps": bool(passed[c]),
                "counts": counts[c].tolist(),
                "words": self._words(cut, int(c), most=MAX_WORDS if len(names) < 4 else 5),
            }
            for c in order[offset : offset + PAGE]
        ]
        return {"entries": entries, "total": cut.k, "n_overlapping": int(passed.sum()), "languages": names}

    def _theta(self, names: Sequence[str]) -> float:
        theta = self.study.config.metrics.theta_overlap[0]
        return theta if len(names) < 3 else group_theta(theta, len(names))

    def map(self, *, place: int, layer: int, k: int, space: str, towards: str = "") -> Json:
        """Return where the concepts of a space lie, how large they are and what they are made of.

        With `towards`, another language than that of a space of one language, also how well each is matched there.
        """
        cut, names = self.cut(place, layer, space, k), Space.named(space).languages
        places = self.space(place, layer, space).places(k)
        columns: Json = {
            "x": places[:, 0].round(5).tolist(),
            "y": places[:, 1].round(5).tolist(),
            "size": cut.sizes.tolist(),
            "types": cut.n_types.tolist(),
            "counts": cut.by_language[:, [self.languages.index(x) for x in names]].tolist(),
            "languages": names,
            "words": [", ".join(words) for words in cut.first_words(4)],
            "values": {name: self._most(cut, name) for name in self.columns},
        }
        if len(names) > 1:
            passed = self.rule.overlapping(np.array(columns["counts"]), self._theta(names))
            columns["aligned"] = passed.astype(int).tolist()
        elif towards and towards != names[0]:
            _, _, matches = self.matches(place, layer, k, names[0], towards)
            best = np.full(cut.k, np.nan)
            best[self.rule.eligible(cut.n_types)] = 0
            best[matches.source] = matches.match
            columns["match"] = [None if math.isnan(x) else round(x, 4) for x in best.tolist()]
        return columns

    def _most(self, cut: Cut, column: str) -> list[int]:
        """Return the commonest value of a column in every concept (-1: none has most of the tokens)."""
        values, codes = self.columns[column]
        codes, n = codes[cut.rows], len(values)
        kept = (codes >= 0) & (cut.labels >= 0)
        counts = np.bincount(cut.labels[kept].astype(np.int64) * n + codes[kept], minlength=cut.k * n).reshape(-1, n)
        best = counts.argmax(axis=1)
        return np.where(counts[np.arange(cut.k), best] * 2 > cut.sizes, best, -1).tolist()  # type: ignore[no-any-return]

    def concept(self, *, place: int, layer: int, k: int, space: str, concept: int) -> Json:
        """Return one concept: its words, its neighbours, its counterparts in other languages, its labels."""
        rows = self.concept_rows(place, layer, space, k, concept)
        cut = self.cut(place, layer, space, k)
        names = Space.named(space).languages
        near = self.space(place, layer, space).neighbours(concept, k, N_NEIGHBOURS)
        return {
            "concept": concept,
            "space": space,
            "size": int(cut.sizes[concept]),
            "n_types": int(cut.n_types[concept]),
            "counts": {x: int(cut.by_language[concept, self.languages.index(x)]) for x in names},
            "words": self._words(cut, concept, most=60),
            "neighbours": [{"concept": c, "cosine": round(v, 4), "words": self._short(cut, c)} for c, v in near],
            "counterparts": self._counterparts(place, layer, k, names[0], concept) if len(names) == 1 else [],
            "values": {name: self._shares(rows, name) for name in self.columns},
            "labels": self._labels(self.place(place), layer, k, space, concept),
        }

    def _counterparts(self, place: int, layer: int, k: int, language: str, concept: int) -> list[Json]:
        counterparts = []
        for other in self.languages:
            if not {(language, other), (other, language)} & set(self.pairs):
                continue
            left, right = (self.cut(place, layer, side.name, k) for side in Pair(language, other).sides)
            best = best_match(left, concept, right, self.translations(language, other), self.rule)
            if best is not None:
                number, share = best
                entry = {"space": Space.of(other).name, "concept": number, "match": round(share, 4)}
                counterparts.append(entry | {"words": self._short(right, number)})
        return sorted(counterparts, key=lambda entry: -entry["match"])

    def _shares(self, rows: Longs, column: str) -> list[list[Any]]:
        values, codes = self.columns[column]
        codes = codes[rows]
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        best = [i for i in np.argsort(-counts, kind="stable")[:3] if counts[i]]
        return [[values[i], round(counts[i] / len(rows), 4)] for i in best]

    def _labels(self, place: Clusterings, layer: int, k: int, space: str, concept: int) -> list[Json]:
        """Return the labels of a concept that chance does not explain, where the study labelled this cut."""
        if self.study.labels is None or k not in place.ks:
            return []
        wanted = place.at(layer, k).facts() | {"space": space, "concept": concept, "significant": True}
        table = self.study.labels["labels"].filter(pl.col(name) == value for name, value in wanted.items())
        return table.select("kind", "value", "share", "base_rate").to_dicts()

    def follow(self, *, place: int, layer: int, k: int, space: str, concept: int) -> Json:
        """Return where the tokens of a concept are in every other layer, and at this layer of related models."""
        rows = self.concept_rows(place, layer, space, k, concept)
        where = self.place(place)

        def column(number: int, depth: int) -> Json:
            there = self.space(number, depth, space)
            entries, other = flows(rows, there, k, N_FLOWS), there.cut(k)
            for entry in entries:
                entry |= {name: round(entry[name], 4) for name in ("of_mine", "of_theirs")}
                entry["words"] = self._short(other, entry["concept"])
            return {"place": number, "layer": depth, "flows": entries}

        layers = [column(place, depth) for depth in where.layers]
        related = [
            column(i, layer)
            for i, other in enumerate(self.places)
            if i != place
            and (other.first.stack, other.first.method) == (where.first.stack, where.first.method)
            and layer in other.layers
            and self._related(where, other)
            and (METHODS[other.first.method].has_tree or k in other.ks)
        ]
        return {"size": len(rows), "layers": layers, "models": related}

    def trace(
        self, *, place: int, layer: int, k: int, space: str, concept: int, to_place: int, to_layer: int, to_k: int
    ) -> Json:
        """Return the concept of another layer, model or number of concepts that most tokens of this one are in."""
        rows = self.concept_rows(place, layer, space, k, concept)
        most = flows(rows, self.space(to_place, to_layer, space), to_k, 1)
        return {"concept": most[0]["concept"] if most else None}

    @staticmethod
    def _related(left: Clusterings, right: Clusterings) -> bool:
        """Whether one model was made from the other, or both from a third."""
        return (left.base_model or left.first.model) == (right.base_model or right.first.model)

    # -- estimates --------------------------------------------------------------------------------

    def _estimates(self, place: Clusterings, k: int, metric: str, source: str, target: str) -> pl.DataFrame:
        """Return the study's estimates of a pair at the first theta, a row a layer; COLAP has no direction."""
        theta = main_thetas(self.study)[metric]
        there = (pl.col("source") == source) & (pl.col("target") == target)
        back = (pl.col("source") == target) & (pl.col("target") == source)
        wanted = place.at(0, k).facts() | {"metric": metric, "theta": theta}
        del wanted["layer"]
        of_pair = there if MEASURES[metric].directed else there | back
        rows = self.study.results.table.filter(of_pair, *(pl.col(name) == value for name, value in wanted.items()))
        return rows.sort("layer")

    def score(self, *, place: int, layer: int, k: int, source: str, target: str) -> Json:
        """Return CALIGN both ways and COLAP of a pair at k concepts, each with its chance level.

        From the study's results where it measured k, with their intervals; else measured now, with fewer permutations
        and Wilson intervals over concepts.
        """
        where = self.place(place)
        wanted = [(DIRECTED, source, target), (DIRECTED, target, source), (OVERLAP, source, target)]
        if k in where.ks:
            at_layer = pl.col("layer") == layer
            estimates = [
                _score(*each, row)
                for each in wanted
                for row in self._estimates(where, k, *each).filter(at_layer).head(1).iter_rows(named=True)
            ]
            return {"estimates": estimates, "measured": "study"}
        metrics = self.study.config.metrics
        sides = {x: self._as_concepts(place, layer, k, Space.of(x).name) for x in (source, target)}
        options: Json = {"n_permutations": _PERMUTATIONS, "theta_align": metrics.theta_align[0]}
        estimates = []
        for _, s, t in wanted[:2]:
            dictionary = self.study.dictionary(Pair(s, t))
            estimate = align_concepts(sides[s], sides[t], dictionary, metrics, **options).estimates[0]
            estimates.append(_score(DIRECTED, s, t, _fields(estimate)))
        pair = Pair(source, target)
        joint = pair.space if pair in self.study.pairs else pair.reverse.space
        together = self._as_concepts(place, layer, k, joint.name)
        overlap = colap(together, settings=metrics, theta_overlap=metrics.theta_overlap[0])
        estimates.append(_score(OVERLAP, source, target, _fields(overlap.estimates[0])))
        return {"estimates": estimates, "measured": "now"}

    def _as_concepts(self, place: int, layer: int, k: int, name: str) -> Concepts:
        cut = self.cut(place, layer, name, k)
        return Concepts(self.tokens[cut.rows], cut.labels, cut.k)

    def depth(self, *, place: int, k: int, source: str, target: str) -> Json:
        """Return CALIGN (mean of both directions) and COLAP of a pair over the layers, as the study measured them."""
        where = self.place(place)
        k = k if k in where.ks else min(where.ks, key=lambda x: abs(x - k))
        rows = [
            _score(metric, source, target, row) | {"layer": row["layer"]}
            for metric in (ALIGNMENT, OVERLAP)
            for row in self._estimates(where, k, metric, source, target).iter_rows(named=True)
        ]
        return {"k": k, "rows": rows}


def _score(metric: str, source: str, target: str, row: Json) -> Json:
    measure = MEASURES[metric]
    title = f"{MEASURES[ALIGNMENT].title} {source} → {target}" if measure.directed else measure.title
    names: Json = {"metric": metric, "title": title, "source": source, "target": target}
    names |= {"theta": row["theta"], "n": row["n"]}
    numbers = {name: row[name] for name in ("score", "chance", "adjusted", "ci_low", "ci_high")}
    return names | {name: None if x is None or math.isnan(x) else round(x, 4) for name, x in numbers.items()}


def _fields(estimate: Estimate) -> Json:
    names = ("theta", "score", "chance", "adjusted", "ci_low", "ci_high", "n")
    return {name: getattr(estimate, name) for name in names}
