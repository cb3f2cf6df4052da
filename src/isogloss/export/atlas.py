"""A folder for embedding-atlas: the tokens of one space at one layer as points, with their words and concepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.coordinates import Clustering, Space
from isogloss.export.choice import Choice, one_place
from isogloss.export.concepts import labels_of
from isogloss.export.files import check_readme, write_readme
from isogloss.extraction import open_states
from isogloss.store import StudyLayout, write_table

if TYPE_CHECKING:
    from isogloss.concepts import Concepts
    from isogloss.study import FinishedStudy

N_NEIGHBOURS = 10
MAX_PRODUCTS = 10**12
"""Multiplications up to which nearest neighbours are looked up, about a minute's: all distances are computed."""
_ROWS = 512  # states that are looked at together; of neighbours, with all others
_USUAL = ("row", "language", "sentence", "position", "word", "start", "end")

Matrix = npt.NDArray[Any]


def write_atlas(study: FinishedStudy, out: Path, choice: Choice) -> list[Path]:
    """Write ``data.parquet``, ``labels.parquet`` and a README.md that says how to open them.

    ``data.parquet`` has a row a token: ``x, y`` (its state on the two axes of largest variance, `plane`), ``word``,
    ``sentence`` (its text), ``language``, ``concept``, ``concept_words``, ``concept_size``, ``overlaps`` (of a joint
    space), ``label_KIND`` (of its concept), the columns of the corpus, and ``neighbors`` (the tokens with the nearest
    states, up to `MAX_NEIGHBOURS` tokens).  ``labels.parquet`` has a row a concept: where its name stands.

    Raises
    ------
    UsageError
        If a choice is unknown, or more than one layer or space is chosen.
    InputError
        If the study has no states any more, or the folder a README.md of someone else.
    """
    readme = check_readme(out)
    clustering, space = one_place(study, choice)
    concepts, layer = study.concepts(clustering, space), clustering.layer
    states = open_states(StudyLayout(study.root), name=clustering.model, stack=clustering.stack, layer=layer)
    array, rows = states.arrays[layer], concepts.tokens["row"].to_numpy()
    points, shares = plane(array, rows)
    table, names = points_table(study, clustering, concepts, points)
    few = len(rows) ** 2 * array.shape[1] <= MAX_PRODUCTS
    if few:
        table = table.with_columns(neighbours(array, rows))
    data, labels = out / "data.parquet", out / "labels.parquet"
    write_table(data, table)
    write_table(labels, names)
    place = f"layer {layer} of {clustering.model} ({clustering.stack}), {space}, "
    place += f"{concepts.n_concepts} concepts by {clustering.method}"
    write_readme(readme, _readme(study.config.name, place, shares, neighbours=few))
    return [data, labels, readme]


def plane(array: Matrix, rows: npt.NDArray[np.int64]) -> tuple[Matrix, tuple[float, float]]:
    """Project states on the two axes of their largest variance (principal component analysis).

    Parameters
    ----------
    array : numpy.ndarray
        (n, d) float16 or float32; read in blocks.
    rows : numpy.ndarray
        (m,) int64: the rows to project.

    Returns
    -------
    numpy.ndarray
        (m, 2) float32.  The largest weight of an axis is positive, so that its sign does not depend on the machine.
    tuple of float
        The shares of the variance on the two axes; 0 where the states do not vary.
    """
    width = array.shape[1]
    mean, moments = np.zeros(width), np.zeros((width, width))
    for block in _blocks(array, rows):
        mean += block.sum(axis=0)
    mean /= max(len(rows), 1)
    for block in _blocks(array, rows):
        moments += (block - mean).T @ (block - mean)
    values, vectors = np.linalg.eigh(moments)
    axes = np.zeros((width, 2))
    n_axes = min(2, width)
    axes[:, :n_axes] = vectors[:, ::-1][:, :n_axes]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    axes *= np.where(signs == 0, 1, signs)
    blocks = [(block - mean) @ axes for block in _blocks(array, rows)]
    points = np.concatenate([np.empty((0, 2)), *blocks]).astype(np.float32)
    total = float(np.trace(moments))
    first, second = (float(max(x, 0.0) / total) if total > 0 else 0.0 for x in [*values[::-1][:n_axes], 0.0][:2])
    return points, (first, second)


def _blocks(array: Matrix, rows: npt.NDArray[np.int64]) -> Iterator[Matrix]:
    """Yield the states of some rows as float64, a block at a time."""
    for begin in range(0, len(rows), _ROWS):
        yield np.asarray(array[rows[begin : begin + _ROWS]], dtype=np.float64)


def neighbours(array: Matrix, rows: npt.NDArray[np.int64], *, n: int = N_NEIGHBOURS) -> pl.Series:
    """Return the `n` nearest states of every state by Euclidean distance, nearest first, itself left out.

    Returns
    -------
    polars.Series
        (m,) struct ``ids`` (list of i64: places in `rows`, from 0) and ``distances`` (list of f32).  Of states at the
        same distance the earlier one comes first.
    """
    n = min(n, len(rows) - 1)
    whole = np.asarray(array[rows], dtype=np.float32)
    whole -= whole.mean(axis=0, dtype=np.float64).astype(np.float32)  # smaller squares lose fewer digits
    squares, twice = (whole**2).sum(axis=1), 2 * whole.T
    ids, distances = np.empty((len(whole), n), np.int64), np.empty((len(whole), n), np.float32)
    for begin in range(0, len(whole), _ROWS):
        part = slice(begin, min(begin + _ROWS, len(whole)))
        block = whole[part]
        squared = squares - block @ twice  # but for the block's own squares, which do not change an order
        squared[np.arange(len(block)), np.arange(part.start, part.stop)] = np.inf
        nearest = np.sort(np.argpartition(squared, max(n - 1, 0), axis=1)[:, :n], axis=1)
        exact = np.linalg.norm(whole[nearest] - block[:, None], axis=2)
        order = np.argsort(exact, axis=1, kind="stable")
        ids[part] = np.take_along_axis(nearest, order, axis=1)
        distances[part] = np.take_along_axis(exact, order, axis=1)
    lists = pl.Series("ids", ids).arr.to_list(), pl.Series("distances", distances).arr.to_list()
    return pl.DataFrame(lists).to_struct("neighbors")


def points_table(
    study: FinishedStudy, clustering: Clustering, concepts: Concepts, points: Matrix
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the tables of `write_atlas`, without neighbours: tokens as points, and names of concepts.

    Parameters
    ----------
    points : numpy.ndarray
        (n tokens, 2) float32, in the order of the tokens of `concepts`.
    """
    names, labels = concepts.names(), pl.Series("concept", concepts.labels)
    tokens, keys = concepts.tokens, ["language", "sentence"]
    texts = tokens.select(keys).join(study.sentences.select(*keys, "text"), on=keys, how="left", maintain_order="left")
    table = pl.DataFrame({"x": points[:, 0], "y": points[:, 1], "word": tokens["word"], "sentence": texts["text"]})
    table = table.with_columns(tokens["language"], labels).with_columns(
        pl.len().over("concept").cast(pl.Int32).alias("concept_size"),
        pl.col("concept").replace_strict(dict(enumerate(names)), default="").alias("concept_words"),
    )
    facts: list[pl.DataFrame] = []
    if len(concepts.languages) > 1:
        overlap = study.overlap(clustering, Space(concepts.languages))
        passed = overlap.overlapping().tolist()
        facts.append(pl.DataFrame({"concept": range(len(passed)), "overlaps": passed}))
    long = labels_of(study, clustering, Space(concepts.languages))
    if long is not None and long.height:
        wide = long.pivot("kind", index="concept", values="value", aggregate_function="first")
        facts.append(wide.rename({x: f"label_{x.replace(':', '_')}" for x in wide.columns if x != "concept"}))
    for of_concepts in facts:
        table = table.join(of_concepts.cast({"concept": pl.Int32}), on="concept", how="left", maintain_order="left")
    more = [name for name in tokens.columns if name not in _USUAL]
    places = tokens.select(pl.col("sentence").alias("sentence_number"), "position", pl.col("row").alias("token"))
    table = pl.concat([table, tokens.select(more), places], how="horizontal")
    there = table.filter(pl.col("concept") >= 0)
    middles = there.group_by("concept", maintain_order=True).agg(
        pl.col("x", "y").mean(), pl.col("concept_words").first().alias("text"), pl.len().alias("priority")
    )
    return table, middles.sort("concept").select("x", "y", "text", pl.col("priority").cast(pl.Float64))


def _readme(name: str, place: str, shares: tuple[float, float], *, neighbours: bool) -> str:
    near = " --neighbors neighbors" if neighbours else ""
    about = (
        f"`neighbors` are the {N_NEIGHBOURS} tokens with the nearest states (Euclidean distance, all dimensions)."
        if neighbours
        else "There are no `neighbors`: the space has too many tokens to compare all with all."
    )
    return f"""\
# {name}: {place}

A point is a word in a sentence. Open it with [embedding-atlas](https://apple.github.io/embedding-atlas/):

    pip install embedding-atlas
    embedding-atlas data.parquet --text word --x x --y y{near} --labels labels.parquet

`x` and `y` are the two axes of largest variance of the states (principal components): {shares[0]:.1%} and
{shares[1]:.1%} of the variance. What lies together there need not lie together in all dimensions, and concepts were
found in all dimensions. Colour the points by `language`, `concept` or `overlaps`.

{about}
"""
