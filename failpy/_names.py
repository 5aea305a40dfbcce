"""The names that failpoints can have."""

from __future__ import annotations

import re

from failpy._errors import InvalidName
from failpy._literals import shown

__all__ = ["check_name"]

_REFUSED = re.compile(r"[\s=;\x00-\x1f\x7f-\x9f]")
_COUNT = "/count"


def check_name(name: object) -> str:
    """Check that a failpoint can have this name, and give it back.

    Names are non-empty, without white space, `=`, `;` or control characters, and do not end in
    `/count`, which is where gofail's HTTP endpoint keeps the counter of a failpoint.

    Raises:
        TypeError: when it is not a string.
        InvalidName: when it is a string, and no name.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a failpoint must be a string, not {shown(name)}: give its name")
    if not name:
        raise InvalidName(f"{name!r} cannot name a failpoint: a name is not empty; give it a name")
    refused = _REFUSED.search(name)
    if refused:
        char = refused[0]
        what = "white space" if char.isspace() else repr(char) if char in "=;" else "a control character"
        raise InvalidName(
            f"{shown(name)} cannot name a failpoint: it has {what} at character {refused.start() + 1}; "
            'use other characters there, such as "." or "_"'
        )
    if name.endswith(_COUNT):
        shortened = name[-80:].removesuffix(_COUNT)
        raise InvalidName(
            f"{shown(name)} cannot name a failpoint: over HTTP, NAME/count is the counter of NAME; "
            f"end it otherwise, such as {shortened + '.count'!r}"
        )
    return str.__str__(name)
