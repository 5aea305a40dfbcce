"""Where a scope reaches: every row of the table in docs/explanation/reach.md is measured here."""

from __future__ import annotations

import _thread
import asyncio
import multiprocessing
import re
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from failpy import Scope, fail, failpoint

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "reach.md"

Opener = Callable[[], AbstractContextManager[Scope]]
Carrier = Callable[[Opener], bool]
CARRIERS: dict[str, Carrier] = {}


@failpoint("reach", returns=bool)
def reached(*_: object) -> bool:
    """Whether the scope of the test reaches here."""
    return False


async def areached() -> bool:
    return reached()


# --- naming the carriers ---


def row(label: str) -> Callable[[Carrier], Carrier]:
    """The row of the table that a function measures; it opens the scope itself."""

    def keep(carrier: Carrier) -> Carrier:
        CARRIERS[label] = carrier
        return carrier

    return keep


def inside(label: str) -> Callable[[Callable[[], bool]], Callable[[], bool]]:
    """The same for a function that knows nothing of the scope, and runs inside it."""

    def keep(function: Callable[[], bool]) -> Callable[[], bool]:
        def carrier(scoped: Opener) -> bool:
            with scoped():
                return function()

        CARRIERS[label] = carrier
        return function

    return keep


def inside_asyncio(
    label: str, run: Callable[[Coroutine[Any, Any, bool]], bool] = asyncio.run
) -> Callable[[Callable[[], Coroutine[Any, Any, bool]]], Callable[[], Coroutine[Any, Any, bool]]]:
    """The same for a coroutine function."""

    def keep(function: Callable[[], Coroutine[Any, Any, bool]]) -> Callable[[], Coroutine[Any, Any, bool]]:
        inside(label)(lambda: run(function()))
        return function

    return keep


# --- one thread ---


@inside("a call, `await`")
def _call() -> bool:
    return reached() and asyncio.run(areached())


@inside_asyncio("`asyncio.create_task`")
async def _create_task() -> bool:
    return await asyncio.create_task(areached())


@inside_asyncio("`asyncio.TaskGroup`")
async def _task_group() -> bool:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(areached())
    return task.result()


@inside_asyncio("`asyncio.gather`")
async def _gather() -> bool:
    return all(await asyncio.gather(areached(), areached()))


@inside_asyncio("`loop.call_soon`, `call_later`, `call_soon_threadsafe`")
async def _call_soon() -> bool:
    loop = asyncio.get_running_loop()
    results: list[bool] = []
    done = asyncio.Event()

    def callback(last: bool) -> None:
        results.append(reached())
        if last:
            done.set()

    loop.call_soon(callback, False)
    loop.call_soon_threadsafe(callback, False)
    loop.call_later(0.001, callback, True)
    await done.wait()
    return same(results)


@inside("a trio nursery")
def _nursery() -> bool:
    results: list[bool] = []

    async def child() -> None:
        results.append(reached())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    trio.run(main)
    return same(results)


# --- threads ---


@inside_asyncio("`asyncio.to_thread`")
async def _to_thread() -> bool:
    return await asyncio.to_thread(reached)


@inside_asyncio("`loop.run_in_executor`")
async def _run_in_executor() -> bool:
    return await asyncio.get_running_loop().run_in_executor(None, reached)


@row("`asyncio.run_coroutine_threadsafe`, to a loop that runs before the scope opens")
def _other_loop(scoped: Opener) -> bool:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with scoped():
            return asyncio.run_coroutine_threadsafe(areached(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@inside("`anyio.to_thread.run_sync`, under asyncio and trio")
def _anyio() -> bool:
    async def main() -> bool:
        return await anyio.to_thread.run_sync(reached)

    return same([anyio.run(main, backend=backend) for backend in ("asyncio", "trio")])


@inside("`trio.to_thread.run_sync`")
def _trio() -> bool:
    async def main() -> bool:
        return await trio.to_thread.run_sync(reached)

    return trio.run(main)


@inside("`threading.Thread`")
def _thread_() -> bool:
    return in_thread(threading.Thread)


@inside("`threading.Timer`")
def _timer() -> bool:
    return in_thread(lambda target: threading.Timer(0.001, target))


@inside("a thread that a thread of the scope starts")
def _grandchild() -> bool:
    results: list[bool] = []
    child = threading.Thread(target=lambda: results.append(in_thread(threading.Thread)))
    child.start()
    child.join()
    return same(results)


@row("a thread that runs before the scope opens")
def _early_thread(scoped: Opener) -> bool:
    results: list[bool] = []
    opened = threading.Event()

    def target() -> None:
        opened.wait()
        results.append(reached())

    thread = threading.Thread(target=target)
    thread.start()
    with scoped():
        opened.set()
        thread.join()
    return same(results)


@inside("`_thread.start_new_thread`")
def _raw_thread() -> bool:
    results: list[bool] = []
    done = threading.Event()

    def target() -> None:
        results.append(reached())
        done.set()

    _thread.start_new_thread(target, ())
    assert done.wait(10)
    return same(results)


# --- pools of threads ---


@inside("`ThreadPoolExecutor.submit`, `.map`")
def _pool() -> bool:
    with ThreadPoolExecutor(1) as pool:
        return in_pool(pool)


@row("the same, of a pool that runs before the scope opens")
def _early_pool(scoped: Opener) -> bool:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        with scoped():
            return in_pool(pool)


@inside("`multiprocessing.pool.ThreadPool`, made in the scope")
def _thread_pool() -> bool:
    with ThreadPool(1) as pool:
        return pool.apply(reached)


@row("`multiprocessing.pool.ThreadPool`, made before the scope opens")
def _early_thread_pool(scoped: Opener) -> bool:
    with ThreadPool(1) as pool, scoped():
        return pool.apply(reached)


# --- servers ---


@inside("a handler of `ThreadingHTTPServer` or `socketserver.ThreadingMixIn`, its loop started in the scope")
def _server() -> bool:
    results = []
    for serving, ask in SERVERS:
        with serving() as server:
            results.append(ask(server))
    return same(results)


@row("the same, its loop started before the scope opens")
def _early_server(scoped: Opener) -> bool:
    results = []
    for serving, ask in SERVERS:
        with serving() as server, scoped():
            results.append(ask(server))
    return same(results)


# --- processes ---


@inside("`multiprocessing.Process`, `ProcessPoolExecutor`: start method `fork`")
def _fork() -> bool:
    return in_processes("fork")


@inside("`multiprocessing.Process`, `ProcessPoolExecutor`: start methods `spawn` and `forkserver`")
def _spawn() -> bool:
    return same([in_processes("spawn"), in_processes("forkserver")])


@inside("`subprocess`")
def _subprocess() -> bool:
    return in_program({})


@inside("`subprocess`, with `env=scope.environ()`")
def _subprocess_environ() -> bool:
    scope = fail.current_scope()
    assert scope is not None
    return in_program({"env": scope.environ()})


# --- by hand ---


@row("a function from `scope.bind`, called anywhere in the process")
def _bound(scoped: Opener) -> bool:
    with ThreadPool(1) as pool, scoped() as scope:
        return pool.apply(scope.bind(reached))


# --- uvloop ---


def uvloop_run(coroutine: Coroutine[Any, Any, bool]) -> bool:
    import uvloop  # type: ignore[import-not-found,unused-ignore]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


@inside_asyncio("uvloop: tasks, `to_thread`, `call_soon`", uvloop_run)
async def _uvloop() -> bool:
    return same([await each() for each in (_create_task, _task_group, _gather, _to_thread, _call_soon)])


@inside_asyncio("uvloop: `loop.run_in_executor`", uvloop_run)
async def _uvloop_executor() -> bool:
    return await _run_in_executor()


# --- what they are made of ---


def same(results: list[bool]) -> bool:
    """What all of them say; a row of the table is about things that behave alike."""
    (result,) = set(results)
    return result


def in_thread(make: Callable[..., threading.Thread]) -> bool:
    results: list[bool] = []

    def target() -> None:
        results.append(reached())

    thread = make(target=target)
    thread.start()
    thread.join()
    return same(results)


def in_pool(pool: Executor) -> bool:
    return same([pool.submit(reached).result(), *pool.map(reached, range(2))])


class HTTPHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = repr(reached()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class TCPHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(repr(reached()).encode())


class TCPServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    pass


@contextmanager
def serving(make: Callable[[], socketserver.TCPServer]) -> Iterator[socketserver.TCPServer]:
    with make() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask_http(server: socketserver.TCPServer) -> bool:
    with urllib.request.urlopen("http://{}:{}".format(*server.server_address), timeout=10) as response:
        return bool(response.read() == b"True")


def ask_tcp(server: socketserver.TCPServer) -> bool:
    host, port = "127.0.0.1", server.server_address[1]
    with socket.create_connection((host, port), timeout=10) as connection:
        return bool(connection.recv(100) == b"True")


SERVERS = [
    (partial(serving, lambda: ThreadingHTTPServer(("127.0.0.1", 0), HTTPHandler)), ask_http),
    (partial(serving, lambda: TCPServer(("127.0.0.1", 0), TCPHandler)), ask_tcp),
]


def put_reached(queue: Any) -> None:
    queue.put(reached())


def in_processes(method: str) -> bool:
    context: Any = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=put_reached, args=(queue,))
    process.start()
    alone = queue.get()
    process.join()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return same([alone, pool.submit(reached).result()])


PROGRAM = "from failpy import fail; print(bool(fail.point('reach', returns=bool).hit()))"


def in_program(options: dict[str, Any]) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True, **options
    )
    return bool(done.stdout == "True\n")


# --- the tests ---


def documented() -> dict[str, tuple[bool, bool]]:
    """The table of the page."""
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) +\| (yes|no) +\| (yes|no) +\|$", page, re.MULTILINE)
    return {label: (with_threads == "yes", without == "yes") for label, with_threads, without in rows}


def test_the_page_has_the_carriers_that_are_measured() -> None:
    assert list(documented()) == list(CARRIERS)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("label", CARRIERS)
def test_the_scope_reaches_where_the_page_says(
    label: str, threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "uvloop" in label and find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    if "fork" in label and "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    monkeypatch.delenv("FAILPY_FAILPOINTS", raising=False)

    def scoped() -> Scope:
        return fail.scope({"reach": "return(true)"}, strict=False, threads=threads)

    measured = CARRIERS[label](scoped)
    assert not reached()
    assert measured is documented()[label][not threads]


if __name__ == "__main__":  # print the table
    for label, carrier in CARRIERS.items():
        answers = []
        for threads in (True, False):
            scoped = partial(fail.scope, {"reach": "return(true)"}, strict=False, threads=threads)
            answers.append("yes" if carrier(scoped) else "no")
        print(f"| {label} | {answers[0]} | {answers[1]} |")
