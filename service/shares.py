"""What of the machine each process gets: a CUDA device, or so many of the cores.

Knows nothing about processes. Never imports torch: it asks a process of its own.
"""

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from service.errors import SettingsError
from service.settings import Settings

DEVICES = "CUDA_VISIBLE_DEVICES"
_COUNT = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Share:
    """One process's part."""

    threads: int
    """For inference, at least one."""
    cores: tuple[int, ...] = ()
    """The only ones it runs on; empty: any."""
    device: str | None = None
    """The one CUDA device that it sees, as CUDA_VISIBLE_DEVICES names it; None: no matter."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What the process's environment says about it."""
        return {} if self.device is None else {DEVICES: self.device}


def shares_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[Share]:
    """As many as there shall be processes. SettingsError where the system cannot do that.

    Devices go round where there are more processes than devices. Cores are shared out where
    VISAGE_THREADS does not say how many each process takes.
    """
    wants_devices = settings.engine in ("auto", "cuda")
    devices = cuda_devices(environment) if wants_devices else []
    count = max(1, len(devices)) if settings.processes == "auto" else settings.processes
    if count > 1 and not hasattr(socket, "send_fds"):
        raise SettingsError(
            f"VISAGE_PROCESSES is {count}, but this system cannot hand connections from process "
            "to process: use 1, and a balancer before several servers"
        )
    if devices:
        threads = settings.threads or max(1, settings.inference_threads // count)
        return [Share(threads, device=devices[i % len(devices)]) for i in range(count)]
    # Left to themselves, the processes' OpenVINOs would all bind their threads to the same cores.
    parts = _parts(sorted(cores), count) if (cores := _cores()) else [()] * count
    each = max(1, settings.inference_threads // count)
    return [Share(settings.threads or len(part) or each, cores=part) for part in parts]


def _cores() -> set[int]:
    """Those that this process may use; empty where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _parts(cores: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Neighbours together; where there are more processes than cores, they take turns."""
    if count > len(cores):
        return [(cores[i % len(cores)],) for i in range(count)]
    edges = [len(cores) * i // count for i in range(count + 1)]
    return [tuple(cores[a:b]) for a, b in itertools.pairwise(edges)]


def cuda_devices(environment: Mapping[str, str]) -> list[str]:
    """The devices that torch finds, as CUDA_VISIBLE_DEVICES names each."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return []
    except metadata.PackageNotFoundError:
        pass  # not from a package: it may still be there
    asked = subprocess.run(
        [sys.executable, "-c", _COUNT], capture_output=True, text=True, env=dict(environment)
    )
    count = int(asked.stdout) if asked.returncode == 0 else 0
    named = [name.strip() for name in environment.get(DEVICES, "").split(",") if name.strip()]
    return (named or [str(index) for index in range(count)])[:count]
