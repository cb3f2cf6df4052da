"""Extraction: tokenising, subwords to words, forward passes, pooling, writing states.

Importing this package does not import torch.
"""

from isogloss.extraction.engine import extract, open_states, states_key, write_corpus
from isogloss.extraction.shards import (
    Shard,
    extract_shard,
    finish_states,
    forget_shards,
    join_shards,
    shard_files,
    shards_of,
)

__all__ = [
    "Shard",
    "extract",
    "extract_shard",
    "finish_states",
    "forget_shards",
    "join_shards",
    "open_states",
    "shard_files",
    "shards_of",
    "states_key",
    "write_corpus",
]
