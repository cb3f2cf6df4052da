"""The command line: parse and call."""

from isogloss.cli import studies, figures, exports, lists  # noqa: I001  each registers its commands, in the order of the help
from isogloss.cli.common import app, main

__all__ = ["app", "exports", "figures", "lists", "main", "studies"]
