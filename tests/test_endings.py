"""Who caught it: for every injected exception the scope can tell its end."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

from failpy import fail
from tests.ids import without_addresses


def save(name: str) -> None:
    fail.point(name).hit()


def swallows(name: str) -> None:
    try:
        save(name)
    except Exception:
        pass


def converts(name: str) -> None:
    try:
        save(name)
    except KeyError as exc:
        raise RuntimeError("converted") from exc


class Store:
    def flush(self, name: str) -> None:
        with contextlib.suppress(KeyError):
            save(name)


def ends(scope: fail.Scope) -> list[str | None]:
    return [entry.end for entry in scope.trace]


def line_of(function: Any, offset: int) -> str:
    return f"{__file__}:{function.__code__.co_firstlineno + offset}"


def test_handled_by_whom_and_where(name: str) -> None:
    with fail.scope({name: "raise(KeyError)"}) as scope:
        swallows(name)
        assert ends(scope) == [f"handled by swallows ({line_of(swallows, 2)})"]
        Store().flush(name)
    assert ends(scope) == [
        f"handled by swallows ({line_of(swallows, 2)})",
        f"handled by Store.flush ({line_of(Store.flush, 2)})",
    ]
    assert "handled by swallows" in str(scope.trace[0])


def test_it_reached_the_test(name: str) -> None:
    with fail.scope({name: "raise(KeyError)"}) as scope:
        with pytest.raises(KeyError):
            save(name)
    assert ends(scope) == ["reached the test"]
    scope = fail.scope({name: "raise(KeyError)"})
    with pytest.raises(KeyError), scope:
        save(name)
    assert ends(scope) == ["reached the test"]


def test_it_became_the_cause_of_another(name: str) -> None:
    scope = fail.scope({name: "raise(KeyError)"})
    with pytest.raises(RuntimeError), scope:
        converts(name)
    assert ends(scope) == ["became the cause of RuntimeError, which reached the test"]


def test_it_died_in_a_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    scope = fail.scope({name: "raise(KeyError)"})
    with pytest.raises(ExceptionGroup), scope:
        for target in (save, converts):
            thread = threading.Thread(target=target, args=(name,), name=target.__name__)
            thread.start()
            thread.join()
    assert ends(scope) == [
        "died in thread 'save'",
        "became the cause of RuntimeError, which died in thread 'converts'",
    ]


def test_what_injects_nothing_has_no_end(name: str) -> None:
    with fail.scope({name: "1*off->return"}) as scope:
        save(name)
        save(name)
    assert ends(scope) == [None, None]


def test_a_panic_has_an_end_too(name: str) -> None:
    with fail.scope({name: "panic"}) as scope, contextlib.suppress(fail.FailpointPanic):
        save(name)
    assert ends(scope) == ["reached the test"]


# --- on_swallowed ---


def test_a_broad_except_that_hid_a_fault_is_a_failure(name: str) -> None:
    with pytest.raises(ExceptionGroup) as caught, fail.scope({name: "raise(KeyError)"}, on_swallowed="error"):
        swallows(name)
    (failure,) = caught.value.exceptions
    assert isinstance(failure, fail.Swallowed)
    for part in (repr(name), "KeyError", "handled by swallows", line_of(swallows, 2), "may_swallow"):
        assert part in str(failure)


@pytest.mark.parametrize(
    "allowed",
    [[swallows], ["swallows"], "swallows", ["test_endings.py:swallows"], ["tests/test_endings.py:swallows"]],
    ids=without_addresses,
)
def test_a_function_that_may_swallow(allowed: Any, name: str) -> None:
    with fail.scope({name: "raise(KeyError)"}, on_swallowed="error", may_swallow=allowed):
        swallows(name)


def test_methods_may_be_named_with_or_without_their_class(name: str) -> None:
    for allowed in ("flush", "Store.flush", "test_endings.py:Store.flush", Store.flush):
        with fail.scope({name: "raise(KeyError)"}, on_swallowed="error", may_swallow=[allowed]):
            Store().flush(name)


@pytest.mark.parametrize("allowed", [["save"], ["other.py:swallows"], [save]], ids=without_addresses)
def test_another_function_is_no_excuse(allowed: Any, name: str) -> None:
    with (
        pytest.raises(ExceptionGroup),
        fail.scope({name: "raise(KeyError)"}, on_swallowed="error", may_swallow=allowed),
    ):
        swallows(name)


def test_what_the_test_itself_handles_is_not_swallowed(name: str) -> None:
    with fail.scope({name: "raise(KeyError)"}, on_swallowed="error"):
        with pytest.raises(KeyError):
            save(name)

    @fail.scope({name: "raise(KeyError)"}, on_swallowed="error")
    def test() -> None:
        with pytest.raises(KeyError):
            save(name)

    test()


def test_conversions_are_not_swallowed(name: str) -> None:
    with pytest.raises(RuntimeError), fail.scope({name: "raise(KeyError)"}, on_swallowed="error"):
        converts(name)


@pytest.mark.parametrize("bad", ["warn", None, True])
def test_on_swallowed_is_one_of_two(bad: Any) -> None:
    with pytest.raises(ValueError, match="on_swallowed must be"):
        fail.scope(on_swallowed=bad)


@pytest.mark.parametrize("bad", [[5], [len]])
def test_may_swallow_takes_functions(bad: Any) -> None:
    with pytest.raises(TypeError, match="may_swallow takes functions"):
        fail.scope(may_swallow=bad)


def test_injected_exceptions_are_let_go_of_when_the_scope_closes(name: str) -> None:
    import gc
    import weakref

    class Mine(Exception):
        pass

    references = []

    def catches() -> None:
        try:
            save(name)
        except Mine as exc:
            references.append(weakref.ref(exc))

    with fail.scope({name: fail.Raise(Mine)}) as scope:
        catches()
    gc.collect()
    assert references[0]() is None
    assert "handled by" in str(scope.trace[0].end)


def test_failure_messages_tell_what_became_of_the_fault(name: str) -> None:
    """The assertion that fails because a fault was swallowed says who swallowed it."""
    line = f"injected by failpoint {name!r} (hit 1): KeyError handled by swallows ({line_of(swallows, 2)})"
    with pytest.raises(ValueError, match="own") as own, fail.scope({name: "raise(KeyError)"}):
        swallows(name)
        raise ValueError("the test's own")
    assert line in own.value.__notes__
    with pytest.raises(ExceptionGroup) as group, fail.scope({name: "raise(KeyError)"}) as scope:
        swallows(name)
        scope.error("wrong")
    assert line in group.value.__notes__
    fail.point(f"{name}.idle")
    with (
        pytest.raises(fail.NeverFired) as strict,
        fail.scope({name: "raise(KeyError)", f"{name}.idle": "raise"}),
    ):
        swallows(name)
    assert line in strict.value.__notes__


def test_what_simply_reached_the_test_needs_no_words(name: str) -> None:
    with pytest.raises(KeyError) as caught, fail.scope({name: "raise(KeyError)"}):
        save(name)
    assert len(caught.value.__notes__) == 1  # the note of the injection
