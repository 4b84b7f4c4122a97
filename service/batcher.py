"""One thread that owns the engine: load, warm up, then take what waits and run it, tile by tile.

Knows nothing about HTTP, seeds or PNG. The consumer owns the interface: what this stage needs
of an engine is the `Engine` protocol here. Batches form by themselves: whatever has queued
while the engine was busy is the next one. While nothing waits, the engine fills the reservoir.
The requests of a failing batch are retried once, one by one, so that only those fail that do so
by themselves; an engine that fails time after time, whatever it is asked for, is given up, and
readiness says so. One that is at a batch for far too long cannot be stopped; it can be noticed.
"""

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from service.errors import (
    DrainingError,
    EngineOutOfMemoryError,
    InferenceError,
    NotFiniteError,
    NotReadyError,
    VisageError,
)
from service.labels import ModelSpec
from service.request_queue import Entry, Inferred, RequestQueue, settle
from service.reservoir import Reservoir
from service.telemetry import Telemetry
from service.watchdog import Watchdog

FAILURES_BEFORE_DEATH = 3
"""Batches in a row of which nothing came, after which the engine counts as dead."""
IDLE_SECONDS = 0.02
"""How long nobody must have asked for anything before the engine fills the reservoir."""
PACE_MEMORY = 0.8
"""Weight of the past in the average seconds per picture."""

log = structlog.get_logger("service.batcher")


class Engine(Protocol):
    """Computes pictures. Used from one thread only, the one that loaded it."""

    @property
    def spec(self) -> ModelSpec:
        """The model it has loaded."""

    @property
    def tile(self) -> int:
        """Pictures it computes in one step; fuller batches gain nothing."""

    @property
    def weights_bytes(self) -> int:
        """Memory of the device that the weights take."""

    def warm_up(self) -> None:
        """Make the first request as fast as the second."""

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, RGB. Row b depends on z_Z and y_L of row b alone, to the last bit.

        Raises EngineOutOfMemoryError where there is not the memory for it, and NotFiniteError where
        a picture came out as NaN or infinity: there are no pixels for that.
        """

    def halve_tile(self) -> bool:
        """Need less memory from now on; False where the tile is one picture already."""


class State(Enum):
    """Where the engine stands; only READY serves."""

    LOADING = "loading the model"
    WARMING_UP = "warming up"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Batcher:
    """Runs `load_engine()` and everything after it on a thread of its own.

    `device`: held during each batch, so that several models share one device in turn.
    `stalled_after`: seconds at one batch after which it counts as not ready, until that is over.
    """

    def __init__(
        self,
        load_engine: Callable[[], Engine],
        queue: RequestQueue,
        telemetry: Telemetry,
        *,
        batch_wait: float,
        reservoir: Reservoir | None = None,
        device: AbstractContextManager[Any] | None = None,
        stalled_after: float = math.inf,
    ) -> None:
        self._load_engine = load_engine
        self._queue = queue
        self._telemetry = telemetry
        self._batch_wait = batch_wait
        # An empty reservoir is false.
        self._reservoir = (
            Reservoir(0, 1, telemetry, lambda: None) if reservoir is None else reservoir
        )
        self.watchdog = Watchdog(device or threading.Lock())
        self._stalled_after = stalled_after
        self._spec: ModelSpec | None = None
        self._tile = 0
        self._weights_bytes = 0
        self._pace = 0.0
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._state = State.LOADING
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def state(self) -> State:
        return self._state

    @property
    def tile(self) -> int:
        """The engine's tile; 0 before it is loaded."""
        return self._tile

    @property
    def weights_bytes(self) -> int:
        """Memory of the device that its weights take; 0 while there are none."""
        return self._weights_bytes

    @property
    def failure(self) -> BaseException | None:
        """Why it is in the state FAILED."""
        return self._failure

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._thread.start()

    def wait_settled(self) -> State:
        """Block until it is loaded and warm, or never will be; the state then."""
        self._settled.wait()
        return self._state

    def drain(self) -> None:
        """Accept nothing more and finish what waits; returns at once. Safe to repeat."""
        with self._lock:
            if self._state in (State.DRAINING, State.STOPPED, State.FAILED):
                return
            self._state = State.DRAINING
        self._queue.close(self.refusal)

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the thread to end; whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether pictures can be had now."""
        return self._state is State.READY and self.watchdog.busy_seconds <= self._stalled_after

    def spec(self) -> ModelSpec:
        """The loaded model, while it can be served: NotReadyError or DrainingError otherwise."""
        if self.ready and self._spec is not None:
            return self._spec
        raise self.refusal()

    def refusal(self) -> VisageError:
        """Why no picture can be had now."""
        if self._state in (State.DRAINING, State.STOPPED):
            return DrainingError("The server is shutting down; ask another one, or try again.")
        if self._state is State.FAILED:
            reason = str(self._failure) or type(self._failure).__name__
            return NotReadyError(f"The engine has failed: {reason}", retry_after=30)
        if self._state is State.READY:
            seconds = math.ceil(self.watchdog.busy_seconds)
            return NotReadyError(
                f"The engine has been busy with one batch for {seconds} seconds, longer than a "
                "request may take; ask another server, or try again later.",
                retry_after=10,
            )
        return NotReadyError(f"The server is {self._state.value}; try again in a moment.")

    def _run(self) -> None:
        try:
            engine = self._prepare()
        except BaseException as error:
            # Whoever gave us `load_engine` says this out loud; here it is what readiness says.
            log.debug("the engine did not load", exc_info=error)
            self._give_up(error)
            return
        try:
            failures = 0
            while (batch := self._next_batch(engine)) != []:
                served = self._fill(engine) if batch is None else self._serve(engine, batch)
                failures = 0 if served else failures + 1
                if failures == FAILURES_BEFORE_DEATH:
                    if not self._still_works(engine):
                        raise RuntimeError(f"{failures} batches in a row failed")
                    failures = 0
            self._weights_bytes = 0
            self._advance(State.STOPPED)
        except BaseException as error:
            # Nothing may end this thread in silence: who waits would wait for ever.
            log.error("engine died", error=str(error), exc_info=error)
            self._give_up(error)

    def _prepare(self) -> Engine:
        started = time.perf_counter()
        engine = self._load_engine()
        loaded = time.perf_counter()
        self._spec, self._tile = engine.spec, engine.tile
        self._weights_bytes = engine.weights_bytes
        name = engine.spec.name
        self._telemetry.model_load.labels(name).set(loaded - started)
        # A series that began at one would hide the first time from whoever watches for increases.
        self._telemetry.engine_oom.labels(name)
        self._advance(State.WARMING_UP)
        engine.warm_up()
        self._telemetry.warmup.labels(name).set(time.perf_counter() - loaded)
        self._advance(State.READY)
        self._settled.set()
        log.info(
            "ready",
            model=engine.spec.identity,
            engine=engine.spec.engine,
            resolution=engine.spec.resolution,
            tile=engine.tile,
            seconds=round(time.perf_counter() - started, 2),
        )
        return engine

    def _next_batch(self, engine: Engine) -> list[Entry] | None:
        """What waits; None where the reservoir's turn has come; empty at the very end."""
        while True:
            hungry = self._reservoir.hungry and self.ready
            batch = self._queue.take(
                engine.tile, wait=self._batch_wait, patience=IDLE_SECONDS if hungry else None
            )
            if batch is not None or hungry:
                return batch

    def _serve(self, engine: Engine, batch: list[Entry]) -> bool:
        """Run one batch and settle its entries; whether any picture came of it."""
        model = engine.spec.name
        now = time.monotonic()
        for entry in batch:
            self._telemetry.queue_wait.observe(now - entry.queued_at)
        self._telemetry.batch_size.labels(model).observe(len(batch))
        self._telemetry.batch_fill_ratio.labels(model).observe(len(batch) / engine.tile)
        try:
            self._run_batch(engine, batch)
        except Exception as error:
            self._count_failure(engine, error)
            log.exception("batch failed", pictures=len(batch))
        except BaseException as error:
            settle(batch, _failing(error))
            raise
        else:
            return True
        return self._retry(engine, batch)

    def _retry(self, engine: Engine, batch: list[Entry]) -> bool:
        """Each entry of a failed batch once more, on its own; whether any went well."""
        any_served = False
        for entry in batch:
            if entry.future.done() or entry.deadline <= time.monotonic():
                continue
            try:
                self._run_batch(engine, [entry])
            except Exception as error:
                log.warning("picture failed again", error=str(error))
                settle([entry], _failing(error))
            except BaseException as error:
                settle(batch, _failing(error))
                raise
            else:
                any_served = True
        return any_served

    def _run_batch(self, engine: Engine, batch: list[Entry]) -> None:
        model = engine.spec.name
        z_BZ, y_BL = np.stack([e.z for e in batch]), np.stack([e.y for e in batch])
        taken = time.monotonic()
        with self.watchdog.turn():
            started = time.monotonic()
            image_BHWC = self._generate(engine, z_BZ, y_BL)
            seconds = time.monotonic() - started
        self._telemetry.inference.labels(model).observe(seconds)
        # A short batch takes as long as a full one, and other models on the device have their turn.
        pace = (time.monotonic() - taken) / max(engine.tile, len(batch))
        self._pace = PACE_MEMORY * self._pace + (1 - PACE_MEMORY) * pace if self._pace else pace
        self._queue.set_pace(self._pace)
        images = {id(entry): image for entry, image in zip(batch, image_BHWC, strict=True)}
        settle(
            batch,
            lambda entry: entry.future.set_result(
                Inferred(images[id(entry)], started - entry.queued_at, seconds)
            ),
        )

    def _fill(self, engine: Engine) -> bool:
        """One tile of fresh faces for the reservoir; whether that went well."""
        plan = self._reservoir.plan(engine.spec, engine.tile)
        if plan is None:
            return True
        try:
            with self.watchdog.turn():
                image_BHWC = self._generate(engine, plan.z_BZ, plan.y_BL)
        except Exception as error:
            self._count_failure(engine, error)
            log.exception("filling the reservoir failed", pictures=len(plan.faces))
            return False
        self._reservoir.fill(plan, image_BHWC)
        return True

    def _still_works(self, engine: Engine) -> bool:
        """Whether it makes a picture of nothing in particular: then it was what was asked for."""
        spec = engine.spec
        try:
            with self.watchdog.turn():
                engine.generate(
                    np.zeros((1, spec.latent_dim), np.float32),
                    np.zeros((1, spec.space.label_dim), np.float32),
                )
        except Exception as error:
            self._count_failure(engine, error)
            return False
        return True

    def _count_failure(self, engine: Engine, error: Exception) -> None:
        reason = "error"
        if isinstance(error, InferenceError):
            reason = error.slug.replace("-", "_")
        self._telemetry.engine_failures.labels(engine.spec.name, reason).inc()

    def _generate(
        self, engine: Engine, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """The engine's pictures; out of memory it goes on with half the tile, and half of that."""
        while True:
            try:
                image_BHWC = engine.generate(z_BZ, y_BL)
            except EngineOutOfMemoryError as error:
                self._telemetry.engine_oom.labels(engine.spec.name).inc()
                if not engine.halve_tile():
                    raise
                # Another tile, other last bits: what is stored would not come out the same.
                self._spec, self._tile = engine.spec, engine.tile
                self._reservoir.clear()
                log.warning("out of memory: tile halved", tile=engine.tile, error=str(error))
                continue
            if len(image_BHWC) != len(z_BZ):
                raise RuntimeError(f"{len(z_BZ)} latents became {len(image_BHWC)} pictures")
            conditional = "true" if engine.spec.space.label_dim else "false"
            self._telemetry.images_generated.labels(engine.spec.name, conditional).inc(len(z_BZ))
            return image_BHWC

    def _advance(self, state: State) -> None:
        """On to `state`, except that draining ends in nothing but stopped."""
        with self._lock:
            if self._state is not State.DRAINING or state is State.STOPPED:
                self._state = state

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self._failure = error
            self._state = State.FAILED
        self._queue.abandon(self.refusal)
        self._settled.set()


def _failing(error: BaseException) -> Callable[[Entry], None]:
    """Tells each caller; what is wrong with its latent is said, all else is the log's."""

    def fail(entry: Entry) -> None:
        entry.future.set_exception(
            NotFiniteError(str(error))
            if isinstance(error, NotFiniteError)
            else InferenceError("The engine failed on this picture; the server's log says why.")
        )

    return fail
