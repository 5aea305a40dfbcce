"""The command line `failpy`: its commands, and what becomes of their errors."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.main import get_command

from failpy import _files, _remote
from failpy._complaint import Complaint, malformed
from failpy._errors import FailpointError, TermSyntaxError
from failpy._runner import endpoint, environment
from failpy._runner import run as run_program
from failpy._screen import ClosedPipe, complain, flush, note, prepare
from failpy._session import JSON, TIMEOUT, TOKEN, URL

__all__ = ["app", "main"]

# typer carries click within itself, or not, depending on its version: the class has no other stable name.
_UsageError = typer.BadParameter.__mro__[1]

app = typer.Typer(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 the answer is no, 2 wrong usage, 3 nothing answers there.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from failpy import __version__

        typer.echo(f"failpy {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    url: URL = None,
    token: TOKEN = None,
    timeout: TIMEOUT = None,
    as_json: JSON = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Failpoints of Python programs: arm them in a running one, watch them, check terms and code."""
    if ctx.invoked_subcommand is None and not ctx.resilient_parsing:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


_RUNNING = "Commands for a running program"
_FILES = "Commands for terms and code"

for _name, _command in (
    ("list", _remote.points),
    ("status", _remote.status),
    ("enable", _remote.enable),
    ("disable", _remote.disable),
    ("resume", _remote.resume),
    ("watch", _remote.watch),
):
    app.command(_name, rich_help_panel=_RUNNING)(_command)


for _command in (_files.check, _files.lint, _files.points):
    app.command(_command.__name__, rich_help_panel=_FILES)(_command)


@app.command(rich_help_panel=_FILES, context_settings={"allow_interspersed_args": False})
def run(
    program: Annotated[
        list[str],
        typer.Argument(metavar="[--] PROGRAM [ARGUMENTS]...", show_default=False, help="What to start."),
    ],
    failpoints: Annotated[
        list[str] | None,
        typer.Option("-f", "--failpoint", metavar="NAME=TERMS", help="Arm this point; any number of times."),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="HOST:PORT or unix:/PATH for the endpoint. Else FAILPY_HTTP, else a socket of its own.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="What every probability is drawn from.")
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Do not say how to reach it.")] = False,
    as_json: JSON = False,
) -> None:
    """Start a program with points armed and the endpoint on. Its exit status is that of the program.

    failpy run -f 'db.read=2*off->raise(TimeoutError)' -- python app.py
    """
    with endpoint(http, os.environ) as address:
        child = environment(failpoints or (), os.environ, http=address, seed=seed)

        def started(pid: int) -> None:
            if not quiet:
                _announce(address.replace("{pid}", str(pid)), pid, as_json=as_json)

        status = run_program(program, child, started)
    raise typer.Exit(status)


def _announce(address: str, pid: int, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps({"url": address, "pid": pid}) + "\n")
    elif address.endswith(":0"):
        note(f"failpy: process {pid} listens at a port that it chooses, of {address.removesuffix(':0')}")
    else:
        note(f"failpy: steer process {pid} with: failpy --url {shlex.quote(address)} list")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and give its exit status.

    Args:
        arguments: Those of the process unless given.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    prepare()
    try:
        # Not `app(...)`, which would also take over `sys.excepthook`.
        status = get_command(app).main(given, prog_name="failpy", standalone_mode=False)
        flush()
    except ClosedPipe:
        return 128 + 13  # as if SIGPIPE had ended it
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0
    except Exception as exc:
        complaint = _complaint_of(exc)
        complain(complaint, as_json="--json" in takewhile("--".__ne__, given))
        return complaint.status
    return status if isinstance(status, int) else 0


def _complaint_of(exc: Exception) -> Complaint:
    if isinstance(exc, Complaint):
        return exc
    if isinstance(exc, TermSyntaxError):
        return malformed(exc)
    if isinstance(exc, FailpointError):
        return Complaint(str(exc), status=1, kind=type(exc).__name__)
    if isinstance(exc, _UsageError):
        said: Any = exc
        return Complaint(f"{said.format_message()}\nSee '{said.ctx.command_path} --help'")
    raise exc
