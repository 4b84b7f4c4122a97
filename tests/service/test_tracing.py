"""OpenTelemetry traces: off unless asked for, and then one span per request."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving import serve


@pytest.fixture(scope="module")
def exporter():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # once per process: that is OpenTelemetry's rule
    return exporter


async def test_with_tracing_a_request_is_a_span_named_by_its_route(exporter):
    exporter.clear()
    async with serve(tracing=True) as client:
        assert (await client.get("/v1/faces/7.png")).status_code == 200
    spans = exporter.get_finished_spans()
    assert any("/v1/faces/{seed}" in span.name for span in spans)


async def test_without_it_there_are_none(exporter):
    exporter.clear()
    async with serve() as client:
        assert (await client.get("/v1/faces/7.png")).status_code == 200
    assert exporter.get_finished_spans() == ()
