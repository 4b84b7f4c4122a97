"""Pictures that go past FastAPI's routing are the same answers as those that go through it."""

import pytest
from fakes import FakeEngine, face_spec
from serving import serve

from service import express

FACE = "/v1/faces/7.png"
CHANGING = {"x-request-id", "server-timing"}
ASKED = [
    ("GET", FACE, {}),
    ("GET", "/v1/faces/7", {"Accept": "image/webp"}),
    ("GET", "/v1/faces/jane.doe.json", {}),
    ("GET", "/v1/faces/a%20b%2Fc.png?size=32", {}),
    ("GET", "/v1/faces/7.png?gender=female&size=48", {}),
    ("HEAD", FACE, {}),
    ("HEAD", "/image?seed=7", {}),
    ("GET", "/image?seed=7&format=jpeg", {}),
    ("GET", FACE, {"If-None-Match": "*"}),
    ("GET", "/v1/faces/", {}),
    ("GET", "/v1/faces/7.gif", {}),
    ("GET", "/v1/faces/7.png?colour=red", {}),
    ("GET", "/v1/faces/7.png?model=nobody", {}),
    ("GET", "/v1/faces/7", {"Accept": "text/html"}),
    ("GET", "/v1/faces/random?seed=7", {}),
    ("PUT", FACE, {}),
    ("DELETE", "/image", {}),
]


@pytest.mark.parametrize(("method", "path", "headers"), ASKED)
async def test_both_ways_answer_the_same(method, path, headers):
    answers = []
    for tracing in (True, False):  # with traces nothing goes past FastAPI
        async with serve(tracing=tracing) as client:
            answers.append([await client.request(method, path, headers=headers) for _ in range(3)])
    for through, past in zip(*answers, strict=True):
        assert past.status_code == through.status_code
        assert past.content == through.content
        kept = [
            sorted(pair for pair in answer.headers.multi_items() if pair[0] not in CHANGING)
            for answer in (through, past)
        ]
        assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("path", "times"), [("/image", 1), (FACE, 1), ("/v1/faces/random", 0), ("/v1/models", 0)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_only_pictures_go_past_the_routing(monkeypatch, method, path, times):
    taken, answer = [], express._answer

    async def counted(*args):
        taken.append(path)
        await answer(*args)

    monkeypatch.setattr(express, "_answer", counted)
    async with serve() as client:
        assert (await client.request(method, path)).status_code in (200, 302)
        assert len(taken) == times
    async with serve(tracing=True) as client:  # which must see the routing
        await client.request(method, path)
        assert len(taken) == times


async def test_both_ways_are_counted_by_their_templates():
    async with serve() as client:
        for path in (FACE, FACE, "/image", "/v1/faces/random"):
            await client.get(path)
        text = (await client.get("/metrics")).text
    assert '{code="200",method="GET",route="/v1/faces/{seed}"} 2.0' in text
    assert '{code="200",method="GET",route="/image"} 1.0' in text
    assert '{code="302",method="GET",route="/v1/faces/random"} 1.0' in text


async def test_what_an_address_means_is_forgotten_with_the_model():
    digests = iter(["a" * 64, "b" * 64])

    class Reloaded(FakeEngine):
        def __init__(self) -> None:
            super().__init__(face_spec(digest=next(digests)))

    async with serve(Reloaded) as client:
        first = [await client.get(FACE) for _ in range(3)]
        assert [answer.headers["X-Cache"] for answer in first] == ["miss", "hit", "hit"]
        await client.app.state.fleet.load("fake-16")
        known = {"If-None-Match": first[0].headers["ETag"]}
        second = [await client.get(FACE, headers=known) for _ in range(2)]
    assert [answer.status_code for answer in second] == [200, 200]
    assert [answer.headers["X-Cache"] for answer in second] == ["miss", "hit"]
    assert {answer.headers["X-Model"] for answer in first} == {"fake-16@" + "a" * 12}
    assert {answer.headers["X-Model"] for answer in second} == {"fake-16@" + "b" * 12}


async def test_the_accept_header_is_part_of_an_address():
    async with serve() as client:
        for _ in range(3):
            for media_type in ("image/png", "image/webp"):
                answer = await client.get("/v1/faces/7", headers={"Accept": media_type})
                assert answer.headers["Content-Type"] == media_type
