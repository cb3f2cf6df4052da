"""One step on its own, in a study folder: what the step verbs of the command line call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from isogloss.concepts import Concepts
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary
from isogloss.discovery import default_n_concepts, find_method
from isogloss.errors import InputError, UsageError, unknown
from isogloss.metrics import calign as measure_alignment
from isogloss.metrics import colap as measure_overlap
from isogloss.results import Alignment, Overlap
from isogloss.settings import SelectionRule
from isogloss.store import ConceptsFile, StudyLayout, digest, locked
from isogloss.study import steps as work
from isogloss.study.graph import Step, run_step

T = TypeVar("T")


def align_words(
    folder: Path, source: str, target: str, *, aligner: str, symmetrise: str, links: Path | None, top: int
) -> dict[str, Any]:
    """Link two languages of the folder's corpus and count both dictionaries."""
    study = StudyLayout(folder.resolve())
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
        links_made = _run(study, work.link_words, arguments, path)
        dictionaries = []
        for s, t in ((source, target), (target, source)):
            arguments = {**common, "source": s, "target": t, "backward": s != source}
            arguments |= {"top": top, "min_count": 1, "file": None, "case": "exact"}
            dictionaries.append(study.dictionary(s, t))
            _run(study, work.count_dictionary, arguments, dictionaries[-1])
    return {"n_links": links_made["n_links"], "links": path, "dictionaries": dictionaries}


def discover(
    folder: Path,
    space: str,
    *,
    layer: int,
    model: str,
    stack: str,
    method: str,
    n_concepts: Sequence[int],
    seed: int,
    min_count: int,
    max_count: int,
) -> list[dict[str, Any]]:
    """Cluster one space of the folder's states into one number of concepts or several (none: the default)."""
    has_tree = find_method(method).has_tree
    study = StudyLayout(folder.resolve())
    model, stack = _states(study, model, stack)
    languages = space.split("+")
    corpus = Corpus.open(study)
    _check_languages(corpus, languages)
    languages.sort(key=corpus.languages.index)
    types = corpus.words.filter(pl.col("language").is_in(languages))["word"].n_unique()
    numbers = sorted(set(n_concepts)) or [default_n_concepts(types)]
    rule = SelectionRule(by="types", min_count=min_count, max_count=max_count)
    place = {"model": model, "stack": stack, "layer": layer, "languages": languages}
    common = {"method": method, "seed": seed}
    work_on = {"selection": rule.model_dump_json(), "aligner": "", "pairs": [], "options": {}}
    where: dict[str, Any] = {**common, "layer": layer, "space": "+".join(languages)}
    made = []
    with locked(study.lock):
        if has_tree:
            tree = study.tree(model, stack, **where)
            _run(
                study, work.discover_concepts, {**place, **common, **work_on, "n_concepts": numbers[-1]}, tree
            )
        for k in numbers:
            path = study.concepts(model, stack, n_concepts=k, **where)
            arguments = {**place, **common, "n_concepts": k}
            if has_tree:
                facts = _run(study, work.cut_concepts, arguments, path)
            else:
                facts = _run(study, work.discover_concepts, {**arguments, **work_on}, path)
            made.append({"concepts": path, "n_concepts": facts["n_concepts"], "n_states": facts["n_states"]})
    return made


def export_tree(
    folder: Path, space: str, out: Path, *, layer: int, model: str, stack: str, n_concepts: int | None
) -> Concepts:
    """Write the tree of a space that was discovered in the folder, cut at `n_concepts`; see `Concepts.export_tree`."""
    study = StudyLayout(folder.resolve())
    found = [f for f in study.find_trees(space, layer) if model in ("", f.model) and stack in ("", f.stack)]
    one = _only(
        found,
        [f"{f.model}/{f.stack}/{f.method}" for f in found],
        needed=f"one tree of {space} at layer {layer}",
        make=f"isogloss discover {study.root} {space} --layer {layer} --method ward",
        choose="--model and --stack",
    )
    path = study.tree(one.model, one.stack, method=one.method, seed=one.seed, layer=layer, space=space)
    tree = Concepts.read_tree(study.checked(path), Corpus.open(study).words, method=one.method, layer=layer)
    k = default_n_concepts(tree.tokens["word"].n_unique()) if n_concepts is None else n_concepts
    concepts = tree.cut(n_concepts=k)
    concepts.export_tree(out)
    return concepts


def calign(
    folder: Path,
    source: str,
    target: str,
    *,
    layer: int,
    model: str,
    stack: str,
    n_concepts: int | None,
    **options: Any,
) -> Alignment:
    """Measure CALIGN between two spaces discovered in the folder."""
    study = StudyLayout(folder.resolve())
    path = study.dictionary(source, target)
    if not path.is_file():
        raise InputError(
            f"There is no dictionary {path}. Make it with: isogloss align-words {folder} {source} {target}"
        )
    dictionary = TranslationDictionary.read(
        study.checked(path), source=source, target=target, induced_by="study"
    )
    wanted: dict[str, Any] = {"layer": layer, "model": model, "stack": stack, "n_concepts": n_concepts}
    left, right = (_concepts(study, space, **wanted) for space in (source, target))
    return measure_alignment(left, right, dictionary, **options)


def colap(
    folder: Path, space: str, *, layer: int, model: str, stack: str, n_concepts: int | None, **options: Any
) -> Overlap:
    """Measure COLAP in a joint space discovered in the folder."""
    study = StudyLayout(folder.resolve())
    corpus = Corpus.open(study)
    languages = space.split("+")
    _check_languages(corpus, languages)
    ordered = "+".join(sorted(languages, key=corpus.languages.index))
    wanted: dict[str, Any] = {"layer": layer, "model": model, "stack": stack, "n_concepts": n_concepts}
    return measure_overlap(_concepts(study, ordered, **wanted), **options)


def facts(found: Alignment | Overlap) -> dict[str, Any]:
    """Return the estimates of a result as plain values."""
    names = ("theta", "score", "chance", "adjusted", "p_value", "ci_low", "ci_high", "n", "coverage")
    return {"estimates": [{name: getattr(estimate, name) for name in names} for estimate in found.estimates]}


def _run(study: StudyLayout, call: Any, arguments: dict[str, Any], path: Path) -> dict[str, Any]:
    name = study.step_of(path)
    run_step(study.root, Step(name, digest(arguments), call, arguments, (path,), stage="single"))
    record = study.record(name)
    return record["info"] if record else {}


def _check_languages(corpus: Corpus, languages: Sequence[str]) -> None:
    for language in languages:
        if language not in corpus.languages:
            raise unknown("language", language, corpus.languages)


def _states(study: StudyLayout, model: str, stack: str) -> tuple[str, str]:
    found = [(m, s) for m, s in study.find_states() if model in ("", m) and stack in ("", s)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{m}/{s}" for m, s in study.find_states()) or "none"
    raise UsageError(
        f"Name one model and stack with --model and --stack; {study.root} has states of: {listed}."
    )


def _only(found: Sequence[T], names: Sequence[str], *, needed: str, make: str, choose: str) -> T:
    """Return the one that was found; none or several are an error that lists them."""
    if len(found) != 1:
        listed = ", ".join(names) or "none"
        raise UsageError(
            f"Needed: {needed}; found: {listed}. Make one with: {make}, or choose with {choose}."
        )
    return found[0]


def _concepts(
    study: StudyLayout, space: str, *, layer: int, model: str, stack: str, n_concepts: int | None
) -> Concepts:
    found: list[ConceptsFile] = [
        f
        for f in study.find_concepts(space, layer)
        if model in ("", f.model) and stack in ("", f.stack) and n_concepts in (None, f.n_concepts)
    ]
    one = _only(
        found,
        [f"{f.model}/{f.stack}/{f.run}" for f in found],
        needed=f"one set of concepts of {space} at layer {layer}",
        make=f"isogloss discover {study.root} {space} --layer {layer}",
        choose="--model, --stack, --n-concepts",
    )
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
