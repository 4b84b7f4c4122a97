"""HEAD over real sockets: GET's headers, no byte after them, and the connection goes on."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from flooding import FACE, Answer, Flooded, flooded, wire
from structlog.testing import capture_logs

PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/models",
    "/static/style.css",
    FACE.format(7),
    "/image",
    "/v1/morph?from=1&to=2&frames=2",
    "/v1/faces/random",
    "/v1/faces",
    "/nothing",
    FACE.format("7") + "?gender=robot",
]
WITHOUT_LENGTH = ("/image", FACE.format(7), "/v1/morph?from=1&to=2&frames=2")
"""GET's length is known only once the picture is made."""
SELF_COUNTING = ("/metrics",)
"""Longer with every request."""


@pytest.fixture
async def server() -> AsyncIterator[Flooded]:
    async with flooded() as rig:
        yield rig


@pytest.mark.parametrize("path", PATHS)
async def test_the_next_answer_on_the_connection_follows_the_head(server, path, caplog):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with capture_logs() as logs, caplog.at_level(logging.WARNING):
        try:
            for _ in range(2):
                writer.write(wire(path, method="HEAD"))
                head = await Answer.read(reader, "HEAD")
                writer.write(wire(path))
                whole = await Answer.read(reader)
                assert head.status == whole.status
                names = {name for name, _ in head.headers}
                assert names.isdisjoint({"transfer-encoding", "connection"})
                assert ("content-length" in names) == (path not in WITHOUT_LENGTH)
                if "content-length" in names and path not in SELF_COUNTING:
                    assert head["content-length"] == whole["content-length"]
        finally:
            writer.close()
    assert [record.getMessage() for record in caplog.records] == []
    assert [line for line in logs if line["log_level"] in ("error", "warning")] == []


async def test_it_is_counted_by_its_method_and_its_route(server):
    counted = {"route": "/v1/faces/{seed}", "method": "HEAD", "code": "200"}
    before = server.sample("visage_http_requests_total", **counted)
    await server.ask(FACE.format(7), method="HEAD")
    assert server.sample("visage_http_requests_total", **counted) == before + 1
