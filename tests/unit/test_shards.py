"""States in shards: joined they are, bit for bit, those that one process writes, whatever model, windows and parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isogloss as ig
from isogloss.corpus import Corpus
from isogloss.errors import InputError, UsageError
from isogloss.extraction import (
    extract_shard,
    finish_states,
    forget_shards,
    join_shards,
    open_states,
    passes,
    shards,
    shards_of,
    write_corpus,
)
from isogloss.store import StudyLayout, open_array, row_numbers_file, sentence_folder
from tiny_models import CODES, LINES, corpus_of

TinyModel = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows and parts be small: several of both arise from a few lines."""
    for module in (passes, shards):
        monkeypatch.setattr(module, "WINDOW", 16)
    monkeypatch.setattr(shards, "_LEAST_LINES", 5)
    monkeypatch.setattr(shards, "_ENOUGH", 8)


def corpus(*languages: str, times: int = 4) -> Corpus:
    """Return lines of which each copy is as long as no other, so that an order of lengths mixes them."""
    return corpus_of(
        {
            language: [f"{line} {line}" if i % 3 else line for i, line in enumerate(LINES[language] * times)]
            for language in languages
        }
    )


def sharded(texts: Corpus, model: Path, out: Path, *, backwards: bool = False, **settings: Any) -> StudyLayout:
    """Extract in shards, as the workers of a study do, and join them."""
    study = StudyLayout(out)
    write_corpus(texts, study)
    stack = settings["stack"]
    name, kinds = model.name, settings.get("sentences", ("mean",))
    pieces = shards_of(texts.sentences.height)
    steps = [f"{study.states_step(name, stack)}/shard-{shard.name}" for shard in pieces]
    how = {"batch_tokens": settings.pop("batch_tokens"), "device": "cpu"}
    for shard, step in list(zip(pieces, steps, strict=True))[:: -1 if backwards else 1]:
        facts = extract_shard(texts, model, study=study, name=name, shard=shard, **how, **settings)
        study.mark_done(step, "key", [], {**facts, "wall_seconds": 1.0, "peak_memory_mb": 7})
    joined = []
    for layer in (None, *settings["layers"]):
        files = join_shards(
            study,
            name=name,
            stack=stack,
            shards=[shard.name for shard in pieces],
            layer=layer,
            kinds=kinds,
            n_rows=texts.words.height,
            n_lines=texts.sentences.height,
        )
        joined.append(f"{study.states_step(name, stack)}/{layer}")
        study.mark_done(joined[-1], "key", files)
    finish_states(texts, model, study=study, name=name, shards=steps, joined=joined, **settings)
    return study


def assert_equal(study: StudyLayout, whole: StudyLayout, name: str, stack: str) -> None:
    forget_shards(study, name=name, stack=stack)
    found, wanted = (
        {p.relative_to(one.root).as_posix(): p.read_bytes() for p in (one.root / "states").rglob("*.npy")}
        for one in (study, whole)
    )
    assert sorted(found) == sorted(wanted)
    assert [path for path in wanted if found[path] != wanted[path]] == []
    ours, theirs = (one.known(one.states_step(name, stack)) for one in (study, whole))
    assert ours["key"] == theirs["key"]
    assert {path: entry["digest"] for path, entry in ours["outputs"].items()} == {
        path: entry["digest"] for path, entry in theirs["outputs"].items()
    }
    own = {"seconds", "shards", "peak_memory_mb", "wall_seconds", "cpu_seconds", "tokens_per_second"}
    facts, expected = (
        {fact: value for fact, value in one["info"].items() if fact not in own and "second" not in fact}
        for one in (ours, theirs)
    )
    assert facts == expected


@pytest.mark.parametrize(
    ("family", "stack", "settings"),
    [
        ("bert", "encoder", {"sentences": ["mean", "cls"], "layers": [0, 2]}),
        ("xlmr", "encoder", {"sentences": [], "layers": [1], "pooling": "first"}),
        ("llama", "decoder", {"sentences": ["mean", "last"], "layers": [1, 2], "dtype": "float32"}),
        ("mt5", "encoder", {"layers": [2]}),
        ("mt5", "decoder", {"layers": [0, 3], "condition": {"zh": "de"}}),
        ("nllb", "decoder", {"layers": [3], "sentences": ["mean", "last"]}),
        ("convbert", "encoder", {"layers": [0, 2]}),  # batches of one length
        ("bert", "encoder", {"layers": [2], "prefix": "the old: ", "weights": "random"}),
    ],
)
def test_joined_shards_are_the_states_of_one_process(
    tiny_model: TinyModel, tmp_path: Path, family: str, stack: str, settings: dict[str, Any]
) -> None:
    texts, model = corpus("en", "de", "zh"), tiny_model(family)
    settings = {**settings, "stack": stack}
    if family in CODES:
        settings["language_codes"] = {language: CODES[family][language] for language in texts.languages}
    pieces = shards_of(texts.sentences.height)
    assert len({piece.window for piece in pieces}) == 4
    assert max(piece.n_parts for piece in pieces) == 2
    given = {"batch_tokens": 100, **settings}
    ig.extract(texts, model, out=tmp_path / "whole", device="cpu", **given)
    study = sharded(texts, model, tmp_path / "parts", backwards=True, **given)
    assert_equal(study, StudyLayout(tmp_path / "whole"), model.name, stack)
    states = open_states(study, name=model.name, stack=stack)
    whole = open_states(StudyLayout(tmp_path / "whole"), name=model.name, stack=stack)
    np.testing.assert_array_equal(states.rows, whole.rows)
    assert states.tokens.equals(whole.tokens)
    assert states.tokens["shared"].any() == (family in ("xlmr", "mt5"))


def test_parts_without_a_batch_are_empty(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A budget that takes a whole window at once leaves nothing for the other parts."""
    texts, model = corpus("en", "de"), tiny_model("bert")
    settings = {"stack": "encoder", "layers": [1], "batch_tokens": 100_000}
    ig.extract(texts, model, out=tmp_path / "whole", device="cpu", **settings)
    study = sharded(texts, model, tmp_path / "parts", **settings)
    folders = sorted(study.shards(model.name, "encoder").iterdir())
    sizes = [len(open_array(row_numbers_file(sentence_folder(folder)))) for folder in folders]
    assert 0 in sizes
    assert sum(sizes) == texts.sentences.height
    assert_equal(study, StudyLayout(tmp_path / "whole"), model.name, "encoder")


def test_shards_hold_every_line_and_word_once(tiny_model: TinyModel, tmp_path: Path) -> None:
    texts, model = corpus("en", "ar"), tiny_model("xlmr")
    study = sharded(texts, model, tmp_path, stack="encoder", layers=[0], batch_tokens=60)
    folders = sorted(study.shards(model.name, "encoder").iterdir())
    assert [folder.name for folder in folders] == [one.name for one in shards_of(texts.sentences.height)]
    for n, place in ((texts.words.height, lambda x: x), (texts.sentences.height, sentence_folder)):
        numbers = np.concatenate([open_array(row_numbers_file(place(folder))) for folder in folders])
        np.testing.assert_array_equal(np.sort(numbers), np.arange(n))
    forget_shards(study, name=model.name, stack="encoder")
    assert not study.shards(model.name, "encoder").exists()
    assert set(study.find_steps()) == {"corpus", study.states_step(model.name, "encoder")}


@pytest.mark.parametrize(("n_lines", "expected"), [(0, 0), (3, 1), (16, 3), (33, 7), (16 * 20, 20)])
def test_number_of_shards(n_lines: int, expected: int) -> None:
    pieces = shards_of(n_lines)
    assert len(pieces) == expected
    assert len({piece.name for piece in pieces}) == expected
    assert all(piece.n_parts * 5 <= 16 for piece in pieces)


def test_shards_refuse_what_extract_refuses(tiny_model: TinyModel, tmp_path: Path) -> None:
    texts, shard = corpus("en"), shards_of(20)[0]
    study = StudyLayout(tmp_path)
    write_corpus(texts, study)
    given: dict[str, Any] = {"study": study, "name": "one", "shard": shard}
    with pytest.raises(UsageError, match=r"no \[CLS\] subword"):
        extract_shard(texts, tiny_model("llama"), sentences=["cls"], layers=[1], **given)
    with pytest.raises(InputError, match=r"shard-.* is not done"):
        finish_states(texts, tiny_model("bert"), study=study, name="one", shards=["states/one/shard-0"], joined=[])
    assert not list((tmp_path / "states").rglob("*.npy"))
