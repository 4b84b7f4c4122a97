"""What every answer tells browsers, and that what clients write stays where it belongs."""

import re
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
from fakes import FakeEngine
from serving import serve
from structlog.testing import capture_logs

EVERYWHERE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
ANSWERS = [
    ("GET", "/image", {}, 200),
    ("HEAD", "/image", {}, 200),
    ("GET", "/v1/faces/7.png", {}, 200),
    ("GET", "/v1/faces/7.json", {}, 200),
    ("GET", "/v1/faces/7.png", {"If-None-Match": "*"}, 304),
    ("GET", "/v1/faces/random", {}, 302),
    ("GET", "/v1/faces/7.png?hair=red", {}, 422),
    ("GET", "/v1/faces/7.gif", {}, 406),
    ("GET", "/v1/morph?from=1&to=2&frames=2", {}, 200),
    ("GET", "/v1/models", {}, 200),
    ("GET", "/v1/models/nobody", {}, 404),
    ("GET", "/healthz", {}, 200),
    ("GET", "/readyz", {}, 200),
    ("GET", "/metrics", {}, 200),
    ("GET", "/openapi.json", {}, 200),
    ("GET", "/static/app.js", {}, 200),
    ("GET", "/static/none.js", {}, 404),
    ("GET", "/nothing", {}, 404),
    ("GET", "/" + "x" * 5000, {}, 414),
    ("PUT", "/image", {}, 405),
    ("POST", "/v1/faces", {"Content-Type": "application/json"}, 400),
    ("POST", "/v1/verify", {"Content-Type": "text/plain"}, 415),
    ("POST", "/v1/admin/models/fake-16/load", {}, 403),
    ("OPTIONS", "/image", {"Access-Control-Request-Method": "GET"}, 200),
]


async def raw(client, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body for a path as it is written: httpx would tidy it up."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": unquote(path), "raw_path": path.encode()}
    scope |= {"query_string": b"", "headers": pairs, "root_path": "", "http_version": "1.1"}
    scope |= {"scheme": "http", "server": ("visage", 80), "client": ("192.0.2.1", 1)}
    await client._transport.app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def directives(policy: str) -> dict[str, str]:
    return dict((*part.split(maxsplit=1), "")[:2] for part in policy.split(";"))


@pytest.mark.parametrize(("method", "path", "headers", "status"), ANSWERS)
async def test_no_answer_but_the_page_may_do_anything_in_a_browser(
    client, method, path, headers, status
):
    await client.get("/v1/faces/7.png")
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == status
    policy = directives(answer.headers["Content-Security-Policy"])
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert "sandbox" in policy
    assert "script-src" not in policy
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    for name, value in EVERYWHERE.items():
        assert answer.headers.get_list(name) == [value]
    others = "access-control-allow-origin" in answer.headers
    assert others == (method in ("GET", "HEAD", "OPTIONS"))


@pytest.mark.parametrize("tracing", [True, False])
async def test_a_failure_has_them_too(monkeypatch, tracing):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("service.routes.faces.complete", fail)
    with capture_logs():
        async with serve(tracing=tracing) as client:
            answer = await client.get("/v1/faces/7.png")
    assert answer.status_code == 500
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_may_use_this_server_and_nothing_else(client):
    for method in ("GET", "HEAD"):
        answer = await client.request(method, "/")
        policies = answer.headers.get_list("content-security-policy")
        assert len(policies) == 1
        policy = directives(policies[0])
        assert policy.pop("default-src") == policy.pop("base-uri") == "'none'"
        assert policy.pop("frame-ancestors") == policy.pop("trusted-types") == "'none'"
        assert policy.pop("require-trusted-types-for") == "'script'"
        assert policy.pop("img-src") == "'self' blob:"  # what it fetched with a key
        assert set(policy.values()) == {"'self'"}
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "camera=()" in answer.headers["Permissions-Policy"]


async def test_the_page_has_nothing_inline(client):
    page = (await client.get("/")).text
    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script") == page.count('<script src="/static/')
    assert not [word for word in page.split() if word.startswith("on") and "=" in word]


@pytest.mark.parametrize("given", ["a b", "a\tb", "x" * 129, "é", "a;b", '"', "<script>", ""])
async def test_an_odd_request_id_is_replaced(client, given):
    answer = await client.get("/healthz", headers={"X-Request-ID": given.encode()})
    assert answer.headers.get_list("x-request-id") == [answer.headers["X-Request-ID"]]
    assert len(answer.headers["X-Request-ID"]) == 16


@pytest.mark.parametrize("seed", ['a"; filename="x.exe', "a\r\nSet-Cookie: b=c", "../../etc", "\0"])
async def test_a_seed_stays_in_its_place_in_headers(client, seed):
    answer = await client.get(f"/v1/faces/{quote(seed, safe='')}")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    name = answer.headers["Content-Disposition"].removeprefix('inline; filename="face-')
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.png\"", name)


@pytest.mark.parametrize("seed", ["//evil.example", "http:%2F%2Fevil.example", "%0d%0aa:b"])
async def test_a_redirect_never_leaves_the_server(client, seed):
    answer = await client.get(f"/v1/faces/random?seed={seed}")
    location = answer.headers["Location"]
    assert answer.status_code == 302
    assert location.startswith("./")
    assert httpx.URL("http://visage/v1/faces/random").join(location).host == "visage"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py",
        "/static/%2e%2e/settings.py",
        "/static/..%2fsettings.py",
        "/static/%2e%2e%2f%2e%2e%2fpyproject.toml",
        "/static//etc/passwd",
        "/static/..%5c..%5cpyproject.toml",
        "/static/app.js%00.png",
        "/static/",
    ],
)
async def test_nothing_beside_the_page_is_served(client, path):
    status, body = await raw(client, "GET", path)
    assert status == 404
    assert b"urn:visage:problem:not-found" in body


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2f..", "%2Fetc", "a%00", "fake-16%2f..", ".x"]
)
async def test_no_folder_is_loaded_but_one_beside_the_default_model(tmp_path, name):
    (tmp_path / "fake-16").mkdir()
    loaded = []

    def load(folder: Path) -> FakeEngine:
        loaded.append(folder)
        return FakeEngine()

    settings = {"checkpoints": str(tmp_path / "fake-16"), "admin_token": "secret"}
    async with serve(load, **settings) as client:
        path = f"/v1/admin/models/{name}/load"
        status, _ = await raw(client, "POST", path, authorization="Bearer secret")
    assert status == 404
    assert loaded == [tmp_path / "fake-16"]
