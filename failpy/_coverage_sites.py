"""Sites that run time and source both tell of, put together so that each place is listed once."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from failpy._likeness import matches
from failpy._mentions import Declaration
from failpy._site import BODY, Site

__all__ = ["SiteMerger", "real"]


def real(file: str) -> str:
    """The one path of a file, however it was spelled; what is no file, such as `<stdin>`, stays as it is."""
    return file if file.startswith("<") else os.path.realpath(file)


class SiteMerger:
    """The declarations that source has, and which of them run time has met.

    Run time knows a decorated function by the line where its definition begins, and a point in a body
    by each line that called it. Source knows the line where the declaration is written, and where the
    two are one place, that is the line to tell.

    Args:
        declarations: All that source has. Those in stubs are passed over, since nothing in them runs.

    Attributes:
        by_name: The declarations of each name that source says.
    """

    def __init__(self, declarations: Iterable[Declaration]) -> None:
        self.by_name: dict[str, list[Declaration]] = {}
        self._computed: list[Declaration] = []
        self._met: set[Declaration] = set()
        self._statements: dict[str, dict[int, int]] = {}
        for each in declarations:
            if not each.place.file.endswith(".pyi"):
                moved = each._replace(place=each.place._replace(file=real(each.place.file)))
                found = self._computed if each.name is None else self.by_name.setdefault(each.name, [])
                found.append(moved)

    @property
    def unmet(self) -> list[Declaration]:
        """Those whose name source does not say, and where run time met no point either."""
        return [each for each in self._computed if each not in self._met]

    def merge(self, name: str, sites: Iterable[tuple[str, int, str]]) -> set[Site]:
        """All sites of one point, each once.

        Args:
            name: The name of the point.
            sites: Those that run time met.
        """
        left = {Site(real(file), line, where) for file, line, where in sites}
        own = self.by_name.get(name, [])
        # What source calls by name comes first, since it is certain.
        declarations = [*own, *(each for each in self._computed if _may_be(name, each))]
        merged: set[Site] = set()
        for find in (self._at, self._around):
            for each in declarations:
                if found := list(find(each, left)):
                    left.difference_update(found)
                    merged.add(found[0]._replace(line=each.place.line))
                    self._met.add(each)
        applied = [site for site in left if site.where != BODY]
        for each in declarations:
            if any(_puts(each, site) for site in applied):
                self._met.add(each)
        for each in own:
            if each not in self._met:
                decorates = each.kind == "decorator" and each.where != "<module>"
                where = each.where if decorates else BODY
                merged.add(Site(each.place.file, each.place.line, where))
        return merged | left

    def _at(self, declaration: Declaration, sites: set[Site]) -> Iterator[Site]:
        """The site that is this declaration: at its line, or the function that it decorates."""
        file, line, _ = declaration.place
        near = sorted(site for site in sites if site.file == file and site.line <= line)
        exact = [site for site in near if site.line == line]
        decorates = declaration.kind == "decorator"
        decorated = [site for site in near if decorates and site.where == declaration.where]
        # The nearest, since a getter and its setter have one name.
        yield from exact[:1] or decorated[-1:]

    def _around(self, declaration: Declaration, sites: set[Site]) -> Iterator[Site]:
        """The sites that are other lines of the statement in which this declaration is."""
        file, line, _ = declaration.place
        for site in sorted(sites):
            if (
                site.file == file
                and site.where == BODY
                and self._begin(file, site.line) == self._begin(file, line)
            ):
                yield site

    def _begin(self, file: str, line: int) -> int:
        """The line where the statement begins that is at this line."""
        if file not in self._statements:
            self._statements[file] = _statements(file)
        return self._statements[file].get(line, line)


def _may_be(name: str, declaration: Declaration) -> bool:
    """Whether a declaration whose name is computed may be of this name."""
    return not declaration.pattern.strip("*") or matches(name, declaration.pattern)


def _puts(declaration: Declaration, site: Site) -> bool:
    """Whether a declaration may be the call that put the point on this function, which is elsewhere."""
    if declaration.kind == "attach":
        return True
    return declaration.kind == "decorator" and site.file == declaration.place.file


def _statements(file: str) -> dict[int, int]:
    """For each line of each statement, without its body, the line where it begins."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError):  # as it is now, not as it ran
        return {}
    lines: dict[int, int] = {}
    for node in ast.walk(tree):  # what is inside comes later, and has the last word
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None) or getattr(node, "cases", None)
            first = body[0] if body else None
            inner = getattr(first, "pattern", first)
            end = (node.end_lineno or node.lineno) if inner is None else max(node.lineno, inner.lineno - 1)
            lines.update(dict.fromkeys(range(node.lineno, end + 1), node.lineno))
    return lines
