"""Pictures saved from the real server, checked by it."""

import io
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

pytestmark = pytest.mark.e2e


def verdict(client: httpx.Client, content: bytes) -> str:
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.post("/v1/verify", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["verdict"]


def edited(png: bytes, change: int) -> bytes:
    """Saved by another program, with one channel of one pixel changed by `change`."""
    picture = Image.open(io.BytesIO(png))
    info = PngImagePlugin.PngInfo()
    for key, value in picture.text.items():
        info.add_itxt(key, value) if key.startswith("XML") else info.add_text(key, value)
    pixels = np.array(picture)
    pixels[20, 30, 1] ^= change
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize("query", ["", "size=256"])
@pytest.mark.parametrize("extension", ["png", "webp", "jpg"])
def test_a_saved_picture_is_reproduced(server, extension, query):
    saved = server.client.get(f"/v1/faces/jane%20doe.{extension}?{query}").content
    assert verdict(server.client, saved) == "reproduced"


def test_so_is_one_of_many_but_no_latent_and_no_morph(server):
    made = server.client.post("/v1/faces", json={"seeds": [1, 2, 3], "format": "webp"})
    with zipfile.ZipFile(io.BytesIO(made.content)) as faces:
        *names, manifest = faces.namelist()
        assert manifest == "manifest.json"
        assert [verdict(server.client, faces.read(name)) for name in names] == ["reproduced"] * 3
    latent = server.client.get("/v1/faces/1.json").json()["latent"]
    body = {"latents": [latent], "layout": "sheet"}
    for answer in (
        server.client.post("/v1/faces", json=body),
        server.client.get("/v1/morph?from=1&to=2&frames=4"),
    ):
        assert verdict(server.client, answer.content) == "claims_only"


def test_one_changed_pixel_is_only_a_claim(server):
    saved = server.client.get("/v1/faces/7.png").content
    assert verdict(server.client, edited(saved, change=0)) == "reproduced"
    assert verdict(server.client, edited(saved, change=1)) == "claims_only"


def test_a_strangers_picture_is_unknown(server):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "PNG")
    assert verdict(server.client, buffer.getvalue()) == "unknown"
