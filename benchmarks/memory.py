"""A process that says what a case that has passed keeps in memory, in bytes.

    python -m benchmarks.memory CASES|copy

It explores so many cases, and prints what is allocated more than before, for each case. With `copy`, what
the cases of a report take that was pickled and loaded again: they alone, and nothing that hangs on them.
"""

from __future__ import annotations

import gc
import pickle
import sys
import tracemalloc

from benchmarks.bodies import HITS, body
from failpy import fail

MANY = 10_000


def main(what: str) -> None:
    """Explore, and print."""
    cases = MANY if what == "copy" else int(what)
    faults = [f"raise(OSError({number}))" for number in range(cases // HITS)]
    fail.explore(body, points="bodies.step", limit=10)  # what is loaded and made once
    whole = b""
    if what == "copy":
        whole = pickle.dumps(fail.explore(body, points="bodies.step", faults=faults).cases)
    gc.collect()
    tracemalloc.start()
    report = (
        pickle.loads(whole) if what == "copy" else fail.explore(body, points="bodies.step", faults=faults)
    )
    gc.collect()
    print(tracemalloc.get_traced_memory()[0] / cases)
    assert what == "copy" or report.counts == {"passed": cases}


if __name__ == "__main__":
    main(sys.argv[1])
