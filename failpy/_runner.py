"""A program started with points armed and the endpoint on, as if the shell had started it."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from failpy._address import read_address
from failpy._complaint import Complaint, malformed
from failpy._errors import FailpointError, TermSyntaxError
from failpy._grammar import parse_set
from failpy._literals import printable
from failpy._startup import SERVED

__all__ = ["endpoint", "environment", "run"]

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_FROM_TERMINAL = 0x80  # SI_KERNEL in Linux
# The path of a unix socket has at most 107 bytes, in some systems 103.
_LONGEST_FOLDER = 75


def environment(
    failpoints: Sequence[str], environ: Mapping[str, str], *, http: str, seed: int | None
) -> dict[str, str]:
    """The environment of the program.

    Args:
        failpoints: Sets of terms, each like `A=panic;B=off`. What `FAILPY_FAILPOINTS` arms already
            stays armed, but for the names that are in these.
        environ: The environment to begin with.
        http: Where the endpoint shall listen.
        seed: The seed, or None to leave it.

    Raises:
        Complaint: when something is malformed, or when `FAILPY=off` lets nothing be armed.
    """
    if failpoints and environ.get("FAILPY", "").strip().lower() == "off":
        raise Complaint("FAILPY=off lets nothing be armed in the program: unset it, or leave out -f")
    given: dict[str, str] = {}
    for text in failpoints:
        for name, terms in _entries(text, "-f").items():
            if name in given:
                raise Complaint(f"-f names {name!r} twice: take one away, or chain its terms with '->'")
            given[name] = terms
    armed = {**_entries(environ.get("FAILPY_FAILPOINTS", ""), "FAILPY_FAILPOINTS"), **given}
    try:
        read_address(http, token=bool(environ.get("FAILPY_HTTP_TOKEN")))
    except FailpointError as exc:
        raise Complaint(str(exc)) from None
    # Several processes may come of it: the first gets the endpoint, and for the others that is no error.
    child = {**environ, "FAILPY_HTTP": http, SERVED: http}
    if armed:
        child["FAILPY_FAILPOINTS"] = ";".join(f"{name}={terms}" for name, terms in armed.items())
    if seed is not None:
        child["FAILPY_SEED"] = str(seed)
    return child


def _entries(text: str, source: str) -> dict[str, str]:
    try:
        return {name: str(terms) for name, terms in parse_set(text).items()}
    except TermSyntaxError as exc:
        raise malformed(exc, source=source, status=2) from None


@contextmanager
def endpoint(address: str | None, environ: Mapping[str, str]) -> Iterator[str]:
    """Where the endpoint shall listen.

    It is the address given, or else that of `FAILPY_HTTP` unless a process above this one listens there,
    or else a socket in a folder that only this user can enter, removed at the end.
    """
    inherited = environ.get("FAILPY_HTTP", "").strip()
    if address is None and inherited and environ.get(SERVED) != inherited:
        address = inherited
    if address is not None:
        yield address
        return
    usual = tempfile.gettempdir()
    short = usual if len(os.fsencode(usual)) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108 - in it, not as it
    with tempfile.TemporaryDirectory(prefix="failpy-", dir=short, ignore_cleanup_errors=True) as folder:
        yield f"unix:{folder}/app.sock"


def run(program: Sequence[str], environ: Mapping[str, str], started: Callable[[int], None]) -> int:
    """Run a program with the stdin, stdout and stderr of this one, and wait for its end.

    Args:
        program: Its name or path, and its arguments.
        environ: Its environment.
        started: Called with the process ID once it runs.

    Returns:
        Its exit status, or 128 and the number of the signal that ended it.

    Raises:
        Complaint: with the status of a shell, when it cannot be started.
    """
    if not hasattr(os, "posix_spawnp"):
        raise Complaint(
            "failpy run needs a POSIX system: set FAILPY_FAILPOINTS and FAILPY_HTTP, and start the program"
        )
    forwarded = {getattr(signal, name) for name in _FORWARDED}
    expected = {*forwarded, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, expected)
    # Whoever started this may have ignored the end of children, which would lose the exit status.
    children = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        pid = _spawn(program, environ, before)
        started(pid)
        while True:
            arrived = _wait_for(expected)
            if arrived is not None and arrived in forwarded:
                os.kill(pid, arrived)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    finally:
        signal.signal(signal.SIGCHLD, children)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(program: Sequence[str], environ: Mapping[str, str], mask: set[int | signal.Signals]) -> int:
    # Python ignores these two; a program expects to find them as the shell leaves them.
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]
    try:
        return os.posix_spawnp(program[0], list(program), environ, setsigmask=mask, setsigdef=ignored)
    except OSError as exc:
        missing = isinstance(exc, FileNotFoundError)
        raise Complaint(
            f"cannot start {printable(program[0])!r}: {exc.strerror}",
            status=127 if missing else 126,
            kind="NotStarted",
        ) from None


def _wait_for(expected: set[int]) -> int | None:
    """The next signal; None after a while, or when the terminal has sent it to the program, too."""
    wait = getattr(signal, "sigtimedwait", None)
    if wait is None:  # macOS does not say who has sent it
        arrived = signal.sigwait(expected)
        return None if arrived == signal.SIGINT and os.isatty(0) else arrived
    info = wait(expected, 1.0)
    return None if info is None or info.si_code == _FROM_TERMINAL else int(info.si_signo)
