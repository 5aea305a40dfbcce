"""The coverage report as JSON, for programs.

The document is an object. `failpy` is the version that wrote it, and `format` is 1: it grows when a key
goes or changes its meaning, and not when one is added.

`totals` has `points`, `fired`, `percent` (of points), `faults`, `injected`, `faults_percent`, and `states`,
which has the number of points in each state: `never`, `armed`, `hit`, `partly` and `fired`.

`points` is a list, by name, of objects with `name`, `state`, `sites` (`file`, `line`, and `where`: the
name of the decorated function, or `<body>`), `returns` (empty for none), `armed`, `hits`, `fired`, `faults`
(the catalogue, in order, of `fault` and how many times it was `injected`), `others` (by the text of each
other action, how many times it fired), `endings` (by what became of injected exceptions, how many ended
so), and `tests` (by node id, `armed`, `hits` and `fired`).

`unreadable` lists the places (`file`, `line`) that declare a point whose name source does not say, and
`problems` the files (`file`, `line`, `reason`) that could not be read. Neither counts in a percentage.
Percentages are not rounded. Paths have slashes, and are relative where they are below the root.
"""

from __future__ import annotations

import json
from typing import Any

from failpy._coverage import Coverage, Row

__all__ = ["render"]


def render(coverage: Coverage) -> str:
    """The document.

    Examples:
        >>> import json
        >>> json.loads(render(Coverage(())))["totals"]["percent"]
        100.0
    """
    from importlib.metadata import version

    keys = ("points", "fired", "percent", "faults", "injected", "faults_percent", "states")
    data = {
        "failpy": version("failpy"),
        "format": 1,
        "totals": {key: getattr(coverage, key) for key in keys},
        "points": [_point(row) for row in coverage.rows],
        "unreadable": [{"file": each.file, "line": each.line} for each in coverage.unreadable],
        "problems": [each._asdict() for each in coverage.problems],
    }
    return json.dumps(data, indent=2) + "\n"


def _point(row: Row) -> dict[str, Any]:
    faults = [{"fault": fault, "injected": times} for fault, times in row.faults.items()]
    sites = [site._asdict() for site in row.sites]
    return {"name": row.name, "state": row.state, **row._asdict(), "sites": sites, "faults": faults}
