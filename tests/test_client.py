"""The client of the endpoint: what it sends, what it makes of replies, and what it says without one."""

from __future__ import annotations

import gc
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from failpy import _client, fail
from failpy._client import Client
from failpy._complaint import Complaint, Refused, Unreachable
from failpy._sse import read_events
from failpy._target import Target, find_targets

TARGET = Target("http://h:1", "http://h:1")
POINT = {"name": "a", "terms": "", "hits": 0}


def find_target(given: str | None, environ: dict[str, str]) -> Target:
    """The one that is named."""
    found, several, stale = find_targets([] if given is None else [given], environ)
    (target,) = found
    assert (several, stale) == (False, ())
    return target


class Recorder:
    """A transport that answers the same to every request, and keeps them."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.requests: list[httpx.Request] = []
        self._reply = lambda: httpx.Response(*args, **kwargs)  # type: ignore[arg-type]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._reply()


def client(answer: Callable[[httpx.Request], httpx.Response], **options: object) -> Client:
    return Client(TARGET, transport=httpx.MockTransport(answer), **options)  # type: ignore[arg-type]


def answering(*args: object, **kwargs: object) -> Client:
    return client(Recorder(*args, **kwargs))


def breaking(exc: Exception) -> Client:
    def answer(request: httpx.Request) -> httpx.Response:
        raise exc

    return client(answer)


# --- what is sent ---


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("db.read", "/db.read"),
        ("a/b", "/a/b"),
        ("../a", "/%2E%2E/a"),
        ("./a", "/%2E/a"),
        ("a/..", "/a/%2E%2E"),
        ("a//b", "/a%2F%2Fb"),
        ("/a", "/%2Fa"),
        ("a/", "/a%2F"),
        ("/", "/%2F"),
        ("é%2F?#", "/%C3%A9%252F%3F%23"),
        ("[x]&+%", "/%5Bx%5D%26%2B%25"),
        ("\udcff", "/%FF"),
    ],
)
def test_a_name_is_encoded_so_that_nothing_normalises_it(name: str, path: str) -> None:
    answer = Recorder(200, json=POINT)
    client(answer).status(name)
    assert answer.requests[0].url.raw_path.decode() == path


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a/count"])
def test_what_cannot_be_a_name_is_not_sent(name: str) -> None:
    answer = Recorder(200, json=POINT)
    with pytest.raises(Refused, match="cannot name a failpoint") as caught:
        client(answer).status(name)
    assert caught.value.kind == "InvalidName"
    assert not answer.requests


def test_enable_sends_terms_options_and_the_revision() -> None:
    answer = Recorder(204, headers={"ETag": '"8.2"'})
    revision = client(answer).enable("a", 'return("é")', pending=True, ttl="30s", if_match='"8.1"')
    (request,) = answer.requests
    assert (request.method, str(request.url)) == ("PUT", "http://h:1/a?pending=1&ttl=30s")
    assert request.content.decode() == 'return("é")'
    assert request.headers["if-match"] == '"8.1"'
    assert request.headers["accept"] == "application/json"
    assert revision == "8.2"


def test_any_revision_is_no_entity_tag() -> None:
    answer = Recorder(204)
    assert client(answer).enable("a", "off", if_match="*") is None
    assert answer.requests[0].headers["if-match"] == "*"
    with pytest.raises(Complaint, match="is no revision"):
        client(answer).enable("a", "off", if_match="é")


def test_terms_that_are_no_text_are_sent_as_they_are() -> None:
    answer = Recorder(204)
    client(answer).enable_all("a=return('\udcff')")
    assert answer.requests[0].content == b"a=return('\xff')"


def test_the_other_requests() -> None:
    answer = Recorder(200, json={"resumed": 2})
    asking = client(answer)
    asking.disable("a/b")
    asking.disable_all()
    assert asking.resume("a") == 2
    assert asking.resume("a", 3) == 2
    sent = [(each.method, each.url.raw_path.decode()) for each in answer.requests]
    assert sent == [
        ("DELETE", "/a/b"),
        ("DELETE", "/failpoints"),
        ("POST", "/a/resume"),
        ("POST", "/a/resume?nth=3"),
    ]


def test_names_whose_paths_lead_elsewhere() -> None:
    answer = Recorder(200, json={"failpoints": [{"name": "events"}, {"name": "failpoints"}]})
    asking = client(answer)
    assert asking.status("events") == {"name": "events"}
    assert asking.status("failpoints") == {"name": "failpoints"}
    asking.enable("failpoints", "panic")
    assert answer.requests[-1].content == b"failpoints=panic"
    with pytest.raises(Refused, match="stands for every point"):
        asking.disable("failpoints")
    with pytest.raises(Refused, match="no code has declared"):
        asking.status("Failpoints")
    assert {each.url.path for each in answer.requests} == {"/failpoints"}


def test_a_token_is_a_header() -> None:
    answer = Recorder(204)
    client(answer, token=" sécret\n").disable("a")
    client(answer, token=" ").disable("a")
    with_token, without = answer.requests
    assert dict(with_token.headers.raw)[b"Authorization"].decode() == "Bearer sécret"
    assert "authorization" not in without.headers
    with pytest.raises(Complaint, match="control character"):
        client(answer, token="a\nb")


def test_a_prefix_comes_first() -> None:
    answer = Recorder(200, json=POINT)
    target = find_target("http://h/debug/failpoints/", {})
    Client(target, transport=httpx.MockTransport(answer)).status("a")
    assert answer.requests[0].url.path == "/debug/failpoints/a"


# --- what is made of replies ---


def refusal(**error: object) -> dict[str, object]:
    return {"error": {"type": "UnknownFailpoint", "message": "no 'b'", **error}}


def test_a_refusal_keeps_what_the_endpoint_says() -> None:
    with pytest.raises(Refused) as caught:
        answering(404, json=refusal(near=["a"])).status("b")
    assert caught.value.status == 1
    assert caught.value.data == refusal(near=["a"])


def test_a_missing_token_has_a_way_out() -> None:
    with pytest.raises(Refused, match="no 'b'\nGive the token of the program with --token"):
        answering(401, json=refusal()).status("b")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"status_code": 200, "text": "a=off"}, "text/plain; charset=utf-8 where JSON is due"),
        ({"status_code": 200, "json": []}, "application/json where JSON is due"),
        ({"status_code": 200, "json": {"a": 1}}, "no list of failpoints"),
        ({"status_code": 200, "json": {"failpoints": [1]}}, "no list of failpoints"),
        ({"status_code": 200, "content": b"\xff{"}, "nothing where JSON is due"),
        ({"status_code": 404, "text": "no\x1b[m"}, "404 Not Found"),
        ({"status_code": 404, "json": {"error": "x"}}, "404 Not Found"),
        ({"status_code": 301, "headers": {"location": "https://h/"}}, "301 Moved Permanently to https://h/"),
    ],
)
def test_another_server_is_told_from_failpy(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(Unreachable) as caught:
        answering(**arguments).everything()
    assert f"what answers at http://h:1 is no failpy endpoint: it answers {reason}".replace(
        "it answers no list", "its answer has no list"
    ) in str(caught.value)
    assert caught.value.status == 3


def test_what_stands_before_it_may_answer() -> None:
    with pytest.raises(Unreachable, match="http://h:1 answers 503 Service Unavailable: it is busy"):
        answering(503).everything()


@pytest.mark.parametrize("more", [{"name": 1}, {"sites": "x"}, {"paused_hits": 1}, {"hits": "x"}])
def test_a_point_of_another_shape(more: dict[str, object]) -> None:
    with pytest.raises(Unreachable, match="describes no failpoint"):
        answering(200, json={**POINT, **more}).status("a")


def test_a_reply_that_says_nothing_of_a_point() -> None:
    with pytest.raises(Unreachable, match="describes no failpoint"):
        answering(200, json={}).status("a")
    with pytest.raises(Unreachable, match="how many hits"):
        answering(200, json={}).resume("a")


def test_a_closed_port_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable) as caught, Client(find_target(f"127.0.0.1:{port}", {})) as asking:
        asking.everything()
    assert f"nothing answers at http://127.0.0.1:{port} (Connection refused)" in str(caught.value)


# httpcore leaves a unix socket that it cannot connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_missing_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"\(No such file or directory\)"):
        Client(find_target(f"unix:{tmp_path}/none", {})).everything()
    with pytest.raises(Unreachable, match="AF_UNIX path too long"):
        Client(find_target(f"unix:/{'x' * 200}", {})).everything()
    gc.collect()


def test_silence_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = find_target(f"127.0.0.1:{silent.getsockname()[1]}", {})
        with pytest.raises(Unreachable, match=r"does not answer within 0.1 s"):
            Client(target, timeout=0.1).everything()


def test_what_breaks_on_the_way_is_told() -> None:
    with pytest.raises(Unreachable, match=r"speaks no HTTP \(garbage\)"):
        breaking(httpx.RemoteProtocolError("garbage")).everything()
    with pytest.raises(Unreachable, match=r"speaks no HTTP \(ReadError\)"):
        breaking(httpx.ReadError("")).everything()
    with pytest.raises(Unreachable, match=r"\(no luck\)"):
        breaking(OSError("no luck")).everything()


# --- events ---


STREAM = {"content-type": "text/event-stream"}


def test_events_are_read_as_they_come() -> None:
    said = {"point": "a\u2028b", "nth": 1}
    data = json.dumps(said, ensure_ascii=False).encode()
    stream = b": hello\n\nevent: hit\r\ndata:" + data + b"\r\n\r\nevent: dropped\ndata: {}\n\nevent: hit"
    chunks = [stream[i : i + 3] for i in range(0, len(stream), 3)]
    assert list(read_events(chunks)) == [("hit", said), ("dropped", {})]


def test_events_of_a_client() -> None:
    events = answering(200, headers=STREAM, content=b"event: hit\ndata: {}\n\n").events()
    assert list(events) == [("hit", {})]


def test_events_that_are_none() -> None:
    with pytest.raises(Unreachable, match="'?text/html'? where events are due"):
        list(answering(200, headers={"content-type": "text/html"}).events())
    with pytest.raises(Unreachable, match="answers nothing where events are due"):
        list(answering(200).events())
    for data in (b"{", b"1", b"[1]"):
        with pytest.raises(Unreachable, match="hold no JSON"):
            list(answering(200, headers=STREAM, content=b"data: " + data + b"\n\n").events())
    with pytest.raises(Refused):
        list(answering(503, json=refusal()).events())


# --- where ---


@pytest.mark.parametrize(
    ("given", "base", "local"),
    [
        ("127.0.0.1:1234", "http://127.0.0.1:1234", True),
        (" localhost:1 ", "http://localhost:1", True),
        ("app.localhost:1", "http://app.localhost:1", True),
        ("[::1]:1", "http://[::1]:1", True),
        ("0.0.0.0:1", "http://127.0.0.1:1", True),
        ("[::]:1", "http://[::1]:1", True),
        (":1", "http://127.0.0.1:1", True),
        ("host:1", "http://host:1", False),
        ("HTTP://host/", "http://host", False),
        ("https://host:8443/a/b/", "https://host:8443/a/b", False),
    ],
)
def test_addresses(given: str, base: str, local: bool) -> None:
    target = find_target(given, {})
    assert (target.base, target.local, target.socket) == (base, local, None)
    assert target.text == base


def test_a_password_is_sent_and_not_shown() -> None:
    target = find_target("http://me:secret@host/x", {})
    assert target.text == "http://host/x"
    assert target.base == "http://me:secret@host/x"


def test_a_unix_socket() -> None:
    target = find_target("unix:/run/a.sock", {})
    assert (target.text, target.socket, target.local) == ("unix:/run/a.sock", "/run/a.sock", True)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("host", "it is none of HOST:PORT"),
        ("ftp://host", "it is none of HOST:PORT"),
        ("1.2.3.4.5", "it is none of HOST:PORT"),
        ("http://", "it has no host"),
        ("http://[::1", "Invalid port"),
        ("http://1.2.3.400/", "Invalid IPv4 address"),
        ("http://host:99999/", "a port is a number from 1 to 65535"),
        ("127.0.0.1:0", "a port is a number from 1 to 65535"),
        ("http://host/?a", "leave out what follows"),
        ("http://host/#token=x", "leave out what follows"),
        ("unix:", "a path is due"),
        ("unix:/a\0", "a path is due"),
    ],
)
def test_addresses_that_are_none(given: str, reason: str) -> None:
    with pytest.raises(Complaint) as caught:
        find_target(given, {})
    assert str(caught.value).startswith(f"--url={given!r} is no address: ")
    assert reason in str(caught.value)
    assert caught.value.status == 2


def test_the_environment_says_where() -> None:
    both = {"FAILPY_URL": "a:1", "FAILPY_HTTP": "b:1"}
    assert find_target(None, both).text == "http://a:1"
    assert find_target(None, {**both, "FAILPY_URL": " "}).text == "http://b:1"
    assert find_target("c:1", both).text == "http://c:1"
    with pytest.raises(Complaint, match="FAILPY_HTTP='x' is no address"):
        find_target(None, {"FAILPY_HTTP": "x"})
    with pytest.raises(Complaint, match="no program is named: give --url"):
        find_target(None, {})


def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with fail.serve() as server, Client(find_target(server.url, {})) as asking:
        assert asking.everything()["failpoints"] is not None
    with pytest.raises(Unreachable, match="Connection refused"):
        Client(find_target("http://192.0.2.1", {}), timeout=0.5).everything()


# --- the endpoint itself ---


@pytest.fixture(params=["tcp", "unix"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    fail.current_scope()
    address = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/s"
    with fail.serve(address, token="t") as server, Client(find_target(server.url, {}), token="t") as asking:
        yield asking


NAMES = ["../a", "a//b", "/a", "a/", "a/../b", "..", "é%2F?#", "-a", "[red]x", "events", "a/resume", "a+b&c"]


@pytest.mark.parametrize("name", NAMES)
def test_names_arrive_as_they_are(running: Client, name: str) -> None:
    fail.point(name)
    running.enable(name, "panic")
    assert fail.status(name).terms == "panic"
    assert running.status(name)["terms"] == "panic"
    assert running.resume(name) == 0
    running.disable(name)
    assert fail.status(name).terms == ""


def test_the_endpoint_arms_all_or_none(running: Client, name: str) -> None:
    fail.point(name)
    with pytest.raises(Refused, match="no code has declared") as caught:
        running.enable_all(f"{name}=panic;{name}.not=off")
    assert caught.value.kind == "UnknownFailpoint"
    assert fail.status(name).terms == ""
    revision = running.enable_all(f"{name}=panic", ttl="1h")
    status = running.status(name)
    assert 3500 < status["expires_in"] <= 3600
    with pytest.raises(Refused, match="changed since you looked"):
        running.enable(name, "off", if_match="1.1")
    assert running.enable(name, "off", if_match=status["revision"]) != revision
    running.disable_all()
    assert running.status(name)["terms"] == ""


def test_a_syntax_error_keeps_its_caret(running: Client, name: str) -> None:
    fail.point(name)
    with pytest.raises(Refused) as caught:
        running.enable(name, "5*")
    assert caught.value.details["caret"] == "5*\n  ^"
    assert str(caught.value).endswith("\n  5*\n    ^")


def test_a_wrong_token_is_refused(running: Client) -> None:
    with Client(running.target, token="x") as stranger, pytest.raises(Refused, match="--token") as caught:
        stranger.everything()
    assert caught.value.kind == "Unauthorized"


def test_hits_are_streamed(running: Client, name: str) -> None:
    point = fail.point(name)
    fail.enable(name, "1*off->print")
    seen: list[tuple[str, dict[str, object]]] = []

    def read() -> None:
        with closing(running.events()) as events:
            for event in events:
                seen.append(event)
                if len(seen) == 2:
                    return

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        point.hit()
        reader.join(0.02)
    assert [kind for kind, _ in seen] == ["hit", "hit"]
    assert seen[1][1]["point"] == name


def test_a_body_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Iterator[bytes]:
        while True:
            yield b"x" * 100

    monkeypatch.setattr(_client, "_LARGE", 1000)
    for status in (200, 400):
        with pytest.raises(Unreachable, match="its answer is larger than"):
            answering(status, content=body()).status("a")


def test_a_body_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece in time is not enough."""
    clock = itertools.count()
    monkeypatch.setattr("failpy._client.time.monotonic", lambda: float(next(clock)))
    with pytest.raises(Unreachable, match="does not answer within 5 s"):
        answering(200, content=(b"x" for _ in range(100))).status("a")


def test_json_that_is_nested_too_deeply() -> None:
    deep = b"[" * 100_000
    with pytest.raises(Unreachable, match="where JSON is due"):
        answering(200, content=deep).status("a")
    with pytest.raises(Unreachable, match="answers 400"):
        answering(400, content=deep).status("a")


def test_an_event_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failpy._sse._LONG", 100)
    events = answering(
        200, content=b"data: " + b"x" * 200, headers={"Content-Type": "text/event-stream"}
    ).events()
    with pytest.raises(Unreachable, match="its events hold no JSON"):
        next(events)
