"""A Redis that is slow, full, or talks nonsense: every face is served, and it is the right one.

One that is killed, hangs or comes back: tests/service/test_redis_outage.py and
tests/e2e/test_redis_kill.py. Damaged values: tests/service/test_redis_store.py.
"""

import asyncio

import pytest
from answers import picture
from bad_redis import PICTURE, before, cut, damaged, flipped, says, swapped
from serving import eventually, sample_of, serve
from structlog.testing import capture_logs

FACES = 12
NONSENSE = {
    "another protocol": says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "noise": says(bytes(range(256)) * 40, b"\x00" * 5000, b"\xff\r\n" * 100),
    "no end": says(b"$99999999999\r\n" + b"x" * 2**16, b"*1000000000\r\n", b"x" * 2**18),
    "other types": says(
        b":7\r\n", b":-1\r\n", b"+OK\r\n", b"$-1\r\n", b"*2\r\n:1\r\n:2\r\n", b"$3\r\nabc\r\n",
        b"$0\r\n\r\n", b"*-1\r\n", b"*0\r\n", b"-ERR no\r\n", b"-WRONGTYPE no\r\n",
        b"-LOADING wait\r\n", b"-READONLY no\r\n", b"-NOSCRIPT no\r\n",
    ),
    "flipped bits": flipped,
    "half answers": cut,
    "damaged pictures": damaged,
    "others' pictures": swapped(),
}  # fmt: skip

MAY_LIE = {"other types", "flipped bits", "half answers"}
"""Pictures carry a digest; what is said of quotas can be well-formed and wrong."""


async def faces(client, first=0):
    """The pictures of some seeds, several times each, and by many at once."""
    answers = await asyncio.gather(
        *(client.get(f"/v1/faces/{first + n % FACES}.png") for n in range(4 * FACES))
    )
    for answer in answers:
        picture(answer)
    return {answer.content for answer in answers}


def errors(client):
    registry = client.app.state.telemetry.registry
    return sum(
        sample.value
        for metric in registry.collect()
        if metric.name == "visage_redis_errors"
        for sample in metric.samples
    )


def hits(client):
    return sample_of(client)("visage_cache_requests_total", result="hit")


@pytest.fixture
async def right():
    async with serve() as client:
        return [await faces(client, first) for first in (0, FACES)]


@pytest.mark.parametrize("trouble", NONSENSE)
async def test_nonsense_is_never_served(valkey, right, trouble):
    quota = "" if trouble in MAY_LIE else "100000/hour"
    settings = {"cache_bytes": 0, "redis_timeout": 0.2, "rate_limit": quota}
    async with before(valkey.port) as (bad, url), serve(redis_url=url, **settings) as client:
        assert await faces(client) == right[0]  # well: it is stored there now
        bad.trouble = NONSENSE[trouble]
        for _ in range(4):
            assert await faces(client) == right[0]
            assert await faces(client, FACES) == right[1]
        assert bad.answers > 0
        assert errors(client) > 0
        if "pictures" in trouble:
            assert sample_of(client)("visage_redis_errors_total", op="check") > 0
        bad.trouble = None
        assert await faces(client) == right[0]
        assert sample_of(client)("visage_http_requests_total", code="500") == 0


async def test_answers_that_take_two_seconds_are_not_waited_for(valkey, right):
    async with (
        before(valkey.port) as (bad, url),
        serve(redis_url=url, cache_bytes=0, redis_timeout=0.3, rate_limit="100000/hour") as client,
    ):
        assert await faces(client) == right[0]
        bad.delay = 2
        # By two seconds for each call these would take minutes.
        for _ in range(5):
            assert await faces(client) == right[0]
        asked = 5 * 4 * FACES
        assert 1 <= errors(client) < asked / 2


async def test_one_that_is_full_still_gives_what_it_has(valkey, right):
    inside = valkey.inside

    def stored():
        return len(inside.keys("visage:1:picture:*[^k]"))  # and no lock

    async with serve(redis_url=valkey.url, cache_bytes=0, redis_timeout=5) as client:
        assert await faces(client) == right[0]
        await eventually(lambda: stored() == FACES)
        inside.config_set("maxmemory-policy", "noeviction")
        inside.config_set("maxmemory", 1)
        try:
            with capture_logs() as logs:
                for _ in range(3):
                    assert await faces(client, FACES) == right[1]
            before_hits = hits(client)
            assert await faces(client) == right[0]
            assert hits(client) - before_hits == FACES  # and the others waited with one of these
            assert errors(client) >= FACES
            told = [line["event"] for line in logs if "redis" in line["event"]]
            assert told == ["redis stores nothing"]
        finally:
            inside.config_set("maxmemory", 0)
        assert await faces(client, FACES) == right[1]
        await eventually(lambda: stored() == 2 * FACES)


@pytest.mark.parametrize("refusal", ["NOREPLICAS", "READONLY", "MISCONF"])
async def test_one_that_reads_and_does_not_write_is_neither_gone_nor_back(valkey, right, refusal):
    inside = valkey.inside
    async with (
        before(valkey.port) as (bad, url),
        serve(redis_url=url, cache_bytes=0, redis_timeout=5) as client,
    ):
        assert await faces(client) == right[0]
        await eventually(lambda: len(inside.keys("visage:1:picture:*[^k]")) == FACES)
        if refusal == "NOREPLICAS":
            inside.config_set("min-replicas-to-write", 1)
        elif refusal == "READONLY":
            inside.replicaof("127.0.0.1", 1)  # which ends its connections
            while not hits(client):
                await faces(client)
        else:  # that takes a full disk
            misconf = b"-MISCONF Errors writing to the AOF file\r\n"
            bad.trouble = lambda answer: answer if len(answer) >= PICTURE else misconf
        try:
            with capture_logs() as logs:
                for _ in range(3):
                    assert await faces(client, FACES) == right[1]
                    before_hits = hits(client)
                    assert await faces(client) == right[0]
                    assert hits(client) - before_hits == FACES
            told = [line for line in logs if "redis" in line["event"]]
            assert [(line["event"], line["reason"]) for line in told] == [
                ("redis stores nothing", refusal)
            ]
        finally:
            inside.config_set("min-replicas-to-write", 0)
            inside.replicaof("NO", "ONE")
            bad.trouble = None
