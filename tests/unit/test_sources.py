"""Where a model comes from: broken folders are one clear line, and every byte of the weights counts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from isogloss import models
from isogloss.errors import InputError
from isogloss.models import sources


@pytest.fixture
def copy(tiny_model, tmp_path):
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "copy"))


def no(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        models.describe(path)
    assert "\n" not in str(caught.value)


# -- folders of sentence-transformers and of adapters ---------------------------------------------


@pytest.mark.parametrize("content", ["[]", "{}", "null", '"x"', "[3]", '[{"path": 3}]', "[{}]"])
def test_modules_that_name_no_transformer(copy, content):
    (copy / "modules.json").write_text(content)
    no(copy, r"modules\.json does not say where the transformer is: wanted is a list .*Mend it")


@pytest.mark.parametrize("content", ["", "[", "[" * 100_000, "\x00"])
def test_modules_that_are_no_json(copy, content):
    (copy / "modules.json").write_text(content)
    no(copy, r"modules\.json cannot be read as JSON .*Give a whole copy")


@pytest.mark.parametrize("base", [None, 3, ["x"], {}, ""])
def test_adapter_whose_base_is_no_name(tmp_path, base):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    no(tmp_path, "names no base_model_name_or_path. Add it")


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_adapter_without_settings(tmp_path, content):
    (tmp_path / "adapter_config.json").write_text(content)
    no(tmp_path, "names no base_model_name_or_path. Add it")


def test_adapter_whose_base_is_an_adapter(tmp_path):
    """Itself, in a ring, or a true one: whose weights would be left out without a word."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    for base, which in ((".", "this adapter itself"), (str(one), "this adapter itself"), ("../two", "another")):
        (one / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
        (two / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../one"}))
        no(one, f"as its base, which is {which}.*Name the model that it was trained on")


# -- the fingerprint ------------------------------------------------------------------------------


def test_one_byte_in_the_middle_of_large_weights_changes_the_fingerprint(copy):
    large = copy / "more.safetensors"
    with large.open("wb") as f:
        f.truncate(80 * 2**20)  # a file of zeros that takes no room
    first = models.describe(copy).fingerprint
    times = large.stat()
    with large.open("r+b") as f:
        f.seek(40 * 2**20)
        f.write(b"1")
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had happened
    assert models.describe(copy).fingerprint != first


def test_a_file_that_stays_is_read_once_in_a_process(copy, monkeypatch):
    read = []
    digest = sources.file_digest
    monkeypatch.setattr(sources, "file_digest", lambda path: read.append(path.name) or digest(path))
    monkeypatch.setattr(sources, "_SETTLED", -1e9)
    first = models.describe(copy).fingerprint
    assert sorted(read) == sorted({*read})
    read.clear()
    assert models.describe(copy).fingerprint == first
    assert read == []
    data = (copy / "config.json").read_text()
    (copy / "config.json").write_text(data + " ")
    assert models.describe(copy).fingerprint != first
    assert read == ["config.json"]


def test_a_file_changed_a_moment_ago_is_read_again(copy, monkeypatch):
    read = []
    monkeypatch.setattr(sources, "file_digest", lambda path: read.append(path.name) or str(len(read)))
    monkeypatch.setattr(sources, "_SETTLED", 1e9)
    models.describe(copy)
    n = len(read)
    models.describe(copy)
    assert len(read) == 2 * n
