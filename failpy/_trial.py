"""The trial of one test: the scope that it runs in, and what its failpoints did."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextvars import Context
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any
from weakref import ref

from failpy._arming import named_terms
from failpy._carrying import standing_in
from failpy._context import Layer, current, inside, process, set_current
from failpy._endings import Endings
from failpy._errors import FailpointError, NeverFired, UnknownFailpoint
from failpy._failures import Failures
from failpy._hit import Hit, TraceEntry
from failpy._latest import Latest
from failpy._locating import body_of, located
from failpy._observer import Observer
from failpy._opening import scope
from failpy._registry import declared
from failpy._remote_hit import RemoteHit
from failpy._scope import Scope
from failpy._terms import Terms
from failpy._trace import Trace
from failpy._whereabouts import note_whereabouts

if TYPE_CHECKING:
    import pytest

    from failpy._activation import Activation

__all__ = ["EXPLORED", "EXPLORING", "MARKER", "Trial", "takes_part"]

MARKER = "failpoints"
EXPLORING = "explore_failpoints"
"""The marker of tests that are explored."""
EXPLORED = "failpoints_explored"
"""The property of a test report that says how far."""
_KEPT = 1000
_SIGNATURE = inspect.signature(scope)


def takes_part(item: pytest.Item) -> bool:
    """Whether the test has the marker or the fixture."""
    return MARKER in getattr(item, "fixturenames", ()) or item.get_closest_marker(MARKER) is not None


class Trial(Observer):
    """One test as it runs.

    Args:
        item: The test.

    Attributes:
        scope: The scope of the test; None for one that asks for none.
        raised: What its body raised.
        is_set_up: Whether its setup has begun before: other plugins run a test again that has failed.
    """

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.is_set_up = False
        self.begin()

    def begin(self) -> None:
        """Begin, or begin anew."""
        self.scope: Scope | None = None
        self._armed: Latest[tuple[Activation, ref[Layer]]] = Latest(_KEPT)
        self._armings = 0
        self._closed: Latest[Layer] = Latest(_KEPT)
        self._hits: Latest[tuple[int, Hit[Any], ref[Layer]]] = Latest(_KEPT)
        self._numbered = 0
        self._lock = RLock()  # a signal handler may hit a point in the middle of it
        self._endings = Endings(Failures(), tells=False)
        self._endings.home = body_of(self.item)
        self.raised: BaseException | None = None
        self._thread = get_ident()
        self._has_copies = False
        self._said: BaseException | None = None
        self._is_concluded = False

    def forget(self) -> None:
        """Forget what has been hit and what scopes there were: an exploration begins its next case."""
        for each in (self._armed, self._closed, self._hits):
            each.clear()
        self._armings = 0
        self._numbered = 0

    # --- what an observer is told ---

    def armed(self, activation: Activation, layer: Layer) -> None:
        """Remember it."""
        # Weakly, so that a scope which the test abandons can be collected, and say so.
        self._armed.add((activation, ref(layer)))
        self._armings += 1

    def scope_closed(self, layer: Layer) -> None:
        """Keep a scope of the test for what it has to tell."""
        self._closed.add(layer)

    def hit(self, hit: Hit[Any], layer: Layer | None) -> None:
        """Remember it, with where; a scope has noted its thread and task."""
        if layer is process:
            note_whereabouts(hit)
        if layer is not None:
            with self._lock:
                self._numbered += 1
                self._hits.add((self._numbered, hit, ref(layer)))

    def reported(self, hit: RemoteHit) -> None:
        """Remember it, with the scope that it was reported to."""
        self.hit(hit, hit.activation.layer)

    def injected(self, hit: Hit[Any], error: BaseException, layer: Layer) -> None:
        """Watch what becomes of an exception of the process scope; a scope watches its own."""
        if layer is process:
            self._endings.watch(hit, error)

    # --- the scope ---

    def open(self) -> Scope:
        """The scope of the test, opened by the first who asks for it.

        Raises:
            TypeError, ValueError, FailpointError: when `fail.scope` would not take what a marker has.
        """
        if self.scope is None:
            opened = _scope_of(self.item)
            opened.open()
            opened.at_home(body_of(self.item))
            self.scope = opened
            set_current(opened)
            if opened.propagation is not None:
                opened.propagation.enter(opened)
            # unittest's async test case has copied the context long before, when it was made.
            context = getattr(getattr(self.item, "instance", None), "_asyncioTestContext", None)
            if isinstance(context, Context):
                context.run(set_current, opened)
        return self.scope

    def layer(self) -> Layer | None:
        """The layer that the test's own code runs in now; None when it has no scope."""
        return None if self.scope is None or self.scope.closed else self.scope

    def conclude(self, raised: BaseException | None) -> None:
        """The body of the test is over: raise what its scope has to say.

        Args:
            raised: What the body raised, if pytest was let see it; `unittest` keeps it to itself.

        Raises:
            FailpointError: what a strict scope has to say.
            BaseExceptionGroup: of what failed in threads and tasks, and of what the body raised.
        """
        __tracebackhide__ = True
        self._is_concluded = True
        kept = getattr(self.item, "_excinfo", None)
        self.raised = kept[0].value if raised is None and kept else raised
        self._endings.settle(self.raised, None)
        if self.scope is None:
            return
        try:
            # The copies of its threads have said what was to say about strictness.
            self.scope.conclude(self.raised, strict=not self._has_copies)
        except BaseException as said:
            if kept:
                kept.clear()  # it is in the group
            self._said = said
            raise self.located(said) from None

    def located(self, error: BaseException) -> BaseException:
        """The error, as if it came from the test itself."""
        return located(error, self.item, MARKER)

    def insists(self, error: BaseException) -> bool:
        """Whether this is a strict verdict on the test, which a mere `xfail` does not expect."""
        if error is not self._said or not isinstance(error, NeverFired | UnknownFailpoint):
            return False
        mark = self.item.get_closest_marker("xfail")
        expected = () if mark is None else mark.kwargs.get("raises", ())
        named = expected if isinstance(expected, tuple) else (expected,)
        return not any(each in (NeverFired, UnknownFailpoint, FailpointError) for each in named)

    def close(self, raised: BaseException | None) -> None:
        """All is over, fixtures too.

        Raises:
            BaseExceptionGroup: of what failed since the body ended.
        """
        __tracebackhide__ = True
        opened = self.scope
        if opened is None or opened.closed:
            return
        if current() is opened:
            set_current(opened.open_ancestor())
            if opened.propagation is not None:
                opened.propagation.leave()
        if not self._is_concluded:  # the body never ran, so there is nothing that it should have reached
            opened.excuse()
        try:
            opened.finish(raised)
        except BaseException as said:
            raise self.located(said) from None

    def abandon(self) -> None:
        """pytest was interrupted: close the scope, and say nothing."""
        if self.scope is not None and not self.scope.closed:
            if current() is self.scope:
                set_current(self.scope.open_ancestor())
            self.scope.close()

    def in_thread(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the test's function; in another thread than the test's own, in a copy of its scope.

        So each thread of pytest-run-parallel has counts, draws and a trace that no other one touches.
        """
        __tracebackhide__ = True
        if self.scope is None or get_ident() == self._thread:
            return function(*args, **kwargs)
        self._has_copies = True
        copied = self.scope.copy()
        copied.open()
        copied.at_home(body_of(self.item))
        for name, activation in list(self.scope.activations.items()):
            if activation.when is not None:
                copied.enable(name, activation.terms, when=activation.when)
        own = {name: copied if value is self.scope else value for name, value in kwargs.items()}
        raised: BaseException | None = None
        result = None
        try:
            with inside(copied):
                result = function(*args, **own)
        except BaseException as exc:
            raised = exc
        with standing_in():
            try:
                copied.finish(raised)
            except BaseException as said:
                self._said = said
                raise self.located(said) from None
            if raised is not None:
                raise raised
        return result

    def scopes(self) -> Iterator[Layer]:
        """The layers in which something was armed, the outermost first."""
        found = {id(layer): layer for _, layer in self.activations() if layer is not None}
        if self.scope is not None:
            found.setdefault(id(self.scope), self.scope)
        yield from found.values()

    def given(self) -> dict[str, Terms]:
        """What the markers have armed, and the test has not disarmed."""
        if self.scope is None:
            return {}
        # What is addressed to another service has no place in the process scope of this one.
        travels = self.scope.propagation is not None
        return {
            name: terms
            for name, terms in self.scope.given.items()
            if not travels or declared(name) is not None
        }

    def trace(self) -> Trace:
        """The last hits of all layers, in order."""
        entries = []
        hits = self._hits.now
        ending = self._endings.reader()
        readers: dict[Layer, Callable[[Hit[Any]], TraceEntry]] = {}
        for _, hit, where in hits:
            layer = where()
            if isinstance(layer, Scope):
                if layer not in readers:
                    readers[layer] = layer.reader()
                entries.append(readers[layer](hit))
            else:
                entries.append(hit.entry(None if layer is None else ending(hit)))
        # Of two threads, the one with the later number may have come first.
        return Trace(entries, max((number for number, *_ in hits), default=0) - len(hits))

    def activations(self) -> list[tuple[Activation, Layer | None]]:
        """What was armed while it ran, with where; that is None where it is gone."""
        return [(activation, layer()) for activation, layer in self._armed.now]

    @property
    def forgotten(self) -> int:
        """How many activations there were before those."""
        return self._armings - len(self._armed.now)


def _scope_of(item: pytest.Item) -> Scope:
    """The scope that the markers of a test ask for: the closest decides, name by name."""
    terms: dict[str, Terms] = {}
    options: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers(MARKER))):
        try:
            given = _SIGNATURE.bind(*mark.args, **mark.kwargs).arguments
        except TypeError as exc:
            raise TypeError(
                f"@pytest.mark.{MARKER} takes the arguments of fail.scope, as in ({{'A': 'raise'}}) or "
                f"('A=raise;B=off', seed=1): {exc}"
            ) from None
        terms |= named_terms(given.pop("terms", None))
        options |= given
    return scope(terms, **options)
