"""What the command line says: results on stdout, complaints on stderr, each for people or for machines."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from failpy._complaint import Complaint
from failpy._literals import printable

__all__ = [
    "ClosedPipe",
    "Shown",
    "complain",
    "console",
    "flush",
    "note",
    "on_terminal",
    "prepare",
    "tell",
    "tell_json",
]

Shown = str | Text | Table
"""What can be shown to people."""


_ENDLESS = 100_000


class ClosedPipe(Exception):  # noqa: N818 - whoever read has read enough, which is no error
    """Nobody reads stdout any more."""


def prepare() -> None:
    """Make sure that there is a stdout and a stderr, and that they take every character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def on_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def console(stream: TextIO, *, file: TextIO | None = None) -> Console:
    """A console that takes text as it is, without markup.

    Args:
        stream: Where the output ends up. Unless that is a terminal, lines are as long as they need to be.
        file: Where the output goes first; the same unless given.
    """
    terminal = stream.isatty()
    endless = not terminal and "COLUMNS" not in os.environ
    return Console(
        file=file or stream,
        force_terminal=True if terminal else None,
        width=_ENDLESS if endless else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def tell(shown: Shown) -> None:
    """Print a result for people."""
    file = io.StringIO()
    # A terminal wraps lines without breaking them for whoever copies them; columns do not wrap.
    console(sys.stdout, file=file).print(shown, soft_wrap=not isinstance(shown, Table))
    _write("".join(f"{line.rstrip()}\n" for line in file.getvalue().removesuffix("\n").split("\n")))


def tell_json(value: object) -> None:
    """Print a result for machines: one line, in ASCII."""
    _write(json.dumps(value) + "\n")


def note(message: str) -> None:
    """Say something on stderr that is no result and no complaint."""
    console(sys.stderr).print(
        Text("\n".join(map(printable, message.split("\n")))), style="dim", soft_wrap=True
    )


def complain(complaint: Complaint, *, as_json: bool) -> None:
    """Say on stderr what stopped the command."""
    if as_json:
        sys.stderr.write(json.dumps(complaint.data) + "\n")
        return
    first, *more = (printable(line) for line in complaint.message.splitlines() or [""])
    text = Text.assemble(("failpy: ", "bold red"), first)
    for line in more:
        text.append(f"\n{line}")
    console(sys.stderr).print(text, soft_wrap=True)


def flush() -> None:
    """Write out what is still on its way to stdout."""
    _write("")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as exc:
        # Else the interpreter tries again when it ends, and says so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(exc, BrokenPipeError):
            raise ClosedPipe from None
        raise Complaint(f"stdout takes no more: {exc.strerror}", status=1, kind="OSError") from None
