"""The names a page may say, and what they name: each is looked up among the study's own before it is used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from isogloss.concepts import TREE_COLUMNS
from isogloss.coordinates import Clustering, Pair
from isogloss.coordinates import Space as ConceptSpace
from isogloss.corpus import SENTENCE_COLUMNS, WORD_COLUMNS
from isogloss.discovery import METHODS
from isogloss.errors import InputError, unknown
from isogloss.explore.spaces import Cut, Lexicon, Longs, Matches, Space, match
from isogloss.extraction import open_states
from isogloss.store import StudyLayout, read_table

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

MAX_VALUES = 20  # of a column that may colour the map
_COVERED = 0.95  # of its tokens, by these values
_KEPT_SPACES = 150


@dataclass(frozen=True)
class Clusterings:
    """One way the states of one stack of one model were clustered: at several layers, into several numbers of concepts.

    `first` is the clustering at the first layer into the least of `ks`, the study's numbers of concepts.
    """

    first: Clustering
    base_model: str
    layers: tuple[int, ...]
    ks: tuple[int, ...]

    def at(self, layer: int, k: int) -> Clustering:
        return replace(self.first, layer=layer, n_concepts=k)


class Lookup:
    """Names to what they name, in one finished study.  It reads files of the study and writes none."""

    def __init__(self, study: FinishedStudy) -> None:
        self.study = study
        self.languages = study.languages
        self.tokens, self.sentences = study.tokens, study.sentences
        self.lexicon = Lexicon.of(self.tokens, self.languages)
        self._spaces: OrderedDict[tuple[int, int, str], Space] = OrderedDict()
        self._lock = threading.Lock()
        self._translations: dict[tuple[str, str], sp.csr_array] = {}
        self._states: dict[tuple[str, str], Any] = {}
        keys = ("language", "sentence")
        lines = self.sentences.select(keys).with_row_index("line")
        line_of = self.tokens.select(keys).join(lines, on=keys, how="left", maintain_order="left")["line"]
        self.line_of = line_of.to_numpy().astype(np.int64)
        self.line = {key[:2]: key[2] for key in lines.select(*keys, "line").iter_rows()}
        self.texts = self.sentences["text"].to_list()
        self.rule = study.config.metrics

    # -- what there is ----------------------------------------------------------------------------

    @cached_property
    def places(self) -> list[Clusterings]:
        """Every model (as the study file names them, fine-tuned ones last), stack, method and seed."""
        named = {model.name: i for i, model in enumerate(self.study.config.models)}
        alike: dict[tuple[Clustering, tuple[int, ...]], list[Clustering]] = {}
        for run in sorted(self.study.runs, key=lambda run: named.get(run[0].model, len(named))):
            layers = tuple(clustering.layer for clustering in run)
            alike.setdefault((replace(run[0], n_concepts=0), layers), []).append(run[0])
        places = []
        for (_, layers), firsts in alike.items():
            ks = tuple(sorted(clustering.n_concepts for clustering in firsts))
            first = replace(firsts[0], n_concepts=ks[0])
            places.append(Clusterings(first, self.study.bases[first.model], layers, ks))
        return places

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs that the study measured, in its order."""
        return [pair.languages for pair in self.study.pairs]

    @cached_property
    def spaces(self) -> list[str]:
        """Names of all spaces: every language alone, every pair, and all together."""
        return [space.name for space in self.study.spaces]

    @cached_property
    def columns(self) -> dict[str, tuple[list[str], npt.NDArray[np.int16]]]:
        """Columns that may colour the map: name -> its values and, for every token, which one (-1: none)."""
        columns = {}
        tables = (self.tokens, WORD_COLUMNS, slice(None)), (self.sentences, SENTENCE_COLUMNS, self.line_of)
        for table, usual, rows in tables:
            for name in table.columns:
                if name in usual or table.schema[name] != pl.String:
                    continue
                counts = table[name].drop_nulls().value_counts(sort=True)
                values = counts[name].to_list()[:MAX_VALUES]
                if len(values) < 2 or int(counts["count"][:MAX_VALUES].sum()) < _COVERED * int(counts["count"].sum()):
                    continue
                codes = table[name].replace_strict(values, list(range(len(values))), default=-1, return_dtype=pl.Int16)
                columns[name] = (values, codes.fill_null(-1).to_numpy()[rows])
        return columns

    def place(self, number: int) -> Clusterings:
        """Return a place by its number."""
        if not 0 <= number < len(self.places):
            raise unknown("model", number, [str(i) for i in range(len(self.places))])
        return self.places[number]

    def space(self, place: int, layer: int, name: str) -> Space:
        """Open a space; the last ones are kept."""
        where = self.place(place)
        if layer not in where.layers:
            raise unknown("layer", layer, [str(x) for x in where.layers])
        if name not in self.spaces:
            raise unknown("space", name, self.spaces)
        key = (place, layer, name)
        with self._lock:
            if key in self._spaces:
                self._spaces.move_to_end(key)
                return self._spaces[key]
            space = self._spaces[key] = self._open(where, layer, name)
            if len(self._spaces) > _KEPT_SPACES:
                self._spaces.popitem(last=False)
            return space

    def _open(self, place: Clusterings, layer: int, name: str) -> Space:
        study = StudyLayout(self.study.root)
        space = ConceptSpace.named(name)

        def labels(k: int) -> pl.DataFrame:
            return read_table(study.checked(study.concepts(place.at(layer, k), space)), ("row", "concept"))

        tree = None
        if METHODS[place.first.method].has_tree:
            table = read_table(study.checked(study.tree(place.first.at(layer), space)), TREE_COLUMNS)
            rows = table["row"].to_numpy()
            tree = table[:-1].select(pl.col("left", "right", "height", "size").cast(pl.Float64)).to_numpy()
        else:
            rows = labels(place.ks[0])["row"].to_numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= self.tokens.height):
            raise InputError(f"The concepts of {name} at layer {layer} name token rows outside the token table.")

        def stored(k: int) -> Any:
            if k not in place.ks:
                raise unknown("number of concepts", k, [str(x) for x in place.ks])
            return labels(k)["concept"].to_numpy().astype(np.int32)

        def states() -> Any:
            key = (place.first.model, place.first.stack)
            if key not in self._states:
                self._states[key] = open_states(study, name=key[0], stack=key[1]).arrays
            return self._states[key][layer]

        return Space(rows.astype(np.int64), self.lexicon, tree=tree, stored=stored, states=states)

    def cut(self, place: int, layer: int, name: str, k: int) -> Cut:
        """Return a space in k concepts."""
        return self.space(place, layer, name).cut(k)

    def concept_rows(self, place: int, layer: int, name: str, k: int, concept: int) -> Longs:
        """Return the token rows of one of the k concepts of a space."""
        cut = self.cut(place, layer, name, k)
        if not 0 <= concept < cut.k:
            raise unknown("concept", concept, [f"0 .. {cut.k - 1}"])
        return cut.rows[cut.members(concept)]

    def translations(self, source: str, target: str) -> sp.csr_array:
        """Return which types translate each other: (n_types, n_types) 0/1, source rows, target columns."""
        key = (source, target)
        if key not in self._translations:
            table = self.study.dictionary(Pair(source, target)).table
            number, n = self.lexicon.number, len(self.lexicon.words)
            s, t = self.languages.index(source), self.languages.index(target)
            words = table.select("source", "target").iter_rows()
            types = [(number.get((s, a), -1), number.get((t, b), -1)) for a, b in words]
            pairs = np.array(types, np.int64).reshape(-1, 2)
            pairs = pairs[(pairs >= 0).all(axis=1)]
            ones = np.ones(len(pairs), np.int32)
            self._translations[key] = sp.csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        return self._translations[key]

    def matches(self, place: int, layer: int, k: int, source: str, target: str) -> tuple[Cut, Cut, Matches]:
        if (source, target) not in self.pairs and (target, source) not in self.pairs:
            raise unknown("pair", f"{source}-{target}", [pair.name for pair in self.study.pairs])
        left, right = (self.cut(place, layer, side.name, k) for side in Pair(source, target).sides)
        return left, right, match(left, right, self.translations(source, target), self.rule)
