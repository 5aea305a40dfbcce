"""Costs at several sizes, a line each, for a terminal or for a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.sizes import ATTEMPTS, Dimension, Growth

__all__ = ["LEGEND", "Columns"]

_NAME, _NUMBER = 52, 10

LEGEND = f"""\
How costs grow: the median round at each size, in nanoseconds of one execution unless a unit is given. The
sizes are built anew several times, in processes of their own, and run in turns, in short rounds. ratio: the
largest size to the smallest, the median over the builds, which the bar judges; half within: its quartiles.
A bar with <= is one for the largest size itself. What has no bar is involved, or only shown. A line that
misses is measured up to {ATTEMPTS - 1} times more, the best is kept, and the line says how often."""


class Columns:
    """Prints one dimension: its sizes, then what each cost comes to.

    Args:
        dimension: What there is more and more of.
        markdown: Whether to print Markdown rather than aligned columns.
    """

    def __init__(self, dimension: Dimension, *, markdown: bool) -> None:
        self._markdown = markdown
        self._print(
            (dimension.name, *(f"{size:,}" for size in dimension.sizes), "ratio", "half within", "bar", "")
        )
        if markdown:
            print("|---" + "|--:" * (len(dimension.sizes) + 1) + "|---|--:|---|", flush=True)

    def add(self, growth: Growth) -> None:
        """Print one line."""
        cost = growth.cost
        low, high = growth.spread
        bar = "" if cost.bar is None else f"{cost.bar:.2f}"
        if cost.most is not None:
            bar = f"<= {cost.most:g}"
        verdict = ("pass" if growth.passed else "MISS") if growth.judged else "shown"
        if growth.attempts > 1:
            verdict += f" (measured {growth.attempts} times)"
        self._print(
            (
                f"{cost.name}, {cost.unit}" if cost.unit else cost.name,
                *map(_amount, growth.medians),
                f"{growth.ratio:.2f}" if growth.ratios else "",
                f"{low:.2f} to {high:.2f}" if len(growth.ratios) > 1 else "",
                bar,
                verdict,
            )
        )

    def _print(self, cells: Sequence[str]) -> None:
        if self._markdown:
            print(f"| {' | '.join(cells)} |", flush=True)
            return
        name, *numbers, ratio, within, bar, verdict = cells
        aligned = [name.ljust(_NAME), *(number.rjust(_NUMBER) for number in numbers), ratio.rjust(7)]
        aligned += [within.ljust(14), bar.rjust(6), verdict]
        print("  ".join(aligned).rstrip(), flush=True)


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == round(number) else f"{number:.2f}"
