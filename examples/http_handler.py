"""A test that fails in another thread: in the handler of a server, where nobody looks.

    python examples/http_handler.py

The test starts a `ThreadingHTTPServer`, sends it a request, and lets the handler check what the client
has sent. The handler runs in a thread of its own, as in Go, where `t.Fatal` in the handler of an
`httptest.Server` ends the goroutine of the handler, and not the test. So the check fails, and the test:

1.  In plain threads it passes, and it should not. socketserver or threading prints something at best, and
    the client sees a closed connection, which the test takes for an answer like any other.
2.  In a scope it fails with the message of the handler and the name of its thread. The `finally` blocks
    have run, and nothing hangs.

The exit status is 0 when everything came out as told.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from http.client import HTTPConnection, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, current_thread
from typing import Any, NamedTuple

from failpy import fail

MESSAGE = "the client sent no token"


class Outcome(BaseException):
    """As what `pytest.fail` raises, so that no `except Exception` of the program can take it."""


# --- four ways for a check to fail ---


def by_assert(token: str | None) -> None:
    assert token, MESSAGE


def by_outcome(token: str | None) -> None:
    if not token:
        raise Outcome(MESSAGE)


def by_exit(token: str | None) -> None:
    """End the thread, and only the thread: what `t.Fatal` does to a goroutine."""
    if not token:
        sys.exit(MESSAGE)


def by_fatal(token: str | None) -> None:
    scope = fail.current_scope()  # the one of the test, which this thread has inherited
    if not token and scope is not None:
        scope.fatal(MESSAGE)


# --- the program ---


class Handler(BaseHTTPRequestHandler):
    """Greets whom the check lets pass."""

    server: Server

    def do_GET(self) -> None:
        try:
            self.server.check(self.headers["Authorization"])
            self.send_response(204)
            self.end_headers()
        finally:
            self.server.cleaned_up.append(current_thread().name)

    def log_message(self, *args: Any) -> None:
        """Keep the story readable."""


class Server(ThreadingHTTPServer):
    """A server that waits for its handlers when it closes: a failure must not come after the test."""

    daemon_threads = False

    def __init__(self, check: Callable[[str | None], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.check = check
        self.cleaned_up: list[str] = []


def the_test(server: Server) -> None:
    """What a test of a client looks like. The client forgets its token, and asks all the same."""
    loop = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with server:
        loop.start()
        try:
            client = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            client.request("GET", "/")
            try:
                print(f"    the client got status {client.getresponse().status}")
            except RemoteDisconnected:
                print("    the client saw its connection closed")
            client.close()
        finally:
            server.shutdown()
            loop.join()


# --- the story ---


class Ended(NamedTuple):
    """How a run of the test ended."""

    raised: BaseException | None
    stderr: str
    cleaned_up: list[str]
    seconds: float


def run(server: Server, around: AbstractContextManager[Any]) -> Ended:
    raised = None
    began = time.monotonic()
    with redirect_stderr(io.StringIO()) as stderr:
        try:
            with around:
                the_test(server)
        except BaseExceptionGroup as group:
            raised = group
    return Ended(raised, stderr.getvalue(), server.cleaned_up, time.monotonic() - began)


def plain(how: str, server: Server, printed_by: str) -> list[str]:
    """Run the test in plain threads, and return where the outcome differs from the story."""
    print(f"\n  {how}:")
    ended = run(server, nullcontext())
    print(f"    the test {'passed' if ended.raised is None else 'failed'}: wrong")
    print(f"    on stderr, from {printed_by}" if ended.stderr else "    on stderr, nothing")
    checks = {
        "the test passes": ended.raised is None,
        "stderr": MESSAGE in ended.stderr if printed_by else not ended.stderr,
        "the finally block ran": len(ended.cleaned_up) == 1,
        "nothing hangs": ended.seconds < 2,
    }
    return [f"plain, {how}: {what}: {ended}" for what, true in checks.items() if not true]


def scoped(how: str, server: Server, kind: type[BaseException]) -> list[str]:
    """Run the same test in a scope, and return where the outcome differs from the story."""
    print(f"\n  {how}:")
    ended = run(server, fail.scope())
    failures = ended.raised.exceptions if isinstance(ended.raised, BaseExceptionGroup) else ()
    print(f"    the test {'passed' if ended.raised is None else 'failed'}: {ended.raised}")
    for failure in failures:
        print(f"      {type(failure).__name__}: {failure}")
        print(f"      {failure.__notes__[0].replace(__file__, Path(__file__).name)}")
    said = [(type(each), str(each), ended.cleaned_up[0] in each.__notes__[0]) for each in failures]
    checks = {
        "the failure, its message and its thread": said == [(kind, MESSAGE, True)],
        "the finally block ran": len(ended.cleaned_up) == 1,
        "nothing hangs": ended.seconds < 2,
    }
    return [f"in a scope, {how}: {what}: {ended}" for what, true in checks.items() if not true]


def main() -> int:
    print("1. Plain threads: the check in the handler fails, and the test passes")
    mistakes = plain("assert", Server(by_assert), "socketserver, which then went on")
    mistakes += plain("an exception as pytest.fail's", Server(by_outcome), "threading.excepthook")
    mistakes += plain("sys.exit, which ends only the thread", Server(by_exit), "")

    print("\n2. The same test `with fail.scope():`")
    mistakes += scoped("scope.fatal", Server(by_fatal), fail.Failure)
    mistakes += scoped("an exception as pytest.fail's", Server(by_outcome), Outcome)
    mistakes += scoped("assert", Server(by_assert), AssertionError)

    for mistake in mistakes:
        print(f"not as told: {mistake}", file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
