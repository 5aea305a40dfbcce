"""shop: a FastAPI service. Run as `uvicorn shop:app`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import telemetry

telemetry.begin()

import httpx  # noqa: E402 - what a service traces, it traces from its first line on
from fastapi import FastAPI  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402
from opentelemetry import baggage  # noqa: E402
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: E402
from tasks import mailed  # noqa: E402

from failpy import fail  # noqa: E402


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=os.environ["PAYMENTS"], limits=limits, timeout=60) as client:
        fail.hook_httpx(client)
        app.state.payments = client
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(fail.ASGIMiddleware)
FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])


@app.get("/ready")
async def ready() -> str:
    return "ready"


@app.post("/checkout/{order}")
async def checkout(order: int, mail: str = "none", times: int = 1) -> Any:
    """An order: its cart is saved, it is charged, and perhaps somebody is told by mail."""
    told: dict[str, Any] = {"order": order, "process": os.getpid(), "guest": baggage.get_baggage("guest")}
    try:
        async with fail.point("db.write"):
            pass
        async with fail.point("cart.save"):
            pass
    except ConnectionError as error:
        return JSONResponse(told | {"failed": "shop", "error": repr(error)}, 500)
    asked = {"mail": mail, "times": times}
    charged = await app.state.payments.post(f"/charge/{order}", params=asked)
    told["payments"] = charged.json()
    if charged.status_code != 200:
        return JSONResponse(told | {"failed": told["payments"]["failed"]}, 502)
    if mail == "shop":
        try:
            told["mailer"] = await asyncio.to_thread(mailed, order)
        except ConnectionError as error:
            return JSONResponse(told | {"failed": "mailer", "error": repr(error)}, 502)
    return told
