"""The stage of crash cases: each is played there process by process, on a state of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from failpy._crash_child import Errand
from failpy._crash_process import Step, step
from failpy._crash_state import Reused, States
from failpy._crash_tree import Plan
from failpy._errors import Failure
from failpy._outcome import Outcome, Rules, place_of, text_of
from failpy._posix_caller import attached
from failpy._schedule import Schedule
from failpy._tear import find_tears, tear_files
from failpy._undo_log import File

__all__ = ["Stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where cases are run.

    Attributes:
        run_takes: Whether `run` is called with the state.
        check_takes: The same of `check`.
        run: What is killed.
        check: What has to pass afterwards.
        states: What each case begins with.
        rules: How each process is run and judged.
        method: How it begins.
        folder: Where it may write of itself.
        torn: After how many processes of a case the power may be cut.
    """

    run_takes: bool
    check_takes: bool
    run: Callable[..., object]
    check: Callable[..., object]
    states: States
    rules: Rules
    method: str
    folder: Path
    torn: int

    def play(self, plan: Plan) -> list[Step]:
        """The processes of a case, up to the first that does not end as it should.

        Raises:
            Reused: when its state is that of an earlier case.
        """
        steps: list[Step] = []
        with ExitStack() as stack:
            try:
                state, cwd = stack.enter_context(self.states.fresh())
            except Reused:
                raise
            except Exception as exc:
                return [_failed_setup(exc)]
            root = _folder_of(state) if cwd is None else cwd
            before: tuple[File, ...] = ()
            for index, crash in enumerate((*(plan.crashes or (None,)), None)):
                schedule = Schedule() if crash is None else crash.schedule
                done = self._step(
                    "check" if steps else "run", schedule, state, cwd, index < self.torn, before
                )
                steps.append(done)
                before = done.files or ()
                if done.outcome.verdict != ("killed" if schedule else "passed"):
                    break
                if crash is not None and crash.tear is not None:
                    why = tear_files(crash.tear, before, root)
                    before = ()  # what a power cut has left is on the disk
                    if why is not None:
                        steps.append(Step("power cut", Outcome("missed", error=Failure(why))))
                        break
                elif before:
                    steps[-1] = done._replace(tears=find_tears(before, root))
            try:
                stack.close()
            except Exception as exc:
                steps.append(_failed_setup(exc))
        return steps

    def _step(
        self,
        name: str,
        schedule: Schedule,
        state: object,
        cwd: Path | None,
        logs: bool,
        before: tuple[File, ...],
    ) -> Step:
        call, takes = (self.run, self.run_takes) if name == "run" else (self.check, self.check_takes)
        with TemporaryDirectory(dir=self.folder) as folder:
            arguments = (state,) if takes else ()
            points = tuple(sorted(attached)) if self.method == "spawn" else ()
            errand = Errand(name, call, arguments, schedule, self.rules, Path(folder), cwd, logs, points)
            return step(errand, self.method, before if logs else ())


def _folder_of(state: object) -> Path | None:
    """The folder that the state is, or is in; None where it is no path."""
    path = Path(state).absolute() if isinstance(state, str | PurePath) else None
    if path is None or not path.parent.is_dir():
        return None
    return path.parent if path.is_file() else path


def _failed_setup(error: Exception) -> Step:
    return Step("setup", Outcome("failed", error=error, where=place_of(error), traceback=text_of(error)))
