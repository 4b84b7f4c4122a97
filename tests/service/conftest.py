"""A client of the whole app over a fake engine."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from serving import sample_of, serve


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client


@pytest.fixture
def sample(client: httpx.AsyncClient) -> Callable[..., float]:
    """Value of one series of the client's app."""
    return sample_of(client)
