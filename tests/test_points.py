"""`fail.point`: blocks, expressions, and the code behind a point with any control flow."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from functools import partial
from typing import Any

import pytest

from failpy import fail, failpoint
from failpy._point import declare_point
from failpy._site import Site


def test_one_name_is_one_object(name: str) -> None:
    assert fail.point(name) is fail.point(name)
    assert fail.point(name, returns=int) is fail.point(name)
    assert fail.point(name).name == name
    assert fail.point(name).returns is int


def test_a_decorated_name_is_the_same_point(name: str) -> None:
    @failpoint(name, returns=str, faults=[OSError(28, "full")])
    def function() -> str:
        return ""

    point = fail.point(name)
    assert point.returns is str
    assert [str(fault) for fault in point.faults] == ['raise(OSError(28, "full"))']
    line = function.__code__.co_firstlineno
    assert f"{__file__}:{line}" in point.sites


def test_the_body_of_a_block_runs_and_idle_gives_nothing(name: str) -> None:
    with fail.point(name) as hit:
        ran = True
    assert ran
    assert not hit
    assert not fail.point(name).hit(row=1)


def test_a_block_gets_the_hit_only_when_return_fires(name: str) -> None:
    with fail.scope({name: '1*print->1*return("v")->off'}):
        seen = []
        for _ in range(3):
            with fail.point(name, returns=str) as hit:
                seen.append(hit.value if hit else None)
    assert seen == [None, "v", None]


def test_a_raise_keeps_the_block_from_running(name: str) -> None:
    ran = False
    with fail.scope({name: "raise(KeyError)"}), pytest.raises(KeyError):
        with fail.point(name):
            ran = True
    assert not ran


@pytest.mark.parametrize("terms", [None, "off", "return"])
def test_exceptions_of_the_block_pass_through(terms: str | None, name: str) -> None:
    with fail.scope({name: terms} if terms else None):
        error = ValueError("the block's own")
        with pytest.raises(ValueError, match="the block's own") as caught:
            with fail.point(name):
                raise error
        assert caught.value is error
        assert not hasattr(error, "__notes__")


def test_continue_break_and_early_return_behind_a_point(name: str) -> None:
    def work(items: list[int]) -> list[int]:
        done = []
        for item in items:
            with fail.point(f"{name}.skip") as hit:
                if hit:
                    continue
            with fail.point(f"{name}.stop") as hit:
                if hit:
                    break
            if hit := fail.point(f"{name}.early", returns=list).hit(item=item):
                return hit.value
            done.append(item)
        return done

    assert work([1, 2, 3]) == [1, 2, 3]
    with fail.scope({f"{name}.skip": "1*off->1*return"}):
        assert work([1, 2, 3]) == [1, 3]
    with fail.scope({f"{name}.stop": "2*off->return"}):
        assert work([1, 2, 3]) == [1, 2]
    with fail.scope({f"{name}.early": "1*off->return([7])"}):
        assert work([1, 2, 3]) == [7]


def test_a_retry_loop_behind_a_point(name: str) -> None:
    """gofail's labels and multi-line code: the point decides, the program has any control flow."""

    def save(attempts: int) -> int:
        for attempt in range(1, attempts + 1):
            try:
                with fail.point(name):
                    return attempt
            except ConnectionError:
                continue
        raise RuntimeError("gave up")

    with fail.scope({name: "2*raise(ConnectionError)"}):
        assert save(3) == 3
    with fail.scope({name: "raise(ConnectionError)"}), pytest.raises(RuntimeError, match="gave up"):
        save(3)


def test_values_reach_a_predicate_and_a_callable(name: str) -> None:
    seen = []
    with fail.scope({name: fail.Call(lambda hit: seen.append(dict(hit.values)))}) as scope:
        fail.point(name).hit(row=1)
        scope.enable(name, "return", when=lambda hit: hit.values["row"] == 2)
        assert not fail.point(name).hit(row=1)
        assert fail.point(name).hit(row=2)
        assert scope.status(name).hits == 1  # where the predicate is false, nothing is consumed
    assert seen == [{"row": 1}]


def test_held_points_and_nested_blocks(name: str) -> None:
    write = fail.point(name)
    with fail.scope({name: "2*return"}) as scope:
        with write as outer, write as inner, write as third:
            assert outer
            assert inner
            assert not third
        assert scope.status(name).hits == 3


def test_a_point_armed_in_the_middle_of_its_own_block(name: str) -> None:
    with fail.point(name):
        fail.enable(name, "return")
    fail.disable(name)
    fail.enable(name, "return")
    with fail.point(name) as hit:
        fail.disable(name)
    assert hit


def test_points_are_copied_and_pickled_by_name(name: str) -> None:
    point = fail.point(name)
    assert pickle.loads(pickle.dumps(point)) is point
    assert copy.deepcopy(point) is point


def test_an_idle_block_enters_no_python_frame(name: str) -> None:
    point = type(fail.point(name))
    for method in ("__enter__", "__exit__", "__aenter__"):
        assert isinstance(vars(point)[method], staticmethod)
        assert isinstance(
            vars(point)[method].__func__, types.BuiltinFunctionType | type(fail.point) | partial
        )


def test_an_armed_block_is_a_site(name: str) -> None:
    point = fail.point(name)
    with fail.scope({name: "off"}):
        with point:
            pass
    assert len(point.sites) == 2


# --- names ---


@pytest.mark.parametrize(
    "bad", ["", " ", "a b", "a=b", "a;b", "a\tb", "a\nb", "a\x00b", "x/count", "\u2003"], ids=ascii
)
def test_names_that_no_point_can_have(bad: str) -> None:
    for use in (fail.point, failpoint, fail.disable, fail.status, lambda name: fail.enable(name, "off")):
        with pytest.raises(fail.InvalidName) as caught:
            use(bad)
        assert repr(bad) in str(caught.value)


@pytest.mark.parametrize("bad", [None, 3, b"x"])
def test_names_that_are_no_text(bad: Any) -> None:
    for use in (fail.point, failpoint, fail.disable, fail.status, lambda name: fail.enable(name, "off")):
        with pytest.raises(TypeError, match="name"):
            use(bad)


@pytest.mark.parametrize("good", ["a", "a/b", "a.b:c-d", "é", "count", "a%b", "x/counts"])
def test_names_that_points_can_have(good: str) -> None:
    assert fail.point(good).name == good


# --- faults ---


def test_catalogues_add_up(name: str) -> None:
    fail.point(name, faults=(OSError,))
    fail.point(name, faults=("raise(ENOSPC)", fail.Raise(OSError)))
    assert [str(fault) for fault in fail.point(name).faults] == ["raise(OSError)", "raise(ENOSPC)"]


@pytest.mark.parametrize("bad", [OSError(), "raise", 5, fail.Off()])
def test_a_catalogue_is_a_tuple(bad: Any, name: str) -> None:
    with pytest.raises(TypeError, match="faults must be a tuple"):
        failpoint(name, faults=bad)


def test_a_fault_is_checked_when_it_is_declared(name: str) -> None:
    with pytest.raises(fail.TermSyntaxError):
        failpoint(name, faults=["5*"])
    with pytest.raises(fail.ReturnTypeError, match=name):
        fail.point(name, returns=str, faults=("return(5)",))


def test_a_hit_knows_its_whole_chain(name: str) -> None:
    seen: list[Any] = []
    chain = fail.parse("1*off") >> fail.Call(seen.append)
    with fail.scope({name: chain}):
        fail.point(name).hit()
        fail.point(name).hit()
    [hit] = seen
    assert hit.terms is chain
    assert hit.term is chain[1]


def test_the_claim_of_a_definition_that_moved_outlives_the_place_it_moved_from(name: str) -> None:
    """As after a reload: the same definition, at another line."""
    before, after = Site("a.py", 1, "function"), Site("a.py", 9, "function")
    point = declare_point(name, int, (), before, claims=True)
    declare_point(name, str, (), after, claims=True)
    point.leave(before)
    assert point.returns is str
    point.leave(after)
    assert point.returns is None


def test_a_point_is_declared_at_ten_thousand_places(name: str) -> None:
    """What a declaration does must not grow with those before it."""
    steps = []
    for size in (1, 10, 1000, 10_000):
        for line in range(size):
            point = declare_point(
                name, int, (fail.parse("raise(EIO)"),), Site("a.py", line, "<lambda>"), claims=True
            )
        looked = 0

        def trace(frame: Any, event: str, argument: object) -> Any:
            nonlocal looked
            frame.f_trace_opcodes = True
            looked += event == "opcode"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        declare_point(name, int, (fail.parse("raise(EIO)"),), Site("a.py", size, "<lambda>"), claims=True)
        sys.settrace(before)
        steps.append(looked)
    assert len(set(steps[1:])) == 1  # the first time, 3.12 has still to learn that bytecodes are asked for
    assert [str(fault) for fault in point.faults] == ["raise(EIO)"]
