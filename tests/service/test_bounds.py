import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from service.bounds import BoundsMiddleware
from service.errors import TooLargeError

BODY, URL = 1000, 100


def problem(error):
    return JSONResponse(error.problem(), status_code=error.status)


class App:
    """Routes that read the body, read none, or swallow every error."""

    def __init__(self):
        self.calls = 0
        routes = [
            Route(f"/{name}", getattr(self, name), methods=["GET", "POST"])
            for name in ("reads", "ignores", "swallows")
        ]
        app = Starlette(routes=routes)
        self.asgi = BoundsMiddleware(
            app, max_url_bytes=URL, max_body_bytes=BODY, problem_response=problem
        )

    async def reads(self, request: Request):
        self.calls += 1
        return JSONResponse(len(await request.body()))

    async def ignores(self, request: Request):
        self.calls += 1
        return JSONResponse("fine")

    async def swallows(self, request: Request):
        try:
            await request.body()
        except Exception:
            return JSONResponse("there was an error parsing the body", status_code=400)
        return JSONResponse("fine")


@pytest.fixture
def app():
    return App()


@pytest.fixture
async def client(app):
    transport = httpx.ASGITransport(app.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://visage") as client:
        yield client


async def chunked(total, size=100):
    for start in range(0, total, size):
        yield b"x" * min(size, total - start)


@pytest.mark.parametrize("size", [0, 1, BODY])
async def test_a_body_within_the_bound_passes(client, size):
    assert (await client.post("/reads", content=b"x" * size)).json() == size
    assert (await client.post("/reads", content=chunked(size))).json() == size


async def test_a_body_announced_too_large_is_refused_before_anybody_reads_it(client, app):
    answer = await client.post("/reads", content=b"x" * (BODY + 1))
    assert answer.status_code == 413
    assert "up to 1000 bytes" in answer.json()["detail"]
    assert app.calls == 0


@pytest.mark.parametrize("length", ["9" * 20, "9" * 5000])
async def test_absurd_lengths_are_too_large_as_well(client, length):
    answer = await client.get("/ignores", headers={"Content-Length": length})
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/reads", "/swallows"])
async def test_a_body_that_grows_too_large_is_refused_whatever_the_app_makes_of_it(client, path):
    answer = await client.post(path, content=chunked(BODY + 1))
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:visage:problem:too-large"


async def test_no_more_of_it_is_received_than_the_bound(client):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 100
            yield b"x" * 100

    assert (await client.post("/reads", content=endless())).status_code == 413
    assert sent <= BODY + 200


async def test_a_body_nobody_reads_is_nobodys_problem(client):
    assert (await client.post("/ignores", content=chunked(5 * BODY))).status_code == 200


async def test_an_answer_under_way_is_not_followed_by_another():
    async def answers_while_reading(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (message := await receive())["more_body"]:
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})

    async def receive():
        return {"type": "http.request", "body": b"x" * 400, "more_body": True}

    async def send(message):
        sent.append(message["type"])

    sent = []
    bounds = BoundsMiddleware(
        answers_while_reading, max_url_bytes=URL, max_body_bytes=BODY, problem_response=problem
    )
    scope = {"type": "http", "path": "/", "query_string": b"", "headers": []}
    with pytest.raises(TooLargeError):
        await bounds(scope, receive, send)
    assert sent == ["http.response.start"] + 2 * ["http.response.body"]


@pytest.mark.parametrize(("length", "status"), [(URL, 200), (URL + 1, 414)])
@pytest.mark.parametrize("start", ["/ignores?a=", "/ignores?%C3%A9="])
async def test_the_address_is_measured_with_its_query(client, start, length, status):
    answer = await client.get(start + "x" * (length - len(start)))
    assert answer.status_code == status
    if status == 414:
        assert "101 bytes; up to 100" in answer.json()["detail"]


async def test_an_escaped_path_counts_as_it_was_sent(client, app):
    answer = await client.get("/" + "%C3%A9" * 17)
    assert answer.status_code == 414
    assert app.calls == 0


async def test_what_is_not_http_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    bounds = BoundsMiddleware(app, max_url_bytes=1, max_body_bytes=1, problem_response=problem)
    await bounds({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]
