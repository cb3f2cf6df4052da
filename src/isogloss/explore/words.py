"""Questions about words: where they are, what they stand beside, the sentences they were written in."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from isogloss.coordinates import Space
from isogloss.errors import UsageError, unknown
from isogloss.explore.lookup import Lookup
from isogloss.explore.spaces import Cut, fold

Json = dict[str, Any]

PAGE = 20  # entries of a list at a time
MAX_WORDS = 12  # on each side of an entry
N_RESULTS = 60  # of a search


class WordViews(Lookup):
    """Answers about words and their sentences."""

    def _word(self, kind: int) -> str:
        return self.lexicon.words[kind]

    def _words(self, cut: Cut, concept: int, *, most: int = MAX_WORDS) -> dict[str, list[list[Any]]]:
        """Return the most frequent words of a concept with their tokens, by language."""
        by_language: dict[str, list[list[Any]]] = {}
        types, counts = cut.words(concept)
        languages = self.lexicon.language[types]
        for i, language in enumerate(self.languages):
            here = np.flatnonzero(languages == i)
            if len(here):
                by_language[language] = [[self._word(types[j]), int(counts[j])] for j in here[:most]]
        return by_language

    def _short(self, cut: Cut, concept: int, n: int = 4) -> list[list[str]]:
        """Return the most frequent words of a concept as ``[word, language]``, of the languages in turn."""
        by_language = self._words(cut, concept, most=n)
        # a word of two languages is said once
        language_of: dict[str, str] = {}
        for i in range(n):
            for language, words in by_language.items():
                if i < len(words):
                    language_of.setdefault(words[i][0], language)
        return [[word, language] for word, language in language_of.items()][:n]

    def occurrences(
        self,
        *,
        place: int,
        layer: int,
        k: int,
        space: str,
        concept: int,
        language: str = "",
        word: str = "",
        offset: int = 0,
    ) -> Json:
        """Return tokens of a concept in their sentences, with the same sentence in the other languages of the space."""
        rows = self.concept_rows(place, layer, space, k, concept)
        if language:
            if language not in self.languages:
                raise unknown("language", language, self.languages)
            rows = rows[self.lexicon.language_of[rows] == self.languages.index(language)]
            if word:
                kind = self.lexicon.number.get((self.languages.index(language), word), -1)
                rows = rows[self.lexicon.type_of[rows] == kind]
        total = len(rows)
        if not language:
            # languages in turn, so that the first page shows them all
            languages = self.lexicon.language_of[rows]
            turn = np.zeros(total, np.int64)
            for i in range(len(self.languages)):
                turn[languages == i] = np.arange(int((languages == i).sum()))
            rows = rows[np.lexsort((languages, turn))]
        shown = self.tokens[rows[offset : offset + PAGE]]
        others = Space.named(space).languages if Space.named(space).is_joint else self.languages
        entries = []
        for row in shown.iter_rows(named=True):
            beside = {
                x: self.texts[self.line[x, row["sentence"]]]
                for x in others
                if x != row["language"] and self.study.corpus.parallel and (x, row["sentence"]) in self.line
            }
            place_in_text = {name: row[name] for name in ("language", "sentence", "start", "end")}
            text = self.texts[self.line[row["language"], row["sentence"]]]
            entries.append(place_in_text | {"text": text, "beside": beside})
        return {"entries": entries, "total": total}

    def search(self, *, q: str, language: str = "") -> Json:
        """Return words that contain a text, the whole word first, then beginnings, then the most frequent."""
        if language and language not in self.languages:
            raise unknown("language", language, self.languages)
        wanted = fold(pl.Series([q.strip()]))[0]
        if not wanted:
            return {"entries": [], "total": 0}
        folded = self.lexicon.folded
        matching = folded.str.contains(wanted, literal=True).to_numpy()
        if language:
            matching = matching & (self.lexicon.language == self.languages.index(language))
        types = np.flatnonzero(matching)
        texts = folded.gather(types)
        rank = np.where(texts == wanted, 0, np.where(texts.str.starts_with(wanted), 1, 2))
        order = np.lexsort((types, -self.lexicon.counts[types], rank))[:N_RESULTS]
        entries = [
            [self._word(t), self.languages[self.lexicon.language[t]], int(self.lexicon.counts[t])]
            for t in types[order].tolist()
        ]
        return {"entries": entries, "total": len(types)}

    def word(self, *, place: int, layer: int, k: int, language: str, word: str) -> Json:
        """Return the concepts that a word's tokens are in, in every space of its language, and its translations."""
        if language not in self.languages:
            raise unknown("language", language, self.languages)
        kind = self.lexicon.number.get((self.languages.index(language), word), -1)
        if kind < 0:
            raise UsageError(f"The corpus has no word '{word}' in {language}.")
        concepts = []
        for name in self.spaces:
            if language not in Space.named(name):
                continue
            cut = self.cut(place, layer, name, k)
            labels = cut.labels[self.lexicon.type_of[cut.rows] == kind]
            counts = np.bincount(labels[labels >= 0], minlength=cut.k)
            for c in np.argsort(-counts, kind="stable")[:3].tolist():
                if counts[c]:
                    concepts.append({"space": name, "concept": c, "n": int(counts[c]), "words": self._short(cut, c)})
        translations: dict[str, list[str]] = {}
        for other in self.languages:
            if (language, other) in self.pairs or (other, language) in self.pairs:
                links = self.translations(language, other)
                meant = links.indices[links.indptr[kind] : links.indptr[kind + 1]].tolist()
                translations[other] = [self._word(t) for t in sorted(meant, key=lambda t: -self.lexicon.counts[t])]
        n = int(self.lexicon.counts[kind])
        return {"word": word, "language": language, "count": n, "concepts": concepts, "translations": translations}
