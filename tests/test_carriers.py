"""Where a scope reaches: threads, pools, servers and loops, and what is left of the stdlib afterwards."""

from __future__ import annotations

import asyncio
import functools
import http.client
import inspect
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from failpy import fail, failpoint
from failpy._registry import armed

VALUE = "carriers.value"
TOUCHED: tuple[tuple[type, str], ...] = (
    (threading.Thread, "start"),
    (ThreadPoolExecutor, "submit"),
    (asyncio.BaseEventLoop, "create_task"),
)
LOW_LEVEL = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"

users_own: ContextVar[str] = ContextVar("users_own", default="unset")


@failpoint(VALUE, returns=str)
def value() -> str:
    return "body"


def returning(text: str) -> dict[str, str]:
    return {VALUE: f'return("{text}")'}


def stdlib() -> list[object]:
    return [vars(owner)[attribute] for owner, attribute in TOUCHED]


def is_stdlib(before: list[object]) -> bool:
    return all(now is then for now, then in zip(stdlib(), before, strict=True))


@pytest.fixture(autouse=True)
def stdlib_left_alone() -> Iterator[None]:
    """Whatever a test does, the stdlib is the same objects afterwards."""
    before = stdlib()
    yield
    clean = is_stdlib(before)
    for (owner, attribute), original in zip(TOUCHED, before, strict=True):
        setattr(owner, attribute, original)
    assert clean


def ended(thread: threading.Thread) -> None:
    thread.join(10)
    assert not thread.is_alive()


# --- the ways into another thread: each calls the function there, and gives what it returned ---

Call = Callable[[], Any]


def thread_with_target(call: Call) -> Any:
    result: list[Any] = []

    def run(first: str, *, second: str) -> None:
        result.extend((call(), first, second))

    thread = threading.Thread(target=run, args=("first",), kwargs={"second": "second"})
    thread.start()
    ended(thread)
    assert result[1:] == ["first", "second"]
    return result[0]


class Running(threading.Thread):
    def __init__(self, call: Call, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.call = call

    def run(self) -> None:
        self.result = self.call()


def thread_with_run(call: Call) -> Any:
    thread = Running(call)
    thread.start()
    ended(thread)
    return thread.result


def daemon(call: Call) -> Any:
    thread = Running(call, daemon=True)
    thread.start()
    ended(thread)
    return thread.result


class Starting(Running):
    """A subclass that has a `start` of its own, as some libraries do."""

    def start(self) -> None:
        self.was_started = True
        super().start()


def thread_with_start(call: Call) -> Any:
    thread = Starting(call)
    thread.start()
    ended(thread)
    assert thread.was_started
    return thread.result


def timer(call: Call) -> Any:
    result: list[Any] = []
    thread = threading.Timer(0, lambda: result.append(call()))
    thread.start()
    ended(thread)
    return result[0]


def thread_of_a_thread(call: Call) -> Any:
    return thread_with_run(lambda: thread_with_target(call))


def pool_of_a_thread(call: Call) -> Any:
    return thread_with_run(lambda: submit(call))


def thread_of_a_pool(call: Call) -> Any:
    return submit(lambda: thread_with_target(call))


def submit(call: Call) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(10)


def pool_map(call: Call) -> Any:
    with ThreadPoolExecutor(2) as pool:
        results = set(pool.map(lambda _: call(), range(20)))
    assert len(results) == 1
    return results.pop()


def run_in_executor(call: Call) -> Any:
    async def main() -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, call)

    return asyncio.run(main())


def served(server: socketserver.TCPServer, ask: Callable[[Any], bytes]) -> Any:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        return ask(server.server_address).decode()
    finally:
        server.shutdown()
        server.server_close()
        ended(thread)


def http_server(call: Call) -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = call().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    def ask(address: Any) -> bytes:
        connection = http.client.HTTPConnection(address[0], address[1], timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            connection.close()

    return served(ThreadingHTTPServer(("127.0.0.1", 0), Handler), ask)


def tcp_server(call: Call) -> Any:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(call().encode())

    def ask(address: Any) -> bytes:
        with socket.create_connection(address, timeout=10) as connection:
            answer = b""
            while got := connection.recv(100):
                answer += got
        return answer

    return served(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler), ask)


def asyncio_to_thread(call: Call) -> Any:
    return asyncio.run(asyncio.to_thread(call))


def anyio_to_thread(call: Call) -> Any:
    async def main() -> Any:
        return await anyio.to_thread.run_sync(call)

    return anyio.run(main)


def anyio_to_thread_on_trio(call: Call) -> Any:
    async def main() -> Any:
        return await anyio.to_thread.run_sync(call)

    return anyio.run(main, backend="trio")


def trio_to_thread(call: Call) -> Any:
    async def main() -> Any:
        return await trio.to_thread.run_sync(call)

    return trio.run(main)


CARRIED = [
    thread_with_target,
    thread_with_run,
    thread_with_start,
    daemon,
    timer,
    thread_of_a_thread,
    pool_of_a_thread,
    thread_of_a_pool,
    submit,
    pool_map,
    run_in_executor,
    http_server,
    tcp_server,
]
FOLLOWED_BY_CONTEXT = [asyncio_to_thread, anyio_to_thread, anyio_to_thread_on_trio, trio_to_thread]

Way = Callable[[Call], Any]


@pytest.mark.parametrize("way", CARRIED + FOLLOWED_BY_CONTEXT)
def test_a_scope_reaches(way: Way) -> None:
    with fail.scope(returning("scope")):
        assert way(value) == "scope"
    assert way(value) == "body"


@pytest.mark.parametrize("way", CARRIED)
def test_without_threads_a_scope_does_not_reach(way: Way) -> None:
    with fail.scope(returning("scope"), threads=False, strict=False):
        assert way(value) == "body"


@pytest.mark.parametrize("way", FOLLOWED_BY_CONTEXT)
def test_what_the_context_follows_by_itself_needs_no_carrying(way: Way) -> None:
    with fail.scope(returning("scope"), threads=False):
        assert way(value) == "scope"


@pytest.mark.parametrize("way", CARRIED)
def test_no_variable_but_ours_travels(way: Way) -> None:
    token = users_own.set("set")
    try:
        with fail.scope(returning("scope")):
            assert way(lambda: f"{value()} {users_own.get()}") == "scope unset"
    finally:
        users_own.reset(token)


@pytest.mark.parametrize("way", CARRIED)
def test_the_scope_that_arrives_is_the_live_one(way: Way) -> None:
    """It is the very scope, so that arming it here is seen there, and it is the current scope there."""
    with fail.scope() as scope:

        def there() -> str:
            assert fail.current_scope() is scope
            scope.enable(VALUE, 'return("from there")')
            return value()

        assert way(there) == "from there"
        assert value() == "from there"


def test_arming_reaches_a_thread_that_runs_already() -> None:
    armed_now = threading.Event()
    with fail.scope() as scope:
        thread = Running(lambda: (armed_now.wait(10), value()))
        thread.start()
        scope.enable(VALUE, 'return("later")')
        armed_now.set()
        ended(thread)
    assert thread.result == (True, "later")


def test_a_thread_that_outlives_its_scope_is_in_none() -> None:
    closed = threading.Event()
    with fail.scope(returning("inner"), strict=False):
        thread = Running(lambda: (closed.wait(10), value(), fail.current_scope()))
        thread.start()
    closed.set()
    ended(thread)
    assert thread.result == (True, "body", None)


def test_a_thread_that_outlives_its_scope_is_in_the_one_around_it() -> None:
    closed = threading.Event()
    with fail.scope(returning("outer")) as outer:
        with fail.scope(returning("inner"), strict=False):
            thread = Running(lambda: (closed.wait(10), value(), fail.current_scope()))
            thread.start()
        closed.set()
        ended(thread)
    assert thread.result == (True, "outer", outer)


# --- pools ---


def test_work_carries_the_scope_it_was_submitted_in_and_no_other() -> None:
    """One worker does the work of no scope, of one and of another, in turns."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(value).result(10) == "body"
        for _ in range(3):
            with fail.scope(returning("a")):
                assert pool.submit(value).result(10) == "a"
                with fail.scope(returning("b")):
                    assert pool.submit(value).result(10) == "b"
                assert pool.submit(value).result(10) == "a"
            assert pool.submit(value).result(10) == "body"


def test_interleaved_on_one_worker() -> None:
    """Queued all at once, from contexts that know nothing of each other."""
    hold = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold.wait, 10)
        scopes = [fail.scope(returning(str(n))) for n in range(3)]
        contexts = [copy_context() for _ in scopes]
        for context, scope in zip(contexts, scopes, strict=True):
            context.run(scope.__enter__)
        futures = []
        for _ in range(5):
            futures += [context.run(pool.submit, value) for context in contexts]
            futures.append(pool.submit(value))
        hold.set()
        results = [future.result(10) for future in futures]
        for context, scope in zip(contexts, scopes, strict=True):
            context.run(scope.__exit__, None, None, None)
    assert results == ["0", "1", "2", "body"] * 5


def test_a_pool_made_in_a_scope_does_not_leak_it() -> None:
    """Its workers begin inside the scope; what is submitted elsewhere, meanwhile or later, is not."""
    outside = copy_context()
    with fail.scope(returning("scope")):
        pool = ThreadPoolExecutor(1)
        assert pool.submit(value).result(10) == "scope"
        assert outside.run(pool.submit, value).result(10) == "body"
        assert outside.run(pool.submit, fail.current_scope).result(10) is None
    with pool:
        assert pool.submit(value).result(10) == "body"


def test_work_that_runs_after_its_scope_has_closed_is_in_none() -> None:
    hold = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with fail.scope(returning("scope"), strict=False):
            pool.submit(hold.wait, 10)
            future = pool.submit(value)
        hold.set()
        assert future.result(10) == "body"


def test_work_takes_its_arguments_whatever_their_names() -> None:
    def work(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    with fail.scope(), ThreadPoolExecutor(1) as pool:
        given: dict[str, Any] = {"self": 1, "fn": 2, "layer": 3}
        assert pool.submit(work, 0, **given).result(10) == ((0,), given)


def test_what_work_raises_is_what_its_future_gives() -> None:
    error = ValueError("the work's own")

    def work() -> None:
        raise error

    with fail.scope(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).exception(10) is error


def test_a_scope_opened_by_work_ends_with_it() -> None:
    def work() -> str:
        with fail.scope(returning("inner")):
            return value()

    with fail.scope(returning("outer")), ThreadPoolExecutor(1) as pool:
        assert [pool.submit(each).result(10) for each in (work, value)] == ["inner", "outer"]


# --- nesting ---


@pytest.mark.parametrize("way", CARRIED)
def test_the_innermost_scope_that_follows_threads_is_carried(way: Way) -> None:
    with fail.scope(returning("outer")):
        with fail.scope(returning("inner"), threads=False):
            assert value() == "inner"
            assert way(value) == "outer"
        with fail.scope(returning("inner")):
            assert way(value) == "inner"


def test_a_scope_that_follows_carries_those_around_it(name: str) -> None:
    """The point armed only around it is found from there, through the scope without threads too."""
    with fail.scope({name: "return(1)"}, threads=False):
        with fail.scope(returning("inner")):
            point = fail.point(name, returns=int)
            hit = thread_with_run(point.hit)
            assert hit.value == 1
            assert thread_with_run(value) == "inner"


def test_the_process_scope_needs_no_carrying() -> None:
    before = stdlib()
    fail.enable(VALUE, 'return("process")')
    assert is_stdlib(before)
    assert thread_with_run(value) == "process"


# --- what is left of the stdlib ---


def test_a_scope_without_threads_touches_nothing() -> None:
    before = stdlib()
    with fail.scope(returning("x"), threads=False):
        assert is_stdlib(before)
        value()


def test_a_scope_puts_the_stdlib_back() -> None:
    before = stdlib()
    with fail.scope():
        assert not is_stdlib(before)
    assert is_stdlib(before)


def test_a_scope_that_cannot_open_puts_the_stdlib_back() -> None:
    before = stdlib()
    with pytest.raises(fail.ReturnTypeError), fail.scope({VALUE: "return(1)"}):
        pytest.fail("it opened")
    assert is_stdlib(before)


def test_a_scope_that_fails_puts_the_stdlib_back() -> None:
    before = stdlib()
    with pytest.raises(fail.NeverFired), fail.scope(returning("x")):
        pass
    with pytest.raises(ZeroDivisionError), fail.scope():
        1 / 0  # noqa: B018
    assert is_stdlib(before)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_scopes_closed_in_any_order_put_the_stdlib_back_at_the_last(order: tuple[int, ...]) -> None:
    before = stdlib()
    scopes = [fail.scope(), fail.scope(threads=False), fail.scope()]
    for scope in scopes:
        scope.__enter__()
    for n in order:
        assert not is_stdlib(before) or scopes[0].closed
        scopes[n].__exit__(None, None, None)
    assert is_stdlib(before)


def test_overlapping_scopes_of_two_contexts() -> None:
    before = stdlib()
    contexts, scopes = [copy_context(), copy_context()], [fail.scope(), fail.scope()]
    for context, scope in zip(contexts, scopes, strict=True):
        context.run(scope.__enter__)
    for context, scope in zip(contexts, scopes, strict=True):
        assert not is_stdlib(before)
        context.run(scope.__exit__, None, None, None)
    assert is_stdlib(before)


def test_scopes_of_many_threads_at_once() -> None:
    before = stdlib()
    barrier = threading.Barrier(8)

    def work(n: int) -> bool:
        barrier.wait(10)
        for _ in range(50):
            with fail.scope(returning(str(n))):
                if thread_with_run(value) != str(n):
                    return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert is_stdlib(before)
    assert armed() == {}


def test_what_stands_there_keeps_its_name_and_signature() -> None:
    def look() -> list[Any]:
        return [
            (f.__name__, f.__qualname__, f.__doc__, inspect.signature(f)) for f in map(of_stdlib, TOUCHED)
        ]

    def of_stdlib(where: tuple[type, str]) -> Any:
        return vars(where[0])[where[1]]

    before = look()
    with fail.scope():
        assert look() == before


def test_a_patch_put_over_ours_stays_and_carries_nothing_afterwards() -> None:
    """Ours lies under it, so it cannot be taken away; it is inert, and no obstacle to the next scope."""
    original = threading.Thread.start
    seen = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            with fail.scope(returning("first")):
                ours = threading.Thread.start

                def theirs(self: threading.Thread) -> None:
                    seen.append(self)
                    ours(self)

                patch.setattr(threading.Thread, "start", theirs)
                assert thread_with_run(value) == "first"
            assert threading.Thread.start is theirs
            assert thread_with_run(value) == "body"
            assert len(seen) == 2

            with fail.scope(returning("second")) as scope:
                assert thread_with_run(value) == "second"
                assert scope.status(VALUE).hits == 1
            assert threading.Thread.start is theirs
        # What they put back is ours, which they found there.
        assert thread_with_run(value) == "body"
        with fail.scope(returning("third")) as scope:
            assert thread_with_run(value) == "third"
            assert scope.status(VALUE).hits == 1
        assert thread_with_run(value) == "body"
    finally:
        threading.Thread.start = original  # type: ignore[method-assign]


@pytest.mark.parametrize("touched", TOUCHED)
def test_a_patch_taken_away_meanwhile_is_no_obstacle(touched: tuple[type, str]) -> None:
    owner, attribute = touched
    original = vars(owner)[attribute]
    with fail.scope(returning("scope")):
        with pytest.MonkeyPatch.context() as patch:
            ours = vars(owner)[attribute]
            patch.setattr(owner, attribute, lambda *args, **kwargs: ours(*args, **kwargs))
            assert submit(value) == "scope"
        assert thread_with_run(value) == "scope"
    assert vars(owner)[attribute] is original


def test_a_patch_that_was_there_first_is_what_is_put_back() -> None:
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        original = threading.Thread.start

        def theirs(self: threading.Thread) -> None:
            seen.append(self)
            original(self)

        patch.setattr(threading.Thread, "start", theirs)
        with fail.scope(returning("scope")):
            assert thread_with_run(value) == "scope"
        assert threading.Thread.start is theirs
        assert len(seen) == 1


def test_a_patch_that_ignores_ours_is_what_counts() -> None:
    """Somebody puts the original back in the middle: nothing is carried, and it stays."""
    original = threading.Thread.start
    with fail.scope(returning("scope"), strict=False):
        threading.Thread.start = original  # type: ignore[method-assign]
        assert value() == "scope"
    assert threading.Thread.start is original


# --- a thread is what it was ---


def test_a_thread_looks_the_same_while_it_runs_and_afterwards() -> None:
    def look(thread: threading.Thread) -> list[str]:
        return sorted(vars(thread))

    looks = []
    plain = Running(lambda: looks.append(look(threading.current_thread())))
    plain.start()
    ended(plain)
    with fail.scope():
        carried = Running(lambda: looks.append(look(threading.current_thread())))
        carried.start()
        ended(carried)
    assert looks[0] == looks[1]
    assert look(plain) == look(carried)


def test_a_thread_that_cannot_start_is_left_as_it_was() -> None:
    thread = threading.Thread(target=value)
    before = dict(vars(thread))
    with fail.scope(returning("scope"), strict=False):
        with pytest.MonkeyPatch.context() as patch:

            def refuse(*_: object, **__: object) -> None:
                raise RuntimeError("can't start new thread")

            patch.setattr(threading, LOW_LEVEL, refuse)
            for _ in range(2):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    thread.start()
                assert vars(thread) == before
                assert thread not in threading.enumerate()
    thread.start()  # and it can still start later, outside
    ended(thread)


def test_a_thread_that_could_not_start_can_start_in_another_scope() -> None:
    thread = Running(value)
    with fail.scope(returning("first"), strict=False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading, LOW_LEVEL, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                thread.start()
    with fail.scope(returning("second")):
        thread.start()
        ended(thread)
    assert thread.result == "second"


def test_a_run_that_was_put_on_the_thread_itself_is_left_there() -> None:
    results: list[str] = []

    def run() -> None:
        results.append(value())

    thread = threading.Thread()
    thread.run = run  # type: ignore[method-assign]
    before = dict(vars(thread))
    with fail.scope(returning("scope")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading, LOW_LEVEL, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                thread.start()
        assert vars(thread) == before
        thread.start()
        ended(thread)
    assert results == ["scope"]
    assert thread.run is run


def test_a_thread_started_twice_is_left_as_it_was() -> None:
    go = threading.Event()
    with fail.scope(returning("scope")):
        thread = Running(lambda: (go.wait(10), value())[1])
        thread.start()
        running = dict(vars(thread))
        with pytest.raises(RuntimeError, match="started once"):
            thread.start()
        assert vars(thread) == running
        go.set()
        ended(thread)
        over = dict(vars(thread))
        with pytest.raises(RuntimeError, match="started once"):
            thread.start()
        assert vars(thread) == over
        assert thread.result == "scope"


def test_a_thread_without_its_init_is_the_same_error() -> None:
    class Forgetful(threading.Thread):
        def __init__(self) -> None: ...

    with pytest.raises(RuntimeError, match="not called"):
        Forgetful().start()
    with fail.scope(), pytest.raises(RuntimeError, match="not called"):
        Forgetful().start()


class InheritsInRun(threading.Thread):
    """Runs in a copy of the context that starts it, as every thread may from Python 3.14 on."""

    def start(self) -> None:
        self.context = copy_context()
        super().start()

    def run(self) -> None:
        self.context.run(super().run)


class InheritsInBootstrap(threading.Thread):
    """The same, below what is carried."""

    def start(self) -> None:
        self.context = copy_context()
        super().start()

    def _bootstrap_inner(self) -> None:
        self.context.run(super()._bootstrap_inner)  # type: ignore[misc]


@pytest.mark.parametrize("kind", [InheritsInRun, InheritsInBootstrap])
def test_a_thread_that_inherits_its_context_carries_nothing_twice(kind: type[threading.Thread]) -> None:
    results: list[Any] = []

    def work() -> None:
        results.extend([value(), fail.current_scope()])
        with fail.scope(returning("inner")):
            results.append(value())
        results.append(fail.current_scope())

    with fail.scope(returning("scope")) as scope:
        thread = kind(target=work)
        thread.start()
        ended(thread)
        assert scope.status(VALUE).hits == len(scope.trace) == 1
    assert results == ["scope", scope, "inner", scope]


@pytest.mark.parametrize("kind", [InheritsInRun, InheritsInBootstrap])
def test_a_death_in_a_thread_that_inherits_its_context_is_told_once(kind: type[threading.Thread]) -> None:
    quiet = threading.excepthook
    threading.excepthook = lambda _: None
    try:
        with pytest.raises(ExceptionGroup) as caught:
            with fail.scope({VALUE: "raise(KeyError)"}):
                thread = kind(target=value)
                thread.start()
                ended(thread)
    finally:
        threading.excepthook = quiet
    assert [type(each) for each in caught.value.exceptions] == [KeyError]


def test_the_trace_names_the_threads() -> None:
    with fail.scope(returning("scope")) as scope:
        value()
        for n in range(2):
            thread = threading.Thread(target=value, name=f"worker {n}")
            thread.start()
            ended(thread)
        with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
            pool.submit(value).result(10)
        named = [entry.thread for entry in scope.trace]
    assert named == [threading.current_thread().name, "worker 0", "worker 1", "pool_0"]
    assert "in worker 0" in str(scope.trace[1])


# --- bind: by hand ---


def test_bind_carries_the_scope_by_hand() -> None:
    with fail.scope(returning("scope"), threads=False) as scope:
        bound = scope.bind(value)
        assert thread_with_run(bound) == "scope"
        assert submit(bound) == "scope"
        assert thread_with_run(value) == "body"


def test_bind_in_a_context_that_has_a_scope_of_its_own() -> None:
    with fail.scope(returning("bound")) as scope:
        bound = scope.bind(value)
        with fail.scope(returning("inner")) as inner:
            assert [value(), bound(), value()] == ["inner", "bound", "inner"]
            assert fail.current_scope() is inner


async def bound_in_tasks() -> list[str]:
    with fail.scope(returning("scope"), threads=False) as scope:

        async def work(argument: str, *, other: str) -> str:
            await asyncio.sleep(0)
            assert (argument, other) == ("a", "b")
            async with fail.scope():  # which ends where it began
                await asyncio.sleep(0)
            return value()

        bound = scope.bind(work)
        assert inspect.iscoroutinefunction(bound)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(bound("a", other="b"), context=Context()) for _ in range(3)]
        results = await asyncio.gather(*tasks)
    return [*results, value()]


def test_bind_of_a_coroutine_function() -> None:
    assert asyncio.run(bound_in_tasks()) == ["scope", "scope", "scope", "body"]


def test_bind_of_a_coroutine_function_for_the_loop_of_another_thread() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return value()

    with fail.scope(returning("scope"), threads=False) as scope:
        bound = scope.bind(work)
        assert thread_with_run(lambda: asyncio.run(bound())) == "scope"
        assert thread_with_run(lambda: asyncio.run(work())) == "body"


class Service:
    def __init__(self, name: str) -> None:
        self.name = name

    def method(self, suffix: str = "!") -> str:
        return f"{self.name} {value()}{suffix}"

    @classmethod
    def of_class(cls) -> str:
        return f"{cls.__name__} {value()}"

    @staticmethod
    def static() -> str:
        return value()

    async def coroutine(self) -> str:
        return f"{self.name} {value()}"

    def __call__(self) -> str:
        return f"called {value()}"


def test_bind_of_methods() -> None:
    service = Service("it")
    with fail.scope(returning("scope"), threads=False) as scope:
        assert thread_with_run(scope.bind(service.method)) == "it scope!"
        assert thread_with_run(functools.partial(scope.bind(service.method), suffix="?")) == "it scope?"
        assert thread_with_run(scope.bind(service.of_class)) == "Service scope"
        assert thread_with_run(scope.bind(service.static)) == "scope"
        assert thread_with_run(scope.bind(service)) == "called scope"
        assert thread_with_run(scope.bind(functools.partial(service.method, "."))) == "it scope."
        assert thread_with_run(lambda: asyncio.run(scope.bind(service.coroutine)())) == "it scope"


def test_bind_keeps_name_and_signature() -> None:
    def work(a: int, /, b: str = "b", *rest: int, c: float = 1.0, **others: Any) -> dict[str, int]:
        """What it does."""
        raise AssertionError

    async def awork(a: int) -> None: ...

    with fail.scope() as scope:
        for function in (work, awork):
            bound = scope.bind(function)
            assert inspect.signature(bound) == inspect.signature(function)
            assert (bound.__name__, bound.__qualname__) == (function.__name__, function.__qualname__)
            assert bound.__doc__ == function.__doc__


def test_exceptions_of_what_is_bound_pass_through() -> None:
    error = ZeroDivisionError("its own")

    def work() -> None:
        raise error

    async def awork() -> None:
        raise error

    with fail.scope(returning("scope")) as scope:
        for call in (scope.bind(work), lambda: asyncio.run(scope.bind(awork)())):
            with pytest.raises(ZeroDivisionError) as caught:
                call()
            assert caught.value is error
            assert fail.current_scope() is scope
        value()


def test_bind_refuses_what_outlives_its_call() -> None:
    def generator() -> Any:
        yield

    async def agenerator() -> Any:
        yield

    with fail.scope() as scope:
        for function in (generator, agenerator, functools.partial(generator)):
            with pytest.raises(TypeError, match="bind cannot carry a generator"):
                scope.bind(function)


@pytest.mark.parametrize("thing", [None, 5, "value", [value]])
def test_bind_refuses_what_cannot_be_called(thing: Any) -> None:
    with fail.scope() as scope, pytest.raises(TypeError, match="bind takes a function, not "):
        scope.bind(thing)


def test_bind_needs_an_open_scope() -> None:
    scope = fail.scope()
    with pytest.raises(fail.ScopeError, match="is not open"):
        scope.bind(value)
    with scope:
        pass
    with pytest.raises(fail.ScopeError, match="is closed"):
        scope.bind(value)


def test_what_was_bound_is_inert_once_the_scope_has_closed() -> None:
    async def awork() -> str:
        return value()

    with fail.scope(returning("scope"), strict=False) as scope:
        bound, abound = scope.bind(value), scope.bind(awork)
    assert bound() == "body"
    assert asyncio.run(abound()) == "body"
    with fail.scope(returning("another")):
        assert [bound(), asyncio.run(abound()), value()] == ["another"] * 3


def test_a_class_that_only_inherits_what_is_to_be_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gevent's `Thread`, which it puts in place of the one of `threading`."""
    from failpy import _carriers

    class Thread(threading.Thread):
        pass

    hook = _carriers._Hook(Thread, "start", _carriers._start)
    monkeypatch.setattr(_carriers, "_hooks", [hook])
    for _ in range(2):
        with fail.scope(returning("carried")):
            found: list[str] = []
            thread = Thread(target=lambda found=found: found.append(value()))
            thread.start()
            thread.join()
            assert found == ["carried"]
        assert "start" not in vars(Thread)
