"""What each action does, in a thread and in a process that really dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from failpy import fail, failpoint


def point(name: str) -> fail.Point[Any]:
    return fail.point(name, returns=Any)


def test_off_consumes_its_turn(name: str) -> None:
    with fail.scope({name: "2*off->1*return(1)"}) as scope:
        assert [bool(point(name).hit()) for _ in range(4)] == [False, False, True, False]
    assert scope.status(name).fired == 1


def test_return_gives_the_very_object(name: str) -> None:
    value = object()
    with fail.scope({name: fail.Return(value)}):
        assert point(name).hit().value is value


def test_a_literal_is_fresh_for_every_hit(name: str) -> None:
    with fail.scope({name: 'return({"a": [1]})'}):
        point(name).hit().value["a"].append(2)
        assert point(name).hit().value == {"a": [1]}


def test_a_bare_raise(name: str) -> None:
    with fail.scope({name: "raise"}), pytest.raises(fail.Injected) as caught:
        point(name).hit()
    assert caught.value.__notes__ == [f"injected by failpoint {name!r}: hit 1, raise"]


def test_a_raised_class_is_a_new_exception_every_time(name: str) -> None:
    errors = []
    with fail.scope({name: "1*off->raise(KeyError)"}):
        for _ in range(3):
            try:
                point(name).hit()
            except KeyError as exc:
                errors.append(exc)
    assert len({id(error) for error in errors}) == 2
    assert errors[1].__notes__ == [
        f"injected by failpoint {name!r}: hit 3, raise(KeyError), of 1*off->raise(KeyError)"
    ]


def test_a_raised_instance_is_raised_itself_and_starts_clean(name: str) -> None:
    error = KeyError("k")
    with fail.scope({name: fail.Raise(error)}):
        try:
            raise ValueError
        except ValueError:
            with pytest.raises(KeyError):
                point(name).hit()
        with pytest.raises(KeyError) as caught:
            point(name).hit()
    assert caught.value is error
    assert error.__notes__ == [f'injected by failpoint {name!r}: hit 2, raise(KeyError("k"))']
    assert error.__context__ is None
    assert len(caught.traceback) <= 3


def test_an_exception_that_takes_no_note_is_raised_all_the_same(name: str) -> None:
    class Frozen(Exception):
        def __setattr__(self, key: str, value: object) -> None:
            raise AttributeError(key)

    with fail.scope({name: fail.Raise(Frozen)}), pytest.raises(Frozen):
        point(name).hit()


def test_raising_within_a_handler_keeps_the_context(name: str) -> None:
    with fail.scope({name: "raise(KeyError)"}), pytest.raises(KeyError) as caught:
        try:
            raise ValueError
        except ValueError:
            point(name).hit()
    assert isinstance(caught.value.__context__, ValueError)


@pytest.mark.parametrize(
    ("terms", "message"), [("panic", "failpoint panic: {}"), ('panic("boom")', "failpoint panic: boom")]
)
def test_panic_cannot_be_swallowed(terms: str, message: str, name: str) -> None:
    with fail.scope({name: terms}), pytest.raises(fail.FailpointPanic) as caught:
        try:
            point(name).hit()
        except Exception:
            pytest.fail("swallowed")
    assert str(caught.value) == message.format(name)


def test_panic_leaves_the_point_armed(name: str) -> None:
    with fail.scope({name: "panic"}) as scope:
        for _ in range(2):
            with pytest.raises(fail.FailpointPanic):
                point(name).hit()
        assert scope.status(name).fired == 2


@pytest.mark.parametrize(("terms", "expected"), [("print", ""), ('print("m")', ": m"), ("print(1)", ": 1")])
def test_print(terms: str, expected: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with fail.scope({name: terms}):
        assert point(name).hit() is None
    assert capsys.readouterr().out == f"failpoint print: {name}{expected}\n"


def test_sleep_lasts_as_long_as_it_says(name: str) -> None:
    """Two sleeps of one run are compared: ten times as long is at least three times as long."""
    took = {}
    for terms in ("sleep(20)", "sleep(0.2s)"):
        with fail.scope({name: terms}):
            rounds = []
            for _ in range(3):
                begin = time.perf_counter()
                point(name).hit()
                rounds.append(time.perf_counter() - begin)
            took[terms] = min(rounds)
    assert took["sleep(0.2s)"] > 3 * took["sleep(20)"] > 0


def test_delay_burns_processor_time_and_sleep_does_not(name: str) -> None:
    used = {}
    for action in ("sleep", "delay"):
        with fail.scope({name: f"{action}(100)"}):
            begin = time.thread_time()
            point(name).hit()
            used[action] = time.thread_time() - begin
    assert used["delay"] > 3 * used["sleep"]


def test_yield_gives_up_the_turn_and_goes_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(time, "sleep", given.append)
    with fail.scope({name: "yield"}):
        assert point(name).hit() is None
    assert given == [0]


def test_break_enters_the_debugger(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = []
    monkeypatch.setattr(sys, "breakpointhook", lambda *args, **kwargs: entered.append(args))
    with fail.scope({name: "break"}):
        point(name).hit()
    assert entered == [()]


def test_call_decides(name: str) -> None:
    def decide(hit: fail.Hit[Any]) -> Any:
        assert (hit.point, hit.nth) == (name, len(seen) + 1)
        assert hit.term.action == "call"
        seen.append(hit.values["row"])
        return None if hit.values["row"] == 1 else {"row": hit.values["row"]}

    seen: list[int] = []
    with fail.scope({name: fail.Call(decide)}):
        assert point(name).hit(row=1) is None
        assert point(name).hit(row=2).value == {"row": 2}


def test_what_a_call_does_to_the_details_of_a_hit_stays_with_that_hit(name: str) -> None:
    without = failpoint(f"{name}.function")(lambda: None)
    found: list[Any] = []

    def mark(hit: fail.Hit[Any]) -> None:
        found.append((dict(hit.kwargs), dict(hit.values)))
        hit.kwargs["marked"] = hit.values["marked"] = True  # type: ignore[index]
        found.append((dict(hit.kwargs), dict(hit.values)))

    with fail.scope({name: fail.Call(mark), f"{name}.function": fail.Call(mark)}):
        for _ in range(2):
            without()
            with fail.point(name):
                pass
    marked = {"marked": True}
    assert found == [({}, {}), (marked, marked)] * 4


def test_call_that_raises_diverts(name: str) -> None:
    def fails(hit: fail.Hit[Any]) -> None:
        raise KeyError("from the callable")

    with fail.scope({name: fail.Call(fails)}), pytest.raises(KeyError, match="from the callable") as caught:
        point(name).hit()
    assert name in caught.value.__notes__[0]
    assert caught.traceback[-1].name == "fails"


def test_the_result_of_call_is_checked(name: str) -> None:
    function = failpoint(name, returns=int)(lambda: 1)
    with fail.scope({name: fail.Call(lambda hit: "text")}), pytest.raises(fail.ReturnTypeError, match=name):
        function()
    with fail.scope({name: fail.Call(lambda hit: 5)}):
        assert function() == 5


def test_call_that_awaits_needs_an_async_site(name: str) -> None:
    async def coroutine(hit: fail.Hit[Any]) -> int:
        return 1

    with fail.scope({name: fail.Call(coroutine)}), pytest.raises(TypeError, match="ahit"):
        point(name).hit()


def test_an_action_triggers_no_failpoint_of_its_own_context(name: str) -> None:
    """What it starts may, once the action is over."""
    inner = f"{name}.inner"
    contexts: list[threading.Thread] = []
    go = threading.Event()
    seen: list[bool] = []

    def act(hit: fail.Hit[Any]) -> None:
        seen.append(bool(fail.point(inner).hit()))
        seen.append(bool(fail.point(name).hit()))
        import contextvars

        context = contextvars.copy_context()

        def later() -> None:
            go.wait(10)
            seen.append(bool(context.run(fail.point(inner).hit)))

        contexts.append(threading.Thread(target=later))
        contexts[0].start()

    with fail.scope({name: fail.Call(act), inner: "return"}) as scope:
        point(name).hit()
        assert seen == [False, False]
        assert scope.status(inner).hits == 0
        go.set()
        contexts[0].join()
    assert seen == [False, False, True]


def test_print_to_a_stream_with_a_failpoint(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        text = ""

        def write(self, text: str) -> None:
            with fail.point(name):
                self.text += text

        def flush(self) -> None: ...

    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    with fail.scope({name: "print"}):
        point(name).hit()
    assert stream.text == f"failpoint print: {name}\n"


@pytest.mark.parametrize(
    ("terms", "status"), [("exit", 1), ("exit(3)", 3), ("exit(0)", 0), ("kill", -signal.SIGKILL)]
)
def test_a_process_really_ends(terms: str, status: int) -> None:
    """No clean-up runs: not `finally`, not `atexit`, not the flush of a buffer."""
    program = """if True:
        import atexit, sys
        from failpy import fail
        atexit.register(lambda: print("atexit"))
        sys.stdout.write("buffered")
        try:
            with fail.point("here"):
                print("went on")
        finally:
            print("finally")
    """
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"FAILPY_FAILPOINTS": f"here={terms}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == status
    assert ended.stdout == ""
    assert ended.stderr == ""


# --- pause ---


def wait_until_paused(scope: fail.Scope, name: str, n: int = 1) -> None:
    while scope.status(name).paused < n:
        time.sleep(0)


def paused_thread(scope: fail.Scope, name: str) -> tuple[threading.Thread, list[str]]:
    import contextvars

    ended: list[str] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            point(name).hit()
            ended.append("went on")
        except BaseException as exc:
            ended.append(repr(exc))

    thread = threading.Thread(target=context.run, args=(work,))
    thread.start()
    wait_until_paused(scope, name)
    return thread, ended


@pytest.mark.parametrize("how", ["disable", "enable", "close"])
def test_pause_holds_the_hit_until(how: str, name: str) -> None:
    with fail.scope({name: "pause"}, strict=False) as scope:
        thread, ended = paused_thread(scope, name)
        assert ended == []
        assert scope.status(name).paused == 1
        if how == "disable":
            scope.disable(name)
        elif how == "enable":
            scope.enable(name, "off")
    thread.join(10)
    assert ended == ["went on"]


def test_a_sleeper_is_woken_when_its_point_is_disarmed(name: str) -> None:
    import contextvars

    with fail.scope({name: "sleep(10m)"}) as scope:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(point(name).hit,))
        thread.start()
        while scope.status(name).hits == 0:
            time.sleep(0)
    thread.join(10)
    assert not thread.is_alive()


def test_a_pause_that_nobody_ends_is_an_error(name: str) -> None:
    with (
        fail.scope({name: "pause(10ms)"}) as scope,
        pytest.raises(fail.PauseTimeout, match="0.01 s") as caught,
    ):
        point(name).hit()
    assert isinstance(caught.value, TimeoutError)
    assert scope.status(name).paused == 0
