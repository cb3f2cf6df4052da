"""Where a model comes from: a folder or the hub; whether it is whole; what pins it."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isogloss.errors import InputError, UsageError
from isogloss.progress import progress
from isogloss.store import digest, file_digest

log = logging.getLogger(__name__)

_SETTLED = 2.0  # seconds; within one tick of the clock a file may change and keep its times
_MODEL_FILES = {".json", ".safetensors", ".bin", ".model", ".txt", ".tiktoken"}
_WITHOUT_VOCABULARY = {"ByT5Tokenizer", "CanineTokenizer", "canine"}
_ADAPTER, _MODULES = "adapter_config.json", "modules.json"  # of peft, of sentence-transformers
SENTENCE_SETTINGS = "sentence_bert_config.json"  # of sentence-transformers, beside the transformer


@dataclass(frozen=True)
class Source:
    """Where configuration, weights and tokenizer are loaded from.

    `path` is a folder, or a hub id with its `commit`.  `fingerprint` is the digest of the files, or the commit; of an
    `adapter`, whose base `path` then is, it is of both.  `offline`: only files on this machine are to be used.
    `lower_case`: text is put in lower case before the tokenizer reads it, as sentence-transformers may ask for.
    """

    path: str
    fingerprint: str
    commit: str | None
    offline: bool
    adapter: Path | None = None
    lower_case: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What to say to every ``from_pretrained``: pinned, and never with code from the hub."""
        pinned = {} if self.commit is None else {"revision": self.commit}
        return {"local_files_only": self.offline, "trust_remote_code": False, **pinned}

    @property
    def tokenizer(self) -> str:
        """Where the tokenizer is: beside the adapter, if that brings one."""
        beside = self.adapter is not None and (self.adapter / "tokenizer_config.json").exists()
        return str(self.adapter) if beside else self.path


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
        return _with_case(hub_source(str(name), revision))
    if revision is not None:
        raise UsageError(f"revision='{revision}' is for models on the hub; '{name}' is a folder.")
    if (folder / _ADAPTER).exists():
        return _adapter_source(folder)
    folder = _transformer_folder(folder)
    _check_folder(folder)
    return _with_case(Source(str(folder), _folder_fingerprint(folder), None, offline=True))


def _with_case(source: Source) -> Source:
    """Return a source that says whether text is put in lower case."""
    path = model_file(source, SENTENCE_SETTINGS, place=source.path)
    settings = None if path is None else _json(path)
    return replace(source, lower_case=isinstance(settings, dict) and settings.get("do_lower_case") is True)


def model_file(source: Source, name: str, *, place: str) -> Path | None:
    """Return a file of a model's folder or of the hub's cache, or None."""
    from transformers.utils import cached_file

    file = cached_file(
        place,
        name,
        revision=source.commit,
        local_files_only=source.offline,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if file is None else Path(file)


def _transformer_folder(folder: Path) -> Path:
    """Return where the transformer is: in a folder of sentence-transformers it may have its own folder."""
    path = folder / _MODULES
    if not path.exists():
        return folder
    modules = _json(path)
    first = modules[0] if isinstance(modules, list) and modules else None
    place = first.get("path") if isinstance(first, dict) else None
    if not isinstance(place, str):
        raise InputError(
            f"{path} does not say where the transformer is: wanted is a list of modules, the first with its path, "
            'such as [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]. Mend it, or '
            "remove it if this is a plain model folder."
        )
    return folder / place


def _adapter_source(folder: Path) -> Source:
    path = folder / _ADAPTER
    settings = _json(path)
    named = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    if not isinstance(named, str) or not named:
        raise InputError(
            f"{path} names no base_model_name_or_path. Add it: a folder or a hub id, as "
            '{"base_model_name_or_path": "xlm-roberta-base", ...}.'
        )
    beside = folder / named
    base = beside if beside.is_dir() else Path(named)
    if (base / _ADAPTER).exists():
        which = "this adapter itself" if base.resolve() == folder.resolve() else "another adapter"
        raise InputError(
            f"{path} names '{named}' as its base, which is {which}. Name the model that it was trained on; where that "
            "was an adapter, merge that one into its base first."
        )
    source = find_source(beside if beside.is_dir() else named, None)
    fingerprint = digest([source.fingerprint, _folder_fingerprint(folder)])
    return replace(source, fingerprint=fingerprint, adapter=folder)


def _json(path: Path) -> Any:
    """Read a JSON file of a model folder."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{path} cannot be read as JSON ({reason}). Give a whole copy of the model.") from None


def _check_folder(folder: Path) -> None:
    """Refuse a folder that lacks a configuration, weights or a tokenizer, naming what it lacks."""
    needed = {
        "configuration (config.json)": ("config.json",),
        "weights (model.safetensors)": ("*.safetensors", "*.bin"),
        "tokenizer (tokenizer.json)": ("tokenizer.json", "vocab*", "*.model", "*.tiktoken"),
    }
    if _reads_text_itself(folder):
        del needed["tokenizer (tokenizer.json)"]
    for what, patterns in needed.items():
        if not any(True for pattern in patterns for _ in folder.glob(pattern)):
            raise InputError(
                f"The folder {folder} has no {what}. Give a folder in the hub's format, as save_pretrained "
                "of a model and of its tokenizer write it."
            )


def _reads_text_itself(folder: Path) -> bool:
    """Return whether a model reads bytes or characters, for which no vocabulary is written."""
    kinds = []
    for name in ("tokenizer_config.json", "config.json"):
        with contextlib.suppress(InputError):  # transformers will read it, too, and say more
            settings = _json(folder / name)
            if isinstance(settings, dict):
                kinds += [settings.get("tokenizer_class"), settings.get("model_type")]
    return any(kind in _WITHOUT_VOCABULARY for kind in kinds if isinstance(kind, str))


_digests: dict[tuple[object, ...], str] = {}


def _folder_fingerprint(folder: Path) -> str:
    """Return a digest of the model files of a folder, every byte of them.

    In one process a file is read once, as long as its size, times and inode stay; no other process's word is taken
    for it, as reading costs less than loading: 0.6 to 1 GB a second.
    """
    files = [x for x in sorted(folder.iterdir()) if x.suffix in _MODEL_FILES and x.is_file()]
    contents = {}
    with progress(f"digest of {folder.name}", sum(path.stat().st_size for path in files)) as advance:
        for path in files:
            contents[path.name] = [path.stat().st_size, _digest_once(path)]
            advance(path.stat().st_size)
    return digest(contents)


def _digest_once(path: Path) -> str:
    now, file = time.time(), path.stat()
    key = (str(path.resolve()), file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns)
    if key not in _digests:
        content = file_digest(path)
        if now - max(file.st_mtime, file.st_ctime) < _SETTLED:
            return content
        _digests[key] = content
    return _digests[key]


def hub_source(name: str, revision: str | None) -> Source:
    """Return how to load a hub model: pinned to its commit, and offline if the hub cannot be reached."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    way_out = "Give a folder in the hub's format or a hub id such as bert-base-multilingual-cased"
    try:
        commit = HfApi().model_info(name, revision=revision, timeout=10).sha
        return Source(name, f"commit-{commit}", commit, offline=False)
    except HFValidationError:
        raise InputError(f"There is no model folder '{name}', and it cannot be a hub id. {way_out}.") from None
    except RevisionNotFoundError:
        raise InputError(f"The hub's model '{name}' has no revision '{revision}'.") from None
    except RepositoryNotFoundError:
        raise InputError(f"There is no model '{name}': neither a folder nor known to the hub. {way_out}.") from None
    except Exception as error:  # the kind of a network error depends on the HTTP library in use
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        log.info("the hub cannot be reached (%s); looking for %s in its local cache", reason, name)
    cached = try_to_load_from_cache(name, "config.json", revision=revision or "main")
    if not isinstance(cached, str):
        raise InputError(
            f"There is no model '{name}': it is not a folder, not in the hub's local cache, and the hub "
            f"cannot be reached ({reason}). {way_out}, and check the network."
        )
    commit = Path(cached).parent.name
    return Source(name, f"commit-{commit}", commit, offline=True)


def check_complete(name: object, missing: Sequence[str], *, encoder_only: bool) -> None:
    """Refuse a model whose states would come from weights that transformers had to make up."""
    lost = [x for x in sorted(missing) if "pooler" not in x and not (encoder_only and x.startswith("decoder."))]
    if lost:
        raise InputError(
            f"The weights of '{name}' lack {len(lost)} tensors that the model needs, e.g. '{lost[0]}'. "
            "They do not fit its config.json."
        )


def load_part(what: str, name: object, make: Callable[[], Any]) -> Any:
    """Call one of transformers' loaders quietly; whatever goes wrong is one line that names model and cause.

    What transformers warns of on the way may be the cause, and stands in the message.  A warning that it takes
    something else than was asked for is an error.
    """
    with _heard_transformers() as warnings:
        try:
            loaded = make()
        except Exception as error:  # transformers and its file readers raise many kinds
            if "trust_remote_code" in str(error):
                raise InputError(
                    f"The {what} of the model '{name}' can only be loaded with Python code that comes with it, which "
                    "isogloss never runs. Give a model of a kind that transformers knows by itself."
                ) from None
            lines = (line.strip() for line in str(error).split("\n"))
            reason = next((line for line in lines if line), type(error).__name__)
            # a warning names the cause, and the error what it led to
            whole = " ".join([*warnings, reason])
            hint = " Install it with: pip install --upgrade protobuf" if "protobuf" in whole.lower() else ""
            raise InputError(f"The {what} of the model '{name}' cannot be loaded: {whole}{hint}") from error
    for warning in warnings:
        # the report of loaded weights is a table for screens; `check_complete` says what matters of it
        if "LOAD REPORT" not in warning:
            log.info("%s, %s: %s", name, what, warning)
    instead = next((x for x in warnings if "falling back" in x.lower()), None)
    if instead is not None:
        raise InputError(f"The {what} of the model '{name}' cannot be loaded as it is meant: {instead}")
    return loaded


@contextlib.contextmanager
def _heard_transformers() -> Iterator[list[str]]:
    """Keep transformers' warnings off the screen, and yield the list that they go to, a line each."""
    warnings: list[str] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = " ".join(record.getMessage().split())
            if line not in warnings:
                warnings.append(line)

    theirs = logging.getLogger("transformers")
    with quiet_transformers():
        handlers, propagate = theirs.handlers, theirs.propagate
        theirs.handlers, theirs.propagate = [_Keep(logging.WARNING)], False
        theirs.setLevel(logging.WARNING)
        try:
            yield warnings
        finally:
            theirs.handlers, theirs.propagate = handlers, propagate


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
