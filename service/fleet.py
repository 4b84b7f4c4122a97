"""The models being served, by name: each with its queue, engine thread and reservoir.

Knows nothing about HTTP or pictures. Belongs to the event loop. Who works with a model holds
it: one that is replaced or drained goes on until the last holder has let go, so that a reload
or a stop loses nothing that was accepted.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
from prometheus_client import Gauge

from service.batcher import Batcher, State
from service.engine_protocol import Engine
from service.errors import (
    CheckpointRejectedError,
    DrainingError,
    NotFoundError,
    SettingsError,
    UnknownModelError,
)
from service.labels import ModelSpec
from service.request_queue import RequestQueue
from service.reservoir import Reservoir
from service.served import Served
from service.settings import Settings
from service.telemetry import Telemetry
from service.watchdog import Device

log = structlog.get_logger("service.fleet")

LOAD_POLL = 0.05
"""Seconds between two looks at a model that is being loaded."""
LoadEngine = Callable[[Path], Engine]
"""Checkpoint folder → engine; called on the engine's own thread."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Fleet:
    """All models. `settings.checkpoints` are loaded at the start; `load` adds and replaces."""

    def __init__(self, settings: Settings, load_engine: LoadEngine, telemetry: Telemetry) -> None:
        self._settings = settings
        self._load_engine = load_engine
        self._telemetry = telemetry
        self._device = Device()
        self._loading = asyncio.Lock()
        self._draining = False
        self._grace_until = math.inf
        self._hangs_told: set[str] = set()
        self._folders = {folder.resolve().name: folder for folder in settings.checkpoints}
        for name in self._folders:
            # It stands in headers, addresses and pictures.
            if not _NAME.fullmatch(name):
                raise SettingsError(
                    f"VISAGE_CHECKPOINTS names a folder {name!r}, which is the model's name: "
                    "rename it to up to 64 of the characters A–Z, a–z, 0–9, '.', '_' and '-'"
                )
        if len(self._folders) < len(settings.checkpoints):
            raise SettingsError(
                "VISAGE_CHECKPOINTS names two folders with the same name, which is the model's "
                "name: rename one"
            )
        self.default = settings.default_model or next(iter(self._folders))
        if self.default not in self._folders:
            raise SettingsError(
                f"VISAGE_DEFAULT_MODEL is {self.default!r}, which is none of the checkpoints: "
                f"{', '.join(self._folders)}"
            )
        self._served: dict[str, Served] = {}
        self._retired: list[Served] = []
        for name, folder in self._folders.items():
            self._serve(name, self._open(folder))
        telemetry.watch(
            ready=lambda: self.ready,
            weights_bytes=lambda: sum(served.batcher.weights_bytes for served in self._all()),
        )

    def start(self) -> None:
        """Begin to load every model; returns at once."""
        for served in self._served.values():
            served.batcher.start()

    @property
    def state(self) -> State:
        """Of the default model, unless another one is not ready."""
        states = [self._served[self.default].batcher.state]
        states += [served.batcher.state for served in self._served.values()]
        return next((state for state in states if state is not State.READY), State.READY)

    @property
    def ready(self) -> bool:
        """Whether every model can be served now."""
        return not self._draining and all(s.batcher.ready for s in self._served.values())

    @property
    def start_failure(self) -> BaseException | None:
        """Why one of the models that should be there from the start never came up."""
        for served in self._served.values():
            batcher = served.batcher
            if batcher.state is State.FAILED and not batcher.was_ready:
                return batcher.failure
        return None

    def check_ready(self) -> None:
        """Raises the reason why pictures cannot be had now."""
        if self._draining:
            raise DrainingError
        for served in self._served.values():
            _ = served.spec

    def check_alive(self) -> None:
        """Raises the reason why only a new process helps: an engine died at work, or hangs."""
        for name, served in self._served.items():
            batcher = served.batcher
            if batcher.state is State.FAILED and batcher.was_ready:
                raise batcher.refusal()
            if batcher.watchdog.busy_seconds > self._settings.watchdog:
                if name not in self._hangs_told:
                    self._hangs_told.add(name)
                    log.error("engine hangs", model=name, stack=batcher.watchdog.stack())
                raise batcher.refusal()
            self._hangs_told.discard(name)

    def specs(self) -> Sequence[tuple[ModelSpec, int]]:
        """What is loaded, with its tile, the default first; raises like `check_ready`."""
        self.check_ready()
        first = self._served[self.default]
        others = [served for served in self._served.values() if served is not first]
        return [(served.spec, served.tile) for served in (first, *others)]

    @property
    def default_served(self) -> Served | None:
        """The default model, while it can be served."""
        served = self._served[self.default]
        return None if self._draining or not served.batcher.ready else served

    @contextmanager
    def lease(self, name: str | None = None) -> Iterator[Served]:
        """The model `name`, or the default one, kept going until the block is left.

        Raises UnknownModelError, NotReadyError or DrainingError.
        """
        if self._draining:
            raise DrainingError
        served = self._served.get(self.default if name is None else name)
        if served is None:
            raise UnknownModelError(
                f"The model {name!r} is not loaded; loaded: {', '.join(sorted(self._served))}."
            )
        _ = served.spec
        with served.hold():
            yield served

    async def load(self, name: str) -> tuple[ModelSpec, int, float]:
        """Load or reload the checkpoint of that name; its spec, tile and the seconds it took.

        The folder is the one the settings name, or one of that name beside the default model's.
        The new model takes over once it is warm; the old one finishes what it has. Raises
        NotFoundError without such a folder, CheckpointRejectedError where it is no good: then
        the old one goes on.
        """
        async with self._loading:
            if self._draining:
                raise DrainingError
            started = time.perf_counter()
            fresh = self._open(self._folder(name))
            fresh.batcher.start()
            # Not on a thread: a stop would have to wait for that, however long loading takes.
            while not fresh.batcher.settled and not self._draining:  # noqa: ASYNC110  # set there
                await asyncio.sleep(LOAD_POLL)
            if fresh.batcher.state is State.FAILED:
                log.warning("checkpoint rejected", model=name, error=str(fresh.batcher.failure))
                raise CheckpointRejectedError(
                    f"{fresh.batcher.failure}. "
                    + ("The old one goes on." if name in self._served else "Nothing has changed.")
                )
            if self._draining:
                fresh.retire()
                self._retired.append(fresh)  # its thread is waited for as the others are
                raise DrainingError
            spec, tile, old = fresh.spec, fresh.tile, self._served.get(name)
            self._serve(name, fresh)
            if old is not None:
                old.retire()
                self._retired = [s for s in self._retired if not s.batcher.join(0)] + [old]
            seconds = time.perf_counter() - started
            log.info("model loaded", model=spec.identity, seconds=round(seconds, 2))
            return spec, tile, seconds

    def drain(self) -> None:
        """Accept nothing new and finish what is held; returns at once. Safe to repeat."""
        if not self._draining:
            self._draining = True
            self._grace_until = time.monotonic() + self._settings.drain_grace
        for served in self._served.values():
            served.retire()

    @property
    def grace_left(self) -> float:
        """Seconds that what was accepted still has."""
        return max(0.0, min(self._grace_until - time.monotonic(), self._settings.drain_grace))

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for every engine thread to end; whether they have."""
        until = time.monotonic() + timeout
        return all(s.batcher.join(max(0.0, until - time.monotonic())) for s in self._all())

    def close(self) -> None:
        """Whoever still holds a model: close the queues, so that the threads end."""
        self.drain()
        for served in self._all():
            served.end()

    def _all(self) -> Sequence[Served]:
        return [*self._served.values(), *self._retired]

    def _folder(self, name: str) -> Path:
        if name in self._folders:
            return self._folders[name]
        beside = self._folders[self.default].resolve().parent / name
        if not _NAME.fullmatch(name) or not beside.is_dir():
            raise NotFoundError(
                f"There is no checkpoint {name!r} beside that of {self.default}; copy its folder "
                "there first."
            )
        return beside

    def _serve(self, name: str, served: Served) -> None:
        """From now on under that name."""
        known = name in self._served
        self._served[name] = served
        if known:
            return
        # Of whichever is served then: one that is still on trial has nothing to show.
        telemetry, now = self._telemetry, self._served
        readers: dict[Gauge, Callable[[], float]] = {
            telemetry.queue_depth: lambda: len(now[name].queue),
            telemetry.queue_capacity: lambda: now[name].queue.capacity,
            telemetry.reservoir_faces: lambda: len(now[name].reservoir),
            telemetry.engine_busy: lambda: now[name].batcher.watchdog.busy_seconds,
            telemetry.model_load: lambda: now[name].batcher.load_seconds,
            telemetry.warmup: lambda: now[name].batcher.warm_up_seconds,
        }
        for gauge, reader in readers.items():
            telemetry.follow(gauge.labels(name), reader)

    def _open(self, folder: Path) -> Served:
        settings, telemetry = self._settings, self._telemetry
        queue = RequestQueue(settings.queue_capacity, telemetry)
        reservoir = Reservoir(
            settings.reservoir, settings.reservoir_label_sets, telemetry, queue.nudge
        )
        batcher = Batcher(
            lambda: self._load_engine(folder),
            queue,
            telemetry,
            batch_wait=settings.batch_wait,
            reservoir=reservoir,
            device=self._device,
            stalled_after=settings.deadline,
        )
        return Served(batcher, queue, reservoir)
