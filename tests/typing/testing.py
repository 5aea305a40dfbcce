"""What type checkers make of failpoints in tests. Never run: mypy and pyright read it."""

from __future__ import annotations

from typing import assert_type

import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, rule
from hypothesis.strategies import SearchStrategy

from failpy import Scope, Terms, fail
from failpy.hypothesis import FaultyMachine, Schedule, schedules

assert_type(schedules("a.*", max_faults=2, max_hit=3), SearchStrategy[Schedule])
assert_type(schedules({"a": ["raise", fail.Return(1)]}), SearchStrategy[Schedule])
schedules(5)  # type: ignore[arg-type]


@pytest.mark.failpoints({"a": "raise"}, seed=1)
def test_marked(failpoints: fail.Scope) -> None:
    assert_type(failpoints, Scope)


@given(schedule=schedules())
def test_drawn(schedule: Schedule) -> None:
    assert_type(schedule["a"], Terms)
    assert_type(schedule.text, str | None)
    with fail.scope(schedule) as scope:
        assert_type(scope, Scope)


class Machine(FaultyMachine, RuleBasedStateMachine):
    failpoints = schedules("a.*")

    @rule()
    def step(self) -> None:
        assert_type(self.scope, Scope)
        assert_type(self.schedule, Schedule)
