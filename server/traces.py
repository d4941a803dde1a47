"""Send spans to a collector of OpenTelemetry, by OTLP over HTTP; imported only where one is configured."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from orchestration.trace import Span, TraceContext
from server.settings import Settings

_QUEUE, _TOGETHER = 2048, 512
"""Spans that wait for the collector, beyond which the oldest are dropped, and spans of a request to it."""
_PAUSE_MS = 1000
_TIMEOUT = 5.0
_GRACE = 0.5
"""Seconds at the end of the process for what still waits."""


class TraceExporter:
    """Sends spans in a thread; `record` neither waits nor fails, whatever the collector does."""

    def __init__(self, url: str, service: str) -> None:
        self._resource = Resource({"service.name": service, "service.version": version("landcast")})
        self._scope = InstrumentationScope("landcast", version("landcast"))
        self._exporter = OTLPSpanExporter(url, timeout=_TIMEOUT)
        self._processor = BatchSpanProcessor(
            self._exporter, max_queue_size=_QUEUE, schedule_delay_millis=_PAUSE_MS, max_export_batch_size=_TOGETHER
        )

    def record(self, span: Span) -> None:
        """Queue a span; one that is not sampled is ignored."""
        parent = None if span.parent is None else _context(TraceContext(span.context.trace, span.parent))
        self._processor.on_end(
            ReadableSpan(
                span.name,
                _context(span.context),
                parent,
                self._resource,
                span.attributes,
                kind=SpanKind.SERVER if span.is_request else SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=span.begin,
                end_time=span.end,
                instrumentation_scope=self._scope,
            )
        )

    def close(self) -> None:
        """Send what waits, for half a second at most."""
        closing = Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(_GRACE)
        if closing.is_alive():
            self._exporter.shutdown()


def _context(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace, 16), int(context.span, 16), is_remote=False, trace_flags=flags)


@contextmanager
def exporting(settings: Settings) -> Iterator[TraceExporter]:
    """Yield the exporter to LANDCAST_TRACES_URL; open it after the fork, as it has a thread."""
    exporter = TraceExporter(str(settings.traces.url), settings.log.service)
    try:
        yield exporter
    finally:
        exporter.close()
