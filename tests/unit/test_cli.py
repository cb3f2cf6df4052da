"""Every option of every command takes an extreme value, or says in one line why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperArgument
from typer.main import get_command
from typer.testing import CliRunner

from isogloss.cli import app
from isogloss.errors import IsoglossError, UsageError

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
NUMBERS = ("0", "-1", "1e30", "1000000000000000", "nan", "inf", "2.7", "x", "")
TEXTS = ("", "x", "..", "a\0b", "\udcff", "0")


def options_of(command: Any) -> list[Any]:
    """Return the parameters of a command that take a value."""
    return [p for p in command.params if not getattr(p, "is_flag", False) and p.name != "help"]


def is_number(parameter: Any) -> bool:
    return any(kind in str(parameter.type_descriptor.annotation) for kind in ("int", "float"))


def words_for(command: Any, changed: Any, value: str) -> list[str]:
    words: list[str] = []
    for p in options_of(command):
        given = value if p is changed else None
        if isinstance(p, TyperArgument):
            words.append(given if given is not None else "nowhere")
        elif given is not None or p.required:
            default = "1" if is_number(p) else "nowhere"
            words += [f"{p.opts[0]}={given if given is not None else default}"]
    return words


@pytest.mark.parametrize(
    ("name", "option"),
    # the demo makes a whole study, whatever its folder is called
    [(name, p.name) for name, c in COMMANDS.items() if name != "demo" for p in options_of(c)],
)
def test_no_value_of_an_option_ends_in_a_raw_error(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command = COMMANDS[name]
    changed = next(p for p in options_of(command) if p.name == option)
    for value in NUMBERS if is_number(changed) else TEXTS:
        done = CliRunner().invoke(app, [name, *words_for(command, changed, value)])
        if done.exception is None or isinstance(done.exception, SystemExit):
            continue  # told by typer, or nothing to object to
        assert isinstance(done.exception, IsoglossError), f"{value!r}: {done.exception!r}"
        assert "\n" not in str(done.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export . tree --out t.nwk --seed -1", "export: --seed must be a whole number from 0"),
        ("export . tree --out t.nwk --layer -1", "export: --layer must be a list of whole numbers from 0"),
        ("robustness . --theta nan", r"robustness: --theta must be a list of numbers .* got \[nan\]"),
        ("robustness . --theta 0", "robustness: --theta must be a list of numbers above 0"),
        ("run x.yaml --workers 0", "run: --workers must be a whole number from 1 to 1,000"),
        ("robustness . --n-concepts 1", "robustness: --n-concepts must be a list of whole numbers from 2"),
        ("explore . --port 70000", "explore: --port must be a whole number from 0 to 65,535"),
    ],
)
def test_the_option_is_named_as_it_is_written(words: str, said: str) -> None:
    done = CliRunner().invoke(app, words.split())
    assert isinstance(done.exception, UsageError)
    with pytest.raises(UsageError, match=said):
        raise done.exception
