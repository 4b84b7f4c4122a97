"""POST /v1/faces: zips, sheets, refusals; what it asks of the queue; clients that leave."""

import asyncio
import io
import json
import threading
import zipfile

import httpx
import numpy as np
import pytest
from fakes import FakeEngine, Gate, face_spec
from PIL import Image
from serving import eventually, sample_of, serve
from structlog.testing import capture_logs

from service.many_params import ManyRequest, narrowed
from service.provenance import read_claims
from service.sheet import GAP

Z = 8


def unzipped(answer: httpx.Response) -> tuple[dict, list[bytes]]:
    """The manifest and the pictures, in its order."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        names = [item["name"] for item in manifest["items"]]
        assert archive.namelist() == [*names, "manifest.json"]
        return manifest, [archive.read(name) for name in names]


def refused(answer: httpx.Response, status: int, slug: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:visage:problem:{slug}"
    return answer.json()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


async def ask(client: httpx.AsyncClient, **body: object) -> httpx.Response:
    return await client.post("/v1/faces", json=body)


@pytest.mark.parametrize(
    ("format_", "extension"), [("png", "png"), ("webp", "webp"), ("jpeg", "jpg"), ("jpg", "jpg")]
)
async def test_seeds_are_the_faces_that_single_requests_give(client, format_, extension):
    labels = {"gender": "Female", "age": 34}
    answer = await ask(client, seeds=[7, "jane doe"], labels=labels, size=32, format=format_)
    manifest, pictures = unzipped(answer)
    query = f"gender=female&age=30-39&size=32&format={format_}"
    for path, content in zip(("7", "jane%20doe"), pictures, strict=True):
        assert (await client.get(f"/v1/faces/{path}?{query}")).content == content
    assert manifest == {
        "model": "fake-16@0123456789ab",
        "format": "jpeg" if format_ == "jpg" else format_,
        "size": 32,
        "ai_generated": True,
        "items": [
            {
                "index": index,
                "name": name,
                "seed": seed,
                "labels": {"gender": "female", "age": "30-39"},
            }
            for index, (name, seed) in enumerate(
                [(f"0000-7.{extension}", "7"), (f"0001-jane-doe.{extension}", "jane doe")]
            )
        ],
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Model"] == "fake-16@0123456789ab"
    assert answer.headers["X-AI-Generated"] == "true"


async def test_a_count_is_new_faces_that_can_be_had_again(client):
    manifest, pictures = unzipped(await ask(client, count=9, labels={"gender": "male"}))
    assert len({item["seed"] for item in manifest["items"]}) == len(set(pictures)) == 9
    item = manifest["items"][4]
    again = await client.get(f"/v1/faces/{item['seed']}.png", params=item["labels"])
    assert again.content == pictures[4]


async def test_a_latent_is_the_face_it_makes(client):
    face = (await client.get("/v1/faces/7.json?gender=female&age=34")).json()
    latents = [face["latent"], [0.0] * Z]
    body = {"latents": latents, "labels": {"gender": "female", "age": "30-39"}}
    manifest, pictures = unzipped(await ask(client, **body))
    single = await client.get("/v1/faces/7.png?gender=female&age=34")
    assert np.array_equal(pixels(pictures[0]), pixels(single.content))
    claims = read_claims(pictures[0])
    assert claims.seed == manifest["items"][0]["seed"]
    assert claims.seed.startswith("latent-")
    assert len(claims.seed) == len("latent-") + 16
    assert claims.labels == "gender=female&age=30-39"
    assert manifest["items"][0]["seed"] != manifest["items"][1]["seed"]
    assert unzipped(await ask(client, **body)) == (manifest, pictures)


async def test_numbers_are_whole_however_they_are_written(client):
    headers = {"Content-Type": "application/json"}
    plain = b'{"seeds": [7, "-1"], "size": 32, "labels": {"age": 34}}'
    other = b'{"seeds": [7.0, "-1"], "size": 32.0, "labels": {"age": 3.4e1}}'
    answers = [await client.post("/v1/faces", content=b, headers=headers) for b in (plain, other)]
    assert unzipped(answers[0]) == unzipped(answers[1])


async def test_labels_may_differ_by_item(client):
    answer = await ask(client, seeds=[7, 7], labels=[{"age": 5}, {"AGE": "60+"}])
    manifest, pictures = unzipped(answer)
    assert [item["labels"]["age"] for item in manifest["items"]] == ["0-9", "60+"]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("format_", ["png", "webp", "jpeg"])
async def test_a_sheet_is_one_picture_that_names_its_seeds(client, format_):
    answer = await ask(
        client, seeds=[1, "b c", 3], layout="sheet", format=format_, labels={"gender": "male"}
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == f"image/{format_}"
    assert Image.open(io.BytesIO(answer.content)).size == (2 * 16 + 3 * GAP, 2 * 16 + 3 * GAP)
    claims = read_claims(answer.content)
    assert claims.seed == answer.headers["X-Seed"] == "1,b%20c,3"
    assert claims.model == answer.headers["X-Model"]
    assert "gender=male" in answer.headers["X-Labels"]
    assert claims.labels == answer.headers["X-Labels"]


async def test_each_face_is_in_its_place_on_the_sheet(client):
    answer = await ask(client, seeds=[1, 2, 3], layout="sheet", size=24)
    sheet = pixels(answer.content)
    for index, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = GAP + row * (24 + GAP), GAP + column * (24 + GAP)
        single = await client.get(f"/v1/faces/{index + 1}.png?size=24")
        assert np.array_equal(sheet[top : top + 24, left : left + 24], pixels(single.content))


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "body"),
        ({"seeds": [1], "count": 1}, "body"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1.5]}, "seeds.0"),
        ({"seeds": [True]}, "seeds.0"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": [2**64]}, "seeds.0"),
        ({"seeds": [""]}, "seeds.0"),
        ({"seeds": [1, "x" * 129]}, "seeds.1"),
        ({"seeds": None, "count": 2}, "seeds"),
        ({"count": 0}, "count"),
        ({"count": "3"}, "count"),
        ({"latents": [[0.0] * (Z - 1)]}, "latents.0"),
        ({"latents": [[0.0] * Z, [1e30] * Z]}, "latents.1.0"),
        ({"latents": [["1"] * Z]}, "latents.0.0"),
        ({"count": 1, "size": 15}, "size"),
        ({"count": 1, "size": "64"}, "size"),
        ({"count": 1, "format": "gif"}, "format"),
        ({"count": 1, "layout": "tar"}, "layout"),
        ({"count": 1, "labels": "male"}, "labels"),
        ({"count": 1, "labels": {"age": None}}, "labels"),
        ({"count": 1, "labels": {"hair": "red"}}, "labels.hair"),
        ({"count": 1, "labels": {"gender": "x"}}, "labels.gender"),
        ({"count": 2, "labels": {"age": 3, "AGE": 4}}, "labels.AGE"),
        ({"count": 2, "labels": [{"age": 3}]}, "labels"),
        ({"count": 2, "labels": [{"age": 3}, {"gender": "x"}]}, "labels.1.gender"),
        ({"count": 1, "colour": "red"}, "colour"),
    ],
)
async def test_what_is_not_valid_is_named(client, sample, body, parameter):
    answer = await client.post("/v1/faces", json=body)
    found = refused(answer, 422, "invalid-parameters")["errors"]
    assert [error["parameter"] for error in found] == [parameter]
    assert sample("visage_batch_size_count", model="fake-16") == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_latents_are_finite(client, number):
    body = '{"latents": [[' + ",".join([number] * Z) + "]]}"
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/faces", content=body, headers=headers)
    refused(answer, 422, "invalid-parameters")


async def test_unknown_labels_say_what_is_allowed_as_in_addresses(client):
    body = await ask(client, count=1, labels={"gender": "x"})
    address = await client.get("/image?gender=x")
    (one,), (other,) = (a.json()["errors"] for a in (body, address))
    assert one == other | {"parameter": "labels.gender"}


@pytest.mark.parametrize("body", [b"{", b"[1", b"\xff\xfe", b"nul"])
async def test_what_is_no_json_is_a_bad_request(client, body):
    headers = {"Content-Type": "application/json"}
    refused(await client.post("/v1/faces", content=body, headers=headers), 400, "bad-request")


async def test_other_bodies_and_parameters_are_refused(client):
    answer = await client.post("/v1/faces", data={"count": 1})
    refused(answer, 415, "unsupported-media-type")
    refused(await client.post("/v1/faces", content=b"{}"), 415, "unsupported-media-type")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    refused(await client.post("/v1/faces", headers=headers), 400, "bad-request")
    answer = await client.post("/v1/faces?size=32", json={"count": 1})
    assert refused(answer, 422, "invalid-parameters")["errors"][0]["parameter"] == "size"


async def test_too_much_at_once_is_refused():
    async with serve(max_items=3) as client:
        unzipped(await ask(client, count=3))
        for body in ({"count": 4}, {"seeds": [1] * 4}, {"latents": [[0.0] * Z] * 4}):
            found = refused(await ask(client, **body), 413, "too-large")
            assert "3 are the most" in found["detail"]


async def test_a_sheet_beyond_memory_is_refused_before_any_work(client, sample):
    found = refused(await ask(client, count=64, size=1024, layout="sheet"), 413, "too-large")
    assert "a zip" in found["detail"]
    assert sample("visage_batch_size_count", model="fake-16") == 0


async def test_an_unknown_model_is_not_found(client):
    refused(await ask(client, count=1, model="other"), 404, "unknown-model")


async def test_a_model_without_attributes_takes_no_labels():
    from service.labels import AttributeSpace

    async with serve(lambda: FakeEngine(face_spec(space=AttributeSpace()))) as client:
        manifest, _ = unzipped(await ask(client, count=1))
        assert manifest["items"][0]["labels"] == {}
        sheet = await ask(client, count=1, layout="sheet")
        assert "X-Labels" not in sheet.headers
        refused(await ask(client, count=1, labels={"age": 3}), 422, "invalid-parameters")


@pytest.mark.parametrize("layout", ["zip", "sheet"])
async def test_the_queue_never_holds_more_than_two_tiles_of_one_request(layout):
    depths: list[int] = []
    clients: list[httpx.AsyncClient] = []

    def look(size: int) -> None:
        depths.append(size + len(clients[0].app.state.fleet._served["fake-16"].queue))

    engine = FakeEngine(tile=2, before_batch=look)
    async with serve(lambda: engine, batch_wait=0) as client:
        clients.append(client)
        assert (await ask(client, count=30, layout=layout)).status_code == 200
    assert sum(engine.batches) == 30
    assert max(depths) <= 4


async def test_while_many_are_made_others_are_served_between_them():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine) as client:
        many = asyncio.create_task(ask(client, count=20))
        await asyncio.to_thread(gate.arrived.wait, 20)
        single = asyncio.create_task(client.get("/v1/faces/7.png"))
        await eventually(lambda: sample_of(client)("visage_queue_depth") == 2)
        gate.open()
        assert (await single).status_code == 200
        assert len(engine.seen) < 20
        unzipped(await many)


async def test_a_full_queue_refuses_the_whole_request_with_a_status():
    gate = Gate()
    async with serve(lambda: FakeEngine(tile=1, before_batch=gate), queue_capacity=1) as client:
        running = asyncio.create_task(client.get("/image"))
        await asyncio.to_thread(gate.arrived.wait, 20)
        waiting = asyncio.create_task(client.get("/image"))
        await eventually(lambda: sample_of(client)("visage_queue_depth") == 1)
        for layout in ("zip", "sheet"):
            answer = await ask(client, count=3, layout=layout)
            refused(answer, 503, "queue-full")
            assert "Retry-After" in answer.headers
        gate.open()
        await running
        await waiting


@pytest.mark.parametrize("layout", ["zip", "sheet"])
async def test_once_let_in_it_waits_for_room(layout):
    async with serve(lambda: FakeEngine(tile=4), queue_capacity=1) as client:
        assert (await ask(client, count=12, layout=layout)).status_code == 200


async def test_a_draining_server_refuses_and_says_so(client):
    client.app.state.fleet.drain()
    refused(await ask(client, count=3), 503, "draining")


async def test_a_draining_server_finishes_the_zip_it_has_begun():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=lambda size: len(engine.seen) > 2 and gate(size))
    async with serve(lambda: engine) as client:
        running = asyncio.create_task(ask(client, count=12))
        await asyncio.to_thread(gate.arrived.wait, 20)
        client.app.state.fleet.drain()
        gate.open()
        unzipped(await running)


async def test_what_fails_half_way_is_no_whole_zip():
    failing = threading.Event()

    def fail(size: int) -> None:
        if failing.is_set():
            raise RuntimeError("broken")

    engine = FakeEngine(tile=1, before_batch=fail)
    async with serve(lambda: engine) as client:
        body = json.dumps({"count": 40}).encode()
        sent: list[dict] = []

        async def send(message):
            sent.append(message)
            if message.get("body"):
                failing.set()

        with capture_logs() as logs:
            await client._transport.app(_scope(body), _receive_then_stay(body), send)
        (said,) = [entry for entry in logs if entry["event"] == "answer broken off"]
        assert said["log_level"] == "warning"
        assert "exc_info" not in said
        content = b"".join(message.get("body", b"") for message in sent)
        assert sent[0]["status"] == 200
        assert sent[-1]["more_body"]
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(content))


async def test_a_client_that_leaves_stops_the_rest():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=lambda size: len(engine.seen) > 2 and gate(size))
    async with serve(lambda: engine) as client:
        body = json.dumps({"count": 50}).encode()
        left = asyncio.Event()
        given = False

        async def receive():
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message.get("body"):
                left.set()

        await client._transport.app(_scope(body), receive, send)
        gate.open()
        await eventually(lambda: sample_of(client)("visage_queue_depth") == 0)
        assert len(engine.seen) < 10
        assert not any(served._holders for served in client.app.state.fleet._served.values())
        unzipped(await ask(client, count=2))


async def test_a_client_that_leaves_before_the_first_picture_stops_all_of_it():
    gate = Gate()
    engine = FakeEngine(tile=1, before_batch=gate)
    async with serve(lambda: engine) as client:
        body = json.dumps({"count": 50}).encode()
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict] = []

        async def receive():
            if messages:
                return messages.pop()
            await asyncio.to_thread(gate.arrived.wait, 20)
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await client._transport.app(_scope(body), receive, send)
        assert sent[0]["status"] == 499
        gate.open()
        await eventually(lambda: sample_of(client)("visage_queue_depth") == 0)
        assert len(engine.seen) <= 1
        assert not any(served._holders for served in client.app.state.fleet._served.values())


def _scope(body: bytes) -> dict:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": "/v1/faces",
        "raw_path": b"/v1/faces",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "http_version": "1.1",
    }


def _receive_then_stay(body: bytes):
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        return await asyncio.Event().wait()

    return receive


async def test_openapi_says_what_the_body_may_be(client):
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/faces"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    schema = content["schema"]
    assert set(schema["properties"]) == {
        "seeds", "count", "latents", "labels", "size", "format", "model", "layout",
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    assert "$ref" not in json.dumps(schema)
    assert "null" not in json.dumps(schema)
    for example in content["examples"].values():
        answer = await client.post("/v1/faces", json=example["value"])
        assert answer.status_code == 200, answer.text


async def test_every_picture_counts_against_the_quota():
    async with serve(rate_limit="10/minute") as client:
        assert (await ask(client, count=8)).status_code == 200
        refused(await ask(client, count=8), 429, "rate-limited")
        assert (await client.get("/image")).status_code == 200


def test_a_running_server_can_say_more_about_the_body():
    schema = ManyRequest.openapi()["content"]["application/json"]["schema"]
    age = {"enum": ["young", "old"]}
    fields = narrowed(schema, max_items=5, labels={"age": age}, latent_dims=[8, 16])["properties"]
    assert (fields["count"]["minimum"], fields["count"]["maximum"]) == (1, 5)
    assert fields["seeds"]["maxItems"] == fields["latents"]["maxItems"] == 5
    latent = fields["latents"]["items"]
    assert (latent["minItems"], latent["maxItems"]) == (8, 16)
    one, several = fields["labels"]["anyOf"]
    assert several["items"] == one
    assert one["properties"] == {"age": age}
    assert one["additionalProperties"] is False
    assert "maxItems" not in schema["properties"]["seeds"]
    unloaded = narrowed(schema, max_items=5, labels={}, latent_dims=[])["properties"]
    assert unloaded["labels"] == schema["properties"]["labels"]
