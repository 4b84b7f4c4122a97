"""The contract over HTTP, on a fake engine."""

import re
import subprocess
import sys

import httpx
import pytest
from answers import picture, problem
from fakes import FakeEngine, face_spec
from serving import serve
from structlog.testing import capture_logs

from service.labels import AttributeSpace


async def test_image_is_new_at_every_call_and_never_stored(client):
    answers = [await client.get("/image") for _ in range(30)]
    assert all(answer.headers["Cache-Control"] == "no-store" for answer in answers)
    assert len({answer.content for answer in answers}) == 30
    assert len({answer.headers["X-Seed"] for answer in answers}) == 30
    assert "ETag" not in answers[0].headers


async def test_an_image_can_be_had_again_by_its_seed_and_labels(client):
    first = await client.get("/image?gender=female")
    seed, labels = first.headers["X-Seed"], first.headers["X-Labels"]
    again = await client.get(f"/v1/faces/{seed}.png?{labels}")
    assert again.content == first.content


async def test_image_takes_every_picture_parameter(client):
    answer = await client.get("/image?seed=7&age=34&size=32&format=png&model=fake-16")
    assert picture(answer).size == (32, 32)
    assert answer.headers["X-Seed"] == "7"
    assert "age=30-39" in answer.headers["X-Labels"]


async def test_a_seed_is_one_face_with_everything_said_about_it(client):
    answer = await client.get("/v1/faces/7.png?gender=female&age=34")
    again = await client.get("/v1/faces/7.png?age=30-39&GENDER=Female")
    assert answer.content == again.content
    assert picture(answer).size == (16, 16)
    headers = answer.headers
    assert headers["X-Seed"] == "7"
    assert headers["X-Model"] == "fake-16@0123456789ab"
    assert headers["X-Labels"] == "gender=female&age=30-39"
    assert headers["X-AI-Generated"] == "true"
    assert headers["Content-Disposition"] == 'inline; filename="face-7.png"'
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["ETag"] == again.headers["ETag"]
    stages = [part.split(";dur=")[0].strip() for part in headers["Server-Timing"].split(",")]
    assert stages == ["queue", "inference", "encode"]
    text = picture(answer).text
    assert text["Seed"] == "7"
    assert text["Model"] == headers["X-Model"]
    assert text["Labels"] == headers["X-Labels"]


async def test_labels_change_the_face_and_its_etag(client):
    female = await client.get("/v1/faces/7.png?gender=female")
    male = await client.get("/v1/faces/7.png?gender=male")
    assert female.content != male.content
    assert female.headers["ETag"] != male.headers["ETag"]


async def test_without_extension_the_format_is_negotiated(client):
    plain = await client.get("/v1/faces/7")
    named = await client.get("/v1/faces/7.png")
    assert plain.content == named.content
    assert plain.headers["Vary"] == "Accept"
    assert "Vary" not in named.headers


@pytest.mark.parametrize(
    "tag", ["{etag}", "W/{etag}", '"other", {etag}', "*", '"other",W/{etag} , "third"']
)
async def test_a_known_etag_is_answered_before_any_work(client, sample, tag):
    etag = (await client.get("/v1/faces/7.png")).headers["ETag"]
    counts = {"model": "fake-16", "conditional": "true"}
    made = sample("visage_images_generated_total", **counts)
    answer = await client.get("/v1/faces/7.png", headers={"If-None-Match": tag.format(etag=etag)})
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["ETag"] == etag
    assert "immutable" in answer.headers["Cache-Control"]
    assert sample("visage_images_generated_total", **counts) == made


@pytest.mark.parametrize("tag", ['"other"', '"a,*,b"', '"a, {etag}"', '"a', '{etag}"', "{etag}x"])
async def test_another_etag_is_answered_with_the_picture(client, tag):
    etag = (await client.get("/v1/faces/7.png")).headers["ETag"]
    tags = {"If-None-Match": tag.format(etag=etag)}
    picture(await client.get("/v1/faces/7.png", headers=tags))


async def test_lists_may_come_on_several_lines(client):
    accept = [("Accept", "text/html"), ("Accept", "image/webp")]
    answer = await client.get("/v1/faces/7", headers=accept)
    assert answer.headers["Content-Type"] == "image/webp"
    tags = [("If-None-Match", '"other"'), ("If-None-Match", answer.headers["ETag"])]
    assert (await client.get("/v1/faces/7", headers=accept + tags)).status_code == 304


@pytest.mark.parametrize("path", ["/image", "/v1/faces/7.png", "/v1/faces/7?age=34"])
async def test_head_has_the_headers_and_costs_nothing(client, sample, path):
    answer = await client.head(path)
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Model"] == "fake-16@0123456789ab"
    assert "Content-Length" not in answer.headers
    assert sample("visage_batch_size_count", model="fake-16") == 0


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/v1/models"])
async def test_head_answers_wherever_get_does(client, path):
    answer = await client.head(path)
    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize("seed", ["jane doe", "a/b", "Größe", "jane.doe", "%00", "-1", "x" * 128])
async def test_any_text_is_a_seed(client, seed):
    path = f"/v1/faces/{httpx.QueryParams({'s': seed})!s}".replace("s=", "").replace("+", "%20")
    answer = await client.get(path + ".png")
    assert picture(answer).text["Seed"] == answer.headers["X-Seed"]
    assert answer.headers["X-Seed"].isascii()
    assert answer.content == (await client.get(path + ".png")).content


@pytest.mark.parametrize("seed", ["0", str(2**32), str(2**64 - 1)])
async def test_integers_to_64_bits_are_seeds(client, seed):
    assert (await client.get(f"/v1/faces/{seed}.png")).headers["X-Seed"] == seed


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/faces/7.png?gendre=male", ["gendre"]),
        ("/v1/faces/7.png?gender=robot&age=200x", ["gender", "age"]),
        ("/v1/faces/7.png?gender=male&gender=female", ["gender"]),
        ("/v1/faces/7.png?size=8", ["size"]),
        ("/v1/faces/7.png?seed=8", ["seed"]),
        ("/v1/faces/.png", ["seed"]),
        (f"/v1/faces/{'x' * 129}", ["seed"]),
        ("/image?format=bmp", ["format"]),
        ("/image?cachebuster=1", ["cachebuster"]),
    ],
)
async def test_invalid_parameters_are_all_named_with_what_is_allowed(client, path, names):
    body = problem(await client.get(path), 422, "invalid-parameters")
    assert [error["parameter"] for error in body["errors"]] == names


async def test_an_unknown_value_lists_the_known_ones(client):
    body = problem(await client.get("/image?gender=robot"), 422, "invalid-parameters")
    assert body["errors"][0]["allowed"] == ["male", "female"]
    assert "male, female" in body["detail"]


@pytest.mark.parametrize("path", ["/v1/faces/7.gif", "/v1/faces/7.avif", "/v1/faces/7.bmp"])
async def test_formats_not_made_here_are_406(client, path):
    assert "png" in problem(await client.get(path), 406, "not-acceptable")["detail"]


async def test_an_accept_header_without_png_is_406(client):
    for path in ("/image", "/v1/faces/7"):
        problem(await client.get(path, headers={"Accept": "text/html"}), 406, "not-acceptable")


async def test_models_say_what_is_loaded(client):
    listed = (await client.get("/v1/models")).json()["models"]
    one = (await client.get("/v1/models/fake-16")).json()
    assert listed == [one]
    assert one == {
        "name": "fake-16",
        "default": True,
        "digest": "0123456789abcdef" * 4,
        "resolution": 16,
        "latent_dim": 8,
        "attributes": [
            {"name": "gender", "values": ["male", "female"], "prior": [0.5, 0.5]},
            {
                "name": "age",
                "values": ["0-9", "10-19", "20-29", "30-39", "60+"],
                "prior": [0.1, 0.2, 0.3, 0.3, 0.1],
            },
        ],
        "licence": "CC0-1.0",
        "metrics": {"swd": 5.4},
        "engine": "fake",
        "tile": 4,
        "critic": False,
    }


@pytest.mark.parametrize("path", ["/v1/models/other", "/image?model=other"])
async def test_a_model_that_is_not_loaded_is_404(client, path):
    assert "fake-16" in problem(await client.get(path), 404, "unknown-model")["detail"]


async def test_an_unknown_route_is_404(client):
    for path in ("/nothing", "/v1/nothing", "/static/nothing.js"):
        problem(await client.get(path), 404, "not-found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
async def test_another_method_is_405(client, method):
    answer = await client.request(method, "/image")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


async def test_an_unforeseen_error_is_a_problem_with_the_request_id(client, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("service.routes.faces.complete", fail)
    with capture_logs() as logs:
        answer = await client.get("/image", headers={"X-Request-ID": "abc-1"})
    assert "abc-1" in problem(answer, 500, "internal")["detail"]
    assert "unforeseen" not in answer.text
    assert [(line["event"], line["exc_info"]) for line in logs] == [("request failed", True)]


async def test_request_ids_are_echoed_or_made(client):
    assert (await client.get("/healthz", headers={"X-Request-ID": "a.B_1-"})).headers[
        "X-Request-ID"
    ] == "a.B_1-"
    made = [(await client.get("/healthz")).headers["X-Request-ID"] for _ in range(2)]
    assert made[0] != made[1]
    for bad in ("two words", "x" * 129, "<script>"):
        answer = await client.get("/healthz", headers={"X-Request-ID": bad})
        assert answer.headers["X-Request-ID"] != bad


async def test_other_origins_may_read_get(client):
    answer = await client.get("/v1/faces/7.png", headers={"Origin": "https://example.org"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"X-Seed", "X-Model", "X-Labels", "X-Request-ID", "ETag", "Retry-After"} <= set(exposed)
    preflight = await client.options(
        "/v1/faces/7.png",
        headers={"Origin": "https://example.org", "Access-Control-Request-Method": "GET"},
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD"


async def test_an_unlabelled_model_has_no_labels():
    engine = FakeEngine(face_spec(space=AttributeSpace()))
    async with serve(lambda: engine) as client:
        answer = await client.get("/v1/faces/7.png")
        assert "X-Labels" not in answer.headers
        assert "Labels" not in picture(answer).text
        body = problem(await client.get("/image?gender=male"), 422, "invalid-parameters")
        assert "gender" not in body["errors"][0]["allowed"]


async def test_metrics_count_requests_by_route_and_never_by_seed(client, sample):
    await client.get("/v1/faces/123456789.png")
    await client.get("/v1/faces/123456789.png?size=1")
    await client.get("/nothing/123456789")
    await client.request("BREW", "/image")
    count = "visage_http_requests_total"
    face = "/v1/faces/{seed}"
    assert sample(count, route=face, method="GET", code="200") == 1
    assert sample(count, route=face, method="GET", code="422") == 1
    assert sample(count, route="unmatched", method="GET", code="404") == 1
    assert sample(count, route="/image", method="OTHER", code="405") == 1
    assert sample("visage_encode_seconds_count", format="png") == 1
    assert sample("visage_queue_capacity", model="fake-16") == 256
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "visage_build_info" in answer.text
    assert "123456789" not in answer.text


def visible(html: str) -> str:
    """What of a page is read by whoever looks at it, with scripts."""
    return re.sub(r"<noscript>.*?</noscript>|<head>.*?</head>|<[^>]*>", "", html, flags=re.DOTALL)


async def test_the_page_and_its_parts_are_served(client):
    page = await client.get("/?seed=7&gender=female")
    assert page.headers["Content-Type"].startswith("text/html")
    assert re.search(r"\b([Nn]obody|[Nn]one|not)\b[^.]*\bexist", visible(page.text))
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    for part in ("style.css", "app.js", "icon.svg"):
        assert f"/static/{part}" in page.text
        assert (await client.get(f"/static/{part}")).status_code == 200


async def test_openapi_names_the_routes(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/image", "/v1/faces/{seed}", "/v1/models", "/readyz", "/metrics"} <= set(paths)


def test_the_app_does_not_need_torch():
    program = "import sys, service.app; sys.exit('torch' in sys.modules or 'models' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
