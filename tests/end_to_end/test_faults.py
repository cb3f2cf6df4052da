"""Whatever happens to the process, the disk or the memory: nothing is lost, and what comes out is the same."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import isogloss
from isogloss import models
from isogloss.coordinates import Clustering, Pair, Space
from isogloss.corpus import Corpus
from isogloss.errors import InputError, IsoglossError
from isogloss.explore.views import Views
from isogloss.extraction import engine, extract, open_states, passes
from isogloss.store import StudyLayout, array_files, arrays, markers, open_array
from isogloss.study import compare, study_status
from isogloss.study.steps.concepts import read_concepts, read_tree
from isogloss.study.steps.words import read_dictionary
from tiny_models import LINES, corpus_of

HERE = Path(__file__).resolve().parents[1]


def content(root: Path) -> dict[str, bytes]:
    """Return all that a study holds, but markers and manifest, which say how long it took."""
    files = (path for path in root.rglob("*") if path.is_file())
    names = {path.relative_to(root).as_posix(): path for path in files}
    return {
        name: path.read_bytes() for name, path in names.items() if not name.startswith(".") and name != "manifest.json"
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return a study file, and what a run of it that nothing disturbs leaves."""
    import yaml

    from isogloss.starter import load_corpus, model_folder

    folder = tmp_path_factory.mktemp("undisturbed")
    corpus = load_corpus(["en", "de"])
    texts = [corpus.texts(language)[:40] for language in corpus.languages]
    rows = ["en\tde", *("\t".join(row) for row in zip(*texts, strict=True))]
    (folder / "text.tsv").write_text("\n".join(rows) + "\n")
    study = {
        "name": "small",
        "corpus": {"files": "text.tsv"},
        "models": [{"name": "starter", "path": str(model_folder()), "layers": [0, 4]}],
        "discovery": {"n_concepts": 20},
        "metrics": {"min_types": 2, "n_permutations": 5},
        "run": {"batch_tokens": 64},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    kills = run_killed(folder / "study.yaml", folder / "out", 0)
    assert kills == 0
    return folder / "study.yaml", content(folder / "out")


def run_killed(study: Path, out: Path, seed: int) -> int:
    paths = os.pathsep.join([str(Path(isogloss.__file__).parents[1]), str(HERE)])
    done = subprocess.run(
        [sys.executable, str(HERE / "faults.py"), str(study), str(out), str(seed)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(("seed", "least"), [(1, 5), (2, 5), (-1, 1)])
def test_killed_again_and_again_the_study_is_the_same_bit_for_bit(undisturbed, tmp_path, seed, least):
    """Seeds above 0 kill at file operations, in the middle of a write too; -1 at moments of the clock."""
    study, expected = undisturbed
    assert run_killed(study, tmp_path / "out", seed) >= least
    assert content(tmp_path / "out") == expected


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_damaged_states_are_made_again(undisturbed, tmp_path, damage):
    study, _ = undisturbed
    isogloss.run_study(study, out=tmp_path, workers=1)
    path = tmp_path / "states/starter/encoder/layer_04.npy"
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-100] if damage == "truncated" else data[:-100] + bytes(100))
    isogloss.run_study(study, out=tmp_path, workers=1)
    assert path.read_bytes() == data


def test_large_files_are_read_again_when_they_were_written_since_or_on_demand(tmp_path, monkeypatch):
    monkeypatch.setattr(markers, "_HASHED_UP_TO", 10)
    study = StudyLayout(tmp_path)
    path = tmp_path / "large"
    path.write_bytes(b"a" * 100)
    study.mark_done("step", "key", [path])
    facts = path.stat()
    path.write_bytes(b"b" * 100)
    assert not study.is_done("step", "key")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a copy keeps it: another machine's word
    assert not study.is_done("step", "key")
    record = study.known("step")
    record["outputs"]["large"]["written"] = path.stat().st_ctime_ns  # as a failing disk would: nothing was written
    study.marker("step").write_text(json.dumps(record))
    assert study.is_done("step", "key")
    assert not study.is_done("step", "key", thorough=True)
    path.write_bytes(b"a" * 100)  # a copy of the folder: the time is another, the content is not
    assert study.is_done("step", "key")


# -- disk -----------------------------------------------------------------------------------------


def test_disk_that_fills_up_in_the_middle_is_one_line_and_loses_nothing(tiny_model, tmp_path, monkeypatch):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    extract(corpus, bert, out=tmp_path / "whole", batch_tokens=64)
    monkeypatch.setattr(passes, "_SAVE_SECONDS", 0)
    writes, plain = [], os.pwrite

    def write(file: int, data: memoryview, place: int) -> int:
        writes.append(len(data))
        if len(writes) > 60:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(file, data, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", write)
        with pytest.raises(InputError, match=r"Cannot write .*: No space left on device\. Free some") as caught:
            extract(corpus, bert, out=tmp_path / "out", batch_tokens=64)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no states"):
        open_states(StudyLayout(tmp_path / "out"), name="bert", stack="encoder")
    extract(corpus, bert, out=tmp_path / "out", batch_tokens=64)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Let the system refuse files over so many bytes, as FAT does over 4 GB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_files_may_not_be_large_layers_lie_in_several(tiny_model, tmp_path, monkeypatch):
    corpus = corpus_of({"en": ["the old house is green", "water ."] * 300})
    bert = tiny_model("bert")
    whole = extract(corpus, bert, out=tmp_path / "whole", batch_tokens=200)
    monkeypatch.setattr(arrays, "_PIECE_BYTES", 30_000)
    with largest_file(40_000):  # a layer is 67 kB
        parts = extract(corpus, bert, out=tmp_path / "parts", batch_tokens=200)
    folder = tmp_path / "parts/states/bert/encoder"
    names = [path.name for path in array_files(folder / "layer_01.npy")]
    assert names == ["layer_01.000.npy", "layer_01.001.npy", "layer_01.002.npy"]
    rng = np.random.default_rng(0)
    rows = rng.choice(len(whole.rows), 500, replace=False)
    for layer in whole.layers:
        one, several = whole.arrays[layer], parts.arrays[layer]
        assert (several.shape, several.dtype, len(several)) == (one.shape, one.dtype, len(one))
        for wanted in (rows, np.sort(rows), slice(900, 1900, 7), 1700, -1, rows[:0], np.arange(len(one)) % 3 == 0):
            np.testing.assert_array_equal(several[wanted], one[wanted])
        np.testing.assert_array_equal(np.asarray(several), one)
    np.testing.assert_array_equal(parts.at(2).X, whole.at(2).X)
    (folder / names[1]).write_bytes((folder / names[1]).read_bytes()[:-1])
    with largest_file(40_000):
        extract(corpus, bert, out=tmp_path / "parts", batch_tokens=200)
    np.testing.assert_array_equal(open_array(folder / "layer_01.npy")[:], whole.arrays[1])


# -- what an interrupted extraction left ----------------------------------------------------------


@contextmanager
def interrupted_after(n_batches: int) -> Iterator[None]:
    """Save after every batch, and stop as Ctrl-C does after some."""
    plain, done = models.hidden_states, []

    def stop(*args, **options):
        done.append(None)
        if len(done) > n_batches:
            raise KeyboardInterrupt
        return plain(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "_SAVE_LINES", 1)
        patch.setattr(passes, "WINDOW", 6)
        patch.setattr(models, "hidden_states", stop)
        yield


def partial(out: Path) -> Path:
    return out / "states/bert/encoder.partial"


def zeroed(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:128] + bytes(len(data) - 128))


def one_row_zeroed(path: Path) -> None:
    states = np.lib.format.open_memmap(path, mode="r+")
    states[np.flatnonzero(np.asarray(states).any(axis=1))[-1]] = 0
    states.flush()


DAMAGE = {
    "a layer of zeros": ("layer_01.npy", zeroed, "not what was saved"),
    "a row of zeros": ("layer_02.npy", one_row_zeroed, "not what was saved"),
    "sentences of zeros": ("sentences/mean/layer_00.npy", zeroed, "not what was saved"),
    "a layer cut short": ("layer_01.npy", lambda path: path.write_bytes(path.read_bytes()[:200]), "not whole"),
    "a layer gone": ("layer_01.npy", Path.unlink, "not whole"),
    "counts of zeros": ("n_subwords.npy", zeroed, ""),
    "a note cut short": ("progress.json", lambda path: path.write_text(path.read_text()[:50]), "be believed"),
    "an empty note": ("progress.json", lambda path: path.write_text(""), "be believed"),
    "a list for a note": ("progress.json", lambda path: path.write_text("[]"), "be believed"),
    "a note that says more": (
        "progress.json",
        lambda path: path.write_text(re.sub(r'"done": \d+', '"done": 9', path.read_text())),
        "be believed",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_unfinished_states_are_never_believed(tiny_model, tmp_path, caplog, damage):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    name, do, said = DAMAGE[damage]
    with interrupted_after(100):
        extract(corpus, bert, out=tmp_path / "whole", batch_tokens=40)
    with interrupted_after(4), pytest.raises(KeyboardInterrupt):
        extract(corpus, bert, out=tmp_path / "out", batch_tokens=40)
    do(partial(tmp_path / "out") / name)
    caplog.clear()
    with interrupted_after(100):
        extract(corpus, bert, out=tmp_path / "out", batch_tokens=40)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert said in caplog.text
    assert ("made again" in caplog.text) == bool(said)


@pytest.mark.parametrize("family", ["bert", "convbert"])  # the second reads lines of one length together
def test_nothing_that_is_saved_is_made_or_counted_twice(tiny_model, tmp_path, caplog, family):
    corpus, model = (
        corpus_of({name: [*texts, "the [SEP] house"] for name, texts in LINES.items()}),
        tiny_model(family),
    )
    with interrupted_after(100):
        extract(corpus, model, out=tmp_path / "whole", batch_tokens=40)
    with interrupted_after(8), pytest.raises(KeyboardInterrupt):
        extract(corpus, model, out=tmp_path / "out", batch_tokens=40)
    caplog.clear()
    with caplog.at_level("INFO", logger="isogloss"), interrupted_after(100):
        extract(corpus, model, out=tmp_path / "out", batch_tokens=40)
    assert "going on after" in caplog.text and "made again" not in caplog.text
    whole, out = (StudyLayout(tmp_path / name).record(f"states/{family}/encoder")["info"] for name in ("whole", "out"))
    differ = {"wall_seconds", "peak_memory_mb"}
    assert {k: v for k, v in out.items() if k not in differ} == {k: v for k, v in whole.items() if k not in differ}


def test_damage_costs_only_what_was_saved_after_it(tiny_model, tmp_path, monkeypatch):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    with interrupted_after(8), pytest.raises(KeyboardInterrupt):
        extract(corpus, bert, out=tmp_path, batch_tokens=40)
    first = np.load(partial(tmp_path) / "layer_01.npy")
    one_row_zeroed(partial(tmp_path) / "layer_01.npy")
    batches, plain = [], models.hidden_states

    def count(*args, **options):
        batches.append(None)
        return plain(*args, **options)

    monkeypatch.setattr(models, "hidden_states", count)
    monkeypatch.setattr(passes, "WINDOW", 6)
    states = extract(corpus, bert, out=tmp_path, batch_tokens=40)
    written = first.any(axis=1)
    np.testing.assert_array_equal(np.asarray(states.arrays[1])[written], first[written])
    assert 0 < len(batches) < 10


def test_other_batches_do_not_mix_with_those_of_the_run_before(tiny_model, tmp_path, caplog):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    with interrupted_after(100):
        extract(corpus, bert, out=tmp_path / "whole", batch_tokens=40)
    with interrupted_after(4), pytest.raises(KeyboardInterrupt):
        extract(corpus, bert, out=tmp_path / "out", batch_tokens=40)
    with interrupted_after(100):
        extract(corpus, bert, out=tmp_path / "out", batch_tokens=200)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert "begun with batch_tokens 40 and go on with it, not with 200" in caplog.text
    assert StudyLayout(tmp_path / "out").record("states/bert/encoder")["info"]["batch_tokens"] == 40


def test_states_reach_the_disk_before_the_note_that_counts_them(tiny_model, tmp_path, monkeypatch):
    """What was written before the last waiting for the disk is all that a power loss leaves."""
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    events, plain_sync, plain_write = [], os.fsync, os.pwrite
    names = lambda file: Path(f"/proc/self/fd/{file}").readlink().name  # noqa: E731

    def sync(file):
        events.append(("sync", names(file)))
        plain_sync(file)

    def write(file, data, place):
        events.append(("write", names(file)))
        return plain_write(file, data, place)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "pwrite", write)
    with interrupted_after(100):
        extract(corpus, bert, out=tmp_path, batch_tokens=40)
    on_disk: set[str] = set()
    notes = 0
    for kind, name in events:
        if kind == "write":
            on_disk.discard(name)
        elif name.startswith(".progress.json"):
            notes += 1
            assert notes == 1 or {f"layer_0{x}.npy" for x in range(3)} <= on_disk
        else:
            on_disk.add(name)
    assert notes > 4
    assert "encoder.partial" in on_disk  # the folder, with the names of its files


# -- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_and_says_so(tiny_model, tmp_path, monkeypatch, caplog, error):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    whole = extract(corpus, bert, out=tmp_path / "whole")
    plain, sizes = models.hidden_states, []

    def small(model, ids, *rest, **options):
        sizes.append(ids.numel())
        if ids.numel() > 50:
            raise error
        return plain(model, ids, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(models, "hidden_states", small)
        states = extract(corpus, bert, out=tmp_path / "out")
    assert sizes[0] > 200
    assert sum(size > 50 for size in sizes) <= 4  # and not once a batch
    for layer in whole.layers:
        np.testing.assert_allclose(states.arrays[layer], whole.arrays[layer], atol=2e-3)
    assert "out of memory with batches of" in caplog.text
    info = StudyLayout(tmp_path / "out").record("states/bert/encoder")["info"]
    assert any("out of memory" in warning for warning in info["warnings"])
    assert info["batch_tokens"] <= 50


def test_one_sentence_that_does_not_fit_into_memory_is_the_end(tiny_model, tmp_path, monkeypatch):
    def never(*args, **options):
        raise MemoryError

    monkeypatch.setattr(models, "hidden_states", never)
    with pytest.raises(InputError, match=r"Memory does not suffice for one sentence of .* max_words"):
        extract(corpus_of(LINES), tiny_model("bert"), out=tmp_path)


def test_other_errors_of_a_forward_pass_are_not_taken_for_a_lack_of_memory(tiny_model, tmp_path, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(models, "hidden_states", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        extract(corpus_of(LINES), tiny_model("bert"), out=tmp_path)


def test_overflow_of_float16_stops_with_the_remedy(tiny_model, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "large"))
    weights = load_file(folder / "model.safetensors")
    weights["layers.0.mlp.down_proj.weight"] *= 1e5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    corpus = corpus_of(LINES)
    with pytest.raises(InputError, match=r"not finite at layer 1 .* in float16\. Use compute float32 or bfloat16"):
        extract(corpus, folder, out=tmp_path / "out", compute="float16", layers=[0, 1])
    with pytest.raises(InputError, match=r"too large for float16\. Use dtype float32"):
        extract(corpus, folder, out=tmp_path / "out", compute="bfloat16", layers=[0, 1])
    states = extract(corpus, folder, out=tmp_path / "out", compute="bfloat16", dtype="float32", layers=[0, 1])
    assert np.abs(states.at(1).X).max() > 65504


# -- two at once ----------------------------------------------------------------------------------


def test_second_process_on_the_same_states_is_refused(tiny_model, tmp_path, monkeypatch):
    bert = tiny_model("bert")
    call = f"extract(Corpus.from_texts({{'en': ['a']}}), {str(bert)!r}, out={str(tmp_path)!r})"
    code = f"from isogloss import Corpus, extract\n{call}"
    found = []

    def during(*args, **options):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        found.append(done.stderr.strip().splitlines()[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run_passes", during)
    with pytest.raises(KeyboardInterrupt):
        extract(corpus_of(LINES), bert, out=tmp_path)
    assert f"IsoglossError: Another isogloss process (pid {os.getpid()})" in found[0]
    assert issubclass(InputError, IsoglossError)


# -- another text in the same folder --------------------------------------------------------------


def test_concepts_of_one_text_are_not_measured_on_the_words_of_another(undisturbed, tmp_path):
    study, _ = undisturbed
    root, other = tmp_path / "out", tmp_path / "other" / "study.yaml"
    shutil.copytree(study.parent / "out", root)
    header, *lines = (study.parent / "text.tsv").read_text().splitlines()
    other.parent.mkdir()
    shutil.copy(study, other)
    (other.parent / "text.tsv").write_text("\n".join([header, *lines[::-1]]) + "\n")
    isogloss.run_study(other, out=root, workers=1, until="states")
    layout, place = StudyLayout(root), (Clustering("starter", "encoder", 4, "ward", 20, 0), Space.of("en"))
    words = Corpus.open(layout).words
    for read, name in (
        (lambda: read_dictionary(layout, Pair("en", "de")), r"dictionary/en-de\.parquet"),
        (lambda: read_tree(layout, words, *place), r"trees/.*en\.parquet"),
        (lambda: read_concepts(layout, words, *place), r"concepts/.*en\.parquet"),
    ):
        with pytest.raises(InputError, match=f"{name} was made from another text.*isogloss run"):
            read()
    isogloss.run_study(other, out=root, workers=1)
    isogloss.run_study(other, out=tmp_path / "alone", workers=1)
    assert content(root) == content(tmp_path / "alone")


def test_results_of_one_text_are_not_shown_with_another(undisturbed, tmp_path):
    study, _ = undisturbed
    isogloss.run_study(study, out=tmp_path, workers=1)
    texts = {"en": ["another text"], "de": ["ein anderer Text"]}
    extract(isogloss.Corpus.from_texts(texts), isogloss.open_study(tmp_path).config.models[0].path, out=tmp_path)
    for read in (isogloss.open_study, isogloss.write_report):
        with pytest.raises(InputError, match=r"results\.parquet was made from another text.*isogloss run"):
            read(tmp_path)
    isogloss.run_study(study, out=tmp_path, workers=1)
    assert isogloss.open_study(tmp_path).corpus.n_sentences == 40


# -- damaged folders ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan", ["[]", "{}", "null", '[1, "a", null]', '[["name", 1, [], "x"]]', "[[]]", "{half", None]
)
def test_status_lists_what_is_there_where_the_plan_cannot_be_read(undisturbed, tmp_path, plan):
    study, _ = undisturbed
    folder = StudyLayout(tmp_path / "out")
    shutil.copytree(study.parent / "out", folder.root)
    folder.plan.unlink()
    if plan is None:
        folder.plan.mkdir()
    else:
        folder.plan.write_text(plan)
    found = study_status(folder.root)
    assert found["missing"] == []
    assert {"trees", "concepts", "metrics", "results"} <= {stage["stage"] for stage in found["stages"]}


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, as_folder, lambda path: path.write_bytes(b""), lambda path: path.write_text('[1, "a", null]')],
    ids=["gone", "folder", "empty", "list"],
)
def test_every_damaged_file_of_a_study_is_one_clear_line(undisturbed, tmp_path, damage):
    """Of every kind of file one; more kinds of damage were tried once, all over."""
    study, _ = undisturbed
    root = tmp_path / "out"
    shutil.copytree(study.parent / "out", root)
    names = [
        *("tokens.parquet", "sentences.parquet", "results.parquet", "manifest.json", "study.yaml"),
        "dictionary/en-de.parquet",
        "states/starter/encoder/layer_04.npy",
        "trees/starter/encoder/ward-s0/layer_04/en+de.parquet",
        "concepts/starter/encoder/ward-k20-s0/layer_04/en+de.parquet",
        "metrics/starter/encoder/ward-k20-s0/layer_04/en-de.parquet",
        ".steps/corpus.json",
        ".steps/results.json",
        ".steps/concepts/starter/encoder/ward-k20-s0/layer_04/en+de.json",
        ".steps/states/starter/encoder.json",
    ]
    for name in names:
        data = (root / name).read_bytes()
        damage(root / name)
        study_status(root)
        with pytest.raises(IsoglossError) as caught:
            opened = isogloss.open_study(root)
            top, pair = opened.runs[0][-1], Pair("en", "de")
            for space in (*pair.sides, pair.space):
                opened.concepts(top, space)
            opened.alignment(top, pair)
            Views(opened).map(place=0, layer=4, k=20, space="en+de")
            compare(root, "starter", "other")
        assert "\n" not in str(caught.value), name
        told = str(caught.value)
        if name.startswith(".steps"):
            assert str(root) in told, name
        else:
            assert Path(name).name in told or name.split("/")[0] == "states", name
        if (root / name).is_dir():
            (root / name).rmdir()
        (root / name).write_bytes(data)
