"""What decides the states of a corpus: the settings of `extract`, filled in from model and corpus, and their key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from isogloss import models
from isogloss.corpus import Corpus
from isogloss.errors import UsageError, unknown
from isogloss.settings import ExtractionSettings
from isogloss.store import digest

VERSION = 4  # raise it when the same settings give other states


class StackSettings(ExtractionSettings):
    """The settings of one stack of one model, with all that follows from model and corpus."""

    stack: str
    layers: tuple[int, ...]
    condition: dict[str, str]


def resolve(
    corpus: Corpus, model: str | Path, settings: ExtractionSettings, *, stack: str | None, revision: str | None
) -> tuple[models.ModelInfo, StackSettings, str]:
    """Check the settings of `extract` against model and corpus, fill in what follows from these, and return all of it.

    The last of it is the key of states: the digest of all that decides them.
    """
    info = models.describe(model, revision=revision)
    stack = info.check_stack(stack)
    for language in settings.language_codes:
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages, where="language_codes")
    resolved = {
        "stack": stack,
        "layers": info.check_layers(stack, settings.layers),
        "condition": _condition(corpus, info, stack, settings.condition),
    }
    chosen = StackSettings(**settings.values_of(ExtractionSettings) | resolved)
    return info, chosen, digest([VERSION, corpus.digest, info.fingerprint, chosen.model_dump()])


def _condition(corpus: Corpus, info: models.ModelInfo, stack: str, chosen: Mapping[str, str] | None) -> dict[str, str]:
    if not (stack == "decoder" and len(info.stacks) == 2):
        if chosen:
            raise UsageError(
                f"condition is for the decoder of an encoder-decoder; '{info.name}' is read with its {stack}."
            )
        return {}
    first, *others = corpus.languages
    mates = {first: others[0] if others else first} | dict.fromkeys(others, first) | dict(chosen or {})
    for language in (*mates, *mates.values()):
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages, where="condition")
    return mates
