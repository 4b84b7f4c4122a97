"""Answers of the service, checked for what every one of their kind has."""

import io
import json
import zipfile

import httpx
from PIL import Image

PROBLEM = "application/problem+json"


def picture(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "image/png"
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


def problem(response: httpx.Response, status: int, slug: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    body = response.json()
    assert body["type"] == f"urn:visage:problem:{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in response.text
    return body


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


async def ask(client: httpx.AsyncClient, **body: object) -> httpx.Response:
    return await client.post("/v1/faces", json=body)
