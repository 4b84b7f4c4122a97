"""One thread that owns the engine: load, warm up, then take what waits and run it, tile by tile.

Knows nothing about HTTP, seeds or PNG. The consumer owns the interface: what this stage needs
of an engine is the `Engine` protocol here. Batches form by themselves: whatever has queued
while the engine was busy is the next one. A failing batch fails its own requests only; an
engine that fails time after time is given up, and readiness says so.
"""

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from service.errors import DrainingError, InferenceError, NotReadyError, VisageError
from service.labels import ModelSpec
from service.request_queue import Entry, Inferred, RequestQueue, settle
from service.telemetry import Telemetry

FAILURES_BEFORE_DEATH = 3
"""Failed batches in a row after which the engine counts as dead."""

log = structlog.get_logger("service.batcher")


class Engine(Protocol):
    """Computes pictures. Used from one thread only, the one that loaded it."""

    @property
    def spec(self) -> ModelSpec:
        """The model it has loaded."""

    @property
    def tile(self) -> int:
        """Pictures it computes in one step; fuller batches gain nothing."""

    def warm_up(self) -> None:
        """Make the first request as fast as the second."""

    def generate(self, z_BZ: NDArray[np.float32], y_BL: NDArray[np.float32]) -> NDArray[np.uint8]:
        """image_BHWC, RGB. Row b depends on z_Z and y_L of row b alone, to the last bit."""


class State(Enum):
    """Where the engine stands; only READY serves."""

    LOADING = "loading the model"
    WARMING_UP = "warming up"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Batcher:
    """Runs `load_engine()` and everything after it on a thread of its own."""

    def __init__(
        self,
        load_engine: Callable[[], Engine],
        queue: RequestQueue,
        telemetry: Telemetry,
        *,
        batch_wait: float,
    ) -> None:
        self._load_engine = load_engine
        self._queue = queue
        self._telemetry = telemetry
        self._batch_wait = batch_wait
        self._spec: ModelSpec | None = None
        self._tile = 0
        self._failure = ""
        self._lock = threading.Lock()
        self._state = State.LOADING
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def state(self) -> State:
        return self._state

    @property
    def tile(self) -> int:
        """The engine's tile; 0 before it is loaded."""
        return self._tile

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._thread.start()

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
        return self._state is State.READY

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
            return NotReadyError(f"The engine has failed: {self._failure}", retry_after=30)
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
            while batch := self._queue.take(engine.tile, wait=self._batch_wait):
                failures = 0 if self._serve(engine, batch) else failures + 1
                if failures == FAILURES_BEFORE_DEATH:
                    raise RuntimeError(f"{failures} batches in a row failed")
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
        name = engine.spec.name
        self._telemetry.model_load.labels(name).set(loaded - started)
        self._advance(State.WARMING_UP)
        engine.warm_up()
        self._telemetry.warmup.labels(name).set(time.perf_counter() - loaded)
        self._advance(State.READY)
        log.info(
            "ready",
            model=engine.spec.identity,
            engine=engine.spec.engine,
            resolution=engine.spec.resolution,
            tile=engine.tile,
            seconds=round(time.perf_counter() - started, 2),
        )
        return engine

    def _serve(self, engine: Engine, batch: list[Entry]) -> bool:
        """Run one batch and settle its entries; whether it went well."""
        model = engine.spec.name
        started = time.monotonic()
        for entry in batch:
            self._telemetry.queue_wait.observe(started - entry.queued_at)
        self._telemetry.batch_size.labels(model).observe(len(batch))
        self._telemetry.batch_fill_ratio.labels(model).observe(len(batch) / engine.tile)
        try:
            image_BHWC = engine.generate(
                np.stack([entry.z for entry in batch]), np.stack([entry.y for entry in batch])
            )
            if len(image_BHWC) != len(batch):
                raise RuntimeError(f"{len(batch)} latents became {len(image_BHWC)} pictures")
        except BaseException as error:
            log.exception("batch failed", pictures=len(batch))
            settle(batch, _fail)
            if not isinstance(error, Exception):
                raise
            return False
        seconds = time.monotonic() - started
        self._telemetry.inference.labels(model).observe(seconds)
        conditional = "true" if engine.spec.space.label_dim else "false"
        self._telemetry.images_generated.labels(model, conditional).inc(len(batch))
        images = {id(entry): image for entry, image in zip(batch, image_BHWC, strict=True)}
        settle(
            batch,
            lambda entry: entry.future.set_result(
                Inferred(images[id(entry)], started - entry.queued_at, seconds)
            ),
        )
        return True

    def _advance(self, state: State) -> None:
        """On to `state`, except that draining ends in nothing but stopped."""
        with self._lock:
            if self._state is not State.DRAINING or state is State.STOPPED:
                self._state = state

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self._failure = str(error) or type(error).__name__
            self._state = State.FAILED
        self._queue.abandon(self.refusal)


def _fail(entry: Entry) -> None:
    entry.future.set_exception(
        InferenceError("The engine failed on this picture; the server's log says why.")
    )
