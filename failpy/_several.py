"""What the commands do with several processes, and say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from failpy._change import Change, carry_out, refuse_twice
from failpy._client import Client, Record
from failpy._fleet import Reply, counted, joint
from failpy._fleet_tables import fleet_overview
from failpy._screen import note, tell, tell_json
from failpy._session import Session
from failpy._tables import details

__all__ = ["change_each", "resume_each", "show_points", "show_status"]


def show_points(session: Session, wanted: Callable[[Record], bool]) -> None:
    """Show the points of all of them in one table."""

    def ask(client: Client) -> Record:
        answer = client.everything()
        return {**answer, "failpoints": [point for point in answer["failpoints"] if wanted(point)]}

    replies = session.fleet.ask(ask)
    answers = [(each.url, each.said) for each in replies if each.said is not None]
    refuse_twice([(url, str(said.get("revision"))) for url, said in answers])
    if session.as_json:
        tell_json({"processes": [each.data(each.said) for each in replies]})
    elif any(said["failpoints"] for _, said in answers):
        labels = session.fleet.labels
        tell(fleet_overview([(labels[url], said["failpoints"], None) for url, said in answers]))
    elif answers:
        note(f"no point of {counted(len(answers))} is like that")
    _finish(replies)


def show_status(session: Session, name: str) -> None:
    """Show everything about one point in each of them."""
    replies = session.fleet.ask(lambda client: client.status(name))
    if session.as_json:
        tell_json({"processes": [each.data(each.said) for each in replies]})
    else:
        for number, (url, said) in enumerate((each.url, each.said) for each in replies if each.said):
            if number:
                tell("")
            tell(details(said, url))
    _finish(replies)


def change_each(
    session: Session,
    change: Change,
    make: Callable[[Client], str | None],
    data: Callable[[str | None], Mapping[str, object]],
    done: str,
    *,
    whole: bool,
) -> None:
    """Arm or disarm something in all of them.

    Args:
        session: Where.
        change: What, for all or nothing.
        make: The same without a look at what was there, for one of them.
        data: What one of them said, for machines.
        done: What it has become, in a word.
        whole: Whether none shall be changed unless all are.
    """
    replies = carry_out(session.fleet, change) if whole else session.fleet.ask(make)
    good = [each for each in replies if each.complaint is None]
    if session.as_json:
        tell_json({"processes": [each.data(data(each.said)) for each in replies]})
    elif good:
        of = "" if len(good) == len(replies) else f"{len(good)} of "
        tell(f"{done} in {of}{counted(len(replies))}")
    _finish(replies)


def resume_each(session: Session, name: str) -> int:
    """Let go of what is paused in all of them, and give how many hits that were."""
    replies = session.fleet.ask(lambda client: client.resume(name))
    resumed = [each.said for each in replies if each.said is not None]
    total = sum(resumed)
    if session.as_json:
        tell_json({"resumed": total, "processes": [each.data({"resumed": each.said}) for each in replies]})
    elif resumed:
        hits = "hit" if total == 1 else "hits"
        tell(f"resumed {total} paused {hits} in {counted(sum(map(bool, resumed)))}")
    _finish(replies)
    return total


def _finish(replies: Sequence[Reply[Any]]) -> None:
    failed = [each for each in replies if each.complaint]
    if failed:
        raise joint(failed, len(replies))
