"""Reading the values in a text: numbers, literals, durations."""

from __future__ import annotations

import re
from collections.abc import Callable

from failpy._cursor import Cursor
from failpy._errors import TermSyntaxError, did_you_mean
from failpy._literals import MAX_DEPTH, MAX_DIGITS, MAX_ITEMS, MAX_KEY, shown

__all__ = ["MAX_SECONDS", "Scanner"]

# Just under threading.TIMEOUT_MAX where that is smallest on 64 bits: 292 years.
MAX_SECONDS = 9.2e9

_NUMBER = re.compile(r"([+-]?)([0-9]*+)(\.?)([0-9]*+)(?:[eE]([+-]?[0-9]++))?+")
_STUCK = re.compile(r"[\w.]")
_COMPONENT = re.compile(r"([0-9]*+)\.?([0-9]*+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_WORDS = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "none": None,
    "None": None,
    "null": None,
}
# Nanoseconds in a unit.
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION = "such as 10 (milliseconds), 10ms, 1.5s or 1m30s"


class Scanner(Cursor):
    """One pass over a text that reads values: numbers, literals, durations."""

    __slots__ = ("_items",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._items = 0

    def literal(self) -> object:
        """Read one value: a scalar, a list or a dict."""
        self._items = 0
        return self._value(0)

    def scalar(self) -> object:
        """Read one value that is not a list or a dict."""
        start = self.skip()
        if self.next and self.next in "\"'`":
            return self.string()
        if self.next and self.next in "+-.0123456789":
            return self._number()
        word = self.word()
        if word in _WORDS:
            return _WORDS[word]
        if word.lower() in ("nan", "inf", "infinity"):
            raise self.fault(f"{word} is not a value here: a number must be finite", start)
        if word:
            near = "None" if word == "nil" else word.capitalize()
            hint = did_you_mean(near, ("True", "False", "None")) or ";"
            raise self.fault(f"{shown(word)} without quotes is not a value{hint} {_quotes(word)}", start)
        if self.next == "<":
            raise self.no_text()
        raise self.fault(f"a value is due here, {self.found()}: give a number, a string, True or None")

    def duration(self) -> float:
        """Read a duration, in seconds: a bare number counts milliseconds, as in gofail."""
        start = self.skip()
        if self.next and self.next in "\"'`":
            text = self.string()
            inner = Scanner(text)
            try:
                seconds = inner._units() if text else None
            except TermSyntaxError as exc:
                raise self.fault(exc.reason, start) from None
            if seconds is None or not inner.at_end:
                raise self.fault(_bad_quoted_duration(text), start)
        else:
            if self.next == "-":
                raise self.fault(f"a duration cannot be negative: give one {_DURATION}")
            if not self.next or self.next not in ".0123456789":
                raise self.fault(f"a duration is due here, {self.found()}: give one {_DURATION}")
            seconds = self._units()
            if seconds is None:
                seconds = self._milliseconds()
            if _STUCK.match(self.text, self.pos):
                raise self.fault(f"this is not a duration: give one {_DURATION}", start)
        if not seconds <= MAX_SECONDS:
            raise self.fault("a duration is at most 292 years: give a shorter one", start)
        return seconds

    def _value(self, depth: int) -> object:
        self.skip()
        if self.next == "[":
            self._open(depth)
            items: list[object] = []
            self._each("]", "a list", lambda: items.append(self._value(depth + 1)))
            return items
        if self.next == "{":
            self._open(depth)
            entries: dict[object, object] = {}
            self._each("}", "a dict", lambda: self._entry(entries, depth + 1))
            return entries
        return self.scalar()

    def _open(self, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise self.fault(f"lists and dicts nest at most {MAX_DEPTH} deep: give this one as an object")
        self.pos += 1

    def _each(self, close: str, what: str, read: Callable[[], None]) -> None:
        start = self.pos - 1
        while not self.take(close):
            if self.at_end:
                raise self.fault(f"{what} is not closed: end it with {close!r}", start)
            self._items += 1
            if self._items > MAX_ITEMS:
                raise self.fault(f"a value has at most {MAX_ITEMS} items: give this one as an object", start)
            read()
            if not self.take(",") and self.next != close and not self.at_end:
                raise self.fault(f"',' or {close!r} is due here in {what}, {self.found()}")

    def _entry(self, entries: dict[object, object], depth: int) -> None:
        start = self.skip()
        if self.next and self.next in "[{":
            raise self.fault("a list or a dict cannot be a key: use a string or a number")
        key = self.scalar()
        if type(key) is int and abs(key) >= MAX_KEY:
            raise self.fault("an integer key has at most 64 bits: use a string", start)
        if key in entries:
            raise self.fault(f"the key {shown(key)} is there twice: take one away", start)
        if not self.take(":"):
            raise self.fault(f"':' is due here after a key, {self.found()}")
        entries[key] = self._value(depth)

    def _number(self) -> int | float:
        start = self.pos
        sign, whole, point, _, exponent = self._digits()
        if _STUCK.match(self.text, self.pos):
            raise self.fault(
                "this is not a number: write plain decimal digits, as in 12 or 1.5e3, "
                'or quote it if it is text, as in "12x"',
                start,
            )
        if len(whole) > 1 and whole[0] == "0":
            raise self.fault("a number has no leading zero: take it away, or quote it if it is text", start)
        if not point and exponent is None:
            return int(sign + whole)
        value = float(self.text[start : self.pos])
        if value in (float("inf"), float("-inf")):
            raise self.fault("this number is too large: a float is under 1.8e308", start)
        return value

    def _digits(self) -> tuple[str, str, str, str, str | None]:
        match = _NUMBER.match(self.text, self.pos)
        assert match is not None  # it matches the empty string too
        sign, whole, point, fraction, exponent = match.groups()
        if not whole and not fraction:
            raise self.fault("this is not a number: it has no digits; write it as in 12 or 1.5")
        if len(whole) + len(fraction) + len(exponent or "") > MAX_DIGITS:
            raise self.fault(f"a number has at most {MAX_DIGITS} digits: give this one as an object")
        self.pos = match.end()
        return sign, whole, point, fraction, exponent

    def _milliseconds(self) -> float:
        _, whole, _, fraction, exponent = self._digits()
        return float(f"{whole or '0'}.{fraction or '0'}e{int(exponent or 0) - 3}")

    def _units(self) -> float | None:
        """Numbers with units, added up exactly and rounded once; None when no number has a unit."""
        start, nanoseconds, scale = self.pos, 0, 0
        while match := _COMPONENT.match(self.text, self.pos):
            whole, fraction, unit = match.groups()
            if not whole and not fraction:
                break
            if match.end() - start > MAX_DIGITS:
                raise self.fault(f"a duration has at most {MAX_DIGITS} characters: give one {_DURATION}")
            self.pos = match.end()
            scale, wider = max(scale, len(fraction)), scale
            nanoseconds *= 10 ** (scale - wider)
            nanoseconds += int(whole + fraction) * 10 ** (scale - len(fraction)) * _UNITS[unit]
        if self.pos == start:
            return None
        divisor = 10 ** (scale + 9)
        # Past the limit it may be past what a float holds, too.
        return float("inf") if nanoseconds > 10**10 * divisor else nanoseconds / divisor


def _quotes(word: str) -> str:
    return f'a text needs quotes: "{word}"' if len(word) <= 40 else "a text needs quotes"


def _bad_quoted_duration(text: str) -> str:
    if text.startswith("-"):
        return f"a duration cannot be negative: give one {_DURATION}"
    number = text.replace(".", "", 1)
    if number.isascii() and number.isdigit() and len(text) <= 40:
        return f'a duration in quotes needs a unit: write {text} for milliseconds, or "{text}ms"'
    return f"{shown(text)} is not a duration: give one {_DURATION}"
