"""The HTTP endpoint: what each request does, and gofail's exchanges byte for byte."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import re
import sys
import threading
import time
import types
import typing
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from failpy import _control, _events, _expiry, _reports, fail, failpoint
from failpy._config import config
from failpy._context import process
from failpy._events import Events, readers
from failpy._registry import lock
from tests.http_tools import (
    BROWSER,
    JSON,
    TEXT,
    Answer,
    Client,
    Paused,
    Program,
    Stream,
    ask,
    connect,
    exchange,
    in_thread,
    path_of,
    request,
    status_of,
    until,
)

ROWS = json.loads((Path(__file__).parent / "data" / "gofail_terms.json").read_text(encoding="utf-8"))


@pytest.fixture
def server() -> Iterator[fail.Server]:
    with fail.serve() as server:
        yield server


@pytest.fixture(autouse=True)
def nobody_reads_events() -> Iterator[None]:
    yield
    until(lambda: not readers())


@pytest.fixture
def client(server: fail.Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client


@pytest.fixture
def point(name: str) -> fail.Point[str]:
    return fail.point(name, returns=str)


@pytest.fixture
def other(name: str) -> str:
    fail.point(f"{name}.other")
    return f"{name}.other"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "failpy")
    return caplog


def value_of(point: fail.Point[Any]) -> object:
    hit = point.hit()
    return hit.value if hit else None


def refused(answer: Answer, status: int, *said: str) -> None:
    """It is an error in text, which ends in a newline and says this."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == TEXT
    assert answer.text.endswith("\n")
    for each in said:
        assert each in answer.text


# --- gofail's exchanges ---


def raw(server: fail.Server, line: str, body: bytes = b"", *headers: str) -> tuple[str, str]:
    """What comes back, without what differs each time."""
    length = f"Content-Length: {len(body)}"
    reply = exchange(server, request(line, length, *headers, body=body)).decode()
    head, _, said = reply.partition("\r\n\r\n")
    return re.sub(r"\r\n(Date: [^\r]+ GMT|ETag: \"[0-9a-f]+\.\d+\"|Connection: close)", "", head), said


def test_the_exchanges_of_gofail_byte_for_byte(
    server: fail.Server, monkeypatch: pytest.MonkeyPatch, point: fail.Point[str], other: str
) -> None:
    monkeypatch.setattr(_reports, "names", lambda: [point.name, other])
    done = ("HTTP/1.1 204 No Content", "")

    def said(text: str) -> tuple[str, str]:
        length = len(text.encode())
        return f"HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: {length}", text

    name = point.name
    assert raw(server, "GET / HTTP/1.1") == said(f"{name}=\n{other}=\n")
    assert raw(server, f"PUT /{name} HTTP/1.1", b'return("hello")') == done
    assert raw(server, f"GET /{name} HTTP/1.1") == said('return("hello")\n')
    assert raw(server, "GET / HTTP/1.1") == said(f'{name}=return("hello")\n{other}=\n')
    assert raw(server, f"GET /{name}/count HTTP/1.1") == said("0")
    assert value_of(point) == "hello"
    assert raw(server, f"GET /{name}/count HTTP/1.1") == said("1")
    body = f'{name}=50.0%return("a=b;c");{other}=return'.encode()
    assert raw(server, "PUT /failpoints HTTP/1.1", body) == done
    assert raw(server, "GET / HTTP/1.1") == said(f'{name}=50.0%return("a=b;c")\n{other}=return\n')
    assert raw(server, f"DELETE /{name} HTTP/1.1") == done
    assert raw(server, "GET / HTTP/1.1") == said(f"{name}=\n{other}=return\n")
    assert raw(server, "PUT /failpoints HTTP/1.1", b"") == done
    assert fail.status(other).terms == "return"


def test_a_program_without_points_lists_an_empty_line(
    server: fail.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reports, "names", tuple)
    assert ask(server, "GET", "/").body == b"\n"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('50.0%return("hello")', None),
        ("return(`raw`)", None),
        (" 3 * off -> return ( 'a' ) ", "3 * off -> return ( 'a' )"),
        ('return("x")\n', 'return("x")'),
        ('return("日本")', None),
        ('1*off->\nreturn("x")', '1*off->return("x")'),  # a line of the list holds one point
        ("return(`a\nb`)", 'return("a\\nb")'),
    ],
)
def test_terms_are_told_as_they_were_given(
    client: Client, point: fail.Point[str], given: str, told: str | None
) -> None:
    assert client.ask("PUT", f"/{point.name}", given).status == 204
    told = given if told is None else told
    assert client.ask("GET", f"/{point.name}").text == f"{told}\n"
    assert f"\n{point.name}={told}\n" in client.ask("GET", "/").text
    assert client.ask("GET", f"/{point.name}", **JSON).json["terms"] == told


def test_every_term_of_gofail_is_told_as_it_was_given_or_refused(client: Client, name: str) -> None:
    fail.point(name, returns=Any)
    for row in ROWS:
        answer = client.ask("PUT", f"/{name}", row["terms"])
        if answer.status == 204:
            assert client.ask("GET", f"/{name}").text == f"{row['terms'].strip()}\n"
        else:
            refused(answer, 400, "^")


def test_what_the_environment_armed_is_told_as_it_was_given() -> None:
    program = """if True:
        from failpy import fail, failpoint
        fail.point("A", returns=str)
        fail.point("B", returns=str)
        server = fail.serve()
        print(server.url, flush=True)
        input()
    """
    with Program(program, FAILPY_FAILPOINTS='B=50.0%return("a;b=c") ; A = return(`raw`)') as running:
        url = running.read()
        assert ask(url, "GET", "/").body == b'A=return(`raw`)\nB=50.0%return("a;b=c")\n'
        assert ask(url, "GET", "/A").body == b"return(`raw`)\n"
        ask(url, "DELETE", "/failpoints")
        running.tell()
        assert running.end() == ""


def test_what_the_program_armed_is_told(client: Client, point: fail.Point[str]) -> None:
    fail.enable(point.name, 3 * fail.Return("x") >> fail.Raise(KeyError("k")))
    assert client.ask("GET", f"/{point.name}").text == '3*return("x")->raise(KeyError("k"))\n'


# --- names ---

NAMES = [
    "a.b/c.d",
    "/one-slash",
    "//two-slashes",
    "http.ünï/日本",
    "http.what?pending",
    "http.100%25",
    "http.a#b",
    "http.a&b+c",
    "http./../x",
    "events",
    "x/events",
    "x/resume",
    "resume",
    "count",
    "x/count/y",
    "*",
]


@pytest.mark.parametrize("odd", NAMES)
def test_a_name_may_be_any(client: Client, odd: str) -> None:
    point, path = fail.point(odd, returns=str), path_of(odd)
    assert client.ask("PUT", path, '1*return("x")').status == 204
    assert value_of(point) == "x"
    assert client.ask("GET", f"{path}/count").body == b"1"
    assert client.ask("POST", f"{path}/resume").body == b"0\n"
    if odd != "events":
        assert client.ask("GET", path).text == '1*return("x")\n'
        assert client.ask("GET", path, **JSON).json["name"] == odd
        assert client.ask("HEAD", path).status == 200
    assert client.ask("DELETE", path).status == 204
    assert fail.status(odd).terms == ""


@pytest.mark.parametrize("path", ["/a/plain", "//a/plain", "/a%2fplain", "/a%2Fplain", "/%61/plain"])
def test_a_path_is_decoded_and_its_first_slash_goes(client: Client, path: str) -> None:
    name = "/a/plain" if path.startswith("//") else "a/plain"
    fail.point(name)
    assert client.ask("PUT", path, "off").status == 204
    assert fail.status(name).terms == "off"


def test_a_name_may_be_plain_utf_8(server: fail.Server) -> None:
    fail.point("http.plain-ünï")
    assert status_of(exchange(server, request("GET /http.plain-ünï HTTP/1.1"))) == 200


@pytest.mark.parametrize("path", ["/%FF", "/a%E9"])
def test_a_path_that_is_not_utf_8_is_refused(client: Client, path: str) -> None:
    refused(client.ask("GET", path), 400, "not UTF-8")


def test_a_point_called_failpoints_is_armed_with_all(client: Client) -> None:
    fail.point("failpoints")
    assert client.ask("PUT", "/failpoints", "failpoints=2*off").status == 204
    fail.point("failpoints").hit()
    assert client.ask("GET", "/failpoints/count").text == "1"


@pytest.mark.parametrize("path", ["/a%20b", "/a=b", "/a%3Bb", "/a%0Ab", "/a/count/count"])
def test_what_cannot_be_a_name_is_refused(client: Client, path: str) -> None:
    method = "GET" if path.endswith("/count") else "PUT"
    refused(client.ask(method, f"{path}?pending=1" if method == "PUT" else path, "off"), 400, "cannot name")


def test_a_name_may_be_so_long(client: Client, name: str) -> None:
    """What a client makes up is kept, so it is bounded; what code declares is not."""
    for length, status in ((1000, 204), (1001, 400)):
        long = name.ljust(length, "x")
        for path, body in ((f"/{long}?pending=1", "off"), ("/failpoints?pending=1", f"{long}=off")):
            assert client.ask("PUT", path, body).status == status
    fail.point(long)
    assert client.ask("PUT", f"/{long}", "off").status == 204


@pytest.mark.parametrize("name", ["//count", "//resume"])
def test_an_empty_name_is_none(client: Client, name: str) -> None:
    fail.point("/resume")
    method = "GET" if name.endswith("count") else "PUT"
    assert client.ask(method, name, "off").status == (400 if method == "GET" else 204)


# --- counts ---


def test_the_count_is_of_the_hits_that_a_term_was_selected_for(
    client: Client, point: fail.Point[str]
) -> None:
    path = f"/{point.name}/count"
    assert client.ask("GET", path).body == b"0"
    client.ask("PUT", f"/{point.name}", '2*off->1*return("x")')
    assert [value_of(point) for _ in range(5)] == [None, None, "x", None, None]
    answer = client.ask("GET", path)
    assert (answer.status, answer.body) == (200, b"3")
    assert answer.headers["Content-Type"] == TEXT
    assert client.ask("GET", path, **JSON).json == {
        "name": point.name,
        "hits": 5,
        "selected": 3,
        "fired": 1,
    }
    client.ask("PUT", f"/{point.name}", "off")
    assert client.ask("GET", path).body == b"0"
    client.ask("DELETE", f"/{point.name}")
    assert client.ask("GET", path).body == b"0"


# --- names that nothing has declared ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/{}x"),
        ("GET", "/{}x/count"),
        ("PUT", "/{}x"),
        ("PUT", "/failpoints"),
        ("DELETE", "/{}x"),
        ("POST", "/{}x/resume"),
    ],
)
def test_an_unknown_name_is_404_with_the_nearest(
    client: Client, point: fail.Point[str], method: str, path: str
) -> None:
    path, unknown = path.format(point.name), f"{point.name}x"
    body = f"{unknown}=panic" if path == "/failpoints" else "panic"
    refused(client.ask(method, path, body), 404, repr(unknown), "did you mean", repr(point.name))
    error = client.ask(method, path, body, **JSON).json["error"]
    assert error["type"] == "UnknownFailpoint"
    assert point.name in error["near"]
    assert repr(unknown) in error["message"]


def test_an_unknown_name_says_more_than_bad_terms(client: Client, name: str) -> None:
    refused(client.ask("PUT", f"/{name}", "nonsense"), 404)


def test_a_name_without_a_near_one(client: Client) -> None:
    error = client.ask("GET", "/" + "Z" * 50, **JSON).json["error"]
    assert error["near"] == []


# --- terms that cannot be ---


def test_bad_terms_leave_what_is_armed_with_its_counts(client: Client, point: fail.Point[str]) -> None:
    path = f"/{point.name}"
    client.ask("PUT", path, '3*return("x")')
    etag = client.ask("GET", path).etag
    assert value_of(point) == "x"
    for terms in ("", "5*", 'return("x")->', "return(hello)", "retrun", "return(5)", "raise(no.such.Error)"):
        answer = client.ask("PUT", path, terms)
        refused(answer, 400, "no module 'no'" if "no.such" in terms else repr(point.name))
        assert client.ask("GET", path).text == '3*return("x")\n'
        assert client.ask("GET", path).etag == etag
    assert client.ask("GET", f"{path}/count").text == "1"
    assert [value_of(point) for _ in range(3)] == ["x", "x", None]


def test_bad_terms_are_shown_with_a_caret(client: Client, point: fail.Point[str]) -> None:
    path, terms = f"/{point.name}", 'return("日本")->retrun'
    lines = client.ask("PUT", path, terms).text.splitlines()
    assert lines[-2:] == [f"  {terms}", f"  {' ' * terms.index('retrun')}^"]
    error = client.ask("PUT", path, terms, **JSON).json["error"]
    assert error == {
        "type": "TermSyntaxError",
        "message": "\n".join(lines),
        "reason": error["reason"],
        "text": terms,
        "column": terms.index("retrun") + 1,
        "caret": f"{terms}\n{' ' * terms.index('retrun')}^",
    }
    assert lines[0] == f"{error['reason']} (column {error['column']})"
    assert "did you mean 'return'" in error["reason"]


def test_a_value_of_a_wrong_type(client: Client, point: fail.Point[str]) -> None:
    refused(client.ask("PUT", f"/{point.name}", "return(5)"), 400, "returns=str")
    assert client.ask("PUT", f"/{point.name}", "return(5)", **JSON).json["error"]["type"] == "ReturnTypeError"


def test_a_body_that_is_not_utf_8(client: Client, point: fail.Point[str]) -> None:
    refused(client.ask("PUT", f"/{point.name}", b'return("\xff")'), 400, "not UTF-8, at byte 9")


@pytest.mark.parametrize(
    "body",
    [
        "return(" + "[" * 30_000,
        "9" * 60_000 + "*off",
        "return(" + "9" * 60_000 + ")",
        "raise(" + "a." * 30_000 + "b)",
        "print(" + "`" * 60_000,
        "off->" * 13_000,
        "sleep(" + "9" * 60_000 + "s)",
    ],
)
def test_monstrous_terms_are_refused(client: Client, point: fail.Point[str], body: str) -> None:
    refused(client.ask("PUT", f"/{point.name}", body), 400, "^")


# --- many at once ---


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ("{other}=retrun", 400),
        ("{other}", 400),
        ("{other}=return(5)", 400),
        ("{other}x=off", 404),
        ("{other}=off;{other}=off", 400),
        ("{other}=raise(no.such.Error)", 400),
        ("{other}=exit", 403),
    ],
)
def test_all_are_armed_or_none(
    client: Client, point: fail.Point[str], other: str, wrong: str, status: int
) -> None:
    client.ask("PUT", f"/{point.name}", '5*return("before")')
    assert value_of(point) == "before"
    everything = client.ask("GET", "/").etag
    wrong = wrong.format(other=other)
    for body in (f'{point.name}=return("after");{wrong}', f'{wrong};{point.name}=return("after")'):
        refused(client.ask("PUT", "/failpoints", body), status)
        assert client.ask("GET", f"/{point.name}").text == '5*return("before")\n'
        assert client.ask("GET", f"/{other}").text == "\n"
        assert client.ask("GET", "/").etag == everything
    assert client.ask("GET", f"/{point.name}/count").text == "1"


def test_many_are_armed_and_all_are_disarmed(client: Client, point: fail.Point[str], other: str) -> None:
    answer = client.ask("PUT", "/FailPoints", f'{point.name}=return("x") ; {other} = 2*off->return')
    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert client.ask("GET", "/").etag == answer.etag
    assert client.ask("GET", f"/{other}").text == "2*off->return\n"
    answer = client.ask("DELETE", "/failpoints")
    assert (answer.status, answer.body) == (204, b"")
    assert client.ask("GET", "/").etag == answer.etag
    assert (fail.status(point.name).terms, fail.status(other).terms) == ("", "")
    assert client.ask("DELETE", "/failpoints").etag == answer.etag


def test_the_list_is_under_two_paths(client: Client, point: fail.Point[str]) -> None:
    for headers in ({}, JSON):
        root, named = client.ask("GET", "/", **headers), client.ask("GET", "/failpoints", **headers)
        assert (root.body, root.etag) == (named.body, named.etag)


def test_the_list_is_sorted(client: Client, name: str) -> None:
    for end in "bac":
        fail.point(f"{name}.{end}")
    names = [line.partition("=")[0] for line in client.ask("GET", "/").text.splitlines()]
    assert names == sorted(names)
    assert {f"{name}.a", f"{name}.b", f"{name}.c"} <= set(names)
    assert [each["name"] for each in client.ask("GET", "/", **JSON).json["failpoints"]] == names


# --- pending ---


def test_a_name_that_is_still_to_be_declared_may_wait(client: Client, name: str) -> None:
    assert client.ask("PUT", f"/{name}?pending=1", 'return("x")').status == 204
    said = client.ask("GET", f"/{name}", **JSON).json
    assert (said["declared"], said["sites"], said["returns"]) == (False, [], None)
    assert f"\n{name}=" in f"\n{client.ask('GET', '/').text}"
    assert client.ask("PUT", f"/{name}", 'return("y")').status == 204  # it is known by now
    assert value_of(fail.point(name, returns=str)) == "y"
    assert client.ask("GET", f"/{name}", **JSON).json["declared"] is True


def test_many_may_wait(client: Client, point: fail.Point[str], name: str) -> None:
    body = f'{point.name}=return("x");{name}.new=off'
    refused(client.ask("PUT", "/failpoints?pending=0", body), 404)
    assert client.ask("PUT", "/failpoints?pending=1", body).status == 204
    assert fail.status(f"{name}.new").terms == "off"


def test_one_that_waited_in_vain_can_be_disarmed_once(client: Client, name: str) -> None:
    client.ask("PUT", f"/{name}?pending=1", "off")
    assert client.ask("DELETE", f"/{name}").status == 204
    refused(client.ask("DELETE", f"/{name}"), 404)


# --- the query ---


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("PUT", "{}?pending=yes", "pending=yes is neither"),
        ("PUT", "{}?pending", "pending= is neither"),
        ("PUT", "{}?force=1", "no parameter 'force' here: it takes pending and ttl"),
        ("PUT", "failpoints?nth=1", "no parameter 'nth'"),
        ("GET", "{}?x", "it takes none"),
        ("GET", "?x=1", "it takes none; '?' in a name is sent as %3F"),
        ("GET", "failpoints?x=1", "it takes none"),
        ("GET", "{}/count?x=1", "it takes none"),
        ("GET", "events?x=1", "it takes none"),
        ("DELETE", "{}?ttl=1s", "it takes none"),
        ("DELETE", "failpoints?ttl=1s", "it takes none"),
        ("POST", "{}/resume?ttl=1s", "it takes nth"),
        ("POST", "{}/resume?nth=x", "nth=x is not the number"),
        ("POST", "{}/resume?nth=-1", "nth=-1"),
        ("POST", "{}/resume?nth=%D9%A3", "nth=٣"),
        ("POST", "{}/resume?nth=" + "9" * 20, "nth=9"),
        ("PUT", "{}?ttl=", "ttl= is not a duration"),
        ("PUT", "{}?ttl=100", "say the unit, as in ttl=30s"),
        ("PUT", "{}?ttl=0s", "ttl=0s is over at once"),
        ("PUT", "{}?ttl=-1s", "cannot be negative"),
        ("PUT", "{}?ttl=nan", "ttl=nan"),
        ("PUT", "{}?ttl=1s,2s", "ttl=1s,2s"),
        ("PUT", "{}?ttl=soon", "ttl=soon"),
        ("PUT", "{}?ttl=9999999999999s", "at most 292 years"),
        ("PUT", "{}?ttl=" + "9" * 5000 + "s", "ttl=9"),
    ],
)
def test_a_query_that_cannot_be(
    client: Client, point: fail.Point[str], method: str, path: str, said: str
) -> None:
    client.ask("PUT", f"/{point.name}", 'return("x")')
    body = f"{point.name}=off" if path.startswith("failpoints") else "off"
    refused(client.ask(method, "/" + path.format(point.name), body), 400, said)
    assert fail.status(point.name).terms == 'return("x")'


# --- for a while ---


def test_terms_end_by_themselves(
    client: Client, point: fail.Point[str], logged: pytest.LogCaptureFixture
) -> None:
    path = f"/{point.name}"
    assert client.ask("PUT", f"{path}?ttl=50ms", 'return("x")').status == 204
    until(lambda: fail.status(point.name).terms == "")
    assert client.ask("GET", path, **JSON).json["expires_in"] is None
    until(lambda: f"failpoint '{point.name}' disarmed: its time was up" in logged.messages)
    assert logged.messages[0].startswith(f"failpoint '{point.name}' armed with return(\"x\"), for 0.05 s")


def test_the_time_left_is_told(client: Client, point: fail.Point[str], other: str) -> None:
    path = f"/{point.name}"
    client.ask("PUT", f"{path}?ttl=1m30s", "off")
    left = [client.ask("GET", path, **JSON).json["expires_in"] for _ in range(2)]
    assert 90 >= left[0] > left[1] > 60
    client.ask("PUT", "/failpoints?ttl=2h", f"{point.name}=off;{other}=off")
    for each in (point.name, other):
        assert 3600 < client.ask("GET", f"/{each}", **JSON).json["expires_in"] <= 7200


def test_what_is_armed_afterwards_stays(client: Client, point: fail.Point[str], other: str) -> None:
    client.ask("PUT", f"/{point.name}?ttl=30ms", "off")
    client.ask("PUT", f"/{point.name}", 'return("y")')
    client.ask("PUT", f"/{other}?ttl=60ms", "off")  # later, and it ends when the first would have
    until(lambda: fail.status(other).terms == "")
    assert client.ask("GET", f"/{point.name}", **JSON).json["expires_in"] is None
    assert fail.status(point.name).terms == 'return("y")'


def test_what_is_replaced_at_the_last_moment_stays(
    client: Client, point: fail.Point[str], other: str, logged: pytest.LogCaptureFixture
) -> None:
    """Both are over, and the log of the one that ends first arms the other again."""

    class Arming(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "its time was up" in record.getMessage():
                for each in (point.name, other):
                    if fail.status(each).terms:
                        fail.enable(each, "off->off")

    handler = Arming()
    logging.getLogger("failpy").addHandler(handler)
    try:
        client.ask("PUT", "/failpoints?ttl=20ms", f"{point.name}=off;{other}=off")
        until(lambda: not any(each.name == "failpy-expiry" for each in threading.enumerate()))
    finally:
        logging.getLogger("failpy").removeHandler(handler)
    assert sorted((fail.status(point.name).terms, fail.status(other).terms)) == ["", "off->off"]


def test_the_thread_that_ends_them_ends_when_nothing_is_left(
    client: Client, point: fail.Point[str], other: str
) -> None:
    expiring = lambda: [each for each in threading.enumerate() if each.name == "failpy-expiry"]  # noqa: E731
    until(lambda: not expiring())
    client.ask("PUT", f"/{point.name}?ttl=1h", "off")
    assert len(expiring()) == 1
    client.ask("DELETE", f"/{point.name}")
    client.ask("PUT", f"/{other}?ttl=1ms", "off")
    until(lambda: fail.status(other).terms == "")
    until(lambda: not expiring())
    client.ask("PUT", f"/{other}?ttl=1ms", "off")
    until(lambda: fail.status(other).terms == "")


def test_a_forked_child_ends_them_too(client: Client, point: fail.Point[str]) -> None:
    client.ask("PUT", f"/{point.name}?ttl=100ms", "off")
    _expiry._deadlines.forget_threads()  # what a child does; the other thread finds nothing to do
    assert len([each for each in threading.enumerate() if each.name == "failpy-expiry"]) == 2
    until(lambda: fail.status(point.name).terms == "")
    until(lambda: _expiry._deadlines._thread is None)
    idle = _expiry._Deadlines()
    idle.forget_threads()
    assert idle._thread is None  # where nothing is to end, nothing is started


def test_one_that_waits_for_its_declaration_may_be_disarmed_at_the_last_moment(
    client: Client, point: fail.Point[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disarmed between its end and its disarming, it is not known any more."""
    real, pending = _expiry.disable, f"{name}.pending"

    def disable(layer: Any, name: str, **options: Any) -> None:
        if name == pending:
            fail.disable(pending)
        real(layer, name, **options)

    monkeypatch.setattr(_expiry, "disable", disable)
    client.ask("PUT", f"/{pending}?pending=1&ttl=1ms", "off")
    until(lambda: pending not in process.activations)
    client.ask("PUT", f"/{point.name}?ttl=1ms", "off")
    until(lambda: fail.status(point.name).terms == "")


# --- two operators ---


def test_a_revision_changes_with_what_is_armed_only(
    client: Client, point: fail.Point[str], other: str
) -> None:
    def revisions() -> list[str]:
        return [client.ask("GET", path).etag for path in ("/", f"/{point.name}", f"/{other}")]

    idle = revisions()
    assert all(re.fullmatch(r'"[0-9a-f]{8}\.\d+"', each) for each in idle)
    armed = client.ask("PUT", f"/{point.name}", '1*return("x")').etag
    assert revisions()[1:] == [armed, idle[2]]
    assert revisions()[0] != idle[0]
    assert armed != idle[1]
    point.hit()
    value = client.ask("GET", f"/{point.name}", **JSON)
    assert value.etag == armed == f'"{value.json["revision"]}"'
    everything = client.ask("GET", "/", **JSON)
    assert everything.etag == revisions()[0] == f'"{everything.json["revision"]}"'
    assert client.ask("PUT", f"/{point.name}", '1*return("x")').etag != armed  # counts begin anew
    assert client.ask("DELETE", f"/{point.name}").etag == client.ask("GET", f"/{point.name}").etag
    assert revisions()[0] != everything.etag
    fail.enable(other, "off")  # by the program itself
    assert revisions()[2] != idle[2]


def test_a_revision_is_of_this_process(client: Client, point: fail.Point[str]) -> None:
    """A forked child, and a process with the same number after a restart, has others."""
    seen = client.ask("GET", f"/{point.name}").etag
    before = _reports._process.mark
    _reports._process.renew()
    try:
        refused(client.ask("PUT", f"/{point.name}", "off", If_Match=seen), 412)
    finally:
        _reports._process.mark = before
    assert client.ask("PUT", f"/{point.name}", "off", If_Match=seen).status == 204


def test_a_point_that_was_armed_and_disarmed_has_changed(client: Client, point: fail.Point[str]) -> None:
    seen = client.ask("GET", f"/{point.name}").etag
    client.ask("PUT", f"/{point.name}", "off")
    again = client.ask("DELETE", f"/{point.name}").etag
    assert again == client.ask("GET", f"/{point.name}").etag == client.ask("DELETE", f"/{point.name}").etag
    refused(client.ask("PUT", f"/{point.name}", "off", If_Match=seen), 412)
    assert client.ask("PUT", f"/{point.name}", "off", If_Match=again).status == 204


CHANGES = [
    ("PUT", "/{}", 'return("y")', "/{}"),
    ("DELETE", "/{}", None, "/{}"),
    ("POST", "/{}/resume", None, "/{}"),
    ("PUT", "/failpoints", '{}=return("y")', "/"),
    ("PUT", "/failpoints", "", "/"),
    ("DELETE", "/failpoints", None, "/"),
]


@pytest.mark.parametrize(("method", "path", "body", "of"), CHANGES)
@pytest.mark.parametrize("form", ["{}", "*", " * ", '"0.0", {}', '{},"0.0"', "unquoted"])
def test_a_change_of_what_was_seen(
    client: Client, point: fail.Point[str], method: str, path: str, body: str | None, of: str, form: str
) -> None:
    client.ask("PUT", f"/{point.name}", 'return("x")')
    seen = client.ask("GET", of.format(point.name)).etag
    tag = seen.strip('"') if form == "unquoted" else form.format(seen)
    body = body and body.format(point.name)
    assert client.ask(method, path.format(point.name), body, If_Match=tag).status in (200, 204)


@pytest.mark.parametrize(("method", "path", "body", "of"), CHANGES)
@pytest.mark.parametrize("form", ["{}", '"0.0"', "", "W/{now}", '"0.0", "1.1"'])
def test_a_change_of_what_has_changed_since(
    client: Client, point: fail.Point[str], method: str, path: str, body: str | None, of: str, form: str
) -> None:
    of = of.format(point.name)
    seen = client.ask("GET", of).etag
    now = client.ask("PUT", f"/{point.name}", '5*return("x")').etag
    assert value_of(point) == "x"
    everything = client.ask("GET", of).etag
    path, body = path.format(point.name), body and body.format(point.name)
    tag = form.format(seen, now=now)
    answer = client.ask(method, path, body, If_Match=tag)
    refused(answer, 412, "changed since you looked", everything.strip('"'))
    error = client.ask(method, path, body, If_Match=tag, **JSON).json["error"]
    assert (error["type"], error["revision"]) == ("Conflict", everything.strip('"'))
    if of != "/":
        assert '5*return("x")' in error["message"]
    assert client.ask("GET", of).etag == everything
    assert client.ask("GET", f"/{point.name}/count").text == "1"
    assert value_of(point) == "x"


def test_of_many_that_have_seen_the_same_one_wins(server: fail.Server, point: fail.Point[str]) -> None:
    racers, rounds = 8, 10
    for i in range(rounds):
        seen = ask(server, "GET", f"/{point.name}").etag
        start, answers = Barrier(racers), dict[int, Answer]()

        def race(me: int, i: int = i) -> None:
            with Client(server) as client:
                client.ask("GET", f"/{point.name}")
                start.wait()
                terms = f'return("{i} {me}")'
                answers[me] = client.ask("PUT", f"/{point.name}", terms, If_Match=seen)

        threads = [Thread(target=race, args=(me,)) for me in range(racers)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        winners = [me for me, answer in answers.items() if answer.status == 204]
        assert sorted(answer.status for answer in answers.values()) == [204] + [412] * (racers - 1)
        assert value_of(point) == f"{i} {winners[0]}"


def test_a_race_over_everything(server: fail.Server, point: fail.Point[str], other: str) -> None:
    seen = ask(server, "GET", "/").etag
    start, answers = Barrier(6), list[int]()

    def race(i: int) -> None:
        start.wait()
        body = f"{point.name if i % 2 else other}=off"
        answers.append(ask(server, "PUT", "/failpoints", body, If_Match=seen).status)

    threads = [Thread(target=race, args=(i,)) for i in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(answers) == [204] + [412] * 5


@pytest.mark.parametrize("everything", [False, True])
def test_the_revision_is_of_the_terms_that_are_told_with_it(
    client: Client, point: fail.Point[str], everything: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody arms the point in the middle of the answer: what was seen is not what is there."""
    fail.enable(point.name, 'return("seen")')
    path = "/" if everything else f"/{point.name}"
    teller = "listing" if everything else "point_text"
    real = getattr(_control, teller)

    def slow(*args: str) -> tuple[str, str]:
        said: tuple[str, str] = real(*args)
        arming = Thread(target=fail.enable, args=(point.name, 'return("theirs")'))
        arming.start()
        arming.join(0.2)  # it cannot, where the two are read as one
        return said

    monkeypatch.setattr(_control, teller, slow)
    answer = client.ask("GET", path)
    monkeypatch.undo()
    assert 'return("seen")' in answer.text
    until(lambda: "theirs" in fail.status(point.name).terms)
    target = "/failpoints" if everything else path
    body = f'{point.name}=return("mine")' if everything else 'return("mine")'
    assert client.ask("PUT", target, body, If_Match=answer.etag).status == 412


# --- methods ---


@pytest.mark.parametrize("path", ["/", "/failpoints", "/{}", "/{}/count", "/events"])
@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html"])
def test_head_is_get_without_the_body(client: Client, point: fail.Point[str], path: str, accept: str) -> None:
    path = path.format(point.name)
    head = client.ask("HEAD", path, Accept=accept)
    assert (head.status, head.body) == (200, b"")
    if path == "/events":
        assert head.headers["Content-Type"] == "text/event-stream"
        assert readers() == []
        return
    got = client.ask("GET", path, Accept=accept)
    assert {**head.headers, "Date": ""} == {**got.headers, "Date": ""}
    assert int(head.headers["Content-Length"]) == len(got.body) > 0


def test_head_of_an_error_has_no_body_either(client: Client, name: str) -> None:
    answer = client.ask("HEAD", f"/{name}")
    assert (answer.status, answer.body) == (404, b"")
    assert int(answer.headers["Content-Length"]) > 0


ALLOWED = {
    "/": "GET, HEAD, OPTIONS",
    "/failpoints": "DELETE, GET, HEAD, OPTIONS, PUT",
    "/FAILPOINTS": "DELETE, GET, HEAD, OPTIONS, PUT",
    "/events": "DELETE, GET, HEAD, OPTIONS, PUT",
    "/{}": "DELETE, GET, HEAD, OPTIONS, PUT",
    "/{}/count": "GET, HEAD, OPTIONS",
    "/{}/resume": "DELETE, GET, HEAD, OPTIONS, POST, PUT",
}


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_the_methods(client: Client, point: fail.Point[str], path: str, allowed: str) -> None:
    path = path.format(point.name)
    options = client.ask("OPTIONS", path)
    assert (options.status, options.headers["Allow"], options.body) == (204, allowed, b"")
    assert "Content-Type" not in options.headers
    assert "Content-Length" not in options.headers
    for method in ("GET", "PUT", "POST", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO", "get"):
        if method not in allowed.split(", "):
            answer = client.ask(method, path, "off")
            refused(answer, 405, allowed)
            assert answer.headers["Allow"] == allowed
            error = client.ask(method, path, "off", **JSON).json["error"]
            assert error["type"] == "MethodNotAllowed"


def test_options_of_the_server(server: fail.Server) -> None:
    reply = exchange(server, request("OPTIONS * HTTP/1.1"))
    assert status_of(reply) == 204
    assert b"Allow: OPTIONS\r\n" in reply


# --- what is paused ---


def test_paused_threads_are_resumed(client: Client, name: str, logged: pytest.LogCaptureFixture) -> None:
    fail.point(name)
    client.ask("PUT", f"/{name}", "pause")
    paused = [Paused(name, f"worker {i}") for i in range(3)]
    said = client.ask("GET", f"/{name}", **JSON).json
    assert said["paused"] == 3
    assert said["paused_hits"] == [{"nth": i + 1, "thread": f"worker {i}", "task": None} for i in range(3)]
    assert client.ask("POST", f"/{name}/resume?nth=2").body == b"1\n"
    paused[1].join()
    assert [each.ended for each in paused] == [False, True, False]
    assert client.ask("POST", f"/{name}/resume?nth=2").body == b"0\n"
    assert client.ask("POST", f"/{name}/resume?nth=9", **JSON).json == {"resumed": 0}
    answer = client.ask("POST", f"/{name}/resume", **JSON)
    assert (answer.status, answer.json) == (200, {"resumed": 2})
    for each in paused:
        each.join()
        assert each.hit is None
    answer = client.ask("POST", f"/{name}/resume", b"ignored")
    assert (answer.body, answer.headers["Content-Type"]) == (b"0\n", TEXT)
    assert next(line for line in logged.messages if "resumed" in line) == (
        f"failpoint '{name}': paused hits resumed: 1, over HTTP by 127.0.0.1"
    )


def test_paused_tasks_are_resumed(server: fail.Server, name: str) -> None:
    async def pause() -> object:
        return await fail.point(name).ahit()

    async def main() -> list[object]:
        tasks = [asyncio.create_task(pause(), name=f"task {i}") for i in range(2)]
        while fail.status(name).paused < 2:
            await asyncio.sleep(0)
        said = (await asyncio.to_thread(ask, server, "GET", f"/{name}", **JSON)).json
        assert said["paused_hits"] == [
            {"nth": i + 1, "thread": "MainThread", "task": f"task {i}"} for i in range(2)
        ]
        answer = await asyncio.to_thread(ask, server, "POST", f"/{name}/resume?nth=1")
        assert answer.text == "1\n"
        await tasks[0]
        assert not tasks[1].done()
        assert (await asyncio.to_thread(ask, server, "POST", f"/{name}/resume")).text == "1\n"
        return await asyncio.gather(*tasks)

    fail.point(name)
    fail.enable(name, "pause")
    assert asyncio.run(main()) == [None, None]


def test_what_sleeps_is_not_resumed(client: Client, name: str) -> None:
    fail.point(name)
    client.ask("PUT", f"/{name}", "sleep(20s)")
    with in_thread(fail.point(name).hit):
        until(lambda: process.activations[name].waiting)
        assert client.ask("POST", f"/{name}/resume").text == "0\n"
        said = client.ask("GET", f"/{name}", **JSON).json
        assert (said["paused"], said["paused_hits"]) == (0, [])
        client.ask("DELETE", f"/{name}")


def test_a_hit_that_somebody_else_resumed_does_not_count(client: Client, name: str) -> None:
    fail.point(name)
    client.ask("PUT", f"/{name}", "pause")
    paused = Paused(name)
    hits = process.activations[name].waiting
    hits[0].resume()
    paused.join()
    activation: Any = types.SimpleNamespace(waiting=hits)
    assert _control._resume(activation, None) == 0


def test_disarming_lets_go_of_what_is_paused(client: Client, name: str) -> None:
    fail.point(name)
    for method, path in (("DELETE", f"/{name}"), ("DELETE", "/failpoints"), ("PUT", f"/{name}")):
        client.ask("PUT", f"/{name}", "pause")
        paused = Paused(name)
        assert client.ask(method, path, "off" if method == "PUT" else None).status == 204
        paused.join()


# --- JSON ---


def test_a_point_as_json(client: Client, name: str) -> None:
    site = f"{__file__}:{sys._getframe().f_lineno + 1}"
    point = fail.point(name, returns=str, faults=("raise(TimeoutError)", fail.Return("late")))
    idle = {
        "name": name,
        "terms": "",
        "hits": 0,
        "fired": 0,
        "selected": 0,
        "paused": 0,
        "paused_hits": [],
        "sites": [site],
        "returns": "str",
        "faults": ["raise(TimeoutError)", 'return("late")'],
        "declared": True,
        "conditional": False,
        "revision": f"{_reports._process.mark}.0",
        "expires_in": None,
    }
    answer = client.ask("GET", f"/{name}", **JSON)
    assert answer.json == idle
    assert list(answer.json) == list(idle)
    assert answer.body.endswith(b"}\n")
    assert answer.headers["Cache-Control"] == "no-store"
    etag = client.ask("PUT", f"/{name}", '2*off->1*return("ü")').etag
    assert [value_of(point) for _ in range(4)] == [None, None, "ü", None]
    hit_at = f"{__file__}:{value_of.__code__.co_firstlineno + 1}"
    counts = {"hits": 4, "selected": 3, "fired": 1}
    armed = {"terms": '2*off->1*return("ü")', "revision": etag.strip('"'), "sites": [site, hit_at], **counts}
    answer = client.ask("GET", f"/{name}", **JSON)
    assert answer.json == {**idle, **armed}
    assert "ü".encode() in answer.body


@pytest.mark.parametrize(("returns", "said"), [(None, "None"), (int | None, "int | None"), (Any, "Any")])
def test_the_type_of_a_point_as_json(client: Client, name: str, returns: Any, said: str) -> None:
    fail.point(name, returns=returns)
    assert client.ask("GET", f"/{name}", **JSON).json["returns"] == said


def test_everything_as_json(client: Client, point: fail.Point[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/srv/app.py", "--port"])
    said = client.ask("GET", "/", **JSON).json
    assert list(said) == ["revision", "pid", "program", "version", "failpoints"]
    assert (said["pid"], said["program"], said["version"]) == (os.getpid(), "app.py", fail.__version__)
    one = client.ask("GET", f"/{point.name}", **JSON).json
    assert one in said["failpoints"]
    monkeypatch.setattr(sys, "argv", [])
    assert client.ask("GET", "/", **JSON).json["program"] == ""


def test_a_program_run_from_a_source_tree_has_no_version(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(_reports, "version", version)
    assert client.ask("GET", "/", **JSON).json["version"] == ""


def test_a_name_that_is_no_unicode_is_told(client: Client) -> None:
    fail.point("http.\udcff")
    assert "\nhttp.\\udcff=\n" in client.ask("GET", "/").text
    assert "http.\udcff" in [each["name"] for each in client.ask("GET", "/", **JSON).json["failpoints"]]


# --- content negotiation ---

AXIOS = "application/json, text/plain, */*"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text"),
        ("", "text"),
        ("*/*", "text"),
        ("text/*", "text"),
        ("image/png", "text"),
        ("application/json", "json"),
        ("Application/JSON", "json"),
        ("application/json; charset=utf-8", "json"),
        (AXIOS, "json"),
        ("text/plain, application/json", "text"),
        ("text/plain;q=0.5, application/json", "json"),
        ("application/json;q=0.5, text/plain;q=0.9", "text"),
        ("application/json;q=0", "text"),
        ("application/json;q=none", "text"),
        ("*/*, application/json;q=0.1", "json"),
        ("text/html", "html"),
        (BROWSER["Accept"], "html"),
        ("application/json, text/html", "json"),
        ("text/html;q=0.8, application/json;q=0.9", "json"),
    ],
)
def test_the_form_of_an_answer(client: Client, point: fail.Point[str], accept: str | None, kind: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    kinds = {"text": TEXT, "json": "application/json", "html": "text/html; charset=utf-8"}
    assert client.ask("GET", "/", **headers).headers["Content-Type"] == kinds[kind]
    inner = "json" if kind == "json" else "text"
    for path in ("/failpoints", f"/{point.name}", f"/{point.name}/count", "/no.such.point"):
        assert client.ask("GET", path, **headers).headers["Content-Type"] == kinds[inner]


def test_the_page_is_for_browsers_and_alone(client: Client) -> None:
    answer = client.ask("GET", "/", **BROWSER)
    assert answer.body.startswith(b"<!doctype html>")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "ETag" not in answer.headers
    refused(client.ask("POST", "/", **BROWSER), 405)


# --- errors ---


def test_what_the_endpoint_did_not_expect(
    client: Client, point: fail.Point[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("boom")

    for module in (_control, _reports):
        monkeypatch.setattr(module, "status", broken)
    refused(client.ask("GET", f"/{point.name}"), 500, "ZeroDivisionError")
    assert client.ask("GET", f"/{point.name}", **JSON).json["error"]["type"] == "InternalError"
    assert caplog.records[0].exc_info
    assert "boom" not in client.ask("GET", f"/{point.name}").text
    monkeypatch.undo()
    assert client.ask("GET", f"/{point.name}").status == 200


class Leaving(Exception):
    def __init__(self) -> None:
        raise SystemExit(3)


class Panicking(Exception):
    def __init__(self) -> None:
        raise fail.FailpointPanic("in a constructor")


class Broken(Exception):
    def __init__(self) -> None:
        raise ValueError("in a constructor")


@pytest.mark.parametrize("cls", [Leaving, Panicking, Broken])
def test_an_exception_that_cannot_be_built(client: Client, name: str, cls: type) -> None:
    fail.point(name)
    answer = client.ask("PUT", f"/{name}", f"raise({__name__}.{cls.__name__})")
    assert answer.status in (400, 500), answer
    assert fail.status(name).terms == ""
    assert client.ask("GET", f"/{name}").status == 200


@pytest.fixture
def compiled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "enabled", False)


@pytest.mark.usefixtures("compiled_out")
def test_nothing_can_be_armed_in_a_process_compiled_without(client: Client, name: str) -> None:
    for path, body in ((f"/{name}?pending=1", "panic"), ("/failpoints?pending=1", f"{name}=panic")):
        refused(client.ask("PUT", path, body), 503, "FAILPY=off")
        assert client.ask("PUT", path, body, **JSON).json["error"]["type"] == "FailpointError"
    assert client.ask("GET", "/").status == 200


@pytest.mark.usefixtures("compiled_out")
def test_a_process_compiled_without_says_so_of_every_name(client: Client, name: str) -> None:
    @failpoint(name)
    def function() -> None: ...

    refused(client.ask("PUT", f"/{name}", "panic"), 503, "FAILPY=off")


# --- who may not do what is in test_access; what may not be armed is here ---


@pytest.mark.parametrize("action", ["exit", "exit(3)", "kill", "break", 'call("os:getpid")'])
def test_what_takes_over_the_process_is_not_armed(client: Client, name: str, action: str) -> None:
    fail.point(name, returns=Any)
    fail.enable(name, "2*off")
    plain = re.match("[a-z]+", action)
    assert plain
    for terms in (action, f"off->50%{action}->off"):
        answer = client.ask("PUT", f"/{name}", terms)
        refused(answer, 403, f"{plain[0]} is not allowed over HTTP", f"FAILPY_HTTP_ALLOW={plain[0]}")
        error = client.ask("PUT", f"/{name}?ttl=1s", terms, **JSON).json["error"]
        assert error["type"] == "Forbidden"
    assert fail.status(name).terms == "2*off"


def test_what_is_allowed_is_armed(name: str) -> None:
    fail.point(name, returns=Any)
    with fail.serve(allow=["exit", "call"]) as server:
        assert ask(server, "PUT", f"/{name}", "0*exit").status == 204
        assert ask(server, "PUT", f"/{name}", 'call("builtins:repr")').status == 204
        assert "<Hit 1 of" in fail.point(name, returns=Any).hit().value
        refused(ask(server, "PUT", f"/{name}", "kill"), 403)


# --- nothing is imported ---


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module, a package, and a package that imports what is asked of it; none is imported."""
    (tmp_path / "http_plain.py").write_text("class Err(Exception): pass\ndef call(hit): pass")
    (tmp_path / "http_package").mkdir()
    (tmp_path / "http_package" / "__init__.py").write_text("")
    (tmp_path / "http_package" / "errors.py").write_text("class Err(Exception): pass")
    (tmp_path / "http_lazy.py").write_text(
        "def __getattr__(name):\n    import http_plain\n    return getattr(http_plain, name)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = ("http_plain", "http_package", "http_package.errors", "http_lazy")
    yield "http_plain"
    for name in names:
        sys.modules.pop(name, None)


def test_nothing_is_imported_for_a_request(modules: str, name: str) -> None:
    fail.point(name, returns=Any)
    importlib.import_module("http_package")
    importlib.import_module("http_lazy")
    before = set(sys.modules)
    with fail.serve(allow=["call"]) as server:
        for terms in (
            "raise(http_plain.Err)",
            'raise(http_plain.Err("x"))',
            "raise(http_package.errors.Err)",
            "raise(http_lazy.Err)",
            'call("http_plain:call")',
            "raise(this.Err)",
        ):
            for path, body in ((f"/{name}", terms), ("/failpoints", f"{name}={terms}")):
                refused(ask(server, "PUT", path, body), 400, "^")
        assert {each for each in set(sys.modules) - before if each.startswith(("http_", "this"))} == set()
        importlib.import_module("http_package.errors")
        assert ask(server, "PUT", f"/{name}", "raise(http_package.errors.Err)").status == 204


# --- the log ---


def test_every_change_is_logged(
    client: Client, point: fail.Point[str], other: str, logged: pytest.LogCaptureFixture
) -> None:
    name = point.name
    client.ask("GET", f"/{name}")
    client.ask("PUT", f"/{name}", "nonsense")
    client.ask("PUT", f"/{name}", "off", If_Match='"0.0"')
    assert logged.messages == []
    client.ask("PUT", f"/{name}", 'return("x")')
    client.ask("PUT", "/failpoints?ttl=1m", f"{name}=off;{other}=2*off")
    client.ask("DELETE", f"/{name}")
    client.ask("POST", f"/{other}/resume")
    client.ask("DELETE", "/failpoints")
    by = "over HTTP by 127.0.0.1"
    assert logged.messages == [
        f"failpoint '{name}' armed with return(\"x\"), {by}",
        f"failpoint '{name}' armed with off, for 60 s, {by}",
        f"failpoint '{other}' armed with 2*off, for 60 s, {by}",
        f"failpoint '{name}' disarmed, {by}",
        f"failpoint '{other}': paused hits resumed: 0, {by}",
        f"every failpoint disarmed, {by}",
    ]
    assert {(each.name, each.levelname) for each in logged.records} == {("failpy", "INFO")}


@pytest.mark.parametrize("text", ["a\nb", "a\r\nERROR fake", "\x1b[2J", "\x00", "\u2028", "\u202e", "\x85"])
def test_terms_do_not_break_a_line_of_the_log(
    client: Client, point: fail.Point[str], text: str, logged: pytest.LogCaptureFixture
) -> None:
    for terms in (f'return("{text}")', f"return(`{text}`)", f"print('{text}')"):
        client.ask("PUT", f"/{point.name}", terms)
        client.ask("PUT", "/failpoints", f"{point.name}={terms}")
    assert logged.messages
    for line in logged.messages:
        assert line.isprintable(), line


@pytest.mark.parametrize("odd", ["a%0Ab", "a%0D%0Ab", "a%E2%80%A8b", "a%C2%85b", "a%1Bb"])
def test_a_name_cannot_break_a_line_of_the_log(
    client: Client, odd: str, logged: pytest.LogCaptureFixture
) -> None:
    refused(client.ask("PUT", f"/{odd}?pending=1", "off"), 400)
    refused(client.ask("DELETE", f"/{odd}"), 400)
    refused(client.ask("POST", f"/{odd}/resume"), 400)
    assert logged.messages == []


class Raising(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO:
            raise ZeroDivisionError("in a handler")


def test_a_log_that_fails_does_not_hold_up_the_program(
    client: Client, point: fail.Point[str], logged: pytest.LogCaptureFixture
) -> None:
    handler = Raising()
    logging.getLogger("failpy").addHandler(handler)
    try:
        client.ask("PUT", f"/{point.name}", 'return("x")')
    finally:
        logging.getLogger("failpy").removeHandler(handler)
    until(lambda: process.activations[point.name].orders == ())


# --- when terms begin to act ---


def test_who_has_the_answer_sees_the_terms(client: Client, name: str) -> None:
    point = fail.point(name, returns=int)
    for i in range(1000):
        assert client.ask("PUT", f"/{name}", f"return({i})").status == 204
        assert value_of(point) == i


def test_other_threads_see_the_terms_as_well(server: fail.Server, name: str) -> None:
    """The one that hits is told by the one that has the answer."""
    point, seen = fail.point(name, returns=int), list[object]()
    turn, done = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        for _ in range(200):
            turn.acquire()
            seen.append(value_of(point))
            done.release()

    with in_thread(work), Client(server) as client:
        for i in range(200):
            client.ask("PUT", "/failpoints", f"{name}=return({i})")
            turn.release()
            done.acquire()
    assert seen == list(range(200))


def test_nothing_is_held_afterwards(client: Client, point: fail.Point[str]) -> None:
    client.ask("PUT", f"/{point.name}", 'return("x")')
    until(lambda: process.activations[point.name].orders == ())


def test_nothing_is_held_where_the_answer_does_not_get_there(
    client: Client, point: fail.Point[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no thread is left")

    monkeypatch.setattr(_control, "revision_of", broken)
    refused(client.ask("PUT", f"/{point.name}?ttl=1h", 'return("x")'), 500)
    activation = process.activations.get(point.name)
    assert activation is None or activation.orders == ()


def test_terms_that_cannot_end_by_themselves_are_not_armed(
    client: Client, point: fail.Point[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unstartable(Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_expiry, "Thread", Unstartable)
    monkeypatch.setattr(_expiry._deadlines, "_thread", None)
    refused(client.ask("PUT", f"/{point.name}?ttl=1h", 'return("x")'), 500)
    assert _expiry._deadlines._thread is None  # or no other terms would ever end
    assert fail.status(point.name).terms == ""


DEADLY = """if True:
    import os, sys, threading
    from failpy import fail
    import failpy._server

    point = fail.point("p")

    def hammer():
        while True:
            try:
                point.hit()
            except fail.FailpointPanic:
                pass

    for _ in range(int(sys.argv[1])):
        child = os.fork()
        if not child:
            server = fail.serve(allow=["exit", "kill"])
            sys.setswitchinterval(1e-4)  # the endpoint's threads need their turns, too
            threading.Thread(target=hammer, daemon=True).start()
            print(server.url, flush=True)
            input()
            os._exit(0)
        os.waitpid(child, 0)
"""


@pytest.mark.parametrize("action", ["exit", "kill"])
def test_the_answer_is_out_before_the_process_ends(action: str) -> None:
    with Program(DEADLY, "50") as running:
        for _ in range(50):
            url = running.read()
            terms = f"PUT /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n{action}"
            reply = exchange(url, terms.encode())
            assert reply.startswith(b"HTTP/1.1 204 No Content\r\n"), reply
            assert reply.endswith(b"\r\n\r\n")
        assert running.end() == ""


def test_the_answer_is_out_before_threads_panic() -> None:
    with Program(DEADLY, "1") as running, Client(running.read()) as client:
        for _ in range(50):
            assert client.ask("PUT", "/p", "panic").status == 204
            assert client.ask("DELETE", "/p").status == 204
        assert int(client.ask("GET", "/p/count").text) == 0
        running.tell()
        assert running.end() == ""


# --- no failpoint acts in the endpoint ---


@pytest.mark.parametrize("terms", ["panic", "pause(20)", 'return("nonsense")', "raise"])
def test_no_failpoint_acts_in_the_endpoint(name: str, terms: str, logged: pytest.LogCaptureFixture) -> None:
    """Not in what it calls, not in the handlers of the log, and wherever it was started."""
    seen = []

    class Handler(logging.Handler):
        @failpoint(f"{name}.emit", returns=Any)
        def emit(self, record: logging.LogRecord) -> None:
            fail.point(f"{name}.body", returns=Any).hit()
            seen.append(record)

    functions = [json.dumps, Parser.parsestr, _control.refusal]
    names = [f"{name}.emit", f"{name}.body"]
    fail.point(names[1], returns=Any)
    for i, function in enumerate(functions):
        names.append(f"{name}.{i}")
        failpoint(names[-1], returns=Any)(function)
    fail.point(f"{name}.p")
    handler = Handler()
    logging.getLogger("failpy").addHandler(handler)
    armed = dict.fromkeys(names, terms)
    try:
        fail.enable_all(armed)
        with fail.scope(armed, strict=False), fail.serve() as server:
            pass
        fail.enable_all(dict.fromkeys(names, "off"))
        with fail.scope(armed, strict=False):
            server = fail.serve()
        fail.enable_all(armed)
        # This thread would be hit where it speaks HTTP, so another program's client is used: bytes.
        with server, connect(server) as sock:
            for data in (
                f"PUT /{name}.p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\noff",
                "GET /no.such HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
                "GET /failpoints HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
                f"PUT /{name}.p?ttl=1h HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\noff",
                f"DELETE /{name}.p HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            ):
                sock.sendall(data.encode())
            replies = re.findall(
                rb"^HTTP/1.1 (\d+)", b"".join(iter(lambda: sock.recv(65536), b"")), re.MULTILINE
            )
        assert replies == [b"204", b"404", b"200", b"204", b"204"]
        assert [fail.status(each).hits for each in names] == [0] * len(names)
    finally:
        fail.enable_all(dict.fromkeys(names, "off"))
        logging.getLogger("failpy").removeHandler(handler)
    assert len(seen) == 3
    fail.enable_all(dict.fromkeys(names, "panic"))
    for hit in (lambda: json.dumps(1), lambda: handler.emit(seen[0]), lambda: Parser().parsestr("")):
        with pytest.raises(fail.FailpointPanic):  # the points are real ones
            hit()


def test_it_answers_while_many_threads_are_paused(client: Client, name: str) -> None:
    fail.point(name)
    client.ask("PUT", f"/{name}", "pause")
    threads = [Thread(target=fail.point(name).hit) for _ in range(50)]
    for each in threads:
        each.start()
    until(lambda: client.ask("GET", f"/{name}", **JSON).json["paused"] == 50)
    assert len(client.ask("GET", f"/{name}", **JSON).json["paused_hits"]) == 50
    assert client.ask("GET", "/").status == 200
    assert client.ask("POST", f"/{name}/resume").text == "50\n"
    for each in threads:
        each.join()


class Watched:
    """A value whose repr tells whether others can arm and declare points meanwhile."""

    def __init__(self) -> None:
        self.free: list[bool] = []

    def __repr__(self) -> str:
        def try_it() -> None:
            self.free.append(lock.acquire(timeout=0.2))
            if self.free[-1]:
                lock.release()

        with in_thread(try_it):
            pass
        return "Watched()"


@pytest.mark.parametrize("path", ["/", "/failpoints", "/{}"])
@pytest.mark.parametrize("accept", ["text/plain", "application/json"])
def test_no_lock_is_held_while_code_of_the_program_runs(
    client: Client, name: str, path: str, accept: str
) -> None:
    fail.point(name, returns=Any)
    value = Watched()
    fail.enable(name, fail.Return(value))
    value.free.clear()
    assert "Watched" in client.ask("GET", path.format(name), Accept=accept).text
    assert value.free
    assert False not in value.free


# --- events ---


@pytest.fixture
def stream(server: fail.Server) -> Iterator[Stream]:
    with Stream(server) as stream:
        yield stream


def test_events_of_threads(stream: Stream, point: fail.Point[str]) -> None:
    assert "Content-Type: text/event-stream\r\n" in stream.head
    assert "Cache-Control: no-store\r\n" in stream.head
    assert "Content-Length" not in stream.head
    fail.enable(point.name, '1*off->1*return("ü")')
    before = time.time()
    with in_thread(lambda: [point.hit() for _ in range(3)]) as thread:
        pass
    events = [stream.event() for _ in range(3)]
    after = time.time()
    assert [kind for kind, _ in events] == ["hit"] * 3
    for _, data in events:
        assert list(data) == ["point", "nth", "term", "action", "thread", "task", "time"]
        assert before <= data.pop("time") <= after
    common = {"point": point.name, "thread": thread.name, "task": None}
    assert [data for _, data in events] == [
        {**common, "nth": 1, "term": "1*off", "action": "off"},
        {**common, "nth": 2, "term": '1*return("ü")', "action": "return"},
        {**common, "nth": 3, "term": "", "action": None},
    ]


def test_events_of_tasks(stream: Stream, name: str) -> None:
    async def work() -> None:
        await fail.point(name).ahit()

    async def main() -> None:
        await asyncio.gather(*(asyncio.create_task(work(), name=f"task {i}") for i in range(3)))

    fail.point(name)
    fail.enable(name, "print('')")
    asyncio.run(main())
    data = [stream.event()[1] for _ in range(3)]
    assert [(each["task"], each["thread"], each["nth"]) for each in data] == [
        (f"task {i}", "MainThread", i + 1) for i in range(3)
    ]


def test_a_paused_hit_is_told_while_it_waits(server: fail.Server, stream: Stream, name: str) -> None:
    fail.point(name)
    fail.enable(name, "pause")
    paused = Paused(name)
    assert stream.event()[1]["action"] == "pause"
    ask(server, "DELETE", f"/{name}")
    paused.join()


def test_only_hits_of_the_process_scope_are_told(stream: Stream, point: fail.Point[str]) -> None:
    with fail.scope({point.name: '1*return("inner")'}):
        point.hit()
    fail.enable(point.name, 'return("outer")')
    point.hit()
    assert stream.event()[1]["term"] == 'return("outer")'


def test_many_readers(server: fail.Server, point: fail.Point[str]) -> None:
    fail.enable(point.name, 'return("x")')
    with Stream(server) as first, Stream(server) as second:
        for _ in range(3):
            point.hit()
        for each in (first, second):
            assert [each.event()[1]["nth"] for _ in range(3)] == [1, 2, 3]


def test_there_are_only_so_many_readers(server: fail.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_events, "_STREAMS", 2)
    with Stream(server), Stream(server):
        refused(ask(server, "GET", "/events"), 503, "close one")
        assert ask(server, "GET", "/events", **JSON).json["error"]["type"] == "Unavailable"


def test_a_reader_that_goes_is_forgotten(server: fail.Server, point: fail.Point[str]) -> None:
    fail.enable(point.name, 'return("x")')
    with Stream(server):
        assert len(readers()) == 1
    until(lambda: point.hit() and not readers())
    with Stream(server) as stream:
        point.hit()
        assert stream.event()[0] == "hit"


def test_a_reader_that_is_too_slow_is_told_how_many_it_missed(
    point: fail.Point[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_events, "_KEPT", 3)
    events = Events()
    try:
        fail.enable(point.name, 'return("x")')
        chunks = iter(events)
        assert next(chunks) == b": the hits of the process scope\n\n"
        for _ in range(5):
            point.hit()
        lines = next(chunks).decode().split("\n\n")
        assert [line.split("\n")[0] for line in lines] == ["event: hit"] * 3 + ["event: dropped", ""]
        assert lines[3].split("\n")[1] == 'data: {"count": 2}'
        point.hit()
        assert b'"nth": 6' in next(chunks)
    finally:
        events.close()
    assert list(chunks) == []
    assert readers() == []


def test_a_silent_stream_says_that_it_is_there(server: fail.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_events, "_HEARTBEAT", 0.01)
    with Stream(server) as stream:
        assert stream.line() == ""
        assert [stream.line() for _ in range(4)] == [": still here", "", ": still here", ""]


def test_closing_wakes_a_reader() -> None:
    events, read = Events(), list[bytes]()
    with in_thread(lambda: read.extend(events)):
        until(lambda: events._gate is not None and events._gate.thread is not None)
        events.close()
        events.close()
    assert read == [b": the hits of the process scope\n\n", b": still here\n\n"]


def test_closed_before_it_is_read() -> None:
    events = Events()
    chunks = iter(events)
    next(chunks)
    real = events._next_gate

    def closing() -> Any:
        events.close()
        return real()

    events._next_gate = closing  # type: ignore[method-assign]
    assert list(chunks) == [b": still here\n\n"]


def test_a_forked_child_has_no_readers() -> None:
    events = Events()
    _events._after_fork_in_child()
    assert readers() == []
    events.close()


def test_events_can_be_read_by_httpx(server: fail.Server, point: fail.Point[str]) -> None:
    fail.enable(point.name, 'return("x")')
    with httpx.stream("GET", f"{server.url}/events") as reply:
        lines = reply.iter_lines()
        assert next(lines).startswith(":")
        point.hit()
        while not (line := next(lines)).startswith("data: "):
            pass
        assert json.loads(line.removeprefix("data: "))["point"] == point.name
    until(lambda: point.hit() and not readers())


def test_a_thread_that_hits_all_the_time_does_not_starve_a_reader(
    server: fail.Server, point: fail.Point[str]
) -> None:
    """Whatever is dropped, the numbers of what is told and what is not add up."""
    fail.enable(point.name, 'return("x")')
    told = dropped = last = 0
    with Stream(server) as stream, in_thread(lambda: [point.hit() for _ in range(5000)]):
        while last < 5000:
            kind, data = stream.event()
            if kind == "dropped":
                dropped += data["count"]
                if told + dropped == 5000:
                    break
            else:
                told, last = told + 1, data["nth"]
    assert told + dropped == 5000


# --- other clients ---


def test_httpx_and_any_quoting(server: fail.Server) -> None:
    name = "http.a b".replace(" ", "·")
    fail.point(name, returns=str)
    with httpx.Client(base_url=server.url) as client:
        assert client.put(f"/{quote(name)}", content='return("x")').status_code == 204
        assert client.get(f"/{name}").text == 'return("x")\n'
        assert client.get(f"/{name}", headers={"accept": AXIOS}).json()["name"] == name
        assert client.delete(f"/{name}").status_code == 204


def test_the_control_has_type_hints() -> None:
    assert typing.get_type_hints(_control.Control.answer)
