"""A parser and many inputs → what became of them: refusals, crashes, time and memory.

Knows nothing about formats. A crash is any exception but the parser's own refusals; time is of the
processor, so that a busy machine is not taken for a slow parser; memory is what the process held
at its worst beyond what it held before, as far as that goes beyond what it ever held on systems
without /proc.
"""

import faulthandler
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.parsers import Parser

MAX_SECONDS = 1.0
"""Of processor time, for one input."""
MAX_BYTES = 256 << 20
"""That all inputs of a parser together may add to what the process holds at its worst."""
HANG_SECONDS = 120
"""After which a trial that does not go on is ended, with a traceback of where it is."""
_PROC = Path("/proc/self")


@dataclass
class Trial:
    """What became of the inputs of one parser."""

    parser: str
    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    """Seconds."""
    memory: int = 0
    """Bytes."""
    failures: list[tuple[str, bytes]] = field(default_factory=list)
    """What went wrong, and with which input."""


def run(parser: Parser, inputs: Iterable[bytes], *, most_failures: int = 20) -> Trial:
    """Read every input; goes on after a failure, up to `most_failures`."""
    trial = Trial(parser.name)
    before = _forgotten_peak()
    for data in inputs:
        if trial.inputs % 256 == 0:
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        _read(parser, data, trial, before)
        if len(trial.failures) >= most_failures:
            break
    faulthandler.cancel_dump_traceback_later()
    return trial


def _read(parser: Parser, data: bytes, trial: Trial, before: int) -> None:
    trial.inputs += 1
    started = time.process_time()
    try:
        parser.read(data)
    except parser.refusals:
        trial.refused += 1
    except Exception as error:
        trial.failures.append((f"{type(error).__name__}: {error}"[:200], data))
    seconds = time.process_time() - started
    trial.slowest = max(trial.slowest, seconds)
    if seconds > MAX_SECONDS:
        trial.failures.append((f"took {seconds:.2f} s", data))
    memory = _peak() - before
    if memory > MAX_BYTES >= trial.memory:
        trial.failures.append((f"took {memory >> 20} MiB", data))
    trial.memory = max(trial.memory, memory)


def _forgotten_peak() -> int:
    """The peak, begun anew at what the process holds now, where the system can do that."""
    if _PROC.is_dir():
        (_PROC / "clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    if not _PROC.is_dir():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    lines = (_PROC / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
