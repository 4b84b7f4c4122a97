"""Visits go on while models are reloaded and servers replaced: nothing that was heard is lost."""

import asyncio
import signal
from contextlib import AsyncExitStack, aclosing

import ports
import pytest
from running_server import server_factory
from serving import eventually
from soaking import ADMIN_TOKEN, soak
from tiny_checkpoints import write_slow, write_tiny
from traffic import Tally, connected
from watching import scrapes

pytestmark = pytest.mark.e2e

REQUESTS = 600


async def test_reloads_and_a_replaced_server_lose_nothing(tmp_path):
    port = ports.free_port()
    with server_factory(tmp_path, write_tiny(tmp_path / "tiny-16")) as start_server:

        def start():
            return start_server(
                port=port, admin_token=ADMIN_TOKEN, access_log=True, cache_bytes=2**18
            )

        result = await soak(
            start,
            model="tiny-16",
            requests=REQUESTS,
            clients=8,
            events=["reload", "drain", "reload"],
        )
        visits = sorted(f"visit-{n}" for n in range(REQUESTS))

        def answered() -> list[str]:
            """Visits of which a server's log says so, the last attempt of each."""
            ours = (name for name, code in result.heard.items() if code == 200)
            return sorted(name.partition(".")[0] for name in ours if name.startswith("visit-"))

        await eventually(lambda: answered() == visits)  # lines of the last may be under way
        heard = result.heard
    visitors = result.visitors
    assert visitors.tally.lost == []
    assert visitors.tally.statuses == {200: REQUESTS}
    assert not heard.keys() & set(visitors.unheard)
    assert set(heard.values()) <= {200, 503}
    assert visitors.refused > 0  # or nobody has noticed that a server was replaced
    assert result.exits == [(0, "")]
    assert result.reloads == [200, 200]
    assert result.growth(-1) < 1.1


async def test_a_server_that_stops_parts_with_its_clients_answer_by_answer(tmp_path):
    """So that the next request of each goes elsewhere, and none meets a closing connection."""
    tally = Tally()
    with server_factory(tmp_path, write_slow(tmp_path / "slow-64", channels=128)) as start:
        server = start(engine="torch", tile=32, reservoir=0, deadline=120).wait_ready()
        url = server.url
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            connections = [await stack.enter_async_context(connected(url)) for _ in range(17)]
            assert (await connections[0].ask("/healthz")).headers.get("connection") is None
            for n, connection in enumerate(connections[1:]):
                group.create_task(tally.add(connection, f"/v1/faces/{n}.png"))
            async with aclosing(scrapes(url)) as seen:
                async for telemetry in seen:
                    # Not the queue's depth: one tile may have taken all of it before anyone looks.
                    if telemetry("requests_in_flight") >= 1 + 16:  # the scrape is one itself
                        break
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait_for, "draining")
            late = await connections[0].ask("/v1/faces/late.png")
        assert await asyncio.to_thread(server.wait) == (0, "")
    assert (late.status, late.says_when_to_retry) == (503, True)
    assert (tally.lost, tally.statuses) == ([], {200: 16})
    assert {a.headers.get("connection") for a in [late, *tally.answers]} == {"close"}
