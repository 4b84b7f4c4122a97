"""One thread that owns the engine: load, warm up, then take what waits and run it, tile by tile.

Knows nothing about HTTP, seeds or PNG. Batches form by themselves: whatever has queued while the
engine was busy is the next one. While nothing waits, the engine fills the reservoir. An engine
that fails time after time, whatever it is asked for, is given up, and readiness says so. One that
is at a batch for far too long cannot be stopped; it can be noticed.
"""

import math
import threading
import time
import traceback
from collections.abc import Callable
from enum import Enum

import structlog

from service.batch_runner import BatchRunner
from service.engine_protocol import Engine
from service.errors import DrainingError, NotReadyError, VisageError
from service.judge import Judge
from service.labels import ModelSpec
from service.request_queue import Entry, RequestQueue
from service.reservoir import Reservoir
from service.telemetry import Telemetry
from service.watchdog import Device, Watchdog

FAILURES_BEFORE_DEATH = 3
"""Batches in a row of which nothing came, after which the engine counts as dead."""
IDLE_SECONDS = 0.02
"""How long nobody must have asked for anything before the engine fills the reservoir."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the reservoir is tried again after that failed; doubled each time."""

log = structlog.get_logger("service.batcher")


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
        device: Device | None = None,
        stalled_after: float = math.inf,
    ) -> None:
        self._load_engine = load_engine
        self._queue = queue
        self._telemetry = telemetry
        self._batch_wait = batch_wait
        # `or` would replace an empty reservoir: its length is 0.
        self._reservoir = (
            Reservoir(0, 1, telemetry, lambda: None) if reservoir is None else reservoir
        )
        self._device = device or Device()
        self.watchdog = Watchdog(self._device)
        self.judge: Judge | None = None
        """Of its pictures, where the checkpoint has a critic; known once it is loaded."""
        self.load_seconds = self.warm_up_seconds = 0.0
        """What loading and warming up took; 0 before that."""
        self.was_ready = False
        """Whether it has ever come as far as that."""
        self._stalled_after = stalled_after
        self._runner: BatchRunner | None = None
        self._last_tile = 0
        self._fill_from = 0.0
        self._weights_bytes = 0
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
        runner = self._runner
        return self._last_tile if runner is None else runner.tile

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

    @property
    def settled(self) -> bool:
        """Whether it is loaded and warm, or never will be."""
        return self._settled.is_set()

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
        runner = self._runner
        if self.ready and runner is not None:
            return runner.spec
        raise self.refusal()

    def refusal(self) -> VisageError:
        """Why no picture can be had now."""
        if self._state in (State.DRAINING, State.STOPPED):
            return DrainingError()
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
            self._prepare()
        except BaseException as error:
            # Whoever gave us `load_engine` says this out loud; here it is what readiness says.
            log.debug("the engine did not load", exc_info=error)
            self._give_up(error)
            return
        try:
            self._work()
            self._let_go()
            self._advance(State.STOPPED)
        except BaseException as error:
            # Nothing may end this thread in silence: who waits would wait for ever.
            log.error("engine died", error=str(error), exc_info=error)
            self._give_up(error)

    def _prepare(self) -> None:
        started = time.perf_counter()
        engine = self._load_engine()
        loaded = time.perf_counter()
        runner = BatchRunner(engine, self._queue, self._telemetry, self._reservoir, self.watchdog)
        self._runner = runner
        self._weights_bytes = engine.weights_bytes
        name = engine.spec.name
        if engine.critic is not None:
            self.judge = Judge(engine.critic, self._device, self._telemetry, name)
            if engine.critic.takes_turns:
                self._weights_bytes += engine.critic.weights_bytes
        self.load_seconds = loaded - started
        self._advance(State.WARMING_UP)
        engine.warm_up()
        self.warm_up_seconds = time.perf_counter() - loaded
        # Said before it is so: once it is, nothing but a batch may end this thread.
        log.info(
            "ready",
            model=engine.spec.identity,
            engine=engine.spec.engine,
            resolution=engine.spec.resolution,
            tile=engine.tile,
            seconds=round(time.perf_counter() - started, 2),
        )
        self.was_ready = True
        self._advance(State.READY)
        self._settled.set()

    def _work(self) -> None:
        """One batch after another, until the queue is closed and empty."""
        runner = self._runner
        assert runner is not None, "it is prepared first"
        failures, pause = 0, 0.0
        while (batch := self._next_batch(runner.tile)) != []:
            if batch is None:
                served = runner.fill()
                pause = 0.0 if served else min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._fill_from = time.monotonic() + pause
            else:
                served = runner.serve(batch)
            failures = 0 if served else failures + 1
            if failures == FAILURES_BEFORE_DEATH:
                if not runner.still_works():
                    raise RuntimeError(f"{failures} batches in a row failed")
                failures = 0

    def _next_batch(self, tile: int) -> list[Entry] | None:
        """What waits; None where the reservoir's turn has come; empty at the very end."""
        while True:
            hungry = self._reservoir.hungry and self.ready
            pause = max(self._fill_from - time.monotonic(), IDLE_SECONDS)
            batch = self._queue.take(
                tile, wait=self._batch_wait, patience=pause if hungry else None
            )
            if batch is not None:
                return batch
            if hungry and time.monotonic() >= self._fill_from:
                return None

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
        _forget_locals(error)
        self._let_go()
        self._settled.set()

    def _let_go(self) -> None:
        """Of engine, critic and faces: who has this batcher may keep it until the next reload."""
        self._last_tile, self._runner = self.tile, None
        judge, self.judge = self.judge, None
        if judge is not None:
            judge.close()
        self._weights_bytes = 0
        self._reservoir.clear()


def _forget_locals(error: BaseException) -> None:
    """Of the calls it came through, which hold the engine and what it was computing."""
    link: BaseException | None = error
    seen: set[int] = set()  # causes and contexts together may go in a circle
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
