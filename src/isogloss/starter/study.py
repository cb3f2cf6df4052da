"""The built-in study: its text and study file, written out so that a user can read and change them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from isogloss.arguments import checked
from isogloss.starter import load_corpus, model_folder
from isogloss.store import make_folder, write_text

_STUDY = """\
# The study of `isogloss demo`. Change it and run it again:  isogloss run {file}
name: demo
corpus:
  files: # one sentence a line: text, words, entities, sentiment
{files}
models:
  - name: starter
    path: {model}
    layers: [0, 2, 4, 6]
selection: # fewer tokens of frequent words than the usual 15, so that this takes a minute
  calign: {{by: pairs, max_count: 2}}
  colap: {{by: types, max_count: 2}}
discovery:
  method: ward
  n_concepts: 150
metrics:
  theta_align: [0.5, 0.8] # the first is the main one; 0.8 is the paper's, which asks a lot of so little text
  theta_overlap: [0.3]
  min_types: 3
"""


_TUNING = """\
# The fine-tuning part of `isogloss demo`: sentiment is learnt from English lines, and tried on others in all languages.
# Change it and run it again:  isogloss run {file}
name: demo-finetune
corpus:
  languages: [en, de, fr, zh]
  files:
{files}
pairs: [[en, de], [en, fr], [en, zh]]
models:
  - name: starter
    path: {model}
    layers: [0, 6]
tasks:
  - kind: sentiment
    train: {{files: {{en: starter.en.jsonl}}, lines: [1, 500]}}
    test:
      lines: [501, 640]
      files:
{test}
    epochs: 6
    rate: 1.0e-3
    batch_size: 16
selection:
  calign: {{by: pairs, max_count: 2}}
  colap: {{by: types, max_count: 2}}
discovery:
  method: ward
  n_concepts: 150
metrics:
  theta_align: [0.5, 0.8]
  theta_overlap: [0.3]
  min_types: 3
labels: null
"""


@checked
def write_study(folder: Path) -> Path:
    """Write the built-in corpus as ``starter.LANGUAGE.jsonl`` and a study file beside it; return the study file."""
    corpus = load_corpus()
    make_folder(folder)
    names = {language: f"starter.{language}.jsonl" for language in corpus.languages}
    words = corpus.words.group_by("language", "sentence", maintain_order=True).agg("word", "ner")
    table = corpus.sentences.join(words, on=["language", "sentence"], maintain_order="left")
    for language, name in names.items():
        columns = ("id", "text", "word", "ner", "label", "topic")
        keys = ("id", "text", "tokens", "ner_tags", "label", "topic")
        rows = table.filter(pl.col("language") == language).select(columns).iter_rows()
        lines = (json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) for row in rows)
        write_text(folder / name, "".join(f"{line}\n" for line in lines))
    path = folder / "study.yaml"
    files = "\n".join(f"    {language}: {name}" for language, name in names.items())
    write_text(path, _STUDY.format(file=path, model=json.dumps(str(model_folder())), files=files))
    return path


@checked
def write_tuning_study(folder: Path) -> Path:
    """Write the study file ``finetune.yaml`` beside what `write_study` wrote; return it."""
    path = folder / "finetune.yaml"
    names = {language: f"starter.{language}.jsonl" for language in load_corpus().languages}
    files, test = (
        "\n".join(f"{space}{language}: {names[language]}" for language in languages)
        for space, languages in (("    ", ("en", "de", "fr", "zh")), ("        ", names))
    )
    write_text(path, _TUNING.format(file=path, model=json.dumps(str(model_folder())), files=files, test=test))
    return path
