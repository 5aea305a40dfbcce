"""What idle and armed points cost, in calls and bytecodes: the same on every machine, however busy it is."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.population import COSTS, ELSEWHERE, ENABLE, FIRES, IDLE, NEVER, OFF, SCOPE, USED_UP
from benchmarks.shapes import SHAPES
from tests.surroundings import plain_environ

ROOT = Path(__file__).parents[1]


@cache
def counted(what: str, size: int = 0) -> Any:
    """What `tests.counted` prints, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.counted", what, str(size)],
        cwd=ROOT,
        env=plain_environ(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


# --- idle ---


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_an_idle_function_does_what_it_does_undecorated(shape: Any) -> None:
    ours, theirs = counted("shapes")[shape.name]
    assert ours == theirs


def test_an_idle_block_enters_no_python_function() -> None:
    found = counted("blocks")
    assert found['with fail.point("X")']["calls"] == []
    assert found["with point"]["calls"] == []
    assert found["point.hit()"]["calls"] == ["hit"]


# --- armed ---

# Every function of Python on the way of a hit. One more is some 5 % of a hit, so it wants a reason.
CALLS = {
    IDLE: ["call"],
    ELSEWHERE: ["call", "find", "missed", "call"],
    OFF: ["call", "find", "hit", "_begin", "record", "note_whereabouts", "call"],
    USED_UP: ["call", "find", "hit", "_begin", "takes", "record", "note_whereabouts", "call"],
    NEVER: ["call", "find", "hit", "_begin", "takes", "_draw", "record", "note_whereabouts", "call"],
    FIRES: ["call", "find", "hit", "_begin", "record", "note_whereabouts", "_return"],
}

# The most of any Python that is tested, and a twentieth.
BYTECODES = {
    IDLE: 9,
    ELSEWHERE: 80,
    OFF: 280,
    USED_UP: 300,
    NEVER: 310,
    FIRES: 307,
    SCOPE: 2000,
    ENABLE: 1310,
}


@pytest.mark.parametrize("cost", CALLS)
def test_the_functions_on_the_way_of_a_hit(cost: str) -> None:
    assert counted("declared", 10)[cost]["calls"] == CALLS[cost]


@pytest.mark.parametrize("cost", COSTS)
def test_the_bytecodes_of_each_cost(cost: str) -> None:
    assert counted("declared", 10)[cost]["bytecodes"] <= BYTECODES[cost]


# --- growth ---


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("what", ["declared", "scopes", "alike", "armed"])
def test_nothing_grows_with_what_is_not_involved(what: str, cost: str) -> None:
    few, many = counted(what, 2)[cost], counted(what, 300)[cost]
    assert few == many
