"""The tree of crashes: at which hits a program is killed, in which order, and what that came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import NamedTuple

from failpy._agenda import Agenda, Bounds
from failpy._case import Case
from failpy._crash_process import Step
from failpy._divergence import divergence
from failpy._errors import FailpointError
from failpy._exploration_report import Report
from failpy._faults import at_hit
from failpy._outcome import Rules
from failpy._schedule import Schedule
from failpy._tear import MOST, Tear, Tears
from failpy._terms import Kill, Terms
from failpy._undo_log import LOGGED

__all__ = ["CrashTree", "Plan"]


class _Crash(NamedTuple):
    """One crash of a case.

    Attributes:
        point: Where; `""` for a power cut after the process has ended.
        nth: At which hit of it, in its process.
        names: The hits of the process, which many crashes share.
        until: How many of those it is to make, with that one.
        tear: What a power cut takes then; None where only the process dies.
    """

    point: str
    nth: int
    names: tuple[str, ...]
    until: int
    tear: Tear | None = None

    @property
    def hits(self) -> tuple[str, ...]:
        """The hits that the process is to make."""
        return self.names[: self.until]

    @property
    def schedule(self) -> Schedule:
        """What its process has armed."""
        return Schedule({self.point: at_hit(self.nth, Terms((Kill(),)))} if self.point else {})

    @property
    def verdict(self) -> str:
        """How its process is to end."""
        return "killed" if self.point else "passed"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A case that is to be run.

    Attributes:
        crashes: How the first processes die, one after the other: that of `run`, then those of `check`.
    """

    crashes: tuple[_Crash, ...] = ()

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """What each of these processes has armed."""
        return tuple(each.schedule for each in self.crashes)

    @property
    def torn(self) -> tuple[str, ...]:
        """What power cuts take, in words."""
        return tuple(said for each in self.crashes if each.tear is not None for said in each.tear.said)


class CrashTree:
    """The tree of cases. It runs nothing itself.

    Args:
        rules: How each case is done.
        bounds: How far to go.
        notes: What there is to know from the start, as sentences.
        tears: Whether power cuts are tried too.
    """

    def __init__(
        self, rules: Rules, bounds: Bounds, notes: Iterable[str] = (), *, tears: bool = False
    ) -> None:
        self._rules = rules
        self._bounds = bounds
        self._agenda: Agenda[Plan] = Agenda(bounds)
        self._recording: Case | None = None
        self._points: Counter[str] = Counter()
        self._problem: FailpointError | None = None
        self._cases: list[Case] = []
        self._notes = list(notes)
        self._tears = tears
        self._untried = 0

    @property
    def done(self) -> int:
        """How many cases have been run."""
        return len(self._cases)

    @property
    def due(self) -> int:
        """How many cases are known."""
        return self._agenda.due

    @property
    def failed(self) -> int:
        """How many of them have failed."""
        return sum(case.failed for case in self._cases)

    def begin(self, steps: list[Step]) -> None:
        """Take the case in which nothing is killed, and plan the first crashes."""
        run = steps[0]
        self._recording = case = _case(Plan(), steps)
        self._points.update(run.outcome.names)
        self._notes += [
            f"failpoint {name!r} was left alone: it is armed around the exploration"
            for name in run.outcome.outside
        ]
        masked = sorted(LOGGED.intersection(run.outcome.outside)) if self._tears else []
        if masked:
            self._problem = FailpointError(
                f"tear=True has to see all that is done to files, and {masked[0]!r} is armed around the "
                "exploration: explore outside of the scope that arms it"
            )
        elif case.outcome == "passed":
            self._notes += self._rules.suspects.unseen()
            if self._tears and any(name.startswith("posix/sqlite/") for name in run.outcome.names):
                self._notes.append("tear=True sees nothing of what SQLite writes, since it does that in C")
            self._problem = run.problem
            if self._tears and run.files is None and self._problem is None:
                self._problem = FailpointError(
                    "tear=True, and run has changed no file that the points of the operating system see: put "
                    "`with fail.attach_posix('io'):` around the exploration"
                )
            self._branch(Plan(), run)

    def _branch(self, plan: Plan, step: Step) -> None:
        """Plan a crash at each hit of this process, which follows those of the plan, and at its end."""
        names = step.outcome.names
        before: Counter[str] = Counter()
        for index, name in enumerate(names):
            before[name] += 1
            self._agenda.add(Plan((*plan.crashes, _Crash(name, before[name], names, index + 1))))
        # An end without a power cut is no crash.
        self._tear(plan.crashes, _Crash("", 0, names, len(names)), step.tears)

    def _tear(self, before: tuple[_Crash, ...], crash: _Crash, tears: Tears) -> None:
        """Plan this crash with all that a power cut may take."""
        self._untried += tears.untried
        self._notes += [said for said in tears.spared if said not in self._notes]
        for tear in tears.each:
            self._agenda.add(Plan((*before, crash._replace(tear=tear))))

    def next(self) -> Plan | None:
        """The next case, or None when there is none, or no room for one."""
        return self._agenda.next()

    def stop(self, why: str, problem: FailpointError | None = None) -> None:
        """Begin no more cases."""
        self._agenda.stop(why)
        self._problem = self._problem or problem

    def take(self, plan: Plan, steps: list[Step], again: list[Step] | None = None) -> Case:
        """What a case came to; what follows from it is planned.

        Args:
            plan: The case.
            steps: Its processes, as far as they were run.
            again: The same of a second run, if there was one.
        """
        case = _case(plan, steps)
        if again is not None:
            case = replace(case, again=_case(plan, again).outcome)
        self._cases.append(case)
        if case.outcome == "passed":
            *before, last = plan.crashes
            if last.tear is None:
                self._tear(tuple(before), last, steps[len(before)].tears)
            if len(plan.crashes) < self._bounds.depth:
                self._branch(plan, steps[-1])
        return case

    def check(self, steps: list[Step]) -> None:
        """Take one more case in which nothing is killed, after others have failed or differed."""
        case = _case(Plan(), steps)
        if case.failed:
            self._notes.append(
                "after the cases, the body fails with nothing killed: it fails by itself now and then, or "
                f"cases share a state that setup= should make anew for each ({case.why})"
            )

    def report(self) -> Report:
        """What there is to tell so far."""
        notes = [*self._notes]
        if self._untried:
            notes.append(
                f"{self._untried} more ways to tear a file were not tried: of each file, at each crash, no "
                f"more than {MOST} are"
            )
        return Report(
            cases=tuple(self._cases),
            recording=self._recording,
            points=dict(self._points),
            stopped=self._agenda.said(self.done),
            problem=self._problem,
            notes=tuple(notes),
            seed=self._bounds.seed,
            seconds=self._agenda.seconds,
        )


def _case(plan: Plan, steps: list[Step]) -> Case:
    last = steps[-1].outcome
    first, *then = plan.schedules or (Schedule(),)
    is_missed = last.verdict == "passed" and len(steps) <= len(plan.crashes)
    endings = [_told(step, crash) for step, crash in zip_longest(steps, plan.crashes[: len(steps)])]
    return Case(
        schedule=first,
        then=tuple(then),
        torn=plan.torn,
        outcome="missed" if is_missed else last.verdict,
        error=last.error,
        said=last.said,
        where=last.where,
        traceback=last.traceback,
        endings=tuple(chain.from_iterable(endings)),
        divergence=_divergence(plan, steps),
        leaks=tuple(f"{step.name}: {leak}" for step in steps for leak in step.outcome.leaks),
        hits=sum(len(step.outcome.names) for step in steps),
        seconds=sum(step.outcome.seconds for step in steps),
    )


def _told(step: Step, crash: _Crash | None) -> list[str]:
    if crash is None or step.outcome.verdict != crash.verdict:
        return [f"{step.name}: {step.outcome.verdict}"]
    told = f"killed at {crash.point} #{crash.nth}" if crash.point else "passed"
    said = () if crash.tear is None else crash.tear.said
    return [f"{step.name}: {told}", *(f"power cut: {each}" for each in said)]


def _divergence(plan: Plan, steps: list[Step]) -> str | None:
    for crash, step in zip(plan.crashes, steps, strict=False):
        if step.name == "setup":
            return None
        missing = f"hit {crash.nth} of {crash.point!r}, at which kill was due"
        got = step.outcome.names[: crash.until]
        said = divergence(crash.hits, got, None if step.outcome.verdict == crash.verdict else missing)
        if said is not None:
            return said if crash is plan.crashes[0] else f"in check, {said}"
    return str(steps[-1].outcome.error) if steps[-1].name == "power cut" else None
