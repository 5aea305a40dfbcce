"""A process in which many threads hit one point at once.

    python -m benchmarks.threads THREADS

Every line of input is answered with a line: how many hits there were in a second, in all threads together, or
how many of them were not counted.
"""

from __future__ import annotations

import sys
from threading import Barrier, Thread
from time import perf_counter

from failpy import fail, failpoint

__all__ = ["LOST", "RATE", "burst"]

RATE = "hits on one point"
LOST = "hits that were not counted"
_HITS = 64_000


@failpoint("threads.call", returns=str)
def call() -> str:
    """What every thread calls."""
    return "default"


def burst(threads: int, hits: int = _HITS) -> tuple[float, int]:
    """How many hits there were in a second, and how many were lost."""
    each = hits // threads
    ready, done = Barrier(threads + 1), Barrier(threads + 1)
    wrong = [0]

    def run() -> None:
        ready.wait()
        bad = 0
        for _ in range(each):
            bad += call() != "hello"
        wrong[0] += bad
        done.wait()

    with fail.scope({"threads.call": 'return("hello")'}) as scope:
        workers = [Thread(target=run) for _ in range(threads)]
        for worker in workers:
            worker.start()
        ready.wait()
        began = perf_counter()
        done.wait()
        seconds = perf_counter() - began
        for worker in workers:
            worker.join()
        said, trace = scope.status("threads.call"), scope.trace
    made = each * threads
    lost = max(abs(made - count) for count in (said.hits, said.fired, len(trace) + trace.dropped))
    return made / seconds, lost + wrong[0]


def main(threads: int) -> None:
    """Answer until there is no more input."""
    for line in sys.stdin:
        rate, lost = burst(threads)
        print(lost if line.strip() == LOST else rate, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
