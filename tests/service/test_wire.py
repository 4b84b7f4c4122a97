"""Heads of requests over a real socket: those that are too long are refused while they come."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from serving import eventually

from service.middleware import TO_GET
from service.wire import MAX_HEAD, BoundedHttpProtocol

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope, receive, send):
    """Answers with the length of the body."""
    length, more = 0, scope["type"] == "http"
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    body = str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    config = uvicorn.Config(
        app, port=0, http=BoundedHttpProtocol, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()
    server.should_exit = True
    await task


async def refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answer = b""
    try:
        while part := await reader.read(65_536):
            answer += part
    except ConnectionResetError:  # what was still on its way is not read
        pass
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"urn:visage:problem:headers-too-large" in answer
    assert_has_what_every_answer_has(answer)


def assert_has_what_every_answer_has(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")[1:]
    assert {b"content-length: %d" % len(body), b"content-type: application/problem+json"} < {*lines}
    assert {b": ".join(header) for header in TO_GET} < {*lines}
    assert sum(line.startswith(b"x-request-id: ") for line in lines) == 1


@pytest.mark.parametrize(
    "sent",
    [
        "GET /v1/faces/é HTTP/1.1\r\n\r\n".encode(),
        b"BREW /image HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_refused_like_all_else(streams, sent):
    reader, writer = streams
    writer.write(sent)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"urn:visage:problem:bad-request" in answer
    assert_has_what_every_answer_has(answer)


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x" * 1000),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"x: y\r\n" * 100),
        (b"GET /", b"x" * 1000),
        (b"GET", b" " * 1000),
    ],
)
async def test_a_head_without_end_is_refused_where_the_bound_is(streams, first, piece):
    reader, writer = streams
    writer.write(first)
    sent = len(first)
    while sent <= MAX_HEAD:
        writer.write(piece)
        sent += len(piece)
    await refused(reader, writer)


async def test_a_second_request_is_measured_too(streams):
    reader, writer = streams
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD)
    await refused(reader, writer)


async def test_bodies_and_many_requests_are_no_heads(streams):
    reader, writer = streams
    long = 5 * MAX_HEAD
    for encoded in (
        b"Content-Length: %d\r\n\r\n" % long + b"x" * long,
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % long + b"x" * long + b"\r\n0\r\n\r\n",
    ):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + encoded)
        assert (await reader.readuntil(str(long).encode())).startswith(b"HTTP/1.1 200 ")
    padded = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (MAX_HEAD // 4) + b"\r\n\r\n"
    writer.write(padded * 12)
    for _ in range(12):
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
