"""The plot of how costs grow, from what a run of the benchmarks has measured.

Its colours are of middling lightness on nothing, so that it is read on a light page and on a dark one.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.growth import DECLARED, SCOPES
from benchmarks.population import ELSEWHERE, ENABLE, FIRES, IDLE, SCOPE
from benchmarks.sizes import Dimension, Growth

__all__ = ["NAME", "draw", "hindrance"]

NAME = "growth"
_AXES = {DECLARED.name: "declared points", SCOPES.name: "scopes open in other contexts"}
_COLOURS = {
    ENABLE: "#8e6bd0",
    SCOPE: "#c2651f",
    FIRES: "#c74a78",
    ELSEWHERE: "#2f8fc4",
    IDLE: "#2a9d6f",
}
_WORDS = {
    ENABLE: "enable and disable",
    SCOPE: "scope, open and close",
    FIRES: "hit, return fires",
    ELSEWHERE: "hit, armed elsewhere",
    IDLE: "idle call",
}
_INK = "#808080"
_TICKS = {1e1: "10 ns", 1e2: "100 ns", 1e3: "1 µs", 1e4: "10 µs", 1e5: "100 µs"}


def hindrance(dimensions: Iterable[Dimension]) -> str | None:
    """Why there will be no plot when these have been measured, or None."""
    if find_spec("matplotlib") is None:
        return "needs matplotlib: pip install 'failpy[benchmarks]'"
    drawn = [
        cost for each in dimensions if each.name in _AXES for cost in each.costs if cost.name in _COLOURS
    ]
    return None if drawn else f"has nothing to draw: let --row match {', or '.join(map(repr, _AXES))}"


def draw(growths: Iterable[Growth], folder: Path) -> list[Path]:
    """Draw what was measured of it, as SVG and as PNG.

    Args:
        growths: What was measured.
        folder: Where to write; it is made if it is not there.

    Returns:
        The files.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    lines = [each for each in growths if each.dimension.name in _AXES and each.cost.name in _COLOURS]
    panels = [name for name in _AXES if any(each.dimension.name == name for each in lines)]
    # The same numbers make the same file.
    look: Any = {"svg.hashsalt": NAME, "svg.fonttype": "path", "font.size": 10, "text.color": _INK}
    with mpl.rc_context(look):
        figure = Figure(figsize=(9.5, 4.2), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, name in zip(axes, panels, strict=True):
            own = [each for each in lines if each.dimension.name == name]
            _panel(axis, own, _AXES[name], is_last=axis is axes[-1])
        axes[0].set_ylabel("time, median and quartiles")
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{NAME}.svg", folder / f"{NAME}.png"]
        figure.savefig(files[0], transparent=True, metadata={"Date": None})
        figure.savefig(files[1], transparent=True, dpi=150)
    return files


def _panel(axis: Any, lines: list[Growth], what: str, *, is_last: bool) -> None:
    for each in lines:
        colour = _COLOURS[each.cost.name]
        sizes = list(each.rounds)
        low, high = zip(*each.quartiles, strict=True)
        axis.fill_between(sizes, low, high, color=colour, alpha=0.3, linewidth=0)
        axis.plot(sizes, each.medians, color=colour, marker="o", markersize=4, linewidth=1.6)
        if is_last:
            axis.annotate(
                _WORDS[each.cost.name],
                (sizes[-1], each.medians[-1]),
                xytext=(8, 0),
                textcoords="offset points",
                color=colour,
                va="center",
                annotation_clip=False,
            )
    every = sorted({size for each in lines for size in each.rounds})
    # A size may be 0, which a purely logarithmic axis has no place for.
    axis.set_xscale(
        "symlog" if every[0] == 0 else "log", **({"linthresh": 10, "linscale": 1} if not every[0] else {})
    )
    axis.set_yscale("log")
    axis.set_xticks(every, [f"{size:,}" for size in every])
    axis.set_xticks([], minor=True)
    axis.set_yticks(list(_TICKS), list(_TICKS.values()))
    axis.set_yticks([], minor=True)
    axis.set_ylim(10, 1e5)
    axis.set_xlabel(what)
    axis.grid(visible=True, color=_INK, alpha=0.25, linewidth=0.6)
    axis.tick_params(colors=_INK, length=0)
    for word in (axis.xaxis.label, axis.yaxis.label):
        word.set_color(_INK)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
