"""What the environment variables say, read once at import. A malformed value stops the import."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping

from failpy._activation import Activation
from failpy._arming import enable, named_terms
from failpy._config import config
from failpy._context import process
from failpy._errors import FailpointError
from failpy._registry import declared, unknown
from failpy._strict import complaint_of

__all__ = ["load"]


def load(environ: Mapping[str, str]) -> None:
    """Apply `FAILPY`, `FAILPY_SEED` and `FAILPY_FAILPOINTS`.

    Raises:
        FailpointError: naming the variable, what is wrong with its value, and the way out.
    """
    switch = environ.get("FAILPY", "").strip().lower()
    if switch not in ("", "on", "off"):
        raise FailpointError(
            f"FAILPY={environ['FAILPY']!r} is neither 'on' nor 'off': "
            "'off' compiles failpoints out, and leaving it unset is 'on'"
        )
    config.enabled = switch != "off"
    config.seed = _seed(environ.get("FAILPY_SEED", ""))
    if environ.get("FAILPY_HTTP"):
        raise FailpointError("FAILPY_HTTP is set, and this version has no HTTP endpoint yet: unset it")
    text = environ.get("FAILPY_FAILPOINTS", "")
    if not text.strip():
        return
    if not config.enabled:
        import warnings

        warnings.warn(
            "FAILPY=off compiles failpoints out: FAILPY_FAILPOINTS has no effect",
            RuntimeWarning,
            stacklevel=2,
        )
        return
    try:
        enable(process, named_terms(text), early=True)
    except (FailpointError, TypeError) as exc:
        raise FailpointError(f"FAILPY_FAILPOINTS cannot be applied: {exc}") from exc
    atexit.register(_report, dict(process.activations), os.getpid())


def _seed(text: str) -> int | None:
    if not text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        raise FailpointError(
            f"FAILPY_SEED={text!r} is not a whole number: give one such as FAILPY_SEED=42"
        ) from None


def _report(armed: dict[str, Activation], pid: int) -> None:
    """Say at the end which terms of the variable did nothing, if they are still armed."""
    if os.getpid() != pid:
        return
    for name, activation in armed.items():
        if process.activations.get(name) is not activation:
            continue
        complaint = unknown(name) if declared(name) is None else complaint_of(activation)
        if complaint is not None:
            import logging

            logging.getLogger("failpy").warning("FAILPY_FAILPOINTS armed in vain: %s", complaint)
