"""The table, for a terminal or for a Markdown page, printed row by row as it is measured."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.row import ATTEMPTS, Result, Row

__all__ = ["Table", "figures"]

TITLES = ("measured", "ns", "compared with", "ns", "ratio", "best", "half within", "bar", "")
WIDTHS = (37, 11, 33, 11, 6, 6, 14, 5, 0)
RIGHT = {1, 3, 4, 5, 7}

LEGEND = f"""\
Both sides are built anew several times and run in turns, in short rounds. ns: the median round, of
one execution; with a B, bytes. ratio: the median over the builds, which the bar judges. best: the
ratio of the fastest builds. half within: the quartiles of the ratio over the builds. A row that misses
its bar is measured up to {ATTEMPTS - 1} times more, the best median is kept, and the row says how often."""


class Table:
    """Prints results under their titles.

    Args:
        markdown: Whether to print Markdown rather than aligned columns.
    """

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown
        self._print(TITLES)
        if markdown:
            self._print(["--:" if column in RIGHT else "---" for column in range(len(TITLES))])

    def add(self, result: Result) -> None:
        """Print one row."""
        row, samples = result.row, result.samples
        ours, theirs = samples.medians
        low, high = samples.spread
        verdict = "shown" if row.bar is None else "pass" if result.passed else "MISS"
        if result.attempts > 1:
            verdict += f" (measured {result.attempts} times)"
        self._print(
            (
                self._code(row.name),
                self._amount(ours, row.unit),
                self._code(row.against),
                self._amount(theirs, row.unit),
                f"{samples.ratio:.2f}",
                f"{samples.best_ratio:.2f}",
                f"{low:.2f} to {high:.2f}",
                "" if row.bar is None else f"{row.bar:.2f}",
                verdict,
            )
        )

    def excuse(self, row: Row, reason: str) -> None:
        """Print a row that could not be measured, with the reason in one line."""
        between = [""] * (len(TITLES) - 4 if self._markdown else 0)
        self._print((self._code(row.name), "", self._code(row.against), *between, " ".join(reason.split())))

    def _amount(self, number: float, unit: str) -> str:
        return f"{number:,.{1 if number < 100 else 0}f} {unit}".rstrip()

    def _code(self, text: str) -> str:
        return f"`{text}`" if self._markdown and "(" in text else text

    def _print(self, cells: Sequence[str]) -> None:
        if self._markdown:
            print(f"| {' | '.join(cells)} |", flush=True)
            return
        aligned = [
            cell.rjust(width) if column in RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, WIDTHS, strict=False))
        ]
        print("  ".join(aligned).rstrip(), flush=True)


def figures(results: Sequence[Result]) -> str:
    """The absolute figures among the results, a line each."""
    lines = [
        f"{result.row.name}: {result.row.told(result.samples)}"
        for result in results
        if result.row.told is not None
    ]
    return "".join(f"\n{line}" for line in ("In this run, on this machine:", *lines)) if lines else ""
