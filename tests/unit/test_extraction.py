"""States: the right subwords, the right positions, the right files, whatever the batches or a kill in between."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isogloss import models
from isogloss.corpus import Corpus
from isogloss.errors import InputError, UsageError
from isogloss.extraction import extract, open_states, passes, pooling, states_key, subwords
from isogloss.extraction.passes import sensible_threads
from isogloss.extraction.subwords import Line, covered, give
from isogloss.settings import ExtractionSettings
from isogloss.store import StudyLayout
from tiny_models import LIMIT, LINES, corpus_of, covers, naive_owner


def run(corpus, folder, out, **options):
    return extract(corpus, folder, out=out, **{"dtype": "float32", "device": "cpu", **options})


def test_layer_zero_is_the_embedding_output(tiny_model, tmp_path):
    corpus = corpus_of({"en": ["the old house"]})
    loaded = models.load(tiny_model("llama"))
    ids = models.encode(loaded, ["the old house"])[0].ids
    states = run(corpus, tiny_model("llama"), tmp_path, layers=[0], pooling="first")
    table = loaded.module.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(states.arrays[0][:2], table[ids[1:3]], atol=1e-6)  # after <|begin|>


@pytest.mark.parametrize(
    ("family", "line", "counts"),
    [
        ("xlmr", "我们|在|老|房子|里", [1, 1, 1, 2, 1]),  # a space mark before the sentence belongs to no word
        ("bert", "我们|在|老|房子|里", [2, 1, 1, 2, 1]),
        ("llama", "我们|在 老", [6, 3, 3]),  # three bytes a character; the space is a subword that overlaps nothing
        ("qwen", "the old|er", [1, 1, 2]),
        ("qwen", "القط في", [8, 4]),
        ("gemma", "a😀b", [6]),
        ("qwen", "x 😀 old", [1, 4, 1]),
        ("bert", "a \u200b old", [1, 0, 1]),  # BERT's normaliser drops the zero-width space
        ("xlmr", "a \u200b old", [1, 1, 1]),
        ("bert", "a😀|the", [1, 1]),  # one unknown subword for both
    ],
)
def test_subwords_go_to_their_words(tiny_model, tmp_path, family, line, counts):
    states = run(corpus_of({"x": [line]}), tiny_model(family), tmp_path, layers=[0])
    assert states.tokens["n_subwords"].to_list() == counts


@given(data=st.data())
def test_subwords_are_given_as_defined(data):
    """Each to the word that shares most with it; words without one take all that cover them; those cut off, none."""

    def spans(n):
        pair = st.tuples(st.integers(0, 20), st.integers(0, 6)).map(lambda x: (x[0], x[0] + x[1]))
        return data.draw(st.lists(pair, max_size=n))

    pieces, words = spans(12), sorted(spans(8))
    lost = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    columns = [np.array([x[i] for x in y], dtype=np.int64) for y in (pieces, words) for i in (0, 1)]
    given = give(covered(*columns), np.array(lost, dtype=bool), len(pieces))
    owners = [-1 if (o := naive_owner(x, words)) is None or lost[o] else o for x in pieces]
    over = [[k for k, word in enumerate(words) if covers(x, word)] for x in pieces]
    assert given.owners.tolist() == owners
    taking = [[i, k] for i, here in enumerate(over) for k in here if k not in owners and not lost[k]]
    assert given.takers.tolist() == taking
    together = {k for here in over if len(here) > 1 for k in here}
    assert given.shared.tolist() == [k in together and not lost[k] for k in range(len(words))]


@pytest.mark.parametrize(
    ("family", "stack"), [("bert", "encoder"), ("xlmr", "encoder"), ("mt5", "decoder"), ("qwen", "decoder")]
)
def test_batches_do_not_matter(tiny_model, tmp_path, family, stack):
    corpus = corpus_of(LINES)
    one = run(corpus, tiny_model(family), tmp_path / "1", stack=stack, batch_tokens=1)
    all_at_once = run(corpus, tiny_model(family), tmp_path / "2", stack=stack, batch_tokens=10**6)
    for layer in one.layers:
        np.testing.assert_allclose(one.arrays[layer], all_at_once.arrays[layer], atol=1e-5)
    alone = run(
        corpus_of({"en": LINES["en"][:1], "de": LINES["de"][:1]}), tiny_model(family), tmp_path / "3", stack=stack
    )
    for layer in one.layers:
        np.testing.assert_allclose(alone.arrays[layer][:3], one.arrays[layer][:3], atol=1e-5)


def test_pooling(tiny_model, tmp_path):
    corpus = corpus_of({"en": ["the oldest house"]})  # old ##e ##s ##t
    loaded = models.load(tiny_model("bert"))
    encoded = models.encode(loaded, ["the oldest house"])[0]
    ids = torch.tensor([encoded.ids])
    pieces = models.hidden_states(loaded, ids, torch.ones_like(ids), torch.clone)[2][0, 2:-2].numpy()
    assert len(pieces) == 4
    expected = {"mean": pieces.mean(axis=0), "first": pieces[0], "last": pieces[-1]}
    for name, value in expected.items():
        states = run(corpus, tiny_model("bert"), tmp_path / name, pooling=name, layers=[2])
        np.testing.assert_allclose(states.arrays[2][1], value, atol=1e-6)


def test_decoder_state_has_read_its_word_and_nothing_later(tiny_model, tmp_path):
    def states(line, out, source="das alte haus ist grün"):
        corpus = corpus_of({"en": [line], "de": [source]})
        found = run(corpus, tiny_model("mt5"), tmp_path / out, stack="decoder", pooling="last")
        return np.stack([found.arrays[layer][:5] for layer in found.layers])

    base = states("the old house was green", "base")
    changed = states("the old river was green", "changed")
    far = np.abs(base - changed).max(axis=2)  # layers x words
    assert (far[:, :2] < 1e-6).all()
    assert (far[:, 2] > 1e-3).all()  # the word itself, from the embeddings on: a predicting state would not
    assert (far[1:, 3:] > 1e-4).all()
    other = np.abs(base - states("the old house was green", "other", source="ein fluss")).max(axis=2)
    assert (other[0] < 1e-6).all()
    assert (other[1:] > 1e-4).all()  # cross-attention


def test_condition_chooses_what_the_encoder_reads(tiny_model, tmp_path):
    corpus = corpus_of({x: LINES[x][:2] for x in ("en", "de", "zh")})
    mt5 = tiny_model("mt5")
    default = run(corpus, mt5, tmp_path / "a", stack="decoder", layers=[3])
    same = run(corpus, mt5, tmp_path / "b", stack="decoder", layers=[3], condition={"zh": "en", "de": "en"})
    own = run(corpus, mt5, tmp_path / "c", stack="decoder", layers=[3], condition={"zh": "de"})
    zh = default.tokens["language"].to_numpy() == "zh"
    np.testing.assert_array_equal(default.arrays[3], same.arrays[3])
    np.testing.assert_array_equal(default.arrays[3][~zh], own.arrays[3][~zh])
    assert np.abs(default.arrays[3][zh] - own.arrays[3][zh]).max() > 1e-3
    record = StudyLayout(tmp_path / "a").record("states/mt5/decoder")
    assert record["info"]["condition"] == {"en": "de", "de": "en", "zh": "en"}


def test_a_script_the_tokenizer_does_not_know_is_reported(tiny_model, tmp_path, caplog):
    corpus = Corpus.from_texts({"en": ["the old house", "the river"], "ka": ["ძველი სახლი", "მდინარე"]})
    extract(corpus, tiny_model("bert"), name="m", out=tmp_path, layers=[0])
    (warning,) = StudyLayout(tmp_path).record("states/m/encoder")["info"]["warnings"]
    assert "unknown subwords (100% of ka)" in warning
    assert warning in caplog.text


def test_truncation_is_counted_and_reported(tiny_model, tmp_path, caplog):
    corpus = corpus_of({"en": ["old " * 50, "the old house"]})
    states = run(corpus, tiny_model("bert"), tmp_path, layers=[0, 2])
    kept = LIMIT - 2
    assert states.tokens["n_subwords"].to_list() == [1] * kept + [0] * (50 - kept) + [1] * 3
    assert not states.arrays[2][kept:50].any()
    assert set(range(kept, 50)).isdisjoint(states.rows)
    info = StudyLayout(tmp_path).record("states/bert/encoder")["info"]
    assert info["n_truncated_sentences"] == 1
    assert info["n_without_state"] == 50 - kept
    text = caplog.text
    assert f"1 of 2 sentences are cut at the limit of {LIMIT} subwords" in text
    assert f"{50 - kept} of 53 words have no subword" in text
    assert "'old' (en, sentence 0)" in text


def test_a_word_that_the_limit_goes_through_has_no_state(tiny_model, tmp_path):
    states = run(corpus_of({"en": ["the old " + "ing " * 13]}), tiny_model("bert"), tmp_path, layers=[0])
    assert LIMIT - 2 == 1 + 1 + 3 * 12  # i ##n ##g
    assert states.tokens["n_subwords"].to_list() == [1, 1, *[3] * 12, 0]
    states = run(corpus_of({"en": ["old " + "ing " * 13]}), tiny_model("bert"), tmp_path, layers=[0])
    assert states.tokens["n_subwords"].to_list() == [1, *[3] * 12, 0]


def test_float16_holds_the_same_states_and_refuses_what_does_not_fit(tiny_model, tmp_path):
    corpus = corpus_of(LINES)
    half = extract(corpus, tiny_model("bert"), out=tmp_path / "half")
    full = run(corpus, tiny_model("bert"), tmp_path / "full")
    assert half.arrays[1].dtype == np.float16
    np.testing.assert_array_equal(half.arrays[1], np.asarray(full.arrays[1]).astype(np.float16))
    pooling.check_fits(7e4, "float32", 3, compute="float32")
    with pytest.raises(InputError, match=r"7e\+04 at layer 3.*Use dtype float32"):
        pooling.check_fits(7e4, "float16", 3, compute="float32")
    with pytest.raises(InputError, match="not finite at layer 3"):
        pooling.check_fits(np.nan, "float32", 3, compute="float32")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [0, 3]}, r"layers 0 \(embeddings\) .. 2; got \[0, 3\]"),
        ({"layers": [-1]}, r"layers must be .* from 0 .*; got \[-1\]"),
        ({"layers": []}, r"got \[\]"),
        ({"layers": "last"}, "got 'last'"),
        ({"layers": [1.5]}, r"got \[1\.5\]"),
        ({"layers": [True]}, r"got \[True\]"),
        ({"layers": 0}, "got 0"),
        ({"stack": "decoder"}, "unknown stack 'decoder'"),
        ({"pooling": "max"}, "pooling must be .*'mean' .*; got 'max'"),
        ({"dtype": "float8"}, "dtype must be 'float16' or 'float32'; got 'float8'"),
        ({"condition": {"en": "de"}}, "condition is for the decoder"),
        ({"batch_tokens": 0}, "batch_tokens must be a whole number from 1 to"),
    ],
)
def test_wrong_use(tiny_model, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        run(corpus_of(LINES), tiny_model("bert"), tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_batches_of_one_shape():
    """Lines keep falling in cost; those of one shape stand together, and no batch holds two shapes."""
    costs, shapes = np.array([5, 5, 4, 4, 4]), np.array([1, 1, 2, 2, 3])
    order = np.arange(5)
    assert [list(x) for x in subwords.batches(order, costs, 100)] == [[0, 1, 2, 3, 4]]
    assert [list(x) for x in subwords.batches(order, costs, 100, shapes=shapes)] == [[0, 1], [2, 3], [4]]
    assert [list(x) for x in subwords.batches(order, costs, 5, shapes=shapes)] == [[0], [1], [2], [3], [4]]


def test_a_layer_that_a_pass_did_not_return_is_not_written(tmp_path):
    files = passes.Files({0: None, 1: None}, {}, None, None, None, tmp_path)
    with pytest.raises(InputError, match=r"did not return the states of layers \[1\]"):
        passes.write_states(np.array([0]), np.array([0]), {0: None}, files)


def test_states_of_another_width_than_the_batch_are_not_pooled():
    line = Line(np.array([5, 6, 7]), np.array([0, 1, 2]), np.empty((0, 2), dtype=np.int64), np.ones(3, dtype=bool))
    settings = ExtractionSettings(sentences=[], dtype="float32")
    pooler = pooling.Pooler([line], 3, settings, device="cpu")
    with pytest.raises(InputError, match=r"shape \(1, 8, 2\); the batch has \(1, 3\)"):
        pooler(torch.zeros(1, 8, 2))


def test_wrong_condition(tiny_model, tmp_path):
    options = {"stack": "decoder", "out": tmp_path}
    with pytest.raises(UsageError, match="unknown language 'fr'"):
        extract(corpus_of(LINES), tiny_model("mt5"), condition={"en": "fr"}, **options)
    uneven = corpus_of({"en": ["the old house"], "de": ["das haus", "die stadt"]})
    with pytest.raises(InputError, match=r"1 sentences have no line .* sentence 1, which 'en' lacks"):
        extract(uneven, tiny_model("mt5"), **options)


# -- files ----------------------------------------------------------------------------------------


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def states_of(root: Path) -> dict[str, bytes]:
    return files_of(root / "states")


@pytest.fixture
def forward_passes(monkeypatch):
    """Count the batches that go through a model."""
    calls = []
    plain = models.hidden_states

    def counted(*args, **options):
        calls.append(args)
        return plain(*args, **options)

    monkeypatch.setattr(models, "hidden_states", counted)
    return calls


def test_finished_states_are_not_made_again(tiny_model, tmp_path, forward_passes):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    first = run(corpus, bert, tmp_path)
    n_batches = len(forward_passes)
    before = files_of(tmp_path)
    again = run(corpus, bert, tmp_path, batch_tokens=7)
    assert len(forward_passes) == n_batches
    assert files_of(tmp_path) == before
    np.testing.assert_array_equal(first.arrays[2], again.arrays[2])
    key = states_key(corpus, bert, dtype="float32")
    assert StudyLayout(tmp_path).is_done("states/bert/encoder", key)
    run(corpus, bert, tmp_path, pooling="last", layers=[1])
    assert len(forward_passes) > n_batches
    names = ["layer_01.npy", "n_subwords.npy", "sentences/mean/layer_01.npy", "sentences/n_subwords.npy", "shared.npy"]
    assert sorted(states_of(tmp_path)) == [f"bert/encoder/{name}" for name in names]


def test_open_states_gives_what_extract_gave(tiny_model, tmp_path):
    made = run(corpus_of(LINES), tiny_model("mt5"), tmp_path, name="google/mt5-tiny", stack="decoder")
    found = open_states(StudyLayout(tmp_path), name="google/mt5-tiny", stack="decoder")
    assert (found.model, found.stack, found.layers) == ("google/mt5-tiny", "decoder", (0, 1, 2, 3))
    assert found.tokens.equals(made.tokens)
    np.testing.assert_array_equal(found.rows, made.rows)
    np.testing.assert_array_equal(found.at(3, language="zh").X, made.at(3, language="zh").X)


def test_open_states_refuses_what_is_missing_damaged_or_of_another_corpus(tiny_model, tmp_path):
    study = StudyLayout(tmp_path)
    with pytest.raises(InputError, match="no states of bert/encoder"):
        open_states(study, name="bert", stack="encoder")
    run(corpus_of(LINES), tiny_model("bert"), tmp_path)
    path = tmp_path / "states/bert/encoder/layer_01.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"layer_01\.npy cannot be read"):
        open_states(study, name="bert", stack="encoder")
    path.write_bytes(whole)
    open_states(study, name="bert", stack="encoder")
    run(corpus_of({"en": ["the old house"]}), tiny_model("xlmr"), tmp_path)
    with pytest.raises(InputError, match="another corpus"):
        open_states(study, name="bert", stack="encoder")


KILLED = """
import importlib, os, signal, time
from isogloss import models
room = importlib.import_module("isogloss.extraction.passes")
from isogloss.extraction import extract
from tiny_models import LINES, corpus_of
room._SAVE_SECONDS = 0
calls, plain = [], models.hidden_states
def deadly(*args, **options):
    calls.append(1)
    time.sleep(0.2)  # the states of earlier batches reach the disk
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*args, **options)
models.hidden_states = deadly
extract(corpus_of(LINES), {model!r}, out={out!r}, batch_tokens=40)
"""


def test_killed_and_run_again_gives_the_same_bytes(tiny_model, tmp_path, forward_passes):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    extract(corpus, bert, out=tmp_path / "whole", batch_tokens=40)
    n_batches = len(forward_passes)
    out = tmp_path / "killed"
    code = KILLED.format(model=str(bert), out=str(out))
    paths = [str(Path(models.__file__).parents[2]), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(InputError, match="no states"):
        open_states(StudyLayout(out), name="bert", stack="encoder")
    forward_passes.clear()
    extract(corpus, bert, out=out, batch_tokens=40)
    assert n_batches - 4 <= len(forward_passes) < n_batches  # the last states may not have reached the disk
    assert states_of(out) == states_of(tmp_path / "whole")


@pytest.mark.parametrize("where", ["before renaming", "after renaming", "after marking"])
def test_stopped_at_the_very_end_only_the_end_is_done_again(tiny_model, tmp_path, forward_passes, monkeypatch, where):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    extract(corpus, bert, out=tmp_path / "whole")
    target, name = {
        "before renaming": (Path, "rename"),
        "after renaming": (StudyLayout, "mark_done"),
        "after marking": (Path, "unlink"),
    }[where]

    plain = getattr(target, name)

    def stop(path, *args, **options):
        other = (name == "unlink" and path.name != "progress.json") or args[:1] == ("corpus",)
        if not other:
            raise KeyboardInterrupt
        return plain(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(target, name, stop)
        with pytest.raises(KeyboardInterrupt):
            extract(corpus, bert, out=tmp_path / "stopped")
    forward_passes.clear()
    extract(corpus, bert, out=tmp_path / "stopped")
    assert not forward_passes
    rest = states_of(tmp_path / "stopped")
    rest.pop("bert/encoder/progress.json", None)
    assert rest == states_of(tmp_path / "whole")


def test_unfinished_work_of_other_settings_is_not_used(tiny_model, tmp_path, monkeypatch):
    corpus, bert = corpus_of(LINES), tiny_model("bert")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract(corpus, bert, out=tmp_path / "a", pooling="last")
    extract(corpus, bert, out=tmp_path / "a")
    extract(corpus, bert, out=tmp_path / "b")
    assert states_of(tmp_path / "a") == states_of(tmp_path / "b")


def test_full_disk_is_one_line_and_leaves_nothing_behind(tiny_model, tmp_path):
    corpus = corpus_of({"en": ["the old house is green"] * 2000})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # a layer is 320 kB
    try:
        with pytest.raises(InputError, match=r"Cannot write .*layer_00\.npy"):
            extract(corpus, tiny_model("bert"), out=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not states_of(tmp_path)
    assert extract(corpus, tiny_model("bert"), out=tmp_path).layers == (0, 1, 2)


def test_what_is_recorded(tiny_model, tmp_path):
    bert = tiny_model("bert")
    run(corpus_of(LINES), bert, tmp_path)
    info = StudyLayout(tmp_path).record("states/bert/encoder")["info"]
    assert info["fingerprint"] == models.describe(bert).fingerprint
    assert info["torch"] == torch.__version__
    assert info["n_tokens"] == corpus_of(LINES).words.height
    assert info["wall_seconds"] > 0
    assert info["peak_memory_mb"] > 10


def test_torch_takes_no_more_threads_than_it_is_allowed_whatever_ran_before(monkeypatch):
    """A parallel loop of numba leaves torch with as many as there are cores; other threads are other last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with sensible_threads("cpu"):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
