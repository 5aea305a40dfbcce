r"""A watcher of etcd that is killed between its work and its note: `watch.py`, against a real server.

    python examples/etcd_watch.py

It starts an etcd of its own, on free ports of 127.0.0.1 and in a temporary folder, and ends it again.
Orders are keys, and a watcher follows them from the revision that it has saved. It ships each by writing
a key of its own, and saves the revision, in two requests or, in the fixed version, in one transaction.
Each is killed by one line of terms and started again. etcd counts how often a key was written, its
version, and so says what was shipped twice.

Then nobody names the place any more: `fail.explore_crashes` kills the watcher at each of its calls to
the network, `fail.explore` lets each of them fail, and what they find is replayed in a process. In how
many pieces an answer comes, and whether a request whose sender has died is still done, is up to etcd: so
some numbers differ from run to run, and a report may say that the body is not deterministic.

The exit status is 0 when everything came out as told, 1 when not, and 77 when there is no `etcd` on the
PATH: that is the one of Debian's package `etcd-server`. To be a watcher, of an etcd of yours:

    python examples/etcd_watch.py order 127.0.0.1:2379
    FAILPY_FAILPOINTS='etcd_watch.before_save=1*off->1*kill' \
        python examples/etcd_watch.py follow 127.0.0.1:2379 ada
    python examples/etcd_watch.py follow 127.0.0.1:2379 ada
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from itertools import count, islice
from json import dumps, loads
from typing import Any

from etcd_server import etcd

from failpy import fail

ITEMS = ["lamp", "chair", "desk"]
ORDERS = "/orders/"
log = logging.getLogger("watch")
TERMS = "etcd_watch.before_save=1*off->1*kill"  # one event passes, the second is the end
SKIPPED = 77  # what automake takes for a test that could not be run


# --- the watcher ---


def follow(shop: Shop) -> None:
    """Ship, then save: two requests. A crash between them ships again."""
    for revision, item in shop.orders_after(shop.reached()[0]):
        shop.commit(shop.shipment(item))
        with fail.point("etcd_watch.before_save"):
            shop.commit(shop.progress(revision))


def follow_fixed(shop: Shop) -> None:
    """Ship and save in one transaction, if nobody has saved since the revision was read.

    The condition is not for other watchers alone. A process that is killed may leave a request behind
    which etcd has not come to yet: a ghost of it, that writes when the next one has long read.
    """
    reached, saved_at = shop.reached()
    try:
        for revision, item in shop.orders_after(reached):
            with fail.point("etcd_watch.before_save"):
                both = shop.shipment(item), shop.progress(revision)
                saved_at = shop.commit(*both, unless_saved_since=saved_at)
    except Overtaken:
        follow_fixed(shop)


class Overtaken(Exception):
    """Somebody else has saved meanwhile."""


class Shop:
    """The orders, which all watchers share, and what one of them has shipped and saved: keys of etcd."""

    def __init__(self, address: str, watcher: str = "") -> None:
        self._address = address
        self._connection = HTTPConnection(address, timeout=10)
        self._shipments = f"/watchers/{watcher}/shipments/"
        self._reached = f"/watchers/{watcher}/reached"

    def close(self) -> None:
        self._connection.close()

    def order(self, item: str) -> None:
        self._call("put", key=text(ORDERS + item), value=text(item))

    def orders_after(self, revision: int) -> Iterator[tuple[int, str]]:
        """Watch the orders from there on, up to the last that there is now."""
        orders = below(ORDERS)
        latest = self._call("range", **orders, sort_target="MOD", sort_order="DESCEND", limit=1)
        last = max((int(each["mod_revision"]) for each in latest.get("kvs", [])), default=0)
        with closing(HTTPConnection(self._address, timeout=10)) as watch:
            wanted = {"create_request": {**orders, "start_revision": revision + 1}}
            watch.request("POST", "/v3/watch", dumps(wanted))
            stream = watch.getresponse()
            while revision < last:
                for event in answer_of(stream.readline())["result"].get("events", []):
                    revision = int(event["kv"]["mod_revision"])
                    yield revision, b64decode(event["kv"]["value"]).decode()

    def reached(self) -> tuple[int, int]:
        """The revision that is saved, and that at which it was: 0 and 0 when none is."""
        for each in self._call("range", key=text(self._reached)).get("kvs", []):
            return int(b64decode(each["value"])), int(each["mod_revision"])
        return 0, 0

    def shipment(self, item: str) -> dict[str, str]:
        log.info("  ships the %s", item)
        return {"key": text(self._shipments + item), "value": text(item)}

    def progress(self, revision: int) -> dict[str, str]:
        return {"key": text(self._reached), "value": text(str(revision))}

    def commit(self, *writes: dict[str, str], unless_saved_since: int | None = None) -> int:
        """Write all of it or nothing, and return the revision of that.

        Raises:
            Overtaken: when the revision reached was saved after it was saved at `unless_saved_since`.
        """
        compare = {"key": text(self._reached), "target": "MOD", "mod_revision": unless_saved_since}
        done = self._call(
            "txn",
            compare=[] if unless_saved_since is None else [compare],
            success=[{"request_put": each} for each in writes],
        )
        if not done.get("succeeded"):
            raise Overtaken(self._reached)
        return int(done["header"]["revision"])

    def shipped(self) -> dict[str, int]:
        """How often each item was shipped: the versions of the keys."""
        found = self._call("range", **below(self._shipments), sort_target="CREATE")
        return {b64decode(each["value"]).decode(): int(each["version"]) for each in found.get("kvs", [])}

    def _call(self, method: str, **arguments: Any) -> Any:
        self._connection.request("POST", f"/v3/kv/{method}", dumps(arguments))
        return answer_of(self._connection.getresponse().read())


def text(key: str) -> str:
    """A key or a value as the JSON of etcd wants them."""
    return b64encode(key.encode()).decode()


def below(prefix: str) -> dict[str, str]:
    """The range of all keys with this prefix, which ends in a slash."""
    return {"key": text(prefix), "range_end": text(prefix[:-1] + "0")}


def answer_of(line: bytes) -> Any:
    """What etcd has answered."""
    if not line:
        raise HTTPException("etcd has ended the connection")
    answer = loads(line)
    if "error" in answer:
        raise HTTPException(answer["error"])
    return answer


def watch(address: str, watcher: str, *, fixed: bool) -> dict[str, int]:
    """Be one watcher, from its start to its end, and return how often each item was shipped."""
    with closing(Shop(address, watcher)) as shop:
        log.info("process %d goes on after revision %d", os.getpid(), shop.reached()[0])
        follow_fixed(shop) if fixed else follow(shop)
        return shop.shipped()


# --- the story ---


def order_all(address: str) -> None:
    with closing(Shop(address)) as shop:
        for item in ITEMS:
            shop.order(item)


def crash_and_restart(address: str, watcher: str, terms: str, *, fixed: bool) -> list[str]:
    """Let a watcher be killed by terms, start it again, and return what is not as told."""
    killed = run_watcher(address, watcher, terms, fixed=fixed)
    restarted = run_watcher(address, watcher, "", fixed=fixed)
    with closing(Shop(address, watcher)) as shop:
        shipped = shop.shipped()
    twice = [item for item, times in shipped.items() if times == 2]
    print(f"  => shipped twice: {', '.join(twice) or 'nothing'}")
    checks = {
        "exit status of the killed process": (killed, -signal.SIGKILL),
        "exit status of the restarted process": (restarted, 0),
        "items that were shipped": (sorted(shipped), sorted(ITEMS)),
        "how many of them twice": (len(twice), 0 if fixed else 1),
    }
    return [
        f"{watcher}: {what}: expected {expected}, got {got}"
        for what, (got, expected) in checks.items()
        if got != expected
    ]


def run_watcher(address: str, watcher: str, terms: str, *, fixed: bool) -> int:
    """Run `etcd_watch.py follow` in a process, show what it printed, and return its status."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FAILPY")}
    if terms:
        environment["FAILPY_FAILPOINTS"] = terms
    command = [sys.executable, __file__, "follow", address, watcher] + ["--fixed"] * fixed
    ended = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=30, check=False
    )
    print(textwrap.indent(ended.stdout, "  "), end="")
    if ended.returncode < 0:
        print(f"  killed by {signal.Signals(-ended.returncode).name}, as told by {terms}")
    return ended.returncode


def explore(address: str, name: str, *, fixed: bool) -> list[str]:
    """Let watchers die, then fail, at every call to the network; return what is not as told."""
    numbers = count()

    def setup() -> str:
        return f"{name}-{next(numbers)}"  # who has done nothing yet

    def run(watcher: str) -> dict[str, int]:
        return watch(address, watcher, fixed=fixed)

    def check(watcher: str) -> None:
        shipped = run(watcher)
        assert shipped == dict.fromkeys(ITEMS, 1), f"shipped {shipped}"

    def body() -> None:
        watcher = setup()
        with suppress(OSError, HTTPException):
            check(watcher)
            return
        check(watcher)  # it has given up, and is started again

    with fail.attach_posix("net", "io"):
        print(f"\n{name}(), killed at every call to the network:")
        killed = shown(fail.explore_crashes(run, check, setup=setup, points="posix/*"))
        print(f"\n{name}(), with every error of every call:")
        with ThreadPoolExecutor(8) as threads:  # etcd has them wait for a watch that begins in the past
            failing = shown(fail.explore(body, points="posix/*", executor=threads))

    mistakes = [
        f"{name}: {what}: {report.summary}"
        for what, report in {"killed": killed, "with errors": failing}.items()
        if bool(report.failures) == fixed or not report.counts.get("passed")
    ]
    # Nobody knows for sure what becomes of a request whose sender dies; one that was not sent is not done.
    sure = (each.text for each in killed.failures if each.text and each.text.startswith("posix/net/send="))
    for terms in islice(sure, 1):
        print(f"\n{name}(), replayed:")
        mistakes += crash_and_restart(address, f"{name}-replayed", terms, fixed=fixed)
    return mistakes


def shown(report: fail.Report) -> fail.Report:
    """The report, which is printed too."""
    print(textwrap.indent(str(report), "  "))
    if report.stopped is not None:
        raise KeyboardInterrupt(report.stopped)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a watcher of etcd between its work and its note.")
    commands = parser.add_subparsers(dest="command")
    order = commands.add_parser("order", help="put the orders there, instead of the demonstration")
    watcher = commands.add_parser("follow", help="be one watcher")
    for command in order, watcher:
        command.add_argument("address", help="of etcd, such as 127.0.0.1:2379")
    watcher.add_argument("name", help="of the watcher")
    watcher.add_argument("--fixed", action="store_true", help="ship and save in one transaction")
    options = parser.parse_args()

    if options.command == "order":
        order_all(options.address)
        return 0
    if options.command == "follow":
        logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
        watch(options.address, options.name, fixed=options.fixed)
        return 0
    if shutil.which("etcd") is None:
        print("SKIPPED: no `etcd` on the PATH. On Debian: apt-get install etcd-server", file=sys.stderr)
        return SKIPPED
    if os.environ.get("FAILPY", "").strip().lower() == "off":
        print("FAILPY=off: failpoints are compiled out, so nothing gets killed", file=sys.stderr)
        return 1

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that etcd ends with us
    mistakes = []
    with etcd() as address:
        order_all(address)
        print("follow(): the shipment and the revision in two requests")
        mistakes += crash_and_restart(address, "follow", TERMS, fixed=False)
        print("\nfollow_fixed(): the shipment and the revision in one transaction")
        mistakes += crash_and_restart(address, "follow_fixed", TERMS, fixed=True)
        mistakes += explore(address, "follow", fixed=False)
        mistakes += explore(address, "follow_fixed", fixed=True)
    for mistake in mistakes:
        print(f"not as told: {mistake}", file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
