"""What the steps of a study do: every function reads files of the study folder and writes its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from isogloss.aligners import align_words
from isogloss.concepts import Concepts
from isogloss.config import ModelSection
from isogloss.corpus import Corpus
from isogloss.dictionary import Case, TranslationDictionary, WordLinks
from isogloss.discovery import METHODS, discover, reads_in_parts
from isogloss.extraction import Shard, extract, extract_shard, finish_states, join_shards, open_states
from isogloss.settings import SelectionRule
from isogloss.store import StudyLayout


def link_words(
    root: Path,
    *,
    source: str,
    target: str,
    aligner: str,
    symmetrise: str,
    options: dict[str, Any],
    file: str | None,
) -> dict[str, Any]:
    """Write the word links of one pair: from the user's Pharaoh file, or by an aligner."""
    study, corpus = StudyLayout(root), Corpus.open(StudyLayout(root))
    if file:
        links = WordLinks.read_pharaoh(file, corpus, source=source, target=target)
    else:
        if aligner == "model":
            named = dict(options)
            where = {"name": named.pop("model"), "stack": named.pop("stack"), "layer": named["layer"]}
            states = open_states(study, **where, sentences=False)
            options = {**named, "states": states}
        links = align_words(
            corpus, source=source, target=target, aligner=aligner, symmetrise=symmetrise, **options
        )
    links.write(study.links(aligner, source, target))
    return {"n_links": links.table.height}


def count_dictionary(
    root: Path,
    *,
    source: str,
    target: str,
    aligner: str,
    backward: bool,
    top: int,
    min_count: int,
    file: str | None,
    case: Case,
) -> dict[str, Any]:
    """Write the dictionary source -> target: from the user's file, or counted from the links of the pair."""
    study = StudyLayout(root)
    if file:
        given = TranslationDictionary.read_muse(file, source=source, target=target)
        found = given.top(top).for_corpus(Corpus.open(study), case=case)
    else:
        left, right = (target, source) if backward else (source, target)
        links = WordLinks.read(
            study.checked(study.links(aligner, left, right)), source=left, target=right, aligner=aligner
        )
        found = (links.reversed() if backward else links).dictionary(top=top, min_count=min_count)
    found.write(study.dictionary(source, target))
    return {"n_words": len(found), "n_translations": found.table.height}


def extract_states(
    root: Path, *, model: dict[str, Any], stack: str, batch_tokens: int | None, device: str
) -> dict[str, Any]:
    """Write the states of one stack of one model (`extract` resumes and marks by itself)."""
    section = ModelSection.model_validate(model)
    extract(
        Corpus.open(StudyLayout(root)),
        section.path,
        name=section.name,
        settings=section.extraction(stack),
        stack=stack,
        revision=section.revision,
        batch_tokens=batch_tokens,
        device=device,
        out=root,
    )
    return {}


def extract_shard_of_states(
    root: Path,
    *,
    model: dict[str, Any],
    stack: str,
    batch_tokens: int | None,
    device: str,
    shard: Sequence[int],
) -> dict[str, Any]:
    """Write one shard of the states of one stack of one model."""
    section, study = ModelSection.model_validate(model), StudyLayout(root)
    return extract_shard(
        Corpus.open(study),
        section.path,
        study=study,
        name=section.name,
        shard=Shard(*shard),
        settings=section.extraction(stack),
        stack=stack,
        revision=section.revision,
        batch_tokens=batch_tokens,
        device=device,
    )


def join_states(
    root: Path,
    *,
    model: str,
    stack: str,
    shards: Sequence[str],
    layer: int | None,
    kinds: Sequence[str],
    n_rows: int,
    n_lines: int,
) -> dict[str, Any]:
    """Write the states of one layer, or (None) the numbers of subwords, from all shards."""
    found = {"layer": layer, "kinds": kinds, "n_rows": n_rows, "n_lines": n_lines}
    join_shards(StudyLayout(root), name=model, stack=stack, shards=shards, **found)  # type: ignore[arg-type]
    return {}


def finish_states_of(
    root: Path, *, model: dict[str, Any], stack: str, shards: Sequence[str], joined: Sequence[str]
) -> dict[str, Any]:
    """Mark states as done from what the steps of their shards and layers tell."""
    section, study = ModelSection.model_validate(model), StudyLayout(root)
    finish_states(
        Corpus.open(study),
        section.path,
        study=study,
        name=section.name,
        shards=shards,
        joined=joined,
        settings=section.extraction(stack),
        stack=stack,
        revision=section.revision,
    )
    return {}


def discover_concepts(
    root: Path,
    *,
    model: str,
    stack: str,
    layer: int,
    languages: Sequence[str],
    selection: str,
    aligner: str,
    pairs: Sequence[Sequence[str]],
    method: str,
    n_concepts: int,
    seed: int,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Write the concepts of one space at one layer; of a method with a tree the tree alone, for `cut_concepts`."""
    study = StudyLayout(root)
    rule = SelectionRule.model_validate_json(selection)
    links = [
        WordLinks.read(study.checked(study.links(aligner, s, t)), source=s, target=t, aligner=aligner)
        for s, t in pairs
    ]
    states = open_states(study, name=model, stack=stack, layer=layer, sentences=False).select(
        links=links,
        min_count=rule.min_count,
        max_count=rule.max_count,
        drop=rule.drop,
        languages=languages,
    )
    found = discover(
        states.at(layer, language=languages, mapped=reads_in_parts(method, options)),
        n_concepts=n_concepts,
        method=method,
        seed=seed,
        **options,
    )
    space = "+".join(languages)
    if METHODS[method].has_tree:
        found.write_tree(study.tree(model, stack, method=method, seed=seed, layer=layer, space=space))
        return {"n_states": len(found.labels)}
    path = study.concepts(
        model, stack, method=method, n_concepts=n_concepts, seed=seed, layer=layer, space=space
    )
    return _written(found, path)


def cut_concepts(
    root: Path,
    *,
    model: str,
    stack: str,
    layer: int,
    languages: Sequence[str],
    method: str,
    n_concepts: int,
    seed: int,
) -> dict[str, Any]:
    """Write the concepts of one space at one layer, cut from its tree."""
    study, space = StudyLayout(root), "+".join(languages)
    path = study.tree(model, stack, method=method, seed=seed, layer=layer, space=space)
    found = Concepts.read_tree(study.checked(path), Corpus.open(study).words, layer=layer).cut(
        n_concepts=n_concepts
    )
    path = study.concepts(
        model, stack, method=method, n_concepts=n_concepts, seed=seed, layer=layer, space=space
    )
    return _written(found, path)


def _written(found: Concepts, path: Path) -> dict[str, Any]:
    found.write(path)
    return {"n_states": len(found.labels), "n_concepts": found.n_concepts}


def read_concepts(
    study: StudyLayout,
    tokens: pl.DataFrame,
    *,
    model: str,
    stack: str,
    method: str,
    n_concepts: int,
    seed: int,
    layer: int,
    space: str,
) -> Concepts:
    """Read the concepts of one space from the study folder; those of another text, or damaged, are an error."""
    path = study.concepts(
        model, stack, method=method, n_concepts=n_concepts, seed=seed, layer=layer, space=space
    )
    facts = {"model": model, "stack": stack, "method": method, "seed": seed, "layer": layer}
    return Concepts.read(study.checked(path), tokens, n_concepts=n_concepts, **facts)
