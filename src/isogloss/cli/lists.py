"""The command that lists what can be named in a study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from isogloss.cli.common import Json, command, tell
from isogloss.errors import unknown


def _models() -> dict[str, str]:
    from isogloss.starter import model_folder

    return {
        str(model_folder()): "the built-in model, for demo and tests",
        "bert-base-multilingual-cased": "encoder, 12 layers (any BERT-like hub id or folder)",
        "xlm-roberta-base": "encoder, 12 layers (any RoBERTa-like)",
        "google/mt5-base": "encoder and decoder, 12 + 12 layers (any T5-like)",
        "Qwen/Qwen3-0.6B": "decoder, 28 layers (any Llama-, Qwen- or Gemma-like)",
    }


def _aligners() -> dict[str, str]:
    from isogloss.aligners import ALIGNERS

    return {name: info.description for name, info in ALIGNERS.items()}


def _methods() -> dict[str, str]:
    from isogloss.discovery import METHODS

    return {name: method.about for name, method in METHODS.items()}


def _metrics() -> dict[str, str]:
    from isogloss.metrics.registry import MEASURES

    return {
        name: f"{'companion: ' if measure.family == 'companion' else ''}{measure.what}; "
        f"chance: {measure.chance or 'none'}"
        for name, measure in MEASURES.items()
    }


def _datasets() -> dict[str, str]:
    from isogloss.corpus.readers import FORMATS

    built_in = {"starter": "the built-in corpus, used by: isogloss demo"}
    return built_in | {f"format {name}": item.what for name, item in FORMATS.items()}


_LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "models": _models,
    "aligners": _aligners,
    "methods": _methods,
    "metrics": _metrics,
    "datasets": _datasets,
}


@command("list")
def list_names(
    kind: Annotated[str, typer.Argument(help="models, aligners, methods, metrics or datasets.")], as_json: Json = False
) -> None:
    """List what can be named in a study."""
    if kind not in _LISTS:
        raise unknown("list", kind, _LISTS)
    names = _LISTS[kind]()
    width = max(map(len, names))
    tell(as_json, names, [f"{name:{width}}  {text}" for name, text in names.items()])
