"""The study file: defaults, paths, and errors that name the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from isogloss.config import StudyConfig, read_config
from isogloss.errors import InputError, UsageError
from isogloss.sections import Section, sections_in
from tools.pretrain.recipe import Recipe, read_recipe

GOOD = """\
name: x
corpus:
  files: {en: a.en, de: a.de}
models:
  - path: bert-base-multilingual-cased
  - path: ./local/model
"""
FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted({*FOLDER.glob("*.yaml"), *FOLDER.glob("paper/*.yaml")} - {*FOLDER.glob("pretrain-*.yaml")})


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert config.metrics.theta_align == (0.5,)
    assert config.metrics.theta_overlap == (0.3,)
    assert (config.metrics.min_types, config.metrics.min_size_ratio) == (5, 0.4)
    assert config.dictionary.top == 10
    assert (config.selection.calign.by, config.selection.calign.max_count) == ("pairs", 15)
    assert (config.selection.colap.by, config.selection.colap.max_count) == ("types", 15)
    assert (config.discovery.method, config.discovery.n_concepts) == ("ward", "auto")


def test_paths_are_relative_to_the_study_file_and_hub_ids_stay(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert config.corpus.files == {"en": str(tmp_path / "a.en"), "de": str(tmp_path / "a.de")}
    assert config.models[0].path == "bert-base-multilingual-cased"
    assert config.models[1].path == str(tmp_path / "local/model")
    assert [m.name for m in config.models] == ["bert-base-multilingual-cased", "model"]


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    config.write(tmp_path / "resolved.yaml")
    assert read_config(tmp_path / "resolved.yaml") == config
    assert "n_permutations" in yaml.safe_load((tmp_path / "resolved.yaml").read_text())["metrics"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("models:", "modles:", r"line 4: .*'modles'\. Did you mean 'models'"),
        ("  files:", "  filse:", r"line 3: .*'filse'\. Did you mean 'files'"),
        ("  - path: ./local", "  - pth: ./local", r"line 6: .*'pth'\. Did you mean 'path'"),
        ("name: x", "name: x\ndiscovery: {method: kmean}", r"line 2: .*Did you mean 'kmeans'"),
        ("name: x", "name: x\ndiscovery: {n_concepts: 1}", r"line 2: discovery\.n_concepts"),
        ("name: x", "name: x\nmetrics: {theta_align: high}", r"line 2: metrics\.theta_align"),
        ("./local/model", "bert-base-multilingual-cased", "two models are called"),
        ("./local/model", "./local/model\n    base: bert", "unknown base model 'bert'"),
    ],
)
def test_mistakes_name_line_and_way_out(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_config(write(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n"])
def test_a_study_file_is_a_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="mapping"):
        read_config(write(tmp_path, text))


def test_not_yaml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3"):
        read_config(write(tmp_path, "name: x\ncorpus: {a: b\nmodels: ]\n"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_valid(path: Path) -> None:
    assert read_config(path).models


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 3: name stands in line 1 already"):
        read_config(write(tmp_path, "name: x\ncorpus: {files: {en: a, de: b}}\nname: y\nmodels: [{path: m}]\n"))


def test_norwegian_has_to_be_quoted_and_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2: YAML reads the key no as true or false"):
        read_config(write(tmp_path, "corpus:\n  files: {en: a, no: b}\nmodels: [{path: m}]\n"))
    assert read_config(write(tmp_path, "corpus:\n  files: {en: a, 'no': b}\nmodels: [{path: m}]\n"))


# -- every key, every extreme value ---------------------------------------------------------------

EXTREMES: tuple[object, ...] = (
    *(0, -1, 1e30, 10**12, float("inf"), float("nan"), 2.7, True, "", "x", "..", "../../x", None),
    *([], {}, [None], [0, 0], [0.6], ["x", "x"], [["en", "de"], ["de", "en"]], {"x": "y"}),
)
STUDY = """\
corpus: {files: {en: a.en, de: a.de}}
models: [{path: m}]
tasks: [{kind: sentiment, train: {files: a.jsonl}, test: {files: b.jsonl}}]
"""
RECIPE = "text: [{files: {en: a.en, de: a.de}}]\n"


def keys_of(form: type[Section], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the place of every key of a file, those of its sections included."""
    for name, field in form.model_fields.items():
        yield (*place, name)
        for inner in sections_in(field.annotation):
            yield from keys_of(inner, (*place, name))


def put(data: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    here: Any = data
    for name in place[:-1]:
        here = here[0] if isinstance(here, list) else here
        here = here.setdefault(name, {}) if here.get(name) is None else here[name]
    (here[0] if isinstance(here, list) else here)[place[-1]] = value


@pytest.mark.parametrize(
    ("form", "place"),
    [(form, place) for form in (StudyConfig, Recipe) for place in keys_of(form)],
    ids=lambda part: ".".join(part) if isinstance(part, tuple) else part.__name__,
)
def test_every_key_takes_an_extreme_value_or_says_why_not(
    tmp_path: Path, form: type[Section], place: tuple[str, ...]
) -> None:
    study, read = (STUDY, read_config) if form is StudyConfig else (RECIPE, read_recipe)
    for value in EXTREMES:
        data = yaml.safe_load(study)
        put(data, place, value)
        try:
            made = read(write(tmp_path, yaml.safe_dump(data)))
        except UsageError as error:
            said = str(error)
            assert "\n" not in said
            assert re.search(r"study\.yaml, line \d+: ", said), said
            assert place[-1] in said or (len(place) > 1 and place[-2] in said), said
        else:
            yaml.safe_load(yaml.safe_dump(made.model_dump(mode="json")))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "tasks: [{kind: ner, train: {files: a}, test: {files: b}, epochs: .inf}]",
            "tasks.0.epochs .* 1,000 .* got inf",
        ),
        ("tasks: [{kind: ner, train: {files: a}, test: {files: b}, epochs: 1e30}]", "tasks.0.epochs .* got 1e\\+30"),
        (
            "tasks: [{kind: ner, train: {files: a}, test: {files: b}, batch_size: 1000000000000}]",
            "batch_size .* memory",
        ),
        ("tasks: [{kind: ner, train: {files: a}, test: {files: b}, seeds: [0, 0]}]", "seeds .* no entry twice"),
        ("tasks: [{kind: ner, train: {files: a}, test: {files: b}, patience: 0}]", "patience .* from 1"),
        ("metrics: {n_permutations: 1000000000000}", r"n_permutations .* 1 to 10,000 \(each costs"),
        ("metrics: {n_bootstrap: 1000000000000}", r"n_bootstrap .* 0 to 10,000 \(each costs"),
        ("metrics: {theta_overlap: [0.6]}", r"theta_overlap .* 0 to 0\.5 \(beyond a half no two languages"),
        ("metrics: {theta_align: [.nan]}", r"theta_align .* got \[nan\]"),
        ("metrics: {theta_align: [0]}", "theta_align must be above 0"),
        ("metrics: {theta_align: [0.8, 0.8]}", "theta_align .* no entry twice"),
        ("alignment: {symmetrise: grow-dig}", "Did you mean 'grow-diag'"),
        ("discovery: {seeds: [0, 0, 1]}", "seeds .* no entry twice"),
        ("discovery: {seeds: [-1]}", "seeds .* from 0 to 4,294,967,295"),
        ("pairs: []", "pairs must be 'all' or .* not empty"),
        ("pairs: [[en, de], [de, en]]", "en and de|de and en are a pair twice"),
        ("pairs: [[en, en]]", "a pair needs two languages; got en twice"),
        ("run: {device: gpu}", "device must be text such as 'cuda'; got 'gpu'"),
        ("run: {workers: 0}", "workers must be a whole number from 1"),
        ("labels: {threshold: true}", "threshold must be a number .* got True"),
        ("name: 5", "name must be text .* To mean the text, write it in quotes: '5'"),
        ("name: ../x", "name must be text such as 'news'"),
        ("metrics: ~", "metrics: must be keys with values; for the defaults, leave it out"),
    ],
)
def test_a_setting_that_would_fail_later_is_refused_at_reading(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"study\.yaml, line 7: .*{said}"):
        read_config(write(tmp_path, GOOD.removeprefix("name: x\n") + "\n" + line + "\n"))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join(['*' + b] * 10)}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: &a [*a]\n",
    ],
    ids=["bomb", "circle"],
)
def test_aliases_that_make_a_short_file_a_huge_one_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="line 1: more than 100,000 values, or 50 in each other"):
        read_config(write(tmp_path, text))


def test_an_alias_is_taken_and_dates_times_and_numbers_are_what_they_look_like(tmp_path: Path) -> None:
    text = STUDY.replace("test: {files: b.jsonl}", "test: *t, rate: 1e-4").replace("train: ", "train: &t ")
    config = read_config(write(tmp_path, text + "name: 2024-13-45\nrun: {slurm: {walltime: 04:00:00}}\n"))
    assert config.tasks[0].train == config.tasks[0].test
    assert (config.tasks[0].rate, config.name, config.run.slurm.walltime) == (1e-4, "2024-13-45", "04:00:00")


@pytest.mark.parametrize("text", ["[" * 100_000, "\0" * 50, "name: " + "9" * 5000], ids=["deep", "zeros", "digits"])
def test_what_is_not_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"study\.yaml.*: not YAML \(.+\)") as caught:
        read_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_text_given_as_a_study_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"more than 1,000,000 characters; .* Is it the text itself"):
        read_config(write(tmp_path, "a sentence\n" * 200_000))


def test_the_preset_of_the_paper_gives_what_a_file_leaves_out(tmp_path):
    path = tmp_path / "study.yaml"
    text = "preset: paper\ncorpus: {files: {en: en.txt, de: de.txt}}\nmodels: [{path: some/model}]\n"
    path.write_text(text)
    paper = read_config(path)
    assert paper.metrics.theta_align == (0.8, 0.7, 0.9)
    assert (paper.discovery.method, paper.discovery.n_concepts) == ("kmeans", 600)
    path.write_text(text + "discovery: {method: ward}\nmetrics: {theta_align: 0.6}\n")
    mixed = read_config(path)
    assert (mixed.discovery.method, mixed.discovery.n_concepts) == ("ward", 600)
    assert mixed.metrics.theta_align == (0.6,) and mixed.metrics.min_types == 5
    mixed.write(path)
    assert read_config(path) == mixed
    path.write_text(text + "metrics: 3\n")
    with pytest.raises(UsageError, match="metrics"):
        read_config(path)
