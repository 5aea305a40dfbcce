"""What the environment variables say, read once at import. A malformed value stops the import."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from itertools import pairwise

from failpy._activation import Activation
from failpy._arming import enable, named_terms
from failpy._config import config, read_list
from failpy._context import process
from failpy._errors import FailpointError
from failpy._guarded import FROM_OUTSIDE
from failpy._keys import read_keys
from failpy._names import check_name
from failpy._registry import declared, unknown
from failpy._strict import complaint_of

__all__ = ["load"]


def load(environ: Mapping[str, str]) -> None:
    """Apply `FAILPY`, `FAILPY_SEED`, `FAILPY_FAILPOINTS` and `FAILPY_HTTP` with what belongs to it.

    Raises:
        FailpointError: naming the variable, what is wrong with its value, and the way out.
    """
    if _is_command_line():
        return  # what is set for the programs that it drives is not for itself
    switch = environ.get("FAILPY", "").strip().lower()
    if switch not in ("", "on", "off"):
        raise FailpointError(
            f"FAILPY={environ['FAILPY']!r} is neither 'on' nor 'off': "
            "'off' compiles failpoints out, and leaving it unset is 'on'"
        )
    config.enabled = switch != "off"
    config.seed = _seed(environ.get("FAILPY_SEED", ""))
    config.http_token = environ.get("FAILPY_HTTP_TOKEN")  # an empty one, of a secret not set, is refused
    config.http_allow = read_list(environ.get("FAILPY_HTTP_ALLOW", ""))
    _read_propagation(environ)
    if not config.enabled:
        _warn_of_no_effect(environ)
        return
    if environ.get("FAILPY_REPORT_DIR", ""):
        from failpy._collector import start as collect

        collect(environ["FAILPY_REPORT_DIR"])
    _arm(environ.get("FAILPY_FAILPOINTS", ""))
    if any(environ.get(name, "").strip() for name in ("FAILPY_HTTP", "FAILPY_HTTP_ALLOW")):
        from failpy._startup import start  # http and json take longer to import than all of failpy

        start(environ)


def _is_command_line() -> bool:
    """Whether this process is the command `failpy`, or `python -m failpy`."""
    script = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 - pathlib is slow to import
    if script == "-m":  # what runpy puts there while it looks for the module
        return any(pair == ("-m", "failpy") for pair in pairwise(sys.orig_argv))
    return script in ("failpy", "failpy.exe", "failpy-script.py")


def _warn_of_no_effect(environ: Mapping[str, str]) -> None:
    for name in ("FAILPY_FAILPOINTS", "FAILPY_HTTP"):
        if environ.get(name, "").strip():
            import warnings

            warnings.warn(
                f"FAILPY=off compiles failpoints out: {name} has no effect", RuntimeWarning, stacklevel=3
            )


def _arm(text: str) -> None:
    if not text.strip():
        return
    try:
        enable(process, named_terms(text), early=True)
        if "posix/" in text:
            from failpy._posix import attach_named  # few name them, and wrapt comes with it

            attach_named(process.activations, "FAILPY_FAILPOINTS")
    except (FailpointError, TypeError) as exc:
        raise FailpointError(f"FAILPY_FAILPOINTS cannot be applied: {exc}") from exc
    atexit.register(_report, dict(process.activations), os.getpid())


def _read_propagation(environ: Mapping[str, str]) -> None:
    """What is said of scopes that travel, here and for the middlewares."""
    # An empty key, of a secret that is not set, is none: then nothing that comes in has any effect.
    config.propagation_keys = read_keys(environ.get("FAILPY_PROPAGATION_KEY", ""), "FAILPY_PROPAGATION_KEY")
    names = environ.get("FAILPY_PROPAGATION_NAMES")
    config.propagation_names = None if names is None else read_list(names)
    config.propagation_allow = read_list(environ.get("FAILPY_PROPAGATION_ALLOW", ""))
    service = environ.get("FAILPY_SERVICE", "").strip()
    try:
        FROM_OUTSIDE.check(config.propagation_allow)
    except FailpointError as exc:
        raise FailpointError(f"FAILPY_PROPAGATION_ALLOW cannot be applied: {exc}") from exc
    try:
        if service:
            check_name(service)
    except FailpointError as exc:
        raise FailpointError(
            f"FAILPY_SERVICE cannot be applied, since names of failpoints begin with it, as in "
            f"{service + ':db.write'!r}: {exc}"
        ) from exc
    config.service = service or environ.get("OTEL_SERVICE_NAME", "").strip()


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
