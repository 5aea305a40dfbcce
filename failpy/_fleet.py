"""A fleet: the endpoints of several processes, which are asked side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, NamedTuple, TypeVar

from failpy._client import Client
from failpy._complaint import Complaint, Unreachable

__all__ = ["Fleet", "Reply", "counted", "joint", "placed"]

_AT_ONCE = 32

T = TypeVar("T")


class Reply(NamedTuple, Generic[T]):
    """What came of asking one process.

    Attributes:
        client: Its endpoint.
        said: What it said, or None when it was not to be had.
        complaint: What went wrong, or None.
    """

    client: Client
    said: T | None
    complaint: Complaint | None

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        return self.client.target.text

    def data(self, said: Mapping[str, object] | None = None) -> dict[str, object]:
        """The same for machines, with this for what it said."""
        return {"url": self.url, **((said or {}) if self.complaint is None else self.complaint.data)}


class Fleet:
    """The processes that one command is for.

    Args:
        clients: Their endpoints, in the order in which they were named.

    Attributes:
        clients: The same.
        labels: A short name for each, by its address: what they do not have in common of it.
    """

    def __init__(self, clients: Iterable[Client]) -> None:
        self.clients = tuple(clients)
        self.labels = _labels([each.target.text for each in self.clients])
        self._threads: list[Thread] = []

    def ask(self, question: Callable[[Client], T], clients: Sequence[Client] | None = None) -> list[Reply[T]]:
        """Ask each, a number of them at a time. The replies are in the order of the clients.

        Args:
            question: What to do with each. A `Complaint` of its is a reply, too.
            clients: Only these, all unless given.
        """
        asked = self.clients if clients is None else clients
        waiting = deque(enumerate(asked))
        done: SimpleQueue[tuple[int, Reply[T] | BaseException]] = SimpleQueue()

        def work() -> None:
            while True:
                try:
                    index, client = waiting.popleft()
                except IndexError:
                    return
                done.put((index, _reply(client, question)))

        # Daemons, so that Control-C need not wait for a process that says nothing.
        self._threads = [Thread(target=work, daemon=True) for _ in range(min(len(asked), _AT_ONCE))]
        for thread in self._threads:
            thread.start()
        replies: dict[int, Reply[T] | BaseException] = {}
        try:
            while len(replies) < len(asked):
                index, reply = done.get()
                replies[index] = reply
        except BaseException:  # Control-C
            waiting.clear()
            raise
        return [_expected(replies[index]) for index in range(len(asked))]

    def wait(self) -> None:
        """Wait until nothing that was asked is under way any more."""
        for thread in self._threads:
            thread.join()


def _reply(client: Client, question: Callable[[Client], T]) -> Reply[T] | BaseException:
    try:
        return Reply(client, question(client), None)
    except Complaint as complaint:
        return Reply(client, None, complaint)
    except BaseException as exc:  # a defect, which is for the thread that has asked
        return exc


def _expected(reply: Reply[T] | BaseException) -> Reply[T]:
    if isinstance(reply, BaseException):
        raise reply
    return reply


def _labels(texts: Sequence[str]) -> dict[str, str]:
    paths = [text.replace("unix:", "unix:/", 1).split("/") for text in texts]
    folders = list(zip(*(path[:-1] for path in paths), strict=False)) if len(paths) > 1 else []
    shared = len(list(takewhile(lambda each: len(set(each)) == 1, folders)))
    labels = ["/".join(path[shared:]) for path in paths] if shared else list(texts)
    if len(paths) > 1 and all(label.endswith(".sock") for label in labels):
        labels = [label.removesuffix(".sock") for label in labels]
    return dict(zip(texts, labels if all(labels) else texts, strict=True))


def counted(number: int) -> str:
    """A number of processes, in words."""
    return f"{number} process" if number == 1 else f"{number} processes"


def placed(url: str, complaint: Complaint) -> str:
    """What went wrong, and where: that nothing answers says where already."""
    return complaint.message if isinstance(complaint, Unreachable) else f"{url}: {complaint.message}"


def joint(
    failed: Sequence[Reply[Any]], total: int, *more: str, details: dict[str, object] | None = None
) -> Complaint:
    """One complaint for what went wrong at some of the processes.

    Args:
        failed: The replies of these.
        total: How many were asked.
        more: Lines about what has become of the rest.
        details: More for machines.
    """
    where: dict[str, list[str]] = {}
    complaints: list[Complaint] = []
    for reply in failed:
        assert reply.complaint is not None
        complaints.append(reply.complaint)
        # That nothing answers says where already.
        said_where = isinstance(reply.complaint, Unreachable)
        where.setdefault(reply.complaint.message, []).extend([] if said_where else [reply.url])
    lines = []
    for message, urls in where.items():
        place = f"each of {counted(total)}" if 1 < len(urls) == total else ", ".join(urls)
        lines.append(f"{place}: {message}" if place else message)
    worst = max(complaints, key=lambda each: each.status)
    processes = [reply.data() for reply in failed]
    return Complaint(
        "\n".join([*lines, *more]),
        status=worst.status,
        kind=worst.kind,
        details={"processes": processes, **(details or {})},
    )
