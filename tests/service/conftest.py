"""A client of the whole app over a fake engine, and a real Valkey."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from running_valkey import RunningValkey
from serving import sample_of, serve


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client


@pytest.fixture
def sample(client: httpx.AsyncClient) -> Callable[..., float]:
    """Value of one series of the client's app."""
    return sample_of(client)


@pytest.fixture(scope="session")
def valkey_process() -> Iterator[RunningValkey]:
    valkey = RunningValkey()
    yield valkey
    valkey.kill()


@pytest.fixture
def valkey(valkey_process: RunningValkey) -> RunningValkey:
    """Running and empty, whatever the test before did to it."""
    valkey_process.start()
    valkey_process.inside.flushall()
    return valkey_process
