"""What decides the states of a corpus: the settings of `extract`, checked and filled in, and their key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from isogloss import models
from isogloss.arguments import checked
from isogloss.corpus import Corpus
from isogloss.errors import UsageError, unknown
from isogloss.extraction.passes import Settings
from isogloss.extraction.pooling import Pooling, Sentences, Storage
from isogloss.store import digest

VERSION = 3  # raise it when the same settings give other states
Layers = Literal["all"] | Sequence[int]  # numbers are looked at beside the layers that the model has


@checked
def settings_of(
    corpus: Corpus,
    info: models.ModelInfo,
    *,
    stack: str | None = None,
    layers: Layers = "all",
    pooling: Pooling = "mean",
    sentences: Sequence[Sentences] = ("mean",),
    dtype: Storage = "float16",
    compute: models.Compute = "auto",
    last_layer: models.LastLayer = "normed",
    prefix: str = "",
    weights: models.Weights = "pretrained",
    condition: Mapping[str, str] | None = None,
    language_codes: Mapping[str, str] | None = None,
) -> Settings:
    """Check the settings of `extract` that decide the states, and fill in what follows from model and corpus."""
    stack = info.check_stack(stack)
    for language in language_codes or ():
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages, where="language_codes")
    return Settings(
        stack,
        info.check_layers(stack, layers),
        pooling,
        tuple(dict.fromkeys(sentences)),
        dtype,
        compute,
        last_layer,
        prefix,
        weights,
        _condition(corpus, info, stack, condition),
        dict(language_codes or {}),
    )


def key_of(corpus: Corpus, info: models.ModelInfo, settings: Settings) -> str:
    """Return the key of states: the digest of all that decides them."""
    return digest([VERSION, corpus.digest, info.fingerprint, asdict(settings)])


def _condition(
    corpus: Corpus, info: models.ModelInfo, stack: str, given: Mapping[str, str] | None
) -> dict[str, str]:
    if not (stack == "decoder" and len(info.stacks) == 2):
        if given:
            raise UsageError(
                f"condition is for the decoder of an encoder-decoder; '{info.name}' is read with its {stack}."
            )
        return {}
    first, *others = corpus.languages
    chosen = {first: others[0] if others else first} | dict.fromkeys(others, first) | dict(given or {})
    for language in (*chosen, *chosen.values()):
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages, where="condition")
    return chosen
