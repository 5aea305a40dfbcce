"""A watcher that is killed between doing its work and noting that it did.

    python examples/watch.py            the failpoint and the hit are given by hand
    python examples/watch.py explore    they are found

The watcher follows an append-only table of events. It ships the item of each event, then saves the
revision it has reached, so that it can go on from there after a restart. The failpoint
`watch.before_save` stands between the two, and the demonstration kills the process right there:
`kill` is SIGKILL, so no `finally`, no `atexit` and no rollback of ours runs. Then it starts the
watcher again and looks at what the databases say, once for `follow` and once for `follow_fixed`.

`explore` knows nothing of that place. It attaches failpoints to the calls of the operating system
beneath the watcher, kills it at each of them in turn, and then lets each of them fail.

The exit status is 0 when everything came out as told. To be the one who kills and restarts:

    FAILPY_FAILPOINTS='watch.before_save=2*off->1*kill' python examples/watch.py follow shop
    python examples/watch.py follow shop
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing, redirect_stdout, suppress
from io import StringIO
from itertools import count
from pathlib import Path

from failpy import fail, failpoint

ITEMS = ["lamp", "chair", "desk", "clock", "globe"]
TERMS = "watch.before_save=2*off->1*kill"  # two events pass, the third is the end


def follow(shop: Shop) -> None:
    """Ship, then save: two commits in two databases. A crash between them ships again."""
    for revision, item in shop.events_after(reached(shop.progress)):
        with shop.shipments:
            ship(shop.shipments, revision, item)
        with fail.point("watch.before_save"), shop.progress:
            save(shop.progress, revision)


def follow_fixed(shop: Shop) -> None:
    """Ship and save in one transaction: after a crash both have happened, or neither has.

    This works because a shipment is a row, and the revision can live in the same database. It is
    no cure for an effect that cannot be rolled back: an email, or a call to another service, needs
    a receiver that knows the revision and drops the second copy.
    """
    for revision, item in shop.events_after(reached(shop.shipments)):
        with shop.shipments:
            ship(shop.shipments, revision, item)
            with fail.point("watch.before_save"):
                save(shop.shipments, revision)


@failpoint("watch.ship")
def ship(database: sqlite3.Connection, revision: int, item: str) -> None:
    """The effect. A crash at `watch.ship`, just before it, loses nothing and doubles nothing."""
    database.execute("INSERT INTO shipments VALUES (?, ?)", (revision, item))
    print(f"  revision {revision}: ships the {item}", flush=True)


def save(database: sqlite3.Connection, revision: int) -> None:
    database.execute("INSERT INTO progress VALUES (?)", (revision,))


def reached(database: sqlite3.Connection) -> int:
    (revision,) = database.execute("SELECT coalesce(max(revision), 0) FROM progress").fetchone()
    return int(revision)


def watch(directory: Path, *, fixed: bool) -> list[str]:
    """Be one watcher, from its start to its end, and return what has been shipped."""
    with closing(Shop(directory, fixed=fixed)) as shop:
        print(f"process {os.getpid()} goes on after revision {reached(shop.progress)}", flush=True)
        follow_fixed(shop) if fixed else follow(shop)
        shipped = shop.shipped()
        print(f"  up to date, shipped {', '.join(shipped)}")
        return shipped


class Shop:
    """The events, the shipments, and the revision reached: beside the shipments when fixed."""

    def __init__(self, directory: Path, *, fixed: bool) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.events = sqlite3.connect(directory / "events.db")
        self.shipments = sqlite3.connect(directory / "shipments.db")
        self.progress = self.shipments if fixed else sqlite3.connect(directory / "progress.db")
        table = "CREATE TABLE IF NOT EXISTS"
        self.shipments.execute(f"{table} shipments (revision INTEGER, item TEXT)")
        self.progress.execute(f"{table} progress (revision INTEGER)")
        self.events.execute(f"{table} events (revision INTEGER PRIMARY KEY, item TEXT)")
        with self.events:
            events = enumerate(ITEMS, start=1)
            self.events.executemany("INSERT OR IGNORE INTO events VALUES (?, ?)", events)

    def close(self) -> None:
        for database in (self.events, self.shipments, self.progress):
            database.close()

    def events_after(self, revision: int) -> list[tuple[int, str]]:
        query = "SELECT revision, item FROM events WHERE revision > ? ORDER BY revision"
        return self.events.execute(query, (revision,)).fetchall()

    def shipped(self) -> list[str]:
        rows = self.shipments.execute("SELECT item FROM shipments ORDER BY rowid")
        return [item for (item,) in rows]


def demonstrate(*, fixed: bool) -> list[str]:
    """Kill a watcher, start it again, and return where the outcome differs from the story."""
    if fixed:
        print("\nfollow_fixed(): the shipment and the revision in one transaction")
        after_crash, at_end = ["lamp", "chair"], ITEMS
    else:
        print("\nfollow(): the shipment and the revision in two commits")
        after_crash = ["lamp", "chair", "desk"]
        at_end = ["lamp", "chair", "desk", "desk", "clock", "globe"]

    with tempfile.TemporaryDirectory(prefix="watch-") as directory:
        killed = run_watcher(directory, fixed=fixed, terms=TERMS)
        crash = look(directory, fixed=fixed)
        restarted = run_watcher(directory, fixed=fixed)
        end = look(directory, fixed=fixed)

    twice = sorted({item for item in end[1] if end[1].count(item) > 1})
    print(f"  => shipped twice: {', '.join(twice) or 'nothing'}")
    checks = {
        "exit status of the killed process": (killed, -signal.SIGKILL),
        "revision and shipments after the crash": (crash, (2, after_crash)),
        "exit status of the restarted process": (restarted, 0),
        "revision and shipments at the end": (end, (len(ITEMS), at_end)),
    }
    name = "follow_fixed" if fixed else "follow"
    return [
        f"{name}: {what}: expected {expected}, got {got}"
        for what, (got, expected) in checks.items()
        if got != expected
    ]


def run_watcher(directory: str, *, fixed: bool, terms: str = "") -> int:
    """Run `watch.py follow` in a process of its own, show what it printed, return its status."""
    environment = {key: text for key, text in os.environ.items() if not key.startswith("FAILPY")}
    if terms:
        environment["FAILPY_FAILPOINTS"] = terms
    command = [sys.executable, __file__, "follow", directory] + ["--fixed"] * fixed
    watcher = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=30, check=False
    )
    print(textwrap.indent(watcher.stdout, "  "), end="")
    if watcher.returncode < 0:
        print(f"  killed by {signal.Signals(-watcher.returncode).name}, as told by {terms}")
    return watcher.returncode


def look(directory: str, *, fixed: bool) -> tuple[int, list[str]]:
    """Read from the databases which revision is saved and what has been shipped."""
    with closing(Shop(Path(directory), fixed=fixed)) as shop:
        revision, items = reached(shop.progress), shop.shipped()
    print(f"  on disk: saved revision {revision}, shipped {', '.join(items)}")
    return revision, items


def explore(*, fixed: bool) -> list[str]:
    """Let a watcher die, then fail, at every call of the system; return what is not as told."""
    del ITEMS[3:]  # which is as good, and sooner done

    def run(directory: Path) -> list[str]:
        with redirect_stdout(StringIO()):
            return watch(directory, fixed=fixed)

    def check(directory: Path) -> None:
        shipped = run(directory)
        assert shipped == ITEMS, f"shipped {', '.join(shipped)}"

    with fail.attach_posix(), tempfile.TemporaryDirectory(prefix="watch-") as parent:
        directories = (Path(parent, str(number)) for number in count())

        def body() -> None:
            directory = next(directories)
            with suppress(OSError, sqlite3.Error):
                check(directory)
                return
            check(directory)  # it has given up, and is started again

        name, depth = ("follow_fixed", 2) if fixed else ("follow", 1)
        print(f"\n{name}(), killed at every call of the system{' and again' * fixed}:")
        killed = shown(fail.explore_crashes(run, check, points="posix/*", depth=depth))
        print(f"\n{name}(), with every error of every call:")
        failing = shown(fail.explore(body, points="posix/*"))

    for report in (killed, failing):
        if report.failures:
            print_by_hand(report.failures[0].text or "")
    expected = {"passed"} if fixed else {"passed", "failed"}
    return [
        f"{name}: {what}: expected {expected}, got {report.counts}"
        for what, report in {"killed": killed, "with errors": failing}.items()
        if set(report.counts) != expected
    ]


def shown(report: fail.Report) -> fail.Report:
    """The report, which is printed too."""
    print(textwrap.indent(str(report), "  "))
    if report.stopped is not None:
        raise KeyboardInterrupt(report.stopped)
    return report


def print_by_hand(terms: str) -> None:
    """Print the commands of one crash and the restart after it."""
    command = f"{shlex.quote(sys.executable)} {shlex.quote(sys.argv[0])} follow shop"
    print("\nBy hand (with --fixed for the other version, and in a new directory):")
    print(f"  FAILPY_FAILPOINTS={shlex.quote(terms)} {command}")
    print(f"  {command}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a watcher between its work and its note.")
    commands = parser.add_subparsers(dest="command")
    watcher = commands.add_parser("follow", help="be one watcher, instead of the demonstration")
    watcher.add_argument("directory", type=Path, help="where the databases are, or will be")
    watcher.add_argument("--fixed", action="store_true", help="ship and save in one transaction")
    commands.add_parser("explore", help="find what goes wrong, with no failpoint named by hand")
    options = parser.parse_args()

    if options.command == "follow":
        watch(options.directory, fixed=options.fixed)
        return 0
    if os.environ.get("FAILPY", "").strip().lower() == "off":
        print("FAILPY=off: failpoints are compiled out, so nothing gets killed", file=sys.stderr)
        return 1

    if options.command == "explore":
        mistakes = explore(fixed=False) + explore(fixed=True)
    else:
        mistakes = demonstrate(fixed=False) + demonstrate(fixed=True)
        print_by_hand(TERMS)
    for mistake in mistakes:
        print(f"not as told: {mistake}", file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
