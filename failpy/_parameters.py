"""The parameters of a request: what its query and its body say."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from failpy._errors import TermSyntaxError
from failpy._exchange import Problem, Request
from failpy._scanner import Scanner

__all__ = ["body_text", "flag", "number", "options_of", "seconds_of"]


def body_text(request: Request) -> str:
    """The body, which is UTF-8."""
    try:
        return request.body.decode()
    except UnicodeDecodeError as exc:
        raise Problem(400, f"the body is not UTF-8, at byte {exc.start + 1}: send terms as UTF-8") from None


def options_of(request: Request, *known: str) -> dict[str, str]:
    """The parameters of the query."""
    options = dict(parse_qsl(request.query, keep_blank_values=True))
    for key in options:
        if key not in known:
            takes = f"it takes {' and '.join(known)}" if known else "it takes none"
            raise Problem(400, f"there is no parameter {key!r} here: {takes}; '?' in a name is sent as %3F")
    return options


def flag(options: Mapping[str, str], key: str) -> bool:
    """Whether a parameter is 1; it is 0 unless it is there."""
    value = options.get(key, "0")
    if value not in ("0", "1"):
        raise Problem(400, f"{key}={value} is neither {key}=1 nor {key}=0")
    return value == "1"


def number(text: str | None) -> int | None:
    """The number of a hit."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20) or int(text) == 0:
        raise Problem(400, f"nth={text} is not the number of a hit: write nth=1 for the first")
    return int(text)


def seconds_of(text: str) -> float:
    """A duration with a unit, in seconds."""
    scan = Scanner(text)
    try:
        seconds = scan.duration()
    except TermSyntaxError as exc:
        reason = exc.reason.removeprefix("this is not a duration: ")
        raise Problem(400, f"ttl={text} is not a duration: {reason}") from None
    if seconds <= 0:
        raise Problem(400, f"ttl={text} is over at once: give more than 0")
    if not scan.at_end or text.strip()[-1:].isdigit() or not text.isascii():
        raise Problem(400, f"ttl={text} is not a duration: say the unit, as in ttl=30s or ttl=1m30s")
    return seconds
