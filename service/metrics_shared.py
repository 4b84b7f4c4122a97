"""The metrics of several processes as one: whoever is asked answers for all.

Knows nothing about supervisors or HTTP. Each process keeps its figures in files of its own, which
the others read (prometheus_client's multiprocess mode), so that what a process had counted stays
when it is killed. Files go by number, and numbers are used again: a successor counts on.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from service.telemetry import Telemetry

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_TICKS = os.sysconf("SC_CLK_TCK")


class SharedTelemetry(Telemetry):
    """Keeps all metrics created in this process from now on in files in `folder`.

    `name` must be unique among living processes.
    """

    def __init__(self, folder: Path, name: str, *, supervisor: int) -> None:
        os.environ[_FOLDER] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]
        self._followed: dict[Any, Callable[[], float]] = {}
        super().__init__()
        self._all = CollectorRegistry()
        MultiProcessCollector(self._all, str(folder))  # type: ignore[no-untyped-call]
        self._all.register(_Processes(supervisor))

    def follow(self, gauge: Any, function: Callable[[], float]) -> None:
        # Others cannot call it: it is written down now and then.
        self._followed[gauge] = function

    def refresh(self) -> None:
        """Write down what is followed, for the others to read."""
        for gauge, function in list(self._followed.items()):
            gauge.set(function())

    def exposition(self, accept: str) -> tuple[bytes, str]:
        self.refresh()
        encode, content_type = choose_encoder(accept)
        return encode(self._all), content_type


def forget(folder: Path, name: str) -> None:
    """A process is gone: what it counted stays, what it had at the moment goes with it."""
    mark_process_dead(name, str(folder))  # type: ignore[no-untyped-call]


class _Processes(Collector):
    """`process_…` of the supervisor and all its children together, the dead ones' time included."""

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        whole: dict[str, Metric] = {}
        for pid in self._pids():
            for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                if family.name not in whole:  # the supervisor's, which is the first
                    whole[family.name] = family
                elif family.name != "process_start_time_seconds":
                    ours, theirs = whole[family.name].samples[0], family.samples[0]
                    whole[family.name].samples = [ours._replace(value=ours.value + theirs.value)]
        if (time := whole.get("process_cpu_seconds")) is not None:
            total = time.samples[0]
            time.samples = [total._replace(value=total.value + self._of_the_dead())]
        yield from whole.values()

    def _pids(self) -> list[int]:
        pid = self._supervisor
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:  # no such kernel, or the supervisor is gone
            children = [str(os.getpid())]
        return [pid, *map(int, children)]

    def _of_the_dead(self) -> float:
        """Seconds of processor time of children that have been waited for (proc(5): cutime)."""
        try:
            stat = Path(f"/proc/{self._supervisor}/stat").read_text()
        except OSError:
            return 0.0
        return sum(map(int, stat.rpartition(")")[2].split()[13:15])) / _TICKS
