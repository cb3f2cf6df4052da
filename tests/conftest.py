"""What several tests use: the data beside the repository, and small studies on the built-in model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from browser import browser_page, chromium  # noqa: F401  fixtures

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data: {SHARED} does not exist")
    return SHARED


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Give the log back as it was: a command run in this process sets its level and where it goes."""
    log = logging.getLogger("isogloss")
    level, handlers = log.level, list(log.handlers)
    yield
    log.setLevel(level)
    log.handlers = handlers


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a small study on the built-in corpus and model; keywords replace whole sections or parts of them."""

    def make(folder: Path = tmp_path / "input", **sections: object) -> Path:
        return write_small_study(folder, **sections)

    return make


def write_small_study(folder: Path, **sections: object) -> Path:
    from isogloss.starter import load_corpus, model_folder

    corpus = load_corpus(["en", "de", "ar"])
    folder.mkdir(parents=True, exist_ok=True)
    texts = [corpus.texts(language)[:60] for language in corpus.languages]
    rows = ["\t".join(corpus.languages), *("\t".join(row) for row in zip(*texts, strict=True))]
    (folder / "text.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    study: dict[str, object] = {
        "name": "small",
        "corpus": {"files": "text.tsv"},
        "models": [{"name": "starter", "path": str(model_folder()), "layers": [0, 4]}],
        "discovery": {"method": "ward", "n_concepts": 30},
        "metrics": {"min_types": 2, "n_permutations": 20, "theta_align": [0.5, 0.8]},
    }
    for name, value in sections.items():
        old = study.get(name)
        study[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of `study_file` as it comes, run once for all tests: only to be read."""
    from isogloss import run_study

    root = tmp_path_factory.mktemp("finished")
    run_study(write_small_study(root / "input"), out=root / "study", workers=1)
    return root / "study"


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """A copy of that study to work on."""
    return Path(shutil.copytree(finished_once, tmp_path / "study"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from the name of a family to the folder of its tiny random model."""
    from tiny_models import make

    root = tmp_path_factory.mktemp("models")
    return lambda family: root / family if (root / family).exists() else make(family, root / family)
