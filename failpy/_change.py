"""A change of what is armed in several processes: made in all of them, or put back where it was made."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from failpy._client import Client, Record
from failpy._complaint import Complaint, Refused, Unreachable
from failpy._errors import TermSyntaxError
from failpy._fleet import Fleet, Reply, counted, joint, placed
from failpy._grammar import parse
from failpy._literals import printable
from failpy._terms import Terms

__all__ = ["Before", "Change", "carry_out", "refuse_twice"]


class Before:
    """A process as it was, as far as a change is about it.

    Args:
        answer: What it said of itself.
        wanted: What is to be armed in it: texts by name, `""` for what is to be disarmed.

    Attributes:
        wanted: The same.
        touched: The names that may have been changed since.
    """

    def __init__(self, answer: Record, wanted: Mapping[str, str]) -> None:
        self.wanted = wanted
        self.touched: set[str] = set()
        self.points = _by_name(answer)
        self.revision = _revision(answer)
        self.time = time.monotonic()

    @contextmanager
    def touching(self, *names: str) -> Iterator[None]:
        """Note what a request is about to change, unless it is refused; everything unless names are given."""
        about = set(names or self.wanted)
        self.touched |= about
        try:
            yield
        except Refused:
            self.touched -= about
            raise

    def revision_of(self, name: str) -> str | None:
        """The revision of a point, if there is such a point."""
        return _revision(self.points.get(name))

    def left(self, point: Record) -> float | None:
        """For how many seconds more a point was armed, counted from now; None for ever."""
        left = point.get("expires_in")
        if not isinstance(left, float | int):
            return None
        return left - (time.monotonic() - self.time)


@dataclass(frozen=True)
class Change:
    """What is to be armed or disarmed in each process.

    Attributes:
        terms: What is to be armed, by name, None for what is to be disarmed; None disarms everything.
        make: What does so in one process.
        pending: Whether names that no code has declared are armed, too.
    """

    terms: Mapping[str, Terms | None] | None
    make: Callable[[Client, Before], str | None]
    pending: bool = False

    def look(self, client: Client) -> Before:
        """See how a process is, and refuse what it would refuse, and what could not be put back.

        Raises:
            Complaint: when the change should not begin.
        """
        answer = client.everything()
        known = _by_name(answer)
        if self.terms is None:
            wanted = {name: "" for name, point in known.items() if point.get("terms")}
        else:
            wanted = {name: "" if each is None else str(each) for name, each in self.terms.items()}
        for name in wanted:
            if name in known:
                _refuse_what_cannot_come_back(name, known[name])
            elif not self.pending:
                client.status(name)  # which says what is known instead
        return Before(answer, wanted)


def carry_out(fleet: Fleet, change: Change) -> list[Reply[str | None]]:
    """Make a change in all processes; unless all of them take it, put it back in those that did.

    One process is asked first, since what one refuses most often all do.

    Raises:
        Complaint: when the change was not made: why, what was put back and what could not be.
    """
    looked = fleet.ask(change.look)
    unlike = [each for each in looked if each.complaint]
    if unlike:
        raise joint(unlike, len(looked), "Nothing has changed.")
    before = {each.client: each.said for each in looked if each.said is not None}
    refuse_twice([(each.target.text, was.revision) for each, was in before.items()])
    replies: list[Reply[str | None]] = []
    failed: list[Reply[str | None]] = []
    try:
        for clients in (fleet.clients[:1], fleet.clients[1:]):
            replies += fleet.ask(lambda client: change.make(client, before[client]), clients)
            failed = [each for each in replies if each.complaint]
            if failed:
                break
    except BaseException as exc:
        lines, details = _undo(fleet, before)
        if isinstance(exc, KeyboardInterrupt):
            message = "\n".join(["interrupted", *lines])
            raise Complaint(message, status=130, kind="Interrupted", details=details) from None
        for line in lines:
            exc.add_note(line)
        raise
    if failed:
        unknown = [each.url for each in failed if isinstance(each.complaint, Unreachable)]
        lines, details = _undo(fleet, before, unknown)
        raise joint(failed, len(looked), *lines, details=details)
    return replies


def refuse_twice(revisions: Sequence[tuple[str, str | None]]) -> None:
    """Refuse two addresses that lead to one process.

    Raises:
        Complaint: naming both.
    """
    seen: dict[str, str] = {}
    for url, revision in revisions:
        mark, dot, _ = (revision or "").partition(".")
        other = seen.setdefault(mark, url)
        if dot and other != url:
            raise Complaint(f"{other} and {url} lead to the same process: name it once")


def _undo(
    fleet: Fleet, before: Mapping[Client, Before], unknown: Sequence[str] = ()
) -> tuple[list[str], dict[str, Any]]:
    """Put back what was changed, and say what came of that, for people and for machines.

    Args:
        fleet: The processes.
        before: How they were.
        unknown: Which of them have not said whether they have changed.
    """
    with _undisturbed():
        fleet.wait()  # what is under way may still be taken
        touched = [client for client, was in before.items() if was.touched]
        replies = fleet.ask(lambda client: _put_back(client, before[client]), touched)
    back = [each.url for each in replies if each.said]
    left = {each.url: each.complaint for each in replies if each.complaint}
    lines = [f"Put back as before: {counted(len(back))}."] if back else []
    lines = lines if back or left else ["Nothing has changed."]
    for url, complaint in left.items():
        if url in unknown and isinstance(complaint, Unreachable):
            lines.append(f"Not known whether it has changed: {url}")
        else:
            lines.append(f"Not put back: {placed(url, complaint)}")
    said = [{"url": url, **complaint.data} for url, complaint in left.items()]
    return lines, {"put_back": back, "not_put_back": said}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A block that Control-C does not end half-way; every request in it has an end of its own."""
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _put_back(client: Client, before: Before) -> bool:
    """Put back what differs from before; whether anything does.

    Raises:
        Complaint: when something cannot be put back.
    """
    answer = client.everything()
    if _mark(_revision(answer)) != _mark(before.revision):
        raise Refused("another process is there by now")
    now = _by_name(answer)
    done, problems = False, []
    for name in sorted(before.touched):
        old, new = before.points.get(name, {}), now.get(name, {})
        if _revision(old) == _revision(new) or not (old.get("terms") or new.get("terms")):
            continue
        try:
            _put_back_one(
                client, before, name, _revision(new), _same(new.get("terms", ""), before.wanted[name])
            )
        except Complaint as exc:
            problems.append(exc.message)
        else:
            done = True
    if problems:
        raise Refused("\n".join(problems))
    return done


def _put_back_one(client: Client, before: Before, name: str, revision: str | None, ours: bool) -> None:
    if not ours:
        raise Refused(f"failpoint {name!r} has been changed by somebody else since, and stays so")
    old = before.points.get(name, {})
    left = before.left(old)
    if old.get("terms") and (left is None or left > 0):
        client.enable(
            name,
            old["terms"],
            pending=not old.get("declared", True),
            ttl=None if left is None else f"{max(1, round(left * 1000))}ms",
            if_match=revision,
        )
    elif revision is not None:
        client.disable(name, if_match=revision)


def _refuse_what_cannot_come_back(name: str, point: Record) -> None:
    terms = point.get("terms")
    if not terms:
        return
    way = "disarm it first, or leave out --all-or-nothing"
    if point.get("conditional"):
        raise Refused(
            f"failpoint {name!r} is armed with a when= of the program, which nobody else can put back: {way}"
        )
    try:
        parse(terms)
    except TermSyntaxError:
        raise Refused(
            f"failpoint {name!r} is armed with {printable(terms)}, which no text can put back: {way}"
        ) from None


def _by_name(answer: Record) -> dict[str, Record]:
    return {point["name"]: point for point in answer["failpoints"]}


def _revision(said: Record | None) -> str | None:
    revision = (said or {}).get("revision")
    return revision if isinstance(revision, str) else None


def _mark(revision: str | None) -> str:
    return (revision or "").partition(".")[0]


def _same(terms: str, wanted: str) -> bool:
    try:
        return (str(parse(terms)) if terms else "") == wanted
    except TermSyntaxError:
        return False
