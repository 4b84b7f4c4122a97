"""Several workers behind one address: each accepted connection goes to the one that has fewest.

Knows nothing about HTTP, models or torch: the one thing that it does with a connection is to give
it away. Workers that end unasked are replaced; the address stays open all the while
(docs/decisions/0012-connections-are-handed-over.md).
"""

import asyncio
import itertools
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from service.child import Child
from service.door import Door
from service.handover import Message, Place
from service.metrics_shared import SharedTelemetry, forget
from service.restarts import Restarts
from service.settings import Settings
from service.shares import Share

SILENCE = 30
"""Seconds without a word, ten times a second being usual, after which a worker counts as hung."""
AT_ONCE = 2.0
"""Seconds to stop at once, after which to be killed."""
PATIENCE = 10.0
"""Seconds beyond twice the grace period for retiring workers to end."""
LAST_MOMENTS = 4.0
"""Seconds beyond the grace period for workers that stop: with the default grace period they are
gone before Kubernetes and Compose, after 30 s, would kill them and this process too."""

log = structlog.get_logger("service.supervisor")


@dataclass(frozen=True)
class End:
    """How it ended."""

    code: int
    sentence: str | None = None
    """For stderr, where it ended by a refusal."""


@dataclass
class Slot:
    """One share of the machine, and the worker that has it now."""

    share: Share
    child: Child | None = None
    restarts: Restarts = field(default_factory=Restarts)


class Supervisor:
    """`run` it once. `arguments` are those of the command line; workers get them too."""

    def __init__(
        self,
        settings: Settings,
        arguments: Sequence[str],
        listener: socket.socket,
        shares: Sequence[Share],
    ) -> None:
        self._arguments = arguments
        self._grace = settings.drain_grace
        self._quotas_apart = bool(settings.rate_limit and not settings.redis_url.get_secret_value())
        self._listener = listener
        self._slots = [Slot(share) for share in shares]
        self._children: list[Child] = []
        """All that live, those included that are being replaced."""
        self._models: list[str] = []
        """What was loaded since the start: successors load it too."""
        self._restarting = False
        self._end = End(0)

    def run(self) -> End:
        """Until told to stop, or until there is no hope."""
        self._metrics = _folder()
        try:
            return asyncio.run(self._run())
        finally:
            shutil.rmtree(self._metrics, ignore_errors=True)

    async def _run(self) -> End:
        loop = asyncio.get_running_loop()
        self._telemetry = SharedTelemetry(self._metrics, "supervisor", supervisor=os.getpid())
        self._telemetry.processes.set(len(self._slots))
        if self._quotas_apart:
            log.warning("each process counts VISAGE_RATE_LIMIT for itself without VISAGE_REDIS_URL")
        self._door = Door(self._listener, self._takers)
        self._stopping = asyncio.Event()
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_restart)
        self._task(self._watch())
        await asyncio.gather(*(self._keep(slot) for slot in self._slots))
        await asyncio.gather(*(child.ended for child in self._children))
        self._door.close()
        for task in self._tasks:
            task.cancel()
        return self._end

    # Workers come and go.

    async def _start(self, slot: Slot) -> Child:
        used = {child.number for child in self._children}
        number = next(number for number in itertools.count(1) if number not in used)
        place = Place(
            number, slot.share.threads, slot.share.cores, tuple(self._models), str(self._metrics)
        )
        child = Child(place, slot.share, self._arguments, self._hear)
        self._children.append(child)
        child.ended.add_done_callback(lambda _: self._gone(child))
        await child.start()
        if self._stopping.is_set():
            child.say(do="drain")
        return child

    def _gone(self, child: Child) -> None:
        self._children.remove(child)
        forget(self._metrics, str(child.number))

    async def _keep(self, slot: Slot) -> None:
        """Keep one share of the machine at work."""
        while not self._stopping.is_set():
            started = time.monotonic()
            child = slot.child = await self._start(slot)
            code = await child.ended
            while slot.child is not child:  # it was replaced in time
                child, started = slot.child, time.monotonic()
                code = await child.ended
            if self._stopping.is_set():
                return
            self._telemetry.processes_died.inc()
            delay = slot.restarts.after(
                time.monotonic() - started,
                was_ready=child.was_ready,
                others_ready=any(other.welcomes for other in self._children),
            )
            reason = child.refusal or _spoken(code)
            if delay is None:
                self._give_up(child, code, reason)
                return
            log.error("process ended", number=child.number, reason=reason, successor_in=delay)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    def _give_up(self, child: Child, code: int, reason: str) -> None:
        log.error("giving up", number=child.number, reason=reason)
        refused = code == 2 and child.refusal is not None
        sentence = f"process {child.number} {reason} before it was ready; the log says more"
        self._end = End(2, child.refusal) if refused else End(1, sentence)
        self._halt()

    async def _restart_all(self) -> None:
        """One after another: the new one is ready before the old one is told to go."""
        self._restarting = True
        try:
            for slot in self._slots:
                old = slot.child
                if old is None or old.ended.done():
                    continue  # its successor is new anyway
                fresh = await self._start(slot)
                await fresh.settled.wait()
                if self._stopping.is_set():
                    return
                if fresh.ended.done():
                    reason = fresh.refusal or _spoken(fresh.ended.result())
                    log.error("restart given up: the old processes go on", reason=reason)
                    return
                if old.ended.done():  # which has a successor by now
                    fresh.retire()
                    continue
                slot.child = fresh
                old.retire()
                await asyncio.wait([old.ended], timeout=2 * self._grace + PATIENCE)
                old.kill()
            log.info("restarted", processes=len(self._slots))
        finally:
            self._restarting = False

    async def _watch(self) -> None:
        """Replace a worker that says nothing any more. Counts seconds of this process: one in
        which the whole machine stood still is nobody's silence."""
        while True:
            await asyncio.sleep(1)
            for child in self._children:
                child.silent += 1
                if child.listens and child.silent > SILENCE:
                    log.error("process hangs", number=child.number, seconds=child.silent)
                    child.kill()

    # What workers say.

    def _takers(self) -> Sequence[Child]:
        """Those that are ready; without any, those that can say why they are not."""
        welcoming = [child for child in self._children if child.welcomes]
        return welcoming or [child for child in self._children if child.listens]

    def _hear(self, child: Child, message: Message) -> None:
        if "load" in message:
            self._task(self._load_elsewhere(child, message["load"], message["ask"]))
        elif "closing" in message:
            child.leaving = True
            if self._stopping.is_set() and not self._takers():
                self._door.close(child)
            child.no_more()
        else:  # it has changed its state
            self._door.open()

    async def _load_elsewhere(self, asker: Child, name: str, ask: int) -> None:
        if self._restarting:
            errors = ["the processes are being restarted one after another"]
            asker.say(answer=ask, errors=errors, processes=0)
            return
        async with self._loading:
            if name not in self._models:
                self._models.append(name)
            others = [c for c in self._children if c is not asker and not c.retiring]
            came = await asyncio.gather(*(child.load_model(name) for child in others))
        errors = [
            f"process {child.number}: {error}"
            for child, error in zip(others, came, strict=True)
            if error is not None
        ]
        asker.say(answer=ask, errors=errors, processes=len(others))

    # What the system says.

    def _told_to_stop(self) -> None:
        if self._stopping.is_set():
            self._halt()
            return
        log.info("draining", grace=self._grace)
        self._stopping.set()
        for child in self._children:
            child.say(do="drain")
        asyncio.get_running_loop().call_later(self._grace + LAST_MOMENTS, self._kill_all)

    def _told_to_restart(self) -> None:
        if not self._stopping.is_set() and not self._restarting:
            log.info("restarting", processes=len(self._slots))
            self._task(self._restart_all())

    def _halt(self) -> None:
        """Stop at once."""
        self._stopping.set()
        for child in self._children:
            child.say(do="stop")
        asyncio.get_running_loop().call_later(AT_ONCE, self._kill_all)

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _folder() -> Path:
    """For the metrics: in memory, where there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="visage-metrics-", dir=memory if usable else None))


def _spoken(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
