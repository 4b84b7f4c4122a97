"""Heads of answers that leave with their bodies, and clients whose going is told."""

import asyncio

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.wire import BoundedHttpProtocol, JoiningTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorded(asyncio.Transport):
    """What leaves in one piece each, and whether it is closed."""

    def __init__(self):
        super().__init__()
        self.pieces, self.closed, self.resumed = [], False, 0

    def write(self, data):
        self.pieces.append(bytes(data))

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def get_write_buffer_size(self):
        return 10

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close

    def pause_reading(self):
        pass

    def resume_reading(self):
        self.resumed += 1


@pytest.fixture
async def pair():
    under = Recorded()
    return under, JoiningTransport(under, asyncio.get_running_loop())


async def test_a_head_leaves_with_its_body(pair):
    under, transport = pair
    transport.write(HEAD)
    assert under.pieces == []
    assert transport.get_write_buffer_size() == len(HEAD) + 10
    transport.write(memoryview(b"face"))
    await asyncio.sleep(0)
    assert under.pieces == [HEAD + b"face"]
    assert transport.get_write_buffer_size() == 10


async def test_a_head_whose_body_takes_its_time_leaves_alone(pair):
    under, transport = pair
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert under.pieces == [HEAD]
    transport.write(b"face")
    assert under.pieces == [HEAD, b"face"]


async def test_what_is_written_last_leaves_before_the_connection_closes(pair):
    under, transport = pair
    transport.write(HEAD)
    transport.close()
    assert under.pieces == [HEAD]
    assert under.closed


async def test_nothing_leaves_after_an_abort(pair):
    under, transport = pair
    transport.write(HEAD)
    transport.abort()
    await asyncio.sleep(0)
    assert under.pieces == []


async def connected(app):
    """A protocol over a recorded connection."""
    config = Config(app, lifespan="off", log_config=None)
    config.load()
    protocol = BoundedHttpProtocol(config=config, server_state=ServerState(), app_state={})
    under = Recorded()
    under.get_extra_info = lambda name, default=None: default
    protocol.connection_made(under)
    return protocol, under


async def test_an_answer_is_one_piece():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"face"})

    protocol, under = await connected(app)
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await asyncio.sleep(0.01)
    assert len(under.pieces) == 1
    assert under.pieces[0].startswith(b"HTTP/1.1 200 ")
    assert b"face" in under.pieces[0]


async def test_who_makes_an_answer_hears_when_the_client_goes_and_nobody_else():
    heard, during, after = [], asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        with scope["visage.connection"].telling(lambda: heard.append("during")):
            during.set()
            await after.wait()

    protocol, under = await connected(app)
    protocol.data_received(2 * b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await during.wait()
    assert under.resumed == 1  # a second request had paused reading: that would hide the going
    protocol.connection_lost(None)
    assert heard == ["during"]
    after.set()
    await asyncio.sleep(0.01)
    assert protocol._when_gone is None


async def test_a_client_that_has_gone_already_is_told_at_once():
    heard = []

    async def app(scope, receive, send):
        raise AssertionError

    protocol, under = await connected(app)
    under.closed = True
    with protocol.telling(lambda: heard.append("gone")):
        assert heard == ["gone"]
