"""Models: the only package that imports transformers.  Loading, stacks, layers, one forward pass.

Every model goes through ``AutoConfig``, ``AutoTokenizer`` and ``AutoModel``, never with code from the hub;
no language-model head is ever computed.  Importing this package imports neither torch nor transformers.
"""

from isogloss.models.cost import operations_per_second, work_per_subword
from isogloss.models.forward import hidden_states
from isogloss.models.heads import load_head, save_head
from isogloss.models.info import ModelInfo, describe
from isogloss.models.loading import Loaded, facts, load, outline
from isogloss.models.memory import is_out_of_memory
from isogloss.models.sources import load_part, quiet_transformers
from isogloss.models.text import as_text, lines_with_names
from isogloss.models.tokenizers import encode, load_tokenizer, space_marks
from isogloss.models.trainer import CURVE, train_head

__all__ = [
    "CURVE",
    "Loaded",
    "ModelInfo",
    "as_text",
    "describe",
    "encode",
    "facts",
    "hidden_states",
    "is_out_of_memory",
    "lines_with_names",
    "load",
    "load_head",
    "load_part",
    "load_tokenizer",
    "operations_per_second",
    "outline",
    "quiet_transformers",
    "save_head",
    "space_marks",
    "train_head",
    "work_per_subword",
]
