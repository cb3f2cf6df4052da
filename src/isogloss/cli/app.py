"""The application: options that commands share, what they print, and how errors end."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

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
NConcepts = Annotated[int | None, typer.Option(help="Number of concepts, where several are there.")]


def tell(as_json: bool, facts: dict[str, Any], lines: list[str]) -> None:
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
