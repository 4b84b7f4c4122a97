"""One worker process as its supervisor sees it: started, spoken to, waited for.

Knows nothing about addresses, or about what becomes of a worker that ends.
"""

import asyncio
import itertools
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from service.handover import Message, Place, give, line
from service.shares import Share


class Child:
    """Starts when `start` is awaited. `hear` gets every message that is no report."""

    def __init__(
        self,
        place: Place,
        share: Share,
        arguments: Sequence[str],
        hear: Callable[["Child", Message], None],
    ) -> None:
        self.number = place.number
        self.state = "starting"
        """What it reported last: starting, loading, ready, draining or failed."""
        self.was_ready = False
        self.refusal: str | None = None
        """Why it cannot start, in a sentence for whoever runs the server."""
        self.retiring = self.leaving = False
        self.given = 0
        self.silent = 0
        """Seconds since it last said anything."""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its exit code; minus the signal that ended it."""
        self.settled = asyncio.Event()
        """Whether it has been ready, or has ended."""
        self._place, self._share, self._arguments, self._hear = place, share, arguments, hear
        self._open = self._received = 0
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asks = itertools.count()
        self._loads: dict[int, asyncio.Future[str | None]] = {}

    async def start(self) -> None:
        """Start the process, and follow what becomes of it; where it cannot be, it has ended."""
        try:
            await self._launch()
        except OSError as error:  # no memory, too many processes or open files
            self.refusal = f"could not be started ({error})"
            self._over(1)

    async def _launch(self) -> None:
        with ExitStack() as ours:
            self._channel, their_channel = socket.socketpair()
            ours.enter_context(their_channel)
            self._channel.setblocking(False)
            talk, their_talk = socket.socketpair()
            ours.enter_context(their_talk)
            reader, self._writer = await asyncio.open_connection(sock=talk)
            fds = (their_channel.fileno(), their_talk.fileno())
            place = replace(self._place, connections=fds[0], talk=fds[1])
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "service.worker", place.text(), *self._arguments),
                env=os.environ | dict(self._share.environment),
                stdin=DEVNULL,
                pass_fds=fds,
                # A terminal's Ctrl-C is the supervisor's, which tells them.
                start_new_session=True,
            )
        self._following = asyncio.ensure_future(self._follow(reader, self._process))

    async def _follow(self, reader: asyncio.StreamReader, process: Process) -> None:
        with suppress(ConnectionError):
            while text := await reader.readline():
                self._understand(text)
        self._over(await process.wait())

    def _over(self, code: int) -> None:
        self.ended.set_result(code)
        self.state = "ended"
        self.settled.set()
        for waiting in self._loads.values():
            waiting.set_result("it ended meanwhile; its successor loads it")
        self._loads.clear()
        if self._channel is not None:
            self._channel.close()
        if self._writer is not None:
            self._writer.close()

    def _understand(self, text: bytes) -> None:
        message: Message = json.loads(text)
        self.silent = 0
        if "refused" in message:
            self.refusal = message["refused"]
        elif "loaded" in message:
            self._loads.pop(message["loaded"]).set_result(message["error"])
        elif "state" in message:
            before, self.state = self.state, message["state"]
            self._open, self._received = message["open"], message["received"]
            if self.state == "ready" and not self.was_ready:
                self.was_ready = True
                self.settled.set()
            if self.state != before:
                self._hear(self, message)
        else:
            self._hear(self, message)

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections it has, those on their way included; then, how many it has had."""
        return self._open + self.given - self._received, self.given

    @property
    def listens(self) -> bool:
        """Whether it would answer a connection, by a refusal at least."""
        return self.state not in ("starting", "ended") and not self.leaving

    @property
    def welcomes(self) -> bool:
        """Whether connections should go to it."""
        return self.state == "ready" and not self.retiring and not self.leaving

    def give(self, connection: socket.socket) -> bool:
        """Pass a connection on; whether it was taken."""
        assert self._channel is not None
        taken = give(self._channel, connection)
        self.given += taken
        return taken

    def no_more(self) -> None:
        """No connection will be given from now on."""
        if self._channel is not None and not self.ended.done():
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)

    def say(self, **message: object) -> None:
        """Send a message; nobody may be there to hear it."""
        if self._writer is not None and not self.ended.done():
            self._writer.write(line(message))

    def retire(self) -> None:
        """Have it answer who is connected, then end; give it nobody from now on."""
        self.retiring = True
        self.say(do="retire", given=self.given)

    async def load_model(self, name: str) -> str | None:
        """Have it load a checkpoint once it is ready; what went wrong, None where all is well.

        One that ends before that needs nothing: its successor reads the folder as it is now.
        """
        await self.settled.wait()
        if self.ended.done():
            return None
        ask = next(self._asks)
        waiting = self._loads[ask] = asyncio.get_running_loop().create_future()
        self.say(load=name, ask=ask)
        return await waiting

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and not self.ended.done():
            with suppress(ProcessLookupError):
                self._process.kill()
