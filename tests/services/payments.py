"""payments: a Flask service. Run as `gunicorn payments:app`."""

from __future__ import annotations

import os
from typing import Any

import telemetry

telemetry.begin()

from flask import Flask, jsonify, request  # noqa: E402
from opentelemetry import baggage  # noqa: E402
from opentelemetry.instrumentation.flask import FlaskInstrumentor  # noqa: E402
from tasks import mailed  # noqa: E402

from failpy import fail  # noqa: E402 - what a service traces, it traces from its first line on

app = Flask("payments")
app.wsgi_app = fail.WSGIMiddleware(app.wsgi_app)
FlaskInstrumentor().instrument_app(app)


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.post("/charge/<int:order>")
def charge(order: int) -> Any:
    told = {"order": order, "process": os.getpid(), "guest": baggage.get_baggage("guest")}
    try:
        for _ in range(int(request.args.get("times", 1))):
            with fail.point("db.write"):
                pass
        with fail.point("card.charge"):
            pass
    except ConnectionError as error:
        return jsonify(told | {"failed": "payments", "error": repr(error)}), 500
    if request.args.get("mail") == "payments":
        try:
            told["mailer"] = mailed(order)
        except ConnectionError as error:
            return jsonify(told | {"failed": "mailer", "error": repr(error)}), 502
    return jsonify(told)
