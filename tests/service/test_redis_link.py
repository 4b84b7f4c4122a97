import asyncio
from contextlib import suppress

import pytest
from serving import eventually
from structlog.testing import capture_logs

from service.errors import SettingsError
from service.redis_link import RedisGoneError, RedisLink
from service.telemetry import Telemetry

NOWHERE = "redis://:hunter2@127.0.0.1:1/0"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
async def connect(telemetry):
    links = []

    def connect(url, *, timeout=30.0, **options):
        links.append(RedisLink(url, timeout=timeout, telemetry=telemetry, **options))
        return links[-1]

    yield connect
    for link in links:
        await link.aclose()
        assert not link.pool._in_use_connections


async def answer_of(link, clock, work):
    """The first answer there is: on a busy machine one may come too late."""
    async with asyncio.timeout(20):
        while True:
            clock.now += 10
            with suppress(RedisGoneError):
                return await link.call("again", work)


def failures(telemetry, op):
    return telemetry.registry.get_sample_value("visage_redis_errors_total", {"op": op}) or 0


async def test_a_call_returns_what_redis_says(connect, valkey):
    link = connect(valkey.url)
    assert await link.call("set", lambda: link.client.set("a", b"\xff\x00")) is True
    assert await link.call("get", lambda: link.client.get("a")) == b"\xff\x00"


async def test_a_redis_that_is_not_there_is_told_once_and_left_alone(connect, telemetry):
    link = connect(NOWHERE, clock=Clock())
    calls = 0

    async def work():
        nonlocal calls
        calls += 1
        await link.client.get("a")

    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(RedisGoneError):
                await link.call("get", work)
    assert calls == 1
    assert failures(telemetry, "get") == 1
    (line,) = logs
    assert (line["event"], line["op"], line["log_level"]) == ("redis is gone", "get", "warning")
    assert "hunter2" not in str(logs)


async def test_a_password_that_an_error_repeats_is_not_logged(connect):
    async def work():
        raise ValueError("cannot speak to :hunter2@host")

    link = connect(NOWHERE)
    with capture_logs() as logs, pytest.raises(RedisGoneError):
        await link.call("get", work)
    assert logs[0]["reason"] == "ValueError: cannot speak to :…@host"


async def test_the_log_says_when_it_is_back(connect, valkey):
    clock = Clock()
    link = connect(valkey.url, clock=clock)
    await link.call("ping", link.client.ping)
    valkey.kill()
    with capture_logs() as logs:
        for _ in range(3):
            clock.now += 10
            with pytest.raises(RedisGoneError):
                await link.call("ping", link.client.ping)
        valkey.start()
        clock.now += 10
        for _ in range(3):
            assert await link.call("ping", link.client.ping)
    assert [line["event"] for line in logs] == ["redis is gone", "redis is back"]
    assert logs[1]["seconds"] == 30


async def test_connections_that_died_unnoticed_are_no_second_failure(connect, valkey, telemetry):
    clock = Clock()
    link = connect(valkey.url, clock=clock)
    await asyncio.gather(*(link.call("ping", link.client.ping) for _ in range(20)))
    valkey.kill()
    valkey.start()
    with suppress(RedisGoneError):  # one may be the first to notice
        await link.call("ping", link.client.ping)
    clock.now += 10
    for _ in range(20):
        assert await link.call("ping", link.client.ping)


async def test_after_a_failure_no_old_connection_is_trusted(connect, valkey):
    """They may all be dead without a sign, and each would be a failure of its own."""
    clock = Clock()
    link = connect(valkey.url, clock=clock)
    others = valkey.inside.info("clients")["connected_clients"]
    await asyncio.gather(*(link.call("ping", link.client.ping) for _ in range(20)))
    assert valkey.inside.info("clients")["connected_clients"] > others + 1
    with pytest.raises(RedisGoneError):
        await link.call("fail", lambda: link.client.execute_command("NO SUCH COMMAND"))
    await answer_of(link, clock, link.client.ping)
    await eventually(lambda: valkey.inside.info("clients")["connected_clients"] == others + 1)


async def test_work_of_several_calls_has_one_bound(connect, telemetry):
    link = connect(NOWHERE, timeout=0.05)
    with pytest.raises(RedisGoneError):
        await link.call("several", asyncio.Event().wait)
    assert failures(telemetry, "several") == 1


async def test_one_that_hangs_costs_its_timeout_and_then_nothing(connect, valkey, telemetry):
    clock = Clock()
    link = connect(valkey.url, timeout=0.05, clock=clock)
    calls = 0

    async def work():
        nonlocal calls
        calls += 1
        await link.client.ping()

    async def gone():
        with pytest.raises(RedisGoneError):
            await link.call("ping", work)

    with valkey.frozen():
        async with asyncio.timeout(20):  # without a bound it would be for ever
            await asyncio.gather(*(gone() for _ in range(100)))
            under_way = calls
            assert under_way <= 8
            await asyncio.gather(*(gone() for _ in range(100)))
            assert calls == under_way
            clock.now += 10
            await asyncio.gather(*(gone() for _ in range(100)))
            assert calls == under_way + 1, "one probe"
    assert await answer_of(link, clock, link.client.ping)


async def test_one_too_slow_for_what_is_asked_of_it_is_left_alone(connect, valkey, telemetry):
    """Each call within its time, and yet more of them than it can serve."""
    link = connect(valkey.url, timeout=0.2, clock=Clock())

    async def slow():
        await asyncio.sleep(0.1)
        return "answer"

    async def call():
        try:
            return await link.call("slow", slow)
        except RedisGoneError:
            return "gone"

    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(call() for _ in range(300)))
    assert answers.count("answer") < 100
    assert failures(telemetry, "slow") > 0
    assert await call() == "gone"


async def test_an_answer_that_came_too_late_is_nobody_elses(connect, valkey):
    clock = Clock()
    link = connect(valkey.url, timeout=0.05, clock=clock)
    valkey.inside.set("a", "a's value")
    valkey.inside.set("b", "b's value")
    with valkey.frozen(), pytest.raises(RedisGoneError):
        await link.call("get", lambda: link.client.get("a"))

    for _ in range(5):
        assert await answer_of(link, clock, lambda: link.client.get("b")) == b"b's value"


async def test_a_caller_that_leaves_says_nothing_about_redis(connect, valkey, telemetry):
    link = connect(valkey.url)
    task = asyncio.create_task(link.call("wait", lambda: link.client.blpop("never", 0)))
    await eventually(lambda: valkey.inside.info("clients")["blocked_clients"] == 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert failures(telemetry, "wait") == 0
    assert await link.call("ping", link.client.ping)


async def test_more_calls_than_connections_take_turns(connect, valkey):
    link = connect(valkey.url)
    await asyncio.gather(*(link.call("incr", lambda: link.client.incr("n")) for _ in range(300)))
    assert valkey.inside.get("n") == b"300"
    assert valkey.inside.info("clients")["connected_clients"] <= 8 + 1


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "redis://:hun/ter2@host:6379",
        "redis://host:port",
        "redis://h?db=x",
        "redis://h?hunter2=1",
    ],
)
def test_an_address_that_is_none_ends_the_start_without_repeating_it(url):
    with pytest.raises(SettingsError, match="VISAGE_REDIS_URL is not") as caught:
        RedisLink(url, timeout=1, telemetry=Telemetry())
    assert "ter2" not in str(caught.value)
    assert caught.value.__suppress_context__
