"""A process with many declared points, one of which a statement is timed on.

    python -m benchmarks.crowd COUNT STATEMENT SECONDS

Every line of input is answered with a line of output: the nanoseconds of one execution.
"""

from __future__ import annotations

import sys

from benchmarks.shapes import FUNCTION
from benchmarks.timing import Loop
from failpy import fail, failpoint


def main(count: int, statement: str, seconds: float) -> None:
    """Declare the points, then run a round of the statement for every line of input."""
    names = [f"crowd.{number}" for number in range(count)]
    functions = [FUNCTION.build(failpoint(name)) for name in names]
    loop = Loop(statement, {"fail": fail, "name": names[count // 2]}, seconds)
    for _ in sys.stdin:
        print(loop(), flush=True)
    del functions  # a point forgets a function that is gone, so they had to live until here


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
