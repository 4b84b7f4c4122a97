"""A replica is killed while it makes pictures that others wait for: they make them, soon."""

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from bare_server import SERVICE, bare_server
from serving import eventually
from tiny_checkpoints import write_tiny
from traffic import Connection, Tally
from watching import Telemetry

pytestmark = pytest.mark.e2e

FACES = 8
HANGING = """
import sys, time
from service.torch_engine import TorchEngine

TorchEngine.warm_up = lambda engine: None
TorchEngine.generate = lambda *given: time.sleep(600)
from service.__main__ import main

sys.exit(main())
"""
"""A server like the others, which never comes back from its first batch."""


async def test_what_it_was_making_passes_to_the_others(tmp_path, valkey):
    shared = {
        "checkpoints": write_tiny(tmp_path / "tiny-16"),
        "redis_url": valkey.url,
        "redis_timeout": 5,
        "reservoir": 0,
    }

    def there_are(ending):
        return len(valkey.inside.keys(f"visage:1:picture:*{ending}"))

    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        beginning = [bare_server("-c", HANGING, **shared), bare_server(*SERVICE, **shared)]
        (doomed, process), (other, _) = pool.map(stack.enter_context, beginning)
        doomed_url, url = str(doomed.base_url), str(other.base_url)
        lost, served = Tally(), Tally()
        async with asyncio.TaskGroup() as group:
            for n in range(FACES):
                group.create_task(lost.add(Connection(doomed_url), f"/v1/faces/{n}.png"))
            await eventually(lambda: there_are("lock") == FACES)
            process.send_signal(signal.SIGKILL)
            connections = [Connection(url) for _ in range(FACES)]
            for n, connection in enumerate(connections):
                group.create_task(served.add(connection, f"/v1/faces/{n}.png"))
        # Whoever was connected to it sees that at once, and asks another one.
        assert (len(lost.lost), lost.statuses) == (FACES, {})
        assert (served.lost, served.statuses) == ([], {200: FACES})
        telemetry = await Telemetry.of(url)
        assert telemetry("claims_given_up_total") == FACES
        assert telemetry("images_generated_total") == FACES
        for connection in connections:
            connection.close()
        # They are there for everybody now.
        await eventually(lambda: there_are("[^k]") == FACES)
