"""Commands that do one step of a study on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from isogloss.arguments import BatchTokens, Count, Half, NTypes, Share, Translations, Words
from isogloss.cli.common import Json, Layer, Model, NConcepts, Quiet, Seed, Stack, StudyDir, command, tell
from isogloss.errors import UsageError


@command()
def extract(
    model: Annotated[str, typer.Argument(help="A hub id or a folder in the hub's format.")],
    text: Annotated[list[str], typer.Option(metavar="LANG=FILE", help="Text of one language; repeat.")],
    out: Annotated[Path, typer.Option(help="The study folder.")],
    layers: Annotated[str, typer.Option(help="'all', or numbers such as 0,6,12.")] = "all",
    stack: Stack = "",
    pooling: Annotated[Literal["mean", "last", "first"], typer.Option(help="Subwords to word.")] = "mean",
    name: Annotated[str, typer.Option(help="Short name of the model in the study.")] = "",
    sentences: Annotated[
        str, typer.Option(help="Sentence states: mean, cls, last; 'mean,cls'; or ''.")
    ] = "mean",
    dtype: Annotated[Literal["float16", "float32"], typer.Option(help="Storage.")] = "float16",
    compute: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Forward pass; auto: float32 on a CPU, as stored on a GPU."),
    ] = "auto",
    last_layer: Annotated[
        Literal["normed", "raw"], typer.Option(help="After or before a final norm.")
    ] = "normed",
    prefix: Annotated[str, typer.Option(help="Text before every sentence; its states are not kept.")] = "",
    language_code: Annotated[
        list[str] | None, typer.Option(metavar="LANG=CODE", help="For mBART, NLLB; repeat.")
    ] = None,
    max_words: Annotated[Words, typer.Option(help="Longest sentence kept.")] = 300,
    batch_tokens: Annotated[
        BatchTokens | None,
        typer.Option(help="Padded subwords in a batch. Default: 2048 on a CPU, 16384 on a GPU."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the states of every word at every layer."""
    from isogloss.corpus import Corpus
    from isogloss.extraction import extract as run_extract

    files = _pairs(text, "--text takes LANG=FILE, e.g. --text en=dev.en")
    codes = _pairs(language_code or [], "--language-code takes LANG=CODE, e.g. --language-code de=deu_Latn")
    states = run_extract(
        Corpus.read(files, max_words=max_words),
        model,
        layers="all" if layers == "all" else _numbers(layers),
        stack=stack or None,
        pooling=pooling,
        name=name or None,
        sentences=[x for x in sentences.split(",") if x],  # type: ignore[misc]  # extract checks them
        dtype=dtype,
        compute=compute,
        last_layer=last_layer,
        prefix=prefix,
        language_codes=codes,
        batch_tokens=batch_tokens,
        device=device,
        out=out,
    )
    facts = {
        "model": states.model,
        "stack": states.stack,
        "layers": states.layers,
        "n_tokens": len(states.rows),
    }
    tell(as_json, facts, [str(states)])


def _pairs(items: list[str], usage: str) -> dict[str, str]:
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (equals and name and value):
            raise UsageError(f"{usage}; got '{item}'.")
        found[name] = value
    return found


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--layers takes 'all' or numbers such as 0,6,12; got '{text}'.") from None


@command("align-words")
def align_words(
    folder: StudyDir,
    source: str,
    target: str,
    aligner: Annotated[str, typer.Option(help="See: isogloss list aligners.")] = "diagonal",
    symmetrise: Annotated[str, typer.Option(help="How two directions become one.")] = "grow-diag-final-and",
    links: Annotated[Path | None, typer.Option(help="Take these Pharaoh links instead.")] = None,
    top: Annotated[Translations, typer.Option(help="Translations kept per word.")] = 10,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Link the words of two languages and count the dictionaries of both directions."""
    from isogloss.study import single

    facts = single.align_words(
        folder, source, target, aligner=aligner, symmetrise=symmetrise, links=links, top=top
    )
    lines = [f"{facts['n_links']} links between {source} and {target}: {facts['links']}"]
    tell(as_json, facts, lines + [f"dictionary: {path}" for path in facts["dictionaries"]])


@command()
def discover(
    folder: StudyDir,
    space: Annotated[str, typer.Argument(help="A language, or several clustered together: en+de.")],
    layer: Layer,
    model: Model = "",
    stack: Stack = "",
    method: Annotated[str, typer.Option(help="See: isogloss list methods.")] = "ward",
    n_concepts: Annotated[
        list[Count] | None,
        typer.Option(
            help="Repeat for several: with ward one tree. Default: 600, at most a fifth of the types."
        ),
    ] = None,
    seed: Seed = 0,
    min_count: Annotated[Count, typer.Option(help="Leave out rarer types.")] = 1,
    max_count: Annotated[Count, typer.Option(help="Tokens kept per type.")] = 15,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Cluster the states of one space at one layer into concepts."""
    from isogloss.study import single

    made = single.discover(
        folder,
        space,
        layer=layer,
        model=model,
        stack=stack,
        method=method,
        n_concepts=n_concepts or [],
        seed=seed,
        min_count=min_count,
        max_count=max_count,
    )
    lines = [
        f"{facts['n_concepts']} concepts of {facts['n_states']} states: {facts['concepts']}" for facts in made
    ]
    tell(as_json, {"concepts": made}, lines)


@command()
def tree(
    folder: StudyDir,
    space: Annotated[str, typer.Argument(help="A language, or several clustered together: en+de.")],
    out: Annotated[Path, typer.Option(help="File: .npy (scipy's linkage matrix), .nwk (Newick) or .json.")],
    layer: Layer,
    model: Model = "",
    stack: Stack = "",
    n_concepts: NConcepts = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the merge tree of a space that was discovered with ward, for other programs."""
    from isogloss.study import single

    concepts = single.export_tree(
        folder, space, out, layer=layer, model=model, stack=stack, n_concepts=n_concepts
    )
    facts = {"tree": out, "n_concepts": concepts.n_concepts, "n_states": len(concepts.labels)}
    tell(as_json, facts, [f"Tree of {len(concepts.labels)} states, {concepts.n_concepts} concepts: {out}"])


@command()
def calign(
    folder: StudyDir,
    source: str,
    target: str,
    layer: Layer,
    theta: Annotated[list[Share] | None, typer.Option(help="Threshold; repeat. Default 0.8.")] = None,
    min_types: NTypes = 5,
    min_size_ratio: Share = 0.4,
    rule: Annotated[str, typer.Option(help="symmetric or paper-code.")] = "symmetric",
    n_concepts: NConcepts = None,
    model: Model = "",
    stack: Stack = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how far concepts of one language align to another's."""
    from isogloss.study import single

    found = single.calign(
        folder,
        source,
        target,
        layer=layer,
        model=model,
        stack=stack,
        n_concepts=n_concepts,
        theta_align=theta or [0.8],
        min_types=min_types,
        min_size_ratio=min_size_ratio,
        rule=rule,
    )
    tell(
        as_json, single.facts(found), [f"CALIGN {source}->{target} = {figure}" for figure in found.estimates]
    )


@command()
def colap(
    folder: StudyDir,
    space: Annotated[str, typer.Argument(help="Languages clustered together: en+de.")],
    layer: Layer,
    theta: Annotated[list[Half] | None, typer.Option(help="Threshold; repeat. Default 0.3.")] = None,
    rule: Annotated[str, typer.Option(help="symmetric or paper-code.")] = "symmetric",
    n_concepts: NConcepts = None,
    model: Model = "",
    stack: Stack = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how far languages overlap in concepts discovered together."""
    from isogloss.study import single

    found = single.colap(
        folder,
        space,
        layer=layer,
        model=model,
        stack=stack,
        n_concepts=n_concepts,
        theta_overlap=theta or [0.3],
        rule=rule,
    )
    tell(as_json, single.facts(found), [f"COLAP {space} = {figure}" for figure in found.estimates])
