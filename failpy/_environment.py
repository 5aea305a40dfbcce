"""What the environment variables say, read once at import. A malformed value stops the import."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping

from failpy._config import config
from failpy._context import process
from failpy._errors import FailpointError
from failpy._process import enable_all
from failpy._registry import declared, unknown

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
        enable_all(text)
    except (FailpointError, TypeError) as exc:
        raise FailpointError(f"FAILPY_FAILPOINTS cannot be applied: {exc}") from exc
    atexit.register(_report_strangers, tuple(process.activations), os.getpid())


def _seed(text: str) -> int | None:
    if not text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        raise FailpointError(
            f"FAILPY_SEED={text!r} is not a whole number: give one such as FAILPY_SEED=42"
        ) from None


def _report_strangers(names: tuple[str, ...], pid: int) -> None:
    """Say at the end which names of the variable no code ever declared."""
    if os.getpid() != pid:
        return
    for name in names:
        if declared(name) is None and name in process.activations:
            import logging

            logging.getLogger("failpy").warning("FAILPY_FAILPOINTS armed in vain: %s", unknown(name))
