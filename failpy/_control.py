"""The HTTP control endpoint: what each request does. The servers around it only carry it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from failpy._access import Access
from failpy._activation import Activation
from failpy._arming import chain_for, disable, disable_all, enable, named_terms, status
from failpy._config import config
from failpy._context import muted, process
from failpy._errors import FailpointError, FailpointPanic, HitError, TermSyntaxError, UnknownFailpoint
from failpy._events import Events
from failpy._exchange import HTML, JSON, TEXT, Problem, Request, Response, preferred
from failpy._expiry import expiry
from failpy._hold import Hold
from failpy._names import check_name
from failpy._page import page, page_headers
from failpy._parameters import body_text, flag, number, options_of, seconds_of
from failpy._registry import declared, lock, unknown
from failpy._reports import (
    as_json,
    listing,
    overview,
    point_json,
    point_text,
    revision,
    revision_of,
    terms_of,
)
from failpy._terms import Terms

__all__ = ["BODY_LIMIT", "Control"]

BODY_LIMIT = 64 * 1024
"""How long the body of a request may be, in bytes."""

_EVERYTHING = "failpoints"
_LONG = 1000
_log = logging.getLogger("failpy")


class Control:
    """The endpoint: requests in, responses out.

    It borrows its paths, and every successful exchange of plain text, from gofail's HTTP endpoint.

    Args:
        access: Who may do what.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def answer(self, request: Request) -> Response:
        """Do what is asked for. No failpoint acts meanwhile, and whatever goes wrong is an answer, too."""
        with muted():
            try:
                response = self._route(request)
            except (Exception, SystemExit, FailpointPanic) as exc:  # an exception's constructor may raise any
                problem = _problem_of(exc)
                if problem.status in (401, 403):
                    _say("refused over HTTP, of %s: %s", _who(request), problem.message)
                response = refusal(problem, request.headers.get("accept", ""))
        return response.without_body() if request.method == "HEAD" else response

    def _route(self, request: Request) -> Response:
        wanted = preferred(request.headers.get("accept", ""))
        if wanted == HTML and request.name == "" and request.method in ("GET", "HEAD"):
            return self._page(request)
        self._access.check(request)
        methods = self._methods(request)
        method = "GET" if request.method == "HEAD" else request.method
        allowed = ("Allow", ", ".join(sorted((*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"))))
        if method == "OPTIONS":
            return Response(204, (allowed,))
        if method not in methods:
            raise Problem(
                405, f"{method} is not for /{request.name}: it takes {allowed[1]}", headers=(allowed,)
            )
        return methods[method](request, wanted == JSON)

    def _methods(self, request: Request) -> Mapping[str, Callable[[Request, bool], Response]]:
        """What can be done with what the path names."""
        name = request.name
        if name == "*" and request.method == "OPTIONS":
            return {}
        if name == "":
            return {"GET": self._get_all}
        # gofail reads it in any case, but here a point may have such a name.
        if name == _EVERYTHING or (name.lower() == _EVERYTHING and declared(name) is None):
            return {"DELETE": self._disable_all, "GET": self._get_all, "PUT": self._enable_all}
        if name.endswith("/count"):
            return {"GET": self._count}
        point = {"DELETE": self._disable, "GET": self._get, "PUT": self._enable}
        if name.endswith("/resume"):
            return {**point, "POST": self._resume}
        return {**point, "GET": self._events} if name == "events" else point

    # --- reading ---

    def _page(self, request: Request) -> Response:
        # The page holds no data, so it may come before the token; but not to another site's frames.
        self._access.check_way(request)
        if request.bare:
            return Response(308, (("Location", f"{request.prefix}/"),))
        return Response(200, page_headers(), page())

    def _get_all(self, request: Request, json: bool) -> Response:
        options_of(request)
        if json:
            said = overview()
            return _json(said, said["revision"])
        return _text(*listing())

    def _get(self, request: Request, json: bool) -> Response:
        options_of(request)
        if json:
            said = point_json(request.name)
            return _json(said, said["revision"])
        terms, now = point_text(request.name)
        return _text(f"{terms}\n", now)

    def _count(self, request: Request, json: bool) -> Response:
        options_of(request)
        said = status(request.name.removesuffix("/count"), process.activations)
        if json:
            counts = {"hits": said.hits, "selected": said.selected, "fired": said.fired}
            return _json({"name": said.name, **counts})
        return _text(str(said.selected))

    def _events(self, request: Request, json: bool) -> Response:
        options_of(request)
        headers = (("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"))
        if request.method == "HEAD":
            return Response(200, headers)
        if Events.full(request.streams):
            message = "the server can spare no more threads for readers of events: close one, or poll instead"
            raise Problem(503, message)
        return Response(200, headers, events=Events(request.beat))

    # --- changing ---

    def _enable(self, request: Request, json: bool) -> Response:
        name, options = check_name(request.name), options_of(request, "pending", "ttl")
        _refuse_strangers((name,), options)  # before the terms: a name mistyped says more than they do
        return self._arm(request, {name: chain_for(name, body_text(request))}, options, name)

    def _enable_all(self, request: Request, json: bool) -> Response:
        terms, options = named_terms(body_text(request)), options_of(request, "pending", "ttl")
        _refuse_strangers(terms, options)
        return self._arm(request, terms, options, None)

    def _arm(
        self, request: Request, terms: dict[str, Terms], options: Mapping[str, str], name: str | None
    ) -> Response:
        seconds = seconds_of(options["ttl"]) if "ttl" in options else None
        self._access.check_terms(terms)
        guard = _guard(request, name)
        guard()
        hold = Hold()
        try:
            with nullcontext() if seconds is None else expiry() as expire_after:
                enable(process, terms, importing=False, hold=hold, guard=guard)
                if expire_after is not None and seconds is not None:
                    expire_after(hold.held, seconds)
            for each, chain in terms.items():
                until = "" if seconds is None else f", for {seconds:g} s"
                _say("failpoint %r armed with %s%s, over HTTP by %s", each, chain, until, _who(request))
            now = revision_of(hold.held[0].revision) if hold.held else revision()
        except BaseException:
            hold.release()
            raise
        return Response(204, _etag(now), sent=hold.release)

    def _disable(self, request: Request, json: bool) -> Response:
        options_of(request)
        with lock:
            disable(process, request.name, guard=_guard(request, request.name))
            now = revision(request.name)
        _say("failpoint %r disarmed, over HTTP by %s", request.name, _who(request))
        return Response(204, _etag(now))

    def _disable_all(self, request: Request, json: bool) -> Response:
        options_of(request)
        with lock:
            disable_all(process, guard=_guard(request, None))
            now = revision()
        _say("every failpoint disarmed, over HTTP by %s", _who(request))
        return Response(204, _etag(now))

    def _resume(self, request: Request, json: bool) -> Response:
        name = request.name.removesuffix("/resume")
        nth = number(options_of(request, "nth").get("nth"))
        status(name, process.activations)
        _guard(request, name)()
        activation = process.activations.get(name)
        resumed = 0 if activation is None else _resume(activation, nth)
        _say("failpoint %r: paused hits resumed: %d, over HTTP by %s", name, resumed, _who(request))
        return _json({"resumed": resumed}) if json else _text(f"{resumed}\n")


def refusal(problem: Problem, accept: str) -> Response:
    """An error as a reply, in text or in JSON."""
    if preferred(accept) == JSON:
        error = {"type": problem.kind, "message": problem.message, **problem.details}
        kind, body = JSON, as_json({"error": error})
    else:
        kind, body = TEXT, f"{problem.message}\n".encode("utf-8", "backslashreplace")
    return Response(problem.status, (("Content-Type", kind), *problem.headers), body)


def _problem_of(exc: BaseException) -> Problem:
    if isinstance(exc, Problem):
        return exc
    kind, details = type(exc).__name__, dict[str, Any]()
    if not isinstance(exc, FailpointError):
        _log.error("the HTTP endpoint failed", exc_info=exc)
        return Problem(500, f"the endpoint failed with {kind}; the program's log has the traceback")
    message = str(exc)
    if isinstance(exc, UnknownFailpoint):
        return Problem(404, message, kind=kind, details={"near": exc.near})
    if isinstance(exc, TermSyntaxError):
        details = {"reason": exc.reason, "text": exc.text, "column": exc.column, "caret": exc.caret}
    return Problem(400, message, kind=kind, details=details)


def _say(message: str, *args: object) -> None:
    """Log a change. It is made by now, whatever a handler of the program's makes of that."""
    with suppress(Exception):
        _log.info(message, *args)


def _refuse_strangers(named: Iterable[str], options: Mapping[str, str]) -> None:
    """Refuse names that no code has declared, unless they are to wait for it."""
    if not config.enabled:
        message = "FAILPY=off compiled failpoints out of this program: start it without"
        raise Problem(503, message, kind="FailpointError")
    pending = flag(options, "pending")
    for name in named:
        if len(name) > _LONG and declared(name) is None:
            raise Problem(
                400, f"a name over HTTP has {_LONG} characters at the most: {name[:40]!r}... has more"
            )
        if not pending and declared(name) is None and name not in process.activations:
            error = unknown(name)
            raise Problem(
                404,
                f"{error}. To arm it all the same, and wait for that, send pending=1",
                kind="UnknownFailpoint",
                details={"near": error.near},
            )


def _resume(activation: Activation, nth: int | None) -> int:
    resumed = 0
    for hit in activation.waiting:
        if hit.term.action == "pause" and nth in (None, hit.nth):
            try:
                hit.resume()
            except HitError:  # somebody else was quicker
                continue
            resumed += 1
    return resumed


def _guard(request: Request, name: str | None) -> Callable[[], None]:
    """What holds a request to the revision that its `If-Match` names."""
    given = request.headers.get("if-match")

    def guard() -> None:
        if given is None or given.strip() == "*":
            return
        now = revision(name)
        tags = [tag.strip().strip('"') for tag in given.split(",")]
        if now not in tags:
            what = "the failpoints have" if name is None else f"failpoint {name!r} has"
            terms = "" if name is None else f", with the terms {terms_of(process.activations.get(name))!r}"
            raise Problem(
                412,
                f"{what} changed since you looked: the revision is {now!r} now{terms}, and If-Match names "
                f"{' or '.join(map(repr, tags))}; look again, and send the new ETag",
                details={"revision": now},
            )

    return guard


def _who(request: Request) -> str:
    return request.peer or "a client of the socket"


def _etag(now: str) -> tuple[tuple[str, str], ...]:
    return (("ETag", f'"{now}"'),)


def _text(text: str, now: str | None = None) -> Response:
    headers = (("Content-Type", TEXT), *(() if now is None else _etag(now)))
    return Response(200, headers, text.encode("utf-8", "backslashreplace"))


def _json(value: object, now: str | None = None) -> Response:
    headers = (("Content-Type", JSON), ("Cache-Control", "no-store"), *(() if now is None else _etag(now)))
    return Response(200, headers, as_json(value))
