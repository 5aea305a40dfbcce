"""An etcd of one's own, for as long as a `with` block. `etcd_watch.py` uses it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["etcd"]


@contextmanager
def etcd() -> Iterator[str]:
    """Start an etcd on free ports of 127.0.0.1, give its address, and leave nothing of it.

    Raises:
        RuntimeError: when it does not start, with its log.
    """
    with TemporaryDirectory(prefix="etcd-") as name:
        folder = Path(name)
        address, peer = f"127.0.0.1:{free_port()}", "http://127.0.0.1:0"
        command = ["etcd", "--name=own", f"--data-dir={folder / 'data'}", f"--initial-cluster=own={peer}"]
        command += [f"--{kind}-client-urls=http://{address}" for kind in ("listen", "advertise")]
        command += [f"--{kind}-peer-urls={peer}" for kind in ("listen", "initial-advertise")]
        # What is set for another etcd: this one refuses a setting that is given twice.
        environment = {key: text for key, text in os.environ.items() if not key.startswith("ETCD_")}
        log = folder / "log"
        with (
            log.open("wb") as output,
            subprocess.Popen(command, env=environment, stdout=output, stderr=output) as server,
        ):
            try:
                deadline = time.monotonic() + 30
                while not is_healthy(address):
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"etcd does not start:\n{log.read_text(errors='replace')}")
                    time.sleep(0.05)
                yield address
            finally:
                server.kill()  # nobody needs its data any more


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_healthy(address: str) -> bool:
    """Whether an etcd there says that it is well."""
    with closing(HTTPConnection(address, timeout=1)) as connection:
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
