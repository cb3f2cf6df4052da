"""Concepts before and after, compared: what became of them, and what those are made of that came to be shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.concepts import Concepts
from isogloss.coordinates import Space
from isogloss.corpus import Corpus
from isogloss.metrics.concepts.fates import chance_shares, difference_of_groups, label_agreement, movement, newly_shared
from isogloss.metrics.concepts.overlap import language_counts
from isogloss.metrics.concepts.partition import ami
from isogloss.settings import OverlapSettings

_RUN: dict[str, Any] = {
    "model": pl.String,
    "base_model": pl.String,
    "stack": pl.String,
    "method": pl.String,
    "n_concepts": pl.Int64,
    "seed": pl.Int64,
    "layer": pl.Int64,
    "compared": pl.String,
    "space": pl.String,
}
COLUMNS: dict[str, dict[str, Any]] = {
    "flows": {
        **_RUN,
        "before": pl.Int64,
        "after": pl.Int64,
        "n": pl.Int64,
        "share_before": pl.Float64,
        "share_after": pl.Float64,
    },
    "fates": {**_RUN, "fate": pl.String, "share": pl.Float64, "chance": pl.Float64, "ami": pl.Float64},
    "shared": {
        **_RUN,
        "concept": pl.Int64,
        "n": pl.Int64,
        "was_shared": pl.Float64,
        "entities": pl.Float64,
        "sentiment": pl.Float64,
        "words": pl.String,
    },
    "concerns": {
        **_RUN,
        "what": pl.String,
        "n_shared": pl.Int64,
        "newly_shared": pl.Float64,
        "others": pl.Float64,
        "p_value": pl.Float64,
    },
}
_PERMUTATIONS = 5  # chance lies near 0 or 1, and varies little
_N_WORDS = 6  # of a language, in the table of shared concepts


def word_facts(corpus: Corpus) -> pl.DataFrame:
    """Return ``row``, whether the word is in an entity, and its sentence's label as a number; null where not given."""
    words, sentences = corpus.words, corpus.sentences
    entity = pl.lit(None, dtype=pl.Boolean) if "ner" not in words.columns else pl.col("ner") != "O"
    table = words.select("row", "language", "sentence", entity.alias("entity"))
    if "label" in sentences.columns:
        named = sentences.select(
            "language", "sentence", pl.col("label").rank("dense").cast(pl.Int64).alias("label") - 1
        )
        table = table.join(named, on=["language", "sentence"], how="left", maintain_order="left")
    else:
        table = table.with_columns(pl.lit(None, dtype=pl.Int64).alias("label"))
    return table


def compare_concepts(
    before: Concepts, after: Concepts, space: Space, settings: OverlapSettings, facts: pl.DataFrame, *, draw_seed: int
) -> dict[str, pl.DataFrame]:
    """Return the tables of ``COLUMNS`` for one space; without what is shared where there is one language."""
    common = before.tokens.select("row", before=pl.Series(before.labels)).join(
        after.tokens.select("row", after=pl.Series(after.labels)), on="row", maintain_order="left"
    )
    old, new = (common[side].to_numpy() for side in ("before", "after"))
    moved = movement(old, new)
    chance = chance_shares(old, new, n_permutations=_PERMUTATIONS, draw_seed=draw_seed)
    agreement = ami(old, new)
    fates = [
        {"fate": fate, "share": share, "chance": chance[fate], "ami": agreement}
        for fate, share in moved.shares().items()
    ]
    tables = {"flows": moved.flows, "fates": pl.DataFrame(fates)}
    if not space.is_joint:  # nothing is shared within one language
        return tables
    theta = settings.theta_overlap[0]
    shared = [settings.overlapping(language_counts(side, space.languages), theta) for side in (before, after)]
    newly = newly_shared(moved.flows, *shared)
    values = _concerns(after, facts)
    chosen = np.zeros(after.n_concepts, dtype=bool)
    chosen[newly["concept"].to_numpy()] = True
    concerns = []
    for what, value in values.items():
        mine, others, p = difference_of_groups(value, chosen, draw_seed=draw_seed)
        concerns.append(
            {"what": what, "n_shared": int(chosen.sum()), "newly_shared": mine, "others": others, "p_value": p}
        )
    tables["concerns"] = pl.DataFrame(
        concerns, schema={k: COLUMNS["concerns"][k] for k in ("what", "n_shared", "newly_shared", "others", "p_value")}
    )
    concept = newly["concept"].to_numpy()
    nan = np.full(after.n_concepts, np.nan)
    tables["shared"] = newly.with_columns(
        pl.Series("entities", values.get("entities", nan)[concept]),
        pl.Series("sentiment", values.get("sentiment", nan)[concept]),
        pl.Series("words", [_words(after, int(c), space) for c in concept], dtype=pl.String),
    )
    return tables


def _concerns(concepts: Concepts, facts: pl.DataFrame) -> dict[str, npt.NDArray[np.float64]]:
    """Return, concept by concept, the share of words in entities, and how far its sentences agree in their label."""
    table = concepts.tokens.select("row", concept=pl.Series(concepts.labels)).filter(pl.col("concept") >= 0)
    table = table.join(facts, on="row", maintain_order="left")
    values = {}
    entity = table.drop_nulls("entity")
    if entity.height:
        concept = entity["concept"].to_numpy()
        n = np.bincount(concept, minlength=concepts.n_concepts)
        inside = np.bincount(concept, weights=entity["entity"].to_numpy(), minlength=concepts.n_concepts)
        values["entities"] = np.divide(inside, n, out=np.full(len(n), np.nan), where=n > 0)
    label = table.drop_nulls("label").unique(["concept", "sentence"], maintain_order=True)
    if label.height:  # a sentence counts once, its translations too
        values["sentiment"] = label_agreement(label["label"], label["concept"], concepts.n_concepts)
    return values


def _words(concepts: Concepts, concept: int, space: Space) -> str:
    members = concepts.members(concept)
    parts = []
    for language in space.languages:
        words = members.filter(pl.col("language") == language)["word"].value_counts()
        words = words.sort(["count", "word"], descending=[True, False])[:_N_WORDS]
        parts.append(f"{language}: {' '.join(words['word'].to_list())}")
    return " | ".join(parts)
