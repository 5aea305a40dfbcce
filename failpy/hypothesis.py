"""Hypothesis: strategies that draw faults, and state machines that run with them.

    from failpy.hypothesis import schedules

It needs `pip install 'failpy[hypothesis]'`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, ClassVar

from failpy._candidates import Candidates, Points
from failpy._faults import schedule_terms
from failpy._literals import shown
from failpy._opening import scope
from failpy._schedule import Schedule
from failpy._scope import Scope
from failpy._terms import Terms

try:
    from hypothesis import note
    from hypothesis import strategies as st
    from hypothesis.errors import StopTest, UnsatisfiedAssumption
    from hypothesis.stateful import RuleBasedStateMachine, initialize
    from hypothesis.strategies import DrawFn, SearchStrategy
except ImportError as _exc:
    raise ImportError("failpy.hypothesis needs Hypothesis: pip install 'failpy[hypothesis]'") from _exc

__all__ = ["FaultyMachine", "Schedule", "schedules"]

Schedule.__module__ = __name__


def schedules(points: Points = "*", *, max_faults: int = 3, max_hit: int = 8) -> SearchStrategy[Schedule]:
    """A strategy that draws schedules: which hits of which points get which fault.

    They shrink to the fewest faults, at the earliest hits, and of each point the first of its faults;
    the simplest one injects nothing. The faults of a point are its catalogue, `faults=`; without one, it
    can `raise` and return the emptiest values of its `returns=`. What a catalogue has of `exit`, `kill`
    and `break` is left out. A failing example prints the line for the environment that reproduces it.

    Args:
        points: The name of a point, or a pattern as of `fnmatch`; several of these; or a mapping of
            names to lists of faults. Names and patterns stand for what is declared at the first draw.
        max_faults: At most how many faults one schedule has, at least 1.
        max_hit: The last hit of a point at which a fault may begin, at least 1.

    Raises:
        TypeError: when an argument is of the wrong type.
        ValueError: when a number is less than 1, or there is no point or no fault.
        TermSyntaxError: when a fault is malformed text.
        UnknownFailpoint: at the first draw, when no code has declared a point of that name.

    Examples:
        >>> from hypothesis import given
        >>> from failpy import fail, failpoint
        >>> @failpoint("schedules.write", faults=("raise(ENOSPC)",))
        ... def write(text: str) -> None: ...
        >>> @given(schedule=schedules("schedules.*"))
        ... def test_write(schedule: Schedule) -> None:
        ...     with fail.scope(schedule):
        ...         try:
        ...             write("milk")
        ...         except OSError as error:
        ...             assert error.strerror == "No space left on device"
        >>> test_write()
    """
    return _drawn(Candidates(points), _bound("max_faults", max_faults), _bound("max_hit", max_hit))


def _bound(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an integer, not {shown(value)}: give at least 1")
    if value < 1:
        raise ValueError(f"{what} must be at least 1, not {value}: a schedule may still be empty")
    return value


@st.composite
def _fault(draw: DrawFn, faults: dict[str, tuple[Terms, ...]], max_hit: int) -> tuple[str, int, Terms]:
    name = draw(st.sampled_from(list(faults)))
    return name, draw(st.integers(1, max_hit)), draw(st.sampled_from(faults[name]))


def _place(fault: tuple[str, int, Terms]) -> tuple[str, int]:
    return fault[:2]


def _draw(draw: DrawFn, points: Candidates, max_faults: int, max_hit: int) -> Schedule:
    faults = points.resolve()
    most = min(max_faults, max_hit * len(faults))
    hits: dict[str, dict[int, Terms]] = {name: {} for name in faults}
    # Each fault means the same whatever the others are, so that any of them can be left out alone.
    for name, nth, fault in draw(st.lists(_fault(faults, max_hit), max_size=most, unique_by=_place)):
        hits[name][nth] = fault
    schedule = Schedule({name: schedule_terms(chosen) for name, chosen in hits.items() if chosen})
    if schedule:
        note(_reproduction(schedule))
    return schedule


_draw.__name__ = "schedules"  # what the strategy calls itself, in messages of Hypothesis
_drawn = st.composite(_draw)


def _reproduction(schedule: Schedule) -> str:
    if schedule.text is None:
        return f"no FAILPY_FAILPOINTS says what text cannot: {schedule}"
    return f"FAILPY_FAILPOINTS={shlex.quote(schedule.text)}"


class FaultyMachine(RuleBasedStateMachine):
    """A state machine of Hypothesis whose steps run in a scope with a drawn schedule.

    The schedule is drawn, and its points armed, before the first rule, and before every other
    `@initialize`. The scope is open until `teardown`, which raises what it has to say. What `__init__` does
    is spared, and so is what a `teardown` does after `super().teardown()`.

    Attributes:
        failpoints: What draws the schedule, for a subclass to give: `schedules(...)`.
        schedule: What was drawn.
        scope: The open scope.

    Raises:
        TypeError: when a subclass has no `failpoints`, or they are no strategy.

    Examples:
        >>> from hypothesis.stateful import rule
        >>> from failpy import failpoint
        >>> @failpoint("machine.save", faults=("raise(EIO)",))
        ... def save(items: list[str]) -> None: ...
        >>> class Cart(FaultyMachine):
        ...     failpoints = schedules("machine.*", max_faults=1)
        ...
        ...     def __init__(self) -> None:
        ...         super().__init__()
        ...         self.items: list[str] = []
        ...
        ...     @rule()
        ...     def add(self) -> None:
        ...         try:
        ...             save([*self.items, "lamp"])
        ...         except OSError:
        ...             return
        ...         self.items.append("lamp")
        >>> TestCart = Cart.TestCase
    """

    failpoints: ClassVar[SearchStrategy[Schedule]]
    schedule: Schedule
    scope: Scope

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A teardown that does not call the one above it shall leave nothing armed either.
        if not hasattr(cls.teardown, "_closes"):
            cls.teardown = _closing(cls.teardown)  # type: ignore[assignment, method-assign]

    def __init__(self) -> None:
        kind = type(self).__name__
        drawn_from = getattr(self, "failpoints", None)
        if drawn_from is None:
            raise TypeError(f"{kind} has no failpoints: write `failpoints = schedules(...)` in its body")
        if not isinstance(drawn_from, SearchStrategy):
            raise TypeError(
                f"the failpoints of {kind} must be a strategy, not {shown(drawn_from)}: "
                "write `failpoints = schedules(...)`"
            )
        super().__init__()
        self._outside = sys.exception()
        self._open: Scope | None = None
        # Hypothesis runs initializers in any order; given only one, it has no choice.
        every: list[Any] = self._initialize_rules_to_run
        own = [each for each in every if each.function.__name__ == "arm_failpoints"]
        self._later = [each for each in every if each not in own]
        self._initialize_rules_to_run = own

    @initialize(schedule=st.runner().flatmap(lambda machine: machine.failpoints))
    def arm_failpoints(self, schedule: Schedule) -> None:
        """Open the scope. Hypothesis calls it, as the first step."""
        self._initialize_rules_to_run.extend(self._later)
        self.schedule = Schedule(schedule)
        # Whatever else a rule arms draws the same in each replay.
        self.scope = self._open = scope(self.schedule, seed=0)
        self.scope.__enter__()

    def teardown(self) -> None:
        """Close the scope, and raise what it has to say besides what a step has raised.

        Raises:
            FailpointError: what a strict scope has to say, if that is all.
            BaseExceptionGroup: of what failed in threads and tasks, and of what a step raised.
        """
        super().teardown()
        self._close()

    teardown._closes = True  # type: ignore[attr-defined]

    def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is None or opened.closed:
            return
        raised = sys.exception()
        if raised is self._outside:
            raised = None
        if isinstance(raised, StopTest | UnsatisfiedAssumption):
            # Hypothesis steers with these, and discards the example with whatever has failed in it.
            with suppress(BaseException):
                opened.__exit__(None, None, None)
        else:
            failed: BaseExceptionGroup[BaseException] | None = None
            try:
                opened.__exit__(None if raised is None else type(raised), raised, None)
            except BaseExceptionGroup as group:
                failed = _folded(group)
            if failed is not None:
                # Not in the `except` above: its context would be a part of what it is told apart by.
                failed.__context__ = raised
                raise failed


def _folded(group: BaseExceptionGroup[BaseException]) -> BaseExceptionGroup[BaseException]:
    """The group with each failure once: Hypothesis takes groups of other sizes for other bugs."""
    different = {
        (type(each), str(each), *getattr(each, "__notes__", ())): each for each in reversed(group.exceptions)
    }
    kept = list(reversed(different.values()))
    less = "" if len(kept) == len(group.exceptions) else f", {len(kept)} of them different"
    folded = BaseExceptionGroup(f"{group.message}{less}", kept)
    for note in getattr(group, "__notes__", ()):
        folded.add_note(note)
    return folded


def _closing(teardown: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(teardown)
    def closing(self: FaultyMachine) -> None:
        try:
            teardown(self)
        finally:
            self._close()

    closing._closes = True  # type: ignore[attr-defined]
    return closing
