"""Where do the languages of a multilingual model share concepts?  isogloss measures it.

The public names are imported when they are first used; importing isogloss imports neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.aligners import align_words
    from isogloss.concepts import Concepts
    from isogloss.corpus import Corpus
    from isogloss.dictionary import TranslationDictionary, WordLinks
    from isogloss.discovery import discover
    from isogloss.export import export_study
    from isogloss.extraction import extract
    from isogloss.metrics import calign, colap
    from isogloss.report import write_report
    from isogloss.results import Alignment, Overlap, Results
    from isogloss.states import States
    from isogloss.study import open_study, run_study
    from isogloss.tasks import FineTuned, evaluate, finetune

__version__ = "0.1.0"

_PACKAGES = {
    "Alignment": "results",
    "Concepts": "concepts",
    "Corpus": "corpus",
    "FineTuned": "tasks",
    "Overlap": "results",
    "Results": "results",
    "States": "states",
    "TranslationDictionary": "dictionary",
    "WordLinks": "dictionary",
    "align_words": "aligners",
    "calign": "metrics",
    "colap": "metrics",
    "discover": "discovery",
    "evaluate": "tasks",
    "export_study": "export",
    "extract": "extraction",
    "finetune": "tasks",
    "open_study": "study",
    "run_study": "study",
    "write_report": "report",
}

__all__ = [
    "Alignment",
    "Concepts",
    "Corpus",
    "FineTuned",
    "Overlap",
    "Results",
    "States",
    "TranslationDictionary",
    "WordLinks",
    "align_words",
    "calign",
    "colap",
    "discover",
    "evaluate",
    "export_study",
    "extract",
    "finetune",
    "open_study",
    "run_study",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its package on first use."""
    if name not in _PACKAGES:
        raise AttributeError(f"module 'isogloss' has no attribute '{name}'")
    value = getattr(import_module(f"isogloss.{_PACKAGES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PACKAGES])
