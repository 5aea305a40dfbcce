"""Corners that no other test comes to: each is a promise of its own all the same."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.machinery
import importlib.metadata
import os
import subprocess
import sys
import threading
import types
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import failpy
from failpy import (
    _actions,
    _config,
    _context,
    _environment,
    _gate,
    _posix,
    _registry,
    _whereabouts,
    fail,
    failpoint,
)
from failpy._context import process
from failpy._order import Order


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> _config.Config:
    """The switches of the process, put back afterwards."""
    monkeypatch.setattr(_config.config, "enabled", True)
    monkeypatch.setattr(_config.config, "seed", None)
    monkeypatch.setattr(_config.config, "http_token", None)
    monkeypatch.setattr(_config.config, "http_allow", ())
    return _config.config


def test_version() -> None:
    assert failpy.__version__ == importlib.metadata.version("failpy")
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        failpy.nope  # noqa: B018


def test_public_things_are_named_where_users_import_them_from() -> None:
    assert repr(fail.NeverFired) == "<class 'failpy.NeverFired'>"
    assert fail.scope.__module__ == fail.Return.__module__ == "failpy"


# --- the environment, in this process ---


def test_the_environment_is_applied(config: _config.Config, name: str) -> None:
    _environment.load({"FAILPY_FAILPOINTS": f"{name}=off", "FAILPY_SEED": "7", "FAILPY": "on"})
    assert config.seed == 7
    assert fail.scope().seed == 7
    assert fail.status(name).terms == "off"


def test_the_environment_attaches_what_it_names_of_the_operating_system(config: _config.Config) -> None:
    was = os.rename
    try:
        _environment.load({"FAILPY_FAILPOINTS": "posix/io/rename=raise(ENOSPC);posix/io/wirte=off"})
        assert os.rename is not was
        assert _registry.declared("posix/io/rename").sites == ("FAILPY_FAILPOINTS:0",)  # type: ignore[union-attr]
        assert "posix/io/wirte" not in fail.points()
    finally:
        fail.disable("posix/io/rename")
        fail.disable("posix/io/wirte")
        with fail.attach_posix("posix/io/rename"):
            _posix._leave("posix/io/rename")
    assert os.rename is was


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FAILPY", "false"),
        ("FAILPY_SEED", "x"),
        ("FAILPY_FAILPOINTS", "a=5*"),
        ("FAILPY_HTTP", "127.0.0.1"),
        ("FAILPY_HTTP_ALLOW", "exit,sleep"),
    ],
)
def test_a_malformed_variable_is_named(config: _config.Config, variable: str, value: str) -> None:
    with pytest.raises(fail.FailpointError, match=variable):
        _environment.load({variable: value})


def test_nothing_can_be_armed_in_a_process_compiled_without(config: _config.Config, name: str) -> None:
    with pytest.warns(RuntimeWarning, match="FAILPY_FAILPOINTS has no effect"):
        _environment.load({"FAILPY": "off", "FAILPY_FAILPOINTS": f"{name}=panic"})
    function = lambda: "body"  # noqa: E731
    assert failpoint(name)(function) is function
    for arm in (lambda: fail.enable(name, "panic"), lambda: fail.scope({name: "panic"}).__enter__()):
        with pytest.raises(fail.FailpointError, match="FAILPY=off"):
            arm()
    with fail.scope():
        assert fail.point(name).hit() is None


def test_what_was_armed_in_vain_is_reported(name: str, caplog: pytest.LogCaptureFixture) -> None:
    for suffix in ("typo", "idle", "off", "disabled"):
        fail.enable(f"{name}.{suffix}", "off" if suffix == "off" else "10*off->kill")
    armed = dict(process.activations)
    for suffix in ("idle", "off", "disabled"):
        fail.point(f"{name}.{suffix}").hit()
    fail.disable(f"{name}.disabled")
    _environment._report(armed, os.getpid())
    unknown, idle = [record.getMessage() for record in caplog.records]
    assert unknown == f"FAILPY_FAILPOINTS armed in vain: {_registry.unknown(f'{name}.typo')}"
    assert f"'{name}.idle' was armed with 10*off->kill and never fired: execution reached it once" in idle
    caplog.clear()
    _environment._report(armed, os.getpid() + 1)  # a forked child has nothing to report
    assert caplog.records == []


# --- processes ---


@pytest.mark.parametrize("terms", ["exit(3)", "kill"])
def test_what_ends_a_process_is_asked_of_the_system(
    terms: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(_actions.os, "_exit", lambda *args: asked.append(args))
    monkeypatch.setattr(_actions.os, "kill", lambda *args: asked.append(args))
    with fail.scope({name: terms}):
        fail.point(name).hit()
    assert asked == [(3,)] if terms == "exit(3)" else [(os.getpid(), 9)]


def test_a_child_forgets_the_threads_of_its_parent(name: str) -> None:
    """What the fork hooks do, done by hand: nothing waits any more, and no turn is taken."""
    point = fail.point(name, returns=int)
    with fail.scope({name: "1*pause->return(1)"}, strict=False) as scope:
        scope.order(name, f"{name}.other", timeout=60)
        thread = threading.Thread(target=point.hit)
        thread.start()
        held = scope.wait_for_hit(name)
        (order,) = scope._orders
        order._taker = thread
        _registry.lock.acquire()
        _registry._after_fork_in_child()
        assert scope.status(name).paused == 0
        assert order._taker is None
        assert point.hit()
        held.resume()
        thread.join(10)
        assert not thread.is_alive()


def test_an_order_keeps_the_turn_of_the_thread_that_forks() -> None:
    order = Order(("a", "b"), 1)
    assert order.arrive("a") is None
    order.forget_threads()
    order.done("a", happened=True)
    assert order.remaining == ("b",)


# --- errors ---


def test_a_fault_far_into_a_long_text_is_shown_with_what_is_around_it() -> None:
    text = f'return("{"x" * 200}")' + "->off" * 40 + "->nothing" + "->off" * 40
    with pytest.raises(fail.TermSyntaxError) as caught:
        fail.parse(text)
    line, caret = caught.value.caret.splitlines()
    assert line.startswith("...")
    assert line.endswith("...")
    assert line[caret.index("^") :].startswith("nothing")


def test_any_is_called_by_its_name(name: str) -> None:
    failpoint(name, returns=Any)(lambda: 1)
    with pytest.raises(fail.FailpointConflict, match="returns=Any"):
        failpoint(name, returns=int)(lambda: 1)


# --- endings ---


def test_an_exception_that_was_not_raised_yet_has_no_end(name: str) -> None:
    """Decided on by one thread, and not yet raised by the other."""
    with fail.scope({name: "off"}, strict=False) as scope:
        fail.point(name).hit()
        hit = scope.wait_for_hit(name)
        scope.injected(hit, KeyError())
        assert scope.trace[0].end == "was not raised"


def test_what_gets_to_the_bottom_of_a_pool_died_there(name: str) -> None:
    with pytest.raises(ExceptionGroup), fail.scope({name: "raise(KeyError)"}) as scope:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(fail.point(name).hit)
        assert scope.trace[0].end == "died in a thread"


def test_one_exception_that_kills_two_threads_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    error = KeyError("shared")

    def work() -> None:
        raise error

    with pytest.raises(ExceptionGroup) as caught, fail.scope():
        for _ in range(2):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert caught.value.exceptions == (error,)


def test_a_bound_function_ends_what_fatal_unwinds(name: str) -> None:
    with pytest.raises(ExceptionGroup), fail.scope() as scope:
        assert scope.bind(scope.fatal)("in a bound function") is None
    with pytest.raises(ExceptionGroup) as caught, fail.scope() as outer:
        with fail.scope() as inner:
            inner.bind(outer.fatal)("of the outer scope")
    assert [str(error) for error in caught.value.exceptions] == ["of the outer scope"]


# --- loops and futures ---


def test_a_library_that_is_half_imported_runs_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = type(sys)("half imported")
    monkeypatch.setattr(_whereabouts, "running_loop", _whereabouts._look_for_asyncio)
    monkeypatch.setattr(_whereabouts, "_modules", {"trio": empty, "asyncio": empty})
    assert _whereabouts.event_loop() is None
    monkeypatch.setattr(_whereabouts, "_modules", {})
    with fail.scope({"corners.no.loop": "off"}, strict=False) as scope:
        fail.point("corners.no.loop").hit()
    assert [entry.task for entry in scope.trace] == [None]
    assert _whereabouts.event_loop() is None
    assert _whereabouts.current_task() is None


def test_a_future_of_a_class_of_its_own_is_left_what_it_is() -> None:
    class Own(Future[Any]):
        pass

    class Pool(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(fn, *args, **kwargs)
            future.__class__ = Own
            return future

    with Pool(1) as pool, fail.scope():
        future = pool.submit(int)
        assert type(future) is Own
        assert future.result() == 0


@pytest.mark.anyio
async def test_a_task_that_fails_after_the_scope_has_closed_is_the_loops() -> None:
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        raise KeyError("late")

    async with fail.scope():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
    go.set()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert isinstance(task.exception(), KeyError)


# --- proxies ---


def test_generators_of_callable_objects(name: str) -> None:
    class Numbers:
        def __call__(self) -> Any:
            yield 1

    class AsyncNumbers:
        async def __call__(self) -> Any:
            yield 1

    numbers = failpoint(f"{name}.sync")(Numbers())
    async_numbers = failpoint(f"{name}.async")(AsyncNumbers())

    async def collect() -> list[int]:
        return [each async for each in async_numbers()]

    with fail.scope({f"{name}.sync": "1*return", f"{name}.async": "1*return"}):
        assert list(numbers()) == []
        assert list(numbers()) == [1]
        assert asyncio.run(collect()) == []
        assert asyncio.run(collect()) == [1]


def test_a_patch_whose_function_is_gone_has_nothing_to_switch(name: str) -> None:
    from failpy._patch import Patch

    patch = Patch(lambda: None)  # type: ignore[arg-type]
    patch.switch(name, True)


@pytest.mark.anyio
async def test_what_the_async_forms_do_when_it_is_not_for_them(name: str) -> None:
    point = fail.point(name)
    assert repr(point) == f"<failpoint {name!r}>"
    async with fail.scope({f"{name}.other": "off"}, strict=False) as scope:
        scope.enable(name, "return", when=lambda hit: False)
        assert await point.ahit() is None
    elsewhere = fail.scope({name: "return"}, strict=False)
    import contextvars

    contextvars.copy_context().run(elsewhere.__enter__)
    try:
        assert point.hit() is None
        assert await point.ahit() is None
        with point as hit:
            assert hit is None
        async with point as hit:
            assert hit is None
    finally:
        elsewhere.close()


def test_an_activation_outlives_its_scope(name: str) -> None:
    """A thread may have looked it up just before the scope was collected."""
    point = fail.point(name)
    with fail.scope({name: "raise(KeyError)"}, strict=False) as scope:
        activation = scope.activations[name]
        activation._layer = lambda: None  # type: ignore[assignment]
        with pytest.raises(KeyError):
            point.hit()
        scope.order(name, f"{name}.other")
        scope.disable(name)
        observer = scope.activations[name]
        observer._layer = lambda: None  # type: ignore[assignment]
        observer.orders = ()
        assert point.hit() is None


def test_the_variable_is_declared_once_though_a_handler_comes_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from types import ModuleType

    from contextvars_extras import ContextVarsRegistry

    from failpy import _context

    declared_by_the_handler = []

    class Slow(ModuleType):
        @property
        def ContextVarsRegistry(self) -> Any:
            if not declared_by_the_handler:
                declared_by_the_handler.append(None)
                _context.declare_variable()
                declared_by_the_handler[0] = _context._get
            return ContextVarsRegistry

    monkeypatch.setattr(_context, "_get", _context._first_get)
    monkeypatch.setattr(_context, "_set", _context._set)
    monkeypatch.setitem(sys.modules, "contextvars_extras", Slow("contextvars_extras"))
    _context.declare_variable()
    assert _context._get is declared_by_the_handler[0]


def test_ends_are_told_apart(name: str) -> None:
    def swallow(error: type[Exception]) -> None:
        with contextlib.suppress(error):
            fail.point(name).hit()

    with fail.scope({name: "1*raise(KeyError)->raise(IndexError)"}) as scope:
        swallow(KeyError)
        swallow(IndexError)
        assert all("handled by" in str(entry.end) for entry in scope.trace)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_gate_opened_before_anybody_waits(anyio_backend: str) -> None:
    gate = _gate.Gate(60)
    assert gate.open("passed on")
    assert await gate.park()
    assert gate.outcome == "passed on"
    assert not gate.open()


def test_a_pool_whose_futures_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Future[Any]):
        pass

    def submit(pool: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Own()
        future.set_result(fn(*args, **kwargs))
        return future

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    with ThreadPoolExecutor(1) as pool, fail.scope():
        assert type(pool.submit(int)) is Own


def test_a_server_that_complains_of_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    from socketserver import BaseServer

    with fail.scope():
        BaseServer(("", 0), None).handle_error(None, "somebody")  # type: ignore[arg-type]
    assert "somebody" in capfd.readouterr().err


def test_optimised_and_strict_interpreters() -> None:
    program = """if True:
        from failpy import fail, failpoint
        @failpoint("f", returns=int)
        def f(): return 0
        with fail.scope({"f": "return(1)"}):
            print(f())
    """
    for flags in (["-O"], ["-OO"], ["-W", "error"], ["-X", "dev"]):
        ended = subprocess.run(
            [sys.executable, *flags, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert (ended.stdout, ended.stderr) == ("1\n", "")


# --- names that come later ---


def test_what_may_come_later_is_waited_for(
    config: _config.Config, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Early, only what is there already is looked at, and what can never come is refused at once."""
    half = types.ModuleType("half_imported")
    half.__spec__ = importlib.machinery.ModuleSpec("half_imported", None)
    half.__spec__._initializing = True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "half_imported", half)
    for path in ("half_imported.Error", "__main__.Error", "antigravity.Error", "xml.nowhere.Error"):
        _environment.load({"FAILPY_FAILPOINTS": f"{name}=raise({path})"})
        assert fail.status(name).terms == f"raise({path})"
    assert "antigravity" not in sys.modules  # which would open a browser
    for path in ("errno.Error", "nowhere.Error"):
        with pytest.raises(fail.FailpointError, match="FAILPY_FAILPOINTS cannot be applied"):
            _environment.load({"FAILPY_FAILPOINTS": f"{name}=raise({path})"})

    _environment.load({"FAILPY_FAILPOINTS": f"{name}=raise(half_imported.Error)"})
    half.Error = type("Error", (Exception,), {})  # type: ignore[attr-defined]
    with pytest.raises(half.Error):  # type: ignore[attr-defined]
        fail.point(name).hit()


def test_the_script_is_not_imported_once_more(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "started_script.py"
    script.write_text("raise AssertionError('imported')")
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    main.Sold = type("Sold", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.syspath_prepend(tmp_path)
    with fail.scope({name: "raise(started_script.Sold)"}), pytest.raises(main.Sold):  # type: ignore[attr-defined]
        fail.point(name).hit()


# --- the command line is not driven by its own environment ---


@pytest.mark.parametrize(
    ("argv", "orig_argv", "is_it"),
    [
        (["/venv/bin/failpy", "list"], ["python", "/venv/bin/failpy", "list"], True),
        (["failpy.exe"], ["python", "failpy.exe"], True),
        (["-m", "list"], ["python", "-X", "dev", "-m", "failpy", "list"], True),
        (["-m"], ["python", "-m", "pytest"], False),
        (["app.py", "-m", "failpy"], ["python", "app.py", "-m", "failpy"], False),
        ([], ["python"], False),
    ],
)
def test_the_command_line_reads_no_variables_for_itself(
    config: _config.Config,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    orig_argv: list[str],
    is_it: bool,
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    _environment.load({"FAILPY_SEED": "5"})
    assert config.seed == (None if is_it else 5)


def test_an_endpoint_is_started_from_the_environment(
    config: _config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAILPY_HTTP_SERVED", raising=False)
    started = []
    monkeypatch.setattr("failpy._startup.start", lambda environ: started.append(environ["FAILPY_HTTP"]))
    _environment.load({"FAILPY_HTTP": f"unix:{tmp_path}/s", "FAILPY_HTTP_TOKEN": "x"})
    assert started == [f"unix:{tmp_path}/s"]
    assert config.http_token == "x"


def test_a_hit_goes_on_to_what_was_armed_in_place_of_what_it_found(name: str) -> None:
    """Between its look-up and its evaluation."""
    point = fail.point(name, returns=str)
    fail.enable(name, 'return("old")')
    found = process.activations[name]
    fail.enable(name, 'return("new")')
    hit = found.hit()
    assert hit is not None
    assert hit.value == "new"
    hit = asyncio.run(found.ahit())
    assert hit is not None
    assert hit.value == "new"
    fail.disable(name)
    assert found.hit() is None
    assert asyncio.run(found.ahit()) is None
    assert not point.hit()


def test_a_token_that_was_not_set_is_not_no_token(config: _config.Config) -> None:
    with pytest.raises(
        fail.FailpointError, match="FAILPY_HTTP_TOKEN cannot be applied: the token .* is empty"
    ):
        _environment.load({"FAILPY_HTTP": "127.0.0.1:0", "FAILPY_HTTP_TOKEN": ""})
    with pytest.raises(fail.FailpointError, match="is empty"):
        fail.wsgi()


def test_what_cannot_be_found_names_its_failpoint(name: str) -> None:
    with pytest.raises(fail.TermSyntaxError, match=f"failpoint '{name}': there is no module"):
        fail.enable_all({f"{name}.other": "off", name: "raise(no.such.Error)"})
    assert process.activations == {}


def test_a_context_may_be_read_before_anything_was_armed() -> None:
    """What the first reader calls, in a process that has declared the variable long ago."""
    assert _context._first_get() is process


def test_two_threads_that_ask_for_a_seed_at_once_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one draws it, another thread may run: here, it asks and is through."""
    from failpy import _context

    layer = _context.Layer()
    drawn: list[int] = []

    def draw(size: int) -> bytes:
        monkeypatch.undo()
        drawn.append(layer.seed)
        return bytes(size)

    monkeypatch.setattr(_context.config, "seed", None)
    monkeypatch.setattr(_context.os, "urandom", draw)
    assert [layer.seed] == drawn
