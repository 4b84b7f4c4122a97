"""Batches of latents → settled requests: one engine, its failures and its pace.

Knows nothing about where batches come from, except that more may be waiting, nor about HTTP. An
engine that overlaps begins with what waits before it is done with what it has, so that no
processor idles while Python hands pictures out. The entries of a failing batch are retried once,
one by one, so that only those fail that do so by themselves.
"""

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from service.engine_protocol import Engine, Finish, Overlapping, some_input
from service.errors import EngineOutOfMemoryError, InferenceError, NotFiniteError
from service.request_queue import Entry, Inferred, RequestQueue, pace_after, settle
from service.reservoir import Reservoir
from service.telemetry import Telemetry
from service.watchdog import Watchdog

log = structlog.get_logger("service.batch_runner")


@dataclass(frozen=True)
class _UnderWay:
    """A batch that the engine was given, at `begun` by `time.monotonic()`."""

    batch: list[Entry]
    finish: Finish
    begun: float


class BatchRunner:
    """`queue`: where more may wait, and who is to know the pace."""

    def __init__(
        self,
        engine: Engine,
        queue: RequestQueue,
        telemetry: Telemetry,
        reservoir: Reservoir,
        watchdog: Watchdog,
    ) -> None:
        self._engine = engine
        self._overlapping = engine if isinstance(engine, Overlapping) else None
        self._queue = queue
        self._telemetry = telemetry
        self._reservoir = reservoir
        self._watchdog = watchdog
        self.spec = engine.spec
        """The engine's model; it names the tile where bytes depend on that."""
        self.tile = engine.tile
        self._pace = 0.0
        self._free_since = 0.0
        name, conditional = engine.spec.name, "true" if engine.spec.space.label_dim else "false"
        self._inference = telemetry.inference.labels(name)
        self._batch_size = telemetry.batch_size.labels(name)
        self._fill_ratio = telemetry.batch_fill_ratio.labels(name)
        self._generated = telemetry.images_generated.labels(name, conditional)
        # A series that began at one would hide the first time from whoever watches for increases.
        self._oom = telemetry.engine_oom.labels(name)

    def serve(self, batch: list[Entry]) -> bool:
        """Settle a batch, and with an engine that overlaps those that come meanwhile too.

        Whether any picture came of the last of them.
        """
        failed = self._run(batch)
        return not failed or self._retry(failed)

    def fill(self) -> bool:
        """One tile of fresh faces for the reservoir; whether that went well."""
        plan = self._reservoir.plan(self.spec, self.tile)
        if plan is None:
            return True
        try:
            with self._watchdog.turn():
                image_BHWC = self._generate(plan.z_BZ, plan.y_BL)
        except Exception as error:
            self._count_failure(error)
            log.exception("filling the reservoir failed", pictures=len(plan.faces))
            return False
        self._reservoir.fill(plan, image_BHWC)
        return True

    def still_works(self) -> bool:
        """Whether it makes a picture of nothing in particular: then it was what was asked for."""
        try:
            with self._watchdog.turn():
                self._engine.generate(*some_input(self.spec, 1))
        except Exception as error:
            self._count_failure(error)
            return False
        return True

    def _run(self, batch: list[Entry]) -> list[Entry]:
        """The entries of batches that failed; those of all others are settled.

        One turn at the device, until nothing waits, something failed, or another model wants it.
        """
        failed: list[Entry] = []
        under_way: deque[_UnderWay] = deque()
        self._free_since = time.monotonic()
        try:
            with self._watchdog.turn():
                under_way.append(self._begin(batch))
                while under_way:
                    if not failed and (following := self._following()):
                        under_way.append(self._begin(following))
                    failed += self._finish(under_way[0])
                    under_way.popleft()
                    self._watchdog.renew()
        except BaseException as error:
            for left in under_way:
                settle((entry, _failure(error)) for entry in left.batch)
            settle((entry, _failure(error)) for entry in failed)
            raise
        return failed

    def _following(self) -> list[Entry]:
        """What the engine can begin with before it is done."""
        if self._overlapping is None or self._watchdog.device_wanted:
            return []
        return self._queue.take_waiting(self.tile)

    def _begin(self, batch: list[Entry]) -> _UnderWay:
        now = time.monotonic()
        under_way = _UnderWay(batch, self._start(batch), now)
        for entry in batch:  # counted while an engine that overlaps computes
            self._telemetry.queue_wait.observe(now - entry.queued_at)
        self._batch_size.observe(len(batch))
        self._fill_ratio.observe(len(batch) / self.tile)
        return under_way

    def _start(self, batch: list[Entry]) -> Finish:
        z_BZ, y_BL = np.stack([e.z for e in batch]), np.stack([e.y for e in batch])
        if self._overlapping is None:
            return lambda: self._generate(z_BZ, y_BL)
        try:
            finish = self._overlapping.begin(z_BZ, y_BL)
        except Exception as error:
            failure = error  # it is the batch's, when its turn comes
            return lambda: _raise(failure)
        return lambda: self._counted(finish(), len(batch))

    def _finish(self, run: _UnderWay) -> list[Entry]:
        """Settle a batch by its pictures; its entries if it failed, else none."""
        try:
            image_BHWC = run.finish()
        except Exception as error:
            if self._overlapping is not None and isinstance(error, EngineOutOfMemoryError):
                self._oom.inc()
            self._count_failure(error)
            log.exception("batch failed", pictures=len(run.batch))
            return run.batch
        now = time.monotonic()
        # Its time begins when the batch before was done.
        seconds = now - max(run.begun, self._free_since)
        self._inference.observe(seconds)
        # A short batch takes as long as a full one, and other models on the device have their turn.
        pace = (now - self._free_since) / max(self.tile, len(run.batch))
        self._free_since = now
        self._pace = pace_after(self._pace, pace)
        self._queue.set_pace(self._pace)
        settle(
            (entry, Inferred(image_HWC, run.begun - entry.queued_at, now - run.begun))
            for entry, image_HWC in zip(run.batch, image_BHWC, strict=True)
        )
        return []

    def _retry(self, entries: list[Entry]) -> bool:
        """Each entry of a failed batch once more, on its own; whether any went well."""
        any_served = False
        for entry in entries:
            if entry.future.done() or entry.deadline <= time.monotonic():
                continue
            try:
                with self._watchdog.turn():
                    begun = time.monotonic()
                    image_HWC = self._generate(entry.z[np.newaxis], entry.y[np.newaxis])[0]
            except Exception as error:
                log.warning("picture failed again", error=str(error))
                settle([(entry, _failure(error))])
            except BaseException as error:
                settle((entry, _failure(error)) for entry in entries)
                raise
            else:
                any_served = True
                took = Inferred(image_HWC, begun - entry.queued_at, time.monotonic() - begun)
                settle([(entry, took)])
        return any_served

    def _generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The engine's pictures; out of memory it goes on with half the tile, and half of that."""
        while True:
            try:
                image_BHWC = self._engine.generate(z_BZ, y_BL)
            except EngineOutOfMemoryError as error:
                self._oom.inc()
                if not self._engine.halve_tile():
                    raise
                # Another tile, other last bits: what is stored would not come out the same.
                self.spec, self.tile = self._engine.spec, self._engine.tile
                self._reservoir.clear()
                log.warning("out of memory: tile halved", tile=self.tile, error=str(error))
                continue
            return self._counted(image_BHWC, len(z_BZ))

    def _counted(self, image_BHWC: NDArray[np.uint8], wanted: int) -> NDArray[np.uint8]:
        if len(image_BHWC) != wanted:
            raise RuntimeError(f"{wanted} latents became {len(image_BHWC)} pictures")
        self._generated.inc(wanted)
        return image_BHWC

    def _count_failure(self, error: Exception) -> None:
        reason = "error"
        if isinstance(error, InferenceError):
            reason = error.slug.replace("-", "_")
        self._telemetry.engine_failures.labels(self.spec.name, reason).inc()


def _raise(error: Exception) -> NDArray[np.uint8]:
    raise error


def _failure(error: BaseException) -> InferenceError:
    """What a caller is told; all but what is wrong with its latent is the log's."""
    if isinstance(error, NotFiniteError):
        return NotFiniteError(str(error))
    if isinstance(error, EngineOutOfMemoryError):
        return EngineOutOfMemoryError("Not even one picture fits into the device's memory.")
    return InferenceError("The engine failed on this picture; the server's log says why.")
