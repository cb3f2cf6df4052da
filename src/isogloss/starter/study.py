"""The built-in study: its text and study file, written out so that a user can read and change them."""

from __future__ import annotations

from pathlib import Path

from isogloss.starter import load_corpus, model_folder
from isogloss.store import make_folder, write_text

_STUDY = """\
# The study of `isogloss demo`. Change it and run it again:  isogloss run {file}
name: demo
corpus:
  files: starter.tsv # one multi-parallel sentence a row, a header of languages
models:
  - name: starter
    path: {model}
    layers: all
discovery:
  method: kmeans
  n_concepts: 150
metrics:
  theta_align: [0.5, 0.8] # the first is the main one; 0.8, the paper's, asks a lot of so little text
  theta_overlap: [0.3]
  min_types: 3
"""


def write_study(folder: Path) -> Path:
    """Write the built-in corpus as ``starter.tsv`` and a study file beside it; return the study file."""
    corpus = load_corpus()
    columns = [corpus.texts(language) for language in corpus.languages]
    rows = ["\t".join(corpus.languages), *("\t".join(row) for row in zip(*columns, strict=True))]
    make_folder(folder)
    write_text(folder / "starter.tsv", "\n".join(rows) + "\n")
    path = folder / "study.yaml"
    write_text(path, _STUDY.format(file=path, model=model_folder()))
    return path
