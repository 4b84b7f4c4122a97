"""What bounds the large pictures in the making, alone and behind the routes."""

import asyncio

import pytest
from fakes import FakeEngine, Gate
from serving import sample_of, serve

from service.budget import BUDGET, PixelBudget
from service.errors import QueueFullError
from service.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def test_what_is_free_can_be_spent_and_comes_back(telemetry):
    budget = PixelBudget(100)
    with budget.spend(60, telemetry):
        with budget.spend(40, telemetry):
            assert budget.taken == 100
            with pytest.raises(QueueFullError, match="smaller"), budget.spend(1, telemetry):
                pass
        assert budget.taken == 60
    assert budget.taken == 0


def test_it_comes_back_after_a_failure_too(telemetry):
    budget = PixelBudget(100)
    with pytest.raises(RuntimeError), budget.spend(60, telemetry):
        raise RuntimeError("broken")
    assert budget.taken == 0


def test_what_is_larger_than_all_of_it_goes_alone(telemetry):
    budget = PixelBudget(100)
    with budget.spend(500, telemetry):
        assert budget.taken == 500
        with pytest.raises(QueueFullError), budget.spend(1, telemetry):
            pass


LARGE = [
    ("GET", "/v1/morph?from=1&to=2&frames=32&size=1024", None),
    ("POST", "/v1/faces", {"count": 25, "size": 1024, "layout": "sheet"}),
]


@pytest.mark.parametrize(("method", "path", "body"), LARGE)
async def test_one_large_picture_too_many_is_refused_at_once(method, path, body, monkeypatch):
    monkeypatch.setattr(BUDGET, "most", 2**25)
    gate = Gate()
    async with serve(lambda: FakeEngine(before_batch=gate)) as client:
        first = asyncio.create_task(client.get("/v1/morph?from=1&to=2&frames=9&size=1024"))
        await asyncio.to_thread(gate.arrived.wait, 20)
        answer = await client.request(method, path, json=body)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:visage:problem:queue-full"
        assert answer.headers["Retry-After"] == "2"
        assert sample_of(client)("visage_requests_rejected_total", reason="queue_full") == 1
        small = asyncio.create_task(client.get("/v1/morph?from=1&to=2&frames=4"))
        gate.open()
        assert (await first).status_code == 200
        assert (await small).status_code == 200
    assert BUDGET.taken == 0
