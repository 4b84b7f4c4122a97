"""A real Valkey, running and empty at the beginning of each test."""

from collections.abc import Iterator

import pytest
from running_valkey import RunningValkey


@pytest.fixture(scope="session")
def valkey_process() -> Iterator[RunningValkey]:
    valkey = RunningValkey()
    yield valkey
    valkey.kill()


@pytest.fixture
def valkey(valkey_process: RunningValkey) -> RunningValkey:
    valkey_process.start()
    valkey_process.inside.flushall()
    return valkey_process
