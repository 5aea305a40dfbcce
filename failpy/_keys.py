"""The keys that a scope is signed with when it travels, and how long that is good. It is light to import."""

from __future__ import annotations

from failpy._errors import FailpointError

__all__ = ["LONGEST", "SECONDS", "read_keys"]

LONGEST = 3600
"""For how many seconds what is signed may be good."""

SECONDS = 60
"""For how many it is, unless somebody says so."""

_LEAST = 16


def read_keys(text: str, source: str) -> tuple[bytes, ...]:
    """The keys in a text, with commas or white space between them. The first signs, and all are accepted.

    Args:
        text: The keys.
        source: What they are from, for an error, which never shows them.

    Raises:
        FailpointError: when one is too short to be a secret.
    """
    keys = text.replace(",", " ").split()
    short = [len(key) for key in keys if len(key) < _LEAST]
    if short:
        raise FailpointError(
            f"{source} has a key of {short[0]} character{'s' * (short[0] > 1)}, and {_LEAST} are the least: "
            "give a long random one, such as from secrets.token_urlsafe()"
        )
    return tuple(key.encode("utf-8", "surrogateescape") for key in dict.fromkeys(keys))
