"""Where a model comes from: a folder or the hub; whether it is whole; what pins it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from isogloss.errors import InputError
from isogloss.store import digest, file_digest

log = logging.getLogger(__name__)

_HASHED_UP_TO = 64 * 2**20
_END = 2**20
_MODEL_FILES = {".json", ".safetensors", ".bin", ".model", ".txt", ".tiktoken"}


def check_folder(folder: Path) -> None:
    """Refuse a folder that lacks a configuration, weights or a tokenizer, naming what it lacks."""
    needed = {
        "configuration (config.json)": ("config.json",),
        "weights (model.safetensors)": ("*.safetensors", "*.bin"),
        "tokenizer (tokenizer.json)": ("tokenizer.json", "vocab*", "*.model", "*.tiktoken"),
    }
    for what, patterns in needed.items():
        if not any(True for pattern in patterns for _ in folder.glob(pattern)):
            raise InputError(
                f"The folder {folder} has no {what}. Give a folder in the hub's format, as save_pretrained "
                "of a model and of its tokenizer write it."
            )


def folder_fingerprint(folder: Path) -> str:
    """Return a digest of the model files of a folder; of files over 64 MB only the ends are read."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in _MODEL_FILES and path.is_file():
            size = path.stat().st_size
            found[path.name] = [size, file_digest(path) if size <= _HASHED_UP_TO else _ends_digest(path)]
    return digest(found)


def _ends_digest(path: Path) -> str:
    with path.open("rb") as f:
        h = hashlib.blake2b(f.read(_END), digest_size=8)
        f.seek(-_END, 2)
        h.update(f.read(_END))
    return h.hexdigest()


def hub_source(name: str, revision: str | None) -> dict[str, Any]:
    """Return how to load a hub model: pinned to its commit, and offline if the hub cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    from transformers import AutoConfig

    way_out = "Give a folder in the hub's format or a hub id such as bert-base-multilingual-cased"
    try:
        commit = HfApi().model_info(name, revision=revision, timeout=10).sha
        return {"revision": commit, "local_files_only": False, "trust_remote_code": False}
    except HFValidationError:
        raise InputError(
            f"There is no model folder '{name}', and it cannot be a hub id. {way_out}."
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"The hub's model '{name}' has no revision '{revision}'.") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"There is no model '{name}': neither a folder nor known to the hub. {way_out}."
        ) from None
    except Exception as error:  # the kind of a network error depends on the HTTP library in use
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        log.info("the hub cannot be reached (%s); looking for %s in its local cache", reason, name)
    offline: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(name, revision=revision or "main", **offline)
    except (OSError, ValueError):
        raise InputError(
            f"There is no model '{name}': it is not a folder, not in the hub's local cache, and the hub "
            f"cannot be reached ({reason}). {way_out}, and check the network."
        ) from None
    return {"revision": config._commit_hash, **offline}


def check_complete(name: object, missing: Sequence[str], *, encoder_only: bool) -> None:
    """Refuse a model whose states would come from weights that transformers had to make up."""
    lost = [
        x for x in sorted(missing) if "pooler" not in x and not (encoder_only and x.startswith("decoder."))
    ]
    if lost:
        raise InputError(
            f"The weights of '{name}' lack {len(lost)} tensors that the model needs, e.g. '{lost[0]}'. "
            "They do not fit its config.json."
        )


def load_part(what: str, name: object, make: Callable[[], Any]) -> Any:
    """Call one of transformers' loaders quietly; whatever goes wrong is one line that names the model."""
    try:
        with quiet_transformers():
            return make()
    except Exception as error:  # transformers and its file readers raise many kinds
        reason = next((line.strip() for line in str(error).split("\n") if line.strip()), type(error).__name__)
        raise InputError(f"The {what} of the model '{name}' cannot be loaded: {reason}") from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' own bars and warnings; ours say what matters."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
