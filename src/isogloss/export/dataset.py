"""A folder that Hugging Face's `datasets` opens: Parquet files, and a card that says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import yaml

from isogloss.coordinates import Clustering, Space
from isogloss.export.choice import Choice, Place, with_place
from isogloss.export.concepts import concept_rows
from isogloss.export.files import check_readme, write_parts, write_readme
from isogloss.languages import read_language
from isogloss.progress import progress
from isogloss.store import write_table

if TYPE_CHECKING:
    from isogloss.study import FinishedStudy

ABOUT = {
    "tokens": "A row a token, model, layer and space: the concept it belongs to (-1: none).",
    "concepts": "A row a concept, language and word: how often the word is in it.",
    "sentences": "The text: a row a sentence and language, with the same numbers as `tokens`.",
    "results": "A row an estimate: CALIGN, COLAP and others, each with its chance level, interval and signature.",
    "labels": "What the members of a concept share.",
}


def write_dataset(study: FinishedStudy, out: Path, choice: Choice) -> list[Path]:
    """Write ``data/CONFIG.parquet`` for every configuration of `ABOUT` that the study has, and the card README.md.

    ``tokens``, ``concepts`` and ``labels`` hold the chosen places, ``results`` the chosen models,
    stacks and layers, ``sentences`` the whole text.

    Raises
    ------
    UsageError
        If a choice is unknown.
    InputError
        If the folder has a README.md of someone else.
    """
    readme = check_readme(out)
    places = list(choice.places(study))
    paths = {name: out / "data" / f"{name}.parquet" for name in ABOUT}
    with progress("Export", 2 * len(places)) as advance:
        write_parts(paths["tokens"], (_token_rows(study, *place) for place in places), advance=advance)
        write_parts(paths["concepts"], (concept_rows(study, *place) for place in places), advance=advance)
    tables = {
        "sentences": study.sentences,
        "results": _results_of(study, places),
        "labels": _of_places(study.labels["labels"], places) if study.labels else None,
    }
    written = ["tokens", "concepts"]
    for name, table in tables.items():
        if table is not None and table.height:
            write_table(paths[name], table.fill_nan(None))
            written.append(name)
    front = {
        "pretty_name": f"{study.config.name}: concepts of a multilingual model",
        "language": list(dict.fromkeys(read.code for x in study.languages if (read := read_language(x)))),
        "tags": ["isogloss", "interpretability", "latent-concepts", "cross-lingual-alignment"],
        "configs": [
            {"config_name": name, "data_files": paths[name].relative_to(out).as_posix()}
            | ({"default": True} if name == "tokens" else {})
            for name in written
        ],
    }
    head = yaml.safe_dump(front, allow_unicode=True, sort_keys=False)
    write_readme(readme, _card(study, places, written), front=head)
    return [*(paths[name] for name in written), readme]


def _token_rows(study: FinishedStudy, clustering: Clustering, space: Space) -> pl.DataFrame:
    concepts = study.concepts(clustering, space)
    tokens = concepts.tokens.select("row", "language", "sentence", "position", "word")
    return with_place(study, tokens.with_columns(pl.Series("concept", concepts.labels)), clustering, space)


def _results_of(study: FinishedStudy, places: list[Place]) -> pl.DataFrame:
    """Return the results of the clusterings of `places`, and the companion measures of their layers."""
    clustered = _of_places(study.results.clustered, places)
    keys = ["model", "stack", "layer"]
    return pl.concat([clustered, study.results.companions.join(clustered, on=keys, how="semi")])


def _of_places(table: pl.DataFrame, places: list[Place]) -> pl.DataFrame:
    """Return the rows of a table that are about the clusterings and, where it has them, spaces of `places`."""
    rows = [clustering.facts() | {"space": space.name} for clustering, space in places]
    keys = [name for name in rows[0] if name in table.columns]
    kinds = {name: table.schema[name] for name in keys}
    wanted = pl.DataFrame(rows).select(keys).cast(kinds).unique()  # type: ignore[arg-type]
    return table.join(wanted, on=keys, how="semi", maintain_order="left")


def _card(study: FinishedStudy, places: list[Place], written: list[str]) -> str:
    models = ", ".join(dict.fromkeys(f"{x.model} ({x.stack})" for x, _ in places))
    layers = ", ".join(map(str, sorted({clustering.layer for clustering, _ in places})))
    spaces = ", ".join(f"`{space}`" for space in dict.fromkeys(space.name for _, space in places))
    about = "\n".join(f"- `{name}`: {ABOUT[name]}" for name in written)
    return f"""\
# {study.config.name}: concepts of a multilingual model

Latent concepts: clusters of the states that a model has for words in sentences. A *space* is the set of languages whose
states were clustered together: `en`, or `en+de`. Made by isogloss {study.manifest.get("isogloss", "")}.

Models: {models}. Layers: {layers} (0: the embeddings). Spaces: {spaces}.

{about}

    from datasets import load_dataset
    load_dataset("path/to/this/folder", "concepts")

## Before you publish it

No licence is given here. The text in `sentences`, `tokens` and `concepts` has the licence of its corpus: look it up,
and add `license:` to the head of this file. `language:` holds the codes of the labels that name a language.
Results stand beside their chance levels (`chance`; of CALIGN the higher of `chance_words` and `chance_sentence`);
a score without its chance level says little.
"""
