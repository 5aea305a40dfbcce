"""The process scope: `enable`, `disable`, `enable_all`, `status`, `points`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from failpy import fail, failpoint
from failpy._registry import armed


@failpoint("process.greet", returns=str)
def greet() -> str:
    return "body"


GREET = "process.greet"


def in_a_thread(call: Any) -> Any:
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    thread.join()
    return result[0]


def test_seen_by_everything() -> None:
    fail.enable(GREET, 'return("a")')
    assert greet() == "a"
    assert in_a_thread(greet) == "a"
    fail.disable(GREET)
    assert greet() == "body"
    assert armed() == {}


def test_rearming_starts_over() -> None:
    fail.enable(GREET, '1*return("a")')
    assert [greet(), greet()] == ["a", "body"]
    fail.enable(GREET, '1*return("a")')
    assert fail.status(GREET).hits == 0
    assert [greet(), greet()] == ["a", "body"]


def test_when() -> None:
    fail.enable(GREET, 'return("a")', when=lambda call: threading.current_thread().name == "chosen")
    assert greet() == "body"
    result: list[str] = []
    thread = threading.Thread(target=lambda: result.append(greet()), name="chosen")
    thread.start()
    thread.join()
    assert result == ["a"]
    assert fail.status(GREET).hits == 1


def test_an_exception_of_a_predicate_is_the_callers() -> None:
    fail.enable(GREET, "off", when=lambda call: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        greet()
    assert fail.status(GREET).hits == 0


def test_a_predicate_may_call_what_it_judges() -> None:
    """An action, or a predicate, never triggers failpoints of its own context while it runs."""
    fail.enable(GREET, '1*return("a")', when=lambda call: greet() == "body")
    assert greet() == "a"


def test_a_failed_enable_leaves_what_was_armed() -> None:
    fail.enable(GREET, 'return("a")')
    for bad, error in [("5*", fail.TermSyntaxError), ("return(1)", fail.ReturnTypeError), (None, TypeError)]:
        with pytest.raises(error):
            fail.enable(GREET, bad)  # type: ignore[arg-type]
    assert greet() == "a"


def test_enable_all_is_all_or_nothing(name: str) -> None:
    fail.enable(GREET, 'return("before")')
    fail.point(name, returns=int)
    for bad in (
        f'{GREET}=return("a");{name}=return("x")',
        {GREET: 'return("a")', name: "return("},
        f'{GREET}=return("a");{name}=raise(no.such.module.Error)',
    ):
        with pytest.raises(fail.FailpointError):
            fail.enable_all(bad)
        assert greet() == "before"
        assert fail.status(name).terms == ""
    fail.enable_all({GREET: 'return("a")', name: "return(3)"})
    assert greet() == "a"
    assert fail.point(name).hit().value == 3


@pytest.mark.parametrize("bad", [None, 5, [("A", "off")]])
def test_enable_all_of_a_wrong_type(bad: Any) -> None:
    with pytest.raises(TypeError, match="terms must be a mapping"):
        fail.enable_all(bad)


def test_a_name_not_declared_yet_is_held(name: str) -> None:
    fail.enable(name, 'return("held")')
    assert fail.status(name).sites == ()
    assert name in [status.name for status in fail.points()]
    function = failpoint(name, returns=str)(lambda: "body")
    assert function() == "held"


def test_a_name_that_nobody_knows() -> None:
    for use in (fail.disable, fail.status):
        with pytest.raises(fail.UnknownFailpoint, match="did you mean 'process.greet'"):
            use("process.gret")
    assert issubclass(fail.UnknownFailpoint, LookupError)


def test_disabling_twice_is_no_error() -> None:
    fail.enable(GREET, "off")
    fail.disable(GREET)
    fail.disable(GREET)


def test_points_are_sorted_and_reading_consumes_nothing() -> None:
    fail.enable(GREET, '1*return("a")')
    for _ in range(3):
        names = [status.name for status in fail.points()]
        assert names == sorted(names)
        assert fail.status(GREET).hits == 0
    status = next(status for status in fail.points() if status.name == GREET)
    assert status == fail.status(GREET)
    assert greet() == "a"
    assert fail.status(GREET).fired == 1


def test_hits_fired_and_selected() -> None:
    fail.enable(GREET, '1*off->1*return("a")')
    for _ in range(4):
        greet()
    status = fail.status(GREET)
    assert (status.hits, status.fired, status.selected) == (4, 1, 2)
