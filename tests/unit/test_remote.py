"""The files of a study behind a URL: whose they are, and whether they are what they were."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from isogloss.errors import InputError
from isogloss.store import Remote, StudyLayout, claim
from isogloss.store import claims as claims_module
from isogloss.store.remote import _stamp

pytest.importorskip("fsspec")


@pytest.fixture
def place(tmp_path: Path) -> tuple[StudyLayout, Remote, Path]:
    """A study folder with one step, its storage, and that one's folder."""
    study = StudyLayout(tmp_path / "study")
    path = study.root / "states/m/layer_00.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1" * 200_000)
    (study.root / "results.csv").write_text("score\n0.51\n")
    study.mark_done("a", "key", [path, study.root / "results.csv"])
    folder = tmp_path / "storage"
    remote = Remote(f"file://{folder}")
    remote.send(study, "a")
    return study, remote, folder


def test_what_was_sent_is_done_and_is_not_read_again(place, monkeypatch):
    _, remote, _ = place
    monkeypatch.setattr(Remote, "_digest", lambda *_: pytest.fail("a file was read"))
    assert remote.is_done("a", "key")
    assert not remote.is_done("a", "other key")


@pytest.mark.parametrize("name", ["results.csv", "states/m/layer_00.npy"])
def test_other_bytes_of_the_same_size_are_noticed(place, name, tmp_path):
    study, remote, folder = place
    path = folder / name
    path.write_bytes(path.read_bytes().replace(b"1", b"0"))
    assert not remote.is_done("a", "key")
    with pytest.raises(InputError, match=rf"{name} is damaged\. Run the study again"):
        remote.bring(tmp_path / "new", ["a"])
    assert not (tmp_path / "new" / name).exists()
    assert remote.record("a") is None  # so that whoever looks makes it anew
    remote.send(study, "a")
    assert remote.is_done("a", "key")


def test_the_same_bytes_written_again_are_done_and_are_read_once(place, monkeypatch):
    _, remote, folder = place
    path = folder / "results.csv"
    shutil.copy(path, folder / "other")
    (folder / "other").replace(path)
    assert remote.is_done("a", "key")
    monkeypatch.setattr(Remote, "_digest", lambda *_: pytest.fail("a file was read"))
    assert remote.is_done("a", "key")


def test_a_folder_that_is_brought_is_whole_and_a_damaged_file_in_it_is_brought_again(place, tmp_path):
    _, remote, _ = place
    new = StudyLayout(tmp_path / "new")
    remote.bring(new.root, ["a"])
    assert new.is_done("a", "key")
    (new.root / "results.csv").write_text("score\n0.52\n")
    remote.bring(new.root, ["a"])
    assert (new.root / "results.csv").read_text() == "score\n0.51\n"


def test_sizes_alone_are_no_stamp():
    assert _stamp({"size": 3, "name": "x", "type": "file", "created": 5}) == ""
    assert _stamp({"size": 3, "ETag": "a"}) != _stamp({"size": 3, "ETag": "b"})
    assert _stamp({"size": 3, "LastModified": 1, "atime": 1}) == _stamp({"size": 3, "LastModified": 1, "atime": 2})


@pytest.mark.parametrize("name", ["../../x", "/x", "a/../../../x", "a\\x", "a\0"])
def test_a_marker_of_a_storage_writes_and_removes_nothing_outside(place, tmp_path, name):
    _, remote, folder = place
    victim = tmp_path / "x"
    victim.write_text("mine")
    new = StudyLayout(tmp_path / "deep/new")
    path = folder / ".steps/a.json"
    marker = json.loads(path.read_text())
    assert remote.is_done("a", marker["key"])  # but for the name it is one of ours
    marker["outputs"] = {name: next(iter(marker["outputs"].values()))}
    path.write_text(json.dumps(marker))
    assert not remote.is_done("a", marker["key"])
    with pytest.raises(InputError, match="The step a is not done"):
        remote.bring(new.root, ["a"])
    assert victim.read_text() == "mine"
    assert [path.name for path in tmp_path.rglob("x")] == ["x"]


def test_a_link_in_the_folder_is_not_followed_out(place, tmp_path):
    _, remote, _ = place
    new = tmp_path / "new"
    (tmp_path / "elsewhere").mkdir()
    new.mkdir()
    (new / "states").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads by a link out of"):
        remote.bring(new, ["a"])
    assert not list((tmp_path / "elsewhere").iterdir())


# -- whose it is ------------------------------------------------------------------------------------------


def study_at(root: Path, text: str) -> StudyLayout:
    study = StudyLayout(root)
    root.mkdir(parents=True)
    study.tokens.write_text(text)
    study.mark_done("corpus", text, [study.tokens])
    return study


def test_the_first_study_claims_a_storage_and_another_is_refused(tmp_path):
    remote = Remote(f"file://{tmp_path / 'storage'}")
    first, second = study_at(tmp_path / "first", "one text"), study_at(tmp_path / "second", "other text")
    claim(remote, first, name="first", key="a")
    with pytest.raises(InputError, match=r"holds the study 'first'.*--storage file://.*-2\. To go on with that"):
        claim(remote, second, name="second", key="b")
    claim(remote, first, name="first", key="other settings")  # it may change
    with pytest.raises(InputError, match="holds the study 'first'"):
        claim(remote, second, name="second", key="a")
    claim(Remote(f"file://{tmp_path / 'storage'}-2"), second, name="second", key="b")


def test_the_same_study_goes_on_from_another_folder(tmp_path):
    remote = Remote(f"file://{tmp_path / 'storage'}")
    first, second = study_at(tmp_path / "first", "text"), study_at(tmp_path / "second", "text")
    claim(remote, first, name="s", key="a")
    claim(remote, second, name="s", key="a")
    claim(remote, second, name="s", key="b")  # and is the same study from then on
    claim(remote, first, name="s", key="b")
    assert len(remote.names(".study")) == 1


def test_a_storage_from_before_there_were_claims(tmp_path):
    remote = Remote(f"file://{tmp_path / 'storage'}")
    first, second = study_at(tmp_path / "first", "text"), study_at(tmp_path / "second", "other")
    (tmp_path / "storage").mkdir()
    remote.send(first, "corpus")
    with pytest.raises(InputError, match="holds another study"):
        claim(remote, second, name="s", key="b")
    claim(remote, first, name="s", key="a")


def test_of_two_that_come_at_the_same_time_one_gets_it(tmp_path, monkeypatch):
    """Both look before either has written: then both see two claims, and draw again."""
    monkeypatch.setattr(claims_module, "_PATIENCE", 0.2)
    monkeypatch.setattr(claims_module, "_TRIES", 30)
    plain, both = claims_module._claims, threading.Barrier(2)
    looks: dict[int, int] = {}

    def look(remote):
        found = plain(remote)
        mine = looks[threading.get_ident()] = looks.get(threading.get_ident(), 0) + 1
        if mine == 1:
            both.wait()
        return found

    monkeypatch.setattr(claims_module, "_claims", look)
    said: list[str] = []

    def come(name: str) -> None:
        try:
            remote = Remote(f"file://{tmp_path / 'storage'}")
            claim(remote, study_at(tmp_path / name, name), name=name, key=name)
            said.append("claimed")
        except InputError:
            said.append("refused")

    threads = [threading.Thread(target=come, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["claimed", "refused"]
