"""`best_of` over HTTP: the critic's favourite, under its own name, chosen once."""

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest
from answers import picture, problem
from fakes import ATTRIBUTES, FakeEngine, Gate, face_spec
from serving import eventually, sample_of, serve

from service.labels import AttributeSpace


class Brightness:
    """Likes bright pictures."""

    version, takes_turns, weights_bytes = "brightness", True, 10

    def __init__(self) -> None:
        self.looked = 0

    def score(self, image_HWC, y_L) -> float:
        self.looked += 1
        return float(image_HWC.mean())


class JudgedEngine(FakeEngine):
    """With a critic."""

    def __init__(self, **more: object) -> None:
        super().__init__(face_spec(critic="brightness", space=AttributeSpace(ATTRIBUTES)), **more)
        self.critic = Brightness()


def judged_engine() -> JudgedEngine:
    return JudgedEngine()


@pytest.fixture
async def judged():
    async with serve(judged_engine, max_best_of=8) as client:
        yield client


def brightness(answer) -> float:
    return float(np.asarray(picture(answer)).mean())


@pytest.mark.parametrize("labels", ["", "&gender=female", "&gender=male&age=34"])
async def test_a_seed_s_best_is_the_brightest_of_faces_with_addresses_of_their_own(judged, labels):
    plain = await judged.get(f"/v1/faces/7.png?{labels}")
    best = await judged.get(f"/v1/faces/7.png?best_of=8{labels}")
    assert brightness(best) >= brightness(plain)
    assert best.headers["X-Labels"] == plain.headers["X-Labels"]
    own = await judged.get(f"/v1/faces/{best.headers['X-Seed']}.png?{labels}")
    assert own.content == best.content
    for name in ("ETag", "X-Labels", "X-Seed", "Content-Disposition", "Cache-Control"):
        assert own.headers[name] == best.headers[name]


async def test_more_candidates_are_never_worse_and_some_win(judged):
    moved = 0
    for seed in range(12):
        scores = [
            brightness(await judged.get(f"/v1/faces/{seed}.png?best_of={count}"))
            for count in (1, 2, 4, 8)
        ]
        assert scores == sorted(scores)
        moved += scores[0] < scores[-1]
    assert moved > 6


@pytest.mark.parametrize("path", ["/image?", "/v1/faces/random?direct=1&"])
async def test_a_new_face_is_the_same_under_the_seed_that_it_names(judged, path):
    seeds = set()
    for _ in range(3):
        best = await judged.get(f"{path}best_of=4")
        assert best.headers["Cache-Control"] == "no-store"
        assert "ETag" not in best.headers
        own = await judged.get(f"/v1/faces/{best.headers['X-Seed']}.png")
        assert own.content == best.content
        assert own.headers["X-Labels"] == best.headers["X-Labels"]
        seeds.add(best.headers["X-Seed"])
    assert len(seeds) == 3


async def test_an_image_by_seed_is_that_seed_s_best(judged):
    one = await judged.get("/image?seed=7&best_of=4")
    other = await judged.get("/v1/faces/7.png?best_of=4")
    assert one.content == other.content
    assert other.headers["X-Cache"] == "hit"


async def test_random_keeps_it_in_the_address_that_it_leads_to(judged):
    answer = await judged.get("/v1/faces/random?best_of=4&gender=male")
    assert answer.status_code == 302
    assert answer.headers["Location"].endswith("?best_of=4&gender=male")
    assert sample_of(judged)("visage_candidates_total", model="fake-16") == 0


async def test_a_choice_is_made_once_whatever_the_size_and_format(judged):
    engine_made = lambda: sample_of(judged)(  # noqa: E731
        "visage_images_generated_total", model="fake-16", conditional="true"
    )
    first = await judged.get("/v1/faces/7.png?best_of=4")
    assert first.headers["X-Cache"] == "miss"
    assert "critic;dur=" in first.headers["Server-Timing"]
    assert engine_made() == 4
    again = await judged.get("/v1/faces/7.png?best_of=4")
    assert (again.headers["X-Cache"], again.content) == ("hit", first.content)
    assert engine_made() == 4
    large = await judged.get("/v1/faces/7.webp?best_of=4&size=32")
    assert large.headers["X-Seed"] == first.headers["X-Seed"]
    assert large.headers["ETag"] != first.headers["ETag"]
    assert engine_made() == 5
    value = sample_of(judged)
    assert value("visage_choices_total", model="fake-16") == 1
    assert value("visage_candidates_total", model="fake-16") == 4
    assert value("visage_critic_seconds_count", model="fake-16") == 4


@pytest.mark.parametrize("path", ["/v1/faces/7.png?best_of=4", "/v1/faces/7?best_of=4"])
async def test_who_has_the_bytes_is_told_so(judged, path):
    etag = (await judged.get(path)).headers["ETag"]
    made = sample_of(judged)("visage_choices_total", model="fake-16")
    for _ in range(2):
        answer = await judged.get(path, headers={"If-None-Match": etag})
        assert (answer.status_code, answer.headers["ETag"]) == (304, etag)
    other = await judged.get(path, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200
    assert sample_of(judged)("visage_choices_total", model="fake-16") == made == 1


async def test_a_server_that_has_chosen_nothing_yet_chooses_before_it_says_304(judged):
    async with serve(judged_engine, max_best_of=8) as elsewhere:
        etag = (await elsewhere.get("/v1/faces/7.png?best_of=4")).headers["ETag"]
    answer = await judged.get("/v1/faces/7.png?best_of=4", headers={"If-None-Match": etag})
    assert answer.status_code == 304


async def test_head_says_what_is_known_without_choosing(judged):
    head = await judged.head("/v1/faces/7.png?best_of=4")
    assert head.status_code == 200
    assert head.headers["Cache-Control"].startswith("public")
    assert not {"X-Seed", "ETag", "Content-Disposition"} & {name.title() for name in head.headers}
    assert "x-seed" not in head.headers
    assert sample_of(judged)("visage_candidates_total", model="fake-16") == 0
    best = await judged.get("/v1/faces/7.png?best_of=4")
    head = await judged.head("/v1/faces/7.png?best_of=4")
    assert head.headers["X-Seed"] == best.headers["X-Seed"]
    assert head.headers["ETag"] == best.headers["ETag"]
    fresh = await judged.head("/image?best_of=4")
    assert "x-seed" not in fresh.headers


async def test_who_asks_for_the_same_choice_at_once_shares_it():
    gate = Gate()
    engine = JudgedEngine(before_batch=gate)
    async with serve(lambda: engine, max_best_of=8) as client:
        tasks = [asyncio.create_task(client.get("/v1/faces/7.png?best_of=4")) for _ in range(5)]
        await gate.reached()
        await eventually(lambda: sample_of(client)("visage_requests_in_flight") == 5)
        gate.open()
        answers = await asyncio.gather(*tasks)
    assert sum(engine.batches) == engine.critic.looked == 4
    assert len({answer.content for answer in answers}) == 1
    assert sorted(a.headers["X-Cache"] for a in answers) == ["coalesced"] * 4 + ["miss"]


async def test_without_a_cache_it_is_the_same_each_time():
    async with serve(judged_engine, cache_bytes=0, max_best_of=8) as client:
        answers = [await client.get("/v1/faces/7.png?best_of=4") for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert [a.headers["X-Cache"] for a in answers] == ["miss", "miss"]


async def test_the_verdict_on_the_winner_is_that_it_is_from_here(judged):
    best = await judged.get("/image?best_of=4")
    answer = await judged.post(
        "/v1/verify", content=best.content, headers={"Content-Type": "image/png"}
    )
    assert answer.json()["verdict"] == "reproduced"
    assert answer.json()["claims"]["seed"] == best.headers["X-Seed"]


async def test_one_is_as_without_it_even_where_there_is_no_critic(client):
    plain = await client.get("/v1/faces/7.png")
    assert (await client.get("/v1/faces/7.png?best_of=1")).content == plain.content
    assert (await client.get("/image?best_of=1")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/image?", "/v1/faces/7.png?", "/v1/faces/random?", "/v1/faces/random?direct=1&"]
)
async def test_without_a_critic_it_is_refused_with_the_remedy(path):
    async with serve(max_best_of=8) as client:
        body = problem(await client.get(f"{path}best_of=4"), 422, "invalid-parameters")
        assert body["errors"][0]["parameter"] == "best_of"
        assert "export --critic" in body["detail"]
        both = problem(await client.get(f"{path}best_of=4&gendre=x"), 422, "invalid-parameters")
    assert {error["parameter"] for error in both["errors"]} == {"best_of", "gendre"}
    assert "best_of" not in both["errors"][0].get("allowed", [])


@pytest.mark.parametrize("text", ["0", "9", "-1", "x", "", "4.0", "04", "99999"])
async def test_other_numbers_are_refused_with_those_that_may_be(judged, text):
    answer = await judged.get("/v1/faces/7.png", params={"best_of": text})
    body = problem(answer, 422, "invalid-parameters")
    assert body["errors"][0]["allowed"] == ["1…8"]
    twice = await judged.get("/v1/faces/7.png?best_of=2&best_of=2")
    assert twice.status_code == 422


async def test_what_does_not_choose_does_not_know_it(judged):
    morph = await judged.get("/v1/morph?from=1&to=2&best_of=4")
    many = await judged.post("/v1/faces", json={"seeds": [1], "best_of": 4})
    assert (morph.status_code, many.status_code) == (422, 422)


async def test_the_limit_is_a_setting_and_one_turns_it_off():
    async with serve(judged_engine, max_best_of=2) as client:
        assert (await client.get("/image?best_of=2")).status_code == 200
        assert (await client.get("/image?best_of=3")).status_code == 422
    async with serve(judged_engine) as client:  # off is what it is by default
        body = problem(await client.get("/image?best_of=2"), 422, "invalid-parameters")
        assert "VISAGE_MAX_BEST_OF" in body["detail"]


async def test_a_request_costs_its_candidates():
    async with serve(judged_engine, rate_limit="10/hour", max_best_of=8) as client:

        async def left(answer) -> int:
            assert answer.status_code in (200, 302), answer.text
            return int(answer.headers["RateLimit"].split("r=")[1].split(";")[0])

        assert await left(await client.get("/image?%62est_OF=4")) == 6
        assert await left(await client.head("/v1/faces/7.png?best_of=4")) == 5
        assert await left(await client.get("/v1/faces/random?best_of=4")) == 4
        assert await left(await client.get("/v1/faces/7.png?best_of=2")) == 2
        assert await left(await client.get("/v1/faces/7.png?best_of=2")) == 0
        assert (await client.get("/v1/faces/7.png?best_of=2")).status_code == 429
    async with serve(judged_engine, rate_limit="3/hour", max_best_of=8) as client:
        assert (await client.get("/image?best_of=4")).status_code == 413


async def test_what_has_no_room_is_refused_before_any_work():
    gate = Gate()
    engine = JudgedEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine, queue_capacity=4, max_best_of=8) as client:
        waiting = [asyncio.create_task(client.get("/v1/faces/1.png"))]
        await gate.reached()
        waiting.append(asyncio.create_task(client.get("/v1/faces/2.png")))
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 1)
        for path in ("/image?best_of=4", "/v1/faces/7.png?best_of=4"):
            body = problem(await client.get(path), 503, "queue-full")
            assert "4 are needed" in body["detail"]
        assert sample_of(client)("visage_queue_depth", model="fake-16") == 1
        gate.open()
        assert [(await task).status_code for task in waiting] == [200, 200]
        assert (await client.get("/image?best_of=4")).status_code == 200
        assert (await client.get("/image?best_of=8")).status_code == 200  # in turn


async def test_waiting_for_room_in_turn_is_no_refusal():
    async with serve(judged_engine, queue_capacity=1, max_best_of=8) as client:
        assert (await client.get("/v1/faces/7.png?best_of=8")).status_code == 200
        assert sample_of(client)("visage_requests_rejected_total", reason="queue_full") == 0


@pytest.mark.parametrize(
    "asked",
    [
        ("GET", "/image?best_of=8"),
        ("GET", "/v1/morph?from=1&to=2&frames=16"),
        ("POST", "/v1/faces", {"seeds": list(range(9)), "layout": "sheet"}),
        ("POST", "/v1/faces", {"seeds": list(range(9)), "layout": "zip"}),
    ],
    ids=["best of", "morph", "sheet", "zip"],
)
async def test_a_great_request_that_comes_too_late_is_one_refusal(asked):
    method, path, *body = asked
    gate = Gate()
    engine = JudgedEngine(tile=8, before_batch=gate)
    async with serve(lambda: engine, deadline=0.3, max_best_of=8) as client:
        answer = await client.request(method, path, json=body[0] if body else None)
        problem(answer, 504, "deadline-passed")
        assert sample_of(client)("visage_requests_rejected_total", reason="deadline") == 1
        gate.open()


async def test_all_who_wait_for_a_picture_that_comes_too_late_are_refused():
    gate = Gate()
    async with serve(lambda: FakeEngine(tile=1, before_batch=gate), deadline=0.3) as client:
        waiting = [asyncio.create_task(client.get("/v1/faces/7.png")) for _ in range(3)]
        for task in waiting:
            problem(await task, 504, "deadline-passed")
        assert sample_of(client)("visage_requests_rejected_total", reason="deadline") == 3
        gate.open()


async def test_models_say_whether_they_have_a_critic(judged, client):
    assert (await judged.get("/v1/models/fake-16")).json()["critic"] is True
    assert (await client.get("/v1/models/fake-16")).json()["critic"] is False


async def test_openapi_has_it_where_some_model_has_a_critic(judged, client):
    def parameters(document: dict, path: str) -> dict:
        return {p["name"]: p for p in document["paths"][path]["get"]["parameters"]}

    document = (await judged.get("/openapi.json")).json()
    for path in ("/image", "/v1/faces/random", "/v1/faces/{seed}"):
        assert parameters(document, path)["best_of"]["schema"]["maximum"] == 8
    plain = (await client.get("/openapi.json")).json()
    assert "best_of" not in parameters(plain, "/image")


async def test_the_critic_of_a_replaced_model_goes_with_it():
    before, critics = set(threading.enumerate()), []

    def load():
        engine = judged_engine()
        critics.append(weakref.ref(engine.critic))
        return engine

    async with serve(load, max_best_of=8, admin_token="secret") as client:
        for _ in range(2):
            assert (await client.get("/image?best_of=4")).status_code == 200
            headers = {"Authorization": "Bearer secret"}
            answer = await client.post("/v1/admin/models/fake-16/load", headers=headers)
            assert answer.status_code == 200

        def threads():
            return [t for t in threading.enumerate() if t.name == "critic" and t not in before]

        await eventually(lambda: not threads())
        for retired in client.app.state.fleet._retired:
            await asyncio.to_thread(retired.batcher.join, 20)
        gc.collect()
        assert [critic() is None for critic in critics] == [True, True, False]
