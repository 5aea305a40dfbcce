"""Going through text from left to right: white space, words, strings, and the faults in them."""

from __future__ import annotations

import re

from failpy._errors import TermSyntaxError
from failpy._literals import MAX_WORD, SURROGATE, WORD

__all__ = ["Cursor"]

_SPACE = re.compile(r"\s*+")
_PLAIN = {
    '"': re.compile('[^"\\\\\ud800-\udfff]*+'),
    "'": re.compile("[^'\\\\\ud800-\udfff]*+"),
}
_DIGITS = {"x": 2, "u": 4, "U": 8}
_CODE = {char: re.compile(f"[0-9a-fA-F]{{{digits}}}") for char, digits in _DIGITS.items()}
_LOW_HALF = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "0": "\0",
    **{char: char for char in "\\/\"'`"},
}


class Cursor:
    """A place in a text, which moves only to the right. Every fault is a `TermSyntaxError` with its column.

    Attributes:
        text: The text.
        pos: The index of the character to read next.
    """

    __slots__ = ("pos", "text")

    def __init__(self, text: str) -> None:
        # An instance of a subclass could answer anything.
        self.text = str.__str__(text)
        self.pos = 0

    def fault(self, reason: str, at: int | None = None) -> TermSyntaxError:
        """The error for this reason, at an index or else at the next character."""
        return TermSyntaxError(reason, self.text, (self.pos if at is None else at) + 1)

    def skip(self) -> int:
        """Pass over white space, and give the index of what follows."""
        self.pos = self._end(_SPACE)
        return self.pos

    @property
    def at_end(self) -> bool:
        """Whether nothing is left to read."""
        return self.pos >= len(self.text)

    @property
    def next(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.pos : self.pos + 1]

    def take(self, token: str) -> bool:
        """Pass over white space, then over this token if it is there, and say whether it was."""
        self.skip()
        found = self.text.startswith(token, self.pos)
        if found:
            self.pos += len(token)
        return found

    def found(self) -> str:
        """What is next, for a message."""
        return f"not {self.next!r}" if self.next else "and the text ends here"

    def no_text(self) -> TermSyntaxError:
        """The error for `<...>`, which is how typed terms show what no text says."""
        return self.fault(
            "what is shown as <...> has no text: give the term as an object, as in fail.Return(value)"
        )

    def word(self) -> str:
        """Read a bare name, with dots in it or not; empty when there is none."""
        start = self.pos
        match = WORD.match(self.text, start)
        if match is None:
            return ""
        if match.end() - start > MAX_WORD:
            raise self.fault(f"this word has more than {MAX_WORD} characters: no name is that long")
        self.pos = match.end()
        return match[0]

    def string(self) -> str:
        """Read a string in `"`, `'` or backquotes; the next character is the quote."""
        start, quote = self.pos, self.next
        if quote == "`":
            end = self.text.find("`", start + 1)
            if end < 0:
                raise self._unclosed(start)
            half = SURROGATE.search(self.text, start, end)
            if half:
                raise self._lone(half.start())
            self.pos = end + 1
            return self.text[start + 1 : end]
        pieces = []
        self.pos += 1
        while self.next != quote:
            if self.at_end:
                raise self._unclosed(start)
            if self.next == "\\":
                pieces.append(self._escape(start))
                continue
            plain, self.pos = self.pos, self._end(_PLAIN[quote])
            if plain == self.pos:
                raise self._lone(plain)
            pieces.append(self.text[plain : self.pos])
        self.pos += 1
        return "".join(pieces)

    def _end(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.pos)
        assert match is not None  # these patterns match the empty string too
        return match.end()

    def _escape(self, start: int) -> str:
        at = self.pos
        char = self.text[at + 1 : at + 2]
        self.pos += 2
        if not char:
            raise self._unclosed(start)
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char not in _CODE:
            raise self.fault(
                f"\\{char if char.isprintable() else ' '} is not an escape: "
                "for a backslash write \\\\, or put the string in backquotes",
                at,
            )
        match = _CODE[char].match(self.text, self.pos)
        if match is None:
            raise self.fault(f"\\{char} needs {_DIGITS[char]} hexadecimal digits", at)
        self.pos = match.end()
        code = int(match[0], 16)
        low = _LOW_HALF.match(self.text, self.pos) if char == "u" and 0xD800 <= code < 0xDC00 else None
        if low:
            self.pos = low.end()
            code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if 0xD800 <= code < 0xE000:
            raise self._lone(at)
        if code > 0x10FFFF:
            raise self.fault(f"\\{char}{match[0]} is past the last character, \\U0010ffff", at)
        return chr(code)

    def _unclosed(self, start: int) -> TermSyntaxError:
        return self.fault(f"the string is not closed: end it with {self.text[start]}", start)

    def _lone(self, at: int) -> TermSyntaxError:
        return self.fault("half of a surrogate pair is no character: give the other half or take it away", at)
