"""gofail's own behaviour: its measured runtime, and the behaviours its tests pin down.

The data are term strings run through the real gofail runtime (commit 9b8fd8f): the outcome of parsing,
four evaluations, and gofail's counter of selected terms.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from failpy import fail
from failpy._grammar import parse_set

ROWS = json.loads((Path(__file__).parent / "data" / "gofail_terms.json").read_text(encoding="utf-8"))

REFUSED = {
    "a string needs its closing quote and bracket, which gofail does not check": {
        'return("abc"]', "return(12x",
    },
    "a bare word is no value: gofail reads any five characters as `false`": {
        "return(hello)", "return(world)->print",
    },
    "a boolean is spelled true, True, false or False": {"return(FALSE)"},
    "a trailing `->` promises a term that is not there": {
        "print->", "return(1)->", 'return("x")->',
    },
    "a term needs an action: gofail stores none and crashes at the hit": {
        "(5)", "5*", "5*()", "50.0%", "5*->print",
    },
    "a sleep needs a duration: gofail prints a complaint at every hit and goes on": {
        "sleep", 'sleep("10")', 'sleep("abc")', "sleep(true)",
    },
    "a duration is not negative: gofail does not sleep then": {
        "sleep(-5)", 'sleep("-5ms")',
    },
}  # fmt: skip
WHY = {terms: reason for reason, rows in REFUSED.items() for terms in rows}

DOCUMENTED = {
    "return->return(1)": "a bare return before `->` returns; gofail counts it and gives no value",
}


def parses(terms: str) -> bool:
    try:
        fail.parse(terms)
    except fail.TermSyntaxError:
        return False
    return True


def evaluate(name: str) -> str:
    """One hit, told as the data tell it."""
    try:
        hit = fail.point(name, returns=Any).hit()
    except fail.FailpointPanic as panic:
        return f"PANIC:{panic}"
    if not hit:
        return "nil"
    value = hit.value
    kind = {str: "string", int: "int", bool: "bool"}[type(value)]
    return f"{kind}:{str(value).lower() if kind == 'bool' else value}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["terms"])
def test_measured_row(row: dict[str, Any]) -> None:
    terms = row["terms"]
    if row["outcome"] != "ok":
        return  # what gofail refuses, or crashes on while parsing, is no claim on us
    if terms in WHY:
        assert not parses(terms), WHY[terms]
        return
    assert parses(terms), f"{terms} is refused, and no reason is given for it"
    if terms in DOCUMENTED:
        return
    # gofail's name in the data is `fp`.
    with fail.scope({"fp": terms}, strict=False) as scope:
        assert [evaluate("fp") for _ in range(4)] == row["eval4"]
        assert scope.status("fp").selected == row["counter"]


def test_reasons_are_given_for_rows_of_the_data_only() -> None:
    assert {*WHY, *DOCUMENTED} <= {row["terms"] for row in ROWS if row["outcome"] == "ok"}


def test_a_bare_return_before_an_arrow_returns() -> None:
    with fail.scope({"fp": "1*return->return(1)"}):
        assert fail.point("fp").hit().value is None  # type: ignore[union-attr]
        assert evaluate("fp") == "int:1"


@pytest.mark.parametrize(
    ("terms", "values"),
    [
        ("off", [None]),
        ('2*return("abc")', ["abc", "abc", None]),
        ('2*return("abc")->1*return("def")', ["abc", "abc", "def", None]),
        ('1*return("abc")->return("def")', ["abc", "def", "def"]),
        ("return(true)", [True]),
        ("return(1)", [1]),
    ],
)
def test_strings_and_types(terms: str, values: list[object]) -> None:
    """gofail's TestTermsString and TestTermsTypes."""
    with fail.scope({"fp": terms}):
        for expected in values:
            hit = fail.point("fp", returns=Any).hit()
            value = hit.value if hit else None
            assert value == expected
            assert type(value) is type(expected)


def test_return_with_empty_brackets_fires_without_a_value() -> None:
    with fail.scope({"fp": "return()"}):
        hit = fail.point("fp").hit()
        assert hit
        assert hit.value is None


@pytest.mark.parametrize(
    ("terms", "runs", "count"),
    [
        ('10*sleep(10)->1*return("abc")', 12, 11),
        ('10*sleep(10)->1*return("abc")', 3, 3),
        ('10*sleep(10)->return("abc")', 12, 12),
        ("off", 5, 5),
    ],
)
def test_counter(terms: str, runs: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """gofail's TestTermsCounter: the number of terms selected."""
    monkeypatch.setattr("failpy._gate.Gate.block", lambda gate: False)
    with fail.scope({"fp": terms}, strict=False) as scope:
        for _ in range(runs):
            fail.point("fp", returns=Any).hit()
        assert scope.status("fp").selected == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failpoint1=print", {"failpoint1": "print"}),
        ("failpoint1", None),
        ("failpoint1=print;failpoint2=sleep(10)", {"failpoint1": "print", "failpoint2": "sleep(10)"}),
        ("failpoint1=print_failpoint2=sleep(10)", None),
        ("failpoint1=print;failpoint2", None),
        ("", {}),
        ("failpoint1=print;", {"failpoint1": "print"}),
    ],
)
def test_sets(text: str, expected: dict[str, str] | None) -> None:
    """gofail's TestParseFailpoints."""
    if expected is None:
        with pytest.raises(fail.TermSyntaxError):
            parse_set(text)
    else:
        assert {name: str(terms) for name, terms in parse_set(text).items()} == expected


def test_the_unit_of_sleep_is_the_millisecond() -> None:
    sleep, seconds = fail.parse("sleep(10)")[0], fail.Sleep(0.01)
    assert sleep == seconds
