"""Models: the only room that imports transformers.  Loading, stacks, layers, one forward pass.

Every model goes through ``AutoConfig``, ``AutoTokenizer`` and ``AutoModel``, never with code from the hub;
no language-model head is ever computed.  Importing this room imports neither torch nor transformers.
"""

from isogloss.models.forward import hidden_states
from isogloss.models.loading import (
    Loaded,
    ModelInfo,
    describe,
    encode,
    facts,
    load,
    space_marks,
)
from isogloss.models.sources import load_part, quiet_transformers

__all__ = [
    "Loaded",
    "ModelInfo",
    "describe",
    "encode",
    "facts",
    "hidden_states",
    "load",
    "load_part",
    "quiet_transformers",
    "space_marks",
]
