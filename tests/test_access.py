"""Who may ask the HTTP endpoint for what: tokens, hosts, origins, and where a client is."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from failpy import _access, fail
from failpy._access import is_loopback
from failpy._config import config, read_list
from failpy._exchange import Request
from failpy._guarded import OVER_HTTP
from tests.http_tools import BROWSER, JSON, Answer, ask, exchange, request, status_of

TOKEN = "3vSJ-sesame"
METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "http_token", None)
    monkeypatch.setattr(config, "http_allow", ())


@pytest.fixture
def server() -> Iterator[fail.Server]:
    with fail.serve() as server:
        yield server


@pytest.fixture
def guarded() -> Iterator[fail.Server]:
    with fail.serve(token=TOKEN) as server:
        yield server


@pytest.fixture
def path(name: str) -> str:
    fail.point(name)
    return f"/{name}"


def target(method: str, path: str) -> str:
    return f"{path}/resume" if method == "POST" else path


def ask_each(server: fail.Server, path: str, **headers: str) -> dict[str, int]:
    """What each method is answered with. The changes are without effect."""
    return {
        each: ask(server, each, target(each, path), "off" if each == "PUT" else None, **headers).status
        for each in METHODS
    }


WELCOME = {"GET": 200, "HEAD": 200, "OPTIONS": 204, "PUT": 204, "DELETE": 204, "POST": 200}
FORBIDDEN = dict.fromkeys(METHODS, 403)
READING = {**FORBIDDEN, "GET": 200, "HEAD": 200, "OPTIONS": 204}


# --- the token ---


@pytest.mark.parametrize(
    "shown",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer{TOKEN}",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        "Bearer \u00e9",
    ],
)
def test_who_does_not_show_the_token_is_refused(guarded: fail.Server, path: str, shown: str | None) -> None:
    headers = {} if shown is None else {"Authorization": shown}
    assert ask_each(guarded, path, **headers) == dict.fromkeys(METHODS, 401)
    assert fail.status(path[1:]).terms == ""
    for each in ("/", "/failpoints", "/events", f"{path}/count", "/no.such.name"):
        answer = ask(guarded, "GET", each, **headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "token" in answer.text
        assert TOKEN not in str(answer)
    error = ask(guarded, "GET", path, **headers, **JSON).json["error"]
    assert error["type"] == "Unauthorized"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_who_shows_the_token_may_do_everything(guarded: fail.Server, path: str, scheme: str) -> None:
    assert ask_each(guarded, path, Authorization=f"{scheme} {TOKEN}") == WELCOME


@pytest.mark.parametrize("token", ["sésame-ü", "日本語", "a b", "=?utf-8?q?x?=", '"quoted"', "x" * 500])
def test_a_token_may_be_any_text(path: str, token: str) -> None:
    with fail.serve(token=token) as server:
        asked = request(f"GET {path} HTTP/1.1", f"Authorization: Bearer {token}")
        assert status_of(exchange(server, asked)) == 200
        asked = request(f"GET {path} HTTP/1.1", f"Authorization: Bearer {token}x")
        assert status_of(exchange(server, asked)) == 401


@pytest.mark.parametrize("token", ["voilà", "Å"])
def test_a_token_may_end_in_any_character(path: str, token: str) -> None:
    with fail.serve(token=token) as server:
        asked = request(f"GET {path} HTTP/1.1", f"Authorization: Bearer {token}")
        assert status_of(exchange(server, asked)) == 200


@pytest.mark.parametrize(("equal", "status"), [(True, 200), (False, 401)])
def test_the_token_is_compared_in_a_time_that_tells_nothing(
    guarded: fail.Server, path: str, equal: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return equal

    monkeypatch.setattr("hmac.compare_digest", compare)
    for shown in ("other", TOKEN):
        assert ask(guarded, "GET", path, Authorization=f"Bearer {shown}").status == status
    assert compared == [(b"other", TOKEN.encode()), (TOKEN.encode(), TOKEN.encode())]


def test_the_page_needs_no_token_and_holds_no_data(guarded: fail.Server, name: str) -> None:
    fail.point(f"secret-{name}")
    answer = ask(guarded, "GET", "/", **BROWSER)
    assert answer.status == 200
    assert f"secret-{name}".encode() not in answer.body
    assert TOKEN.encode() not in answer.body
    assert ask(guarded, "HEAD", "/", **BROWSER).status == 200
    for each in ("/failpoints", f"/secret-{name}"):
        assert ask(guarded, "GET", each, **BROWSER).status == 401
    assert ask(guarded, "PUT", "/failpoints", "", **BROWSER).status == 401


@pytest.mark.parametrize("token", ["", " ", " x", "x ", "x\n", "a\x00b", "\t", "a\u2028b"])
def test_what_cannot_be_a_token(token: str) -> None:
    for make in (fail.serve, fail.wsgi, fail.asgi):
        with pytest.raises(fail.FailpointError, match="the token of the HTTP endpoint is empty"):
            make(token=token)


@pytest.mark.parametrize("token", [b"x", 5, True, ["x"]])
def test_a_token_is_a_string(token: Any) -> None:
    for make in (fail.serve, fail.wsgi, fail.asgi):
        with pytest.raises(TypeError, match="token must be a string"):
            make(token=token)


def test_the_token_of_the_environment(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "http_token", TOKEN)
    with fail.serve() as server:
        assert ask(server, "GET", path).status == 401
        assert ask(server, "GET", path, Authorization=f"Bearer {TOKEN}").status == 200
    with fail.serve(token="other") as server:
        assert ask(server, "GET", path, Authorization="Bearer other").status == 200
        assert ask(server, "GET", path, Authorization=f"Bearer {TOKEN}").status == 401


# --- where it may listen ---


@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "[2001:db8::1]:0", "127.1:0"]
)
def test_what_others_can_reach_needs_a_token(address: str) -> None:
    with pytest.raises(fail.FailpointError, match="open to other machines, and needs a token"):
        fail.serve(address)


def test_with_a_token_it_may_listen_anywhere(path: str) -> None:
    with fail.serve("0.0.0.0:0", token=TOKEN) as server:
        local = f"http://127.0.0.1:{server.port}"
        assert server.address == f"0.0.0.0:{server.port}"
        assert ask(local, "GET", path).status == 401
        for host in ("127.0.0.1", "10.1.2.3", "[2001:db8::1]:80", "fe80::1%eth0", "localhost"):
            answer = ask(local, "GET", path, Host=host, Authorization=f"Bearer {TOKEN}")
            assert answer.status == 200
        assert ask(local, "GET", path, Host="evil.com", Authorization=f"Bearer {TOKEN}").status == 403


def test_with_a_token_it_may_be_called_by_the_name_of_the_machine(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Build-7")
    bearer = f"Bearer {TOKEN}"
    with fail.serve(token=TOKEN) as server:
        assert ask(server, "GET", path, Host=f"build-7:{server.port}", Authorization=bearer).status == 200
    with fail.serve() as server:
        assert ask(server, "GET", path, Host="build-7").status == 403


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::1%lo", True),
        ("192.0.2.1", False),
        ("::", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_what_is_this_machine(address: str | None, local: bool) -> None:
    assert is_loopback(address) is local


# --- the Host header ---


def statuses(server: fail.Server, path: str, host: str) -> set[int]:
    return {ask(server, method, target(method, path), "off", Host=host).status for method in METHODS}


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.com:80",
        "localhost.evil.com",
        "localhost:80@evil.com",
        "evil.com#@localhost",
        "127.0.0.1.evil.com",
        "10.0.0.1",
        "[::2]",
        "[::1",
        "::1]",
        "",
        ".",
        "localhost, evil.com",
        "local host",
        "2130706433",
        "127.1",
    ],
)
def test_a_foreign_host_is_refused(server: fail.Server, path: str, host: str) -> None:
    assert statuses(server, path, host) == {403}
    assert fail.status(path[1:]).terms == ""
    answer = ask(server, "GET", path, Host=host)
    assert "a page of another site" in answer.text
    assert "hosts=" in answer.text
    assert ask(server, "GET", path, Host=host, **JSON).json["error"]["type"] == "Forbidden"
    assert ask(server, "GET", "/", Host=host, **BROWSER).status == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "localhost.:80", "[::1]", "[::1]:9", "::1"]
)
@pytest.mark.parametrize("port", ["", ":1", ":{}"])
def test_an_own_host_is_welcome(server: fail.Server, path: str, host: str, port: str) -> None:
    """Whatever the port: a tunnel may end in another."""
    if ":" not in host:
        host += port.format(server.port)
    assert statuses(server, path, host) <= {200, 204}


@pytest.mark.parametrize(("version", "status"), [("1.1", 400), ("1.0", 200)])
def test_no_host_at_all(server: fail.Server, path: str, version: str, status: int) -> None:
    assert status_of(exchange(server, request(f"GET {path} HTTP/{version}", host=""))) == status


@pytest.mark.parametrize(
    ("given", "host", "status"),
    [
        ("http://127.0.0.1:1{}", "localhost", 200),
        ("HTTP://LOCALHOST{}", "localhost", 200),
        ("http://localhost{}", "evil.com", 200),  # the target counts (RFC 9112, 3.2.2)
        ("http://evil.com{}", "localhost", 403),
        ("https://evil.com{}", "localhost", 403),
        ("http://user@localhost{}", "localhost", 200),
        ("http://localhost@evil.com{}", "localhost", 403),
        ("http://{}", "localhost", 403),
        ("http://evil.com?{}", "localhost", 403),
    ],
)
def test_a_target_that_names_a_host(
    server: fail.Server, path: str, given: str, host: str, status: int
) -> None:
    line = f"GET {given.format(path)} HTTP/1.1"
    assert status_of(exchange(server, request(line, host=host))) == status


def test_a_target_that_names_a_host_alone_is_the_root(server: fail.Server) -> None:
    assert status_of(exchange(server, request("OPTIONS http://localhost HTTP/1.1"))) == 204


def test_more_hosts(path: str) -> None:
    with fail.serve(hosts=["Debug.Example:80", "fe80::7", ""]) as server:
        for host in ("debug.example", "DEBUG.example:1", "debug.example.", "[fe80::7]:80", "localhost"):
            assert statuses(server, path, host) <= {200, 204}
        for host in ("example", "a.debug.example", ""):
            assert statuses(server, path, host) == {403}


def test_the_address_it_listens_at_is_a_host(path: str) -> None:
    with fail.serve("127.0.0.2:0") as server:
        assert ask(server, "GET", path).status == 200


def test_a_unix_socket_may_have_any_host(path: str, tmp_path: Any) -> None:
    with fail.serve(f"unix:{tmp_path}/s") as server:
        assert ask(server, "GET", path, Host="anything").status == 200


@pytest.mark.parametrize("hosts", ["localhost", b"localhost"])
def test_hosts_are_several(hosts: Any) -> None:
    with pytest.raises(TypeError, match="hosts must be several strings"):
        fail.serve(hosts=hosts)


def test_hosts_are_strings() -> None:
    with pytest.raises(TypeError, match="hosts"):
        fail.serve(hosts=[5])  # type: ignore[list-item]


# --- other sites ---


def test_a_page_of_this_endpoint_may_do_everything(server: fail.Server, path: str) -> None:
    for host in (server.address, f"localhost:{server.port}", f"LOCALHOST:{server.port}"):
        own = {"Host": host, "Origin": f"http://{host.lower()}"}
        assert ask_each(server, path, **own) == WELCOME
        assert ask_each(server, path, **own, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors") == WELCOME
    assert ask_each(server, path, Sec_Fetch_Site="same-origin") == WELCOME


def test_an_address_typed_by_hand_is_no_other_site(server: fail.Server, path: str) -> None:
    assert ask_each(server, path, Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate") == WELCOME


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.com",
        "null",
        "",
        "http://localhost",
        "http://127.0.0.1:1",
        "https://x@{}",
        "{}",
        "file://",
    ],
)
@pytest.mark.parametrize("site", [None, "none", "same-origin", "cross-site"])
def test_a_page_of_another_origin_may_do_nothing(
    server: fail.Server, path: str, origin: str, site: str | None
) -> None:
    headers = {"Origin": origin.format(server.address)}
    if site is not None:
        headers["Sec-Fetch-Site"] = site
    assert ask_each(server, path, **headers) == FORBIDDEN
    assert fail.status(path[1:]).terms == ""
    answer = ask(server, "GET", path, **headers)
    assert "a page of another origin" in answer.text
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", ""])
@pytest.mark.parametrize("mode", [None, "cors", "no-cors", "same-origin", "websocket"])
def test_a_page_of_another_site_may_do_nothing(
    server: fail.Server, path: str, site: str, mode: str | None
) -> None:
    """Even where it sends no Origin, as for an image or a script."""
    headers = {"Sec-Fetch-Site": site} | ({} if mode is None else {"Sec-Fetch-Mode": mode})
    assert ask_each(server, path, **headers) == FORBIDDEN


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_on_another_site_may_be_followed(server: fail.Server, path: str, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert ask_each(server, path, **headers) == READING
    assert ask(server, "GET", "/", **headers, **BROWSER).status == 200


def test_a_form_on_another_site_does_nothing(server: fail.Server, path: str) -> None:
    headers = {"Origin": "http://evil.com", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(server, "POST", f"{path}/resume", b"a=b", **headers).status == 403


def test_an_origin_without_a_host_is_foreign(server: fail.Server, path: str) -> None:
    asked = request(f"GET {path} HTTP/1.0", "Origin: http://", host="")
    assert status_of(exchange(server, asked)) == 403


def test_a_token_does_not_let_other_origins_in(guarded: fail.Server, path: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.com"}
    assert ask_each(guarded, path, **headers) == FORBIDDEN


def test_a_preflight_is_not_answered(server: fail.Server, path: str) -> None:
    headers = {"Origin": "http://evil.com", "Access-Control-Request-Method": "PUT"}
    answer = ask(server, "OPTIONS", path, **headers)
    assert answer.status == 403
    assert not [each for each in answer.headers if each.lower().startswith("access-control")]


def test_httpx_is_no_browser(server: fail.Server, path: str) -> None:
    assert httpx.put(server.url + path, content="off").status_code == 204


# --- what may be armed ---


@pytest.mark.parametrize("allow", [["sleep"], ["exti"], ["exit", "x"], [""], [5]])
def test_what_cannot_be_allowed(allow: Any) -> None:
    for make in (fail.serve, fail.wsgi, fail.asgi):
        with pytest.raises(fail.FailpointError, match="is no action that can be allowed over HTTP"):
            make(allow=allow)


def test_what_cannot_be_allowed_is_told_in_sentences() -> None:
    with pytest.raises(fail.FailpointError, match=r"over HTTP\. The others need no leave"):
        fail.serve(allow=["sleep"])


def test_what_is_near_to_what_can_be_allowed_is_named() -> None:
    with pytest.raises(fail.FailpointError, match="did you mean 'exit'"):
        fail.serve(allow=["exti"])


@pytest.mark.parametrize("allow", ["exit", b"exit"])
def test_what_is_allowed_are_several(allow: Any) -> None:
    with pytest.raises(TypeError, match=r"allow must be several strings, such as \(b?'exit',\)"):
        fail.serve(allow=allow)


def test_what_the_environment_allows(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "http_allow", read_list("exit, kill"))
    with fail.serve() as server:
        assert ask(server, "PUT", path, "0*exit->0*kill").status == 204
        assert ask(server, "PUT", path, "0*break").status == 403
    with fail.serve(allow=()) as server:
        assert ask(server, "PUT", path, "0*exit").status == 403


def test_everything_may_be_allowed(path: str) -> None:
    with fail.serve(allow=iter(OVER_HTTP.actions)) as server:
        for action in ("exit", "kill", "break", 'call("builtins:print")'):
            assert ask(server, "PUT", path, f"0*{action}").status == 204


def test_a_list_of_actions_has_commas_or_spaces() -> None:
    assert read_list(" exit,kill  break ,") == ("exit", "kill", "break")
    assert read_list("") == ()


# --- mounted in the program's own server ---


def ask_wsgi(app: Any, path: str, peer: str | None, method: str = "GET", **headers: str) -> Answer:
    said: dict[str, Any] = {}

    def start(status: str, given: list[tuple[str, str]]) -> None:
        said.update(status=int(status.split(maxsplit=1)[0]), headers=dict(given))

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO()}
    environ |= {} if peer is None else {"REMOTE_ADDR": peer}
    environ |= {f"HTTP_{key.upper()}": value for key, value in headers.items()}
    body = app(environ, start)
    text = b"".join(body)
    body.close()
    return Answer(said["status"], said["headers"], text)


def ask_asgi(app: Any, path: str, peer: str | None, method: str = "GET", **headers: str) -> Answer:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()],
        "client": None if peer is None else (peer, 1234),
    }
    asyncio.run(app(scope, receive, send))
    given = {key.decode().title(): value.decode() for key, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], given, b"".join(each["body"] for each in sent[1:]))


@pytest.fixture(params=[(fail.wsgi, ask_wsgi), (fail.asgi, ask_asgi)], ids=["wsgi", "asgi"])
def mount(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], Callable[..., Answer]]:
    return request.param


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.3.2.1", "::1"])
def test_without_a_token_this_machine_may_ask(mount: Any, path: str, peer: str) -> None:
    make, ask_it = mount
    for method in ("GET", "DELETE"):
        assert ask_it(make(), path, peer, method, host="localhost").status in (200, 204)


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.0.2.1", "2001:db8::1", "", "unix:", None])
def test_without_a_token_no_other_machine_may(mount: Any, path: str, peer: str | None) -> None:
    make, ask_it = mount
    fail.enable(path[1:], "off")
    for method in METHODS:
        answer = ask_it(make(), target(method, path), peer, method, host="localhost")
        assert answer.status == 403
    assert fail.status(path[1:]).terms == "off"
    answer = ask_it(make(), path, peer, host="localhost")
    assert f"from {peer or 'an unknown peer'}, and without a token only this machine may ask" in answer.text
    assert ask_it(make(), "/", peer, accept="text/html").status == 403


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "x_forwarded_host"])
@pytest.mark.parametrize("value", ["127.0.0.1", ""])
def test_without_a_token_no_proxy_may(mount: Any, path: str, header: str, value: str) -> None:
    make, ask_it = mount
    answer = ask_it(make(), path, "127.0.0.1", host="localhost", **{header: value})
    assert answer.status == 403
    assert f"by way of a proxy ({header.replace('_', '-')})" in answer.text


def test_without_a_token_the_host_must_be_this_machine(mount: Any, path: str) -> None:
    make, ask_it = mount
    assert ask_it(make(), path, "127.0.0.1", host="evil.com").status == 403
    assert ask_it(make(hosts=["app.example"]), path, "127.0.0.1", host="app.example:80").status == 200


def test_with_a_token_everybody_may_from_anywhere(mount: Any, path: str) -> None:
    make, ask_it = mount
    app, bearer = make(token=TOKEN), f"Bearer {TOKEN}"
    for peer in ("10.0.0.7", None):
        forwarded = {"host": "app.example", "x_forwarded_for": "192.0.2.1"}
        assert ask_it(app, path, peer, authorization=bearer, **forwarded).status == 200
        assert ask_it(app, path, peer, **forwarded).status == 401
        assert ask_it(app, "/", peer, accept="text/html", **forwarded).status == 200


def test_with_a_token_hosts_may_be_told_as_well(mount: Any, path: str) -> None:
    make, ask_it = mount
    app, bearer = make(token=TOKEN, hosts=["app.example"]), f"Bearer {TOKEN}"
    assert ask_it(app, path, None, host="app.example", authorization=bearer).status == 200
    assert ask_it(app, path, None, host="10.0.0.7", authorization=bearer).status == 200
    assert ask_it(app, path, None, host="evil.com", authorization=bearer).status == 403


def test_the_own_server_asks_not_where_a_client_is(server: fail.Server, path: str) -> None:
    """It sees only who can reach its address, and that is this machine, or has a token."""
    assert ask(server, "GET", path, X_Forwarded_For="192.0.2.1").status == 200


def test_the_rules_are_data() -> None:
    access = _access.access_for(token=None, allow=("exit",), hosts=("a",))
    assert access == (None, frozenset({"exit"}), frozenset({"a", "localhost", "127.0.0.1", "::1"}), False)
    access.check(Request("GET", "x", "", {"host": "a"}, b"", None))
