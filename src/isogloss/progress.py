"""The one progress helper: a bar on anything that takes over a second, on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_quiet = False
_active = False


def set_quiet(quiet: bool) -> None:
    """Switch all progress bars of this process off or on (the command line's ``--quiet``)."""
    global _quiet  # noqa: PLW0603  one process-wide switch, set once by the command line
    _quiet = quiet


@contextlib.contextmanager
def progress(title: str, total: float) -> Iterator[Callable[[float], None]]:
    """Yield ``advance(amount)``; a bar appears when the work has taken a second and stderr is a terminal.

    Work inside work that has a bar shows none of its own.
    """
    global _active  # noqa: PLW0603  two bars at once would overwrite each other
    if _quiet or _active or not sys.stderr.isatty():
        yield lambda _: None
        return
    _active = True
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=total)
    began = time.monotonic()

    def advance(amount: float) -> None:
        bar.advance(task, amount)
        if not bar.live.is_started and time.monotonic() - began > 1:
            bar.start()

    try:
        yield advance
    finally:
        _active = False
        if bar.live.is_started:
            bar.stop()
