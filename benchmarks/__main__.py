"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys

from benchmarks.rows import ROWS
from benchmarks.table import LEGEND, Table, figures
from benchmarks.timing import Effort


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what failpy costs. The exit status is 1 when a bar is missed.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument(
        "--row", metavar="PATTERN", default="", help="only the rows whose name matches this regex"
    )
    options = parser.parse_args()
    rows = [row for row in ROWS if re.search(options.row, row.name)]
    if not rows:
        parser.error(f"no row matches {options.row!r}; there are: {', '.join(r.name for r in ROWS)}")
    if os.environ.get("FAILPY", "").strip().lower() == "off":
        parser.error("FAILPY=off compiles failpoints out, so there is nothing to measure")

    quick, usual = Effort(6, 10, 0.000_5), Effort(12, 25, 0.001)
    machine = f"{platform.system()} {platform.machine()}"
    print(f"{platform.python_implementation()} {platform.python_version()}, {machine}\n")
    table = Table(markdown=options.markdown)
    results = []
    for row in rows:
        results.append(row.measure(quick if options.quick else usual))
        table.add(results[-1])
    missed = sum(not result.passed for result in results)
    print(f"\n{LEGEND}\n{figures(results)}\n\n{missed or 'no'} of {len(results)} rows missed the bar")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
