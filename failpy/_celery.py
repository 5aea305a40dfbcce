"""Hooks for Celery: a task is worked on in the scope that it was sent from."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from failpy._admission import Admission, admission
from failpy._baggage import HEADER as BAGGAGE
from failpy._celery_results import REPORT, results_of
from failpy._clients import carry, merge_told
from failpy._visit import Visit, visit

__all__ = ["hook_celery"]

T = TypeVar("T")

_AGAIN = "failpy-again"
_ATTRIBUTE = "_failpy"  # of a request
_admissions: WeakKeyDictionary[Any, Admission] = WeakKeyDictionary()


class _Run:
    """One run of a task in the scopes that came with it."""

    def __init__(self, guests: Visit) -> None:
        self.guests = guests
        self._stack = ExitStack()
        self._stack.enter_context(guests.working())

    def end(self, raised: BaseException | None) -> None:
        """Close the scopes."""
        try:
            self._stack.close()
        finally:
            self.guests.leave(raised)


def hook_celery(
    app: T,
    *,
    service: str | None = None,
    names: Iterable[str] | None = None,
    allow: Iterable[str] | None = None,
    key: str | None = None,
) -> T:
    """Let the tasks of an app be worked on in the scopes that they were sent from.

    Called where the app is made, it serves both sides. Who sends a task sends along the scope that it is
    sent in, as the member `failpy` of the message header `baggage`, unless OpenTelemetry has done so. A
    worker opens that scope for exactly this task. What happened there comes back with the result, and is
    merged when somebody asks for that: `get`, `state`, `ready` and the like, of a task, a group, a chain or
    a chord. A task without a result, or whose result nobody asks for, tells nothing.

    A task that is tried again goes on with the counts of the try before it.

    Args:
        app: The `celery.Celery`. Hooked twice, it goes by what was said last.
        service: The name of the worker, as for `fail.ASGIMiddleware`.
        names: As for `fail.ASGIMiddleware`.
        allow: As for `fail.ASGIMiddleware`.
        key: As for `fail.ASGIMiddleware`.

    Returns:
        The app.

    Raises:
        FailpointError: when an action cannot be allowed, or a key is too short.
        TypeError: when something is of the wrong type.

    Examples:
        Where the app is made:

            app = fail.hook_celery(Celery("mailer", broker=..., backend=...))
    """
    if not all(hasattr(app, name) for name in ("send_task", "AsyncResult", "GroupResult")):
        raise TypeError(f"hook_celery takes a celery.Celery, not {app!r}")
    from celery import signals

    rules = admission(service=service, names=names, allow=allow, key=key)
    results_of(app)
    _admissions[app] = rules
    signals.before_task_publish.connect(_publish, weak=False, dispatch_uid="failpy")
    signals.task_prerun.connect(_begin, weak=False, dispatch_uid="failpy")
    return app


def _publish(headers: Any, **_: object) -> None:
    """A task is about to be sent."""
    if isinstance(headers.get(BAGGAGE, ""), str):
        carry(headers)
    headers.pop(_AGAIN, None)  # a try takes the headers of the one before it along
    from celery import current_task

    request = getattr(current_task, "request", None)
    run: _Run | None = getattr(request, _ATTRIBUTE, None)
    if run is not None and headers.get("id") == getattr(request, "id", None):
        headers[_AGAIN] = run.guests.so_far()


def _begin(task: Any, **_: object) -> None:
    """A task is about to run."""
    rules = _admissions.get(task.app)
    if rules is None:
        return
    request = task.request
    if request.is_eager:  # nothing was sent: it is run where it is called, in the scope that would travel
        sent: dict[str, str] = {}
        carry(sent)
        header = sent.get(BAGGAGE)
    else:
        header = _header(request, BAGGAGE)
    guests = visit(rules, [header]) if header else None
    if guests is None:
        return
    again = _header(request, _AGAIN)
    if again:
        guests.resume(again)
    _tell_in_results(task.backend)
    setattr(request, _ATTRIBUTE, _Run(guests))
    # Connected this late, it comes after that of OpenTelemetry, which restores the context that it found:
    # that of this scope, if it began after this one.
    from celery import signals

    signals.task_postrun.connect(_end, weak=False, dispatch_uid="failpy")


def _end(task: Any, retval: object, **_: object) -> None:
    """A task has run."""
    request = task.request
    run: _Run | None = vars(request).pop(_ATTRIBUTE, None)
    if run is None:
        return
    raised = retval if isinstance(retval, BaseException) else None
    report = run.guests.report(raised) if request.is_eager else ""
    so_far = run.guests.so_far() if request.is_eager else ""
    run.end(raised)
    if not request.is_eager:
        return
    signature = getattr(retval, "sig", None)  # of a try that another one follows, which tells of both
    if signature is not None:
        signature.options["headers"] = {**(signature.options.get("headers") or {}), _AGAIN: so_far}
    elif report:
        merge_told(report)


def _header(request: Any, name: str) -> str | None:
    """A header of the message that a task came in."""
    value = vars(request).get(name) or (request.headers or {}).get(name)
    return value if isinstance(value, str) else None


def _tell_in_results(backend: Any) -> None:
    """Let results have a report beside them. Each thread of a worker has a backend of its own."""
    plain = getattr(backend, "_get_result_meta", None)
    if plain is None or hasattr(plain, "failpy"):
        return
    from celery.states import READY_STATES

    def told(result: Any, state: Any, traceback: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        meta = plain(result, state, traceback, request, *args, **kwargs)
        run: _Run | None = getattr(request, _ATTRIBUTE, None)
        if run is not None and state in READY_STATES:
            report = run.guests.report(sys.exception())  # that of a task that has failed
            if report:
                meta[REPORT] = report
        return meta

    told.failpy = True  # type: ignore[attr-defined]
    backend._get_result_meta = told
