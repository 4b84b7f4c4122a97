"""Scores of pictures by a model's critic, on a thread of its own, in turn with the engines.

Knows nothing about seeds, HTTP or torch: a critic is whatever keeps the protocol here. The thread
begins with the first case, so a server that is never asked to choose has none.
"""

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import structlog
from numpy.typing import NDArray

from service.engine_protocol import Critic
from service.errors import DeadlineError, InferenceError, QueueFullError
from service.request_queue import WAITING_SHARE, pace_after
from service.telemetry import Telemetry
from service.watchdog import Device

log = structlog.get_logger("service.judge")


@dataclass(frozen=True)
class _Case:
    """Pictures with the same labels, and who waits for their scores."""

    image_NHWC: list[NDArray[np.uint8]]
    y_L: NDArray[np.float32]
    future: asyncio.Future[list[float]]


class Judge:
    """`device`: held for each picture, so that engines and other judges come between them."""

    def __init__(self, critic: Critic, device: Device, telemetry: Telemetry, model: str) -> None:
        self.critic = critic
        self._turn: Device | nullcontext[None] = device if critic.takes_turns else nullcontext()
        self._seconds = telemetry.critic.labels(model)
        self._choices = telemetry.choices.labels(model)
        self._candidates = telemetry.candidates.labels(model)
        self._cases: SimpleQueue[_Case | None] = SimpleQueue()
        self._expected = 0
        self._seconds_per_picture = 0.0
        # Nothing can end a thread that waits for a device that hangs: it must not hold up the end.
        self._thread = threading.Thread(target=self._run, name="critic", daemon=True)

    @contextmanager
    def room(self, pictures: int, patience: float) -> Iterator[None]:
        """Expect so many pictures until the block is left, before any of them is made.

        QueueFullError where those expected already may not all be scored within `patience` seconds.
        """
        seconds = self._expected * self._seconds_per_picture
        if seconds > WAITING_SHARE * patience:
            raise QueueFullError(
                f"{self._expected} pictures are waiting for the critic already, which will take "
                f"{seconds:.1f} seconds, too long to be sure of an answer in time; try later, or "
                "without best_of.",
                retry_after=max(1, math.ceil(seconds / 2)),
                reason="deadline",
            )
        self._expected += pictures
        try:
            yield
        finally:
            self._expected -= pictures

    async def scores(
        self, image_NHWC: list[NDArray[np.uint8]], y_L: NDArray[np.float32], *, deadline: float
    ) -> list[float]:
        """One for each picture, as the critic would give it alone.

        `deadline`: `time.monotonic()` seconds, after which DeadlineError; InferenceError where the
        critic fails. Cancelling drops the pictures not yet scored.
        """
        if self._thread.ident is None:
            self._thread.start()
        future: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        self._cases.put(_Case(image_NHWC, y_L, future))
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                scores = await future
        except TimeoutError:
            raise DeadlineError(
                "The best picture was not chosen within the time a request may take; "
                "try again later."
            ) from None
        self._choices.inc()
        self._candidates.inc(len(scores))
        return scores

    def close(self) -> None:
        """End the thread after the cases that wait; safe to repeat."""
        self._cases.put(None)

    def _run(self) -> None:
        while (case := self._cases.get()) is not None:
            scores: list[float] | None
            try:
                scores = self._decide(case)
            except Exception as error:
                log.exception("the critic failed", error=str(error))
                scores = None
            with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                case.future.get_loop().call_soon_threadsafe(_settle, case.future, scores)

    def _decide(self, case: _Case) -> list[float]:
        scores: list[float] = []
        for image_HWC in case.image_NHWC:
            began = time.monotonic()
            with self._turn:
                if case.future.done():  # nobody waits any more
                    break
                with self._seconds.time():
                    scores.append(self.critic.score(image_HWC, case.y_L))
            # Others' turns are part of how long it takes.
            took = time.monotonic() - began
            self._seconds_per_picture = pace_after(self._seconds_per_picture, took)
        return scores


def _settle(future: asyncio.Future[list[float]], scores: list[float] | None) -> None:
    if future.done():
        return
    if scores is None:
        detail = "The critic failed on these pictures; the server's log says why."
        future.set_exception(InferenceError(detail))
    else:
        future.set_result(scores)
