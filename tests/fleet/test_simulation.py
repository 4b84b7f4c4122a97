"""The simulated fleet against queueing theory, the service's own queue, and what was measured."""

import asyncio
import json

import numpy as np
import pytest

from benchmarks.fleet.arrivals import constant, diurnal, flash_crowd, poisson
from benchmarks.fleet.autoscaler import Autoscaler
from benchmarks.fleet.capacity import (
    MILLION_A_MINUTE,
    Demand,
    Unit,
    bits_per_second,
    cost_per_million,
    redis_busy,
    replicas,
)
from benchmarks.fleet.replica import EXPIRED, FOUND, JOINED, LEFT, MADE, REFUSED, Costs, Settings
from benchmarks.fleet.simulation import simulate
from benchmarks.fleet.validation import MEASURED, compare
from service.errors import QueueFullError
from service.request_queue import RequestQueue
from service.telemetry import Telemetry

NOTHING = Costs(here=0.0, shared=0.0, made=0.0, loop=0.0)
ONE_BY_ONE = Settings(0.0, 0.01, tile=1, capacity=10**6, deadline=1e6, costs=NOTHING)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_server_waits_as_pollaczek_and_khinchin_say(load: float) -> None:
    trace = poisson(constant(load / 0.01), 2000, seed=1)
    outcome = simulate(trace, ONE_BY_ONE, 1, duration=2000)
    waits = outcome.seconds[outcome.served] - 0.01
    assert waits.mean() == pytest.approx(load * 0.01 / (2 * (1 - load)), rel=0.05)


def test_full_batches_are_what_a_batching_engine_can_do() -> None:
    settings = Settings(0.08, 0.0, tile=8, deadline=2.0, costs=NOTHING)
    outcome = simulate(poisson(constant(300), 60, seed=2), settings, 1, duration=60)
    assert settings.rate == 100
    assert outcome.goodput == pytest.approx(100, rel=0.02)


def test_overload_is_refused_early_and_what_is_let_in_is_served_in_time() -> None:
    settings = Settings(0.0, 0.02, tile=8, deadline=2.0, costs=NOTHING)
    outcome = simulate(poisson(constant(200), 60, seed=3), settings, 1, duration=60)
    assert outcome.goodput == pytest.approx(50, rel=0.02)
    assert outcome.count(REFUSED) / len(outcome.trace) == pytest.approx(0.75, abs=0.03)
    assert outcome.quantile(1) <= 2.0
    assert outcome.count(EXPIRED) < 0.01 * len(outcome.trace)


def test_the_queue_lets_in_whom_the_services_own_lets_in() -> None:
    async def let_in(pace: float, capacity: int, deadline: float) -> int:
        queue = RequestQueue(capacity, Telemetry())
        queue.set_pace(pace)
        latent, until = np.zeros(1, np.float32), asyncio.get_running_loop().time() + deadline
        asked = [
            asyncio.create_task(queue.submit(latent, latent, deadline=until)) for _ in range(40)
        ]
        await asyncio.sleep(0)
        refused = [isinstance(task.exception(), QueueFullError) for task in asked if task.done()]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        return len(asked) - sum(refused)

    for pace, capacity, deadline in ((0.1, 100, 1.94), (0.01, 7, 2.0)):
        settings = Settings(0.0, pace, tile=1, capacity=capacity, deadline=deadline, costs=NOTHING)
        trace = poisson(constant(4e6), 1e-5, seed=4)  # a burst: 40 or so at once
        outcome = simulate(trace, settings, 1, duration=10)
        assert len(trace) > 20
        running = 1  # the first is taken at once
        expected = asyncio.run(let_in(pace, capacity, deadline)) + running
        assert outcome.count(MADE, EXPIRED) == expected


def test_each_face_is_made_once_in_the_whole_fleet() -> None:
    settings = Settings(0.0, 0.002, costs=NOTHING)
    trace = poisson(constant(400), 30, seed=5, new_share=0.1, faces=500, exponent=1.0)
    outcome = simulate(trace, settings, 3, duration=40, shared_faces=10**6)
    distinct = len(np.unique(trace.keys)) - 1 + int((trace.keys == -1).sum())
    assert outcome.count(MADE) == distinct
    assert outcome.count(FOUND, JOINED) == len(trace) - distinct


def test_a_small_redis_forgets_what_was_not_asked_for() -> None:
    settings = Settings(0.0, 0.002, kept=0, costs=NOTHING)
    trace = poisson(constant(200), 60, seed=6, new_share=0.0, faces=2000, exponent=1.0)
    rates = [
        simulate(trace, settings, 2, duration=70, shared_faces=size).hit_rate
        for size in (0, 50, 500, 2000)
    ]
    assert rates == sorted(rates)
    assert rates[0] < 0.02 < 0.3 < rates[1] < rates[2] < rates[3]


def scaled(seed: int):
    trace = poisson(flash_crowd(60, 400, at=60, rise=20, lasts=200), 900, seed=seed)
    settings = Settings(0.0, 0.02, deadline=2.0)
    scaler = Autoscaler(2, 20, "busy", 0.7, cold_start=20, calm=120)
    return simulate(trace, settings, 2, duration=900, autoscaler=scaler, look_every=1)


def test_a_flash_crowd_is_met_by_more_replicas_which_go_again() -> None:
    outcome = scaled(7)
    at = np.array(outcome.looked_at)
    ready = np.array(outcome.ready)
    assert ready[at < 60].max() <= 3
    assert ready[(at > 60) & (at < 90)].max() < 8 <= ready[(at > 240) & (at < 280)].min()
    assert ready[-1] <= 3
    late = (outcome.trace.seconds > 240) & (outcome.trace.seconds < 270)
    assert outcome.served[late].mean() > 0.97


def test_every_request_comes_to_one_end_and_the_seed_decides_it() -> None:
    one, two = scaled(8), scaled(8)
    assert np.array_equal(one.fate, two.fate)
    assert np.array_equal(one.seconds, two.seconds, equal_nan=True)
    assert not np.array_equal(one.fate, scaled(9).fate[: len(one.fate)])
    ends = [one.count(fate) for fate in (FOUND, MADE, JOINED, REFUSED, EXPIRED, LEFT)]
    assert sum(ends) == len(one.trace)
    assert min(ends[1], ends[3]) > 0


def test_traces_have_the_rate_and_popularity_they_were_asked_for() -> None:
    trace = poisson(diurnal(50, 0.8, period=1000), 1000, seed=10, new_share=0.2, faces=3)
    assert len(trace) == pytest.approx(50_000, rel=0.02)
    assert np.histogram(trace.seconds, 2, (250, 750))[0].sum() > 0.6 * len(trace)
    shares = [(trace.keys == key).mean() for key in (-1, 0, 1, 2)]
    assert shares == pytest.approx([0.2, 0.8 * 6 / 11, 0.8 * 3 / 11, 0.8 * 2 / 11], abs=0.01)


def test_it_reproduces_what_was_measured_with_one_and_two_replicas() -> None:
    rows = compare(json.loads(MEASURED.read_text(encoding="utf-8")))
    assert {case.replicas for case, _, _ in rows} == {1, 2}
    for name, largest in (("goodput", 0.03), ("p50", 0.1)):
        errors = [abs(simulated[name] / real[name] - 1) for _, real, simulated in rows]
        assert np.median(errors) <= largest, name


def test_the_arithmetic_of_the_document() -> None:
    demand, unit = Demand(seeded_share=0.5, hit_rate=0.6), Unit(faces=460, price=0.08)
    assert demand.made == pytest.approx(16_667 * 0.7, rel=1e-3)
    assert replicas(demand, unit) == 37
    assert cost_per_million(demand, unit) == pytest.approx(0.05, abs=0.002)
    nothing_found = Demand(seeded_share=1, hit_rate=0)
    assert redis_busy(nothing_found, 34e-6, 46e-6) == pytest.approx(1.33, abs=0.01)
    assert bits_per_second(MILLION_A_MINUTE, 10_311) == pytest.approx(1.44e9, rel=0.01)
