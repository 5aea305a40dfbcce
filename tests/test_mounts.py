"""The endpoint in somebody else's server: `fail.wsgi` and `fail.asgi`, and the same exchanges over each."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from failpy import _events, _hold, fail
from failpy._context import process
from failpy._events import readers
from tests.http_tools import (
    BROWSER,
    JSON,
    TEXT,
    Answer,
    Client,
    Program,
    Stream,
    ask,
    connect,
    exchange,
    in_thread,
    read_all,
    request,
    status_of,
    until,
)

# --- one program, and the servers that run it ---

APP = '''
import os, threading

import failpy._events
from failpy import fail, failpoint
from failpy._events import readers

failpy._events._HEARTBEAT = 0.1  # a server may notice only then that a client has gone

@failpoint("price", returns=int)
def price():
    return 1

for name in ("a/b", "ünï/日本", "what?", "100%25", "held", "/slash"):
    fail.point(name)

def own(path):
    """What the rest of the program answers."""
    if path == "/price":
        return str(price())
    if path == "/hold":
        threading.Thread(target=fail.point("held").hit, daemon=True).start()
    return f"{os.getpid()} {len(readers())} {fail.status('held').paused}"

def plain(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [own(environ["PATH_INFO"]).encode()]

endpoint = fail.wsgi(allow=["exit"])

def bare(environ, start_response):
    """A dispatcher of few lines."""
    prefix, path = "/debug/failpoints", environ["PATH_INFO"]
    if not f"{path}/".startswith(f"{prefix}/"):
        return plain(environ, start_response)
    inner = {"SCRIPT_NAME": prefix, "PATH_INFO": path.removeprefix(prefix)}
    return endpoint({**environ, **inner}, start_response)

def flask():
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app = Flask("app")
    app.add_url_rule("/<path:path>", view_func=lambda path: own(f"/{path}"), endpoint="own")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/debug/failpoints": endpoint})
    return app

def starlette():
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def mine(request):
        return PlainTextResponse(own(request.url.path))

    debug = Mount("/debug", routes=[Mount("/failpoints", app=fail.asgi(allow=["exit"]))])
    return Starlette(routes=[debug, Route("/{path:path}", mine)])
'''

GUNICORN = """
import sys
from gunicorn.app.wsgiapp import run
options = ["--no-control-socket", "--log-level", "error", "--graceful-timeout", "1", "-b", f"fd://{sys.argv[1]}"]
sys.argv = ["gunicorn", *options, *sys.argv[2:]]
run()
"""
UVICORN = """
import socket, sys, uvicorn
from app import starlette
server = uvicorn.Server(uvicorn.Config(starlette(), log_level="error"))
server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
HYPERCORN = """
import asyncio, sys
from app import starlette
from hypercorn.config import Config
config = Config()
config.bind = [f"fd://{sys.argv[1]}"]
if sys.argv[2] == "trio":
    import trio
    from hypercorn.trio import serve
    trio.run(serve, starlette(), config)
else:
    from hypercorn.asyncio import serve
    asyncio.run(serve(starlette(), config))
"""
WAITRESS = """
import socket, sys, waitress
from app import flask
waitress.serve(flask(), sockets=[socket.socket(fileno=int(sys.argv[1]))], threads=4, _quiet=True)
"""
WSGIREF = """
import socket, sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from app import bare
class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass
server = WSGIServer(("127.0.0.1", 0), Quiet, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.server_name, server.server_port = server.socket.getsockname()
server.setup_environ()
server.set_app(bare)
server.serve_forever()
"""
OWN = """
import sys
import app
from failpy import fail
print(fail.serve().url, flush=True)
input()
"""


class Kind(NamedTuple):
    """A server.

    Attributes:
        program: What runs it.
        needs: What must be installed.
        arguments: Of the program, after the descriptor of the socket.
        streams: Whether it can stream, since one request does not hold up all others.
        chunked: The status of a chunked body.
        forwarded: The status of what comes by way of a proxy, without a token.
    """

    program: str
    needs: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    streams: bool = True
    chunked: int = 204
    forwarded: int = 403


KINDS = {
    "own": Kind(OWN, (), chunked=411),
    "gunicorn-sync": Kind(GUNICORN, ("gunicorn", "flask"), ("app:flask()",), streams=False),
    "gunicorn-gthread": Kind(
        GUNICORN, ("gunicorn", "flask"), ("-k", "gthread", "--threads", "4", "app:flask()")
    ),
    # It takes away what a proxy says that it was not told to trust, and so the endpoint cannot know of one.
    "waitress": Kind(WAITRESS, ("waitress", "flask"), forwarded=204),
    "wsgiref": Kind(WSGIREF, (), streams=False, chunked=411),
    "uvicorn": Kind(UVICORN, ("uvicorn", "starlette")),
    "hypercorn-asyncio": Kind(HYPERCORN, ("hypercorn", "starlette"), ("asyncio",)),
    "hypercorn-trio": Kind(HYPERCORN, ("hypercorn", "starlette", "trio"), ("trio",)),
}


class Running(NamedTuple):
    program: Program
    kind: Kind
    url: str
    prefix: str

    def client(self) -> Client:
        return Client(self.url, self.prefix)

    def ask(self, method: str, path: str, body: str | bytes | None = None, **headers: str) -> Answer:
        with self.client() as client:
            return client.ask(method, path, body, **headers)

    def own(self, path: str) -> str:
        """What the rest of the program answers."""
        with Client(self.url) as client:
            return client.ask("GET", path).text

    def stream(self) -> Stream:
        return Stream(self.url, f"{self.prefix}/events")

    @property
    def readers(self) -> int:
        return int(self.own("/state").split()[1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mounts")
    (place / "app.py").write_text(APP, encoding="utf-8")
    return place


@contextmanager
def running(kind: Kind, place: Path) -> Iterator[Running]:
    """It listens before the program starts, so that nobody has to wait for that."""
    for each in kind.needs:
        if importlib.util.find_spec(each) is None:
            pytest.skip(f"{each} is not installed")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        program = Program(
            kind.program, str(sock.fileno()), *kind.arguments, fd=sock.fileno(), PYTHONPATH=str(place)
        )
    with program:
        own = kind.program == OWN
        yield Running(program, kind, program.read() if own else address, "" if own else "/debug/failpoints")
        program.process.terminate()
        program.process.wait(20)


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, place: Path) -> Iterator[Running]:
    with running(KINDS[request.param], place) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with server.client() as client:
        yield client
    server.ask("DELETE", "/failpoints")


def headers_of(answer: Answer) -> dict[str, str]:
    return {key.lower(): value for key, value in answer.headers.items()}


# --- the same exchanges over each ---


def test_arming_reading_and_disarming(server: Running, client: Client) -> None:
    own = server.prefix == ""
    assert client.ask("GET", "/price").text == "\n"
    answer = client.ask("PUT", "/price", "2*return(7)")
    assert (answer.status, answer.body) == (204, b"")
    assert not headers_of(answer).keys() & {
        "content-type",
        "content-length",
        "transfer-encoding",
    }
    etag = headers_of(answer)["etag"]
    assert re.fullmatch(r'"[0-9a-f]{8}\.\d+"', etag)
    answer = client.ask("GET", "/price")
    headers = headers_of(answer)
    assert (answer.status, answer.body) == (200, b"2*return(7)\n")
    assert (headers["content-type"], headers["content-length"], headers["etag"]) == (TEXT, "12", etag)
    if not own:
        assert [server.own("/price") for _ in range(3)] == ["7", "7", "1"]
    answer = client.ask("GET", "/price/count")
    assert answer.body == (b"0" if own else b"2")
    assert client.ask("PUT", "/price", "return(8)", If_Match=etag).status == 204
    assert client.ask("PUT", "/price", "return(9)", If_Match=etag).status == 412
    assert client.ask("DELETE", "/price").status == 204
    assert client.ask("GET", "/price").text == "\n"
    body = 'a/b=print("a;b=c->d");price=return(1)'
    assert client.ask("PUT", "/failpoints", body).status == 204
    listing = client.ask("GET", "/").text
    assert 'a/b=print("a;b=c->d")\n' in listing
    assert listing == client.ask("GET", "/failpoints").text
    assert client.ask("DELETE", "/failpoints").status == 204


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/b", "a/b"),
        ("/a%2Fb", "a/b"),
        ("//slash", "/slash"),
        ("/%C3%BCn%C3%AF/%E6%97%A5%E6%9C%AC", "ünï/日本"),
        ("/what%3F", "what?"),
        ("/100%2525", "100%25"),
    ],
)
def test_names(client: Client, path: str, name: str) -> None:
    assert client.ask("PUT", path, "3*off").status == 204
    answer = client.ask("GET", path, **JSON)
    assert json.loads(answer.body)["name"] == name
    assert client.ask("GET", f"{path}/count").body == b"0"
    assert client.ask("DELETE", path).status == 204


def test_terms_of_any_text(client: Client) -> None:
    client.ask("PUT", "/a/b", 'print("日本\\n")')
    assert client.ask("GET", "/a/b").text == 'print("日本\\n")\n'


def test_errors(client: Client) -> None:
    answer = client.ask("PUT", "/price", "retrun(1)")
    assert answer.status == 400
    assert answer.text.endswith("\n  retrun(1)\n  ^\n")
    error = json.loads(client.ask("PUT", "/pric", "off", **JSON).body)["error"]
    assert (error["type"], error["near"][0]) == ("UnknownFailpoint", "price")
    assert client.ask("PUT", "/price?force=1", "off").status == 400
    assert client.ask("PUT", "/price", "kill").status == 403
    assert client.ask("PUT", "/price", "0*exit").status == (403 if client._prefix == "" else 204)
    assert client.ask("PUT", "/price", b"return(\xff)").status == 400


def test_methods(client: Client) -> None:
    for method in ("PATCH", "POST"):
        answer = client.ask(method, "/price", "off")
        assert answer.status == 405
        assert headers_of(answer)["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
    head, got = client.ask("HEAD", "/price"), client.ask("GET", "/price")
    assert (head.status, head.body) == (200, b"")
    assert [headers_of(each)["content-length"] for each in (head, got)] == ["1", "1"]
    assert client.ask("OPTIONS", "/price").status == 204


def test_a_long_body(client: Client, server: Running) -> None:
    """Refused, and the next one who asks is answered."""
    data = request(f"PUT {server.prefix}/price HTTP/1.1", "Content-Length: 70000", body=b"x" * 70_000)
    assert status_of(exchange(server.url, data)) == 413
    assert client.ask("PUT", "/price", b"off" + b" " * 60_000).status == 204


def test_a_chunked_body(client: Client, server: Running) -> None:
    body = b"4\r\nretu\r\n5\r\nrn(6)\r\n0\r\n\r\n"
    data = request(f"PUT {server.prefix}/price HTTP/1.1", "Transfer-Encoding: chunked", body=body)
    assert status_of(exchange(server.url, data)) == server.kind.chunked
    assert client.ask("GET", "/price").text == ("return(6)\n" if server.kind.chunked == 204 else "\n")


def test_a_body_that_is_cut_off_does_nothing(client: Client, server: Running) -> None:
    with connect(server.url) as sock:
        data = request(f"PUT {server.prefix}/price HTTP/1.1", "Content-Length: 15", body=b"return(6)")
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock)[9:12] in (b"", b"400")
    assert client.ask("GET", "/price").text == "\n"


def test_the_page_and_the_way_to_it(client: Client, server: Running) -> None:
    page = client.ask("GET", "/", **BROWSER)
    assert page.status == 200
    assert page.body.startswith(b"<!doctype html>")
    if server.prefix:
        bare = client.ask("GET", "", **BROWSER)
        assert bare.status in (307, 308)  # Starlette does it by itself
        location = headers_of(bare)["location"].removeprefix(server.url)
        assert location == f"{server.prefix}/"
        with Client(server.url) as other:
            assert other.ask("GET", location, **BROWSER).body == page.body


def test_who_may_not(client: Client, server: Running) -> None:
    assert client.ask("PUT", "/price", "off", Host="evil.com").status == 403
    assert client.ask("PUT", "/price", "off", Origin="http://evil.com").status == 403
    assert client.ask("GET", "/price", Sec_Fetch_Site="cross-site").status == 403
    if server.prefix:
        answer = client.ask("PUT", "/held", "off", X_Forwarded_For="127.0.0.1")
        assert answer.status == server.kind.forwarded
    assert client.ask("GET", "/price").text == "\n"


def test_what_is_paused(client: Client, server: Running) -> None:
    if not server.prefix:
        pytest.skip("the program has no other server that could be told to hit it")
    client.ask("PUT", "/held", "pause")
    server.own("/hold")
    until(lambda: json.loads(client.ask("GET", "/held", **JSON).body)["paused"] == 1)
    assert client.ask("POST", "/held/resume?nth=1").text == "1\n"
    until(lambda: server.own("/state").split()[2] == "0")


def test_events(client: Client, server: Running) -> None:
    if not server.kind.streams:
        answer = client.ask("GET", "/events")
        assert answer.status == 503
        assert "can spare no more threads" in answer.text
        assert client.ask("HEAD", "/events").status == 200
        return
    if not server.prefix:
        pytest.skip("the program has no other server that could be told to hit it")
    client.ask("PUT", "/price", "1*return(7)")
    with server.stream() as first, server.stream() as second:
        assert "text/event-stream" in first.head
        assert server.readers == 2
        assert [server.own("/price") for _ in range(2)] == ["7", "1"]
        for stream in (first, second):
            told = [stream.event()[1] for _ in range(2)]
            assert [(each["nth"], each["action"]) for each in told] == [(1, "return"), (2, None)]
            assert {each["point"] for each in told} == {"price"}
    until(lambda: server.own("/price") and server.readers == 0)  # only writing shows that they are gone


@pytest.mark.parametrize(
    "kind",
    [
        "own",
        pytest.param(
            "uvicorn",
            marks=pytest.mark.xfail(
                reason="uvicorn waits for what it still sends: see the reference", strict=True
            ),
        ),
        "hypercorn-trio",
        "waitress",
    ],
)
def test_a_reader_of_events_does_not_keep_a_server_that_is_told_to_end(kind: str, place: Path) -> None:
    """The page has one open all the time."""
    with running(KINDS[kind], place) as server, server.stream():
        server.program.process.terminate()
        try:
            server.program.process.wait(3)
        finally:
            server.program.process.kill()


# --- workers ---


def test_each_worker_has_points_of_its_own(place: Path) -> None:
    """What is armed, is armed in the worker that answered; the revision tells them apart."""
    kind = KINDS["gunicorn-sync"]
    with running(kind._replace(arguments=("-w", "2", *kind.arguments)), place) as server:
        workers: dict[str, int] = {}

        def both() -> bool:
            said = json.loads(server.ask("GET", "/", **JSON).body)
            workers[said["revision"].partition(".")[0]] = said["pid"]
            return len(workers) == 2

        until(both)
        assert len(set(workers.values())) == 2
        etag = headers_of(server.ask("PUT", "/price", "return(7)"))["etag"]
        armed = etag.strip('"').partition(".")[0]
        assert armed in workers
        seen: dict[str, str] = {}

        def each() -> bool:
            said = json.loads(server.ask("GET", "/price", **JSON).body)
            seen[said["revision"].partition(".")[0]] = said["terms"]
            return len(seen) == 2

        until(each)
        assert seen == {worker: "return(7)" if worker == armed else "" for worker in workers}
        # Who has seen one does not change the other by mistake.
        statuses = {server.ask("PUT", "/price", "return(8)", If_Match=etag).status for _ in range(30)}
        assert statuses <= {204, 412}


# --- the answer is out before the terms can act ---

DEADLY = """
import sys, threading
from failpy import fail

application = fail.wsgi(allow=["exit", "kill"])
mounted = fail.asgi(allow=["exit", "kill"])
point = fail.point("p")

def hammer():
    while True:
        point.hit()

def start(*_):
    sys.setswitchinterval(1e-4)
    threading.Thread(target=hammer, daemon=True).start()
"""
DEADLY_UVICORN = """
import os, socket, sys, uvicorn
from deadly import mounted, start
sock = socket.socket(fileno=int(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        start()
        uvicorn.Server(uvicorn.Config(mounted, log_level="error")).run(sockets=[sock])
    os.waitpid(child, 0)
"""
ROUNDS = 50


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "needs", "arguments"),
    [
        (DEADLY_UVICORN, "uvicorn", (str(ROUNDS),)),
        (GUNICORN, "gunicorn", ("--preload", "-c", "{}/deadly_config.py", "deadly")),
        (
            GUNICORN,
            "gunicorn",
            ("--preload", "-c", "{}/deadly_config.py", "-k", "gthread", "--threads", "2", "deadly"),
        ),
    ],
    ids=["uvicorn", "gunicorn-sync", "gunicorn-gthread"],
)
def test_the_answer_is_out_before_the_process_ends(
    place: Path, program: str, needs: str, arguments: tuple[str, ...]
) -> None:
    (place / "deadly.py").write_text(DEADLY)
    (place / "deadly_config.py").write_text(
        "import deadly\npost_fork = lambda server, worker: deadly.start()"
    )
    given = tuple(each.format(place) for each in arguments)
    with running(Kind(program, (needs,), given), place) as server:
        for i in range(ROUNDS):
            pid = json.loads(ask(server.url, "GET", "/", **JSON).body)["pid"]
            data = f"PUT /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n{('exit', 'kill')[i % 2]}"
            reply = exchange(server.url, data.encode())
            assert reply.startswith(b"HTTP/1.1 204 No Content\r\n"), reply
            assert reply.endswith(b"\r\n\r\n")
            until(lambda: not alive(pid))  # or it might accept the next one


# --- WSGI by hand ---


class Wsgi:
    """What a WSGI server does, as the specification has it."""

    def __init__(self, app: Any, method: str, path: str, body: bytes = b"", **environ: Any) -> None:
        self.environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "wsgi.input": io.BytesIO(body),
            "wsgi.multithread": True,
            **environ,
        }
        self.environ = {key: value for key, value in self.environ.items() if value is not None}
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = app(self.environ, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        assert re.fullmatch(r"\d{3} [\w ]+", status)
        self.status, self.headers = int(status[:3]), dict(headers)

    def answer(self) -> Answer:
        try:
            return Answer(self.status, self.headers, b"".join(self.body))
        finally:
            self.body.close()


@pytest.fixture
def path(name: str) -> str:
    fail.point(name, returns=str)
    return f"/{name}"


def test_wsgi_exchanges(path: str) -> None:
    app = fail.wsgi()
    armed = Wsgi(app, "PUT", path, b'return("x")').answer()
    assert (armed.status, armed.body, list(armed.headers)) == (204, b"", ["ETag"])
    got = Wsgi(app, "GET", path).answer()
    assert (got.status, got.body) == (200, b'return("x")\n')
    assert got.headers == {"Content-Type": TEXT, "Content-Length": "12", "ETag": armed.etag}
    assert Wsgi(app, "HEAD", path).answer() == (200, got.headers, b"")


@pytest.mark.parametrize("length", [None, ""])
def test_wsgi_without_a_length_has_no_body(path: str, length: str | None) -> None:
    assert Wsgi(fail.wsgi(), "GET", path, CONTENT_LENGTH=length).answer().status == 200
    assert Wsgi(fail.wsgi(), "PUT", path, b"off", CONTENT_LENGTH=length).answer().status == 400


@pytest.mark.parametrize("length", ["-1", "x", "3, 3", "+3", "3.0", "٣", "9" * 5000, "1_0"])
def test_wsgi_with_a_length_that_cannot_be(path: str, length: str) -> None:
    answer = Wsgi(fail.wsgi(), "PUT", path, b"off", CONTENT_LENGTH=length).answer()
    assert answer.status == 400
    assert "is not a number of bytes" in answer.text
    error = (
        Wsgi(fail.wsgi(), "PUT", path, CONTENT_LENGTH=length, HTTP_ACCEPT="application/json").answer().json
    )
    assert error["error"]["type"] == "BadRequest"


def test_wsgi_with_a_body_that_is_too_long(path: str) -> None:
    body = Wsgi(fail.wsgi(), "PUT", path, b"x" * 65537)
    assert body.answer().status == 413
    assert body.environ["wsgi.input"].tell() == 0  # not even read
    assert Wsgi(fail.wsgi(), "PUT", path, b"off".ljust(65536)).answer().status == 204


def test_wsgi_with_a_body_that_is_cut_off(path: str) -> None:
    answer = Wsgi(fail.wsgi(), "PUT", path, b'return("x")', CONTENT_LENGTH="20").answer()
    assert (answer.status, answer.text) == (400, "the body was cut off: nothing is done\n")
    assert fail.status(path[1:]).terms == ""


@pytest.mark.parametrize(
    ("body", "terminated", "status"),
    [(b"off", True, 204), (b"x" * 70_000, True, 413), (b"off", False, 411), (b"off", None, 411)],
)
def test_wsgi_with_a_chunked_body(path: str, body: bytes, terminated: bool | None, status: int) -> None:
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": terminated}
    answer = Wsgi(fail.wsgi(), "PUT", path, body, CONTENT_LENGTH=None, **environ).answer()
    assert answer.status == status
    assert fail.status(path[1:]).terms == ("off" if status == 204 else "")


def test_wsgi_paths() -> None:
    fail.point("wsgi.ünï")
    assert Wsgi(fail.wsgi(), "GET", "/wsgi.ünï".encode().decode("latin-1")).answer().status == 200
    answer = Wsgi(fail.wsgi(), "GET", "/\xff").answer()
    assert (answer.status, "is not UTF-8" in answer.text) == (400, True)
    assert Wsgi(fail.wsgi(), "GET", "").answer().status == 200  # the same as `/`
    assert (
        Wsgi(fail.wsgi(), "GET", "", PATH_INFO=None, SCRIPT_NAME=None, QUERY_STRING=None).answer().status
        == 200
    )


@pytest.mark.parametrize(
    ("script", "path", "status", "location"),
    [
        ("/debug", "", 308, "/debug/"),
        ("/d\u00c3\u00a9", "", 308, "/d%C3%A9/"),
        ("/debug", "/", 200, None),
        ("", "", 200, None),
        ("", "/", 200, None),
    ],
)
def test_wsgi_redirects_to_the_page(script: str, path: str, status: int, location: str | None) -> None:
    answer = Wsgi(fail.wsgi(), "GET", path, SCRIPT_NAME=script, HTTP_ACCEPT="text/html").answer()
    assert (answer.status, answer.headers.get("Location")) == (status, location)
    plain = Wsgi(fail.wsgi(), "GET", path, SCRIPT_NAME=script).answer()
    assert (plain.status, plain.headers["Content-Type"]) == (200, TEXT)


def test_wsgi_holds_the_terms_until_the_server_is_done(path: str) -> None:
    sending = Wsgi(fail.wsgi(), "PUT", path, b'return("x")')
    assert process.activations[path[1:]].orders != ()
    chunks = iter(sending.body)
    assert next(chunks) == b""
    assert process.activations[path[1:]].orders != ()
    sending.body.close()
    assert process.activations[path[1:]].orders == ()


def test_wsgi_lets_go_where_the_server_never_closes(path: str) -> None:
    sending = Wsgi(fail.wsgi(), "PUT", path, b'return("x")')
    assert list(sending.body) == [b""]
    assert process.activations[path[1:]].orders == ()


def test_wsgi_lets_go_where_the_server_never_sends(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hold, "_SECONDS", 0.01)
    Wsgi(fail.wsgi(), "PUT", path, b'return("x")')
    until(fail.point(path[1:], returns=str).hit)
    assert process.activations[path[1:]].orders == ()


def test_wsgi_lets_go_where_the_server_gives_up(path: str) -> None:
    def refuse(*_: object) -> None:
        raise BrokenPipeError

    app, environ = fail.wsgi(), Wsgi(fail.wsgi(), "GET", path).environ
    put = {"REQUEST_METHOD": "PUT", "wsgi.input": io.BytesIO(b"off"), "CONTENT_LENGTH": "3"}
    with pytest.raises(BrokenPipeError):
        app({**environ, **put}, refuse)
    assert process.activations[path[1:]].orders == ()
    with pytest.raises(BrokenPipeError):
        app({**environ, "PATH_INFO": "/events"}, refuse)
    assert readers() == []


def test_wsgi_events(path: str) -> None:
    sending = Wsgi(fail.wsgi(), "GET", "/events")
    assert sending.headers == {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    chunks = iter(sending.body)
    assert next(chunks).startswith(b":")
    fail.enable(path[1:], 'return("x")')
    fail.point(path[1:], returns=str).hit()
    assert b'"nth": 1' in next(chunks)
    sending.body.close()
    assert readers() == []
    assert list(chunks) == []


def test_wsgi_events_of_a_server_without_threads() -> None:
    answer = Wsgi(fail.wsgi(), "GET", "/events", **{"wsgi.multithread": False}).answer()
    assert answer.status == 503
    assert Wsgi(fail.wsgi(), "GET", "/events", **{"wsgi.multithread": None}).answer().status == 503


def test_wsgi_events_do_not_take_every_thread() -> None:
    streams = [Wsgi(fail.wsgi(), "GET", "/events") for _ in range(3)]
    assert [each.status for each in streams] == [200, 200, 503]
    for each in streams:
        each.body.close()
    assert readers() == []


def test_wsgi_input_is_read_where_no_failpoint_acts(path: str) -> None:
    class Input(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            fail.point(path[1:], returns=str).hit()
            return super().read(size)

    fail.enable(path[1:], "panic")
    assert (
        Wsgi(fail.wsgi(), "PUT", path, **{"wsgi.input": Input(b"off"), "CONTENT_LENGTH": "3"}).answer().status
        == 204
    )
    assert fail.status(path[1:]).terms == "off"


# --- ASGI by hand, under asyncio and under trio ---


def by_asyncio(main: Callable[[], Any]) -> None:
    asyncio.run(main())


def by_trio(main: Callable[[], Any]) -> None:
    pytest.importorskip("trio").run(main)


@pytest.fixture(params=[by_asyncio, by_trio], ids=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], None]:
    return request.param


GONE = {"type": "http.disconnect"}


class Asgi:
    """What an ASGI server does, as the specification has it."""

    def __init__(self, method: str, path: str, *body: bytes, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1234),
            **scope,
        }
        chunks = [{"type": "http.request", "body": each, "more_body": True} for each in body]
        self.messages: list[dict[str, Any]] = [*chunks, {"type": "http.request"}, GONE]
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return self.messages.pop(0)

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def run(self, app: Any) -> Answer:
        await app(self.scope, self.receive, self.send)
        return self.answer

    @property
    def answer(self) -> Answer:
        start, *rest = self.sent
        assert start["type"] == "http.response.start"
        assert {each["type"] for each in rest} == {"http.response.body"}
        assert [each.get("more_body", False) for each in rest] == [True] * (len(rest) - 1) + [False]
        headers = {key.decode(): value.decode() for key, value in start["headers"]}
        assert all(key == key.lower() for key in headers)
        return Answer(start["status"], headers, b"".join(each["body"] for each in rest))


def ask_asgi(method: str, path: str, *body: bytes, app: Any = None, **scope: Any) -> Answer:
    asked = Asgi(method, path, *body, **scope)
    asyncio.run(asked.run(app or fail.asgi()))
    return asked.answer


def test_asgi_exchanges(run: Any, path: str) -> None:
    async def main() -> None:
        app = fail.asgi()
        armed = await Asgi("PUT", path, b"return", b"", b'("x")').run(app)
        assert (armed.status, armed.body, list(armed.headers)) == (204, b"", ["etag"])
        assert process.activations[path[1:]].orders == ()
        got = await Asgi("GET", path).run(app)
        assert (got.status, got.body) == (200, b'return("x")\n')
        assert got.headers == {"content-type": TEXT, "content-length": "12", "etag": armed.headers["etag"]}
        assert await Asgi("HEAD", path).run(app) == (200, got.headers, b"")

    run(main)


def test_asgi_holds_the_terms_until_the_answer_is_sent(path: str) -> None:
    held = []

    class Watching(Asgi):
        async def send(self, message: dict[str, Any]) -> None:
            held.append(process.activations[path[1:]].orders != ())

    asyncio.run(fail.asgi()(*_parts(Watching("PUT", path, b"off"))))
    assert held == [True, True]
    assert process.activations[path[1:]].orders == ()


def _parts(asked: Asgi) -> tuple[Any, Any, Any]:
    return asked.scope, asked.receive, asked.send


def test_asgi_lets_go_where_the_server_gives_up(path: str) -> None:
    class Broken(Asgi):
        async def send(self, message: dict[str, Any]) -> None:
            raise BrokenPipeError

    for method, where, body in (("PUT", path, (b"off",)), ("GET", "/events", ())):
        with pytest.raises(BrokenPipeError):
            asyncio.run(fail.asgi()(*_parts(Broken(method, where, *body))))
    assert process.activations[path[1:]].orders == ()
    assert readers() == []


def test_asgi_with_a_body_that_is_too_long(path: str) -> None:
    answer = ask_asgi("PUT", path, *[b"x" * 30_000] * 3)
    assert answer.status == 413
    headers = [(b"accept", b"application/json")]
    answer = ask_asgi("PUT", path, *[b"x" * 30_000] * 3, headers=headers)
    assert json.loads(answer.body)["error"]["type"] == "ContentTooLarge"


def test_asgi_where_the_client_goes_before_the_body_is_whole(path: str) -> None:
    asked = Asgi("PUT", path, b"off")
    asked.messages[1:] = [GONE]
    asyncio.run(fail.asgi()(*_parts(asked)))
    assert asked.sent == []
    assert fail.status(path[1:]).terms == ""


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("", "/{}", "{}"),
        ("/debug", "/debug/{}", "{}"),
        ("/debug/", "/debug/{}", "{}"),
        ("/debug", "/{}", "{}"),  # from a server that leaves the prefix away
        pytest.param("/debug", "/debugged/{}", "debugged/{}"),
        ("/debug", "/debug//{}", "/{}"),
        ("", "//{}", "/{}"),
    ],
)
def test_asgi_paths(name: str, root: str, path: str, expected: str) -> None:
    fail.point(expected.format(name))
    headers = [(b"host", b"localhost"), (b"accept", b"application/json")]
    answer = ask_asgi("GET", path.format(name), root_path=root, headers=headers)
    assert json.loads(answer.body)["name"] == expected.format(name)


@pytest.mark.parametrize(
    ("root", "path", "status", "location"),
    [
        ("/debug", "/debug", 308, "/debug/"),
        ("/dé", "/dé", 308, "/d%C3%A9/"),
        ("/debug", "/debug/", 200, None),
        ("", "/", 200, None),
    ],
)
def test_asgi_redirects_to_the_page(root: str, path: str, status: int, location: str | None) -> None:
    headers = [(b"host", b"localhost"), (b"accept", b"text/html")]
    answer = ask_asgi("GET", path, root_path=root, headers=headers)
    assert (answer.status, answer.headers.get("location")) == (status, location)
    assert ask_asgi("GET", path, root_path=root).headers["content-type"] == TEXT


def test_asgi_scopes_may_have_little(path: str) -> None:
    asked = Asgi("GET", path)
    for key in ("query_string", "client"):
        del asked.scope[key]
    asked.scope["headers"] = [
        (b"AUTHORIZATION", b"Bearer t"),
        (b"accept", b"text/plain"),
        (b"accept", b"*/*"),
    ]
    assert asyncio.run(asked.run(fail.asgi(token="t"))).status == 200
    assert ask_asgi("GET", path, query_string=b"x=1").status == 400


def test_asgi_lifespan() -> None:
    asked = Asgi("", "", type="lifespan")
    asked.messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    asyncio.run(fail.asgi()(*_parts(asked)))
    assert asked.sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


def test_asgi_websocket_is_refused() -> None:
    asked = Asgi("", "/events", type="websocket")
    asyncio.run(fail.asgi()(*_parts(asked)))
    assert asked.sent == [{"type": "websocket.close", "code": 1000}]


class Events(Asgi):
    """A client that goes after so many chunks, or when it is told to."""

    def __init__(self, chunks: int) -> None:
        super().__init__("GET", "/events")
        self.messages = [{"type": "http.request"}, {"type": "http.request"}]
        self.left = chunks

    async def receive(self) -> dict[str, Any]:
        while not self.messages and self.left > 0:
            await a_while()
        return self.messages.pop(0) if self.messages else GONE

    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        self.left -= 1


async def a_while() -> None:
    import sniffio

    if sniffio.current_async_library() == "trio":
        await pytest.importorskip("trio").sleep(0.001)
    else:
        await asyncio.sleep(0.001)


def test_asgi_events(run: Any, path: str) -> None:
    """Hits of other threads wake the reader; when the client goes, the stream ends."""
    point = fail.point(path[1:], returns=str)
    fail.enable(path[1:], 'return("x")')
    asked = Events(4)

    def hit() -> None:
        for count in (2, 3):
            until(lambda: len(asked.sent) == count)
            point.hit()

    async def main() -> None:
        thread = threading.Thread(target=hit)
        thread.start()
        answer = await asked.run(fail.asgi())
        assert answer.headers == {"content-type": "text/event-stream", "cache-control": "no-store"}
        assert answer.body.startswith(b": the hits of the process scope\n\nevent: hit\ndata: {")
        assert answer.body.count(b"event: hit\n") == 2
        assert readers() == []
        thread.join()

    run(main)


def test_what_asgi_calls_is_no_hit(run: Any, path: str) -> None:
    class Hitting(Events):
        async def send(self, message: dict[str, Any]) -> None:
            await super().send(message)
            await fail.point(path[1:], returns=str).ahit()

    async def main() -> None:
        await Hitting(2).run(fail.asgi())
        assert fail.status(path[1:]).hits == 0

    fail.enable(path[1:], "panic")
    run(main)


def test_asgi_events_that_came_in_between_do_not_wait(run: Any, path: str) -> None:
    class Hitting(Events):
        async def send(self, message: dict[str, Any]) -> None:
            await super().send(message)
            if len(self.sent) == 2:
                with in_thread(fail.point(path[1:], returns=str).hit):
                    pass

    async def main() -> None:
        answer = await Hitting(3).run(fail.asgi())
        assert b"event: hit" in answer.body

    fail.enable(path[1:], 'return("x")')
    run(main)


def test_a_silent_asgi_stream_says_that_it_is_there(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_events, "_HEARTBEAT", 0.01)

    async def main() -> None:
        answer = await Events(4).run(fail.asgi())
        assert answer.body.count(b": still here\n\n") >= 2

    run(main)


def test_asgi_is_no_place_for_failpoints(path: str) -> None:
    class Hitting(Asgi):
        async def receive(self) -> dict[str, Any]:
            fail.point(path[1:], returns=str).hit()
            return await super().receive()

    fail.enable(path[1:], "panic")
    assert asyncio.run(Hitting("PUT", path, b"off").run(fail.asgi())).status == 204
    assert fail.status(path[1:]).terms == "off"
