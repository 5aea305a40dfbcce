"""The commands that ask or steer running programs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from failpy._arming import chain_for, named_terms
from failpy._change import Before, Change
from failpy._client import Client, Record
from failpy._complaint import Complaint, Refused
from failpy._literals import printable
from failpy._screen import note, on_terminal
from failpy._session import Name, Session, known_names, remote, seconds
from failpy._several import change_each, resume_each, show_points, show_status
from failpy._tables import details, overview
from failpy._watch import watch_all_hits, watch_all_points, watch_hits, watch_points

__all__ = ["disable", "enable", "points", "resume", "status", "watch"]

_QUOTE = "put terms that have blanks or '>' in quotes"
_Pattern = Annotated[
    str,
    typer.Argument(metavar="PATTERN", show_default=False, help="Only names like this, such as 'db.*'."),
]
_Whole = Annotated[
    bool,
    typer.Option(
        "--all-or-nothing", help="If one of several programs does not take it, put it back in the others."
    ),
]


@remote
def points(
    session: Session,
    pattern: _Pattern = "*",
    armed: Annotated[bool, typer.Option("--armed", help="Only points that have terms now.")] = False,
) -> None:
    """List the points of a running program: their terms, and what has come of them."""

    def is_wanted(point: Record) -> bool:
        return fnmatchcase(point["name"], pattern) and bool(point.get("terms") or not armed)

    if session.several:
        show_points(session, is_wanted)
        return
    answer = session.client.everything()
    wanted = list(filter(is_wanted, answer["failpoints"]))
    if wanted or session.as_json:
        session.tell({**answer, "failpoints": wanted}, overview(wanted))
    else:
        note(f"none of its {len(answer['failpoints'])} points is like that")


@remote
def status(session: Session, name: Name) -> None:
    """Show everything about one point."""
    if session.several:
        show_status(session, name)
        return
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
    all_or_nothing: _Whole = False,
) -> None:
    """Arm one point, or several at once: all of them, or none if anything is wrong.

    failpy enable db.read '3*return("stale")->raise(TimeoutError)'

    failpy enable db.read=panic 'db.write=50%sleep(10)' --ttl 30s
    """
    single, text = _what(words)
    if session.several or all_or_nothing:
        if if_match is not None:
            raise Complaint(
                "--if-match names the revision of one program: give one --url, and no --all-or-nothing"
            )
        terms = named_terms(text) if single is None else {single: chain_for(single, text)}

        def arm(client: Client) -> str | None:
            return _arm(client, single, text, pending=pending, ttl=ttl)

        def arm_if_same(client: Client, before: Before) -> str | None:
            entries = text if single is None else f"{single}={text}"
            with before.touching():
                return client.enable_all(entries, pending=pending, ttl=ttl, if_match=before.revision)

        change = Change(terms, arm_if_same, pending=pending)
        change_each(session, change, arm, lambda said: {"revision": said}, "armed", whole=all_or_nothing)
        return
    revision = _arm(session.client, single, text, pending=pending, ttl=ttl, if_match=if_match)
    session.tell({"revision": revision}, f"armed (revision {printable(revision)})")


def _what(words: Sequence[str]) -> tuple[str | None, str]:
    """The one point and its terms, or none and a set."""
    if "=" in words[0]:
        stray = next((word for word in words if "=" not in word), None)
        if stray is not None:
            raise Complaint(f"{printable(stray)!r} is not NAME=TERMS: {_QUOTE}")
        return None, ";".join(words)
    if len(words) == 2:
        return words[0], words[1]
    way = _QUOTE if len(words) > 2 else f"with what? failpy enable {printable(words[0])} TERMS"
    raise Complaint(f"enable takes one NAME and its TERMS, or any number of NAME=TERMS: {way}")


def _arm(
    client: Client,
    name: str | None,
    text: str,
    *,
    pending: bool,
    ttl: str | None,
    if_match: str | None = None,
) -> str | None:
    if name is None:
        return client.enable_all(text, pending=pending, ttl=ttl, if_match=if_match)
    return client.enable(name, text, pending=pending, ttl=ttl, if_match=if_match)


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
    all_or_nothing: _Whole = False,
) -> None:
    """Disarm points, and let go of the hits that are paused there."""
    if everything == bool(names):
        raise Complaint("disable takes the names of points, or --all: give one of the two")
    said = {"disabled": names or True}
    if session.several or all_or_nothing:

        def disarm_if_same(client: Client, before: Before) -> None:
            if everything:
                with before.touching():
                    client.disable_all(if_match=before.revision)
            for name in names or ():
                with before.touching(name):
                    client.disable(name, if_match=before.revision_of(name))

        change = Change(None if everything else dict.fromkeys(names or ()), disarm_if_same)
        change_each(
            session,
            change,
            lambda client: _disarm(client, names),
            lambda _: said,
            "disarmed",
            whole=all_or_nothing,
        )
        return
    _disarm(session.client, names)
    session.tell(said, "disarmed")


def _disarm(client: Client, names: Sequence[str] | None) -> None:
    """Disarm these points, all unless given: each that can be."""
    if not names:
        client.disable_all()
    refusals = []
    for name in names or ():
        try:
            client.disable(name)
        except Refused as exc:
            refusals.append(exc)
    if refusals:
        done = [] if len(refusals) == len(names or ()) else ["The others are disarmed."]
        message = "\n".join([*(each.message for each in refusals), *done])
        raise Refused(message, kind=refusals[0].kind, details=refusals[0].details)


@remote
def resume(
    session: Session,
    name: Name,
    nth: Annotated[
        int | None, typer.Option("--nth", metavar="N", min=1, help="Only this hit, counted from 1.")
    ] = None,
) -> None:
    """Let go of the hits that are paused at a point. Exit status 1 says that there was none."""
    if session.several:
        if nth is not None:
            raise Complaint("--nth counts the hits of one program: give one --url")
        if not resume_each(session, name):
            raise typer.Exit(1)
        return
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
    as_table = on_terminal() and not session.as_json
    gone = 0

    def wanted(name: str) -> bool:
        return fnmatchcase(name, pattern)

    try:
        if session.several and as_table:
            gone = watch_all_points(session.fleet, wanted, interval=interval, rounds=count)
        elif session.several:
            gone = watch_all_hits(session.fleet, wanted, hits=count, as_json=session.as_json)
        elif as_table:
            watch_points(session.client, wanted, interval=interval, rounds=count)
        else:
            watch_hits(session.client, wanted, hits=count, as_json=session.as_json)
    except KeyboardInterrupt:
        return
    if gone:
        raise typer.Exit(3)
