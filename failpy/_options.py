"""The options of the pytest plugin: what the command line and the ini file say."""

from __future__ import annotations

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
    seed = _given(config, "failpoints_seed")
    return Options(
        *_terms(_given(config, "failpoints")),
        seed=_seed(seed) if seed.text else None,
        reports=_reports(config),
        fail_under=_percent(_given(config, "failpoints_fail_under")),
        omit=tuple(config.getini("failpoints_omit")),
    )


class _Given(NamedTuple):
    """What was given for an option, and where, for a message."""

    text: str
    where: str


def _given(config: pytest.Config, name: str) -> _Given:
    option = config.getoption(name)
    if option is not None:
        where = f"--{name.replace('_', '-')}"
        return _Given(str(option).strip(), where if name == "failpoints" else f"{where}={option}")
    text = str(config.getini(name)).strip()
    return _Given(text, _in_file(config, name, text))


def _in_file(config: pytest.Config, name: str, text: str) -> str:
    return f"{name} = {text!r} in {config.inipath}"


def _terms(given: _Given) -> tuple[dict[str, Terms], str]:
    try:
        return named_terms(given.text), given.text
    except FailpointError as exc:
        raise pytest.UsageError(f"{given.where} cannot be applied: {exc}") from None


def _seed(given: _Given) -> int:
    try:
        return int(given.text)
    except ValueError:
        raise pytest.UsageError(f"{given.where} is not a whole number: give one such as 42") from None


def _percent(given: _Given) -> float | None:
    if not given.text:
        return None
    try:
        percent = float(given.text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise pytest.UsageError(f"{given.where} is no percentage: give a number from 0 to 100")
    return percent


def _reports(config: pytest.Config) -> dict[str, str]:
    option: list[str] | None = config.getoption("failpoints_report")
    texts: list[str] = config.getini("failpoints_report") if option is None else option
    reports = {}
    for text in texts:
        kind, colon, path = text.partition(":")
        if kind not in KINDS or (colon and not (path and KINDS[kind])):
            given = f"--failpoints-report={text}" if option else _in_file(config, "failpoints_report", text)
            raise pytest.UsageError(
                f"{given} is none of the reports there are: write term, or json, html or lcov, with :FILE "
                "after it for another file (and --failpoints-report=term where a path of tests comes next)"
            )
        reports[kind] = path or KINDS[kind]
    return reports
