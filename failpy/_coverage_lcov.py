"""The coverage report as an lcov tracefile, for editors, `genhtml` and services that show coverage.

The format is that of the manual page geninfo(1). Each line where a point stands is a line of code,
executed as often as the point fired, and each fault of its catalogue is a branch, taken as often as it was
injected. So such a file is to be shown on its own: added to the coverage of lines, it would change that.
"""

from __future__ import annotations

from collections.abc import Iterator

from failpy._coverage import Coverage, Row
from failpy._literals import printable

__all__ = ["render"]


def render(coverage: Coverage) -> str:
    """The tracefile.

    Sites without a file, such as those of code that was typed in, are left out. A line with several
    points is as covered as the one that fired least, so that none hides behind another.

    Examples:
        >>> render(Coverage(()))
        ''
    """
    files: dict[str, dict[int, dict[str, Row]]] = {}
    for row in coverage.rows:
        for file, line, _ in row.sites:
            if not file.startswith("<"):
                files.setdefault(file, {}).setdefault(line, {})[row.name] = row
    return "".join(
        f"{line}\n"
        for file, rows in sorted(files.items())
        for line in _record(file, dict(sorted(rows.items())))
    )


def _record(file: str, rows: dict[int, dict[str, Row]]) -> Iterator[str]:
    yield "TN:failpoints"
    yield f"SF:{printable(file)}"
    faults = [
        (f"BRDA:{line},{block},{branch}", row, times)
        for line, points in rows.items()
        for block, row in enumerate(points.values())
        for branch, times in enumerate(row.faults.values())
    ]
    for branch, row, times in faults:
        yield f"{branch},{times if row.fired else '-'}"
    if faults:
        yield f"BRF:{len(faults)}"
        yield f"BRH:{sum(times > 0 for _, _, times in faults)}"
    counts = {line: min(row.fired for row in points.values()) for line, points in rows.items()}
    for line, count in counts.items():
        yield f"DA:{line},{count}"
    yield f"LF:{len(counts)}"
    yield f"LH:{sum(count > 0 for count in counts.values())}"
    yield "end_of_record"
