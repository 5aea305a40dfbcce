"""The part of the benchmarks that tells how costs grow: what it measures at each size, and its verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import __main__ as command
from benchmarks import footprint, plot, tasks, threads
from benchmarks.columns import Columns
from benchmarks.growth import DECLARED, DIMENSIONS, MEMORY, SCOPES
from benchmarks.sizes import ATTEMPTS, Ask, Cost, Dimension, Growth, measured
from benchmarks.timing import Effort

SHORT = Effort(1, 2, 0.000_01)


def growing(size: int, seconds: float, *, by: float) -> Any:
    """A cost that is as much more as there is more of something."""

    @contextmanager
    def asking() -> Iterator[Ask]:
        yield lambda name: 100.0 + by * size

    return asking()


def among(by: float, *costs: Cost) -> Dimension:
    return Dimension("things", (0, 10, 100), lambda size, seconds: growing(size, seconds, by=by), costs)


def run(monkeypatch: pytest.MonkeyPatch, dimensions: tuple[Dimension, ...], *words: str) -> int:
    monkeypatch.delenv("FAILPY", raising=False)
    return command.main(["--quick", *words], bars=(), peers=(), growth=dimensions)


@pytest.mark.parametrize("dimension", [*DIMENSIONS, *MEMORY], ids=lambda each: each.name)
def test_everything_is_measured(dimension: Dimension) -> None:
    """At sizes so small that no figure says anything; what is exact is so at any size."""
    small = (50, 100)
    costs = [
        replace(cost, bar=None, most=0 if cost.name == threads.LOST else None) for cost in dimension.costs
    ]
    found = list(measured(replace(dimension, sizes=small, costs=costs, builds=1, rounds=1).quick(), SHORT))
    assert [each.cost.name for each in found] == [cost.name for cost in dimension.costs]
    for each in found:
        assert list(each.rounds) == list(small)
        if each.cost.name == threads.LOST:
            assert each.medians == [0, 0]
            assert each.passed
        elif each.cost.name not in (footprint.LEFT, footprint.SCOPED_LEFT):
            assert min(each.medians) > 0
            assert len(each.ratios) == 1


def test_sizes_are_from_the_smallest_and_names_are_told_apart() -> None:
    every = [*DIMENSIONS, *MEMORY]
    assert all(list(each.sizes) == sorted(set(each.sizes)) for each in every)
    titles = [each.title(cost) for each in every for cost in each.costs]
    assert len(titles) == len(set(titles))


def test_what_does_not_grow_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, (among(0, Cost("flat", 1.5)),)) == 0
    said = capsys.readouterr().out
    assert re.search(r"^things +0 +10 +100 +ratio +half within +bar$", said, re.MULTILINE)
    assert re.search(r"^flat +100 +100 +100 +1\.00 +1\.00 to 1\.00 +1\.50 +pass$", said, re.MULTILINE)
    assert said.endswith("no of 1 rows missed the bar\n")


def test_what_grows_misses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    costs = (Cost("grows", 1.5), Cost("large", most=150, unit="B"), Cost("shown"))
    assert run(monkeypatch, (among(1, *costs), among(0, Cost("flat", 1.5)))) == 1
    said = capsys.readouterr().out
    again = rf"MISS \(measured {ATTEMPTS} times\)$"
    assert re.search(rf"^grows +100 +110 +200 +2\.00 +2\.00 to 2\.00 +1\.50 +{again}", said, re.MULTILINE)
    assert re.search(rf"^large, B +100 +110 +200 +2\.00 .* <= 150 +{again}", said, re.MULTILINE)
    assert re.search(r"^shown .* shown$", said, re.MULTILINE)
    assert said.endswith("2 of 4 rows missed the bar\n")


def test_what_misses_once_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"unlucky": 0, "flat": 0}

    @contextmanager
    def asking(size: int, seconds: float) -> Iterator[Ask]:
        def ask(name: str) -> float:
            times[name] += size == 100
            return 300 if name == "unlucky" and size == 100 and times[name] < 2 else 100

        yield ask

    once = Dimension(
        "things", (1, 100), asking, (Cost("unlucky", 1.5), Cost("flat", 1.5)), builds=1, rounds=1
    )
    unlucky, flat = measured(once, SHORT)
    assert (unlucky.passed, unlucky.attempts, unlucky.ratio) == (True, 2, 1.0)
    assert (flat.passed, flat.attempts, times["flat"]) == (True, 1, 1)


def test_a_row_is_picked_by_its_title(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dimensions = (among(0, Cost("one"), Cost("two")),)
    assert run(monkeypatch, dimensions, "--row", "^things: t", "--markdown") == 0
    said = capsys.readouterr().out
    assert "| two | 100 | 100 | 100 | 1.00 |" in said
    assert "| one " not in said
    with pytest.raises(SystemExit):
        run(monkeypatch, dimensions, "--row", "no such")
    assert "there are: things: one, things: two" in capsys.readouterr().err


def test_a_size_of_nothing_has_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    growth = Growth(among(0), Cost("lost", most=0), {1: [0.0], 2: [0.0]})
    Columns(growth.dimension, markdown=False).add(growth)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["lost", "0", "0", "<=", "0", "pass"]


def test_steps_of_tasks() -> None:
    assert all(tasks.spent(3, step) > 0 for step in (*tasks.STEPS, tasks.WHOLE, tasks.ASIDE))


def test_hits_of_threads_are_counted() -> None:
    rate, lost = threads.burst(4, 400)
    assert rate > 0
    assert lost == 0


def drawn() -> list[Growth]:
    return [
        Growth(dimension, cost, {size: [100.0, 110.0, 130.0] for size in dimension.sizes}, [1.0])
        for dimension in (DECLARED, SCOPES)
        for cost in dimension.costs
    ]


def test_the_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    svg, png = plot.draw(drawn(), tmp_path / "made")
    again, _ = plot.draw(drawn(), tmp_path / "again")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    assert svg.read_bytes() == again.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("there", "said"), [(True, "has nothing to draw"), (False, "needs matplotlib: pip")])
def test_a_plot_that_cannot_be_drawn(
    there: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """It is said before anything is measured."""
    monkeypatch.setattr(plot, "find_spec", lambda name: there or None)
    with pytest.raises(SystemExit):
        run(monkeypatch, (among(0, Cost("flat")),), "--plot", str(tmp_path))
    assert f"error: --plot {said}" in capsys.readouterr().err


def test_a_plot_of_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    flat = replace(SCOPES, asking=among(0).asking)
    assert run(monkeypatch, (flat,), "--plot", str(tmp_path)) == 0
    assert str(tmp_path / "growth.svg") in capsys.readouterr().out
    assert sorted(each.name for each in tmp_path.iterdir()) == ["growth.png", "growth.svg"]
