"""mailer: a Celery worker. Run as `celery -A mailer worker`."""

from __future__ import annotations

import telemetry

telemetry.begin()

from tasks import app  # noqa: E402 - what a service traces, it traces from its first line on

__all__ = ["app"]
