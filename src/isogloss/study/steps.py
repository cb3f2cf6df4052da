"""What the steps of a study do: every function reads files of the study folder and writes its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.aligners import align_words
from isogloss.concepts import Concepts
from isogloss.config import MetricsSection, ModelSection, SelectionRule
from isogloss.corpus import Corpus
from isogloss.dictionary import TranslationDictionary, WordLinks
from isogloss.discovery import METHODS, discover
from isogloss.extraction import extract, open_states
from isogloss.metrics import calign, colap, mean_alignment, one_to_one
from isogloss.metrics.bootstrap import Resamples
from isogloss.metrics.colap import drawn_counts
from isogloss.metrics.frequency import match_frequencies
from isogloss.metrics.halves import other_sentences
from isogloss.metrics.mixing import mixing
from isogloss.metrics.partition import sample_of, silhouette_figure
from isogloss.results import Alignment, Figure, Results, signature
from isogloss.store import Study, run_name, write_table


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
    study, corpus = Study(root), Corpus.open(Study(root))
    if file:
        links = WordLinks.read_pharaoh(file, corpus, source=source, target=target)
    else:
        if aligner == "model":
            named = dict(options)
            states = open_states(study, name=named.pop("model"), stack=named.pop("stack"))
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
) -> dict[str, Any]:
    """Write the dictionary source -> target: from the user's file, or counted from the links of the pair."""
    study = Study(root)
    if file:
        found = TranslationDictionary.read_muse(file, source=source, target=target).top(top)
    else:
        left, right = (target, source) if backward else (source, target)
        links = WordLinks.read(study.links(aligner, left, right), source=left, target=right, aligner=aligner)
        found = (links.reversed() if backward else links).dictionary(top=top, min_count=min_count)
    found.write(study.dictionary(source, target))
    return {"n_words": len(found), "n_translations": found.table.height}


def extract_states(
    root: Path, *, model: dict[str, Any], stack: str, batch_tokens: int | None, device: str
) -> dict[str, Any]:
    """Write the states of one stack of one model (`extract` resumes and marks by itself)."""
    section = ModelSection.model_validate(model)
    extract(
        Corpus.open(Study(root)),
        section.path,
        name=section.name,
        **section.extraction(stack),
        batch_tokens=batch_tokens,
        device=device,
        out=root,
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
    study = Study(root)
    rule = SelectionRule.model_validate_json(selection)
    links = [
        WordLinks.read(study.links(aligner, s, t), source=s, target=t, aligner=aligner) for s, t in pairs
    ]
    states = open_states(study, name=model, stack=stack).select(
        links=links,
        min_count=rule.min_count,
        max_count=rule.max_count,
        drop=rule.drop,
        languages=languages,
    )
    found = discover(
        states.at(layer, language=languages), n_concepts=n_concepts, method=method, seed=seed, **options
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
    study, space = Study(root), "+".join(languages)
    path = study.tree(model, stack, method=method, seed=seed, layer=layer, space=space)
    found = Concepts.read_tree(path, Corpus.open(study).words, layer=layer).cut(n_concepts=n_concepts)
    path = study.concepts(
        model, stack, method=method, n_concepts=n_concepts, seed=seed, layer=layer, space=space
    )
    return _written(found, path)


def _written(found: Concepts, path: Path) -> dict[str, Any]:
    found.write(path)
    return {"n_states": len(found.labels), "n_concepts": found.n_concepts}


def read_concepts(
    study: Study,
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
    """Read the concepts of one space from the study folder."""
    path = study.concepts(
        model, stack, method=method, n_concepts=n_concepts, seed=seed, layer=layer, space=space
    )
    return Concepts.read(
        path, tokens, n_concepts=n_concepts, model=model, stack=stack, method=method, seed=seed, layer=layer
    )


def group_theta(theta: float, n_languages: int) -> float:
    """Return the overlap threshold of a group that asks of every language what `theta` asks of a pair.

    A pair at 0.3 asks for 0.6 of an even share (1/2).  Of L languages no more than 1/L can be asked, so the group
    is held to the same part of its even share: ``theta * 2 / L``.
    """
    return theta * 2 / n_languages


def measure_layer(
    root: Path,
    *,
    model: str,
    base: str,
    stack: str,
    method: str,
    n_concepts: int,
    seed: int,
    layer: int,
    languages: Sequence[str],
    pairs: Sequence[Sequence[str]],
    metrics: dict[str, Any],
    facts: dict[str, str],
) -> dict[str, Any]:
    """Write every figure of one layer: CALIGN both ways and their mean, COLAP of pairs and of the whole group."""
    study = Study(root)
    tokens = Corpus.open(Study(root)).words
    settings = MetricsSection.model_validate(metrics)
    run: dict[str, Any] = {"model": model, "stack": stack, "layer": layer}
    run |= {"method": method, "n_concepts": n_concepts, "seed": seed}

    def concepts(space: Sequence[str]) -> Concepts:
        return read_concepts(study, tokens, **run, space="+".join(space))

    def row(metric: str, source: str, target: str, figure: Figure) -> dict[str, Any]:
        parts = signature_parts(metric, run, settings, figure.theta, facts)
        if figure.draws is None and math.isnan(figure.ci_low):
            parts["ci"] = "none"
        return {
            **run,
            "base_model": base,
            "metric": metric,
            "source": source,
            "target": target,
            **{name: getattr(figure, name) for name in _FIGURE},
            "q_value": math.nan,  # over the whole study: see gather_results
            "draws": figure.draws,
            "signature": signature(parts),
        }

    resamples = None
    if settings.n_bootstrap:  # the same sentences for every model, layer and metric: differences are paired
        resamples = Resamples.draw(tokens["sentence"].unique(), settings.n_bootstrap, seed=settings.seed)
    alone = {language: concepts((language,)) for language in {x: None for pair in pairs for x in pair}}
    matched = match_frequencies(alone, seed=settings.seed) if _MATCHED in settings.variants else {}
    rows = []
    for left, right in pairs:
        found = {}
        for s, t in permutations((left, right)):
            path = study.dictionary(s, t)
            dictionary = TranslationDictionary.read(path, source=s, target=t, induced_by=facts["dictionary"])
            found[s] = align_concepts(alone[s], alone[t], dictionary, settings, resamples=resamples)
            rows += [row("calign", s, t, figure) for figure in found[s].figures]
            rows.append(row("calign_soft", s, t, found[s].soft))
            for name in settings.variants:
                sides = matched if name == _MATCHED else alone
                figure = _variant(name, sides[s], sides[t], dictionary, settings, resamples)
                rows.append(row(f"calign_{name}", s, t, figure))
        both = zip(found[left].figures, found[right].figures, strict=True)
        rows += [row("calign_mean", left, right, mean_alignment(a, b)) for a, b in both]
        soft = mean_alignment(found[left].soft, found[right].soft)
        rows.append(row("calign_soft_mean", left, right, soft))
    options: dict[str, Any] = {
        "rule": settings.rule,
        "resamples": resamples,
        "interval": settings.interval,
    }
    states = open_states(study, name=model, stack=stack).arrays[layer]
    for left, right in pairs:
        together = concepts((left, right))
        overlap = colap(together, theta_overlap=settings.theta_overlap, **options)
        rows += [row("colap", left, right, figure) for figure in overlap.figures]
        resampled = None if resamples is None else drawn_counts(together, overlap.languages, resamples)
        mixed = mixing(overlap.counts, drawn=resampled, interval=settings.interval)
        rows += [row(name, left, right, figure) for name, figure in mixed.items()]
        rows.append(row("silhouette", left, right, _silhouette(together, states, settings, resamples)))
    thetas = [group_theta(theta, len(languages)) for theta in settings.theta_overlap]
    overlap = colap(concepts(languages), theta_overlap=thetas, **options)
    rows += [row("colap_group", "+".join(languages), "", figure) for figure in overlap.figures]
    drawn = [row.pop("draws") for row in rows]
    table = Results.from_rows(rows).table
    draws = pl.Series("draws", [None if x is None else x.tolist() for x in drawn], dtype=pl.List(pl.Float32))
    path = study.metrics(model, stack, run_name(method, n_concepts, seed), layer)
    write_table(path, table.with_columns(draws))
    return {"n_figures": len(rows)}


def _variant(  # noqa: PLR0917
    name: str,
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    settings: MetricsSection,
    resamples: Resamples | None,
) -> Figure:
    """Return one further form of CALIGN at the first theta."""
    theta = settings.theta_align[0]
    if name == "one_to_one":
        return one_to_one(
            source,
            target,
            dictionary,
            theta_align=theta,
            min_types=settings.min_types,
            min_size_ratio=settings.min_size_ratio,
            n_permutations=min(settings.n_permutations, 50),
            resamples=resamples,
            interval=settings.interval,
            seed=settings.seed,
        )
    if name == "other_sentences":
        source, target = other_sentences(source, target, seed=settings.seed)
    if name in ("no_identical", "no_cognates"):
        dictionary = dictionary.without_cognates(similarity=1 if name == "no_identical" else 0.5)
    options: dict[str, Any] = {"theta_align": theta, "resamples": resamples}
    options["covered_only"] = name == "covered"
    return align_concepts(source, target, dictionary, settings, **options).figures[0]


def _silhouette(
    concepts: Concepts,
    states: npt.NDArray[np.floating],
    settings: MetricsSection,
    resamples: Resamples | None,
) -> Figure:
    """Return the silhouette of a sample of the states of a space; `states` has a row for every token of the study."""
    rows = sample_of(concepts.labels, seed=settings.seed)
    tokens = concepts.tokens[rows]
    return silhouette_figure(
        states[tokens["row"].to_numpy()],
        concepts.labels[rows],
        sentences=tokens["sentence"],
        resamples=resamples,
        interval=settings.interval,
        seed=settings.seed,
    )


_MATCHED = "frequency_matched"
_FIGURE = ("theta", "score", "chance", "adjusted", "p_value", "ci_low", "ci_high", "n", "coverage")


def align_concepts(
    source: Concepts,
    target: Concepts,
    dictionary: TranslationDictionary,
    settings: MetricsSection,
    **options: Any,
) -> Alignment:
    """Return `calign` with the settings of a study."""
    return calign(
        source,
        target,
        dictionary,
        **{
            "theta_align": settings.theta_align,
            "min_types": settings.min_types,
            "min_size_ratio": settings.min_size_ratio,
            "rule": settings.rule,
            "n_permutations": settings.n_permutations,
            "null": settings.null,
            "interval": settings.interval,
            "seed": settings.seed,
            "words": False,
            **options,
        },
    )


def signature_parts(
    metric: str, run: dict[str, Any], settings: MetricsSection, theta: float, facts: dict[str, str]
) -> dict[str, object]:
    """Return what a reader needs to reproduce a figure, in a fixed order."""
    parts: dict[str, object] = {"isogloss": facts["version"], "metric": metric, "rule": settings.rule}
    if not math.isnan(theta):
        parts["theta"] = f"{theta:g}"
    if metric.startswith("calign"):
        parts |= {
            "top": facts["top"],
            "min_types": f"{settings.min_types:g}",
            "min_size_ratio": f"{settings.min_size_ratio:g}",
            "dictionary": facts["dictionary"],
            "null": f"{settings.null}{settings.n_permutations}s{settings.seed}",
            "select": facts["select_calign"],
        }
    else:
        null = "shuffled" if metric == "silhouette" else "hypergeometric"
        parts |= {"null": null, "select": facts["select_colap"]}
    parts["ci"] = f"{settings.interval}{settings.n_bootstrap}" if settings.n_bootstrap else "wilson"
    parts |= {
        "model": facts["model"],
        "pooling": facts["pooling"],
        "stack": run["stack"],
        "layer": run["layer"],
        "method": run["method"],
        "k": run["n_concepts"],
        "seed": run["seed"],
        "corpus": facts["corpus"],
    }
    return parts
