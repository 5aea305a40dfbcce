"""The endpoint as curl sees it: the commands of gofail's documentation, and what else people type."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="there is no curl on the PATH")

PROGRAM = """
import sys, threading
from failpy import fail, failpoint

@failpoint("SomeFuncString", returns=str)
def some_func_string():
    return "default"

for name in ("a/b/c", "größe/Ünïcode-☃", "what?#100%", "[x]{y}", "../up"):
    fail.point(name, returns=str)

def value(name):
    if name == "SomeFuncString":
        return some_func_string()
    hit = fail.point(name, returns=str).hit()
    return hit.value if hit else None

def paused(name):
    print("went on with", value(name), flush=True)

sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")
print("ready", flush=True)
for line in sys.stdin:
    verb, _, name = line.rstrip("\\n").partition(" ")
    if verb == "hit":
        print(value(name), flush=True)
    else:
        threading.Thread(target=paused, args=(name,)).start()
"""
TOKEN = "s3cret-ö"
PATIENCE = 30.0
"""How long anything may take, in seconds; what works never needs it."""


class Program:
    """A program with the endpoint, in a process of its own."""

    def __init__(self, address: str, **environ: str) -> None:
        self.address = address
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**_clean(), "FAILPY_HTTP": address, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.ready = self.read() == "ready"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().removesuffix("\n")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def value(self, name: str = "SomeFuncString") -> str:
        """Hit the point, and give what the code there made of it."""
        self.tell(f"hit {name}")
        return self.read()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            assert self.process.wait(PATIENCE) in (0, 1)
        finally:
            self.process.kill()
            self.process.stdout.close()


class Reply:
    """What curl said: the status of each transfer, and everything that it wrote to stdout."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        assert done.returncode == 0, done
        self.statuses = [int(each) for each in done.stderr.split()]
        self.status = self.statuses[-1]
        self.bytes = done.stdout
        self.text = done.stdout.decode()

    @property
    def headers(self) -> dict[str, str]:
        """Of a transfer with `-i` or `-I`."""
        lines = self.text.partition("\r\n\r\n")[0].split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _clean() -> dict[str, str]:
    """The environment without what could steer failpy or curl."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("FAILPY") and not key.lower().endswith("_proxy")
    }


def run(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    assert CURL is not None
    return subprocess.run(
        [CURL, "-q", "-sS", "-w", "%{stderr}%{http_code} ", *args],
        input=stdin,
        capture_output=True,
        env=_clean(),
        timeout=PATIENCE,
    )


def curl(*args: str, stdin: bytes = b"") -> Reply:
    return Reply(run(*args, stdin=stdin))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def at_a_free_port(**environ: str) -> Program:
    for _ in range(5):  # somebody else may take the port before the program does
        program = Program(f"127.0.0.1:{free_port()}", **environ)
        if program.ready:
            return program
        program.close()
    raise AssertionError("no port stays free")


@pytest.fixture(scope="module")
def served() -> Iterator[Program]:
    program = at_a_free_port()
    yield program
    program.close()


@pytest.fixture
def program(served: Program) -> Iterator[Program]:
    yield served
    assert curl(f"{served.address}/failpoints", "-XDELETE").status == 204


@pytest.fixture
def host(program: Program) -> str:
    """As it stands in gofail's documentation: without `http://`."""
    return program.address


# --- gofail's documentation, word for word ---


def shell(host: str, command: str) -> str:
    """Run what somebody would paste; the address is the only thing that changes."""
    done = subprocess.run(
        shlex.split(command.replace("127.0.0.1:22381", host)),
        capture_output=True,
        env=_clean(),
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done
    return done.stdout.decode()


def test_the_commands_that_gofail_documents(program: Program, host: str) -> None:
    assert shell(host, """curl 127.0.0.1:22381/SomeFuncString -XPUT -d'return("hello")'""") == ""
    assert shell(host, "curl http://127.0.0.1:22381/SomeFuncString -XGET") == 'return("hello")\n'
    assert 'SomeFuncString=return("hello")\n' in shell(host, "curl http://127.0.0.1:22381/ -XGET")
    assert program.value() == "hello"
    assert shell(host, "curl http://127.0.0.1:22381/SomeFuncString/count -XGET") == "1"
    assert shell(host, "curl http://127.0.0.1:22381/SomeFuncString -XDELETE") == ""
    assert program.value() == "default"
    assert shell(host, "curl http://127.0.0.1:22381/SomeFuncString -XGET") == "\n"
    assert shell(host, "curl http://127.0.0.1:22381/SomeFuncString/count -XGET") == "0"


def test_several_at_once(program: Program, host: str) -> None:
    several = """'SomeFuncString=return("hello");a/b/c=2*return("x")'"""
    assert shell(host, f"curl http://127.0.0.1:22381/failpoints -XPUT -d{several}") == ""
    assert [program.value(), program.value("a/b/c")] == ["hello", "x"]
    listed = shell(host, "curl 127.0.0.1:22381/")
    assert 'SomeFuncString=return("hello")\n' in listed
    assert 'a/b/c=2*return("x")\n' in listed
    assert listed.splitlines() == sorted(listed.splitlines())
    assert shell(host, "curl 127.0.0.1:22381/failpoints") == listed


def test_all_of_several_or_none(host: str) -> None:
    reply = curl(f"{host}/failpoints", "-XPUT", "-d", "SomeFuncString=off;a/b/c=nope")
    assert reply.status == 400
    assert "there is no action 'nope'" in reply.text
    assert curl(f"{host}/SomeFuncString").text == "\n"


def test_a_literal_upload(program: Program, host: str) -> None:
    """`-T` sends PUT by itself."""
    assert (
        curl(
            "-T",
            "-",
            "-H",
            "Transfer-Encoding:",
            "-H",
            "Content-Length: 12",
            f"{host}/a/b/c",
            stdin=b'return("up")',
        ).status
        == 204
    )
    assert program.value("a/b/c") == "up"


# --- bodies ---


@pytest.mark.parametrize("option", ["-d", "--data-binary", "--data-raw", "--json"])
def test_ways_to_give_the_terms(program: Program, host: str, option: str) -> None:
    assert curl(f"{host}/SomeFuncString", "-X", "PUT", option, 'return("a b+c&d=%20")').status == 204
    assert program.value() == "a b+c&d=%20"


@pytest.mark.parametrize("option", ["-d", "--data-binary", "-T"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_terms_out_of_a_file(program: Program, host: str, tmp_path: Path, option: str, end: str) -> None:
    """curl leaves line ends out with `-d` only; whoever edits a file has one at its end."""
    file = tmp_path / "terms"
    file.write_bytes(('return("grün ☃")' + end).encode())
    given = [option, str(file) if option == "-T" else f"@{file}"]
    assert curl("-X", "PUT", *given, f"{host}/SomeFuncString").status == 204
    assert curl(f"{host}/SomeFuncString").text == 'return("grün ☃")\n'
    assert program.value() == "grün ☃"


def test_a_set_out_of_a_file(program: Program, host: str, tmp_path: Path) -> None:
    file = tmp_path / "set"
    file.write_text('SomeFuncString = return("one");\na/b/c = return("two");\n')
    assert curl(f"{host}/failpoints", "-XPUT", "--data-binary", f"@{file}").status == 204
    assert [program.value(), program.value("a/b/c")] == ["one", "two"]


def test_no_body_at_all(host: str) -> None:
    reply = curl(f"{host}/SomeFuncString", "-XPUT")
    assert reply.status == 400
    assert reply.text.startswith("failpoint 'SomeFuncString': there are no terms here")
    assert reply.text.endswith("\n")
    assert curl(f"{host}/failpoints", "-XPUT", "-d", "").status == 204


def test_chunks_are_refused_in_words(host: str) -> None:
    for _ in range(10):  # curl reads the reply while it writes
        reply = curl("-T", "-", f"{host}/SomeFuncString", stdin=b"off" * 1000)
        assert reply.status == 411
        assert reply.text == "send the body with a Content-Length, and not in chunks\n"
    assert curl(f"{host}/SomeFuncString").text == "\n"


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize("size", [65 * 1024, 1024 * 1024, 3 * 1024 * 1024])
def test_a_body_too_long_is_refused_in_words(host: str, tmp_path: Path, size: int, expect: str) -> None:
    """Whether curl waits for leave to send it, or sends it at once."""
    file = tmp_path / "large"
    file.write_bytes(b"x" * size)
    for _ in range(3):
        reply = curl("-XPUT", "--data-binary", f"@{file}", "-H", expect, f"{host}/SomeFuncString")
        assert reply.status == 413
        assert reply.text == "the body is longer than 64 KiB: send less at a time\n"


def test_a_body_as_long_as_may_be(program: Program, host: str, tmp_path: Path) -> None:
    file = tmp_path / "terms"
    text = "x" * (64 * 1024 - len('return("")'))
    file.write_text(f'return("{text}")')
    expect = ("-H", "Expect: 100-continue")
    assert curl("-XPUT", "--data-binary", f"@{file}", *expect, f"{host}/SomeFuncString").status == 204
    assert program.value() == text


def test_an_upload_form_is_answered_in_words(host: str) -> None:
    reply = curl("-XPUT", "-F", "terms=off", f"{host}/SomeFuncString")
    assert reply.status == 400
    assert reply.text.endswith("\n")
    assert curl(f"{host}/SomeFuncString").text == "\n"


# --- what comes back ---


def test_head(host: str) -> None:
    full = curl("-i", f"{host}/SomeFuncString")
    head = curl("-I", f"{host}/SomeFuncString")
    assert head.status == full.status == 200
    assert head.text.endswith("\r\n\r\n")
    same = ("content-type", "content-length", "etag")
    assert [head.headers[key] for key in same] == [full.headers[key] for key in same]
    assert full.headers["content-type"] == "text/plain; charset=utf-8"
    assert [curl("-I", f"{host}/{path}").status for path in ("", "failpoints", "nope")] == [200, 200, 404]


def test_json(program: Program, host: str) -> None:
    accept = ("-H", "Accept: application/json")
    assert curl(f"{host}/SomeFuncString", "-XPUT", "-d", '3*return("x")').status == 204
    program.value()
    point = json.loads(curl(f"{host}/SomeFuncString", *accept).text)
    expected = {"name": "SomeFuncString", "terms": '3*return("x")', "hits": 1, "fired": 1, "selected": 1}
    assert expected.items() <= point.items()
    everything = json.loads(curl(f"{host}/", *accept).text)
    assert everything["pid"] == program.process.pid
    assert point["name"] in [each["name"] for each in everything["failpoints"]]
    counts = json.loads(curl(f"{host}/SomeFuncString/count", *accept).text)
    assert counts == {"name": "SomeFuncString", "hits": 1, "selected": 1, "fired": 1}
    near = json.loads(curl(f"{host}/SomeFuncStrin", *accept).text)["error"]
    assert (near["type"], near["near"]) == ("UnknownFailpoint", ["SomeFuncString"])
    error = json.loads(curl(f"{host}/SomeFuncString", *accept, "-XPUT", "-d", "3*").text)["error"]
    assert (error["type"], error["column"]) == ("TermSyntaxError", 3)


def test_the_page(host: str) -> None:
    reply = curl("-i", "-H", "Accept: text/html", f"{host}/")
    assert reply.headers["content-type"].startswith("text/html")
    assert "SomeFuncString" not in reply.text


def test_methods(host: str) -> None:
    reply = curl("-i", "-X", "OPTIONS", f"{host}/SomeFuncString")
    assert (reply.status, reply.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PUT")
    reply = curl("-i", "-X", "PATCH", f"{host}/SomeFuncString", "-d", "off")
    assert (reply.status, reply.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PUT")
    assert curl(f"{host}/SomeFuncString", "-d", "off").status == 405  # `-d` alone is POST
    assert curl("--request-target", "*", "-X", "OPTIONS", host).status == 204


def test_keep_alive(host: str) -> None:
    point = f"{host}/SomeFuncString"
    connects = ("-w", "%{num_connects} %{stderr}%{http_code} ")
    put, get = ("-XPUT", "-d", "off", point), (point, f"{host}/nope", f"{point}/count")
    done = run(
        *connects, *put, "--next", "-sS", *connects, *get, "--next", "-sS", *connects, "-XDELETE", point
    )
    assert [int(each) for each in done.stderr.split()] == [204, 200, 404, 200, 204]
    assert done.stdout.startswith(b"1 off\n0 no code has declared a failpoint 'nope'")
    assert done.stdout.endswith(b"00 0 ")


def test_other_versions_of_http(host: str) -> None:
    """`--http2` offers an upgrade, which nobody must take; `--http1.0` gets an end of the connection."""
    assert curl("--http1.0", f"{host}/SomeFuncString").text == "\n"
    assert curl("--http1.0", f"{host}/SomeFuncString", "-XPUT", "-d", "off").status == 204
    features = subprocess.run([CURL or "", "-V"], capture_output=True, check=True).stdout
    if b"HTTP2" in features:
        reply = curl("--http2", "-i", f"{host}/SomeFuncString")
        assert reply.text.startswith("HTTP/1.1 200 ")
        assert run("--http2-prior-knowledge", f"{host}/SomeFuncString").returncode != 0
    assert run(f"https://{host}/", "-k").returncode == 35  # it speaks no TLS, and says so at once
    assert curl(f"{host}/SomeFuncString/count").text == "0"


# --- names ---


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b/c", "a/b/c"),
        ("a/b/c", "a%2Fb%2Fc"),
        ("größe/Ünïcode-☃", "größe/Ünïcode-☃"),
        ("größe/Ünïcode-☃", "gr%C3%B6%C3%9Fe/%C3%9Cn%C3%AFcode-%E2%98%83"),
        ("what?#100%", "what%3F%23100%25"),
        ("[x]{y}", "[x]{y}"),
        ("../up", "../up"),
        ("../up", "%2e%2e%2Fup"),
    ],
)
def test_names(program: Program, host: str, name: str, path: str) -> None:
    as_is = ("--globoff", "--path-as-is")
    assert curl(*as_is, f"{host}/{path}", "-XPUT", "-d", 'return("there")').status == 204
    assert program.value(name) == "there"
    assert curl(*as_is, f"{host}/{path}").text == 'return("there")\n'
    assert curl(*as_is, f"{host}/{path}/count").text == "1"
    assert curl(*as_is, f"{host}/{path}", "-XDELETE").status == 204
    assert program.value(name) == "None"


def test_a_name_that_nobody_knows(host: str) -> None:
    reply = curl(f"{host}/SomeFunString", "-XPUT", "-d", "off")
    assert reply.status == 404
    assert "'SomeFuncString'" in reply.text
    reply = curl(f"{host}/tomorrow?pending=1&ttl=1h", "-XPUT", "-d", "off")
    assert reply.status == 204
    assert curl(f"{host}/tomorrow").text == "off\n"
    assert curl(f"{host}/tomorrow", "-XDELETE").status == 204


# --- changes that others make ---


def test_if_match_by_hand(host: str) -> None:
    point = f"{host}/SomeFuncString"
    first = curl("-i", "-XPUT", point, "-d", "off").headers["etag"]
    assert curl("-I", point).headers["etag"] == first
    second = curl("-i", "-XPUT", point, "-d", "2*off", "-H", f"If-Match: {first}").headers["etag"]
    assert second != first
    for change in (("-XPUT", "-d", "3*off"), ("-XDELETE",)):
        reply = curl(point, *change, "-H", f"If-Match: {first}")
        assert reply.status == 412
        assert repr(second.strip('"')) in reply.text
        assert repr("2*off") in reply.text
    assert curl(point).text == "2*off\n"
    assert curl(point, "-XDELETE", "-H", f"If-Match: {second}").status == 204
    everything = curl("-I", f"{host}/").headers["etag"]
    all_off = (f"{host}/failpoints", "-XDELETE", "-H", f"If-Match: {everything}")
    assert curl(point, "-XPUT", "-d", "off").status == 204
    assert curl(*all_off).status == 412


def test_resume(program: Program, host: str) -> None:
    assert curl(f"{host}/a/b/c", "-XPUT", "-d", "pause").status == 204
    program.tell("pause a/b/c")
    while curl(f"{host}/a/b/c", "-H", "Accept: application/json").text.count('"paused": 1') != 1:
        pass
    assert curl(f"{host}/a/b/c/resume?nth=2", "-XPOST").text == "0\n"
    assert curl(f"{host}/a/b/c/resume?nth=1", "-XPOST").text == "1\n"
    assert program.read() == "went on with None"


def test_events(program: Program, host: str) -> None:
    assert curl(f"{host}/a/b/c", "-XPUT", "-d", '1*return("x")').status == 204
    assert CURL is not None
    with subprocess.Popen([CURL, "-q", "-sS", "-N", f"{host}/events"], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline().startswith(b":")
        assert reader.stdout.readline() == b"\n"
        assert program.value("a/b/c") == "x"
        assert program.value("a/b/c") == "None"
        for nth, term, action in ((1, '1*return("x")', "return"), (2, "", None)):
            assert reader.stdout.readline() == b"event: hit\n"
            data = json.loads(reader.stdout.readline().removeprefix(b"data: "))
            expected = {"point": "a/b/c", "nth": nth, "term": term, "action": action, "thread": "MainThread"}
            assert expected.items() <= data.items()
            assert reader.stdout.readline() == b"\n"
        reader.terminate()
    assert curl(f"{host}/a/b/c/count").text == "1"


# --- who may ---


def test_a_page_of_another_site(host: str) -> None:
    for header in ("Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"):
        reply = curl(f"{host}/SomeFuncString", "-XPUT", "-d", "off", "-H", header)
        assert reply.status == 403, header
        assert reply.text.endswith("\n")
    port = host.rpartition(":")[2]
    assert curl(f"localhost:{port}/SomeFuncString").text == "\n"


def test_what_may_not_be_armed_from_outside(host: str) -> None:
    for terms in ("kill", "exit(3)", "3*off->kill", 'call("os:abort")', "break"):
        reply = curl(f"{host}/SomeFuncString", "-XPUT", "-d", terms)
        assert reply.status == 403, terms
        assert "FAILPY_HTTP_ALLOW" in reply.text
    assert curl(f"{host}/SomeFuncString").text == "\n"


def test_a_token() -> None:
    program = at_a_free_port(FAILPY_HTTP_TOKEN=TOKEN)
    point = f"{program.address}/SomeFuncString"
    try:
        reply = curl("-i", point, "-XPUT", "-d", "off")
        assert (reply.status, reply.headers["www-authenticate"].split()[0]) == (401, "Bearer")
        assert reply.text.endswith("'Authorization: Bearer TOKEN'\n")
        for wrong in ("wrong", TOKEN[:-1], f"{TOKEN}x"):
            assert curl(point, "--oauth2-bearer", wrong).status == 401
        assert curl(point, "-u", f"user:{TOKEN}").status == 401
        assert curl(point, "--oauth2-bearer", TOKEN, "-XPUT", "-d", 'return("in")').status == 204
        assert curl(point, "-H", f"Authorization: bearer {TOKEN}").text == 'return("in")\n'
        assert program.value() == "in"
    finally:
        program.close()


def test_a_unix_socket() -> None:
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket must be short
        program = Program(f"unix:{folder}/app-{{pid}}.sock")
        assert program.ready
        path = Path(folder, f"app-{program.process.pid}.sock")
        over = ("--unix-socket", str(path))
        try:
            assert path.stat().st_mode & 0o777 == 0o600
            put = ("http://localhost/SomeFuncString", "-XPUT", "-d", 'return("hello")')
            assert curl(*over, *put).status == 204
            assert program.value() == "hello"
            assert curl(*over, "any.name/SomeFuncString").text == 'return("hello")\n'
            assert curl(*over, "localhost/SomeFuncString/count").text == "1"
            assert curl(*over, "localhost/SomeFuncString", "-XDELETE").status == 204
            assert curl(*over, "localhost/SomeFuncString").text == "\n"
        finally:
            program.close()
        assert not path.exists()
