"""Results of Celery that merge what a worker tells in them into the scope of who asks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from failpy._clients import merge_told
from failpy._context import current
from failpy._propagation import is_awaited

__all__ = ["REPORT", "results_of"]

REPORT = "failpy_report"
"""The key of a report in the meta of a result."""

_logger = logging.getLogger("failpy.propagation")


_Result: Any = object  # what these classes are put before is a class of the app


class _Told(_Result):  # type: ignore[misc]
    """What is added to the class `AsyncResult` of an app."""

    _failpy: str | None = None

    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait until the task is ready, and return its result."""
        try:
            return super().get(*args, **kwargs)
        finally:
            self._failpy_ask()

    wait = get

    def _get_task_meta(self) -> Any:
        meta = super()._get_task_meta()
        self._failpy_collect(meta)
        return meta

    def _failpy_collect(self, meta: Any) -> None:
        report = meta.get(REPORT)
        if report and report != self._failpy and merge_told(report):
            self._failpy = report

    def _failpy_ask(self) -> None:
        """Merge what its task tells, and the tasks before it: who waits for a chain asks only the last."""
        if self._cache:
            self._failpy_collect(self._cache)
        if self.parent is not None and is_awaited(current()):
            try:
                for each in _before(self.parent):
                    each.state  # noqa: B018 - it asks
            except Exception:
                _logger.exception("what the tasks before %s tell could not be read", self.id)


class _ToldTogether(_Result):  # type: ignore[misc]
    """What is added to the classes of several results, which some backends give past `AsyncResult`."""

    def iter_native(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        """The results, as they come."""
        for task_id, meta in super().iter_native(*args, **kwargs):
            if isinstance(meta, dict) and meta.get(REPORT):
                merge_told(meta[REPORT])
            yield task_id, meta


def results_of(app: Any) -> None:
    """Let the results of an app merge what they tell."""
    for name, base in ("AsyncResult", _Told), ("ResultSet", _ToldTogether), ("GroupResult", _ToldTogether):
        kind = getattr(app, name)
        if not issubclass(kind, base):
            same = {"__module__": kind.__module__, "__doc__": kind.__doc__}
            setattr(app, name, type(name, (base, kind), same))


def _before(node: Any) -> Iterator[Any]:
    """The results of single tasks in this one, in what is in it, and before it."""
    while node is not None:
        several = getattr(node, "results", None)
        if several is None:
            yield node
        else:
            for each in several:
                yield from _before(each)
        node = node.parent
