"""What OpenTelemetry does in each of the services: its spans go to a file, its context with its requests."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


class Lines(SpanExporter):
    """Each span that has events, as a line of JSON in a file: its service, its name, and its events."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = [json.dumps(told(span)) + "\n" for span in spans if span.events]
        if lines:  # in one write to a file that is appended to, whichever process it is
            with self._path.open("ab", buffering=0) as file:
                file.write("".join(lines).encode())
        return SpanExportResult.SUCCESS


def told(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    return {
        "service": span.resource.attributes["service.name"],
        "process": os.getpid(),
        "trace": None if context is None else format(context.trace_id, "032x"),
        "span": span.name,
        "events": [{"name": event.name, **(event.attributes or {})} for event in span.events],
    }


def begin() -> None:
    """Trace this process, and what it asks of others. What is asked of it is instrumented with its app."""
    # Nobody looks at the environment but the exporter: OTEL_SERVICE_NAME is the SDK's own.
    provider = TracerProvider(resource=Resource.create())
    provider.add_span_processor(SimpleSpanProcessor(Lines(Path(os.environ["SPANS"]))))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()
    RequestsInstrumentor().instrument()
    CeleryInstrumentor().instrument()
