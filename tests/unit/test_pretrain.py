"""The tool that pre-trains a small model, and its judgement of the built-in one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import isogloss as ig
from isogloss import starter
from isogloss.errors import InputError, IsoglossError, UsageError
from isogloss.plots import write_chart
from tools.pretrain import examples, judge, run, training
from tools.pretrain.__main__ import main
from tools.pretrain.charts import loss_curve, retrieval_curves
from tools.pretrain.recipe import TextSection, read_recipe

ROOT = Path(__file__).resolve().parents[2]
PUD = ROOT.parent / "shared" / "data" / "parallel" / "pud" / "txt"
EXAMPLES = sorted((ROOT / "examples").glob("pretrain-*.yaml"))

NUMBERS = {
    "en": "one two three four five six seven eight nine ten eleven twelve",
    "de": "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
}
RECIPE = """\
name: numbers
text:
  - files: {en: numbers.en, de: numbers.de}
    lines: [1, 360]
held_out:
  files: {en: numbers.en, de: numbers.de}
  lines: [361, 400]
tokenizer: {n_pieces: 200}
model: {n_layers: 2, width: 32, n_heads: 2, feed_forward: 32, n_positions: 16}
training: {steps: 600, batch_pieces: 512, warmup: 2, rate: 3.0e-3, keep: [0, 100]}
run: {threads: 1, save_minutes: 0, precision: float32}
"""


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(5)
    lines = [rng.integers(0, 12, size=rng.integers(2, 8)) for _ in range(400)]
    for language, names in NUMBERS.items():
        words = names.split()
        text = "".join(" ".join(words[n] for n in line) + "\n" for line in lines)
        (folder / f"numbers.{language}").write_text(text, encoding="utf-8")
    return folder


def _recipe(folder, *changes):
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "numbers.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(text_folder, tmp_path_factory):
    return run.pretrain(_recipe(text_folder), out=tmp_path_factory.mktemp("pretrain"))


def _weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_pretrain_learns_and_leaves_a_curve_models_and_judgements(trained):
    assert trained.curve["step"].to_list() == [100, 200, 300, 400, 500, 600]
    assert trained.curve["loss_pairs"][5] < trained.curve["loss_pairs"][0] < np.log(200) + 0.5
    assert list(trained.models) == ["step_000000", "step_000100", "model"]
    retrieval = pl.read_csv(trained.folder / "retrieval.csv")
    assert set(retrieval["model"]) == set(trained.models)
    assert retrieval["layer"].unique().sort().to_list() == [0, 1, 2]
    masked = pl.read_csv(trained.folder / "masked.csv").filter(pl.col("language") == "en")
    accuracy = {(m, b): a for m, b, a in masked.select("model", "beside", "accuracy").iter_rows()}
    # numbers drawn at random cannot be guessed from each other, only from their translation
    assert accuracy["model", "de"] > 0.5
    assert accuracy["model", "de"] > accuracy["step_000000", "de"]
    assert accuracy["model", None] < 0.4
    facts = json.loads((trained.folder / "run.json").read_text())
    assert facts["steps"] == 600
    assert facts["sessions"][0]["precision"] == "float32"
    assert facts["lines_a_language"] == [360]


def test_without_pairs_nothing_is_learnt_from_the_translation(text_folder, trained, tmp_path):
    recipe = _recipe(text_folder, ("warmup: 2", "warmup: 2, pairs: 0"))
    alone = run.pretrain(recipe, out=tmp_path)
    assert alone.curve["loss_pairs"].null_count() == 6
    masked = pl.read_csv(tmp_path / "masked.csv").filter(pl.col("model") == "model", pl.col("beside") == "de")
    with_pairs = pl.read_csv(trained.folder / "masked.csv").filter(pl.col("model") == "model", pl.col("beside") == "de")
    assert masked["accuracy"][0] < with_pairs["accuracy"][0] - 0.2


class Killed(BaseException):
    """Stands in for a kill: nothing of ours catches it."""


def test_pretrain_removes_no_model_that_is_not_its_own(text_folder, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / ".draft.tmp").write_text("mine")
    with pytest.raises(InputError, match=r"There is a folder .*model, and no checkpoint\.pt"):
        run.pretrain(_recipe(text_folder), out=tmp_path)
    assert (tmp_path / "model" / "config.json").exists()
    assert (tmp_path / ".draft.tmp").exists()


@pytest.mark.parametrize("place", ["losses", "export"])
def test_pretrain_killed_and_run_again_ends_with_the_same_weights(text_folder, trained, tmp_path, monkeypatch, place):
    true, calls = getattr(training, place), []

    def dies(*args, **options):
        calls.append(1)
        if place == "losses" and len(calls) > 150:  # after the first checkpoint
            raise Killed
        found = true(*args, **options)
        if place == "export" and len(calls) == 2:  # of step 100; only half of it reaches the disk
            args[2].rename(args[2].with_name(args[2].name + ".partial"))
            (tmp_path / ".checkpoint.pt.isogloss-abcdefgh.tmp").write_bytes(b"half")
            raise Killed
        return found

    recipe = _recipe(text_folder, ("{n_pieces: 200}", f"{{file: '{trained.folder / 'tokenizer.json'}'}}"))
    module = training if place == "losses" else run
    monkeypatch.setattr(module, place, dies)
    with pytest.raises(Killed):
        run.pretrain(recipe, out=tmp_path)
    assert list(run.Pretrained(tmp_path).models) == (["step_000000"] + ["step_000100"] * (place == "losses"))
    monkeypatch.setattr(module, place, true)
    again = run.pretrain(recipe, out=tmp_path)
    assert again.curve.drop("seconds").equals(trained.curve.drop("seconds"))
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".partial"))]
    for name in trained.models:
        expected, found = _weights(trained.models[name]), _weights(again.models[name])
        assert expected.keys() == found.keys()
        for key in expected:
            assert torch.equal(expected[key], found[key]), (name, key)
    assert [session["from_step"] for session in json.loads((tmp_path / "run.json").read_text())["sessions"]] == [0, 100]


def test_pretrain_takes_the_tokenizer_of_another_run(text_folder, trained, tmp_path):
    file = trained.folder / "tokenizer.json"
    recipe = _recipe(
        text_folder, ("{n_pieces: 200}", f"{{file: '{file}'}}"), ("steps: 600", "steps: 1"), ("[0, 100]", "[]")
    )
    done = run.pretrain(recipe, out=tmp_path)
    assert (tmp_path / "tokenizer.json").read_text() == file.read_text()
    assert list(done.models) == ["model"]


def test_a_random_start_is_a_control(text_folder, tmp_path):
    changes = (("warmup: 2", "warmup: 2, start: random"), ("steps: 600", "steps: 1"), ("[0, 100]", "[0]"))
    done = run.pretrain(_recipe(text_folder, *changes), out=tmp_path)
    weight = _weights(done.kept(0))["bert.embeddings.word_embeddings.weight"].float()
    assert weight[5:].std() == pytest.approx(0.04, rel=0.1)  # as drawn: nothing of the text is in it


def test_pretrain_leaves_the_global_generator_alone(text_folder, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    run.pretrain(_recipe(text_folder, ("steps: 600", "steps: 1"), ("[0, 100]", "[0]")), out=tmp_path)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("warmup: 2", "warmup: 3", r"training.warmup \(2 -> 3\)"),
        ("n_pieces: 200", "n_pieces: 100", "the study's tokenizer"),
        ("[1, 360]", "[1, 359]", "begun with something else: text"),
    ],
)
def test_pretrain_refuses_to_go_on_with_another_study(text_folder, trained, old, new, message):
    with pytest.raises(UsageError, match=message):
        run.pretrain(_recipe(text_folder, (old, new)), out=trained.folder)


def test_pretrain_warns_of_held_out_lines_that_are_trained_on(text_folder, tmp_path, caplog):
    recipe = _recipe(text_folder, ("[361, 400]", "[360, 369]"), ("steps: 600", "steps: 1"), ("[0, 100]", "[]"))
    with caplog.at_level("WARNING"):
        run.pretrain(recipe, out=tmp_path)
    assert "of 10 held-out lines in en are trained on too" in caplog.text


def test_text_leaves_out_lines_that_are_empty_in_a_language(tmp_path, caplog):
    (tmp_path / "a.en").write_text("one\n\nthree\nfour\n")
    (tmp_path / "a.de").write_text("eins\nzwei\n \nvier\n")
    section = TextSection(files={"en": str(tmp_path / "a.en"), "de": str(tmp_path / "a.de")})
    with caplog.at_level("WARNING"):
        assert section.read() == {"en": ["one", "four"], "de": ["eins", "vier"]}
    assert "2 lines are empty in a language" in caplog.text


@pytest.mark.parametrize(("text", "message"), [("{}", "special pieces"), ("{nothing", "not a tokenizer file")])
def test_pretrain_refuses_a_foreign_tokenizer(text_folder, trained, tmp_path, text, message):
    file = tmp_path / "foreign.json"
    if text == "{}":
        text = (trained.folder / "tokenizer.json").read_text().replace('"[MASK]"', '"<mask>"')
    file.write_text(text)
    recipe = _recipe(text_folder, ("{n_pieces: 200}", f"{{file: '{file}'}}"))
    with pytest.raises(InputError, match=message):
        run.pretrain(recipe, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("warmup: 2", "warm_up: 2", UsageError, "line 10: unknown key in training 'warm_up'. Did you mean 'warmup'"),
        ("warmup: 2", "warmup: 0", UsageError, "line 10: training.warmup"),
        ("width: 32", "width: 31", UsageError, "line 9: model: width must be even"),
        ("[0, 100]", "[600]", UsageError, "line 10: training: steps to keep lie in 0..599"),
        (
            "batch_pieces: 512",
            "batch_pieces: 20",
            UsageError,
            r"batch_pieces must hold one pair, 2 \* n_positions = 32",
        ),
        ("lines: [1, 360]", "starter: true", UsageError, "line 3: text.0: a text is either 'files'"),
        ("lines: [361, 400]", "lines: [361, 401]", InputError, "lines 361 to 401 were asked for"),
        ("de: numbers.de}\n    lines", "de: short.de}\n    lines", InputError, "400 in .*numbers.en, 1 in .*short.de"),
    ],
)
def test_recipe_names_what_is_wrong(text_folder, tmp_path, old, new, error, message):
    (text_folder / "short.de").write_text("eins\n")
    with pytest.raises(error, match=message):
        run.pretrain(_recipe(text_folder, (old, new)), out=tmp_path)


def test_starter_corpus_is_a_text():
    texts = TextSection(starter=True, lines=(1, 3)).read()
    assert tuple(texts) == starter.load_corpus().languages
    assert texts["en"] == list(starter.load_corpus().texts("en")[:3])


# -- masking ----------------------------------------------------------------------------------------


def _examples(n, rng):
    """Two lines of 20 words each, every word two pieces: 2k starts a word, 2k + 1 goes on."""

    def line():
        words = 2 * rng.integers(5, 50, size=20)
        return np.concatenate([[examples.CLS], np.stack([words, words + 1], axis=1).ravel(), [examples.SEP]])

    return [[line(), line()] for _ in range(n)]


def test_mask_hides_whole_words_never_special_pieces_and_one_line_more_than_the_other():
    rng = np.random.default_rng(0)
    continues = np.arange(102) % 2 == 1
    continues[:10] = False
    batch = examples.pad(_examples(300, rng))
    changed, labels = examples.mask(batch, rng, continues, masked=0.2, masked_pair=(0.5, 0.1))
    hidden = labels != examples.IGNORED
    assert not hidden[batch.ids < len(examples.SPECIAL)].any()
    starts, ends = hidden[:, 1:41:2], hidden[:, 2:42:2]
    assert (starts == ends).all()  # the two pieces of a word go together
    assert (labels[hidden] == batch.ids[hidden]).all()
    assert (changed.ids[~hidden] == batch.ids[~hidden]).all()
    assert 0.75 < (changed.ids[hidden] == examples.MASK).mean() < 0.85
    shares = np.sort([[row[:42].sum() / 40, row[42:].sum() / 40] for row in hidden], axis=1).mean(axis=0)
    assert shares == pytest.approx([0.1, 0.5], abs=0.03)
    assert 0.4 < np.mean([row[:42].sum() > row[42:].sum() for row in hidden]) < 0.6
    assert batch.positions[0].tolist() == [*range(42), *range(42)]
    assert batch.segments[0].tolist() == [0] * 42 + [1] * 42


def test_mask_of_single_lines_and_what_masked_pieces_become():
    rng = np.random.default_rng(3)
    continues = np.zeros(100, dtype=bool)
    lines = [[np.concatenate([[examples.CLS], rng.integers(5, 100, size=50), [examples.SEP]])] for _ in range(400)]
    batch = examples.pad(lines)
    changed, labels = examples.mask(batch, rng, continues, masked=0.25, masked_pair=(0.9, 0.9))
    hidden = labels != examples.IGNORED
    assert hidden[:, 1:-1].mean() == pytest.approx(0.25, abs=0.02)
    masked = changed.ids[hidden] == examples.MASK
    kept = changed.ids[hidden] == batch.ids[hidden]
    assert [masked.mean(), kept.mean()] == pytest.approx([0.8, 0.1], abs=0.02)
    assert changed.ids[hidden][~masked & ~kept].min() >= len(examples.SPECIAL)


def test_a_batch_always_has_something_to_guess():
    batch = examples.pad([[np.array([examples.CLS, 7, examples.SEP])]])
    for seed in range(20):
        _, labels = examples.mask(
            batch, np.random.default_rng(seed), np.zeros(10, dtype=bool), masked=1e-9, masked_pair=(0.5, 0.1)
        )
        assert labels.tolist() == [[examples.IGNORED, 7, examples.IGNORED]]


def test_batches_hold_every_example_once_fit_the_size_and_go_on_from_any_place():
    rng = np.random.default_rng(4)
    lines = {x: [np.full(rng.integers(3, 30), 5) for _ in range(50)] for x in ("a", "b")}
    data = examples.Data([lines], np.array([[0, i] for i in range(50)]))

    def draw(n, pool=0, index=0):
        made = examples.batches(data, pool, index, size=200, pairs=0.5, seed=[0, 1])
        return [next(made) for _ in range(n)]

    first = draw(400)
    in_pool = [batch for pool, _, batch in first if pool == 0]
    assert sum(map(len, in_pool)) == 1024
    assert all(len(batch) * max(sum(map(len, example)) for example in batch) <= 200 for _, _, batch in first)
    assert 0.4 < np.mean([len(example) == 2 for batch in in_pool for example in batch]) < 0.6
    k = next(i for i, (pool, _, _) in enumerate(first) if pool == 1)
    for start in (17, k - 1, k):
        pool, index, _ = first[start]
        for expected, found in zip(first[start : start + 5], draw(5, pool, index), strict=True):
            assert expected[:2] == found[:2]
            for x, y in zip(expected[2], found[2], strict=True):
                assert all(np.array_equal(left, right) for left, right in zip(x, y, strict=True))


def test_lines_that_are_too_long_are_cropped_and_keep_their_end(trained):
    tokenizer = examples.read_tokenizer(trained.folder / "tokenizer.json")
    data = examples.encode(tokenizer, [{"en": ["one two three four five six", "one"]}], [1], positions=5)
    long, short = data.lines[0]["en"]
    assert len(long) == 5
    assert (long[0], long[-1]) == (examples.CLS, examples.SEP)
    assert len(short) <= 5


def test_losses_are_those_of_transformers_and_bfloat16_is_near(trained):
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(trained.model).float().eval()
    rng = np.random.default_rng(0)
    lines = [[np.concatenate([[2], rng.integers(5, 40, size=n), [3]]) for _ in range(k)] for n, k in ((6, 1), (4, 2))]
    batch, labels = examples.mask(
        examples.pad(lines), rng, np.zeros(200, dtype=bool), masked=0.5, masked_pair=(0.5, 0.5)
    )
    found, in_pair = training.losses(model, batch, labels)
    ids = torch.from_numpy(batch.ids)
    expected = model(
        input_ids=ids,
        attention_mask=(ids != 0).long(),
        token_type_ids=torch.from_numpy(batch.segments),
        position_ids=torch.from_numpy(batch.positions),
        labels=torch.from_numpy(labels),
    ).loss
    assert found.mean().item() == pytest.approx(expected.item(), rel=1e-5)
    assert in_pair.tolist() == [False] * int((labels[0] >= 0).sum()) + [True] * int((labels[1] >= 0).sum())
    rough, _ = training.losses(model, batch, labels, precision=torch.bfloat16)
    assert rough.mean().item() == pytest.approx(expected.item(), rel=0.05)


def test_a_loss_that_is_no_number_stops_the_run(text_folder, tmp_path):
    recipe = read_recipe(_recipe(text_folder))
    steep = recipe.training.model_copy(update={"rate": 1e20})  # the file would not take it
    recipe = recipe.model_copy(update={"training": steep})
    with pytest.raises(IsoglossError, match=r"no longer a number .*Lower training.rate"):
        run.pretrain(recipe, out=tmp_path)


def test_distributional_vectors_put_pieces_of_like_contexts_together():
    rng = np.random.default_rng(1)
    # pieces 10-19 stand between 5s and 6s, pieces 20-29 between 7s and 8s
    lines = [np.array([2, 5, rng.integers(10, 20), 6, 3]) for _ in range(300)]
    lines += [np.array([2, 7, rng.integers(20, 30), 8, 3]) for _ in range(300)]
    data = examples.Data([{"x": lines}], np.array([[0, i] for i in range(600)]))
    vectors = examples.distributional_vectors(data, vocab=40, width=8, seed=0)
    assert np.linalg.norm(vectors[10:30], axis=1) == pytest.approx(1, abs=1e-5)
    same = vectors[10:20] @ vectors[10:20].T
    other = vectors[10:20] @ vectors[20:30].T
    assert same.min() > other.max() + 0.3
    assert not vectors[30:].any()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_recipes_are_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.training.keep
    assert {language for text in recipe.text for language in text.files or {}} == set(starter.load_corpus().languages)


def test_the_control_differs_in_its_pairs_alone() -> None:
    ours, control = (read_recipe(ROOT / "examples" / f"pretrain-{name}.yaml") for name in ("starter", "mlm-only"))
    assert (ours.text, ours.held_out, ours.model) == (control.text, control.held_out, control.model)
    same = {"pairs": 0, "keep": []}
    assert ours.training.model_copy(update=same) == control.training.model_copy(update=same)
    assert ours.training.pairs > control.training.pairs == 0


@pytest.mark.shared
def test_model_finds_translations_it_has_not_seen():
    if not PUD.exists():
        pytest.skip("the shared PUD sentences are not there")
    texts = {
        language: (PUD / f"pud.{language}.txt").read_text(encoding="utf-8").split("\n")[:100]
        for language in ("en", "es", "ar")
    }
    found = judge.sentence_retrieval(starter.model_folder(), texts)
    assert found["chance"].unique().to_list() == [0.01]
    middle = found.filter(pl.col("layer") == 4)
    precision = {(s, t): p for s, t, p in middle.select("source", "target", "csls").iter_rows()}
    assert precision["en", "es"] > 0.5
    assert precision["en", "ar"] > 0.2


def test_training_charts_draw_every_model_and_skip_losses_that_were_not_met(tmp_path: Path) -> None:
    curve = pl.DataFrame({"step": [100, 200], "seconds": [1.0, 2.0], "loss": [3.0, 2.5], "loss_pairs": [None, 2.0]})
    [data] = loss_curve(curve).to_dict()["datasets"].values()
    assert [(row["step"], row["kind"], row["value"]) for row in data] == [
        (100, "single lines", 3.0),
        (200, "single lines", 2.5),
        (200, "pairs of translations", 2.0),
    ]
    found = pl.DataFrame(
        [(model, s, t, layer, 0.5, 0.7, 0.1) for model in "ba" for s, t in ("xy", "yx") for layer in (0, 1)],
        schema=["model", "source", "target", "layer", "cosine", "csls", "chance"],
        orient="row",
    )
    chart = retrieval_curves(found)
    [data] = chart.to_dict()["datasets"].values()
    assert [row["model"] for row in data if row["layer"] == 0] == ["b", "a", "b", "a"]
    assert {row["nearest by"]: row["precision"] for row in data} == {"cosine": 0.5, "CSLS": 0.7}
    assert {row["chance"] for row in data} == {0.1}
    paths = write_chart(chart, tmp_path / "retrieval")
    assert [path.name for path in paths] == ["retrieval.png", "retrieval.svg"]
    assert "CSLS" in paths[1].read_text(encoding="utf-8")


def test_pretrain_makes_models_a_study_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "text: [{starter: true, lines: [1, 40]}]\n"
        "held_out: {starter: true, lines: [41, 60]}\n"
        "tokenizer: {n_pieces: 600}\n"
        "model: {n_layers: 2, width: 16, n_heads: 2, feed_forward: 16, n_positions: 64}\n"
        "training: {steps: 100, batch_pieces: 256, keep: [0]}\n"
    )
    out = tmp_path / "tiny"
    assert main([str(tmp_path / "tiny.yaml"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert [line.split(":")[0] for line in printed.splitlines()[:2]] == ["step_000000", "model"]
    assert (out / "curve.svg").exists()
    assert (out / "retrieval.svg").exists()
    assert pl.read_csv(out / "retrieval.csv")["layer"].max() == 2
    assert pl.read_csv(out / "masked.csv")["language"].n_unique() == 6

    (tmp_path / "study.yaml").write_text(
        "corpus: {files: {en: a.en, de: a.de}}\n"
        "models: [{name: before, path: tiny/kept/step_000000}, {name: after, path: tiny/model}]\n"
        "discovery: {method: kmeans, n_concepts: 5}\n"
        "metrics: {min_types: 2, n_permutations: 5}\n"
    )
    corpus = starter.load_corpus(["en", "de"])
    for language in corpus.languages:
        (tmp_path / f"a.{language}").write_text("\n".join(corpus.texts(language)[:30]) + "\n", encoding="utf-8")
    study = tmp_path / "study.yaml"
    ig.run_study(study, out=tmp_path / "study", workers=1)
    assert set(pl.read_csv(tmp_path / "study" / "results.csv")["model"]) == {"before", "after"}

    assert main([str(study)]) == 2
    assert "unknown key in study 'corpus'" in capsys.readouterr().err
