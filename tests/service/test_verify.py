"""POST /v1/verify, on pictures that the same server gave."""

import io

import httpx
import numpy as np
import pytest
from fakes import FakeEngine, face_spec
from PIL import Image, PngImagePlugin
from serving import serve

from service.encoder import encode
from service.provenance import Claims


async def check(client: httpx.AsyncClient, content: bytes, media_type: str = "image/png") -> dict:
    answer = await client.post("/v1/verify", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert set(found) == {"verdict", "claims", "detail"}
    assert found["detail"].endswith(".")
    return found


def forged(**claims: str) -> bytes:
    fields = {"seed": "7", "model": "fake-16@0123456789ab", "labels": "gender=male&age=60%2B"}
    return encode(np.zeros((16, 16, 3), np.uint8), "png", claims=Claims(**(fields | claims)))


@pytest.mark.parametrize("path", ["7", "jane%20doe", "18446744073709551615", "7~3", "%E2%82%AC"])
@pytest.mark.parametrize("extension", ["png", "webp", "jpg"])
@pytest.mark.parametrize("query", ["", "size=100&gender=female"])
async def test_a_saved_picture_is_reproduced(client, path, extension, query):
    answer = await client.get(f"/v1/faces/{path}.{extension}?{query}")
    found = await check(client, answer.content, answer.headers["Content-Type"])
    assert found["verdict"] == "reproduced"
    assert found["claims"]["seed"] == str(httpx.URL(f"http://x/{path}").path)[1:]
    assert found["claims"]["model"] == answer.headers["X-Model"]
    assert found["claims"]["labels"] == dict(httpx.QueryParams(answer.headers["X-Labels"]))


async def test_so_is_one_of_many_and_one_of_chance(client):
    import zipfile

    many = await client.post("/v1/faces", json={"count": 2, "format": "webp"})
    with zipfile.ZipFile(io.BytesIO(many.content)) as archive:
        picture = archive.read(archive.namelist()[1])
    assert (await check(client, picture))["verdict"] == "reproduced"
    picture = (await client.get("/image")).content
    assert (await check(client, picture, "application/octet-stream"))["verdict"] == "reproduced"


async def test_one_changed_pixel_is_only_a_claim(client):
    picture = Image.open(io.BytesIO((await client.get("/v1/faces/7.png")).content))
    info = PngImagePlugin.PngInfo()
    for key, value in picture.text.items():
        info.add_itxt(key, value) if key.startswith("XML") else info.add_text(key, value)
    pixels = np.array(picture)
    verdicts = []
    for change in (0, 1):
        pixels[3, 4, 2] ^= change
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
        found = await check(client, buffer.getvalue())
        verdicts.append(found["verdict"])
        assert found["claims"]["seed"] == "7"
    assert verdicts == ["reproduced", "claims_only"]


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"model": "fake-16@ffffffffffff"},
        {"model": "fake-16"},
        {"model": "other@0123456789ab"},
        {"model": "@"},
        {"labels": ""},
        {"labels": "gender=male"},
        {"labels": "gender=male&age=61"},
        {"labels": "age=60%2B&gender=male"},
        {"labels": "gender=male&age=60%2B&hair=red"},
        {"labels": "&" * 4000},
        {"labels": "=" * 4000},
        {"seed": "7%"},
        {"seed": "a" * 200},
        {"seed": "1,2,3"},
        {"seed": "latent-0123456789abcdef"},
    ],
)
async def test_what_this_server_never_made_is_only_a_claim(client, claims):
    assert (await check(client, forged(**claims)))["verdict"] == "claims_only"


async def test_sheets_latents_and_morphs_are_only_claims(client):
    many = await client.post("/v1/faces", json={"seeds": [1, 2], "layout": "sheet"})
    morph = await client.get("/v1/morph?from=1&to=2&frames=4")
    apng = await client.get("/v1/morph?from=1&to=2&frames=4&format=apng")
    for answer in (many, morph, apng):
        assert (await check(client, answer.content))["verdict"] == "claims_only"


async def test_a_strangers_picture_is_unknown_and_costs_no_inference(client, sample):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    for content in (buffer.getvalue(), b"GIF89a", b"<html>"):
        found = await check(client, content)
        assert (found["verdict"], found["claims"]) == ("unknown", None)
    assert sample("visage_batch_size_count", model="fake-16") == 0


async def test_another_models_picture_is_reproduced_where_that_is_loaded():
    def load(folder):
        return FakeEngine(
            face_spec(name=folder.name, digest=folder.name.encode().hex().ljust(64, "0"))
        )

    async with serve(load, checkpoints="one,two") as client:
        for name in ("one", "two"):
            picture = (await client.get(f"/v1/faces/7.png?model={name}")).content
            assert (await check(client, picture))["verdict"] == "reproduced"


async def test_other_bodies_are_refused():
    async with serve(max_body_bytes=2000) as client:
        for content, media_type, status in [
            (b"{}", "application/json", 415),
            (b"--x\r\n", "multipart/form-data; boundary=x", 415),
            (b"", "image/png", 400),
            (b"x" * 2001, "image/png", 413),
        ]:
            headers = {"Content-Type": media_type}
            answer = await client.post("/v1/verify", content=content, headers=headers)
            assert answer.status_code == status, answer.text
            assert answer.headers["Content-Type"] == "application/problem+json"
        assert (await client.post("/v1/verify", content=b"x")).status_code == 415
        answer = await client.post(
            "/v1/verify?strict=1", content=b"x", headers={"Content-Type": "image/png"}
        )
        assert answer.status_code == 422
        assert (await client.get("/v1/verify")).status_code == 405


async def test_it_counts_against_the_quota():
    async with serve(rate_limit="2/minute") as client:
        headers = {"Content-Type": "image/png"}
        statuses = [
            (await client.post("/v1/verify", content=b"x", headers=headers)).status_code
            for _ in range(3)
        ]
        assert statuses == [200, 200, 429]
