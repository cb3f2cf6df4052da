"""Names that come from files stay inside the study folder; secrets of URLs stay out of files."""

from __future__ import annotations

import json

import pytest

from isogloss.coordinates import Clustering, Pair, Space
from isogloss.errors import InputError
from isogloss.store import Remote, StudyLayout, inside, write_json
from isogloss.urls import hidden, is_loopback, without_secrets

OUTSIDE = [
    "../../x",
    "..",
    "a/../../x",
    "/etc/passwd",
    "a//b",
    "",
    ".",
    "a\\..\\x",
    "a\0b",
    "\ud800",
    "x" * 300,
    "a/" * 2000 + "b",
    7,
    None,
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"is not the name of a file inside .*'concepts/en\.parquet'"):
        inside(tmp_path, name)


def test_names_inside_are_paths(tmp_path):
    for name in ("results.csv", "concepts/m/layer_00/en+de.parquet", "...", "-", "हिन्दी/c++"):
        assert inside(tmp_path, name) == tmp_path / name


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(tmp_path):
    study = tmp_path / "study"
    (study / "here").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (study / "out").symlink_to(tmp_path / "elsewhere")
    (study / "in").symlink_to(study / "here")
    (study / "file").symlink_to("/etc/passwd")
    assert inside(study, "in/x") == study / "in/x"
    for name in ("out/x", "file"):
        with pytest.raises(InputError, match=r"leads by a link out of .*--out"):
            inside(study, name)
    linked = tmp_path / "linked"  # the folder itself may be a link
    linked.symlink_to(study)
    assert inside(linked, "here/x") == linked / "here/x"


@pytest.mark.parametrize("name", [one for one in OUTSIDE if isinstance(one, str)])
def test_a_marker_that_names_files_outside_is_none(tmp_path, name):
    study = StudyLayout(tmp_path / "study")
    write_json(study.root / "x", {})
    study.mark_done("a", "k", [study.root / "x"])
    assert study.is_done("a", "k")  # but for the name it is one
    marker = json.loads(study.marker("a").read_text())
    marker["outputs"][name] = marker["outputs"].pop("x")
    study.marker("a").write_text(json.dumps(marker))
    assert study.record("a") is None
    assert not study.is_done("a", "k")


def test_names_of_models_stacks_and_steps_stay_inside(tmp_path):
    """As a table of results, a plan or a manifest may say them."""
    study = StudyLayout(tmp_path)
    en = Space.of("en")
    for make in (
        lambda: study.marker("../../x"),
        lambda: study.states("m", "../../../x"),
        lambda: study.shard("m", "encoder", "../x"),
        lambda: study.metrics(Clustering("m", "encoder", 0, "../../ward", 2, 0), None),
        lambda: study.concepts(Clustering("m", "..", 0, "ward", 2, 0), en),
        lambda: study.labels("../x"),
    ):
        with pytest.raises(InputError, match="is not the name of a file inside"):
            make()


def test_labels_of_languages_lead_nowhere(tmp_path):
    """They may hold any character, and are written so that they stay the name of one file."""
    study = StudyLayout(tmp_path)
    clustering = Clustering("m", "encoder", 0, "ward", 2, 0)
    layer = tmp_path / "concepts/m/encoder/ward-k2-s0/layer_00"
    for label in ("..", ".", "../../en", "/etc/passwd", "a\\b", "a\0b"):
        assert study.dictionary(Pair(label, "de")).parent == tmp_path / "dictionary"
        assert study.concepts(clustering, Space.of(label)).parent == layer


# -- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/study", "s3://bucket/study"),
        ("s3://KEYID:secret@bucket/study", "s3://bucket/study"),
        ("s3://KEYID:se/cr+et@bucket/study", "s3://bucket/study"),
        ("https://user:pw@host:8443/a?sig=abcd&sv=1#t", "https://host:8443/a"),
        ("https://ghp_token@host/a", "https://host/a"),
        ("sftp://me@host:22/study", "sftp://me@host:22/study"),
        ("sftp://me:p@ss@host/study", "sftp://host/study"),
        ("sftp://host:22/me@home", "sftp://host:22/me@home"),
        ("abfs://container@account.dfs.core.windows.net/x?sig=1", "abfs://container@account.dfs.core.windows.net/x"),
        ("simplecache::s3://k:secret@bucket/x", "simplecache::s3://bucket/x"),
        ("file:///data/why?/a:b@c", "file:///data/why?/a:b@c"),
        ("/data/why?", "/data/why?"),
    ],
)
def test_urls_are_shown_without_secrets(url, shown):
    assert without_secrets(url) == shown
    assert without_secrets(shown) == shown


def test_secrets_are_gone_from_what_others_say():
    url = "s3://KEYID:s%2Fcret@bucket/study?token=tok-en"
    said = f"cannot open {url} with s/cret, s%2Fcret or tok-en; see https://me:other@host/x"
    assert hidden(said, url) == "cannot open s3://bucket/study with ***, *** or ***; see https://host/x"


def test_a_remote_shows_no_secret_and_keeps_it():
    import pickle

    pytest.importorskip("fsspec")
    remote = Remote("memory://study")
    assert pickle.loads(pickle.dumps(remote)).url == "memory://study"
    remote._whole_url = "s3://a:secret@b"
    assert "secret" not in repr(remote) + str(remote.url)
    assert remote.__reduce__() == (Remote, ("s3://a:secret@b",))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://localhost:1", "tcp://[::1]:8786"])
def test_addresses_of_this_machine(address):
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:1", "tcp://127.0.0.1.example.org:1", "tcp://0.0.0.0:1", "x"])
def test_addresses_beyond_this_machine(address):
    assert not is_loopback(address)


def test_no_file_of_a_run_holds_the_password_of_its_storage(study_file, tmp_path, monkeypatch):
    """The run ends when it is to send the first file; what was written until then is looked at."""
    pytest.importorskip("distributed")
    from isogloss.config import read_config
    from isogloss.errors import IsoglossError, UsageError
    from isogloss.study import run_study

    url = "ftp://user:hunter22@127.0.0.1:1/study"
    path = study_file(run={"scheduler": "processes", "storage": url})
    config = read_config(path)
    assert config.run.storage == url
    assert "hunter22" not in repr(config) + json.dumps(config.model_dump(mode="json"))
    with pytest.raises(IsoglossError, match=r"ftp://127\.0\.0\.1:1/study cannot be used") as caught:
        run_study(path, out=tmp_path / "out")
    assert "hunter22" not in str(caught.value)
    files = [one for one in (tmp_path / "out").rglob("*") if one.is_file()]
    assert "storage: ftp://127.0.0.1:1/study" in (tmp_path / "out/study.yaml").read_text()
    assert [one for one in files if b"hunter22" in one.read_bytes()] == []
    with pytest.raises(UsageError, match="storage is for workers of Dask") as refused:
        read_config(study_file(run={"scheduler": "local", "storage": url}))
    assert "hunter" not in str(refused.value)
