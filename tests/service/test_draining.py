"""A server that is told to stop: how long it waits for whom, over real sockets."""

import asyncio

from flooding import FACE, flooded
from serving import eventually


async def test_what_outlasts_the_grace_period_does_not_get_another_one():
    async with flooded(drain_grace=60, deadline=60) as rig:
        rig.gate.shut()
        asked = asyncio.create_task(rig.ask(FACE.format(7)))
        await eventually(rig.gate.arrived.is_set)
        rig.server.handle_exit()
        await eventually(lambda: rig.server.fleet.grace_left < 60)
        rig.server.fleet._grace_until -= 60  # as if it had passed, long before the gate gives up
        async with asyncio.timeout(15):
            await asyncio.shield(rig.task)
            await asyncio.gather(asked, return_exceptions=True)


async def test_what_is_ready_within_the_grace_period_is_answered():
    async with flooded(drain_grace=60) as rig:
        rig.gate.shut()
        asked = asyncio.create_task(rig.ask(FACE.format(7)))
        await eventually(rig.gate.arrived.is_set)
        rig.server.handle_exit()
        await eventually(lambda: rig.server.fleet.grace_left < 60)
        rig.gate.open()
        assert (await asked).status == 200
        async with asyncio.timeout(20):
            await asyncio.shield(rig.task)
