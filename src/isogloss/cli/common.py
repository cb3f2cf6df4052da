"""The application: options that commands share, what they print, and how errors end."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup
from typer.models import ArgumentInfo, OptionInfo

import isogloss
from isogloss import arguments
from isogloss.arguments import check_given, checked
from isogloss.errors import InputError, IsoglossError, UsageError
from isogloss.progress import set_quiet

F = TypeVar("F", bound=Callable[..., None])


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
    help="Where do the languages of a multilingual model share concepts?\n\n"
    "Begin with: isogloss demo. Your own study: isogloss run STUDY.yaml, then report, explore, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
log = logging.getLogger("isogloss")


def command(name: str | None = None) -> Callable[[F], F]:
    """Register a command; its options keep the ranges of their annotations, which are those of the study file."""

    def register(function: F) -> F:
        door = checked(function)
        called = name or function.__name__

        @functools.wraps(function)
        def run(**options: Any) -> None:
            for option, value in options.items():
                if isinstance(value, str) and _has_stray_bytes(value):
                    raise UsageError(f"{called}: {option} is not text in UTF-8; got {value!r}.")
            check_given(door, options, of=called, spelt=lambda option: f"--{option.replace('_', '-')}")
            function(**options)

        hints = {n: _for_typer(hint) for n, hint in get_type_hints(function, include_extras=True).items()}
        parameters = [p.replace(annotation=hints[p.name]) for p in inspect.signature(function).parameters.values()]
        run.__annotations__ = hints
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name)(run)
        return function

    return register


def _has_stray_bytes(text: str) -> bool:
    """Tell whether a word of the command line came with bytes that are not UTF-8; a path may, a name may not."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _for_typer(hint: Any) -> Any:
    """Return an annotation without our rules: typer reads its own notes alone, and none inside lists."""
    if get_origin(hint) is not Annotated:
        return hint
    plain, *notes = get_args(hint)
    for_typer = [note for note in notes if isinstance(note, OptionInfo | ArgumentInfo)]
    bare = _bare(plain)
    return Annotated[(bare, *for_typer)] if for_typer else bare


def _bare(hint: Any) -> Any:
    """Return a type such as ``list[Share] | None`` without any notes."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) is list:
        return list[_bare(get_args(hint)[0])]  # type: ignore[misc]
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(map(_bare, get_args(hint)))]  # noqa: UP007  made from a tuple
    return hint


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
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")]
Out = Annotated[Path | None, typer.Option(help="The study folder; default: a folder named after the study.")]
Processes = Annotated[arguments.Workers | None, typer.Option(help="Processes; default: the number of cores.")]
NConcepts = Annotated[arguments.NConcepts | None, typer.Option(help="Number of concepts, where several are there.")]


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
