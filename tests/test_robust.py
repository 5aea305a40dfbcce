"""What befalls programs: collectors, signals, stacks of contexts, foreign decorators, recursion."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import contextvars
import copy
import functools
import gc
import pickle
import signal
import subprocess
import sys
import threading
import unittest
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import wrapt

from failpy import fail, failpoint
from failpy._registry import armed, declared

# --- context managers on a stack ---


def test_an_exit_stack_sees_an_idle_point_as_a_with_block_does(name: str) -> None:
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(fail.point(name)) is None
        assert unittest.TestCase().enterContext(fail.point(name)) is None
    with fail.scope({name: "return"}), contextlib.ExitStack() as stack:
        assert stack.enter_context(fail.point(name))


@pytest.mark.anyio
async def test_an_async_exit_stack_too(name: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        assert await stack.enter_async_context(fail.point(name)) is None
        async with fail.scope({name: "return"}):
            assert await stack.enter_async_context(fail.point(name))


# --- blocks that a collector or another thread ends ---


def test_a_suspended_action_that_is_collected_leaves_the_current_scope_alone(name: str) -> None:
    async def slow(hit: fail.Hit[Any]) -> None:
        await asyncio.sleep(100)

    def start() -> Any:
        coroutine = fail.point(name).ahit()

        async def step() -> None:
            coroutine.send(None)

        asyncio.run(step())
        return coroutine

    with fail.scope({name: fail.Call(slow)}):
        pending = start()
    with fail.scope() as scope:
        pending.close()
        assert fail.current_scope() is scope


def test_a_decorated_async_generator_closed_elsewhere_leaves_that_scope_alone() -> None:
    @fail.scope()
    async def generator() -> AsyncIterator[int]:
        await asyncio.sleep(100)
        yield 1

    loop = asyncio.new_event_loop()
    step = generator().__anext__()

    async def start() -> None:
        step.send(None)  # type: ignore[attr-defined]  # noqa: F821 - deleted below

    contextvars.copy_context().run(loop.run_until_complete, start())
    loop.close()
    with fail.scope() as scope, contextlib.suppress(BaseException):
        step.close()  # type: ignore[attr-defined]
        assert fail.current_scope() is scope
    del step
    gc.collect()


# --- signals and recursion ---


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this platform")
def test_a_signal_handler_may_arm_and_disarm_in_the_middle_of_arming(name: str) -> None:
    point = fail.point(name)
    handled = 0

    def handle(*_: object) -> None:
        nonlocal handled
        handled += 1
        if handled % 2:
            fail.enable(name, "off")
        else:
            fail.disable(name)

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        while handled < 300:
            fail.enable(name, "off")
            point.hit()
            fail.disable(name)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    fail.disable(name)
    assert armed() == {}
    assert type(point) is fail.Point


def test_a_handler_that_comes_while_the_variable_is_declared() -> None:
    """It arms and hits a point in the middle of the import that the first arming does."""
    program = """if True:
        import os, signal, sys
        from failpy import fail, failpoint

        @failpoint("A", returns=int)
        def a():
            return 0

        seen = []

        def handle(*_):
            seen.append(a())

        class Finder:
            def find_spec(self, name, path, target=None):
                if name == "contextvars_extras":
                    signal.raise_signal(signal.SIGUSR1)

        signal.signal(signal.SIGUSR1, handle)
        sys.meta_path.insert(0, Finder())
        fail.enable("A", "return(1)")
        print(seen, a())
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "[0] 1\n", ended.stderr


def test_arming_that_fails_half_way_leaves_nothing_armed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = [failpoint(f"{name}.{i}")(lambda: None) for i in range(3)]
    codes = [function.__code__ for function in functions]
    fail.enable(f"{name}.0", "off")
    from failpy import _patch

    calls = 0
    original = _patch.trampoline

    def failing(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RecursionError
        return original(*args)

    monkeypatch.setattr(_patch, "trampoline", failing)
    with pytest.raises(RecursionError):
        fail.enable_all({f"{name}.{i}": "panic" for i in range(3)})
    assert armed() == {f"{name}.0": 1}
    assert fail.status(f"{name}.0").terms == "off"
    fail.disable(f"{name}.0")
    assert [function.__code__ for function in functions] == codes


def test_a_point_armed_while_another_is_being_armed_on_one_function(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal handler may do it."""
    inner, outer = f"{name}.inner", f"{name}.outer"
    function = failpoint(outer)(failpoint(inner)(lambda: None))
    from failpy import _patch

    original = _patch.trampoline

    def interrupted(*args: Any) -> Any:
        monkeypatch.setattr(_patch, "trampoline", original)
        fail.enable(inner, "raise(KeyError)")
        return original(*args)

    monkeypatch.setattr(_patch, "trampoline", interrupted)
    fail.enable(outer, "off")
    for _ in range(2):
        with pytest.raises(KeyError):
            function()
        fail.disable(outer)
        with pytest.raises(KeyError):
            function()
        fail.enable(outer, "off")
    fail.disable(inner)
    assert function() is None


def test_a_bottom_frame_may_hit(name: str) -> None:
    """A thread's own function, or one called at exit, has no caller that would be the site."""
    hit = threading.Event()
    with fail.scope({name: fail.Call(lambda _: hit.set())}, threads=False) as scope:
        context = contextvars.copy_context()
        point = fail.point(name)
        _thread.start_new_thread(context.run, (point.hit,))
        assert hit.wait(10)
        assert scope.status(name).fired == 1


# --- foreign decorators ---


@wrapt.decorator
def retry(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    for _ in range(3):
        with contextlib.suppress(ValueError):
            return wrapped(*args, **kwargs)
    return "gave up"


def test_a_point_stands_outside_of_a_wrapt_decorator_it_is_put_on(name: str) -> None:
    @failpoint(f"{name}.outer", returns=str)
    @retry
    @failpoint(f"{name}.inner", returns=str)
    def function() -> str:
        return "body"

    code = function.__wrapped__.__code__  # type: ignore[attr-defined]
    with fail.scope({f"{name}.outer": "raise(ValueError)"}) as scope:
        with pytest.raises(ValueError):
            function()
        assert scope.status(f"{name}.outer").hits == 1
    with fail.scope({f"{name}.inner": "2*raise(ValueError)"}) as scope:
        assert function() == "body"
        assert scope.status(f"{name}.inner").hits == 3
    assert function.__wrapped__.__code__ is code  # type: ignore[attr-defined]


def wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def first() -> int:
    return 1


def test_the_site_is_where_the_user_wrote_the_function(name: str) -> None:
    failpoint(name, returns=int)(wraps(first))
    assert declared(name).sites == (f"{__file__}:{first.__code__.co_firstlineno}",)  # type: ignore[union-attr]


def test_a_property_with_a_setter_is_ambiguous(name: str) -> None:
    class Owner:
        @property
        def value(self) -> int:
            return 1

        @value.setter
        def value(self, value: int) -> None: ...

    with pytest.raises(TypeError, match=f"'{name}' cannot tell the getter"):
        failpoint(name)(Owner.__dict__["value"])

    class Other:
        @property
        def value(self) -> int:
            return 1

        @value.setter
        @failpoint(name)
        def value(self, value: int) -> None:
            raise AssertionError("not reached")

    with fail.scope({name: "return"}):
        Other().value = 5


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_a_scope_goes_below_staticmethod(kind: Any) -> None:
    with pytest.raises(TypeError, match="below @staticmethod"):
        fail.scope()(kind(lambda: None))


# --- generators ---


def returns_on_exit() -> Iterator[int]:
    try:
        yield 1
    except GeneratorExit as exc:
        return exc.args  # type: ignore[return-value]


def goes_on_on_exit() -> Iterator[int]:
    try:
        yield 1
    except GeneratorExit:
        yield 2


@pytest.mark.parametrize("armed_with", [None, "off"])
def test_generator_exit_reaches_the_body_as_it_is(armed_with: str | None, name: str) -> None:
    first = failpoint(f"{name}.1")(returns_on_exit)
    second = failpoint(f"{name}.2")(goes_on_on_exit)
    with fail.scope({f"{name}.1": armed_with, f"{name}.2": armed_with} if armed_with else None):
        running: Any = first()
        next(running)
        with pytest.raises(StopIteration) as stop:
            running.throw(GeneratorExit("why"))
        assert stop.value.value == ("why",)
        running = second()
        next(running)
        assert running.throw(GeneratorExit) == 2
        running = second()
        next(running)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            running.close()


def test_a_loop_that_ends_closes_an_armed_async_generator_once(name: str) -> None:
    closed = []

    @failpoint(name)
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: problems.append(context))
        running = numbers()
        kept.append(running)
        await anext(running)

    problems: list[Any] = []
    kept: list[Any] = []
    with fail.scope({name: "off"}):
        asyncio.run(main())
    assert closed == [True]
    assert problems == []


# --- memory ---


def test_proxies_are_forgotten(name: str) -> None:
    for _ in range(50):
        failpoint(name)(functools.partial(int, "1"))
    gc.collect()
    assert len(declared(name)._switches) == 0  # type: ignore[union-attr]


def test_a_catalogue_does_not_grow_when_a_definition_runs_again(name: str) -> None:
    for _ in range(50):
        failpoint(name, faults=(fail.Call(lambda hit: None), fail.Raise(KeyError)))(lambda: None)
    assert len(fail.point(name).faults) == 2


def test_a_frozen_exception_raised_again_and_again_keeps_a_short_traceback(name: str) -> None:
    class Frozen(Exception):
        def __setattr__(self, key: str, value: object) -> None:
            raise AttributeError(key)

    error = Frozen()
    with fail.scope({name: fail.Raise(error)}):
        for _ in range(20):
            with contextlib.suppress(Frozen):
                fail.point(name).hit()
    length, traceback = 0, error.__traceback__
    while traceback is not None:
        length, traceback = length + 1, traceback.tb_next
    assert length <= 3


def test_an_instance_keeps_its_own_context(name: str) -> None:
    try:
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            raise KeyError from None
    except KeyError as exc:
        error = exc
    context = error.__context__
    with fail.scope({name: fail.Raise(error)}):
        for _ in range(2):
            with pytest.raises(KeyError):
                fail.point(name).hit()
            assert error.__context__ is context is not None


def test_an_abandoned_scope_is_disarmed_though_warnings_are_errors(name: str) -> None:
    function = failpoint(name)(lambda: None)
    code = function.__code__
    unraisable: list[Any] = []
    hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        scope = fail.scope({name: "off"})
        scope.open()
        gone = weakref.ref(scope)
        del scope
        gc.collect()
    finally:
        sys.unraisablehook = hook
    unraisable.clear()
    assert gone() is None
    assert function.__code__ is code
    assert armed() == {}


# --- scopes ---


def test_a_scope_is_one_layer_of_one_context() -> None:
    with fail.scope() as scope:
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                duplicate(scope)


def test_exits_that_do_not_fit_are_refused() -> None:
    scope = fail.scope()
    with pytest.raises(fail.ScopeError, match="not open"):
        scope.__exit__(None, None, None)
    with scope:
        pass
    with pytest.raises(fail.ScopeError, match="closed"):
        scope.__exit__(None, None, None)


def test_an_action_sees_the_scope_it_runs_in(name: str) -> None:
    seen = []
    with fail.scope() as scope:
        scope.enable(name, fail.Call(lambda hit: seen.append(fail.current_scope())), when=lambda hit: True)
        fail.point(name).hit()
    assert seen == [scope]


def test_errors_of_many_entries_name_the_one(name: str) -> None:
    with pytest.raises(fail.TermSyntaxError, match=f"failpoint '{name}': there is no action"):
        fail.scope({"other": "off", name: "retrun"})
    with pytest.raises(TypeError, match=f"failpoint '{name}': terms must be"):
        fail.scope({"other": "off", name: 5})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"^point\(\) missing"):
        fail.point()  # type: ignore[call-overload]


# --- predicates and callables ---


def test_a_predicate_that_refused_every_hit_is_named(name: str) -> None:
    point = fail.point(name)
    with (
        pytest.raises(fail.NeverFired, match="its when= predicate refused each of 5 hits"),
        fail.scope() as scope,
    ):
        scope.enable(name, "raise", when=lambda hit: False)
        for _ in range(5):
            point.hit()


def test_an_async_predicate_is_refused(name: str) -> None:
    async def predicate(hit: fail.Hit[Any]) -> bool:
        return False

    with pytest.raises(TypeError, match="when must be a plain function"):
        fail.enable(name, "raise", when=predicate)
    fail.enable(name, "raise", when=lambda hit: predicate(hit))
    with pytest.raises(TypeError, match=f"when= of failpoint '{name}' gave an awaitable"):
        fail.point(name).hit()


@pytest.mark.anyio
async def test_a_callable_that_gives_awaitables_of_awaitables(name: str) -> None:
    async def inner() -> int:
        return 5

    async def outer(hit: fail.Hit[Any]) -> Any:
        return inner()

    async with fail.scope({name: fail.Call(outer)}):
        hit = await fail.point(name, returns=int).ahit()
    assert hit is not None
    assert hit.value == 5


def test_a_repr_with_a_failpoint_is_not_hit_by_the_note(name: str) -> None:
    class Value:
        def __repr__(self) -> str:
            fail.point(f"{name}.repr").hit()
            return "value"

    with fail.scope(
        {f"{name}.repr": "raise", name: fail.Panic() >> fail.Return(Value())}, strict=False
    ) as scope:
        with pytest.raises(fail.FailpointPanic):
            fail.point(name, returns=Any).hit()
        assert scope.status(f"{name}.repr").hits == 0


def test_print_to_a_closed_stdout_says_where_it_is_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    stdout = io.StringIO()
    stdout.close()
    monkeypatch.setattr(sys, "stdout", stdout)
    with fail.scope({name: "print"}), pytest.raises(ValueError, match="closed file") as caught:
        fail.point(name).hit()
    assert name in caught.value.__notes__[0]


# --- what looks at the code ---


def test_code_that_a_reloader_copied_from_an_armed_function(name: str) -> None:
    def old() -> str:
        return "old"

    def new() -> str:
        return "new"

    failpoint(name, returns=str)(old)
    failpoint(name, returns=str)(new)
    code = new.__code__
    with fail.scope({name: "off"}) as scope:
        old.__code__ = new.__code__
        scope.disable(name)
        assert old() == "new"
    assert old.__code__ == code


builtin_with_point = failpoint("robust.abs", returns=int)(abs)


def test_a_builtin_under_another_name_is_pickled_with_its_point() -> None:
    again = pickle.loads(pickle.dumps(builtin_with_point))
    with fail.scope({"robust.abs": "1*return(7)"}):
        assert again(-1) == 7
        assert again(-1) == 1
