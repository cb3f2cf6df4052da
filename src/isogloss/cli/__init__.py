"""The command line: parse and call."""

from isogloss.cli import studies, steps, lists  # noqa: I001  each registers its commands, in the order of the help
from isogloss.cli.app import app, main

__all__ = ["app", "lists", "main", "steps", "studies"]
