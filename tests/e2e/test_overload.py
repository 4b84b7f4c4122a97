"""Five times what a server can do: it refuses at once what it cannot serve, and serves the rest."""

import asyncio
from functools import partial

import pytest
from overloading import measure_pace, overload
from running_server import server_factory
from tiny_checkpoints import write_slow
from traffic import new_faces
from watching import nothing_left

pytestmark = pytest.mark.e2e

DEADLINE = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An engine slow enough to be what limits it; a short queue, so that what was accepted is soon
    answered; a small cache, soon full."""
    folder = tmp_path_factory.mktemp("overload")
    with server_factory(folder, write_slow(folder / "slow-64", channels=128)) as start:
        yield start(
            engine="torch",
            tile=2,  # what a forward pass takes and gives back is noise in its memory
            reservoir=0,
            queue_capacity=32,
            cache_bytes=2**20,
            deadline=DEADLINE,
        ).wait_ready()


@pytest.fixture(scope="module")
def pace(server):
    """Measured before anything else."""

    async def measure():
        targets = new_faces("pace")
        await measure_pace(server.url, server.process.pid, targets, requests=32)  # warms up
        return await measure_pace(server.url, server.process.pid, targets, requests=96)

    return asyncio.run(measure())


@pytest.mark.parametrize("closed", [True, False], ids=["closed loop", "open loop"])
async def test_five_times_the_capacity(server, pace, closed):
    assert set(pace.tally.statuses) == {200}
    offer = partial(overload, server.url, server.process.pid, pace, closed=closed, clients=128)
    # Any first overload takes memory for so many connections; a second one must do with that.
    await offer(seconds=2, requests=16)
    result = await offer(seconds=4, requests=48)
    assert result.tally.lost == []
    assert result.wrong == []
    assert result.refused > len(result.tally.served) > 0
    assert result.tally.seconds(0.99) <= DEADLINE
    assert result.growth < 1.1
    # As fast as before: by processor time, which others on the machine do not change.
    assert set(result.recovered.tally.statuses) == {200}
    assert result.recovered.cpu_seconds < 1.5 * pace.cpu_seconds
    await nothing_left(server.url)
