"""The collector of a report: an observer that tallies what one process does with its failpoints."""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Callable
from threading import RLock
from types import CodeType
from typing import TYPE_CHECKING, Any

from failpy._context import Layer, muted, process
from failpy._declared import Declared
from failpy._endings import Endings
from failpy._failures import Failures
from failpy._hit import Hit
from failpy._observer import Observer, observing
from failpy._registry import all_declared, declared
from failpy._remote_hit import RemoteHit
from failpy._returns import describe
from failpy._site import Site, remote_site
from failpy._tally import Tally
from failpy._tally_file import TallyFile, imported_files
from failpy._terms import Raise, Term

if TYPE_CHECKING:
    from failpy._activation import Activation

__all__ = ["FOLDER", "Collector", "start"]

FOLDER = "FAILPY_REPORT_DIR"
"""The variable that names the folder in which the processes of one run leave their tallies."""

_TEST = "PYTEST_CURRENT_TEST"
# So many hits are written down one by one; of more, what is written lags behind by a half at the most.
_EACH = 64
# So many different terms that are in no catalogue are told apart: a search may make very many.
_OTHERS = 200
_LABELS = 5000
_LAST = frozenset({"exit", "kill"})


class Collector(Observer):
    """The tally of this process, kept while it runs.

    Args:
        folder: Where a child process writes its own tally.
        writes: Whether this process writes its own too: one that others read the folder for does not.

    Attributes:
        test: The node id of the test that runs; empty between tests.
    """

    def __init__(self, folder: str, *, writes: bool) -> None:
        self.test = os.environ.get(_TEST, "").rpartition(" ")[0]
        self._folder = folder
        self._writes = writes
        self._begin()

    def _begin(self) -> None:
        self._lock = RLock()  # a signal handler may hit a point in the middle of it
        self._tally = Tally()
        self._hits = 0
        self._due = _EACH
        self._labels: dict[tuple[str, int], tuple[Term, tuple[bool, str]]] = {}
        self._file = TallyFile(self._folder)
        # The process layer watches no endings of its own.
        self._endings = Endings(Failures())
        self._forked = self._is_finalized = False
        self._todo: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._is_counting = False

    def after_fork(self) -> None:
        """In a forked child: what was tallied so far is the parent's."""
        if self._folder:
            self._begin()
            self._writes = self._forked = True

    # --- what an observer is told ---

    def armed(self, activation: Activation, layer: Layer) -> None:
        """Count it."""
        del layer
        self._count(self._count_armed, activation.name)

    def hit(self, hit: Hit[Any], layer: Layer | None) -> None:
        """Count it; and write the tally down now if this process may not live to do so later."""
        del layer
        name, chosen = hit.point, hit.chosen
        label = None if chosen is None or chosen.action == "off" else self._label(name, chosen)
        self._count(self._count_hit, name, label)
        if self._writes and chosen is not None and chosen.action in _LAST:
            self.finish()
        elif self._writes and self._is_due():
            self._write()

    def reported(self, hit: RemoteHit) -> None:
        """Count what happened in another service, under its name."""
        chosen = hit.chosen
        label = None if chosen is None or chosen.action == "off" else self._label(hit.point, chosen)
        self._count(self._count_site, hit.address, remote_site(hit.service))
        self._count(self._count_hit, hit.address, label)
        if hit.ending is not None:
            self._count(self._count_ending, hit.address, hit.ending)

    def _label(self, name: str, term: Term) -> tuple[bool, str]:
        """Whether it is a fault of the catalogue, and its text."""
        known = self._labels.get((name, id(term)))
        if known is None:  # worked out once: it may run code of the program
            with muted():
                fault = _fault(name, term)
                label = (False, str(term.unmodified())) if fault is None else (True, fault)
            if len(self._labels) >= _LABELS:
                self._labels.clear()
            self._labels[name, id(term)] = known = (term, label)
        return known[1]

    def injected(self, hit: Hit[Any], error: BaseException, layer: Layer) -> None:
        """Watch what becomes of an exception of the process scope; a scope watches its own."""
        if layer is process:
            self._endings.watch(hit, error)

    def ended(self, hit: Hit[Any], ending: str) -> None:
        """Count the ending."""
        self._count(self._count_ending, hit.point, ending)

    def _count(self, how: Callable[..., None], *what: Any) -> None:
        with self._lock:
            self._todo.append((how, what))
            if self._is_counting:
                return  # a signal handler came between, and this is done when it is over
            self._is_counting = True
            try:
                while self._todo:
                    each, known = self._todo.popleft()
                    each(*known)
            finally:
                self._is_counting = False

    def _count_armed(self, name: str) -> None:
        point = self._tally[name]
        point.armed += 1
        if self.test:
            point.test(self.test)["armed"] += 1

    def _count_hit(self, name: str, label: tuple[bool, str] | None) -> None:
        self._hits += 1
        point = self._tally[name]
        point.hits += 1
        test = point.test(self.test) if self.test else Counter[str]()
        test["hits"] += 1
        if label is None:
            return
        point.fired += 1
        test["fired"] += 1
        is_fault, text = label
        if is_fault:
            point.injected[text] += 1
        else:
            is_new = text not in point.others and len(point.others) >= _OTHERS
            point.others["..." if is_new else text] += 1

    def _count_site(self, name: str, site: Site) -> None:
        self._tally[name].sites.add(site)

    def _count_ending(self, name: str, ending: str) -> None:
        self._tally[name].endings[ending] += 1

    def _is_due(self) -> bool:
        with self._lock:
            if self._hits > _EACH and self._hits < self._due:
                return False
            if self._hits >= self._due:  # not when it is so many: other threads count on meanwhile
                self._due = 2 * self._due
            return True

    # --- what a run does with it ---

    def begin(self, nodeid: str, home: CodeType | None) -> None:
        """A test begins: what its code catches has reached the test."""
        self.test = nodeid
        self._endings.home = home

    def settle(self, raised: BaseException | None) -> None:
        """A test is over: decide what became of the exceptions of the process scope.

        Args:
            raised: What the test raised.
        """
        self._endings.settle(raised, None)

    def tally(self) -> Tally:
        """The tally, with every point that this process has declared."""
        with self._lock:
            for point in all_declared():
                self._describe(point)
            return self._tally

    def _describe(self, point: Declared[Any]) -> None:
        mine = self._tally[point.name]
        mine.sites |= set(point.places)
        mine.returns = "" if point.returns is None else describe(point.returns)
        mine.faults = [str(fault) for fault in point.faults]

    def _write(self) -> None:
        """Write down what was done so far, in place of what was written before."""
        if not self._is_finalized and (self._forked or _is_a_child()):
            # The children of multiprocessing end by os._exit, and run no atexit.
            self._is_finalized = True
            util = sys.modules.get("multiprocessing.util")
            if util is not None:
                util.Finalize(None, self.finish, exitpriority=0)
        with self._lock, muted():
            # Of what it has declared, only what was touched: it may be thousands, and this is in a hit.
            for name, _ in self._tally:
                point = declared(name)
                if point is not None:
                    self._describe(point)
            self._file.write(self._tally, ())

    def finish(self) -> None:
        """Write down everything for the last time."""
        if self._writes:
            self.settle(None)
            with self._lock, muted():
                self._file.write(self.tally(), imported_files())


def _is_a_child() -> bool:
    loaded = sys.modules.get("multiprocessing.process")
    return loaded is not None and loaded.parent_process() is not None


def start(folder: str) -> None:
    """Let a child of a run that makes a report collect for it, and write down what it did when it ends."""
    import atexit

    collector = Collector(folder, writes=True)
    observing.add(collector)
    atexit.register(collector.finish)


def _after_fork_in_child() -> None:
    for observer in observing.now:
        if isinstance(observer, Collector):
            observer.after_fork()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork_in_child)


def _fault(name: str, term: Term) -> str | None:
    """The fault of the point's catalogue that this term injects, as text; None when it is not of it."""
    point = declared(name)
    if point is not None:
        for fault in point.faults:
            if any(_same(each, term) for each in fault):
                return str(fault)
    return None


def _same(one: Term, other: Term) -> bool:
    if isinstance(one, Raise) and isinstance(other, Raise):
        return _identity(one) == _identity(other)
    return str(one.unmodified()) == str(other.unmodified())


def _identity(term: Raise) -> tuple[Any, ...]:
    """What tells faults apart: two `OSError` with one errno are the same fault, whatever they say."""
    try:
        error = term.make(importing=False)  # an import could wait for a thread that waits for this one
        if isinstance(error, OSError) and error.errno is not None:
            return (type(error), error.errno)
        return (type(error), repr(error.args))
    except Exception:  # the exception of a program may do anything when it is made, or shown
        return (str(term.unmodified()),)
