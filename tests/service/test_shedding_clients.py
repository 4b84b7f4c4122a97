"""Refusals before the app where clients have keys or quotas: known and counted as in the app."""

import asyncio

import pytest
from flooding import FACE, flooded
from serving import eventually


async def test_strangers_are_told_so_before_anything():
    keys = {"api_keys": "alpha", "api_key_required": True}
    async with flooded(**keys) as server:
        ours = {"X_Api_Key": "alpha"}
        await server.flood(**ours)
        for strange in ({}, {"X_Api_Key": "beta"}):
            assert (await server.ask(FACE.format(9), **strange)).status == 401
        assert (await server.ask(FACE.format(9), **ours)).status == 503
        assert server.shed == [False, False, True]


async def test_who_is_refused_is_counted_once_and_told_what_is_left():
    async with flooded(rate_limit="9/day") as server:
        waiting = await server.flood()
        left = 9 - len(waiting)
        past = await server.ask(FACE.format(50), X_Request_Id="a")
        through = await server.ask(FACE.format(50), If_None_Match='"none"', X_Request_Id="a")
        assert server.shed == [True, False]
        for answer, remaining in ((past, left - 1), (through, left - 2)):
            assert answer.status == 503
            assert answer["ratelimit"].startswith(f'"pictures";r={remaining};')
        assert sorted(name for name, _ in past.headers) == sorted(n for n, _ in through.headers)
        assert past["ratelimit-policy"] == through["ratelimit-policy"]
        assert past["retry-after"] == through["retry-after"]
        assert past.body == through.body


async def test_whose_quota_is_used_up_is_told_that_and_not_that_there_is_no_room():
    async with flooded(rate_limit="4/day") as server:
        waiting = await server.flood()
        for _ in range(4 - len(waiting)):
            assert (await server.ask(FACE.format(50))).status == 503
        server.shed.clear()
        full = server.rejected("queue_full")
        assert (await server.ask(FACE.format(50))).status == 429
        assert server.shed == [False]
        assert server.rejected("queue_full") == full
        assert server.rejected("rate_limit") == 1


@pytest.mark.parametrize(
    ("settings", "one", "other"),
    [
        ({"api_keys": "alpha,beta"}, {"X_Api_Key": "alpha"}, {"X_Api_Key": "beta"}),
        (
            {"trusted_proxies": "127.0.0.1/32"},
            {"X_Forwarded_For": "203.0.113.1"},
            {"X_Forwarded_For": "203.0.113.2"},
        ),
    ],
)
async def test_a_refusal_is_at_the_cost_of_who_asked(settings, one, other):
    async with flooded(rate_limit="9/day", **settings) as server:
        await server.flood()
        for left in (8, 7, 6):
            assert (await server.ask(FACE.format(50), **one))["ratelimit"][13] == str(left)
        assert (await server.ask(FACE.format(50), **other))["ratelimit"][13] == "8"
        assert server.shed == [True] * 4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"api_keys": "alpha", "api_key_required": True}, 401),
        ({"api_keys": "alpha", "rate_limit": "2/day"}, 429),
    ],
)
async def test_whom_the_app_turns_away_takes_nobody_s_place(settings, told):
    async with flooded(queue_capacity=8, **settings) as server:
        ours = {"X_Api_Key": "alpha"}
        if told == 429:
            for seed in (90, 91):
                assert (await server.ask(FACE.format(seed))).status == 200
        server.gate.shut()
        first = asyncio.create_task(server.ask(FACE.format(1), **ours))
        await eventually(server.gate.arrived.is_set)
        server.shed.clear()
        crowd = [asyncio.create_task(server.ask(FACE.format(n))) for n in range(100, 160)]
        await eventually(lambda: len(server.shed) > 8)
        last = asyncio.create_task(server.ask(FACE.format(2), **ours))
        assert {(await task).status for task in crowd} == {told}
        server.gate.open()
        assert [(await task).status for task in (first, last)] == [200, 200]
        assert (FACE.format(100), b"") not in server.server.lifespan.state["seen"]


async def test_a_choice_is_left_to_the_app_which_knows_what_it_costs():
    async with flooded(rate_limit="9/day") as server:
        await server.flood()
        assert (await server.ask(FACE.format(50) + "?best_of=2")).status == 422  # without a critic
        assert server.shed == [False]
