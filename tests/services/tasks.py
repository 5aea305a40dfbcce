"""The Celery app, as mailer runs it and the others send to it."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from opentelemetry import baggage

from failpy import fail

app = Celery("tasks", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=8,
)
fail.hook_celery(app)


def mailed(order: int) -> Any:
    """Have a receipt sent, and wait until it is."""
    return receipt.delay(order).get(timeout=20)


@app.task(name="receipt")
def receipt(order: int) -> dict[str, Any]:
    """Send a receipt."""
    with fail.point("mail.send"):
        return {"order": order, "process": os.getpid(), "guest": baggage.get_baggage("guest")}


@app.task(name="stubborn", bind=True, max_retries=3, default_retry_delay=0)
def stubborn(self: Any, order: int) -> dict[str, Any]:
    """Send a receipt, again and again."""
    try:
        with fail.point("mail.retry"):
            return {"order": order, "tries": self.request.retries + 1}
    except ConnectionError as error:
        raise self.retry(exc=error) from error


@app.task(name="sum")
def total(numbers: list[int]) -> int:
    """What several tasks have come to."""
    with fail.point("mail.total"):
        return sum(numbers)


@app.task(name="count")
def counted(number: int) -> int:
    """One of several tasks."""
    with fail.point("mail.count"):
        return number
