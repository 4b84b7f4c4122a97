"""One of several servers behind one address: its connections come from the supervisor.

`python -m service.worker PLACE …`, started by `child.py`; nobody else has a use for it. Whether to
stop, and when, is for the supervisor to say. Knows nothing about the other workers.
"""

import asyncio
import itertools
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from fastapi import FastAPI

from service.app import create_app
from service.batcher import State
from service.errors import PartlyLoadedError, SettingsError, VisageError
from service.handover import Message, Place, last_line, line, take
from service.log_setup import configure_logging
from service.metrics_shared import SharedTelemetry
from service.server import DrainingServer, engine_loader, explain
from service.settings import Settings, load_settings

LAST_ARRIVALS = 5.0
"""Seconds to wait for the supervisor to give the last connections."""

log = structlog.get_logger("service.worker")


class Talk:
    """What the worker says and hears. Usable once `open` was awaited."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._asks = itertools.count()
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self.lost = False
        """The supervisor is gone."""

    async def open(
        self, obey: Callable[[Message], None], load: Callable[[str], Awaitable[object]]
    ) -> None:
        """Follow what is said from now on: loads are done, `obey` is told all else."""
        reader, self._writer = await asyncio.open_connection(sock=self._channel.dup())
        self._tasks = {asyncio.ensure_future(self._listen(reader, obey, load))}

    def say(self, **message: object) -> None:
        self._writer.write(line(message))

    async def load_elsewhere(self, name: str) -> int:
        """See exchange.LoadElsewhere."""
        ask = next(self._asks)
        waiting = self._answers[ask] = asyncio.get_running_loop().create_future()
        self.say(load=name, ask=ask)
        answer = await waiting
        if answer["errors"]:
            raise PartlyLoadedError(
                f"Loaded, but not by every process ({'; '.join(answer['errors'])}): load it again."
            )
        return int(answer["processes"])

    async def _listen(
        self,
        reader: asyncio.StreamReader,
        obey: Callable[[Message], None],
        load: Callable[[str], Awaitable[object]],
    ) -> None:
        with suppress(ConnectionError):
            while text := await reader.readline():
                message: Message = json.loads(text)
                if "answer" in message:
                    self._answers.pop(message["answer"]).set_result(message)
                elif "load" in message:
                    task = asyncio.ensure_future(self._load(load, message))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                else:
                    obey(message)
        self.lost = True
        for waiting in self._answers.values():
            waiting.set_result({"errors": ["the supervisor is gone"]})

    async def _load(self, load: Callable[[str], Awaitable[object]], message: Message) -> None:
        error = None
        try:
            await load(message["load"])
        except VisageError as refused:
            error = str(refused)
        self.say(loaded=message["ask"], error=error)


class WorkerServer(DrainingServer):
    """Answers on the connections that come over `channel`."""

    def __init__(
        self, app: FastAPI, settings: Settings, channel: socket.socket, talk: Talk
    ) -> None:
        super().__init__(app, settings)
        channel.setblocking(False)
        self._channel = channel
        self._talk = talk
        self._telemetry: SharedTelemetry = app.state.telemetry
        self._received = 0
        self._last_report: tuple[str, int, int] | None = None
        self._was_ready = False
        self._parting = False
        self._retire_after: int | None = None
        """Once so many connections were received and all of them are gone: drain."""
        self._retire_until = 0.0
        self._entering: set[asyncio.Task[None]] = set()
        self._all_in = asyncio.Event()

    def handle_exit(self, *_: object) -> None:
        """A service manager may signal every process there is, so twice means nothing here."""
        self.signalled = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets or [])
        await self._talk.open(self._obey, self.fleet.load)
        asyncio.get_running_loop().add_reader(self._channel, self._arrivals)
        self._part(True)

    async def on_tick(self, counter: int) -> bool:
        ready = self.fleet.ready
        if ready and not self._was_ready:
            self._was_ready = True
            self._part(False)
        failed = self._was_ready and self.fleet.state is State.FAILED
        if (failed or self._talk.lost) and self._retire_after is None:
            self._retire(self._received)
        if self._retire_after is not None and not self.signalled:
            gone = self._received >= self._retire_after and not self.server_state.connections
            self.signalled = gone or time.monotonic() >= self._retire_until
        self._telemetry.refresh()
        state = "ready" if ready and not self.signalled else self._unready(failed)
        report = (state, len(self.server_state.connections), self._received)
        if report != self._last_report or counter % 10 == 0:
            self._last_report = report
            self._talk.say(state=state, open=report[1], received=report[2])
        return await super().on_tick(counter)

    def _unready(self, failed: bool) -> str:
        return "draining" if self.signalled else "failed" if failed else "loading"

    def _obey(self, message: Message) -> None:
        what = message["do"]
        if what == "retire":
            self._retire(message["given"])
        else:
            self.signalled = True
            if what == "stop":
                self.should_exit = self.force_exit = True

    def _retire(self, after: int) -> None:
        """Serve on, but part with each client at its next answer; whoever is silent soon goes."""
        log.info("retiring", connections=len(self.server_state.connections))
        self._retire_after = after
        self._retire_until = time.monotonic() + self._grace
        self._part(True)

    def _part(self, part: bool) -> None:
        """While others may be ready and this one is not, nobody should stay with it."""
        if part and not self._parting:
            self.part_with_clients()
        elif self._parting and not part:
            self.keep_clients()
        self._parting = part

    def _arrivals(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            for connection in take(self._channel):
                self._received += 1
                if connection is None:
                    log.error("a connection was lost: too many open files")
                    continue
                entering = loop.create_task(self._enter(connection))
                self._entering.add(entering)
                entering.add_done_callback(self._entering.discard)
        except EOFError:
            loop.remove_reader(self._channel)
            self._all_in.set()

    async def _enter(self, connection: socket.socket) -> None:
        with suppress(OSError):  # it has left already
            await self.take_in(connection)

    async def close_door(self, sockets: Sequence[socket.socket]) -> None:
        await super().close_door(sockets)
        self._talk.say(closing=True)
        if not self.force_exit:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_in.wait(), LAST_ARRIVALS)
        await asyncio.gather(*self._entering)


def main(arguments: Sequence[str]) -> int:
    """Serve at a `Place` until the supervisor says otherwise; the exit code."""
    place = Place.read(arguments[0])
    if place.cores:
        os.sched_setaffinity(0, place.cores)
    settings = load_settings(arguments[1:])
    configure_logging(level=settings.log_level, style=settings.log_format, process=place.number)
    channel, talk = socket.socket(fileno=place.connections), socket.socket(fileno=place.talk)
    telemetry = SharedTelemetry(Path(place.metrics), str(place.number), supervisor=os.getppid())
    talks = Talk(talk)
    settings = _placed(settings, place)
    try:
        app = create_app(
            settings,
            engine_loader(settings),
            telemetry=telemetry,
            load_elsewhere=talks.load_elsewhere,
        )
    except SettingsError as error:
        last_line(talk, {"refused": str(error)})
        return 2
    server = WorkerServer(app, settings, channel, talks)
    server.run(sockets=[])
    if server.fleet.start_failure is not None:
        sentence = explain(server.fleet.start_failure)
        if sentence is None:
            return 1
        last_line(talk, {"refused": sentence})
        return 2
    if talks.lost:  # nobody else tidies up
        shutil.rmtree(place.metrics, ignore_errors=True)
    return 0


def _placed(settings: Settings, place: Place) -> Settings:
    """The settings for one of several."""
    update: dict[str, object] = {"threads": place.threads}
    if place.models:
        folders = {folder.resolve().name: folder for folder in settings.checkpoints}
        beside = folders[settings.default_model or next(iter(folders))].resolve().parent
        more = [beside / name for name in place.models if name not in folders]
        update["checkpoints"] = (*settings.checkpoints, *more)
    return settings.model_copy(update=update)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
