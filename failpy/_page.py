"""The page that a browser gets: one file, with all that it needs."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

__all__ = ["page", "page_headers"]


@cache
def page() -> bytes:
    """The page."""
    return Path(__file__).with_name("_page.html").read_bytes()


@cache
def page_headers() -> tuple[tuple[str, str], ...]:
    """The headers that keep it alone: it runs its own script, asks its own endpoint, and sits in no frame."""
    policy = (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
        ("Vary", "Accept"),
    )


def _hashes(element: str) -> str:
    blocks = re.findall(rf"<{element}>(.*?)</{element}>".encode(), page(), re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(block).digest()).decode()}'" for block in blocks)
