"""Signing what travels between services, and refusing what was not signed there."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from failpy._config import config
from failpy._errors import FailpointError
from failpy._keys import read_keys

__all__ = ["MOST", "Refused", "by_signer", "keys_for", "sign", "verify"]

MOST = 4000
"""How many characters a signed text may have: OpenTelemetry drops a member of baggage beyond 4,096."""

_VERSION = "1"


class Refused(Exception):  # noqa: N818 - the program that is asked has done nothing wrong
    """What came in is left aside, for this reason."""


def keys_for(key: str | None) -> tuple[bytes, ...]:
    """The keys: as a program gives them, else as `FAILPY_PROPAGATION_KEY` has them; none at all is none.

    Raises:
        FailpointError: when a key is too short.
        TypeError: when it is no string.
    """
    if key is None:
        return config.propagation_keys
    if not isinstance(key, str):
        raise TypeError(f"key must be a string, not {type(key).__name__}")
    keys = read_keys(key, "key")
    if not keys:
        raise FailpointError(
            "key is empty: give a long random one, such as from secrets.token_urlsafe(), or None for "
            "that of FAILPY_PROPAGATION_KEY"
        )
    return keys


def sign(kind: str, content: object, keys: tuple[bytes, ...]) -> str:
    """A text that says this, signed with the first key.

    Args:
        kind: What it is: a text of one kind is none of another.
        content: What JSON can say.
        keys: At least one.
    """
    said = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    body = _text(said.encode("utf-8", "surrogatepass"))
    return f"{_VERSION}.{body}.{_mac(kind, body, keys[0])}"


def verify(kind: str, text: str, keys: tuple[bytes, ...]) -> Any:
    """What a signed text says.

    Raises:
        Refused: when it is too long, malformed, or signed with none of the keys.
    """
    if not keys:
        raise Refused("there is no key here: set FAILPY_PROPAGATION_KEY to serve it")
    if len(text) > MOST:
        raise Refused(f"it has {len(text):,} characters, and {MOST:,} are the most")
    version, _, rest = text.partition(".")
    body, _, mac = rest.partition(".")
    if not (text.isascii() and version and body and mac):
        raise Refused("it is malformed")
    if version != _VERSION:
        raise Refused(f"it is of version {version[:20]!r}, and this failpy reads {_VERSION}")
    # Texts are compared, and not what they decode to: several texts decode to one signature.
    if not any(hmac.compare_digest(mac, _mac(kind, body, key)) for key in keys):
        raise Refused("its signature is of none of the keys here")
    try:
        raw = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        return json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise Refused("it is signed, and malformed") from None


def by_signer(kind: str, text: str, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The keys, and first the one that this text, which is good, was signed with."""
    _, body, mac = text.split(".")
    return tuple(sorted(keys, key=lambda key: not hmac.compare_digest(mac, _mac(kind, body, key))))


def _mac(kind: str, body: str, key: bytes) -> str:
    message = f"failpy {_VERSION} {kind} {body}".encode()
    return _text(hmac.new(key, message, hashlib.sha256).digest())


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
