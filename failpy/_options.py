"""The options of the pytest plugin: what the command line and the ini file say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest

from failpy._arming import named_terms
from failpy._errors import FailpointError
from failpy._terms import Terms

__all__ = ["KINDS", "Options", "add", "read"]

KINDS = {"term": "", "json": "failpoints.json", "html": "failpoints.html", "lcov": "failpoints.lcov"}
"""The kinds of report, and the file that each goes to unless another is given; none for the terminal."""


class Options(NamedTuple):
    """What was asked for.

    Attributes:
        terms: What to arm in the process scope for the run.
        text: The same as it was given.
        seed: The seed of the run, or None.
        reports: The kinds of report, with the path of the file that each goes to.
        fail_under: The percentage of points that must have fired, or None.
        omit: Patterns of names that no report lists.
    """

    terms: dict[str, Terms]
    text: str
    seed: int | None
    reports: dict[str, str]
    fail_under: float | None
    omit: tuple[str, ...]

    @property
    def collects(self) -> bool:
        """Whether a report has to be made."""
        return bool(self.reports) or self.fail_under is not None


def add(parser: pytest.Parser) -> None:
    """Declare the options, and their equals in the ini file."""
    group = parser.getgroup("failpoints", "failpoints (failpy)")
    group.addoption(
        "--failpoints",
        metavar="'A=TERMS;B=TERMS'",
        help="arm these failpoints in the process scope; counts and draws begin anew with every test",
    )
    group.addoption(
        "--failpoints-seed",
        metavar="N",
        help="what probabilities are drawn from, for every scope that gives no seed of its own",
    )
    group.addoption(
        "--failpoints-report",
        metavar="KIND[:FILE]",
        nargs="?",
        const="term",
        action="append",
        help="report which failpoints the run has reached and fired: term (the default), json, html or lcov; "
        "may be given several times",
    )
    group.addoption(
        "--failpoints-fail-under",
        metavar="PERCENT",
        help="fail the run when fewer of the declared failpoints have fired",
    )
    parser.addini("failpoints", "failpoints to arm in the process scope, as for --failpoints")
    parser.addini("failpoints_seed", "the same as --failpoints-seed")
    parser.addini("failpoints_report", "the same as --failpoints-report, once for each kind", type="args")
    parser.addini("failpoints_fail_under", "the same as --failpoints-fail-under")
    parser.addini("failpoints_omit", "patterns of the names that no report lists", type="args")


def read(config: pytest.Config) -> Options:
    """What was asked for; the command line is above the ini file.

    Raises:
        pytest.UsageError: naming the option, what is wrong with it, and the way out.
    """
    text = _text(config, "failpoints")
    try:
        terms = named_terms(text)
    except FailpointError as exc:
        raise pytest.UsageError(f"--failpoints cannot be applied: {exc}") from None
    seed = _text(config, "failpoints_seed")
    kinds = config.getoption("failpoints_report") or config.getini("failpoints_report")
    return Options(
        terms=terms,
        text=text,
        seed=_seed(seed) if seed else None,
        reports=_reports(kinds),
        fail_under=_percent(_text(config, "failpoints_fail_under")),
        omit=tuple(config.getini("failpoints_omit")),
    )


def _text(config: pytest.Config, name: str) -> str:
    given = config.getoption(name)
    return str(config.getini(name) if given is None else given).strip()


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise pytest.UsageError(
            f"--failpoints-seed={text} is not a whole number: give one such as --failpoints-seed=42"
        ) from None


def _percent(text: str) -> float | None:
    if not text:
        return None
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise pytest.UsageError(
            f"--failpoints-fail-under={text} is no percentage: give a number from 0 to 100"
        )
    return percent


def _reports(given: Iterable[str]) -> dict[str, str]:
    reports = {}
    for each in given:
        kind, _, path = each.partition(":")
        if kind not in KINDS or (path and not KINDS[kind]):
            raise pytest.UsageError(
                f"--failpoints-report={each} is none of the reports there are: write "
                "--failpoints-report=term, or json, html or lcov, with :FILE after it for another file "
                "(and --failpoints-report=term where a path of tests comes next)"
            )
        reports[kind] = path or KINDS[kind]
    return reports
