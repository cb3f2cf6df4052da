"""Properties of words in their sentences, and which of them the types of a concept carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from isogloss.arguments import checked
from isogloss.concepts import Concepts
from isogloss.errors import InputError

By = Literal["types", "tokens"]
Int = npt.NDArray[np.int64]

PROPERTY_COLUMNS = {"row": pl.Int64, "kind": pl.String, "value": pl.String}
NEEDED = ("row", "language", "sentence", "position", "word")
LETTER = r"\p{L}\p{M}*"  # a vowel sign (Hindi) or an accent of its own belongs to the letter before it
MIN_LETTERS = 5
AFFIX_LETTERS = (2, 3)
# A type with at most so many occurrences is called so; beyond the last it is "frequent".
FREQUENCIES = ((1, "once"), (7, "rare"), (63, "mid"))


@checked
def word_properties(tokens: pl.DataFrame, sentences: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the properties of tokens in long form, one row a property.

    ================== ===================================================================================
    kind               values
    ================== ===================================================================================
    ``upos``           the part of speech (``ADP+DET`` for a multiword token of two parts)
    ``feats:Case`` ... one kind a morphological feature, values as ``Case=Nom``; ``Case=Acc,Dat`` is two values,
                       and the parts of a multiword token add up
    ``ner``            the entity type, without ``B-``, ``I-`` and their like; ``O`` is no property
    ``sentiment``      the label of the sentence
    ``prefix:2`` ...   ``prefix:2``, ``prefix:3``, ``suffix:2``, ``suffix:3``: first and last letters, in lower case,
                       of words of at least 5 letters, as ``un-`` and ``-ing``
    ``casing``         ``lower``, ``Title`` (capitals only where a run of letters begins), ``UPPER`` (at least two
                       capitals, no small letter but ß), ``mixed``; of words in any script ``digit`` (has one) and
                       ``punctuation`` (neither letter nor digit).  A word of letters without case has none
    ``position``       ``first`` and ``last`` of its sentence
    ``frequency``      of its type among the tokens of its language: ``once``, ``rare`` (2 to 7), ``mid`` (8 to 63),
                       ``frequent`` (64 and more): 0, below 3, below 6, and from 6 up in floor(log2(count))
    ``language``       the language
    ================== ===================================================================================

    Parameters
    ----------
    tokens : polars.DataFrame
        The whole token table (``Corpus.words``): ``row, language, sentence, position, word``, and where the corpus has
        them ``upos``, ``feats`` (CoNLL-U) and ``ner`` (strings; null, empty or ``_``: none).  Other columns are
        ignored.  In a part of the table, counts and last words are those of the part.
    sentences : polars.DataFrame, optional
        The table of sentences (``Corpus.sentences``), for its column ``label`` if it has one.

    Returns
    -------
    polars.DataFrame
        ``row`` (i64), ``kind`` (str), ``value`` (str), by rising row; nothing for a kind that a token has no value of.
        Rows of other kinds may be appended before it goes to `label_concepts`.

    Raises
    ------
    InputError
        If a column is missing, or one of tags is not of strings.

    Notes
    -----
    A letter is one code point with the marks that follow it.  Words are lowered by Unicode's rules without regard to
    language, but for ``İ``, which becomes ``i`` alone; so a Turkish capital ``I`` counts as ``i`` in affixes.  Which
    tags there are is described at https://universaldependencies.org/format.html.

    Examples
    --------
    >>> import polars as pl
    >>> words = {"row": [0, 1], "language": ["de", "de"], "sentence": [0, 0], "position": [0, 1]}
    >>> table = word_properties(pl.DataFrame({**words, "word": ["Das", "laufen"], "upos": ["DET", "VERB"]}))
    >>> table.filter(pl.col("row") == 1)["value"].to_list()
    ['VERB', 'la-', 'lau-', '-en', '-fen', 'lower', 'last', 'once', 'de']
    """
    _check(tokens, sentences)
    parts = [*_tags(tokens), *_sentiment(tokens, sentences), *_of_words(tokens), *_of_places(tokens)]
    parts += [_of_kind(tokens, "frequency", _frequency()), _of_kind(tokens, "language", pl.col("language"))]
    return pl.concat(parts).sort("row", maintain_order=True)


@dataclass(frozen=True)
class Units:
    """What the units of a space carry, a unit being a type in a concept.

    There are U units, and P pairs of a unit and a value that it carries (by tokens: that any of its tokens carries).
    Of every unit, (U,): its `concept`, rising, and by tokens `n_tokens`.  Of every pair, (P,): its `unit` and `value`,
    whether more than half of the unit's tokens carry the value (`carries`), and by tokens how many do (`n_carrying`).
    """

    concept: npt.NDArray[np.int32]
    n_tokens: Int | None
    unit: Int
    value: Int
    n_carrying: Int | None
    carries: npt.NDArray[np.bool_]
    n_concepts: int
    n_values: int

    @property
    def n(self) -> int:
        """U, the number of units."""
        return len(self.concept)

    def reached(
        self, concept: npt.NDArray[np.int32], eligible: npt.NDArray[np.bool_], threshold: float
    ) -> pl.DataFrame:
        """Return ``concept, v, share`` where a share reaches the threshold, with the units in the concepts given."""
        sizes = np.bincount(concept, self.n_tokens, self.n_concepts)
        needed = np.where(eligible, least_carrying(sizes.astype(np.int64), threshold), np.iinfo(np.int64).max)
        flat = concept[self.unit] * np.int64(self.n_values) + self.value
        counts = np.bincount(flat, self.n_carrying, self.n_concepts * self.n_values)
        cells = np.flatnonzero(counts.reshape(self.n_concepts, self.n_values) >= needed[:, None])
        c, v = cells // max(self.n_values, 1), cells % max(self.n_values, 1)
        return pl.DataFrame({"concept": c.astype(np.int32), "v": v, "share": counts[cells] / sizes[c]})


def least_carrying(n: Int, threshold: float) -> Int:
    """Return the smallest k with k / n >= threshold, as the comparison of floats has it (9 of 10 at 0.9)."""
    k = np.ceil(np.asarray(n) * threshold - 1e-9).astype(np.int64)
    return np.asarray(np.where(k / np.maximum(n, 1) >= threshold, k, k + 1))


def units_of(concepts: Concepts, properties: pl.DataFrame, least: int, *, by: By) -> tuple[Units, pl.DataFrame]:
    """Return the units and the label set.

    The label set holds the values that at least `least` distinct types have on some token, and not all tokens carry:
    ``v`` (i64, 0, 1, ...), ``kind, value`` (sorted), ``n_types`` (such types), ``n_units`` (units that carry it),
    ``base_rate`` (share of all units, or by tokens of all tokens).
    """
    key = ["concept", "language", "word"]
    tokens = concepts.table().select("row", *key)
    units = tokens.group_by(key).agg(n=pl.len()).sort(key)
    units = units.with_columns(unit=pl.int_range(pl.len()), type=pl.struct("language", "word").rank("dense"))
    of_tokens = properties.select(*PROPERTY_COLUMNS).drop_nulls().join(tokens, on="row", how="semi").unique()
    pairs = (
        tokens.join(units, on=key)
        .join(of_tokens, on="row")
        .group_by("unit", "kind", "value")
        .agg(pl.len().alias("m"), pl.col("n", "type").first())
        .with_columns(carries=2 * pl.col("m") > pl.col("n"))
    )
    values = pairs.group_by("kind", "value").agg(
        pl.col("type").n_unique().cast(pl.Int64).alias("n_types"),
        pl.col("carries").sum().cast(pl.Int64).alias("n_units"),
        pl.col("m").sum().cast(pl.Int64).alias("n_tokens"),
    )
    share = pl.col("n_tokens") / tokens.height if by == "tokens" else pl.col("n_units") / units.height
    values = (
        values.filter((pl.col("n_types") >= least) & (pl.col("n_tokens") < tokens.height))
        .sort("kind", "value")
        .select(pl.int_range(pl.len()).alias("v"), "kind", "value", "n_types", "n_units", base_rate=share)
    )
    pairs = pairs.join(values.select("kind", "value", "v"), on=["kind", "value"])
    if by == "types":
        pairs = pairs.filter("carries")
    counts = (units["n"], pairs["m"]) if by == "tokens" else (None, None)
    n_tokens, n_carrying = (None if n is None else n.cast(pl.Int64).to_numpy() for n in counts)
    unit, value, carries = (pairs[name].to_numpy() for name in ("unit", "v", "carries"))
    concept, sizes = units["concept"].to_numpy(), (concepts.n_concepts, values.height)
    return Units(concept, n_tokens, unit, value, n_carrying, carries, *sizes), values


def check_properties(properties: pl.DataFrame, *, reserved: str) -> None:
    """Refuse a table of properties without the columns of ``PROPERTY_COLUMNS``, or with a kind of the reserved name."""
    for name, dtype in PROPERTY_COLUMNS.items():
        if properties.schema.get(name) != dtype:
            raise InputError(
                f"The table of properties must have a column '{name}' of {dtype}; it has {dict(properties.schema)}. "
                "Make it with word_properties."
            )
    if (properties["kind"] == reserved).any():
        raise InputError(f"No kind of property may be named '{reserved}': that is the row of all kinds. Rename it.")


def _check(tokens: pl.DataFrame, sentences: pl.DataFrame | None) -> None:
    missing = [name for name in NEEDED if name not in tokens.columns]
    if missing:
        raise InputError(
            f"The token table lacks {', '.join(missing)}; it has {', '.join(tokens.columns)}. Give Corpus.words."
        )
    for name in ("upos", "feats", "ner"):
        if name in tokens.columns and tokens.schema[name] not in (pl.String, pl.Null):
            raise InputError(f"Column '{name}' of the token table must hold strings; it is {tokens.schema[name]}.")
    for name in ("language", "sentence"):
        if sentences is not None and name not in sentences.columns:
            raise InputError(f"The table of sentences lacks '{name}'. Give Corpus.sentences.")


def _of_kind(tokens: pl.DataFrame, kind: str, value: pl.Expr) -> pl.DataFrame:
    """Return the rows of one kind; a null value is no property."""
    row, value = pl.col("row").cast(pl.Int64), value.cast(pl.String).alias("value")
    return tokens.select(row, pl.lit(kind).alias("kind"), value).drop_nulls("value")


def _tag(column: str) -> pl.Expr:
    """Return a column of tags with null for none."""
    value = pl.col(column).cast(pl.String)
    return pl.when(~value.is_in(["", "_"])).then(value)


def _tags(tokens: pl.DataFrame) -> list[pl.DataFrame]:
    parts = []
    if "upos" in tokens.columns:
        parts.append(_of_kind(tokens, "upos", _tag("upos")))
    if "feats" in tokens.columns:
        parts.append(_features(tokens))
    if "ner" in tokens.columns:
        entity = _tag("ner").str.replace(r"^[BIESLU]-", "")
        parts.append(_of_kind(tokens, "ner", pl.when(entity != "O").then(entity)))
    return parts


def _features(tokens: pl.DataFrame) -> pl.DataFrame:
    """Return one row a feature and value; every distinct string is taken apart once."""
    strings = pl.DataFrame({"feats": tokens["feats"].cast(pl.String).unique().drop_nulls()})
    pairs = (
        strings.with_columns(pl.col("feats").str.replace_all("+", "|", literal=True).str.split("|").alias("pair"))
        .explode("pair")
        .filter(pl.col("pair").str.contains("=", literal=True))
    )
    feature = pl.col("pair").str.extract("^([^=]*)=")
    pairs = pairs.with_columns(feature=feature, value=pl.col("pair").str.replace("^[^=]*=", "").str.split(","))
    values = pairs.explode("value").select(
        "feats",
        kind=pl.concat_str(pl.lit("feats:"), pl.col("feature")),
        value=pl.concat_str(pl.col("feature"), pl.lit("="), pl.col("value")),
    )
    rows = tokens.select(pl.col("row").cast(pl.Int64), pl.col("feats").cast(pl.String))
    return rows.join(values.unique(maintain_order=True), on="feats", maintain_order="left_right").drop("feats")


def _sentiment(tokens: pl.DataFrame, sentences: pl.DataFrame | None) -> list[pl.DataFrame]:
    if sentences is None or "label" not in sentences.columns:
        return []
    key = ["language", "sentence"]
    labelled = tokens.select("row", *key).join(sentences.select(*key, "label"), on=key, maintain_order="left")
    return [_of_kind(labelled, "sentiment", _tag("label"))]


def _of_words(tokens: pl.DataFrame) -> list[pl.DataFrame]:
    """Return affixes and casing, computed once a distinct word."""
    word = pl.col("word")
    small = word.str.replace_all("İ", "i", literal=True).str.to_lowercase()
    long = word.str.count_matches(LETTER) >= MIN_LETTERS
    affixes: dict[str, pl.Expr] = {}
    for n in AFFIX_LETTERS:
        affixes[f"prefix:{n}"] = pl.concat_str(small.str.extract(f"^((?:{LETTER}){{{n}}})"), pl.lit("-"))
    for n in AFFIX_LETTERS:
        affixes[f"suffix:{n}"] = pl.concat_str(pl.lit("-"), small.str.extract(f"((?:{LETTER}){{{n}}})$"))
    kinds = {kind: pl.when(long).then(affix) for kind, affix in affixes.items()} | {"casing": _casing(word)}
    words = tokens.select(word.unique()).with_columns(**kinds)
    by_token = tokens.select("row", "word").join(words, on="word", maintain_order="left")
    return [_of_kind(by_token, kind, pl.col(kind)) for kind in kinds]


def _casing(word: pl.Expr) -> pl.Expr:
    """Tell casing by the letters' categories, so that no rule of one language is needed."""
    capital = r"[\p{Lu}\p{Lt}]"
    many_capitals = word.str.count_matches(capital) >= 2
    starts = word.str.contains(rf"^\P{{L}}*{capital}") & ~word.str.contains(LETTER + capital)
    return (
        pl.when(~word.str.contains(r"[\p{L}\p{N}]"))
        .then(pl.lit("punctuation"))
        .when(word.str.contains(r"\p{N}"))
        .then(pl.lit("digit"))
        .when(~word.str.contains(r"[\p{Lu}\p{Lt}\p{Ll}]"))
        .then(pl.lit(None, dtype=pl.String))
        .when(~word.str.contains(capital))
        .then(pl.lit("lower"))
        # STRAßE has no other way to be written in capitals
        .when(many_capitals & ~word.str.contains(r"[\p{Ll}--ß]"))
        .then(pl.lit("UPPER"))
        .when(starts)
        .then(pl.lit("Title"))
        .otherwise(pl.lit("mixed"))
    )


def _of_places(tokens: pl.DataFrame) -> list[pl.DataFrame]:
    position = pl.col("position")
    last = position.max().over("language", "sentence")
    places: Sequence[tuple[str, pl.Expr]] = (("first", position == 0), ("last", position == last))
    return [_of_kind(tokens, "position", pl.when(here).then(pl.lit(name))) for name, here in places]


def _frequency() -> pl.Expr:
    count = pl.len().over("language", "word")
    value = pl.lit("frequent")
    for most, name in reversed(FREQUENCIES):
        value = pl.when(count <= most).then(pl.lit(name)).otherwise(value)
    return value
