"""Values as text: the literals, numbers and strings of the grammar, written exactly."""

from __future__ import annotations

import re

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_ITEMS",
    "MAX_KEY",
    "MAX_WORD",
    "SURROGATE",
    "WORD",
    "decimal_text",
    "duration_text",
    "fresh_copy",
    "literal_text",
    "printable",
    "shown",
    "unsayable",
]

# What one literal may hold: the same for the reader and the writer, so that what is written can be read.
MAX_DEPTH = 32
MAX_ITEMS = 100_000
MAX_DIGITS = 500
# Larger integers can be chosen so that their hashes collide, which makes filling a dict quadratic.
MAX_KEY = 2**63
MAX_WORD = 200

SURROGATE = re.compile("[\ud800-\udfff]")
WORD = re.compile(r"[^\W\d]\w*+(?:\.[^\W\d]\w*+)*+")

_INT_LIMIT = 10**MAX_DIGITS
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def shown(value: object, limit: int | None = 80) -> str:
    """The repr of a value for a message: cut when long, and never an error of its own."""
    try:
        text = repr(value[:limit] if type(value) is str else value)
    except Exception:  # the repr of somebody else's object may do anything
        text = f"<{type(value).__name__} object>"
    return text if limit is None or len(text) <= limit else f"{text[:limit]}..."


def unsayable(value: object) -> str:
    """What stands in a text for a value that no text says: its repr, in `<...>`."""
    text = shown(value, 200)
    return text if text.startswith("<") else f"<{text}>"


def literal_text(value: object) -> str | None:
    """The text of a value of exactly the types that literals have; None where no text says it.

    An instance of a subclass, a tuple, a NaN, a cycle and more than 32 levels have no text.
    """
    writer = _Writer()
    try:
        writer.write(value, 0)
    except _NoTextError:
        return None
    return "".join(writer.pieces)


class _NoTextError(Exception):
    pass


class _Writer:
    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.items = 0

    def write(self, value: object, depth: int) -> None:
        if type(value) is list:
            self._nest(len(value), depth)
            self.pieces.append("[")
            for i, item in enumerate(value):
                self.pieces.append(", " if i else "")
                self.write(item, depth + 1)
            self.pieces.append("]")
        elif type(value) is dict:
            self._nest(len(value), depth)
            self.pieces.append("{")
            for i, (key, item) in enumerate(value.items()):
                self.pieces += (", " if i else "", _key_text(key), ": ")
                self.write(item, depth + 1)
            self.pieces.append("}")
        else:
            self.pieces.append(_scalar_text(value))

    def _nest(self, items: int, depth: int) -> None:
        self.items += items
        if depth >= MAX_DEPTH or self.items > MAX_ITEMS:
            raise _NoTextError


def _key_text(key: object) -> str:
    if type(key) is int and abs(key) >= MAX_KEY:
        raise _NoTextError
    return _scalar_text(key)


def _scalar_text(value: object) -> str:
    if value is None or type(value) is bool:
        return str(value)
    if type(value) is int and abs(value) < _INT_LIMIT:
        return str(value)
    if type(value) is float and abs(value) < float("inf"):
        return repr(value)
    if type(value) is str and not SURROGATE.search(value):
        return _quoted(value)
    raise _NoTextError


def _quoted(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def decimal_text(value: float, shift: int = 0) -> str:
    """A non-negative float in plain digits, its point moved `shift` places to the right.

    The point is moved in the shortest text that gives the float back, so nothing is rounded.
    """
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0) + shift
    digits = whole + fraction
    if point < 1:
        digits, point = "0" * (1 - point) + digits, 1
    digits = digits.ljust(point, "0")
    whole, fraction = digits[:point].lstrip("0") or "0", digits[point:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def duration_text(seconds: float) -> str:
    """A duration in seconds as text gives it: `10` for 10 ms, else like `0.0105s`."""
    milliseconds = round(seconds * 1000)
    return str(milliseconds) if milliseconds / 1000 == seconds else f"{decimal_text(seconds)}s"


def fresh_copy(value: object) -> object:
    """A copy of a literal that shares no list and no dict with it."""
    if type(value) is list:
        return [fresh_copy(item) for item in value]
    if type(value) is dict:
        return {key: fresh_copy(item) for key, item in value.items()}
    return value


def printable(value: object) -> str:
    """The text of a value in one line that moves no cursor: what cannot be printed is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value)
    )
