"""Formats, the random redirect, caching and variations of single faces, over HTTP."""

import asyncio
import base64
import io
from urllib.parse import quote, urljoin

import numpy as np
import pytest
from fakes import FakeEngine, Gate
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from serving import eventually, sample_of, serve

from service.latents import latent
from service.params import Seed


def opened(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


@pytest.mark.parametrize(
    ("path", "accept", "media_type", "kind"),
    [
        ("/v1/faces/7.png", None, "image/png", "PNG"),
        ("/v1/faces/7.webp", None, "image/webp", "WEBP"),
        ("/v1/faces/7.jpg", None, "image/jpeg", "JPEG"),
        ("/v1/faces/7.jpeg", None, "image/jpeg", "JPEG"),
        ("/v1/faces/7?format=jpg", None, "image/jpeg", "JPEG"),
        ("/v1/faces/7", "image/webp,*/*;q=0.5", "image/webp", "WEBP"),
        ("/image", "image/avif,image/webp,*/*;q=0.8", "image/png", "PNG"),
        ("/image", "image/webp", "image/webp", "WEBP"),
        ("/image?format=webp", "image/png", "image/webp", "WEBP"),
    ],
)
async def test_each_format_is_to_be_had(client, path, accept, media_type, kind):
    answer = await client.get(path, headers={"Accept": accept} if accept else {})
    assert answer.headers["Content-Type"] == media_type
    picture = opened(answer)
    assert (picture.format, picture.size) == (kind, (16, 16))
    extension = {"PNG": "png", "WEBP": "webp", "JPEG": "jpg"}[kind]
    assert answer.headers["Content-Disposition"].endswith(f'.{extension}"')


async def test_json_holds_the_picture_and_everything_about_it(client):
    answer = await client.get("/v1/faces/7.json?gender=female&size=32")
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["seed"] == "7"
    assert body["labels"]["gender"] == "female"
    assert body["model"] == answer.headers["X-Model"]
    assert np.array_equal(np.array(body["latent"], np.float32), latent(Seed.parse("7"), 8))
    picture = base64.b64decode(body["image"]["data"])
    same = await client.get("/v1/faces/7.png?gender=female&size=32")
    assert picture == same.content
    assert answer.headers["ETag"] != same.headers["ETag"]


async def test_random_leads_to_a_new_seed_with_the_same_parameters(client):
    places = set()
    for _ in range(5):
        answer = await client.get("/v1/faces/random?gender=female&age=60%2B&size=32")
        assert answer.status_code == 302
        assert answer.headers["Cache-Control"] == "no-store"
        place = urljoin("http://visage/v1/faces/random", answer.headers["Location"])
        places.add(place)
        face = await client.get(place)
        assert opened(face).size == (32, 32)
        assert face.headers["X-Labels"] == "gender=female&age=60%2B"
    assert len(places) == 5


@pytest.mark.parametrize(
    "seed", ["7", "jane", "random", "jane.png", "jane.gif", ".", "..", ".png", "../..", "a b?#%2F"]
)
@pytest.mark.parametrize(("accept", "format_"), [("*/*", "PNG"), ("image/webp", "WEBP")])
async def test_with_a_seed_random_leads_to_that_one(client, seed, accept, format_):
    asked = {"params": {"seed": seed, "size": 32}, "headers": {"Accept": accept}}
    answer = await client.get("/v1/faces/random", **asked)
    place = urljoin("http://visage/v1/faces/random", answer.headers["Location"])
    face = await client.get(place, headers={"Accept": accept})
    assert face.headers["X-Seed"] == quote(seed, safe="")
    assert opened(face).format == format_
    assert face.content == (await client.get("/image", **asked)).content


async def test_random_answers_the_bytes_where_asked_to(client):
    answer = await client.get("/v1/faces/random?direct=1&gender=male")
    assert opened(answer).format == "PNG"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "gender=male" in answer.headers["X-Labels"]


@pytest.mark.parametrize("query", ["gendre=male", "direct=yes", "direct=1&direct=1", "size=1"])
async def test_random_reads_its_parameters_before_it_sends_anybody_anywhere(client, query):
    answer = await client.get(f"/v1/faces/random?{query}")
    assert answer.status_code == 422


async def test_a_variation_has_the_labels_of_its_origin(client):
    origin = await client.get("/v1/faces/7.png")
    near = await client.get("/v1/faces/7~3.png")
    assert near.headers["X-Seed"] == "7~3"
    assert near.headers["X-Labels"] == origin.headers["X-Labels"]
    assert near.content != origin.content
    assert near.content == (await client.get("/v1/faces/7~3.png")).content
    far = await client.get("/v1/faces/7~3~9.png?gender=female")
    assert "gender=female" in far.headers["X-Labels"]


async def test_a_seeded_face_is_made_once(client, sample):
    first = await client.get("/v1/faces/7.png")
    again = await client.get("/v1/faces/7.png")
    assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("miss", "hit")
    assert first.content == again.content
    assert again.headers["Server-Timing"] == "cache;desc=hit"
    assert sample("visage_images_generated_total", model="fake-16", conditional="true") == 1


async def test_who_asks_for_the_same_at_once_shares_one_making():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine) as client:
        tasks = [asyncio.create_task(client.get("/v1/faces/7.png")) for _ in range(5)]
        await gate.reached()
        await eventually(lambda: sample_of(client)("visage_requests_in_flight") == 5)
        gate.open()
        answers = await asyncio.gather(*tasks)
    assert engine.batches == [1]
    assert len({answer.content for answer in answers}) == 1
    assert sorted(a.headers["X-Cache"] for a in answers) == ["coalesced"] * 4 + ["miss"]


async def test_new_faces_are_not_kept(client, sample):
    for _ in range(3):
        assert (await client.get("/image")).headers["X-Cache"] == "miss"
    assert sample("visage_cache_requests_total", result="miss") == 0


async def test_without_a_cache_a_face_is_made_again_with_the_same_bytes():
    async with serve(cache_bytes=0) as client:
        first = await client.get("/v1/faces/7.png")
        again = await client.get("/v1/faces/7.png")
        assert again.headers["X-Cache"] == "miss"
        assert first.content == again.content


async def test_the_quota_of_a_client_goes_with_every_answer():
    async with serve(rate_limit="2/minute") as client:
        first = await client.get("/v1/faces/7.png")
        assert "RateLimit-Policy" in first.headers
        assert "RateLimit" in (await client.get("/image?gendre=x")).headers
        over = await client.get("/v1/faces/7.png")
        assert over.status_code == 429
        assert over.json()["type"] == "urn:visage:problem:rate-limited"
        assert int(over.headers["Retry-After"]) >= 1
        assert "RateLimit" in over.headers
        assert (await client.get("/v1/models")).status_code == 200


async def test_keys_are_asked_for_where_they_are_required():
    async with serve(api_keys="alpha,beta", api_key_required=True) as client:
        assert (await client.get("/image")).status_code == 401
        assert (await client.get("/image", headers={"X-API-Key": "gamma"})).status_code == 401
        assert (await client.get("/image", headers={"X-API-Key": "beta"})).status_code == 200


async def test_strangers_are_told_nothing_but_that_a_key_is_needed():
    """Neither which models there are nor what is wrong with a body."""
    async with serve(api_keys="alpha", api_key_required=True) as client:
        answers = [
            await client.get("/v1/morph?from=1&to=2&model=nobody"),
            await client.get("/v1/faces/7.png?model=nobody"),
            await client.post("/v1/faces", content=b"no json"),
            await client.post("/v1/verify"),
        ]
    assert [answer.status_code for answer in answers] == [401] * 4


@given(
    batches=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=9), min_size=1, max_size=4)
)
@settings(max_examples=15)
def test_company_order_and_restart_never_change_a_face(batches):
    """Any seeds, together or alone, in any order, in this process or another: the same bytes."""

    async def ask(groups):
        async with serve(lambda: FakeEngine(tile=4), cache_bytes=0) as client:
            found = {}
            for group in groups:
                urls = [f"/v1/faces/{seed}.png" for seed in group]
                for url, answer in zip(
                    urls, await asyncio.gather(*map(client.get, urls)), strict=True
                ):
                    assert found.setdefault(url, answer.content) == answer.content
            return found

    together = asyncio.run(ask(batches))
    alone = asyncio.run(ask([[seed] for group in reversed(batches) for seed in group]))
    assert together == alone
