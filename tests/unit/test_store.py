from __future__ import annotations

import gzip
import json
import os
import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import isogloss
from isogloss.coordinates import Clustering, Pair, Space
from isogloss.errors import InputError, IsoglossError
from isogloss.store import (
    RowWriter,
    StudyLayout,
    atomic,
    digest,
    files,
    folder_name,
    lock_holder,
    locked,
    open_array,
    read_csv,
    read_json,
    read_lines,
    read_table,
    temporary_folder,
    write_csv,
    write_json,
    write_table,
    write_text,
)

# -- writing --------------------------------------------------------------------------------------


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.csv"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic(path) as f:
        f.write(b"half of the n")
        f.flush()
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


def test_a_full_disk_is_told_with_the_way_out(tmp_path):
    path = tmp_path / "results.csv"
    write_text(path, "old")
    with pytest.raises(InputError, match=r"results\.csv: No space left on device.*--out"), atomic(path):
        raise OSError(28, os.strerror(28))
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


def test_a_full_disk_is_told_of_tables_too(tmp_path):
    table = pl.DataFrame({"row": range(100_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(InputError, match=r"Cannot write .*t\.parquet: File too large\. .*--out"):
            write_table(tmp_path / "t.parquet", table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"Cannot write .*file.*--out"):
        write_text(tmp_path / "file" / "results.csv", "new")


def test_written_files_have_the_usual_permissions(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "theirs").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_json_and_tables_come_back(tmp_path):
    value = {"language": "हिन्दी", "layers": [0, 6], "none": None}
    write_json(tmp_path / "a" / "manifest.json", value)
    assert read_json(tmp_path / "a" / "manifest.json") == value
    table = pl.DataFrame({"row": [0, 1], "word": ["كتاب", "书"]})
    write_table(tmp_path / "t.parquet", table)
    assert read_table(tmp_path / "t.parquet", ["row"]).equals(table)


def test_words_in_csv_are_no_formulas_and_come_back(tmp_path):
    # Numbers stay as they are; the mark is an apostrophe, which words may have themselves.
    words = ["=1+1", "+49", "-0.5", "@x", "\ta", "\rb", "'tis", "'=x", "''-", "a=b", "", "हिन्दी", "-", 'a"b,c', None]
    table = pl.DataFrame({"word": words, "score": [-0.5] * len(words)})
    write_csv(tmp_path / "t.csv", table)
    text = (tmp_path / "t.csv").read_text()
    assert text.splitlines()[:4] == ["word,score", "'=1+1,-0.500000", "'+49,-0.500000", "'-0.5,-0.500000"]
    plain = pl.read_csv(tmp_path / "t.csv")["word"].to_list()
    assert not [word for word in plain if word and word[0] in "=+-@\t\r"]
    assert plain[6:10] == ["'tis", "''=x", "'" + "''-", "a=b"]
    back = read_csv(tmp_path / "t.csv")
    assert back["word"].to_list() == words
    assert back["score"].to_list() == table["score"].to_list()


def test_csv_is_written_and_read_in_one_place():
    source = Path(isogloss.__file__).parent
    other = re.compile(r"pl\.read_csv|(?<!store)(?<!results)\.write_csv\(")
    found = [path.name for path in source.rglob("*.py") if other.search(path.read_text(encoding="utf-8"))]
    assert found == ["files.py"]


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "m.json").write_text("{half")
    (tmp_path / "layer_00.npy").write_bytes(b"\x93NUMPY")
    for read, name in (
        (lambda path: read_table(path, []), "t.parquet"),
        (read_json, "m.json"),
        (open_array, "layer_00.npy"),
    ):
        with pytest.raises(InputError, match=f"{name} cannot be read.*Delete it"):
            read(tmp_path / name)
        with pytest.raises(InputError, match="no file"):
            read(tmp_path / f"other-{name}")


def test_a_table_has_the_types_that_are_asked_for(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, pl.DataFrame({"row": [0, 1], "word": ["a", "b"]}))
    assert read_table(path, {"row": pl.Int32}).schema["row"] == pl.Int32
    with pytest.raises(InputError, match=r"t\.parquet has a column of another type"):
        read_table(path, {"word": pl.Int32})


def test_arrays_are_written_in_place(tmp_path):
    array = RowWriter(tmp_path / "layer_06.npy", (3, 2), "float16")
    assert not open_array(tmp_path / "layer_06.npy").any()
    array.write(np.array([1]), np.full((1, 2), 7))
    array.close()
    assert open_array(tmp_path / "layer_06.npy").tolist() == [[0, 0], [7, 7], [0, 0]]
    assert np.load(tmp_path / "layer_06.npy").dtype == np.float16


# -- reading lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\nb", ["a", "b"]),
        ("a\r\n\r\nb\r\n", ["a", "", "b"]),
        ("\ufeffa\nb", ["a", "b"]),
        ("a\u2028b\u0085c\x0bd\x0ce\n", ["a\u2028b\u0085c\x0bd\x0ce"]),
        ("a\rb\n", ["a\rb"]),
        ("\n\n", ["", ""]),
        ("", []),
    ],
)
def test_only_line_feeds_end_lines(tmp_path, data, lines):
    (tmp_path / "dev.en").write_bytes(data.encode())
    (tmp_path / "dev.en.gz").write_bytes(gzip.compress(data.encode()))
    assert read_lines(tmp_path / "dev.en") == lines
    assert read_lines(tmp_path / "dev.en.gz") == lines


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_that_is_not_utf8_is_named_with_its_line(tmp_path, mark):
    (tmp_path / "dev.fr").write_bytes(mark + b"un\n\ndeux caf\xe9s\ntrois\n")
    with pytest.raises(InputError, match=r"dev\.fr, line 3: byte 0xe9 is not UTF-8.*iconv"):
        read_lines(tmp_path / "dev.fr")


def test_a_file_that_is_not_there_or_not_whole_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file .*dev\.xx"):
        read_lines(tmp_path / "dev.xx")
    with pytest.raises(InputError, match="Cannot read"):
        read_lines(tmp_path)
    (tmp_path / "dev.gz").write_bytes(gzip.compress(b"a\n" * 1000)[:-9])
    with pytest.raises(InputError, match="not a whole gzip file"):
        read_lines(tmp_path / "dev.gz")


# -- the study folder -----------------------------------------------------------------------------


def test_the_folder_is_laid_out_as_documented(tmp_path):
    study = StudyLayout(tmp_path)
    model = "google/mt5-base"
    clustering = Clustering(model, "encoder", 6, "ward", 600, 0)
    pair = Pair("en", "de")
    at = "google--mt5-base/encoder/ward-k600-s0/layer_06"
    expected = {
        "study.yaml": study.config,
        "manifest.json": study.manifest,
        "tokens.parquet": study.tokens,
        "states/google--mt5-base/encoder": study.states(model, "encoder"),
        "links/diagonal/en-de.parquet": study.links("diagonal", pair),
        "dictionary/de-en.parquet": study.dictionary(pair.reverse),
        "trees/google--mt5-base/encoder/ward-s0/layer_06/en.parquet": study.tree(clustering, Space.of("en")),
        f"concepts/{at}/en+de.parquet": study.concepts(clustering, pair.space),
        f"metrics/{at}/en-de.parquet": study.metrics(clustering, pair),
        f"metrics/{at}/spaces.parquet": study.metrics(clustering, None),
        f"labels/{at}/splits.parquet": study.labels_at(clustering, "splits"),
        f"movement/{at}/flows.parquet": study.movement_at(clustering, "flows"),
        f"robustness/{at}/en-de.parquet": study.robustness_at(clustering, pair),
        "companions/google--mt5-base/encoder/layer_06/en-de.parquet": study.companions_at(model, "encoder", 6, pair),
        "results.parquet": study.results,
        "results.csv": study.results_csv,
        "report.html": study.report,
    }
    for name, path in expected.items():
        assert path.relative_to(tmp_path).as_posix() == name


@pytest.mark.parametrize(("name", "folder"), [(".", "-"), ("..", "--"), ("...", "---"), ("", "-"), (" / ", "-")])
def test_a_folder_name_never_leads_upwards(name, folder):
    assert folder_name(name) == folder


def test_a_folder_name_holds_no_separators():
    assert folder_name("/data/my models/xlm r/") == "data--my-models--xlm-r"
    assert folder_name("zh_Hant-中文") == "zh_Hant-中文"


def test_digests_see_values_and_not_the_order_of_keys():
    assert digest({"a": 1, "b": [2, "é"]}) == digest({"b": [2, "é"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert digest([1, 2]) != digest([2, 1])


@pytest.fixture
def done(tmp_path) -> tuple[StudyLayout, Path]:
    study = StudyLayout(tmp_path)
    write_text(study.tokens, "the tokens")
    study.mark_done("corpus", "key", [study.tokens], {"seconds": 1})
    return study, study.tokens


def test_a_finished_step_is_known(done):
    study, _ = done
    assert study.is_done("corpus", "key")
    assert study.record("corpus")["info"] == {"seconds": 1}
    assert not study.is_done("corpus", "another key")
    assert not study.is_done("extract", "key")


@pytest.mark.parametrize("content", ["the tokenS", "the tokens and more", "", None])
def test_a_changed_output_makes_its_step_run_again(done, content):
    study, path = done
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert not study.is_done("corpus", "key")
    path.write_text("the tokens")
    assert study.is_done("corpus", "key")


MARKER = {"version": 3, "key": "key", "text": "", "outputs": {}, "info": {}}
NO_MARKERS = [
    *("", "{half", "[]", "{}", "null", "3", '"x"', "[" * 100_000, "\x00" * 50),
    *(json.dumps({name: value for name, value in MARKER.items() if name != lacking}) for lacking in MARKER),
    *(json.dumps(MARKER | {name: [1]}) for name in MARKER),
    *(json.dumps(MARKER | {"outputs": {"tokens.parquet": x}}) for x in (1, [], {}, {"bytes": "1", "written": 1})),
    json.dumps(MARKER | {"version": 2}),
]


@pytest.mark.parametrize("marker", [None, *NO_MARKERS], ids=lambda x: str(x)[:40])
def test_what_is_no_marker_of_ours_counts_as_not_done_and_is_told(done, caplog, marker):
    study, _ = done
    path = study.marker("corpus")
    if marker is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_text(marker)
    assert not study.is_done("corpus", "key")
    assert study.record("corpus") is None
    assert "corpus.json is not a marker" in caplog.text
    if marker is None:
        with pytest.raises(InputError, match=r"Cannot write .*corpus\.json.*Move away what is there"):
            study.clear("corpus")
    else:
        study.clear("corpus")
        assert not path.exists()


# -- what is read of a study ----------------------------------------------------------------------


def of_text(study: StudyLayout, text: str) -> None:
    study.mark_done("corpus", text, [study.tokens], {"text": text})


def test_what_another_text_has_made_is_not_read(done):
    study, _ = done
    of_text(study, "first")
    path = study.dictionary(Pair("en", "de"))
    write_text(path, "made of the first text")
    study.mark_done(study.step_of(path), "key", [path])
    assert study.checked(path) == path
    of_text(study, "second")
    assert study.is_outdated(path)
    with pytest.raises(InputError, match=r"en-de\.parquet was made from another text than tokens\.parquet holds now"):
        study.checked(path)
    of_text(study, "first")
    assert study.checked(path) == path


def test_a_table_that_a_study_may_do_without_is_left_out_where_it_is_of_another_text(done, caplog):
    study, _ = done
    of_text(study, "first")
    assert study.table(study.transfer, ("x",)) is None
    write_table(study.transfer, pl.DataFrame({"x": [1]}))
    study.mark_done("transfer", "key", [study.transfer])
    assert study.table(study.transfer, ("x",))["x"].to_list() == [1]
    of_text(study, "second")
    assert study.table(study.transfer, ("x",)) is None
    assert "transfer.parquet was made from another text than tokens.parquet holds now and is left out" in caplog.text
    of_text(study, "first")
    study.transfer.write_bytes(b"x")
    with pytest.raises(InputError, match=r"transfer\.parquet is not as it was written"):
        study.table(study.transfer, ("x",))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_text("made of the first tex!"), "is not as it was written"),
        (lambda path: path.write_text(""), "is not as it was written"),
        (lambda path: (path.unlink(), path.mkdir()), "is not as it was written"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_not_read(done, damage, told):
    study, _ = done
    path = study.dictionary(Pair("en", "de"))
    write_text(path, "made of the first text")
    study.mark_done(study.step_of(path), "key", [path])
    damage(path)
    with pytest.raises(InputError, match=rf"en-de\.parquet {told}\. Make it again with"):
        study.checked(path)
    study.clear(study.step_of(path))
    with pytest.raises(InputError, match=r"is not (there|of a finished step)"):
        study.checked(path)


# -- temporary files ------------------------------------------------------------------------------


def test_only_temporaries_of_ours_are_swept_and_only_where_they_are_made(tmp_path):
    study = StudyLayout(tmp_path)
    kept = [".notes.tmp", "notes/.draft.tmp/text", "concepts/.mine.tmp", ".x.isogloss-short.tmp"]
    kept += ["notes/.results.csv.isogloss-abcdefgh.tmp", "results.csv.isogloss-abcdefgh.tmp"]
    for name in kept:
        write_text(tmp_path / name, "not of isogloss")
    left = []
    for path in (study.results, study.concepts(Clustering("m", "encoder", 0, "ward", 2, 0), Space.of("x"))):
        path.parent.mkdir(parents=True, exist_ok=True)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt), atomic(path):
            patch.setattr(Path, "unlink", lambda *args, **options: None)  # killed: nothing tidies up
            raise KeyboardInterrupt
        left += list(path.parent.glob(f".{path.name}*.tmp"))
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(KeyboardInterrupt),
        temporary_folder(tmp_path / "states" / "m" / "encoder") as folder,
    ):
        patch.setattr(files, "remove_folder", lambda path: None)
        write_text(folder / "half", "x")
        raise KeyboardInterrupt
    assert len(left) == 2
    assert all(path.exists() for path in (*left, folder))
    study.sweep()
    assert not any(path.exists() for path in (*left, folder))
    assert all((tmp_path / name).is_file() for name in kept)


def test_a_cleared_step_is_not_done(done):
    study, path = done
    study.clear("corpus")
    study.clear("never run")
    assert not study.is_done("corpus", "key")
    assert path.exists()


# -- the lock -------------------------------------------------------------------------------------

HOLD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from isogloss.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_that_is_a_folder_is_told_and_nobody_holds_it(tmp_path):
    lock = StudyLayout(tmp_path).lock
    lock.mkdir()
    assert lock_holder(lock) is None
    with pytest.raises(InputError, match=r"Cannot write .*\.lock: Is a directory\. Move away"), locked(lock):
        pass


def test_the_thread_that_holds_a_lock_may_take_it_again_and_another_may_not(tmp_path):
    lock = StudyLayout(tmp_path).lock

    def take() -> str:
        try:
            with locked(lock):
                return "taken"
        except IsoglossError:
            return "refused"

    with locked(lock), ThreadPoolExecutor(1) as other:
        assert take() == "taken"
        assert other.submit(take).result() == "refused"
        assert lock_holder(lock) == str(os.getpid())
    assert take() == "taken"


def test_a_second_process_is_refused_and_told_the_first(tmp_path):
    lock = StudyLayout(tmp_path).lock
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(IsoglossError, match=rf"pid {first.pid}\).*{tmp_path}.*--out"), locked(lock):
            pass
        first.kill()
        first.wait()
        with locked(lock):  # the lock died with its process
            assert lock.read_text() == str(os.getpid())
    with locked(lock):
        pass
