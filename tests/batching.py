"""A batcher with its queue, and requests that wait in it."""

import asyncio
import time

import numpy as np
from serving import eventually

from service.batcher import Batcher
from service.request_queue import RequestQueue
from service.telemetry import Telemetry


class Rig:
    """A batcher over `engine`, with its queue and telemetry."""

    def __init__(self, load_engine, *, capacity=64, device=None):
        self.telemetry = Telemetry()
        self.queue = RequestQueue(capacity, self.telemetry)
        self.batcher = Batcher(
            load_engine, self.queue, self.telemetry, batch_wait=0.0, device=device
        )

    async def ready(self):
        self.batcher.start()
        await eventually(lambda: self.batcher.ready)
        return self

    def submit(self, n, seconds=30.0):
        z, y = np.full(8, n, np.float32), np.zeros(7, np.float32)
        return asyncio.create_task(self.queue.submit(z, y, deadline=time.monotonic() + seconds))

    async def queued(self, *numbers):
        before = len(self.queue)
        tasks = [self.submit(n) for n in numbers]
        await eventually(lambda: len(self.queue) == before + len(tasks))
        return tasks

    def value(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, labels)


async def gathered(tasks):
    return await asyncio.gather(*tasks, return_exceptions=True)
