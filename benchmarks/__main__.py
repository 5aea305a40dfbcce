"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.columns import LEGEND as GROWTH_LEGEND
from benchmarks.columns import Columns
from benchmarks.growth import DIMENSIONS, MEMORY
from benchmarks.peers import PEERS, side_by_side
from benchmarks.plot import draw, hindrance
from benchmarks.row import NotHere, Result, Row
from benchmarks.rows import ROWS
from benchmarks.sizes import Dimension, Growth, measured
from benchmarks.table import LEGEND, Table, figures
from benchmarks.timing import Effort


def main(
    arguments: Sequence[str] | None = None,
    *,
    bars: Sequence[Row] = ROWS,
    peers: Sequence[Row] = PEERS,
    growth: Sequence[Dimension] = (*DIMENSIONS, *MEMORY),
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
    parser.add_argument(
        "--plot", metavar="DIR", type=Path, help="draw how costs grow, from what this run measures, into DIR"
    )
    options = parser.parse_args(arguments)
    judged, beside = ([row for row in rows if re.search(options.row, row.name)] for rows in (bars, peers))
    dimensions = _chosen(growth, options.row)
    if not judged and not beside and not dimensions:
        names = [row.name for row in (*bars, *peers)]
        names += [each.title(cost) for each in growth for cost in each.costs]
        parser.error(f"no row matches {options.row!r}; there are: {', '.join(names)}")
    if options.plot is not None and (why := hindrance(dimensions)) is not None:
        parser.error(f"--plot {why}")
    if os.environ.get("FAILPY", "").strip().lower() == "off":
        parser.error("FAILPY=off compiles failpoints out, so there is nothing to measure")

    quick, usual = Effort(6, 10, 0.000_5), Effort(12, 25, 0.001)
    effort = quick if options.quick else usual
    machine = f"{platform.system()} {platform.machine()}"
    print(f"{platform.python_implementation()} {platform.python_version()}, {machine}\n")
    verdicts = [result.passed for result in _judge(judged, effort, markdown=options.markdown)]
    if beside:
        side_by_side(beside, effort, markdown=options.markdown)
    if options.quick:
        dimensions = [dimension.quick() for dimension in dimensions]
    growths = _grow(dimensions, effort, markdown=options.markdown)
    verdicts += [growth.passed for growth in growths]
    if options.plot is not None:
        print("\n".join(str(file) for file in draw(growths, options.plot)), end="\n\n")
    missed = verdicts.count(False)
    if verdicts:
        print(f"\n{missed or 'no'} of {len(verdicts)} rows missed the bar")
    return 1 if missed else 0


def _judge(rows: Sequence[Row], effort: Effort, *, markdown: bool) -> list[Result]:
    """Measure and print what has a bar."""
    if not rows:
        return []
    print(f"{LEGEND}\n")
    table = Table(markdown=markdown)
    results = []
    for row in rows:
        try:
            results.append(row.measure(effort))
        except NotHere as missing:
            table.excuse(row, f"not here: {missing}")
        else:
            table.add(results[-1])
    print(figures(results))
    return results


def _chosen(dimensions: Sequence[Dimension], pattern: str) -> list[Dimension]:
    """What is measured of each dimension."""
    found = []
    for each in dimensions:
        costs = [cost for cost in each.costs if re.search(pattern, each.title(cost))]
        found += [replace(each, costs=costs)] if costs else []
    return found


def _grow(dimensions: Sequence[Dimension], effort: Effort, *, markdown: bool) -> list[Growth]:
    """Measure and print how costs grow."""
    growths = []
    for dimension in dimensions:
        columns = Columns(dimension, markdown=markdown)
        for growth in measured(dimension, effort):
            columns.add(growth)
            growths.append(growth)
        print()
    if growths:
        print(f"{GROWTH_LEGEND}\n")
    return growths


if __name__ == "__main__":
    sys.exit(main())
