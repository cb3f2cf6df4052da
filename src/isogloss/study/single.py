"""One step on its own, in a study folder: what the step verbs of the command line call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.concepts import Concepts
from isogloss.config import SelectionRule
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.discovery import default_n_concepts
from isogloss.errors import InputError, UsageError, unknown
from isogloss.metrics import calign as measure_alignment
from isogloss.metrics import colap as measure_overlap
from isogloss.results import Alignment, Overlap
from isogloss.store import ConceptsFile, Study, digest, locked
from isogloss.study import steps as work
from isogloss.study.graph import Step, run_step


def align_words(
    folder: Path, source: str, target: str, *, aligner: str, symmetrise: str, links: Path | None, top: int
) -> dict[str, Any]:
    """Link two languages of the folder's corpus and count both dictionaries."""
    study = Study(folder.resolve())
    common = {"source": source, "target": target, "aligner": aligner}
    arguments: dict[str, Any] = {
        **common,
        "symmetrise": symmetrise,
        "options": {},
        "file": str(links) if links else None,
    }
    path = study.links(aligner, source, target)
    with locked(study.lock):
        _check_languages(Corpus.open(study), (source, target))
        _run(study, work.link_words, arguments, path)
        dictionaries = []
        for s, t in ((source, target), (target, source)):
            arguments = {**common, "source": s, "target": t, "backward": s != source}
            arguments |= {"top": top, "min_count": 1, "file": None}
            dictionaries.append(study.dictionary(s, t))
            _run(study, work.count_dictionary, arguments, dictionaries[-1])
    n_links = pl.scan_parquet(path).select(pl.len()).collect().item()
    return {"n_links": n_links, "links": path, "dictionaries": dictionaries}


def discover(
    folder: Path,
    space: str,
    *,
    layer: int,
    model: str,
    stack: str,
    method: str,
    n_concepts: int | None,
    seed: int,
    min_count: int,
    max_count: int,
) -> dict[str, Any]:
    """Cluster one space of the folder's states."""
    study = Study(folder.resolve())
    model, stack = _states(study, model, stack)
    languages = space.split("+")
    corpus = Corpus.open(study)
    _check_languages(corpus, languages)
    languages.sort(key=corpus.languages.index)
    types = corpus.words.filter(pl.col("language").is_in(languages))["word"].n_unique()
    k = default_n_concepts(types) if n_concepts is None else n_concepts
    rule = SelectionRule(by="types", min_count=min_count, max_count=max_count)
    arguments = {
        "model": model,
        "stack": stack,
        "layer": layer,
        "languages": languages,
        "selection": rule.model_dump_json(),
        "aligner": "",
        "pairs": [],
        "method": method,
        "n_concepts": k,
        "seed": seed,
        "options": {},
    }
    path = study.concepts(
        model, stack, method=method, n_concepts=k, seed=seed, layer=layer, space="+".join(languages)
    )
    with locked(study.lock):
        facts = _run(study, work.discover_concepts, arguments, path)
    return {"concepts": path, "n_concepts": facts["n_concepts"], "n_states": facts["n_states"]}


def calign(
    folder: Path, source: str, target: str, *, layer: int, model: str, stack: str, **options: Any
) -> Alignment:
    """Measure CALIGN between two spaces discovered in the folder."""
    study = Study(folder.resolve())
    path = study.dictionary(source, target)
    if not path.is_file():
        raise InputError(
            f"There is no dictionary {path}. Make it with: isogloss align-words {folder} {source} {target}"
        )
    dictionary = TranslationDictionary.read(path, source=source, target=target, induced_by="study")
    left = _concepts(study, source, layer=layer, model=model, stack=stack)
    right = _concepts(study, target, layer=layer, model=model, stack=stack)
    return measure_alignment(left, right, dictionary, **options)


def colap(folder: Path, space: str, *, layer: int, model: str, stack: str, **options: Any) -> Overlap:
    """Measure COLAP in a joint space discovered in the folder."""
    study = Study(folder.resolve())
    corpus = Corpus.open(study)
    languages = space.split("+")
    _check_languages(corpus, languages)
    ordered = "+".join(sorted(languages, key=corpus.languages.index))
    return measure_overlap(_concepts(study, ordered, layer=layer, model=model, stack=stack), **options)


def facts(found: Alignment | Overlap) -> dict[str, Any]:
    """Return the figures of a result as plain values."""
    names = ("theta", "score", "chance", "adjusted", "p_value", "ci_low", "ci_high", "n", "coverage")
    return {"figures": [{name: getattr(figure, name) for name in names} for figure in found.figures]}


def _run(study: Study, call: Any, arguments: dict[str, Any], path: Path) -> dict[str, Any]:
    name = study.step_of(path)
    run_step(study.root, Step(name, digest(arguments), call, arguments, (path,), stage="single"))
    record = study.record(name)
    return record["info"] if record else {}


def _check_languages(corpus: Corpus, languages: Sequence[str]) -> None:
    for language in languages:
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages)


def _states(study: Study, model: str, stack: str) -> tuple[str, str]:
    found = [(m, s) for m, s in study.find_states() if model in ("", m) and stack in ("", s)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{m}/{s}" for m, s in study.find_states()) or "none"
    raise UsageError(
        f"Name one model and stack with --model and --stack; {study.root} has states of: {listed}."
    )


def _concepts(study: Study, space: str, *, layer: int, model: str, stack: str) -> Concepts:
    found: list[ConceptsFile] = [
        f for f in study.find_concepts(space, layer) if model in ("", f.model) and stack in ("", f.stack)
    ]
    if len(found) != 1:
        listed = ", ".join(f"{f.model}/{f.stack}/{f.run}" for f in found) or "none"
        raise UsageError(
            f"Needed: one set of concepts of {space} at layer {layer}; found: {listed}. Make one with: "
            f"isogloss discover {study.root} {space} --layer {layer}, or choose with --model and --stack."
        )
    one = found[0]
    return work.read_concepts(
        study,
        Corpus.open(study).words,
        model=one.model,
        stack=one.stack,
        method=one.method,
        n_concepts=one.n_concepts,
        seed=one.seed,
        layer=layer,
        space=space,
    )
