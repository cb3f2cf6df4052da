"""What several tests use: the data beside the repository, and small studies on the built-in model."""

from __future__ import annotations

import logging
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
    from isogloss.starter import load_corpus, model_folder

    def make(folder: Path = tmp_path / "input", **sections: object) -> Path:
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

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from the name of a family to the folder of its tiny random model."""
    from tiny_models import make

    root = tmp_path_factory.mktemp("models")
    return lambda family: root / family if (root / family).exists() else make(family, root / family)
