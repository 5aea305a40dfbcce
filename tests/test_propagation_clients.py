"""The hooks of HTTP clients: what they add to requests, and what they read from responses."""

from __future__ import annotations

import io
import pickle
from typing import Any

import httpx
import pytest
import requests
from requests.adapters import BaseAdapter

from failpy import fail
from failpy._baggage import member_of
from failpy._feedback import Account, Feedback, Run
from failpy._ticket import Ticket
from tests.travelling import KEYS, key

__all__ = ["key"]

pytestmark = pytest.mark.anyio


class Service:
    """What answers, with a hit of every point that a request comes with."""

    def __init__(self) -> None:
        self.headers: list[str | None] = []

    def headers_for(self, header: str | None) -> dict[str, str]:
        self.headers.append(header)
        member = None if header is None else member_of([header])
        if member is None:
            return {}
        ticket = Ticket.read(member, KEYS)
        accounts = [Account("pay", 1, name, 1, 1, 1, [Run(1, 0, None)]) for name in ticket.terms]
        text = Feedback(ticket.scope, str(len(self.headers)), ["pay"], accounts, [], []).text(KEYS)
        assert text is not None
        return {"Failpy-Report": text}

    def httpx(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            location = {"location": "/"} if request.url.path == "/moved" else {}
            told = self.headers_for(request.headers.get("baggage"))
            return httpx.Response(302 if location else 200, headers=told | location)

        return httpx.MockTransport(handle)

    def requests(self) -> requests.Session:
        service = self

        class Adapter(BaseAdapter):
            def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
                response = requests.Response()
                response.status_code = 200
                response.raw, response.url, response.request = io.BytesIO(), request.url, request
                response.headers.update(service.headers_for(request.headers.get("baggage")))
                return response

            def close(self) -> None:
                service.headers.append("closed")

        session = requests.Session()
        session.mount("http://", Adapter())
        return session


def test_a_client_of_httpx_carries_the_scope_of_each_request(name: str) -> None:
    service = Service()
    with fail.hook_httpx(httpx.Client(transport=service.httpx(), base_url="http://pay")) as client:
        assert fail.hook_httpx(client) is client
        client.get("/")
        with fail.scope({name: "raise"}, propagate=True) as scope:
            client.get("/", headers={"baggage": "a=1"})
            client.get("/moved", follow_redirects=True)
        client.get("/")
    assert [None if each is None else each.partition("failpy")[0] for each in service.headers] == [
        None,
        "a=1,",
        "",
        "",
        None,
    ]
    assert scope.status(name).hits == 3


async def test_so_does_an_async_client(name: str) -> None:
    service = Service()
    async with fail.hook_httpx(httpx.AsyncClient(transport=service.httpx(), base_url="http://pay")) as client:
        with fail.scope({name: "raise"}, propagate=True) as scope:
            await client.get("/")
        await client.get("/")
    assert scope.status(name).hits == 1


def test_so_does_a_session_of_requests(name: str) -> None:
    service = Service()
    with fail.hook_requests(service.requests()) as session:
        assert fail.hook_requests(session) is session
        session.get("http://pay/")
        with fail.scope({name: "raise"}, propagate=True) as scope:
            session.get("http://pay/")
            session.get("http://pay/", headers={"baggage": "a=1"})
        session.get("http://pay/")
    assert scope.status(name).hits == 2
    assert service.headers[0] is service.headers[3] is None
    assert service.headers[4:] == ["closed"]


def test_a_hooked_session_can_be_pickled() -> None:
    session = fail.hook_requests(requests.Session())
    again = pickle.loads(pickle.dumps(session))
    assert again.get_adapter("http://pay").max_retries.total == 0


@pytest.mark.parametrize("before", ["failpy=1.a.b", "a=1,failpy=1.a.b", "failpy=x,failpy=y"])
def test_what_opentelemetry_has_put_there_stays(name: str, before: str) -> None:
    request = httpx.Request("GET", "http://pay/", headers={"baggage": before})
    client = fail.hook_httpx(httpx.Client())
    with client, fail.scope({name: "raise"}, propagate=True, strict=False):
        for hook in client.event_hooks["request"]:
            hook(request)
    assert request.headers["baggage"] == before


def test_an_action_carries_no_scope(name: str) -> None:
    service = Service()
    with fail.hook_httpx(httpx.Client(transport=service.httpx(), base_url="http://pay")) as client:
        terms = {name: fail.Call(lambda hit: str(client.get("/").status_code))}
        with (
            fail.scope(terms, propagate=True),
            fail.scope({f"{name}.b": "off"}, propagate=True, strict=False),
        ):
            assert fail.point(name, returns=str).hit().value == "200"
    assert service.headers == [None]


@pytest.mark.parametrize("wrong", [None, object(), requests.Session()])
def test_what_is_no_client_of_httpx_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"hook_httpx takes an httpx.Client or an httpx.AsyncClient, not"):
        fail.hook_httpx(wrong)


@pytest.mark.parametrize("wrong", [None, object()])
def test_what_is_no_session_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"hook_requests takes a requests.Session, not"):
        fail.hook_requests(wrong)
