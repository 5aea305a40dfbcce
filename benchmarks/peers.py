"""The rows beside other tools: what failpy does and what they do, in the same run. None has a bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata

from benchmarks import golang, others, sides
from benchmarks.row import NotHere, Row
from benchmarks.shapes import FUNCTION
from benchmarks.table import Table
from benchmarks.timing import Effort, Side

__all__ = ["PEERS", "notes", "side_by_side"]

TITLE = """\
Beside other tools: shown, and not judged. failpy is on the left. A call is that of the same function on
both sides. What is armed is armed in a scope here, and in the whole process there."""

VERSIONS: dict[str, Callable[[], str]] = {
    "fault-injection": lambda: f"{metadata.version('fault-injection')} of PyPI",
    "libfiu": lambda: f"{others.fiu().__file__}",
    "gofail": golang.provenance,
}

RAISE = 'raise(RuntimeError("boom"))'
idle_call = partial(sides.decorated, shape=FUNCTION)
raising = partial(sides.armed, terms=RAISE, statement=others.CATCHING)


def peer(name: str, against: str, note: str, ours: Side, theirs: Side) -> Row:
    return Row(name, against, None, ours, theirs, note=note)


PEERS = (
    peer(
        'mock: call, return("hello") fires',
        'Mock(return_value="hello")()',
        "The mock stands in place of the function, and keeps the arguments of every call.",
        sides.firing,
        sides.mock_call,
    ),
    peer(
        "mock: call, raise fires",
        "Mock(side_effect=RuntimeError)()",
        "Both raise a new object, and have the except clause that catches it.",
        raising,
        others.raising_mock,
    ),
    peer(
        "fault-injection: idle call",
        "@raise_(disable=True)",
        "Its decorator is told at declaration, and for good, whether to inject.",
        idle_call,
        partial(others.injecting, disable=True),
    ),
    peer(
        "fault-injection: idle .hit()",
        "raise_inline(disable=True)",
        "Both a statement in a body. Theirs has no name that a test could arm.",
        sides.hit,
        others.injecting_inline,
    ),
    peer(
        "fault-injection: call, not due",
        "@raise_at_nth_call(n=...)",
        "Both count calls up to one that never comes.",
        partial(sides.armed, terms=f"{others.LATE}*off->{RAISE}"),
        others.injecting_late,
    ),
    peer(
        "fault-injection: call, raise fires",
        "@raise_()",
        "Both with the except clause that catches it. It raises RuntimeError only, and can return nothing.",
        raising,
        partial(others.injecting, disable=False),
    ),
    peer(
        "libfiu: idle .hit()",
        'fiu.fail("X"), disabled',
        "Both an expression with a name in it. fiu.fail gives a number for an `if`, and diverts nothing.",
        sides.hit,
        partial(others.fiu_fail, statement='fiu.fail("X")', enabled=False),
    ),
    peer(
        'libfiu: idle with fail.point("X")',
        'if fiu.fail("X"), disabled',
        "Both a block: the `with` may raise or sleep by itself, the `if` leaves that to its body.",
        sides.block,
        partial(others.fiu_fail, statement='if fiu.fail("X"): pass', enabled=False),
    ),
    peer(
        "libfiu: idle call",
        "call with fiu.fail, disabled",
        "A decorated function, and the same function with `if fiu.fail(...): return` written into it.",
        idle_call,
        partial(others.fiu_call, enabled=False),
    ),
    peer(
        "libfiu: .hit(), return(1) fires",
        'fiu.fail("X"), enabled',
        "Ours gives an object with the value, theirs a number that is not 0.",
        partial(sides.hit_armed, terms="return(1)"),
        partial(others.fiu_fail, statement='fiu.fail("X")', enabled=True),
    ),
    peer(
        'libfiu: call, return("hello") fires',
        "call with fiu.fail, enabled",
        "What is returned stands in the terms here, and in the function there.",
        sides.firing,
        partial(others.fiu_call, enabled=True),
    ),
    peer(
        "gofail: call, no failpoint",
        "in Go, no failpoint",
        "What a call costs in either language: gofail's side is a compiled program throughout.",
        partial(sides.undecorated, shape=FUNCTION),
        partial(golang.in_go, state="bare"),
    ),
    peer(
        "gofail: idle call",
        "in Go, disabled",
        "The function holds the code that `gofail enable` writes. Without that step it costs nothing there.",
        idle_call,
        partial(golang.in_go, state="disabled"),
    ),
    peer(
        "gofail: call, armed with off",
        "in Go, armed with off",
        "A term is evaluated, and the function goes on.",
        partial(sides.armed, terms="off"),
        partial(golang.in_go, state="off"),
    ),
    peer(
        'gofail: call, return("hello") fires',
        "in Go, returning",
        "The same terms in both.",
        sides.firing,
        partial(golang.in_go, state="returning"),
    ),
)


def side_by_side(rows: Sequence[Row], effort: Effort, *, markdown: bool) -> None:
    """Measure and print. A tool that is not here, or fails, has its row say so."""
    print(f"\n{TITLE}\n")
    table = Table(markdown=markdown)
    for row in rows:
        try:
            table.add(row.measure(effort))
        except NotHere as missing:
            table.excuse(row, f"not here: {missing}")
        except Exception as error:
            table.excuse(row, f"failed: {type(error).__name__}: {error}")
    print(notes(rows))


def notes(rows: Sequence[Row]) -> str:
    """What is compared, a line each, and which versions."""
    lines = [f"{row.name}: {row.note}" for row in rows if row.note]
    for tool, version in VERSIONS.items():
        if any(row.name.startswith(tool) for row in rows):
            with suppress(Exception):  # its rows have said what is wrong
                lines.append(f"{tool} here is {version()}")
    return "".join(f"\n- {line}" for line in lines)
