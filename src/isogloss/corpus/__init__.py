"""Corpus: sentences and their words, per language, with character offsets."""

from isogloss.corpus.data import SENTENCE_COLUMNS, WORD_COLUMNS, Corpus, Dropped

__all__ = ["SENTENCE_COLUMNS", "WORD_COLUMNS", "Corpus", "Dropped"]
