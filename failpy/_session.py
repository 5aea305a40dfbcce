"""A session with running programs, made of the options that every remote command has."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from failpy._client import Client
from failpy._fleet import Fleet
from failpy._screen import Shown, note, tell, tell_json
from failpy._target import find_targets

__all__ = ["JSON", "TIMEOUT", "TOKEN", "URL", "Name", "Session", "known_names", "remote", "seconds"]


@dataclass(frozen=True)
class Session:
    """What a remote command works with.

    Attributes:
        fleet: The endpoints.
        several: Whether more than one was named; else there is one.
        as_json: Whether a machine reads the result.
    """

    fleet: Fleet
    several: bool
    as_json: bool

    @property
    def client(self) -> Client:
        """The endpoint, where one was named."""
        return self.fleet.clients[0]

    def tell(self, data: object, shown: Shown) -> None:
        """Print a result, for machines or for people."""
        if self.as_json:
            tell_json(data)
        else:
            tell(shown)


def _inherit(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """What was given before the command, unless it was given after it."""
    if value in (None, False, []) and ctx.parent is not None:
        return ctx.parent.params.get(param.name)
    return value


def seconds(value: float | None) -> float | None:
    """Check a number of seconds."""
    if value is not None and not 0.001 <= value <= 1e6:
        raise typer.BadParameter(f"{value:g} is no number of seconds from 0.001 to 1000000")
    return value


def _timeout(ctx: typer.Context, param: typer.CallbackParam, value: float | None) -> Any:
    return _inherit(ctx, param, seconds(value))


_PANEL = "Options: where the program is"
URL = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        callback=_inherit,
        rich_help_panel=_PANEL,
        help="HOST:PORT, http://HOST:PORT/PREFIX, https://HOST or unix:/PATH; once for each of several. "
        "Else FAILPY_URL, else FAILPY_HTTP says where.",
    ),
]
TOKEN = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        callback=_inherit,
        rich_help_panel=_PANEL,
        help="The token that the program asks for. Else FAILPY_HTTP_TOKEN.",
    ),
]
TIMEOUT = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", callback=_timeout, rich_help_panel=_PANEL, help="How long to wait for it. Else 5."
    ),
]
JSON = Annotated[
    bool, typer.Option("--json", callback=_inherit, help="Print JSON, and errors on stderr as JSON, too.")
]


# Shells evaluate what they complete, and any client of the program may have made up a name.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@+-]+")


def known_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names in the running program, for the shell; none if it does not answer at once."""
    try:
        with _connect(ctx.params.get("url"), ctx.params.get("token"), 0.5) as session:
            answers = [each.said for each in session.fleet.ask(lambda client: client.everything())]
            names = {point["name"] for answer in answers if answer for point in answer["failpoints"]}
            return sorted(name for name in names if _PLAIN.fullmatch(name))
    except Exception:  # a shell that completes a word shows no errors
        return []


Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, autocompletion=known_names)]


@contextmanager
def _connect(
    urls: Sequence[str] | None, token: str | None, timeout: float | None, as_json: bool = True
) -> Iterator[Session]:
    targets = find_targets(urls or (), os.environ)
    for stale in () if as_json else targets.stale:
        note(f"nobody listens at {stale} any more: left out")
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                Client(
                    target,
                    token=token or os.environ.get("FAILPY_HTTP_TOKEN"),
                    timeout=timeout or 5.0,
                )
            )
            for target in targets.found
        ]
        yield Session(Fleet(clients), targets.several, as_json)


def _where(*, url: URL = None, token: TOKEN = None, timeout: TIMEOUT = None, as_json: JSON = False) -> None:
    """The options of every remote command."""


def remote(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that takes a session first: it gets the options that say where."""
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    where = inspect.signature(_where, eval_str=True).parameters.values()

    @functools.wraps(command)
    def connected(
        url: list[str] | None, token: str | None, timeout: float | None, as_json: bool, **arguments: object
    ) -> None:
        with _connect(url, token, timeout, as_json) as session:
            command(session, **arguments)

    parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in (*own, *where)]
    # What typer reads.
    vars(connected)["__signature__"] = inspect.Signature(parameters, return_annotation=None)
    connected.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return connected
