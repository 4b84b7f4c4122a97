"""Clients who leave: what they asked for is not made, nobody else notices, nothing stays behind."""

import asyncio
import json
from contextlib import aclosing

import pytest
from running_server import RunningServer, server_factory
from tiny_checkpoints import write_slow
from traffic import Connection, Tally, connected
from visits import come_and_go, mixed_visits
from watching import Footprint, Telemetry, nothing_left, scrapes

pytestmark = pytest.mark.e2e

TILE = 8
FACES = "/v1/faces/{seed}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Makes nothing that nobody asked for."""
    folder = tmp_path_factory.mktemp("disconnects")
    with server_factory(folder, write_slow(folder / "slow-64")) as start:
        yield start(
            engine="torch", tile=TILE, reservoir=0, deadline=120, cache_bytes=2**20
        ).wait_ready()


async def made(url: str) -> float:
    return (await Telemetry.of(url))("images_generated_total")


async def test_what_nobody_waits_for_any_more_is_never_made(server: RunningServer):
    url = server.url
    before = await Telemetry.of(url)
    leaving = [Connection(url) for _ in range(120)]
    staying = [Connection(url) for _ in range(TILE)]
    tally = Tally()
    async with asyncio.TaskGroup() as group:
        for n, connection in enumerate(leaving):
            await connection.send(f"/v1/faces/leaves-{n}.png")
        for n, connection in enumerate(staying):  # half of them for what others want, too
            name = f"leaves-{119 - n}" if n % 2 else f"stays-{n}"
            group.create_task(tally.add(connection, f"/v1/faces/{name}.png"))
        async with aclosing(scrapes(url)) as seen:
            async for telemetry in seen:
                if telemetry("queue_depth") >= 60:
                    break
        for connection in leaving:
            connection.close()
    await nothing_left(url)
    after = await Telemetry.of(url)

    assert (tally.lost, tally.statuses) == ([], {200: TILE})
    assert len({answer.body for answer in tally.answers}) == TILE

    def counted(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    dropped = counted("requests_cancelled_total", stage="queued")
    assert dropped >= 30
    asked = counted("http_requests_total", route=FACES)
    assert TILE <= counted("images_generated_total") <= asked - dropped
    for connection in staying:
        connection.close()


async def test_the_rest_of_a_zip_is_never_made(server: RunningServer):
    already = await made(server.url)
    body = json.dumps({"count": 64}).encode()
    async with connected(server.url) as connection:
        await connection.send(
            "/v1/faces", method="POST", body=body, content_type="application/json"
        )
        await connection.first_byte()
    await nothing_left(server.url)
    assert await made(server.url) - already < 64


async def test_many_who_leave_change_nothing_for_those_who_stay_and_leave_nothing_behind(
    server: RunningServer,
):
    visits = mixed_visits(0)
    pid = server.process.pid
    # To its plateau: some threads, and their memory, come only with as much as is asked below.
    await come_and_go(server.url, visits, clients=12, share=0.3, requests=240)
    await nothing_left(server.url)
    before = Footprint.of(pid)
    result = await come_and_go(server.url, visits, clients=12, share=0.3, requests=240)
    await nothing_left(server.url)
    after = Footprint.of(pid)

    assert result.tally.lost == []
    assert set(result.tally.statuses) == {200}
    assert result.left >= 40
    assert len(result.tally.answers) + result.left == 240
    assert after.sockets == before.sockets
    assert after.resident < 1.1 * before.resident
    assert (await Telemetry.of(server.url))("http_requests_total", code="500") == 0
