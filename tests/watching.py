"""A server process seen from outside: what it holds of the machine, and its own telemetry."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from traffic import connected


@dataclass(frozen=True)
class Footprint:
    """What a process holds right now."""

    resident: int
    """Bytes."""
    threads: int
    sockets: int
    cpu_seconds: float
    """Of all its threads, since it began."""

    @classmethod
    def of(cls, pid: int) -> "Footprint":
        process = Path("/proc") / str(pid)
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines() if line
        )
        links: list[str] = []
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                links.append(str(descriptor.readlink()))
        # proc(5): utime and stime are fields 14 and 15, counted from after the name's bracket.
        ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
        return cls(
            resident=int(status["VmRSS"].split()[0]) * 1024,
            threads=int(status["Threads"]),
            sockets=sum(link.startswith("socket:") for link in links),
            cpu_seconds=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
        )


class Telemetry:
    """One scrape of a server's metrics."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self._samples = [sample for family in families for sample in family.samples]

    @classmethod
    async def of(cls, url: str) -> "Telemetry":
        async with connected(url) as connection:
            return cls((await connection.ask("/metrics")).body.decode())

    def __call__(self, name: str, **labels: str) -> float:
        """The sum over all series of that name with these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == f"visage_{name}" and labels.items() <= sample.labels.items()
        )


async def scrapes(url: str) -> AsyncIterator[Telemetry]:
    """One after another, without end."""
    while True:
        yield await Telemetry.of(url)
        await asyncio.sleep(0.02)


async def nothing_left(url: str) -> None:
    """Return once nobody is being answered and nothing waits; the scrape itself is a request."""
    async with aclosing(scrapes(url)) as seen:
        async for telemetry in seen:
            if telemetry("requests_in_flight") == 1 and telemetry("queue_depth") == 0:
                return
