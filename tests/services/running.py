"""The services, each a process group of its own that does not outlive the test."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import failpy
from tests.http_tools import BARE

FOLDER = Path(__file__).parent
SECONDS = 40.0
"""How long a service has to get ready."""

KEY = "a-key-that-only-these-tests-have"

# Without what is set for another OpenTelemetry, or another Celery.
ENVIRON = {key: value for key, value in BARE.items() if not key.startswith(("OTEL_", "CELERY_"))}

# Its standard input is a pipe to this process. However this process ends, the pipe ends with it, and then
# the whole group; and when the service ends by itself, the group has nothing to keep.
KEEPER = '{ "$@"; echo "ended with status $?"; kill -KILL 0; } & cat >/dev/null; kill -KILL 0'


class Service:
    """A process, and what it has printed."""

    def __init__(self, name: str, command: list[str], folder: Path, environ: dict[str, str], *fds: int):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, name, *command],
                cwd=FOLDER,
                env={**ENVIRON, "OTEL_SERVICE_NAME": name, **environ},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=fds,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return f"--- what {self.name} says:\n{self.log.read_text(errors='replace')}"

    @property
    def has_ended(self) -> bool:
        return self._keeper.poll() is not None

    def wait(self, is_ready: Callable[[], bool]) -> None:
        """Until it is, or is no more."""
        deadline = time.monotonic() + SECONDS
        while not is_ready():
            assert not self.has_ended, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def end(self) -> None:
        """Kill all of it."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        try:
            os.killpg(self._keeper.pid, signal.SIGKILL)
        except ProcessLookupError:  # the keeper was quicker
            pass
        self._keeper.wait()


class Services(NamedTuple):
    """All of them, while they run."""

    shop: Service
    payments: Service
    mailer: Service
    redis: Service
    url: str
    """Of shop."""
    payments_url: str
    broker: str
    spans: Path
    """A file with a line of JSON for each span that has events."""

    @property
    def output(self) -> str:
        return "\n".join(each.output for each in (self.shop, self.payments, self.mailer, self.redis))


@contextmanager
def running(folder: Path, *, workers: int = 2) -> Iterator[Services]:
    """Start redis, payments, mailer and shop, and end them whatever happens."""
    python = [sys.executable, "-m"]
    with ExitStack() as stack:
        redis, port = started_redis(folder, stack)
        environ = {
            "FAILPY_PROPAGATION_KEY": KEY,
            "PYTHONPATH": os.pathsep.join((str(Path(failpy.__file__).parents[1]), str(FOLDER))),
            "PYTHONUNBUFFERED": "1",
            "REDIS": f"redis://127.0.0.1:{port}/0",
            "SPANS": str(folder / "spans"),
        }

        def started(name: str, command: list[str], *fds: int, **more: str) -> Service:
            service = Service(name, [*python, *command], folder, environ | more, *fds)
            stack.callback(service.end)
            return service

        # They listen already: whoever asks before they are ready waits, and no port can be taken meanwhile.
        # A connection is kept longer than any test takes, or it may close as a client begins to use it again.
        for_shop, for_payments = stack.enter_context(listening()), stack.enter_context(listening())
        payments = started(
            "payments",
            ["gunicorn", "payments:app", f"--workers={workers}", "--threads=8", "--timeout=0",
             "--keep-alive=60", f"--bind=fd://{for_payments.fileno()}",
             f"--worker-tmp-dir={folder}", "--no-control-socket"],
            for_payments.fileno(),
        )  # fmt: skip
        shop = started(
            "shop",
            [
                "uvicorn",
                "shop:app",
                f"--fd={for_shop.fileno()}",
                "--no-access-log",
                "--timeout-keep-alive=60",
            ],
            for_shop.fileno(),
            PAYMENTS=url_of(for_payments),
        )
        mailer = started(
            "mailer",
            ["celery", "-A", "mailer", "worker", "--pool=prefork", "--concurrency=2", "--loglevel=INFO",
             "--without-gossip", "--without-mingle", "--without-heartbeat"],
        )  # fmt: skip
        for service, sock in (payments, for_payments), (shop, for_shop):
            service.wait(lambda sock=sock: answers(sock.getsockname()))
        mailer.wait(lambda: " ready." in mailer.output)
        yield Services(
            shop,
            payments,
            mailer,
            redis,
            url_of(for_shop),
            url_of(for_payments),
            environ["REDIS"],
            folder / "spans",
        )


def started_redis(folder: Path, stack: ExitStack) -> tuple[Service, int]:
    """A Redis that keeps nothing, and its port."""
    while True:
        with listening() as probe:
            port: int = probe.getsockname()[1]
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
                   "--appendonly", "no", "--dir", str(folder)]  # fmt: skip
        redis = Service("redis", command, folder, {})
        stack.callback(redis.end)
        try:
            redis.wait(lambda port=port: pongs(port))
        except AssertionError:
            if "Address already in use" not in redis.output:
                raise
            redis.log.unlink()  # somebody was quicker: another port
        else:
            return redis, port


def pongs(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(5) == b"+PONG"
    except OSError:
        return False


def answers(address: tuple[str, int]) -> bool:
    with closing(http.client.HTTPConnection(*address, timeout=SECONDS)) as connection:
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def listening() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # What is accepted inherits it. Uvicorn sets it for sockets that it has made itself; without it, the body
    # of a response waits 40 ms for the client to acknowledge the head.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def url_of(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"
