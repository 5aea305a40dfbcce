"""A request that is served in the scope that came with it: the middlewares, and the hooks of clients."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from flask import Flask, stream_with_context
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from failpy import FailpointError, FailpointPanic, InvalidName, NeverFired, fail
from failpy._config import config
from failpy._registry import armed
from tests.travelling import KEY, asgi_client, away, key, point, starlette, travel, wsgi_client

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

__all__ = ["key", "point"]

pytestmark = pytest.mark.anyio


def hit(point: str) -> Callable[[], str]:
    """Work of a service: to hit a point, and answer with the value of it, or with what it raised."""

    def work() -> str:
        try:
            found = fail.point(point).hit()
        except Exception as exc:
            return f"{type(exc).__name__}"
        return str(found.value) if found else "done"

    return work


def flask(work: Callable[[], Any], **options: Any) -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/", "index", work)
    app.wsgi_app = fail.WSGIMiddleware(app.wsgi_app, service="pay", **options)  # type: ignore[method-assign]
    return app


# --- ASGI ---


async def test_a_request_is_served_in_its_scope_and_no_other_is(point: str) -> None:
    async with asgi_client(starlette(hit(point))) as client:
        assert (await client.get("/")).text == "done"
        with travel({f"pay:{point}": '1*return("x")'}) as scope:
            for nth in (1, 2):  # each request has a first hit
                response = await client.get("/")
                assert (response.text, scope.status(f"pay:{point}").fired) == ("x", nth)
        assert (await client.get("/")).text == "done"
    assert armed() == {}
    assert scope.trace[0].thread == f"process {os.getpid()}"


async def test_requests_side_by_side_have_scopes_of_their_own(point: str) -> None:
    async with asgi_client(starlette(hit(point))) as client:

        async def ask(number: int) -> str:
            if number % 5:
                return (await client.get("/")).text
            with travel({point: f'return("{number}")'}, threads=False) as scope:
                answer = (await client.get("/")).text
            assert scope.status(point).fired == 1
            return answer

        answers = await asyncio.gather(*map(ask, range(100)))
    assert answers == ["done" if number % 5 else str(number) for number in range(100)]


async def test_an_exception_that_nobody_handles_is_reported_by_the_page_of_the_program(point: str) -> None:
    async def page(request: Request, exc: Exception) -> PlainTextResponse:
        return PlainTextResponse(f"sorry: {exc}", status_code=500)

    def work() -> None:
        fail.point(point).hit()

    for handlers, text in (
        ({Exception: page}, "sorry: boom"),
        ({500: page}, "sorry: boom"),
        ({}, "Internal"),
    ):
        app = starlette(work)
        app.exception_handlers.update(handlers)
        async with asgi_client(app) as client:
            with travel({f"pay:{point}": 'raise(ValueError("boom"))'}) as scope:
                response = await client.get("/")
        assert (response.status_code, response.text[: len(text)]) == (500, text)
        assert scope.trace[0].end == "came out of the service"


async def bare(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    fail.point(scope["path"][1:]).hit()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.mark.parametrize("term", ["raise", "panic"])
async def test_a_bare_application_that_raises_answers_with_a_report(
    point: str, term: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with asgi_client(fail.ASGIMiddleware(bare, service="pay")) as client:
        with travel({f"pay:{point}": term}) as scope:
            response = await client.get(f"/{point}")
            assert (response.status_code, response.text) == (500, "Internal Server Error")
            assert scope.status(f"pay:{point}").fired == 1
        with travel({f"pay:{point}": '50%return("x")'}):
            assert (await client.get(f"/{point}")).text == "done"
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == (
        [f"a request ended with failpoint panic: {point}"] if term == "panic" else []
    )


def test_a_panic_ends_a_wsgi_request_and_no_worker(point: str, caplog: pytest.LogCaptureFixture) -> None:
    with wsgi_client(flask(lambda: fail.point(point).hit())) as client, travel({f"pay:{point}": "panic"}):
        assert (client.get("/").status_code, client.get("/").text) == (500, "Internal Server Error")
    assert "FailpointPanic" in caplog.text


async def test_a_panic_in_a_group_with_another_exception_goes_its_way(point: str) -> None:
    def work() -> None:
        raise BaseExceptionGroup("both", [FailpointPanic("one"), KeyboardInterrupt()])

    with travel({point: "off"}, strict=False) as scope:
        request = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": _raw(scope)}
        with pytest.raises(BaseExceptionGroup, match="both"):
            await away(starlette(work))(request, None, None)


def test_an_asgi_application_is_none_of_wsgi() -> None:
    for app in (bare, starlette(print)):
        with pytest.raises(TypeError, match=r"is an ASGI application: wrap it in fail.ASGIMiddleware"):
            fail.WSGIMiddleware(app)  # type: ignore[arg-type]


def _raw(scope: fail.Scope) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in scope.headers().items()]


async def test_another_framework_makes_its_own_page(point: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["app"] = object()
        fail.point(point).hit()

    async def send(message: Any) -> None:
        raise AssertionError("nothing is to be sent")

    with travel({point: "raise"}, strict=False) as scope:
        with pytest.raises(FailpointError):
            await away(fail.ASGIMiddleware(app))({"type": "http", "headers": _raw(scope)}, None, send)


async def test_an_exception_after_the_response_has_begun_goes_its_way(point: str) -> None:
    async def body() -> Any:
        yield b"one"
        fail.point(point).hit()

    async def work(request: Request) -> StreamingResponse:
        return StreamingResponse(body())

    app = Starlette(routes=[Route("/", work)], middleware=[Middleware(fail.ASGIMiddleware, service="pay")])
    transport = httpx.ASGITransport(away(app))
    async with fail.hook_httpx(httpx.AsyncClient(transport=transport, base_url="http://pay")) as client:
        with travel({f"pay:{point}": "raise(KeyError)"}, strict=False):
            with pytest.raises(KeyError):
                await client.get("/")
    assert armed() == {}


async def test_a_request_that_is_cancelled_closes_its_scope(point: str) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    app = fail.ASGIMiddleware(starlette(work))
    with travel({point: "raise"}, strict=False) as scope:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        request = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": _raw(scope)}
        task = asyncio.create_task(away(app)(request, None, send))
        await begun.wait()
        assert armed()[point] == 3  # ours, and that of either middleware
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (armed()[point], sent) == (1, [])


async def test_a_websocket_is_in_the_scope_too(point: str) -> None:
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(hit(point)())

    app = Starlette(routes=[WebSocketRoute("/", talk)], middleware=[Middleware(fail.ASGIMiddleware)])
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with travel({point: 'return("x")'}, strict=False) as scope:
        request = {"type": "websocket", "path": "/", "query_string": b"", "headers": _raw(scope)}
        await away(app)(request, receive, send)
        await away(app)({**request, "headers": []}, receive, send)
    assert [message.get("text") for message in sent] == [None, "x", None, "done"]


async def test_the_lifespan_of_an_application_goes_through() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    await fail.ASGIMiddleware(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == [{"type": "lifespan"}]


# --- WSGI ---


def test_a_wsgi_request_is_served_in_its_scope(point: str) -> None:
    with wsgi_client(flask(hit(point))) as client:
        with travel({f"pay:{point}": 'return("x")'}) as scope:
            assert client.get("/").text == "x"
        assert client.get("/").text == "done"
    assert scope.status(f"pay:{point}").fired == 1


def test_flask_makes_its_own_page_of_an_exception(point: str) -> None:
    app = flask(lambda: fail.point(point).hit())
    app.register_error_handler(500, lambda error: ("sorry", 500))
    with wsgi_client(app) as client, travel({f"pay:{point}": "raise"}) as scope:
        assert client.get("/").text == "sorry"
    assert "Flask" in (scope.trace[0].end or "")


def test_a_streamed_body_is_made_in_the_scope(point: str) -> None:
    def body() -> Iterator[str]:
        yield hit(point)()
        yield hit(point)()

    app = flask(lambda: app.response_class(stream_with_context(body())))
    with wsgi_client(app) as client:
        with travel({point: 'return("x")'}, strict=False):
            with client.stream("GET", "/") as response:
                assert response.read() == b"xx"
        assert client.get("/").text == "donedone"
    assert armed() == {}


def test_a_body_that_is_not_read_to_its_end_is_closed(point: str) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"one"
            raise AssertionError("nobody asks for this")

        def close(self) -> None:
            closed.append(hit(point)())

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body() if environ["PATH_INFO"] == "/closing" else iter([b"one", b"two"])

    wrapped = fail.WSGIMiddleware(app)
    for path, expected in (("/closing", ["x"]), ("/plain", [])):
        closed.clear()
        with travel({point: 'return("x")'}, strict=False) as scope:
            environ = {"PATH_INFO": path, "HTTP_BAGGAGE": scope.headers()["baggage"]}
            body = wrapped(environ, lambda *_: None)
            assert next(iter(body)) == b"one"
            assert armed()[point] == 2
            body.close()  # type: ignore[attr-defined]
            assert (closed, armed()[point]) == (expected, 1)
            body.close()  # type: ignore[attr-defined]


def test_a_body_that_is_a_list_stays_one(point: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [hit(point)().encode()]

    with travel({point: 'return("x")'}, strict=False) as scope:
        environ = {"HTTP_BAGGAGE": scope.headers()["baggage"]}
        assert fail.WSGIMiddleware(app)(environ, lambda *_: None) == [b"x"]
        assert armed()[point] == 1


def test_an_exception_in_a_body_goes_its_way(point: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        fail.point(point).hit()

    with travel({point: "raise(KeyError)"}, strict=False) as scope:
        body = fail.WSGIMiddleware(app)({"HTTP_BAGGAGE": scope.headers()["baggage"]}, lambda *_: None)
        assert iter(body) is body
        with pytest.raises(KeyError):
            list(body)
        assert armed()[point] == 1


def test_an_exception_of_a_bare_wsgi_application_goes_to_the_server(point: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        fail.point(point).hit()

    with travel({point: "raise(KeyError)"}, strict=False) as scope:
        with pytest.raises(KeyError):
            fail.WSGIMiddleware(app)({"HTTP_BAGGAGE": scope.headers()["baggage"]}, lambda *_: None)
        assert armed()[point] == 1


# --- failures of a service ---


def _tell() -> None:
    scope = fail.current_scope()
    assert scope is not None
    scope.error("lost a cent")
    scope.fatal("and a euro")


async def test_failures_of_a_service_come_out_of_the_scope_that_asked(point: str) -> None:
    async with asgi_client(starlette(_tell)) as client:
        with pytest.raises(ExceptionGroup) as group, travel({point: "off"}):
            assert (await client.get("/")).status_code == 500
    assert [str(each) for each in group.value.exceptions] == ["Failure: lost a cent", "Failure: and a euro"]


def test_failures_of_a_wsgi_service_do_too(point: str) -> None:
    with wsgi_client(fail.WSGIMiddleware(lambda environ, start: _tell())) as client:  # type: ignore[arg-type, func-returns-value, return-value]
        with pytest.raises(ExceptionGroup) as group, travel({point: "off"}):
            assert client.get("/").text == "Internal Server Error"
    assert len(group.value.exceptions) == 2


async def test_a_thread_that_dies_is_reported(point: str) -> None:
    def work() -> None:
        thread = threading.Thread(target=lambda: fail.point(point).hit())
        thread.start()
        thread.join()

    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        async with asgi_client(starlette(work)) as client:
            with pytest.raises(ExceptionGroup) as group, travel({f"pay:{point}": "raise(KeyError)"}):
                await client.get("/")
    finally:
        threading.excepthook = hook
    assert "KeyError" in str(group.value.exceptions[0])


async def test_who_waits_for_a_turn_goes_on_when_the_request_is_over(point: str) -> None:
    threads = []

    def work() -> None:
        scope = fail.current_scope()
        assert scope is not None
        scope.order(f"{point}.first", point, timeout=100.0)
        threads.append(threading.Thread(target=lambda: fail.point(point).hit()))
        threads[0].start()

    async with asgi_client(starlette(work)) as client:
        with travel({f"pay:{point}": "off"}):
            await client.get("/")
            threads[0].join(timeout=50)
            assert not threads[0].is_alive()


# --- what comes in and has no effect ---


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.INFO, "failpy.propagation")
    return lambda: "\n".join(
        f"{each.levelname} {each.message}" for each in caplog.records if each.name == "failpy.propagation"
    )


async def test_a_header_that_is_not_good_has_no_effect(point: str, log: Callable[[], str]) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(away(starlette(hit(point)))), base_url="http://pay"
    ) as client:
        with travel({point: 'return("x")'}, strict=False) as scope:
            good = scope.headers()["baggage"]
            assert (await client.get("/", headers={"baggage": good})).text == "x"
            for bad in (good[:-1], f"{good}x", "failpy=x", f"{good}, failpy=y", "failpy=" + "x" * 9000):
                response = await client.get("/", headers={"baggage": bad})
                assert (response.text, "failpy-report" in response.headers) == ("done", False)
            for other in ("other=1", "other=failpy", "failpy="):
                assert (await client.get("/", headers={"baggage": other})).text == "done"
    assert log().count("WARNING a request came with a scope that has no effect: ") == 5


@pytest.mark.parametrize(
    ("options", "terms", "reason"),
    [
        (
            {},
            "kill",
            r"kill may not be armed from outside: start the service with FAILPY_PROPAGATION_ALLOW=kill",
        ),
        ({"allow": ["kill"]}, "kill->exit(2)", r"exit(2) may not be armed from outside"),
        ({}, "1*off->50%raise(SystemExit)", "FAILPY_PROPAGATION_ALLOW=exit"),
        ({}, "raise(KeyboardInterrupt)", "FAILPY_PROPAGATION_ALLOW=exit"),
        ({}, "raise(asyncio.CancelledError)", "FAILPY_PROPAGATION_ALLOW=exit"),
        ({}, "raise(StopIteration)", "FAILPY_PROPAGATION_ALLOW=exit"),
        ({}, "break", "FAILPY_PROPAGATION_ALLOW=break"),
        ({}, 'call("os:getpid")', "FAILPY_PROPAGATION_ALLOW=call"),
        ({}, "pause(61s)", "FAILPY_PROPAGATION_ALLOW=pause"),
        ({}, "sleep(1h)", "FAILPY_PROPAGATION_ALLOW=sleep"),
        ({}, "delay(1h)", "FAILPY_PROPAGATION_ALLOW=delay"),
        ({"names": ["db.*"]}, "raise", "is none of the names that may be armed from outside"),
        ({"names": []}, "raise", "is none of the names that may be armed from outside"),
        ({}, "return(1)", "declares returns=str, but return(1) gives int"),
    ],
)
async def test_what_may_not_be_armed_has_no_effect(
    point: str, options: dict[str, Any], terms: str, reason: str, log: Callable[[], str]
) -> None:
    async with asgi_client(starlette(hit(point), **options)) as client:
        with pytest.raises(NeverFired) as error:
            with travel({f"pay:{point}": terms, f"pay:{point}.b": "off"}):
                assert (await client.get("/")).text == "done"
    assert "service 'pay' did not arm it: " in str(error.value)
    assert reason in log()
    assert reason[:60] in str(error.value)


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({"allow": ["sleep", "pause"]}, "off->sleep(61s)->pause(2m)->raise(KeyError)"),
        ({}, "off->pause->sleep(60s)->delay(1s)->print->yield"),
        ({"names": ["db.*", "test.*"]}, "off"),
    ],
)
async def test_what_may_be_armed_is(point: str, options: dict[str, Any], terms: str) -> None:
    async with asgi_client(starlette(hit(point), **options)) as client:
        with travel({f"pay:{point}": terms}, strict=False) as scope:
            assert (await client.get("/")).text == "done"
    assert scope.status(f"pay:{point}").hits == 1


def called(hit: fail.Hit[str]) -> str:
    return f"{hit.point} was called"


async def test_what_is_allowed_acts(point: str) -> None:
    async with asgi_client(starlette(hit(point), allow=["call"])) as client:
        with travel({f"pay:{point}": f'call("{__name__}:called")'}):
            assert (await client.get("/")).text == f"{point} was called"


async def test_names_are_those_of_this_service_first(point: str) -> None:
    async with asgi_client(starlette(hit(point))) as client:
        terms = {f"pay:{point}": 'return("mine")', point: 'return("any")', f"ship:{point}": "panic"}
        with travel(terms, strict=False) as scope:
            assert (await client.get("/")).text == "mine"
        assert [each.fired for each in scope.points()] == [1, 0, 0]


async def test_a_name_that_nobody_has_declared_is_told(
    name: str, log: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("failpy._guest._COMPARED", 10**6)  # other tests may have declared very many
    fail.point(f"{name}.there")
    async with asgi_client(starlette(lambda: "done")) as client:
        with pytest.raises(NeverFired, match=rf"did you mean '{name}.there'") as error:
            with travel({f"pay:{name}.ther": "raise"}):
                await client.get("/")
        with travel({f"{name}.thre": "raise", f"ship:{name}": "raise"}, strict=False):
            await client.get("/")
    assert "service 'pay' did not arm it: no code has declared" in str(error.value)
    assert [line.split()[0] for line in log().splitlines()] == ["WARNING", "INFO"]


async def test_a_name_of_another_service_is_no_complaint_of_this_one(
    point: str, log: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "failpy.propagation")
    async with asgi_client(starlette(hit(point), names=["db.*"])) as client:
        with pytest.raises(NeverFired, match="with nothing of service 'ship'"):
            with travel({f"ship:{point}": "kill"}):
                await client.get("/")
        assert log() == ""
    async with asgi_client(starlette(hit(point))) as client:
        with travel({f"ship:{point}": "raise"}, strict=False):
            await client.get("/")
    assert log() == (
        f"DEBUG failpoint 'ship:{point}', which came with a request, is not of this service, which is 'pay'"
    )


async def test_what_another_service_is_asked_for_is_no_matter_of_this_one(
    point: str, log: Callable[[], str]
) -> None:
    async with asgi_client(starlette(hit(point), names=["db.*"])) as client:
        with pytest.raises(NeverFired) as error, travel({f"ship:{point}": "kill"}):
            await client.get("/")
    assert "it was sent along, and 1 report came back, from 'pay'" in str(error.value)
    assert log() == ""


async def test_a_service_without_a_name_says_so(
    point: str, monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]
) -> None:
    monkeypatch.setattr(config, "service", "")
    async with asgi_client(starlette(hit(point), service=None)) as client:
        with travel({f"pay:{point}": "raise"}, strict=False):
            await client.get("/")
    assert log() == (
        f"INFO failpoint 'pay:{point}', which came with a request, is of a service by name, and this one has "
        "none: give it service=, or FAILPY_SERVICE"
    )


async def test_a_point_that_is_declared_by_the_request_is_armed(name: str) -> None:
    async with asgi_client(starlette(hit(name))) as client:
        with travel({f"pay:{name}": "raise(KeyError)"}):
            assert (await client.get("/")).text == "KeyError"


async def test_a_request_does_not_break_the_declaration_of_a_point(name: str, log: Callable[[], str]) -> None:
    def work() -> str:
        return str(bool(fail.point(name, returns=int).hit()))

    async with asgi_client(starlette(work)) as client:
        with pytest.raises(NeverFired, match=r"gives str"):
            with travel({f"pay:{name}": 'return("x")'}):
                assert (await client.get("/")).text == "False"
    assert "gives str" in log()


async def test_without_a_key_nothing_comes_in(
    point: str, monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]
) -> None:
    app = fail.ASGIMiddleware(bare, key="another-key-of-some-length")
    monkeypatch.setattr(config, "propagation_keys", ())
    keyless = fail.ASGIMiddleware(bare)
    monkeypatch.setattr(config, "propagation_keys", (KEY.encode(),))
    for each in (app, keyless):
        async with asgi_client(each) as client:
            with travel({point: "raise"}, strict=False):
                assert (await client.get(f"/{point}")).text == "done"
    assert "its signature is of none of the keys here" in log()
    assert "there is no key here: set FAILPY_PROPAGATION_KEY to serve it" in log()


async def test_while_a_key_is_changed_each_caller_is_told_with_its_own(point: str) -> None:
    app = starlette(hit(point), key=f"another-key-of-some-length, {KEY}")
    async with asgi_client(app) as client:
        with travel({f"pay:{point}": 'return("x")'}):  # or it would never have fired
            assert (await client.get("/")).text == "x"


async def test_where_failpoints_are_compiled_out_nothing_comes_in(
    point: str, monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]
) -> None:
    async with asgi_client(starlette(hit(point))) as client:
        with travel({point: "raise"}, strict=False):
            monkeypatch.setattr(config, "enabled", False)
            assert (await client.get("/")).text == "done"
    assert log() == ""


async def test_the_log_is_not_flooded(monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]) -> None:
    now = [100.0]
    monkeypatch.setattr("failpy._admission.time.monotonic", lambda: now[0])
    transport = httpx.ASGITransport(away(starlette(lambda: "done")))
    async with httpx.AsyncClient(transport=transport, base_url="http://pay") as client:
        for _ in range(50):
            await client.get("/", headers={"baggage": "failpy=x"})
        assert len(log().splitlines()) == 20
        for _ in range(2):
            now[0] += 11
            await client.get("/", headers={"baggage": "failpy=x"})
    assert len(log().splitlines()) == 23
    assert "30 more messages like these were left out" in log()


async def test_what_is_not_logged_takes_no_place_in_the_log(
    name: str, log: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "failpy.propagation")
    async with asgi_client(starlette(lambda: "done")) as client:
        with travel({name: "raise"}, strict=False):
            for _ in range(30):
                await client.get("/")
        with travel({f"pay:{name}": "raise"}, strict=False):
            await client.get("/")
    assert [line.split()[0] for line in log().splitlines()] == ["WARNING"]


@pytest.mark.parametrize("broken", ["Guest.open", "Guest.feedback"])
async def test_an_error_of_failpy_is_no_error_of_the_request(
    point: str, broken: str, monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]
) -> None:
    def fault(self: Any) -> None:
        raise RuntimeError("a mistake")

    async with asgi_client(starlette(hit(point))) as client:
        with travel({point: "off"}, strict=False):
            monkeypatch.setattr(f"failpy._guest.{broken}", fault)
            response = await client.get("/")
    assert (response.text, "failpy-report" in response.headers) == ("done", False)
    assert "ERROR" in log()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"names": "db.*"}, TypeError, "names must be several strings, such as ('db.*',), not one"),
        ({"names": [1]}, TypeError, "names must be patterns such as 'payments.*', not 1"),
        ({"allow": "kill"}, TypeError, "allow must be several strings"),
        (
            {"allow": ["kil"]},
            FailpointError,
            "'kil' is no action that can be allowed to a scope from outside; did you",
        ),
        ({"service": "a b"}, InvalidName, "white space"),
        ({"service": ""}, InvalidName, "not empty"),
        ({"key": "short"}, FailpointError, "key has a key of 5 characters"),
    ],
)
@pytest.mark.parametrize("kind", [fail.ASGIMiddleware, fail.WSGIMiddleware])
def test_a_middleware_that_cannot_be_is_refused(kind: Any, options: Any, error: Any, words: str) -> None:
    with pytest.raises(error) as refused:
        kind(print, **options)
    assert words in str(refused.value)


# --- on to the next service ---


async def test_a_service_in_between_passes_on_what_came_and_what_comes_back(point: str) -> None:
    behind = asgi_client(starlette(hit(point)))

    async def ask(request: Request) -> PlainTextResponse:
        return PlainTextResponse((await behind.get("/")).text + (await behind.get("/")).text)

    front = Starlette(routes=[Route("/", ask)])
    front.add_middleware(fail.ASGIMiddleware, service="shop")
    async with behind, asgi_client(front) as client:
        with travel({f"pay:{point}": '1*return("x")', f"{point}.b": "off"}, strict=False) as scope:
            assert (await client.get("/")).text == "xx"
    assert [(entry.service, entry.nth) for entry in scope.trace] == [("pay", 1), ("pay", 2)]


async def test_a_service_in_the_process_of_who_asks_is_in_its_scope_once(point: str) -> None:
    seen: list[str] = []

    def note() -> str:
        scope = fail.current_scope()
        assert scope is not None
        seen.append(scope.headers()["baggage"])
        return hit(point)()

    transport = httpx.ASGITransport(starlette(note))  # not `away`
    async with fail.hook_httpx(httpx.AsyncClient(transport=transport, base_url="http://pay")) as client:
        with travel({point: 'return("x")'}) as scope:
            assert (await client.get("/")).text == "x"
            assert scope.status(point).hits == 1
    assert "~" not in seen[0]


async def test_draws_differ_from_request_to_request_and_are_those_of_the_seed(point: str) -> None:
    async def run(seed: int) -> list[str]:
        async with asgi_client(starlette(hit(point))) as client:
            with travel({f"pay:{point}": '50%return("x")'}, seed=seed):
                return [(await client.get("/")).text for _ in range(40)]

    assert await run(7) == await run(7) != await run(8)
    assert set(await run(7)) == {"x", "done"}
