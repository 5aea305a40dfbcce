"""Workers: the cases of an exploration side by side, on an executor."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait

from failpy._bodyrun import Body, run_remotely
from failpy._errors import FailpointError
from failpy._exploration import Exploration, Plan
from failpy._literals import shown
from failpy._outcome import Outcome, Rules
from failpy._schedule import Schedule

__all__ = ["side_by_side"]

_GRACE = 10.0  # seconds that a worker may be late


def side_by_side(
    exploration: Exploration,
    body: Body,
    rules: Rules,
    executor: Executor,
    tell: Callable[[Exploration], None],
) -> None:
    """Run the cases of an exploration on an executor.

    Args:
        exploration: What there is to run.
        body: The body.
        rules: How to run it.
        executor: Any of `concurrent.futures`, or that of Dask.
        tell: Called whenever a case has ended.

    Raises:
        TypeError: when the body or a fault cannot be sent to another process.
        FailpointError: when the executor does not take the body, such as one that was shut down.
    """
    flying: dict[Future[Outcome], Plan] = {}
    room = 2 * (getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
    # A case is done twice if it fails, and may wait for another before it.
    patience = None if rules.timeout is None else 4 * rules.timeout + _GRACE
    first = _submitted(executor, body, Schedule(), rules)
    try:
        exploration.begin(_recorded(first, patience))
        while True:
            while len(flying) < room and (plan := exploration.next()) is not None:
                try:
                    flying[_submitted(executor, body, plan.schedule, rules)] = plan
                except FailpointError as exc:
                    exploration.stop("the executor takes no more cases")
                    exploration.lose(plan, exc)
            if not flying:
                return
            done, _ = wait(flying, timeout=patience, return_when=FIRST_COMPLETED)
            if not done:
                exploration.stop(f"no worker of the executor has answered for {patience:g} s")
                for plan in flying.values():
                    exploration.lose(plan, TimeoutError("its worker does not answer"))
                return
            for future in done:
                _land(exploration, flying.pop(future), future)
                tell(exploration)
    finally:
        for future in (first, *flying):
            future.cancel()


def _recorded(future: Future[Outcome], patience: float | None) -> Outcome:
    try:
        return future.result(patience)
    except Exception as exc:
        # A body that raises has an outcome, so this is of the executor.
        if isinstance(exc, TimeoutError) and not future.done():
            exc = TimeoutError(f"no worker of the executor has answered for {patience:g} s")
        return Outcome("crashed", error=exc)


def _land(exploration: Exploration, plan: Plan, future: Future[Outcome]) -> None:
    try:
        outcome = future.result()
    except BrokenExecutor as exc:
        # All that were on their way fail alike, and nothing tells which of them did it.
        exploration.stop("a worker of the executor has died")
        exploration.lose(plan, exc)
    except Exception as exc:  # a cluster goes on without the worker that died
        exploration.lose(plan, exc)
    else:
        exploration.take(plan, outcome)


def _submitted(executor: Executor, body: Body, schedule: Schedule, rules: Rules) -> Future[Outcome]:
    # Others have ways of their own to send what pickle cannot, such as cloudpickle.
    if isinstance(executor, ProcessPoolExecutor):
        try:
            pickle.dumps((body, schedule, rules))
        except Exception as exc:
            raise TypeError(
                f"{shown(body)} or its faults cannot be sent to another process: {exc}; define the body at "
                "the top level of a module, and give faults as text, or use a ThreadPoolExecutor"
            ) from None
    try:
        return executor.submit(run_remotely, body, schedule, rules)
    except Exception as exc:
        raise FailpointError(
            f"{shown(executor)} does not take {shown(body)}: {type(exc).__name__}: {exc}; give an executor "
            "that is open, and a body that it can send"
        ) from exc
