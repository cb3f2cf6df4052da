"""Extraction: tokenising, subwords to words, forward passes, pooling, writing states.

Importing this room does not import torch.
"""

from isogloss.extraction.engine import extract, open_states, states_key, write_corpus

__all__ = ["extract", "open_states", "states_key", "write_corpus"]
