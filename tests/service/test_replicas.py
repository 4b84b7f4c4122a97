"""The whole app more than once on one Valkey, as replicas behind a balancer are."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from fakes import FakeEngine
from serving import eventually, sample_of, serve

from service.errors import SettingsError


@asynccontextmanager
async def replicas(valkey, **settings):
    """Two clients, one for each replica, and the two engines."""
    engines = FakeEngine(), FakeEngine()
    shared = {"redis_url": valkey.url, "redis_timeout": 5} | settings
    async with (
        serve(lambda: engines[0], **shared) as here,
        serve(lambda: engines[1], **shared) as there,
    ):
        yield (here, there), engines


async def test_what_one_made_the_other_serves(valkey):
    async with replicas(valkey) as ((here, there), engines):
        made = await here.get("/v1/faces/7.png?age=34")
        stored = f"visage:1:picture:{made.headers['ETag'].strip(chr(34))}"
        await eventually(lambda: valkey.inside.exists(stored) == 1)  # after it was answered
        found = await there.get("/v1/faces/7.png?age=34")
    assert (made.headers["X-Cache"], found.headers["X-Cache"]) == ("miss", "hit")
    assert made.content == found.content
    assert (len(engines[0].seen), len(engines[1].seen)) == (1, 0)


async def test_what_both_are_asked_for_at_once_is_made_once(valkey):
    async with replicas(valkey) as (clients, engines):
        answers = await asyncio.gather(
            *(client.get(f"/v1/faces/{n}.png") for n in range(10) for client in 3 * clients)
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 10
    assert len(engines[0].seen) + len(engines[1].seen) == 10
    results = [answer.headers["X-Cache"] for answer in answers]
    assert results.count("miss") == 10


async def test_one_quota_for_all_replicas(valkey):
    async with replicas(valkey, rate_limit="3/hour") as (clients, _):
        statuses = [
            (await client.get("/image")).status_code for _ in range(2) for client in clients
        ]
        assert statuses == [200, 200, 200, 429]
        assert sample_of(clients[1])("visage_requests_rejected_total", reason="rate_limit") == 1


async def test_without_redis_every_replica_serves_alone(valkey):
    async with replicas(valkey, rate_limit="4/hour") as (clients, _):
        assert (await clients[0].get("/v1/faces/1.png")).status_code == 200
        valkey.kill()
        for client in clients:
            statuses = [(await client.get(f"/v1/faces/{n}.png")).status_code for n in range(5)]
            assert statuses == [200, 200, 200, 200, 429]
            assert sample_of(client)("visage_redis_errors_total", op="limit") >= 1


async def test_clients_behind_a_trusted_proxy_are_told_apart():
    async with serve(rate_limit="1/hour", trusted_proxies="127.0.0.1") as client:

        async def ask(forwarded):
            answer = await client.get("/image", headers={"X-Forwarded-For": forwarded})
            return answer.status_code

        assert await ask("198.51.100.1") == 200
        assert await ask("198.51.100.2") == 200
        assert await ask("6.6.6.6, 198.51.100.1") == 429


async def test_a_key_has_its_own_quota(valkey):
    async with replicas(valkey, rate_limit="1/hour", api_keys="alpha,beta") as (clients, _):

        async def ask(client, key=None):
            headers = {} if key is None else {"X-API-Key": key}
            return (await client.get("/image", headers=headers)).status_code

        assert [await ask(clients[0], key) for key in (None, "alpha", "beta")] == [200, 200, 200]
        assert [await ask(clients[1], key) for key in (None, "alpha", "beta")] == [429, 429, 429]
        assert await ask(clients[0], "gamma") == 401
        assert not any(b"alpha" in key for key in valkey.inside.scan_iter())


async def test_an_address_or_body_too_long_is_a_problem_like_any_other():
    async with serve(max_url_bytes=300, max_body_bytes=1024) as client:
        answers = [
            await client.get("/image?" + "x" * 300, headers={"X-Request-ID": "mine"}),
            await client.post("/v1/faces", content=b"x" * 1025, headers={"X-Request-ID": "mine"}),
        ]
    assert [answer.status_code for answer in answers] == [414, 413]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["X-Request-ID"] == "mine"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"redis_url": "http://:secret@host"}, "VISAGE_REDIS_URL"),
        ({"rate_limit": "a lot"}, "VISAGE_RATE_LIMIT"),
        ({"api_key_required": True}, "VISAGE_API_KEY_REQUIRED"),
    ],
)
async def test_settings_that_cannot_work_end_the_start(settings, name):
    with pytest.raises(SettingsError, match=name) as caught:
        async with serve(**settings):
            pass
    assert "secret" not in str(caught.value)
