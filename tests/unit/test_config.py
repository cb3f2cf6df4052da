"""The study file: defaults, paths, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from isogloss.config import read_config
from isogloss.errors import InputError, UsageError
from isogloss.starter.recipe import read_recipe

GOOD = """\
name: x
corpus:
  files: {en: a.en, de: a.de}
models:
  - path: bert-base-multilingual-cased
  - path: ./local/model
"""
FOLDER = Path(__file__).resolve().parents[2] / "examples"
RECIPES = sorted(FOLDER.glob("pretrain-*.yaml"))
EXAMPLES = sorted({*FOLDER.glob("*.yaml"), *FOLDER.glob("paper/*.yaml")} - set(RECIPES))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert config.metrics.theta_align == [0.8]
    assert config.metrics.theta_overlap == [0.3]
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


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_example_recipes_are_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.training.keep
    assert {language for text in recipe.text for language in text.files or {}} == {
        "en",
        "de",
        "es",
        "fr",
        "ar",
        "zh",
    }


def test_the_control_differs_in_its_pairs_alone() -> None:
    ours, control = (read_recipe(FOLDER / f"pretrain-{name}.yaml") for name in ("starter", "mlm-only"))
    assert (ours.text, ours.held_out, ours.model) == (control.text, control.held_out, control.model)
    same = {"pairs": 0, "keep": []}
    assert ours.training.model_copy(update=same) == control.training.model_copy(update=same)
    assert ours.training.pairs > control.training.pairs == 0


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 3: name stands in line 1 already"):
        read_config(
            write(tmp_path, "name: x\ncorpus: {files: {en: a, de: b}}\nname: y\nmodels: [{path: m}]\n")
        )


def test_norwegian_has_to_be_quoted_and_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2: YAML reads the key no as true or false"):
        read_config(write(tmp_path, "corpus:\n  files: {en: a, no: b}\nmodels: [{path: m}]\n"))
    assert read_config(write(tmp_path, "corpus:\n  files: {en: a, 'no': b}\nmodels: [{path: m}]\n"))


@pytest.mark.parametrize("text", ["[" * 100_000, "\x00" * 50], ids=["deep", "zeros"])
def test_a_damaged_study_file_is_one_line(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"study\.yaml.*: not YAML \(.+\)") as caught:
        read_config(path)
    assert "\n" not in str(caught.value)
