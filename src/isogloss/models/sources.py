"""Where a model comes from: a folder or the hub; whether it is whole; what pins it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isogloss.errors import InputError, UsageError
from isogloss.store import digest, file_digest, read_json

log = logging.getLogger(__name__)

_HASHED_UP_TO = 64 * 2**20
_END = 2**20
_MODEL_FILES = {".json", ".safetensors", ".bin", ".model", ".txt", ".tiktoken"}
_ADAPTER, _MODULES = "adapter_config.json", "modules.json"  # of peft, of sentence-transformers


@dataclass(frozen=True)
class Source:
    """Where configuration, weights and tokenizer are loaded from.

    Attributes
    ----------
    path : str
        A folder or a hub id, for transformers.
    fingerprint : str
        Digest of the files (a folder) or commit (the hub); of an adapter with its base.
    commit : str or None
        Commit on the hub; None for a folder.
    offline : bool
        Only files on this machine are to be used.
    adapter : Path or None
        The folder of an adapter whose base `path` is.
    """

    path: str
    fingerprint: str
    commit: str | None
    offline: bool
    adapter: Path | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What to say to every ``from_pretrained``: pinned, and never with code from the hub."""
        pinned = {} if self.commit is None else {"revision": self.commit}
        return {"local_files_only": self.offline, "trust_remote_code": False, **pinned}

    @property
    def tokenizer(self) -> str:
        """Where the tokenizer is: beside the adapter, if that brings one."""
        own = self.adapter is not None and (self.adapter / "tokenizer_config.json").exists()
        return str(self.adapter) if own else self.path


def find_source(name: str | Path, revision: str | None) -> Source:
    """Find a model: a folder of transformers, sentence-transformers or peft, or a hub id.

    Raises
    ------
    InputError
        If there is no such model, a folder lacks something, or the hub cannot be reached and does not have it cached.
    UsageError
        If a `revision` is given for a folder.
    """
    folder = Path(name)
    if not folder.is_dir():
        return hub_source(str(name), revision)
    if revision is not None:
        raise UsageError(f"revision='{revision}' is for models on the hub; '{name}' is a folder.")
    if (folder / _ADAPTER).exists():
        return _adapter_source(folder)
    if (folder / _MODULES).exists():  # the transformer may have a folder of its own
        first = read_json(folder / _MODULES)[0]
        folder = folder / str(first.get("path", ""))
    _check_folder(folder)
    return Source(str(folder), _folder_fingerprint(folder), None, offline=True)


def _adapter_source(folder: Path) -> Source:
    named = read_json(folder / _ADAPTER).get("base_model_name_or_path")
    if not named:
        raise InputError(f"{folder / _ADAPTER} names no base_model_name_or_path. Add it.")
    beside = folder / str(named)
    base = find_source(beside if beside.is_dir() else named, None)
    fingerprint = digest([base.fingerprint, _folder_fingerprint(folder)])
    return replace(base, fingerprint=fingerprint, adapter=folder)


def _check_folder(folder: Path) -> None:
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


def _folder_fingerprint(folder: Path) -> str:
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


def hub_source(name: str, revision: str | None) -> Source:
    """Return how to load a hub model: pinned to its commit, and offline if the hub cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    from transformers import AutoConfig

    way_out = "Give a folder in the hub's format or a hub id such as bert-base-multilingual-cased"
    try:
        commit = HfApi().model_info(name, revision=revision, timeout=10).sha
        return Source(name, f"commit-{commit}", commit, offline=False)
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
    return Source(name, f"commit-{config._commit_hash}", config._commit_hash, offline=True)


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
        if "trust_remote_code" in str(error):
            raise InputError(
                f"The {what} of the model '{name}' can only be loaded with Python code that comes with it, which "
                "isogloss never runs. Give a model of a kind that transformers knows by itself."
            ) from None
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
