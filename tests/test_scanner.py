"""Reading and writing values: each fault has its column, and what is written can be read."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failpy import TermSyntaxError
from failpy._literals import MAX_DIGITS, MAX_ITEMS, duration_text, literal_text, shown
from failpy._scanner import MAX_SECONDS, Scanner

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
KEYS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
LITERALS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


def read(text: str) -> Any:
    scan = Scanner(text)
    value = scan.literal()
    assert scan.at_end
    return value


def seconds(text: str) -> float:
    scan = Scanner(text)
    value = scan.duration()
    assert scan.at_end
    return value


def refused(text: str, how: Callable[[str], Any] = read) -> TermSyntaxError:
    with pytest.raises(TermSyntaxError) as caught:
        how(text)
    assert caught.value.text == text
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        ("true", True),
        ("True", True),
        ("false", False),
        ("False", False),
        ("none", None),
        ("None", None),
        ("null", None),
        ("[]", []),
        ("{}", {}),
        ("[1,[2], ]", [1, [2]]),
        ("{'a': 1, 2: {None: [true]},}", {"a": 1, 2: {None: [True]}}),
        (" [ 1 , 2 ]", [1, 2]),
        ("9" * MAX_DIGITS, int("9" * MAX_DIGITS)),
    ],
)
def test_literal(text: str, value: object) -> None:
    assert read(text) == value
    assert type(read(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a"', "a"),
        ("'a'", "a"),
        ("`a`", "a"),
        (r"`a\n`", r"a\n"),
        ('"it\'s"', "it's"),
        (r'"\n\t\r\a\b\f\v\0"', "\n\t\r\a\b\f\v\0"),
        (r'"\\\/\"\'\`"', "\\/\"'`"),
        (r'"\xe9\u00E9\U000000e9"', "ééé"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\uD83D\uDE00!"', "\U0001f600!"),
        ('"a\nb"', "a\nb"),
        ('"->;=)"', "->;=)"),
    ],
)
def test_string(text: str, value: str) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ('  "ab', 3, "not closed"),
        ('"ab\\', 1, "not closed"),
        ("`ab", 1, "not closed"),
        (r'"a\q"', 3, r"\q is not an escape"),
        ('"a\\\x01"', 3, "is not an escape"),
        (r'"\x4"', 2, r"\x needs 2 hexadecimal digits"),
        (r'"\u12g4"', 2, r"\u needs 4 hexadecimal digits"),
        (r'"\U00110000"', 2, "past the last character"),
        (r'"\ud83d"', 2, "surrogate"),
        (r'"\ud83d\u0041"', 2, "surrogate"),
        (r'"\ude00"', 2, "surrogate"),
        (r'"\U0000d83d\ude00"', 2, "surrogate"),
        ('"a\ud800b"', 3, "surrogate"),
        ("`a\ud800b`", 3, "surrogate"),
    ],
)
def test_malformed_string(text: str, column: int, says: str) -> None:
    error = refused(text)
    assert error.column == column
    assert says in error.reason


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "the text ends here"),
        ("  ", 3, "the text ends here"),
        (")", 1, "not ')'"),
        ("hello", 1, 'a text needs quotes: "hello"'),
        ("x" * 41, 1, "a text needs quotes"),
        ("x" * 201, 1, "no name is that long"),
        ("FALSE", 1, "did you mean 'False'"),
        ("nil", 1, "did you mean 'None'"),
        ("nan", 1, "finite"),
        ("Infinity", 1, "finite"),
        ("-inf", 1, "no digits"),
        ("1e999", 1, "too large"),
        ("-1e999", 1, "too large"),
        ("-", 1, "no digits"),
        ("12x", 1, "not a number"),
        ("1_000", 1, "not a number"),
        ("0x10", 1, "not a number"),
        ("1.2.3", 1, "not a number"),
        ("00", 1, "leading zero"),
        ("-01.5", 1, "leading zero"),
        ("9" * (MAX_DIGITS + 1), 1, "at most 500 digits"),
        ("1e" + "1" * MAX_DIGITS, 1, "at most 500 digits"),
        ("<object>", 1, "give the term as an object"),
        (" [1", 2, "a list is not closed"),
        ("[1,", 1, "a list is not closed"),
        ("{", 1, "a dict is not closed"),
        ("[1 2]", 4, "not '2'"),
        ("[,]", 2, "not ','"),
        ("{1}", 3, "':' is due here after a key, not '}'"),
        ("{1:2 3}", 6, "not '3'"),
        ("{[]:1}", 2, "cannot be a key"),
        ("{1:2, 1.0:3}", 7, "there twice"),
        (f"{{{2**63}:1}}", 2, "64 bits"),
        (f"{{-{2**63}:1}}", 2, "64 bits"),
        ("[" * 33 + "]" * 33, 33, "at most 32 deep"),
        ("[{1:" * 17, 65, "at most 32 deep"),
        (f"[{'1,' * (MAX_ITEMS + 1)}]", 1, "at most 100000 items"),
    ],
)
def test_malformed_literal(text: str, column: int, says: str) -> None:
    error = refused(text)
    assert error.column == column
    assert says in error.reason


def test_32_levels_and_many_items_are_taken() -> None:
    assert literal_text(read("[" * 32 + "]" * 32)) == "[" * 32 + "]" * 32
    assert len(read(f"[{'1,' * MAX_ITEMS}]")) == MAX_ITEMS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("10", 0.01),
        ("10.5", 0.0105),
        (".5", 0.0005),
        ("1e3", 1.0),
        ("1.5e-1", 0.00015),
        ("1ns", 1e-9),
        ("1us", 1e-6),
        ("1\u00b5s", 1e-6),
        ("1\u03bcs", 1e-6),
        ("7ms", 0.007),
        ("10s", 10.0),
        ("2m", 120.0),
        ("1h2m3s4ms", 3723.004),
        ("1m30s", 90.0),
        ("1.5s0.25m", 16.5),
        ('"1m30s"', 90.0),
        ("'.5s'", 0.5),
        ("`1.s`", 1.0),
        ("1e-400", 0.0),
    ],
)
def test_duration(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "the text ends here"),
        (" true", 2, "not 't'"),
        ('"10"', 1, 'write 10 for milliseconds, or "10ms"'),
        ('"1.5"', 1, 'write 1.5 for milliseconds, or "1.5ms"'),
        ('"abc"', 1, "'abc' is not a duration"),
        ('"ms"', 1, "'ms' is not a duration"),
        ('""', 1, "'' is not a duration"),
        ('"1s 2ms"', 1, "is not a duration"),
        ('"-5ms"', 1, "cannot be negative"),
        (f'"{"1" * 41}"', 1, "is not a duration"),
        (f'"1s{"0" * MAX_DIGITS}1s"', 1, "at most 500 characters"),
        ("-5", 1, "cannot be negative"),
        ("10x", 1, "not a duration"),
        ("1min", 1, "not a duration"),
        ("1s2", 1, "not a duration"),
        (".s", 1, "no digits"),
        ("293000h", 0, ""),
        ("2562048h", 1, "at most 292 years"),
        ("9300000000000", 1, "at most 292 years"),
        ("1e999", 1, "at most 292 years"),
        (f"{'9' * 400}h", 1, "at most 292 years"),
        ("1" * (MAX_DIGITS + 1), 1, "at most 500 digits"),
    ],
)
def test_malformed_duration(text: str, column: int, says: str) -> None:
    if not column:
        assert seconds(text) > 0
        return
    error = refused(text, seconds)
    assert error.column == column
    assert says in error.reason


def test_every_duration_can_be_waited_for() -> None:
    assert MAX_SECONDS <= threading.TIMEOUT_MAX
    assert seconds("9.2e12") == MAX_SECONDS


@settings(deadline=None)
@given(st.integers(0, 10**15), st.integers(0, 9))
def test_a_duration_is_rounded_once(number: int, places: int) -> None:
    """`10` is float("10e-3"): going through a second float would round twice."""
    digits = str(number).rjust(places + 1, "0")
    text = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}"
    exact = f"{number}e-{places}"
    for unit, exponent in (("ms", 3), ("us", 6), ("ns", 9)):
        expected = float(f"{number}e-{places + exponent}")
        if expected <= MAX_SECONDS:
            assert seconds(f"{text}{unit}") == expected
    if float(exact) <= MAX_SECONDS:
        assert seconds(f"{text}s") == float(exact)
        assert seconds(text) == float(f"{number}e-{places + 3}")


@settings(deadline=None)
@given(st.floats(0, MAX_SECONDS))
def test_a_duration_round_trips_float_for_float(value: float) -> None:
    assert seconds(duration_text(value)) == value


@settings(deadline=None)
@given(LITERALS)
def test_a_literal_round_trips(value: object) -> None:
    text = literal_text(value)
    assert text is not None
    assert repr(read(text)) == repr(value)
    assert literal_text(read(text)) == text


def test_a_literal_is_written_as_python_does_but_for_the_quotes() -> None:
    value = [1, 2.0, 'a"\\\n\t\r\x00\u2028\U000e0001é', True, None, {"k": []}]
    assert literal_text(value) == (r'[1, 2.0, "a\"\\\n\t\r\x00\u2028\U000e0001é", True, None, {"k": []}]')


def cyclic() -> list[object]:
    items: list[object] = []
    items += [items, items]
    return items


def shared(levels: int) -> list[object]:
    """A list of a few objects that would be 2**levels items as text."""
    items: list[object] = []
    for _ in range(levels):
        items = [items, items]
    return items


class Word(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        (1,),
        b"x",
        {1},
        Word("x"),
        math.nan,
        math.inf,
        -math.inf,
        10**MAX_DIGITS,
        "\ud800",
        ["\ud800"],
        {(1,): 1},
        {2**63: 1},
        {"k": object()},
        cyclic(),
        shared(20),
    ],
    ids=range(15),
)
def test_only_exact_literals_have_a_text(value: object) -> None:
    assert literal_text(value) is None


def test_what_is_shown_is_short_and_never_fails() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown("x" * 10**6) == f"{'x' * 80!r}"[:80] + "..."
    assert shown([1]) == "[1]"
    assert shown(list(range(100))) == repr(list(range(100)))[:80] + "..."
    assert shown("x" * 100, limit=None) == repr("x" * 100)
    assert shown(Bad()) == "<Bad object>"
    assert shown(10**6000) == "<int object>"


@pytest.mark.parametrize(
    "shape",
    [
        lambda n: '"' + "a\\n" * n + '"',
        lambda n: "`" + "a" * n + "`",
        lambda n: '"' + "\\ud83d\\ude00" * n + '"',
        lambda n: " " * n + "1",
        lambda n: "[" + "[1]," * (n // 20) + "]",
        lambda n: "{" + ",".join(f"{k * (2**31 - 1)}:1" for k in range(n // 20)) + "}",
        lambda n: "1" * n,
        lambda n: "a" * n,
        lambda n: "a." * n,
        lambda n: "[" * n,
        lambda n: '"' + "a" * n,
    ],
)
def test_time_is_linear(shape: Callable[[int], str]) -> None:
    """Sixteen times the text takes nowhere near 256 times as long, in the same run."""

    def cost(text: str) -> float:
        best = math.inf
        for _ in range(3):
            begin = time.perf_counter()
            with suppress(TermSyntaxError):
                Scanner(text).literal()
            best = min(best, time.perf_counter() - begin)
        return best

    small, large = shape(5_000), shape(80_000)
    assert cost(large) < 100 * cost(small) + 1e-3
