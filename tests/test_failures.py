"""A failure in any thread or task comes out of the scope, in the context that opened it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest

from failpy import fail


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> list[threading.ExceptHookArgs]:
    """What the user's own `threading.excepthook` was told."""
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    return told


def run(target: Any, name: str = "worker") -> None:
    thread = threading.Thread(target=target, name=name)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


# --- error and fatal ---


def test_error_records_and_goes_on() -> None:
    went_on = []
    with pytest.raises(ExceptionGroup) as caught, fail.scope() as scope:
        scope.error("first")
        scope.error("second")
        went_on.append(True)
    assert went_on
    assert [str(each) for each in caught.value.exceptions] == ["first", "second"]
    assert all(isinstance(each, fail.Failure) for each in caught.value.exceptions)
    assert isinstance(caught.value.exceptions[0], AssertionError)
    assert "test_error_records_and_goes_on" in notes(caught.value.exceptions[0])
    assert f"seed {scope.seed}" in notes(caught.value)


def test_fatal_unwinds_the_block_itself() -> None:
    order = []
    with pytest.raises(ExceptionGroup) as caught, fail.scope() as scope:
        try:
            scope.fatal("no way on")
        except Exception:
            order.append("swallowed")
        finally:
            order.append("finally")
        order.append("went on")
    assert order == ["finally"]
    assert [str(each) for each in caught.value.exceptions] == ["no way on"]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_fatal_in_a_thread_runs_finally_and_prints_nothing(
    hook: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    order = []
    with pytest.raises(ExceptionGroup) as caught, fail.scope() as scope:

        def work() -> None:
            try:
                scope.fatal("in the worker")
            finally:
                order.append("finally")

        run(work, "worker-3")
        order.append("test goes on")
    assert order == ["finally", "test goes on"]
    assert str(caught.value.exceptions[0]) == "in the worker"
    assert "worker-3" in notes(caught.value.exceptions[0])
    assert hook == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_fatal_in_a_task_unwinds_the_test_when_the_task_is_awaited() -> None:
    order = []
    with pytest.raises(ExceptionGroup) as caught:
        async with fail.scope() as scope:

            async def work() -> None:
                try:
                    await anyio.sleep(0)
                    scope.fatal("in the task")
                finally:
                    order.append("finally")

            async with anyio.create_task_group() as group:
                group.start_soon(work, name="worker-3")
            order.append("went on")
    assert order == ["finally"]
    assert [str(each) for each in caught.value.exceptions] == ["in the task"]
    assert "worker-3" in notes(caught.value.exceptions[0])


@pytest.mark.anyio
async def test_fatal_in_a_task_that_nobody_awaits(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with fail.scope() as scope:

            async def work() -> None:
                scope.fatal("alone")

            task = asyncio.create_task(work())
            await asyncio.wait([task])
            await asyncio.sleep(0)
    assert [str(each) for each in caught.value.exceptions] == ["alone"]
    del task
    assert caplog.text == ""


def test_fatal_of_an_outer_scope_passes_through_an_inner_one() -> None:
    order = []
    with pytest.raises(ExceptionGroup) as caught, fail.scope() as outer:
        with fail.scope():
            outer.fatal("for the outer")
        order.append("went on")
    assert order == []
    assert [str(each) for each in caught.value.exceptions] == ["for the outer"]


def test_reporting_needs_an_open_scope() -> None:
    scope = fail.scope()
    for report in (scope.error, scope.fatal):
        with pytest.raises(fail.ScopeError, match="not open"):
            report("x")
    with scope:
        pass
    for report in (scope.error, scope.fatal):
        with pytest.raises(fail.ScopeError, match="closed"):
            report("x")


# --- the handler of a real server ---


@contextlib.contextmanager
def request(handle: Any, path: str) -> Iterator[http.client.HTTPConnection]:
    """A connection that has asked a real server for the path; both are closed at the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            handle(self)

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = (
        False  # so that who closes it waits for them, and what killed one is recorded by then
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    try:
        connection.request("GET", path)
        yield connection
    finally:
        connection.close()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("how", ["fatal", "pytest.fail"])
def test_a_handler_of_a_real_server(how: str, hook: list[Any], capfd: pytest.CaptureFixture[str]) -> None:
    """The client sees its connection close, the test does not hang, and the scope says what happened."""
    order = []
    with pytest.raises(BaseExceptionGroup) as caught, fail.scope() as scope:

        def handle(handler: Any) -> None:
            try:
                if how == "fatal":
                    scope.fatal(f"bad path {handler.path}")
                pytest.fail(f"bad path {handler.path}")
            finally:
                order.append("finally")

        with request(handle, "/wrong") as connection:
            with pytest.raises(http.client.RemoteDisconnected):
                connection.getresponse()
            order.append("client saw it")
    assert order == ["finally", "client saw it"]
    (failure,) = caught.value.exceptions
    assert "bad path /wrong" in str(failure)
    assert "process_request_thread" in notes(failure)
    assert len(hook) == (how == "pytest.fail")
    if how == "fatal":
        assert capfd.readouterr() == ("", "")


def test_an_assertion_in_a_handler_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    """What socketserver only prints: Go's t.Fatal in a handler, spelled `assert`."""
    with pytest.raises(ExceptionGroup) as caught, fail.scope():

        def handle(handler: Any) -> None:
            assert handler.path == "/right", "bad path"

        with request(handle, "/wrong") as connection, pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
    (failure,) = caught.value.exceptions
    assert isinstance(failure, AssertionError)
    assert "a request handler in thread" in notes(failure)
    assert "bad path" in capfd.readouterr().err  # it is printed all the same


@pytest.mark.anyio
async def test_fatal_in_a_callback_of_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with fail.scope() as scope:
            asyncio.get_running_loop().call_soon(scope.fatal, "in a callback")
            await asyncio.sleep(0)
    assert [str(each) for each in caught.value.exceptions] == ["in a callback"]
    assert caplog.text == ""


def test_the_clients_error_and_the_handlers_are_both_kept() -> None:
    with pytest.raises(ExceptionGroup) as caught, fail.scope() as scope:
        with request(lambda handler: scope.fatal("the reason"), "/") as connection:
            connection.getresponse()
    assert [type(each) for each in caught.value.exceptions] == [http.client.RemoteDisconnected, fail.Failure]


# --- what kills a thread ---


@pytest.mark.parametrize("error", [AssertionError("no"), KeyError("k"), fail.FailpointPanic("p")], ids=repr)
def test_what_kills_a_thread_comes_out(error: BaseException, hook: list[threading.ExceptHookArgs]) -> None:
    def work() -> None:
        raise error

    with pytest.raises(BaseExceptionGroup) as caught, fail.scope():
        run(work, "worker-7")
    assert caught.value.exceptions == (error,)
    assert "in thread 'worker-7'" in notes(error)
    assert [each.exc_value for each in hook] == [error]  # the user's hook still runs


def test_an_injected_raise_that_kills_a_thread(name: str, hook: list[Any]) -> None:
    with pytest.raises(ExceptionGroup) as caught, fail.scope({name: "raise(KeyError)"}) as scope:
        run(fail.point(name).hit)
    (error,) = caught.value.exceptions
    assert isinstance(error, KeyError)
    assert f"injected by failpoint {name!r}" in notes(error)
    assert scope.trace[0].end == "died in thread 'worker'"


@pytest.mark.parametrize("error", [SystemExit(1), SystemExit()])
def test_system_exit_in_a_thread_is_no_failure(error: BaseException, hook: list[Any]) -> None:
    def work() -> None:
        raise error

    with fail.scope():
        run(work)


def test_what_the_code_handled_is_no_failure(name: str) -> None:
    def work() -> None:
        try:
            fail.point(name).hit()
        except KeyError:
            pass

    with fail.scope({name: "raise(KeyError)"}):
        run(work)


def test_a_thread_that_dies_after_the_scope_has_closed(hook: list[Any]) -> None:
    go = threading.Event()

    def work() -> None:
        go.wait(10)
        raise KeyError("late")

    with fail.scope():
        thread = threading.Thread(target=work)
        thread.start()
    go.set()
    thread.join()
    assert len(hook) == 1


def test_failures_of_many_threads_are_all_there(hook: list[Any]) -> None:
    def work(i: int) -> None:
        raise ValueError(i)

    with pytest.raises(ExceptionGroup, match="20 failures in a failpy scope") as caught, fail.scope():
        threads = [threading.Thread(target=work, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(error.args[0] for error in caught.value.exceptions) == list(range(20))


# --- pools ---


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="pool") as made:
        yield made


def fails() -> None:
    raise KeyError("in the pool")


def test_a_future_nobody_asked(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(ExceptionGroup) as caught, fail.scope():
        wait_for_futures([pool.submit(fails)])
        pool.submit(int).result()  # by now the callbacks of the first have run
    (error,) = caught.value.exceptions
    assert isinstance(error, KeyError)
    assert "in thread 'pool_0' of a pool, and nobody asked" in notes(error)


def ask_result(future: Future[None]) -> None:
    with pytest.raises(KeyError):
        future.result()


def ask_exception(future: Future[None]) -> None:
    assert isinstance(future.exception(), KeyError)


@pytest.mark.parametrize("ask", [ask_result, ask_exception])
def test_a_future_that_was_asked(ask: Any, pool: ThreadPoolExecutor) -> None:
    with fail.scope():
        ask(pool.submit(fails))


def test_futures_that_work_or_are_cancelled(pool: ThreadPoolExecutor) -> None:
    go = threading.Event()
    with fail.scope():
        first = pool.submit(go.wait, 10)
        assert pool.submit(int).cancel()
        go.set()
        assert first.result()


@pytest.mark.anyio
async def test_a_future_that_a_task_awaits(pool: ThreadPoolExecutor) -> None:
    async with fail.scope():
        with pytest.raises(KeyError):
            await asyncio.get_running_loop().run_in_executor(pool, fails)
        with pytest.raises(KeyError):
            await asyncio.to_thread(fails)


# --- tasks ---


async def adies() -> None:
    await asyncio.sleep(0)
    raise KeyError("in a task")


@pytest.mark.anyio
@pytest.mark.parametrize("held", [True, False])
async def test_a_task_nobody_awaited(held: bool) -> None:
    loop = asyncio.get_running_loop()
    handled: list[Any] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: handled.append(context["exception"]))
    try:
        with pytest.raises(ExceptionGroup) as caught:
            async with fail.scope():
                tasks = [asyncio.create_task(adies(), name="worker-7")]
                if not held:
                    tasks.clear()
                for _ in range(5):
                    await asyncio.sleep(0)
        (error,) = caught.value.exceptions
        assert isinstance(error, KeyError)
        assert "task 'worker-7', and nobody awaited it" in notes(error)
        tasks.clear()
        assert handled == [error]  # the user's handler still runs
    finally:
        loop.set_exception_handler(before)


@pytest.mark.anyio
async def test_a_task_that_was_awaited_is_the_awaiters() -> None:
    async with fail.scope():
        task = asyncio.create_task(adies())
        with pytest.raises(KeyError):
            await task
        assert isinstance((await asyncio.gather(adies(), return_exceptions=True))[0], KeyError)
        cancelled = asyncio.create_task(asyncio.sleep(10))
        cancelled.cancel()
        await asyncio.wait([cancelled])


@pytest.mark.anyio
async def test_a_task_group_reports_once(name: str) -> None:
    async def work() -> None:
        async with fail.point(name):
            pass

    with pytest.raises(ExceptionGroup) as caught:
        async with fail.scope({name: "raise(KeyError)"}):
            async with asyncio.TaskGroup() as group:
                group.create_task(work())
    assert [type(each) for each in caught.value.exceptions] == [KeyError]


def test_tasks_of_a_loop_that_runs_inside() -> None:
    async def main() -> None:
        task = asyncio.create_task(adies())
        await asyncio.wait([task])
        await asyncio.sleep(0)

    with pytest.raises(ExceptionGroup), fail.scope():
        asyncio.run(main())


# --- together with what the block raised ---


def test_both_are_kept(hook: list[Any]) -> None:
    own = ValueError("the block's own")
    with pytest.raises(ExceptionGroup) as caught, fail.scope():
        run(fails)
        raise own
    assert caught.value.exceptions[0] is own
    assert isinstance(caught.value.exceptions[1], KeyError)


def test_an_exception_that_came_from_the_thread_is_told_once(hook: list[Any]) -> None:
    error = KeyError("k")

    def work() -> None:
        raise error

    with pytest.raises(KeyError) as caught, fail.scope():
        run(work)
        raise error
    assert caught.value is error
    with pytest.raises(ValueError, match="from it"), fail.scope():
        run(work)
        raise ValueError("from it") from error


@pytest.mark.parametrize("own", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()], ids=repr)
def test_what_steers_the_interpreter_stays_what_it_is(own: BaseException, hook: list[Any]) -> None:
    with pytest.raises(type(own)) as caught, fail.scope():
        run(fails)
        raise own
    assert caught.value is own
    assert "KeyError: 'in the pool'" in notes(own)


def test_a_strict_complaint_comes_with_them(name: str, hook: list[Any]) -> None:
    fail.point(name)
    with pytest.raises(ExceptionGroup) as caught, fail.scope({name: "raise"}):
        run(fails)
    assert [type(each) for each in caught.value.exceptions] == [KeyError, fail.NeverFired]


def test_a_decorated_test_gets_them_too(hook: list[Any]) -> None:
    @fail.scope()
    def test() -> None:
        run(fails)

    with pytest.raises(ExceptionGroup):
        test()


# --- near misses ---


def test_a_near_miss_says_where_and_what_to_do(name: str) -> None:
    point = fail.point(name)

    def work() -> None:
        for _ in range(3):
            point.hit()

    with pytest.raises(fail.NeverFired) as caught, fail.scope({name: "raise"}, threads=False):
        run(work, "worker-9")
    text = str(caught.value)
    for part in ("3 times in thread 'worker-9'", "scope.bind", "threads=True", "process scope"):
        assert part in text


def test_a_miss_before_the_scope_or_in_another_one_is_not_near(name: str) -> None:
    point = fail.point(name)
    fail.enable(f"{name}.other", "off")
    with fail.scope({name: "off"}, threads=False):
        run(point.hit, "earlier")

        def other() -> None:
            with fail.scope():
                point.hit()

        with pytest.raises(fail.NeverFired) as caught, fail.scope({name: "raise"}, threads=False):
            run(other, "elsewhere")
    assert "thread" not in str(caught.value)
