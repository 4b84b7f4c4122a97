"""Crowds who hold connections and want nothing, or slowly: others are served, memory is bounded.

VISAGE_FULL_DRILL=1 makes it ten thousand idle and two thousand slow ones; docs/faults.md says what
came of it.
"""

import http.client
import os
import time
from contextlib import aclosing

import pytest
from crowd import crowds, idle, slow_bodies, slow_heads, slow_readers
from running_server import server_factory
from tiny_checkpoints import write_tiny
from traffic import closed_loop, new_faces
from watching import Footprint, Telemetry, scrapes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FULL = bool(os.environ.get("VISAGE_FULL_DRILL"))
IDLE, HEADS, BODIES, READERS = (10_000, 500, 500, 1000) if FULL else (1500, 100, 100, 12)
ROOM = IDLE + HEADS + BODIES
"""Connections that may be open: too few for all of them."""
PATIENCE = 60 if FULL else 2
UNSENT = (64 if FULL else 8) * 2**20
PER_CONNECTION = 20 * 1024
"""Bytes that one may cost the process."""
WORK = 64 * 2**20
"""Bytes that making sheets and serving others may take meanwhile."""


async def served_meanwhile(url: str) -> None:
    """Who wants a face has it."""
    tally = await closed_loop(url, new_faces("meanwhile"), clients=4, requests=100)
    assert (tally.lost, tally.statuses) == ([], {200: 100})


async def test_crowds_cost_others_nothing_and_are_parted_with(tmp_path):
    silent, heads, bodies, readers = idle(), slow_heads(), slow_bodies(), slow_readers()
    with server_factory(tmp_path, write_tiny(tmp_path / "tiny-16")) as start:
        server = start(
            engine="torch",
            tile=2,
            deadline=120,
            client_timeout=PATIENCE,
            max_connections=ROOM,
            max_unsent_bytes=UNSENT,
        ).wait_ready()
        url, pid = server.url, server.process.pid
        await served_meanwhile(url)
        before = Footprint.of(pid)
        async with crowds(silent, heads, bodies, readers):
            await readers.gather(url, READERS)
            await heads.gather(url, HEADS)
            await bodies.gather(url, BODIES)
            await silent.gather(url, IDLE)
            await served_meanwhile(url)
            during = Footprint.of(pid)
            async with aclosing(scrapes(url)) as seen:
                async for telemetry in seen:
                    heads.stir()
                    bodies.stir()
                    assert telemetry("connections") <= ROOM
                    if telemetry("connections") == 1:  # the scrape's
                        break
            assert all(crowd.all_closed() for crowd in (silent, heads, bodies, readers))
        parted = {
            reason: telemetry("connections_closed_total", reason=reason)
            for reason in ("idle", "slow_request", "slow_reader", "crowded")
        }
        print(parted, before, during)
        assert sum(parted.values()) == IDLE + HEADS + BODIES + READERS
        assert all(parted.values()), parted
        assert during.resident - before.resident < ROOM * PER_CONNECTION + UNSENT + WORK
        await served_meanwhile(url)
        # What they broke off is no failure of ours.
        assert (await Telemetry.of(url))("http_requests_total", code="500") == 0
        assert telemetry("http_requests_total", code="499") == BODIES
        assert not [line for line in server.events() if line["level"] == "error"]


def test_a_connection_may_rest_for_longer_than_clients_keep_one(tmp_path):
    """Who closes first must be the client: a request on its way meanwhile is never answered."""
    with server_factory(tmp_path, write_tiny(tmp_path / "tiny-16")) as start:
        server = start(engine="torch", client_timeout=1).wait_ready()
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        for pause in (5.5, 0):  # httpx keeps one for 5 s, and so do uvicorn's defaults
            connection.request("GET", "/image")
            assert len(connection.getresponse().read()) > 0
            time.sleep(pause)
        connection.close()
