"""The command line: parse and call."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

import isogloss
from isogloss.errors import InputError, IsoglossError, UsageError
from isogloss.progress import set_quiet


class _Commands(TyperGroup):
    """All commands, with our own word on Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _fail("Interrupted. What is finished is kept; the same command goes on from there.", 130)


app = typer.Typer(
    cls=_Commands,
    name="isogloss",
    help="Where do the languages of a multilingual model share concepts?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
log = logging.getLogger("isogloss")


def _quiet(value: bool) -> bool:
    if value:
        set_quiet(True)
        log.setLevel(logging.ERROR)
    return value


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bars, no messages but errors.", callback=_quiet)
]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]
StudyDir = Annotated[Path, typer.Argument(metavar="DIR", help="A study folder.")]
Model = Annotated[str, typer.Option(help="Name of the model in the study (if there are several).")]
Stack = Annotated[str, typer.Option(help="encoder or decoder (if there are both).")]
Layer = Annotated[int, typer.Option(help="Layer; 0 = embeddings.")]
Seed = Annotated[int, typer.Option(help="Seed of the method.")]


def _tell(as_json: bool, facts: dict[str, Any], lines: list[str]) -> None:
    if as_json:
        print(json.dumps(facts, ensure_ascii=False, default=str))
    else:
        for line in lines:
            print(line)


def _version(value: bool) -> None:
    if value:
        print(f"isogloss {isogloss.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


# -- whole studies --------------------------------------------------------------------------------


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The study folder to make.")] = Path("isogloss-demo"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the built-in study on the built-in model and corpus; needs no network."""
    from isogloss.starter.study import write_study

    _run(write_study(out / "input"), out=out, workers=None, as_json=as_json)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")],
    out: Annotated[
        Path | None, typer.Option(help="The study folder; default: a folder named after the study.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: the number of cores.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print steps, sizes and what is done; do nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a study, or go on with an interrupted one: states, concepts, results, figures, report."""
    if plan:
        from isogloss.study import preview

        stages = preview(study, out=out)
        _tell(as_json, {"stages": stages}, _stage_lines(stages))
    else:
        _run(study, out=out, workers=workers, as_json=as_json)


def _run(study: Path, *, out: Path | None, workers: int | None, as_json: bool) -> None:
    from isogloss.config import read_config
    from isogloss.plots import save_figures
    from isogloss.report import write_report
    from isogloss.store import Study
    from isogloss.study import run_study

    config = read_config(study)
    folder = Study(Path(out or config.name))
    results = run_study(config, out=folder.root, workers=workers)
    thetas = {"calign": config.metrics.theta_align[0], "colap": config.metrics.theta_overlap[0]}
    figures = save_figures(results, folder.figures, thetas=thetas)
    report = write_report(folder.root)
    facts = {
        "study": folder.root,
        "results": folder.results_csv,
        "n_figures": results.table.height,
        "figures": figures,
        "report": report,
    }
    lines = [
        f"{results.table.height} results: {folder.results_csv}",
        f"{len(figures)} figures: {folder.figures}",
        f"Report: {report}",
    ]
    _tell(as_json, facts, lines)


def _stage_lines(stages: list[dict[str, Any]]) -> list[str]:
    lines = [f"{'stage':14} {'steps':>6} {'done':>6} {'size':>10}"]
    for s in stages:
        size = f"{s['bytes'] / 2**20:,.0f} MB" if s["bytes"] else ""
        lines.append(f"{s['stage']:14} {s['steps']:6d} {s['done']:6d} {size:>10}")
    return lines


@app.command()
def status(folder: StudyDir, quiet: Quiet = False, as_json: Json = False) -> None:
    """Tell what of a study is done, running or missing, and how large it is."""
    from isogloss.study import study_status

    found = study_status(folder)
    lines = _stage_lines(found["stages"])
    lines.append(f"running: process {found['running']}" if found["running"] else "running: nothing")
    lines.append(f"on disk: {found['bytes'] / 2**20:,.1f} MB in {found['files']} files")
    lines += [f"missing: {name}" for name in found["missing"][:10]]
    if len(found["missing"]) > 10:
        lines.append(f"missing: ... and {len(found['missing']) - 10} more")
    _tell(as_json, found, lines)


@app.command()
def report(
    folder: StudyDir,
    out: Annotated[Path | None, typer.Option(help="The HTML file; default: report.html in DIR.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the report of a finished study: one HTML file."""
    from isogloss.report import write_report

    path = write_report(folder, out=out)
    _tell(as_json, {"report": path}, [f"Report: {path}"])


@app.command()
def pretrain(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file of a pre-training run.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder to make; default: a folder named after the study.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pre-train a small multilingual BERT, or go on with an interrupted run: models, loss curve, judgement."""
    from isogloss.plots import loss_curve, retrieval_curves, write_chart
    from isogloss.starter.pretrain import pretrain as train

    done = train(study, out=out)
    figures = write_chart(loss_curve(done.curve), done.folder / "curve") if done.curve.height else []
    if done.retrieval is not None:
        figures += write_chart(retrieval_curves(done.retrieval), done.folder / "retrieval")
    facts = {"models": done.models, "figures": figures, "folder": done.folder}
    lines = [f"{name}: {path}" for name, path in done.models.items()]
    _tell(as_json, facts, [*lines, f"Loss, judgement and figures: {done.folder}"])


# -- one step on its own --------------------------------------------------------------------------


@app.command()
def extract(
    model: Annotated[str, typer.Argument(help="A hub id or a folder in the hub's format.")],
    text: Annotated[list[str], typer.Option(metavar="LANG=FILE", help="Text of one language; repeat.")],
    out: Annotated[Path, typer.Option(help="The study folder.")],
    layers: Annotated[str, typer.Option(help="'all', or numbers such as 0,6,12.")] = "all",
    stack: Stack = "",
    pooling: Annotated[Literal["mean", "last", "first"], typer.Option(help="Subwords to word.")] = "mean",
    name: Annotated[str, typer.Option(help="Short name of the model in the study.")] = "",
    dtype: Annotated[Literal["float16", "float32"], typer.Option(help="Storage.")] = "float16",
    max_words: Annotated[int, typer.Option(help="Longest sentence kept.")] = 300,
    batch_tokens: Annotated[int, typer.Option(help="Padded subwords in a batch.")] = 2048,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the states of every word at every layer."""
    from isogloss.corpus import Corpus
    from isogloss.extraction import extract as run_extract

    files = {}
    for item in text:
        language, equals, path = item.partition("=")
        if not (equals and language and path):
            raise UsageError(f"--text takes LANG=FILE, e.g. --text en=dev.en; got '{item}'.")
        files[language] = path
    states = run_extract(
        Corpus.read(files, max_words=max_words),
        model,
        layers="all" if layers == "all" else _numbers(layers),
        stack=stack or None,
        pooling=pooling,
        name=name or None,
        dtype=dtype,
        batch_tokens=batch_tokens,
        out=out,
    )
    facts = {
        "model": states.model,
        "stack": states.stack,
        "layers": states.layers,
        "n_tokens": len(states.rows),
    }
    _tell(as_json, facts, [str(states)])


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--layers takes 'all' or numbers such as 0,6,12; got '{text}'.") from None


@app.command("align-words")
def align_words(
    folder: StudyDir,
    source: str,
    target: str,
    aligner: Annotated[str, typer.Option(help="See: isogloss list aligners.")] = "diagonal",
    symmetrise: Annotated[str, typer.Option(help="How two directions become one.")] = "grow-diag-final-and",
    links: Annotated[Path | None, typer.Option(help="Take these Pharaoh links instead.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Translations kept per word.")] = 10,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Link the words of two languages and count the dictionaries of both directions."""
    from isogloss.study import single

    facts = single.align_words(
        folder, source, target, aligner=aligner, symmetrise=symmetrise, links=links, top=top
    )
    lines = [f"{facts['n_links']} links between {source} and {target}: {facts['links']}"]
    _tell(as_json, facts, lines + [f"dictionary: {path}" for path in facts["dictionaries"]])


@app.command()
def discover(
    folder: StudyDir,
    space: Annotated[str, typer.Argument(help="A language, or several clustered together: en+de.")],
    layer: Layer,
    model: Model = "",
    stack: Stack = "",
    method: Annotated[str, typer.Option(help="See: isogloss list methods.")] = "ward",
    n_concepts: Annotated[
        int | None, typer.Option(help="Default: 600, at most a fifth of the types.")
    ] = None,
    seed: Seed = 0,
    min_count: Annotated[int, typer.Option(help="Leave out rarer types.")] = 1,
    max_count: Annotated[int, typer.Option(help="Tokens kept per type.")] = 15,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Cluster the states of one space at one layer into concepts."""
    from isogloss.study import single

    facts = single.discover(
        folder,
        space,
        layer=layer,
        model=model,
        stack=stack,
        method=method,
        n_concepts=n_concepts,
        seed=seed,
        min_count=min_count,
        max_count=max_count,
    )
    _tell(
        as_json, facts, [f"{facts['n_concepts']} concepts of {facts['n_states']} states: {facts['concepts']}"]
    )


@app.command()
def calign(
    folder: StudyDir,
    source: str,
    target: str,
    layer: Layer,
    theta: Annotated[list[float] | None, typer.Option(help="Threshold; repeat. Default 0.8.")] = None,
    min_types: float = 5,
    min_size_ratio: float = 0.4,
    rule: Annotated[str, typer.Option(help="symmetric or paper-code.")] = "symmetric",
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
        theta_align=theta or [0.8],
        min_types=min_types,
        min_size_ratio=min_size_ratio,
        rule=rule,
    )
    _tell(as_json, single.facts(found), [f"CALIGN {source}->{target} = {figure}" for figure in found.figures])


@app.command()
def colap(
    folder: StudyDir,
    space: Annotated[str, typer.Argument(help="Languages clustered together: en+de.")],
    layer: Layer,
    theta: Annotated[list[float] | None, typer.Option(help="Threshold; repeat. Default 0.3.")] = None,
    rule: Annotated[str, typer.Option(help="symmetric or paper-code.")] = "symmetric",
    model: Model = "",
    stack: Stack = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how far languages overlap in concepts discovered together."""
    from isogloss.study import single

    found = single.colap(
        folder, space, layer=layer, model=model, stack=stack, theta_overlap=theta or [0.3], rule=rule
    )
    _tell(as_json, single.facts(found), [f"COLAP {space} = {figure}" for figure in found.figures])


# -- what can be named ----------------------------------------------------------------------------


def _models() -> dict[str, str]:
    from isogloss.starter import model_folder

    return {
        str(model_folder()): "the built-in model, for demo and tests",
        "bert-base-multilingual-cased": "encoder, 12 layers (any BERT-like hub id or folder)",
        "xlm-roberta-base": "encoder, 12 layers (any RoBERTa-like)",
        "google/mt5-base": "encoder and decoder, 12 + 12 layers (any T5-like)",
        "Qwen/Qwen3-0.6B": "decoder, 28 layers (any Llama-, Qwen- or Gemma-like)",
    }


def _aligners() -> dict[str, str]:
    from isogloss.aligners import ALIGNERS

    return {name: info.description for name, info in ALIGNERS.items()}


def _methods() -> dict[str, str]:
    from isogloss.discovery import METHODS

    return {name: text for name, (_, text) in METHODS.items()}


def _metrics() -> dict[str, str]:
    return {
        "calign": "share of source concepts aligned to a target concept; chance: permuted dictionary",
        "calign_mean": "mean of both directions",
        "colap": "share of joint concepts that both languages own; chance: hypergeometric",
        "colap_group": "the same for the whole group, at theta * 2 / languages",
    }


def _datasets() -> dict[str, str]:
    from isogloss.corpus.readers import FORMATS

    built_in = {"starter": "the built-in corpus, used by: isogloss demo"}
    return built_in | {f"format {name}": item.what for name, item in FORMATS.items()}


_LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "models": _models,
    "aligners": _aligners,
    "methods": _methods,
    "metrics": _metrics,
    "datasets": _datasets,
}


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(help="models, aligners, methods, metrics or datasets.")],
    as_json: Json = False,
) -> None:
    """List what can be named in a study."""
    from isogloss.errors import unknown

    if kind not in _LISTS:
        raise unknown("list", kind, _LISTS)
    found = _LISTS[kind]()
    width = max(len(name) for name in found)
    _tell(as_json, found, [f"{name:{width}}  {text}" for name, text in found.items()])


def main() -> None:
    """Run the command line: exit status 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname).1s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        app()
    except UsageError as error:
        _fail(str(error), 2)
    except IsoglossError as error:
        _fail(str(error), 1)
    except MemoryError:
        _fail("Out of memory. Use fewer workers (--workers 1), less text, or the method kmeans.", 1)
    except OSError as error:
        _fail(str(InputError(f"{error.filename or 'A file'}: {error.strerror or error}.")), 1)
    finally:
        log.removeHandler(handler)


def _fail(message: str, code: int) -> NoReturn:
    print(f"isogloss: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
