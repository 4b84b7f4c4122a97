"""A log that cannot be written: lines are lost and counted, and nothing else happens."""

import os
import resource
import signal
from pathlib import Path

import pytest

from service.log_stream import LogStream, lines_lost

LINE = "x" * 99 + "\n"


@pytest.fixture
def lost():
    """Lines lost since the test began."""
    before = lines_lost()._value.get()
    return lambda: lines_lost()._value.get() - before


def test_lines_arrive_whole_and_at_once(tmp_path, lost):
    path = tmp_path / "log"
    with path.open("wb") as file:
        stream = LogStream(file.fileno())
        for text in ("a line\n", "grün \udcff\n", "y" * 100_000 + "\n"):
            stream.write(text)
        written = path.read_text()
    assert written == "a line\ngrün \\udcff\n" + "y" * 100_000 + "\n"
    assert lost() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_lines_for_a_full_disk_are_counted_as_lost(lost):
    with Path("/dev/full").open("wb", buffering=0) as full:
        stream = LogStream(full.fileno())
        for _ in range(3):
            stream.write(LINE)
    assert lost() == 3


def test_lines_for_a_reader_who_is_gone_are_counted_as_lost(lost):
    reads, writes = os.pipe()
    os.close(reads)
    LogStream(writes).write(LINE)
    os.close(writes)
    assert lost() == 1


def test_a_reader_who_sleeps_is_waited_for_once_and_written_to_again_when_awake(lost):
    reads, writes = os.pipe()
    stream = LogStream(writes)
    while not lost():
        stream.write(LINE)
    waited = lost()
    for _ in range(1000):  # by a tenth of a second each, the test would end by its timeout
        stream.write(LINE)
    assert lost() == waited + 1000
    while len(os.read(reads, 2**16)) == 2**16:
        pass
    stream.write("awake\n")
    assert lost() == waited + 1000
    assert os.read(reads, 2**16).endswith(b"awake\n")
    os.close(reads)
    os.close(writes)


def test_a_file_that_may_not_grow(tmp_path, lost):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN, "Python's own, or we would die of it"
    with (tmp_path / "log").open("wb", buffering=0) as file:
        stream = LogStream(file.fileno())
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
        try:
            stream.write(LINE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert lost() == 1
