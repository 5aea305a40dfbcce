"""An exploration: which cases there are, which come next, and what they came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from failpy._agenda import Agenda, Bounds
from failpy._case import Case
from failpy._divergence import divergence
from failpy._exploration_report import Report
from failpy._failures import chain_of
from failpy._faults import persisting, schedule_terms, span
from failpy._outcome import Injection, Outcome, Rules
from failpy._schedule import Schedule
from failpy._terms import Terms

__all__ = ["Exploration", "Plan"]

_TOLD = 20
_TRACEBACKS = 1000

_Key = tuple[str, int, int, bool]


class _At(NamedTuple):
    """One fault of a case.

    Attributes:
        point: Where.
        nth: At which hit of it.
        which: Which of the faults of the point it is.
        stays: Whether it comes at all later hits as well.
        fault: It.
    """

    point: str
    nth: int
    which: int
    stays: bool
    fault: Terms

    @property
    def key(self) -> _Key:
        """What says it all without the terms, which are slow to compare."""
        return self[:4]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A case that is to be run.

    Attributes:
        faults: What it injects, in the order of the hits.
        base: The hits of the run that it goes on from.
        index: Which of those the last fault is for.
        schedule: What it injects, as terms.
    """

    faults: tuple[_At, ...]
    base: tuple[str, ...]
    index: int

    @property
    def key(self) -> frozenset[_Key]:
        """What makes two plans the same."""
        return frozenset(each.key for each in self.faults)

    @property
    def schedule(self) -> Schedule:
        """What it injects, as terms."""
        terms: dict[str, Terms] = {}
        for name in dict.fromkeys(each.point for each in self.faults):
            own = [each for each in self.faults if each.point == name]
            chain = schedule_terms({each.nth: each.fault for each in own})
            terms[name] = persisting(chain) if own[-1].stays else chain
        return Schedule(terms)

    def smaller(self) -> Iterator[frozenset[_Key]]:
        """The keys of the cases with one fault less, or with one that does not stay."""
        for each in self.faults:
            others = self.key - {each.key}
            if others:
                yield others
            if each.stays:
                yield others | {each._replace(stays=False).key}


class Exploration:
    """The tree of cases of one body. It runs nothing itself, so that any loop may.

    Args:
        rules: How each run is done and judged.
        bounds: How far to go.
    """

    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self._rules = rules
        self._bounds = bounds
        self._agenda: Agenda[Plan] = Agenda(bounds)
        self._faults: dict[str, tuple[Terms, ...]] = {}
        self._recording: Outcome | None = None
        self._seen: set[frozenset[_Key]] = set()
        self._cases: dict[int, Case] = {}
        self._failed: dict[frozenset[_Key], Case] = {}
        self._begun: dict[Plan, int] = {}
        self._notes: list[str] = []
        self._raised = 0

    @property
    def stopped(self) -> str | None:
        """Why not everything was run, or None."""
        return self._agenda.stopped

    @property
    def due(self) -> int:
        """How many cases are known."""
        return self._agenda.due

    @property
    def done(self) -> int:
        """How many cases have been run."""
        return len(self._cases)

    @property
    def failed(self) -> int:
        """How many of them have failed."""
        return len(self._failed)

    def begin(self, recording: Outcome) -> None:
        """Take the run without a fault, and find the first cases."""
        self._recording = recording
        if not recording.failed:
            self._notes += self._rules.suspects.unseen()
            self._learn(recording)
            self._branch((), recording, 0, frozenset())

    def _learn(self, outcome: Outcome) -> None:
        for name, faults in outcome.faults.items():
            if name not in self._faults and not faults:
                self._notes.append(
                    f"failpoint {name!r} was left out: each of its faults would end or halt the process"
                )
            if name not in self._faults:
                self._faults[name] = tuple(dict.fromkeys(each for each in faults if span(each)))
        for name in outcome.outside:
            note = f"failpoint {name!r} was left alone: it is armed around the exploration"
            if note not in self._notes:
                self._notes.append(note)

    def _branch(self, faults: tuple[_At, ...], outcome: Outcome, start: int, taken: Iterable[int]) -> None:
        """Plan a case for each fault at each later hit of this run."""
        staying = {each.point for each in faults if each.stays}
        before: Counter[str] = Counter()
        for index, name in enumerate(outcome.names):
            before[name] += 1
            if index < start or index in taken or name in staying:
                continue
            for which, fault in enumerate(self._faults.get(name, ())):
                at = _At(name, before[name], which, False, fault)
                self._plan(Plan((*faults, at), outcome.names, index))

    def _plan(self, plan: Plan) -> None:
        if plan.key not in self._seen:
            self._seen.add(plan.key)
            self._agenda.add(plan)

    def next(self) -> Plan | None:
        """The next case, or None when there is none, or no room for one."""
        plan = self._agenda.next()
        if plan is not None:
            self._begun[plan] = self._agenda.begun
        return plan

    def stop(self, why: str) -> None:
        """Begin no more cases."""
        self._agenda.stop(why)

    def take(self, plan: Plan, outcome: Outcome) -> Case:
        """What a case came to; what follows from it is planned."""
        self._learn(outcome)
        self._raised += outcome.error is not None
        if self._raised > _TRACEBACKS:
            for error in chain_of(outcome.error):
                error.__traceback__ = None
        places, counts = outcome.taken[::2], outcome.taken[1::2]
        done = {(outcome.names[i], nth): i for i, nth in zip(places, counts, strict=True)}
        missing = [each for each in plan.faults if (each.point, each.nth) not in done]
        case = Case(
            schedule=plan.schedule,
            outcome="missed" if missing and outcome.verdict == "passed" else outcome.verdict,
            error=outcome.error,
            said=outcome.said,
            is_fault=outcome.is_fault,
            where=outcome.where,
            traceback=outcome.traceback,
            endings=_endings(outcome),
            divergence=divergence(
                plan.base[: plan.index + 1], outcome.names[: plan.index + 1], _due(missing)
            ),
            leaks=outcome.leaks,
            again=outcome.again,
            hits=len(outcome.names),
            seconds=outcome.seconds,
        )
        if case.failed:
            smaller = [self._failed[key] for key in plan.smaller() if key in self._failed]
            alike = next((each for each in smaller if each.alike == case.alike), None)
            if alike is not None:
                case = replace(case, simpler=alike.simpler or alike.terms)
            self._failed[plan.key] = case
        self._cases[self._begun.pop(plan)] = case
        if not missing and outcome.verdict in ("passed", "escaped", "failed"):
            last = plan.faults[-1]
            self._go_on(plan, outcome, done[last.point, last.nth], set(places))
        return case

    def _go_on(self, plan: Plan, outcome: Outcome, last: int, taken: set[int]) -> None:
        later = range(last + 1, len(outcome.names))
        is_hit_again = any(outcome.names[i] == outcome.names[last] and i not in taken for i in later)
        # Without another hit, a fault that stays is the same as one that comes once.
        if self._bounds.persistent and is_hit_again and not plan.faults[-1].stays:
            staying = plan.faults[-1]._replace(stays=True)
            self._plan(Plan((*plan.faults[:-1], staying), plan.base, plan.index))
        if len(plan.faults) < self._bounds.depth and _goes_on(outcome):
            self._branch(plan.faults, outcome, last + 1, taken)

    def lose(self, plan: Plan, why: BaseException) -> None:
        """The process that ran a case has ended."""
        self.take(plan, Outcome("crashed", error=why))

    def check(self, outcome: Outcome) -> None:
        """Take one more run without a fault, after cases have failed."""
        if outcome.failed:
            self._notes.append(
                "after the cases, the body fails with nothing armed: it fails by itself now and then, or a "
                f"case has left something behind, so failures may not come from their faults "
                f"({type(outcome.error).__qualname__} at {outcome.where or 'no known line'})"
            )

    def report(self) -> Report:
        """What there is to tell so far."""
        recording = self._recording
        hits = Counter(() if recording is None else recording.names)
        problem = None
        if recording is not None and not recording.failed:
            problem = self._rules.suspects.problem(hits)
        return Report(
            cases=tuple(self._cases[number] for number in sorted(self._cases)),
            recording=None if recording is None else _recorded(recording),
            points=dict(hits),
            stopped=self._agenda.said(len(self._cases)),
            problem=problem,
            notes=tuple(self._notes),
            seed=self._bounds.seed,
            seconds=self._agenda.seconds,
        )


def _goes_on(outcome: Outcome) -> bool:
    """Whether what came after the fault is worth a look: not after a verdict of the body's own."""
    if not outcome.failed:
        return True
    return (
        outcome.verdict == "failed" and outcome.from_fault and not isinstance(outcome.error, AssertionError)
    )


def _endings(outcome: Outcome) -> tuple[str, ...]:
    more = len(outcome.taken) // 2 - _TOLD
    return (*map(_told, outcome.injections[:_TOLD]), *((f"and {more:,} more",) if more > 0 else ()))


def _told(injection: Injection) -> str:
    ending = f": {injection.ending}" if injection.ending else ""
    return f"{injection.point} #{injection.nth} {injection.term}{ending}"


def _due(missing: list[_At]) -> str | None:
    return (
        f"hit {missing[0].nth} of {missing[0].point!r}, at which {missing[0].fault} was due"
        if missing
        else None
    )


def _recorded(outcome: Outcome) -> Case:
    return Case(
        schedule=Schedule(),
        outcome=outcome.verdict,
        error=outcome.error,
        said=outcome.said,
        where=outcome.where,
        traceback=outcome.traceback,
        leaks=outcome.leaks,
        hits=len(outcome.names),
        seconds=outcome.seconds,
    )
