"""Names for the cases of a parametrised test."""

from __future__ import annotations

import re


def without_addresses(value: object) -> str:
    """The same in every process, so that the workers of pytest-xdist collect the same tests."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
