"""The commands that ask or steer a running program."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

import typer

from failpy._complaint import Complaint, Refused
from failpy._literals import printable
from failpy._screen import note, on_terminal
from failpy._session import Name, Session, known_names, remote, seconds
from failpy._tables import details, overview
from failpy._watch import watch_hits, watch_points

__all__ = ["disable", "enable", "points", "resume", "status", "watch"]

_QUOTE = "put terms that have blanks or '>' in quotes"
_Pattern = Annotated[
    str,
    typer.Argument(metavar="PATTERN", show_default=False, help="Only names like this, such as 'db.*'."),
]


@remote
def points(
    session: Session,
    pattern: _Pattern = "*",
    armed: Annotated[bool, typer.Option("--armed", help="Only points that have terms now.")] = False,
) -> None:
    """List the points of a running program: their terms, and what has come of them."""
    answer = session.client.everything()
    wanted = [
        point
        for point in answer["failpoints"]
        if fnmatchcase(point["name"], pattern) and (point.get("terms") or not armed)
    ]
    if wanted or session.as_json:
        session.tell({**answer, "failpoints": wanted}, overview(wanted))
    else:
        note(f"none of its {len(answer['failpoints'])} points is like that")


@remote
def status(session: Session, name: Name) -> None:
    """Show everything about one point."""
    point = session.client.status(name)
    session.tell(point, details(point))


@remote
def enable(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME TERMS | NAME=TERMS...",
            show_default=False,
            help="What to arm.",
            autocompletion=known_names,
        ),
    ],
    pending: Annotated[
        bool, typer.Option("--pending", help="Also arm names that no code has declared yet.")
    ] = False,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Disarm it after this time: 500ms, 30s, 1m30s, 2h."),
    ] = None,
    if_match: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Only if this is the revision still.")
    ] = None,
) -> None:
    """Arm one point, or several at once: all of them, or none if anything is wrong.

    failpy enable db.read '3*return("stale")->raise(TimeoutError)'

    failpy enable db.read=panic 'db.write=50%sleep(10)' --ttl 30s
    """
    if "=" in words[0]:
        stray = next((word for word in words if "=" not in word), None)
        if stray is not None:
            raise Complaint(f"{printable(stray)!r} is not NAME=TERMS: {_QUOTE}")
        terms = ";".join(words)
        revision = session.client.enable_all(terms, pending=pending, ttl=ttl, if_match=if_match)
    elif len(words) == 2:
        name, terms = words
        revision = session.client.enable(name, terms, pending=pending, ttl=ttl, if_match=if_match)
    else:
        way = _QUOTE if len(words) > 2 else f"with what? failpy enable {printable(words[0])} TERMS"
        raise Complaint(f"enable takes one NAME and its TERMS, or any number of NAME=TERMS: {way}")
    session.tell({"revision": revision}, f"armed (revision {printable(revision)})")


@remote
def disable(
    session: Session,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", show_default=False, autocompletion=known_names, help="What to disarm."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Disarm every point.")] = False,
) -> None:
    """Disarm points, and let go of the hits that are paused there."""
    if everything == bool(names):
        raise Complaint("disable takes the names of points, or --all: give one of the two")
    if everything:
        session.client.disable_all()
    refusals = []
    for name in names or ():
        try:
            session.client.disable(name)
        except Refused as exc:
            refusals.append(exc)
    if refusals:
        done = [] if len(refusals) == len(names or ()) else ["The others are disarmed."]
        message = "\n".join([*(each.message for each in refusals), *done])
        raise Refused(message, kind=refusals[0].kind, details=refusals[0].details)
    session.tell({"disabled": names or True}, "disarmed")


@remote
def resume(
    session: Session,
    name: Name,
    nth: Annotated[
        int | None, typer.Option("--nth", metavar="N", min=1, help="Only this hit, counted from 1.")
    ] = None,
) -> None:
    """Let go of the hits that are paused at a point. Exit status 1 says that there was none."""
    resumed = session.client.resume(name, nth)
    session.tell({"resumed": resumed}, f"resumed {resumed} paused {'hit' if resumed == 1 else 'hits'}")
    if not resumed:
        raise typer.Exit(1)


@remote
def watch(
    session: Session,
    pattern: _Pattern = "*",
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", callback=seconds, help="How often to look, in a terminal.")
    ] = 1.0,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", min=1, help="End after N looks, or elsewhere after N hits."),
    ] = None,
) -> None:
    """Watch a running program: in a terminal a table of its points, elsewhere a line for each hit."""

    def wanted(name: str) -> bool:
        return fnmatchcase(name, pattern)

    try:
        if on_terminal() and not session.as_json:
            watch_points(session.client, wanted, interval=interval, rounds=count)
        else:
            watch_hits(session.client, wanted, hits=count, as_json=session.as_json)
    except KeyboardInterrupt:
        return
