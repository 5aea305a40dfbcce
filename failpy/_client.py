"""The client of the HTTP endpoint: each method is one request, and says in words why it failed."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from typing import Any, Self
from urllib.parse import quote

import httpx

from failpy._complaint import Complaint, Refused, Unreachable
from failpy._errors import InvalidName
from failpy._literals import printable
from failpy._names import check_name
from failpy._sse import Event, read_events
from failpy._target import Target

__all__ = ["Client", "Record"]

Record = dict[str, Any]
"""What the endpoint says of a point, or of the process: JSON, and newer versions may say more."""

_JSON = {"Accept": "application/json"}
_EVENTS = {"Accept": "text/event-stream, application/json;q=0.5"}  # errors come as JSON
# Between two hits the endpoint sends a heartbeat every ten seconds.
_SILENCE = 30.0
_LARGE = 16 * 2**20


class Client:
    """The endpoint of one running program.

    Args:
        target: Where it is.
        token: The token that it asks for, if any.
        timeout: How long each step of a request may take, in seconds.
        transport: What carries the requests instead of a socket, for tests.
    """

    def __init__(
        self,
        target: Target,
        *,
        token: str | None = None,
        timeout: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.target = target
        self.timeout = timeout
        self._line: Any = None
        self._hung_up = False
        headers = {b"User-Agent": b"failpy", b"Accept-Encoding": b"identity"}
        token = (token or "").strip()
        if not token.isprintable():
            raise Complaint("the token has a control character, which no HTTP header can carry: give another")
        if token:
            headers[b"Authorization"] = f"Bearer {token}".encode()
        if transport is None and target.socket is not None:
            transport = httpx.HTTPTransport(uds=target.socket, verify=False)
        self._http = httpx.Client(
            headers=headers,
            timeout=timeout,
            transport=transport,
            trust_env=not target.local,
            # Reading the certificates takes longer than the request, and a local http:// needs none.
            verify=not (target.local and target.base.startswith("http:")),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def everything(self) -> Record:
        """The process and all its points."""
        answer = self._record("GET", "failpoints")
        points = answer.get("failpoints")
        if not isinstance(points, list) or not all(map(_is_point, points)):
            raise self._foreign("its answer has no list of failpoints")
        return answer

    def status(self, name: str) -> Record:
        """Everything about one point."""
        if name == "events" or _means_all(name):
            for point in self.everything()["failpoints"]:
                if point["name"] == name:
                    return dict(point)
            raise Refused(f"no code has declared {name!r}", kind="UnknownFailpoint", details={"near": []})
        answer = self._record("GET", _path(name))
        if not _is_point(answer):
            raise self._foreign("its answer describes no failpoint")
        return answer

    def enable(
        self,
        name: str,
        terms: str,
        *,
        pending: bool = False,
        ttl: str | None = None,
        if_match: str | None = None,
    ) -> str | None:
        """Arm a point, and give its new revision."""
        if _means_all(name):
            return self.enable_all(f"{name}={terms}", pending=pending, ttl=ttl, if_match=if_match)
        return self._put(_path(name), terms, pending, ttl, if_match)

    def enable_all(
        self, text: str, *, pending: bool = False, ttl: str | None = None, if_match: str | None = None
    ) -> str | None:
        """Arm all the points of a set or none, and give the new revision of everything."""
        return self._put("failpoints", text, pending, ttl, if_match)

    def disable(self, name: str, *, if_match: str | None = None) -> None:
        """Disarm a point."""
        if _means_all(name):
            raise Refused(
                f"over HTTP {name!r} stands for every point: disable it with --all, or enable {name} off"
            )
        self._ask("DELETE", _path(name), headers=_condition(if_match))

    def disable_all(self, *, if_match: str | None = None) -> None:
        """Disarm every point of the process scope."""
        self._ask("DELETE", "failpoints", headers=_condition(if_match))

    def resume(self, name: str, nth: int | None = None) -> int:
        """Let go of the paused hits of a point, or of one of them, and say how many they were."""
        query = {} if nth is None else {"nth": str(nth)}
        resumed = self._record("POST", f"{_path(name)}/resume", query=query).get("resumed")
        if not isinstance(resumed, int):
            raise self._foreign("its answer does not say how many hits were resumed")
        return resumed

    def events(self) -> Generator[Event, None, None]:
        """The hits of the program as they happen, until it ends."""
        patience = httpx.Timeout(self.timeout, read=max(self.timeout, _SILENCE))
        request = self._http.build_request(
            "GET", f"{self.target.base}/events", headers=_EVENTS, timeout=patience
        )
        with self._explained(), closing(self._http.send(request, stream=True)) as response:
            self._line = response.extensions.get("network_stream")
            if self._hung_up:
                return
            self._check(response)
            kind = response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                raise self._foreign(f"it answers {printable(kind) or 'nothing'} where events are due")
            try:
                yield from read_events(response.iter_bytes())
            except (ValueError, TypeError, RecursionError):
                raise self._foreign("its events hold no JSON") from None

    def hang_up(self) -> None:
        """End the stream of events, for good and for the thread that waits for the next one."""
        self._hung_up = True
        if self._line is not None:
            with suppress(OSError):  # it has ended already
                self._line.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _put(self, path: str, terms: str, pending: bool, ttl: str | None, if_match: str | None) -> str | None:
        query = {**({"pending": "1"} if pending else {}), **({} if ttl is None else {"ttl": ttl})}
        # What was no text on the command line is for the endpoint to refuse.
        body = terms.encode("utf-8", "surrogateescape")
        response = self._ask("PUT", path, query=query, headers=_condition(if_match), content=body)
        revision = response.headers.get("etag")
        return None if revision is None else str(revision).strip('"')

    def _record(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> Record:
        response = self._ask(method, path, query=query)
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            kind = printable(response.headers.get("content-type", "nothing"))
            raise self._foreign(f"it answers {kind} where JSON is due")
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        request = self._http.build_request(
            method,
            f"{self.target.base}/{path}",
            params=query or None,
            headers={**_JSON, **(headers or {})},
            content=content,
        )
        with self._explained():
            response = self._http.send(request, stream=True)
            try:
                self._read(response)
            finally:
                response.close()
        self._check(response)
        return response

    def _read(self, response: httpx.Response) -> None:
        """Read the body, which may be anybody's: so much of it, and for so long."""
        end = time.monotonic() + self.timeout
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGE:
                raise self._foreign(f"its answer is larger than {_LARGE // 2**20} MiB")
            if time.monotonic() > end:
                raise httpx.ReadTimeout("the body takes too long")
        response._content = body  # what `read` would set, which has no limit

    def _check(self, response: httpx.Response) -> None:
        if not response.is_success:
            self._read(response)
            raise self._refusal(response)

    def _refusal(self, response: httpx.Response) -> Complaint:
        try:
            error = dict(response.json()["error"])
            kind, message = str(error.pop("type")), str(error.pop("message"))
        except (ValueError, KeyError, TypeError, RecursionError):
            code = f"{response.status_code} {printable(response.reason_phrase)}".rstrip()
            if response.status_code in (502, 503, 504):
                return Unreachable(f"{self.target.text} answers {code}: it is busy or on its way; try again")
            to = response.headers.get("location")
            return self._foreign(f"it answers {code}" + (f" to {printable(to)}" if to else ""))
        if response.status_code == 401:
            message = f"{message.rstrip()}\nGive the token of the program with --token or FAILPY_HTTP_TOKEN"
        return Refused(message, kind=kind, details=error)

    def _foreign(self, reason: str) -> Unreachable:
        return Unreachable(
            f"what answers at {self.target.text} is no failpy endpoint: {reason}; "
            "give the address and the prefix of one with --url"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what went wrong on the way, in words."""
        where = self.target.text
        try:
            yield
        except httpx.TimeoutException:
            raise Unreachable(
                f"{where} does not answer within {self.timeout:g} s: is the program stopped? "
                "Or give it longer with --timeout"
            ) from None
        except (httpx.ConnectError, OSError) as exc:
            raise Unreachable(
                f"nothing answers at {where} ({_reason(exc)}): is the program running, with FAILPY_HTTP set?"
            ) from None
        except httpx.RequestError as exc:
            raise Unreachable(f"{where} broke off, or speaks no HTTP ({_reason(exc)})") from None


def _means_all(name: str) -> bool:
    return name.lower() == "failpoints"


def _path(name: str) -> str:
    """The name as a path in which nobody on the way, httpx first, finds anything to normalise.

    Raises:
        Refused: when no failpoint can have this name.
    """
    try:
        check_name(name)
    except InvalidName as exc:
        raise Refused(str(exc), kind="InvalidName") from None
    segments = [
        segment.replace(".", "%2E")
        if segment in (".", "..")
        else quote(segment, "", errors="surrogateescape")
        for segment in name.split("/")
    ]
    path = segments[0]
    for before, segment in pairwise(segments):
        path += ("/" if before and segment else "%2F") + segment
    return path


def _condition(revision: str | None) -> dict[str, str]:
    """The header that holds a request to this revision."""
    if revision is None:
        return {}
    bare = revision.strip().strip('"')
    if not (bare.isascii() and bare.isprintable()):
        raise Complaint(f"--if-match {printable(revision)!r} is no revision: take it from failpy status")
    return {"If-Match": bare if bare == "*" else f'"{bare}"'}


def _is_point(value: object) -> bool:
    """Whether it has the shape of a point, as far as it is shown."""
    if not (isinstance(value, dict) and isinstance(value.get("name"), str)):
        return False
    lists = [value.get(key, []) for key in ("sites", "faults", "paused_hits")]
    return isinstance(value.get("hits", 0), int) and all(isinstance(each, list) for each in lists)


def _reason(exc: Exception) -> str:
    """What the operating system says, without its number."""
    root: BaseException = exc
    while (inner := root.__cause__ or root.__context__) is not None:
        root = inner
    text = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return printable(text or type(exc).__name__)
