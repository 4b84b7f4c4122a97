import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RateLimitedError, SettingsError, TooLargeError
from service.limits import RateLimiter, parse_rate_limit
from service.redis_link import RedisLink
from service.telemetry import Telemetry

FIELD = re.compile(r'"pictures";r=(\d+);t=(\d+)')


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def limiter(limit, clock=None, **options):
    return RateLimiter(limit, Telemetry(), clock=clock or Clock(), **options)


def left(headers):
    """What RateLimit says: pictures left, and seconds until there are more."""
    remaining, seconds = FIELD.fullmatch(headers["RateLimit"]).groups()
    return int(remaining), int(seconds)


async def refused(limiter, client, cost=1):
    with pytest.raises(RateLimitedError) as caught:
        await limiter.check(client, cost)
    return caught.value


async def test_without_a_limit_everything_passes_and_nothing_is_said():
    free = limiter("")
    for _ in range(100):
        assert await free.check("a", 1000) == {}


async def test_each_client_has_its_quota_and_is_told_what_is_left(clock):
    limited = limiter("3/minute", clock)
    headers = [await limited.check("a", 1) for _ in range(3)]
    assert headers[0]["RateLimit-Policy"] == '"pictures";q=3;w=60'
    assert [left(h)[0] for h in headers] == [2, 1, 0]
    await refused(limited, "a")
    assert left(await limited.check("b", 1))[0] == 2


async def test_a_refusal_says_when_to_come_back_and_means_it(clock):
    limited = limiter("10/minute", clock)
    await limited.check("a", 8)
    error = await refused(limited, "a", cost=5)
    wait = int(error.headers["Retry-After"])
    assert left(error.headers)[0] == 2
    assert "10 pictures per minute" in str(error)
    assert f"try again in {wait} s" in str(error)
    clock.now += wait - 1
    await refused(limited, "a", cost=5)
    clock.now += 1
    await limited.check("a", 5)


async def test_a_refusal_costs_nothing_and_is_counted():
    limited = limiter("5/minute")
    await limited.check("a", 3)
    for _ in range(10):
        await refused(limited, "a", cost=3)
    assert left(await limited.check("a", 2))[0] == 0
    value = limited._telemetry.registry.get_sample_value
    assert value("visage_requests_rejected_total", {"reason": "rate_limit"}) == 10


async def test_more_than_the_quota_at_once_will_never_do():
    limited = limiter("5/minute")
    with pytest.raises(TooLargeError, match="6 pictures are more than the 5 pictures per minute"):
        await limited.check("a", 6)
    assert left(await limited.check("a", 5))[0] == 0


async def test_the_window_slides(clock):
    """At no boundary is there a moment in which twice the quota passes."""
    limited = limiter("60/minute", clock)
    clock.now = 59.9
    await limited.check("a", 60)
    clock.now = 60.1
    await refused(limited, "a", cost=2)
    clock.now = 90.1
    assert left(await limited.check("a", 1))[0] == 30
    clock.now = 300
    assert left(await limited.check("a", 1))[0] == 59


@given(
    amount=st.integers(1, 50),
    period=st.integers(1, 100),
    steps=st.lists(st.tuples(st.floats(0, 60), st.integers(1, 50)), max_size=12),
)
def test_what_clients_are_told_is_true(amount, period, steps):
    """Retry-After seconds later it is granted, and one second earlier it was not."""

    clock = Clock()
    limited = limiter(f"{amount} per {period} seconds", clock)
    asyncio.run(live_through(steps, limited, amount, clock))


async def live_through(steps, limited, amount, clock):
    for pause, cost in steps:
        clock.now += pause
        cost = min(cost, amount)
        try:
            headers, wait = await limited.check("a", cost), None
        except RateLimitedError as error:
            headers, wait = error.headers, int(error.headers["Retry-After"])
        if wait is None:
            assert 0 <= left(headers)[0] <= amount - cost
            continue
        assert left(headers)[0] < cost
        # A thousandth is more than floating point may be off by.
        early = max(0, wait - 1.001)
        clock.now += early
        await refused(limited, "a", cost)
        clock.now += wait - early + 0.001
        await limited.check("a", cost)


async def test_clients_are_forgotten_once_they_count_no_more(clock):
    limited = limiter("10/minute", clock)
    counts = limited._local.storage._counts
    for n in range(100):
        await limited.check(str(n), 1)
    assert len(counts) == 100
    clock.now += 121
    await limited.check("last", 1)
    assert len(counts) == 1


async def test_no_crowd_of_clients_takes_more_than_its_memory(clock):
    limited = limiter("10/minute", clock, max_clients=50)
    for n in range(500):
        await limited.check(str(n), 1)
    assert len(limited._local.storage._counts) == 50
    assert left(await limited.check("499", 1))[0] == 8


@pytest.mark.parametrize(
    ("text", "amount", "seconds"),
    [
        ("600/minute", 600, 60),
        ("10 per 5 seconds", 10, 5),
        ("1 per day", 1, 86400),
        (" 100/2 hours ", 100, 7200),
        ("5/SECOND", 5, 1),
    ],
)
def test_limits_are_written_as_people_say_them(text, amount, seconds):
    item = parse_rate_limit(text)
    assert (item.amount, item.get_expiry()) == (amount, seconds)


@pytest.mark.parametrize(
    "text",
    [
        "many",
        "600",
        "600/fortnight",
        "0/minute",
        "-1/minute",
        "1/minute; 100/hour",
        "10/year",
        "6e2/minute",
    ],
)
def test_a_limit_that_cannot_be_read_is_one_sentence(text):
    with pytest.raises(SettingsError, match="VISAGE_RATE_LIMIT is ") as caught:
        limiter(text)
    assert repr(text) in str(caught.value)
    assert "600/minute" in str(caught.value)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_limit_is_none(text):
    assert parse_rate_limit(text) is None


@pytest.fixture
async def link(valkey):
    link = RedisLink(valkey.url, timeout=30, telemetry=Telemetry())
    yield link
    await link.aclose()


async def test_replicas_share_one_quota(link, valkey):
    here, there = (limiter("10/hour", link=link) for _ in range(2))
    for _ in range(3):
        await here.check("a", 1)
    assert left(await there.check("a", 4))[0] == 3
    error = await refused(here, "a", cost=4)
    assert left(error.headers)[0] == 3
    assert 0 < int(error.headers["Retry-After"]) <= 2 * 3600
    assert left(await there.check("b", 1))[0] == 9
    keys = valkey.inside.keys()
    assert keys
    assert all(key.startswith(b"visage:1:limit:") for key in keys)
    assert all(0 < valkey.inside.ttl(key) <= 2 * 3600 for key in keys)


async def test_in_redis_too_the_time_to_wait_is_enough(link, valkey):
    limited = limiter("2 per 2 seconds", link=link)
    await limited.check("a", 2)
    error = await refused(limited, "a")
    for key in valkey.inside.scan_iter():  # let that time pass
        waited = 1000 * int(error.headers["Retry-After"])
        valkey.inside.pexpire(key, valkey.inside.pttl(key) - waited)
    await limited.check("a", 1)


async def test_a_crowd_at_once_gets_the_quota_and_not_one_more(link):
    replicas = [limiter("20/hour", link=link) for _ in range(2)]
    answers = await asyncio.gather(
        *(replica.check("a", 1) for _ in range(30) for replica in replicas),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, RateLimitedError) for answer in answers) == 40
    assert sum(isinstance(answer, dict) for answer in answers) == 20


async def test_without_redis_each_replica_counts_for_itself(valkey):
    link = RedisLink("redis://127.0.0.1:1", timeout=30, telemetry=Telemetry())
    limited = limiter("3/minute", link=link)
    for _ in range(3):
        await limited.check("a", 1)
    await refused(limited, "a")
    await link.aclose()
