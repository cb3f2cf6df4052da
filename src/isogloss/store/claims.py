"""Whose a storage is: the first study that comes claims it, another one is refused."""

from __future__ import annotations

import json
import random
import re
import secrets
import time
from typing import Any

from isogloss.errors import InputError
from isogloss.store.files import write_json
from isogloss.store.layout import StudyLayout
from isogloss.store.markers import CORPUS
from isogloss.store.remote import Remote

_FOLDER = ".study"  # of a storage; a claim is a file ID.json in it
_TRIES = 6
_PATIENCE = 1.0  # seconds, at most, before another look at claims that were made at the same time


def claim(remote: Remote, study: StudyLayout, *, name: str, key: str) -> None:
    """Make a storage this study's, or find that it is.

    A claim is written under a name of its own, and then all are listed.  So of two studies that come at the same time
    the later one sees the other's claim, whoever writes first; where both see two, both withdraw and try again.
    The study folder notes its claim, and may change its settings.  Another folder may join when it asks for the very
    same steps, as when a study goes on on another machine.

    Parameters
    ----------
    name : str
        Of the study, for messages.
    key : str
        Digest of all its steps.

    Raises
    ------
    InputError
        If the storage holds another study.
    """
    noted = _noted(study)
    noted_id = noted.get(remote.url)
    study_id = noted_id or secrets.token_hex(8)
    content = json.dumps({"name": name, "key": key})
    for _ in range(_TRIES):
        there = _claims(remote)
        if noted_id in there:
            remote.write(_file(study_id), content)
            return
        if len(there) == 1:
            other, claimed = next(iter(there.items()))
            if claimed.get("key") != key:
                raise _refusal(remote, claimed.get("name"))
            write_json(study.claims, {**noted, remote.url: other})
            return
        if not there:
            held = remote.record(CORPUS)  # of a run before there were claims
            if held is not None and held["key"] != study.known(CORPUS)["key"]:
                raise _refusal(remote, None)
            remote.write(_file(study_id), content)
            if set(_claims(remote)) == {study_id}:
                write_json(study.claims, {**noted, remote.url: study_id})
                return
            remote.remove(_file(study_id))
        time.sleep(random.uniform(0.1, 1.0) * _PATIENCE)
    raise _refusal(remote, None)


def _claims(remote: Remote) -> dict[str, dict[str, Any]]:
    claims = {}
    for name in remote.names(_FOLDER):
        if re.fullmatch(r"[0-9a-f]{16}[.]json", name):
            try:
                content = json.loads(remote.text(f"{_FOLDER}/{name}") or "{}")
            except (ValueError, RecursionError):
                content = {}
            claims[name.removesuffix(".json")] = content if isinstance(content, dict) else {}
    return claims


def _noted(study: StudyLayout) -> dict[str, str]:
    try:
        noted = json.loads(study.claims.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(url): str(study_id) for url, study_id in noted.items()} if isinstance(noted, dict) else {}


def _file(study_id: str) -> str:
    return f"{_FOLDER}/{study_id}.json"


def _refusal(remote: Remote, name: object) -> InputError:
    other = f"the study {name!r}" if name else "another study"
    return InputError(
        f"The storage {remote.url} holds {other}, and files of two would mix. Give this one a URL of its own, e.g. "
        f"--storage {remote.url}-2. To go on with that study, run it in its own folder, or with the same study file "
        f"and text. To give its files up, delete all below {remote.url}."
    )
