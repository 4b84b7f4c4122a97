"""GET /v1/morph."""

import asyncio
import io

import httpx
import numpy as np
import pytest
from fakes import FakeEngine, Gate
from PIL import Image
from serving import eventually, leaving, sample_of, serve

from service.animation import FRAME_MILLISECONDS
from service.provenance import read_claims


def frames_of(answer: httpx.Response) -> list[np.ndarray]:
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.info["loop"] == 0
    frames = []
    for index in range(picture.n_frames):
        picture.seek(index)
        frames.append(np.asarray(picture.convert("RGB")))
        assert picture.info["duration"] == FRAME_MILLISECONDS
    return frames


async def face(client: httpx.AsyncClient, seed: int, query: str = "") -> np.ndarray:
    answer = await client.get(f"/v1/faces/{seed}.png?{query}")
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def problems(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return {error["parameter"]: error["detail"] for error in answer.json()["errors"]}


async def test_it_goes_from_one_face_to_the_other_and_back(client):
    answer = await client.get("/v1/morph?from=1&to=2&frames=8&format=apng&size=32")
    frames = frames_of(answer)
    assert len(frames) == 8
    assert np.array_equal(frames[0], await face(client, 1, "size=32"))
    assert np.array_equal(frames[4], await face(client, 2, "size=32"))
    for index in (1, 2, 3):
        assert np.array_equal(frames[index], frames[8 - index])
        assert not np.array_equal(frames[index], frames[index - 1])


async def test_webp_is_the_default_and_of_24_frames(client):
    answer = await client.get("/v1/morph?from=1&to=jane%20doe")
    assert len(frames_of(answer)) == 24
    headers = answer.headers
    assert headers["Content-Type"] == "image/webp"
    assert headers["X-Seed"] == "1..jane%20doe"
    assert headers["X-Model"] == "fake-16@0123456789ab"
    assert headers["X-AI-Generated"] == "true"
    assert headers["Content-Disposition"] == 'inline; filename="morph-1-jane-20doe.webp"'
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    claims = read_claims(answer.content)
    assert (claims.seed, claims.model, claims.labels) == (
        headers["X-Seed"],
        headers["X-Model"],
        headers["X-Labels"],
    )


async def test_labels_count_for_both_ends_or_for_one(client):
    query = "from=1&to=2&frames=2&format=apng&gender=female&from_age=5&TO_AGE=60%2B&to_gender=male"
    answer = await client.get(f"/v1/morph?{query}")
    frames = frames_of(answer)
    assert np.array_equal(frames[0], await face(client, 1, "gender=female&age=5"))
    assert np.array_equal(frames[1], await face(client, 2, "gender=male&age=60%2B"))
    assert answer.headers["X-Labels"] == (
        "from_gender=female&from_age=0-9&to_gender=male&to_age=60%2B"
    )
    again = await client.get(
        f"/v1/morph?from=1&to=2&frames=2&format=apng&{answer.headers['X-Labels']}"
    )
    assert again.content == answer.content
    assert again.headers["ETag"] == answer.headers["ETag"]


async def test_the_way_between_labels_is_straight():
    engine = FakeEngine()
    seen = []
    engine.generate = lambda z, y, make=engine.generate: seen.extend(y.tolist()) or make(z, y)
    async with serve(lambda: engine) as client:
        query = "from=1&to=1&frames=4&gender=male&from_age=5&to_age=15"
        frames_of(await client.get(f"/v1/morph?{query}"))
    assert sorted(y[2] for y in seen) == pytest.approx([0, 0.5, 1])
    assert all(sum(y[2:]) == pytest.approx(1) for y in seen)


async def test_every_picture_of_the_way_is_made_once():
    engine = FakeEngine()
    async with serve(lambda: engine) as client:
        assert (await client.get("/v1/morph?from=1&to=2&frames=24")).status_code == 200
        assert len(engine.seen) == 13


async def test_the_same_morph_is_the_same_bytes_and_known_before_any_work(client, sample):
    first = await client.get("/v1/morph?from=1&to=2&frames=4")
    assert (await client.get("/v1/morph?from=1&to=2&frames=4")).content == first.content
    made = sample("visage_images_generated_total", model="fake-16", conditional="true")
    headers = {"If-None-Match": first.headers["ETag"]}
    known = await client.get("/v1/morph?from=1&to=2&frames=4", headers=headers)
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["ETag"] == first.headers["ETag"]
    head = await client.head("/v1/morph?from=1&to=2&frames=4")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == first.headers["ETag"]
    assert "Content-Length" not in head.headers
    assert sample("visage_images_generated_total", model="fake-16", conditional="true") == made


@pytest.mark.parametrize(
    "change", ["to=3", "from=3", "frames=6", "size=17", "format=apng", "age=5", "to_age=5"]
)
async def test_whatever_changes_the_bytes_changes_the_etag(client, change):
    base = {"from": "1", "to": "2", "frames": "4", "age": "34"}
    name, value = change.split("=")
    tags = [
        (await client.head("/v1/morph", params=query)).headers["ETag"]
        for query in (base, base | {name: value})
    ]
    assert tags[0] != tags[1]


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ("to=2", "from", "from is missing"),
        ("from=1", "to", "to is missing"),
        ("from=1&to=" + "x" * 129, "to", "128 characters"),
        ("from=1&to=2&frames=1", "frames", "from 2 to 120"),
        ("from=1&to=2&frames=121", "frames", "from 2 to 120"),
        ("from=1&to=2&frames=2.5", "frames", "whole number"),
        ("from=1&to=2&size=15", "size", "from 16 to 1024"),
        ("from=1&to=2&frames=120&size=1024", "frames", "up to 32 frames"),
        ("from=1&to=2&format=png", "format", "webp, apng"),
        ("from=1&to=2&format=gif", "format", "webp, apng"),
        ("from=1&to=2&from=3", "from", "more than once"),
        ("from=1&to=2&age=3&AGE=4", "age", "more than once"),
        ("from=1&to=2&hair=red", "hair", "from_gender"),
        ("from=1&to=2&seed=3", "seed", "no parameter"),
        ("from=1&to=2&age=x", "age", "age=x is not known; allowed: 0-9"),
        ("from=1&to=2&to_age=x", "to_age", "to_age=x is not known; allowed: 0-9"),
        ("from=1&to=2&from_age=3&age=x", "age", "age=x is not known"),
    ],
)
async def test_what_is_not_valid_is_named(client, sample, query, parameter, detail):
    found = problems(await client.get(f"/v1/morph?{query}"))
    assert list(found) == [parameter]
    assert detail in found[parameter]
    assert sample("visage_batch_size_count", model="fake-16") == 0


async def test_everything_wrong_is_named_at_once(client):
    found = problems(await client.get("/v1/morph?frames=1&size=3&hair=red&gender=x"))
    assert set(found) == {"from", "to", "frames", "size", "hair", "gender"}


async def test_the_most_frames_are_a_setting():
    async with serve(max_frames=6) as client:
        assert len(frames_of(await client.get("/v1/morph?from=1&to=2"))) == 6
        assert (
            "from 2 to 6" in problems(await client.get("/v1/morph?from=1&to=2&frames=7"))["frames"]
        )


async def test_an_unknown_model_is_not_found(client):
    answer = await client.get("/v1/morph?from=1&to=2&model=other")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:visage:problem:unknown-model"


async def test_the_distinct_pictures_count_against_the_quota():
    async with serve(rate_limit="10/minute") as client:
        assert (await client.get("/v1/morph?from=1&to=2&frames=16")).status_code == 200
        assert (await client.get("/v1/morph?from=1&to=3&frames=16")).status_code == 429


async def test_once_let_in_it_waits_for_room_in_the_queue():
    async with serve(lambda: FakeEngine(tile=4), queue_capacity=1) as client:
        assert (await client.get("/v1/morph?from=1&to=2&frames=20")).status_code == 200
        assert sample_of(client)("visage_requests_rejected_total", reason="queue_full") == 0


async def test_a_client_that_leaves_stops_the_rest():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine) as client:
        path = "/v1/morph?from=1&to=2&frames=100"
        sent = await leaving(client, path, lambda _: gate.reached())
        assert sent[0]["status"] == 499
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 0)
        gate.open()
        await eventually(lambda: sample_of(client)("visage_ready") == 1)
        assert len(engine.seen) == 1


async def test_the_same_morph_is_made_once():
    engine = FakeEngine()
    async with serve(lambda: engine) as client:
        route = "/v1/morph?from=1&to=2&frames=8"
        together = await asyncio.gather(*(client.get(route) for _ in range(3)))
        again = await client.get(route)
        assert {answer.content for answer in (*together, again)} == {again.content}
        assert sorted(a.headers["X-Cache"] for a in together) == ["coalesced", "coalesced", "miss"]
        assert again.headers["X-Cache"] == "hit"
        assert len(engine.seen) == 5
