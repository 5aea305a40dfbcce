"""The progress of an exploration, as a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

__all__ = ["Counted", "progressing"]


class Counted(Protocol):
    """An exploration, as far as a bar knows it.

    Attributes:
        done: How many cases have been run.
        due: How many cases are known.
        failed: How many of them have failed.
    """

    @property
    def done(self) -> int: ...
    @property
    def due(self) -> int: ...
    @property
    def failed(self) -> int: ...


@contextmanager
def progressing(wanted: bool | None) -> Iterator[Callable[[Counted], None]]:
    """A bar on stderr, by rich. Where there is no rich it is a line that is written anew.

    Args:
        wanted: Whether to show it; None for where stderr is a terminal.

    Yields:
        What is to be called whenever a case has ended.
    """
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda exploration: None
    elif find_spec("rich") is None:
        yield _write
        sys.stderr.write("\n")
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[failed]} failed"),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("exploring", total=None, failed=0)
            yield lambda exploration: bar.update(
                task, completed=exploration.done, total=exploration.due, failed=exploration.failed
            )


def _write(exploration: Counted) -> None:
    sys.stderr.write(f"\rexploring {exploration.done}/{exploration.due}, {exploration.failed} failed")
    sys.stderr.flush()
