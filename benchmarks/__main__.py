"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Sequence

from benchmarks.peers import PEERS, side_by_side
from benchmarks.row import Row
from benchmarks.rows import ROWS
from benchmarks.table import LEGEND, Table, figures
from benchmarks.timing import Effort


def main(
    arguments: Sequence[str] | None = None, *, bars: Sequence[Row] = ROWS, peers: Sequence[Row] = PEERS
) -> int:
    """Measure, print, and return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what failpy costs. The exit status is 1 when a bar is missed.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument(
        "--row", metavar="PATTERN", default="", help="only the rows whose name matches this regex"
    )
    options = parser.parse_args(arguments)
    judged, beside = ([row for row in rows if re.search(options.row, row.name)] for rows in (bars, peers))
    if not judged and not beside:
        names = ", ".join(row.name for row in (*bars, *peers))
        parser.error(f"no row matches {options.row!r}; there are: {names}")
    if os.environ.get("FAILPY", "").strip().lower() == "off":
        parser.error("FAILPY=off compiles failpoints out, so there is nothing to measure")

    quick, usual = Effort(6, 10, 0.000_5), Effort(12, 25, 0.001)
    effort = quick if options.quick else usual
    machine = f"{platform.system()} {platform.machine()}"
    print(f"{platform.python_implementation()} {platform.python_version()}, {machine}\n\n{LEGEND}")
    results = []
    if judged:
        print()
        table = Table(markdown=options.markdown)
        for row in judged:
            results.append(row.measure(effort))
            table.add(results[-1])
        print(figures(results))
    if beside:
        side_by_side(beside, effort, markdown=options.markdown)
    missed = sum(not result.passed for result in results)
    if judged:
        print(f"\n{missed or 'no'} of {len(results)} rows missed the bar")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
